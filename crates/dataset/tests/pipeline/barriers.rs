//! Labels by the barrier touched first: against two implementations in Python, and through a whole
//! build with its audit.
//!
//! The fixture is made by python/reference/triple_barrier.py.

use std::ops::ControlFlow;

use dataset::audit::{AuditSettings, Status, run};
use dataset::{DatasetSettings, Decision, LabelRule, Outcome, Unlabelled, outcomes};
use market::{Bars, Instrument, Timeframe};
use serde::Deserialize;

use crate::common::{HOUR, quiet, walk};

/// For returns of about one percent, of prices with six decimals: both sides divide the same
/// doubles, up to the order of operations.
const RETURN_TOLERANCE: f64 = 1e-12;

#[derive(Deserialize)]
struct Fixture {
    horizon_hours: u32,
    open_time: Vec<i64>,
    open: Vec<f64>,
    high: Vec<f64>,
    low: Vec<f64>,
    close: Vec<f64>,
    cases: Vec<Case>,
    closes: Vec<f64>,
    closes_rule: LabelRule,
    closes_rows: Vec<(Decision, i64)>,
}

#[derive(Deserialize)]
struct Case {
    rule: LabelRule,
    rows: Vec<Row>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Row {
    /// Label, bars until then, return.
    Outcome(Decision, i64, f64),
    None(String),
}

fn fixture() -> Fixture {
    let text = include_str!("../fixtures/triple_barrier.json");
    serde_json::from_str(text).unwrap()
}

fn settings(horizon_hours: u32, label: LabelRule) -> DatasetSettings {
    DatasetSettings {
        horizon_hours,
        label,
        ..DatasetSettings::default()
    }
}

fn bars(open_time: Vec<i64>, [open, high, low, close]: [Vec<f64>; 4]) -> Bars {
    Bars {
        instrument: Instrument::new("BTC/USD").unwrap(),
        timeframe: Timeframe::HOUR,
        volume: vec![1.0; open.len()],
        open_time,
        open,
        high,
        low,
        close,
    }
}

fn steps(outcome: &Outcome) -> i64 {
    (outcome.span.1.0 - outcome.span.0.0) / HOUR
}

#[test]
fn labels_spans_and_returns_are_those_of_the_oracle() {
    let fixture = fixture();
    let bars = bars(
        fixture.open_time,
        [fixture.open, fixture.high, fixture.low, fixture.close],
    );
    for case in fixture.cases {
        let found = outcomes(&bars, &settings(fixture.horizon_hours, case.rule));
        assert_eq!(found.rows.len(), case.rows.len());
        let mut early = 0;
        for (row, (found, expected)) in found.rows.iter().zip(&case.rows).enumerate() {
            match (found, expected) {
                (Ok(outcome), Row::Outcome(label, bars, change)) => {
                    assert_eq!(
                        (outcome.label, steps(outcome)),
                        (*label, *bars),
                        "row {row}"
                    );
                    let off = (outcome.outcome_return - change).abs();
                    assert!(off < RETURN_TOLERANCE, "row {row}: {off}");
                    early += usize::from(*bars < i64::from(fixture.horizon_hours));
                }
                (Err(Unlabelled::Gap), Row::None(why)) => assert_eq!(why, "gap", "row {row}"),
                (Err(Unlabelled::Tail), Row::None(why)) => assert_eq!(why, "tail", "row {row}"),
                (Err(Unlabelled::Warmup), Row::None(why)) => {
                    assert_eq!(why, "warmup", "row {row}");
                }
                _ => panic!("row {row}: {found:?}, expected another kind"),
            }
        }
        assert!(early > 100, "{early} touches: too few to tell anything");
    }
}

#[test]
fn of_closes_alone_labels_are_those_of_mlfinpy() {
    let fixture = fixture();
    let times = (0..fixture.closes.len() as i64)
        .map(|row| row * HOUR)
        .collect();
    let columns = [(); 4].map(|()| fixture.closes.clone());
    let settings = settings(fixture.horizon_hours, fixture.closes_rule);
    let found = outcomes(&bars(times, columns), &settings);
    for (row, (label, bars)) in fixture.closes_rows.iter().enumerate() {
        let outcome = found.rows[row].unwrap();
        assert_eq!(
            (outcome.label, steps(&outcome)),
            (*label, *bars),
            "row {row}"
        );
    }
    assert_eq!(found.rows[fixture.closes_rows.len()], Err(Unlabelled::Tail));
}

#[test]
fn a_data_set_of_barriers_says_so_has_its_own_spans_and_passes_its_audit() {
    let inputs = [
        walk("BTC/USD", 1, 4000, &[1500, 1501]),
        walk("ETH/USD", 2, 4000, &[]),
    ];
    let rule = LabelRule::TripleBarrier {
        profit_k: 1.1,
        loss_k: 0.9,
        window_bars: 48,
    };
    let settings = DatasetSettings {
        decision_stride_bars: 3,
        per_class: 300,
        ..settings(12, rule)
    };
    let dataset = quiet(&settings, &inputs).unwrap();
    let sheet = &dataset.datasheet;
    let all = || {
        dataset
            .train
            .iter()
            .chain(&dataset.validation)
            .chain(&dataset.test)
    };
    // Spans end at touches: none is longer than the horizon, those of a side end as a rule before.
    let hours = |span: (market::Timestamp, market::Timestamp)| (span.1.0 - span.0.0) / HOUR;
    assert!(all().all(|example| (1..=12).contains(&hours(example.span))));
    let sides = all().filter(|example| example.label != Decision::Hold);
    let early = sides
        .clone()
        .filter(|example| hours(example.span) < 12)
        .count();
    assert!(early * 2 > sides.count(), "{early}");
    // The parts are apart by these spans, and weights are higher than those of whole horizons.
    let boundaries = &sheet.boundaries;
    for example in &dataset.train {
        assert!(example.span.1 <= boundaries.train_end);
    }
    for example in &dataset.validation {
        assert!(example.decision_time >= boundaries.validation_start);
        assert!(example.span.1 <= boundaries.validation_end);
    }
    let fixed = quiet(
        &DatasetSettings {
            label: LabelRule::Volatility {
                k: 1.0,
                window_bars: 48,
            },
            ..settings.clone()
        },
        &inputs,
    )
    .unwrap();
    let mean = |examples: &[dataset::Example]| {
        examples.iter().map(|e| e.weight).sum::<f64>() / examples.len() as f64
    };
    assert!(mean(&dataset.test) > 1.1 * mean(&fixed.test));
    // Prompt and answer speak of touches.
    for example in all() {
        assert!(
            example
                .prompt()
                .contains("first touch 1.1x the typical move above (BUY)")
        );
        assert!(example.prompt().contains("\nTypical move: "));
    }
    let answers: Vec<&str> = all()
        .map(|example| example.messages[1].content.as_str())
        .collect();
    let speaks = |text: &&&str| {
        ["barrier", "touch", "before", "first"]
            .iter()
            .any(|word| text.contains(word))
    };
    assert_eq!(answers.iter().filter(speaks).count(), answers.len());

    let audit = AuditSettings {
        samples: 24,
        cuts: 3,
        null_bars: 8192,
        probe_rows: 600,
        ..AuditSettings::default()
    };
    let report = run(&dataset, &inputs, None, &audit, &mut |_| {
        ControlFlow::Continue(())
    })
    .unwrap();
    assert!(report.passed, "{report:#?}");
    for number in [1, 2, 3, 4, 6, 7, 8, 9, 10] {
        assert_eq!(
            report.check(number).unwrap().status,
            Status::Green,
            "{number}"
        );
    }
    // It reads the real spans: one that reaches the next part is found.
    let mut altered = dataset.clone();
    altered.train.last_mut().unwrap().span.1 = altered.test[0].decision_time;
    let report = run(&altered, &inputs, None, &audit, &mut |_| {
        ControlFlow::Continue(())
    })
    .unwrap();
    assert_eq!(report.check(10).unwrap().status, Status::Red);
}
