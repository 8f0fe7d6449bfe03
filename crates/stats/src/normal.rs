//! The standard normal distribution: its function and its inverse.

use std::f64::consts::PI;

/// Below this the series of the central part is summed, beyond it the continued
/// fraction of the tail, so that a small tail keeps its relative precision.
const FAR: f64 = 2.0;

/// Terms after which both expansions have long settled.
const STEPS: u32 = 400;

/// Returns the density `exp(-x^2 / 2) / sqrt(2 pi)`.
pub fn density(x: f64) -> f64 {
    (-0.5 * x * x).exp() / (2.0 * PI).sqrt()
}

/// Returns the probability that a standard normal value is at most `x`, with
/// about 13 right digits even far in the lower tail; NaN for NaN.
///
/// The centre is the series `x + x^3/3 + x^5/(3*5) + ...` times the density
/// (Abramowitz and Stegun 1964, 26.2.11), the tail Laplace's continued fraction
/// (26.2.14).
pub fn cumulative(x: f64) -> f64 {
    if x.is_nan() {
        return f64::NAN;
    }
    if x.abs() < FAR {
        return 0.5 + density(x) * central_series(x);
    }
    let tail = upper_tail(x.abs());
    if x > 0.0 { 1.0 - tail } else { tail }
}

fn central_series(x: f64) -> f64 {
    let mut term = x;
    let mut sum = x;
    for step in 1..STEPS {
        term *= x * x / f64::from(2 * step + 1);
        sum += term;
        if term.abs() <= sum.abs() * f64::EPSILON {
            break;
        }
    }
    sum
}

/// Returns `P(Z > x)` for `x >= FAR`.
fn upper_tail(x: f64) -> f64 {
    if x.is_infinite() {
        return 0.0;
    }
    let fraction = (1..STEPS)
        .rev()
        .fold(x, |below, step| x + f64::from(step) / below);
    density(x) / fraction
}

/// Returns the value that a standard normal one is below with probability `p`:
/// minus infinity at 0, infinity at 1, NaN outside `[0, 1]`.
pub fn quantile(p: f64) -> f64 {
    if !(0.0..=1.0).contains(&p) {
        return f64::NAN;
    }
    if p == 0.0 {
        return f64::NEG_INFINITY;
    }
    if p > 0.5 {
        return -quantile(1.0 - p);
    }
    // Abramowitz and Stegun (1964), 26.2.23, is right to 4.5e-4; each of
    // Halley's steps triples the right digits.
    let t = (-2.0 * p.ln()).sqrt();
    let top = 2.515_517 + t * (0.802_853 + t * 0.010_328);
    let bottom = 1.0 + t * (1.432_788 + t * (0.189_269 + t * 0.001_308));
    let mut x = top / bottom - t;
    for _ in 0..3 {
        let error = (cumulative(x) - p) / density(x);
        if !error.is_finite() {
            break;
        }
        x -= error / (1.0 + 0.5 * x * error);
    }
    x
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_ends_are_the_ends() {
        assert_eq!(cumulative(f64::INFINITY), 1.0);
        assert_eq!(cumulative(f64::NEG_INFINITY), 0.0);
        assert!(cumulative(f64::NAN).is_nan());
        assert_eq!(quantile(0.0), f64::NEG_INFINITY);
        assert_eq!(quantile(1.0), f64::INFINITY);
        assert!(quantile(-0.1).is_nan() && quantile(1.1).is_nan() && quantile(f64::NAN).is_nan());
        assert!(quantile(0.5).abs() < 1e-15);
    }

    #[test]
    fn both_expansions_meet() {
        let below = cumulative(-FAR + 1e-12);
        let beyond = cumulative(-FAR - 1e-12);
        assert!((below - beyond).abs() < 1e-12, "{below} {beyond}");
    }

    proptest! {
        #[test]
        fn the_quantile_inverts_the_function(x in -8.0f64..5.0) {
            let back = quantile(cumulative(x));
            // Near 1 a probability has only so many digits left.
            let digits = f64::EPSILON / density(x) + 1e-12 * x.abs().max(1.0);
            prop_assert!((back - x).abs() <= 8.0 * digits, "{x} {back}");
        }
    }
}
