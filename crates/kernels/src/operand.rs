//! The right operand of a product: values in memory, or a frozen weight that is decoded piece by
//! piece while it is packed.

use crate::matmul::Mat;
pub use crate::stored::Form;
use std::ops::Range;

/// A frozen matrix [rows, cols] that can decode any part of a row to f32; it may store its values
/// in any form (bf16, blocks of four bits, a file's bytes).
pub trait Weight: Sync {
    /// Returns the number of rows (outputs of a linear layer).
    fn rows(&self) -> usize;

    /// Returns the number of columns (inputs of a linear layer).
    fn cols(&self) -> usize;

    /// Writes columns `cols` of row `row` to `out`, which has their number.
    ///
    /// Both lie inside the matrix; anything else may panic.
    fn decode(&self, row: usize, cols: Range<usize>, out: &mut [f32]);

    /// Returns how many consecutive columns are cheapest to decode together: a block's length,
    /// 1 where any part costs the same.
    fn block(&self) -> usize;

    /// Returns the values row-major where they lie in memory as f32.
    fn dense(&self) -> Option<&[f32]>;

    /// Returns the bytes of row `row` and how they hold its values, where products of few rows can
    /// take them as they are. All values are finite.
    fn stored(&self, row: usize) -> Option<(Form, &[u8])> {
        let _ = row;
        None
    }
}

/// Which way round a weight W [outputs, inputs] enters a product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// y = x W^T, from inputs to outputs: the forward pass.
    Transposed,
    /// dx = dy W, from outputs to inputs: the backward pass.
    Plain,
}

/// The right operand of a product, [depth, columns].
#[derive(Clone, Copy)]
pub(crate) enum Right<'a> {
    /// Values in memory.
    Dense(Mat<'a>),
    /// A weight to be decoded on the way.
    Frozen(&'a dyn Weight, Side),
}

impl<'a> Right<'a> {
    /// Views a weight as an operand; one whose values lie in memory needs no decoding.
    pub(crate) fn of(weight: &'a dyn Weight, side: Side) -> Self {
        let Some(values) = weight.dense() else {
            return Self::Frozen(weight, side);
        };
        let values = Mat::dense(values, weight.rows(), weight.cols());
        Self::Dense(match side {
            Side::Transposed => values.t(),
            Side::Plain => values,
        })
    }

    /// Returns (depth, columns).
    pub(crate) fn shape(&self) -> (usize, usize) {
        match self {
            Self::Dense(mat) => (mat.rows, mat.cols),
            Self::Frozen(weight, Side::Transposed) => (weight.cols(), weight.rows()),
            Self::Frozen(weight, Side::Plain) => (weight.rows(), weight.cols()),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::{Range, Weight};

    /// A weight that pretends to be stored in another form.
    pub(crate) struct Hidden {
        pub(crate) values: Vec<f32>,
        pub(crate) cols: usize,
        pub(crate) block: usize,
    }

    impl Weight for Hidden {
        fn rows(&self) -> usize {
            self.values.len() / self.cols
        }

        fn cols(&self) -> usize {
            self.cols
        }

        fn decode(&self, row: usize, cols: Range<usize>, out: &mut [f32]) {
            out.copy_from_slice(&self.values[row * self.cols..][cols]);
        }

        fn block(&self) -> usize {
            self.block
        }

        fn dense(&self) -> Option<&[f32]> {
            None
        }
    }
}
