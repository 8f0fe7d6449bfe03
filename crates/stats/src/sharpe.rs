//! How far a Sharpe ratio may be trusted: the probabilistic ratio, and the one
//! deflated for everything that was tried.
//!
//! Bailey and Lopez de Prado, "The Sharpe ratio efficient frontier" (2012) and
//! "The deflated Sharpe ratio" (2014). Every ratio here is *per period* of the
//! returns, never annualised, and T counts independent periods: with overlapping
//! labels give non-overlapping returns.

use serde::Serialize;

use crate::normal;

/// The Euler-Mascheroni constant.
const EULER: f64 = 0.577_215_664_901_532_9;

/// What the formulas need of a series of returns.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct ReturnMoments {
    /// Mean over standard deviation (with `n - 1`), per period.
    pub sharpe: f64,
    /// Skewness, the third standardised central moment.
    pub skewness: f64,
    /// Kurtosis, the fourth standardised central moment: 3 for a normal series.
    pub kurtosis: f64,
    /// The number of periods.
    pub periods: usize,
}

impl ReturnMoments {
    /// Returns the moments of `returns`; NaN where they do not vary or there are
    /// fewer than two.
    pub fn of(returns: &[f64]) -> Self {
        let n = returns.len() as f64;
        let mean = returns.iter().sum::<f64>() / n;
        let moment = |power| returns.iter().map(|r| (r - mean).powi(power)).sum::<f64>() / n;
        let variance = moment(2);
        Self {
            sharpe: mean / (variance * n / (n - 1.0)).sqrt(),
            skewness: moment(3) / variance.powf(1.5),
            kurtosis: moment(4) / (variance * variance),
            periods: returns.len(),
        }
    }

    /// Returns the standard error of the ratio:
    /// `sqrt((1 - g3 SR + (g4 - 1) / 4 SR^2) / (T - 1))`.
    fn standard_error(&self) -> f64 {
        let shape = 1.0 - self.skewness * self.sharpe
            + (self.kurtosis - 1.0) / 4.0 * self.sharpe * self.sharpe;
        (shape / (self.periods as f64 - 1.0)).sqrt()
    }

    /// Returns the probabilistic Sharpe ratio: the probability that the true
    /// ratio exceeds `benchmark`.
    pub fn probabilistic(&self, benchmark: f64) -> f64 {
        normal::cumulative((self.sharpe - benchmark) / self.standard_error())
    }

    /// Returns the deflated Sharpe ratio: the probability that the true ratio
    /// exceeds what the best of `trials` useless configurations would show by
    /// luck. `variance` is that of the ratios of all trials, per period.
    pub fn deflated(&self, variance: f64, trials: usize) -> f64 {
        self.probabilistic(expected_maximum(variance, trials))
    }

    /// Returns how many periods are needed before the ratio exceeds `benchmark`
    /// with this `confidence`; infinite if it does not exceed it at all.
    pub fn minimum_track_record(&self, benchmark: f64, confidence: f64) -> f64 {
        if self.sharpe <= benchmark {
            return f64::INFINITY;
        }
        let unit = self.standard_error() * (self.periods as f64 - 1.0).sqrt();
        1.0 + (unit * normal::quantile(confidence) / (self.sharpe - benchmark)).powi(2)
    }
}

/// Returns the Sharpe ratio that the best of `trials` configurations without any
/// skill is expected to show, `sqrt(V) ((1 - gamma) Zinv(1 - 1/N) + gamma
/// Zinv(1 - 1/(N e)))`. 0 for a single trial.
pub fn expected_maximum(variance: f64, trials: usize) -> f64 {
    if trials < 2 {
        return 0.0;
    }
    let n = trials as f64;
    let first = normal::quantile(1.0 - 1.0 / n);
    let second = normal::quantile(1.0 - 1.0 / (n * std::f64::consts::E));
    variance.sqrt() * ((1.0 - EULER) * first + EULER * second)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trials_deflate() {
        let returns: Vec<f64> = (0..400_i32)
            .map(|t| 0.001 + 0.01 * f64::from(t * 37 % 101 - 50) / 29.0)
            .collect();
        let moments = ReturnMoments::of(&returns);
        let alone = moments.deflated(0.002, 1);
        assert_eq!(alone, moments.probabilistic(0.0));
        let of_ten = moments.deflated(0.002, 10);
        let of_thousand = moments.deflated(0.002, 1_000);
        assert!(
            alone > of_ten && of_ten > of_thousand,
            "{alone} {of_ten} {of_thousand}"
        );
        let needed = moments.minimum_track_record(0.0, alone);
        assert!((needed - 400.0).abs() < 1e-6, "{needed}");
        assert_eq!(moments.minimum_track_record(1.0, 0.95), f64::INFINITY);
    }

    #[test]
    fn returns_that_do_not_vary_say_nothing() {
        assert!(!ReturnMoments::of(&[0.0; 9]).probabilistic(0.0).is_finite());
        assert!(ReturnMoments::of(&[]).probabilistic(0.0).is_nan());
    }
}
