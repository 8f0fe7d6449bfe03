//! Outcomes: what the price did over the horizon after each bar.
//!
//! An outcome needs the bar that closes exactly one horizon after the decision, and every bar
//! between. Where one is missing the row has no label: a hole is not a HOLD, and neither is the
//! end of the data.

use std::ops::Range;

use formula::volatility;
use market::{Bars, Timestamp};

use crate::{DatasetSettings, Decision, LabelRule};

/// What happened after a decision.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Outcome {
    /// The label.
    pub label: Decision,
    /// The relative change of the close over the horizon: 0.01 is 1 %.
    pub outcome_return: f64,
    /// The decision time and the end of the horizon.
    pub span: (Timestamp, Timestamp),
}

/// Why a row has no outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unlabelled {
    /// The data end before the horizon does.
    Tail,
    /// A bar is missing within the horizon.
    Gap,
    /// The volatility that scales the threshold is not known yet.
    Warmup,
}

/// The outcomes of one instrument and what they were made from.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcomes {
    /// The outcome after each bar, decided at its close.
    pub rows: Vec<Result<Outcome, Unlabelled>>,
    /// The label of each row or of the last row before it that has one.
    latest: Vec<Option<Decision>>,
    horizon_bars: usize,
    /// `sigma * sqrt(h)` known at each bar's close; empty for the absolute rule.
    typical_move: Vec<f64>,
}

impl Outcomes {
    /// Returns the typical move over the horizon known at a bar's close; none for the absolute
    /// rule and during the volatility's warm-up.
    pub fn typical_move(&self, row: usize) -> Option<f64> {
        self.typical_move
            .get(row)
            .copied()
            .filter(|value| value.is_finite())
    }

    /// Returns the label of the last horizon that had matured by a bar's close: that of the row
    /// one horizon earlier or, where a hole left it without an outcome, of the last row before it
    /// that has one. None before there is one.
    pub fn last_matured(&self, row: usize) -> Option<Decision> {
        let earlier = row.checked_sub(self.horizon_bars)?;
        self.latest.get(earlier).copied().flatten()
    }
}

/// Labels every bar.
///
/// The bars have passed [`Bars::validate`]; the settings have passed
/// [`DatasetSettings::validate`].
pub fn outcomes(bars: &Bars, settings: &DatasetSettings) -> Outcomes {
    let mut run_end = Vec::with_capacity(bars.len());
    for run in runs(bars, 0) {
        run_end.extend(run.clone().map(|_| run.end - 1));
    }
    let horizon_bars = settings.horizon_bars();
    let typical_move = match settings.label {
        LabelRule::Absolute { .. } => Vec::new(),
        LabelRule::Volatility { window_bars, .. } => {
            // As indicators do: a return across a hole is not a return per bar.
            let bridged = i64::from(settings.market_closed_hours) * 3_600_000;
            let root = (horizon_bars as f64).sqrt();
            let mut typical = Vec::with_capacity(bars.len());
            for run in runs(bars, bridged) {
                let sigma = volatility(&bars.close[run], window_bars);
                typical.extend(sigma.into_iter().map(|sigma| sigma * root));
            }
            typical
        }
    };
    let outcome = |row: usize| {
        let end = row + horizon_bars;
        if run_end[row] < end {
            let tail = run_end[row] + 1 == bars.len();
            return Err(if tail {
                Unlabelled::Tail
            } else {
                Unlabelled::Gap
            });
        }
        let typical = match settings.label {
            LabelRule::Absolute { .. } => 0.0,
            LabelRule::Volatility { .. } => typical_move[row],
        };
        if !typical.is_finite() {
            return Err(Unlabelled::Warmup);
        }
        let outcome_return = bars.close[end] / bars.close[row] - 1.0;
        Ok(Outcome {
            label: settings.label.decide(outcome_return, typical),
            outcome_return,
            span: (
                Timestamp(bars.close_time(row)),
                Timestamp(bars.close_time(end)),
            ),
        })
    };
    let rows: Vec<Result<Outcome, Unlabelled>> = (0..bars.len()).map(outcome).collect();
    let mut last = None;
    let latest = rows.iter().map(|row| {
        last = row.ok().map(|outcome| outcome.label).or(last);
        last
    });
    Outcomes {
        latest: latest.collect(),
        rows,
        horizon_bars,
        typical_move,
    }
}

/// Returns the runs of rows between holes longer than `bridged` milliseconds.
fn runs(bars: &Bars, bridged: i64) -> Vec<Range<usize>> {
    let mut runs = Vec::new();
    let mut start = 0;
    for row in 1..=bars.len() {
        let ends = row == bars.len()
            || bars.open_time[row].saturating_sub(bars.close_time(row - 1)) > bridged;
        if ends {
            runs.push(start..row);
            start = row;
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use market::{Instrument, Timeframe};
    use proptest::prelude::*;

    use super::*;

    const HOUR: i64 = 3_600_000;
    const START: i64 = 1_500_000_000_000 - 1_500_000_000_000 % (24 * HOUR);

    /// Hourly bars at these hours since the start with these closes.
    fn bars(rows: &[(i64, f64)]) -> Bars {
        let close: Vec<f64> = rows.iter().map(|row| row.1).collect();
        Bars {
            instrument: Instrument::new("BTC/USD").unwrap(),
            timeframe: Timeframe::HOUR,
            open_time: rows.iter().map(|row| START + row.0 * HOUR).collect(),
            open: close.clone(),
            high: close.clone(),
            low: close.clone(),
            volume: vec![1.0; rows.len()],
            close,
        }
    }

    fn settings(horizon_hours: u32) -> DatasetSettings {
        DatasetSettings {
            horizon_hours,
            ..DatasetSettings::default()
        }
    }

    #[test]
    fn the_tail_is_unlabelled_and_never_hold() {
        let rows: Vec<(i64, f64)> = (0..6).map(|hour| (hour, 100.0)).collect();
        let outcomes = outcomes(&bars(&rows), &settings(2));
        let labels: Vec<_> = outcomes
            .rows
            .iter()
            .map(|row| row.map(|outcome| outcome.label))
            .collect();
        let hold = Ok(Decision::Hold);
        let tail = Err(Unlabelled::Tail);
        assert_eq!(labels, [hold, hold, hold, hold, tail, tail]);
    }

    #[test]
    fn a_gap_inside_the_span_leaves_it_unlabelled() {
        // Hour 3 is missing.
        let rows = [(0, 100.0), (1, 100.0), (2, 100.0), (4, 110.0), (5, 90.0)];
        let outcomes = outcomes(&bars(&rows), &settings(1));
        // What matured last: the row before the hole had no outcome, the one before that has.
        let matured = [0, 1, 2, 3, 4].map(|row| outcomes.last_matured(row));
        let (hold, sell) = (Some(Decision::Hold), Some(Decision::Sell));
        assert_eq!(matured, [None, hold, hold, hold, sell]);
        let labels: Vec<_> = outcomes
            .rows
            .iter()
            .map(|row| row.map(|outcome| outcome.label))
            .collect();
        assert_eq!(
            labels,
            [
                Ok(Decision::Hold),
                Ok(Decision::Hold),
                Err(Unlabelled::Gap),
                Ok(Decision::Sell),
                Err(Unlabelled::Tail),
            ]
        );
    }

    #[test]
    fn returns_and_spans_are_those_of_the_horizon() {
        let rows: Vec<(i64, f64)> = [100.0, 101.0, 103.0, 99.0]
            .into_iter()
            .enumerate()
            .map(|(hour, close)| (hour as i64, close))
            .collect();
        let outcomes = outcomes(&bars(&rows), &settings(2));
        let first = outcomes.rows[0].unwrap();
        assert_eq!(first.label, Decision::Buy);
        assert!((first.outcome_return - 0.03).abs() < 1e-12);
        assert_eq!(
            first.span,
            (Timestamp(START + HOUR), Timestamp(START + 3 * HOUR))
        );
        assert_eq!(outcomes.last_matured(1), None);
        assert_eq!(outcomes.last_matured(2), Some(Decision::Buy));
        assert_eq!(outcomes.last_matured(3), Some(Decision::Hold));
    }

    #[test]
    fn the_volatility_rule_waits_for_its_window_after_each_gap() {
        let rows: Vec<(i64, f64)> = (0..10)
            .chain(11..20)
            .map(|hour| (hour, 100.0 + (hour % 3) as f64))
            .collect();
        let settings = DatasetSettings {
            horizon_hours: 1,
            label: LabelRule::Volatility {
                k: 1.0,
                window_bars: 3,
            },
            ..DatasetSettings::default()
        };
        let outcomes = outcomes(&bars(&rows), &settings);
        let warm = |row: usize| outcomes.rows[row] == Err(Unlabelled::Warmup);
        for row in 0..3 {
            assert!(warm(row) && warm(10 + row), "{row}");
        }
        assert!(outcomes.rows[3].is_ok() && outcomes.rows[13].is_ok());
        assert_eq!(outcomes.rows[9], Err(Unlabelled::Gap));
        assert_eq!(outcomes.typical_move(2), None);
        assert!(outcomes.typical_move(3).unwrap() > 0.0);
    }

    proptest! {
        /// A label exists exactly where every bar of the horizon does.
        #[test]
        fn labels_need_the_whole_horizon(
            kept in prop::collection::vec(prop::bool::weighted(0.9), 1..80),
            horizon in 1_u32..6,
        ) {
            let hours: Vec<i64> = (0..kept.len()).filter(|&hour| kept[hour]).map(|hour| hour as i64).collect();
            let rows: Vec<(i64, f64)> = hours.iter().map(|&hour| (hour, 100.0)).collect();
            let outcomes = outcomes(&bars(&rows), &settings(horizon));
            for (row, &hour) in hours.iter().enumerate() {
                let whole = (hour..=hour + i64::from(horizon))
                    .all(|hour| kept.get(hour as usize).copied().unwrap_or(false));
                prop_assert_eq!(outcomes.rows[row].is_ok(), whole);
            }
        }
    }
}
