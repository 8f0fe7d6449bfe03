//! Writing GGUF version 3.

use std::collections::BTreeMap;
use std::path::Path;

use super::{ALIGNMENT, Array, MAGIC, TensorType, Value};
use crate::{WeightsError, atomic};

/// A tensor to write.
#[derive(Debug, Clone)]
pub struct Tensor<'a> {
    /// The name, such as `blk.0.attn_q.weight.lora_a`.
    pub name: String,
    /// Outermost dimension first.
    pub shape: Vec<usize>,
    /// How `bytes` store the values.
    pub tensor_type: TensorType,
    /// The stored values, little-endian.
    pub bytes: std::borrow::Cow<'a, [u8]>,
}

/// Writes a file of version 3 with an alignment of 32, atomically: metadata in the order of
/// its keys with `general.architecture` first, tensors in the order given.
///
/// # Errors
/// [`WeightsError::Tensor`] when a tensor's bytes do not fit its shape, [`WeightsError::Io`].
pub fn write(
    path: &Path,
    metadata: &BTreeMap<String, Value>,
    tensors: &[Tensor<'_>],
) -> Result<(), WeightsError> {
    for tensor in tensors {
        let expected = tensor.tensor_type.bytes_of(&tensor.shape);
        if expected != Some(tensor.bytes.len()) || tensor.shape.len() > 4 {
            return Err(WeightsError::Tensor {
                path: path.to_owned(),
                tensor: tensor.name.clone(),
                message: format!(
                    "has {} bytes, expected those of {} with shape {:?}",
                    tensor.bytes.len(),
                    tensor.tensor_type,
                    tensor.shape
                ),
            });
        }
    }
    let header = header(metadata, tensors);
    atomic::write_file(path, |out| {
        out.write_all(&header)?;
        for tensor in tensors {
            out.write_all(&tensor.bytes)?;
            out.write_all(padding(tensor.bytes.len()))?;
        }
        Ok(())
    })
}

pub(super) fn padding(length: usize) -> &'static [u8] {
    const ZEROS: [u8; ALIGNMENT] = [0; ALIGNMENT];
    &ZEROS[..length.next_multiple_of(ALIGNMENT) - length]
}

/// Returns everything before the tensor data; the tensors' `bytes` are not looked at.
pub(super) fn header(metadata: &BTreeMap<String, Value>, tensors: &[Tensor<'_>]) -> Vec<u8> {
    let mut out = Vec::new();
    out.extend(MAGIC);
    out.extend(3u32.to_le_bytes());
    out.extend((tensors.len() as u64).to_le_bytes());
    out.extend((metadata.len() as u64).to_le_bytes());
    let (first, rest): (Vec<_>, Vec<_>) = metadata
        .iter()
        .partition(|(key, _)| *key == "general.architecture");
    for (key, value) in first.into_iter().chain(rest) {
        put_string(&mut out, key);
        put_value(&mut out, value);
    }
    let mut offset = 0u64;
    for tensor in tensors {
        put_string(&mut out, &tensor.name);
        out.extend((tensor.shape.len() as u32).to_le_bytes());
        for extent in tensor.shape.iter().rev() {
            out.extend((*extent as u64).to_le_bytes());
        }
        out.extend(tensor.tensor_type.code().to_le_bytes());
        out.extend(offset.to_le_bytes());
        let bytes = tensor.tensor_type.bytes_of(&tensor.shape).unwrap_or(0);
        offset += bytes.next_multiple_of(ALIGNMENT) as u64;
    }
    out.extend(padding(out.len()));
    out
}

fn put_string(out: &mut Vec<u8>, text: &str) {
    out.extend((text.len() as u64).to_le_bytes());
    out.extend(text.as_bytes());
}

fn put_value(out: &mut Vec<u8>, value: &Value) {
    fn number<const N: usize>(out: &mut Vec<u8>, code: u32, bytes: [u8; N]) {
        out.extend(code.to_le_bytes());
        out.extend(bytes);
    }
    match value {
        Value::U8(v) => number(out, 0, v.to_le_bytes()),
        Value::I8(v) => number(out, 1, v.to_le_bytes()),
        Value::U16(v) => number(out, 2, v.to_le_bytes()),
        Value::I16(v) => number(out, 3, v.to_le_bytes()),
        Value::U32(v) => number(out, 4, v.to_le_bytes()),
        Value::I32(v) => number(out, 5, v.to_le_bytes()),
        Value::F32(v) => number(out, 6, v.to_le_bytes()),
        Value::Bool(v) => number(out, 7, [u8::from(*v)]),
        Value::String(text) => {
            out.extend(8u32.to_le_bytes());
            put_string(out, text);
        }
        Value::Array(array) => {
            out.extend(9u32.to_le_bytes());
            put_array(out, array);
        }
        Value::U64(v) => number(out, 10, v.to_le_bytes()),
        Value::I64(v) => number(out, 11, v.to_le_bytes()),
        Value::F64(v) => number(out, 12, v.to_le_bytes()),
    }
}

fn put_array(out: &mut Vec<u8>, array: &Array) {
    fn items<T>(out: &mut Vec<u8>, code: u32, items: &[T], put: impl Fn(&mut Vec<u8>, &T)) {
        out.extend(code.to_le_bytes());
        out.extend((items.len() as u64).to_le_bytes());
        for item in items {
            put(out, item);
        }
    }
    match array {
        Array::U8(v) => items(out, 0, v, |out, x| out.push(*x)),
        Array::I8(v) => items(out, 1, v, |out, x| out.extend(x.to_le_bytes())),
        Array::U16(v) => items(out, 2, v, |out, x| out.extend(x.to_le_bytes())),
        Array::I16(v) => items(out, 3, v, |out, x| out.extend(x.to_le_bytes())),
        Array::U32(v) => items(out, 4, v, |out, x| out.extend(x.to_le_bytes())),
        Array::I32(v) => items(out, 5, v, |out, x| out.extend(x.to_le_bytes())),
        Array::F32(v) => items(out, 6, v, |out, x| out.extend(x.to_le_bytes())),
        Array::Bool(v) => items(out, 7, v, |out, x| out.push(u8::from(*x))),
        Array::String(v) => items(out, 8, v, |out, x| put_string(out, x)),
        Array::Array(v) => items(out, 9, v, put_array),
        Array::U64(v) => items(out, 10, v, |out, x| out.extend(x.to_le_bytes())),
        Array::I64(v) => items(out, 11, v, |out, x| out.extend(x.to_le_bytes())),
        Array::F64(v) => items(out, 12, v, |out, x| out.extend(x.to_le_bytes())),
    }
}
