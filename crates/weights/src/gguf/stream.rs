//! Writing a GGUF file whose tensors do not fit the memory together.

use std::collections::BTreeMap;
use std::path::Path;

use super::write::{header, padding};
use super::{Tensor, TensorType, Value};
use crate::{WeightsError, atomic};

/// A tensor to come: everything but its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The name, such as `blk.0.attn_q.weight`.
    pub name: String,
    /// Outermost dimension first.
    pub shape: Vec<usize>,
    /// How its bytes store the values.
    pub tensor_type: TensorType,
}

/// Takes the next bytes of a tensor.
pub type Sink<'a> = dyn FnMut(&[u8]) -> Result<(), WeightsError> + 'a;

/// Writes a file as [`super::write`] does, asking `fill` for the bytes of each tensor of `places`
/// (by its index), piece by piece. On an error nothing is left behind.
///
/// # Errors
/// What `fill` returns, [`WeightsError::Tensor`] when it gives another number of bytes than the
/// shape calls for, [`WeightsError::Io`].
pub fn write_streamed(
    path: &Path,
    metadata: &BTreeMap<String, Value>,
    places: &[Place],
    fill: &mut dyn FnMut(usize, &mut Sink<'_>) -> Result<(), WeightsError>,
) -> Result<(), WeightsError> {
    let tensors: Vec<Tensor<'_>> = places
        .iter()
        .map(|place| Tensor {
            name: place.name.clone(),
            shape: place.shape.clone(),
            tensor_type: place.tensor_type,
            bytes: (&[][..]).into(),
        })
        .collect();
    // The writer of whole files speaks of I/O errors only; another is kept beside.
    let mut fault = None;
    let written = atomic::write_file(path, |out| {
        out.write_all(&header(metadata, &tensors))?;
        for (at, place) in places.iter().enumerate() {
            let mut length = 0;
            let filled = fill(at, &mut |bytes| {
                length += bytes.len();
                out.write_all(bytes)
                    .map_err(WeightsError::io("write", path))
            });
            let expected = place.tensor_type.bytes_of(&place.shape);
            let filled = filled.and_then(|()| {
                (expected == Some(length))
                    .then_some(())
                    .ok_or_else(|| wrong_length(path, place, length))
            });
            if let Err(error) = filled {
                fault = Some(error);
                return Err(std::io::ErrorKind::InvalidData.into());
            }
            out.write_all(padding(length))?;
        }
        Ok(())
    });
    match fault {
        Some(error) => Err(error),
        None => written,
    }
}

fn wrong_length(path: &Path, place: &Place, length: usize) -> WeightsError {
    WeightsError::Tensor {
        path: path.to_owned(),
        tensor: place.name.clone(),
        message: format!(
            "was given {length} bytes, expected those of {} with shape {:?}",
            place.tensor_type, place.shape
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gguf::Gguf;

    fn places() -> Vec<Place> {
        let place = |name: &str, shape: &[usize]| Place {
            name: name.to_owned(),
            shape: shape.to_vec(),
            tensor_type: TensorType::F32,
        };
        vec![place("a", &[3]), place("b", &[2, 2])]
    }

    #[test]
    fn pieces_become_the_file_that_a_whole_write_makes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.gguf");
        let metadata = BTreeMap::from([("general.architecture".to_owned(), Value::from("llama"))]);
        write_streamed(&path, &metadata, &places(), &mut |at, out| {
            for value in 0..3 + at {
                out(&(value as f32).to_le_bytes())?;
            }
            Ok(())
        })
        .unwrap();
        let file = Gguf::open(&path).unwrap();
        assert_eq!(file.tensor_f32("a").unwrap(), [0.0, 1.0, 2.0]);
        assert_eq!(file.tensor_f32("b").unwrap(), [0.0, 1.0, 2.0, 3.0]);
    }

    #[test]
    fn a_wrong_length_and_a_fault_leave_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.gguf");
        let error = write_streamed(&path, &BTreeMap::new(), &places(), &mut |_, out| {
            out(&[0; 12])
        })
        .unwrap_err();
        assert!(error.to_string().contains("given 12 bytes"), "{error}");
        let error = write_streamed(&path, &BTreeMap::new(), &places(), &mut |_, _| {
            Err(WeightsError::Interrupted)
        })
        .unwrap_err();
        assert!(matches!(error, WeightsError::Interrupted));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
