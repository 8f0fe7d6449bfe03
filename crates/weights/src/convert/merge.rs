//! The values of one tensor: read, changed by the adapter, encoded, some rows at a time.

use std::collections::BTreeMap;
use std::path::Path;

use rayon::prelude::*;

use super::{Job, Source};
use crate::gguf::{Place, Sink, TensorType, quantise};
use crate::{LoraPair, LoraTensors, ModelConfig, StoredMatrix, WeightsError, permute};

/// Values in memory at a time; 32 MB as f32.
const VALUES_AT_A_TIME: usize = 8 << 20;

/// Refuses an adapter that does not fit the base. An adapted head of a model whose head is its
/// embedding fits: the file gets a head of its own.
pub(super) fn check(adapter: &LoraTensors, base: &ModelConfig) -> Result<(), WeightsError> {
    let mut shapes: BTreeMap<String, Vec<usize>> = base.tensors().into_iter().collect();
    if let Some(embedding) = shapes.get("model.embed_tokens.weight").cloned() {
        shapes
            .entry("lm_head.weight".to_owned())
            .or_insert(embedding);
    }
    adapter.check_shapes(&shapes)
}

/// Writes the bytes of one tensor to `out`; `tick` is told how many values were done.
pub(super) fn fill(
    job: Job<'_>,
    source: &Source,
    place: &Place,
    out: &mut Sink<'_>,
    tick: &mut dyn FnMut(u64) -> Result<(), WeightsError>,
) -> Result<(), WeightsError> {
    let (name, module) = match source {
        Source::Base { name, module } => (name, module),
        Source::Divisors(divisors) => {
            out(&crate::peft::little_endian(divisors))?;
            return tick(divisors.len() as u64);
        }
    };
    if place.shape.len() == 1 {
        let values = job.base.tensor_f32(name)?;
        out(&crate::peft::little_endian(&values))?;
        return tick(values.len() as u64);
    }
    let matrix = job.base.matrix(name)?;
    let change = module.as_deref().and_then(|module| {
        let adapter = job.adapter?;
        Some(Change {
            pair: adapter.tensors.get(module)?,
            scale: adapter.scale() as f32,
        })
    });
    let config = job.base.config();
    let query_or_key = name.contains(".q_proj.") || name.contains(".k_proj.");
    let interleaved = config.architecture.gguf_permutes_query_key() && query_or_key;
    let rows = Rows {
        path: job.base.path(),
        name,
        matrix: &matrix,
        change,
        head_dim: interleaved.then_some(config.head_dim),
        tensor_type: place.tensor_type,
    };
    let at_a_time = (VALUES_AT_A_TIME / matrix.cols()).max(1);
    let mut bytes = Vec::new();
    for start in (0..matrix.rows()).step_by(at_a_time) {
        let range = start..matrix.rows().min(start + at_a_time);
        rows.encode(range.clone(), &mut bytes)?;
        out(&bytes)?;
        tick((range.len() * matrix.cols()) as u64)?;
        matrix.release(range);
    }
    job.base.release(name);
    Ok(())
}

/// What the adapter adds to a matrix.
#[derive(Clone, Copy)]
struct Change<'a> {
    pair: &'a LoraPair,
    scale: f32,
}

impl Change<'_> {
    /// Adds `scale * (B A)` of one row to `values`; `sum` is as long as they are.
    fn add(&self, row: usize, values: &mut [f32], sum: &mut [f32]) {
        let (rank, width) = (self.pair.rank, self.pair.in_features);
        sum.fill(0.0);
        let factors = &self.pair.b[row * rank..][..rank];
        for (factor, a) in factors.iter().zip(self.pair.a.chunks_exact(width)) {
            for (sum, a) in sum.iter_mut().zip(a) {
                *sum += factor * a;
            }
        }
        for (value, sum) in values.iter_mut().zip(sum) {
            *value += self.scale * *sum;
        }
    }
}

/// A matrix on its way into the file.
struct Rows<'a> {
    path: &'a Path,
    name: &'a str,
    matrix: &'a StoredMatrix,
    change: Option<Change<'a>>,
    /// Width of a head when the file stores the rows interleaved.
    head_dim: Option<usize>,
    tensor_type: TensorType,
}

impl Rows<'_> {
    /// Encodes rows of the file to `bytes`, which they fill.
    fn encode(
        &self,
        rows: std::ops::Range<usize>,
        bytes: &mut Vec<u8>,
    ) -> Result<(), WeightsError> {
        let width = self.matrix.cols();
        let row_bytes = self.tensor_type.bytes_of(&[width]).unwrap_or(0);
        bytes.resize(rows.len() * row_bytes, 0);
        let buffers = || (vec![0.0f32; width], vec![0.0f32; width]);
        bytes
            .par_chunks_exact_mut(row_bytes)
            .enumerate()
            .try_for_each_init(buffers, |(values, sum), (at, out)| {
                let row = rows.start + at;
                let row = self
                    .head_dim
                    .map_or(row, |width| permute::half_split_row(row, width));
                self.encode_row(row, values, sum, out)
            })
    }

    /// Encodes one row, counted as Hugging Face counts.
    fn encode_row(
        &self,
        row: usize,
        values: &mut [f32],
        sum: &mut [f32],
        out: &mut [u8],
    ) -> Result<(), WeightsError> {
        if self.change.is_none() && self.tensor_type == self.matrix.tensor_type() {
            out.copy_from_slice(self.matrix.row_bytes(row));
            return Ok(());
        }
        self.matrix.decode(row, 0..values.len(), values);
        if let Some(change) = &self.change {
            change.add(row, values, sum);
        }
        let largest = match self.tensor_type {
            TensorType::F16 => half::f16::MAX.to_f32(),
            _ => f32::MAX,
        };
        let misfit = |value: &&f32| value.is_nan() || value.abs() > largest;
        if let Some(value) = values.iter().find(misfit) {
            let message = if value.is_finite() {
                format!("has the value {value} in row {row}, too large for F16: choose bf16")
            } else {
                format!("has the value {value} in row {row}, expected finite numbers")
            };
            return Err(self.fail(message));
        }
        quantise(self.tensor_type, values, out)
            .then_some(())
            .ok_or_else(|| self.fail(format!("cannot be stored as {}", self.tensor_type)))
    }

    fn fail(&self, message: String) -> WeightsError {
        WeightsError::Tensor {
            path: self.path.to_owned(),
            tensor: self.name.to_owned(),
            message,
        }
    }
}
