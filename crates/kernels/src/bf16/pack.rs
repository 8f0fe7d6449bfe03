//! Rounding to bf16 and laying values out in blocks.
//!
//! A left block holds 32 rows of 32 values, in two tiles of 16 rows. A right block holds 32
//! columns in two tiles of 16; a tile has 16 rows of pairs: the values of depth 2p and 2p + 1 of
//! each column lie side by side.

use super::{BLOCK, SIDE};
use crate::matmul::Mat;
use crate::operand::{Right, Side};
use crate::pack::transpose;
use crate::widest::widest;
use std::cell::Cell;
use std::ops::Range;

/// Values of a tile.
const TILE: usize = BLOCK / 2;

/// Rows and columns of a tile.
const HALF: usize = SIDE / 2;

thread_local! {
    /// The calling thread's decoded values.
    static DECODED: Cell<Vec<f32>> = const { Cell::new(Vec::new()) };
}

/// Rounds to the nearest bf16, ties to even; not-a-number stays one.
#[inline(always)]
pub(super) fn round(x: f32) -> u16 {
    let bits = x.to_bits();
    let rounded = bits.wrapping_add(0x7fff + ((bits >> 16) & 1)) >> 16;
    if x.is_nan() { 0x7fc0 } else { rounded as u16 }
}

/// Packs `rows` of the left operand into the blocks of one group, zeros beyond its edges.
pub(super) fn left(blocks: &mut [u16], a: Mat<'_>, rows: Range<usize>) {
    widest(
        #[inline(always)]
        || {
            for (index, block) in blocks.chunks_exact_mut(BLOCK).enumerate() {
                let ks = index * SIDE..((index + 1) * SIDE).min(a.cols);
                for (r, into) in block.chunks_exact_mut(SIDE).enumerate() {
                    if r >= rows.len() {
                        into.fill(0);
                        continue;
                    }
                    let start = (rows.start + r) * a.row_stride + ks.start * a.col_stride;
                    if a.col_stride == 1 {
                        for (into, x) in into.iter_mut().zip(&a.data[start..][..ks.len()]) {
                            *into = round(*x);
                        }
                    } else {
                        for (k, into) in into.iter_mut().take(ks.len()).enumerate() {
                            *into = round(a.data[start + k * a.col_stride]);
                        }
                    }
                    into[ks.len()..].fill(0);
                }
            }
        },
    );
}

/// Packs rows `ks` and columns `cols` of the right operand into panels of 32 columns, one after
/// the other; zeros beyond its edges.
pub(super) fn right(panels: &mut [u16], b: Right<'_>, ks: &Range<usize>, cols: &Range<usize>) {
    let blocks = ks.len().div_ceil(SIDE);
    let mut values = DECODED.take();
    let depth = blocks * SIDE;
    if across(b) {
        // Rows of the operand lie across the panels.
        let width = cols.len().next_multiple_of(SIDE);
        values.clear();
        values.resize(2 * width, 0.0);
        for pair in 0..depth / 2 {
            let (even, odd) = values.split_at_mut(width);
            for (k, row) in [(2 * pair, even), (2 * pair + 1, odd)] {
                if k < ks.len() {
                    read_row(b, ks.start + k, cols, &mut row[..cols.len()]);
                } else {
                    row.fill(0.0);
                }
            }
            put_pair(panels, blocks, pair, &values);
        }
    } else {
        // Columns of the operand are what lies in a row.
        values.clear();
        values.resize(HALF * depth, 0.0);
        for (tile, first) in (0..cols.len().next_multiple_of(SIDE))
            .step_by(HALF)
            .enumerate()
        {
            for (j, row) in values.chunks_exact_mut(depth).enumerate() {
                if first + j < cols.len() {
                    read_column(b, cols.start + first + j, ks, &mut row[..ks.len()]);
                } else {
                    row.fill(0.0);
                }
            }
            let panel = &mut panels[tile / 2 * blocks * BLOCK..][..blocks * BLOCK];
            put_columns(panel, tile % 2, &values, depth);
        }
    }
    DECODED.set(values);
}

/// Returns whether a row of the operand (one depth) is what can be read at once.
fn across(b: Right<'_>) -> bool {
    match b {
        Right::Dense(mat) => mat.col_stride == 1,
        Right::Frozen(_, side) => side == Side::Plain,
    }
}

fn read_row(b: Right<'_>, k: usize, cols: &Range<usize>, out: &mut [f32]) {
    match b {
        Right::Dense(mat) => {
            for (out, col) in out.iter_mut().zip(cols.clone()) {
                *out = mat.data[k * mat.row_stride + col * mat.col_stride];
            }
        }
        Right::Frozen(weight, _) => weight.decode(k, cols.clone(), out),
    }
}

fn read_column(b: Right<'_>, col: usize, ks: &Range<usize>, out: &mut [f32]) {
    match b {
        Right::Dense(mat) if mat.row_stride == 1 => {
            out.copy_from_slice(&mat.data[ks.start + col * mat.col_stride..][..ks.len()]);
        }
        Right::Dense(mat) => {
            for (out, k) in out.iter_mut().zip(ks.clone()) {
                *out = mat.data[k * mat.row_stride + col * mat.col_stride];
            }
        }
        Right::Frozen(weight, _) => weight.decode(col, ks.clone(), out),
    }
}

/// Lays depth 2p and 2p + 1 of all columns, `rows` [2][width], into their rows of pairs.
fn put_pair(panels: &mut [u16], blocks: usize, pair: usize, rows: &[f32]) {
    let (even, odd) = rows.split_at(rows.len() / 2);
    let (block, p) = (pair / HALF, pair % HALF);
    widest(
        #[inline(always)]
        || {
            let tiles = even.chunks_exact(HALF).zip(odd.chunks_exact(HALF));
            for (tile, (even, odd)) in tiles.enumerate() {
                let at = (tile / 2 * blocks + block) * BLOCK + tile % 2 * TILE + p * SIDE;
                let (into, _) = panels[at..at + SIDE].as_chunks_mut::<2>();
                for ((into, even), odd) in into.iter_mut().zip(even).zip(odd) {
                    *into = [round(*even), round(*odd)];
                }
            }
        },
    );
}

/// Lays 16 columns, `columns` [16][depth], into tile `half` of each block of a panel.
fn put_columns(panel: &mut [u16], half: usize, columns: &[f32], depth: usize) {
    widest(
        #[inline(always)]
        || {
            for (index, block) in panel.chunks_exact_mut(BLOCK).enumerate() {
                // [column][pair], each pair in the bits of one f32; then turned.
                let mut pairs = [0.0f32; TILE / 2];
                for (j, row) in pairs.chunks_exact_mut(HALF).enumerate() {
                    let from = &columns[j * depth + index * SIDE..][..SIDE];
                    let (from, _) = from.as_chunks::<2>();
                    for (into, pair) in row.iter_mut().zip(from) {
                        let bits = u32::from(round(pair[0])) | u32::from(round(pair[1])) << 16;
                        *into = f32::from_bits(bits);
                    }
                }
                let mut turned = [0.0f32; TILE / 2];
                transpose::square(&pairs, &mut turned);
                let (into, _) = block[half * TILE..][..TILE].as_chunks_mut::<2>();
                for (into, bits) in into.iter_mut().zip(turned) {
                    let bits = bits.to_bits();
                    *into = [bits as u16, (bits >> 16) as u16];
                }
            }
        },
    );
}
