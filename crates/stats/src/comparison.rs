//! Comparing two forecasters as they go: Choe and Ramdas (2024), "Comparing
//! sequential forecasters" (arXiv 2110.00115).
//!
//! Unlike [`crate::betting`], nothing is assumed to stay the same: the mean
//! difference *so far* is estimated, and the null says that it is not positive
//! on average, however it moved. The price is a little power. Both need one
//! score per non-overlapping block.
//!
//! The evidence is a mixture of `exp(l S - psi(l) V)` over l, with S the sum of
//! the differences, V the sum of squared surprises and
//! `psi(l) = (-ln(1 - c l) - c l) / c^2`: the gamma-exponential mixture of
//! Howard, Ramdas, McAuliffe and Sekhon (2021), proposition 9.

use serde::Serialize;

use crate::Interval;

/// The smallest sum of squared surprises an interval is computed from, as in
/// PyPI `comparecast`.
const LEAST_VARIANCE: f64 = 1.0;

/// Terms after which a series is given up; it settles in about `|x|` terms.
const TERMS: usize = 10_000_000;

/// Where a growing series is scaled down.
const LARGE: f64 = 1e250;

/// Steps of the search for a boundary, beyond the precision of `f64`.
const SEARCH_STEPS: usize = 200;

/// The mixture of exponential processes with scale `c`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Mixture {
    rho: f64,
    scale: f64,
}

/// What is known after one more difference.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Comparison {
    /// The mean difference so far.
    pub mean: f64,
    /// An interval for the expected mean difference so far. With probability
    /// `1 - alpha` all intervals hold.
    pub interval: Interval,
    /// The natural logarithm of the e-value against "not better on average".
    pub log_e: f64,
}

impl Mixture {
    /// Returns the mixture whose boundary at level `alpha` (one-sided) is
    /// tightest where the sum of squared surprises is about `variance`. `scale`
    /// is the width of the range of differences.
    ///
    /// # Panics
    /// Unless `variance` and `scale` are positive and `0 < alpha < 1/2`.
    pub fn new(variance: f64, scale: f64, alpha: f64) -> Self {
        assert!(
            variance > 0.0 && scale > 0.0,
            "variance {variance}, scale {scale}"
        );
        assert!(alpha > 0.0 && alpha < 0.5, "alpha {alpha} outside (0, 1/2)");
        // Howard et al. (2021), proposition 3, for the two-sided level.
        let nats = 2.0 * (0.5 / alpha).ln();
        Self {
            rho: variance / (nats + nats.ln_1p()),
            scale,
        }
    }

    /// Returns the logarithm of the mixture at a sum of differences and a sum of
    /// squared surprises.
    ///
    /// Written out, the gamma functions of the published form cancel: it is the
    /// ratio of two integrals `int_0^1 (1 - u)^(a - 1) exp(x u) du`, with
    /// `a = (V + rho) / c^2` and `x = (c S + V + rho) / c^2` above and both
    /// `rho / c^2` below. That also holds where the sum is very negative and x
    /// with it.
    pub fn log_e(&self, sum: f64, variance: f64) -> f64 {
        let square = self.scale * self.scale;
        let start = self.rho / square;
        let a = (variance + self.rho) / square;
        let x = (self.scale * sum + variance + self.rho) / square;
        log_integral(a, x) - log_integral(start, start)
    }

    /// Returns the sum of differences at which the mixture reaches `1 / alpha`.
    pub fn boundary(&self, variance: f64, alpha: f64) -> f64 {
        let wanted = -alpha.ln();
        let mut high = variance.max(1.0);
        while self.log_e(high, variance) < wanted {
            high *= 2.0;
        }
        let mut low = 0.0;
        for _ in 0..SEARCH_STEPS {
            let middle = f64::midpoint(low, high);
            if middle <= low || middle >= high {
                break;
            }
            if self.log_e(middle, variance) < wanted {
                low = middle;
            } else {
                high = middle;
            }
        }
        high
    }
}

/// Compares two forecasters by their score differences in order of time, each
/// clipped to `[-clip, clip]`, positive where the first is better. Returns what
/// is known after each. `variance` is where bets are best, in sums of squared
/// surprises (10 is `comparecast`'s choice); a surprise is the difference less
/// the mean of those before it.
///
/// # Panics
/// If a difference is NaN, `clip` or `variance` not positive, or `alpha` outside
/// (0, 1).
pub fn sequential(differences: &[f64], clip: f64, alpha: f64, variance: f64) -> Vec<Comparison> {
    let mixture = Mixture::new(variance, 2.0 * clip, alpha / 2.0);
    let (mut sum, mut surprises) = (0.0, 0.0);
    let step = |(index, &difference): (usize, &f64)| {
        assert!(!difference.is_nan(), "a difference is NaN");
        let difference = difference.clamp(-clip, clip);
        let expected = if index == 0 { 0.0 } else { sum / index as f64 };
        surprises += (difference - expected).powi(2);
        sum += difference;
        let count = (index + 1) as f64;
        let radius = mixture.boundary(f64::max(surprises, LEAST_VARIANCE), alpha / 2.0) / count;
        Comparison {
            mean: sum / count,
            interval: Interval {
                low: sum / count - radius,
                high: sum / count + radius,
            },
            log_e: mixture.log_e(sum, surprises),
        }
    };
    differences.iter().enumerate().map(step).collect()
}

/// Returns `ln int_0^1 (1 - u)^(a - 1) exp(x u) du` for `a > 0`.
fn log_integral(a: f64, x: f64) -> f64 {
    if x >= 0.0 {
        // Terms x^n / (a (a + 1) ... (a + n)), all positive.
        log_series(|n| x / (a + n)) - a.ln()
    } else {
        // exp(x) times terms |x|^n / (n! (a + n)), all positive.
        x + log_series(|n| -x / n * (a + n - 1.0) / (a + n)) - a.ln()
    }
}

/// Returns the logarithm of `1 + r(1) + r(1) r(2) + ...`, where the ratios fall
/// below 1 in the end.
fn log_series(ratio: impl Fn(f64) -> f64) -> f64 {
    let (mut term, mut sum, mut log_scale) = (1.0_f64, 1.0_f64, 0.0);
    for n in 1..TERMS {
        let factor = ratio(n as f64);
        term *= factor;
        sum += term;
        if factor < 1.0 && term < sum * f64::EPSILON * (1.0 - factor) {
            break;
        }
        if sum > LARGE {
            term /= LARGE;
            sum /= LARGE;
            log_scale += LARGE.ln();
        }
    }
    sum.ln() + log_scale
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The integral by the midpoint rule.
    fn by_definition(a: f64, x: f64) -> f64 {
        let cells = 200_000;
        let sum: f64 = (0..cells)
            .map(|i| (f64::from(i) + 0.5) / f64::from(cells))
            .map(|u| (1.0 - u).powf(a - 1.0) * (x * u).exp())
            .sum();
        (sum / f64::from(cells)).ln()
    }

    #[test]
    fn the_integral_is_the_integral() {
        for (a, x) in [
            (1.0, 2.0),
            (3.5, 30.0),
            (12.0, 0.0),
            (2.5, -40.0),
            (8.0, -3.0),
        ] {
            let (got, expected) = (log_integral(a, x), by_definition(a, x));
            assert!((got - expected).abs() < 1e-7, "{a} {x}: {got} {expected}");
        }
        // exp(2000) does not fit a double; its logarithm does.
        assert!((log_integral(1.0, 2_000.0) - (2_000.0 - 2_000.0_f64.ln())).abs() < 1e-9);
    }

    #[test]
    fn a_lasting_lead_is_found() {
        let lead: Vec<f64> = (0..200).map(|t| 0.2 + 0.3 * f64::from(t % 3 - 1)).collect();
        let last = *sequential(&lead, 1.0, 0.05, 10.0).last().unwrap();
        assert!(last.log_e > 3.0 && last.interval.low > 0.0, "{last:?}");
        let behind: Vec<f64> = lead.iter().map(|d| -d).collect();
        let last = *sequential(&behind, 1.0, 0.05, 10.0).last().unwrap();
        assert!(last.log_e < 0.0 && last.interval.high < 0.0, "{last:?}");
    }

    proptest! {
        #[test]
        fn the_boundary_is_where_the_mixture_crosses(
            variance in 0.5f64..200.0,
            alpha in 0.001f64..0.3,
            scale in 0.2f64..3.0,
        ) {
            let mixture = Mixture::new(10.0, scale, 0.025);
            let boundary = mixture.boundary(variance, alpha);
            let there = mixture.log_e(boundary, variance);
            prop_assert!((there + alpha.ln()).abs() < 1e-8, "{there}");
            prop_assert!(mixture.log_e(boundary - 0.01, variance) < -alpha.ln());
        }

        /// At no evidence at all the mixture is worth what was staked.
        #[test]
        fn nothing_seen_is_worth_one(scale in 0.1f64..5.0, variance in 0.1f64..100.0) {
            let start = Mixture::new(variance, scale, 0.025).log_e(0.0, 0.0);
            prop_assert!(start.abs() < 1e-12, "{start}");
        }
    }
}
