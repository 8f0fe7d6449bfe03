//! Adapters: PEFT directories and LoRA GGUF files, round trips and refusals.
#![expect(
    clippy::unwrap_used,
    reason = "in a test a failed step is a failed test"
)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Value as Json, json};
use weights::convert::FileType;
use weights::gguf::{Gguf, Tensor, TensorType, Value};
use weights::peft::PeftConfig;
use weights::{Architecture, BaseModel, LoraPair, LoraTensors, ModelConfig, lora_gguf, peft};

const RANK: usize = 3;

fn base() -> ModelConfig {
    let path: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tiny-llama");
    BaseModel::open(&path).unwrap().config().clone()
}

/// Distinct, exactly representable values.
fn ramp(start: usize, count: usize) -> Vec<f32> {
    (start..start + count).map(|i| i as f32 / 64.0).collect()
}

fn adapter() -> LoraTensors {
    let mut tensors = BTreeMap::new();
    for (module, in_features, out_features) in [
        ("model.layers.0.self_attn.q_proj", 32, 32),
        ("model.layers.1.self_attn.k_proj", 32, 16),
        ("model.layers.1.self_attn.v_proj", 32, 16),
        ("model.layers.1.mlp.down_proj", 64, 32),
    ] {
        let pair = LoraPair {
            rank: RANK,
            in_features,
            out_features,
            a: ramp(0, RANK * in_features),
            b: ramp(1000, out_features * RANK),
        };
        tensors.insert(module.to_owned(), pair);
    }
    LoraTensors {
        tensors,
        rank: RANK,
        alpha: 6.0,
        dropout: 0.05,
        rslora: false,
    }
}

#[test]
fn a_peft_directory_round_trips_and_has_the_expected_keys() {
    let directory = tempfile::tempdir().unwrap();
    let target = directory.path().join("run/adapter");
    let config = PeftConfig {
        base_model_name_or_path: "org/model".into(),
    };
    peft::write(&target, &adapter(), &config).unwrap();
    assert_eq!(peft::read(&target).unwrap(), (adapter(), config));
    let text = std::fs::read_to_string(target.join("adapter_config.json")).unwrap();
    let json: Json = serde_json::from_str(&text).unwrap();
    let expected = json!({
        "peft_type": "LORA", "task_type": "CAUSAL_LM", "base_model_name_or_path": "org/model",
        "r": 3, "lora_alpha": 6, "lora_dropout": 0.05, "bias": "none", "fan_in_fan_out": false,
        "target_modules": ["down_proj", "k_proj", "q_proj", "v_proj"], "inference_mode": true,
        "modules_to_save": null, "use_rslora": false, "use_dora": false, "rank_pattern": {},
        "alpha_pattern": {},
    });
    assert_eq!(json, expected);
    // Other loaders want the alpha as an integer.
    assert!(text.contains("\"lora_alpha\": 6,"), "{text}");
    let bytes = std::fs::read(target.join("adapter_model.safetensors")).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let a = file
        .tensor("base_model.model.model.layers.1.mlp.down_proj.lora_A.weight")
        .unwrap();
    assert_eq!(a.shape(), [3, 64]);
    let b = file
        .tensor("base_model.model.model.layers.1.mlp.down_proj.lora_B.weight")
        .unwrap();
    assert_eq!(b.shape(), [32, 3]);
    assert_eq!(file.len(), 8);
}

#[test]
fn writing_twice_gives_the_same_bytes() {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str| {
        let target = directory.path().join(name);
        peft::write(&target, &adapter(), &PeftConfig::default()).unwrap();
        lora_gguf::write(&target.join("a.gguf"), &adapter(), &base(), "x").unwrap();
        ["adapter_config.json", "adapter_model.safetensors", "a.gguf"]
            .map(|file| std::fs::read(target.join(file)).unwrap())
    };
    assert_eq!(write("a"), write("b"));
}

#[test]
fn a_peft_directory_that_asks_for_more_is_refused_by_key() {
    let directory = tempfile::tempdir().unwrap();
    let check = |key: &str, value: Json, expected: &str| {
        peft::write(directory.path(), &adapter(), &PeftConfig::default()).unwrap();
        let path = directory.path().join("adapter_config.json");
        let mut json: Json = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        json[key] = value;
        std::fs::write(&path, json.to_string()).unwrap();
        let error = peft::read(directory.path()).unwrap_err().to_string();
        assert!(error.contains(key) && error.contains(expected), "{error}");
    };
    check("peft_type", json!("LOHA"), "expected \"LORA\"");
    check("use_dora", json!(true), "expected false");
    check("bias", json!("all"), "expected \"none\"");
    check("fan_in_fan_out", json!(true), "expected false");
    check("rank_pattern", json!({"q_proj": 4}), "expected {}");
    check("alpha_pattern", json!({"q_proj": 4}), "expected {}");
    check("modules_to_save", json!(["lm_head"]), "expected []");
    check("r", json!(0), "missing or 0");
    check("lora_alpha", json!(null), "is missing");
    check("use_rslora", json!("yes"), "expected true or false");
    let other_rank = |directory: &Path| {
        peft::write(directory, &adapter(), &PeftConfig::default()).unwrap();
        let path = directory.join("adapter_config.json");
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, text.replace("\"r\": 3", "\"r\": 4")).unwrap();
        peft::read(directory).unwrap_err().to_string()
    };
    let error = other_rank(directory.path());
    assert!(
        error.contains("rank 3 in A and 3 in B, expected 4"),
        "{error}"
    );
}

#[test]
fn half_a_pair_and_foreign_tensors_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    peft::write(directory.path(), &adapter(), &PeftConfig::default()).unwrap();
    let path = directory.path().join("adapter_model.safetensors");
    let check = |name: &str, dtype: safetensors::Dtype, shape: Vec<usize>, expected: &str| {
        let data = vec![0u8; shape.iter().product::<usize>() * 4];
        let view = safetensors::tensor::TensorView::new(dtype, shape, &data).unwrap();
        let bytes = safetensors::serialize([(name, view)], None).unwrap();
        std::fs::write(&path, bytes).unwrap();
        let error = peft::read(directory.path()).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    };
    let f32 = safetensors::Dtype::F32;
    let prefix = "base_model.model.model.layers.0.self_attn.q_proj";
    check(
        &format!("{prefix}.lora_A.weight"),
        f32,
        vec![3, 32],
        "lora_B.weight` is missing",
    );
    check(
        &format!("{prefix}.lora_B.weight"),
        f32,
        vec![32, 3],
        "lora_A.weight` is missing",
    );
    check(
        &format!("{prefix}.lora_A.weight"),
        f32,
        vec![96],
        "expected a matrix",
    );
    let i32 = safetensors::Dtype::I32;
    check(
        &format!("{prefix}.lora_A.weight"),
        i32,
        vec![3, 32],
        "has the type I32",
    );
    let vector = format!("{prefix}.lora_magnitude_vector");
    check(
        &vector,
        f32,
        vec![32],
        "is not part of a plain LoRA adapter",
    );
    check(
        "model.norm.weight",
        f32,
        vec![32],
        "is not part of a plain LoRA adapter",
    );
    std::fs::write(&path, b"short").unwrap();
    let error = peft::read(directory.path()).unwrap_err().to_string();
    assert!(error.contains("is not a valid safetensors file"), "{error}");
    std::fs::remove_file(&path).unwrap();
    assert!(peft::read(directory.path()).is_err());
}

#[test]
fn half_precision_adapters_are_read() {
    let directory = tempfile::tempdir().unwrap();
    let one = LoraTensors {
        tensors: adapter().tensors.into_iter().take(1).collect(),
        ..adapter()
    };
    peft::write(directory.path(), &one, &PeftConfig::default()).unwrap();
    let prefix = format!("base_model.model.{}", one.tensors.keys().next().unwrap());
    // 1.0 in bf16.
    let data = |n: usize| [0x80u8, 0x3f].repeat(n);
    let dtype = safetensors::Dtype::BF16;
    let (width, out) = {
        let pair = one.tensors.values().next().unwrap();
        (pair.in_features, pair.out_features)
    };
    let (a, b) = (data(3 * width), data(out * 3));
    let view = |shape: [usize; 2], data| {
        safetensors::tensor::TensorView::new(dtype, shape.to_vec(), data).unwrap()
    };
    let tensors = [
        (format!("{prefix}.lora_A.weight"), view([3, width], &a)),
        (format!("{prefix}.lora_B.weight"), view([out, 3], &b)),
    ];
    let bytes = safetensors::serialize(tensors, None).unwrap();
    std::fs::write(directory.path().join("adapter_model.safetensors"), bytes).unwrap();
    let (read, _) = peft::read(directory.path()).unwrap();
    let pair = read.tensors.values().next().unwrap();
    assert!(pair.a.iter().chain(&pair.b).all(|v| *v == 1.0));
}

#[test]
fn a_lora_gguf_has_what_llama_cpp_asks_for() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.gguf");
    lora_gguf::write(&path, &adapter(), &base(), "signal").unwrap();
    let file = Gguf::open(&path).unwrap();
    for (key, value) in [
        ("general.architecture", Value::from("llama")),
        ("general.type", Value::from("adapter")),
        ("general.name", Value::from("signal")),
        ("adapter.type", Value::from("lora")),
        ("adapter.lora.alpha", Value::F32(6.0)),
    ] {
        assert_eq!(file.get(key), Some(&value), "{key}");
    }
    let shape = |name: &str| file.tensor(name).unwrap().shape.clone();
    assert_eq!(shape("blk.1.ffn_down.weight.lora_a"), [3, 64]);
    assert_eq!(shape("blk.1.ffn_down.weight.lora_b"), [32, 3]);
    assert_eq!(file.header().tensors.len(), 8);
    // B of q and k: row h*d + t*d/2 + j moves to row h*d + 2j + t. Heads are 8 wide.
    let stored = file.tensor_f32("blk.1.attn_k.weight.lora_b").unwrap();
    let ours = &adapter().tensors["model.layers.1.self_attn.k_proj"].b;
    for (h, t, j) in [(0, 0, 1), (0, 1, 0), (1, 1, 3)] {
        let (from, to) = (h * 8 + t * 4 + j, h * 8 + 2 * j + t);
        assert_eq!(stored[to * 3..to * 3 + 3], ours[from * 3..from * 3 + 3]);
    }
    let plain = |stored: &str, module: &str, side: fn(&LoraPair) -> &Vec<f32>| {
        assert_eq!(
            &file.tensor_f32(stored).unwrap(),
            side(&adapter().tensors[module])
        );
    };
    plain(
        "blk.1.attn_k.weight.lora_a",
        "model.layers.1.self_attn.k_proj",
        |p| &p.a,
    );
    plain(
        "blk.1.attn_v.weight.lora_b",
        "model.layers.1.self_attn.v_proj",
        |p| &p.b,
    );
}

#[test]
fn a_lora_gguf_round_trips_for_every_family() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.gguf");
    for architecture in [
        Architecture::Llama,
        Architecture::Mistral,
        Architecture::Qwen2,
        Architecture::Qwen3,
    ] {
        let base = ModelConfig {
            architecture,
            ..base()
        };
        lora_gguf::write(&path, &adapter(), &base, "x").unwrap();
        let expected = LoraTensors {
            dropout: 0.0,
            ..adapter()
        };
        assert_eq!(lora_gguf::read(&path, &base).unwrap(), expected);
        let stored = Gguf::open(&path).unwrap();
        let b = stored.tensor_f32("blk.1.attn_k.weight.lora_b").unwrap();
        let same = b == adapter().tensors["model.layers.1.self_attn.k_proj"].b;
        assert_eq!(same, !architecture.gguf_permutes_query_key());
    }
}

#[test]
fn rank_stabilised_scale_is_written_into_alpha() {
    let stabilised = LoraTensors {
        rslora: true,
        ..adapter()
    };
    assert!((stabilised.scale() - 6.0 / 3f64.sqrt()).abs() < 1e-12);
    assert_eq!(adapter().scale(), 2.0);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.gguf");
    lora_gguf::write(&path, &stabilised, &base(), "x").unwrap();
    let read = lora_gguf::read(&path, &base()).unwrap();
    // Stored in single precision.
    assert!((read.scale() - stabilised.scale()).abs() < 1e-6);
}

#[test]
fn adapters_that_cannot_be_written() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.gguf");
    let check = |expected: &str, change: &dyn Fn(&mut LoraTensors)| {
        let mut bad = adapter();
        change(&mut bad);
        let error = lora_gguf::write(&path, &bad, &base(), "x")
            .unwrap_err()
            .to_string();
        assert!(error.contains(expected), "{error}");
        assert!(!path.exists());
    };
    let rename = |bad: &mut LoraTensors, to: &str| {
        let pair = bad
            .tensors
            .remove("model.layers.0.self_attn.q_proj")
            .unwrap();
        bad.tensors.insert(to.to_owned(), pair);
    };
    check("the rank is 0", &|bad| bad.rank = 0);
    check("no low-rank pair", &|bad| bad.tensors.clear());
    check("alpha is 0", &|bad| bad.alpha = 0.0);
    check("alpha is NaN", &|bad| bad.alpha = f64::NAN);
    check("has rank 3, expected 4", &|bad| bad.rank = 4);
    check("values in A", &|bad| {
        bad.tensors.values_mut().next().unwrap().a.pop();
    });
    check("non-finite value", &|bad| {
        bad.tensors.values_mut().next().unwrap().b[5] = f32::INFINITY;
    });
    check("is not in the base model", &|bad| {
        rename(bad, "model.layers.7.self_attn.q_proj");
    });
    check("is not a linear layer", &|bad| {
        rename(bad, "model.layers.0.input_layernorm");
    });
    check("is not a linear layer", &|bad| {
        rename(bad, "model.embed_tokens");
    });
    // The head is tied, so there is no tensor of that name to adapt.
    check("is not in the base model", &|bad| rename(bad, "lm_head"));
    check("the base model has the shape [16, 32]", &|bad| {
        rename(bad, "model.layers.0.self_attn.k_proj");
    });
    let fractional = LoraTensors {
        alpha: 1.5,
        ..adapter()
    };
    let target = directory.path().join("peft");
    let error = peft::write(&target, &fractional, &PeftConfig::default()).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("alpha is 1.5, expected an integer"),
        "{error}"
    );
    assert!(!target.exists());
}

type Change<'a> = &'a dyn Fn(&mut BTreeMap<String, Value>, &mut Vec<Tensor<'_>>);

#[test]
fn lora_gguf_files_that_are_something_else() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.gguf");
    let check = |expected: &str, change: Change<'_>| {
        lora_gguf::write(&path, &adapter(), &base(), "x").unwrap();
        let file = Gguf::open(&path).unwrap();
        let mut metadata = file.header().metadata.clone();
        let stored = file.header().tensors.iter().map(|tensor| Tensor {
            name: tensor.name.clone(),
            shape: tensor.shape.clone(),
            tensor_type: tensor.tensor_type,
            bytes: file.bytes(tensor).to_vec().into(),
        });
        let mut tensors = stored.collect();
        change(&mut metadata, &mut tensors);
        weights::gguf::write(&path, &metadata, &tensors).unwrap();
        let error = lora_gguf::read(&path, &base()).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    };
    check(
        "`general.type` is `model`, expected `adapter`",
        &|metadata, _| {
            metadata.insert("general.type".into(), "model".into());
        },
    );
    check("`adapter.type` is ``, expected `lora`", &|metadata, _| {
        metadata.remove("adapter.type");
    });
    check(
        "`general.architecture` is `qwen2`, expected `llama`",
        &|metadata, _| {
            metadata.insert("general.architecture".into(), "qwen2".into());
        },
    );
    check("lora_b` is missing", &|_, tensors| {
        tensors.retain(|t| !t.name.ends_with("lora_b"));
    });
    check("lora_a` is missing", &|_, tensors| {
        tensors.retain(|t| !t.name.ends_with("lora_a"));
    });
    check("is not half of a LoRA pair", &|_, tensors| {
        tensors[0].name = "x.weight".into();
    });
    check("adapts no linear layer", &|_, tensors| {
        tensors[0].name = "blk.0.attn_norm.weight.lora_a".into();
    });
    check("holds no low-rank pair", &|metadata, tensors| {
        tensors.clear();
        metadata.remove("adapter.lora.alpha");
    });
    check("is not a matrix", &|_, tensors| tensors[0].shape = vec![96]);
    check("expected a multiple of the head width 8", &|_, tensors| {
        let k = tensors
            .iter_mut()
            .find(|t| t.name.contains("attn_k.weight.lora_b"))
            .unwrap();
        k.shape[0] = 12;
        k.bytes.to_mut().truncate(12 * 3 * 4);
    });
    check("is not supported", &|_, tensors| {
        tensors[0].tensor_type = TensorType::I32;
    });
}

#[test]
fn a_missing_alpha_means_a_scale_of_one() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.gguf");
    for alpha in [None, Some(Value::F32(0.0))] {
        lora_gguf::write(&path, &adapter(), &base(), "x").unwrap();
        let file = Gguf::open(&path).unwrap();
        let mut metadata = file.header().metadata.clone();
        metadata.remove("adapter.lora.alpha");
        metadata.extend(alpha.map(|value| ("adapter.lora.alpha".to_owned(), value)));
        let stored = file.header().tensors.iter().map(|tensor| Tensor {
            name: tensor.name.clone(),
            shape: tensor.shape.clone(),
            tensor_type: tensor.tensor_type,
            bytes: file.bytes(tensor).into(),
        });
        let tensors: Vec<Tensor<'_>> = stored.collect();
        let copy = directory.path().join("b.gguf");
        weights::gguf::write(&copy, &metadata, &tensors).unwrap();
        assert_eq!(lora_gguf::read(&copy, &base()).unwrap().scale(), 1.0);
    }
}

#[test]
fn an_adapter_for_import_has_an_integer_alpha() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.gguf");
    let import = |written: &LoraTensors| {
        lora_gguf::write(&path, written, &base(), "x").unwrap();
        lora_gguf::read_lora_gguf(&path, &base()).unwrap().0
    };
    let plain = LoraTensors {
        dropout: 0.0,
        ..adapter()
    };
    assert_eq!(import(&plain), plain);
    // 6 / sqrt(3) is told from any other number.
    let stabilised = LoraTensors {
        rslora: true,
        ..plain.clone()
    };
    assert_eq!(import(&stabilised), stabilised);
    let odd = LoraTensors {
        alpha: 2.5,
        ..plain.clone()
    };
    let read = import(&odd);
    assert_eq!((read.scale(), read.alpha, read.rslora), (1.0, 3.0, false));
    let name = "model.layers.1.self_attn.k_proj";
    for (new, old) in read.tensors[name].b.iter().zip(&odd.tensors[name].b) {
        assert_eq!(*new, old * (2.5 / 3.0_f64) as f32);
    }
    peft::write(
        &directory.path().join("peft"),
        &read,
        &peft::PeftConfig::default(),
    )
    .unwrap();
}

/// The type of A and of B, and the largest error of a value of at most 8: half a step of F16
/// there, half a step of Q8_0's 127.
#[test]
fn a_lora_gguf_in_fewer_bits() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.gguf");
    let of_rank = |rank: usize| {
        let number = |i: usize| ((i * 37) % 1025) as f32 / 64.0 - 8.0;
        let mut adapter = adapter();
        adapter.rank = rank;
        for pair in adapter.tensors.values_mut() {
            pair.rank = rank;
            pair.a = (0..rank * pair.in_features).map(number).collect();
            pair.b = (0..rank * pair.out_features).map(number).collect();
        }
        adapter
    };
    for (kind, rank, a, b, code, most) in [
        (FileType::F16, 3, TensorType::F16, TensorType::F16, 1, 0.004),
        (
            FileType::BF16,
            3,
            TensorType::BF16,
            TensorType::BF16,
            32,
            0.032,
        ),
        // Rows of B are as long as the rank is.
        (
            FileType::Q8_0,
            3,
            TensorType::Q8_0,
            TensorType::F16,
            7,
            0.04,
        ),
        (
            FileType::Q8_0,
            32,
            TensorType::Q8_0,
            TensorType::Q8_0,
            7,
            0.04,
        ),
    ] {
        let adapter = of_rank(rank);
        lora_gguf::write_as(&path, &adapter, &base(), "x", kind).unwrap();
        let file = Gguf::open(&path).unwrap();
        let stored = |name: &str| file.tensor(name).unwrap().tensor_type;
        assert_eq!(stored("blk.1.attn_k.weight.lora_a"), a, "{kind}");
        assert_eq!(stored("blk.1.attn_k.weight.lora_b"), b, "{kind}");
        assert_eq!(file.get("general.file_type"), Some(&Value::U32(code)));
        let read = lora_gguf::read(&path, &base()).unwrap();
        for (module, pair) in &read.tensors {
            let written = &adapter.tensors[module];
            let pairs = pair
                .a
                .iter()
                .zip(&written.a)
                .chain(pair.b.iter().zip(&written.b));
            let error = pairs.map(|(x, y)| (x - y).abs()).fold(0.0, f32::max);
            assert!(error <= most, "{kind} {module}: {error}");
        }
    }
    let mut large = adapter();
    large.tensors.values_mut().for_each(|pair| pair.a[0] = 1e6);
    let error = lora_gguf::write_as(&path, &large, &base(), "x", FileType::F16).unwrap_err();
    assert!(error.to_string().contains("too large for F16"), "{error}");
}

#[test]
fn an_adapter_made_elsewhere_is_read_for_import() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.gguf");
    lora_gguf::write(&path, &adapter(), &base(), "x").unwrap();
    let file = Gguf::open(&path).unwrap();
    let mut metadata = file.header().metadata.clone();
    let name = "general.base_model.0.name".to_owned();
    metadata.insert(name, Value::from("Tiny Llama"));
    let tensors: Vec<Tensor<'_>> = file
        .header()
        .tensors
        .iter()
        .map(|tensor| Tensor {
            name: tensor.name.clone(),
            shape: tensor.shape.clone(),
            tensor_type: tensor.tensor_type,
            bytes: file.bytes(tensor).to_vec().into(),
        })
        .collect();
    weights::gguf::write(&path, &metadata, &tensors).unwrap();
    let (read, config) = lora_gguf::read_lora_gguf(&path, &base()).unwrap();
    let expected = LoraTensors {
        dropout: 0.0,
        ..adapter()
    };
    assert_eq!(
        (read, config.base_model_name_or_path.as_str()),
        (expected, "Tiny Llama")
    );
    let refuse = |change: &dyn Fn(&mut ModelConfig), expected: &str| {
        let mut other = base();
        change(&mut other);
        let error = lora_gguf::read_lora_gguf(&path, &other)
            .unwrap_err()
            .to_string();
        assert!(error.contains(expected), "{error}");
    };
    refuse(
        &|other| other.architecture = Architecture::Qwen2,
        "expected `qwen2`",
    );
    refuse(&|other| other.num_layers = 1, "is not in the base model");
    refuse(
        &|other| other.hidden_size = 64,
        "the base model has the shape",
    );
}
