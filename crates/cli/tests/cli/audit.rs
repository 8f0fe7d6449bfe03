//! `foretune audit`: our data sets, files of anyone, and what a build does about a leak.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::support::{Run, check, run};

fn report(run: &Run) -> Value {
    serde_json::from_str(&run.stdout).unwrap()
}

fn status(report: &Value, number: u64) -> String {
    let checks = report["checks"].as_array().unwrap();
    let found = checks
        .iter()
        .find(|check| check["number"] == number)
        .unwrap();
    found["status"].as_str().unwrap().to_owned()
}

/// Lines of a made-up market: half a day each, label by turns, and whatever `prompt` says.
fn lines(path: &Path, hours: std::ops::Range<u64>, prompt: impl Fn(u64, &str) -> String) {
    let line = |hour: u64| {
        let label = ["BUY", "SELL", "HOLD"][(hour * hour / 7 % 3) as usize];
        let time = 1_577_836_800 + hour * 12 * 3600;
        let prompt = prompt(hour, label);
        json!({"time": time, "label": label, "prompt": prompt, "completion": label}).to_string()
    };
    let text: Vec<String> = hours.map(line).collect();
    fs::write(path, text.join("\n") + "\n").unwrap();
}

/// Noise that no label follows.
fn noise(hour: u64) -> String {
    format!("Asset: X\nStrength: {}.{hour}", hour * 7919 % 1000)
}

#[test]
fn a_build_is_audited_and_says_what_it_rests_on() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let built = run(at, "dataset build --world planted --blocks 400 --json");
    check(&built, 0, &[]);
    let audit = &report(&built)["audit"];
    assert_eq!(audit["passed"], true, "{audit:#}");
    assert!(audit["checks"][0]["seconds"].is_number());
    for number in [1, 2, 3, 4, 7, 8, 9, 10] {
        assert_eq!(status(audit, number), "green", "{number}");
    }
    let written: Value =
        serde_json::from_slice(&fs::read(at.join("dataset/audit.json")).unwrap()).unwrap();
    assert_eq!(written["checks"][0]["seconds"], Value::Null);
    let page = fs::read_to_string(at.join("dataset/audit.html")).unwrap();
    assert!(page.contains("Nothing from the future was found") && !page.contains("<script"));
    let manifest: Value =
        serde_json::from_slice(&fs::read(at.join("dataset/manifest.json")).unwrap()).unwrap();
    assert!(manifest["audit"].as_str().unwrap().contains("0 red"));
    assert!(manifest["files"]["audit.json"]["sha256"].is_string());

    // By itself it finds the candles that the data set was made of.
    let again = run(at, "audit dataset --samples 20 --html page.html --json");
    check(&again, 0, &[]);
    assert_eq!(report(&again)["passed"], true);
    assert!(at.join("page.html").exists());

    let skipped = run(
        at,
        "dataset build --world planted --blocks 80 --no-audit --out plain",
    );
    check(&skipped, 0, &["audit: skipped"]);
    assert!(skipped.stdout.contains("audit: skipped"));
    let sheet = fs::read_to_string(at.join("plain/datasheet.md")).unwrap();
    assert!(sheet.contains("audit: skipped"));
    assert!(!at.join("plain/audit.json").exists());
}

#[test]
fn bars_that_a_data_set_was_not_built_from_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let command = "dataset build --no-audit --world planted --blocks 80 --out d";
    check(&run(at, command), 0, &[]);
    let file = fs::read_dir(at.join("d/candles"))
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    // The same candles and ten hours more.
    let mut bars = market::freqtrade::read(&file).unwrap();
    for _ in 0..10 {
        let last = bars.len() - 1;
        bars.open_time
            .push(bars.open_time[last] + bars.timeframe.milliseconds());
        for column in [
            &mut bars.open,
            &mut bars.high,
            &mut bars.low,
            &mut bars.close,
            &mut bars.volume,
        ] {
            column.push(column[last]);
        }
    }
    let longer = at.join("longer/candles");
    fs::create_dir_all(&longer).unwrap();
    market::freqtrade::write(&longer.join(file.file_name().unwrap()), &bars).unwrap();
    check(
        &run(
            at,
            "dataset build --no-audit --world null --blocks 80 --out n",
        ),
        0,
        &[],
    );
    check(&run(at, "audit d --data n/candles"), 3, &["PLANTED/USD"]);
    // A longer history is cut to the period; one that was rewritten is another past.
    check(
        &run(at, "audit d --data longer/candles --samples 8"),
        0,
        &[],
    );
    let folder = at.join("longer/candles");
    let file = fs::read_dir(&folder)
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    let mut bars = market::freqtrade::read(&file).unwrap();
    bars.volume[500] += 1.0;
    market::freqtrade::write(&file, &bars).unwrap();
    check(
        &run(at, "audit d --data longer/candles"),
        3,
        &[
            "PLANTED/USD",
            "not those the data set was built from",
            "hint:",
        ],
    );
    check(&run(at, "audit d --test x.jsonl"), 2, &["--test", "hint:"]);
}

#[test]
fn files_of_others_are_audited_by_what_can_be_seen() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    lines(&at.join("train.jsonl"), 0..300, |hour, _| noise(hour));
    lines(&at.join("test.jsonl"), 320..450, |hour, _| noise(hour));
    let command = "audit train.jsonl --test test.jsonl --time-field time --horizon-hours 12";
    let clean = run(at, &format!("{command} --json"));
    check(&clean, 0, &[]);
    let clean = report(&clean);
    for number in [1, 2, 3, 4, 5, 6, 12] {
        assert_eq!(status(&clean, number), "not_possible", "{number}");
    }
    for number in [7, 8, 9, 10, 11] {
        assert_eq!(status(&clean, number), "green", "{number} {clean:#}");
    }

    // The outcome in the prompt.
    lines(&at.join("train.jsonl"), 0..300, |hour, label| {
        format!("{}\nML prediction: {label}", noise(hour))
    });
    lines(&at.join("test.jsonl"), 320..450, |hour, label| {
        format!("{}\nML prediction: {label}", noise(hour))
    });
    let told = run(at, command);
    check(&told, 5, &[]);
    for part in [
        "label_swap",
        "train.jsonl line 1",
        "leak_probe",
        "prediction",
        "5 ",
    ] {
        assert!(told.stdout.contains(part), "{part}: {}", told.stdout);
    }

    // Parts that overlap, and a prompt in both.
    lines(&at.join("train.jsonl"), 0..330, |hour, _| noise(hour));
    lines(&at.join("test.jsonl"), 320..450, |hour, _| noise(hour));
    let overlapping = report(&run(at, &format!("{command} --json")));
    assert_eq!(status(&overlapping, 10), "red");
    assert_eq!(status(&overlapping, 11), "red");
}

#[test]
fn later_prices_in_prompts_are_found_with_the_bars() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let built = run(at, "dataset build --world null --blocks 80 --no-audit");
    check(&built, 0, &[]);
    let candles = at.join("dataset/candles");
    let file = fs::read_dir(&candles)
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    let bars = market::freqtrade::read(&file).unwrap();
    let write = |ahead: usize| {
        let lines: Vec<String> = (200..400)
            .map(|row| {
                let prompt = format!("Level: {:.2}", bars.close[row + ahead]);
                json!({"time": bars.close_time(row), "pair": "NULL/USD", "prompt": prompt})
                    .to_string()
            })
            .collect();
        fs::write(at.join("x.jsonl"), lines.join("\n")).unwrap();
        let command =
            "audit x.jsonl --time-field time --bars dataset/candles --horizon-hours 12 --json";
        status(&report(&run(at, command)), 12)
    };
    assert_eq!(write(0), "green");
    assert_eq!(write(1), "red");
    assert_eq!(write(12), "red");
}

#[test]
fn a_faulty_line_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    fs::write(at.join("x.jsonl"), "{\"prompt\":\"a\"}\n").unwrap();
    check(
        &run(at, "audit x.jsonl"),
        3,
        &["x.jsonl` line 1", "decision_time", "--time-field"],
    );
    check(&run(at, "audit nowhere.jsonl"), 3, &["nowhere.jsonl"]);
    fs::write(at.join("empty.jsonl"), "\n").unwrap();
    check(&run(at, "audit empty.jsonl"), 3, &["no record", "hint:"]);
    fs::create_dir(at.join("folder")).unwrap();
    check(&run(at, "audit folder"), 3, &["no data set"]);
    check(&run(at, "audit x.jsonl --samples 0"), 2, &["audit.samples"]);
    check(
        &run(at, "audit x.jsonl --time-is open"),
        2,
        &["--time-is open", "hint:"],
    );
}
