//! The stationary bootstrap (Politis and Romano 1994): resampled series that keep
//! the dependence of neighbours.

use super::moments::{mean, variance};

/// SplitMix64 (Steele, Lea and Flood 2014): enough for resampling, the same
/// everywhere.
struct Generator(u64);

impl Generator {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Returns a number from 0 to below 1.
    fn share(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// Calls `take` with each of `draws` resampled series. Blocks begin anywhere, wrap
/// around the end and last `block` values on average.
fn resample(x: &[f64], block: f64, draws: usize, seed: u64, mut take: impl FnMut(&[f64])) {
    let n = x.len();
    let mut generator = Generator(seed);
    let mut drawn = vec![0.0; n];
    for _ in 0..draws {
        let mut at = 0;
        for (place, value) in drawn.iter_mut().enumerate() {
            let anew = place == 0 || generator.share() < 1.0 / block;
            at = if anew {
                (generator.share() * n as f64) as usize
            } else {
                (at + 1) % n
            };
            *value = x[at];
        }
        take(&drawn);
    }
}

/// Returns the standard error of the mean: the deviation of the resampled means.
pub(crate) fn mean_error(x: &[f64], block: f64, draws: usize, seed: u64) -> f64 {
    let mut means = Vec::with_capacity(draws);
    resample(x, block, draws, seed, |drawn| means.push(mean(drawn)));
    variance(&means, 1.0).sqrt()
}

/// Returns the standard error of the mean over the standard deviation.
pub(crate) fn ratio_error(x: &[f64], block: f64, draws: usize, seed: u64) -> f64 {
    let mut ratios = Vec::with_capacity(draws);
    resample(x, block, draws, seed, |drawn| {
        ratios.push(mean(drawn) / variance(drawn, 1.0).sqrt());
    });
    variance(&ratios, 1.0).sqrt()
}

/// Returns the share of resampled series whose mean exceeds the sample's by at
/// least the sample's own (White 2000, for one strategy): the p-value of "the mean
/// is not above 0".
pub(crate) fn mean_p(x: &[f64], block: f64, draws: usize, seed: u64) -> f64 {
    let observed = mean(x);
    let mut reached = 0.0;
    resample(x, block, draws, seed, |drawn| {
        if mean(drawn) - observed >= observed {
            reached += 1.0;
        }
    });
    (reached + 1.0) / (draws as f64 + 1.0)
}
