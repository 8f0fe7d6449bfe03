//! Tests of the shadow log: what is written is read back, torn tails, rotation, two services, and
//! logs with odd lines.

use super::OddityKind::{Duplicate, FutureDated, Malformed, OutOfOrder, Torn};
use super::*;
use crate::shadow::log::{FILE, ShadowLog};
use crate::shadow::record::{Class, Event, EventKind, Mode, Role, decision_id};
use market::Timeframe;

const HOUR: i64 = 3_600_000;
const START: i64 = 1_704_067_200_000;
const NOW: Timestamp = Timestamp(START + 1000 * HOUR);

pub(crate) fn decision(hour: i64, arm: &str) -> Decision {
    let instrument = Instrument::new("BTC/USDT").unwrap();
    let time = Timestamp(START + hour * HOUR);
    Decision {
        preregistration: "ab".repeat(32),
        id: decision_id(&instrument, Timeframe::HOUR, time),
        instrument,
        timeframe: Timeframe::HOUR,
        decision_time: time,
        decided_at: time,
        late: false,
        arm: arm.to_owned(),
        role: Role::Champion,
        decision: 0,
        probabilities: [0.5, 0.25, 0.25],
        raw_probabilities: [0.6, 0.2, 0.2],
        price: 42_000.5,
        model_sha256: "cd".repeat(32),
        adapter_sha256: None,
        template_sha256: "ef".repeat(32),
        prompt_sha256: "01".repeat(32),
        prompt_tokens: 180,
        latency_ms: Some(12.5),
    }
}

fn outcome(hour: i64) -> Outcome {
    let of = decision(hour, "a");
    let matured_at = Timestamp(of.decision_time.0 + 12 * HOUR);
    Outcome {
        id: of.id,
        instrument: of.instrument,
        timeframe: of.timeframe,
        decision_time: of.decision_time,
        matured_at,
        recorded_at: matured_at,
        label: Some(Class(2)),
        outcome_return: Some(-0.0125),
        void: None,
    }
}

fn event() -> Event {
    Event {
        event: EventKind::Start,
        at: Timestamp(START),
        mode: Mode::Replay,
        preregistration: "ab".repeat(32),
        arms: Vec::new(),
        text: None,
    }
}

fn entries(hours: std::ops::Range<i64>) -> Vec<Entry> {
    hours
        .flat_map(|hour| ["a", "b"].map(|arm| Entry::Decision(decision(hour, arm))))
        .collect()
}

fn lines_of(path: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines().map(str::to_owned).collect()
}

#[test]
fn what_is_appended_is_read_back() {
    let folder = tempfile::tempdir().unwrap();
    let mut log = ShadowLog::open(folder.path()).unwrap();
    log.append(&[Entry::Event(event())]).unwrap();
    log.append(&entries(0..3)).unwrap();
    log.append(&[Entry::Outcome(outcome(0))]).unwrap();
    let history = History::read(folder.path(), NOW).unwrap();
    assert_eq!(history.decisions.len(), 6);
    assert_eq!(history.decisions[5], decision(2, "b"));
    assert_eq!(history.outcomes, [outcome(0)]);
    assert_eq!(history.events, [event()]);
    assert!(history.oddities.is_empty(), "{:?}", history.oddities);
    let lines = lines_of(&folder.path().join(FILE));
    assert!(lines[1].starts_with(r#"{"schema":2,"kind":"decision","preregistration":"#));
    assert!(lines[1].contains(r#""decision":"BUY""#), "{}", lines[1]);
    assert!(lines[7].contains(r#""label":"HOLD","return":-0.0125,"void":null"#));
}

#[test]
fn a_kill_within_a_line_loses_only_that_line() {
    let folder = tempfile::tempdir().unwrap();
    let all = entries(0..2);
    let mut log = ShadowLog::open(folder.path()).unwrap();
    log.append(&all).unwrap();
    drop(log);
    let path = folder.path().join(FILE);
    let whole = std::fs::read(&path).unwrap();
    // Each cut is synced several times; every seventh meets every part of a line.
    for cut in (0..whole.len()).step_by(7) {
        std::fs::write(&path, &whole[..cut]).unwrap();
        let complete = whole[..cut].split(|byte| *byte == b'\n').count() - 1;
        let before = History::read(folder.path(), NOW).unwrap();
        assert_eq!(before.decisions.len(), complete, "cut at {cut}");
        let mut log = ShadowLog::open(folder.path()).unwrap();
        log.append(&all[complete..]).unwrap();
        drop(log);
        assert_eq!(std::fs::read(&path).unwrap(), whole, "cut at {cut}");
    }
}

#[test]
fn every_day_has_its_file_and_they_are_read_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let all = entries(0..60);
    for part in all.chunks(17) {
        let mut log = ShadowLog::open(folder.path()).unwrap();
        log.append(part).unwrap();
    }
    let names: Vec<String> = log::files(folder.path())
        .unwrap()
        .iter()
        .map(|path| path.file_name().unwrap().to_string_lossy().into_owned())
        .collect();
    assert_eq!(
        names,
        [
            "ab_test_log-2024-01-01.jsonl",
            "ab_test_log-2024-01-02.jsonl",
            FILE
        ]
    );
    assert_eq!(lines_of(&folder.path().join(&names[0])).len(), 48);
    let history = History::read(folder.path(), NOW).unwrap();
    let read: Vec<Entry> = history.decisions.into_iter().map(Entry::Decision).collect();
    assert_eq!(read, all);
    assert!(history.oddities.is_empty(), "{:?}", history.oddities);
}

#[test]
fn a_clock_that_is_set_back_moves_no_day() {
    let folder = tempfile::tempdir().unwrap();
    let mut log = ShadowLog::open(folder.path()).unwrap();
    // The third day, then the second, then the third again, then the fourth.
    for hour in [50, 30, 51, 73] {
        log.append(&[Entry::Decision(decision(hour, "a"))]).unwrap();
    }
    drop(log);
    let third = lines_of(&folder.path().join("ab_test_log-2024-01-03.jsonl"));
    assert_eq!(
        (third.len(), lines_of(&folder.path().join(FILE)).len()),
        (3, 1)
    );
    let history = History::read(folder.path(), NOW).unwrap();
    assert_eq!(history.decisions.len(), 4);
    let odd: Vec<OddityKind> = history.oddities.iter().map(|o| o.kind).collect();
    assert_eq!(odd, [OutOfOrder]);
}

#[test]
fn a_second_service_is_refused_and_the_first_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let mut first = ShadowLog::open(folder.path()).unwrap();
    let error = ShadowLog::open(folder.path()).unwrap_err();
    assert!(matches!(error, ServeError::Locked { .. }), "{error}");
    first.append(&entries(0..1)).unwrap();
    drop(first);
    ShadowLog::open(folder.path()).unwrap();
}

#[test]
fn a_file_that_is_no_shadow_log_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(FILE);
    for (text, expect) in [
        ("hello\n", "not a decision log"),
        ("{\"schema\":1,\"arm\":\"x\"}\n", "schema `1`, expected `2`"),
    ] {
        std::fs::write(&path, text).unwrap();
        let error = ShadowLog::open(folder.path()).unwrap_err();
        assert!(error.to_string().contains(expect), "{error}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
    }
}

#[test]
fn odd_lines_are_told_and_the_rest_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let line = |entry: &Entry| String::from_utf8(entry.to_line().unwrap()).unwrap();
    let of = |hour, arm| line(&Entry::Decision(decision(hour, arm)));
    let mut early = decision(9, "a");
    early.decided_at = Timestamp(early.decision_time.0 - HOUR);
    let text = [
        of(0, "a"),
        of(0, "a"),
        of(2, "a"),
        of(1, "a"),
        "{\"schema\":9,\"kind\":\"decision\"}\n".to_owned(),
        "{\"schema\":2,\"kind\":\"verdict\"}\n".to_owned(),
        "nonsense\n".to_owned(),
        of(2000, "a"),
        line(&Entry::Decision(early)),
        line(&Entry::Outcome(outcome(0))),
        line(&Entry::Outcome(outcome(0))),
        of(3, "a").replace("0.25,0.25", "0.25,0.5"),
        of(4, "a").trim_end().to_owned(),
    ]
    .concat();
    std::fs::write(folder.path().join(FILE), text).unwrap();
    let history = History::read(folder.path(), NOW).unwrap();
    let hours: Vec<i64> = history
        .decisions
        .iter()
        .map(|decision| (decision.decision_time.0 - START) / HOUR)
        .collect();
    assert_eq!(hours, [0, 2, 1]);
    assert_eq!(history.outcomes.len(), 1);
    let odd: Vec<(usize, OddityKind)> = history
        .oddities
        .iter()
        .map(|oddity| (oddity.line, oddity.kind))
        .collect();
    assert_eq!(
        odd,
        [
            (2, Duplicate),
            (4, OutOfOrder),
            (5, Malformed),
            (6, Malformed),
            (7, Malformed),
            (8, FutureDated),
            (9, FutureDated),
            (11, Duplicate),
            (12, Malformed),
            (13, Torn)
        ]
    );
}

#[test]
fn an_entry_nobody_could_read_is_not_written() {
    let folder = tempfile::tempdir().unwrap();
    let mut log = ShadowLog::open(folder.path()).unwrap();
    let mut bad = decision(0, "a");
    bad.probabilities = [0.5, 0.5, 0.5];
    let error = log.append(&[Entry::Decision(bad)]).unwrap_err();
    assert!(error.to_string().contains("sum to `1.5`"), "{error}");
    assert!(log.is_whole());
    assert_eq!(
        std::fs::metadata(folder.path().join(FILE)).unwrap().len(),
        0
    );
}
