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

/// One piece of `c = alpha * a * b` (or its addition): everything a task needs.
pub(crate) struct Piece<'a> {
    pub(crate) c: *mut f32,
    pub(crate) c_stride: usize,
    pub(crate) rows: Range<usize>,
    pub(crate) cols: Range<usize>,
    pub(crate) write: Write,
    pub(crate) alpha: f32,
    pub(crate) a: Mat<'a>,
    pub(crate) b: Mat<'a>,
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
    let block = depth.div_ceil(blocks);
    let widest = VECTORS * lanes;
    let strip = |left: usize| left..(left + widest).min(piece.cols.end);
    let padded = piece.cols.len().next_multiple_of(lanes);
    let mut buffer = PANEL.take();
    buffer.resize(block * padded + ALIGNMENT / size_of::<f32>(), 0.0);
    let skip = buffer.as_ptr().align_offset(ALIGNMENT).min(ALIGNMENT / 4);
    let panels = &mut buffer[skip..];
    let mut write = piece.write;
    for from in (0..blocks).map(|index| index * block) {
        let ks = from..(from + block).min(depth);
        let mut rest = &mut panels[..];
        for left in piece.cols.clone().step_by(widest) {
            let cols = strip(left);
            let width = cols.len().next_multiple_of(lanes);
            let (panel, others) = rest.split_at_mut(ks.len() * width);
            pack(panel, (width, lanes), piece.b, &ks, &cols);
            rest = others;
        }
        // The rows of a tile are read from the first cache for all panels but the first.
        for top in piece.rows.clone().step_by(ROWS) {
            let mut rest = &panels[..];
            for left in piece.cols.clone().step_by(widest) {
                let cols = strip(left);
                let vectors = cols.len().div_ceil(lanes);
                let (panel, others) = rest.split_at(ks.len() * vectors * lanes);
                rest = others;
                let spot = Spot {
                    rows: top..(top + ROWS).min(piece.rows.end),
                    cols,
                    depth_from: ks.start,
                    write,
                };
                match vectors {
                    1 => tile::<S, ROWS, 1>(simd, piece, &spot, panel),
                    2 => tile::<S, ROWS, 2>(simd, piece, &spot, panel),
                    _ => tile::<S, ROWS, VECTORS>(simd, piece, &spot, panel),
                }
            }
        }
        write = Write::Add;
    }
    PANEL.set(buffer);
}

/// Where a tile lies, and whether it adds.
struct Spot {
    rows: Range<usize>,
    cols: Range<usize>,
    depth_from: usize,
    write: Write,
}

#[inline(always)]
fn tile<S: Simd, const ROWS: usize, const N: usize>(
    simd: S,
    piece: &Piece<'_>,
    spot: &Spot,
    panel: &[f32],
) {
    let lanes = S::F32_LANES;
    let a = piece.a;
    let last = spot.rows.len() - 1;
    // Rows past the end repeat the last one; what they compute is not stored.
    let mut left: [*const f32; ROWS] = std::array::from_fn(|r| {
        let row = spot.rows.start + r.min(last);
        let offset = row * a.row_stride + spot.depth_from * a.col_stride;
        debug_assert!(offset < a.data.len());
        // SAFETY: the row lies inside `a` and the block of the depth begins inside it.
        #[expect(unsafe_code, reason = "start of a row of a checked view")]
        unsafe {
            a.data.as_ptr().add(offset)
        }
    });
    let mut sums = [[simd.splat_f32s(0.0); N]; ROWS];
    let (vectors, _) = S::as_simd_f32s(panel);
    for right in vectors.chunks_exact(N) {
        for r in 0..ROWS {
            // SAFETY: the panel has one row for each step of the depth in this block, and every
            // step reads row `r` at its own depth, inside `a`. The pointer moves past the row
            // only after the last step, by `wrapping_add`, and is not read again.
            #[expect(unsafe_code, reason = "one value of a row for each row of the panel")]
            let value = simd.splat_f32s(unsafe { *left[r] });
            left[r] = left[r].wrapping_add(a.col_stride);
            for n in 0..N {
                sums[r][n] = simd.mul_add_f32s(value, right[n], sums[r][n]);
            }
        }
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

/// Copies rows `ks` and columns `cols` of `b` into `panel` [ks.len()][width], zeros to the right.
#[inline(always)]
fn pack(
    panel: &mut [f32],
    (width, lanes): (usize, usize),
    b: Mat<'_>,
    ks: &Range<usize>,
    cols: &Range<usize>,
) {
    let wide = cols.len();
    if b.col_stride == 1 && wide == width {
        for (row, k) in panel.chunks_exact_mut(width).zip(ks.clone()) {
            let from = &b.data[k * b.row_stride + cols.start..][..width];
            // In steps of a constant length, which need no call to copy memory.
            for (into, from) in row.chunks_exact_mut(lanes).zip(from.chunks_exact(lanes)) {
                into.copy_from_slice(from);
            }
        }
        return;
    }
    if b.col_stride == 1 {
        for (row, k) in panel.chunks_exact_mut(width).zip(ks.clone()) {
            row[..wide].copy_from_slice(&b.data[k * b.row_stride + cols.start..][..wide]);
            row[wide..].fill(0.0);
        }
        return;
    }
    if wide < width {
        panel.fill(0.0);
    }
    if b.row_stride == 1 && transpose::strips(panel, width, b, ks, cols) {
        return;
    }
    for (j, col) in cols.clone().enumerate() {
        for (i, k) in ks.clone().enumerate() {
            panel[i * width + j] = b.data[k * b.row_stride + col * b.col_stride];
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod transpose {
    use super::{Mat, Range};
    use std::arch::x86_64::{
        __m512, _mm512_castpd_ps, _mm512_castps_pd, _mm512_loadu_ps, _mm512_setzero_ps,
        _mm512_shuffle_f32x4, _mm512_storeu_ps, _mm512_unpackhi_pd, _mm512_unpackhi_ps,
        _mm512_unpacklo_pd, _mm512_unpacklo_ps,
    };

    /// Side of a block.
    const SIDE: usize = 16;

    /// Transposes columns of `b` that lie densely along the depth; false when this machine has no
    /// AVX-512 or the panel is not a whole number of blocks wide, and nothing was done.
    pub(super) fn strips(
        panel: &mut [f32],
        width: usize,
        b: Mat<'_>,
        ks: &Range<usize>,
        cols: &Range<usize>,
    ) -> bool {
        if !width.is_multiple_of(SIDE) || !std::arch::is_x86_feature_detected!("avx512f") {
            return false;
        }
        let whole = ks.len() / SIDE * SIDE;
        for left in (0..cols.len()).step_by(SIDE) {
            let count = SIDE.min(cols.len() - left);
            for top in (0..whole).step_by(SIDE) {
                let from = &b.data[ks.start + top + (cols.start + left) * b.col_stride..];
                assert!(from.len() >= (count - 1) * b.col_stride + SIDE);
                let into = &mut panel[top * width + left..];
                assert!(into.len() >= (SIDE - 1) * width + SIDE);
                // SAFETY: the feature was found above; the asserts bound every read and write.
                #[expect(unsafe_code, reason = "AVX-512 block transposition")]
                unsafe {
                    block(from.as_ptr(), b.col_stride, count, into.as_mut_ptr(), width);
                }
            }
            for k in whole..ks.len() {
                for j in left..left + count {
                    panel[k * width + j] = b.data[ks.start + k + (cols.start + j) * b.col_stride];
                }
            }
        }
        true
    }

    /// Transposes `count` rows of 16 values, `stride` apart, into 16 rows of 16, `width` apart;
    /// columns past `count` become zero.
    ///
    /// # Safety
    /// The machine has AVX-512F; `from` may be read and `into` written as described.
    #[target_feature(enable = "avx512f")]
    #[expect(
        unsafe_code,
        reason = "raw rows of a block whose bounds the caller checked"
    )]
    unsafe fn block(from: *const f32, stride: usize, count: usize, into: *mut f32, width: usize) {
        let mut r: [__m512; SIDE] = [_mm512_setzero_ps(); SIDE];
        for (i, row) in r.iter_mut().enumerate().take(count) {
            // SAFETY: the caller vouches for `count` rows of 16 values.
            *row = unsafe { _mm512_loadu_ps(from.add(i * stride)) };
        }
        // Pairs of rows, then quadruples within each quarter of 128 bits ...
        let mut s = r;
        for i in (0..SIDE).step_by(2) {
            s[i] = _mm512_unpacklo_ps(r[i], r[i + 1]);
            s[i + 1] = _mm512_unpackhi_ps(r[i], r[i + 1]);
        }
        for i in (0..SIDE).step_by(4) {
            let pair = |k: usize| _mm512_castps_pd(s[i + k]);
            r[i] = _mm512_castpd_ps(_mm512_unpacklo_pd(pair(0), pair(2)));
            r[i + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(pair(0), pair(2)));
            r[i + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(pair(1), pair(3)));
            r[i + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(pair(1), pair(3)));
        }
        // ... then the quarters change places: r[4 g + c] holds, in quarter q, column 4 q + c of
        // rows 4 g .. 4 g + 3.
        for c in 0..4 {
            let low = _mm512_shuffle_f32x4::<0x88>(r[c], r[4 + c]);
            let high = _mm512_shuffle_f32x4::<0xdd>(r[c], r[4 + c]);
            let low2 = _mm512_shuffle_f32x4::<0x88>(r[8 + c], r[12 + c]);
            let high2 = _mm512_shuffle_f32x4::<0xdd>(r[8 + c], r[12 + c]);
            let columns = [
                (c, _mm512_shuffle_f32x4::<0x88>(low, low2)),
                (4 + c, _mm512_shuffle_f32x4::<0x88>(high, high2)),
                (8 + c, _mm512_shuffle_f32x4::<0xdd>(low, low2)),
                (12 + c, _mm512_shuffle_f32x4::<0xdd>(high, high2)),
            ];
            for (column, values) in columns {
                // SAFETY: the caller vouches for 16 rows of 16 values, `width` apart.
                unsafe { _mm512_storeu_ps(into.add(column * width), values) };
            }
        }
    }
}

#[cfg(not(target_arch = "x86_64"))]
mod transpose {
    use super::{Mat, Range};

    /// No block transposition on this architecture: the plain loop does it.
    pub(super) fn strips(
        _: &mut [f32],
        _: usize,
        _: Mat<'_>,
        _: &Range<usize>,
        _: &Range<usize>,
    ) -> bool {
        false
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
                    b,
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
