//! Adapter directories as PEFT, transformers and vLLM load them: `adapter_model.safetensors`
//! and `adapter_config.json`.
//!
//! Only plain LoRA is covered; a directory that asks for more (`DoRA`, per-module ranks, saved
//! modules, biases) is refused by key.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use safetensors::{Dtype, SafeTensors, View};
use serde_json::{Value, json};

use crate::config::Json;
use crate::gguf::{TensorType, dequantise};
use crate::map::FileMap;
use crate::{LoraPair, LoraTensors, WeightsError, atomic};

const CONFIG: &str = "adapter_config.json";
const TENSORS: &str = "adapter_model.safetensors";
/// What PEFT puts before a module's name in the base model.
const PREFIX: &str = "base_model.model.";

/// What `adapter_config.json` says beyond the tensors.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PeftConfig {
    /// Name or path of the base model.
    pub base_model_name_or_path: String,
}

/// Ways to begin that change the base's own weights: the pair is what training added to those.
const CHANGED_BASE: [&str; 5] = ["pissa", "olora", "corda", "loftq", "lora_ga"];

/// Writes an adapter to `dir`, which is created; each file appears whole, the configuration
/// last.
///
/// # Errors
/// [`WeightsError::Adapter`] when the tensors are not sound or `alpha` is not the integer that
/// other loaders require, [`WeightsError::Io`].
pub fn write(dir: &Path, adapter: &LoraTensors, config: &PeftConfig) -> Result<(), WeightsError> {
    adapter.validate()?;
    if adapter.alpha.fract() != 0.0 || adapter.alpha > 1e9 {
        return Err(WeightsError::Adapter {
            message: format!("alpha is {}, expected an integer", adapter.alpha),
        });
    }
    let mut tensors = BTreeMap::new();
    for (module, pair) in &adapter.tensors {
        let a = Floats::new(&pair.a, [pair.rank, pair.in_features]);
        let b = Floats::new(&pair.b, [pair.out_features, pair.rank]);
        tensors.insert(format!("{PREFIX}{module}.lora_A.weight"), a);
        tensors.insert(format!("{PREFIX}{module}.lora_B.weight"), b);
    }
    let format = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    let bytes =
        safetensors::serialize(tensors, Some(format)).map_err(|error| WeightsError::Adapter {
            message: error.to_string(),
        })?;
    let settings = json!({
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": config.base_model_name_or_path,
        "r": adapter.rank,
        "lora_alpha": adapter.alpha as i64,
        "target_modules": adapter.target_modules(),
        "lora_dropout": adapter.dropout,
        "bias": "none",
        "fan_in_fan_out": false,
        "inference_mode": true,
        "modules_to_save": null,
        "use_rslora": adapter.rslora,
        "use_dora": false,
        "rank_pattern": {},
        "alpha_pattern": {},
    });
    atomic::write_file(&dir.join(TENSORS), |out| out.write_all(&bytes))?;
    atomic::write_file(&dir.join(CONFIG), |out| writeln!(out, "{settings:#}"))
}

/// Reads an adapter from `dir`.
///
/// # Errors
/// [`WeightsError::Io`], [`WeightsError::Json`] or [`WeightsError::Key`] for the
/// configuration, [`WeightsError::Malformed`] or [`WeightsError::Tensor`] for the tensors.
pub fn read(dir: &Path) -> Result<(LoraTensors, PeftConfig), WeightsError> {
    let config = Json::read(&dir.join(CONFIG))?;
    refuse(&config)?;
    let rank = config
        .size("r")?
        .filter(|&rank| rank > 0)
        .ok_or_else(|| config.fail("r", "is missing or 0"))?;
    let alpha = config
        .number("lora_alpha")?
        .ok_or_else(|| config.fail("lora_alpha", "is missing"))?;
    let adapter = LoraTensors {
        tensors: read_tensors(&dir.join(TENSORS), rank)?,
        rank,
        alpha,
        dropout: config.number("lora_dropout")?.unwrap_or(0.0),
        rslora: config.flag("use_rslora")?.unwrap_or(false),
    };
    adapter.validate()?;
    let base = config.text("base_model_name_or_path")?.unwrap_or_default();
    let base_model_name_or_path = base.to_owned();
    Ok((
        adapter,
        PeftConfig {
            base_model_name_or_path,
        },
    ))
}

/// Refuses settings under which the two matrices are not the whole adapter.
fn refuse(config: &Json) -> Result<(), WeightsError> {
    let plain: [(&str, Value); 13] = [
        ("peft_type", json!("LORA")),
        ("bias", json!("none")),
        ("fan_in_fan_out", json!(false)),
        ("use_dora", json!(false)),
        ("rank_pattern", json!({})),
        ("alpha_pattern", json!({})),
        ("modules_to_save", json!([])),
        ("lora_bias", json!(false)),
        ("use_qalora", json!(false)),
        ("layer_replication", json!([])),
        ("trainable_token_indices", json!([])),
        ("target_parameters", json!([])),
        ("alora_invocation_tokens", json!([])),
    ];
    for (key, expected) in plain {
        if let Some(found) = config.get(key)
            && *found != expected
        {
            return Err(config.fail(key, format!("is {found}, expected {expected}")));
        }
    }
    if let Some(Value::String(start)) = config.get("init_lora_weights")
        && CHANGED_BASE
            .iter()
            .any(|name| start.to_lowercase().starts_with(name))
    {
        let message = format!("is `{start}`, whose base model is not the original one");
        return Err(config.fail("init_lora_weights", message));
    }
    Ok(())
}

fn read_tensors(path: &Path, rank: usize) -> Result<BTreeMap<String, LoraPair>, WeightsError> {
    let map = FileMap::open(path)?;
    let file = SafeTensors::deserialize(map.bytes()).map_err(|error| WeightsError::Malformed {
        path: path.to_owned(),
        format: "safetensors",
        offset: 8,
        message: error.to_string(),
    })?;
    let fail = |tensor: &str, message: String| WeightsError::Tensor {
        path: path.to_owned(),
        tensor: tensor.to_owned(),
        message,
    };
    let matrix = |name: &str| -> Result<([usize; 2], Vec<f32>), WeightsError> {
        let view = file
            .tensor(name)
            .map_err(|_| fail(name, "is missing".to_owned()))?;
        let tensor_type = match view.dtype() {
            Dtype::F32 => TensorType::F32,
            Dtype::F16 => TensorType::F16,
            Dtype::BF16 => TensorType::BF16,
            other => {
                return Err(fail(
                    name,
                    format!("has the type {other:?}, expected F32, F16 or BF16"),
                ));
            }
        };
        let &[rows, columns] = view.shape() else {
            let message = format!("has the shape {:?}, expected a matrix", view.shape());
            return Err(fail(name, message));
        };
        let mut values = vec![0.0; view.data().len() / tensor_type.block().1];
        if dequantise(tensor_type, view.data(), &mut values) {
            Ok(([rows, columns], values))
        } else {
            Err(fail(name, "cannot be decoded".to_owned()))
        }
    };
    let mut pairs = BTreeMap::new();
    let mut names = file.names();
    names.sort_unstable();
    for name in names {
        let module = name
            .strip_prefix(PREFIX)
            .and_then(|rest| rest.split_once(".lora_"));
        let module = match module {
            Some((module, "A.weight")) => module,
            // Its partner is looked up from the other side, so half a pair is found.
            Some((module, "B.weight")) => {
                if pairs.contains_key(module) {
                    continue;
                }
                module
            }
            _ => return Err(fail(name, "is not part of a plain LoRA adapter".to_owned())),
        };
        let ([rank_a, in_features], a) = matrix(&format!("{PREFIX}{module}.lora_A.weight"))?;
        let ([out_features, rank_b], b) = matrix(&format!("{PREFIX}{module}.lora_B.weight"))?;
        if rank_a != rank || rank_b != rank {
            let message = format!("has the rank {rank_a} in A and {rank_b} in B, expected {rank}");
            return Err(fail(module, message));
        }
        let pair = LoraPair {
            rank,
            in_features,
            out_features,
            a,
            b,
        };
        pairs.insert(module.to_owned(), pair);
    }
    Ok(pairs)
}

/// An f32 matrix as the serialiser wants it.
struct Floats {
    shape: [usize; 2],
    bytes: Vec<u8>,
}

impl Floats {
    fn new(values: &[f32], shape: [usize; 2]) -> Self {
        Self {
            shape,
            bytes: little_endian(values),
        }
    }
}

impl View for Floats {
    fn dtype(&self) -> Dtype {
        Dtype::F32
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(&self.bytes)
    }

    fn data_len(&self) -> usize {
        self.bytes.len()
    }
}

/// Returns f32 values as little-endian bytes.
pub(crate) fn little_endian(values: &[f32]) -> Vec<u8> {
    values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect()
}
