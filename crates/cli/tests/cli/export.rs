//! Every form an adapter is exported in, and what is refused.

use std::fs;
use std::path::Path;

use crate::support::{Run, check, finish, foretune, run, tiny};
use serde_json::{Value, json};
use weights::gguf::{Gguf, TensorType};
use weights::{BaseModel, peft};

/// Two steps on every projection; long enough for an adapter that changes something.
const TRAIN: &str = "--steps 2 --set train.batch_size=2 --set train.validation_examples=4 \
                     --set train.learning_rate=2e-2 \
                     --set train.targets=[\"q_proj\",\"k_proj\",\"v_proj\",\"o_proj\",\"gate_proj\",\"up_proj\",\"down_proj\"]";

/// A folder with a run on a GGUF base (`run`) and one on a directory (`other`).
fn trained() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    tiny::write_gguf(&at.join("model.gguf"));
    fs::create_dir(at.join("model")).unwrap();
    tiny::write(&at.join("model"));
    check(
        &run(at, "dataset build --world planted --blocks 80 --out data"),
        0,
        &[],
    );
    for (out, model) in [("run", "model.gguf"), ("other", "model")] {
        let command = format!("train sft --dataset data --out {out} --model {model} {TRAIN}");
        check(&run(at, &command), 0, &[]);
    }
    folder
}

fn json_of(run: &Run) -> Value {
    serde_json::from_str(&run.stdout).unwrap()
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn merged_models_of_every_type() {
    let folder = trained();
    let at = folder.path();
    let base = BaseModel::open(&at.join("model.gguf")).unwrap();
    let (adapter, _) = peft::read(&at.join("run/adapter")).unwrap();
    let name = "model.layers.1.self_attn.k_proj";
    let pair = &adapter.tensors[name];
    let scale = adapter.scale() as f32;
    let plain = base.tensor_f32(&format!("{name}.weight")).unwrap();
    // W + scale * B A, written out.
    let expected: Vec<f32> = plain
        .iter()
        .enumerate()
        .map(|(at, w)| {
            let (row, column) = (at / pair.in_features, at % pair.in_features);
            let b = &pair.b[row * pair.rank..][..pair.rank];
            let a = (0..pair.rank).map(|r| pair.a[r * pair.in_features + column]);
            w + scale * b.iter().zip(a).map(|(b, a)| b * a).sum::<f32>()
        })
        .collect();
    let changed = plain
        .iter()
        .zip(&expected)
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, f32::max);
    assert!(changed > 1e-3, "{changed}");
    for (kind, stored, code, most) in [
        ("f32", TensorType::F32, 0, 1e-6),
        ("f16", TensorType::F16, 1, 2e-4),
        ("bf16", TensorType::BF16, 32, 2e-3),
        ("q8_0", TensorType::Q8_0, 7, 2e-3),
        // Rows of 32 values fall back from Q4_K.
        ("q4_k_m", TensorType::Q5_0, 15, 2e-2),
    ] {
        let exported = run(at, &format!("export gguf run --type {kind} --json"));
        check(&exported, 0, &[]);
        let told = json_of(&exported);
        assert_eq!(told["merged"], 14, "{told}");
        assert_eq!(told["fallbacks"] != json!([]), kind == "q4_k_m", "{told}");
        let path = at.join(format!("run/export/model-{kind}.gguf"));
        assert_eq!(
            told["files"][0]["bytes"],
            fs::metadata(&path).unwrap().len()
        );
        let file = Gguf::open(&path).unwrap();
        let tensor = file.tensor("blk.1.attn_k.weight").unwrap();
        assert_eq!(tensor.tensor_type, stored);
        let found = file
            .get("general.file_type")
            .and_then(weights::gguf::Value::as_u64);
        assert_eq!(found, Some(code));
        let merged = BaseModel::open(&path).unwrap();
        let values = merged.tensor_f32(&format!("{name}.weight")).unwrap();
        let error = values
            .iter()
            .zip(&expected)
            .map(|(a, b)| (a - b).abs())
            .fold(0.0, f32::max);
        assert!(error <= most, "{kind}: {error}");
    }
    let again = run(at, "export gguf run --type f16 --out again.gguf");
    check(&again, 0, &[]);
    let first = fs::read(at.join("run/export/model-f16.gguf")).unwrap();
    assert!(first == fs::read(at.join("again.gguf")).unwrap());
}

#[test]
fn adapters_in_fewer_bits() {
    let folder = trained();
    let at = folder.path();
    for (kind, stored) in [("f16", TensorType::F16), ("q8_0", TensorType::Q8_0)] {
        check(
            &run(at, &format!("export lora-gguf run --type {kind}")),
            0,
            &[],
        );
        let file = Gguf::open(&at.join(format!("run/export/adapter-{kind}.gguf"))).unwrap();
        let tensor = file.tensor("blk.0.attn_q.weight.lora_a").unwrap();
        assert_eq!(tensor.tensor_type, stored);
    }
    let refused = run(at, "export lora-gguf run --type q4_k_m");
    check(&refused, 2, &["none of f32, f16, bf16 and q8_0"]);
    let refused = run(at, "export gguf run --type q3_k");
    check(&refused, 2, &["none of f32, f16, bf16, q8_0 and q4_k_m"]);
}

#[test]
fn a_bundle_for_ollama_is_complete() {
    let folder = trained();
    let at = folder.path();
    let exported = run(at, "export ollama run --json");
    check(&exported, 0, &[]);
    assert_eq!(json_of(&exported)["dialect"], "ChatML");
    let bundle = at.join("run/export/ollama");
    let files = [
        "Modelfile",
        "README.md",
        "adapter.gguf",
        "base.gguf",
        "manifest.json",
    ];
    assert_eq!(names(&bundle), files);
    let base = fs::read(at.join("model.gguf")).unwrap();
    assert!(fs::read(bundle.join("base.gguf")).unwrap() == base);
    let modelfile = fs::read_to_string(bundle.join("Modelfile")).unwrap();
    for line in [
        "FROM ./base.gguf",
        "ADAPTER ./adapter.gguf",
        "PARAMETER stop \"<|im_end|>\"",
        "PARAMETER temperature 0",
        "PARAMETER repeat_penalty 1",
    ] {
        assert!(
            modelfile.lines().any(|found| found == line),
            "{line}: {modelfile}"
        );
    }
    let manifest = fs::read(bundle.join("manifest.json")).unwrap();
    let manifest: Value = serde_json::from_slice(&manifest).unwrap();
    assert_eq!(manifest["files"].as_array().unwrap().len(), 4);
    // A bundle takes the place of a bundle, and of nothing else.
    let merged = "export ollama run --form merged --type f16";
    check(&run(at, merged), 0, &[]);
    assert_eq!(
        names(&bundle),
        ["Modelfile", "README.md", "manifest.json", "model.gguf"]
    );
    check(
        &run(at, &format!("{merged} --out data")),
        2,
        &["no bundle for ollama", "--out"],
    );
    assert!(at.join("data/manifest.json").exists());
    assert_eq!(names(&at.join("run/export")), ["ollama"]);
}

#[test]
fn a_base_that_is_a_directory() {
    let folder = trained();
    let at = folder.path();
    check(&run(at, "export lora-gguf other"), 0, &[]);
    let refused = run(at, "export ollama other --form adapter");
    check(&refused, 4, &["is a directory", "--form merged"]);
    // Its tokenizer has no merges, which llama.cpp does not take.
    check(
        &run(at, "export gguf other"),
        4,
        &["an empty list of merges"],
    );
    check(
        &run(at, "check other"),
        4,
        &["an empty list of merges", "GGUF"],
    );
    tiny::give_a_merge(&at.join("model"));
    // Another tokenizer is another base model.
    check(&run(at, "export gguf other"), 4, &["trained on"]);
    let train = format!("train sft --dataset data --out third --model model {TRAIN}");
    check(&run(at, &train), 0, &[]);
    check(&run(at, "export gguf third --type f16"), 0, &[]);
    let merged = BaseModel::open(&at.join("third/export/model-f16.gguf")).unwrap();
    assert_eq!(merged.config().num_layers, 2);
    check(&run(at, "export ollama third --json"), 0, &[]);
    let modelfile = fs::read_to_string(at.join("third/export/ollama/Modelfile")).unwrap();
    assert!(
        modelfile.starts_with("FROM ./model.gguf\nTEMPLATE"),
        "{modelfile}"
    );
}

/// What an adapter may say beyond two matrices, and an adapter of another base.
#[test]
fn adapters_that_do_not_fit_are_refused() {
    let folder = trained();
    let at = folder.path();
    let config = at.join("run/adapter/adapter_config.json");
    let original = fs::read_to_string(&config).unwrap();
    let with = |key: &str, value: Value| {
        let mut changed: Value = serde_json::from_str(&original).unwrap();
        changed[key] = value;
        fs::write(&config, changed.to_string()).unwrap();
    };
    for (key, value) in [
        ("r", json!(0)),
        ("use_dora", json!(true)),
        ("modules_to_save", json!(["lm_head"])),
        ("rank_pattern", json!({"q_proj": 2})),
    ] {
        with(key, value);
        for form in [
            "gguf run",
            "lora-gguf run",
            "ollama run",
            "peft run --out peft",
        ] {
            check(&run(at, &format!("export {form}")), 4, &[key, "hint:"]);
        }
    }
    fs::write(&config, &original).unwrap();
    // A pair of another shape: the LoRA form says what else there is.
    let (mut adapter, name) = peft::read(&at.join("run/adapter")).unwrap();
    let pair = adapter
        .tensors
        .remove("model.layers.0.self_attn.q_proj")
        .unwrap();
    adapter
        .tensors
        .insert("model.layers.0.self_attn.k_proj".to_owned(), pair);
    peft::write(&at.join("run/adapter"), &adapter, &name).unwrap();
    let refused = run(at, "export lora-gguf run");
    check(
        &refused,
        4,
        &["the base model has the shape", "foretune export gguf"],
    );
    check(
        &run(at, "export gguf run"),
        4,
        &["the base model has the shape"],
    );
    assert!(!at.join("run/export").exists() || names(&at.join("run/export")).is_empty());
    let refused = run(at, "export gguf run --out model.gguf");
    check(&refused, 2, &["is the base model"]);
    fs::write(at.join("text.gguf"), "text").unwrap();
    check(
        &run(at, "export gguf run --out text.gguf"),
        2,
        &["is not a GGUF file"],
    );
}

/// Every command of the page, in its order.
#[test]
fn the_commands_of_the_page_run() {
    let folder = trained();
    let at = folder.path();
    fs::create_dir(at.join("runs")).unwrap();
    fs::rename(at.join("run"), at.join("runs/first")).unwrap();
    let settings = at.join("runs/first/manifest.json");
    // The data set was named relative to where the run was made; it still is there.
    let text = fs::read_to_string(&settings).unwrap();
    assert!(text.contains("/data\""), "{text}");
    let page =
        fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/export.md")).unwrap();
    let block = page
        .split("```sh\n")
        .nth(1)
        .unwrap()
        .split("```")
        .next()
        .unwrap();
    let commands: Vec<&str> = block.lines().collect();
    assert!(commands.len() >= 9, "{commands:?}");
    for command in commands {
        let arguments = command.strip_prefix("foretune ").unwrap();
        let mut words: Vec<&str> = arguments.split_whitespace().collect();
        if words[0] == "check" {
            // A random model's answers have no form, and it may know one class only.
            let more = "--set check.form_rate=0 --set check.grounded=0 --set check.max_new_tokens=4 --set check.prompts=2 \
                        --set check.review=4 --set check.agreement=0";
            words.extend(more.split_whitespace());
        }
        let mut typed = foretune(at);
        let done = finish(
            typed
                .args(&words)
                .env("FORETUNE_CACHE", crate::interop::cache()),
        );
        if crate::interop::is_missing(&done) {
            crate::interop::skipped(command, &done.stderr);
            continue;
        }
        check(&done, 0, &[]);
    }
    assert!(at.join("signal/Modelfile").exists() && at.join("signal.gguf").exists());
}
