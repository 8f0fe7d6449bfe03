//! The stationary bootstrap: what a mean over a dependent series may be by
//! chance.
//!
//! Politis and Romano (1994): a resample strings together runs of the series,
//! taken round the circle, whose lengths are geometric. Resampling single rows
//! instead makes overlapping outcomes look far more certain than they are (see
//! `tests/null_world.rs`). The mean length of a run is chosen from the series
//! itself by [`optimal_block_length`] unless the caller knows better; with
//! labels of horizon h, take at least 2h.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

use crate::{Interval, quantile_sorted};

/// Mean run lengths for one series, in rows, both at least 1.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct BlockLength {
    /// The mean length of a run for the stationary bootstrap.
    pub stationary: f64,
    /// The length of a block for the circular block bootstrap.
    pub circular: f64,
}

/// A mean against a threshold.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct MeanTest {
    /// The mean of the series.
    pub mean: f64,
    /// The probability of a mean at least this high if the true one were the
    /// threshold; NaN if it could not be estimated.
    pub p_value: f64,
    /// The mean run length used, in rows.
    pub block_length: f64,
    /// The number of resamples.
    pub replicates: usize,
}

/// Returns the mean block length that makes the bootstrapped variance of the
/// mean most accurate: Politis and White (2004) with the correction of Patton,
/// Politis and White (2009). A series shorter than 4 rows or without variation
/// gives 1.
///
/// The autocorrelation at lag k is taken over the two overlapping parts of the
/// series, one row shorter each, and the longest block is
/// `ceil(min(3 sqrt(n), n / 3))`, both as in PyPI `arch`. Takes `O(n^1.5)`.
///
/// # Panics
/// If a value is not finite.
pub fn optimal_block_length(series: &[f64]) -> BlockLength {
    let n = series.len();
    assert!(
        series.iter().all(|x| x.is_finite()),
        "a block length needs finite values"
    );
    let none = BlockLength {
        stationary: 1.0,
        circular: 1.0,
    };
    if n < 4 {
        return none;
    }
    let rows = n as f64;
    let mean = series.iter().sum::<f64>() / rows;
    let centred: Vec<f64> = series.iter().map(|x| x - mean).collect();
    let insignificant = 2.0 * (rows.log10() / rows).sqrt();
    // How many lags in a row must be insignificant, and the last lag looked at.
    let run = 5.max(rows.log10() as usize);
    let last_lag = (rows.sqrt().ceil() as usize + run).min(n - 2);
    let (covariance, correlation) = autocovariances(&centred, last_lag);
    if covariance[0] <= f64::MIN_POSITIVE {
        return none;
    }
    let quiet_from = (run..=last_lag).map(|end| end - run).find(|&lag| {
        correlation[lag..lag + run]
            .iter()
            .all(|&c| c < insignificant)
    });
    let bandwidth = quiet_from.map_or(last_lag, |lag| (2 * lag.max(1)).min(last_lag));

    let (mut slope, mut long_run) = (0.0, covariance[0]);
    for lag in 1..=bandwidth {
        let weight = flat_top(lag as f64 / bandwidth as f64);
        slope += 2.0 * weight * lag as f64 * covariance[lag];
        long_run += 2.0 * weight * covariance[lag];
    }
    let longest = (3.0 * rows.sqrt()).min(rows / 3.0).ceil();
    let length = |denominator: f64| {
        let length = (2.0 * slope * slope / denominator * rows).cbrt();
        if length.is_nan() {
            1.0
        } else {
            length.clamp(1.0, longest)
        }
    };
    BlockLength {
        stationary: length(2.0 * long_run * long_run),
        circular: length(4.0 / 3.0 * long_run * long_run),
    }
}

/// The trapezoid of Politis and Romano (1995): flat to one half, then falling.
fn flat_top(x: f64) -> f64 {
    if x <= 0.5 { 1.0 } else { 2.0 * (1.0 - x) }
}

/// Returns the autocovariances and the absolute autocorrelations at lags
/// `0..=last_lag`.
fn autocovariances(centred: &[f64], last_lag: usize) -> (Vec<f64>, Vec<f64>) {
    let n = centred.len();
    let square = |part: &[f64]| part.iter().map(|x| x * x).sum::<f64>();
    (0..=last_lag)
        .map(|lag| {
            let pairs = centred[lag..].iter().zip(centred);
            let product: f64 = pairs.map(|(late, early)| late * early).sum();
            let late = square(&centred[lag + 1..]);
            let early = square(&centred[..n - lag - 1]);
            (product / n as f64, product.abs() / (late * early).sqrt())
        })
        .unzip()
}

/// Writes one resample of `n` row indices over `rows`: runs of consecutive rows,
/// wrapping round, of geometric length with mean `mean_length`.
///
/// # Panics
/// If `n` is 0 or `mean_length` below 1.
pub fn resample(n: usize, mean_length: f64, random: &mut ChaCha8Rng, rows: &mut Vec<usize>) {
    assert!(n > 0, "a resample needs rows");
    assert!(
        mean_length >= 1.0,
        "a mean run length of {mean_length}, expected at least 1"
    );
    let restart = 1.0 / mean_length;
    rows.clear();
    let mut row = 0;
    for position in 0..n {
        // Drawn as u64, so that the width of `usize` does not matter.
        row = if position == 0 || random.random::<f64>() < restart {
            random.random_range(0..n as u64) as usize
        } else if row + 1 == n {
            0
        } else {
            row + 1
        };
        rows.push(row);
    }
}

/// Returns the percentile interval of a statistic at confidence `level` from
/// `replicates` resamples of `n` rows with runs of mean length `mean_length`.
/// `statistic` gets row indices; replicates for which it is not finite are left
/// out. Fewer than two rows, or no finite replicate, give
/// [`Interval::unknown`]. The same arguments give the same interval everywhere.
///
/// # Panics
/// If `level` is not between 0 and 1 or `mean_length` below 1.
pub fn stationary_bootstrap(
    n: usize,
    mean_length: f64,
    replicates: usize,
    seed: u64,
    level: f64,
    statistic: &dyn Fn(&[usize]) -> f64,
) -> Interval {
    assert!(level > 0.0 && level < 1.0, "level {level} outside (0, 1)");
    if n < 2 {
        return Interval::unknown();
    }
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut rows = Vec::with_capacity(n);
    let mut values = Vec::with_capacity(replicates);
    for _ in 0..replicates {
        resample(n, mean_length, &mut random, &mut rows);
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

/// Tests whether the mean of a series is above `threshold`: the fraction of
/// resamples whose mean exceeds the observed one by as much as the observed one
/// exceeds the threshold, counting the series itself as one of them, so the
/// p-value is never 0. `mean_length` of `None` takes [`optimal_block_length`].
/// Fewer than two rows give a p-value of NaN.
///
/// # Panics
/// If a value is not finite or `mean_length` below 1.
pub fn mean_above(
    series: &[f64],
    threshold: f64,
    mean_length: Option<f64>,
    replicates: usize,
    seed: u64,
) -> MeanTest {
    let n = series.len();
    let block_length = mean_length.unwrap_or_else(|| optimal_block_length(series).stationary);
    let mean = series.iter().sum::<f64>() / n as f64;
    let mut test = MeanTest {
        mean,
        p_value: f64::NAN,
        block_length,
        replicates,
    };
    if n < 2 {
        return test;
    }
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut rows = Vec::with_capacity(n);
    let mut as_high = 1_usize;
    for _ in 0..replicates {
        resample(n, block_length, &mut random, &mut rows);
        let resampled = rows.iter().map(|&row| series[row]).sum::<f64>() / n as f64;
        if resampled - mean >= mean - threshold {
            as_high += 1;
        }
    }
    test.p_value = as_high as f64 / (replicates + 1) as f64;
    test
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// An autoregression `x' = memory x + uniform noise`.
    fn autoregression(n: usize, memory: f64, seed: u64) -> Vec<f64> {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut x = 0.0;
        (0..n)
            .map(|_| {
                x = memory * x + random.random_range(-1.0..1.0);
                x
            })
            .collect()
    }

    #[test]
    fn memory_lengthens_the_blocks() {
        let short = optimal_block_length(&autoregression(2_000, 0.0, 1));
        let long = optimal_block_length(&autoregression(2_000, 0.9, 1));
        assert!(short.stationary < 5.0, "{short:?}");
        assert!(long.stationary > 20.0, "{long:?}");
        assert!(long.circular > long.stationary);
    }

    #[test]
    fn a_series_that_says_nothing_has_blocks_of_one() {
        let one = BlockLength {
            stationary: 1.0,
            circular: 1.0,
        };
        assert_eq!(optimal_block_length(&[]), one);
        assert_eq!(optimal_block_length(&[1.0, 2.0, 3.0]), one);
        assert_eq!(optimal_block_length(&[0.25; 50]), one);
    }

    #[test]
    fn the_p_value_knows_its_sides() {
        let series = autoregression(300, 0.5, 2);
        let mean = series.iter().sum::<f64>() / 300.0;
        let at = |threshold| mean_above(&series, threshold, None, 500, 7).p_value;
        assert_eq!(at(mean - 10.0), 1.0 / 501.0);
        assert_eq!(at(mean + 10.0), 1.0);
        assert!((at(mean) - 0.5).abs() < 0.1, "{}", at(mean));
        assert!(mean_above(&[1.0], 0.0, None, 9, 1).p_value.is_nan());
        // Longer runs see more variance in a series with memory.
        let rows = mean_above(&series, mean - 0.1, Some(1.0), 2_000, 7).p_value;
        let runs = mean_above(&series, mean - 0.1, Some(20.0), 2_000, 7).p_value;
        assert!(runs > 1.5 * rows, "{rows} {runs}");
    }

    #[test]
    fn runs_have_their_mean_length() {
        let mut random = ChaCha8Rng::seed_from_u64(5);
        let mut rows = Vec::new();
        resample(100_000, 8.0, &mut random, &mut rows);
        let breaks = rows.windows(2).filter(|w| w[1] != (w[0] + 1) % 100_000);
        let length = 100_000.0 / (breaks.count() + 1) as f64;
        // 12,500 runs: a standard error of 0.07.
        assert!((length - 8.0).abs() < 0.3, "{length}");
    }

    #[test]
    fn the_interval_is_reproducible_and_needs_two_rows() {
        let series = autoregression(80, 0.5, 3);
        let mean =
            |rows: &[usize]| rows.iter().map(|&r| series[r]).sum::<f64>() / rows.len() as f64;
        let run = |seed| stationary_bootstrap(80, 4.0, 200, seed, 0.9, &mean);
        assert_eq!(run(1), run(1));
        assert_ne!(run(1), run(2));
        assert!(run(1).low < run(1).high);
        assert!(!stationary_bootstrap(1, 1.0, 10, 1, 0.9, &|_| 0.0).is_known());
    }

    proptest! {
        #[test]
        fn lengths_stay_in_range(series in prop::collection::vec(-1e3f64..1e3, 0..80)) {
            let n = series.len() as f64;
            let length = optimal_block_length(&series);
            let longest = (3.0 * n.sqrt()).min(n / 3.0).ceil().max(1.0);
            for value in [length.stationary, length.circular] {
                prop_assert!((1.0..=longest).contains(&value), "{value}");
            }
        }
    }
}
