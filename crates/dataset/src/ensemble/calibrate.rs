//! From log-odds to frequencies: isotonic regression of earlier out-of-fold predictions.
//!
//! Isotonic regression of single rows takes the luck of a few extreme rows for certainty, and
//! overlapping labels make runs of luck long. So the predictions are put in a few groups of equal
//! weight, a row weighing its uniqueness, and each group's frequency is drawn towards the overall
//! one by some effective rows of prior.

use stats::isotonic::{self, Isotonic};

use super::EnsembleSettings;

/// Effective rows of a group, about, at least: a frequency of fewer is luck.
const GROUP: f64 = 25.0;
/// Groups all the same: fewer could not bend.
const FEWEST_GROUPS: f64 = 4.0;
/// Above every setting.
const MOST_GROUPS: f64 = 1e9;

/// A prediction and what came of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scored {
    pub logit: f64,
    pub buy: bool,
    pub weight: f64,
}

/// Returns the line from log-odds to the frequency of BUY.
pub(super) fn fit(
    mut rows: Vec<Scored>,
    settings: &EnsembleSettings,
) -> Result<Isotonic, stats::StatsError> {
    rows.sort_by(|a, b| a.logit.total_cmp(&b.logit));
    let total: f64 = rows.iter().map(|row| row.weight).sum();
    let buy = |rows: &[Scored]| -> f64 {
        let bought = rows.iter().filter(|row| row.buy);
        bought.map(|row| row.weight).sum()
    };
    let overall = buy(&rows) / total;
    let groups = (total / GROUP).floor().clamp(FEWEST_GROUPS, MOST_GROUPS);
    let size = total / groups.min(settings.calibration_groups as f64);
    let (mut x, mut y, mut w) = (Vec::new(), Vec::new(), Vec::new());
    let mut start = 0;
    let mut reached = 0.0;
    for end in 1..=rows.len() {
        reached += rows[end - 1].weight;
        let full = reached >= size * (x.len() + 1) as f64 * (1.0 - 1e-9);
        if !full && end < rows.len() {
            continue;
        }
        let group = &rows[start..end];
        let weight: f64 = group.iter().map(|row| row.weight).sum();
        if weight > 0.0 {
            let prior = settings.calibration_prior;
            x.push(group.iter().map(|row| row.weight * row.logit).sum::<f64>() / weight);
            y.push((buy(group) + prior * overall) / (weight + prior));
            w.push(weight);
        }
        start = end;
    }
    isotonic::fit(&x, &y, &w)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(n: usize, chance: impl Fn(f64) -> f64) -> Vec<Scored> {
        // Frequencies exactly as wanted: a low-discrepancy draw.
        let row = |i: usize| {
            let logit = (i as f64 / n as f64 - 0.5) * 4.0;
            let draw = (i as f64 * 0.618_033_988_749_895).fract();
            Scored {
                logit,
                buy: draw < chance(logit),
                weight: 1.0,
            }
        };
        (0..n).map(row).collect()
    }

    #[test]
    fn an_overconfident_score_is_brought_down() {
        let truth = |logit: f64| 0.5 + 0.05 * logit;
        let line = fit(rows(20_000, truth), &EnsembleSettings::default()).unwrap();
        for logit in [-1.5, 0.0, 1.5] {
            assert!((line.at(logit) - truth(logit)).abs() < 0.02, "{logit}");
        }
    }

    #[test]
    fn a_score_turned_upside_down_says_nothing() {
        let line = fit(
            rows(5000, |logit| 0.5 - 0.1 * logit),
            &EnsembleSettings::default(),
        );
        let line = line.unwrap();
        assert!((line.at(-2.0) - line.at(2.0)).abs() < 1e-9);
    }

    #[test]
    fn few_rows_stay_near_the_overall_rate() {
        let mut few = rows(10, |_| 0.5);
        few.iter_mut()
            .enumerate()
            .for_each(|(place, row)| row.buy = place >= 5);
        let line = fit(few, &EnsembleSettings::default()).unwrap();
        // Alone they would say 0 and 1.
        assert!(line.at(9.0) < 0.65 && line.at(-9.0) > 0.35);
    }
}
