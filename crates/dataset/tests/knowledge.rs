//! Questions about formulas: every number can be computed again from the text, and
//! a changed number is found.
#![allow(clippy::unwrap_used, reason = "what cannot be made fails its test")]

use std::ops::ControlFlow;

use dataset::knowledge::{self, Kind, KnowledgeExample, KnowledgeSettings, verify};
use formula::catalogue::Catalogue;
use formula::panel::{Bar, Panel};
use market::Instrument;

/// A catalogue of four formulas, so that the test is quick.
const SMALL: &str = r#"
[family]
id = "small"
title = "Small"
source = "Written for this test"
profile = "talib"
notation = "foretune"

[[formula]]
id = "small.mean_5"
name = "Five-bar mean"
expression = "ts_mean(close, 5)"
citation = "section 1"
explanation = "The mean of the last five closes."
interpretation = "High where prices have been high."
pitfalls = "It lags behind turns by two bars."

[[formula]]
id = "small.strength"
name = "Strength"
expression = "cs_rank(ts_returns(close, 2))"
citation = "section 2"
explanation = "How an instrument did against the others over two bars."
interpretation = "1 is the strongest of all, small values are weak."
pitfalls = "Says nothing about whether all of them fell."

[[formula]]
id = "small.range"
name = "Range share"
expression = "(high - low) / ts_mean(high - low, 4)"
citation = "section 3"
explanation = "The bar's range against the mean range of four bars."
interpretation = "Above 1 the bar is wider than usual."
pitfalls = "Unknown where nothing moved for four bars."

[[formula]]
id = "small.sharpe"
name = "Mean over deviation"
expression = "series_mean(r) / series_std(r)"
citation = "section 4"
explanation = "Mean return over the deviation of returns."
interpretation = "Larger is steadier."
pitfalls = "Few returns make it noise."
"#;

fn panel() -> Panel {
    let names = ["EUR/USD", "GBP/USD", "USD/JPY"].map(|name| Instrument::new(name).unwrap());
    let mut panel = Panel::new(&names, "1h".parse().unwrap(), 0).unwrap();
    for row in 0..900_i64 {
        let bars: Vec<Option<Bar>> = (0..3)
            .map(|lane| {
                let at = row as f64 * (0.31 + 0.07 * f64::from(lane));
                let close = 1.0 + f64::from(lane) + 0.05 * at.sin() + 0.01 * (3.7 * at).cos();
                Some(Bar {
                    open: close,
                    high: close + 0.01 + 0.004 * (at * 1.7).sin(),
                    low: close - 0.012,
                    close,
                    volume: 5.0,
                })
            })
            .collect();
        panel.push(row * 3_600_000, &bars).unwrap();
    }
    panel
}

fn examples() -> (Catalogue, Vec<KnowledgeExample>) {
    let catalogue =
        Catalogue::parse("small.toml", SMALL).unwrap_or_else(|faults| panic!("{faults}"));
    let (examples, _) = knowledge::examples(
        &catalogue,
        &panel(),
        &KnowledgeSettings::default(),
        &mut |_, _| ControlFlow::Continue(()),
    )
    .unwrap();
    (catalogue, examples)
}

fn lines(examples: &[KnowledgeExample]) -> String {
    let lines: Vec<String> = examples
        .iter()
        .map(|example| serde_json::to_string(example).unwrap())
        .collect();
    lines.join("\n")
}

#[test]
fn every_computation_can_be_done_again_from_the_text() {
    let (catalogue, examples) = examples();
    let found = verify(lines(&examples).as_bytes(), &catalogue).unwrap();
    assert_eq!(found.faults, Vec::<String>::new());
    assert_eq!(found.examples, examples.len());
    // Five of each formula.
    assert_eq!(found.computations, 20);
    for kind in [
        Kind::Definition,
        Kind::Reading,
        Kind::Interpretation,
        Kind::Sensitivity,
        Kind::Applicability,
        Kind::Pitfalls,
        Kind::Translation,
        Kind::Comparison,
        Kind::Citation,
        Kind::Recognition,
    ] {
        assert!(
            found.by_kind.get(&kind).is_some_and(|count| *count >= 3),
            "{kind:?}"
        );
    }
}

#[test]
fn a_changed_number_is_found() {
    let (catalogue, mut examples) = examples();
    let wrong = examples
        .iter_mut()
        .find(|example| example.kind == Kind::Computation)
        .unwrap();
    let answer = &mut wrong.messages[1].content;
    let at = answer.rfind("Answer: ").unwrap();
    answer.replace_range(at.., "Answer: 1.23456");
    let found = verify(lines(&examples).as_bytes(), &catalogue).unwrap();
    assert_eq!(found.faults.len(), 1);
    assert!(found.faults[0].contains("1.23456"), "{}", found.faults[0]);
    let found = verify(&b"{\"messages\": 3}"[..], &catalogue).unwrap();
    assert_eq!(found.faults.len(), 1);
}

#[test]
fn the_same_seed_gives_the_same_examples() {
    assert_eq!(lines(&examples().1), lines(&examples().1));
}
