//! Small element-wise helpers: addition, bias rows and counter-based dropout.

use crate::ROWS_PER_TASK;
use crate::widest::widest;
use rayon::prelude::*;

/// Elements handled by one task.
const BLOCK: usize = 1 << 14;

/// Adds `x` to `y` element by element.
///
/// # Panics
/// If the lengths differ.
pub fn add_assign(y: &mut [f32], x: &[f32]) {
    assert_eq!(y.len(), x.len());
    y.par_chunks_mut(BLOCK)
        .zip(x.par_chunks(BLOCK))
        .for_each(|(y, x)| {
            widest(
                #[inline(always)]
                || {
                    for (y, x) in y.iter_mut().zip(x) {
                        *y += x;
                    }
                },
            );
        });
}

/// Adds `bias` [C] to every row of `y` [T, C].
///
/// # Panics
/// If the length of `y` is not a multiple of the bias's.
pub fn add_bias(y: &mut [f32], bias: &[f32]) {
    assert_eq!(y.len() % bias.len(), 0);
    y.par_chunks_mut(bias.len() * ROWS_PER_TASK)
        .for_each(|rows| {
            widest(
                #[inline(always)]
                || {
                    for row in rows.chunks_exact_mut(bias.len()) {
                        for (y, bias) in row.iter_mut().zip(bias) {
                            *y += bias;
                        }
                    }
                },
            );
        });
}

/// Inverted dropout whose mask is a pure function of (key, row key, column).
///
/// Nothing is stored: the backward pass asks for the same mask again. Because the mask hangs on
/// each row's own key and not on its place in a batch, cutting a batch into micro-batches leaves
/// it unchanged.
#[derive(Clone, Copy, Debug)]
pub struct Dropout {
    /// Probability of dropping an element, in [0, 1).
    pub probability: f32,
    /// Distinguishes step, layer and projection.
    pub key: u64,
}

impl Dropout {
    /// Multiplies every kept element of `x` [T, C] by 1 / (1 - p) and zeroes the others, in place.
    /// `row_keys` [T] identifies the rows.
    ///
    /// # Panics
    /// If the length of `x` is not a multiple of the number of rows.
    pub fn apply(&self, x: &mut [f32], row_keys: &[u64]) {
        if self.probability <= 0.0 || row_keys.is_empty() {
            return;
        }
        assert_eq!(x.len() % row_keys.len(), 0);
        let c = x.len() / row_keys.len();
        let scale = 1.0 / (1.0 - self.probability);
        // Keep when a uniform 32-bit value reaches the threshold: p is met within 2^-32.
        let threshold = (f64::from(self.probability) * 4_294_967_296.0) as u32;
        x.par_chunks_mut(c * ROWS_PER_TASK)
            .zip(row_keys.par_chunks(ROWS_PER_TASK))
            .for_each(|(x, keys)| {
                widest(
                    #[inline(always)]
                    || {
                        for (row, row_key) in x.chunks_exact_mut(c).zip(keys) {
                            let seed = mix64(self.key ^ row_key.rotate_left(32));
                            let (low, high) = (seed as u32, (seed >> 32) as u32);
                            for (column, value) in row.iter_mut().enumerate() {
                                let random = mix32((column as u32).wrapping_add(low) ^ high);
                                *value = if random >= threshold {
                                    *value * scale
                                } else {
                                    0.0
                                };
                            }
                        }
                    },
                );
            });
    }
}

/// Mixes 64 bits (the finaliser of SplitMix64, Steele et al. 2014).
pub fn mix64(x: u64) -> u64 {
    let x = x.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}

/// Mixes 32 bits (the finaliser of MurmurHash3, applied twice).
#[inline(always)]
fn mix32(x: u32) -> u32 {
    let mut x = x.wrapping_add(0x9E37_79B9);
    for _ in 0..2 {
        x = (x ^ (x >> 16)).wrapping_mul(0x85EB_CA6B);
        x = (x ^ (x >> 13)).wrapping_mul(0xC2B2_AE35);
        x ^= x >> 16;
    }
    x
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dropout_keeps_the_mean_and_repeats() {
        let (t, c) = (200, 300);
        let keys: Vec<u64> = (0..t as u64).collect();
        let dropout = Dropout {
            probability: 0.05,
            key: 7,
        };
        let mut x = vec![1.0f32; t * c];
        dropout.apply(&mut x, &keys);
        let dropped = x.iter().filter(|v| **v == 0.0).count() as f64 / x.len() as f64;
        // 60,000 draws: three standard deviations are 0.0027.
        assert!((dropped - 0.05).abs() < 0.002_7, "{dropped}");
        let mut again = vec![1.0f32; t * c];
        dropout.apply(&mut again, &keys);
        assert_eq!(x, again);
        let mut other = vec![1.0f32; t * c];
        Dropout {
            probability: 0.05,
            key: 8,
        }
        .apply(&mut other, &keys);
        assert_ne!(x, other);
    }

    #[test]
    fn dropout_mask_belongs_to_the_row_key() {
        let dropout = Dropout {
            probability: 0.5,
            key: 3,
        };
        let mut both = vec![1.0f32; 64];
        dropout.apply(&mut both, &[10, 11]);
        let mut second = vec![1.0f32; 32];
        dropout.apply(&mut second, &[11]);
        assert_eq!(both[32..], second[..]);
    }
}
