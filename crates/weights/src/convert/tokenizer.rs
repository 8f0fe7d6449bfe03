//! A directory's `tokenizer.json` as GGUF metadata: the reverse of `vocabulary.rs`.
//!
//! Byte-level BPE only. llama.cpp has its pre-tokenizers built in and knows them by name; a
//! tokenizer whose steps are none of those is refused, never given a similar name.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};

use super::Metadata;
use crate::gguf::{Array, Value};
use crate::vocabulary::pre_tokenizer_steps;
use crate::{BaseModel, WeightsError};

/// The names tried; those with equal steps behave alike.
const NAMES: [&str; 7] = [
    "smollm",
    "gpt-2",
    "llama-bpe",
    "qwen2",
    "tekken",
    "deepseek-coder",
    "default",
];
/// ggml's token types.
const NORMAL: i32 = 1;
const CONTROL: i32 = 3;
const USER_DEFINED: i32 = 4;
const UNUSED: i32 = 5;

/// Returns the keys `tokenizer.*`.
pub(super) fn metadata(
    base: &BaseModel,
    notes: &mut Vec<String>,
) -> Result<Metadata, WeightsError> {
    let path = base.path().join("tokenizer.json");
    let fail = |message: String| WeightsError::Json {
        path: path.clone(),
        message,
    };
    let document: Json = serde_json::from_str(&base.tokenizer_json()?)
        .map_err(|error| fail(format!("it is not valid JSON: {error}")))?;
    let unsupported = |what, found: String, supported| WeightsError::Unsupported {
        path: path.clone(),
        what,
        found,
        supported,
    };
    let model = &document["model"];
    let byte_fallback = model["byte_fallback"] == json!(true);
    if model["type"] != json!("BPE") || byte_fallback {
        let found = if byte_fallback {
            "BPE with byte fallback (SentencePiece)".to_owned()
        } else {
            model["type"].to_string()
        };
        return Err(unsupported(
            "writing the tokenizer",
            found,
            "byte-level BPE, or a base model that is a GGUF file",
        ));
    }
    let normalizer = &document["normalizer"];
    let plain = normalizer.is_null()
        || normalizer["type"] == json!("NFC")
        || normalizer["normalizers"] == json!([]);
    if !plain {
        let found = normalizer["type"].to_string();
        return Err(unsupported("the normalizer", found, "none or NFC"));
    }
    let bos = base.bos_token();
    let pre = pre_name(&document["pre_tokenizer"], bos).ok_or_else(|| {
        unsupported(
            "the pre-tokenizer",
            document["pre_tokenizer"].to_string(),
            "one of smollm, gpt-2, llama-bpe, qwen2, tekken, deepseek-coder or default of llama.cpp, \
             or a base model that is a GGUF file",
        )
    })?;
    let whole_pieces = pre_tokenizer_steps(pre).is_some_and(|(_, whole)| whole);
    if whole_pieces != (model["ignore_merges"] == json!(true)) {
        notes.push(format!(
            "llama.cpp's pre-tokenizer `{pre}` {} a piece that is itself a token whole, this tokenizer \
             does otherwise: rare words may get other tokens",
            if whole_pieces { "takes" } else { "does not take" }
        ));
    }
    let (tokens, types) = tokens(&document, base.config().vocab_size).map_err(&fail)?;
    let merges = merges(model).map_err(&fail)?;
    if merges.is_empty() {
        let found = "an empty list of merges".to_owned();
        let supported =
            "at least one merge, as llama.cpp does, or a base model that is a GGUF file";
        return Err(unsupported("writing the tokenizer", found, supported));
    }
    let mut metadata = Metadata::new();
    let mut set = |key: &str, value: Value| {
        metadata.insert(format!("tokenizer.{key}"), value);
    };
    for (key, id) in ends(base, &tokens) {
        set(key, Value::U32(id));
    }
    set("ggml.model", Value::from("gpt2"));
    set("ggml.pre", Value::from(pre));
    set("ggml.tokens", Value::Array(Array::String(tokens)));
    set("ggml.token_type", Value::Array(Array::I32(types)));
    set("ggml.merges", Value::Array(Array::String(merges)));
    set("ggml.add_bos_token", Value::Bool(base.add_bos()));
    if let Ok(template) = base.chat_template() {
        set("chat_template", Value::from(template));
    }
    Ok(metadata)
}

/// Returns llama.cpp's name of the pre-tokenizer.
fn pre_name(steps: &Json, bos: &str) -> Option<&'static str> {
    let wanted = simplified(steps)?;
    let name = NAMES.into_iter().find(|name| {
        let known = pre_tokenizer_steps(name).and_then(|(steps, _)| simplified(&steps));
        known.as_ref() == Some(&wanted)
    })?;
    // The same steps under the name llama.cpp's converter gives to DeepSeek's distillations.
    let distilled = name == "qwen2" && bos.contains("begin▁of▁sentence");
    Some(if distilled { "deepseek-r1-qwen" } else { name })
}

/// Returns the steps without what has no influence on the pieces; `None` for unknown ones.
fn simplified(steps: &Json) -> Option<Vec<Json>> {
    let list = match steps["type"].as_str()? {
        "Sequence" => steps["pretokenizers"].as_array()?.clone(),
        _ => vec![steps.clone()],
    };
    list.iter()
        .map(|step| match step["type"].as_str()? {
            "Split" if step["behavior"] == json!("Isolated") => {
                let inverted = step["invert"] == json!(true);
                let regex = step["pattern"]["Regex"].as_str()?;
                (!inverted).then(|| json!(["split", regex]))
            }
            "Digits" => Some(json!(["digits", step["individual_digits"] == json!(true)])),
            "ByteLevel" if step["add_prefix_space"] != json!(true) => {
                Some(json!(["bytes", step["use_regex"] != json!(false)]))
            }
            _ => None,
        })
        .collect()
}

/// Returns every token's spelling and type, ids without one filled up.
fn tokens(document: &Json, rows: usize) -> Result<(Vec<String>, Vec<i32>), String> {
    let vocabulary = document["model"]["vocab"]
        .as_object()
        .ok_or("its `model.vocab` is not an object")?;
    let mut by_id: BTreeMap<usize, (&str, i32)> = BTreeMap::new();
    let place = |spelling: &str, id: &Json| {
        let found = id.as_u64().and_then(|id| usize::try_from(id).ok());
        found.filter(|id| *id < rows).ok_or_else(|| {
            format!("the token {spelling:?} has the id {id}, expected one below the {rows} rows of the embedding")
        })
    };
    for (spelling, id) in vocabulary {
        let id = place(spelling, id)?;
        if let Some((other, _)) = by_id.insert(id, (spelling, NORMAL)) {
            return Err(format!(
                "the tokens {other:?} and {spelling:?} have the id {id}"
            ));
        }
    }
    for added in document["added_tokens"].as_array().into_iter().flatten() {
        let spelling = added["content"].as_str().unwrap_or_default();
        let special = added["special"] == json!(true);
        let kind = if special { CONTROL } else { USER_DEFINED };
        by_id.insert(place(spelling, &added["id"])?, (spelling, kind));
    }
    let all = (0..rows).map(|id| match by_id.get(&id) {
        Some((spelling, kind)) => ((*spelling).to_owned(), *kind),
        None => (format!("[PAD{id}]"), UNUSED),
    });
    Ok(all.unzip())
}

/// Returns the merges, two tokens with a space between.
fn merges(model: &Json) -> Result<Vec<String>, String> {
    let list = model["merges"]
        .as_array()
        .ok_or("its `model.merges` is not a list")?;
    list.iter()
        .map(|merge| match merge {
            Json::String(both) => Ok(both.clone()),
            Json::Array(parts) => match (parts.first(), parts.get(1)) {
                (Some(Json::String(left)), Some(Json::String(right))) => {
                    Ok(format!("{left} {right}"))
                }
                _ => Err(format!("the merge {merge} is not a pair of tokens")),
            },
            _ => Err(format!("the merge {merge} is not a pair of tokens")),
        })
        .collect()
}

/// Returns the ids of the tokens that begin, end and pad a text. Of several ends the tokenizer's
/// own comes first; llama.cpp has names for three.
fn ends(base: &BaseModel, tokens: &[String]) -> Vec<(&'static str, u32)> {
    let config = base.config();
    let id = |text: &str| {
        let at = tokens.iter().position(|token| token == text);
        at.filter(|_| !text.is_empty())
            .and_then(|at| u32::try_from(at).ok())
    };
    let mut ends: Vec<u32> = id(base.eos_token()).into_iter().collect();
    for end in &config.eos {
        if !ends.contains(end) {
            ends.push(*end);
        }
    }
    let keys = [
        "ggml.eos_token_id",
        "ggml.eot_token_id",
        "ggml.eom_token_id",
    ];
    let mut all: Vec<(&str, u32)> = keys.into_iter().zip(ends).collect();
    let bos = id(base.bos_token()).or(config.bos);
    all.extend(bos.map(|id| ("ggml.bos_token_id", id)));
    all.extend(config.pad.map(|id| ("ggml.padding_token_id", id)));
    all
}
