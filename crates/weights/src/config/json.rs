//! `config.json` as transformers writes it, in its older and newer spellings.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::{Architecture, ModelConfig, SUPPORTED};
use crate::rope::yarn_attention_factor;
use crate::{Rope, RopeScaling, WeightsError};

/// Large enough for every real file but a tokenizer's.
const MAX_BYTES: u64 = 512 << 20;

/// A JSON object with the path it came from, for errors that name both.
pub(crate) struct Json {
    path: PathBuf,
    object: Map<String, Value>,
}

impl Json {
    /// Reads a file whose top level is an object.
    pub(crate) fn read(path: &Path) -> Result<Self, WeightsError> {
        let length = std::fs::metadata(path)
            .map_err(WeightsError::io("read", path))?
            .len();
        let fail = |message: String| WeightsError::Json {
            path: path.to_owned(),
            message,
        };
        if length > MAX_BYTES {
            return Err(fail(format!(
                "it has {length} bytes, expected at most {MAX_BYTES}"
            )));
        }
        let text = std::fs::read(path).map_err(WeightsError::io("read", path))?;
        match serde_json::from_slice(&text) {
            Ok(Value::Object(object)) => Ok(Self {
                path: path.to_owned(),
                object,
            }),
            Ok(_) => Err(fail("its top level is not an object".into())),
            Err(error) => Err(fail(format!("it is not valid JSON: {error}"))),
        }
    }

    /// Wraps an inner object of the same file.
    fn inner(&self, object: &Map<String, Value>) -> Self {
        Self {
            path: self.path.clone(),
            object: object.clone(),
        }
    }

    /// Returns a value that is present and not null.
    pub(crate) fn get(&self, key: &str) -> Option<&Value> {
        self.object.get(key).filter(|value| !value.is_null())
    }

    /// Returns the error for `key`.
    pub(crate) fn fail(&self, key: &str, message: impl Into<String>) -> WeightsError {
        WeightsError::Key {
            path: self.path.clone(),
            key: key.to_owned(),
            message: message.into(),
        }
    }

    fn typed<'a, T>(
        &'a self,
        key: &str,
        expected: &str,
        read: impl Fn(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, WeightsError> {
        match self.get(key) {
            None => Ok(None),
            Some(value) => read(value)
                .map(Some)
                .ok_or_else(|| self.fail(key, format!("is {value}, expected {expected}"))),
        }
    }

    fn required<T>(&self, key: &str, value: Option<T>) -> Result<T, WeightsError> {
        value.ok_or_else(|| self.fail(key, "is missing"))
    }

    pub(crate) fn size(&self, key: &str) -> Result<Option<usize>, WeightsError> {
        self.typed(key, "a non-negative integer", |value| {
            value.as_u64().and_then(|n| usize::try_from(n).ok())
        })
    }

    pub(crate) fn number(&self, key: &str) -> Result<Option<f64>, WeightsError> {
        self.typed(key, "a number", Value::as_f64)
    }

    pub(crate) fn flag(&self, key: &str) -> Result<Option<bool>, WeightsError> {
        self.typed(key, "true or false", Value::as_bool)
    }

    pub(crate) fn text(&self, key: &str) -> Result<Option<&str>, WeightsError> {
        self.typed(key, "a text", Value::as_str)
    }

    fn tokens(&self, key: &str) -> Result<Vec<u32>, WeightsError> {
        let one = |value: &Value| value.as_u64().and_then(|n| u32::try_from(n).ok());
        let many = self.typed(key, "a token id or a list of them", |value| match value {
            Value::Array(ids) => ids.iter().map(one).collect(),
            single => Some(vec![one(single)?]),
        })?;
        Ok(many.unwrap_or_default())
    }
}

/// Reads the configuration of a directory; `generation` is `generation_config.json`, whose
/// end-of-sequence tokens are added.
pub(crate) fn from_json(
    config: &Json,
    generation: Option<&Json>,
) -> Result<ModelConfig, WeightsError> {
    let architecture = architecture(config)?;
    refuse(config)?;
    let required = |key: &str| config.required(key, config.size(key)?);
    let num_heads = required("num_attention_heads")?;
    let hidden_size = required("hidden_size")?;
    let num_layers = required("num_hidden_layers")?;
    let num_kv_heads = match (config.size("num_key_value_heads")?, architecture) {
        (Some(heads), _) => heads,
        // Files older than grouped-query attention.
        (None, Architecture::Llama) => num_heads,
        (None, _) => return Err(config.fail("num_key_value_heads", "is missing")),
    };
    let head_dim = match config.size("head_dim")? {
        Some(width) => width,
        // Refused below, with the other impossible sizes.
        None if num_heads == 0 => 0,
        None if hidden_size.is_multiple_of(num_heads) => hidden_size / num_heads,
        None => {
            return Err(config.fail(
                "head_dim",
                format!("is missing and {num_heads} heads do not divide {hidden_size}"),
            ));
        }
    };
    let positions = required("max_position_embeddings")?;
    let windows = windows(config, architecture, num_layers)?;
    let mut eos = config.tokens("eos_token_id")?;
    for token in generation.map_or(Ok(Vec::new()), |json| json.tokens("eos_token_id"))? {
        if !eos.contains(&token) {
            eos.push(token);
        }
    }
    let result = ModelConfig {
        architecture,
        vocab_size: required("vocab_size")?,
        hidden_size,
        intermediate_size: required("intermediate_size")?,
        num_layers,
        num_heads,
        num_kv_heads,
        head_dim,
        rms_norm_eps: config.number("rms_norm_eps")?.unwrap_or(1e-6) as f32,
        rope: rope(config, positions)?,
        max_position: positions,
        tie_embeddings: config.flag("tie_word_embeddings")?.unwrap_or(false),
        qkv_bias: architecture == Architecture::Qwen2,
        qk_norm: architecture == Architecture::Qwen3,
        bos: config.tokens("bos_token_id")?.first().copied(),
        eos,
        pad: config.tokens("pad_token_id")?.first().copied(),
        windows,
    };
    result.check(&config.path, str::to_owned)?;
    Ok(result)
}

fn architecture(config: &Json) -> Result<Architecture, WeightsError> {
    let class = config
        .get("architectures")
        .and_then(|list| list.get(0))
        .and_then(Value::as_str);
    let found = match class {
        Some(class) => class,
        None => config.required("model_type", config.text("model_type")?)?,
    };
    match found {
        "LlamaForCausalLM" | "llama" => Ok(Architecture::Llama),
        "MistralForCausalLM" | "mistral" => Ok(Architecture::Mistral),
        "Qwen2ForCausalLM" | "qwen2" => Ok(Architecture::Qwen2),
        "Qwen3ForCausalLM" | "qwen3" => Ok(Architecture::Qwen3),
        other => Err(WeightsError::Unsupported {
            path: config.path.clone(),
            what: "the architecture",
            found: other.to_owned(),
            supported: SUPPORTED,
        }),
    }
}

/// Refuses what would change the arithmetic: another activation, extra biases, a quantised
/// checkpoint.
fn refuse(config: &Json) -> Result<(), WeightsError> {
    let unsupported = |what, found: &str, supported| {
        Err(WeightsError::Unsupported {
            path: config.path.clone(),
            what,
            found: found.to_owned(),
            supported,
        })
    };
    if let Some(activation) = config.text("hidden_act")?
        && !matches!(activation, "silu" | "swish")
    {
        return unsupported("the activation", activation, "silu");
    }
    for key in ["attention_bias", "mlp_bias"] {
        if config.flag(key)? == Some(true) {
            return unsupported("the setting", &format!("{key}: true"), "false");
        }
    }
    if let Some(Value::Object(quantisation)) = config.get("quantization_config") {
        let method = quantisation.get("quant_method").and_then(Value::as_str);
        return unsupported(
            "the quantisation of a safetensors checkpoint",
            method.unwrap_or("quantization_config"),
            "F32, F16 or BF16 tensors, or a GGUF file",
        );
    }
    Ok(())
}

/// Returns every layer's window, said by `layer_types` where present, else by the family's older
/// keys; empty when no layer slides.
fn windows(
    config: &Json,
    architecture: Architecture,
    num_layers: usize,
) -> Result<Vec<Option<usize>>, WeightsError> {
    let Some(tokens) = config.size("sliding_window")?.filter(|&n| n > 0) else {
        return Ok(Vec::new());
    };
    let slides: Vec<bool> = if let Some(types) = config.get("layer_types") {
        let types = types
            .as_array()
            .filter(|list| list.len() == num_layers)
            .ok_or_else(|| {
                config.fail(
                    "layer_types",
                    format!("is not a list of {num_layers} entries"),
                )
            })?;
        let slides = types.iter().map(|kind| match kind.as_str() {
            Some("full_attention") => Ok(false),
            Some("sliding_attention") => Ok(true),
            _ => Err(WeightsError::Unsupported {
                path: config.path.clone(),
                what: "the layer type",
                found: kind.to_string(),
                supported: "full_attention or sliding_attention",
            }),
        });
        slides.collect::<Result<_, _>>()?
    } else {
        let first = match architecture {
            Architecture::Mistral => 0,
            // Layers from this one on slide; the default is that of transformers.
            Architecture::Qwen2 | Architecture::Qwen3
                if config.flag("use_sliding_window")? == Some(true) =>
            {
                config.size("max_window_layers")?.unwrap_or(28)
            }
            Architecture::Llama | Architecture::Qwen2 | Architecture::Qwen3 => num_layers,
        };
        (0..num_layers).map(|layer| layer >= first).collect()
    };
    if !slides.contains(&true) {
        return Ok(Vec::new());
    }
    let window = |slides: bool| slides.then_some(tokens);
    Ok(slides.into_iter().map(window).collect())
}

/// Reads `rope_parameters` (newer), or `rope_scaling` beside `rope_theta` (older).
fn rope(config: &Json, positions: usize) -> Result<Rope, WeightsError> {
    let (key, object) = match (config.get("rope_parameters"), config.get("rope_scaling")) {
        (Some(value), _) => ("rope_parameters", value),
        (None, Some(value)) => ("rope_scaling", value),
        (None, None) => ("rope_scaling", &Value::Null),
    };
    let rope = match object {
        Value::Null => config.inner(&Map::new()),
        Value::Object(object) => config.inner(object),
        other => return Err(config.fail(key, format!("is {other}, expected an object"))),
    };
    let theta = match rope.number("rope_theta")? {
        Some(theta) => Some(theta),
        None => config.number("rope_theta")?,
    };
    for holder in [config, &rope] {
        if holder
            .number("partial_rotary_factor")?
            .is_some_and(|share| share != 1.0)
        {
            return Err(holder.fail(
                "partial_rotary_factor",
                "is not 1, the only value supported",
            ));
        }
    }
    let kind = match rope.text("rope_type")? {
        Some(kind) => Some(kind),
        None => rope.text("type")?,
    };
    let number = |name: &str| rope.required(name, rope.number(name)?);
    let original = match rope.size("original_max_position_embeddings")? {
        Some(tokens) => Some(tokens),
        None => config.size("original_max_position_embeddings")?,
    };
    let scaling = match kind.unwrap_or("default") {
        "default" => RopeScaling::None,
        "linear" => RopeScaling::Linear {
            factor: number("factor")?,
        },
        "llama3" => RopeScaling::Llama3 {
            factor: number("factor")?,
            low_freq_factor: number("low_freq_factor")?,
            high_freq_factor: number("high_freq_factor")?,
            original_max_position: original.unwrap_or(positions),
        },
        "yarn" => {
            let original = original.unwrap_or(positions);
            let factor = match rope.number("factor")? {
                Some(factor) => factor,
                None => positions as f64 / original.max(1) as f64,
            };
            let scales = (rope.number("mscale")?, rope.number("mscale_all_dim")?);
            let attention_factor = match (rope.number("attention_factor")?, scales) {
                (Some(given), _) => given,
                (None, (Some(a), Some(b))) if a != 0.0 && b != 0.0 => {
                    yarn_attention_factor(factor, a) / yarn_attention_factor(factor, b)
                }
                _ => yarn_attention_factor(factor, 1.0),
            };
            RopeScaling::Yarn {
                factor,
                original_max_position: original,
                attention_factor,
                beta_fast: rope.number("beta_fast")?.unwrap_or(32.0),
                beta_slow: rope.number("beta_slow")?.unwrap_or(1.0),
                truncate: rope.flag("truncate")?.unwrap_or(true),
            }
        }
        other => {
            return Err(WeightsError::Unsupported {
                path: config.path.clone(),
                what: "the rotary embedding",
                found: other.to_owned(),
                supported: "default, linear, llama3 or yarn",
            });
        }
    };
    Ok(Rope {
        // The default of these four classes.
        theta: theta.unwrap_or(10000.0),
        scaling,
    })
}
