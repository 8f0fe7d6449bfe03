//! A `tokenizer.json` built from a GGUF's vocabulary.
//!
//! Only byte-level BPE (`tokenizer.ggml.model` = `gpt2`) is covered, with pre-tokenizers whose
//! definition is known exactly. llama.cpp identifies them by name (`src/llama-vocab.cpp`); the
//! patterns are those of the original tokenizers.

use std::collections::BTreeSet;

use serde_json::{Map, Value as Json, json};

use crate::WeightsError;
use crate::gguf::{Gguf, Value};

/// The pre-tokenizers as an error message lists them.
const SUPPORTED_PRE: &str =
    "smollm, llama-bpe, qwen2, deepseek-r1-qwen, tekken, gpt-2, default or deepseek-coder";

/// GPT-2's pattern as llama.cpp writes it; unmatched white space stays a piece of its own.
const GPT2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)";
const LLAMA3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const QWEN2: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const TEKKEN: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// Returns a `tokenizer.json` document equivalent to the file's tokenizer.
///
/// # Errors
/// [`WeightsError::Unsupported`] for another kind of tokenizer or pre-tokenizer,
/// [`WeightsError::Key`] when a list is missing, of another length, or repeats a token.
pub(crate) fn tokenizer_json(file: &Gguf) -> Result<String, WeightsError> {
    let unsupported = |what, found: &str, supported| WeightsError::Unsupported {
        path: file.path().to_owned(),
        what,
        found: found.to_owned(),
        supported,
    };
    let model = text(file, "tokenizer.ggml.model")?
        .ok_or_else(|| fail(file, "tokenizer.ggml.model", "is missing"))?;
    if model != "gpt2" {
        return Err(unsupported("the tokenizer", model, "gpt2 (byte-level BPE)"));
    }
    // A file without the name predates it; llama.cpp falls back to its default too.
    let pre = text(file, "tokenizer.ggml.pre")?.unwrap_or("default");
    let pre =
        pre_tokenizer(pre).ok_or_else(|| unsupported("the pre-tokenizer", pre, SUPPORTED_PRE))?;
    let tokens = strings(file, "tokenizer.ggml.tokens")?;
    let merges = strings(file, "tokenizer.ggml.merges")?;
    let types = file
        .get("tokenizer.ggml.token_type")
        .and_then(Value::as_i32s)
        .ok_or_else(|| {
            let message = "is not a list of 32-bit integers";
            fail(file, "tokenizer.ggml.token_type", message)
        })?;
    if types.len() != tokens.len() {
        let message = format!("has {} entries, expected {}", types.len(), tokens.len());
        return Err(fail(file, "tokenizer.ggml.token_type", message));
    }

    let mut seen = BTreeSet::new();
    if let Some(repeated) = tokens.iter().find(|token| !seen.insert(token.as_str())) {
        let message = format!("holds the token {repeated:?} twice");
        return Err(fail(file, "tokenizer.ggml.tokens", message));
    }
    let ids = tokens.iter().zip(0u32..);
    let vocabulary: Map<String, Json> = ids
        .clone()
        .map(|(token, id)| (token.clone(), id.into()))
        .collect();
    let added: Vec<Json> = ids
        .zip(&types)
        .filter_map(|((token, id), kind)| {
            // ggml's token types: 2 unknown and 3 control are special, 4 is user-defined.
            let special = match kind {
                2 | 3 => true,
                4 => false,
                _ => return None,
            };
            Some(json!({
                "id": id, "content": token, "single_word": false, "lstrip": false,
                "rstrip": false, "normalized": false, "special": special,
            }))
        })
        .collect();
    let merges = merges
        .iter()
        .map(|merge| split_merge(merge))
        .collect::<Option<Vec<Json>>>()
        .ok_or_else(|| {
            let message = "has an entry that is not two tokens with a space between";
            fail(file, "tokenizer.ggml.merges", message)
        })?;
    let document = json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": added,
        "normalizer": pre.normalizer,
        "pre_tokenizer": pre.steps,
        "post_processor": null,
        "decoder": {
            "type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true,
        },
        "model": {
            "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false,
            "ignore_merges": pre.ignore_merges, "vocab": vocabulary, "merges": merges,
        },
    });
    Ok(document.to_string())
}

struct Pre {
    normalizer: Json,
    steps: Json,
    /// Whether a piece that is itself a token is taken whole (`ignore_merges`).
    ignore_merges: bool,
}

/// Returns the pre-tokenizer steps that llama.cpp's name stands for, as `tokenizer.json` writes
/// them, and whether a piece that is itself a token is taken whole.
pub(crate) fn pre_tokenizer_steps(name: &str) -> Option<(Json, bool)> {
    let pre = pre_tokenizer(name)?;
    Some((pre.steps, pre.ignore_merges))
}

fn pre_tokenizer(name: &str) -> Option<Pre> {
    let split = |pattern: &str| {
        json!({
            "type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated",
            "invert": false,
        })
    };
    let digits = || json!({"type": "Digits", "individual_digits": true});
    let bytes = |use_regex: bool| {
        json!({
            "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true,
            "use_regex": use_regex,
        })
    };
    let (normalizer, steps, ignore_merges) = match name {
        "smollm" => (Json::Null, vec![digits(), bytes(true)], false),
        "gpt-2" => (Json::Null, vec![bytes(true)], false),
        "llama-bpe" | "llama3" | "llama-v3" => {
            (Json::Null, vec![split(LLAMA3), bytes(false)], true)
        }
        "qwen2" | "deepseek-r1-qwen" => (
            json!({"type": "NFC"}),
            vec![split(QWEN2), bytes(false)],
            false,
        ),
        "tekken" => (Json::Null, vec![split(TEKKEN), bytes(false)], true),
        "deepseek-coder" => (
            Json::Null,
            vec![
                split(r"[\r\n]"),
                split(r"\s?\p{L}+"),
                split(r"\s?\p{P}+"),
                split("[一-龥ࠀ-一가-\u{d7ff}]+"),
                digits(),
                bytes(false),
            ],
            false,
        ),
        "default" => (
            Json::Null,
            vec![
                split(r"[\p{P}\$\+<=>\^~\|]+"),
                split(GPT2),
                split(r"\p{N}+"),
                split("[0-9][0-9][0-9]"),
                bytes(false),
            ],
            false,
        ),
        _ => return None,
    };
    Some(Pre {
        normalizer,
        steps: json!({"type": "Sequence", "pretokenizers": steps}),
        ignore_merges,
    })
}

/// Splits `left right` at its first space; a token may itself begin with one.
fn split_merge(merge: &str) -> Option<Json> {
    let first = merge.chars().next()?.len_utf8();
    let space = first + merge.get(first..)?.find(' ')?;
    let (left, right) = (&merge[..space], &merge[space + 1..]);
    (!right.is_empty()).then(|| json!([left, right]))
}

fn text<'a>(file: &'a Gguf, key: &str) -> Result<Option<&'a str>, WeightsError> {
    match file.get(key) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(other) => {
            let message = format!("has the type {}, expected string", other.type_name());
            Err(fail(file, key, message))
        }
    }
}

fn strings<'a>(file: &'a Gguf, key: &str) -> Result<&'a [String], WeightsError> {
    file.get(key)
        .and_then(Value::as_strings)
        .ok_or_else(|| fail(file, key, "is not a list of texts"))
}

fn fail(file: &Gguf, key: &str, message: impl Into<String>) -> WeightsError {
    WeightsError::Key {
        path: file.path().to_owned(),
        key: key.to_owned(),
        message: message.into(),
    }
}
