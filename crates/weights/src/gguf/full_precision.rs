//! A copy of a model in f32, for comparing engines without their quantised arithmetic.
//!
//! llama.cpp rounds activations to 8 bits before it multiplies them with block-quantised weights;
//! on an f32 copy of the same weights it does not, and two correct engines agree closely.

use std::path::Path;

use super::{Gguf, Place, TensorType, Value, write_streamed};
use crate::WeightsError;

/// `general.file_type` of a file whose tensors are all f32.
const ALL_F32: u32 = 0;

/// Writes a copy of `source` with every tensor dequantised to f32, one tensor at a time in memory.
///
/// # Errors
/// [`WeightsError::Unsupported`] for a tensor type without a decoder, [`WeightsError::Io`].
pub fn write_full_precision(source: &Gguf, path: &Path) -> Result<(), WeightsError> {
    let mut metadata = source.header().metadata.clone();
    metadata.insert("general.file_type".to_owned(), Value::U32(ALL_F32));
    metadata.remove("general.alignment");
    let list = &source.header().tensors;
    let places: Vec<Place> = list
        .iter()
        .map(|tensor| Place {
            name: tensor.name.clone(),
            shape: tensor.shape.clone(),
            tensor_type: TensorType::F32,
        })
        .collect();
    write_streamed(path, &metadata, &places, &mut |at, out| {
        let values = source.tensor_f32(&list[at].name)?;
        let bytes: Vec<u8> = values.iter().flat_map(|x| x.to_le_bytes()).collect();
        out(&bytes)
    })
}

#[cfg(test)]
mod tests {
    use super::super::{Tensor, write};
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn the_copy_holds_the_same_values_as_f32() {
        let directory = tempfile::tempdir().unwrap();
        let (from, to) = (
            directory.path().join("q.gguf"),
            directory.path().join("f.gguf"),
        );
        let metadata = BTreeMap::from([
            (
                "general.architecture".to_owned(),
                Value::String("llama".into()),
            ),
            ("general.file_type".to_owned(), Value::U32(7)),
        ]);
        // Q8_0: an f16 scale (0x3800 is 0.5), then 32 signed bytes.
        let mut block = vec![0x00, 0x38];
        block.extend((0..32u8).map(|i| i.wrapping_sub(16)));
        let plain: Vec<u8> = [1.5f32, -2.0, 0.25]
            .iter()
            .flat_map(|x| x.to_le_bytes())
            .collect();
        let tensors = [
            Tensor {
                name: "a".into(),
                shape: vec![1, 32],
                tensor_type: TensorType::Q8_0,
                bytes: (&block[..]).into(),
            },
            Tensor {
                name: "b".into(),
                shape: vec![3],
                tensor_type: TensorType::F32,
                bytes: (&plain[..]).into(),
            },
        ];
        write(&from, &metadata, &tensors).unwrap();
        write_full_precision(&Gguf::open(&from).unwrap(), &to).unwrap();
        let copy = Gguf::open(&to).unwrap();
        let expected: Vec<f32> = (0..32).map(|i| (i as f32 - 16.0) * 0.5).collect();
        assert_eq!(copy.tensor_f32("a").unwrap(), expected);
        assert_eq!(copy.tensor_f32("b").unwrap(), [1.5, -2.0, 0.25]);
        assert_eq!(
            copy.tensor("a").map(|t| t.tensor_type),
            Some(TensorType::F32)
        );
        assert_eq!(
            copy.get("general.file_type").and_then(Value::as_u64),
            Some(0)
        );
    }
}
