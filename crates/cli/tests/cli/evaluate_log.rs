//! `foretune evaluate --log`: a verdict in text, in JSON, with a gate, and on logs that are none.

use std::fs;
use std::path::Path;

use market::{Instrument, Timeframe, Timestamp};
use serde_json::Value;
use serve::shadow::record::{Class, decision_id};
use serve::shadow::{
    Decision, Entry, Metric, Outcome, Preregistration, Role, log, preregistration,
};

use crate::support::{check, run};

const HOUR: i64 = 3_600_000;
const START: i64 = 1_704_067_200_000;

/// Writes a log of hourly decisions on which the challenger is right `right` hours of ten and the
/// champion four, deciding BUY or SELL in turn with what happens.
pub(crate) fn write(folder: &Path, hours: i64, right: i64) {
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
        arms: Vec::new(),
    };
    let digest = rule.lay_down(folder).unwrap();
    let mut lines = Vec::new();
    for hour in 0..hours {
        // Neither hours nor blocks of twelve hours alternate in step with tens.
        let label = usize::from(hour * 7 % 13 < 6);
        let of_ten = (hour / 12 + hour) * 3 % 10;
        for (arm, role, hits) in [
            ("base", Role::Champion, 4),
            ("adapter", Role::Challenger, right),
        ] {
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
fn a_directory_without_a_rule_is_no_log() {
    let folder = tempfile::tempdir().unwrap();
    check(
        &run(folder.path(), "evaluate --log ."),
        7,
        &["preregistration.json"],
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
