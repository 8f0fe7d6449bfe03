//! Bad input of every kind, from the command line: the exit code, the place of
//! the fault, and nothing half-written.

use std::fs;
use std::path::Path;

use crate::support::candles::Columns;
use crate::support::{Run, check, finish, foretune, run, tiny};

const ROWS: usize = 1500;
const NAME: &str = "BTC_USD-1h.feather";

/// Builds a data set from one candle file and expects it to be refused.
#[track_caller]
fn refused(write: impl FnOnce(&Path), fragments: &[&str]) -> Run {
    let folder = tempfile::tempdir().unwrap();
    let candles = folder.path().join("candles");
    fs::create_dir(&candles).unwrap();
    write(&candles);
    let build = run(folder.path(), "dataset build --data candles --out out");
    check(&build, 3, fragments);
    let left: Vec<_> = fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(left, ["candles"], "something was left behind");
    build
}

#[track_caller]
fn refused_columns(change: impl FnOnce(&mut Columns), fragments: &[&str]) {
    let mut columns = Columns::swinging(ROWS);
    change(&mut columns);
    refused(
        |folder| {
            columns.write(folder, NAME);
        },
        fragments,
    );
}

#[test]
fn missing_directory_or_candles() {
    let folder = tempfile::tempdir().unwrap();
    let build = run(folder.path(), "dataset build --data nowhere");
    check(&build, 3, &["nowhere", "hint:", "user_data/data"]);
    fs::write(folder.path().join("file.csv"), "x").unwrap();
    let build = run(folder.path(), "dataset build --data file.csv");
    check(&build, 3, &["file.csv", "not a file"]);
    Columns::swinging(ROWS).write(&folder.path().join("data/binance"), NAME);
    for command in ["data inspect data", "dataset build --data data"] {
        let seen = run(folder.path(), command);
        check(&seen, 3, &["did you mean `data/binance`?"]);
    }
    refused(|_| {}, &["has no candle file", "hint:"]);
    refused(
        |folder| {
            Columns::swinging(ROWS).write(folder, "BTC_USD-4h.feather");
        },
        &["has no 1h candles"],
    );
}

#[test]
fn files_that_are_no_feather() {
    refused(
        |folder| fs::write(folder.join(NAME), "date,open\n").unwrap(),
        &[NAME, "is not a feather file", "hint:"],
    );
    refused(
        |folder| {
            let path = Columns::swinging(ROWS).write(folder, NAME);
            let bytes = fs::read(&path).unwrap();
            fs::write(path, &bytes[..bytes.len() / 2]).unwrap();
        },
        &[NAME],
    );
    refused(|folder| fs::write(folder.join(NAME), "").unwrap(), &[NAME]);
}

#[test]
fn rows_that_cannot_be() {
    refused_columns(|c| *c = Columns::swinging(0), &[NAME, "has no rows"]);
    refused_columns(
        |c| c.date[700] = c.date[699],
        &[NAME, "row 700", "duplicate"],
    );
    refused_columns(
        |c| c.date.swap(700, 701),
        &[NAME, "row 701", "comes before"],
    );
    refused_columns(
        |c| c.close[33] = f64::NAN,
        &[NAME, "row 33", "`close` is NaN", "hint:"],
    );
    refused_columns(
        |c| c.low[34] = -1.0,
        &[NAME, "row 34", "`low` is -1", "hint:"],
    );
    refused_columns(
        |c| c.volume[36] = -1.0,
        &[NAME, "row 36", "volume is -1", "hint:"],
    );
    refused_columns(
        |c| std::mem::swap(&mut c.high[35], &mut c.low[35]),
        &[NAME, "row 35", "is below low", "hint:"],
    );
    refused(
        |folder| {
            Columns::swinging(ROWS).write_with_text_close(folder, NAME);
        },
        &[NAME, "column `close`", "expected", "hint:"],
    );
}

#[test]
fn a_timeframe_that_does_not_match() {
    refused_columns(
        |c| {
            for (row, date) in c.date.iter_mut().enumerate() {
                *date += row as i64 * 3 * 3_600_000;
            }
        },
        &[NAME, "named 1h", "4h apart"],
    );
}

#[test]
fn too_few_bars_for_a_class() {
    refused_columns(|c| *c = Columns::swinging(100), &["hint:"]);
    let folder = tempfile::tempdir().unwrap();
    Columns::flat(ROWS).write(&folder.path().join("candles"), NAME);
    let build = run(folder.path(), "dataset build --data candles");
    check(
        &build,
        3,
        &["BTC/USD left out", "seldom reach", "forex-12h"],
    );
    let build = run(
        folder.path(),
        "dataset build --data candles --set data.instruments=[\"BTC/USD\"]",
    );
    check(&build, 3, &["class", "has no training example", "hint:"]);
}

#[test]
fn a_gap_is_reported_and_not_bridged() {
    let folder = tempfile::tempdir().unwrap();
    let mut columns = Columns::swinging(3000);
    for date in &mut columns.date[1500..] {
        *date += 5 * 3_600_000;
    }
    columns.write(&folder.path().join("candles"), NAME);
    let seen = run(folder.path(), "data inspect candles");
    check(&seen, 0, &[]);
    assert!(
        seen.stdout.contains("1 gap, 5 rows missing"),
        "{}",
        seen.stdout
    );
    let built = run(
        folder.path(),
        "dataset build --data candles --out out --json",
    );
    check(&built, 0, &[]);
    let value: serde_json::Value = serde_json::from_str(&built.stdout).unwrap();
    let sheet = &value["datasheet"]["instruments"]["BTC/USD"];
    assert_eq!(
        (&sheet["missing_bars"], sheet["unlabelled_gap"].as_u64()),
        (&5.into(), Some(12))
    );
}

#[test]
fn one_faulty_file_is_a_line_of_the_inspection() {
    let folder = tempfile::tempdir().unwrap();
    let candles = folder.path().join("candles");
    Columns::swinging(ROWS).write(&candles, NAME);
    fs::write(candles.join("ETH_USD-1h.feather"), "nothing").unwrap();
    let seen = run(folder.path(), "data inspect candles --json");
    check(&seen, 3, &[]);
    let value: serde_json::Value = serde_json::from_str(&seen.stdout).unwrap();
    assert_eq!(value["sound"], false);
    assert_eq!(value["files"][0]["errors"], serde_json::json!([]));
    assert!(
        value["files"][1]["errors"][0]["message"]
            .as_str()
            .unwrap()
            .contains("ETH_USD")
    );
}

/// A folder with a small data set in `dataset`.
fn with_dataset() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let built = run(folder.path(), "dataset build --world planted --blocks 80");
    check(&built, 0, &[]);
    folder
}

#[test]
fn base_models_that_are_none() {
    let folder = with_dataset();
    let at = folder.path();
    let train = |model: &str| run(at, &format!("train sft --out run --model {model}"));
    check(&train("nowhere"), 4, &["nowhere"]);
    check(&train("ftp:somewhere"), 2, &["not a model source", "hint:"]);
    fs::write(at.join("short.gguf"), b"GGUF\x03\0\0\0").unwrap();
    check(&train("short.gguf"), 4, &["short.gguf", "at byte", "hint:"]);
    let mut lying = b"GGUF\x03\0\0\0".to_vec();
    lying.extend(u64::MAX.to_le_bytes());
    lying.extend(u64::MAX.to_le_bytes());
    fs::write(at.join("lying.gguf"), lying).unwrap();
    check(&train("lying.gguf"), 4, &["lying.gguf", "at byte"]);
    fs::create_dir(at.join("empty")).unwrap();
    check(&train("empty"), 4, &["empty", "hint:"]);
    let silent = at.join("silent");
    fs::create_dir(&silent).unwrap();
    tiny::write_without_template(&silent);
    check(
        &train("silent"),
        4,
        &["silent", "no chat template", "hint:"],
    );
    let cut = at.join("cut");
    fs::create_dir(&cut).unwrap();
    tiny::write(&cut);
    let weights = cut.join("model.safetensors");
    let bytes = fs::read(&weights).unwrap();
    fs::write(&weights, &bytes[..bytes.len() - 100]).unwrap();
    check(&train("cut"), 4, &["model.safetensors"]);
    assert!(
        !at.join("run").exists(),
        "a refused training left a run directory"
    );
}

#[test]
fn an_example_longer_than_the_limit_is_named() {
    let folder = with_dataset();
    let model = folder.path().join("model");
    fs::create_dir(&model).unwrap();
    tiny::write(&model);
    let train = run(
        folder.path(),
        "train sft --model model --set train.max_tokens=64",
    );
    check(
        &train,
        4,
        &[
            "PLANTED/USD@1h@",
            "more than the 64 allowed",
            "hint: raise `train.max_tokens`",
        ],
    );
}

#[test]
fn a_longer_example_loses_a_part_of_its_prompt_if_asked_for() {
    let folder = with_dataset();
    let at = folder.path();
    let model = at.join("model");
    fs::create_dir(&model).unwrap();
    tiny::write(&model);
    let train = |rule: &str| {
        let arguments = format!(
            "train sft --model model --out {rule} --steps 1 --json --set train.max_tokens=400 \
             --set train.too_long={rule} --set train.validation_examples=4"
        );
        let run = run(at, &arguments);
        check(
            &run,
            0,
            &["examples are longer than `train.max_tokens` = 400"],
        );
        let value: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
        assert!(
            value["training"]["examples_cut"].as_u64() > Some(0),
            "{value}"
        );
        // Four examples of at most 400 tokens, and not much below.
        let tokens = value["training"]["tokens"].as_u64().unwrap();
        assert!((4 * 396..=4 * 400).contains(&tokens), "{tokens}");
        (
            run.stderr,
            fs::read(at.join(rule).join("adapter/adapter_model.safetensors")).unwrap(),
        )
    };
    let (start, end) = (train("cut_start"), train("cut_end"));
    assert!(start.0.contains("lost their beginning") && end.0.contains("lost their end"));
    // The one saw what the other did not.
    assert!(start.1 != end.1);
    check(
        &run(at, "train sft --model model --set train.too_long=cut"),
        2,
        &["`cut`", "cut_start"],
    );
}

#[test]
fn an_empty_answer_is_placed() {
    let folder = with_dataset();
    let path = folder.path().join("dataset/examples.jsonl");
    let text = fs::read_to_string(&path).unwrap();
    let lines: Vec<String> = text
        .lines()
        .enumerate()
        .map(|(index, line)| {
            let mut value: serde_json::Value = serde_json::from_str(line).unwrap();
            if index == 2 {
                value["messages"][1]["content"] = " ".into();
            }
            value.to_string() + "\n"
        })
        .collect();
    fs::write(&path, lines.concat()).unwrap();
    check(
        &run(folder.path(), "train sft --model nowhere"),
        3,
        &["examples.jsonl", "line 3", "the answer is empty"],
    );
}

#[test]
fn an_altered_data_set_is_refused() {
    let folder = with_dataset();
    let at = folder.path();
    let path = at.join("dataset/test.jsonl");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replacen("oversold", "overbought", 1)).unwrap();
    check(&run(at, "train sft --model nowhere"), 3, &["test.jsonl"]);
    fs::write(&path, "{}\n").unwrap();
    check(
        &run(at, "train sft --model nowhere"),
        3,
        &["test.jsonl", "line 1"],
    );
    fs::remove_dir_all(at.join("dataset")).unwrap();
    check(
        &run(at, "train sft --model nowhere"),
        3,
        &["no data set in `dataset`", "foretune dataset build"],
    );
}

#[test]
fn no_python_and_no_network() {
    let folder = with_dataset();
    let at = folder.path();
    let train = |python: &Path| {
        let mut command = foretune(at);
        command
            .args(["train", "sft", "--out", "run"])
            .env("FORETUNE_PYTHON", python);
        finish(&mut command)
    };
    check(
        &train(Path::new("no-such-python")),
        6,
        &["no-such-python", "hint:"],
    );
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let python = at.join("offline-python");
        let script =
            "#!/bin/sh\necho 'ERROR: Could not find a version (no route to host)' >&2\nexit 1\n";
        fs::write(&python, script).unwrap();
        fs::set_permissions(&python, fs::Permissions::from_mode(0o755)).unwrap();
        check(&train(&python), 6, &["pip", "hint:"]);
    }
    assert!(!at.join("run").exists());
}

#[cfg(unix)]
#[test]
fn a_disk_that_takes_no_more_leaves_nothing() {
    use std::process::Command;
    let folder = tempfile::tempdir().unwrap();
    // The largest file the process may write, in blocks of 512 bytes or 1 KiB.
    let script =
        "trap '' XFSZ; ulimit -f 16; exec \"$0\" dataset build --world planted --blocks 80";
    let mut command = Command::new("sh");
    command
        .args(["-c", script, env!("CARGO_BIN_EXE_foretune")])
        .current_dir(folder.path());
    check(&finish(&mut command), 7, &["cannot write"]);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[cfg(unix)]
#[test]
fn a_directory_of_someone_else_is_not_touched() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    fs::create_dir(at.join("mine")).unwrap();
    fs::write(at.join("mine/letter.txt"), "dear").unwrap();
    check(
        &run(at, "dataset build --world planted --blocks 80 --out mine"),
        2,
        &["mine", "not a data set", "hint:"],
    );
    check(
        &run(at, "quickstart --world planted --blocks 80 --out mine"),
        2,
        &["mine", "not a run directory", "hint:"],
    );
    assert_eq!(fs::read_dir(at.join("mine")).unwrap().count(), 1);
}
