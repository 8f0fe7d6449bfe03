//! A tiny random Llama as a safetensors directory with its own byte-level
//! tokenizer and ChatML template: everything a real base model has, in
//! milliseconds.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use safetensors::tensor::{Dtype, TensorView};
use serde_json::{Map, Value, json};
use weights::gguf::{Array, Tensor, TensorType, Value as Meta};

const HIDDEN: usize = 32;
const INTERMEDIATE: usize = 64;
const LAYERS: usize = 2;
const HEADS: usize = 4;
const KV_HEADS: usize = 2;
const SPECIAL: [&str; 3] = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"];
const SEED: u64 = 0x2545_F491_4F6C_DD1D;
const TEMPLATE: &str = "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";

/// Writes the model into `folder`, which must exist.
pub(crate) fn write(folder: &Path) {
    write_json(folder, "config.json", &config());
    write_json(folder, "tokenizer.json", &tokenizer());
    write_json(folder, "tokenizer_config.json", &tokenizer_config(true));
    fs::write(folder.join("model.safetensors"), weights(vocabulary())).unwrap();
}

/// Writes the model without its chat template.
pub(crate) fn write_without_template(folder: &Path) {
    write(folder);
    write_json(folder, "tokenizer_config.json", &tokenizer_config(false));
}

/// Gives the tokenizer of a model that [`write`] wrote the one merge that llama.cpp wants, and the
/// model a token for it.
pub(crate) fn give_a_merge(folder: &Path) {
    let mut tokenizer = tokenizer();
    tokenizer["model"]["vocab"]["th"] = vocabulary().into();
    tokenizer["model"]["merges"] = json!([["t", "h"]]);
    write_json(folder, "tokenizer.json", &tokenizer);
    let mut config = config();
    config["vocab_size"] = (vocabulary() + 1).into();
    write_json(folder, "config.json", &config);
    fs::write(folder.join("model.safetensors"), weights(vocabulary() + 1)).unwrap();
}

/// Widths of a model as a GGUF file: residual stream and feed-forward.
pub(crate) type Widths = (usize, usize);

/// Rows of whole blocks of K-quants.
pub(crate) const WIDE: Widths = (256, 512);

/// Writes a model of the same size as a GGUF file, as llama.cpp loads it.
pub(crate) fn write_gguf(path: &Path) {
    write_gguf_of(path, (HIDDEN, INTERMEDIATE));
}

/// Writes a model of other widths as a GGUF file.
pub(crate) fn write_gguf_of(path: &Path, (hidden, intermediate): Widths) {
    let number = |value: usize| Meta::U32(value as u32);
    let text = |value: &str| Meta::String(value.to_owned());
    let mut tokens: Vec<String> = SPECIAL.iter().map(|name| (*name).to_owned()).collect();
    tokens.extend(byte_letters().into_iter().map(String::from));
    // llama.cpp wants at least one merge.
    tokens.push("th".to_owned());
    let types: Vec<i32> = (0..tokens.len())
        .map(|id| if id < SPECIAL.len() { 3 } else { 1 })
        .collect();
    let count = tokens.len();
    let metadata = [
        ("general.architecture", text("llama")),
        ("general.name", text("tiny")),
        ("llama.context_length", number(4096)),
        ("llama.embedding_length", number(hidden)),
        ("llama.block_count", number(LAYERS)),
        ("llama.feed_forward_length", number(intermediate)),
        ("llama.attention.head_count", number(HEADS)),
        ("llama.attention.head_count_kv", number(KV_HEADS)),
        ("llama.attention.layer_norm_rms_epsilon", Meta::F32(1e-5)),
        ("llama.rope.freq_base", Meta::F32(10000.0)),
        ("llama.rope.dimension_count", number(hidden / HEADS)),
        ("llama.vocab_size", number(count)),
        ("tokenizer.ggml.model", text("gpt2")),
        ("tokenizer.ggml.pre", text("smollm")),
        ("tokenizer.ggml.tokens", Meta::Array(Array::String(tokens))),
        ("tokenizer.ggml.token_type", Meta::Array(Array::I32(types))),
        (
            "tokenizer.ggml.merges",
            Meta::Array(Array::String(vec!["t h".to_owned()])),
        ),
        ("tokenizer.ggml.bos_token_id", number(1)),
        ("tokenizer.ggml.eos_token_id", number(2)),
        ("tokenizer.ggml.add_bos_token", Meta::Bool(false)),
        ("tokenizer.chat_template", text(TEMPLATE)),
    ];
    let head = hidden / HEADS;
    let mut shapes = vec![
        ("token_embd".to_owned(), vec![count, hidden]),
        ("output_norm".to_owned(), vec![hidden]),
    ];
    for layer in 0..LAYERS {
        let mut add = |name: &str, shape: Vec<usize>| {
            shapes.push((format!("blk.{layer}.{name}"), shape));
        };
        add("attn_norm", vec![hidden]);
        add("ffn_norm", vec![hidden]);
        add("attn_q", vec![HEADS * head, hidden]);
        add("attn_k", vec![KV_HEADS * head, hidden]);
        add("attn_v", vec![KV_HEADS * head, hidden]);
        add("attn_output", vec![hidden, HEADS * head]);
        add("ffn_gate", vec![intermediate, hidden]);
        add("ffn_up", vec![intermediate, hidden]);
        add("ffn_down", vec![hidden, intermediate]);
    }
    let mut state = SEED;
    let tensors: Vec<Tensor<'_>> = shapes
        .into_iter()
        .map(|(name, shape)| {
            let mut bytes = random(&shape, &mut state);
            if name == "token_embd" && hidden != HIDDEN {
                silence_high_bytes(&mut bytes, hidden);
            }
            Tensor {
                name: format!("{name}.weight"),
                tensor_type: TensorType::F32,
                bytes: bytes.into(),
                shape,
            }
        })
        .collect();
    let metadata = metadata
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value))
        .collect();
    weights::gguf::write(path, &metadata, &tensors).unwrap();
}

/// Keeps a random model from writing halves of characters, which llama.cpp does not tell one by
/// one: the tokens of bytes from 128 on get embeddings of zeros.
fn silence_high_bytes(embedding: &mut [u8], hidden: usize) {
    let row = hidden * size_of::<f32>();
    let first = SPECIAL.len() + 128;
    embedding[first * row..(SPECIAL.len() + 256) * row].fill(0);
}

fn write_json(folder: &Path, name: &str, value: &Value) {
    fs::write(folder.join(name), serde_json::to_vec_pretty(value).unwrap()).unwrap();
}

fn vocabulary() -> usize {
    256 + SPECIAL.len()
}

fn config() -> Value {
    json!({
        "architectures": ["LlamaForCausalLM"], "model_type": "llama",
        "vocab_size": vocabulary(), "hidden_size": HIDDEN, "intermediate_size": INTERMEDIATE,
        "num_hidden_layers": LAYERS, "num_attention_heads": HEADS, "num_key_value_heads": KV_HEADS,
        "hidden_act": "silu", "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
        "max_position_embeddings": 4096, "tie_word_embeddings": true,
        "attention_bias": false, "mlp_bias": false,
        "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 2, "torch_dtype": "float32"
    })
}

fn tokenizer_config(with_template: bool) -> Value {
    let mut value = json!({
        "tokenizer_class": "GPT2Tokenizer",
        "bos_token": SPECIAL[1], "eos_token": SPECIAL[2], "pad_token": SPECIAL[2],
        "add_bos_token": false, "model_max_length": 4096
    });
    if with_template {
        value["chat_template"] = TEMPLATE.into();
    }
    value
}

fn tokenizer() -> Value {
    let mut vocab = Map::new();
    for (id, special) in SPECIAL.iter().enumerate() {
        vocab.insert((*special).to_owned(), id.into());
    }
    for (index, letter) in byte_letters().into_iter().enumerate() {
        vocab.insert(letter.to_string(), (SPECIAL.len() + index).into());
    }
    let added: Vec<Value> = SPECIAL
        .iter()
        .enumerate()
        .map(|(id, content)| {
            json!({"id": id, "content": content, "single_word": false, "lstrip": false,
                   "rstrip": false, "normalized": false, "special": true})
        })
        .collect();
    let level = json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true});
    json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": added,
        "normalizer": null, "pre_tokenizer": level, "post_processor": null, "decoder": level,
        "model": {"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
                  "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false,
                  "ignore_merges": false, "vocab": vocab, "merges": []}
    })
}

/// GPT-2's printable letter for each byte.
fn byte_letters() -> Vec<char> {
    let printable = |byte: u32| matches!(byte, 33..=126 | 161..=172 | 174..=255);
    let mut spare = 256;
    (0..256)
        .map(|byte| {
            let code = if printable(byte) {
                byte
            } else {
                spare += 1;
                spare - 1
            };
            char::from_u32(code).unwrap()
        })
        .collect()
}

fn weights(vocabulary: usize) -> Vec<u8> {
    let head = HIDDEN / HEADS;
    let mut shapes: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    shapes.insert("model.embed_tokens.weight".into(), vec![vocabulary, HIDDEN]);
    shapes.insert("model.norm.weight".into(), vec![HIDDEN]);
    for layer in 0..LAYERS {
        let mut add = |name: &str, shape: Vec<usize>| {
            shapes.insert(format!("model.layers.{layer}.{name}.weight"), shape);
        };
        add("input_layernorm", vec![HIDDEN]);
        add("post_attention_layernorm", vec![HIDDEN]);
        add("self_attn.q_proj", vec![HEADS * head, HIDDEN]);
        add("self_attn.k_proj", vec![KV_HEADS * head, HIDDEN]);
        add("self_attn.v_proj", vec![KV_HEADS * head, HIDDEN]);
        add("self_attn.o_proj", vec![HIDDEN, HEADS * head]);
        add("mlp.gate_proj", vec![INTERMEDIATE, HIDDEN]);
        add("mlp.up_proj", vec![INTERMEDIATE, HIDDEN]);
        add("mlp.down_proj", vec![HIDDEN, INTERMEDIATE]);
    }
    let mut state = SEED;
    let data: Vec<(String, Vec<usize>, Vec<u8>)> = shapes
        .into_iter()
        .map(|(name, shape)| {
            let bytes = random(&shape, &mut state);
            (name, shape, bytes)
        })
        .collect();
    let views = data.iter().map(|(name, shape, bytes)| {
        (
            name.as_str(),
            TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap(),
        )
    });
    safetensors::serialize(views, None).unwrap()
}

/// Small numbers for a matrix, about one for a norm.
fn random(shape: &[usize], state: &mut u64) -> Vec<u8> {
    (0..shape.iter().product())
        .flat_map(|_| {
            let noise = uniform(state) * 0.2;
            let value: f32 = if shape.len() == 1 { 1.0 + noise } else { noise };
            value.to_le_bytes()
        })
        .collect()
}

/// Xorshift64*, in -1..1: the test wants any fixed numbers, not good ones.
fn uniform(state: &mut u64) -> f32 {
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    let bits = state.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 40;
    bits as f32 / (1_u64 << 23) as f32 - 1.0
}
