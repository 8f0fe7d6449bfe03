//! The beta distribution: what `w` wins in `n` trials say about a win rate.
//!
//! The posterior of a win rate after a Beta(a, b) prior is Beta(a + w, b + n - w).
//! Its lower credible bound is what a stake may rely on; see [`crate::kelly`].
//! Counts may be fractions, such as an effective number of overlapping trials.

use std::f64::consts::PI;

use serde::{Deserialize, Serialize};

/// Steps after which the continued fraction is given up. It settles within
/// about the square root of the larger parameter.
const STEPS: u32 = 20_000;

/// Stands in for 0 in Lentz's evaluation of the continued fraction.
const TINY: f64 = 1e-300;

/// Steps of the quantile's search: bisection alone needs 52 for a value near 1
/// and up to 1,074 for one near 0, Newton's steps far fewer.
const SEARCH_STEPS: u32 = 1_200;

/// From here on the error of Stirling's formula is its asymptotic series.
const STIRLING_FROM: f64 = 12.0;

/// Coefficients of Lanczos's approximation of the gamma function for g = 7 and
/// nine terms (Lanczos 1964; values of Godfrey 2001).
const LANCZOS: [f64; 9] = [
    0.999_999_999_999_809_9,
    676.520_368_121_885_1,
    -1_259.139_216_722_402_8,
    771.323_428_777_653_1,
    -176.615_029_162_140_6,
    12.507_343_278_686_905,
    -0.138_571_095_265_720_12,
    9.984_369_578_019_572e-6,
    1.505_632_735_149_311_6e-7,
];

/// A beta distribution, with both parameters above 0.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Beta {
    /// The weight of wins.
    pub a: f64,
    /// The weight of losses.
    pub b: f64,
}

/// Jeffreys's prior of a win rate, Beta(1/2, 1/2).
pub const JEFFREYS: Beta = Beta { a: 0.5, b: 0.5 };

impl Beta {
    /// Returns the posterior of this prior after `wins` out of `trials`. Both
    /// may be fractions.
    ///
    /// # Panics
    /// Unless `0 <= wins <= trials`.
    #[must_use]
    pub fn after(self, wins: f64, trials: f64) -> Self {
        assert!(
            wins >= 0.0 && wins <= trials,
            "{wins} wins of {trials} trials"
        );
        Self {
            a: self.a + wins,
            b: self.b + (trials - wins),
        }
    }

    /// Returns the mean, `a / (a + b)`.
    pub fn mean(self) -> f64 {
        self.a / (self.a + self.b)
    }

    /// Returns the probability that the win rate is at most `x`.
    pub fn cumulative(self, x: f64) -> f64 {
        incomplete_beta(x, self.a, self.b)
    }

    /// Returns the win rate that the true one is below with probability `p`.
    pub fn quantile(self, p: f64) -> f64 {
        beta_quantile(p, self.a, self.b)
    }

    /// Returns the one-sided lower credible bound: the true win rate is above
    /// it with probability `level`, such as 0.95.
    pub fn lower(self, level: f64) -> f64 {
        self.quantile(1.0 - level)
    }

    /// Returns the one-sided upper credible bound: the true win rate is below
    /// it with probability `level`.
    pub fn upper(self, level: f64) -> f64 {
        self.quantile(level)
    }

    /// Returns the two-sided credible interval with equal tails at `level`.
    pub fn interval(self, level: f64) -> crate::Interval {
        crate::Interval {
            low: self.quantile((1.0 - level) / 2.0),
            high: self.quantile(f64::midpoint(1.0, level)),
        }
    }
}

/// Returns the regularised incomplete beta function `I_x(a, b)`, the
/// probability that a Beta(a, b) value is at most `x`. 0 below 0, 1 above 1;
/// NaN for NaN or a parameter that is not positive and finite.
///
/// The continued fraction is DLMF 8.17.22, evaluated by Lentz's method; the
/// factor before it is written as a deviance, so that parameters in the
/// millions lose no digits.
pub fn incomplete_beta(x: f64, a: f64, b: f64) -> f64 {
    if x.is_nan() || !in_domain(a) || !in_domain(b) {
        return f64::NAN;
    }
    if x <= 0.0 {
        return 0.0;
    }
    if x >= 1.0 {
        return 1.0;
    }
    let front = power_term(x, a, b);
    if x < (a + 1.0) / (a + b + 2.0) {
        front * fraction(x, a, b) / a
    } else {
        1.0 - front * fraction(1.0 - x, b, a) / b
    }
}

/// Returns the `x` with `I_x(a, b) = p`; NaN for `p` outside `[0, 1]` or
/// parameters that are not positive and finite. Newton's steps, kept inside a
/// bracket that halves whenever a step would leave it.
pub fn beta_quantile(p: f64, a: f64, b: f64) -> f64 {
    if !(0.0..=1.0).contains(&p) || !in_domain(a) || !in_domain(b) {
        return f64::NAN;
    }
    if p == 0.0 || p == 1.0 {
        return p;
    }
    let (mut low, mut high) = (0.0_f64, 1.0_f64);
    let mut x = a / (a + b);
    for _ in 0..SEARCH_STEPS {
        let error = incomplete_beta(x, a, b) - p;
        if error == 0.0 {
            return x;
        }
        if error < 0.0 {
            low = x;
        } else {
            high = x;
        }
        let slope = power_term(x, a, b) / (x * (1.0 - x));
        let newton = x - error / slope;
        let next = if newton > low && newton < high {
            newton
        } else {
            f64::midpoint(low, high)
        };
        if (next - x).abs() <= f64::EPSILON * x || next == low || next == high {
            return next;
        }
        x = next;
    }
    x
}

fn in_domain(parameter: f64) -> bool {
    parameter > 0.0 && parameter.is_finite()
}

/// Returns `x^a (1 - x)^b / B(a, b)`.
///
/// With Stirling's formula for each gamma function the large powers cancel on
/// paper and what is left is a deviance from the mean `a / (a + b)`.
fn power_term(x: f64, a: f64, b: f64) -> f64 {
    let n = a + b;
    let (mean, rest) = (a / n, b / n);
    let off = x - mean;
    let deviance = a * ln_ratio(x, mean, off) + b * ln_ratio(1.0 - x, rest, -off);
    let corrections = stirling_error(n) - stirling_error(a) - stirling_error(b);
    (a * b / (2.0 * PI * n)).sqrt() * (deviance + corrections).exp()
}

/// Returns `ln(value / base)` for `value = base + difference`, by whichever of
/// them keeps more digits.
fn ln_ratio(value: f64, base: f64, difference: f64) -> f64 {
    if difference.abs() < 0.5 * base {
        (difference / base).ln_1p()
    } else {
        (value / base).ln()
    }
}

/// Returns `ln Gamma(z)` minus Stirling's `(z - 1/2) ln z - z + ln sqrt(2 pi)`.
fn stirling_error(z: f64) -> f64 {
    if z >= STIRLING_FROM {
        let inverse = 1.0 / (z * z);
        // Bernoulli numbers B_2k / (2k (2k - 1)), DLMF 5.11.1.
        let series = [
            1.0 / 12.0,
            -1.0 / 360.0,
            1.0 / 1_260.0,
            -1.0 / 1_680.0,
            1.0 / 1_188.0,
            -691.0 / 360_360.0,
        ];
        return series.iter().rev().fold(0.0, |sum, c| sum * inverse + c) / z;
    }
    ln_gamma(z) - ((z - 0.5) * z.ln() - z + 0.5 * (2.0 * PI).ln())
}

/// Returns the logarithm of the gamma function at `z > 0`.
pub(crate) fn ln_gamma(z: f64) -> f64 {
    if z < 0.5 {
        return (PI / (PI * z).sin()).ln() - ln_gamma(1.0 - z);
    }
    let z = z - 1.0;
    let base = z + 7.5;
    let mut sum = LANCZOS[0];
    for (index, coefficient) in LANCZOS.iter().enumerate().skip(1) {
        sum += coefficient / (z + index as f64);
    }
    0.5 * (2.0 * PI).ln() + (z + 0.5) * base.ln() - base + sum.ln()
}

fn fraction(x: f64, a: f64, b: f64) -> f64 {
    let mut c = 1.0;
    let mut d = 1.0 / away_from_zero(1.0 - (a + b) * x / (a + 1.0));
    let mut value = d;
    for step in 1..STEPS {
        let m = f64::from(step);
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        d = 1.0 / away_from_zero(1.0 + even * d);
        c = away_from_zero(1.0 + even / c);
        value *= d * c;
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        d = 1.0 / away_from_zero(1.0 + odd * d);
        c = away_from_zero(1.0 + odd / c);
        let change = d * c;
        value *= change;
        if (change - 1.0).abs() < f64::EPSILON {
            break;
        }
    }
    value
}

fn away_from_zero(x: f64) -> f64 {
    if x.abs() < TINY { TINY } else { x }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_uniform_and_the_arcsine_distribution() {
        // Beta(1, 1) is uniform; Beta(1/2, 1/2) has 2/pi asin(sqrt(x)).
        for x in [0.001, 0.2, 0.5, 0.93] {
            assert!((incomplete_beta(x, 1.0, 1.0) - x).abs() < 1e-14);
            let arcsine = 2.0 / PI * f64::sqrt(x).asin();
            assert!((incomplete_beta(x, 0.5, 0.5) - arcsine).abs() < 1e-13);
        }
    }

    #[test]
    fn outside_the_domain_is_nan_and_outside_the_support_is_certain() {
        assert!(incomplete_beta(0.5, 0.0, 1.0).is_nan());
        assert!(incomplete_beta(0.5, 1.0, f64::INFINITY).is_nan());
        assert!(incomplete_beta(f64::NAN, 1.0, 1.0).is_nan());
        assert!(beta_quantile(1.5, 1.0, 1.0).is_nan());
        assert_eq!(incomplete_beta(-1.0, 2.0, 3.0), 0.0);
        assert_eq!(incomplete_beta(2.0, 2.0, 3.0), 1.0);
    }

    #[test]
    fn bounds_lie_on_their_sides_of_the_mean() {
        let posterior = JEFFREYS.after(63.0, 100.0);
        assert_eq!((posterior.a, posterior.b), (63.5, 37.5));
        let (low, high) = (posterior.lower(0.95), posterior.upper(0.95));
        assert!(low < posterior.mean() && posterior.mean() < high);
        assert!((posterior.cumulative(low) - 0.05).abs() < 1e-12);
        let two_sided = posterior.interval(0.9);
        assert!((two_sided.low - low).abs() < 1e-12 && (two_sided.high - high).abs() < 1e-12);
    }

    #[test]
    #[should_panic(expected = "5 wins of 3 trials")]
    fn more_wins_than_trials_are_refused() {
        let _ = JEFFREYS.after(5.0, 3.0);
    }

    proptest! {
        #[test]
        fn the_quantile_inverts_the_function(
            p in 1e-6f64..1.0,
            a in 0.2f64..500.0,
            b in 0.2f64..500.0,
        ) {
            let x = beta_quantile(p, a, b);
            // One unit in the last place of x moves p by the density times it.
            let slope = power_term(x, a, b) / (1.0 - x).max(f64::EPSILON);
            let allowed = 1e-11 + 4.0 * f64::EPSILON * slope / x.max(1e-300);
            prop_assert!((incomplete_beta(x, a, b) - p).abs() <= allowed, "{x}");
        }

        #[test]
        fn both_ends_mirror(x in 0.0f64..1.0, a in 0.2f64..2e3, b in 0.2f64..2e3) {
            let sum = incomplete_beta(x, a, b) + incomplete_beta(1.0 - x, b, a);
            prop_assert!((sum - 1.0).abs() < 1e-9, "{sum}");
        }
    }
}
