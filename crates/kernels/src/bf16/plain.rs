//! Blocks of bf16 multiplied in f32: works everywhere, and judges the other units.

use super::{BLOCK, SIDE};
use crate::widest::widest;

/// Rows whose sums are in registers together.
const ROWS: usize = 4;

/// Columns of a tile.
const COLUMNS: usize = SIDE / 2;

/// Computes c [32][32] = sum over blocks of a times b.
pub(super) fn multiply(a: &[u16], b: &[u16], c: &mut [f32; BLOCK]) {
    widest(
        #[inline(always)]
        || {
            for half in 0..2 {
                for top in (0..SIDE).step_by(ROWS) {
                    let mut sums = [[0.0f32; COLUMNS]; ROWS];
                    for (a, b) in a.chunks_exact(BLOCK).zip(b.chunks_exact(BLOCK)) {
                        rows(&a[top * SIDE..], &b[half * BLOCK / 2..], &mut sums);
                    }
                    for (r, sums) in sums.iter().enumerate() {
                        let into = &mut c[(top + r) * SIDE + half * COLUMNS..][..COLUMNS];
                        into.copy_from_slice(sums);
                    }
                }
            }
        },
    );
}

/// Adds the products of four rows of a left block with a right tile.
#[inline(always)]
fn rows(a: &[u16], tile: &[u16], sums: &mut [[f32; COLUMNS]; ROWS]) {
    let wide = |bits: u16| f32::from_bits(u32::from(bits) << 16);
    for (p, pairs) in tile[..BLOCK / 2].chunks_exact(SIDE).enumerate() {
        let (pairs, _) = pairs.as_chunks::<2>();
        for t in 0..2 {
            let values: [f32; COLUMNS] = std::array::from_fn(|j| wide(pairs[j][t]));
            for (r, sums) in sums.iter_mut().enumerate() {
                let left = wide(a[r * SIDE + 2 * p + t]);
                for (sum, value) in sums.iter_mut().zip(values) {
                    *sum = left.mul_add(value, *sum);
                }
            }
        }
    }
}
