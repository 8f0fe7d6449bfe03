//! Alpha101, Alpha158 and Alpha360 against other libraries, see
//! `python/reference/alpha_fixtures.py`.
//!
//! A formula agrees with a peer if more than 99 % of the sampled cells are equal
//! within 1e-6, as the paper prints it or as the peer reads it (its reading is in
//! the fixture, written in our notation). What agrees in neither way is listed
//! here with the reason.
#![expect(
    clippy::unwrap_used,
    reason = "a fixture that does not parse fails its test"
)]

mod support;

use std::fmt::Write as _;

use formula::Profile;
use formula::catalogue::Catalogue;
use formula::engine::{Evaluator, Plan, Request};
use formula::language::{self, Expression, Notation};
use formula::panel::Panel;
use formula::profile::Ties;
use serde_json::Value;
use support::{base64, market};

const FILES: [(&str, &str); 3] = [
    ("alpha101.toml", include_str!("../catalogue/alpha101.toml")),
    ("alpha158.toml", include_str!("../catalogue/alpha158.toml")),
    ("alpha360.toml", include_str!("../catalogue/alpha360.toml")),
];

/// Cells are equal within this share of their value.
const RELATIVE: f64 = 1e-6;

/// What rounding leaves of a 0.
const ABSOLUTE: f64 = 1e-12;

/// Formulas agree if more than this share of their cells is equal.
const AGREES: f64 = 0.99;

const TIES: &str = "ranks values that are equal but for rounding: the peer's sums break the ties";
const FLAT: &str = "correlates a series that is constant in the window: the peer gives rounding noise, we give unknown";
const SCALE: &str =
    "the peer scales by the sum over all of time, which the warm-up makes unknown everywhere";
const NEWEST: &str = "of equal maxima the peer takes the newest, we the oldest";
const INFINITE: &str = "the peer goes on with infinities from divisions by zero, we have none";
const HOLE: &str = "with a hole in the window numpy's argmax gives the place of the hole";

/// Formulas that agree with a peer in neither way.
const EXCEPTIONS: &[(&str, &str, &[&str])] = &[
    (
        "kunquant",
        TIES,
        &[
            "alpha101.013",
            "alpha101.015",
            "alpha101.016",
            "alpha101.029",
            "alpha101.031",
            "alpha101.045",
            "alpha101.066",
            "alpha101.088",
        ],
    ),
    ("kunquant", INFINITE, &["alpha101.083"]),
    (
        "kunquant",
        FLAT,
        &[
            "alpha101.050",
            "alpha101.074",
            "alpha101.075",
            "alpha101.078",
            "alpha101.081",
            "alpha101.092",
            "alpha101.096",
            "alpha101.098",
        ],
    ),
    (
        "alpha101v",
        TIES,
        &[
            "alpha101.013",
            "alpha101.015",
            "alpha101.016",
            "alpha101.088",
            "alpha101.092",
            "alpha101.098",
        ],
    ),
    (
        "py-alpha-lib",
        TIES,
        &[
            "alpha101.013",
            "alpha101.016",
            "alpha101.088",
            "alpha101.089",
        ],
    ),
    (
        "py-alpha-lib",
        FLAT,
        &[
            "alpha101.003",
            "alpha101.015",
            "alpha101.027",
            "alpha101.050",
            "alpha101.058",
            "alpha101.059",
            "alpha101.063",
            "alpha101.067",
            "alpha101.070",
            "alpha101.074",
            "alpha101.075",
            "alpha101.076",
            "alpha101.078",
            "alpha101.081",
            "alpha101.087",
            "alpha101.090",
            "alpha101.091",
            "alpha101.092",
            "alpha101.093",
            "alpha101.096",
            "alpha101.097",
            "alpha101.098",
        ],
    ),
    (
        "py-alpha-lib",
        SCALE,
        &[
            "alpha101.028",
            "alpha101.029",
            "alpha101.031",
            "alpha101.032",
            "alpha101.060",
            "alpha101.100",
        ],
    ),
    ("py-alpha-lib", NEWEST, &["alpha101.001", "alpha101.057"]),
    ("py-alpha-lib", INFINITE, &["alpha101.066"]),
    (
        "qlib",
        HOLE,
        &[
            "alpha158.IMAX20",
            "alpha158.IMAX30",
            "alpha158.IMAX60",
            "alpha158.IMIN10",
            "alpha158.IMIN20",
            "alpha158.IMIN30",
            "alpha158.IMIN60",
            "alpha158.IMXD20",
            "alpha158.IMXD30",
            "alpha158.IMXD60",
        ],
    ),
];

fn reason(peer: &str, id: &str) -> Option<&'static str> {
    EXCEPTIONS
        .iter()
        .find(|(name, _, ids)| *name == peer && ids.contains(&id))
        .map(|(_, reason, _)| *reason)
}

/// A peer's conventions, and whether its market has holes.
fn conventions(peer: &str) -> (Profile, bool) {
    match peer {
        "kunquant" => (Profile::KUNQUANT, false),
        "alpha101v" => (Profile::BRAIN, true),
        "py-alpha-lib" => {
            let profile = Profile {
                time_ties: Ties::Least,
                ..Profile::KUNQUANT
            };
            (profile, false)
        }
        "qlib" => (Profile::QLIB, true),
        other => panic!("no peer {other}"),
    }
}

fn evaluate(panel: &Panel, formulas: &[(&str, &Expression)], profile: Profile) -> Vec<Vec<f64>> {
    let requests: Vec<Request<'_>> = formulas
        .iter()
        .map(|(name, expression)| Request {
            name,
            expression,
            profile,
        })
        .collect();
    let plan = Plan::new(&requests, panel).unwrap();
    let width = market::INSTRUMENTS;
    let lanes = panel.lanes();
    let mut results = vec![vec![f64::NAN; panel.rows() * width]; formulas.len()];
    Evaluator::new(&plan, panel).advance(panel, |formula, first, values| {
        for (row, values) in values.chunks(lanes).enumerate() {
            let at = (first + row) * width;
            results[formula][at..at + width].copy_from_slice(&values[..width]);
        }
    });
    results
}

/// Returns the share of the sampled cells that are equal.
fn agreement(index: usize, ours: &[f64], entry: &Value, rows: &Value) -> f64 {
    let row = |side: usize| rows[side].as_u64().unwrap() as usize * market::INSTRUMENTS;
    let cells = &ours[row(0)..row(1)];
    let theirs = base64(entry["values"].as_str().unwrap());
    let samples = theirs.chunks_exact(4);
    let count = samples.len();
    let equal = samples
        .enumerate()
        .filter(|(k, bytes)| {
            let expected = f64::from(f32::from_le_bytes((*bytes).try_into().unwrap()));
            let value = cells[(17 * index + 131 * k) % cells.len()];
            let near = (expected - value).abs() <= RELATIVE * expected.abs() + ABSOLUTE;
            near || expected.is_nan() && value.is_nan()
        })
        .count();
    equal as f64 / count as f64
}

/// One formula against one peer.
struct Comparison {
    id: String,
    printed: f64,
    read: Option<f64>,
    reading: Option<String>,
}

impl Comparison {
    fn agrees(&self) -> bool {
        self.printed > AGREES || self.read.is_some_and(|share| share > AGREES)
    }
}

fn compare(peer: &Value) -> Vec<Comparison> {
    let name = peer["peer"].as_str().unwrap();
    let (profile, holes) = conventions(name);
    let panel = market::panel(holes);
    let catalogue = Catalogue::read(&FILES).unwrap();
    let entries = peer["formulas"].as_array().unwrap();
    let id = |entry: &'_ Value| entry["id"].as_str().unwrap().to_owned();
    let readings: Vec<Option<Expression>> = entries
        .iter()
        .map(|entry| {
            let text = entry["reading"].as_str()?;
            let notation = Notation::named(entry["notation"].as_str().unwrap()).unwrap();
            Some(language::parse(text, notation).unwrap())
        })
        .collect();
    let mut formulas = Vec::new();
    for (entry, reading) in entries.iter().zip(&readings) {
        let printed = &catalogue
            .get(entry["id"].as_str().unwrap())
            .unwrap_or_else(|| panic!("no formula {}", id(entry)))
            .expression;
        formulas.push(("printed", printed));
        formulas.push(("reading", reading.as_ref().unwrap_or(printed)));
    }
    let values = evaluate(&panel, &formulas, profile);
    entries
        .iter()
        .enumerate()
        .map(|(index, entry)| {
            let share = |values: &[f64]| agreement(index, values, entry, &peer["rows"]);
            Comparison {
                id: id(entry),
                printed: share(&values[2 * index]),
                read: readings[index]
                    .as_ref()
                    .map(|_| share(&values[2 * index + 1])),
                reading: entry["reading"].as_str().map(str::to_owned),
            }
        })
        .collect()
}

fn peers() -> Vec<Value> {
    let fixture: Value = serde_json::from_str(include_str!("fixtures/alpha.json")).unwrap();
    fixture["peers"].as_array().unwrap().clone()
}

#[test]
fn formulas_agree_with_other_libraries() {
    let mut wrong = String::new();
    for peer in peers() {
        let name = peer["peer"].as_str().unwrap();
        for one in compare(&peer) {
            if !one.agrees() && reason(name, &one.id).is_none() {
                writeln!(
                    wrong,
                    "{name} {}: printed {:.3}, read {:.3?}",
                    one.id, one.printed, one.read
                )
                .unwrap();
            }
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

#[test]
fn exceptions_are_formulas_that_were_compared() {
    for (name, _, ids) in EXCEPTIONS {
        let peers = peers();
        let peer = peers.iter().find(|peer| peer["peer"] == *name).unwrap();
        let entries = peer["formulas"].as_array().unwrap();
        for id in *ids {
            assert!(
                entries.iter().any(|entry| entry["id"] == *id),
                "{name} {id}"
            );
        }
    }
}

/// Twice the rank of each value, a whole number whatever the ties.
fn twice_ranks(row: &[f64]) -> Vec<i64> {
    let rank = |value: f64| {
        let below = row.iter().filter(|other| **other < value).count();
        let equal = row.iter().filter(|other| **other == value).count();
        (2 * below + equal + 1) as i64
    };
    row.iter().map(|value| rank(*value)).collect()
}

/// Twice the rank of the 5-bar covariance of two columns' ranks, in whole numbers.
fn exact_ranks(panel: &Panel, column: &str) -> Vec<Vec<i64>> {
    let ranks = |name: &str| -> Vec<Vec<i64>> {
        let rows = panel.column(name).unwrap().chunks(panel.lanes());
        rows.map(|row| twice_ranks(&row[..market::INSTRUMENTS]))
            .collect()
    };
    let (x, y) = (ranks(column), ranks("volume"));
    let covariance = |last: usize, lane: usize| {
        let window = last - 4..=last;
        let sum = |value: &dyn Fn(usize) -> i64| window.clone().map(value).sum::<i64>();
        let both = sum(&|row| x[row][lane] * y[row][lane]);
        (5 * both - sum(&|row| x[row][lane]) * sum(&|row| y[row][lane])) as f64
    };
    (4..panel.rows())
        .map(|row| {
            let row: Vec<f64> = (0..market::INSTRUMENTS)
                .map(|lane| covariance(row, lane))
                .collect();
            twice_ranks(&row)
        })
        .collect()
}

/// What the exceptions above rest on: against whole numbers our ranks are right
/// where other libraries rank the rounding of their sums.
#[test]
fn covariances_of_ranks_tie_as_whole_numbers_do() {
    let panel = market::panel(false);
    let catalogue = Catalogue::read(&FILES).unwrap();
    for (id, column) in [("alpha101.013", "close"), ("alpha101.016", "high")] {
        let expression = &catalogue.get(id).unwrap().expression;
        let ours = &evaluate(&panel, &[(id, expression)], Profile::PAPER)[0];
        let exact = exact_ranks(&panel, column);
        let cells = exact.iter().flatten().zip(&ours[4 * market::INSTRUMENTS..]);
        let equal = cells
            .filter(|(twice, value)| {
                let rank = **twice as f64 / 2.0 / market::INSTRUMENTS as f64;
                (rank + **value).abs() < ABSOLUTE
            })
            .count();
        let share = equal as f64 / (exact.len() * market::INSTRUMENTS) as f64;
        assert!(share > AGREES, "{id}: {share}");
    }
}

/// Writes the table of agreement:
/// `cargo test -p foretune-formula --test alpha -- --ignored --nocapture`.
#[test]
#[ignore = "prints a table"]
#[allow(clippy::print_stdout)]
fn table() {
    println!("# Alpha101, Alpha158 and Alpha360 against other libraries\n");
    for peer in peers() {
        let name = peer["peer"].as_str().unwrap();
        let compared = compare(&peer);
        let printed = compared.iter().filter(|one| one.printed > AGREES).count();
        let agreeing = compared.iter().filter(|one| one.agrees()).count();
        println!(
            "## {name}\n\n{} formulas: {printed} agree as printed, {agreeing} as printed or as the peer reads them.\n",
            compared.len()
        );
        println!("| formula | as printed | as read | why |\n|---|---|---|---|");
        for one in compared.iter().filter(|one| one.printed <= AGREES) {
            let why = match (&one.reading, reason(name, &one.id)) {
                (_, Some(reason)) => reason.to_owned(),
                (Some(reading), None) => format!("reads `{}`", reading.replace('|', "\\|")),
                (None, None) => String::new(),
            };
            let read = one
                .read
                .map_or(String::new(), |share| format!("{share:.3}"));
            println!("| {} | {:.3} | {read} | {why} |", one.id, one.printed);
        }
        println!();
    }
}
