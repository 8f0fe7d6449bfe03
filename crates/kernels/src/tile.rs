//! The dense core of [`crate::matmul`]: one piece of a product, in register tiles.
//!
//! The right operand is copied strip by strip into panels [depth][width] that stay in the second
//! cache; the left operand is read in place, one value at a time, and spread over a register. A tile of
//! the result (8 rows x 3 registers where there are 32 registers) lives in registers for a whole
//! block of the depth, so that a multiply-add needs less than half a load.
//!
//! Every element of the result is one chain of fused multiply-adds per block of the depth, and
//! blocks are cut by depth alone: the result depends neither on the register width nor on how the
//! product is cut into pieces.

use crate::matmul::{Mat, Write};
use crate::operand::Right;
use crate::pack::Strips;
use pulp::{Simd, WithSimd};
use std::cell::Cell;
use std::ops::Range;

/// Registers side by side in a tile.
const VECTORS: usize = 3;

/// Depth of one panel at most: 640 x 48 values are 120 KiB, well inside a second cache.
const DEPTH: usize = 640;

/// Bytes to which panels are aligned: a cache line, the widest register.
const ALIGNMENT: usize = 64;

thread_local! {
    /// The calling thread's panel, kept from product to product.
    static PANEL: Cell<Vec<f32>> = const { Cell::new(Vec::new()) };
}

/// One piece of `c = alpha * (a * b + extra.0 * extra.1)` (or its addition): everything a task needs.
pub(crate) struct Piece<'a> {
    pub(crate) c: *mut f32,
    pub(crate) c_stride: usize,
    pub(crate) rows: Range<usize>,
    pub(crate) cols: Range<usize>,
    pub(crate) write: Write,
    pub(crate) alpha: f32,
    pub(crate) a: Mat<'a>,
    pub(crate) b: Right<'a>,
    /// A second, slender product, added before the result leaves the registers.
    pub(crate) extra: Option<(Mat<'a>, Mat<'a>)>,
}

impl Piece<'_> {
    /// Computes the piece on the calling thread.
    ///
    /// # Safety
    /// `rows` and `cols` lie inside the result that `c` and `c_stride` describe, whose rows and
    /// columns are those of `a` and `b`; nobody else touches that part of it during the call.
    #[expect(unsafe_code, reason = "writes one piece of a result shared by tasks")]
    pub(crate) unsafe fn run(self) {
        pulp::Arch::new().dispatch(self);
    }
}

impl WithSimd for Piece<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        if S::REGISTER_COUNT >= 32 {
            strips::<S, 8>(simd, &self);
        } else {
            strips::<S, 4>(simd, &self);
        }
    }
}

#[inline(always)]
fn strips<S: Simd, const ROWS: usize>(simd: S, piece: &Piece<'_>) {
    let lanes = S::F32_LANES;
    let depth = piece.a.cols;
    let blocks = depth.div_ceil(DEPTH).max(1);
    // Blocks of a stored weight begin at multiples of 64 or more.
    let block = depth.div_ceil(blocks).next_multiple_of(64).min(depth);
    let more = piece.extra.map_or(0, |(a, _)| a.cols);
    let mut strips = Strips {
        cols: piece.cols.clone(),
        widest: VECTORS * lanes,
        lanes,
        height: block + more,
    };
    let mut buffer = PANEL.take();
    buffer.resize(strips.len() + ALIGNMENT / size_of::<f32>(), 0.0);
    let skip = buffer.as_ptr().align_offset(ALIGNMENT).min(ALIGNMENT / 4);
    let panels = &mut buffer[skip..];
    let mut write = piece.write;
    for from in (0..depth.max(1)).step_by(block.max(1)) {
        let ks = from..(from + block).min(depth);
        let extra = piece.extra.filter(|_| ks.end == depth);
        strips.height = ks.len() + extra.map_or(0, |(a, _)| a.cols);
        strips.pack(panels, 0, piece.b, &ks);
        if let Some((_, b)) = extra {
            strips.pack(panels, ks.len(), Right::Dense(b), &(0..b.rows));
        }
        let parts = [
            Some((piece.a, ks.clone())),
            extra.map(|(a, _)| (a, 0..a.cols)),
        ];
        // The rows of a tile are read from the first cache for all panels but the first.
        for top in piece.rows.clone().step_by(ROWS) {
            let mut rest = &panels[..];
            for (cols, width) in strips.iter() {
                let (panel, others) = rest.split_at(strips.height * width);
                rest = others;
                let spot = Spot {
                    rows: top..(top + ROWS).min(piece.rows.end),
                    cols,
                    write,
                };
                match width / lanes {
                    1 => tile::<S, ROWS, 1>(simd, piece, &parts, &spot, panel),
                    2 => tile::<S, ROWS, 2>(simd, piece, &parts, &spot, panel),
                    _ => tile::<S, ROWS, VECTORS>(simd, piece, &parts, &spot, panel),
                }
            }
        }
        write = Write::Add;
    }
    PANEL.set(buffer);
}

/// A left operand and the part of its depth that a panel holds.
type Part<'a> = Option<(Mat<'a>, Range<usize>)>;

/// Returns `sums` and, for every step of the depth, the products of a value of each row, `stride`
/// after the one before, with the step's row of the panel. By value, or the sums would live in memory.
#[inline(always)]
fn steps<S: Simd, const ROWS: usize, const N: usize>(
    simd: S,
    left: [*const f32; ROWS],
    stride: usize,
    panel: &[S::f32s],
    mut sums: [[S::f32s; N]; ROWS],
) -> [[S::f32s; N]; ROWS] {
    for (k, right) in panel.chunks_exact(N).enumerate() {
        for r in 0..ROWS {
            // SAFETY: the panel has one row for each step of the depth in this part, and every step
            // reads row `r` at its own depth, inside the left operand.
            #[expect(unsafe_code, reason = "one value of a row for each row of the panel")]
            let value = simd.splat_f32s(unsafe { *left[r].add(k * stride) });
            for n in 0..N {
                sums[r][n] = simd.mul_add_f32s(value, right[n], sums[r][n]);
            }
        }
    }
    sums
}

/// Where a tile lies, and whether it adds.
struct Spot {
    rows: Range<usize>,
    cols: Range<usize>,
    write: Write,
}

#[inline(always)]
fn tile<S: Simd, const ROWS: usize, const N: usize>(
    simd: S,
    piece: &Piece<'_>,
    parts: &[Part<'_>; 2],
    spot: &Spot,
    panel: &[f32],
) {
    let lanes = S::F32_LANES;
    let last = spot.rows.len() - 1;
    let mut sums = [[simd.splat_f32s(0.0); N]; ROWS];
    let (vectors, _) = S::as_simd_f32s(panel);
    let mut rest = vectors;
    for (a, ks) in parts.iter().flatten() {
        // Rows past the end repeat the last one; what they compute is not stored.
        let left: [*const f32; ROWS] = std::array::from_fn(|r| {
            let row = spot.rows.start + r.min(last);
            let offset = row * a.row_stride + ks.start * a.col_stride;
            debug_assert!(offset < a.data.len());
            // SAFETY: the row lies inside `a` and the block of the depth begins inside it.
            #[expect(unsafe_code, reason = "start of a row of a checked view")]
            unsafe {
                a.data.as_ptr().add(offset)
            }
        });
        let (mine, others) = rest.split_at(ks.len() * N);
        rest = others;
        // One index for all rows where they are dense: the loop is short of registers for pointers.
        sums = if a.col_stride == 1 {
            steps::<S, ROWS, N>(simd, left, 1, mine, sums)
        } else {
            steps::<S, ROWS, N>(simd, left, a.col_stride, mine, sums)
        };
    }
    let alpha = simd.splat_f32s(piece.alpha);
    for (row, sums) in spot.rows.clone().zip(&sums) {
        for (n, sum) in sums.iter().enumerate() {
            let col = spot.cols.start + n * lanes;
            let wide = lanes.min(spot.cols.end - col);
            // SAFETY: rows and columns lie inside the piece, which is this task's alone.
            #[expect(unsafe_code, reason = "part of a row of the piece")]
            let into = unsafe {
                std::slice::from_raw_parts_mut(piece.c.add(row * piece.c_stride + col), wide)
            };
            let scaled = |old| match spot.write {
                Write::Set => simd.mul_f32s(alpha, *sum),
                Write::Add => simd.mul_add_f32s(alpha, *sum, old),
            };
            // Whole registers are stored in line; partial ones go through a call.
            if let ([whole], []) = S::as_mut_simd_f32s(into) {
                *whole = scaled(*whole);
            } else {
                let value = scaled(simd.partial_load_f32s(into));
                simd.partial_store_f32s(into, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matmul::{MatMut, matmul_reference};

    /// f32 rounding of a sum of K products of values in [-1, 1]: about K * 2^-24, with headroom.
    const PER_TERM: f32 = 2.0e-7;

    fn values(n: usize, seed: u32) -> Vec<f32> {
        let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(1);
        (0..n)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 8) as f32 / (1u32 << 23) as f32 - 1.0
            })
            .collect()
    }

    /// Computes a product in four pieces with the given registers.
    fn product(
        shape: (usize, usize, usize),
        flip: (bool, bool),
        run: impl Fn(Piece<'_>),
    ) -> [Vec<f32>; 2] {
        let (m, n, k) = shape;
        let (left, right) = (values(m * k, 1), values(k * n, 2));
        let a = if flip.0 {
            Mat::dense(&left, k, m).t()
        } else {
            Mat::dense(&left, m, k)
        };
        let b = if flip.1 {
            Mat::dense(&right, n, k).t()
        } else {
            Mat::dense(&right, k, n)
        };
        let (mut c, mut oracle) = (values(m * n, 3), values(m * n, 3));
        for rows in [0..m / 3, m / 3..m] {
            for cols in [0..n / 2, n / 2..n] {
                run(Piece {
                    c: c.as_mut_ptr(),
                    c_stride: n,
                    rows: rows.clone(),
                    cols,
                    write: Write::Add,
                    alpha: 0.5,
                    a,
                    b: Right::Dense(b),
                    extra: None,
                });
            }
        }
        matmul_reference(&mut MatMut::dense(&mut oracle, m, n), Write::Add, 0.5, a, b);
        [c, oracle]
    }

    /// Shapes with a remainder in every direction; the last has three blocks of depth.
    const SHAPES: [(usize, usize, usize); 3] =
        [(7, 10, 5), (37, 101, 70), (19, 118, 2 * DEPTH + 9)];

    #[test]
    fn equals_the_oracle_in_every_orientation() {
        for shape in SHAPES {
            for flip in [(false, false), (false, true), (true, false), (true, true)] {
                let [c, oracle] = product(shape, flip, |piece| {
                    pulp::Arch::new().dispatch(piece);
                });
                let tolerance = PER_TERM * (shape.2 as f32 + 4.0);
                for (fast, slow) in c.iter().zip(&oracle) {
                    assert!((fast - slow).abs() <= tolerance, "{shape:?} {flip:?}");
                }
            }
        }
    }

    #[test]
    fn the_register_width_changes_no_bit() {
        for shape in SHAPES {
            let [plain, _] = product(shape, (false, true), |piece| {
                piece.with_simd(pulp::Scalar::new());
            });
            let [widest, _] = product(shape, (false, true), |piece| {
                pulp::Arch::new().dispatch(piece);
            });
            assert_eq!(plain, widest, "{shape:?}");
            #[cfg(target_arch = "x86_64")]
            if let Some(avx2) = pulp::x86::V3::try_new() {
                let [middle, _] = product(shape, (false, true), |piece| {
                    pulp::Simd::vectorize(avx2, piece);
                });
                assert_eq!(plain, middle, "{shape:?}");
            }
        }
    }
}
