//! The page as a whole: its structure, its independence, its safety.
//!
//! Each run writes sample pages under the build directory's `tmp/`, to be
//! looked at in a browser.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a failed assumption is a failed test"
)]

mod sample;

use std::collections::BTreeSet;
use std::path::Path;

use serve::report::{PageData, Report, World, html};

fn write(name: &str, page: &str) {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(path, page).unwrap();
}

fn planted() -> World {
    World {
        name: "planted".to_owned(),
        rule: Some(
            "oversold and above the slow average is BUY, overbought and below it is SELL"
                .to_owned(),
        ),
        bayes_accuracy: Some(0.9),
    }
}

/// Checks that the document is well-formed XML; returns the elements' names in order.
fn check_xml(page: &str) -> Vec<String> {
    let mut open: Vec<String> = Vec::new();
    let mut names = Vec::new();
    let body = page.strip_prefix("<!DOCTYPE html>\n").expect("a doctype");
    let mut rest = body;
    while let Some(start) = rest.find('<') {
        check_text(&rest[..start]);
        let end = rest[start..].find('>').expect("a closed tag") + start;
        let tag = &rest[start + 1..end];
        rest = &rest[end + 1..];
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop().as_deref(), Some(name), "closing tag");
            continue;
        }
        let empty = tag.ends_with('/');
        let tag = tag.trim_end_matches('/');
        let (name, attributes) = tag.split_once(' ').unwrap_or((tag, ""));
        check_attributes(attributes);
        names.push(name.to_owned());
        if !empty {
            open.push(name.to_owned());
        }
    }
    assert!(open.is_empty(), "never closed: {open:?}");
    names
}

fn check_text(text: &str) {
    for part in text.split('&').skip(1) {
        let known = ["amp;", "lt;", "gt;", "quot;", "#39;"];
        assert!(
            known.iter().any(|entity| part.starts_with(entity)),
            "bare `&` in {text:?}"
        );
    }
}

fn check_attributes(attributes: &str) {
    let mut rest = attributes.trim();
    let mut seen = BTreeSet::new();
    while !rest.is_empty() {
        let (name, after) = rest
            .split_once("=\"")
            .unwrap_or_else(|| panic!("attribute in {attributes:?}"));
        let (value, after) = after.split_once('"').expect("a closed attribute");
        check_text(value);
        assert!(seen.insert(name.trim()), "`{name}` twice in {attributes:?}");
        rest = after.trim_start();
    }
}

fn check_ids(page: &str) {
    let mut ids = BTreeSet::new();
    for part in page.split(" id=\"").skip(1) {
        let id = part.split('"').next().unwrap();
        assert!(ids.insert(id.to_owned()), "id `{id}` twice");
    }
    for name in ["aria-describedby=\"", "aria-labelledby=\"", "href=\"#"] {
        for part in page.split(name).skip(1) {
            let id = part.split('"').next().unwrap();
            assert!(ids.contains(id), "`{id}` is referred to and missing");
        }
    }
}

fn check_page(name: &str, report: &Report, data: &PageData) -> String {
    let page = html(report, data);
    write(name, &page);
    let names = check_xml(&page);
    check_ids(&page);
    for outside in [
        "http:", "https:", "src=", "@import", "url(", "//", "<script", "<iframe", "onload",
    ] {
        assert!(!page.contains(outside), "the page contains `{outside}`");
    }
    assert!(
        !page.contains("NaN") && !page.contains(">inf"),
        "a number is missing"
    );
    let count = |name: &str| names.iter().filter(|n| *n == name).count();
    assert_eq!(count("h1"), 1);
    // Every drawing but the legends' swatches has a name and a description.
    let drawings = page.matches("<svg class=\"chart\"").count();
    assert_eq!(page.matches("role=\"img\" aria-label=").count(), drawings);
    assert_eq!(count("desc"), drawings);
    assert_eq!(
        count("svg") - drawings,
        page.matches("aria-hidden=\"true\"><path").count()
    );
    page
}

fn section_ids(page: &str) -> Vec<&str> {
    page.split("<section id=\"")
        .skip(1)
        .map(|part| part.split('"').next().unwrap())
        .collect()
}

#[test]
fn a_full_page_has_every_section_and_stays_small() {
    let (report, data) = sample::report(0.03, None);
    let page = check_page("sample-real.html", &report, &data);
    assert_eq!(
        section_ids(&page),
        [
            "verdict",
            "done",
            "arms",
            "decisions",
            "training",
            "classes",
            "calibration",
            "equity",
            "answers",
            "data",
            "llama",
            "again",
            "words"
        ]
    );
    assert!(page.contains("SAMPLE"));
    for text in [
        "after its answers were re-weighted to the class mix of 800 validation decisions; as it answers by itself, it was right",
        "<dd class=\"under\">As it answers: ",
        "Answering by itself, as llama.cpp serves it, the adapter is right",
        "(by itself, as it is served), what did the outcome call for?",
        "All scores on the test span after re-weighting, with 95 % intervals",
        "trained on 208 of 3,000, 800 to tune on",
        "natural class mix of the training span, before balancing",
        "which may favour another answer",
        "<td class=\"number\">1.83</td><td class=\"number\">\u{d7} 0.60</td>",
        "Temperature 100 is the highest allowed. The base model reached it",
    ] {
        assert!(page.contains(text), "{text}");
    }
    assert!(!page.contains("1.8345") && !page.contains("a sample, or the data has gaps"));
    assert!(page.contains("diagnostic, not evidence"));
    assert!(page.len() < 900_000, "{} bytes", page.len());
    for drawing in page.split("<svg class=\"chart\"").skip(1) {
        let length = drawing.find("</svg>").unwrap();
        assert!(length < 300_000, "a drawing of {length} bytes");
    }
}

#[test]
fn without_reweighting_the_page_does_not_speak_of_it() {
    let (mut report, data) = sample::report(0.03, None);
    for arm in &mut report.evaluation.arms {
        arm.raw_accuracy = None;
    }
    report.evaluation.findings.clear();
    report.dataset.settings.clear();
    let page = html(&report, &data);
    let (body, _) = page.split_once("id=\"words\"").unwrap();
    assert!(!body.contains("re-weight") && !body.contains("As it answers"));
}

#[test]
fn a_sample_of_the_horizons_is_said_to_be_one() {
    let (mut report, data) = sample::report(0.03, None);
    report.evaluation.evaluation.coverage.decided = 150;
    let horizons = report.evaluation.evaluation.coverage.horizons;
    let page = html(&report, &data);
    let text = format!("The decisions open 150 of the {horizons} horizons of 12 h in the span");
    assert!(page.contains(&text), "{text}");
}

#[test]
fn a_planted_world_says_so_and_shows_the_best_possible() {
    let (report, data) = sample::report(0.85, Some(planted()));
    let page = check_page("sample-planted.html", &report, &data);
    assert!(page.contains("<h1>The adapter beats the majority class</h1>"));
    assert!(page.contains("These candles are made up") && page.contains("best possible"));
}

#[test]
fn no_evidence_is_the_headline_when_there_is_none() {
    let world = World {
        name: "null".to_owned(),
        rule: None,
        bayes_accuracy: None,
    };
    let (report, data) = sample::report(0.0, Some(world));
    let page = check_page("sample-null.html", &report, &data);
    assert!(page.contains("<h1>No evidence that the adapter beats the majority class</h1>"));
    assert!(page.contains("random walk"));
}

#[test]
fn a_bare_report_is_still_a_page() {
    let (mut report, _) = sample::report(0.03, None);
    report.train = None;
    report.check = None;
    report.data.instruments.clear();
    report.files.clear();
    report.timings.clear();
    report.warnings.clear();
    report.versions.clear();
    report.evaluation.arms.clear();
    report.evaluation.comparisons.clear();
    report.evaluation.findings.clear();
    report.evaluation.edge_over_majority = None;
    let page = check_page("sample-bare.html", &report, &PageData::default());
    assert!(!section_ids(&page).contains(&"training"));
}

#[test]
fn hostile_texts_stay_texts() {
    const EVIL: &str = "</pre><script>alert('x')</script>\"&\u{0}\u{1b}[31m";
    let (mut report, mut data) = sample::report(0.03, Some(planted()));
    report.command = EVIL.to_owned();
    report.dataset.label_rule = EVIL.to_owned();
    report.warnings = vec![EVIL.to_owned()];
    report.versions.insert(EVIL.to_owned(), EVIL.to_owned());
    report.world.as_mut().unwrap().rule = Some(EVIL.to_owned());
    report.check.as_mut().unwrap().rule = EVIL.to_owned();
    report
        .train
        .as_mut()
        .unwrap()
        .settings
        .insert(EVIL.to_owned(), EVIL.into());
    for arm in &mut report.evaluation.arms {
        arm.name = format!("{}{EVIL}", arm.name);
    }
    for finding in &mut report.evaluation.findings {
        finding.text = EVIL.to_owned();
    }
    for sample in &mut data.samples {
        sample.prompt = EVIL.to_owned();
        sample.adapter = Some(EVIL.to_owned());
    }
    data.banner = Some(EVIL.to_owned());
    check_page("sample-hostile.html", &report, &data);
}

#[test]
fn report_json_has_the_stable_keys_and_comes_back() {
    let (report, _) = sample::report(0.03, Some(planted()));
    let json = serde_json::to_value(&report).unwrap();
    for pointer in [
        "/schema",
        "/command",
        "/data/instruments/0/instrument",
        "/dataset/counts/train/BUY",
        "/dataset/counts/validation/SELL",
        "/dataset/counts/test/HOLD",
        "/dataset/effective_n/train",
        "/train/tokens_per_second",
        "/train/peak_memory_bytes",
        "/train/wall_seconds",
        "/train/history/1/loss",
        "/train/history/0/validation_decision_accuracy",
        "/train/settings/learning_rate",
        "/world/bayes_accuracy",
        "/check/exact",
        "/arms/0/name",
        "/arms/1/accuracy",
        "/arms/1/accuracy_interval/0",
        "/arms/1/balanced_accuracy",
        "/arms/1/balanced_accuracy_interval/1",
        "/arms/1/log_loss",
        "/arms/1/log_loss_interval/0",
        "/arms/1/brier",
        "/arms/1/brier_interval/0",
        "/arms/1/edge_over_majority",
        "/arms/1/accuracy_as_answered",
        "/arms/1/accuracy_as_answered_interval/0",
        "/arms/1/balanced_accuracy_as_answered",
        "/arms/1/balanced_accuracy_as_answered_interval/1",
        "/arms/2/accuracy_as_answered",
        "/evaluation/calibration_decisions",
        "/evaluation/coverage/horizons",
        "/edge_over_majority",
        "/edge_over_majority_interval/0",
        "/evaluation/n",
        "/evaluation/effective_n",
        "/findings/0/text",
        "/warnings/0",
        "/files/0/sha256",
        "/timings/0/seconds",
    ] {
        let value = json.pointer(pointer);
        assert!(value.is_some_and(|v| !v.is_null()), "{pointer}: {value:?}");
    }
    let names: Vec<&str> = json["arms"]
        .as_array()
        .unwrap()
        .iter()
        .map(|a| a["name"].as_str().unwrap())
        .collect();
    assert_eq!(
        names,
        ["base", "adapter", "majority", "persistence", "logistic"]
    );
    let text = serde_json::to_string(&report).unwrap();
    let back: Report = serde_json::from_str(&text).unwrap();
    assert_eq!(back, report);
}
