//! Technical indicators against an independent evaluator and against the values of
//! four libraries (`python/reference/indicator_catalogue_fixtures.py`).
//!
//! `cargo test --test indicator_catalogue -- --nocapture` prints the parity tables.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test prints its table and fails on a fixture that does not parse"
)]

use std::collections::BTreeMap;

use formula::Profile;
use formula::catalogue::Catalogue;
use formula::language::{self, Expression, Notation};
use serde::Deserialize;

#[path = "support/walk.rs"]
mod walk;

/// The largest difference relative to the value, or to 1e-6 of the largest value of
/// the formula where that is more: a difference of nearly equal numbers keeps fewer
/// digits. Both sides compute in double precision, in another order.
const TOLERANCE: f64 = 1e-9;

/// Libraries also round: ta and talipp keep running sums. Recursions that start in
/// another way have forgotten it after 780 bars but for this much.
const PEER_TOLERANCE: f64 = 1e-8;

#[derive(Deserialize)]
struct Fixture {
    rows: usize,
    instruments: usize,
    sampled: Vec<usize>,
    outputs: BTreeMap<String, Vec<Vec<Option<f64>>>>,
    hole_rows: Vec<usize>,
    /// Expressions on bars with holes.
    operators: BTreeMap<String, Vec<Vec<Option<f64>>>>,
}

#[derive(Deserialize)]
struct Peers {
    rows: usize,
    instruments: usize,
    sampled: Vec<usize>,
    cases: Vec<Case>,
}

/// One output of a library for the first instrument.
#[derive(Deserialize)]
struct Case {
    peer: String,
    what: String,
    /// An id of the catalogue, or an expression.
    formula: String,
    profile: String,
    values: Vec<Option<f64>>,
}

fn catalogue() -> Catalogue {
    let text = include_str!("../catalogue/indicators.toml");
    Catalogue::parse("indicators.toml", text).unwrap()
}

/// The difference in the terms of the tolerance; infinite if only one is known.
fn difference(ours: f64, theirs: Option<f64>, scale: f64) -> f64 {
    match theirs {
        None if ours.is_nan() => 0.0,
        Some(theirs) if !ours.is_nan() => {
            (ours - theirs).abs() / theirs.abs().max(1e-6 * scale).max(f64::MIN_POSITIVE)
        }
        _ => f64::INFINITY,
    }
}

#[test]
fn every_indicator_agrees_with_an_independent_evaluator() {
    let fixture: Fixture = serde_json::from_str(include_str!("fixtures/indicators.json")).unwrap();
    let catalogue = catalogue();
    let requests: Vec<(&Expression, Profile)> = catalogue
        .entries()
        .iter()
        .map(|entry| (&entry.expression, entry.profile))
        .collect();
    let values = walk::sampled(
        &walk::panel(fixture.rows, fixture.instruments),
        &requests,
        &fixture.sampled,
    );
    assert_eq!(catalogue.entries().len(), fixture.outputs.len());
    let (mut cells, mut worst, mut wrong) = (0, 0.0_f64, Vec::new());
    for (entry, ours) in catalogue.entries().iter().zip(&values) {
        let theirs = &fixture.outputs[&entry.id];
        let scale = theirs
            .iter()
            .flatten()
            .flatten()
            .fold(0.0_f64, |a, b| a.max(b.abs()));
        for (ours, theirs) in ours.iter().flatten().zip(theirs.iter().flatten()) {
            let gap = difference(*ours, *theirs, scale);
            cells += 1;
            worst = worst.max(gap / TOLERANCE);
            if gap > TOLERANCE {
                wrong.push(format!("{}: {ours} for {theirs:?}", entry.id));
            }
        }
    }
    println!("| formulas | values | equal | largest difference in tolerances |\n|---|---|---|---|");
    println!(
        "| {} | {cells} | {} | {worst:.3} |",
        values.len(),
        cells - wrong.len()
    );
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn operators_begin_anew_after_holes() {
    let fixture: Fixture = serde_json::from_str(include_str!("fixtures/indicators.json")).unwrap();
    let trees: Vec<Expression> = fixture
        .operators
        .keys()
        .map(|text| language::parse(text, Notation::Foretune).unwrap())
        .collect();
    let requests: Vec<(&Expression, Profile)> =
        trees.iter().map(|tree| (tree, Profile::PAPER)).collect();
    let rows = fixture.hole_rows.last().unwrap() + 1;
    let panel = walk::panel_without(rows, fixture.instruments, |row, lane| {
        [50, 51].contains(&((row + 37 * lane) % 113)) || (lane == 2 && row < 3)
    });
    let values = walk::sampled(&panel, &requests, &fixture.hole_rows);
    for ((text, theirs), ours) in fixture.operators.iter().zip(&values) {
        for (at, (ours, theirs)) in ours.iter().zip(theirs).enumerate() {
            for (ours, theirs) in ours.iter().zip(theirs) {
                let gap = difference(*ours, *theirs, 100.0);
                let row = fixture.hole_rows[at];
                assert!(gap < TOLERANCE, "{text}, row {row}: {ours} for {theirs:?}");
            }
        }
    }
}

#[test]
fn libraries_compute_the_same_indicators() {
    let peers: Peers = serde_json::from_str(include_str!("fixtures/indicator_peers.json")).unwrap();
    let catalogue = catalogue();
    let expressions: Vec<(Expression, Profile)> = peers
        .cases
        .iter()
        .map(|case| match catalogue.get(&case.formula) {
            Some(entry) => (entry.expression.clone(), entry.profile),
            None => (
                language::parse(&case.formula, Notation::Foretune).unwrap(),
                Profile::named(&case.profile).unwrap(),
            ),
        })
        .collect();
    let requests: Vec<(&Expression, Profile)> = expressions
        .iter()
        .map(|(tree, profile)| (tree, *profile))
        .collect();
    let values = walk::sampled(
        &walk::panel(peers.rows, peers.instruments),
        &requests,
        &peers.sampled,
    );
    println!("| library | output | formula | largest relative difference |\n|---|---|---|---|");
    let mut wrong = Vec::new();
    for (case, rows) in peers.cases.iter().zip(&values) {
        let scale = case
            .values
            .iter()
            .flatten()
            .fold(0.0_f64, |a, b| a.max(b.abs()));
        let gaps = rows.iter().zip(&case.values);
        let worst = gaps
            .map(|(row, theirs)| difference(row[0], *theirs, scale))
            .fold(0.0_f64, f64::max);
        println!(
            "| {} | {} | `{}` | {worst:.1e} |",
            case.peer, case.what, case.formula
        );
        assert!(
            case.values.iter().any(Option::is_some),
            "{}: nothing known",
            case.what
        );
        if worst > PEER_TOLERANCE {
            wrong.push(format!("{} {}: {worst}", case.peer, case.what));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
