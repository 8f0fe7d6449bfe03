//! The page on bridges, command by command, on a small package: build, verify, train.

use std::fs;
use std::path::Path;

use market::table::{WideColumn, WideOptions, WideValues, WideWriter};

use crate::interop;
use crate::support::{check, finish, foretune, run, tiny};

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
