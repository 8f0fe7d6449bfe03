//! Every way in which a model's files can be wrong names the file, the tensor or the setting, and
//! says what to do.
#![expect(
    clippy::unwrap_used,
    reason = "in a test a failed step is a failed test"
)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use safetensors::Dtype;
use safetensors::tensor::{SafeTensors, TensorView};
use serde_json::{Value as Json, json};
use weights::gguf::{self, Gguf, Value};
use weights::{BaseModel, WeightsError};

type Stored = (Dtype, Vec<usize>, Vec<u8>);

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(name)
}

fn tensors() -> BTreeMap<String, Stored> {
    let bytes = std::fs::read(fixture("tiny-llama/model.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let stored = |view: TensorView<'_>| (view.dtype(), view.shape().to_vec(), view.data().to_vec());
    let tensors = file.tensors().into_iter();
    tensors.map(|(name, view)| (name, stored(view))).collect()
}

fn write(path: &Path, tensors: &BTreeMap<String, Stored>) {
    let views = tensors.iter().map(|(name, (dtype, shape, data))| {
        let view = TensorView::new(*dtype, shape.clone(), data).unwrap();
        (name.as_str(), view)
    });
    std::fs::write(path, safetensors::serialize(views, None).unwrap()).unwrap();
}

/// Asserts that an error says each of `parts` and what to do.
fn says(error: &WeightsError, parts: &[&str]) {
    let text = error.to_string();
    for part in parts {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(error.hint().is_some(), "{text}");
}

/// A directory of two shards and their index.
struct Shards(tempfile::TempDir);

impl Shards {
    fn new(change: impl FnOnce(&mut [BTreeMap<String, Stored>; 2], &mut Json)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut shards = [BTreeMap::new(), BTreeMap::new()];
        let mut map = serde_json::Map::new();
        for (index, (name, stored)) in tensors().into_iter().enumerate() {
            map.insert(name.clone(), json!(format!("{}.safetensors", index % 2)));
            shards[index % 2].insert(name, stored);
        }
        let mut index = json!({"metadata": {}, "weight_map": map});
        change(&mut shards, &mut index);
        let at = |name: &str| folder.path().join(name);
        for (number, shard) in shards.iter().enumerate() {
            write(&at(&format!("{number}.safetensors")), shard);
        }
        std::fs::write(at("model.safetensors.index.json"), index.to_string()).unwrap();
        for name in ["config.json", "tokenizer.json", "tokenizer_config.json"] {
            std::fs::copy(fixture("tiny-llama").join(name), at(name)).unwrap();
        }
        Self(folder)
    }

    fn error(&self) -> WeightsError {
        BaseModel::open(self.0.path()).err().unwrap()
    }
}

const NORM: &str = "model.norm.weight";

fn home(shards: &mut [BTreeMap<String, Stored>; 2], tensor: &str) -> usize {
    usize::from(shards[1].contains_key(tensor))
}

#[test]
fn sound_shards_open() {
    let sound = Shards::new(|_, _| ());
    let model = BaseModel::open(sound.0.path()).unwrap();
    assert_eq!(model.tensor_names().count(), tensors().len());
}

#[test]
fn a_missing_shard_is_named() {
    let shards = Shards::new(|_, _| ());
    std::fs::remove_file(shards.0.path().join("1.safetensors")).unwrap();
    says(
        &shards.error(),
        &["`1.safetensors`", "model.safetensors.index.json", "missing"],
    );
}

#[test]
fn a_shard_cut_short_is_named() {
    let shards = Shards::new(|_, _| ());
    let path = shards.0.path().join("1.safetensors");
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
    says(
        &shards.error(),
        &["1.safetensors", "not a valid safetensors"],
    );
}

#[test]
fn tensors_missing_surplus_or_doubled_are_named() {
    let missing = Shards::new(|shards, _| {
        let at = home(shards, NORM);
        shards[at].remove(NORM);
    });
    says(
        &missing.error(),
        &[NORM, "index.json", "none of the shards"],
    );
    let unlisted = Shards::new(|shards, index| {
        let at = home(shards, NORM);
        shards[at].remove(NORM);
        index["weight_map"].as_object_mut().unwrap().remove(NORM);
    });
    says(&unlisted.error(), &[NORM, "is missing"]);
    let surplus = Shards::new(|shards, _| {
        let extra = (Dtype::F32, vec![4], vec![0; 16]);
        shards[0].insert("model.layers.9.extra".into(), extra);
    });
    says(
        &surplus.error(),
        &["`model.layers.9.extra`", "does not belong"],
    );
    let doubled = Shards::new(|shards, _| {
        let at = home(shards, NORM);
        let copy = shards[at][NORM].clone();
        shards[1 - at].insert(NORM.into(), copy);
    });
    says(&doubled.error(), &[NORM, ".safetensors", "a second time"]);
}

#[test]
fn shapes_and_types_are_named() {
    let shape = Shards::new(|shards, _| {
        let at = home(shards, NORM);
        shards[at].insert(NORM.into(), (Dtype::F32, vec![16, 2], vec![0; 128]));
    });
    says(&shape.error(), &[NORM, "[16, 2]", "expected [32]"]);
    for (dtype, size) in [(Dtype::F64, 8), (Dtype::I8, 1), (Dtype::U8, 1)] {
        let typed = Shards::new(|shards, _| {
            let at = home(shards, NORM);
            shards[at].insert(NORM.into(), (dtype, vec![32], vec![0; 32 * size]));
        });
        let name = format!("{dtype:?}");
        says(&typed.error(), &[NORM, &name, "expected F32, F16 or BF16"]);
    }
}

#[test]
fn an_index_that_leaves_the_directory_is_refused() {
    for place in ["../model.safetensors", "/etc/passwd", "a.bin"] {
        let shards = Shards::new(|_, index| index["weight_map"][NORM] = json!(place));
        says(&shards.error(), &["weight_map", NORM, place]);
    }
}

fn config(changes: &Json) -> WeightsError {
    let shards = Shards::new(|_, _| ());
    let path = shards.0.path().join("config.json");
    let mut config: Json = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    let object = config.as_object_mut().unwrap();
    object.extend(changes.as_object().unwrap().clone());
    std::fs::write(&path, config.to_string()).unwrap();
    shards.error()
}

#[test]
fn what_is_not_supported_is_named_with_what_is() {
    for (changes, parts) in [
        (
            json!({"architectures": ["GemmaForCausalLM"]}),
            ["`GemmaForCausalLM`", "Llama, Mistral, Qwen2 or Qwen3"],
        ),
        (
            json!({"rope_parameters": {"rope_theta": 1e4, "rope_type": "longrope", "factor": 2.0}}),
            ["`longrope`", "llama3"],
        ),
        (
            json!({"quantization_config": {"quant_method": "gptq"}}),
            ["`gptq`", "expected"],
        ),
        (json!({"hidden_act": "relu"}), ["`relu`", "silu"]),
    ] {
        let error = config(&changes);
        assert!(matches!(error, WeightsError::Unsupported { .. }), "{error}");
        says(&error, &["config.json", parts[0], parts[1]]);
    }
}

fn changed_gguf(key: &str, value: Value) -> WeightsError {
    let source = Gguf::open(&fixture("tiny-llama.gguf")).unwrap();
    let mut metadata = source.header().metadata.clone();
    metadata.insert(key.to_owned(), value);
    let tensors: Vec<gguf::Tensor<'_>> = source
        .header()
        .tensors
        .iter()
        .map(|tensor| gguf::Tensor {
            name: tensor.name.clone(),
            shape: tensor.shape.clone(),
            tensor_type: tensor.tensor_type,
            bytes: source.bytes(tensor).into(),
        })
        .collect();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("changed.gguf");
    gguf::write(&path, &metadata, &tensors).unwrap();
    match BaseModel::open(&path) {
        Ok(model) => model.tokenizer_json().unwrap_err(),
        Err(error) => error,
    }
}

#[test]
fn gguf_files_of_other_kinds_are_named_with_what_is_supported() {
    for (key, value, parts) in [
        ("general.architecture", "phi3", ["`phi3`", "Llama, Mistral"]),
        (
            "tokenizer.ggml.model",
            "llama",
            ["tokenizer `llama`", "gpt2"],
        ),
        ("tokenizer.ggml.pre", "viking", ["`viking`", "tekken"]),
    ] {
        let error = changed_gguf(key, Value::from(value));
        assert!(matches!(error, WeightsError::Unsupported { .. }), "{error}");
        says(&error, &["changed.gguf", parts[0], parts[1]]);
    }
    let error = changed_gguf("split.count", Value::U16(3));
    says(&error, &["split.count = 3", "--merge", "changed.gguf"]);
    // A file that is a split of one is whole.
    let source = Gguf::open(&fixture("tiny-llama.gguf")).unwrap();
    assert!(source.get("split.count").is_none());
}

#[test]
fn a_directory_without_its_tokenizer_says_how_to_get_one() {
    let shards = Shards::new(|_, _| ());
    let path = shards.0.path();
    std::fs::remove_file(path.join("tokenizer.json")).unwrap();
    std::fs::write(path.join("tokenizer.model"), b"sentencepiece").unwrap();
    let error = BaseModel::open(path).unwrap().tokenizer_json().unwrap_err();
    says(&error, &["tokenizer.json"]);
    assert!(error.hint().unwrap().contains("`tokenizer.model`"));
}
