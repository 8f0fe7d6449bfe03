//! Every formula named after TA-Lib against TA-Lib: the values that
//! `python/reference/talib_fixtures.py` wrote, from the row on which TA-Lib is
//! valid. Before that row TA-Lib says nothing (NaN, or 0 for whole numbers), while
//! a formula may already know; a formula must know by then.
//!
//! `cargo test --test talib_catalogue -- --nocapture` prints the parity table.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a fixture that does not parse fails its test, and the table is for readers"
)]

use std::collections::{BTreeMap, BTreeSet};

use formula::catalogue::{Catalogue, Entry};
use formula::engine::{Evaluator, Plan, Request};
use formula::panel::{Bar, Panel};
use market::{Instrument, Timeframe};
use serde::Deserialize;

/// The largest difference relative to the largest value of an output. Both sides
/// compute in double precision; they differ by the rounding of sums taken in
/// another order, which a window of prices near each other magnifies by the ratio
/// of price to spread, at most 1e4 in these bars.
const TOLERANCE: f64 = 1e-9;

/// Formulas that may differ from TA-Lib, with the reason. There are none.
const EXCEPTIONS: [(&str, &str); 0] = [];

#[derive(Deserialize)]
struct Fixture {
    /// Function and output, all that this version of TA-Lib has.
    outputs: Vec<(String, String)>,
    segment: usize,
    instruments: Vec<Columns>,
    expected: BTreeMap<String, Expected>,
    candles: Columns,
    patterns: BTreeMap<String, Pattern>,
}

#[derive(Deserialize)]
struct Columns {
    open: Vec<f64>,
    high: Vec<f64>,
    low: Vec<f64>,
    close: Vec<f64>,
    #[serde(default)]
    volume: Vec<f64>,
}

#[derive(Deserialize)]
struct Expected {
    function: String,
    output: String,
    cases: Vec<Case>,
}

/// One output on one instrument.
#[derive(Deserialize)]
#[serde(from = "Parts")]
struct Case {
    /// The row of TA-Lib's first value.
    begin: usize,
    /// The first and the last value.
    ends: [Option<f64>; 2],
    /// Weighted sums of the known values of each segment.
    sums: Vec<f64>,
    /// Rows on which TA-Lib gives no finite number.
    unknown: BTreeSet<usize>,
}

/// A case as the fixture writes it.
type Parts = (usize, [Option<f64>; 2], Vec<f64>, BTreeSet<usize>);

impl From<Parts> for Case {
    fn from((begin, ends, sums, unknown): Parts) -> Self {
        Self {
            begin,
            ends,
            sums,
            unknown,
        }
    }
}

#[derive(Deserialize)]
struct Pattern {
    function: String,
    begin: usize,
    /// Rows by value; 0 on all others.
    fired: BTreeMap<String, Vec<usize>>,
}

fn fixture() -> Fixture {
    serde_json::from_str(include_str!("fixtures/talib_catalogue.json")).unwrap()
}

fn catalogue() -> Catalogue {
    let files = [
        ("talib.toml", include_str!("../catalogue/talib.toml")),
        (
            "talib_candles.toml",
            include_str!("../catalogue/talib_candles.toml"),
        ),
    ];
    Catalogue::read(&files).unwrap_or_else(|faults| panic!("{faults}"))
}

/// Returns the entry of an id, wherever it stands.
fn entry<'a>(own: &'a Catalogue, id: &str) -> &'a Entry {
    let elsewhere = || Catalogue::builtin().ok()?.get(id);
    let found = own.get(id).or_else(elsewhere);
    found.unwrap_or_else(|| panic!("no formula {id}"))
}

fn panel(instruments: &[&Columns]) -> Panel {
    let names: Vec<Instrument> = (0..instruments.len())
        .map(|index| Instrument::new(&format!("X{index}")).unwrap())
        .collect();
    let mut panel = Panel::new(&names, Timeframe::HOUR, 0).unwrap();
    for row in 0..instruments[0].close.len() {
        let bar = |columns: &&Columns| {
            Some(Bar {
                open: columns.open[row],
                high: columns.high[row],
                low: columns.low[row],
                close: columns.close[row],
                volume: columns.volume.get(row).copied().unwrap_or(1.0),
            })
        };
        let bars: Vec<Option<Bar>> = instruments.iter().map(bar).collect();
        panel.push(row as i64 * 3_600_000, &bars).unwrap();
    }
    panel
}

/// Evaluates formulas: for each, the values of each instrument.
fn evaluate(entries: &[&Entry], panel: &Panel) -> Vec<Vec<Vec<f64>>> {
    let requests: Vec<Request<'_>> = entries
        .iter()
        .map(|entry| Request {
            name: &entry.id,
            expression: &entry.expression,
            profile: entry.profile,
        })
        .collect();
    let plan = Plan::new(&requests, panel).unwrap();
    let count = panel.instruments().len();
    let mut values = vec![vec![Vec::new(); count]; entries.len()];
    Evaluator::new(&plan, panel).advance(panel, |formula, _, block| {
        for row in block.chunks(panel.lanes()) {
            for (values, value) in values[formula].iter_mut().zip(row) {
                values.push(*value);
            }
        }
    });
    values
}

/// The weight of a row in the sums: from 1 to 2, without a pattern.
fn weight(row: usize) -> f64 {
    1.0 + (row as f64 * 0.618_033_988_749_894_9).fract()
}

/// Returns the largest relative difference, or what is wrong.
fn compare(values: &[f64], case: &Case, segment: usize) -> Result<f64, String> {
    for (row, value) in values.iter().enumerate().skip(case.begin) {
        if value.is_nan() != case.unknown.contains(&row) {
            return Err(format!("row {row} is {value}"));
        }
    }
    let after = &values[case.begin..];
    let scale = after.iter().fold(0.0, |scale: f64, x| scale.max(x.abs()));
    let scale = if scale == 0.0 { 1.0 } else { scale };
    let mut worst: f64 = 0.0;
    let last = values.len() - 1;
    for (row, expected) in [case.begin, last].into_iter().zip(case.ends) {
        if let Some(expected) = expected {
            worst = worst.max((values[row] - expected).abs() / scale);
        }
    }
    for (index, expected) in case.sums.iter().enumerate() {
        let rows = (index * segment).max(case.begin)..((index + 1) * segment).min(values.len());
        let known = rows.filter(|row| !values[*row].is_nan());
        let sum: f64 = known.map(|row| weight(row) * values[row]).sum();
        // Not divided by the number of rows: each single value must be within.
        worst = worst.max((sum - expected).abs() / scale);
    }
    Ok(worst)
}

/// What is known of one function of TA-Lib.
#[derive(Default)]
struct Line {
    formulas: usize,
    outputs: BTreeSet<String>,
    values: usize,
    worst: f64,
}

#[test]
fn formulas_named_after_talib_agree_with_it() {
    let fixture = fixture();
    let own = catalogue();
    let panel = panel(&fixture.instruments.iter().collect::<Vec<_>>());
    let entries: Vec<&Entry> = fixture.expected.keys().map(|id| entry(&own, id)).collect();
    let computed = evaluate(&entries, &panel);
    let mut table: BTreeMap<&str, Line> = BTreeMap::new();
    let mut wrong = Vec::new();
    for ((id, expected), computed) in fixture.expected.iter().zip(&computed) {
        let line = table.entry(&expected.function).or_default();
        line.formulas += 1;
        line.outputs.insert(expected.output.clone());
        for (index, (case, values)) in expected.cases.iter().zip(computed).enumerate() {
            line.values += values.len() - case.begin;
            match compare(values, case, fixture.segment) {
                Ok(worst) => {
                    line.worst = line.worst.max(worst);
                    if worst > TOLERANCE {
                        wrong.push(format!("{id}, instrument {index}: differs by {worst:e}"));
                    }
                }
                Err(problem) => wrong.push(format!("{id}, instrument {index}: {problem}")),
            }
        }
    }
    print_table(&table);
    wrong.retain(|line| !EXCEPTIONS.iter().any(|(id, _)| line.starts_with(id)));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn print_table(table: &BTreeMap<&str, Line>) {
    println!("| TA-Lib function | formulas | outputs | values compared | largest difference |");
    println!("|---|---|---|---|---|");
    for (function, line) in table {
        println!(
            "| {function} | {} | {} | {} | {:.0e} |",
            line.formulas,
            line.outputs.len(),
            line.values,
            line.worst
        );
    }
    let total = |of: fn(&Line) -> usize| table.values().map(of).sum::<usize>();
    println!(
        "| {} functions | {} | {} | {} | |",
        table.len(),
        total(|line| line.formulas),
        total(|line| line.outputs.len()),
        total(|line| line.values)
    );
}

#[test]
fn candle_patterns_fire_exactly_where_talib_says() {
    let fixture = fixture();
    let own = catalogue();
    let panel = panel(&[&fixture.candles]);
    let entries: Vec<&Entry> = fixture.patterns.keys().map(|id| entry(&own, id)).collect();
    let computed = evaluate(&entries, &panel);
    let mut fired = 0;
    for ((id, pattern), computed) in fixture.patterns.iter().zip(&computed) {
        let mut expected = vec![0.0; panel.rows()];
        for (value, rows) in &pattern.fired {
            assert!(!rows.is_empty(), "{id}");
            for &row in rows {
                expected[row] = value.parse().unwrap();
            }
            fired += rows.len();
        }
        assert!(!pattern.fired.is_empty(), "{id} never fires");
        for (row, &value) in computed[0].iter().enumerate().skip(pattern.begin) {
            assert!(
                value == expected[row],
                "{id}, row {row}: {value} is not {}",
                expected[row]
            );
        }
    }
    println!(
        "{} patterns fire {fired} times on {} bars, as in TA-Lib",
        fixture.patterns.len(),
        panel.rows()
    );
    assert_eq!(fixture.patterns.len(), 61);
}

#[test]
fn every_output_of_talib_has_a_formula() {
    let fixture = fixture();
    let own = catalogue();
    let mut covered = BTreeSet::new();
    for (id, expected) in &fixture.expected {
        entry(&own, id);
        covered.insert((expected.function.clone(), expected.output.clone()));
    }
    for (id, pattern) in &fixture.patterns {
        entry(&own, id);
        covered.insert((pattern.function.clone(), "integer".to_owned()));
    }
    let missing: Vec<_> = fixture
        .outputs
        .iter()
        .filter(|output| !covered.contains(output))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
    assert_eq!(fixture.outputs.len(), 234);
    // And no formula carries TA-Lib's name without having been compared.
    for entry in own.entries() {
        let compared =
            |id: &String| fixture.expected.contains_key(id) || fixture.patterns.contains_key(id);
        assert!(compared(&entry.id), "{}", entry.id);
        let mut further = entry.also.iter().filter(|id| id.starts_with("talib"));
        assert!(further.all(compared), "{:?}", entry.also);
    }
    let counts = own.counts();
    println!(
        "{} functions, {} outputs, {} formulas, {} structures",
        fixture
            .outputs
            .iter()
            .map(|(name, _)| name)
            .collect::<BTreeSet<_>>()
            .len(),
        fixture.outputs.len(),
        counts.expressions,
        counts.structures
    );
}
