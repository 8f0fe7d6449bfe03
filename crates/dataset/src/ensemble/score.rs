//! Scores the arms on the rows of each fold, and adds the folds up.

use stats::Estimate;

use super::folds::{Drawn, Walk};
use super::model::Logits;
use super::report::{ARMS, Tally, score};
use super::{EnsembleModel, EnsembleReport, FoldReport, Prediction, Scores, Screening, Target};

/// Resamples of the intervals in the report.
const REPLICATES: usize = 1000;
/// The level of those intervals.
const LEVEL: f64 = 0.95;
/// Bins of the reliability diagram.
const BINS: usize = 10;

/// What is added up while folds are scored.
pub(super) struct Scorer<'a> {
    walk: &'a Walk<'a>,
    /// For each row the last outcome of its instrument that was known at the decision.
    previous: Vec<Option<bool>>,
    tally: Tally,
    effective: f64,
    gains: Vec<Gain>,
    forecasts: Vec<f64>,
    happened: Vec<bool>,
}

/// How much better than majority the ensemble was on a row.
struct Gain {
    decision: i64,
    brier: f64,
    accuracy: f64,
}

impl<'a> Scorer<'a> {
    pub(super) fn new(walk: &'a Walk<'a>) -> Self {
        Self {
            walk,
            previous: previous(walk),
            tally: Tally::default(),
            effective: 0.0,
            gains: Vec::new(),
            forecasts: Vec::new(),
            happened: Vec::new(),
        }
    }

    /// Scores a fold; returns its report, without the calibration's rows, and the prediction of
    /// each row.
    pub(super) fn fold(
        &mut self,
        model: &EnsembleModel,
        drawn: &Drawn,
        rows: &[u32],
        logits: &[Logits],
    ) -> (FoldReport, Vec<Prediction>) {
        let again = self.persistence(drawn);
        let mut tally = Tally::default();
        let mut predictions = Vec::with_capacity(rows.len());
        for (&row, logits) in rows.iter().zip(logits) {
            let probability = model.calibration.at(logits.pooled());
            predictions.push(Prediction {
                probability,
                trained_through: model.trained_through,
            });
            let Some(buy) = self.walk.label(row) else {
                continue;
            };
            let persistence = match self.previous[row as usize] {
                Some(true) => again,
                Some(false) => 1.0 - again,
                None => drawn.base_rate,
            };
            let arms: [f64; ARMS] = [
                probability,
                chance(logits.pooled()),
                chance(logits.trees),
                chance(logits.linear),
                drawn.base_rate,
                persistence,
            ];
            tally.count(&arms, buy);
            let (own, majority) = (score(probability, buy), score(drawn.base_rate, buy));
            self.gains.push(Gain {
                decision: self.walk.rows[row as usize].decision,
                brier: majority.brier - own.brier,
                accuracy: own.accuracy - majority.accuracy,
            });
            self.forecasts.push(probability);
            self.happened.push(buy);
        }
        let report = self.report(model, drawn, rows, tally.scores());
        self.tally.add(&tally);
        self.effective += report.effective_rows;
        (report, predictions)
    }

    fn report(
        &self,
        model: &EnsembleModel,
        drawn: &Drawn,
        rows: &[u32],
        scores: Scores,
    ) -> FoldReport {
        let fold = model.fold.unwrap_or(0);
        let labelled = self.labelled(rows);
        let from = self.walk.cuts[fold as usize];
        let decisions = rows
            .iter()
            .map(|row| self.walk.rows[*row as usize].decision);
        FoldReport {
            fold,
            from,
            to: decisions.max().unwrap_or(from),
            rows: rows.len(),
            scored: labelled.len(),
            effective_rows: self.walk.uniqueness(&labelled).iter().sum(),
            trained_rows: drawn.rows.len(),
            drawn_from: drawn.from,
            drawn_from_effective: drawn.effective,
            purged: drawn.purged,
            calibration_rows: 0,
            trained_through: model.trained_through,
            scores,
        }
    }

    fn labelled(&self, rows: &[u32]) -> Vec<u32> {
        let labelled = rows.iter().filter(|row| self.walk.label(**row).is_some());
        labelled.copied().collect()
    }

    /// Returns how often an outcome came again among the rows learned from.
    fn persistence(&self, drawn: &Drawn) -> f64 {
        let (mut again, mut all) = (0.0, 0.0);
        for (&row, weight) in drawn.rows.iter().zip(&drawn.weights) {
            let outcomes = (self.previous[row as usize], self.walk.label(row));
            if let (Some(before), Some(now)) = outcomes {
                all += weight;
                again += if before == now { *weight } else { 0.0 };
            }
        }
        if all > 0.0 { again / all } else { 0.5 }
    }

    /// Returns the report of all folds.
    pub(super) fn finish(
        &self,
        screening: Screening,
        folds: Vec<FoldReport>,
        seed: u64,
    ) -> EnsembleReport {
        let walk = self.walk;
        let labelled = self.labelled(&walk.order);
        let longest = walk.rows.iter().map(|row| row.end - row.decision).max();
        let block = (2 * longest.unwrap_or(0)).max(1);
        let zero = |row: &&super::Row| row.target == 0.0 && walk.target == Target::Return;
        let predicted: usize = folds.iter().map(|fold| fold.rows).sum();
        let reliability = if self.forecasts.is_empty() {
            Vec::new()
        } else {
            stats::metrics::reliability(&self.forecasts, &self.happened, BINS)
        };
        EnsembleReport {
            rows: walk.rows.len(),
            instruments: walk.by_instrument(&walk.order).count(),
            labelled: labelled.len(),
            ties: walk.rows.iter().filter(zero).count(),
            effective_rows: walk.uniqueness(&labelled).iter().sum(),
            effective_rows_as_one_market: walk.effective_as_one_market(&labelled),
            first_window_rows: walk.rows.len() - predicted,
            screening,
            overall: self.tally.scores(),
            scored: self.tally.rows,
            scored_effective_rows: self.effective,
            brier_gain: estimate(&self.gains, block, seed, |gain| gain.brier),
            accuracy_gain: estimate(&self.gains, block, seed, |gain| gain.accuracy),
            block,
            reliability,
            folds,
        }
    }
}

/// Returns for each row the last outcome of its instrument that was known at the decision.
fn previous(walk: &Walk<'_>) -> Vec<Option<bool>> {
    let mut previous = vec![None; walk.rows.len()];
    for group in walk.by_instrument(&walk.order) {
        let mut known: Vec<u32> = group.to_vec();
        known.retain(|row| walk.label(*row).is_some());
        known.sort_by_key(|row| walk.rows[*row as usize].end);
        let mut over = 0;
        for &row in group {
            let decision = walk.rows[row as usize].decision;
            let is_over = |row: &u32| walk.rows[*row as usize].end <= decision;
            while known.get(over).is_some_and(is_over) {
                over += 1;
            }
            previous[row as usize] = over.checked_sub(1).and_then(|last| walk.label(known[last]));
        }
    }
    previous
}

fn chance(logit: f64) -> f64 {
    1.0 / (1.0 + (-logit).exp())
}

/// Returns the mean gain over rows with the interval of resampled blocks of time. Blocks are added
/// up first, so that a resample costs as much as there are blocks.
fn estimate(gains: &[Gain], length: i64, seed: u64, of: impl Fn(&Gain) -> f64) -> Estimate {
    let times: Vec<i64> = gains.iter().map(|gain| gain.decision).collect();
    let blocks = stats::bootstrap::time_blocks(&times, length);
    let count = blocks.iter().max().map_or(0, |last| last + 1);
    let mut sums = vec![(0.0, 0.0); count];
    for (gain, block) in gains.iter().zip(blocks) {
        sums[block].0 += of(gain);
        sums[block].1 += 1.0;
    }
    let mean = |blocks: &[usize]| {
        let (sum, rows) = blocks.iter().fold((0.0, 0.0), |(sum, rows), block| {
            (sum + sums[*block].0, rows + sums[*block].1)
        });
        sum / rows
    };
    let numbers: Vec<usize> = (0..count).collect();
    let mut estimate = stats::bootstrap::estimate(&numbers, REPLICATES, seed, LEVEL, &mean);
    estimate.n = gains.len();
    estimate
}
