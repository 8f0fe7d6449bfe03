//! LoRA adapters as GGUF, the form llama.cpp and ollama load beside a GGUF base.
//!
//! Format: `convert_lora_to_gguf.py` and `src/llama-adapter.cpp` of llama.cpp. Where the base's own file stores q and k interleaved (llama architecture),
//! the rows of their B are interleaved too.

use std::collections::BTreeMap;
use std::path::Path;

use crate::base::LAYER_PARTS;
use crate::convert::FileType;
use crate::gguf::{self, Gguf, TensorType, Value, quantise};
use crate::peft::PeftConfig;
use crate::{LoraPair, LoraTensors, ModelConfig, WeightsError, permute};

/// Writes an adapter for a base model of configuration `base`, its matrices as f32; `name` becomes
/// `general.name`.
///
/// # Errors
/// As [`write_as`].
pub fn write(
    path: &Path,
    adapter: &LoraTensors,
    base: &ModelConfig,
    name: &str,
) -> Result<(), WeightsError> {
    write_as(path, adapter, base, name, FileType::F32)
}

/// Writes an adapter as [`write`] does, its matrices stored as `kind` says. A matrix whose rows
/// are no whole number of blocks is stored as F16, as llama.cpp's converter does; with a rank that
/// is no multiple of 32 that is every B.
///
/// llama.cpp scales by `alpha / rank`, so with rsLoRA the alpha written is
/// `alpha * sqrt(rank)`.
///
/// # Errors
/// [`WeightsError::Adapter`] when the tensors are not sound or do not fit the base,
/// [`WeightsError::Io`].
pub fn write_as(
    path: &Path,
    adapter: &LoraTensors,
    base: &ModelConfig,
    name: &str,
    kind: FileType,
) -> Result<(), WeightsError> {
    adapter.validate()?;
    let stored_name = |module: &String| {
        gguf_module(module).ok_or_else(|| WeightsError::Adapter {
            message: format!("`{module}` is not a linear layer of these models"),
        })
    };
    let names: Vec<String> = adapter
        .tensors
        .keys()
        .map(stored_name)
        .collect::<Result<_, _>>()?;
    adapter.check_shapes(&base.tensors().into_iter().collect())?;
    let mut tensors = Vec::new();
    for ((module, pair), stored) in adapter.tensors.iter().zip(names) {
        let b = if is_interleaved(base, module) {
            permute::interleave_rows(&pair.b, pair.rank, base.head_dim)
        } else {
            pair.b.clone()
        };
        for (suffix, shape, values) in [
            ("lora_a", [pair.rank, pair.in_features], &pair.a),
            ("lora_b", [pair.out_features, pair.rank], &b),
        ] {
            tensors.push(encoded(
                format!("{stored}.weight.{suffix}"),
                shape,
                values,
                kind,
            )?);
        }
    }
    let alpha = adapter.scale() * adapter.rank as f64;
    let metadata = BTreeMap::from([
        (
            "general.architecture".to_owned(),
            Value::from(base.architecture.gguf_name()),
        ),
        ("general.type".to_owned(), Value::from("adapter")),
        ("general.name".to_owned(), Value::from(name)),
        ("general.file_type".to_owned(), Value::U32(kind.code())),
        ("adapter.type".to_owned(), Value::from("lora")),
        ("adapter.lora.alpha".to_owned(), Value::F32(alpha as f32)),
    ]);
    gguf::write(path, &metadata, &tensors)
}

/// Returns a matrix as it is to be stored.
fn encoded(
    name: String,
    shape: [usize; 2],
    values: &[f32],
    kind: FileType,
) -> Result<gguf::Tensor<'static>, WeightsError> {
    let wanted = kind.usual();
    let tensor_type = if wanted.bytes_of(&shape).is_some() {
        wanted
    } else {
        TensorType::F16
    };
    let too_large =
        |value: &&f32| tensor_type == TensorType::F16 && value.abs() > half::f16::MAX.to_f32();
    if let Some(value) = values.iter().find(too_large) {
        let message = format!("`{name}` holds {value}, too large for F16: choose f32");
        return Err(WeightsError::Adapter { message });
    }
    let mut bytes = vec![0; tensor_type.bytes_of(&shape).unwrap_or(0)];
    if !quantise(tensor_type, values, &mut bytes) {
        let message = format!("`{name}` cannot be stored as {tensor_type}");
        return Err(WeightsError::Adapter { message });
    }
    Ok(gguf::Tensor {
        name,
        shape: shape.to_vec(),
        tensor_type,
        bytes: bytes.into(),
    })
}

/// Reads an adapter made elsewhere, for import: what [`crate::peft::read`] returns for a
/// directory, with the name of the base model where the file tells one. PEFT's alpha is an integer:
/// one that is not comes from rsLoRA where `alpha / sqrt(rank)` is an integer, and is else put into
/// B, with a scale of 1 left over.
///
/// # Errors
/// As [`read`].
pub fn read_lora_gguf(
    path: &Path,
    base: &ModelConfig,
) -> Result<(LoraTensors, PeftConfig), WeightsError> {
    let adapter = with_integer_alpha(read(path, base)?);
    let file = Gguf::open(path)?;
    let name = |key: &str| file.get(key).and_then(Value::as_str);
    let base_model = name("general.base_model.0.repo_url")
        .or_else(|| name("general.base_model.0.name"))
        .or_else(|| name("general.basename"));
    let config = PeftConfig {
        base_model_name_or_path: base_model.unwrap_or_default().to_owned(),
    };
    Ok((adapter, config))
}

/// Rewrites an adapter whose alpha is no integer as one of the same scale whose alpha is.
fn with_integer_alpha(mut adapter: LoraTensors) -> LoraTensors {
    // The file holds f32, so that a root times an integer is off by half a unit in the last place.
    const ROUNDING: f64 = f32::EPSILON as f64;
    if adapter.alpha.fract() == 0.0 {
        return adapter;
    }
    let stabilised = adapter.alpha / (adapter.rank as f64).sqrt();
    let nearest = stabilised.round();
    if nearest >= 1.0 && (stabilised - nearest).abs() <= nearest * ROUNDING {
        adapter.alpha = nearest;
        adapter.rslora = true;
        return adapter;
    }
    let scale = adapter.scale() as f32;
    for pair in adapter.tensors.values_mut() {
        pair.b.iter_mut().for_each(|value| *value *= scale);
    }
    adapter.alpha = adapter.rank as f64;
    adapter
}

/// Reads an adapter for a base model of configuration `base` back into Hugging Face's names
/// and row order. Dropout is not stored and reads as 0.
///
/// # Errors
/// Those of [`Gguf::open`]; [`WeightsError::Key`] for metadata of something else,
/// [`WeightsError::Tensor`] for half a pair or a name that is no adapted linear layer,
/// [`WeightsError::Adapter`] for pairs that do not fit the base.
pub fn read(path: &Path, base: &ModelConfig) -> Result<LoraTensors, WeightsError> {
    let file = Gguf::open(path)?;
    for (key, expected) in [
        ("general.type", "adapter"),
        ("adapter.type", "lora"),
        ("general.architecture", base.architecture.gguf_name()),
    ] {
        let found = file.get(key).and_then(Value::as_str).unwrap_or_default();
        if found != expected {
            return Err(WeightsError::Key {
                path: path.to_owned(),
                key: key.to_owned(),
                message: format!("is `{found}`, expected `{expected}`"),
            });
        }
    }
    let fail = |tensor: &str, message: String| WeightsError::Tensor {
        path: path.to_owned(),
        tensor: tensor.to_owned(),
        message,
    };
    let matrix = |name: &str| -> Result<(usize, usize, Vec<f32>), WeightsError> {
        let values = file.tensor_f32(name)?;
        match file.tensor(name).map(|tensor| tensor.shape.as_slice()) {
            Some(&[rows, columns]) => Ok((rows, columns, values)),
            _ => Err(fail(name, "is not a matrix".to_owned())),
        }
    };
    let mut tensors = BTreeMap::new();
    let mut rank = None;
    for tensor in &file.header().tensors {
        let stored = tensor
            .name
            .strip_suffix(".weight.lora_a")
            .or_else(|| tensor.name.strip_suffix(".weight.lora_b"))
            .ok_or_else(|| fail(&tensor.name, "is not half of a LoRA pair".to_owned()))?;
        let module = crate::base::hf_name(&format!("{stored}.weight"))
            .and_then(|name| Some(name.strip_suffix(".weight")?.to_owned()))
            .filter(|module| gguf_module(module).is_some())
            .ok_or_else(|| fail(&tensor.name, "adapts no linear layer".to_owned()))?;
        if tensors.contains_key(&module) {
            continue;
        }
        let (rank_a, in_features, a) = matrix(&format!("{stored}.weight.lora_a"))?;
        let (out_features, rank_b, b) = matrix(&format!("{stored}.weight.lora_b"))?;
        let rank = *rank.get_or_insert(rank_a);
        if rank_a != rank || rank_b != rank {
            let message = format!("has the rank {rank_a} in A and {rank_b} in B, expected {rank}");
            return Err(fail(stored, message));
        }
        let interleaved = is_interleaved(base, &module);
        if interleaved && !out_features.is_multiple_of(base.head_dim) {
            let message = format!(
                "has {out_features} rows, expected a multiple of the head width {}",
                base.head_dim
            );
            return Err(fail(stored, message));
        }
        let pair = LoraPair {
            rank,
            in_features,
            out_features,
            a,
            b: if interleaved {
                permute::half_split_rows(&b, rank, base.head_dim)
            } else {
                b
            },
        };
        tensors.insert(module, pair);
    }
    let rank = rank.unwrap_or(0);
    let alpha = file.get("adapter.lora.alpha").and_then(Value::as_f64);
    let adapter = LoraTensors {
        tensors,
        rank,
        // llama.cpp takes a missing alpha, and 0, as a scale of 1.
        alpha: alpha.filter(|&alpha| alpha != 0.0).unwrap_or(rank as f64),
        dropout: 0.0,
        rslora: false,
    };
    adapter.validate()?;
    adapter.check_shapes(&base.tensors().into_iter().collect())?;
    Ok(adapter)
}

fn is_interleaved(base: &ModelConfig, module: &str) -> bool {
    base.architecture.gguf_permutes_query_key()
        && (module.ends_with(".q_proj") || module.ends_with(".k_proj"))
}

/// Returns the GGUF name of a linear layer (`blk.0.attn_q`), or `None` for anything else.
fn gguf_module(module: &str) -> Option<String> {
    if module == "lm_head" {
        return Some("output".to_owned());
    }
    let (layer, part) = module.strip_prefix("model.layers.")?.split_once('.')?;
    let layer: usize = layer.parse().ok()?;
    let linear = |(_, hf): &&(&str, &str)| *hf == part && hf.ends_with("_proj");
    let (stored, _) = LAYER_PARTS.iter().find(linear)?;
    Some(format!("blk.{layer}.{stored}"))
}
