//! Calibration of a yes-or-no forecast in detail: the Brier score taken apart,
//! a debiased calibration error, and bands for the reliability diagram that
//! respect overlapping outcomes.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

use crate::metrics::{ReliabilityBin, reliability};
use crate::{Interval, normal, quantile_sorted};

/// The one-sided Brier score, `mean (forecast - happened)^2`, and its parts:
/// `score = reliability - resolution + uncertainty + within_bins`.
///
/// Murphy (1973); the last part, of forecasts that differ within a bin, is that
/// of Stephenson, Coelho and Jolliffe (2008) and 0 where they do not.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct BrierParts {
    /// The score, in `[0, 1]`; half of [`crate::metrics::brier`] for two classes.
    pub score: f64,
    /// How far forecasts are from what happened to them; 0 is perfect.
    pub reliability: f64,
    /// How far what happened in the bins is from the base rate; high is good.
    pub resolution: f64,
    /// The variance of what happened: the score of always saying the base rate.
    pub uncertainty: f64,
    /// What binning adds: variance of forecasts within bins, less twice their
    /// covariance with what happened.
    pub within_bins: f64,
}

/// Returns the parts of the Brier score over `bins` equal-mass bins (see
/// [`reliability`]). All NaN for no rows.
///
/// # Panics
/// If the lengths differ, `bins` is 0 or a forecast is NaN.
pub fn brier_parts(forecast: &[f64], happened: &[bool], bins: usize) -> BrierParts {
    let bins = reliability(forecast, happened, bins);
    let n = forecast.len() as f64;
    let event = |happened: bool| f64::from(u8::from(happened));
    let rows = || forecast.iter().zip(happened);
    let score = rows().map(|(p, &y)| (p - event(y)).powi(2)).sum::<f64>() / n;
    let base = happened.iter().filter(|&&y| y).count() as f64 / n;
    let over_bins = |value: &dyn Fn(&ReliabilityBin) -> f64| {
        bins.iter().map(|b| b.count as f64 * value(b)).sum::<f64>() / n
    };
    let within: f64 = rows()
        .filter_map(|(p, &y)| bin_of(&bins, *p).map(|b| (p, y, &bins[b])))
        .map(|(p, y, bin)| {
            let off = p - bin.mean_predicted;
            off * off - 2.0 * off * (event(y) - bin.observed)
        })
        .sum();
    BrierParts {
        score,
        reliability: over_bins(&|b| (b.mean_predicted - b.observed).powi(2)),
        resolution: over_bins(&|b| (b.observed - base).powi(2)),
        uncertainty: base * (1.0 - base),
        within_bins: within / n,
    }
}

/// Returns the bin of a forecast: the first whose largest forecast reaches it.
fn bin_of(bins: &[ReliabilityBin], forecast: f64) -> Option<usize> {
    let bin = bins.partition_point(|bin| bin.high < forecast);
    (bin < bins.len()).then_some(bin)
}

/// Returns the expected calibration error less its bias, at least 0: twice the
/// binned error minus what it would be on average if each bin's observed
/// frequency were drawn again around itself (Kumar, Liang and Ma 2019, appendix;
/// the mean of a folded normal in closed form). Show it beside
/// [`crate::metrics::ece`], which a perfect forecaster does not bring to 0. NaN
/// for no bins.
pub fn debiased_ece(bins: &[ReliabilityBin]) -> f64 {
    let rows: usize = bins.iter().map(|b| b.count).sum();
    let sum: f64 = bins
        .iter()
        .map(|b| {
            let gap = (b.mean_predicted - b.observed).abs();
            let noise = (b.observed * (1.0 - b.observed) / b.count as f64).sqrt();
            b.count as f64 * (2.0 * gap - folded_mean(gap, noise))
        })
        .sum();
    let error = sum / rows as f64;
    if error.is_nan() {
        error
    } else {
        error.max(0.0)
    }
}

/// The mean of `|X|` for normal X.
fn folded_mean(mean: f64, deviation: f64) -> f64 {
    if deviation == 0.0 {
        return mean;
    }
    let z = mean / deviation;
    2.0 * deviation * normal::density(z) + mean * (1.0 - 2.0 * normal::cumulative(-z))
}

/// Returns the band of each bin's observed frequency at confidence `level`, from
/// `replicates` resamples of whole blocks of rows (see [`crate::bootstrap`]). The
/// bins are those of all rows and stay where they are. A bin that no resample
/// meets, or fewer than two blocks, have an unknown band.
///
/// # Panics
/// If lengths differ or `level` is not between 0 and 1.
pub fn bands(
    forecast: &[f64],
    happened: &[bool],
    bins: &[ReliabilityBin],
    block_ids: &[usize],
    replicates: usize,
    seed: u64,
    level: f64,
) -> Vec<Interval> {
    assert_eq!(
        forecast.len(),
        happened.len(),
        "forecasts and events differ"
    );
    assert_eq!(
        forecast.len(),
        block_ids.len(),
        "forecasts and blocks differ"
    );
    assert!(level > 0.0 && level < 1.0, "level {level} outside (0, 1)");
    // Per block and bin: events and rows.
    let mut blocks = std::collections::BTreeMap::<usize, Vec<(u32, u32)>>::new();
    for (row, &block) in block_ids.iter().enumerate() {
        let counts = blocks
            .entry(block)
            .or_insert_with(|| vec![(0, 0); bins.len()]);
        if let Some(bin) = bin_of(bins, forecast[row]) {
            counts[bin].0 += u32::from(happened[row]);
            counts[bin].1 += 1;
        }
    }
    let blocks: Vec<Vec<(u32, u32)>> = blocks.into_values().collect();
    if blocks.len() < 2 {
        return vec![Interval::unknown(); bins.len()];
    }
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut observed: Vec<Vec<f64>> = vec![Vec::with_capacity(replicates); bins.len()];
    for _ in 0..replicates {
        let mut total = vec![(0_u64, 0_u64); bins.len()];
        for _ in 0..blocks.len() {
            let block = random.random_range(0..blocks.len() as u64) as usize;
            for (sum, count) in total.iter_mut().zip(&blocks[block]) {
                sum.0 += u64::from(count.0);
                sum.1 += u64::from(count.1);
            }
        }
        for (values, (events, rows)) in observed.iter_mut().zip(total) {
            if rows > 0 {
                values.push(events as f64 / rows as f64);
            }
        }
    }
    let band = |mut values: Vec<f64>| {
        values.sort_by(f64::total_cmp);
        Interval {
            low: quantile_sorted(&values, (1.0 - level) / 2.0),
            high: quantile_sorted(&values, f64::midpoint(1.0, level)),
        }
    };
    observed.into_iter().map(band).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::ece;
    use proptest::prelude::*;

    /// Forecasts that are right, or too bold by `boldness`.
    fn drawn(n: usize, boldness: f64, seed: u64) -> (Vec<f64>, Vec<bool>) {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        (0..n)
            .map(|_| {
                let p: f64 = random.random_range(0.2..0.8);
                let said = (0.5 + (p - 0.5) * boldness).clamp(0.0, 1.0);
                (said, random.random::<f64>() < p)
            })
            .unzip()
    }

    #[test]
    fn the_debiased_error_of_a_perfect_forecaster_is_smaller() {
        let mean = |of: &dyn Fn(&[ReliabilityBin]) -> f64| {
            let worlds = (0..40).map(|seed| {
                let (forecast, happened) = drawn(400, 1.0, seed);
                of(&reliability(&forecast, &happened, 10))
            });
            worlds.sum::<f64>() / 40.0
        };
        let (plain, debiased) = (mean(&ece), mean(&debiased_ece));
        assert!(debiased < 0.6 * plain, "{debiased} {plain}");
        let (forecast, happened) = drawn(4_000, 1.6, 1);
        let bold = debiased_ece(&reliability(&forecast, &happened, 10));
        // The mean of 0.6 |p - 1/2| over p in 0.2..0.8.
        assert!((bold - 0.09).abs() < 0.02, "{bold}");
        assert!(debiased_ece(&[]).is_nan());
    }

    #[test]
    fn bands_hold_the_forecast_of_a_perfect_forecaster() {
        let (mut inside, mut all) = (0, 0);
        for seed in 0..30 {
            let (forecast, happened) = drawn(600, 1.0, seed);
            let bins = reliability(&forecast, &happened, 6);
            let blocks: Vec<usize> = (0..600).map(|row| row / 6).collect();
            let bands = bands(&forecast, &happened, &bins, &blocks, 200, seed, 0.95);
            for (bin, band) in bins.iter().zip(bands) {
                assert!(band.contains(bin.observed));
                inside += u32::from(band.contains(bin.mean_predicted));
                all += 1;
            }
        }
        let share = f64::from(inside) / f64::from(all);
        // 95 % of 180, less three standard errors and what bootstrapping lacks.
        assert!(share > 0.88, "{share}");
    }

    #[test]
    fn one_block_has_no_bands() {
        let bins = reliability(&[0.2, 0.8], &[false, true], 2);
        let bands = bands(&[0.2, 0.8], &[false, true], &bins, &[3, 3], 10, 1, 0.9);
        assert!(bands.iter().all(|band| !band.is_known()));
    }

    proptest! {
        #[test]
        fn the_parts_add_up(
            rows in prop::collection::vec((0.0f64..1.0, any::<bool>()), 1..60),
            bins in 1usize..8,
        ) {
            let (forecast, happened): (Vec<f64>, Vec<bool>) = rows.into_iter().unzip();
            let parts = brier_parts(&forecast, &happened, bins);
            let sum = parts.reliability - parts.resolution + parts.uncertainty + parts.within_bins;
            prop_assert!((parts.score - sum).abs() < 1e-12, "{parts:?}");
        }
    }
}
