//! `foretune evaluate --log`: a verdict in text, in JSON, with a gate, and on logs that are none.

use std::fs;
use std::path::Path;

use market::{Instrument, Timeframe, Timestamp};
use serde_json::Value;
use serve::shadow::record::{Class, decision_id};
use serve::shadow::{
    ArmSheet, Decision, Entry, Metric, Outcome, Preregistration, Role, log, preregistration,
};

use crate::support::{check, run};

const HOUR: i64 = 3_600_000;
const START: i64 = 1_704_067_200_000;

/// Writes a log of hourly decisions on which the challenger is right `right` hours of ten and the
/// champion four, deciding BUY or SELL in turn with what happens.
pub(crate) fn write(folder: &Path, hours: i64, right: i64) {
    write_with_promotion(folder, hours, right, i64::MAX);
}

/// The same, with the challenger as champion from an hour on.
fn write_with_promotion(folder: &Path, hours: i64, right: i64, promotion: i64) {
    let sheet = |name: &str, role, adapter_sha256| ArmSheet {
        name: name.to_owned(),
        role,
        adapter_sha256,
        temperature: 1.0,
        bias: [0.0; 3],
    };
    let rule = Preregistration {
        schema: preregistration::SCHEMA,
        metric: Metric::Brier,
        alpha: 0.05,
        minimum_blocks: 30,
        clip: 1.0,
        max_drawdown: 0.95,
        cost_per_side: 0.0005,
        horizon_hours: 12,
        dataset: serde_json::json!({"decision_stride_bars": 1}),
        model_sha256: "ab".repeat(32),
        template_sha256: "cd".repeat(32),
        arms: vec![
            sheet("base", Role::Champion, None),
            sheet("adapter", Role::Challenger, Some("ef".repeat(32))),
        ],
    };
    let digest = rule.lay_down(folder).unwrap();
    let mut lines = Vec::new();
    for hour in 0..hours {
        // Neither hours nor blocks of twelve hours alternate in step with tens.
        let label = usize::from(hour * 7 % 13 < 6);
        let of_ten = (hour / 12 + hour) * 3 % 10;
        let (of_base, of_adapter) = if hour < promotion {
            (Role::Champion, Role::Challenger)
        } else {
            (Role::Challenger, Role::Champion)
        };
        for (arm, role, hits) in [("base", of_base, 4), ("adapter", of_adapter, right)] {
            let class = if of_ten < hits { label } else { 1 - label };
            let own = decision(&digest, hour, arm, role, class);
            lines.extend(Entry::Decision(own).to_line().unwrap());
        }
        let change = if label == 0 { 0.012 } else { -0.012 };
        lines.extend(
            Entry::Outcome(outcome(hour, label, change))
                .to_line()
                .unwrap(),
        );
    }
    fs::write(folder.join(log::FILE), lines).unwrap();
}

fn decision(digest: &str, hour: i64, arm: &str, role: Role, class: usize) -> Decision {
    let instrument = Instrument::new("BTC/USDT").unwrap();
    let time = Timestamp(START + hour * HOUR);
    let mut probabilities = [0.2; 3];
    probabilities[class] = 0.6;
    Decision {
        preregistration: digest.to_owned(),
        id: decision_id(&instrument, Timeframe::HOUR, time),
        instrument,
        timeframe: Timeframe::HOUR,
        decision_time: time,
        decided_at: time,
        late: false,
        arm: arm.to_owned(),
        role,
        decision: class,
        probabilities,
        raw_probabilities: probabilities,
        price: 42_000.0 + (hour % 5) as f64,
        model_sha256: "ab".repeat(32),
        adapter_sha256: None,
        template_sha256: "cd".repeat(32),
        prompt_sha256: "01".repeat(32),
        prompt_tokens: 180,
        latency_ms: None,
    }
}

fn outcome(hour: i64, label: usize, change: f64) -> Outcome {
    let of = decision("", hour, "base", Role::Champion, 0);
    let matured_at = Timestamp(of.decision_time.0 + 12 * HOUR);
    Outcome {
        id: of.id,
        instrument: of.instrument,
        timeframe: of.timeframe,
        decision_time: of.decision_time,
        matured_at,
        recorded_at: matured_at,
        label: Some(Class(label)),
        outcome_return: Some(change),
        void: None,
    }
}

#[test]
fn a_verdict_is_text_and_json() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), 1_800, 9);
    let shown = run(
        folder.path(),
        "evaluate --log . --knowledge-cutoff 2024-02-01 --gate",
    );
    check(&shown, 0, &[]);
    for part in [
        "verdict: promote `adapter`",
        "e-value",
        "Brier score of blocks of 12 h",
        "champion: `base` since 2024-01-01T00:00:00Z",
        "5400 lines read, all of them used",
        "whenever one looks",
        // Right far more often, but it changes its mind far more often too.
        "the plan's rule would not promote",
        "instrument, BTC/USDT: 1800 decisions",
        "knowledge, before 2024-02-01T00:00:00Z: 744 decisions",
    ] {
        assert!(shown.stdout.contains(part), "{part}\n{}", shown.stdout);
    }
    let shown = run(folder.path(), "evaluate --log . --json");
    check(&shown, 0, &[]);
    let value: Value = serde_json::from_str(&shown.stdout).unwrap();
    assert_eq!(value["verdict"], "promote");
    assert_eq!(value["arm"], "adapter");
    assert_eq!(value["challengers"][0]["evidence"]["blocks"], 150);
    assert!(value["challengers"][0]["evidence"]["e_value"].as_f64() > Some(20.0));
    assert!(
        value["challengers"][0]["by_knowledge"]
            .as_array()
            .is_some_and(Vec::is_empty)
    );
}

#[test]
fn a_verdict_has_a_page() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), 1_000, 9);
    let settings = "[shadow]\nknowledge_cutoff = \"2024-02-01\"\n";
    fs::write(folder.path().join("foretune.toml"), settings).unwrap();
    let shown = run(folder.path(), "evaluate --log . --page verdict.html");
    check(&shown, 0, &[]);
    assert!(shown.stdout.contains("page: verdict.html"), "{shown:#?}");
    let page = fs::read_to_string(folder.path().join("verdict.html")).unwrap();
    for part in [
        "Promote adapter",
        "BTC/USDT",
        "before 2024-02-01T00:00:00Z",
        "useless",
    ] {
        assert!(page.contains(part), "{part}");
    }
    check(
        &run(folder.path(), "evaluate x --page verdict.html"),
        2,
        &["--page"],
    );
}

#[test]
fn a_promotion_is_taken_back_by_the_verdict() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    // `adapter` was promoted on hour 100 and is right one hour of ten, `base` four.
    write_with_promotion(at, 2_400, 1, 100);
    let state = r#"{"schema":1,"revision":1,"champion":"adapter","before":["base"],"challengers":["base"]}"#;
    fs::create_dir(at.join("adapters")).unwrap();
    fs::write(at.join("adapters/registry.json"), state).unwrap();
    let shown = run(at, "evaluate --log .");
    check(&shown, 0, &[]);
    assert!(
        shown.stdout.contains("verdict: roll back `base`"),
        "{shown:#?}"
    );
    assert!(
        shown.stdout.contains("`base`, the former champion"),
        "{shown:#?}"
    );
    let done = run(at, "rollback --log . --json");
    check(&done, 0, &[]);
    let change: Value = serde_json::from_str(&done.stdout).unwrap();
    assert_eq!(change["change"], "rollback");
    assert_eq!(
        (&change["from"], &change["to"]),
        (&"adapter".into(), &"base".into())
    );
    assert_eq!(change["verdict"]["verdict"], "roll_back");
    assert_eq!(change["reason"], Value::Null);
    assert_eq!(change["verdict_sha256"].as_str().map(str::len), Some(64));

    // Where nothing is shown, a reason is wanted.
    let other = tempfile::tempdir().unwrap();
    let at = other.path();
    write_with_promotion(at, 600, 4, 100);
    fs::create_dir(at.join("adapters")).unwrap();
    fs::write(at.join("adapters/registry.json"), state).unwrap();
    check(
        &run(at, "rollback --log ."),
        5,
        &["the verdict is not to roll back", "--reason"],
    );
    check(&run(at, "rollback"), 2, &["--reason"]);
    check(&run(at, "rollback --log . --reason worse"), 0, &[]);
    check(
        &run(at, "rollback --reason again"),
        2,
        &["no champion before"],
    );
}

#[test]
fn the_gate_refuses_what_is_not_shown() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), 600, 4);
    check(&run(folder.path(), "evaluate --log ."), 0, &[]);
    let gated = run(folder.path(), "evaluate --log . --gate");
    assert_eq!(gated.code, 5, "{gated:#?}");
    assert!(gated.stdout.contains("verdict: keep"), "{gated:#?}");
    let path = folder.path().join(log::FILE);
    let mut bytes = fs::read(&path).unwrap();
    bytes.extend_from_slice(b"{\"schema\":9,\"kind\":\"decision\"}\n{\"sche");
    fs::write(&path, bytes).unwrap();
    let shown = run(folder.path(), "evaluate --log .");
    check(&shown, 0, &[]);
    let told = "2 not used: 1 torn, 1 foreign schema; the first is `./ab_test_log.jsonl` line 1801";
    assert!(shown.stdout.contains(told), "{shown:#?}");
}

#[test]
fn a_log_without_decisions_is_no_reason_to_keep_anybody() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), 0, 0);
    let empty = run(folder.path(), "evaluate --log . --gate");
    check(&empty, 2, &["no decision is in `.`", "--replay"]);
    let path = folder.path().join(log::FILE);
    fs::write(&path, "{\"schema\":9,\"kind\":\"decision\"}\n").unwrap();
    check(
        &run(folder.path(), "evaluate --log ."),
        3,
        &["that can be used: 1 line read, 1 not used: 1 foreign schema"],
    );
}

#[test]
fn a_directory_without_a_rule_is_no_log() {
    let folder = tempfile::tempdir().unwrap();
    check(
        &run(folder.path(), "evaluate --log ."),
        3,
        &["no shadow log", "preregistration.json", "--replay"],
    );
    check(
        &run(folder.path(), "promote base --override x --log ."),
        3,
        &["no shadow log"],
    );
    check(
        &run(folder.path(), "dataset verify ."),
        3,
        &["`manifest.json`", "foretune dataset build"],
    );
    check(&run(folder.path(), "evaluate"), 2, &["<RUN>"]);
    check(
        &run(folder.path(), "evaluate x --log ."),
        2,
        &["cannot be used with"],
    );
    check(
        &run(folder.path(), "evaluate --log . --knowledge-cutoff soon"),
        2,
        &["soon"],
    );
}
