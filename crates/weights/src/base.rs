//! One base model, whichever way it is stored.
//!
//! Everything leaves here in Hugging Face's names and layouts. Opening checks the list of
//! tensors against the configuration; values are read only when asked for.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use crate::gguf::{TensorType, dequantise};
use crate::{ModelConfig, WeightsError, permute};

mod directory;
mod gguf_file;
mod matrix;

pub(crate) use gguf_file::{LAYER_PARTS, hf_name};
pub use matrix::StoredMatrix;

/// An opened base model: configuration at hand, tensors decoded on demand.
pub struct BaseModel {
    path: PathBuf,
    config: ModelConfig,
    store: Arc<Store>,
    tensors: BTreeMap<String, Stored>,
    text: Text,
    sha256: OnceLock<String>,
}

enum Store {
    Gguf(crate::gguf::Gguf),
    Directory(directory::Directory),
}

impl Store {
    fn bytes(&self, tensor: &Stored) -> &[u8] {
        let file = match self {
            Self::Gguf(file) => file.whole(),
            Self::Directory(directory) => directory.bytes(tensor.file),
        };
        file.get(tensor.range.clone()).unwrap_or(&[])
    }

    /// Gives the memory of pages back; they are read again when asked for.
    fn release(&self, file: usize, range: Range<usize>) {
        match self {
            Self::Gguf(gguf) => gguf.release(range),
            Self::Directory(directory) => directory.release(file, range),
        }
    }
}

/// Where a tensor's bytes are and how to read them.
#[derive(Clone)]
struct Stored {
    shape: Vec<usize>,
    tensor_type: TensorType,
    /// Index of the file of a directory; 0 for a GGUF.
    file: usize,
    range: Range<usize>,
    /// Width of a head when the rows are stored interleaved and must be put back.
    interleaved: Option<usize>,
}

/// What the model's files say about text.
struct Text {
    bos_token: String,
    eos_token: String,
    add_bos: bool,
    chat_template: Option<String>,
}

/// A tensor's stored bytes, for readers that keep weights quantised.
#[derive(Debug, Clone, Copy)]
pub struct RawTensor<'a> {
    /// The stored blocks, row after row.
    pub bytes: &'a [u8],
    /// How they store the values.
    pub tensor_type: TensorType,
    /// Outermost dimension first.
    pub shape: &'a [usize],
    /// Width of a head when row `h * width + 2 * j + t` of the bytes is row
    /// `h * width + t * width / 2 + j` of the tensor (q and k of llama-architecture GGUF files).
    pub interleaved: Option<usize>,
}

impl BaseModel {
    /// Opens a GGUF file or a safetensors directory (one file, or shards with their index).
    ///
    /// # Errors
    /// Any [`WeightsError`] that says what the files lack: an unsupported family or tensor
    /// type, a tensor missing, left over or of the wrong shape, a header that lies.
    pub fn open(path: &Path) -> Result<Self, WeightsError> {
        let metadata = std::fs::metadata(path).map_err(WeightsError::io("open", path))?;
        let mut model = if metadata.is_dir() {
            directory::open(path)?
        } else {
            gguf_file::open(path)?
        };
        model.check_tensors()?;
        Ok(model)
    }

    /// Returns the shape of the model.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// Returns a tensor's values, row-major, by its Hugging Face name such as
    /// `model.layers.0.self_attn.q_proj.weight`; the rows of q and k are in Hugging Face's
    /// half-split order whatever the file stores.
    ///
    /// # Errors
    /// [`WeightsError::Tensor`] when the model has no such tensor.
    pub fn tensor_f32(&self, hf_name: &str) -> Result<Vec<f32>, WeightsError> {
        let rows = self.stored(hf_name)?.shape[0];
        let mut values = vec![0.0; self.stored(hf_name)?.shape.iter().product()];
        self.rows_f32(hf_name, 0..rows, &mut values)?;
        Ok(values)
    }

    /// Decodes some rows of a tensor (elements, for a vector) to `out`, for readers that
    /// stream a large one.
    ///
    /// # Errors
    /// [`WeightsError::Tensor`] when the model has no such tensor or rows, or `out` does not
    /// hold exactly their values.
    pub fn rows_f32(
        &self,
        hf_name: &str,
        rows: Range<usize>,
        out: &mut [f32],
    ) -> Result<(), WeightsError> {
        let tensor = self.stored(hf_name)?;
        let width: usize = tensor.shape[1..].iter().product();
        let fits = rows.start <= rows.end
            && rows.end <= tensor.shape[0]
            && out.len() == (rows.end - rows.start) * width;
        if !fits {
            return Err(self.tensor_error(
                hf_name,
                format!(
                    "was asked for rows {rows:?} into {} values, has the shape {:?}",
                    out.len(),
                    tensor.shape
                ),
            ));
        }
        let bytes = self.bytes(tensor);
        let (block, size) = tensor.tensor_type.block();
        let row = width.div_ceil(block) * size;
        let decode = |stored: Range<usize>, out: &mut [f32]| {
            let range = stored.start * row..stored.end * row;
            let decoded = bytes
                .get(range)
                .is_some_and(|bytes| dequantise(tensor.tensor_type, bytes, out));
            // `check_tensors` has refused types and shapes for which this could happen.
            decoded
                .then_some(())
                .ok_or_else(|| self.tensor_error(hf_name, "cannot be decoded".to_owned()))
        };
        let Some(head_dim) = tensor.interleaved else {
            return decode(rows, out);
        };
        for (row, out) in rows.zip(out.chunks_exact_mut(width)) {
            let stored = permute::interleaved_row(row, head_dim);
            decode(stored..stored + 1, out)?;
        }
        Ok(())
    }

    /// Returns a tensor's stored bytes, or `None` when the model has no such tensor.
    pub fn raw(&self, hf_name: &str) -> Option<RawTensor<'_>> {
        let tensor = self.tensors.get(hf_name)?;
        Some(RawTensor {
            bytes: self.bytes(tensor),
            tensor_type: tensor.tensor_type,
            shape: &tensor.shape,
            interleaved: tensor.interleaved,
        })
    }

    /// Returns a matrix as it is stored, to be decoded row by row for as long as it is needed;
    /// nothing is copied.
    ///
    /// # Errors
    /// [`WeightsError::Tensor`] when the model has no such tensor or it is not a matrix.
    pub fn matrix(&self, hf_name: &str) -> Result<StoredMatrix, WeightsError> {
        let tensor = self.stored(hf_name)?;
        StoredMatrix::new(Arc::clone(&self.store), tensor)
            .ok_or_else(|| self.tensor_error(hf_name, "is not a matrix".to_owned()))
    }

    /// Gives the memory that reading a tensor took back to the system; it is read again when
    /// asked for. For readers that keep their own copy of a model larger than the memory.
    pub fn release(&self, hf_name: &str) {
        if let Some(tensor) = self.tensors.get(hf_name) {
            self.store.release(tensor.file, tensor.range.clone());
        }
    }

    /// Returns a tensor's shape, outermost dimension first (`[out, in]`), if it is present.
    pub fn shape(&self, hf_name: &str) -> Option<&[usize]> {
        self.tensors
            .get(hf_name)
            .map(|tensor| tensor.shape.as_slice())
    }

    /// Returns whether the tensor is present.
    pub fn has(&self, hf_name: &str) -> bool {
        self.tensors.contains_key(hf_name)
    }

    /// Returns the Hugging Face names of all tensors, sorted.
    pub fn tensor_names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// Returns the number of parameters, a tied head counted once.
    pub fn parameters(&self) -> u64 {
        let count = |tensor: &Stored| tensor.shape.iter().map(|&n| n as u64).product::<u64>();
        self.tensors.values().map(count).sum()
    }

    /// Returns a `tokenizer.json` document: the directory's own, or one built from a GGUF's
    /// vocabulary, merges and pre-tokenizer.
    ///
    /// # Errors
    /// [`WeightsError::Io`] when the directory has none, [`WeightsError::Unsupported`] for a
    /// GGUF tokenizer of another kind than byte-level BPE with a known pre-tokenizer.
    pub fn tokenizer_json(&self) -> Result<String, WeightsError> {
        match &*self.store {
            Store::Gguf(file) => crate::vocabulary::tokenizer_json(file),
            Store::Directory(_) => {
                let path = self.path.join("tokenizer.json");
                std::fs::read_to_string(&path).map_err(WeightsError::io("read", &path))
            }
        }
    }

    /// Returns the chat template's source.
    ///
    /// # Errors
    /// [`WeightsError::NoChatTemplate`] when the model has none.
    pub fn chat_template(&self) -> Result<&str, WeightsError> {
        self.text
            .chat_template
            .as_deref()
            .ok_or_else(|| WeightsError::NoChatTemplate {
                path: self.path.clone(),
            })
    }

    /// Returns the text of the beginning-of-sequence token, empty if there is none.
    pub fn bos_token(&self) -> &str {
        &self.text.bos_token
    }

    /// Returns the text of the end-of-sequence token, empty if there is none.
    pub fn eos_token(&self) -> &str {
        &self.text.eos_token
    }

    /// Returns whether the model expects a beginning-of-sequence token before plain text. A
    /// chat template writes its own; nothing is to be added to what it renders.
    pub fn add_bos(&self) -> bool {
        self.text.add_bos
    }

    /// Returns the sha256 of the GGUF file, lower-case hexadecimal; for a directory, that of
    /// the lines `<sha256>  <name>` of its weights, configuration and tokenizer files sorted
    /// by name. Computed on the first call.
    ///
    /// # Errors
    /// [`WeightsError::Io`] when a file of a directory cannot be read.
    pub fn sha256(&self) -> Result<&str, WeightsError> {
        if let Some(digest) = self.sha256.get() {
            return Ok(digest);
        }
        let digest = match &*self.store {
            Store::Gguf(file) => file.sha256(),
            Store::Directory(directory) => directory.sha256(&self.path)?,
        };
        Ok(self.sha256.get_or_init(|| digest))
    }

    /// Returns the metadata of the GGUF file, or `None` for a safetensors directory.
    pub(crate) fn metadata(&self) -> Option<&BTreeMap<String, crate::gguf::Value>> {
        match &*self.store {
            Store::Gguf(file) => Some(&file.header().metadata),
            Store::Directory(_) => None,
        }
    }

    /// Returns the path given to [`Self::open`].
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the GGUF file, or `None` for a safetensors directory.
    pub fn gguf_path(&self) -> Option<&Path> {
        match &*self.store {
            Store::Gguf(_) => Some(&self.path),
            Store::Directory(_) => None,
        }
    }

    fn stored(&self, hf_name: &str) -> Result<&Stored, WeightsError> {
        self.tensors
            .get(hf_name)
            .ok_or_else(|| self.tensor_error(hf_name, "is missing".to_owned()))
    }

    fn bytes(&self, tensor: &Stored) -> &[u8] {
        self.store.bytes(tensor)
    }

    fn tensor_error(&self, tensor: &str, message: String) -> WeightsError {
        WeightsError::Tensor {
            path: self.path.clone(),
            tensor: tensor.to_owned(),
            message,
        }
    }

    /// Checks that the tensors are exactly those the configuration calls for. A stored copy of
    /// a tied head and rotary tables that can be recomputed are dropped.
    fn check_tensors(&mut self) -> Result<(), WeightsError> {
        let expected: BTreeMap<String, Vec<usize>> = self.config.tensors().into_iter().collect();
        for (name, shape) in &expected {
            let tensor = self.stored(name)?;
            if tensor.shape != *shape {
                let message = format!("has the shape {:?}, expected {shape:?}", tensor.shape);
                return Err(self.tensor_error(name, message));
            }
            if !TensorType::DECODABLE.contains(&tensor.tensor_type) {
                return Err(WeightsError::Unsupported {
                    path: self.path.clone(),
                    what: "the tensor type",
                    found: format!("{} of {name}", tensor.tensor_type),
                    supported: crate::gguf::DECODABLE_NAMES,
                });
            }
        }
        let droppable = |name: &str| {
            name.ends_with(".rotary_emb.inv_freq")
                || name == "lm_head.weight" && self.config.tie_embeddings
        };
        let surplus = |name: &&String| !expected.contains_key(*name) && !droppable(name);
        if let Some(name) = self.tensors.keys().find(surplus) {
            let message = format!(
                "does not belong to a {} model of this configuration",
                self.config.architecture
            );
            return Err(self.tensor_error(name, message));
        }
        self.tensors.retain(|name, _| expected.contains_key(name));
        Ok(())
    }
}
