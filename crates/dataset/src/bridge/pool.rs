//! What history made of certainty scores and of signals like these: a calibration and a conformal
//! threshold for every instant, each from outcomes that had matured by then.
//!
//! A thin sample of rows of all pairs, in the order of time, feeds both. The calibration is an
//! isotonic fit over groups of scores, pulled to the overall rate; it is made anew every so many
//! outcomes.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use stats::conformal::{AdaptiveConformal, Ticket};
use stats::isotonic::{self, Isotonic};

use super::Side;
use crate::DatasetError;

/// Outcomes before the first calibration.
const FIRST: usize = 400;
/// Outcomes between two calibrations.
const STEP: usize = 200;
/// Groups of scores that a calibration is fitted to.
const GROUPS: usize = 12;
/// Outcomes at the overall rate that are added to each group.
const PRIOR: f64 = 20.0;
/// The share of signals whose set should miss the direction, the speed at which the level moves,
/// and the outcomes compared with.
const MISS: f64 = 0.2;
const SPEED: f64 = 0.01;
const WINDOW: usize = 500;

/// One row of the sample.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Sampled {
    pub(crate) decided: i64,
    pub(crate) end: i64,
    /// The pair's number, for the order of rows at one instant.
    pub(crate) pair: usize,
    /// The raw certainty.
    pub(crate) raw: f64,
    /// The signal.
    pub(crate) side: Side,
    pub(crate) confidence: f64,
    /// The relative change over the horizon.
    pub(crate) outcome: f64,
    /// Whether the signal paid after costs.
    pub(crate) paid: bool,
}

/// What history says at an instant.
#[derive(Debug, Clone)]
struct Entry {
    from: i64,
    calibration: Isotonic,
    threshold: f64,
}

/// Calibrations and thresholds along time.
#[derive(Debug, Clone)]
pub(crate) struct History {
    entries: Vec<Entry>,
    /// Sampled rows.
    pub(crate) sampled: usize,
    /// The share of conformal sets that missed.
    pub(crate) miss_rate: f64,
    /// Mean squared error of the calibrated and of the raw certainty, and of the rate before each,
    /// over rows after the first calibration.
    pub(crate) brier: [f64; 3],
    /// Rows behind `brier`.
    pub(crate) judged: usize,
    /// For a chart: calibrated certainty and whether it paid, by tenths of certainty.
    pub(crate) reliability: Vec<(f64, f64, usize)>,
}

impl History {
    /// Goes through the sample in the order of time.
    ///
    /// # Errors
    /// [`DatasetError::Stats`] where a fit is refused.
    pub(crate) fn new(mut sample: Vec<Sampled>) -> Result<Self, DatasetError> {
        sample.sort_by_key(|row| (row.decided, row.pair));
        let mut conformal = AdaptiveConformal::new(MISS, SPEED, WINDOW)?;
        let mut waiting: BinaryHeap<Reverse<(i64, usize)>> = BinaryHeap::new();
        let mut tickets: Vec<Option<Ticket>> = vec![None; sample.len()];
        let (mut raws, mut paid) = (Vec::new(), Vec::new());
        let mut entries: Vec<Entry> = Vec::new();
        let mut errors = [0.0; 3];
        let mut judged = 0;
        let mut cells = [(0.0, 0.0, 0_usize); 10];
        for index in 0..sample.len() {
            let row = sample[index];
            while let Some(Reverse((end, earlier))) = waiting.peek().copied() {
                if end > row.decided {
                    break;
                }
                waiting.pop();
                let done = sample[earlier];
                raws.push(done.raw);
                paid.push(f64::from(u8::from(done.paid)));
                if let Some(ticket) = tickets[earlier].take() {
                    conformal.settle(end, &ticket, score(&done))?;
                }
                let n = raws.len();
                if n >= FIRST && (n - FIRST).is_multiple_of(STEP) {
                    entries.push(Entry {
                        from: row.decided,
                        calibration: calibrate(&raws, &paid)?,
                        threshold: conformal.issue(end).threshold,
                    });
                }
            }
            if let Some(entry) = entries.last() {
                let outcome = f64::from(u8::from(row.paid));
                let certainty = entry.calibration.at(row.raw);
                let rate = paid.iter().sum::<f64>() / paid.len() as f64;
                for (sum, forecast) in errors.iter_mut().zip([certainty, row.raw, rate]) {
                    *sum += (forecast - outcome).powi(2);
                }
                judged += 1;
                let cell = &mut cells[((certainty * 10.0) as usize).min(9)];
                *cell = (cell.0 + certainty, cell.1 + outcome, cell.2 + 1);
            }
            tickets[index] = Some(conformal.issue(row.end));
            waiting.push(Reverse((row.end, index)));
        }
        let n = judged.max(1) as f64;
        Ok(Self {
            entries,
            sampled: sample.len(),
            miss_rate: conformal.miss_rate(),
            brier: errors.map(|sum| sum / n),
            judged,
            reliability: cells
                .iter()
                .filter(|cell| cell.2 > 0)
                .map(|cell| (cell.0 / cell.2 as f64, cell.1 / cell.2 as f64, cell.2))
                .collect(),
        })
    }

    /// Returns the instant from which there is a calibration.
    pub(crate) fn start(&self) -> Option<i64> {
        self.entries.first().map(|entry| entry.from)
    }

    /// Returns the calibrated certainty and the conformal set (BUY, SELL) of a signal; none before
    /// the start.
    pub(crate) fn at(
        &self,
        now: i64,
        raw: f64,
        side: Side,
        confidence: f64,
    ) -> Option<(f64, [bool; 2])> {
        let after = self.entries.partition_point(|entry| entry.from <= now);
        let entry = &self.entries[after.checked_sub(1)?];
        let rise = match side {
            Side::Buy => confidence,
            Side::Sell => 1.0 - confidence,
        };
        let holds = |probability: f64| 1.0 - probability <= entry.threshold;
        Some((entry.calibration.at(raw), [holds(rise), holds(1.0 - rise)]))
    }
}

/// Returns how badly the signal's probabilities fit what came.
fn score(row: &Sampled) -> f64 {
    let right = (row.outcome > 0.0) == (row.side == Side::Buy);
    if right {
        1.0 - row.confidence
    } else {
        row.confidence
    }
}

/// Fits frequencies of payment to groups of equal size in the order of their scores.
fn calibrate(raws: &[f64], paid: &[f64]) -> Result<Isotonic, DatasetError> {
    let mut order: Vec<usize> = (0..raws.len()).collect();
    order.sort_by(|a, b| raws[*a].total_cmp(&raws[*b]).then(a.cmp(b)));
    let overall = paid.iter().sum::<f64>() / paid.len() as f64;
    let size = order.len().div_ceil(GROUPS);
    let (mut x, mut y, mut weights) = (Vec::new(), Vec::new(), Vec::new());
    for group in order.chunks(size) {
        let n = group.len() as f64;
        let sum = |of: &[f64]| group.iter().map(|row| of[*row]).sum::<f64>();
        x.push(sum(raws) / n);
        y.push((sum(paid) + PRIOR * overall) / (n + PRIOR));
        weights.push(n + PRIOR);
    }
    Ok(isotonic::fit(&x, &y, &weights)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(rows: usize, rate: impl Fn(f64) -> f64) -> Vec<Sampled> {
        let mut state = 5_u64;
        let mut random = || {
            state = state
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            (state >> 11) as f64 / (1_u64 << 53) as f64
        };
        (0..rows)
            .map(|row| {
                let raw = random();
                let paid = random() < rate(raw);
                Sampled {
                    decided: row as i64 * 10,
                    end: row as i64 * 10 + 95,
                    pair: 0,
                    raw,
                    side: Side::Buy,
                    confidence: 0.5 + 0.4 * raw,
                    outcome: if paid { 0.01 } else { -0.01 },
                    paid,
                }
            })
            .collect()
    }

    #[test]
    fn a_calibration_learns_the_frequencies_and_only_from_matured_outcomes() {
        let rows = sample(6000, |raw| 0.2 + 0.6 * raw);
        let history = History::new(rows.clone()).unwrap();
        let now = 59_000;
        let (low, _) = history.at(now, 0.1, Side::Buy, 0.6).unwrap();
        let (high, _) = history.at(now, 0.9, Side::Buy, 0.6).unwrap();
        assert!(
            (low - 0.26).abs() < 0.08 && (high - 0.74).abs() < 0.08,
            "{low} {high}"
        );
        assert!(history.brier[0] < history.brier[2], "{:?}", history.brier);
        assert!(
            (history.miss_rate - MISS).abs() < 0.05,
            "{}",
            history.miss_rate
        );
        let start = history.start().unwrap();
        assert!(history.at(start - 1, 0.5, Side::Buy, 0.6).is_none());
        // Another future changes nothing that was said before it.
        let mut other = rows;
        for row in &mut other {
            if row.end > 30_000 {
                row.paid = !row.paid;
                row.outcome = -row.outcome;
            }
        }
        let other = History::new(other).unwrap();
        for raw in [0.1, 0.5, 0.9] {
            assert_eq!(
                other.at(30_000, raw, Side::Sell, 0.7),
                history.at(30_000, raw, Side::Sell, 0.7)
            );
        }
    }

    #[test]
    fn without_a_relation_the_rate_is_all_there_is() {
        let history = History::new(sample(3000, |_| 0.4)).unwrap();
        let (certainty, _) = history.at(29_000, 0.95, Side::Buy, 0.9).unwrap();
        assert!((certainty - 0.4).abs() < 0.08, "{certainty}");
    }
}
