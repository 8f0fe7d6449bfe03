//! The page on bridges, command by command, on a small package: build, verify, train.

use std::fs;
use std::path::Path;
use std::process::Command;

use market::table::{WideColumn, WideOptions, WideValues, WideWriter};

use serde_json::{Value, json};

use crate::interop;
use crate::support::{Run, check, finish, foretune, run, tiny};

const BAR: i64 = 900_000;
const ROWS: usize = 4000;
/// The files of a pair, and the row each begins with.
const PARTS: [(&str, usize); 3] = [("train", 0), ("val", 3200), ("test", 3600)];

/// Writes a package of three pairs: seeded noise, its past, and what comes after.
fn package(directory: &Path) {
    for (number, pair) in ["AUDUSD", "EURUSD", "USDJPY"].iter().enumerate() {
        let mut state = number as u64 + 3;
        let mut noise = || {
            state = state
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            (state >> 11) as f64 / (1_u64 << 53) as f64 - 0.5
        };
        let mut price = vec![1.0];
        for row in 1..ROWS + 20 {
            price.push(price[row - 1] * (1.0 + 1e-3 * noise()));
        }
        let past = |row: usize, bars: usize| price[row] / price[row.saturating_sub(bars)] - 1.0;
        let column =
            |f: &dyn Fn(usize) -> f64| -> Vec<f32> { (0..ROWS).map(|row| f(row) as f32).collect() };
        let columns = [
            ("ret_1", column(&|row| past(row, 1))),
            ("ret_5", column(&|row| past(row, 5))),
            ("ret_20", column(&|row| past(row, 20))),
            ("vol_20", column(&|row| past(row, 20).abs())),
            (
                "target_return_20",
                column(&|row| price[row + 20] / price[row] - 1.0),
            ),
        ];
        let times: Vec<i64> = (0..ROWS as i64)
            .map(|row| 1_600_000_200_000 + row * BAR)
            .collect();
        let names: Vec<(String, WideColumn)> = columns
            .iter()
            .map(|(name, _)| ((*name).to_owned(), WideColumn::F32))
            .collect();
        let folder = directory.join(pair);
        fs::create_dir_all(&folder).unwrap();
        for (number, (part, first)) in PARTS.iter().enumerate() {
            let rows = *first..PARTS.get(number + 1).map_or(ROWS, |next| next.1);
            let path = folder.join(format!("{part}.parquet"));
            let options = WideOptions::default();
            let mut writer = WideWriter::create(&path, "timestamp", &names, &options).unwrap();
            let values: Vec<WideValues<'_>> = columns
                .iter()
                .map(|(_, values)| WideValues::F32(&values[rows.clone()]))
                .collect();
            writer.write_group(&times[rows], &values).unwrap();
            writer.finish().unwrap();
        }
    }
}

/// What makes the work of a command small.
const SMALL: [&str; 22] = [
    "bridge.readings_per_pair=6",
    "bridge.scenarios_per_pair=5",
    "bridge.preferences_per_pair=4",
    "bridge.calculations_per_pair=3",
    "bridge.past_rows=200",
    "bridge.formulas=40",
    "ensemble.trees=20",
    "ensemble.folds=3",
    "model.keep=\"f32\"",
    "train.batch_size=2",
    "train.rank=2",
    "train.alpha=4.0",
    "train.targets=[\"q_proj\"]",
    "train.max_tokens=4096",
    // A random model writes nonsense, and decides alike.
    "bridge.held_out_per_pair=4",
    "evaluate.replicates=100",
    "check.prompts=2",
    "check.review=4",
    "check.form_rate=0",
    "check.grounded=0",
    "check.one_class=\"warn\"",
    "check.agreement=0.5",
];

/// Reads what `evaluate` and `check` left in a run.
fn judged(run: &Path) {
    let report: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(run.join("report.json")).unwrap()).unwrap();
    assert_eq!(report["kind"], "foretune-signals");
    let evaluation = &report["evaluation"];
    let names: Vec<&str> = evaluation["arms"]
        .as_array()
        .unwrap()
        .iter()
        .map(|arm| arm["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["base", "judge", "certainty", "confidence", "rate"]);
    let signals = evaluation["signals"].as_u64().unwrap();
    assert!((3..=12).contains(&signals), "{evaluation:#}");
    assert_eq!(report["answers"]["read"], signals);
    let page = fs::read_to_string(run.join("report.html")).unwrap();
    assert!(page.contains("Judge of signals") && !page.contains("<script"));
    let Ok(check) = fs::read_to_string(run.join("check.json")) else {
        return;
    };
    let check: serde_json::Value = serde_json::from_str(&check).unwrap();
    let gate = &check["gate"];
    assert_eq!(gate["classes"], serde_json::json!(["APPROVE", "VETO"]));
    assert_eq!(gate["judgement"]["answers"], 4);
    assert_eq!(gate["judgement"]["evidence"]["decisions"], 4);
    assert_eq!(gate["artefacts"].as_array().unwrap().len(), 2, "{gate:#}");
    let sheet = fs::read_to_string(run.join("check/answers.html")).unwrap();
    assert!(sheet.contains("DECISION: APPROVE|VETO - reason"));
}

/// Runs a command with all that makes its work small.
fn small(at: &Path, typed: &str) -> Run {
    let mut command = foretune(at);
    command.args(typed.split_whitespace());
    for setting in SMALL {
        command.args(["--set", setting]);
    }
    finish(&mut command)
}

fn lines(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// Takes the bridge to another machine, and the adapter back.
fn packed(at: &Path) {
    let pack = "pack --dataset forex_integrated --recipe trl --model model.gguf --pairs --out \
                bridge.tar.zst --set train.max_examples=2 --json";
    let told = small(at, pack);
    check(&told, 0, &[]);
    let about = &serde_json::from_str::<Value>(&told.stdout).unwrap()["about"];
    assert_eq!(about["dataset"]["kind"], "bridge");
    assert_eq!(about["dataset"]["train"], 82);
    assert_eq!(about["pairs"], 12);
    check(&run(at, "unpack bridge.tar.zst --out work"), 0, &[]);
    let verified = run(at, "dataset verify work/dataset");
    check(&verified, 0, &[]);
    assert!(verified.stdout.ends_with("READY\n"), "{verified:#?}");
    let work = at.join("work");
    let summed = Command::new("sh").arg(work.join("verify.sh")).output();
    assert!(summed.unwrap().status.success());
    let page = fs::read_to_string(work.join("README.md")).unwrap();
    let contents = "a bridge: 82 training conversations (42 from market data), 12 preference pairs";
    assert!(page.contains(contents), "{page}");
    assert_eq!(lines(&work.join("pairs.jsonl")).len(), 12);
    // The native run of the page took one step of two rows: these, with as many tokens.
    let rows = lines(&work.join("recipe/tokens/sft.jsonl"));
    let length = |row: &Value| row["input_ids"].as_array().unwrap().len();
    let log = lines(&at.join("runs/bridge/metrics.jsonl"));
    let step = log.iter().find(|line| line["total_steps"].is_u64());
    assert_eq!(
        step.unwrap()["tokens"],
        rows.iter().map(length).sum::<usize>()
    );
    assert!(rows.iter().all(|row| row["weights"] == json!([])));
    let settings = fs::read_to_string(work.join("recipe/settings.json")).unwrap();
    let settings: Value = serde_json::from_str(&settings).unwrap();
    assert_eq!(settings["sft"]["decision_weight"], 1.0);
    let texts: Vec<Value> = settings["row_files"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|name| lines(&work.join("dataset").join(name.as_str().unwrap())))
        .collect();
    assert_eq!(texts.len(), 82);
    for row in &rows {
        assert_eq!(
            texts[row["row"].as_u64().unwrap() as usize]["id"],
            row["id"]
        );
    }
    in_order(at, &texts);

    // What a run of the bridge can do, the adapter that came back can.
    let import = "import runs/bridge/adapter --dataset work/dataset --model model.gguf --out back";
    check(&small(at, import), 0, &[]);
    check(&small(at, "evaluate back --preset forex-bridge"), 0, &[]);
    judged(&at.join("back"));
}

/// Without tokens, the bundle's own script hands out the conversations in the order of training.
fn in_order(at: &Path, texts: &[Value]) {
    let pack = "pack --dataset forex_integrated --recipe trl --model model.gguf --text-only --out \
                text.tar.zst --set train.max_examples=9";
    check(&small(at, pack), 0, &[]);
    check(&run(at, "unpack text.tar.zst --out text"), 0, &[]);
    let ordered = Command::new("python3")
        .args(["recipe/bundle.py", "ordered", "out/rows.jsonl"])
        .current_dir(at.join("text"))
        .output()
        .unwrap();
    assert!(ordered.status.success(), "{ordered:?}");
    let order = fs::read_to_string(at.join("text/recipe/sft_order.txt")).unwrap();
    let order: Vec<usize> = order
        .split_whitespace()
        .map(|row| row.parse().unwrap())
        .collect();
    let mut distinct = order.clone();
    distinct.sort_unstable();
    distinct.dedup();
    assert_eq!(distinct, [0, 10, 20, 30, 40, 50, 60, 70, 81]);
    let rows = lines(&at.join("text/out/rows.jsonl"));
    assert_eq!(rows.len(), order.len());
    for (row, found) in order.iter().zip(&rows) {
        assert_eq!(found["messages"], texts[*row]["messages"]);
    }
}

/// What is not for a bridge says so, and leaves it as it is.
fn refused(at: &Path) {
    fs::write(at.join("market.json"), MARKET).unwrap();
    for command in [
        "predict market.json --adapter runs/bridge",
        "promote runs/bridge --override because",
        "shadow --replay --champion base --challenger runs/bridge --log shadow",
    ] {
        let told = ["trained on a bridge", "use `foretune evaluate`"];
        let done = run(at, command);
        check(&done, 3, &told);
        assert!(!done.stderr.contains("dataset build"), "{done:#?}");
    }
    assert!(!at.join("adapters").exists() && !at.join("shadow").exists());
    check(
        &run(at, "audit forex_integrated"),
        3,
        &["a bridge is audited when it is built", "--no-audit"],
    );
    let manifest = fs::read(at.join("forex_integrated/manifest.json")).unwrap();
    for (command, told) in [
        (
            "train sft --dataset forex_integrated --model model.gguf --out forex_integrated",
            "is not a run directory",
        ),
        (
            "import runs/bridge/adapter --dataset work/dataset --model model.gguf --out \
             forex_integrated",
            "is not a run directory",
        ),
        (
            "pack --dataset forex_integrated --out forex_integrated/bundle.tar.zst",
            "lies in the data set",
        ),
        (
            "dataset build --preset forex-bridge --out other",
            "--package DIR",
        ),
        (
            "dataset build --preset forex-bridge --package training_package --data candles",
            "cannot be used with",
        ),
    ] {
        check(&run(at, command), 2, &[told]);
    }
    assert!(fs::read(at.join("forex_integrated/manifest.json")).unwrap() == manifest);
    assert!(!at.join("other").exists() && !at.join("forex_integrated.1").exists());
}

const MARKET: &str = r#"{"asset": "BTC/USDT", "price": 101.5, "change": 0.012, "indicators":
    {"rsi": 61.2, "macd_histogram": 0.4, "ema_9": 101.0, "ema_21": 100.5, "ema_50": 99.0,
     "ema_200": 97.0, "percent_b": 0.8, "volatility": 0.006}}"#;

#[test]
fn the_commands_of_the_page_run_and_an_altered_part_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    package(&at.join("training_package"));
    tiny::write_gguf(&at.join("model.gguf"));
    let page = include_str!("../../../../docs/bridge.md");
    let commands: Vec<&str> = page
        .lines()
        .filter(|line| line.starts_with("foretune "))
        .collect();
    assert_eq!(commands.len(), 6, "{commands:?}");
    for typed in &commands {
        let mut command = foretune(at);
        command.args(typed.split_whitespace().skip(1));
        for setting in SMALL {
            command.args(["--set", setting]);
        }
        if typed.contains(" train ") {
            command.args(["--steps", "1"]);
        }
        if typed.contains(" train sft ") {
            command.args(["--model", "model.gguf"]);
        }
        if typed.contains(" check ") {
            command.env("FORETUNE_CACHE", interop::cache());
        }
        let done = finish(&mut command);
        if typed.contains(" check ") && interop::is_missing(&done) {
            interop::skipped(typed, &done.stderr);
            continue;
        }
        assert_eq!(done.code, 0, "`{typed}`: {done:#?}");
        if typed.contains(" verify ") {
            assert!(done.stdout.ends_with("READY\n"), "{done:#?}");
        }
        if typed.contains(" train sft ") {
            let told = "loaded 82 samples (42 from your market data)";
            assert!(done.stderr.contains(told), "{done:#?}");
        }
    }
    judged(&at.join("runs/bridge"));
    packed(at);
    refused(at);
    // A single letter changed: the gates say so and nothing is trained.
    let path = at.join("forex_integrated/real_trade_scenarios.jsonl");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replacen("APPROVE -", "APPROVE +", 1)).unwrap();
    let verified = run(at, "dataset verify forex_integrated --json");
    assert_eq!(verified.code, 5, "{verified:#?}");
    let value: serde_json::Value = serde_json::from_str(&verified.stdout).unwrap();
    assert_eq!(value["ready"], false);
    assert_eq!(value["counts"]["real_trade_scenarios.jsonl"], 15);
    assert_eq!(value["audit"]["truncation"], "green");
    let refused = run(
        at,
        "train sft --preset forex-bridge --dataset forex_integrated --model model.gguf --steps 1",
    );
    check(
        &refused,
        3,
        &["real_trade_scenarios.jsonl", "foretune dataset build"],
    );
}
