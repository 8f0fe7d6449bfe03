//! What a decoder needs to know about its own shape, read from `config.json` or from
//! GGUF metadata. Anything outside the supported family is refused by name; nothing is
//! guessed.

use std::fmt;
use std::path::Path;

use crate::{Rope, WeightsError};

mod json;
mod metadata;

pub(crate) use json::{Json, from_json};
pub(crate) use metadata::from_gguf;

/// The supported decoder families. They share one shape; differences are fields of
/// [`ModelConfig`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Architecture {
    /// Llama 2, 3 and everything built like it (SmolLM2, R1-Distill-Llama).
    Llama,
    /// Mistral and Ministral. In GGUF these are indistinguishable from [`Self::Llama`].
    Mistral,
    /// Qwen2 and Qwen2.5 (R1-Distill-Qwen): bias on q, k and v.
    Qwen2,
    /// Qwen3, dense: RMS normalisation of q and k per head.
    Qwen3,
}

impl Architecture {
    /// Returns the lower-case family name, as `model_type` in `config.json` spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Llama => "llama",
            Self::Mistral => "mistral",
            Self::Qwen2 => "qwen2",
            Self::Qwen3 => "qwen3",
        }
    }

    /// Returns `general.architecture` of a GGUF made from this family.
    pub fn gguf_name(self) -> &'static str {
        match self {
            Self::Llama | Self::Mistral => "llama",
            Self::Qwen2 => "qwen2",
            Self::Qwen3 => "qwen3",
        }
    }

    /// Returns whether GGUF files of this family store the rows of q and k interleaved.
    pub fn gguf_permutes_query_key(self) -> bool {
        matches!(self, Self::Llama | Self::Mistral)
    }
}

impl fmt::Display for Architecture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The shape of one base model.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelConfig {
    /// Decoder family.
    pub architecture: Architecture,
    /// Rows of the embedding, V.
    pub vocab_size: usize,
    /// Width of the residual stream, C.
    pub hidden_size: usize,
    /// Width of the feed-forward layer.
    pub intermediate_size: usize,
    /// Number of decoder layers.
    pub num_layers: usize,
    /// Query heads, H.
    pub num_heads: usize,
    /// Key and value heads; divides `num_heads`.
    pub num_kv_heads: usize,
    /// Width of one head, D; even, not always `hidden_size / num_heads`.
    pub head_dim: usize,
    /// Epsilon inside the root of RMS normalisation.
    pub rms_norm_eps: f32,
    /// Rotary embedding.
    pub rope: Rope,
    /// Longest supported sequence in tokens; a GGUF file that names a window, but not which layers
    /// slide, is exact up to that window only.
    pub max_position: usize,
    /// Whether the output head is the embedding.
    pub tie_embeddings: bool,
    /// Whether q, k and v have a bias.
    pub qkv_bias: bool,
    /// Whether q and k are RMS-normalised per head.
    pub qk_norm: bool,
    /// Beginning-of-sequence token, if any.
    pub bos: Option<u32>,
    /// End-of-sequence tokens; may be empty when the file names none.
    pub eos: Vec<u32>,
    /// Padding token, if any.
    pub pad: Option<u32>,
    /// Attention window of each layer in tokens, none for a layer that sees everything; empty when no
    /// layer slides.
    pub windows: Vec<Option<usize>>,
}

/// The families as an error message lists them.
const SUPPORTED: &str = "Llama, Mistral, Qwen2 or Qwen3 (dense)";

impl ModelConfig {
    /// Reads a `config.json` alone, without weights: the shape of a model that need not be there.
    ///
    /// # Errors
    /// When the file cannot be read, or is not the configuration of a supported model.
    pub fn from_file(path: &Path) -> Result<Self, WeightsError> {
        from_json(&Json::read(path)?, None)
    }

    /// Returns the name and shape (outermost first) of every tensor the model must have.
    pub fn tensors(&self) -> Vec<(String, Vec<usize>)> {
        let (hidden, inner) = (self.hidden_size, self.intermediate_size);
        let (queries, keys) = (
            self.num_heads * self.head_dim,
            self.num_kv_heads * self.head_dim,
        );
        let mut all = vec![
            (
                "model.embed_tokens.weight".to_owned(),
                vec![self.vocab_size, hidden],
            ),
            ("model.norm.weight".to_owned(), vec![hidden]),
        ];
        if !self.tie_embeddings {
            all.push(("lm_head.weight".to_owned(), vec![self.vocab_size, hidden]));
        }
        for layer in 0..self.num_layers {
            let mut push = |name: &str, shape: Vec<usize>| {
                all.push((format!("model.layers.{layer}.{name}"), shape));
            };
            push("input_layernorm.weight", vec![hidden]);
            push("self_attn.q_proj.weight", vec![queries, hidden]);
            push("self_attn.k_proj.weight", vec![keys, hidden]);
            push("self_attn.v_proj.weight", vec![keys, hidden]);
            push("self_attn.o_proj.weight", vec![hidden, queries]);
            push("post_attention_layernorm.weight", vec![hidden]);
            push("mlp.gate_proj.weight", vec![inner, hidden]);
            push("mlp.up_proj.weight", vec![inner, hidden]);
            push("mlp.down_proj.weight", vec![hidden, inner]);
            if self.qkv_bias {
                push("self_attn.q_proj.bias", vec![queries]);
                push("self_attn.k_proj.bias", vec![keys]);
                push("self_attn.v_proj.bias", vec![keys]);
            }
            if self.qk_norm {
                push("self_attn.q_norm.weight", vec![self.head_dim]);
                push("self_attn.k_norm.weight", vec![self.head_dim]);
            }
        }
        all
    }

    /// Checks what the decoder's arithmetic relies on, naming keys as `key` spells them.
    fn check(&self, path: &Path, key: impl Fn(&str) -> String) -> Result<(), WeightsError> {
        let fail = |name: &str, message: String| {
            Err(WeightsError::Key {
                path: path.to_owned(),
                key: key(name),
                message,
            })
        };
        // Generous: 64 times the largest model of these families. Keeps products of two or
        // three of them far from overflow.
        let limits = [
            ("vocab_size", self.vocab_size, 1 << 24),
            ("hidden_size", self.hidden_size, 1 << 20),
            ("intermediate_size", self.intermediate_size, 1 << 22),
            ("num_hidden_layers", self.num_layers, 1 << 14),
            ("num_attention_heads", self.num_heads, 1 << 14),
            ("num_key_value_heads", self.num_kv_heads, 1 << 14),
            ("head_dim", self.head_dim, 1 << 14),
            ("max_position_embeddings", self.max_position, 1 << 30),
        ];
        for (name, value, most) in limits {
            if value == 0 || value > most {
                return fail(name, format!("is {value}, expected 1 to {most}"));
            }
        }
        if !self.num_heads.is_multiple_of(self.num_kv_heads) {
            return fail(
                "num_key_value_heads",
                format!(
                    "is {}, expected a divisor of the {} query heads",
                    self.num_kv_heads, self.num_heads
                ),
            );
        }
        if !self.head_dim.is_multiple_of(2) {
            return fail(
                "head_dim",
                format!("is {}, expected an even number", self.head_dim),
            );
        }
        if !(self.rms_norm_eps > 0.0 && self.rms_norm_eps < 1.0) {
            return fail(
                "rms_norm_eps",
                format!("is {}, expected a small positive number", self.rms_norm_eps),
            );
        }
        if !(self.rope.theta > 1.0 && self.rope.theta.is_finite()) {
            return fail(
                "rope_theta",
                format!("is {}, expected a number above 1", self.rope.theta),
            );
        }
        if let Some(message) = self.rope.scaling.fault(self.head_dim) {
            return fail("rope_scaling", message);
        }
        Ok(())
    }
}
