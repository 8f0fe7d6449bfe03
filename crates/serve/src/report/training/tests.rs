//! The log in every state a run can leave it in, the warnings one by one, the page as a document.

use std::path::Path;

use super::*;
use crate::ServeError;

/// A line of a log with a step's usual keys.
fn line(step: u64, total: u64, loss: f64) -> String {
    format!(
        "{{\"step\":{step},\"total_steps\":{total},\"examples\":{},\"loss\":{loss},\"learning_rate\":0.001,\"gradient_norm\":0.5,\"tokens\":{},\"rows\":{},\"seconds\":{},\"tokens_per_second\":200.0}}\n",
        step * 4,
        step * 1000,
        step * 700,
        step * 5
    )
}

fn validation(step: u64, loss: f64, accuracy: f64) -> String {
    format!(
        "{{\"step\":{step},\"validation_loss\":{loss},\"validation_decision_accuracy\":{accuracy},\"validation_balanced_accuracy\":0.4,\"validation_examples\":40}}\n"
    )
}

fn parse(text: &str) -> Log {
    parse_log(Path::new("run/metrics.jsonl"), text.as_bytes()).unwrap()
}

fn finished() -> Facts {
    Facts {
        run: "runs/x".to_owned(),
        finished: true,
        ..Facts::default()
    }
}

/// A log of `steps` steps whose loss is `loss(step)`.
fn course_of(steps: u64, loss: impl Fn(u64) -> f64) -> String {
    (1..=steps)
        .map(|step| line(step, steps, loss(step)))
        .collect()
}

/// Whether one of a report's warnings holds `words`.
fn warns(text: &str, facts: &Facts, words: &str) -> bool {
    let report = report(parse(text), facts.clone());
    report
        .warnings
        .iter()
        .any(|warning| warning.contains(words))
}

fn falling(step: u64) -> f64 {
    2.0 / (step as f64).sqrt()
}

#[test]
fn a_quiet_training_has_no_warning() {
    let text = course_of(40, falling) + &validation(20, 0.6, 0.7) + &validation(40, 0.5, 0.8);
    let report = report(parse(&text), finished());
    assert_eq!(report.warnings, Vec::<String>::new());
    assert_eq!((report.course.steps, report.course.total_steps), (40, 40));
    assert_eq!(report.course.best.map(|best| best.step), Some(40));
    assert!(html(&report).contains("Nothing in the log asks for a second look"));
}

#[test]
fn half_a_last_line_is_left_out_and_said() {
    let whole = course_of(40, falling);
    let torn = &whole[..whole.len() - 30];
    let log = parse(torn);
    assert!(log.torn);
    assert_eq!(log.steps.len(), 39);
    assert!(warns(torn, &finished(), "cut off"));
}

#[test]
fn a_bad_line_elsewhere_is_named() {
    let text = course_of(2, falling) + "{\"step\":3,\n" + &line(4, 4, 1.0);
    let error = parse_log(Path::new("run/metrics.jsonl"), text.as_bytes()).unwrap_err();
    assert!(matches!(error, ServeError::Line { line: 3, .. }), "{error}");
    let words = error.to_string();
    assert!(words.contains("`run/metrics.jsonl` line 3"), "{words}");
    for wrong in ["[1]\n", "{\"step\":\"one\",\"loss\":1}\n", "\u{0}\n"] {
        let error = parse_log(Path::new("m"), wrong.as_bytes()).unwrap_err();
        assert!(matches!(error, ServeError::Line { line: 1, .. }), "{error}");
    }
}

#[test]
fn unknown_keys_and_records_do_no_harm() {
    let text = "{\"step\":1,\"loss\":2.0,\"novel\":{\"a\":1}}\n{\"step\":1,\"best\":true}\n{\"note\":\"x\"}\n\n";
    let log = parse(text);
    assert_eq!((log.steps.len(), log.other), (1, 2));
    assert_eq!(log.steps[0].total_steps, None);
}

#[test]
fn a_step_logged_twice_counts_once_the_later_one() {
    let text = course_of(3, falling) + &line(2, 3, 9.0) + &line(3, 3, 8.0);
    let log = parse(&text);
    let losses: Vec<_> = log.steps.iter().map(|step| step.loss).collect();
    assert_eq!(losses, [Some(2.0), Some(9.0), Some(8.0)]);
    assert_eq!(log.repeated, 2);
}

#[test]
fn an_unfinished_run_says_so_and_has_a_page() {
    let text = course_of(12, falling).replace("\"total_steps\":12", "\"total_steps\":50");
    assert!(warns(&text, &Facts::default(), "12 of 50 steps are logged"));
    assert!(warns(
        &course_of(12, falling),
        &Facts::default(),
        "no manifest"
    ));
    let nothing = report(parse(""), Facts::default());
    assert!(nothing.warnings[0].contains("No step is logged yet"));
    assert!(html(&nothing).contains("A training without a step yet"));
}

#[test]
fn a_loss_that_rises_or_stands_is_said() {
    let rising = |step: u64| if step < 60 { falling(step) } else { 1.0 };
    assert!(warns(
        &course_of(80, rising),
        &finished(),
        "rises at the end: 1.000"
    ));
    assert!(warns(&course_of(40, |_| 1.0), &finished(), "did not fall"));
    let noisy =
        |step: u64| 1.0 / (step as f64).sqrt() + if step.is_multiple_of(2) { 0.3 } else { 0.0 };
    assert!(!warns(
        &course_of(80, noisy),
        &finished(),
        "rises at the end"
    ));
}

#[test]
fn overfitting_names_the_better_step() {
    let text = course_of(60, falling) + &validation(20, 0.5, 0.8) + &validation(60, 0.9, 0.7);
    assert!(warns(&text, &finished(), "overfitting"));
    assert!(warns(
        &text,
        &finished(),
        "the adapter of step 20 was better"
    ));
    let kept = Facts {
        kept_step: Some(20),
        stopped_early: true,
        examples_cut: Some(3),
        ..finished()
    };
    assert!(warns(&text, &kept, "the adapter of step 20 was kept"));
    assert!(warns(&text, &kept, "3 examples were longer"));
    let page = html(&report(parse(&text), kept));
    assert!(page.contains("of step 20") && page.contains("no longer fell"));
    let text = course_of(60, falling) + &validation(20, 0.5, 0.8) + &validation(60, 0.505, 0.7);
    assert!(!warns(&text, &finished(), "overfitting"));
}

#[test]
fn decisions_are_held_against_the_majority() {
    let majority = Facts {
        majority: Some(Majority {
            class: "HOLD".to_owned(),
            share: 0.8,
            classes: 3,
        }),
        ..finished()
    };
    let text = course_of(40, falling) + &validation(20, 0.6, 0.8) + &validation(40, 0.5, 0.75);
    assert!(warns(
        &text,
        &majority,
        "never better than always answering HOLD (80.0 %)"
    ));
    assert!(!warns(&text, &finished(), "never better"));
    let better = text.replace("accuracy\":0.75", "accuracy\":0.85");
    assert!(!warns(&better, &majority, "never better"));
    let one = text.replace("0.4,", "0.3333333333333333,");
    assert!(warns(&one, &majority, "one and the same answer"));
    let page = html(&report(parse(&text), majority));
    assert!(page.contains("always HOLD"));
}

#[test]
fn spikes_and_clipping_are_counted() {
    let spike = course_of(40, falling).replacen(
        "\"gradient_norm\":0.5,\"tokens\":7000,",
        "\"gradient_norm\":9.0,\"tokens\":7000,",
        1,
    );
    assert!(warns(&spike, &finished(), "the largest, 9.00, at step 7"));
    let mut facts = finished();
    facts
        .settings
        .insert("max_gradient_norm".to_owned(), serde_json::json!(0.4));
    assert!(warns(
        &course_of(40, falling),
        &facts,
        "100.0 % of the steps were clipped"
    ));
    assert!(!warns(&course_of(40, falling), &finished(), "clipped"));
}

#[test]
fn a_loss_that_is_no_number_is_said() {
    let text = course_of(12, falling) + "{\"step\":13,\"loss\":null,\"total_steps\":13}\n";
    assert!(warns(&text, &finished(), "loss of step 13 is not a number"));
}

#[test]
fn preference_training_has_its_own_figures() {
    let step = |step: u64, chosen: f64, rejected: f64, accuracy: f64| {
        format!(
            "{{\"step\":{step},\"total_steps\":20,\"pairs\":{},\"loss\":{},\"reward_chosen\":{chosen},\"reward_rejected\":{rejected},\"reward_margin\":{},\"reward_accuracy\":{accuracy},\"learning_rate\":0.001,\"gradient_norm\":1.0,\"tokens\":{},\"rows\":9,\"seconds\":{},\"tokens_per_second\":9.0}}\n",
            step * 2,
            0.69 - step as f64 * 0.02,
            chosen - rejected,
            step * 100,
            step
        )
    };
    let good: String = (1..=20).map(|n| step(n, 0.1, -0.4, 0.9)).collect();
    let found = report(parse(&good), finished());
    assert_eq!(found.kind, "dpo");
    assert_eq!(found.course.examples, Some(40));
    let page = html(&found);
    for words in [
        "What it prefers",
        "Pairs the right way round",
        "a coin",
        "Reward margin",
    ] {
        assert!(page.contains(words), "{words}");
    }
    assert!(!page.contains("What it decides"));
    let coin: String = (1..=20).map(|n| step(n, 0.1, 0.1, 0.5)).collect();
    assert!(warns(&coin, &finished(), "no better than a coin"));
    let sinking: String = (1..=20).map(|n| step(n, -2.0, -2.5, 0.9)).collect();
    assert!(warns(&sinking, &finished(), "less likely too"));
}

#[test]
fn the_page_stands_alone_and_nothing_escapes_its_place() {
    let mut facts = finished();
    facts.run = "<script>alert(1)</script>".to_owned();
    facts.model = Some("a & b".to_owned());
    let text = course_of(30, falling) + &validation(30, 0.4, 0.9);
    let page = html(&report(parse(&text), facts));
    assert!(!page.contains("<script") && page.contains("a &amp; b"));
    assert!(!page.contains("http://") && !page.contains("https://"));
    assert!(!page.contains("NaN") && !page.contains("inf"));
    assert_eq!(
        page.matches("<section").count(),
        page.matches("</section>").count()
    );
    // Both drawings of the wide figures (loss, decisions, speed), and the small ones once.
    assert_eq!(page.matches("role=\"img\"").count(), 3 * 2 + 2);
}

#[test]
fn the_moving_mean_bends_neither_the_beginning_nor_the_end() {
    let values = [8.0, 4.0, 2.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 5.0];
    let smoothed = smooth(&values);
    assert_eq!(smoothed[0], 8.0);
    assert_eq!(smoothed[1], 14.0 / 3.0);
    assert_eq!(smoothed[9], 8.0 / 4.0, "the last batch alone is no turn");
    assert!(smooth(&[]).is_empty());
}

#[test]
fn json_keeps_every_step() {
    let text = course_of(3, falling) + &validation(3, 0.4, 0.9);
    let value = serde_json::to_value(report(parse(&text), finished())).unwrap();
    assert_eq!(value["kind"], "sft");
    assert_eq!(value["run"], "runs/x");
    assert_eq!(value["steps"].as_array().map(Vec::len), Some(3));
    assert_eq!(value["validations"][0]["validation_loss"], 0.4);
    assert_eq!(value["course"]["best"]["step"], 3);
}
