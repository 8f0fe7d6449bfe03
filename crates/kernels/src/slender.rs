//! Products of few rows with a weight's transpose, as in decoding token by token: every row of the
//! weight is read once, in whatever form it is kept, and meets all rows of the left operand.
//!
//! An output is one sum whose order its length alone decides, whether the weight is stored or lies
//! in memory as f32, and however outputs are shared out.

use crate::lanes::{Lanes, Work, on_widest};
use crate::matmul::{Mat, MatMut, Shared, Write};
use crate::operand::Weight;
use crate::pack::prefetch;
use crate::stored::{dense, stored};
use rayon::prelude::*;
use std::cell::Cell;
use std::ops::Range;

/// Weights that one task reads, about: some ten microseconds' work.
const WEIGHTS_PER_TASK: usize = 1 << 16;

/// Tasks come in multiples of this, so that two or four threads finish together.
const TASKS: usize = 4;

/// Left rows that meet a weight row at the same time: their sums fill half the registers.
const ROWS: usize = 8;

/// Weight rows that meet a single left row at the same time: as many streams from memory.
const STREAMS: usize = 4;

/// Bytes that are asked for ahead of their use. A row in few bits is too short for the machine to
/// foresee what follows it.
const AHEAD: usize = 3072;

thread_local! {
    /// The calling thread's decoded row, kept from product to product.
    static DECODED: Cell<Vec<f32>> = const { Cell::new(Vec::new()) };
}

/// Computes `c = a * w^T` (or adds it) on all threads. Shapes: a [M, K], w [N, K], c [M, N].
///
/// # Panics
/// If the left operand's rows are not dense. The caller has compared shapes.
pub(crate) fn product(c: &mut MatMut<'_>, write: Write, a: Mat<'_>, weight: &dyn Weight) {
    assert_eq!(a.col_stride, 1, "the left operand's rows are dense");
    assert!(c.rows == a.rows && c.cols == weight.rows() && a.cols == weight.cols());
    let weights = weight.rows() * a.cols;
    let tasks = weights.div_ceil(WEIGHTS_PER_TASK).next_multiple_of(TASKS);
    let each = weight.rows().div_ceil(tasks).next_multiple_of(STREAMS);
    let target = Shared::new(c.data.as_mut_ptr());
    let stride = c.row_stride;
    let run = |outputs: Range<usize>| {
        on_widest(Task {
            c: target.get(),
            stride,
            outputs,
            write,
            a,
            weight,
        });
    };
    if weights < WEIGHTS_PER_TASK || weight.rows() <= each {
        return run(0..weight.rows());
    }
    (0..weight.rows().div_ceil(each))
        .into_par_iter()
        .for_each(|task| run(task * each..((task + 1) * each).min(weight.rows())));
}

/// Some outputs of a product, those of one task.
struct Task<'a> {
    c: *mut f32,
    stride: usize,
    outputs: Range<usize>,
    write: Write,
    a: Mat<'a>,
    weight: &'a dyn Weight,
}

impl Work for Task<'_> {
    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) {
        let mut decoded = DECODED.take();
        let mut output = self.outputs.start;
        if self.a.rows == 1 {
            while output + STREAMS <= self.outputs.end {
                self.rows::<L, 1, STREAMS>(lanes, output, 0, &mut decoded);
                output += STREAMS;
            }
        }
        for output in output..self.outputs.end {
            for top in (0..self.a.rows).step_by(ROWS) {
                match self.a.rows - top {
                    1 => self.rows::<L, 1, 1>(lanes, output, top, &mut decoded),
                    2..=4 => self.rows::<L, 4, 1>(lanes, output, top, &mut decoded),
                    _ => self.rows::<L, ROWS, 1>(lanes, output, top, &mut decoded),
                }
            }
        }
        DECODED.set(decoded);
    }
}

impl Task<'_> {
    /// Computes O outputs from `output` on of R rows from `top` on.
    #[inline(always)]
    fn rows<L: Lanes, const R: usize, const O: usize>(
        &self,
        lanes: L,
        output: usize,
        top: usize,
        decoded: &mut Vec<f32>,
    ) {
        let cols = self.a.cols;
        // Rows past the end repeat the last one; what they give is not stored.
        let rows = R.min(self.a.rows - top);
        let mut x: [&[f32]; R] = [&[]; R];
        for (r, row) in x.iter_mut().enumerate() {
            *row = &self.a.data[(top + r.min(rows - 1)) * self.a.row_stride..][..cols];
        }
        let sums = if let Some((form, first)) = self.weight.stored(output) {
            let mut bytes = [first; O];
            for (o, bytes) in bytes.iter_mut().enumerate().skip(1) {
                if let Some((_, row)) = self.weight.stored(output + o) {
                    *bytes = row;
                }
            }
            if top == 0 {
                for bytes in bytes {
                    prefetch(bytes, AHEAD);
                }
            }
            stored(lanes, x, form, bytes)
        } else if let Some(values) = self.weight.dense() {
            let mut w: [&[f32]; O] = [&[]; O];
            for (o, row) in w.iter_mut().enumerate() {
                *row = &values[(output + o) * cols..][..cols];
            }
            dense(lanes, x, w)
        } else {
            decoded.resize(O * cols, 0.0);
            let mut w: [&[f32]; O] = [&[]; O];
            for (o, row) in decoded.chunks_exact_mut(cols.max(1)).enumerate() {
                self.weight.decode(output + o, 0..cols, row);
            }
            for (row, decoded) in w.iter_mut().zip(decoded.chunks_exact(cols.max(1))) {
                *row = decoded;
            }
            dense(lanes, x, w)
        };
        for (o, sums) in sums.iter().enumerate() {
            for (row, sum) in (top..top + rows).zip(sums) {
                // SAFETY: `product` has checked that row and column lie inside the exclusively
                // borrowed result, and gives every output to one task.
                #[expect(unsafe_code, reason = "one cell of a result shared by tasks")]
                let cell = unsafe { &mut *self.c.add(row * self.stride + output + o) };
                *cell = if self.write == Write::Add {
                    *cell + *sum
                } else {
                    *sum
                };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matmul::matmul_reference;
    use crate::operand::tests::Hidden;

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

    /// Values in memory as f32.
    struct Dense(Vec<f32>, usize);

    impl Weight for Dense {
        fn rows(&self) -> usize {
            self.0.len() / self.1
        }

        fn cols(&self) -> usize {
            self.1
        }

        fn decode(&self, row: usize, cols: Range<usize>, out: &mut [f32]) {
            out.copy_from_slice(&self.0[row * self.1..][cols]);
        }

        fn block(&self) -> usize {
            1
        }

        fn dense(&self) -> Option<&[f32]> {
            Some(&self.0)
        }
    }

    fn run(weight: &dyn Weight, a: &[f32], write: Write) -> Vec<f32> {
        let m = a.len() / weight.cols();
        let mut c = values(m * weight.rows(), 9);
        product(
            &mut MatMut::dense(&mut c, m, weight.rows()),
            write,
            Mat::dense(a, m, weight.cols()),
            weight,
        );
        c
    }

    #[test]
    fn equals_the_oracle_and_the_decoded_weight_for_any_number_of_rows() {
        for (n, k) in [(5, 7), (300, 333), (40, 64)] {
            let dense = Dense(values(n * k, 1), k);
            let hidden = Hidden {
                values: dense.0.clone(),
                cols: k,
                block: 1,
            };
            for m in 1..=16 {
                let a = values(m * k, 2);
                let mut oracle = values(m * n, 9);
                matmul_reference(
                    &mut MatMut::dense(&mut oracle, m, n),
                    Write::Add,
                    1.0,
                    Mat::dense(&a, m, k),
                    Mat::dense(&dense.0, n, k).t(),
                );
                let fast = run(&dense, &a, Write::Add);
                for (x, y) in fast.iter().zip(&oracle) {
                    assert!((x - y).abs() <= PER_TERM * (k as f32 + 4.0), "{m} {n} {k}");
                }
                assert_eq!(fast, run(&hidden, &a, Write::Add));
                // A row gives the same whoever its neighbours are.
                let alone = run(&dense, &a[..k], Write::Set);
                assert_eq!(alone, run(&dense, &a, Write::Set)[..n]);
            }
        }
    }

    #[test]
    fn lanes_and_threads_change_no_bit() {
        let (n, k) = (700, 1000);
        let weight = Dense(values(n * k, 3), k);
        for m in [1, 3, 7] {
            let a = values(m * k, 4);
            let mut plain = vec![0.0; m * n];
            let task = Task {
                c: plain.as_mut_ptr(),
                stride: n,
                outputs: 0..n,
                write: Write::Set,
                a: Mat::dense(&a, m, k),
                weight: &weight,
            };
            task.run(crate::lanes::Plain);
            for threads in 1..=3 {
                let pool = rayon::ThreadPoolBuilder::new()
                    .num_threads(threads)
                    .build()
                    .unwrap();
                assert_eq!(pool.install(|| run(&weight, &a, Write::Set)), plain);
            }
        }
    }
}
