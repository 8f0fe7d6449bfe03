//! Scores of single rows, and their means with block-bootstrap intervals.
//!
//! Every statistic here is a ratio of sums over rows. The sums are taken once
//! per block, and the bootstrap then draws blocks, so its cost follows the
//! number of blocks and not the number of rows.

use stats::Interval;
use stats::bootstrap::{block_bootstrap, time_blocks};

use super::{Row, Settings};
use crate::class;

/// The rows' time blocks and how to resample them.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Blocks {
    of_row: Vec<usize>,
    count: usize,
    replicates: usize,
    seed: u64,
    level: f64,
}

impl Blocks {
    /// Puts rows into blocks of two horizons.
    pub(super) fn new(rows: &[&Row], settings: &Settings) -> Self {
        let times: Vec<i64> = rows.iter().map(|row| row.decision_time.0).collect();
        let of_row = time_blocks(&times, 2 * settings.horizon);
        Self {
            count: of_row.iter().max().map_or(0, |last| last + 1),
            of_row,
            replicates: settings.replicates,
            seed: settings.seed,
            level: settings.level,
        }
    }

    /// Returns the number of blocks.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// Returns the mean of a row score, where there is one, and its interval.
    pub(super) fn mean(&self, score: &dyn Fn(usize) -> Option<f64>) -> (f64, Interval) {
        let mut sums = vec![[0.0_f64; 2]; self.count];
        for (row, &block) in self.of_row.iter().enumerate() {
            if let Some(value) = score(row) {
                sums[block][0] += value;
                sums[block][1] += 1.0;
            }
        }
        self.estimate(&|blocks| {
            let [sum, n] = total(&sums, blocks);
            sum / n
        })
    }

    /// Returns the mean over the classes present of the share decided right, and its interval.
    pub(super) fn balanced_accuracy(
        &self,
        labels: &[usize],
        decisions: &[usize],
    ) -> (f64, Interval) {
        let mut sums = vec![[0.0_f64; 2 * class::COUNT]; self.count];
        for (row, &block) in self.of_row.iter().enumerate() {
            let label = labels[row];
            sums[block][label] += f64::from(u8::from(decisions[row] == label));
            sums[block][class::COUNT + label] += 1.0;
        }
        self.estimate(&|blocks| {
            let sums = total(&sums, blocks);
            let (hits, counts) = sums.split_at(class::COUNT);
            let present = hits.iter().zip(counts).filter(|(_, count)| **count > 0.0);
            let shares: Vec<f64> = present.map(|(hit, count)| hit / count).collect();
            shares.iter().sum::<f64>() / shares.len() as f64
        })
    }

    fn estimate(&self, statistic: &dyn Fn(&[usize]) -> f64) -> (f64, Interval) {
        let all: Vec<usize> = (0..self.count).collect();
        let interval = block_bootstrap(&all, self.replicates, self.seed, self.level, statistic);
        (statistic(&all), interval)
    }
}

fn total<const N: usize>(sums: &[[f64; N]], blocks: &[usize]) -> [f64; N] {
    let mut total = [0.0; N];
    for &block in blocks {
        for (t, s) in total.iter_mut().zip(sums[block]) {
            *t += s;
        }
    }
    total
}

/// Returns -ln of the probability given to what happened, as `stats` defines it.
pub(super) fn log_loss(probabilities: &[f64; class::COUNT], label: usize) -> f64 {
    stats::metrics::log_loss(&[label], &[probabilities])
}

/// Returns the squared error summed over classes, as `stats` defines it.
pub(super) fn brier(probabilities: &[f64; class::COUNT], label: usize) -> f64 {
    stats::metrics::brier(&[label], &[probabilities])
}

/// Counts `[truth][decided]`.
pub(super) fn confusion(
    labels: &[usize],
    decisions: &[usize],
) -> [[usize; class::COUNT]; class::COUNT] {
    let mut table = [[0; class::COUNT]; class::COUNT];
    for (&label, &decision) in labels.iter().zip(decisions) {
        table[label][decision] += 1;
    }
    table
}
