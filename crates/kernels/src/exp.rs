//! A branch-free exponential that the compiler can vectorise.

/// Returns e^x within 2 units in the last place on [-87, 88]; inputs outside are clamped to it.
///
/// Splits x = n ln 2 + r with |r| <= ln 2 / 2 (Cody-Waite two-part reduction), evaluates the
/// Taylor polynomial of degree 7 in r (truncation below 1e-8 relative there) and scales by 2^n
/// through the exponent bits. Multiplications and additions are fused: one instruction on machines that
/// have it, the same bits from the library on those that do not.
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    const LOG2_E: f32 = std::f32::consts::LOG2_E;
    // ln 2 = HIGH + LOW with HIGH exact in 10 bits, so that n * HIGH is exact for |n| < 2^13.
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    // Adding and subtracting 1.5 * 2^23 rounds to the nearest integer.
    const ROUND: f32 = 12_582_912.0;
    let x = x.clamp(-87.0, 88.0);
    let biased = x.mul_add(LOG2_E, ROUND);
    let n = biased - ROUND;
    let r = n.mul_add(-LN2_LOW, n.mul_add(-LN2_HIGH, x));
    // Written out: a loop over the coefficients would keep the compiler from vectorising.
    let p = (1.0f32 / 5040.0).mul_add(r, 1.0 / 720.0);
    let p = p.mul_add(r, 1.0 / 120.0);
    let p = p.mul_add(r, 1.0 / 24.0);
    let p = p.mul_add(r, 1.0 / 6.0);
    let p = p.mul_add(r, 0.5);
    let p = p.mul_add(r, 1.0) * r;
    // n stands in the low bits of the biased sum.
    let exponent = biased.to_bits().wrapping_sub(ROUND.to_bits());
    (p + 1.0) * f32::from_bits(exponent.wrapping_add(127) << 23)
}

#[cfg(test)]
mod tests {
    use super::exp;

    /// Two units in the last place, relative.
    const TOLERANCE: f64 = 2.4e-7;

    #[test]
    fn matches_the_library_exponential() {
        let mut x = -87.0f32;
        while x < 88.0 {
            let (ours, exact) = (f64::from(exp(x)), f64::from(x).exp());
            assert!(
                (ours / exact - 1.0).abs() < TOLERANCE,
                "exp({x}) = {ours}, not {exact}"
            );
            x += 0.003_7;
        }
    }

    #[test]
    fn is_exact_at_zero_and_tiny_at_minus_infinity() {
        assert_eq!(exp(0.0), 1.0);
        assert!(exp(f32::NEG_INFINITY) < 2e-38);
    }
}
