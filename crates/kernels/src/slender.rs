//! Products with few rows and a stored weight, as in decoding token by token: every row of the
//! weight is decoded once and meets all rows of the left operand.

use crate::LANES;
use crate::matmul::{Mat, Write};
use crate::operand::Weight;
use crate::widest::widest;
use std::cell::Cell;
use std::ops::Range;

/// Outputs of one task.
const OUTPUTS: usize = 64;

/// Left rows that meet a decoded row at the same time.
const ROWS: usize = 4;

thread_local! {
    /// The calling thread's decoded row, kept from product to product.
    static DECODED: Cell<Vec<f32>> = const { Cell::new(Vec::new()) };
}

/// Cuts the outputs of a weight into tasks.
pub(crate) fn chunks(outputs: usize) -> Vec<Range<usize>> {
    (0..outputs)
        .step_by(OUTPUTS)
        .map(|first| first..(first + OUTPUTS).min(outputs))
        .collect()
}

/// Computes columns `outputs` of `c = a * w^T` (or adds them). Shapes: a [M, K], w [N, K], c [M, N].
///
/// # Safety
/// `c` and `stride` describe a result of a's rows and the weight's outputs; nobody else touches
/// those columns during the call.
#[expect(unsafe_code, reason = "writes columns of a result shared by tasks")]
pub(crate) unsafe fn outputs(
    c: *mut f32,
    stride: usize,
    outputs: Range<usize>,
    write: Write,
    a: Mat<'_>,
    weight: &dyn Weight,
) {
    assert_eq!(a.col_stride, 1, "the left operand's rows are dense");
    let mut decoded = DECODED.take();
    decoded.resize(a.cols, 0.0);
    for output in outputs {
        weight.decode(output, 0..a.cols, &mut decoded);
        for top in (0..a.rows).step_by(ROWS) {
            let rows = top..(top + ROWS).min(a.rows);
            let sums = widest(
                #[inline(always)]
                || dots(a, &rows, &decoded),
            );
            for (row, sum) in rows.zip(sums) {
                // SAFETY: row and column lie inside the result, and the column is this task's.
                let cell = unsafe { &mut *c.add(row * stride + output) };
                *cell = if write == Write::Add {
                    *cell + sum
                } else {
                    sum
                };
            }
        }
    }
    DECODED.set(decoded);
}

/// Returns the products of up to four rows with `w`, in lanes whose order is fixed.
#[inline(always)]
fn dots(a: Mat<'_>, rows: &Range<usize>, w: &[f32]) -> [f32; ROWS] {
    let mut sums = [0.0; ROWS];
    for (sum, row) in sums.iter_mut().zip(rows.clone()) {
        let x = &a.data[row * a.row_stride..][..w.len()];
        let mut lanes = [[0.0f32; LANES]; 2];
        let (xs, x_rest) = x.as_chunks::<{ 2 * LANES }>();
        let (ws, w_rest) = w.as_chunks::<{ 2 * LANES }>();
        for (x, w) in xs.iter().zip(ws) {
            let pairs = x
                .as_chunks::<LANES>()
                .0
                .iter()
                .zip(w.as_chunks::<LANES>().0);
            for (lanes, (x, w)) in lanes.iter_mut().zip(pairs) {
                for (lane, (x, w)) in lanes.iter_mut().zip(x.iter().zip(w)) {
                    *lane = x.mul_add(*w, *lane);
                }
            }
        }
        let [first, second] = lanes;
        let mut total = 0.0;
        for (a, b) in first.iter().zip(second) {
            total += a + b;
        }
        for (x, w) in x_rest.iter().zip(w_rest) {
            total = x.mul_add(*w, total);
        }
        *sum = total;
    }
    sums
}
