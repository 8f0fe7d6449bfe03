//! A random model as a directory, of any shape, with a byte-level tokenizer.

use std::path::Path;

use safetensors::tensor::{Dtype, TensorView};
use serde_json::{Map, Value as Json, json};

/// Sizes of a model.
pub(crate) struct Shape {
    pub(crate) hidden: usize,
    pub(crate) inner: usize,
    pub(crate) layers: usize,
    pub(crate) heads: usize,
    pub(crate) kv_heads: usize,
}

impl Shape {
    /// Rows of 256 and 512 values.
    pub(crate) const WIDE: Self = Self {
        hidden: 256,
        inner: 512,
        layers: 3,
        heads: 4,
        kv_heads: 2,
    };
}

const SPECIAL: [&str; 3] = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"];

/// Writes configuration, tokenizer and weights into `folder`.
pub(crate) fn write(folder: &Path, shape: &Shape) {
    let vocabulary = 256 + SPECIAL.len();
    let config = json!({
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": vocabulary,
        "hidden_size": shape.hidden, "intermediate_size": shape.inner,
        "num_hidden_layers": shape.layers, "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads, "hidden_act": "silu", "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0, "max_position_embeddings": 2048, "tie_word_embeddings": true,
        "bos_token_id": 1, "eos_token_id": 2,
    });
    let put = |name: &str, value: &Json| {
        std::fs::write(folder.join(name), value.to_string()).unwrap();
    };
    put("config.json", &config);
    put("tokenizer.json", &tokenizer());
    put(
        "tokenizer_config.json",
        &json!({"bos_token": SPECIAL[1], "eos_token": SPECIAL[2], "add_bos_token": false,
                "chat_template": "{{ messages[0]['content'] }}"}),
    );
    std::fs::write(folder.join("model.safetensors"), tensors(shape, vocabulary)).unwrap();
}

fn tokenizer() -> Json {
    let mut vocabulary = Map::new();
    for (id, special) in SPECIAL.iter().enumerate() {
        vocabulary.insert((*special).to_owned(), id.into());
    }
    // Any 256 letters do: no text is read here.
    for byte in 0..256u32 {
        let letter = char::from_u32(0x4e00 + byte).unwrap();
        vocabulary.insert(letter.to_string(), (SPECIAL.len() as u32 + byte).into());
    }
    let added: Vec<Json> = SPECIAL
        .iter()
        .enumerate()
        .map(|(id, content)| json!({"id": id, "content": content, "special": true}))
        .collect();
    json!({
        "added_tokens": added, "normalizer": null,
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "use_regex": true},
        "model": {"type": "BPE", "vocab": vocabulary, "merges": [["\u{4e00}", "\u{4e01}"]]},
    })
}

fn tensors(shape: &Shape, vocabulary: usize) -> Vec<u8> {
    let Shape {
        hidden,
        inner,
        layers,
        heads,
        kv_heads,
    } = *shape;
    let keys = hidden / heads * kv_heads;
    let mut list = vec![
        (
            "model.embed_tokens.weight".to_owned(),
            vec![vocabulary, hidden],
        ),
        ("model.norm.weight".to_owned(), vec![hidden]),
    ];
    for layer in 0..layers {
        for (name, shape) in [
            ("input_layernorm", vec![hidden]),
            ("post_attention_layernorm", vec![hidden]),
            ("self_attn.q_proj", vec![hidden, hidden]),
            ("self_attn.k_proj", vec![keys, hidden]),
            ("self_attn.v_proj", vec![keys, hidden]),
            ("self_attn.o_proj", vec![hidden, hidden]),
            ("mlp.gate_proj", vec![inner, hidden]),
            ("mlp.up_proj", vec![inner, hidden]),
            ("mlp.down_proj", vec![hidden, inner]),
        ] {
            list.push((format!("model.layers.{layer}.{name}.weight"), shape));
        }
    }
    let mut state = 7u64;
    let data: Vec<(String, Vec<usize>, Vec<u8>)> = list
        .into_iter()
        .map(|(name, shape)| {
            let count = shape.iter().product::<usize>();
            let bytes = (0..count).flat_map(|_| bell(&mut state).to_le_bytes());
            let bytes = bytes.collect();
            (name, shape, bytes)
        })
        .collect();
    let views = data.iter().map(|(name, shape, bytes)| {
        let view = TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap();
        (name.as_str(), view)
    });
    safetensors::serialize(views, None).unwrap()
}

/// Sums of four evenly spread numbers, about 0.05 wide.
fn bell(state: &mut u64) -> f32 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    let quarters: u64 = (0..4).map(|part| *state >> (16 * part) & 0xFFFF).sum();
    (quarters as f32 - 131_070.0) / 1_000_000.0
}
