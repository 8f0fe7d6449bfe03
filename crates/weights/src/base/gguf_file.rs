//! A base model in a GGUF file.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use super::{BaseModel, Store, Stored, Text};
use crate::gguf::{Gguf, Value};
use crate::{ModelConfig, WeightsError, config};

pub(super) fn open(path: &Path) -> Result<BaseModel, WeightsError> {
    let file = Gguf::open(path)?;
    let config = config::from_gguf(&file)?;
    let mut tensors = BTreeMap::new();
    for tensor in &file.header().tensors {
        // Part of the rotary embedding's configuration.
        if tensor.name == "rope_freqs.weight" {
            continue;
        }
        let name = hf_name(&tensor.name).unwrap_or_else(|| tensor.name.clone());
        if tensor.shape.is_empty() {
            return Err(WeightsError::Tensor {
                path: path.to_owned(),
                tensor: tensor.name.clone(),
                message: "has no dimension".to_owned(),
            });
        }
        let stored = Stored {
            shape: tensor.shape.clone(),
            tensor_type: tensor.tensor_type,
            file: 0,
            range: tensor.range.clone(),
            interleaved: is_interleaved(&config, &name).then_some(config.head_dim),
        };
        tensors.insert(name, stored);
    }
    let text = text(&file, &config)?;
    Ok(BaseModel {
        path: path.to_owned(),
        config,
        store: Arc::new(Store::Gguf(file)),
        tensors,
        text,
        sha256: OnceLock::new(),
    })
}

fn is_interleaved(config: &ModelConfig, hf_name: &str) -> bool {
    config.architecture.gguf_permutes_query_key()
        && (hf_name.contains(".self_attn.q_proj.") || hf_name.contains(".self_attn.k_proj."))
}

/// Returns the Hugging Face name of a GGUF tensor, or `None` for one that has none.
pub(crate) fn hf_name(gguf: &str) -> Option<String> {
    let whole = match gguf {
        "token_embd.weight" => "model.embed_tokens.weight",
        "output_norm.weight" => "model.norm.weight",
        "output.weight" => "lm_head.weight",
        _ => "",
    };
    if !whole.is_empty() {
        return Some(whole.to_owned());
    }
    let (layer, rest) = gguf.strip_prefix("blk.")?.split_once('.')?;
    let layer: usize = layer.parse().ok()?;
    let (part, kind) = rest.rsplit_once('.')?;
    if !matches!(kind, "weight" | "bias") {
        return None;
    }
    let (_, module) = LAYER_PARTS.iter().find(|(name, _)| *name == part)?;
    Some(format!("model.layers.{layer}.{module}.{kind}"))
}

/// Parts of a layer: their GGUF name and their Hugging Face module.
pub(crate) const LAYER_PARTS: [(&str, &str); 11] = [
    ("attn_norm", "input_layernorm"),
    ("attn_q", "self_attn.q_proj"),
    ("attn_k", "self_attn.k_proj"),
    ("attn_v", "self_attn.v_proj"),
    ("attn_output", "self_attn.o_proj"),
    ("attn_q_norm", "self_attn.q_norm"),
    ("attn_k_norm", "self_attn.k_norm"),
    ("ffn_norm", "post_attention_layernorm"),
    ("ffn_gate", "mlp.gate_proj"),
    ("ffn_up", "mlp.up_proj"),
    ("ffn_down", "mlp.down_proj"),
];

fn text(file: &Gguf, config: &ModelConfig) -> Result<Text, WeightsError> {
    let fail = |key: &str, message: String| WeightsError::Key {
        path: file.path().to_owned(),
        key: key.to_owned(),
        message,
    };
    let vocabulary = file
        .get("tokenizer.ggml.tokens")
        .and_then(Value::as_strings)
        .unwrap_or(&[]);
    if vocabulary.len() > config.vocab_size {
        return Err(fail(
            "tokenizer.ggml.tokens",
            format!(
                "has {} entries, expected at most the {} rows of the embedding",
                vocabulary.len(),
                config.vocab_size
            ),
        ));
    }
    let spelling = |key: &str, id: Option<u32>| match id {
        None => Ok(String::new()),
        Some(id) => vocabulary.get(id as usize).cloned().ok_or_else(|| {
            fail(
                key,
                format!("is {id}, past the {} tokens", vocabulary.len()),
            )
        }),
    };
    let chat_template = match file.get("tokenizer.chat_template") {
        None => None,
        Some(Value::String(source)) => Some(source.clone()),
        Some(other) => {
            return Err(fail(
                "tokenizer.chat_template",
                format!("has the type {}, expected string", other.type_name()),
            ));
        }
    };
    Ok(Text {
        bos_token: spelling("tokenizer.ggml.bos_token_id", config.bos)?,
        eos_token: spelling("tokenizer.ggml.eos_token_id", config.eos.first().copied())?,
        // Where the file is silent llama.cpp adds none for the byte-level BPE of most
        // families, but adds one for Llama 3 and Tekken.
        add_bos: match file.get("tokenizer.ggml.add_bos_token") {
            Some(value) => value.as_bool().unwrap_or(false),
            None => file
                .get("tokenizer.ggml.pre")
                .and_then(Value::as_str)
                .is_some_and(|pre| matches!(pre, "llama-bpe" | "llama-v3" | "llama3" | "tekken")),
        },
        chat_template,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_layers_and_of_the_rest() {
        let name = |gguf: &str| hf_name(gguf);
        assert_eq!(
            name("blk.12.attn_q.bias").unwrap(),
            "model.layers.12.self_attn.q_proj.bias"
        );
        assert_eq!(
            name("blk.0.ffn_norm.weight").unwrap(),
            "model.layers.0.post_attention_layernorm.weight"
        );
        assert_eq!(name("output.weight").unwrap(), "lm_head.weight");
        for unknown in [
            "blk.x.attn_q.weight",
            "blk.0.attn_q",
            "blk.0.ffn_gate_exps.weight",
            "",
        ] {
            assert_eq!(name(unknown), None, "{unknown}");
        }
    }
}
