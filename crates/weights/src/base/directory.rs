//! A base model in a directory: `config.json`, safetensors in one file or in shards with
//! their index, tokenizer files beside them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use safetensors::{Dtype, SafeTensors};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::{BaseModel, Store, Stored, Text};
use crate::config::{self, Json};
use crate::gguf::TensorType;
use crate::map::{FileMap, hexadecimal, sha256_of_file};
use crate::{ModelConfig, WeightsError};

const SINGLE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";

/// The mapped weight files of a directory.
pub(super) struct Directory {
    files: Vec<FileMap>,
}

impl Directory {
    pub(super) fn bytes(&self, file: usize) -> &[u8] {
        self.files.get(file).map_or(&[], FileMap::bytes)
    }

    pub(super) fn release(&self, file: usize, range: std::ops::Range<usize>) {
        if let Some(file) = self.files.get(file) {
            file.release(range);
        }
    }

    pub(super) fn sha256(&self, directory: &Path) -> Result<String, WeightsError> {
        let mut digests = BTreeMap::new();
        for file in &self.files {
            let name = file.path().file_name().unwrap_or_default();
            digests.insert(name.to_string_lossy().into_owned(), file.sha256());
        }
        for name in ["config.json", "tokenizer.json", "tokenizer_config.json"] {
            let path = directory.join(name);
            if path.exists() {
                digests.insert(name.to_owned(), sha256_of_file(&path)?);
            }
        }
        let mut hasher = Sha256::new();
        for (name, digest) in digests {
            hasher.update(format!("{digest}  {name}\n"));
        }
        Ok(hexadecimal(&hasher.finalize()))
    }
}

pub(super) fn open(path: &Path) -> Result<BaseModel, WeightsError> {
    let config_path = path.join("config.json");
    if !config_path.is_file() {
        let adapter = path.join("adapter_config.json").is_file();
        return Err(WeightsError::NotAModel {
            path: path.to_owned(),
            message: if adapter {
                "it is an adapter's directory, expected the base model it belongs to".into()
            } else {
                "it has no `config.json`".into()
            },
        });
    }
    let generation = optional(&path.join("generation_config.json"))?;
    let config = config::from_json(&Json::read(&config_path)?, generation.as_ref())?;
    let (paths, index) = weight_files(path)?;
    let mut files = Vec::new();
    let mut tensors = BTreeMap::new();
    for file in paths {
        let map = FileMap::open(&file)?;
        for (name, stored) in read_list(&map, files.len())? {
            if tensors.insert(name.clone(), stored).is_some() {
                return Err(WeightsError::Tensor {
                    path: file,
                    tensor: name,
                    message: "is stored a second time".to_owned(),
                });
            }
        }
        files.push(map);
    }
    if let Some(name) = index.iter().find(|name| !tensors.contains_key(*name)) {
        return Err(WeightsError::Tensor {
            path: path.join(INDEX),
            tensor: name.clone(),
            message: "is listed but in none of the shards".to_owned(),
        });
    }
    let text = text(path, &config)?;
    Ok(BaseModel {
        path: path.to_owned(),
        config,
        store: Arc::new(Store::Directory(Directory { files })),
        tensors,
        text,
        sha256: OnceLock::new(),
    })
}

fn optional(path: &Path) -> Result<Option<Json>, WeightsError> {
    path.is_file().then(|| Json::read(path)).transpose()
}

/// Returns the weight files and, for shards, the tensors the index lists.
fn weight_files(directory: &Path) -> Result<(Vec<PathBuf>, BTreeSet<String>), WeightsError> {
    let index_path = directory.join(INDEX);
    if !index_path.is_file() {
        let single = directory.join(SINGLE);
        if single.is_file() {
            return Ok((vec![single], BTreeSet::new()));
        }
        return Err(WeightsError::NotAModel {
            path: directory.to_owned(),
            message: format!("it has neither `{SINGLE}` nor `{INDEX}`"),
        });
    }
    let index = Json::read(&index_path)?;
    let map = index
        .get("weight_map")
        .and_then(Value::as_object)
        .ok_or_else(|| index.fail("weight_map", "is not an object"))?;
    let mut shards = BTreeSet::new();
    for (tensor, file) in map {
        // A name with a separator could point anywhere on the machine.
        let name = file
            .as_str()
            .filter(|name| !name.contains(['/', '\\']) && name.ends_with(".safetensors"))
            .ok_or_else(|| {
                index.fail(
                    "weight_map",
                    format!(
                        "puts `{tensor}` into {file}, expected a `.safetensors` file beside it"
                    ),
                )
            })?;
        shards.insert(directory.join(name));
    }
    if let Some(shard) = shards.iter().find(|shard| !shard.is_file()) {
        let name = shard.file_name().unwrap_or_default().to_string_lossy();
        return Err(WeightsError::NotAModel {
            path: directory.to_owned(),
            message: format!("the shard `{name}` listed in `{INDEX}` is missing"),
        });
    }
    Ok((shards.into_iter().collect(), map.keys().cloned().collect()))
}

/// Reads the header of one safetensors file.
fn read_list(map: &FileMap, file: usize) -> Result<Vec<(String, Stored)>, WeightsError> {
    let (header, metadata) = SafeTensors::read_metadata(map.bytes()).map_err(|error| {
        WeightsError::Malformed {
            path: map.path().to_owned(),
            format: "safetensors",
            // The header's JSON begins after its 64-bit length.
            offset: 8,
            message: error.to_string(),
        }
    })?;
    let mut tensors = Vec::new();
    for (name, info) in metadata.tensors() {
        let tensor_error = |message: String| WeightsError::Tensor {
            path: map.path().to_owned(),
            tensor: name.clone(),
            message,
        };
        let tensor_type = match info.dtype {
            Dtype::F32 => TensorType::F32,
            Dtype::F16 => TensorType::F16,
            Dtype::BF16 => TensorType::BF16,
            other => {
                let message = format!("has the type {other:?}, expected F32, F16 or BF16");
                return Err(tensor_error(message));
            }
        };
        if info.shape.is_empty() || info.shape.contains(&0) {
            return Err(tensor_error(format!("has the shape {:?}", info.shape)));
        }
        let data = 8 + header;
        let stored = Stored {
            shape: info.shape.clone(),
            tensor_type,
            file,
            // The library has checked these offsets against the file's length.
            range: data + info.data_offsets.0..data + info.data_offsets.1,
            interleaved: None,
        };
        tensors.push((name, stored));
    }
    Ok(tensors)
}

fn text(directory: &Path, config: &ModelConfig) -> Result<Text, WeightsError> {
    let tokenizer = optional(&directory.join("tokenizer_config.json"))?;
    let token = |key: &str| -> Result<String, WeightsError> {
        let Some((json, value)) = tokenizer.as_ref().and_then(|j| Some((j, j.get(key)?))) else {
            return Ok(String::new());
        };
        let content = value.as_str().or_else(|| value.get("content")?.as_str());
        content
            .map(str::to_owned)
            .ok_or_else(|| json.fail(key, format!("is {value}, expected a text")))
    };
    let bos_token = token("bos_token")?;
    let add_bos = match tokenizer.as_ref().map(|json| json.flag("add_bos_token")) {
        Some(flag) => flag?,
        None => None,
    };
    Ok(Text {
        add_bos: match add_bos {
            Some(add) => add,
            None => config.bos.is_some() && post_processor_adds(directory, &bos_token)?,
        },
        eos_token: token("eos_token")?,
        chat_template: chat_template(directory, tokenizer.as_ref())?,
        bos_token,
    })
}

/// Returns whether the tokenizer's post-processor mentions the token.
fn post_processor_adds(directory: &Path, token: &str) -> Result<bool, WeightsError> {
    let Some(json) = optional(&directory.join("tokenizer.json"))? else {
        return Ok(false);
    };
    let quoted = Value::from(token).to_string();
    Ok(!token.is_empty()
        && json
            .get("post_processor")
            .is_some_and(|value| value.to_string().contains(&quoted)))
}

/// Returns the template: a file of its own (newer), or a text or a named list in
/// `tokenizer_config.json`, of which the one called `default`.
fn chat_template(
    directory: &Path,
    tokenizer: Option<&Json>,
) -> Result<Option<String>, WeightsError> {
    let path = directory.join("chat_template.jinja");
    if path.is_file() {
        let source = std::fs::read_to_string(&path).map_err(WeightsError::io("read", &path))?;
        return Ok(Some(source));
    }
    let Some((json, value)) = tokenizer.and_then(|j| Some((j, j.get("chat_template")?))) else {
        return Ok(None);
    };
    let named = |list: &[Value]| {
        let entry = list.iter().find(|entry| entry["name"] == "default")?;
        Some(entry["template"].as_str()?.to_owned())
    };
    let source = match value {
        Value::String(source) => Some(source.clone()),
        Value::Array(list) => named(list),
        _ => None,
    };
    source
        .map(Some)
        .ok_or_else(|| json.fail("chat_template", "has no template called `default`"))
}
