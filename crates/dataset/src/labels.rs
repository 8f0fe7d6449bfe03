//! Outcomes: what the price did over the horizon after each bar.
//!
//! An outcome needs the bar that closes exactly one horizon after the decision, and every bar
//! between. Where one is missing the row has no label: a hole is not a HOLD, and neither is the
//! end of the data. That holds for barriers too, though one may have been touched before the hole:
//! to keep the rows that were decided early and drop those that still waited would keep BUY and
//! SELL and drop HOLD. Whether a row has an outcome so depends on the stamps of the bars alone;
//! what the outcome is depends on no price after its span.

use std::ops::Range;

use formula::volatility;
use market::{Bars, Timestamp};

use crate::barriers::first_touch;
use crate::{DatasetSettings, Decision};

/// What happened after a decision.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Outcome {
    /// The label.
    pub label: Decision,
    /// The relative change of the price over the span: 0.01 is 1 %. It ends at the close of the
    /// horizon or, by the rules of barriers, at the barrier's price (the open of a bar that
    /// begins beyond it).
    pub outcome_return: f64,
    /// The decision time and the end of what the label looks at: of the horizon or, by the rules
    /// of barriers, of the bar that touched one.
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
    /// `sigma * sqrt(h)` known at each bar's close; empty for rules of fixed size.
    typical_move: Vec<f64>,
}

impl Outcomes {
    /// Returns the typical move over the horizon known at a bar's close; none for rules of fixed
    /// size and during the volatility's warm-up.
    pub fn typical_move(&self, row: usize) -> Option<f64> {
        self.typical_move
            .get(row)
            .copied()
            .filter(|value| value.is_finite())
    }

    /// Returns the label of the last horizon that had matured by a bar's close: that of the row
    /// one horizon earlier or, where a hole left it without an outcome, of the last row before it
    /// that has one. None before there is one.
    ///
    /// It waits for the horizon where a barrier was touched before, too: among the rows decided
    /// since, those whose label is known already are the ones that were touched, never a HOLD.
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
    let rule = settings.label;
    let typical_move = match rule.window_bars() {
        None => Vec::new(),
        Some(window_bars) => {
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
        let typical = match rule.window_bars() {
            None => 0.0,
            Some(_) => typical_move[row],
        };
        if !typical.is_finite() {
            return Err(Unlabelled::Warmup);
        }
        let price = bars.close[row];
        let (label, last, exit) = if rule.first_touch() {
            let (above, below) = rule.thresholds(typical);
            let (upper, lower) = (price * (1.0 + above), price * (1.0 + below));
            let touch = first_touch(bars, row, end, upper, lower);
            (touch.label, touch.row, touch.exit)
        } else {
            let change = bars.close[end] / price - 1.0;
            (rule.decide(change, typical), end, bars.close[end])
        };
        Ok(Outcome {
            label,
            outcome_return: exit / price - 1.0,
            span: (
                Timestamp(bars.close_time(row)),
                Timestamp(bars.close_time(last)),
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
    use crate::LabelRule;

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

    #[test]
    fn a_span_ends_at_the_touch_and_the_last_horizon_still_has_to_pass() {
        let mut bars = bars(&[(0, 100.0), (1, 100.0), (2, 100.0), (3, 100.0), (4, 100.0)]);
        bars.high[2] = 103.0;
        let settings = DatasetSettings {
            label: LabelRule::TripleBarrierAbsolute {
                profit: 0.02,
                loss: 0.02,
            },
            ..settings(3)
        };
        let found = outcomes(&bars, &settings);
        let first = found.rows[0].unwrap();
        assert_eq!(first.label, Decision::Buy);
        assert!((first.outcome_return - 0.02).abs() < 1e-12);
        assert_eq!(
            first.span,
            (Timestamp(START + HOUR), Timestamp(START + 3 * HOUR))
        );
        // Known after two hours, counted as matured after three.
        let matured = [0, 1, 2, 3].map(|row| found.last_matured(row));
        assert_eq!(matured, [None, None, None, Some(Decision::Buy)]);
        // A bar is missing after the touch: the same bars without it have no outcome.
        let short = outcomes(&bars.slice(0..3), &settings);
        assert_eq!(short.rows[0], Err(Unlabelled::Tail));
        bars.open_time[3] += HOUR;
        bars.open_time[4] += HOUR;
        assert_eq!(outcomes(&bars, &settings).rows[0], Err(Unlabelled::Gap));
    }

    /// Rules of barriers, of a size that a small move reaches now and then.
    fn barriers(scaled: bool) -> LabelRule {
        if scaled {
            LabelRule::TripleBarrier {
                profit_k: 0.8,
                loss_k: 0.6,
                window_bars: 4,
            }
        } else {
            LabelRule::TripleBarrierAbsolute {
                profit: 0.02,
                loss: 0.015,
            }
        }
    }

    proptest! {
        /// No price after an outcome's span has a part in it, whatever it is.
        #[test]
        fn an_outcome_never_depends_on_what_comes_after_its_span(
            moves in prop::collection::vec((-0.02_f64..0.02, 0.0_f64..0.01, 0.0_f64..0.01), 12..60),
            horizon in 1_u32..9,
            scaled in any::<bool>(),
            factor in prop::sample::select(vec![f64::NAN, 0.0, 0.5, 1000.0]),
        ) {
            let mut bars = bars(&[]);
            let mut price = 100.0;
            for (hour, (step, over, under)) in moves.iter().enumerate() {
                let open = price;
                price *= 1.0 + step;
                bars.open_time.push(START + hour as i64 * HOUR);
                bars.open.push(open);
                bars.high.push(open.max(price) * (1.0 + over));
                bars.low.push(open.min(price) * (1.0 - under));
                bars.close.push(price);
                bars.volume.push(1.0);
            }
            let settings = DatasetSettings { label: barriers(scaled), ..settings(horizon) };
            let whole = outcomes(&bars, &settings);
            for (row, outcome) in whole.rows.iter().enumerate() {
                let Ok(outcome) = outcome else { continue };
                let last = (0..bars.len()).find(|&at| bars.close_time(at) == outcome.span.1.0).unwrap();
                prop_assert!(last > row && last <= row + horizon as usize);
                let mut other = bars.clone();
                for column in [&mut other.open, &mut other.high, &mut other.low, &mut other.close] {
                    column[last + 1..].iter_mut().for_each(|value| *value *= factor);
                }
                prop_assert_eq!(outcomes(&other, &settings).rows[row], Ok(*outcome));
                // It can fail: the last bar of the span does have a part.
                other.close[last] = f64::NAN;
                other.high[last] = bars.close[row] * 1e3;
                other.low[last] = bars.close[row] * 1e-3;
                other.open[last] = bars.close[row];
                let changed = outcomes(&other, &settings).rows[row].unwrap();
                prop_assert!(changed != *outcome || changed.outcome_return.is_nan());
            }
        }

        /// A label exists exactly where every bar of the horizon does.
        #[test]
        fn labels_need_the_whole_horizon(
            kept in prop::collection::vec(prop::bool::weighted(0.9), 1..80),
            horizon in 1_u32..6,
            touch in any::<bool>(),
        ) {
            let hours: Vec<i64> = (0..kept.len()).filter(|&hour| kept[hour]).map(|hour| hour as i64).collect();
            let rows: Vec<(i64, f64)> = hours.iter().map(|&hour| (hour, 100.0)).collect();
            let mut settings = settings(horizon);
            if touch {
                settings.label = barriers(false);
            }
            let outcomes = outcomes(&bars(&rows), &settings);
            for (row, &hour) in hours.iter().enumerate() {
                let whole = (hour..=hour + i64::from(horizon))
                    .all(|hour| kept.get(hour as usize).copied().unwrap_or(false));
                prop_assert_eq!(outcomes.rows[row].is_ok(), whole);
            }
        }
    }
}
