//! An adapter that comes from elsewhere is a run like any other, or is refused by name.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::support::{check, run, tiny};
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use serde_json::{Value, json};
use weights::gguf::{self, Gguf, Tensor, Value as Meta};

const SHORT: &str =
    "--steps 2 --set train.batch_size=2 --set train.validation_examples=4 --model model";
const EVALUATE: &str = "--set evaluate.max_decisions=10 --set evaluate.calibration_decisions=10 \
                        --set evaluate.replicates=100 --set check.max_new_tokens=8";

/// A folder with a tiny model, a data set, a run, and its adapter in `adapter`.
fn trained() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    fs::create_dir(at.join("model")).unwrap();
    tiny::write(&at.join("model"));
    check(
        &run(at, "dataset build --world planted --blocks 80"),
        0,
        &[],
    );
    check(&run(at, &format!("train sft --out run {SHORT}")), 0, &[]);
    check(&run(at, "export peft run --out adapter"), 0, &[]);
    folder
}

fn edit(path: &Path, change: impl FnOnce(&mut Value)) {
    let mut value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    change(&mut value);
    fs::write(path, serde_json::to_vec(&value).unwrap()).unwrap();
}

/// Copies the adapter to `to` with other tensors.
fn with_tensors(
    at: &Path,
    to: &str,
    change: impl FnOnce(&mut BTreeMap<String, (Vec<usize>, Vec<u8>)>),
) {
    fs::create_dir(at.join(to)).unwrap();
    fs::copy(
        at.join("adapter/adapter_config.json"),
        at.join(to).join("adapter_config.json"),
    )
    .unwrap();
    let bytes = fs::read(at.join("adapter/adapter_model.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let mut tensors: BTreeMap<String, (Vec<usize>, Vec<u8>)> = file
        .iter()
        .map(|(name, view)| {
            (
                name.to_owned(),
                (view.shape().to_vec(), view.data().to_vec()),
            )
        })
        .collect();
    change(&mut tensors);
    let views = tensors.iter().map(|(name, (shape, bytes))| {
        (
            name.as_str(),
            TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap(),
        )
    });
    let bytes = safetensors::serialize(views, None).unwrap();
    fs::write(at.join(to).join("adapter_model.safetensors"), bytes).unwrap();
}

#[test]
fn an_adapter_comes_back_as_a_run() {
    let folder = trained();
    let at = folder.path();
    // As a recipe leaves it: with its origin and its log.
    fs::copy(
        at.join("run/metrics.jsonl"),
        at.join("adapter/metrics.jsonl"),
    )
    .unwrap();
    let text = fs::read_to_string(at.join("adapter/metrics.jsonl")).unwrap();
    let steps: Vec<&str> = text
        .lines()
        .filter(|line| line.contains("total_steps"))
        .collect();
    fs::write(at.join("adapter/metrics.jsonl"), steps.join("\n")).unwrap();
    let record: Value =
        serde_json::from_slice(&fs::read(at.join("run/manifest.json")).unwrap()).unwrap();
    let origin = json!({
        "kind": "foretune-adapter", "schema": 1, "base_sha256": record["model_sha256"],
        "dataset_sha256": record["dataset_sha256"],
    });
    fs::write(at.join("adapter/foretune.json"), origin.to_string()).unwrap();
    let import = run(at, "import adapter --model model --out back --json");
    check(&import, 0, &[]);
    let told: Value = serde_json::from_str(&import.stdout).unwrap();
    assert_eq!(
        (told["rank"].as_u64(), told["steps"].as_u64()),
        (Some(8), Some(2))
    );
    assert_eq!(told["targets"], json!(["q_proj", "v_proj"]));
    let read = |path: &str| fs::read(at.join(path)).unwrap();
    assert!(
        read("run/adapter/adapter_model.safetensors")
            == read("back/adapter/adapter_model.safetensors")
    );
    // What a run can do, it can.
    check(
        &run(at, "export lora-gguf run --out a/adapter.gguf"),
        0,
        &[],
    );
    check(
        &run(at, "export lora-gguf back --out b/adapter.gguf"),
        0,
        &[],
    );
    let (ours, theirs) = (read("a/adapter.gguf"), read("b/adapter.gguf"));
    // The files differ in the name of the run and hold the same tensors behind it.
    let tensors = 2 * (3 * 32 + 16) * 8 * 4;
    assert!(ours[ours.len() - tensors..] == theirs[theirs.len() - tensors..]);
    check(&run(at, &format!("evaluate back {EVALUATE}")), 0, &[]);
    check(&run(at, &format!("evaluate run {EVALUATE}")), 0, &[]);
    assert!(read("run/decisions.jsonl") == read("back/decisions.jsonl"));
    check(&run(at, "report back"), 0, &[]);

    // Another data set or base than it was packed for.
    check(
        &run(at, "dataset build --world null --blocks 80 --out other"),
        0,
        &[],
    );
    let other = run(at, "import adapter --model model --dataset other --out c");
    check(
        &other,
        4,
        &[
            "packed for a data set whose manifest has sha256",
            "--allow-other",
        ],
    );
    edit(&at.join("adapter/foretune.json"), |origin| {
        origin["base_sha256"] = "00".into();
    });
    let other = run(at, "import adapter --model model --out c");
    check(
        &other,
        4,
        &["packed for a base model with sha256 00", "--allow-other"],
    );
    assert!(!at.join("c").exists());
    check(
        &run(at, "import adapter --model model --out c --allow-other"),
        0,
        &["warning:"],
    );
    edit(&at.join("adapter/foretune.json"), |origin| {
        origin["kind"] = "else".into();
    });
    check(
        &run(at, "import adapter --model model --out d"),
        4,
        &["foretune.json", "`kind` is `else`"],
    );
}

#[test]
fn an_adapter_without_a_history_is_still_a_run() {
    let folder = trained();
    let at = folder.path();
    check(&run(at, "import adapter --model model --out back"), 0, &[]);
    check(&run(at, &format!("evaluate back {EVALUATE}")), 0, &[]);
    check(&run(at, "report back"), 0, &[]);
    // Imported again, the first one is kept.
    check(
        &run(at, "import adapter --model model --out back"),
        0,
        &["is now back.1"],
    );
}

#[test]
fn what_is_no_plain_lora_of_this_base_is_refused_by_name() {
    let folder = trained();
    let at = folder.path();
    let refused = |adapter: &str, fragments: &[&str]| {
        let done = run(at, &format!("import {adapter} --model model --out back"));
        check(&done, 4, fragments);
        assert!(!at.join("back").exists());
    };
    for (number, (key, value)) in [
        ("r", json!(0)),
        ("use_dora", json!(true)),
        ("modules_to_save", json!(["lm_head"])),
        ("bias", json!("all")),
        ("rank_pattern", json!({"q_proj": 4})),
        ("peft_type", json!("LOHA")),
        ("lora_bias", json!(true)),
        ("layer_replication", json!([[0, 1]])),
        ("trainable_token_indices", json!([1, 2])),
        ("target_parameters", json!(["experts.down_proj"])),
        ("alora_invocation_tokens", json!([1])),
        ("use_qalora", json!(true)),
        ("init_lora_weights", json!("pissa")),
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("config{number}");
        with_tensors(at, &name, |_| ());
        edit(&at.join(&name).join("adapter_config.json"), |config| {
            config[key] = value;
        });
        let hint = if key == "r" {
            "hint:"
        } else {
            "hint: train plain LoRA (no DoRA, no modules_to_save, bias none), or merge it with PEFT"
        };
        refused(&name, &[&format!("the key `{key}`"), hint]);
    }
    let first = "base_model.model.model.layers.0.self_attn.q_proj";
    with_tensors(at, "magnitude", |tensors| {
        tensors.insert(
            format!("{first}.lora_magnitude_vector"),
            (vec![2], vec![0; 8]),
        );
    });
    refused(
        "magnitude",
        &["lora_magnitude_vector", "hint: train plain LoRA (no DoRA"],
    );
    with_tensors(at, "saved", |tensors| {
        tensors.insert(
            "base_model.model.lm_head.weight".to_owned(),
            (vec![2], vec![0; 8]),
        );
    });
    refused("saved", &["lm_head.weight", "plain LoRA"]);
    with_tensors(at, "half", |tensors| {
        tensors.remove(&format!("{first}.lora_B.weight")).unwrap();
    });
    refused("half", &["q_proj.lora_B.weight", "is missing"]);
    with_tensors(at, "narrow", |tensors| {
        let (shape, bytes) = tensors.get_mut(&format!("{first}.lora_A.weight")).unwrap();
        *bytes = bytes[..bytes.len() / 2].to_vec();
        shape[1] /= 2;
    });
    refused(
        "narrow",
        &["does not fit the base model", "the base model's is 32 x 32"],
    );
    with_tensors(at, "deep", |tensors| {
        for side in ["A", "B"] {
            let pair = tensors[&format!("{first}.lora_{side}.weight")].clone();
            let name =
                format!("base_model.model.model.layers.7.self_attn.q_proj.lora_{side}.weight");
            tensors.insert(name, pair);
        }
    });
    refused(
        "deep",
        &[
            "model.layers.7.self_attn.q_proj",
            "does not exist in the base model",
        ],
    );
    with_tensors(at, "infinite", |tensors| {
        let (_, bytes) = tensors.get_mut(&format!("{first}.lora_A.weight")).unwrap();
        bytes[..4].copy_from_slice(&f32::INFINITY.to_le_bytes());
    });
    refused("infinite", &["non-finite"]);
    with_tensors(at, "pickle", |_| ());
    fs::rename(
        at.join("pickle/adapter_model.safetensors"),
        at.join("pickle/adapter_model.bin"),
    )
    .unwrap();
    refused(
        "pickle",
        &["a pickle, which is never read", "safe_serialization"],
    );
    refused("dataset", &["is not a PEFT directory"]);
}

#[test]
fn an_import_that_fails_leaves_the_run_that_is_there() {
    let folder = trained();
    let at = folder.path();
    check(&run(at, "import adapter --model model --out back"), 0, &[]);
    let before = fs::read(at.join("back/manifest.json")).unwrap();
    let names = |at: &Path| {
        let entries = fs::read_dir(at).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    // PEFT's file has a whole number there: such an adapter is read and cannot be written.
    with_tensors(at, "fraction", |_| ());
    edit(&at.join("fraction/adapter_config.json"), |config| {
        config["lora_alpha"] = json!(4.5);
    });
    let listed = names(at);
    for out in ["back", "fresh"] {
        let done = run(at, &format!("import fraction --model model --out {out}"));
        assert_ne!(done.code, 0, "{done:#?}");
        assert!(done.stderr.contains("alpha"), "{done:#?}");
    }
    assert_eq!(names(at), listed);
    assert!(fs::read(at.join("back/manifest.json")).unwrap() == before);
    check(&run(at, &format!("evaluate back {EVALUATE}")), 0, &[]);
}

/// Copies the LoRA GGUF file `from` to `to` with other metadata and tensors.
fn with_gguf(
    at: &Path,
    to: &str,
    change: impl FnOnce(&mut BTreeMap<String, Meta>, &mut Vec<Tensor<'static>>),
) {
    let file = Gguf::open(&at.join("adapter.gguf")).unwrap();
    let mut metadata = file.header().metadata.clone();
    let stored = file.header().tensors.iter().map(|tensor| Tensor {
        name: tensor.name.clone(),
        shape: tensor.shape.clone(),
        tensor_type: tensor.tensor_type,
        bytes: file.bytes(tensor).to_vec().into(),
    });
    let mut tensors = stored.collect();
    change(&mut metadata, &mut tensors);
    gguf::write(&at.join(to), &metadata, &tensors).unwrap();
}

#[test]
fn a_lora_gguf_comes_back_as_a_run_that_decides_alike() {
    let folder = trained();
    let at = folder.path();
    check(&run(at, "export lora-gguf run --out adapter.gguf"), 0, &[]);
    with_gguf(at, "elsewhere.gguf", |metadata, _| {
        let key = "general.base_model.0.name".to_owned();
        metadata.insert(key, Meta::from("Somebody's Llama"));
    });
    let import = run(at, "import elsewhere.gguf --base model --out back --json");
    check(&import, 0, &["its base model is Somebody's Llama"]);
    let told: Value = serde_json::from_str(&import.stdout).unwrap();
    assert_eq!(
        (told["rank"].as_u64(), told["steps"].as_u64()),
        (Some(8), Some(0))
    );
    assert_eq!(told["targets"], json!(["q_proj", "v_proj"]));
    let read = |path: &str| fs::read(at.join(path)).unwrap();
    assert!(
        read("run/adapter/adapter_model.safetensors")
            == read("back/adapter/adapter_model.safetensors")
    );
    check(&run(at, &format!("evaluate back {EVALUATE}")), 0, &[]);
    check(&run(at, &format!("evaluate run {EVALUATE}")), 0, &[]);
    assert!(read("run/decisions.jsonl") == read("back/decisions.jsonl"));
    check(&run(at, "report back"), 0, &[]);
}

#[test]
fn a_lora_gguf_of_something_else_is_refused_by_name() {
    let folder = trained();
    let at = folder.path();
    check(&run(at, "export lora-gguf run --out adapter.gguf"), 0, &[]);
    let refused = |file: &str, fragments: &[&str]| {
        let done = run(at, &format!("import {file} --base model --out back"));
        check(&done, 4, fragments);
        assert!(!at.join("back").exists());
    };
    with_gguf(at, "qwen.gguf", |metadata, _| {
        metadata.insert("general.architecture".into(), "qwen2".into());
    });
    refused(
        "qwen.gguf",
        &[
            "qwen.gguf",
            "`general.architecture` is `qwen2`, expected `llama`",
        ],
    );
    with_gguf(at, "model.gguf", |metadata, _| {
        metadata.insert("general.type".into(), "model".into());
    });
    refused(
        "model.gguf",
        &["`general.type` is `model`, expected `adapter`"],
    );
    with_gguf(at, "narrow.gguf", |_, tensors| {
        let a = tensors
            .iter_mut()
            .find(|t| t.name.ends_with("attn_v.weight.lora_a"))
            .unwrap();
        a.shape[1] = 16;
        a.bytes.to_mut().truncate(8 * 16 * 4);
    });
    refused(
        "narrow.gguf",
        &[
            "`narrow.gguf` does not fit the base model `model`",
            "v_proj",
            "--base",
        ],
    );
    with_gguf(at, "deep.gguf", |_, tensors| {
        for tensor in tensors {
            tensor.name = tensor.name.replace("blk.1.", "blk.7.");
        }
    });
    refused("deep.gguf", &["model.layers.7.self_attn.q_proj", "--base"]);
    with_gguf(at, "saved.gguf", |_, tensors| {
        tensors[0].name = "output_norm.weight".into();
    });
    refused(
        "saved.gguf",
        &["`output_norm.weight` is not half of a LoRA pair"],
    );
    with_gguf(at, "half.gguf", |_, tensors| {
        tensors.retain(|t| t.name != "blk.0.attn_q.weight.lora_b");
    });
    refused("half.gguf", &["blk.0.attn_q.weight.lora_b", "is missing"]);
    with_gguf(at, "none.gguf", |_, tensors| tensors.clear());
    refused("none.gguf", &["`none.gguf`", "holds no low-rank pair"]);
    with_gguf(at, "zero.gguf", |_, tensors| {
        for tensor in tensors {
            let side = usize::from(tensor.name.ends_with("lora_b"));
            tensor.shape[side] = 0;
            tensor.bytes.to_mut().clear();
        }
    });
    refused("zero.gguf", &["zero.gguf", "has a dimension of 0"]);
    fs::write(at.join("text.gguf"), "no adapter").unwrap();
    refused("text.gguf", &["`text.gguf` is no GGUF file"]);
    let bytes = fs::read(at.join("adapter.gguf")).unwrap();
    fs::write(at.join("torn.gguf"), &bytes[..bytes.len() - 40]).unwrap();
    refused("torn.gguf", &["torn.gguf"]);
}
