//! A frozen matrix in memory: decoded once, or kept in few bits and decoded piece by piece inside
//! every product.

use crate::ModelError;
use kernels::nf4::decode_nibbles;
use kernels::operand::{Form, Weight};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::ops::Range;
use weights::gguf::TensorType;
use weights::{BaseModel, NF4, NF4_BLOCK, Nf4Matrix, StoredMatrix};

/// Rows checked by one task.
const ROWS_PER_TASK: usize = 64;

/// How the base model's matrices are kept in memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Keeping {
    /// All values as f32: the most memory, nothing to decode.
    #[default]
    F32,
    /// As the file stores them (bf16, f16 or GGUF blocks), in the mapped file.
    Stored,
    /// The layers in four bits with double quantisation (NF4, as QLoRA does), embedding and head
    /// as stored.
    Nf4,
}

impl Keeping {
    /// All ways, in the order of memory.
    pub const ALL: [Self; 3] = [Self::F32, Self::Stored, Self::Nf4];

    /// Returns the name used in settings.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Stored => "stored",
            Self::Nf4 => "nf4",
        }
    }
}

/// One matrix [rows, cols], kept in one of the ways.
pub(crate) enum Frozen {
    Dense {
        values: Vec<f32>,
        rows: usize,
        cols: usize,
    },
    Stored(StoredMatrix),
    Nf4(Nf4Matrix),
}

impl Frozen {
    /// Reads a matrix that has the shape the configuration says.
    ///
    /// # Errors
    /// If it is missing, has another shape or holds a value that is not finite.
    pub(crate) fn read(
        base: &BaseModel,
        name: &str,
        (rows, cols): (usize, usize),
        keeping: Keeping,
    ) -> Result<Self, ModelError> {
        let found = base.shape(name).unwrap_or(&[]);
        if !found.is_empty() && found != [rows, cols] {
            return Err(ModelError::Shape {
                name: name.to_owned(),
                found: found.to_vec(),
                expected: vec![rows, cols],
            });
        }
        let stored = base.matrix(name)?;
        let not_finite = |index| ModelError::NotFinite {
            name: name.to_owned(),
            index,
        };
        Ok(match keeping {
            Keeping::F32 => {
                let mut values = vec![0.0; rows * cols];
                values
                    .par_chunks_mut(cols)
                    .enumerate()
                    .try_for_each(|(row, out)| finite_row(&stored, row, out))
                    .map_err(not_finite)?;
                base.release(name);
                Self::Dense { values, rows, cols }
            }
            Keeping::Stored => {
                (0..rows.div_ceil(ROWS_PER_TASK))
                    .into_par_iter()
                    .try_for_each(|task| {
                        let mut out = vec![0.0; cols];
                        let first = task * ROWS_PER_TASK;
                        (first..(first + ROWS_PER_TASK).min(rows))
                            .try_for_each(|row| finite_row(&stored, row, &mut out))
                    })
                    .map_err(not_finite)?;
                Self::Stored(stored)
            }
            Keeping::Nf4 => {
                let matrix =
                    Nf4Matrix::quantise(rows, cols, true, |row, out| finite_row(&stored, row, out))
                        .map_err(not_finite)?;
                base.release(name);
                Self::Nf4(matrix)
            }
        })
    }

    /// Decodes a whole row.
    pub(crate) fn row(&self, row: usize, out: &mut [f32]) {
        self.decode(row, 0..self.cols(), out);
    }
}

/// Decodes a row, or returns the index of its first value that is not finite.
fn finite_row(stored: &StoredMatrix, row: usize, out: &mut [f32]) -> Result<(), usize> {
    stored.decode(row, 0..stored.cols(), out);
    match out.iter().position(|x| !x.is_finite()) {
        Some(column) => Err(row * stored.cols() + column),
        None => Ok(()),
    }
}

impl Weight for Frozen {
    fn rows(&self) -> usize {
        match self {
            Self::Dense { rows, .. } => *rows,
            Self::Stored(matrix) => matrix.rows(),
            Self::Nf4(matrix) => matrix.rows(),
        }
    }

    fn cols(&self) -> usize {
        match self {
            Self::Dense { cols, .. } => *cols,
            Self::Stored(matrix) => matrix.cols(),
            Self::Nf4(matrix) => matrix.cols(),
        }
    }

    fn decode(&self, row: usize, cols: Range<usize>, out: &mut [f32]) {
        match self {
            Self::Dense {
                values,
                cols: width,
                ..
            } => out.copy_from_slice(&values[row * width..][cols]),
            Self::Stored(matrix) => matrix.decode(row, cols, out),
            Self::Nf4(matrix) => decode_nf4(matrix, row, cols, out),
        }
    }

    fn block(&self) -> usize {
        match self {
            Self::Dense { .. } => 1,
            Self::Stored(matrix) => matrix.tensor_type().block().0,
            Self::Nf4(_) => NF4_BLOCK,
        }
    }

    fn dense(&self) -> Option<&[f32]> {
        match self {
            Self::Dense { values, .. } => Some(values),
            _ => None,
        }
    }

    fn stored(&self, row: usize) -> Option<(Form, &[u8])> {
        match self {
            // Values were found finite when the matrix was read.
            Self::Stored(matrix) => Some((form(matrix.tensor_type())?, matrix.row_bytes(row))),
            _ => None,
        }
    }
}

/// Returns the form in which products of few rows take a tensor type; types without one are decoded
/// row by row.
fn form(tensor_type: TensorType) -> Option<Form> {
    Some(match tensor_type {
        TensorType::F32 => Form::F32,
        TensorType::F16 => Form::F16,
        TensorType::BF16 => Form::Bf16,
        TensorType::Q4_0 => Form::Q4_0,
        TensorType::Q4_1 => Form::Q4_1,
        TensorType::Q8_0 => Form::Q8_0,
        TensorType::Q4_K => Form::Q4_K,
        TensorType::Q5_K => Form::Q5_K,
        TensorType::Q6_K => Form::Q6_K,
        _ => return None,
    })
}

/// Decodes part of a row, whole blocks by the fast way.
fn decode_nf4(matrix: &Nf4Matrix, row: usize, cols: Range<usize>, out: &mut [f32]) {
    let first = row * matrix.cols() + cols.start;
    if !first.is_multiple_of(2) {
        return matrix.decode(row, cols, out);
    }
    let (mut at, mut rest) = (first, out);
    while !rest.is_empty() {
        let count = (NF4_BLOCK - at % NF4_BLOCK).min(rest.len());
        let (now, later) = rest.split_at_mut(count);
        let scale = matrix.scale(at / NF4_BLOCK);
        let even = count / 2 * 2;
        let codes = &matrix.codes()[at / 2..][..even / 2];
        decode_nibbles(codes, &NF4, scale, &mut now[..even]);
        if even < count {
            let code = matrix.codes()[at / 2 + even / 2] >> 4;
            now[even] = NF4[code as usize] * scale;
        }
        at += count;
        rest = later;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_nf4_rows_equal_the_definition() {
        let (rows, cols) = (5, 101);
        for double in [false, true] {
            let matrix = Nf4Matrix::quantise(rows, cols, double, |row, out| {
                for (col, x) in out.iter_mut().enumerate() {
                    *x = ((row * cols + col) * 7919 % 1009) as f32 / 504.5 - 1.0;
                }
                Ok::<(), ()>(())
            })
            .unwrap();
            for row in 0..rows {
                for part in [0..cols, 3..70, 64..65, 10..11, 90..cols] {
                    let (mut fast, mut slow) = (vec![0.0; part.len()], vec![0.0; part.len()]);
                    decode_nf4(&matrix, row, part.clone(), &mut fast);
                    matrix.decode(row, part.clone(), &mut slow);
                    assert_eq!(fast, slow, "row {row}, {part:?}");
                }
            }
        }
    }
}
