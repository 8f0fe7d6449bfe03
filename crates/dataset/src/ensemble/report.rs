//! What the walk forward found: every arm scored on the same rows, fold by fold.
//!
//! An ensemble that does not beat the base rate of its own training rows adds nothing; one that is
//! not better by more than the noise of its blocks has not been shown to. Both stand beside it.

use serde::{Deserialize, Serialize};
use stats::Estimate;
use stats::metrics::{PROBABILITY_FLOOR, ReliabilityBin};

use super::Screening;

/// The report of an ensemble.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EnsembleReport {
    /// Rows given.
    pub rows: usize,
    /// Instruments among them.
    pub instruments: usize,
    /// Rows with an outcome.
    pub labelled: usize,
    /// Rows whose forward return was exactly 0: neither BUY nor SELL.
    pub ties: usize,
    /// The effective number of labelled rows: the sum of their uniqueness, instrument by
    /// instrument.
    pub effective_rows: f64,
    /// The same as if all instruments were one, the least it can be.
    pub effective_rows_as_one_market: f64,
    /// Rows before the first fold, which get no prediction.
    pub first_window_rows: usize,
    /// What became of the columns.
    pub screening: Screening,
    /// The folds.
    pub folds: Vec<FoldReport>,
    /// All folds together.
    pub overall: Scores,
    /// Rows scored in all folds together.
    pub scored: usize,
    /// Their effective number.
    pub scored_effective_rows: f64,
    /// Majority's Brier score less the ensemble's (above 0: the ensemble is better), with a 95 %
    /// interval over blocks of time.
    pub brier_gain: Estimate,
    /// The ensemble's accuracy less majority's, likewise.
    pub accuracy_gain: Estimate,
    /// The length of those blocks, milliseconds: twice the longest label.
    pub block: i64,
    /// Forecast probabilities of BUY against what happened, in bins of equal mass.
    pub reliability: Vec<ReliabilityBin>,
}

/// One fold.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FoldReport {
    /// Its number, from 1.
    pub fold: u16,
    /// Its first instant, Unix milliseconds.
    pub from: i64,
    /// Its last decision, Unix milliseconds.
    pub to: i64,
    /// Rows predicted.
    pub rows: usize,
    /// Of them with an outcome.
    pub scored: usize,
    /// The effective number of those.
    pub effective_rows: f64,
    /// Rows learned from.
    pub trained_rows: usize,
    /// Rows they were drawn from.
    pub drawn_from: usize,
    /// The effective number of those.
    pub drawn_from_effective: f64,
    /// Rows before the fold that were not learned from, since their label reached it or its
    /// embargo.
    pub purged: usize,
    /// Earlier out-of-fold predictions that the calibration learned from.
    pub calibration_rows: usize,
    /// The end of the last label that models and calibration have seen, Unix milliseconds.
    pub trained_through: i64,
    /// The arms.
    pub scores: Scores,
}

/// Every arm's score on the same rows.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Scores {
    /// Trees and regression together, calibrated: what is used.
    pub ensemble: Score,
    /// The same without calibration.
    pub uncalibrated: Score,
    /// The trees alone.
    pub trees: Score,
    /// The regression alone.
    pub logistic: Score,
    /// The more frequent side of the training rows, with its frequency.
    pub majority: Score,
    /// The side of the instrument's last known outcome, with the frequency with which it came
    /// again among the training rows.
    pub persistence: Score,
}

/// How good forecasts of BUY are.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Score {
    /// The share of rows on whose likelier side the outcome was.
    pub accuracy: f64,
    /// The mean of `(p - happened)^2`, in `[0, 1]`: half of [`stats::metrics::brier`].
    pub brier: f64,
    /// The mean of `-ln p` of what happened, nats.
    pub log_loss: f64,
}

/// The arms, in the order of [`Scores`].
pub(super) const ARMS: usize = 6;

/// Sums of scores.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Tally {
    pub rows: usize,
    sums: [Score; ARMS],
}

impl Tally {
    /// Counts one row: each arm's probability of BUY and what happened.
    pub(super) fn count(&mut self, probabilities: &[f64; ARMS], buy: bool) {
        self.rows += 1;
        for (sum, &p) in self.sums.iter_mut().zip(probabilities) {
            let one = score(p, buy);
            sum.accuracy += one.accuracy;
            sum.brier += one.brier;
            sum.log_loss += one.log_loss;
        }
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.rows += other.rows;
        for (sum, one) in self.sums.iter_mut().zip(&other.sums) {
            sum.accuracy += one.accuracy;
            sum.brier += one.brier;
            sum.log_loss += one.log_loss;
        }
    }

    pub(super) fn scores(&self) -> Scores {
        let n = self.rows.max(1) as f64;
        let [
            ensemble,
            uncalibrated,
            trees,
            logistic,
            majority,
            persistence,
        ] = self.sums.map(|sum| Score {
            accuracy: sum.accuracy / n,
            brier: sum.brier / n,
            log_loss: sum.log_loss / n,
        });
        Scores {
            ensemble,
            uncalibrated,
            trees,
            logistic,
            majority,
            persistence,
        }
    }
}

/// Returns the score of one row.
pub(super) fn score(p: f64, buy: bool) -> Score {
    let happened = f64::from(u8::from(buy));
    let own = if buy { p } else { 1.0 - p };
    Score {
        accuracy: f64::from(u8::from((p >= 0.5) == buy)),
        brier: (p - happened).powi(2),
        log_loss: -own.max(PROBABILITY_FLOOR).ln(),
    }
}
