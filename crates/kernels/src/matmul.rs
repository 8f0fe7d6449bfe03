//! Matrix products over strided f32 views, serial and parallel.
//!
//! Broad products go through the register tiles of [`crate::tile`], slender ones through the
//! `gemm-f32` crate (the f32 part of `gemm`, alone because the other number types would take most
//! of the build); both pick AVX-512, AVX2, NEON or plain code at run time. The parallel form cuts
//! the result into pieces whose size depends on the shape alone and gives each piece to one
//! thread, so results never depend on the number of threads.

use crate::bf16::{self, Unit};
use crate::operand::{Right, Side, Weight};
use crate::slender;
use crate::tile;
use rayon::prelude::*;
use std::ops::Range;

/// Multiply-add pairs below which a product is not worth handing to other threads.
const PARALLEL_FROM: usize = 1 << 18;

/// Rows of a piece at most.
const TALLEST: usize = 1024;

/// Pieces from which two or a few threads are kept busy to the end.
const ENOUGH_PIECES: usize = 6;

/// Rows, columns and depth from which copying the right operand into panels pays.
const TILED_FROM: usize = 16;

/// Returns whether the product goes to the register tiles of [`crate::tile`]; the `gemm-f32` crate
/// is better at slender ones.
fn is_tiled(m: usize, n: usize, k: usize) -> bool {
    m.min(n).min(k) > TILED_FROM
}

/// A read-only view of an f32 matrix: element (r, c) is `data[r * row_stride + c * col_stride]`.
#[derive(Clone, Copy, Debug)]
pub struct Mat<'a> {
    pub(crate) data: &'a [f32],
    pub(crate) rows: usize,
    pub(crate) cols: usize,
    pub(crate) row_stride: usize,
    pub(crate) col_stride: usize,
}

impl<'a> Mat<'a> {
    /// Views `data` as a row-major `rows` x `cols` matrix whose rows start `row_stride` apart.
    ///
    /// # Panics
    /// If a row is longer than the stride or the last element lies outside `data`.
    pub fn new(data: &'a [f32], rows: usize, cols: usize, row_stride: usize) -> Self {
        assert!(cols <= row_stride || rows <= 1, "rows overlap");
        assert!(
            fits(data.len(), rows, cols, row_stride),
            "view exceeds its data"
        );
        Self {
            data,
            rows,
            cols,
            row_stride,
            col_stride: 1,
        }
    }

    /// Views `data` as a dense row-major `rows` x `cols` matrix.
    pub fn dense(data: &'a [f32], rows: usize, cols: usize) -> Self {
        Self::new(data, rows, cols, cols)
    }

    /// Returns the transposed view; nothing is copied.
    #[must_use]
    pub fn t(self) -> Self {
        Self {
            data: self.data,
            rows: self.cols,
            cols: self.rows,
            row_stride: self.col_stride,
            col_stride: self.row_stride,
        }
    }
}

/// A writable view of an f32 matrix with unit column stride.
#[derive(Debug)]
pub struct MatMut<'a> {
    pub(crate) data: &'a mut [f32],
    pub(crate) rows: usize,
    pub(crate) cols: usize,
    pub(crate) row_stride: usize,
}

impl<'a> MatMut<'a> {
    /// Views `data` as a row-major `rows` x `cols` matrix whose rows start `row_stride` apart.
    ///
    /// # Panics
    /// If rows would overlap or the last element lies outside `data`.
    pub fn new(data: &'a mut [f32], rows: usize, cols: usize, row_stride: usize) -> Self {
        assert!(cols <= row_stride || rows <= 1, "rows overlap");
        assert!(
            fits(data.len(), rows, cols, row_stride),
            "view exceeds its data"
        );
        Self {
            data,
            rows,
            cols,
            row_stride,
        }
    }

    /// Views `data` as a dense row-major `rows` x `cols` matrix.
    pub fn dense(data: &'a mut [f32], rows: usize, cols: usize) -> Self {
        Self::new(data, rows, cols, cols)
    }
}

fn fits(len: usize, rows: usize, cols: usize, row_stride: usize) -> bool {
    rows == 0 || cols == 0 || (rows - 1) * row_stride + cols <= len
}

/// What a product does with the values already in the result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Write {
    /// Overwrite them.
    Set,
    /// Add to them.
    Add,
}

/// A raw pointer that may cross threads because every task writes a piece of its own.
#[derive(Clone, Copy)]
pub(crate) struct Shared<T>(T);
// SAFETY: the pointers inside are used only by `product`, whose callers hold the borrows
// they come from for the whole call and give every task a disjoint piece of the result.
#[expect(
    unsafe_code,
    reason = "disjoint pieces of one borrowed matrix, see above"
)]
unsafe impl<T> Send for Shared<T> {}
// SAFETY: as above.
#[expect(
    unsafe_code,
    reason = "disjoint pieces of one borrowed matrix, see above"
)]
unsafe impl<T> Sync for Shared<T> {}

impl<T: Copy> Shared<T> {
    pub(crate) fn new(pointer: T) -> Self {
        Self(pointer)
    }

    pub(crate) fn get(&self) -> T {
        self.0
    }
}

/// Computes `c = alpha * a * b` (or adds it) on the calling thread. Shapes: a [M, K], b [K, N], c [M, N].
///
/// # Panics
/// If the shapes do not fit together.
pub fn matmul(c: &mut MatMut<'_>, write: Write, alpha: f32, a: Mat<'_>, b: Mat<'_>) {
    check(c, a, b);
    let pointer = c.data.as_mut_ptr();
    let whole = Piece {
        rows: 0..c.rows,
        cols: 0..c.cols,
    };
    product(pointer, c.row_stride, &whole, write, alpha, a, b);
}

/// Computes the same as [`matmul`] on all threads of the pool.
///
/// # Panics
/// If the shapes do not fit together.
pub fn matmul_parallel(c: &mut MatMut<'_>, write: Write, alpha: f32, a: Mat<'_>, b: Mat<'_>) {
    check(c, a, b);
    if is_tiled(c.rows, c.cols, a.cols) {
        return tiled(c, write, alpha, a, Right::Dense(b), None);
    }
    let (height, width) = slender_piece(c.rows, c.cols, a.cols);
    if height >= c.rows && width >= c.cols {
        return matmul(c, write, alpha, a, b);
    }
    let pointer = Shared(c.data.as_mut_ptr());
    let row_stride = c.row_stride;
    pieces(c.rows, c.cols, height, width)
        .into_par_iter()
        .for_each(|piece| {
            product(pointer.get(), row_stride, &piece, write, alpha, a, b);
        });
}

/// How the dense core of a product with a frozen weight is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// Everything in f32.
    F32,
    /// Operands rounded to bf16, sums in f32, by the given unit.
    Bf16(Unit),
}

/// Computes `c = a * w + extra.0 * extra.1` (or adds it) on all threads, where w is a frozen weight
/// or its transpose, decoded while it is packed. Shapes: a [M, K], w [K, N], c [M, N]; the extra
/// product, such as a low-rank side path, [M, R] and [R, N].
///
/// # Panics
/// If the shapes do not fit together.
pub fn matmul_weight(
    c: &mut MatMut<'_>,
    write: Write,
    a: Mat<'_>,
    (weight, side): (&dyn Weight, Side),
    extra: Option<(Mat<'_>, Mat<'_>)>,
    precision: Precision,
) {
    let right = Right::of(weight, side);
    let (depth, columns) = right.shape();
    assert_eq!(a.cols, depth, "inner dimensions differ");
    assert_eq!(c.rows, a.rows, "row counts differ");
    assert_eq!(c.cols, columns, "column counts differ");
    if let Some((left, right)) = extra {
        check(c, left, right);
    }
    let slender = c.rows <= TILED_FROM;
    match right {
        _ if !slender && let Precision::Bf16(unit) = precision => {
            let target = bf16::Target {
                c: Shared(c.data.as_mut_ptr()),
                stride: c.row_stride,
                rows: c.rows,
                cols: c.cols,
            };
            // SAFETY: the target is the exclusively borrowed result, whose shape was checked.
            #[expect(unsafe_code, reason = "hands a checked result to its tasks")]
            unsafe {
                bf16::product(unit, target, write, a, right);
            }
        }
        _ if slender && side == Side::Transposed && a.col_stride == 1 => {
            slender::product(c, write, a, weight);
        }
        Right::Dense(b) if slender => matmul_parallel(c, write, 1.0, a, b),
        right => return tiled(c, write, 1.0, a, right, extra),
    }
    if let Some((left, right)) = extra {
        matmul_parallel(c, Write::Add, 1.0, left, right);
    }
}

/// Computes a product in register tiles, piece by piece on all threads.
fn tiled(
    c: &mut MatMut<'_>,
    write: Write,
    alpha: f32,
    a: Mat<'_>,
    b: Right<'_>,
    extra: Option<(Mat<'_>, Mat<'_>)>,
) {
    let (height, width) = tiled_piece(c.rows, c.cols, a.cols, b);
    let pointer = Shared(c.data.as_mut_ptr());
    let row_stride = c.row_stride;
    let run = |piece: Piece| {
        let piece = tile::Piece {
            c: pointer.get(),
            c_stride: row_stride,
            rows: piece.rows,
            cols: piece.cols,
            write,
            alpha,
            a,
            b,
            extra,
        };
        // SAFETY: pieces are disjoint parts of the exclusively borrowed result.
        #[expect(unsafe_code, reason = "disjoint pieces of one borrowed matrix")]
        unsafe {
            piece.run();
        }
    };
    let mut pieces = pieces(c.rows, c.cols, height, width);
    if pieces.len() == 1 {
        run(pieces.remove(0));
    } else {
        pieces.into_par_iter().for_each(run);
    }
}

/// Cuts a result into pieces of at most `height` rows and `width` columns.
fn pieces(rows: usize, cols: usize, height: usize, width: usize) -> Vec<Piece> {
    let mut pieces = Vec::new();
    for down in (0..rows).step_by(height) {
        for right in (0..cols).step_by(width) {
            pieces.push(Piece {
                rows: down..(down + height).min(rows),
                cols: right..(right + width).min(cols),
            });
        }
    }
    pieces
}

/// Returns the rows and columns that one task computes in register tiles; a function of shape and
/// operand alone.
///
/// Every piece packs its columns of the right operand, so pieces are tall; broad ones read the
/// left operand seldom. 48 columns are a whole number of tiles at every register width.
fn tiled_piece(m: usize, n: usize, k: usize, b: Right<'_>) -> (usize, usize) {
    if m * n * k < PARALLEL_FROM {
        return (m, n);
    }
    let height = m.div_ceil(m.div_ceil(TALLEST)).next_multiple_of(8);
    let across = ENOUGH_PIECES.div_ceil(m.div_ceil(height));
    let width: usize = if n.div_ceil(96) >= across { 96 } else { 48 };
    match b {
        // A block is decoded whole or not at all.
        Right::Frozen(weight, Side::Plain) => (height, width.next_multiple_of(weight.block())),
        _ => (height, width),
    }
}

/// Returns the rows and columns that one task computes of a slender product.
fn slender_piece(m: usize, n: usize, k: usize) -> (usize, usize) {
    if m * n * k < PARALLEL_FROM {
        (m, n)
    } else if n <= 192 {
        (120, n.div_ceil(2).next_multiple_of(64).min(n))
    } else {
        (240, 192)
    }
}

fn check(c: &MatMut<'_>, a: Mat<'_>, b: Mat<'_>) {
    assert_eq!(a.cols, b.rows, "inner dimensions differ");
    assert_eq!(c.rows, a.rows, "row counts differ");
    assert_eq!(c.cols, b.cols, "column counts differ");
}

/// The part of a result that one task computes.
#[derive(Clone)]
struct Piece {
    rows: Range<usize>,
    cols: Range<usize>,
}

#[inline]
fn product(
    c: *mut f32,
    row_stride: usize,
    piece: &Piece,
    write: Write,
    alpha: f32,
    a: Mat<'_>,
    b: Mat<'_>,
) {
    let (rows, cols) = (&piece.rows, &piece.cols);
    if rows.is_empty() || cols.is_empty() {
        return;
    }
    let accumulate = write == Write::Add;
    // SAFETY: `Mat` and `MatMut` check on construction that every element they name lies inside
    // their slice; `check` ties the shapes together; a piece's rows and columns lie inside the
    // result, so every address formed below does too, and between tasks the pieces never overlap.
    // The inputs are shared borrows distinct from the exclusive borrow of the result.
    #[expect(unsafe_code, reason = "calls the gemm kernel on bounds-checked views")]
    unsafe {
        // The kernel wants a column-major result, so the transposed product c^T = b^T a^T is asked
        // for: rows and columns, and with them the operands and their strides, change places.
        gemm_f32::gemm::f32::get_gemm_fn()(
            cols.len(),
            rows.len(),
            a.cols,
            c.add(rows.start * row_stride + cols.start),
            row_stride as isize,
            1,
            accumulate,
            b.data.as_ptr().add(cols.start * b.col_stride),
            b.row_stride as isize,
            b.col_stride as isize,
            a.data.as_ptr().add(rows.start * a.row_stride),
            a.row_stride as isize,
            a.col_stride as isize,
            1.0f32,
            alpha,
            false,
            false,
            false,
            gemm_common::Parallelism::None,
        );
    }
}

/// The scalar oracle: the definition, in f64, for tests.
pub fn matmul_reference(c: &mut MatMut<'_>, write: Write, alpha: f32, a: Mat<'_>, b: Mat<'_>) {
    check(c, a, b);
    for r in 0..c.rows {
        for j in 0..c.cols {
            let mut sum = 0.0f64;
            for k in 0..a.cols {
                let left = a.data[r * a.row_stride + k * a.col_stride];
                let right = b.data[k * b.row_stride + j * b.col_stride];
                sum += f64::from(left) * f64::from(right);
            }
            let value = (f64::from(alpha) * sum) as f32;
            let cell = &mut c.data[r * c.row_stride + j];
            *cell = if write == Write::Add {
                *cell + value
            } else {
                value
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

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

    proptest! {
        #[test]
        fn equals_the_oracle(m in 1usize..70, n in 1usize..230, k in 1usize..90, seed: u32, ta: bool, tb: bool, add: bool) {
            let (a, b) = (values(m * k, seed), values(k * n, seed ^ 1));
            let av = if ta { Mat::dense(&a, k, m).t() } else { Mat::dense(&a, m, k) };
            let bv = if tb { Mat::dense(&b, n, k).t() } else { Mat::dense(&b, k, n) };
            let write = if add { Write::Add } else { Write::Set };
            let start = values(m * n, seed ^ 2);
            let (mut fast, mut slow, mut serial) = (start.clone(), start.clone(), start);
            matmul_parallel(&mut MatMut::dense(&mut fast, m, n), write, 0.5, av, bv);
            matmul(&mut MatMut::dense(&mut serial, m, n), write, 0.5, av, bv);
            matmul_reference(&mut MatMut::dense(&mut slow, m, n), write, 0.5, av, bv);
            for i in 0..m * n {
                prop_assert!((fast[i] - slow[i]).abs() <= PER_TERM * (k as f32 + 4.0));
                prop_assert!((serial[i] - slow[i]).abs() <= PER_TERM * (k as f32 + 4.0));
            }
        }
    }

    proptest! {
        #[test]
        fn a_stored_weight_equals_the_oracle(m in 1usize..70, n in 1usize..130, k in 1usize..150, r in 1usize..9, block in 1usize..80, plain: bool, side: bool, add: bool) {
            use crate::operand::tests::Hidden;
            let a = values(m * k, 1);
            let weight = Hidden { values: values(n * k, 2), cols: if plain { n } else { k }, block };
            let (left, right) = (values(m * r, 3), values(r * n, 4));
            let extra = side.then(|| (Mat::dense(&left, m, r), Mat::dense(&right, r, n)));
            let write = if add { Write::Add } else { Write::Set };
            let start = values(m * n, 5);
            let (mut fast, mut slow) = (start.clone(), start);
            let av = Mat::dense(&a, m, k);
            let way = if plain { Side::Plain } else { Side::Transposed };
            matmul_weight(&mut MatMut::dense(&mut fast, m, n), write, av, (&weight, way), extra, Precision::F32);
            let oracle = if plain { Mat::dense(&weight.values, k, n) } else { Mat::dense(&weight.values, n, k).t() };
            matmul_reference(&mut MatMut::dense(&mut slow, m, n), write, 1.0, av, oracle);
            if let Some((left, right)) = extra {
                matmul_reference(&mut MatMut::dense(&mut slow, m, n), Write::Add, 1.0, left, right);
            }
            for i in 0..m * n {
                prop_assert!((fast[i] - slow[i]).abs() <= PER_TERM * ((k + r) as f32 + 4.0));
            }
        }
    }

    #[test]
    fn does_not_depend_on_the_number_of_threads() {
        let (m, n, k) = (64, 1536, 576);
        let (a, b) = (values(m * k, 1), values(n * k, 2));
        let run = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()
                .unwrap();
            let mut c = vec![0.0; m * n];
            pool.install(|| {
                matmul_parallel(
                    &mut MatMut::dense(&mut c, m, n),
                    Write::Set,
                    1.0,
                    Mat::dense(&a, m, k),
                    Mat::dense(&b, n, k).t(),
                );
            });
            c
        };
        let one = run(1);
        assert_eq!(one, run(2));
        assert_eq!(one, run(3));
    }

    #[test]
    #[should_panic(expected = "view exceeds its data")]
    fn refuses_a_view_larger_than_its_data() {
        let data = [0.0; 5];
        let _ = Mat::dense(&data, 2, 3);
    }
}
