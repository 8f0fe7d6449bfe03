//! Every command of the README runs, in its order, in one folder, as a reader would type it; only the
//! model is a tiny one and the work is cut short.

use std::fs;
use std::path::Path;

use crate::support::{candles::Columns, finish, foretune, tiny};

/// What is added to a command so that it takes seconds.
const TRAIN: &[&str] = &[
    "--model",
    "model.gguf",
    "--steps",
    "2",
    "--set",
    "train.batch_size=2",
    "--set",
    "train.validation_examples=4",
];
const EVALUATE: &[&str] = &[
    "--set",
    "evaluate.max_decisions=10",
    "--set",
    "evaluate.calibration_decisions=10",
    "--set",
    "evaluate.replicates=100",
];
// A random model's answers have no form to follow.
const CHECK: &[&str] = &[
    "--set",
    "check.form_rate=0",
    "--set",
    "check.grounded=0",
    "--set",
    "check.max_new_tokens=6",
    "--set",
    "check.prompts=2",
    "--set",
    "check.review=4",
    "--set",
    "check.agreement=0",
];

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

/// Returns the commands in the fenced `sh` blocks of a page, without comments.
fn commands(page: &str) -> Vec<String> {
    let mut inside = false;
    let mut found = Vec::new();
    for line in page.lines() {
        if line.starts_with("```") {
            inside = line == "```sh";
        } else if inside {
            let command = line.split('#').next().unwrap_or("").trim();
            if !command.is_empty() {
                found.push(command.to_owned());
            }
        }
    }
    found
}

#[test]
fn the_commands_of_the_page_on_formulas_run() {
    let page = fs::read_to_string(root().join("docs/formulas.md")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let all = commands(&page);
    assert!(all.len() >= 14, "{all:#?}");
    for command in &all {
        let arguments = words(command.strip_prefix("foretune ").unwrap());
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let done = foretune(folder.path()).args(&arguments).output().unwrap();
        assert!(
            done.status.success(),
            "{command}: {}",
            String::from_utf8_lossy(&done.stderr)
        );
        assert!(!done.stdout.is_empty(), "{command}");
    }
    for file in [
        "formulas.html",
        "training_package/metadata.json",
        "formulas/formula_samples.jsonl",
    ] {
        assert!(folder.path().join(file).is_file(), "{file}");
    }
}

#[test]
fn the_commands_of_the_page_on_packing_run() {
    let page = fs::read_to_string(root().join("docs/pack.md")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    tiny::write_gguf(&folder.path().join("model.gguf"));
    let all = commands(&page);
    assert_eq!(all.len(), 9, "{all:#?}");
    for command in &all {
        let arguments = words(command.strip_prefix("foretune ").unwrap());
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let done = finish(foretune(folder.path()).args(&arguments));
        assert_eq!(done.code, 0, "`{command}`: {done:#?}");
        assert!(!done.stdout.is_empty(), "{command}");
    }
    for file in [
        "work/verify.sh",
        "work/formulas/formula_samples.jsonl",
        "factory.tar.zst",
    ] {
        assert!(folder.path().join(file).is_file(), "{file}");
    }
}

/// Splits a command at spaces outside single quotes.
fn words(command: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quoted = false;
    for letter in command.chars() {
        match letter {
            '\'' => quoted = !quoted,
            ' ' if !quoted => words.push(String::new()),
            _ => words.last_mut().unwrap().push(letter),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

#[test]
fn the_commands_of_the_readme_run() {
    let page = fs::read_to_string(root().join("README.md")).unwrap();
    let ci = fs::read_to_string(root().join(".ci/run")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    tiny::write_gguf(&at.join("model.gguf"));
    let user_data = at.join("user_data/data/binance");
    fs::create_dir_all(&user_data).unwrap();
    Columns::swinging(3000).write(&user_data, "BTC_USDT-1h.feather");
    // One environment for llama.cpp, kept from run to run; the rest of the cache is small.
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("llama-cache");
    let all = commands(&page);
    assert!(all.len() >= 12, "{all:#?}");
    for command in &all {
        if command.starts_with("cargo test") {
            assert!(
                ci.contains(command.as_str()),
                "`{command}` is not what CI runs"
            );
            continue;
        }
        let arguments = command
            .strip_prefix("cargo run --release -- ")
            .or_else(|| command.strip_prefix("foretune "))
            .unwrap_or_else(|| panic!("`{command}` is not known to this test"));
        let mut words: Vec<&str> = arguments.split_whitespace().collect();
        match (words[0], words.get(1).copied()) {
            ("quickstart", _) => {
                words.extend(TRAIN.iter().chain(EVALUATE).chain(CHECK));
                if words.contains(&"--world") {
                    words.extend(["--blocks", "120"]);
                }
            }
            ("train", _) => words.extend(TRAIN),
            ("evaluate", _) => words.extend(EVALUATE),
            ("check", _) => words.extend(CHECK),
            _ => {}
        }
        let done = finish(foretune(at).args(&words).env("FORETUNE_CACHE", &cache));
        if done.code == 6 {
            use std::io::Write;
            let _ = writeln!(std::io::stderr(), "SKIPPED `{command}`: {}", done.stderr);
            continue;
        }
        assert_eq!(done.code, 0, "`{command}` as {words:?}: {done:#?}");
    }
    assert!(at.join("runs/quickstart/report.html").exists());
    assert!(at.join("runs/first/report.html").exists());
}
