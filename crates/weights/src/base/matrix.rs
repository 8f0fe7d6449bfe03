//! A matrix that stays as its file stores it and is decoded piece by piece.

use std::ops::Range;
use std::sync::Arc;

use super::{Store, Stored};
use crate::gguf::{TensorType, dequantise};
use crate::permute;

/// Values of the largest block.
const LARGEST_BLOCK: usize = 256;

/// A matrix [rows, cols] of an opened model, in its stored form. Keeps the file mapped.
#[derive(Clone)]
pub struct StoredMatrix {
    store: Arc<Store>,
    tensor: Stored,
    rows: usize,
    cols: usize,
    /// Bytes of a row.
    row_bytes: usize,
}

impl StoredMatrix {
    /// `None` when the tensor has another number of dimensions than two, or its bytes are not
    /// what its shape needs.
    pub(super) fn new(store: Arc<Store>, tensor: &Stored) -> Option<Self> {
        let [rows, cols] = tensor.shape[..] else {
            return None;
        };
        let row_bytes = tensor.tensor_type.bytes_of(&[cols])?;
        let decodable = TensorType::DECODABLE.contains(&tensor.tensor_type);
        let whole = store.bytes(tensor).len() == rows.checked_mul(row_bytes)?;
        (decodable && whole).then(|| Self {
            store,
            tensor: tensor.clone(),
            rows,
            cols,
            row_bytes,
        })
    }

    /// Returns the number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Returns the number of columns.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// Returns how the values are stored.
    pub fn tensor_type(&self) -> TensorType {
        self.tensor.tensor_type
    }

    /// Returns the bytes of all rows.
    pub fn byte_len(&self) -> usize {
        self.rows * self.row_bytes
    }

    /// Returns the stored bytes of a row of the tensor, wherever the file keeps it.
    ///
    /// # Panics
    /// If the row lies outside the matrix.
    pub fn row_bytes(&self, row: usize) -> &[u8] {
        assert!(row < self.rows, "row {row} of {}", self.rows);
        let stored = match self.tensor.interleaved {
            Some(head_dim) => permute::interleaved_row(row, head_dim),
            None => row,
        };
        &self.store.bytes(&self.tensor)[stored * self.row_bytes..][..self.row_bytes]
    }

    /// Gives the memory that reading about these rows, in the file's order, took back to the
    /// system; they are read again when asked for.
    pub fn release(&self, rows: Range<usize>) {
        let rows = rows.start.min(self.rows)..rows.end.min(self.rows);
        let start = self.tensor.range.start;
        let range = start + rows.start * self.row_bytes..start + rows.end * self.row_bytes;
        self.store.release(self.tensor.file, range);
    }

    /// Decodes columns `cols` of row `row` to `out`, which has their number.
    ///
    /// # Panics
    /// If row or columns lie outside the matrix or `out` has another length.
    pub fn decode(&self, row: usize, cols: Range<usize>, out: &mut [f32]) {
        assert!(cols.end <= self.cols, "columns {cols:?} of {}", self.cols);
        assert_eq!(cols.len(), out.len(), "one value for each column");
        let bytes = self.row_bytes(row);
        let tensor_type = self.tensor.tensor_type;
        let (values, size) = tensor_type.block();
        let stored = |blocks: Range<usize>| &bytes[blocks.start * size..blocks.end * size];
        let (mut at, mut rest) = (cols.start, out);
        while !rest.is_empty() {
            let block = at / values;
            let whole = if at.is_multiple_of(values) {
                rest.len() / values
            } else {
                0
            };
            let taken = if whole > 0 {
                let into = &mut rest[..whole * values];
                // The type was checked and the lengths belong together.
                let _ = dequantise(tensor_type, stored(block..block + whole), into);
                into.len()
            } else {
                // Part of a block: the whole of it is decoded beside.
                let mut beside = [0.0; LARGEST_BLOCK];
                let beside = &mut beside[..values];
                let _ = dequantise(tensor_type, stored(block..block + 1), beside);
                let from = &beside[at - block * values..];
                let count = from.len().min(rest.len());
                rest[..count].copy_from_slice(&from[..count]);
                count
            };
            at += taken;
            rest = &mut rest[taken..];
        }
    }
}
