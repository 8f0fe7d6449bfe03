//! llama.cpp itself, from its wheel, reads what `weights` writes: merged models of every type, and
//! every family of base model converted from a directory. A machine without python3, pip or
//! network says so and goes on.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::support::{Run, check, finish, foretune, run, tiny};
use serde_json::{Value, json};
use weights::convert::{self, FileType, Job};
use weights::{BaseModel, peft};

/// Largest difference, in nats, between llama.cpp's log-probabilities in f32 and those of
/// transformers and PEFT. Both add up in f32, in other orders and with other exponentials: 2e-4 was
/// measured at most.
const LOG_PROBABILITY: f64 = 1e-3;

/// The flags of a check on a random model, which has no form and may know one class only.
const RANDOM: &str = "--json --set check.form_rate=0 --set check.grounded=0 --set check.max_new_tokens=8 \
                      --set check.prompts=4 --set check.review=12 --set check.one_class=warn";

/// Where the environment of llama.cpp is kept from run to run.
pub(crate) fn cache() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("llama-cache")
}

/// Says on the terminal, past the test harness's capture, what was not tested and why.
pub(crate) fn skipped(what: &str, reason: &str) {
    use std::io::Write;
    let mut terminal = std::io::stderr();
    let _ = writeln!(terminal, "SKIPPED {what}: {reason}");
}

/// Returns whether there is no llama.cpp to be had; one that refuses or fails is another matter.
pub(crate) fn is_missing(done: &Run) -> bool {
    done.code == 6 && !done.stderr.contains("llama.cpp: ")
}

/// A folder with a data set, and a run on a model of rows of 256 values.
fn trained_wide() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    tiny::write_gguf_of(&at.join("model.gguf"), tiny::WIDE);
    check(
        &run(at, "dataset build --world planted --blocks 80 --out data"),
        0,
        &[],
    );
    let all = "--set train.targets=[\"q_proj\",\"k_proj\",\"v_proj\",\"o_proj\",\"gate_proj\",\"up_proj\",\"down_proj\"]";
    let train = format!(
        "train sft --dataset data --out run --model model.gguf --steps 4 --set train.batch_size=2 \
         --set train.validation_examples=4 --set train.learning_rate=2e-3 {all}"
    );
    check(&run(at, &train), 0, &[]);
    folder
}

/// Checks a run; `None` when there is no llama.cpp to be had.
fn checked(at: &Path, what: &str, flags: &str) -> Option<Value> {
    let arguments = format!("check run {RANDOM} {flags}");
    let mut command = foretune(at);
    command
        .args(arguments.split_whitespace())
        .env("FORETUNE_CACHE", cache());
    let done = finish(&mut command);
    if is_missing(&done) {
        skipped(what, &done.stderr);
        return None;
    }
    check(&done, 0, &[]);
    Some(serde_json::from_str(&done.stdout).unwrap())
}

/// K-quants on rows that hold whole blocks, and the other types: llama.cpp loads the merged file and
/// decides as our engine does, which computes on base and adapter apart in f32.
#[test]
fn llama_cpp_decides_as_we_do_on_merged_models() {
    let folder = trained_wide();
    let at = folder.path();
    // Types and how far apart probabilities may lie. llama.cpp rounds activations to 8 bits before a
    // product with blocks, which moves an untrained model's answers more than a real one's; blocks
    // that were wrong would bring the distance of unrelated answers, about one half.
    for (kind, most) in [("f16", "0.005"), ("q8_0", "0.05"), ("q4_k_m", "0.3")] {
        let flags = format!("--merged {kind} --set check.agreement=0 --set check.distance={most}");
        let Some(outcome) = checked(at, "llama_cpp_decides_as_we_do_on_merged_models", &flags)
        else {
            return;
        };
        let artefacts = outcome["gate"]["artefacts"].as_array().unwrap();
        let names: Vec<&str> = artefacts
            .iter()
            .map(|a| a["name"].as_str().unwrap())
            .collect();
        assert_eq!(names, ["lora-gguf", &format!("gguf {kind}")]);
        for artefact in artefacts {
            assert_eq!(artefact["blessed"], true, "{artefact}");
        }
    }
    // An artefact that is not this run's: the base without its adapter.
    let exported = run(at, "export gguf run --type q4_k_m");
    check(&exported, 0, &[]);
    let flags = "--artefact model.gguf --set check.distance=0.0001";
    let arguments = format!("check run {RANDOM} {flags}");
    let mut command = foretune(at);
    command
        .args(arguments.split_whitespace())
        .env("FORETUNE_CACHE", cache());
    let refused = finish(&mut command);
    check(
        &refused,
        5,
        &["not blessed", "gguf model.gguf", "away from ours"],
    );
    let outcome: Value = serde_json::from_str(&refused.stdout).unwrap();
    assert_eq!(outcome["gate"]["artefacts"][1]["blessed"], false);
    for file in ["answers.csv", "answers.html", "request.json"] {
        assert!(at.join("run/check").join(file).exists(), "{file}");
    }
    let sheet = fs::read_to_string(at.join("run/check/answers.csv")).unwrap();
    assert!(
        sheet.starts_with("number,id,answer,answer as served,form"),
        "{sheet}"
    );
    let rows = outcome["gate"]["decisions"].as_u64().unwrap();
    assert!(
        rows >= 8 && sheet.matches(",,,,,\n").count() as u64 == rows,
        "{sheet}"
    );
    // What keeps the sheet from being written comes after the verdict.
    fs::remove_file(at.join("run/check.json")).unwrap();
    fs::remove_file(at.join("run/check/answers.csv")).unwrap();
    fs::create_dir_all(at.join("run/check/answers.csv/in-the-way")).unwrap();
    let failed = finish(&mut command);
    assert_ne!(failed.code, 5, "{failed:?}");
    check(&failed, failed.code, &["answers.csv"]);
    let written = fs::read(at.join("run/check.json")).unwrap();
    let written: Value = serde_json::from_slice(&written).unwrap();
    assert_eq!(written["gate"]["decisions"], rows);
}

/// Every family and rotary kind, converted from the directory that transformers saved, with the
/// adapter that PEFT saved merged in, against the logits of both (`python/reference/families.py`).
#[test]
fn llama_cpp_computes_converted_families_as_transformers_does() {
    let Some(python) = python() else { return };
    let families = Path::new(env!("CARGO_MANIFEST_DIR")).join("../train/tests/fixtures/families");
    for name in [
        "mistral",
        "qwen2",
        "qwen3",
        "llama3-rotary",
        "yarn-rotary",
        "linear-rotary",
    ] {
        let folder = tempfile::tempdir().unwrap();
        let source = families.join(name);
        for file in ["config.json", "model.safetensors"] {
            fs::copy(source.join(file), folder.path().join(file)).unwrap();
        }
        fs::write(
            folder.path().join("tokenizer.json"),
            eighty_tokens().to_string(),
        )
        .unwrap();
        let base = BaseModel::open(folder.path()).unwrap();
        let (adapter, _) = peft::read(&source.join("adapter")).unwrap();
        let model = folder.path().join("merged.gguf");
        let job = Job {
            base: &base,
            adapter: Some(&adapter),
            file_type: FileType::F32,
            name,
        };
        convert::write(&model, job, &mut |_, _| std::ops::ControlFlow::Continue(())).unwrap();
        let found = probabilities(&python, &source, &model);
        let expected = logits(&source);
        assert_eq!(found.len(), expected.len());
        for (position, (found, expected)) in found.iter().zip(&expected).enumerate() {
            for (token, value) in found {
                let difference = (value - expected[*token]).abs();
                assert!(
                    difference < LOG_PROBABILITY,
                    "{name} {position} {token}: {difference}"
                );
            }
        }
    }
}

/// Returns the interpreter of the environment that `foretune check` makes, making it first.
fn python() -> Option<PathBuf> {
    static FOUND: OnceLock<Option<PathBuf>> = OnceLock::new();
    let what = "llama_cpp_computes_converted_families_as_transformers_does";
    FOUND
        .get_or_init(|| {
            let folder = trained_wide();
            checked(folder.path(), what, "--merged none --set check.agreement=0")?;
            let mut homes = fs::read_dir(cache().join("python")).unwrap();
            homes.find_map(|home| {
                let interpreter = home.unwrap().path().join("bin/python");
                interpreter.exists().then_some(interpreter)
            })
        })
        .clone()
}

/// Byte-level BPE of eighty tokens; only ids are used.
fn eighty_tokens() -> Value {
    let letters = (0..78u32).map(|id| char::from_u32(33 + id).unwrap().to_string());
    let all = letters.chain(["!\"".to_owned(), "Ċ".to_owned()]);
    let vocabulary: serde_json::Map<String, Value> = all
        .enumerate()
        .map(|(id, token)| (token, Value::from(id)))
        .collect();
    json!({
        "added_tokens": [], "normalizer": null,
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "use_regex": true},
        "model": {"type": "BPE", "vocab": vocabulary, "merges": [["!", "\""]]},
    })
}

/// Asks llama.cpp for the distribution after every prefix of the reference's tokens, from its first
/// supervised position on: token and log-probability.
fn probabilities(python: &Path, source: &Path, model: &Path) -> Vec<Vec<(usize, f64)>> {
    let reference: Value =
        serde_json::from_slice(&fs::read(source.join("reference.json")).unwrap()).unwrap();
    let tokens = reference["tokens"].as_array().unwrap();
    let first = reference["first"].as_u64().unwrap() as usize;
    let prompts: Vec<Value> = (first..=tokens.len())
        .map(|end| json!({"id": end, "tokens": tokens[..end]}))
        .collect();
    let folder = tempfile::tempdir().unwrap();
    let (request, response) = (
        folder.path().join("in.json"),
        folder.path().join("out.json"),
    );
    let asked = json!({"model": model, "prompts": prompts, "max_tokens": 1, "n_probs": 80,
                       "cache_type": "f32"});
    fs::write(&request, asked.to_string()).unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../python/check/llama_client.py");
    let ran = Command::new(python)
        .arg(script)
        .args([&request, &response])
        .output()
        .unwrap();
    let answer = fs::read_to_string(&response).unwrap();
    assert!(ran.status.success(), "{answer}");
    let answer: Value = serde_json::from_str(&answer).unwrap();
    let results = answer["results"].as_array().unwrap().iter();
    results
        .map(|result| {
            let top = result["positions"][0]["top"].as_array().unwrap();
            assert!(top.len() >= 40, "{result}");
            top.iter()
                .map(|one| {
                    (
                        one["id"].as_u64().unwrap() as usize,
                        one["logprob"].as_f64().unwrap(),
                    )
                })
                .collect()
        })
        .collect()
}

/// Returns the log-probabilities of the reference at the same positions.
fn logits(source: &Path) -> Vec<Vec<f64>> {
    let reference: Value =
        serde_json::from_slice(&fs::read(source.join("reference.json")).unwrap()).unwrap();
    let first = reference["first"].as_u64().unwrap() as usize;
    let bytes = fs::read(source.join("reference.safetensors")).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let tensor = file.tensor("logits").unwrap();
    let &[rows, width] = tensor.shape() else {
        panic!("{:?}", tensor.shape())
    };
    let values: Vec<f64> = tensor
        .data()
        .chunks_exact(4)
        .map(|b| f64::from(f32::from_le_bytes(b.try_into().unwrap())))
        .collect();
    (first - 1..rows)
        .map(|row| {
            let row = &values[row * width..][..width];
            let total = row.iter().map(|value| value.exp()).sum::<f64>().ln();
            row.iter().map(|value| value - total).collect()
        })
        .collect()
}
