//! The command line as seen from outside: help, settings errors, exit codes.

use std::fs;

use crate::support::{check, finish, foretune, run};

/// Help of every command, so that a change of it is seen in review.
#[test]
fn help_is_as_documented() {
    let folder = tempfile::tempdir().unwrap();
    for command in [
        "",
        "quickstart",
        "init",
        "data inspect",
        "dataset build",
        "dataset verify",
        "audit",
        "train sft",
        "train dpo",
        "export",
        "export lora-gguf",
        "pack",
        "pack verify",
        "unpack",
        "import",
        "export gguf",
        "export ollama",
        "export signals",
        "check",
        "evaluate",
        "report",
        "estimate",
    ] {
        let shown = run(folder.path(), &format!("{command} --help"));
        assert_eq!((shown.code, shown.stderr.as_str()), (0, ""), "{command}");
        let name = format!("help_{}", command.replace([' ', '-'], "_"));
        insta::assert_snapshot!(name.trim_end_matches('_'), shown.stdout);
    }
}

#[test]
fn usage_errors_leave_with_2() {
    let folder = tempfile::tempdir().unwrap();
    check(&run(folder.path(), ""), 2, &["Usage: foretune"]);
    check(
        &run(folder.path(), "quikstart"),
        2,
        &["similar subcommand", "quickstart"],
    );
    check(&run(folder.path(), "quickstart --steps 0"), 2, &["--steps"]);
    check(
        &run(folder.path(), "quickstart --steps 3 --examples 3"),
        2,
        &["cannot be used with"],
    );
    check(
        &run(folder.path(), "quickstart --world planted --data x"),
        2,
        &["cannot be used with"],
    );
    check(
        &run(folder.path(), "quickstart --world platned"),
        2,
        &["similar value", "planted"],
    );
    check(
        &run(folder.path(), "evaluate nowhere"),
        2,
        &["nowhere", "not a run", "hint:"],
    );
}

#[test]
fn errors_are_json_on_request_and_leave_stdout_empty() {
    let folder = tempfile::tempdir().unwrap();
    for arguments in ["data inspect nowhere --json", "quickstart --steps x --json"] {
        let run = run(folder.path(), arguments);
        assert_eq!(run.stdout, "");
        let value: serde_json::Value = serde_json::from_str(&run.stderr).unwrap();
        assert_eq!(value["error"]["code"], run.code, "{value}");
        assert!(
            value["error"]["message"]
                .as_str()
                .is_some_and(|text| !text.is_empty())
        );
        assert!(value["error"]["kind"].is_string() && value["error"]["hints"].is_array());
    }
}

#[test]
fn a_mistyped_key_is_placed_and_corrected() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(
        folder.path().join("foretune.toml"),
        "[dataset]\nhorizon_hours = 12\n\n[train]\nlearning_rte = 1e-3\n",
    )
    .unwrap();
    let run = run(folder.path(), "data inspect");
    insta::assert_snapshot!(run.stderr, @r"
    error: `foretune.toml`, line 5, column 1: unknown field `learning_rte`, expected one of `learning_rate`, `warmup_ratio`, `schedule`, `batch_size`, `epochs`, `max_examples`, `micro_batch_tokens`, `rank`, `alpha`, `rslora`, `dropout`, `targets`, `optimizer`, `loraplus_ratio`, `weight_decay`, `beta1`, `beta2`, `eps`, `max_gradient_norm`, `decision_weight`, `max_tokens`, `too_long`, `validate_every`, `validation_examples`, `early_stopping`, `keep`, `checkpoint_every`, `seed`
    hint: did you mean `learning_rate`?
    ");
    assert_eq!((run.code, run.stdout.as_str()), (2, ""));
}

#[test]
fn every_layer_of_settings_is_checked() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    check(
        &run(at, "data inspect --set trian.rank=4"),
        2,
        &["--set trian.rank=4", "did you mean `train`?"],
    );
    check(
        &run(at, "data inspect --set horizon_hours=3"),
        2,
        &["did you mean `dataset.horizon_hours`?"],
    );
    check(
        &run(at, "data inspect --set train.rank"),
        2,
        &["has no `=`"],
    );
    check(
        &run(at, "data inspect --set train.rank=0"),
        2,
        &["`train.rank` is 0"],
    );
    check(
        &run(at, "data inspect --set dataset.horizon_hours=0"),
        2,
        &["`horizon_hours` is `0`", "expected 1 to"],
    );
    check(
        &run(at, "data inspect --set train.targets=[\"q\"]"),
        2,
        &["train.targets", "q_proj"],
    );
    check(
        &run(at, "data inspect --preset crypto-12"),
        2,
        &["no preset `crypto-12`", "did you mean `crypto-12h`?"],
    );
    check(
        &run(at, "data inspect --settings other.toml"),
        2,
        &["cannot read settings file `other.toml`", "foretune init"],
    );
    let mut command = foretune(at);
    command
        .args(["data", "inspect"])
        .env("FORETUNE_TRAIN__RNK", "4");
    check(
        &finish(&mut command),
        2,
        &[
            "environment variable `FORETUNE_TRAIN__RNK`",
            "did you mean `rank`?",
        ],
    );
}

#[test]
fn init_writes_usable_settings_once() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let first = run(at, "init --preset forex-12h --json");
    check(&first, 0, &[]);
    let value: serde_json::Value = serde_json::from_str(&first.stdout).unwrap();
    assert_eq!(value["files"].as_array().unwrap().len(), 3);
    let settings = fs::read_to_string(at.join("foretune.toml")).unwrap();
    assert!(
        settings.contains("kind = \"volatility\"") && settings.contains("\nprompt_template = ")
    );
    check(&run(at, "data inspect"), 0, &[]);
    check(
        &run(at, "data inspect --preset crypto-12h"),
        2,
        &["states preset `forex-12h`", "`foretune.toml`", "hint:"],
    );
    let below = run(at, "init my-project");
    assert!(
        below
            .stdout
            .contains("next: cd my-project && foretune quickstart"),
        "{below:?}"
    );
    check(&run(at, "init"), 2, &["is there already", "--force"]);
    check(&run(at, "init --force"), 0, &[]);
    let settings = fs::read_to_string(at.join("foretune.toml")).unwrap();
    assert!(settings.contains("kind = \"absolute\""));
}

#[test]
fn the_bundled_candles_are_inspected() {
    let folder = tempfile::tempdir().unwrap();
    let run = run(folder.path(), "data inspect --json");
    check(&run, 0, &[]);
    let value: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
    let rows: Vec<_> = value["files"]
        .as_array()
        .unwrap()
        .iter()
        .map(|file| {
            (
                file["instrument"].as_str().unwrap(),
                file["rows"].as_u64().unwrap(),
            )
        })
        .collect();
    assert_eq!(rows, [("BTC/USD", 20_106), ("EUR/USD", 6_225)]);
    assert_eq!(value["files"][0]["gaps"]["missing"], 5);
    assert_eq!(value["sound"], true);
}

#[test]
fn a_closed_pipe_is_no_failure() {
    let folder = tempfile::tempdir().unwrap();
    let mut child = foretune(folder.path())
        .args(["data", "inspect", "--json"])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    assert!(child.wait().unwrap().success());
}
