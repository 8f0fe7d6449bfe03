//! The configuration in a GGUF file's metadata and tensor list.

use super::{Architecture, ModelConfig, SUPPORTED};
use crate::gguf::{Gguf, Value};
use crate::rope::yarn_attention_factor;
use crate::{Rope, RopeScaling, WeightsError};

/// Reads the configuration. Whether the head is tied and whether q, k and v have biases is
/// what the tensor list says.
pub(crate) fn from_gguf(file: &Gguf) -> Result<ModelConfig, WeightsError> {
    let name = match file.get("general.architecture") {
        Some(Value::String(name)) => name.as_str(),
        Some(other) => return Err(wrong(file, "general.architecture", other, "a text")),
        None => return Err(missing(file, "general.architecture")),
    };
    if let Some(Value::String(kind)) = file.get("general.type")
        && kind != "model"
    {
        return Err(WeightsError::NotAModel {
            path: file.path().to_owned(),
            message: format!("its `general.type` is `{kind}`, expected `model`"),
        });
    }
    let parts = file.get("split.count").and_then(Value::as_u64);
    if let Some(parts) = parts.filter(|parts| *parts > 1) {
        return Err(WeightsError::Unsupported {
            path: file.path().to_owned(),
            what: "a file that is one of several parts",
            found: format!("split.count = {parts}"),
            supported: "one whole file (`llama-gguf-split --merge` joins them)",
        });
    }
    let architecture = match name {
        "llama" => Architecture::Llama,
        "qwen2" => Architecture::Qwen2,
        "qwen3" => Architecture::Qwen3,
        other => {
            return Err(WeightsError::Unsupported {
                path: file.path().to_owned(),
                what: "the architecture",
                found: other.to_owned(),
                supported: SUPPORTED,
            });
        }
    };
    let keys = Keys { file, name };
    if keys.size("expert_count")?.is_some_and(|n| n > 0) {
        return Err(WeightsError::Unsupported {
            path: file.path().to_owned(),
            what: "the architecture",
            found: format!("{name} with experts"),
            supported: SUPPORTED,
        });
    }
    let hidden_size = keys.required("embedding_length")?;
    let num_heads = keys.required("attention.head_count")?;
    let rotary = keys.size("rope.dimension_count")?;
    let head_dim = match (keys.size("attention.key_length")?, rotary) {
        (Some(width), _) | (None, Some(width)) => width,
        (None, None) if num_heads > 0 && hidden_size.is_multiple_of(num_heads) => {
            hidden_size / num_heads
        }
        (None, None) => return Err(missing(file, &keys.full("attention.key_length"))),
    };
    for (key, width) in [
        ("rope.dimension_count", rotary),
        (
            "attention.value_length",
            keys.size("attention.value_length")?,
        ),
    ] {
        if width.is_some_and(|width| width != head_dim) {
            let found = width.unwrap_or(0);
            return Err(keys.fail(
                key,
                format!("is {found}, expected the head width {head_dim}"),
            ));
        }
    }
    let positions = keys.required("context_length")?;
    let window = keys.size("attention.sliding_window")?.filter(|&n| n > 0);
    let embedding = file
        .tensor("token_embd.weight")
        .ok_or_else(|| WeightsError::Tensor {
            path: file.path().to_owned(),
            tensor: "token_embd.weight".to_owned(),
            message: "is missing".to_owned(),
        })?;
    let token = |key: &str| -> Result<Option<u32>, WeightsError> {
        let full = format!("tokenizer.ggml.{key}");
        let Some(value) = file.get(&full) else {
            return Ok(None);
        };
        match value.as_u64().and_then(|n| u32::try_from(n).ok()) {
            // Some writers say "no such token" with the largest number.
            Some(u32::MAX) => Ok(None),
            Some(id) => Ok(Some(id)),
            None => Err(wrong(file, &full, value, "a token id")),
        }
    };
    let mut eos = Vec::new();
    for key in ["eos_token_id", "eot_token_id", "eom_token_id"] {
        if let Some(id) = token(key)?
            && !eos.contains(&id)
        {
            eos.push(id);
        }
    }
    let config = ModelConfig {
        architecture,
        vocab_size: embedding.shape.first().copied().unwrap_or(0),
        hidden_size,
        intermediate_size: keys.required("feed_forward_length")?,
        num_layers: keys.required("block_count")?,
        num_heads,
        num_kv_heads: keys.size("attention.head_count_kv")?.unwrap_or(num_heads),
        head_dim,
        rms_norm_eps: keys
            .number("attention.layer_norm_rms_epsilon")?
            .ok_or_else(|| missing(file, &keys.full("attention.layer_norm_rms_epsilon")))?
            as f32,
        rope: rope(&keys, positions)?,
        // Which layers slide is not recorded; up to the window all of them see everything.
        max_position: window.map_or(positions, |tokens| positions.min(tokens)),
        tie_embeddings: file.tensor("output.weight").is_none(),
        qkv_bias: file.tensor("blk.0.attn_q.bias").is_some(),
        qk_norm: architecture == Architecture::Qwen3,
        bos: token("bos_token_id")?,
        eos,
        pad: token("padding_token_id")?,
        windows: Vec::new(),
    };
    config.check(file.path(), |name| match name {
        "vocab_size" => "token_embd.weight".to_owned(),
        "hidden_size" => keys.full("embedding_length"),
        "intermediate_size" => keys.full("feed_forward_length"),
        "num_hidden_layers" => keys.full("block_count"),
        "num_attention_heads" => keys.full("attention.head_count"),
        "num_key_value_heads" => keys.full("attention.head_count_kv"),
        "head_dim" => keys.full("attention.key_length"),
        "max_position_embeddings" => keys.full("context_length"),
        "rms_norm_eps" => keys.full("attention.layer_norm_rms_epsilon"),
        "rope_theta" => keys.full("rope.freq_base"),
        _ => keys.full("rope.scaling"),
    })?;
    Ok(config)
}

fn rope(keys: &Keys<'_>, positions: usize) -> Result<Rope, WeightsError> {
    let theta = keys.number("rope.freq_base")?.unwrap_or(10000.0);
    let factor = match keys.number("rope.scaling.factor")? {
        Some(factor) => Some(factor),
        None => keys.number("rope.scale_linear")?,
    };
    let kind = match keys.get("rope.scaling.type") {
        None => None,
        Some(Value::String(kind)) => Some(kind.as_str()),
        Some(other) => {
            return Err(wrong(
                keys.file,
                &keys.full("rope.scaling.type"),
                other,
                "a text",
            ));
        }
    };
    let original = keys
        .size("rope.scaling.original_context_length")?
        .unwrap_or(positions);
    let scaling = match kind {
        // llama.cpp takes a bare factor as linear scaling.
        None | Some("linear") => match factor {
            Some(factor) if factor > 0.0 && factor != 1.0 => RopeScaling::Linear { factor },
            _ => RopeScaling::None,
        },
        Some("none") => RopeScaling::None,
        Some("yarn") => {
            let factor = factor.unwrap_or(1.0);
            let scale = keys.number("rope.scaling.attn_factor")?.unwrap_or(1.0);
            for key in ["yarn_ext_factor", "yarn_attn_factor", "yarn_log_multiplier"] {
                let key = format!("rope.scaling.{key}");
                if keys.get(&key).is_some() {
                    return Err(keys.fail(&key, "is not supported with this architecture".into()));
                }
            }
            let beta = |key: &str, default: f64| -> Result<f64, WeightsError> {
                Ok(keys.number(key)?.unwrap_or(default))
            };
            RopeScaling::Yarn {
                factor,
                original_max_position: original,
                attention_factor: scale * yarn_attention_factor(factor, 1.0),
                beta_fast: beta("rope.scaling.yarn_beta_fast", 32.0)?,
                beta_slow: beta("rope.scaling.yarn_beta_slow", 1.0)?,
                truncate: true,
            }
        }
        Some(other) => {
            return Err(WeightsError::Unsupported {
                path: keys.file.path().to_owned(),
                what: "the rotary embedding",
                found: other.to_owned(),
                supported: "none, linear or yarn, or llama3 as `rope_freqs.weight`",
            });
        }
    };
    // llama3 scaling is stored as the divisor of every frequency.
    let scaling = if keys.file.tensor("rope_freqs.weight").is_some() {
        if scaling != RopeScaling::None {
            let message = "is set beside `rope_freqs.weight`, expected one of them".to_owned();
            return Err(keys.fail("rope.scaling.type", message));
        }
        RopeScaling::Divisors(keys.file.tensor_f32("rope_freqs.weight")?)
    } else {
        scaling
    };
    Ok(Rope { theta, scaling })
}

/// The metadata of one architecture, addressed without its prefix.
struct Keys<'a> {
    file: &'a Gguf,
    name: &'a str,
}

impl Keys<'_> {
    fn full(&self, key: &str) -> String {
        format!("{}.{key}", self.name)
    }

    fn get(&self, key: &str) -> Option<&Value> {
        self.file.get(&self.full(key))
    }

    fn fail(&self, key: &str, message: String) -> WeightsError {
        WeightsError::Key {
            path: self.file.path().to_owned(),
            key: self.full(key),
            message,
        }
    }

    fn size(&self, key: &str) -> Result<Option<usize>, WeightsError> {
        let Some(value) = self.get(key) else {
            return Ok(None);
        };
        match value.as_u64().and_then(|n| usize::try_from(n).ok()) {
            Some(size) => Ok(Some(size)),
            None => Err(wrong(
                self.file,
                &self.full(key),
                value,
                "a non-negative integer, the same for all layers",
            )),
        }
    }

    fn number(&self, key: &str) -> Result<Option<f64>, WeightsError> {
        let Some(value) = self.get(key) else {
            return Ok(None);
        };
        match value.as_f64() {
            Some(number) => Ok(Some(number)),
            None => Err(wrong(self.file, &self.full(key), value, "a number")),
        }
    }

    fn required(&self, key: &str) -> Result<usize, WeightsError> {
        self.size(key)?
            .ok_or_else(|| missing(self.file, &self.full(key)))
    }
}

fn missing(file: &Gguf, key: &str) -> WeightsError {
    WeightsError::Key {
        path: file.path().to_owned(),
        key: key.to_owned(),
        message: "is missing".to_owned(),
    }
}

fn wrong(file: &Gguf, key: &str, value: &Value, expected: &str) -> WeightsError {
    WeightsError::Key {
        path: file.path().to_owned(),
        key: key.to_owned(),
        message: format!("has the type {}, expected {expected}", value.type_name()),
    }
}
