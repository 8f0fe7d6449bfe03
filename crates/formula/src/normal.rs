//! The normal distribution function and its inverse, for operators that need
//! them on every bar.

/// Numerator and denominator of Hart's rational approximation (Hart et al. 1968,
/// function 5666; as used by West 2005, "Better approximations to cumulative
/// normal functions"), highest power first.
const NUMERATOR: [f64; 7] = [
    0.035_262_496_599_891_1,
    0.700_383_064_443_688,
    6.373_962_203_531_65,
    33.912_866_078_383,
    112.079_291_497_871,
    221.213_596_169_931,
    220.206_867_912_376,
];
const DENOMINATOR: [f64; 8] = [
    0.088_388_347_648_318_4,
    1.755_667_163_182_64,
    16.064_177_579_207,
    86.780_732_202_946_1,
    296.564_248_779_674,
    637.333_633_378_831,
    793.826_512_519_948,
    440.413_735_824_752,
];
/// Beyond this a continued fraction takes over.
const FAR: f64 = 7.071_067_811_865_47;
/// The square root of 2 pi.
const ROOT_TWO_PI: f64 = 2.506_628_274_631_000_7;

fn polynomial(coefficients: &[f64], x: f64) -> f64 {
    coefficients.iter().fold(0.0, |sum, c| sum * x + c)
}

/// Returns the probability that a standard normal value is at most `x`, right to
/// about 1e-15; NaN for NaN.
pub(crate) fn cumulative(x: f64) -> f64 {
    let size = x.abs();
    let density = (-0.5 * x * x).exp();
    let tail = if size < FAR {
        density * polynomial(&NUMERATOR, size) / polynomial(&DENOMINATOR, size)
    } else {
        let fraction = (1..=4)
            .rev()
            .fold(size + 0.65, |below, k| size + f64::from(k) / below);
        density / fraction / ROOT_TWO_PI
    };
    if x > 0.0 { 1.0 - tail } else { tail }
}

/// Returns the value that a standard normal one is below with probability `p`;
/// NaN unless `0 < p < 1`.
pub(crate) fn quantile(p: f64) -> f64 {
    if p.is_nan() || p <= 0.0 || p >= 1.0 {
        return f64::NAN;
    }
    if p > 0.5 {
        return -quantile(1.0 - p);
    }
    // Abramowitz and Stegun (1964), 26.2.23, is within 4.5e-4; Halley's steps
    // triple the number of right digits each.
    let t = (-2.0 * p.ln()).sqrt();
    let top = 2.515_517 + t * (0.802_853 + t * 0.010_328);
    let bottom = 1.0 + t * (1.432_788 + t * (0.189_269 + t * 0.001_308));
    let mut x = top / bottom - t;
    for _ in 0..3 {
        let density = (-0.5 * x * x).exp() / ROOT_TWO_PI;
        let error = (cumulative(x) - p) / density;
        x -= error / (1.0 + 0.5 * x * error);
    }
    x
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Digits 16 and beyond of the references are cut.
    const ROUNDING: f64 = 2e-15;

    #[test]
    fn tabulated_probabilities() {
        // Computed with mpmath at 30 digits: ncdf(x).
        for (x, expect) in [
            (0.0, 0.5),
            (1.0, 0.841_344_746_068_542_9),
            (-1.959_963_984_540_054, 0.025),
            (3.0, 0.998_650_101_968_369_9),
            (-6.0, 9.865_876_450_376_98e-10),
            (-8.0, 6.220_960_574_271_785e-16),
        ] {
            assert!((cumulative(x) - expect).abs() < ROUNDING, "{x}");
        }
    }

    #[test]
    fn quantile_inverts() {
        for step in 1..200 {
            let p = f64::from(step) / 200.0;
            assert!((cumulative(quantile(p)) - p).abs() < ROUNDING, "{p}");
        }
        assert!(quantile(0.0).is_nan() && quantile(1.0).is_nan() && cumulative(f64::NAN).is_nan());
    }
}
