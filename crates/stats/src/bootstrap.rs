//! The block bootstrap: intervals for rows that overlap in time.
//!
//! Rows whose outcomes overlap are not independent, so resampling rows gives
//! intervals that are far too narrow. Here whole blocks of time are resampled
//! with replacement, all instruments of a block together. A block is at least
//! twice the label horizon; what happens within a block may depend in any way.
//!
//! Blocks are fixed, not overlapping: every row is drawn equally often, and the
//! caller decides what a block is.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::{Estimate, Interval, quantile_sorted};

/// Returns the block of each decision time: `floor(time / length)`, renumbered
/// from 0 in order of time without holes. Times and length share one unit;
/// several instruments may be mixed in any order.
///
/// # Panics
/// If `length` is not positive.
pub fn time_blocks(decision_times: &[i64], length: i64) -> Vec<usize> {
    assert!(length > 0, "a block of time needs a positive length");
    let mut distinct: Vec<i64> = decision_times
        .iter()
        .map(|t| t.div_euclid(length))
        .collect();
    distinct.sort_unstable();
    distinct.dedup();
    let number = |t: &i64| distinct.partition_point(|&block| block < t.div_euclid(length));
    decision_times.iter().map(number).collect()
}

/// Returns the percentile interval of a statistic at confidence `level` (such
/// as 0.95) from `replicates` resamples of whole blocks.
///
/// `block_ids[row]` names the block of a row by any number. `statistic` gets the
/// row indices of a resample, block by block, and may be evaluated on rows that
/// repeat; a replicate for which it is not finite (no such class, say) is left
/// out. The same arguments give the same interval on every machine. Fewer than
/// two blocks, or no finite replicate, give [`Interval::unknown`].
///
/// # Panics
/// If `level` is not between 0 and 1.
pub fn block_bootstrap(
    block_ids: &[usize],
    replicates: usize,
    seed: u64,
    level: f64,
    statistic: &dyn Fn(&[usize]) -> f64,
) -> Interval {
    assert!(level > 0.0 && level < 1.0, "level {level} outside (0, 1)");
    let blocks = rows_of_blocks(block_ids);
    if blocks.len() < 2 {
        return Interval::unknown();
    }
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut rows = Vec::with_capacity(block_ids.len());
    let mut values = Vec::with_capacity(replicates);
    for _ in 0..replicates {
        rows.clear();
        for _ in 0..blocks.len() {
            // Drawn as u64, so that the width of `usize` does not matter.
            let block = random.random_range(0..blocks.len() as u64) as usize;
            rows.extend_from_slice(&blocks[block]);
        }
        let value = statistic(&rows);
        if value.is_finite() {
            values.push(value);
        }
    }
    values.sort_by(f64::total_cmp);
    Interval {
        low: quantile_sorted(&values, (1.0 - level) / 2.0),
        high: quantile_sorted(&values, f64::midpoint(1.0, level)),
    }
}

/// Returns the statistic of all rows beside its [`block_bootstrap`] interval.
///
/// # Panics
/// If `level` is not between 0 and 1.
pub fn estimate(
    block_ids: &[usize],
    replicates: usize,
    seed: u64,
    level: f64,
    statistic: &dyn Fn(&[usize]) -> f64,
) -> Estimate {
    let all: Vec<usize> = (0..block_ids.len()).collect();
    Estimate {
        value: statistic(&all),
        interval: block_bootstrap(block_ids, replicates, seed, level, statistic),
        n: block_ids.len(),
    }
}

/// Returns the rows of each block, blocks in ascending order of their number.
fn rows_of_blocks(block_ids: &[usize]) -> Vec<Vec<usize>> {
    let mut blocks = std::collections::BTreeMap::<usize, Vec<usize>>::new();
    for (row, &block) in block_ids.iter().enumerate() {
        blocks.entry(block).or_default().push(row);
    }
    blocks.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn mean_of(values: &[f64]) -> impl Fn(&[usize]) -> f64 {
        |rows| rows.iter().map(|&row| values[row]).sum::<f64>() / rows.len() as f64
    }

    #[test]
    fn blocks_are_numbered_by_time() {
        assert_eq!(time_blocks(&[-1, 25, 0, 9, 10], 10), vec![0, 3, 1, 1, 2]);
        assert!(time_blocks(&[], 10).is_empty());
    }

    #[test]
    fn a_resample_holds_whole_blocks() {
        let block_ids = [4, 4, 9, 9, 9, 1];
        let whole = |rows: &[usize]| {
            let mut rest = rows;
            while !rest.is_empty() {
                let block: &[usize] = match rest[0] {
                    0 => &[0, 1],
                    2 => &[2, 3, 4],
                    5 => &[5],
                    other => panic!("a block starts at row {other}"),
                };
                rest = rest.strip_prefix(block).unwrap();
            }
            0.5
        };
        let interval = block_bootstrap(&block_ids, 100, 1, 0.9, &whole);
        assert_eq!((interval.low, interval.high), (0.5, 0.5));
    }

    #[test]
    fn the_same_seed_gives_the_same_interval() {
        let values: Vec<f64> = (0..60).map(|i| f64::from(i % 7)).collect();
        let blocks: Vec<usize> = (0..60).map(|i| i / 5).collect();
        let run = |seed| block_bootstrap(&blocks, 200, seed, 0.95, &mean_of(&values));
        assert_eq!(run(3), run(3));
        assert_ne!(run(3), run(4));
        // Pinned: the stream of random numbers is part of the artefact.
        let pinned = estimate(&blocks, 200, 3, 0.95, &mean_of(&values));
        assert_eq!((pinned.n, pinned.value), (60, 2.9));
        let ends = [pinned.interval.low, pinned.interval.high];
        assert_eq!(
            ends.map(|end| (end * 1e6).round()),
            [2_616_667.0, 3_267_500.0]
        );
    }

    #[test]
    fn one_block_or_no_finite_replicate_is_unknown() {
        let flat = |_: &[usize]| 1.0;
        assert!(!block_bootstrap(&[0, 0], 50, 1, 0.95, &flat).is_known());
        assert!(!block_bootstrap(&[], 50, 1, 0.95, &flat).is_known());
        let nan = |_: &[usize]| f64::NAN;
        assert!(!block_bootstrap(&[0, 1], 50, 1, 0.95, &nan).is_known());
    }

    proptest! {
        #[test]
        fn the_interval_of_a_mean_stays_within_the_block_means(
            values in prop::collection::vec(-1e3f64..1e3, 2..40),
            width in 1usize..5,
            seed in any::<u64>(),
        ) {
            let blocks: Vec<usize> = (0..values.len()).map(|i| i / width).collect();
            let interval = block_bootstrap(&blocks, 50, seed, 0.9, &mean_of(&values));
            let block_means: Vec<f64> = values
                .chunks(width)
                .map(|block| block.iter().sum::<f64>() / block.len() as f64)
                .collect();
            if block_means.len() < 2 {
                prop_assert!(!interval.is_known());
            } else {
                let low = block_means.iter().copied().fold(f64::INFINITY, f64::min);
                let high = block_means.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                prop_assert!(interval.low <= interval.high);
                prop_assert!(interval.low >= low - 1e-9 && interval.high <= high + 1e-9);
            }
        }
    }
}
