//! The discrete Fourier transform of a power of two of values, and phases drawn anew.

use std::f64::consts::TAU;

use rand::{Rng, RngExt};

/// Transforms in place, `X[k] = sum_n x[n] exp(-2 pi i k n / N)`, unscaled (Cooley and Tukey 1965,
/// radix 2).
///
/// # Panics
/// If the lengths differ or are no power of two.
pub(super) fn transform(real: &mut [f64], imaginary: &mut [f64]) {
    let n = real.len();
    assert!(
        n.is_power_of_two() && imaginary.len() == n,
        "a power of two"
    );
    let mut mirrored = 0;
    for row in 1..n {
        let mut bit = n >> 1;
        while mirrored & bit != 0 {
            mirrored ^= bit;
            bit >>= 1;
        }
        mirrored |= bit;
        if row < mirrored {
            real.swap(row, mirrored);
            imaginary.swap(row, mirrored);
        }
    }
    let mut length = 2;
    while length <= n {
        let half = length / 2;
        let turns: Vec<(f64, f64)> = (0..half)
            .map(|k| (-TAU * k as f64 / length as f64).sin_cos())
            .map(|(sine, cosine)| (cosine, sine))
            .collect();
        for start in (0..n).step_by(length) {
            for (k, &(cosine, sine)) in turns.iter().enumerate() {
                let (a, b) = (start + k, start + k + half);
                let re = real[b] * cosine - imaginary[b] * sine;
                let im = real[b] * sine + imaginary[b] * cosine;
                (real[b], imaginary[b]) = (real[a] - re, imaginary[a] - im);
                (real[a], imaginary[a]) = (real[a] + re, imaginary[a] + im);
            }
        }
        length *= 2;
    }
}

/// Returns values with the same power spectrum and mean and with phases drawn anew (Theiler et al.
/// 1992, section 2.4.1).
pub(super) fn phases_drawn_anew(values: &[f64], random: &mut impl Rng) -> Vec<f64> {
    let n = values.len();
    let mut real = values.to_vec();
    let mut imaginary = vec![0.0; n];
    transform(&mut real, &mut imaginary);
    for k in 1..n / 2 {
        let size = real[k].hypot(imaginary[k]);
        let (sine, cosine) = (TAU * random.random::<f64>()).sin_cos();
        (real[k], imaginary[k]) = (size * cosine, size * sine);
        // The conjugate keeps the values real.
        (real[n - k], imaginary[n - k]) = (real[k], -imaginary[k]);
    }
    // The inverse is the transform of the conjugate, divided by the length.
    for value in &mut imaginary {
        *value = -*value;
    }
    transform(&mut real, &mut imaginary);
    for value in &mut real {
        *value /= n as f64;
    }
    real
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;

    /// Rounding of sums of a few hundred terms of size one.
    const TOLERANCE: f64 = 1e-10;

    fn noise(n: usize) -> Vec<f64> {
        let mut random = ChaCha8Rng::seed_from_u64(1);
        (0..n).map(|_| random.random::<f64>() - 0.3).collect()
    }

    #[test]
    fn the_transform_is_its_definition() {
        for n in [1, 2, 8, 64] {
            let values = noise(n);
            let (mut real, mut imaginary) = (values.clone(), vec![0.0; n]);
            transform(&mut real, &mut imaginary);
            for k in 0..n {
                let angle = |row: usize| -TAU * (k * row) as f64 / n as f64;
                let re: f64 = (0..n).map(|row| values[row] * angle(row).cos()).sum();
                let im: f64 = (0..n).map(|row| values[row] * angle(row).sin()).sum();
                assert!((real[k] - re).abs() < TOLERANCE, "{n} {k}");
                assert!((imaginary[k] - im).abs() < TOLERANCE, "{n} {k}");
            }
        }
    }

    #[test]
    fn the_spectrum_stays_and_the_values_do_not() {
        let values = noise(256);
        let mut random = ChaCha8Rng::seed_from_u64(2);
        let other = phases_drawn_anew(&values, &mut random);
        let power = |values: &[f64]| {
            let (mut real, mut imaginary) = (values.to_vec(), vec![0.0; 256]);
            transform(&mut real, &mut imaginary);
            let sizes = real.iter().zip(&imaginary).map(|(a, b)| a.hypot(*b));
            sizes.collect::<Vec<f64>>()
        };
        for (was, is) in power(&values).iter().zip(power(&other)) {
            assert!((was - is).abs() < 1e-8, "{was} {is}");
        }
        let moved = values
            .iter()
            .zip(&other)
            .filter(|(a, b)| (*a - *b).abs() > 0.01);
        assert!(moved.count() > 200);
    }
}
