//! `foretune report`: finished, cut short, damaged and preference runs.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::support::{check, run, tiny};

fn report(at: &Path, folder: &str) -> Value {
    let done = run(at, &format!("report {folder} --json"));
    check(&done, 0, &[]);
    serde_json::from_str(&done.stdout).unwrap()
}

fn warns(report: &Value, words: &str) -> bool {
    let warnings = report["warnings"].as_array().unwrap();
    warnings.iter().any(|w| w.as_str().unwrap().contains(words))
}

/// A data set and a trained run, both tiny.
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
    let train = "train sft --model model --out sft --steps 4 --set train.batch_size=2 \
                 --set train.validation_examples=6 --set train.validate_every=2";
    check(&run(at, train), 0, &[]);
    folder
}

#[test]
fn a_run_has_its_page_in_every_state() {
    let folder = trained();
    let at = folder.path();
    let whole = report(at, "sft");
    assert_eq!(
        (&whole["kind"], &whole["finished"]),
        (&"sft".into(), &true.into())
    );
    assert_eq!(whole["course"]["steps"], 4);
    assert_eq!(whole["steps"].as_array().map(Vec::len), Some(4));
    assert_eq!(whole["validations"].as_array().map(Vec::len), Some(2));
    assert_eq!(whole["settings"]["batch_size"], 2);
    assert_eq!(whole["model"], "model");
    assert!(whole["parameters"].as_u64() > Some(0));
    // The majority comes from the very examples that were validated.
    let share = whole["majority"]["share"].as_f64().unwrap();
    let scored = whole["validations"][0]["validation_examples"]
        .as_f64()
        .unwrap();
    assert!(
        ((share * scored).round() - share * scored).abs() < 1e-9,
        "{whole}"
    );
    assert!((1.0 / 3.0..=1.0).contains(&share), "{share}");
    let page = fs::read_to_string(at.join("sft/training.html")).unwrap();
    assert!(page.contains("<svg") && page.contains("model") && !page.contains("<script"));

    let told = run(at, "report sft");
    check(&told, 0, &[]);
    assert!(told.stdout.contains("4 of 4 steps") && told.stdout.contains("training.html"));

    // Killed: no manifest, half a line at the end.
    let log = at.join("sft/metrics.jsonl");
    let text = fs::read_to_string(&log).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    fs::remove_file(at.join("sft/manifest.json")).unwrap();
    fs::write(&log, format!("{}\n{}", lines[0], &lines[1][..20])).unwrap();
    let cut = report(at, "sft");
    assert!(
        warns(&cut, "1 of 4 steps are logged") && warns(&cut, "cut off"),
        "{cut}"
    );
    assert_eq!(cut["model"], "model", "the settings file still says it");

    // Damaged in its middle: named by file and line.
    fs::write(&log, format!("{}\nnonsense\n{}\n", lines[0], lines[1])).unwrap();
    check(
        &run(at, "report sft"),
        3,
        &["metrics.jsonl` line 2", "hint:"],
    );
    fs::write(&log, &text).unwrap();
    fs::write(at.join("sft/manifest.json"), "{").unwrap();
    check(&run(at, "report sft"), 3, &["manifest.json"]);
}

#[test]
fn a_preference_run_shows_rewards() {
    let folder = trained();
    let at = folder.path();
    let pairs = "{\"prompt\":\"What now?\",\"chosen\":\"DECISION: BUY - up.\",\"rejected\":\"DECISION: SELL - down.\"}\n";
    fs::write(at.join("pairs.jsonl"), pairs.repeat(4)).unwrap();
    check(
        &run(
            at,
            "train dpo --pairs pairs.jsonl --from sft --out dpo --set train.batch_size=2",
        ),
        0,
        &[],
    );
    let found = report(at, "dpo");
    assert_eq!(
        (&found["kind"], found["course"]["examples"].as_u64()),
        (&"dpo".into(), Some(4))
    );
    assert!(found["course"]["reward_margin"].is_number());
    assert_eq!(found["settings"]["beta"], 0.1);
    let page = fs::read_to_string(at.join("dpo/training.html")).unwrap();
    assert!(page.contains("Rewards") && page.contains("Pairs the right way round"));
}

#[test]
fn what_is_no_training_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    check(
        &run(folder.path(), "report nowhere"),
        2,
        &["nowhere/metrics.jsonl", "hint:"],
    );
}
