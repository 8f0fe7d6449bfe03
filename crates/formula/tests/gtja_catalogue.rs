//! Guotai Junan's 191 factors against values that were computed from another listing
//! of the report's formulas by an independent evaluator
//! (`python/reference/gtja_fixtures.py`).
//!
//! `cargo test --test gtja_catalogue -- --nocapture` prints the parity table.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test prints its table and fails on a fixture that does not parse"
)]

use std::collections::BTreeMap;

use formula::Profile;
use formula::catalogue::Catalogue;
use formula::language::Expression;
use serde::Deserialize;

#[path = "support/walk.rs"]
mod walk;

/// The largest difference relative to the value, or to 1e-6 of the factor's largest
/// value where that is more. Both sides compute in double precision.
const TOLERANCE: f64 = 1e-9;

/// Factors that rank correlations or covariances of ranks over a few bars. Such
/// numbers are often equal in truth, and rounding, which differs between the two
/// sides, decides their order: in a few cells the ranks differ.
const TIES: [&str; 5] = ["032", "074", "099", "140", "141"];

/// The share of a factor's cells that ties may make differ.
const OF_TIES: f64 = 0.1;

#[derive(Deserialize)]
struct Fixture {
    rows: usize,
    instruments: usize,
    sampled: Vec<usize>,
    outputs: BTreeMap<String, Vec<Vec<Option<f64>>>>,
}

fn agrees(ours: f64, theirs: Option<f64>, scale: f64) -> bool {
    match theirs {
        None => ours.is_nan(),
        Some(theirs) => (ours - theirs).abs() <= TOLERANCE * theirs.abs().max(1e-6 * scale),
    }
}

#[test]
fn all_191_factors_agree_with_another_listing_and_evaluator() {
    let fixture: Fixture = serde_json::from_str(include_str!("fixtures/gtja.json")).unwrap();
    let catalogue = Catalogue::builtin().unwrap();
    // A factor that equals one of the 101 Formulaic Alphas is found there.
    let found: Vec<_> = fixture
        .outputs
        .keys()
        .map(|number| catalogue.get(&format!("gtja191.{number}")))
        .collect();
    let lacking: Vec<_> = fixture
        .outputs
        .keys()
        .zip(&found)
        .filter(|(_, entry)| entry.is_none())
        .collect();
    assert!(lacking.is_empty(), "not in the catalogue: {lacking:?}");
    let requests: Vec<(&Expression, Profile)> = found
        .iter()
        .flatten()
        .map(|entry| (&entry.expression, entry.profile))
        .collect();
    let values = walk::sampled(
        &walk::panel(fixture.rows, fixture.instruments),
        &requests,
        &fixture.sampled,
    );
    let (mut cells, mut known, mut tied, mut wrong) = (0, 0, 0, Vec::new());
    for ((number, theirs), ours) in fixture.outputs.iter().zip(&values) {
        let scale = theirs
            .iter()
            .flatten()
            .flatten()
            .fold(0.0_f64, |a, b| a.max(b.abs()));
        let mut different = Vec::new();
        for (ours, theirs) in ours.iter().flatten().zip(theirs.iter().flatten()) {
            known += usize::from(theirs.is_some());
            if !agrees(*ours, *theirs, scale) {
                different.push(format!("Alpha{number}: {ours} for {theirs:?}"));
            }
        }
        let here = theirs.iter().flatten().count();
        cells += here;
        if TIES.contains(&number.as_str()) && different.len() as f64 <= OF_TIES * here as f64 {
            tied += different.len();
        } else {
            wrong.append(&mut different);
        }
    }
    println!("| factors | values | of them known | equal | tied |\n|---|---|---|---|---|");
    let equal = cells - wrong.len() - tied;
    println!(
        "| {} | {cells} | {known} | {equal} | {tied} |",
        values.len()
    );
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
