//! Offers bytes to the readers of `weights`. What they accept must then be usable.

mod scratch;

use std::path::Path;

use scratch::with_files;
use weights::{Architecture, BaseModel, ModelConfig, Rope, RopeScaling, gguf, lora_gguf, peft};

/// A tensor larger than this is not decoded here: a file may rightly hold large ones.
const LARGEST: usize = 1 << 22;

/// The configuration that goes with the seeds' tensors.
pub(crate) const CONFIG: &str = r#"{"architectures": ["LlamaForCausalLM"], "hidden_size": 8,
"intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 1,
"head_dim": 4, "rms_norm_eps": 1e-05, "rope_theta": 10000.0, "max_position_embeddings": 64,
"vocab_size": 8, "tie_word_embeddings": true, "bos_token_id": 1, "eos_token_id": 2}"#;

/// The same configuration as adapters are checked against.
pub(crate) fn base() -> ModelConfig {
    ModelConfig {
        architecture: Architecture::Llama,
        vocab_size: 8,
        hidden_size: 8,
        intermediate_size: 8,
        num_layers: 1,
        num_heads: 2,
        num_kv_heads: 1,
        head_dim: 4,
        rms_norm_eps: 1e-5,
        rope: Rope {
            theta: 10000.0,
            scaling: RopeScaling::None,
        },
        max_position: 64,
        tie_embeddings: true,
        qkv_bias: false,
        qk_norm: false,
        bos: Some(1),
        eos: vec![2],
        pad: None,
        windows: Vec::new(),
    }
}

fn use_model(path: &Path) {
    let model = match BaseModel::open(path) {
        Ok(model) => model,
        Err(error) => {
            let _ = (error.to_string(), error.hint());
            return;
        }
    };
    let names: Vec<String> = model.tensor_names().map(str::to_owned).collect();
    for name in names {
        let shape = model.shape(&name).unwrap();
        if shape.iter().product::<usize>() <= LARGEST {
            model.tensor_f32(&name).unwrap();
        }
    }
    let _ = (model.tokenizer_json(), model.chat_template());
    let config = model.config();
    config.rope.inverse_frequencies(config.head_dim);
    model.sha256().unwrap();
}

/// A GGUF file as a base model.
pub(crate) fn gguf(bytes: &[u8]) {
    if let Err(fault) = gguf::parse(bytes) {
        assert!(fault.offset <= bytes.len() as u64);
    }
    with_files(&[("model.gguf", bytes)], |path| {
        use_model(&path.join("model.gguf"));
    });
}

/// The weights of a directory.
pub(crate) fn safetensors(bytes: &[u8]) {
    let files = [
        ("config.json", CONFIG.as_bytes()),
        ("model.safetensors", bytes),
    ];
    with_files(&files, use_model);
}

/// The list of shards of a directory: text up to the first NUL, then the one shard there is.
pub(crate) fn safetensors_index(bytes: &[u8]) {
    let end = bytes
        .iter()
        .position(|byte| *byte == 0)
        .unwrap_or(bytes.len());
    let (index, shard) = bytes.split_at(end);
    let files = [
        ("config.json", CONFIG.as_bytes()),
        ("model.safetensors.index.json", index),
        ("a.safetensors", shard.get(1..).unwrap_or(&[])),
    ];
    with_files(&files, use_model);
}

/// `config.json`: what is accepted lists its tensors.
pub(crate) fn config(bytes: &[u8]) {
    let files = [("config.json", bytes), ("model.safetensors", &[])];
    with_files(&files, use_model);
}

/// A PEFT directory: the first two bytes are the length of its configuration.
pub(crate) fn peft_directory(bytes: &[u8]) {
    let Some((length, rest)) = bytes.split_at_checked(2) else {
        return;
    };
    let length = usize::from(u16::from_le_bytes([length[0], length[1]]));
    let (config, tensors) = rest.split_at(length.min(rest.len()));
    let files = [
        ("adapter_config.json", config),
        ("adapter_model.safetensors", tensors),
    ];
    with_files(&files, |path| {
        if let Ok((adapter, _)) = peft::read(path) {
            adapter.validate().unwrap();
            let _ = (adapter.scale(), adapter.target_modules());
        }
    });
}

/// A LoRA GGUF.
pub(crate) fn lora(bytes: &[u8]) {
    with_files(&[("lora.gguf", bytes)], |path| {
        if let Ok(adapter) = lora_gguf::read(&path.join("lora.gguf"), &base()) {
            adapter.validate().unwrap();
        }
    });
}
