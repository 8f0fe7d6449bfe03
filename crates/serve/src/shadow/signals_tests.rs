//! Tests of signals for a backtest: their times, whose they are, and what is left out.

use super::*;
use crate::shadow::history::tests::decision;
use crate::shadow::log::ShadowLog;
use crate::shadow::record::Entry;
use crate::shadow::{Metric, preregistration};
use serde_json::{Value, json};

const HOUR: i64 = 3_600_000;
const SECOND: i64 = 1000;
const NOW: Timestamp = Timestamp(1_704_067_200_000 + 1000 * HOUR);
const TIMING: Timing = Timing {
    late_after: 300 * SECOND,
    delay: 0,
};

/// A log in which `entries` were decided, every second bar.
fn log(entries: &mut [Decision]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let rule = Preregistration {
        schema: preregistration::SCHEMA,
        metric: Metric::Brier,
        alpha: 0.05,
        minimum_blocks: 60,
        clip: 1.0,
        max_drawdown: 0.2,
        cost_per_side: 0.0005,
        horizon_hours: 12,
        dataset: json!({"decision_stride_bars": 2}),
        model_sha256: "ab".repeat(32),
        template_sha256: "cd".repeat(32),
        arms: Vec::new(),
    };
    let digest = rule.lay_down(folder.path()).unwrap();
    let mut log = ShadowLog::open(folder.path()).unwrap();
    for decision in entries {
        if decision.preregistration != "foreign" {
            decision.preregistration.clone_from(&digest);
        }
        log.append(&[Entry::Decision(decision.clone())]).unwrap();
    }
    folder
}

fn lines(signals: &Signals) -> Vec<Value> {
    let parse = |line| serde_json::from_str(line).unwrap();
    signals.text.lines().map(parse).collect()
}

fn time(value: &Value) -> i64 {
    value.as_str().unwrap().parse::<Timestamp>().unwrap().0
}

#[test]
fn a_signal_says_when_it_could_be_acted_upon_and_until_when() {
    let mut prompt = decision(4, "a");
    prompt.decided_at = Timestamp(prompt.decision_time.0 + 3 * SECOND);
    let mut late = decision(2, "a");
    late.decided_at = Timestamp(prompt.decision_time.0 + SECOND);
    late.late = true;
    // A clock that was behind.
    let mut early = decision(6, "a");
    early.decided_at = Timestamp(early.decision_time.0 - SECOND);
    let folder = log(&mut [prompt.clone(), late.clone(), early.clone()]);
    let timing = Timing {
        delay: 20 * SECOND,
        ..TIMING
    };
    let signals = Signals::of(folder.path(), NOW, None, timing).unwrap();
    assert!(signals.text.starts_with(FIRST_BYTES), "{}", signals.text);
    let found = lines(&signals);
    let available: Vec<i64> = found.iter().map(|s| time(&s["available_at"])).collect();
    let expect = [
        late.decided_at.0 + 20 * SECOND,
        prompt.decided_at.0 + 20 * SECOND,
        early.decision_time.0 + 20 * SECOND,
    ];
    assert_eq!(available, expect);
    assert_eq!(
        (&found[0]["late"], &found[1]["late"]),
        (&json!(true), &json!(false))
    );
    assert_eq!(signals.late, 1);
    // Until the bar of the next decision has closed and could be late itself.
    assert_eq!(
        time(&found[1]["valid_until"]),
        prompt.decision_time.0 + 2 * HOUR + 300 * SECOND
    );
    assert_eq!(found[1]["decision"], "BUY");
    assert_eq!(
        found[1]["probabilities"],
        json!({"BUY": 0.5, "SELL": 0.25, "HOLD": 0.25})
    );
    assert_eq!(
        signals.span,
        Some((late.decision_time, early.decision_time))
    );
}

#[test]
fn one_arm_may_be_asked_for_and_foreign_decisions_are_left_out() {
    let mut foreign = decision(1, "a");
    foreign.preregistration = "foreign".to_owned();
    let mut all = [
        decision(0, "a"),
        decision(0, "b"),
        foreign,
        decision(2, "b"),
    ];
    let folder = log(&mut all);
    let both = Signals::of(folder.path(), NOW, None, TIMING).unwrap();
    assert_eq!((both.count(), both.foreign), (3, 1));
    let one = Signals::of(folder.path(), NOW, Some("b"), TIMING).unwrap();
    assert_eq!((one.arms["a"], one.arms["b"]), (0, 2));
    assert!(lines(&one).iter().all(|signal| signal["arm"] == "b"));
    let none = Signals::of(folder.path(), NOW, Some("c"), TIMING).unwrap();
    assert_eq!((none.count(), none.arms.len()), (0, 2));
}

#[test]
fn odd_lines_are_told_and_left_out() {
    let folder = log(&mut [decision(0, "a"), decision(2, "a")]);
    let path = folder.path().join(crate::shadow::log::FILE);
    let mut text = std::fs::read_to_string(&path).unwrap();
    let first = text.lines().next().unwrap().to_owned();
    text += &format!("{first}\nnonsense\n");
    std::fs::write(&path, text).unwrap();
    let signals = Signals::of(folder.path(), NOW, None, TIMING).unwrap();
    assert_eq!((signals.count(), signals.left_out()), (2, 2));
}

#[test]
fn a_rule_without_a_stride_is_refused() {
    let folder = log(&mut [decision(0, "a")]);
    let path = folder.path().join(preregistration::FILE);
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("decision_stride_bars", "other")).unwrap();
    let error = Signals::of(folder.path(), NOW, None, TIMING).unwrap_err();
    assert!(
        error.to_string().contains("decision_stride_bars"),
        "{error}"
    );
}
