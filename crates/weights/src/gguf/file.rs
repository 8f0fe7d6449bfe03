//! An opened GGUF file.

use std::collections::BTreeMap;
use std::path::Path;

use super::{Header, TensorInfo, Value, parse};
use crate::WeightsError;
use crate::map::FileMap;

/// A GGUF file, mapped, with its header parsed.
pub struct Gguf {
    map: FileMap,
    header: Header,
    index: BTreeMap<String, usize>,
}

impl Gguf {
    /// Opens and parses a file.
    ///
    /// # Errors
    /// [`WeightsError::Io`], [`WeightsError::NotAModel`] for something that is no file, or
    /// [`WeightsError::Malformed`] with the offset.
    pub fn open(path: &Path) -> Result<Self, WeightsError> {
        let map = FileMap::open(path)?;
        let header = parse(map.bytes()).map_err(|fault| WeightsError::Malformed {
            path: path.to_owned(),
            format: "GGUF",
            offset: fault.offset,
            message: fault.message,
        })?;
        let names = header.tensors.iter().enumerate();
        let index = names.map(|(i, tensor)| (tensor.name.clone(), i)).collect();
        Ok(Self { map, header, index })
    }

    /// Returns the path it was opened by.
    pub fn path(&self) -> &Path {
        self.map.path()
    }

    /// Returns the parsed header.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Returns a metadata value.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.header.metadata.get(key)
    }

    /// Returns a tensor's description.
    pub fn tensor(&self, name: &str) -> Option<&TensorInfo> {
        self.index.get(name).map(|&i| &self.header.tensors[i])
    }

    /// Returns a tensor's stored bytes.
    pub fn bytes(&self, tensor: &TensorInfo) -> &[u8] {
        self.map.bytes().get(tensor.range.clone()).unwrap_or(&[])
    }

    /// Returns the whole file.
    pub(crate) fn whole(&self) -> &[u8] {
        self.map.bytes()
    }

    pub(crate) fn release(&self, range: std::ops::Range<usize>) {
        self.map.release(range);
    }

    /// Returns all values of a tensor as f32, in stored order.
    ///
    /// # Errors
    /// [`WeightsError::Tensor`] when it is absent, [`WeightsError::Unsupported`] when its
    /// type cannot be decoded.
    pub fn tensor_f32(&self, name: &str) -> Result<Vec<f32>, WeightsError> {
        let tensor = self.tensor(name).ok_or_else(|| WeightsError::Tensor {
            path: self.path().to_owned(),
            tensor: name.to_owned(),
            message: "is missing".into(),
        })?;
        // The bytes of these values lie in the file, which bounds the allocation.
        let mut values = vec![0.0; tensor.shape.iter().product()];
        if super::dequantise(tensor.tensor_type, self.bytes(tensor), &mut values) {
            Ok(values)
        } else {
            Err(undecodable(self.path(), tensor))
        }
    }

    /// Returns the sha256 of the file, lower-case hexadecimal.
    pub fn sha256(&self) -> String {
        self.map.sha256()
    }
}

/// The error for a tensor whose type has no decoder here.
fn undecodable(path: &Path, tensor: &TensorInfo) -> WeightsError {
    WeightsError::Unsupported {
        path: path.to_owned(),
        what: "the tensor type",
        found: format!("{} of {}", tensor.tensor_type, tensor.name),
        supported: super::DECODABLE_NAMES,
    }
}
