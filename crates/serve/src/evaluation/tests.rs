//! Tests of the evaluation as a whole.

use proptest::prelude::*;

use super::*;

const HOUR: i64 = 3_600_000;

/// Deterministic noise in 0..1.
fn noise(i: usize, salt: u64) -> f64 {
    let mut x =
        (i as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ salt.wrapping_mul(0xd1b5_4a32_d192_ed03);
    x = (x ^ (x >> 31)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((x ^ (x >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
}

fn rows(n: usize) -> Vec<Row> {
    (0..n)
        .map(|i| Row {
            instrument: Instrument::new(if i % 2 == 0 { "BTC/USD" } else { "ETH/USD" }).unwrap(),
            decision_time: Timestamp((i / 2) as i64 * HOUR),
            price: 100.0,
            label: ((noise(i, 1) * 4.0) as usize).min(class::HOLD),
            outcome_return: noise(i, 2) * 0.04 - 0.02,
        })
        .collect()
}

fn arm(name: &str, decisions: Vec<usize>) -> ArmDecisions {
    let probabilities = decisions
        .iter()
        .enumerate()
        .map(|(i, &decision)| {
            let sure = 0.4 + 0.5 * noise(i, 3);
            let mut p = [(1.0 - sure) / 2.0; class::COUNT];
            p[decision] = sure;
            p
        })
        .collect();
    ArmDecisions {
        name: name.to_owned(),
        decisions,
        probabilities: Some(probabilities),
        raw_decisions: None,
    }
}

fn arms(rows: &[Row], skill: f64) -> Vec<ArmDecisions> {
    let guess = |i: usize, salt| (noise(i, salt) * 3.0) as usize;
    let learned = (0..rows.len())
        .map(|i| {
            if noise(i, 5) < skill {
                rows[i].label
            } else {
                guess(i, 6)
            }
        })
        .collect();
    vec![
        arm(BASE, (0..rows.len()).map(|i| guess(i, 4)).collect()),
        arm(ADAPTER, learned),
        arm(MAJORITY, vec![class::HOLD; rows.len()]),
    ]
}

fn settings() -> Settings {
    Settings {
        horizon: 3 * HOUR,
        replicates: 200,
        ..Settings::default()
    }
}

#[test]
fn values_agree_with_the_statistics_room() {
    let rows = rows(600);
    let arms = arms(&rows, 0.3);
    let evaluation = evaluate(&rows, &arms, &settings()).unwrap();
    let labels: Vec<usize> = rows.iter().map(|row| row.label).collect();
    let groups: Vec<usize> = (0..600).map(|i| i % 2).collect();
    for (given, scored) in arms.iter().zip(&evaluation.arms) {
        let p = given.probabilities.as_ref().unwrap();
        let pairs = [
            (
                scored.accuracy,
                stats::metrics::accuracy(&labels, &given.decisions),
            ),
            (
                scored.balanced_accuracy,
                stats::metrics::balanced_accuracy(&labels, &given.decisions, class::COUNT),
            ),
            (
                scored.log_loss.unwrap(),
                stats::metrics::log_loss(&labels, p),
            ),
            (scored.brier.unwrap(), stats::metrics::brier(&labels, p)),
            (
                scored.flip_rate.unwrap(),
                stats::metrics::flip_rate_by(&groups, &given.decisions),
            ),
            (
                scored.agreement.unwrap(),
                stats::metrics::agreement(&arms[0].decisions, &given.decisions),
            ),
        ];
        for (found, expected) in pairs {
            assert!(
                (found - expected).abs() < 1e-12,
                "{}: {found} {expected}",
                given.name
            );
        }
        assert!(scored.accuracy_interval.contains(scored.accuracy));
        assert_eq!(scored.n, 600);
    }
    // 300 hours in blocks of six hours.
    assert_eq!(evaluation.evaluation.effective_n, 50);
    assert_eq!(evaluation.evaluation.instruments, 2);
}

#[test]
fn intervals_are_those_of_resampled_rows() {
    let rows = rows(300);
    let arms = arms(&rows, 0.3);
    let settings = settings();
    let evaluation = evaluate(&rows, &arms, &settings).unwrap();
    let times: Vec<i64> = rows.iter().map(|row| row.decision_time.0).collect();
    let blocks = stats::bootstrap::time_blocks(&times, 2 * settings.horizon);
    let accuracy = |drawn: &[usize]| {
        let hits = drawn
            .iter()
            .filter(|&&i| rows[i].label == arms[1].decisions[i])
            .count();
        hits as f64 / drawn.len() as f64
    };
    let expected = stats::bootstrap::block_bootstrap(&blocks, 200, settings.seed, 0.95, &accuracy);
    let found = evaluation.arms[1].accuracy_interval;
    assert!(
        (found.low - expected.low).abs() < 1e-12,
        "{found:?} {expected:?}"
    );
    assert!(
        (found.high - expected.high).abs() < 1e-12,
        "{found:?} {expected:?}"
    );
}

#[test]
fn skill_is_found_and_its_absence_is_not_dressed_up() {
    let rows = rows(1200);
    let skilled = evaluate(&rows, &arms(&rows, 0.8), &settings()).unwrap();
    assert_eq!(skilled.findings[0].verdict, Verdict::Better);
    assert!(skilled.edge_over_majority.unwrap() > 0.2);

    let mut same = arms(&rows, 0.0);
    same[1] = arm(ADAPTER, vec![class::HOLD; rows.len()]);
    let same = evaluate(&rows, &same, &settings()).unwrap();
    assert_eq!(same.findings[0].verdict, Verdict::NoEvidence);
    assert_eq!(same.edge_over_majority, Some(0.0));
    assert!(
        same.findings.iter().any(|f| f.about == "class_mix"),
        "{:?}",
        same.findings
    );
}

#[test]
fn the_order_of_rows_does_not_matter() {
    let forward = rows(200);
    let arms_forward = arms(&forward, 0.3);
    let backward: Vec<Row> = forward.iter().rev().cloned().collect();
    let order: Vec<usize> = (0..200).rev().collect();
    let arms_backward: Vec<ArmDecisions> =
        arms_forward.iter().map(|a| reorder(a, &order)).collect();
    let a = evaluate(&forward, &arms_forward, &settings()).unwrap();
    let b = evaluate(&backward, &arms_backward, &settings()).unwrap();
    assert_eq!(a, b);
}

#[test]
fn json_keys_are_stable_and_come_back() {
    let rows = rows(200);
    let mut arms = arms(&rows, 0.3);
    arms[1].raw_decisions = Some(vec![class::BUY; rows.len()]);
    let evaluation = evaluate(&rows, &arms, &settings()).unwrap();
    let json = serde_json::to_value(&evaluation).unwrap();
    let adapter = json["arms"][1].as_object().unwrap();
    for key in [
        "accuracy",
        "balanced_accuracy",
        "log_loss",
        "brier",
        "flip_rate",
        "agreement",
        "edge_over_majority",
        "raw_accuracy",
        "accuracy_as_answered",
        "balanced_accuracy_as_answered",
        "edge_over_majority_as_answered",
    ] {
        assert!(adapter[key].is_number(), "{key}");
        assert_eq!(
            adapter[&format!("{key}_interval")]
                .as_array()
                .unwrap()
                .len(),
            2,
            "{key}"
        );
    }
    assert!(json["edge_over_majority"].is_number());
    assert!(adapter["class_mix"]["BUY"].is_number());
    let back: Evaluation = serde_json::from_value(json).unwrap();
    assert_eq!(back, evaluation);
}

/// The adapter decides HOLD after re-weighting and something of its own before.
fn reweighted(rows: &[Row], own: Vec<usize>) -> Evaluation {
    let mut arms = arms(rows, 0.3);
    arms[1] = arm(ADAPTER, vec![class::HOLD; rows.len()]);
    arms[1].raw_decisions = Some(own);
    arms[0].raw_decisions = Some(vec![class::BUY; rows.len()]);
    let settings = Settings {
        calibration_decisions: 60,
        bayes_accuracy: Some(0.9),
        ..settings()
    };
    evaluate(rows, &arms, &settings).unwrap()
}

#[test]
fn what_an_arm_answers_by_itself_is_scored_beside_its_reweighted_decisions() {
    let rows = rows(400);
    let own: Vec<usize> = (0..400).map(|i| (noise(i, 8) * 3.0) as usize).collect();
    let evaluation = reweighted(&rows, own.clone());
    let labels: Vec<usize> = rows.iter().map(|row| row.label).collect();
    let adapter = &evaluation.arms[1];
    let alone = evaluate(
        &rows,
        &[arm(ADAPTER, own), arms(&rows, 0.0).remove(2)],
        &settings(),
    );
    let alone = &alone.unwrap().arms[0];
    assert_ne!(adapter.accuracy, adapter.accuracy_as_answered);
    assert_eq!(adapter.accuracy_as_answered, alone.accuracy);
    assert_eq!(
        adapter.accuracy_as_answered_interval,
        alone.accuracy_interval
    );
    assert_eq!(
        adapter.balanced_accuracy_as_answered,
        alone.balanced_accuracy
    );
    assert_eq!(
        adapter.balanced_accuracy_as_answered_interval,
        alone.balanced_accuracy_interval
    );
    assert_eq!(
        adapter.edge_over_majority_as_answered,
        alone.edge_over_majority
    );
    assert_eq!(adapter.confusion_as_answered, alone.confusion);
    assert_eq!(adapter.class_mix_as_answered, alone.class_mix);
    assert_eq!(adapter.raw_accuracy, Some(adapter.accuracy_as_answered));
    let majority = &evaluation.arms[2];
    assert!(!majority.is_reweighted());
    assert_eq!(majority.accuracy_as_answered, majority.accuracy);
    assert_eq!(majority.confusion_as_answered, majority.confusion);
    assert_eq!(
        majority.accuracy,
        stats::metrics::accuracy(&labels, &vec![class::HOLD; 400])
    );
}

#[test]
fn the_findings_say_what_is_reweighted_and_what_is_served() {
    let rows = rows(400);
    let mut own = vec![class::HOLD; 400];
    own[..300].fill(class::BUY);
    let evaluation = reweighted(&rows, own);
    let [_, adapter, _] = &evaluation.arms[..] else {
        panic!("three arms");
    };
    let text = |about: &str| {
        let found = evaluation.findings.iter().find(|f| f.about == about);
        found.map_or("", |finding| finding.text.as_str())
    };
    let served = text("as_answered");
    let right = format!(
        "{:.1} % of the time (95 % interval",
        adapter.accuracy_as_answered * 100.0
    );
    assert!(
        served.starts_with("Answering by itself, as llama.cpp serves it, the adapter is right"),
        "{served}"
    );
    for part in [
        right.as_str(),
        "; edge over the majority class \u{2212}",
        "The base model by itself is right",
        "re-weighted to the class mix of 60 validation decisions.",
    ] {
        assert!(served.contains(part), "{part}: {served}");
    }
    assert_eq!(
        text("class_mix"),
        "After re-weighting, the adapter chooses HOLD on 100.0 % of the rows: it hardly decides \
         anything. By itself it chooses HOLD on 25.0 % of them, and \
         BUY most often, on 75.0 %."
    );
    assert!(text("bayes_accuracy").contains("after re-weighting, the adapter is right"));
    let plain = evaluate(&rows, &arms(&rows, 0.3), &settings()).unwrap();
    assert!(
        plain
            .findings
            .iter()
            .all(|f| f.about != "as_answered" && !f.text.contains("weight"))
    );
}

#[test]
fn one_block_gives_values_without_intervals() {
    let rows = rows(4);
    let evaluation = evaluate(&rows, &arms(&rows, 0.3), &settings()).unwrap();
    assert!(!evaluation.arms[0].accuracy_interval.is_known());
    assert!(
        evaluation
            .findings
            .iter()
            .any(|f| f.text.contains("one block"))
    );
    assert!(
        evaluation
            .findings
            .iter()
            .all(|f| f.verdict != Verdict::Better)
    );
}

#[test]
fn what_does_not_fit_is_refused() {
    let good = rows(6);
    let refuse = |rows: &[Row], arms: &[ArmDecisions], settings: &Settings, expect: &str| {
        let error = evaluate(rows, arms, settings).unwrap_err().to_string();
        assert!(error.contains(expect), "{error}");
    };
    let with = |change: &dyn Fn(&mut ArmDecisions)| {
        let mut one = arm(ADAPTER, vec![0; 6]);
        change(&mut one);
        vec![one]
    };
    refuse(&[], &[], &settings(), "nothing to score");
    refuse(
        &good,
        &with(&|a| a.decisions = vec![0; 5]),
        &settings(),
        "5 decisions, expected 6",
    );
    refuse(
        &good,
        &with(&|a| a.decisions[2] = 3),
        &settings(),
        "decision `3` in row 2",
    );
    refuse(
        &good,
        &with(&|a| a.raw_decisions = Some(vec![])),
        &settings(),
        "0 decisions",
    );
    refuse(
        &good,
        &with(&|a| a.probabilities = Some(vec![])),
        &settings(),
        "0 rows of probabilities",
    );
    refuse(
        &good,
        &with(&|a| a.probabilities = Some(vec![[0.5; 3]; 6])),
        &settings(),
        "sum to 1",
    );
    refuse(&good, &with(&|a| a.name.clear()), &settings(), "no name");
    let twice = [arm(BASE, vec![0; 6]), arm(BASE, vec![0; 6])];
    refuse(&good, &twice, &settings(), "arm `base`: comes twice");

    let with = |change: &dyn Fn(&mut Row)| {
        let mut rows = good.clone();
        change(&mut rows[3]);
        rows
    };
    refuse(
        &with(&|r| r.label = 9),
        &[],
        &settings(),
        "row 3: label `9`",
    );
    refuse(
        &with(&|r| r.outcome_return = f64::NAN),
        &[],
        &settings(),
        "row 3: outcome return",
    );
    refuse(
        &with(&|r| r.price = -1.0),
        &[],
        &settings(),
        "row 3: price `-1`",
    );
    refuse(
        &with(&|r| r.decision_time = Timestamp(0)),
        &[],
        &settings(),
        "row 3: `ETH/USD` at",
    );

    let spoiled: [fn(&mut Settings); 4] = [
        |s| s.horizon = 0,
        |s| s.replicates = 0,
        |s| s.level = 1.0,
        |s| s.cost_per_side = -0.1,
    ];
    for change in spoiled {
        let mut bad = settings();
        change(&mut bad);
        refuse(&good, &[], &bad, "setting `");
    }
}

proptest! {
    #[test]
    fn any_decisions_give_finite_scores(
        decisions in prop::collection::vec(0usize..3, 60), labels in prop::collection::vec(0usize..3, 60),
    ) {
        let mut rows = rows(60);
        for (row, label) in rows.iter_mut().zip(labels) {
            row.label = label;
        }
        let mut few = settings();
        few.replicates = 20;
        let evaluation = evaluate(&rows, &[arm(ADAPTER, decisions)], &few).unwrap();
        let scored = &evaluation.arms[0];
        prop_assert!((0.0..=1.0).contains(&scored.accuracy));
        prop_assert!((0.0..=1.0).contains(&scored.balanced_accuracy));
        prop_assert!(scored.edge_over_majority.is_none() && scored.agreement.is_none());
        let bins = scored.calibration.as_ref().unwrap();
        prop_assert_eq!(bins.iter().map(|bin| bin.n).sum::<usize>(), 60);
    }
}
