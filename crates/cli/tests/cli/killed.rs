//! A training that is killed at any moment, without notice, and goes on: the adapter is that of an
//! uninterrupted run, byte for byte.

use std::fs;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use crate::support::{check, foretune, run, tiny};

/// Long enough to be hit at work, with a checkpoint after every step.
const SETTINGS: &str = "--steps 24 --set train.batch_size=4 --set train.validation_examples=6 \
                        --set train.validate_every=5 --set train.checkpoint_every=1 \
                        --set train.keep=best --set train.optimizer=adamw_8bit --set train.epochs=8.0";

/// When to kill: asked again and again, with the run directory.
type Moment = fn(&Path) -> bool;

/// The moments, each of them of a process of its own.
const MOMENTS: [(&str, Moment); 6] = [
    ("the first step is logged", |at| lines(at) >= 1),
    ("a checkpoint is being written", |at| {
        at.join("checkpoint.tmp").exists()
    }),
    ("some steps are done", |at| lines(at) >= 7),
    ("another checkpoint is being written", |at| {
        lines(at) >= 9 && at.join("checkpoint.tmp").exists()
    }),
    ("many steps are done", |at| lines(at) >= 18),
    ("the adapter is being written", |at| {
        at.join("adapter").exists()
    }),
];

fn lines(at: &Path) -> usize {
    fs::read(at.join("metrics.jsonl")).map_or(0, |text| text.split(|b| *b == b'\n').count() - 1)
}

fn with_both() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("model");
    fs::create_dir(&model).unwrap();
    tiny::write(&model);
    let built = run(folder.path(), "dataset build --world planted --blocks 80");
    check(&built, 0, &[]);
    folder
}

/// Kills the process with SIGKILL once `moment` has come; returns whether it came in time.
fn kill_at(mut child: Child, at: &Path, moment: Moment) -> bool {
    let began = Instant::now();
    let mut met = false;
    while child.try_wait().unwrap().is_none() {
        if moment(at) {
            met = true;
            break;
        }
        assert!(began.elapsed() < Duration::from_secs(120), "stuck");
        // Some moments are short: look as often as the machine allows.
        std::thread::yield_now();
    }
    child.kill().unwrap();
    let status = child.wait().unwrap();
    met && status.code().is_none()
}

/// Runs `command --out whole` to its end and `command --out killed` through all moments.
fn survives(folder: &Path, command: &str) {
    check(&run(folder, &format!("{command} --out whole")), 0, &[]);
    let at = folder.join("killed");
    let mut hit = Vec::new();
    for (name, moment) in MOMENTS {
        let resume = if at.exists() { "--resume" } else { "" };
        let child = foretune(folder)
            .args(format!("{command} --out killed {resume}").split_whitespace())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        if kill_at(child, &at, moment) {
            hit.push(name);
        }
    }
    // A moment may pass unseen on a machine that is busy elsewhere, but not most of them.
    assert!(hit.len() >= 4, "only hit: {hit:?}");
    let resumed = run(folder, &format!("{command} --out killed --resume"));
    check(&resumed, 0, &[]);
    for name in ["adapter_model.safetensors", "adapter_config.json"] {
        let read = |run: &str| fs::read(folder.join(run).join("adapter").join(name)).unwrap();
        assert!(read("killed") == read("whole"), "{name} after {hit:?}");
    }
    let steps = |run: &str| -> Vec<serde_json::Value> {
        let text = fs::read_to_string(folder.join(run).join("metrics.jsonl")).unwrap();
        text.lines()
            .map(|line| {
                let value: serde_json::Value = serde_json::from_str(line).unwrap();
                serde_json::json!([value["step"], value["loss"], value["validation_loss"]])
            })
            .collect()
    };
    assert_eq!(steps("killed"), steps("whole"));
    let events = |run: &str| {
        fs::read_dir(folder.join(run))
            .unwrap()
            .map(|entry| entry.unwrap())
            .filter(|entry| entry.file_name().to_string_lossy().contains("tfevents"))
            .map(|entry| entry.metadata().unwrap().len())
            .collect::<Vec<u64>>()
    };
    assert_eq!(events("killed"), events("whole"));
    assert_eq!(events("whole").len(), 1);
}

#[test]
fn supervised_training_survives_being_killed() {
    let folder = with_both();
    let command = format!("train sft --model model {SETTINGS}");
    survives(folder.path(), &command);
}

#[test]
fn preference_training_survives_being_killed() {
    let folder = with_both();
    let at = folder.path();
    let examples = fs::read_to_string(at.join("dataset/examples.jsonl")).unwrap();
    let pairs: Vec<String> = examples
        .lines()
        .take(12)
        .map(|line| {
            let example: serde_json::Value = serde_json::from_str(line).unwrap();
            let turns = example["messages"].as_array().unwrap();
            serde_json::json!({
                "prompt": [turns[0]],
                "chosen": [turns[1]],
                "rejected": "DECISION: HOLD - no reason at all.",
            })
            .to_string()
        })
        .collect();
    fs::write(at.join("pairs.jsonl"), pairs.join("\n")).unwrap();
    let command = format!("train dpo --pairs pairs.jsonl --model model {SETTINGS}");
    survives(at, &command.replace("--set train.keep=best ", ""));
}
