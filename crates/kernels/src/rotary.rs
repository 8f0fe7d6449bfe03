//! Rotary position embedding (Su et al. 2021) in the half-split layout of transformers:
//! channel i of a head turns together with channel i + D/2.

use crate::ROWS_PER_TASK;
use crate::widest::widest;
use rayon::prelude::*;

/// Cosines and sines by position: [positions, D/2] each.
#[derive(Clone, Debug)]
pub struct RotaryTable {
    half: usize,
    cos: Vec<f32>,
    sin: Vec<f32>,
}

/// Direction of a rotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Rotate by the position's angle.
    Forward,
    /// Rotate back: the transpose, which is the gradient of the forward rotation.
    Backward,
}

impl RotaryTable {
    /// Builds the table for `positions` positions from the D/2 inverse frequencies (radians per
    /// position) and a factor applied to both cosine and sine (1 except for yarn).
    pub fn new(inverse_frequencies: &[f64], positions: usize, factor: f64) -> Self {
        let half = inverse_frequencies.len();
        let mut cos = Vec::with_capacity(positions * half);
        let mut sin = Vec::with_capacity(positions * half);
        for position in 0..positions {
            for frequency in inverse_frequencies {
                let angle = position as f64 * frequency;
                cos.push((angle.cos() * factor) as f32);
                sin.push((angle.sin() * factor) as f32);
            }
        }
        Self { half, cos, sin }
    }

    /// Returns how many positions the table covers.
    pub fn positions(&self) -> usize {
        self.cos.len() / self.half.max(1)
    }

    /// Rotates every head of every row of `x` [T, heads * D] in place; `positions` [T].
    ///
    /// # Panics
    /// If the shapes do not fit together or a position lies outside the table.
    pub fn apply(&self, x: &mut [f32], positions: &[u32], heads: usize, turn: Turn) {
        let (half, width) = (self.half, 2 * self.half);
        assert_eq!(x.len(), positions.len() * heads * width);
        let sign = if turn == Turn::Forward { 1.0 } else { -1.0 };
        x.par_chunks_mut(heads * width * ROWS_PER_TASK)
            .zip(positions.par_chunks(ROWS_PER_TASK))
            .for_each(|(x, positions)| {
                widest(
                    #[inline(always)]
                    || {
                        for (row, position) in x.chunks_exact_mut(heads * width).zip(positions) {
                            let start = *position as usize * half;
                            let cos = &self.cos[start..start + half];
                            let sin = &self.sin[start..start + half];
                            for head in row.chunks_exact_mut(width) {
                                let (first, second) = head.split_at_mut(half);
                                let pairs = first.iter_mut().zip(second);
                                for ((a, b), (cos, sin)) in pairs.zip(cos.iter().zip(sin)) {
                                    let s = sin * sign;
                                    (*a, *b) = (*a * cos - *b * s, *b * cos + *a * s);
                                }
                            }
                        }
                    },
                );
            });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backward_undoes_forward() {
        let table = RotaryTable::new(&[1.0, 0.1, 0.01], 50, 1.0);
        let start: Vec<f32> = (0..2 * 2 * 6).map(|i| i as f32 / 5.0).collect();
        let mut x = start.clone();
        table.apply(&mut x, &[3, 41], 2, Turn::Forward);
        assert!(x.iter().zip(&start).any(|(a, b)| (a - b).abs() > 0.5));
        table.apply(&mut x, &[3, 41], 2, Turn::Backward);
        for (a, b) in x.iter().zip(&start) {
            assert!((a - b).abs() < 1e-5);
        }
    }

    #[test]
    fn position_zero_is_the_identity_and_quarter_turn_swaps() {
        let table = RotaryTable::new(&[std::f64::consts::FRAC_PI_2], 2, 1.0);
        let mut x = vec![1.0, 2.0, 1.0, 2.0];
        table.apply(&mut x, &[0, 1], 1, Turn::Forward);
        assert_eq!(x[..2], [1.0, 2.0]);
        assert!((x[2] + 2.0).abs() < 1e-6 && (x[3] - 1.0).abs() < 1e-6);
    }
}
