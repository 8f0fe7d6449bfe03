//! The family `statistics` against statsmodels, arch, scipy, antropy, tsfresh, dcor
//! and independent NumPy code: the values written by
//! `python/reference/statistics_fixtures.py`. Rolling formulas are evaluated over a
//! panel of bars, tests over the return series of the family `risk`.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test prints its table and fails on a fixture that does not parse"
)]

mod parity;

use std::collections::{BTreeMap, BTreeSet};

use formula::catalogue::{Catalogue, Entry};
use formula::engine::{Evaluator, Plan, Request, SeriesInputs, evaluate_series};
use formula::panel::{Bar, Panel};
use market::Instrument;
use parity::Parity;
use serde::Deserialize;

/// The largest relative difference: both sides work in double precision on windows of at most 900 values.
/// Moving variances lose up to two digits against two passes, and regressions on
/// prices the square of their condition.
const TOLERANCE: f64 = 1e-7;

#[derive(Deserialize)]
struct Fixture {
    rows: Vec<usize>,
    bars: BTreeMap<String, BTreeMap<String, Vec<f64>>>,
    features: BTreeMap<String, BTreeMap<String, Vec<Option<f64>>>>,
    tests: BTreeMap<String, BTreeMap<String, Option<f64>>>,
    sources: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    r: Vec<f64>,
    benchmark: Vec<f64>,
}

fn fixture() -> Fixture {
    serde_json::from_str(include_str!("fixtures/statistics.json")).unwrap()
}

fn statistics() -> Catalogue {
    let text = include_str!("../catalogue/statistics.toml");
    Catalogue::parse("statistics.toml", text).unwrap()
}

/// Returns the panel of the fixture's bars, all prices of a bar being its close.
fn panel(fixture: &Fixture) -> Panel {
    let names: Vec<Instrument> = fixture
        .bars
        .keys()
        .map(|name| Instrument::new(name).unwrap())
        .collect();
    let mut panel = Panel::new(&names, "1h".parse().unwrap(), 0).unwrap();
    let rows = fixture.bars.values().next().unwrap()["close"].len();
    for row in 0..rows {
        let bars: Vec<Option<Bar>> = fixture
            .bars
            .values()
            .map(|columns| {
                let close = columns["close"][row];
                Some(Bar {
                    open: close,
                    high: close,
                    low: close,
                    close,
                    volume: columns["volume"][row],
                })
            })
            .collect();
        panel.push(row as i64 * 3_600_000, &bars).unwrap();
    }
    panel
}

fn of_panel(catalogue: &Catalogue, series: bool) -> Vec<&Entry> {
    let entries = catalogue.entries().iter();
    entries
        .filter(|entry| entry.needs.series == series)
        .collect()
}

#[test]
fn every_rolling_formula_agrees_with_its_reference() {
    let (fixture, catalogue) = (fixture(), statistics());
    let panel = panel(&fixture);
    let entries = of_panel(&catalogue, false);
    let requests: Vec<Request<'_>> = entries
        .iter()
        .map(|entry| Request {
            name: &entry.id,
            expression: &entry.expression,
            profile: entry.profile,
        })
        .collect();
    let plan = Plan::new(&requests, &panel).unwrap();
    let mut values = vec![Vec::new(); entries.len()];
    Evaluator::new(&plan, &panel).advance(&panel, |formula, _, block| {
        values[formula].extend_from_slice(block);
    });
    let mut parity = Parity::new("Family `statistics`, rolling, three instruments of 330 bars");
    let mut referred = BTreeSet::new();
    for (lane, (name, features)) in fixture.features.iter().enumerate() {
        for (entry, values) in entries.iter().zip(&values) {
            referred.insert(entry.id.clone());
            for (&row, &expected) in fixture.rows.iter().zip(&features[&entry.id]) {
                let found = values[row * panel.lanes() + lane];
                let at = format!("{} {name} row {row}", entry.id);
                let source = &fixture.sources[&entry.id];
                parity.take(source, &at, found, expected, TOLERANCE);
            }
        }
        let given: BTreeSet<String> = features.keys().cloned().collect();
        assert_eq!(
            given, referred,
            "formulas without a reference, or the reverse"
        );
    }
    parity.check();
}

#[test]
fn every_test_agrees_with_its_reference() {
    let (fixture, catalogue) = (fixture(), statistics());
    let cases: Vec<Case> = serde_json::from_str(include_str!("fixtures/risk.json")).unwrap();
    let entries = of_panel(&catalogue, true);
    let mut parity = Parity::new("Family `statistics`, tests, two return series");
    for case in cases {
        let expected = &fixture.tests[&case.name];
        assert_eq!(expected.len(), entries.len());
        let inputs = SeriesInputs {
            r: &case.r,
            benchmark: Some(&case.benchmark),
        };
        for entry in &entries {
            let found = evaluate_series(&entry.expression, &entry.profile, &inputs).unwrap();
            let at = format!("{} {}", entry.id, case.name);
            let source = &fixture.sources[&entry.id];
            parity.take(source, &at, found, expected[&entry.id], TOLERANCE);
        }
    }
    parity.check();
}
