//! A base model as one GGUF file, merged or not: values against PEFT, types, metadata, refusals.
#![expect(
    clippy::unwrap_used,
    reason = "in a test a failed step is a failed test"
)]

mod made;

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use serde_json::Value as Json;
use weights::convert::{self, FileType, Job, Written};
use weights::gguf::{Gguf, TensorType, Value};
use weights::{BaseModel, LoraPair, LoraTensors, WeightsError};

/// Both sides add up three products of f32 in another order.
const MERGE_TOLERANCE: f32 = 1e-6;
const RANK: usize = 3;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(name)
}

/// The numbers of `merge_fixtures.py`.
fn numbers(start: usize, count: usize) -> Vec<f32> {
    let number = |i: usize| ((i * 37) % 129) as f32 - 64.0;
    (start..start + count).map(|i| number(i) / 256.0).collect()
}

fn adapter(modules: &[(&str, usize, usize)]) -> LoraTensors {
    let pair = |&(module, in_features, out_features): &(&str, usize, usize)| {
        let pair = LoraPair {
            rank: RANK,
            in_features,
            out_features,
            a: numbers(0, RANK * in_features),
            b: numbers(1000, out_features * RANK),
        };
        (module.to_owned(), pair)
    };
    LoraTensors {
        tensors: modules.iter().map(pair).collect(),
        rank: RANK,
        alpha: 6.0,
        dropout: 0.0,
        rslora: false,
    }
}

const MODULES: [(&str, usize, usize); 4] = [
    ("model.layers.0.self_attn.q_proj", 32, 32),
    ("model.layers.1.self_attn.k_proj", 32, 16),
    ("model.layers.1.self_attn.v_proj", 32, 16),
    ("model.layers.1.mlp.down_proj", 64, 32),
];

fn write(
    path: &Path,
    base: &BaseModel,
    adapter: Option<&LoraTensors>,
    file_type: FileType,
) -> Result<Written, WeightsError> {
    let job = Job {
        base,
        adapter,
        file_type,
        name: "tiny",
    };
    convert::write(path, job, &mut |_, _| ControlFlow::Continue(()))
}

fn floats(hexadecimal: &Json) -> Vec<f32> {
    let text = hexadecimal.as_str().unwrap();
    let word = |at: usize| u32::from_str_radix(&text[at..at + 8], 16).unwrap();
    (0..text.len())
        .step_by(8)
        .map(|at| f32::from_bits(word(at).swap_bytes()))
        .collect()
}

#[test]
fn merged_weights_equal_those_of_peft() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("merged.gguf");
    let base = BaseModel::open(&fixture("tiny-llama")).unwrap();
    let written = write(&path, &base, Some(&adapter(&MODULES)), FileType::F32).unwrap();
    assert_eq!((written.merged, written.rounded_again), (4, 0));
    let merged = BaseModel::open(&path).unwrap();
    assert_eq!(merged.config(), base.config());
    let golden: Json = serde_json::from_str(include_str!("fixtures/merge.json")).unwrap();
    let golden = golden["weights"].as_object().unwrap();
    assert_eq!(golden.len(), MODULES.len());
    for name in base.tensor_names() {
        let (before, after) = (
            base.tensor_f32(name).unwrap(),
            merged.tensor_f32(name).unwrap(),
        );
        let Some(expected) = golden.get(name.trim_end_matches(".weight")) else {
            assert!(before == after, "{name}");
            continue;
        };
        assert!(before != after, "{name}");
        for (found, expected) in after.iter().zip(floats(expected)) {
            assert!(
                (found - expected).abs() <= MERGE_TOLERANCE,
                "{name}: {found} {expected}"
            );
        }
    }
}

#[test]
fn a_directory_s_tokenizer_survives_the_journey() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("plain.gguf");
    let base = BaseModel::open(&fixture("tiny-llama")).unwrap();
    write(&path, &base, None, FileType::F16).unwrap();
    let copy = BaseModel::open(&path).unwrap();
    assert_eq!(copy.chat_template().unwrap(), base.chat_template().unwrap());
    assert_eq!(copy.bos_token(), base.bos_token());
    assert_eq!(copy.eos_token(), base.eos_token());
    assert_eq!(copy.add_bos(), base.add_bos());
    let json = |model: &BaseModel| -> Json {
        serde_json::from_str(&model.tokenizer_json().unwrap()).unwrap()
    };
    let (ours, theirs) = (json(&copy), json(&base));
    let with_added = |document: &Json| -> BTreeMap<String, u64> {
        let vocabulary = document["model"]["vocab"].as_object().unwrap();
        let mut all: BTreeMap<String, u64> = vocabulary
            .iter()
            .map(|(token, id)| (token.clone(), id.as_u64().unwrap()))
            .collect();
        for added in document["added_tokens"].as_array().unwrap() {
            let content = added["content"].as_str().unwrap().to_owned();
            all.insert(content, added["id"].as_u64().unwrap());
        }
        all
    };
    assert_eq!(with_added(&ours), with_added(&theirs));
    assert_eq!(
        ours["model"]["merges"].as_array().unwrap().len(),
        theirs["model"]["merges"].as_array().unwrap().len()
    );
    assert_eq!(ours["added_tokens"], theirs["added_tokens"]);
    let file = Gguf::open(&path).unwrap();
    for (key, value) in [
        ("general.architecture", Value::from("llama")),
        ("general.type", Value::from("model")),
        ("general.name", Value::from("tiny")),
        ("general.file_type", Value::U32(1)),
        ("general.quantization_version", Value::U32(2)),
        ("tokenizer.ggml.model", Value::from("gpt2")),
        ("tokenizer.ggml.pre", Value::from("smollm")),
        ("tokenizer.ggml.bos_token_id", Value::U32(0)),
        ("tokenizer.ggml.eos_token_id", Value::U32(2)),
        ("llama.vocab_size", Value::U32(481)),
        ("llama.attention.head_count_kv", Value::U32(2)),
        ("llama.rope.freq_base", Value::F32(10000.0)),
    ] {
        assert_eq!(file.get(key), Some(&value), "{key}");
    }
}

#[test]
fn a_gguf_base_keeps_its_metadata_and_what_the_adapter_leaves_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("merged.gguf");
    let base = BaseModel::open(&fixture("tiny-llama.gguf")).unwrap();
    let written = write(&path, &base, Some(&adapter(&MODULES)), FileType::Q8_0).unwrap();
    assert_eq!(written.merged, 4);
    let (before, after) = (
        Gguf::open(&fixture("tiny-llama.gguf")).unwrap(),
        Gguf::open(&path).unwrap(),
    );
    for (key, value) in &before.header().metadata {
        let changed = ["general.file_type", "general.quantization_version"];
        if !changed.contains(&key.as_str()) {
            assert_eq!(after.get(key), Some(value), "{key}");
        }
    }
    assert_eq!(after.get("general.file_type"), Some(&Value::U32(7)));
    let mut same = 0;
    for tensor in &before.header().tensors {
        let copy = after.tensor(&tensor.name).unwrap();
        assert_eq!(copy.shape, tensor.shape);
        let expected = match tensor.shape.len() {
            1 => TensorType::F32,
            _ => TensorType::Q8_0,
        };
        assert_eq!(copy.tensor_type, expected, "{}", tensor.name);
        let merged =
            ["blk.0.attn_q.weight", "blk.1.ffn_down.weight"].contains(&tensor.name.as_str());
        if tensor.tensor_type == TensorType::Q8_0 {
            let equal = before.bytes(tensor) == after.bytes(copy);
            assert_eq!(equal, !merged, "{}", tensor.name);
            same += usize::from(equal);
        }
    }
    assert!(same > 0);
}

/// Rows of 256 values: K-quants proper, as llama.cpp places them in a model of three layers.
#[test]
fn the_mixture_on_rows_of_whole_blocks() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mixed.gguf");
    made::write(folder.path(), &made::Shape::WIDE);
    let base = BaseModel::open(folder.path()).unwrap();
    let written = write(&path, &base, None, FileType::Q4_K_M).unwrap();
    assert!(written.fallbacks.is_empty(), "{:?}", written.fallbacks);
    let file = Gguf::open(&path).unwrap();
    let kind = |name: &str| file.tensor(name).unwrap().tensor_type;
    assert_eq!(kind("token_embd.weight"), TensorType::Q6_K);
    assert_eq!(kind("blk.0.attn_norm.weight"), TensorType::F32);
    // Of three layers none is in the first eighth, the last (from 7 * 3 / 8 = 2) is.
    let more = |layer: usize| {
        if layer == 2 {
            TensorType::Q6_K
        } else {
            TensorType::Q4_K
        }
    };
    for layer in 0..3 {
        for (part, expected) in [
            ("attn_q", TensorType::Q4_K),
            ("attn_v", more(layer)),
            ("ffn_down", more(layer)),
            ("ffn_up", TensorType::Q4_K),
        ] {
            assert_eq!(
                kind(&format!("blk.{layer}.{part}.weight")),
                expected,
                "{layer} {part}"
            );
        }
    }
    assert_eq!(written.types["Q6_K"], 3);
    // What is read back is near: the values are bell-shaped.
    let quantised = BaseModel::open(&path).unwrap();
    for name in base.tensor_names() {
        let (a, b) = (
            base.tensor_f32(name).unwrap(),
            quantised.tensor_f32(name).unwrap(),
        );
        let square = |values: &mut dyn Iterator<Item = f32>| values.map(|v| v * v).sum::<f32>();
        let error = square(&mut a.iter().zip(&b).map(|(a, b)| a - b));
        let share = (error / square(&mut a.iter().copied())).sqrt();
        assert!(share < 0.09, "{name}: {share}");
    }
}

#[test]
fn rows_that_do_not_fit_fall_back_and_say_so() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mixed.gguf");
    let base = BaseModel::open(&fixture("tiny-llama")).unwrap();
    let written = write(&path, &base, None, FileType::Q4_K_M).unwrap();
    let used: BTreeMap<&str, TensorType> = written
        .fallbacks
        .iter()
        .map(|(name, _, used)| (name.as_str(), *used))
        .collect();
    assert_eq!(used["token_embd.weight"], TensorType::Q8_0);
    assert_eq!(used["blk.0.attn_q.weight"], TensorType::Q5_0);
    assert_eq!(used["blk.1.attn_v.weight"], TensorType::Q8_0);
    assert!(BaseModel::open(&path).is_ok());
}

/// An adapted head of a model whose head is its embedding gets a tensor of its own.
#[test]
fn a_tied_head_is_untied_when_adapted() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("head.gguf");
    let base = BaseModel::open(&fixture("tiny-llama")).unwrap();
    let head = adapter(&[("lm_head", 32, 481)]);
    let error = weights::lora_gguf::write(&path, &head, base.config(), "x").unwrap_err();
    assert!(
        error.to_string().contains("not in the base model"),
        "{error}"
    );
    write(&path, &base, Some(&head), FileType::F32).unwrap();
    let merged = BaseModel::open(&path).unwrap();
    assert!(base.config().tie_embeddings && !merged.config().tie_embeddings);
    let name = "model.embed_tokens.weight";
    let embedding = base.tensor_f32(name).unwrap();
    assert_eq!(merged.tensor_f32(name).unwrap(), embedding);
    assert_ne!(merged.tensor_f32("lm_head.weight").unwrap(), embedding);
}

#[test]
fn what_cannot_be_written_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out/merged.gguf");
    let base = BaseModel::open(&fixture("tiny-llama")).unwrap();
    let nothing = || {
        !path.exists()
            && std::fs::read_dir(path.parent().unwrap()).is_ok_and(|mut d| d.next().is_none())
    };
    let job = Job {
        base: &base,
        adapter: None,
        file_type: FileType::Q8_0,
        name: "tiny",
    };
    let mut calls = 0;
    let error = convert::write(&path, job, &mut |done, total| {
        calls += 1;
        assert!(done <= total);
        if calls == 3 {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    });
    assert!(matches!(error, Err(WeightsError::Interrupted)));
    assert!(nothing());
    let mut huge = adapter(&MODULES);
    huge.alpha = 1e9;
    let error = write(&path, &base, Some(&huge), FileType::F16).unwrap_err();
    assert!(error.to_string().contains("choose bf16"), "{error}");
    huge.alpha = 1e38;
    huge.tensors.values_mut().for_each(|pair| pair.a.fill(1e30));
    let error = write(&path, &base, Some(&huge), FileType::Q8_0).unwrap_err();
    assert!(
        error.to_string().contains("expected finite numbers"),
        "{error}"
    );
    assert!(nothing());
    for (module, expected) in [
        (
            "model.layers.1.self_attn.k_proj",
            "the base model has the shape [16, 32]",
        ),
        (
            "model.layers.7.self_attn.k_proj",
            "is not in the base model",
        ),
    ] {
        let error = write(
            &path,
            &base,
            Some(&adapter(&[(module, 32, 32)])),
            FileType::F16,
        );
        let error = error.unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    assert!(nothing());
}

#[test]
fn tokenizers_that_gguf_cannot_hold_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out.gguf");
    made::write(folder.path(), &made::Shape::WIDE);
    let file = folder.path().join("tokenizer.json");
    let original: Json = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    let check = |expected: &str, change: &dyn Fn(&mut Json)| {
        let mut document = original.clone();
        change(&mut document);
        std::fs::write(&file, document.to_string()).unwrap();
        let base = BaseModel::open(folder.path()).unwrap();
        let error = write(&path, &base, None, FileType::F16)
            .unwrap_err()
            .to_string();
        assert!(error.contains(expected), "{error}");
        assert!(!path.exists());
    };
    check("byte fallback", &|json| {
        json["model"]["byte_fallback"] = true.into();
    });
    check("Unigram", &|json| json["model"]["type"] = "Unigram".into());
    check("the normalizer", &|json| {
        json["normalizer"] = serde_json::json!({"type": "Lowercase"});
    });
    check("the pre-tokenizer", &|json| {
        json["pre_tokenizer"] = serde_json::json!({"type": "Whitespace"});
    });
    check("expected one below", &|json| {
        json["model"]["vocab"]["zzz"] = 100_000.into();
    });
    check("have the id", &|json| {
        json["model"]["vocab"]["zzz"] = 5.into();
    });
    check("an empty list of merges", &|json| {
        json["model"]["merges"] = serde_json::json!([]);
    });
    check("not a pair", &|json| {
        json["model"]["merges"] = serde_json::json!([["a"]]);
    });
}
