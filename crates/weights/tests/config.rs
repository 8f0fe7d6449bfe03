//! `config.json` in the spellings of the families and of the years.
#![expect(
    clippy::unwrap_used,
    reason = "in a test a failed step is a failed test"
)]

use std::path::PathBuf;

use serde_json::{Value as Json, json};
use weights::{Architecture, BaseModel, ModelConfig, RopeScaling};

/// Opens a directory that holds this configuration and every tensor it calls for.
fn open(config: &Json) -> Result<ModelConfig, String> {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("config.json"), config.to_string()).unwrap();
    let weights: PathBuf = directory.path().join("model.safetensors");
    // Without tensors the error names the first one: the configuration was accepted.
    let empty: [(&str, safetensors::tensor::TensorView<'_>); 0] = [];
    std::fs::write(&weights, safetensors::serialize(empty, None).unwrap()).unwrap();
    let error = BaseModel::open(directory.path()).err().unwrap().to_string();
    if !error.contains("is missing") || !error.contains("the tensor") {
        return Err(error);
    }
    let (shapes, mut data) = (tensors_of(config), Vec::new());
    for (_, shape) in &shapes {
        data.push(vec![0u8; shape.iter().product::<usize>() * 2]);
    }
    let views = shapes.iter().zip(&data).map(|((name, shape), data)| {
        let dtype = safetensors::Dtype::F16;
        let view = safetensors::tensor::TensorView::new(dtype, shape.clone(), data).unwrap();
        (name.clone(), view)
    });
    std::fs::write(&weights, safetensors::serialize(views, None).unwrap()).unwrap();
    let model = BaseModel::open(directory.path()).map_err(|error| error.to_string())?;
    Ok(model.config().clone())
}

/// The tensors of the tiny configurations of this file, written out independently.
fn tensors_of(config: &Json) -> Vec<(String, Vec<usize>)> {
    let kind = config["model_type"].as_str().unwrap();
    let mut all = vec![
        ("model.embed_tokens.weight".to_owned(), vec![10, 8]),
        ("model.norm.weight".to_owned(), vec![8]),
    ];
    if config["tie_word_embeddings"] != json!(true) {
        all.push(("lm_head.weight".to_owned(), vec![10, 8]));
    }
    // Explicit widths are not hidden_size / heads: 4 heads of 4 on 8 channels.
    let d = config["head_dim"].as_u64().unwrap_or(2) as usize;
    for layer in 0..3 {
        let mut add = |name: &str, shape: &[usize]| {
            all.push((format!("model.layers.{layer}.{name}"), shape.to_vec()));
        };
        for norm in ["input_layernorm", "post_attention_layernorm"] {
            add(&format!("{norm}.weight"), &[8]);
        }
        add("self_attn.q_proj.weight", &[4 * d, 8]);
        add("self_attn.o_proj.weight", &[8, 4 * d]);
        for part in ["k", "v"] {
            add(&format!("self_attn.{part}_proj.weight"), &[2 * d, 8]);
        }
        add("mlp.gate_proj.weight", &[12, 8]);
        add("mlp.up_proj.weight", &[12, 8]);
        add("mlp.down_proj.weight", &[8, 12]);
        if kind == "qwen2" {
            add("self_attn.q_proj.bias", &[4 * d]);
            add("self_attn.k_proj.bias", &[2 * d]);
            add("self_attn.v_proj.bias", &[2 * d]);
        }
        if kind == "qwen3" {
            add("self_attn.q_norm.weight", &[d]);
            add("self_attn.k_norm.weight", &[d]);
        }
    }
    all
}

fn base(model_type: &str) -> Json {
    json!({
        "model_type": model_type, "hidden_size": 8, "intermediate_size": 12,
        "num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 2,
        "vocab_size": 10, "max_position_embeddings": 64, "rms_norm_eps": 1e-5,
        "hidden_act": "silu", "tie_word_embeddings": true,
    })
}

fn with(model_type: &str, changes: &Json) -> Json {
    let mut config = base(model_type);
    for (key, value) in changes.as_object().unwrap() {
        config[key] = value.clone();
    }
    config
}

#[test]
fn the_four_families() {
    for (kind, architecture, bias, norm) in [
        ("llama", Architecture::Llama, false, false),
        ("mistral", Architecture::Mistral, false, false),
        ("qwen2", Architecture::Qwen2, true, false),
        ("qwen3", Architecture::Qwen3, false, true),
    ] {
        let config = open(&base(kind)).unwrap();
        assert_eq!(config.architecture, architecture);
        assert_eq!((config.qkv_bias, config.qk_norm), (bias, norm), "{kind}");
        assert_eq!((config.head_dim, config.num_kv_heads), (2, 2));
        assert_eq!(config.architecture.to_string(), kind);
        assert_eq!(config.rope.theta, 10000.0);
    }
    let untied = open(&with("llama", &json!({"tie_word_embeddings": false}))).unwrap();
    assert!(!untied.tie_embeddings);
    let wide = open(&with("qwen3", &json!({"head_dim": 4}))).unwrap();
    assert_eq!(wide.head_dim, 4);
    let class = json!({"architectures": ["LlamaForCausalLM"]});
    assert!(open(&with("llama", &class)).is_ok());
}

#[test]
fn special_tokens_are_a_number_a_list_or_nothing() {
    let tokens = json!({"bos_token_id": 1, "eos_token_id": [5, 6], "pad_token_id": null});
    let config = open(&with("llama", &tokens)).unwrap();
    assert_eq!((config.bos, config.pad), (Some(1), None));
    assert_eq!(config.eos, [5, 6]);
    assert_eq!(
        open(&with("llama", &json!({"eos_token_id": 7})))
            .unwrap()
            .eos,
        [7]
    );
    let error = open(&with("llama", &json!({"eos_token_id": "</s>"}))).unwrap_err();
    assert!(
        error.contains("`eos_token_id` is \"</s>\", expected a token id"),
        "{error}"
    );
}

#[test]
fn rotary_settings_in_the_newer_and_the_older_spelling() {
    let rope = |changes: &Json| open(&with("llama", changes)).unwrap().rope;
    let newer = rope(&json!({"rope_parameters": {"rope_theta": 5e5, "rope_type": "default"}}));
    let older = rope(&json!({"rope_theta": 5e5, "rope_scaling": null}));
    assert_eq!(newer, older);
    assert_eq!(newer.theta, 5e5);
    let llama3 = json!({
        "factor": 32.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 32, "rope_type": "llama3",
    });
    let found = rope(&json!({"rope_theta": 5e5, "rope_scaling": llama3.clone()}));
    let expected = RopeScaling::Llama3 {
        factor: 32.0,
        low_freq_factor: 1.0,
        high_freq_factor: 4.0,
        original_max_position: 32,
    };
    assert_eq!(found.scaling, expected);
    // The oldest spelling says `type`.
    let linear = rope(&json!({"rope_scaling": {"type": "linear", "factor": 2}}));
    assert_eq!(linear.scaling, RopeScaling::Linear { factor: 2.0 });
    // Without a factor YaRN takes the ratio of the two contexts.
    let yarn = json!({"rope_type": "yarn", "original_max_position_embeddings": 16});
    let found = rope(&json!({"rope_scaling": yarn}));
    assert!(
        matches!(found.scaling, RopeScaling::Yarn { factor: 4.0, .. }),
        "{found:?}"
    );
}

#[test]
fn sliding_windows() {
    let windows = |kind: &str, changes: &Json| {
        let config = open(&with(kind, changes)).unwrap();
        assert_eq!(config.max_position, 64);
        config.windows
    };
    let mixed = ["full_attention", "sliding_attention", "sliding_attention"];
    let full = ["full_attention"; 3];
    let none = Vec::<Option<usize>>::new();
    let w = json!({"sliding_window": 16});
    assert_eq!(windows("mistral", &w), [Some(16); 3]);
    assert_eq!(windows("llama", &w), none);
    assert_eq!(windows("qwen2", &w), none);
    assert_eq!(windows("mistral", &json!({"sliding_window": null})), none);
    let some = json!({"sliding_window": 16, "layer_types": mixed});
    assert_eq!(windows("mistral", &some), [None, Some(16), Some(16)]);
    let all_full = json!({"sliding_window": 16, "layer_types": full});
    assert_eq!(windows("mistral", &all_full), none);
    let upper = json!({"sliding_window": 16, "use_sliding_window": true, "max_window_layers": 1});
    assert_eq!(windows("qwen2", &upper), [None, Some(16), Some(16)]);
    let all = json!({"sliding_window": 16, "use_sliding_window": true, "max_window_layers": 0});
    assert_eq!(windows("qwen3", &all), [Some(16); 3]);
    // transformers lets the first 28 layers see everything unless told otherwise.
    let silent = json!({"sliding_window": 16, "use_sliding_window": true});
    assert_eq!(windows("qwen2", &silent), none);
}

#[test]
fn what_is_not_supported_or_not_possible_is_refused_by_name() {
    let check = |changes: Json, expected: &str| {
        let error = open(&with("llama", &changes)).unwrap_err();
        assert!(error.contains(expected), "{error}");
    };
    check(
        json!({"model_type": "gemma3"}),
        "the architecture `gemma3` is not supported, expected",
    );
    check(
        json!({"architectures": ["Qwen3MoeForCausalLM"]}),
        "`Qwen3MoeForCausalLM`",
    );
    check(json!({"model_type": null}), "`model_type` is missing");
    check(
        json!({"hidden_act": "gelu"}),
        "the activation `gelu` is not supported",
    );
    check(json!({"attention_bias": true}), "`attention_bias: true`");
    check(json!({"mlp_bias": true}), "`mlp_bias: true`");
    check(
        json!({"quantization_config": {"quant_method": "awq"}}),
        "`awq` is not supported",
    );
    check(
        json!({"partial_rotary_factor": 0.5}),
        "is not 1, the only value supported",
    );
    check(
        json!({"rope_scaling": {"rope_type": "dynamic", "factor": 2.0}}),
        "`dynamic`",
    );
    check(
        json!({"rope_scaling": {"rope_type": "linear"}}),
        "`factor` is missing",
    );
    check(
        json!({"rope_scaling": {"rope_type": "linear", "factor": 0.5}}),
        "at least 1",
    );
    check(
        json!({"rope_scaling": 3}),
        "`rope_scaling` is 3, expected an object",
    );
    let llama3 = json!({
        "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 4.0, "high_freq_factor": 1.0,
        "original_max_position_embeddings": 32,
    });
    check(json!({"rope_scaling": llama3}), "a smaller and a larger");
    let yarn = json!({"rope_type": "yarn", "factor": 2.0, "beta_fast": 1.0, "beta_slow": 32.0});
    check(json!({"rope_scaling": yarn}), "the first beta larger");
    check(json!({"hidden_size": null}), "`hidden_size` is missing");
    check(
        json!({"hidden_size": -8}),
        "`hidden_size` is -8, expected a non-negative integer",
    );
    check(json!({"hidden_size": 1u64 << 60}), "expected 1 to");
    check(json!({"hidden_size": 9}), "4 heads do not divide 9");
    check(json!({"num_attention_heads": 0}), "expected 1 to");
    check(json!({"num_key_value_heads": 3}), "expected a divisor");
    check(json!({"head_dim": 3}), "expected an even number");
    check(
        json!({"rms_norm_eps": 0}),
        "expected a small positive number",
    );
    check(json!({"rope_theta": 0.5}), "expected a number above 1");
    check(json!({"rope_theta": "1e4"}), "expected a number");
    check(json!({"tie_word_embeddings": 1}), "expected true or false");
    let types = json!({"sliding_window": 8, "layer_types": ["full_attention"]});
    check(types, "is not a list of 3 entries");
    let types = json!({"sliding_window": 8, "layer_types": ["mamba", "mamba", "mamba"]});
    check(types, "the layer type");
    let error = open(&with("qwen2", &json!({"num_key_value_heads": null}))).unwrap_err();
    assert!(
        error.contains("`num_key_value_heads` is missing"),
        "{error}"
    );
}

#[test]
fn a_file_that_is_no_json_object() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("config.json");
    for (text, expected) in [
        ("{\"a\": 1,", "not valid JSON: EOF"),
        ("[]", "top level is not an object"),
        ("\u{0}", "not valid JSON"),
    ] {
        std::fs::write(&path, text).unwrap();
        let error = BaseModel::open(directory.path()).err().unwrap().to_string();
        assert!(
            error.contains("config.json") && error.contains(expected),
            "{error}"
        );
    }
}

#[test]
fn generation_settings_add_ends_of_sequence() {
    let fixture = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tiny-llama");
    let directory = tempfile::tempdir().unwrap();
    for name in ["config.json", "model.safetensors"] {
        std::fs::copy(fixture.join(name), directory.path().join(name)).unwrap();
    }
    let generation = json!({"eos_token_id": [2, 9]}).to_string();
    std::fs::write(directory.path().join("generation_config.json"), generation).unwrap();
    assert_eq!(
        BaseModel::open(directory.path()).unwrap().config().eos,
        [2, 9]
    );
}
