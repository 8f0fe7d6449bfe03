//! Every formula of the families volatility, microstructure, fx and returns that
//! has a reference, against the values of `python/reference/formulas/generate.py`.
//!
//! The fixture holds a few rows of each formula, and the number, mean and size of
//! all rows. With `FORETUNE_REFERENCES` set to a file that the generator wrote
//! with every row, every cell is compared; `--nocapture` prints the table.
#![expect(
    clippy::unwrap_used,
    reason = "a fixture that does not parse fails its test"
)]
#![expect(
    clippy::print_stdout,
    reason = "the tables are what is copied into the evidence"
)]

mod made_up_market;

use std::collections::BTreeMap;

use formula::Profile;
use formula::catalogue::Catalogue;
use formula::engine::{Evaluator, Plan, Request};
use serde::Deserialize;

/// The largest difference, relative to the formula's root mean square over all
/// rows. Both sides compute in double precision, the references window by window;
/// what loses digits are small differences of large sums (covariances of prices).
const TOLERANCE: f64 = 1e-8;

/// Formulas that may differ more, by how much, and why.
const EXCEPTIONS: [(&str, f64, &str); 1] = [(
    "returns.bandwidth_20",
    1e-2,
    "the rank of a computed ratio: two ratios that differ by a rounding stand apart on one side and tie on the other",
)];

/// The fixture keeps twelve digits.
const ROUNDING: f64 = 1e-11;

const FAMILIES: [&str; 4] = ["volatility", "microstructure", "fx", "returns"];

/// Known cells, mean, root mean square, cells of the fixture's rows.
type Summary = (usize, f64, f64, Vec<Option<f64>>);

#[derive(Deserialize)]
struct References {
    lanes: Vec<usize>,
    rows: Vec<usize>,
    formulas: BTreeMap<String, Vec<Summary>>,
}

fn references() -> References {
    let text = match std::env::var("FORETUNE_REFERENCES") {
        Ok(path) => std::fs::read_to_string(path).unwrap(),
        Err(_) => include_str!("../fixtures/references.json").to_owned(),
    };
    serde_json::from_str(&text).unwrap()
}

/// Reads the four families from their files, alone: what is wrong with another
/// family is for its own tests to say.
fn catalogue() -> Catalogue {
    let texts = FAMILIES.map(|family| {
        let path = format!("{}/catalogue/{family}.toml", env!("CARGO_MANIFEST_DIR"));
        (
            format!("{family}.toml"),
            std::fs::read_to_string(path).unwrap(),
        )
    });
    let files: Vec<(&str, &str)> = texts
        .iter()
        .map(|(name, text)| (name.as_str(), text.as_str()))
        .collect();
    Catalogue::read(&files).unwrap_or_else(|faults| panic!("{faults}"))
}

/// Evaluates the formulas called `ids`: `rows * lanes` values each.
fn evaluate(ids: &[&String]) -> (usize, Vec<Vec<f64>>) {
    let catalogue = catalogue();
    let panel = made_up_market::panel();
    let requests: Vec<Request<'_>> = ids
        .iter()
        .map(|id| {
            let entry = catalogue
                .get(id)
                .unwrap_or_else(|| panic!("no formula `{id}`"));
            Request {
                name: &entry.id,
                expression: &entry.expression,
                profile: entry.profile,
            }
        })
        .collect();
    let plan = Plan::new(&requests, &panel).unwrap();
    let mut values = vec![Vec::new(); ids.len()];
    Evaluator::new(&plan, &panel).advance(&panel, |formula, _, block| {
        values[formula].extend_from_slice(block);
    });
    (panel.lanes(), values)
}

/// What was compared of one family.
#[derive(Default)]
struct Tally {
    formulas: usize,
    cells: usize,
    worst: f64,
    faults: Vec<String>,
}

impl Tally {
    /// Compares one lane of a formula.
    fn compare(&mut self, id: &str, rows: &[usize], ours: &[f64], theirs: &Summary) {
        let &(count, mean, size, ref cells) = theirs;
        let known: Vec<f64> = ours
            .iter()
            .copied()
            .filter(|value| !value.is_nan())
            .collect();
        if known.len() != count {
            let found = known.len();
            self.faults
                .push(format!("{id}: {found} known values, expected {count}"));
            return;
        }
        let exception = EXCEPTIONS.iter().find(|(name, ..)| *name == id);
        let tolerance = exception.map_or(TOLERANCE, |(_, tolerance, _)| *tolerance);
        let n = (count as f64).max(1.0);
        let our_mean = known.iter().sum::<f64>() / n;
        let our_size = (known.iter().map(|value| value * value).sum::<f64>() / n).sqrt();
        let pairs = rows.iter().zip(cells);
        let cells =
            pairs.map(|(&row, cell)| (format!("row {row}"), ours[row], cell.unwrap_or(f64::NAN)));
        let wholes = [
            ("mean".to_owned(), our_mean, mean),
            ("size".to_owned(), our_size, size),
        ];
        for (place, ours, theirs) in cells.chain(wholes) {
            self.cells += usize::from(!theirs.is_nan());
            let apart = (ours - theirs).abs();
            // Unknown on both sides, or near enough; a NaN on one side is neither.
            let same = (ours.is_nan() && theirs.is_nan())
                || apart <= tolerance * size + ROUNDING * theirs.abs();
            if !same {
                self.faults
                    .push(format!("{id}, {place}: {ours}, expected {theirs}"));
                return;
            }
            if exception.is_none() && apart > self.worst * size {
                self.worst = apart / size;
            }
        }
    }
}

#[test]
fn formulas_equal_their_references() {
    let references = references();
    let ids: Vec<&String> = references.formulas.keys().collect();
    let (lanes, values) = evaluate(&ids);
    let mut tallies: BTreeMap<&str, Tally> = BTreeMap::new();
    for (id, values) in ids.iter().zip(&values) {
        let family = id.split('.').next().unwrap();
        let tally = tallies.entry(family).or_default();
        tally.formulas += 1;
        for (&lane, summary) in references.lanes.iter().zip(&references.formulas[*id]) {
            let ours: Vec<f64> = values.iter().skip(lane).step_by(lanes).copied().collect();
            tally.compare(id, &references.rows, &ours, summary);
        }
    }
    println!("| family | formulas compared | cells | largest difference / size | unequal |");
    println!("|---|---|---|---|---|");
    for (family, tally) in &tallies {
        let unequal = tally.faults.len();
        println!(
            "| {family} | {} | {} | {:.1e} | {unequal} |",
            tally.formulas, tally.cells, tally.worst
        );
    }
    for (id, tolerance, reason) in EXCEPTIONS {
        println!("Within {tolerance:e} only: {id}, {reason}.");
    }
    let faults: Vec<String> = tallies
        .into_values()
        .flat_map(|tally| tally.faults)
        .collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn every_formula_has_a_reference() {
    let references = references();
    let catalogue = catalogue();
    for family in FAMILIES {
        let entries = catalogue
            .entries()
            .iter()
            .filter(|entry| entry.family == family);
        let missing: Vec<&str> = entries
            .clone()
            .filter(|entry| !references.formulas.contains_key(&entry.id))
            .map(|entry| entry.id.as_str())
            .collect();
        assert!(missing.is_empty(), "{family}: {missing:?}");
        assert!(entries.clone().all(|entry| entry.profile == Profile::PAPER));
    }
}

#[test]
fn counts() {
    let catalogue = catalogue();
    println!("| family | formulas | structures |\n|---|---|---|");
    for (family, counts) in catalogue.by_family() {
        println!(
            "| {} | {} | {} |",
            family.id, counts.expressions, counts.structures
        );
        // A grid of windows is one structure: families are not padded by numbers.
        assert!(counts.structures * 3 >= counts.expressions, "{}", family.id);
    }
}
