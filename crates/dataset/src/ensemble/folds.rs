//! Which rows learn and which are predicted: a walk forward in time, cut at the same instants for
//! every instrument.
//!
//! ```text
//! | first window            | fold 1   | fold 2   | ...            time ->
//! | early     | warm-up     |
//! ```
//!
//! A fold is predicted by models of rows whose label had ended, with the embargo, before the fold
//! begins; nothing later teaches them. The warm-up is a fold that is predicted for one purpose
//! only: so that the calibration of fold 1 has out-of-fold predictions to learn from.
//!
//! Overlapping labels say the same thing several times. Rows are drawn by their uniqueness
//! ([`stats::uniqueness`]), evenly over time, and a drawn row weighs what the rows it stands for
//! weigh: a model learns as much from a quarter of the rows of five-hour labels on quarter-hourly
//! bars as from all of them, and the time goes to what is new.

use super::{EnsembleError, EnsembleSettings, Row, Target};
use crate::seed;

/// The share of the first window before the warm-up.
const EARLY_SHARE: f64 = 0.6;
/// Labelled rows that a part needs at least.
pub(super) const FEWEST_ROWS: usize = 50;

/// Rows in order and the instants between the parts.
#[derive(Debug)]
pub(super) struct Walk<'a> {
    pub rows: &'a [Row],
    pub target: Target,
    /// Every row, by instrument and decision.
    pub order: Vec<u32>,
    /// Where parts begin: the warm-up, then fold 1, fold 2, ...
    pub cuts: Vec<i64>,
    gap: i64,
}

/// Rows to learn from, drawn from those of a part.
#[derive(Debug, Clone)]
pub(super) struct Drawn {
    /// The rows, by instrument and decision.
    pub rows: Vec<u32>,
    /// What each weighs; the mean is 1.
    pub weights: Vec<f64>,
    /// Labelled rows they were drawn from.
    pub from: usize,
    /// The effective number of those.
    pub effective: f64,
    /// Labelled rows decided before the cut whose label was not over.
    pub purged: usize,
    /// The end of the last label among the rows drawn.
    pub through: i64,
    /// The weighted share of BUY among the rows they were drawn from.
    pub base_rate: f64,
}

impl<'a> Walk<'a> {
    pub(super) fn new(
        rows: &'a [Row],
        target: Target,
        settings: &EnsembleSettings,
    ) -> Result<Self, EnsembleError> {
        let mut order: Vec<u32> = (0..rows.len() as u32).collect();
        let key = |place: &u32| {
            let row = &rows[*place as usize];
            (row.instrument, row.decision)
        };
        order.sort_by_key(key);
        if let Some(pair) = order.windows(2).find(|pair| key(&pair[0]) == key(&pair[1])) {
            let row = &rows[pair[1] as usize];
            return Err(EnsembleError::BadRow {
                row: pair[1] as usize,
                reason: format!(
                    "instrument {} has another row decided at {}, expected one",
                    row.instrument, row.decision
                ),
            });
        }
        let cuts = cuts(rows, target, settings)?;
        Ok(Self {
            rows,
            target,
            order,
            cuts,
            gap: settings.gap(),
        })
    }

    /// Returns the label of a row.
    pub(super) fn label(&self, row: u32) -> Option<bool> {
        self.target.label(self.rows[row as usize].target)
    }

    /// Returns whether a label was over, with the embargo, before an instant.
    pub(super) fn is_over(&self, row: u32, instant: i64) -> bool {
        self.rows[row as usize].end.saturating_add(self.gap) <= instant
    }

    /// Returns the rows of part `part` (0 the warm-up, then the folds), by instrument and decision.
    pub(super) fn part(&self, part: usize) -> Vec<u32> {
        let from = self.cuts[part];
        let to = self.cuts.get(part + 1).copied().unwrap_or(i64::MAX);
        let inside = |row: &&u32| (from..to).contains(&self.rows[**row as usize].decision);
        self.order.iter().filter(inside).copied().collect()
    }

    /// Returns rows to learn from whose labels were over before `cut` (all, without one), at most
    /// `most`.
    pub(super) fn draw(
        &self,
        cut: Option<i64>,
        settings: &EnsembleSettings,
        most: usize,
        name: &str,
    ) -> Result<Drawn, EnsembleError> {
        let mut candidates = Vec::new();
        let mut purged = 0;
        for &row in &self.order {
            let before = cut.is_none_or(|cut| self.rows[row as usize].decision < cut);
            if !before || self.label(row).is_none() || self.rows[row as usize].weight == 0.0 {
                continue;
            }
            if cut.is_none_or(|cut| self.is_over(row, cut)) {
                candidates.push(row);
            } else {
                purged += 1;
            }
        }
        let classes = [true, false].map(|side| {
            let rows = candidates.iter();
            rows.filter(|row| self.label(**row) == Some(side)).count()
        });
        for (found, expected, what) in [
            (
                candidates.len(),
                FEWEST_ROWS,
                "labelled rows whose outcome was known",
            ),
            (classes[0], 1, "rows labelled BUY"),
            (classes[1], 1, "rows labelled SELL"),
        ] {
            if found < expected {
                return Err(EnsembleError::TooFew {
                    part: name.to_owned(),
                    found,
                    what,
                    expected,
                });
            }
        }
        let uniqueness = self.uniqueness(&candidates);
        let mut drawn = self.thin(&candidates, &uniqueness, settings, most);
        drawn.purged = purged;
        if drawn.rows.is_empty() {
            return Err(EnsembleError::TooFew {
                part: name.to_owned(),
                found: 0,
                what: "rows drawn",
                expected: 1,
            });
        }
        Ok(drawn)
    }

    /// Returns the uniqueness of each of these rows (by instrument and decision) among the others
    /// of its instrument.
    pub(super) fn uniqueness(&self, rows: &[u32]) -> Vec<f64> {
        let mut unique = Vec::with_capacity(rows.len());
        for group in self.by_instrument(rows) {
            unique.extend(stats::uniqueness::weights(&self.spans(group)));
        }
        unique
    }

    /// Returns the effective number of these rows if all instruments were one: the least it can be.
    pub(super) fn effective_as_one_market(&self, rows: &[u32]) -> f64 {
        stats::uniqueness::effective_n(&stats::uniqueness::weights(&self.spans(rows)))
    }

    /// Splits rows that are sorted by instrument.
    pub(super) fn by_instrument<'b>(&self, rows: &'b [u32]) -> impl Iterator<Item = &'b [u32]> {
        let of = |row: u32| self.rows[row as usize].instrument;
        rows.chunk_by(move |a, b| of(*a) == of(*b))
    }

    fn spans(&self, rows: &[u32]) -> Vec<(i64, i64)> {
        let span = |row: &u32| {
            let row = &self.rows[*row as usize];
            (row.decision, row.end)
        };
        rows.iter().map(span).collect()
    }

    fn thin(
        &self,
        candidates: &[u32],
        uniqueness: &[f64],
        settings: &EnsembleSettings,
        most: usize,
    ) -> Drawn {
        let effective: f64 = uniqueness.iter().sum();
        let rate = settings.rows_per_effective.min(most as f64 / effective);
        let mut drawn = Drawn {
            rows: Vec::new(),
            weights: Vec::new(),
            from: candidates.len(),
            effective,
            purged: 0,
            through: i64::MIN,
            base_rate: 0.0,
        };
        let (mut buy, mut all) = (0.0, 0.0);
        let mut instrument = None;
        let mut account = 0.0;
        for (&place, &unique) in candidates.iter().zip(uniqueness) {
            let row = &self.rows[place as usize];
            let weight = f64::from(row.weight) * unique;
            all += weight;
            buy += if self.label(place) == Some(true) {
                weight
            } else {
                0.0
            };
            if instrument != Some(row.instrument) {
                instrument = Some(row.instrument);
                account = start(settings.seed, row.instrument);
            }
            let share = (rate * unique).min(1.0);
            account += share;
            if account >= 1.0 && drawn.rows.len() < most {
                account -= 1.0;
                drawn.rows.push(place);
                drawn.weights.push(weight / share);
                drawn.through = drawn.through.max(row.end);
            }
        }
        drawn.base_rate = buy / all;
        let total: f64 = drawn.weights.iter().sum();
        let mean = total / drawn.weights.len().max(1) as f64;
        drawn.weights.iter_mut().for_each(|weight| *weight /= mean);
        drawn
    }
}

/// Returns where an instrument's draw starts, in `[0, 1)`.
fn start(seed: u64, instrument: u32) -> f64 {
    let bits = seed::hash(seed, "ensemble draw", &instrument.to_string());
    (bits >> 11) as f64 / (1_u64 << 53) as f64
}

/// Returns where the warm-up and the folds begin: at equal numbers of labelled rows of all
/// instruments together.
fn cuts(
    rows: &[Row],
    target: Target,
    settings: &EnsembleSettings,
) -> Result<Vec<i64>, EnsembleError> {
    let labelled = rows.iter().filter(|row| target.label(row.target).is_some());
    let mut times: Vec<i64> = labelled.map(|row| row.decision).collect();
    times.sort_unstable();
    let n = times.len();
    let expected = FEWEST_ROWS * (settings.folds + 2);
    if n < expected {
        return Err(EnsembleError::TooFew {
            part: "the whole".to_owned(),
            found: n,
            what: "labelled rows",
            expected,
        });
    }
    let first = n as f64 * settings.first_share;
    let mut shares = vec![first * EARLY_SHARE];
    for fold in 0..settings.folds {
        let rest = (n as f64 - first) * fold as f64 / settings.folds as f64;
        shares.push(first + rest);
    }
    let cuts: Vec<i64> = shares.iter().map(|&share| times[share as usize]).collect();
    if times[0] >= cuts[0] || cuts.windows(2).any(|pair| pair[0] >= pair[1]) {
        return Err(EnsembleError::TooFew {
            part: "the walk".to_owned(),
            found: {
                times.dedup();
                times.len()
            },
            what: "distinct decision times (or they are bunched)",
            expected: settings.folds + 2,
        });
    }
    Ok(cuts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rows(instruments: u32, n: i64, horizon: i64) -> Vec<Row> {
        let row = |instrument, t: i64| Row {
            instrument,
            decision: t * 10 + i64::from(instrument),
            end: (t + horizon) * 10,
            target: if (t * 7 + i64::from(instrument)) % 3 == 0 {
                1.0
            } else {
                -1.0
            },
            weight: 1.0,
        };
        (0..instruments)
            .flat_map(|instrument| (0..n).map(move |t| row(instrument, t)))
            .collect()
    }

    #[test]
    fn draws_are_even_over_time_and_keep_the_weight() {
        let rows = rows(3, 2000, 20);
        let settings = EnsembleSettings {
            rows_per_effective: 2.0,
            ..Default::default()
        };
        let walk = Walk::new(&rows, Target::Return, &settings).unwrap();
        let drawn = walk.draw(None, &settings, 100_000, "all").unwrap();
        // Two for each stretch of 20 rows, three instruments of 2000 rows.
        assert!(
            (590..=620).contains(&drawn.rows.len()),
            "{}",
            drawn.rows.len()
        );
        let late = drawn
            .rows
            .iter()
            .filter(|row| rows[**row as usize].decision >= 10_000);
        assert!((290..=310).contains(&late.count()));
        let capped = walk.draw(None, &settings, 100, "all").unwrap();
        assert!((95..=100).contains(&capped.rows.len()));
        let mean = drawn.weights.iter().sum::<f64>() / drawn.weights.len() as f64;
        assert!((mean - 1.0).abs() < 1e-12);
    }

    #[test]
    fn a_row_twice_is_refused() {
        let mut rows = rows(2, 500, 2);
        rows.push(rows[3]);
        let error = Walk::new(&rows, Target::Return, &EnsembleSettings::default()).unwrap_err();
        assert!(
            matches!(error, EnsembleError::BadRow { row: 1000, .. }),
            "{error}"
        );
    }

    #[test]
    fn too_little_is_said() {
        let few = rows(1, 60, 2);
        let error = Walk::new(&few, Target::Return, &EnsembleSettings::default()).unwrap_err();
        assert!(
            matches!(error, EnsembleError::TooFew { found: 60, .. }),
            "{error}"
        );
        let mut bunched = rows(1, 600, 2);
        for (place, row) in bunched.iter_mut().enumerate() {
            (row.instrument, row.decision, row.end) = (place as u32, 5, 6);
        }
        let error = Walk::new(&bunched, Target::Return, &EnsembleSettings::default()).unwrap_err();
        assert!(
            matches!(error, EnsembleError::TooFew { found: 1, .. }),
            "{error}"
        );
        // One class only.
        let mut one = rows(1, 600, 2);
        for row in &mut one {
            row.target = 1.0;
        }
        let settings = EnsembleSettings::default();
        let walk = Walk::new(&one, Target::Return, &settings).unwrap();
        let error = walk.draw(None, &settings, 1000, "all").unwrap_err();
        assert!(error.to_string().contains("SELL"), "{error}");
    }

    proptest! {
        /// No label that teaches a fold's model reaches the fold or its embargo, and every row
        /// after the first window is in exactly one fold.
        #[test]
        fn what_teaches_is_over(
            spans in prop::collection::vec((0u32..3, 0i64..4_000, 0i64..400, any::<bool>()), 400..700),
            folds in 1usize..4,
            embargo in 0i64..300,
        ) {
            let mut seen = std::collections::BTreeSet::new();
            let rows: Vec<Row> = spans
                .into_iter()
                .filter(|span| seen.insert((span.0, span.1)))
                .map(|(instrument, decision, length, buy)| Row {
                    instrument,
                    decision,
                    end: decision + length,
                    target: if buy { 0.5 } else { -0.5 },
                    weight: 1.0,
                })
                .collect();
            let settings = EnsembleSettings { folds, embargo, ..Default::default() };
            let Ok(walk) = Walk::new(&rows, Target::Return, &settings) else {
                return Ok(());
            };
            let mut predicted = 0;
            for part in 0..=folds {
                let inside = walk.part(part);
                predicted += inside.len();
                let Ok(drawn) = walk.draw(Some(walk.cuts[part]), &settings, 1000, "part") else {
                    continue;
                };
                let start = inside.iter().map(|row| rows[*row as usize].decision).min();
                for &row in &drawn.rows {
                    let end = rows[row as usize].end;
                    prop_assert!(end <= drawn.through);
                    prop_assert!(start.is_none_or(|start| start - end >= embargo.max(1)));
                }
            }
            let late = rows.iter().filter(|row| row.decision >= walk.cuts[0]).count();
            prop_assert_eq!(predicted, late);
        }
    }
}
