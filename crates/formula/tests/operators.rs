//! Every operator against values computed the slow and plain way, see
//! `python/reference/operators_fixtures.py`: holes, constant stretches, ties,
//! zeros, an outlier, windows of 1, warm-up and every convention.
//!
//! Which values are known must agree in every cell; the values are compared on a
//! sample. Each case runs in one piece and in pieces of odd sizes, which must give
//! the same bits.
#![expect(
    clippy::unwrap_used,
    reason = "a fixture that does not parse fails its test"
)]

mod support;

use std::collections::BTreeMap;

use formula::Profile;
use formula::engine::Input;
use formula::operators::{self, Call, Computation};
use formula::profile::{Comparison, Flat, Position, RankScale, Seed, Ties, WarmUp};
use serde_json::Value;
use support::{base64, numbers};

/// The oracle computes in extended precision; the engine's sums about a pivot
/// keep 9 digits even where values are 1e8 times their spread.
const RELATIVE: f64 = 1e-9;

/// What remains of differences of numbers of size 1 that should be 0.
const ABSOLUTE: f64 = 1e-13;

/// Results that are differences of prices are rounded as those are: two units in
/// the last place of the largest value of the lane.
const OF_INPUT: f64 = 4.4e-16;
const DIFFERENCES: [&str; 5] = [
    "ts_alpha",
    "ts_beta_resid",
    "ts_forecast",
    "ts_intercept",
    "ts_resid",
];

/// Rows fed at once when a case is fed in pieces.
const PIECES: [usize; 4] = [1, 3, 7, 13];

struct Fixture {
    lanes: usize,
    data: BTreeMap<String, Vec<f64>>,
    cases: Vec<Value>,
}

fn fixture() -> Fixture {
    let text = include_str!("fixtures/operators.json");
    let value: Value = serde_json::from_str(text).unwrap();
    let data = value["data"].as_object().unwrap();
    Fixture {
        lanes: value["lanes"].as_u64().unwrap() as usize,
        data: data
            .iter()
            .map(|(name, text)| (name.clone(), numbers(text.as_str().unwrap())))
            .collect(),
        cases: value["cases"].as_array().unwrap().clone(),
    }
}

fn profile(case: &Value) -> Profile {
    let mut profile = Profile::named(case["profile"].as_str().unwrap()).unwrap();
    for (name, value) in case["conventions"].as_object().unwrap() {
        match (name.as_str(), value.as_str().unwrap_or("")) {
            ("warm_up", "full") => profile.warm_up = WarmUp::Full,
            ("warm_up", "partial") => profile.warm_up = WarmUp::Partial,
            ("ddof", _) => profile.ddof = value.as_u64().unwrap() as u8,
            ("flat", "unknown") => profile.flat = Flat::Unknown,
            ("flat", "zero") => profile.flat = Flat::Zero,
            ("flat", "tolerance") => profile.flat = Flat::Tolerance,
            ("position", "from_oldest") => profile.position = Position::FromOldest,
            ("position", "bars_ago") => profile.position = Position::BarsAgo,
            ("seed", "first") => profile.seed = Seed::First,
            ("seed", "mean") => profile.seed = Seed::Mean,
            ("comparison", "unknown") => profile.comparison = Comparison::Unknown,
            ("comparison", "false") => profile.comparison = Comparison::False,
            ("time_ties", "least") => profile.time_ties = Ties::Least,
            ("time_rank", scale) => profile.time_rank = rank_scale(scale),
            ("cross_rank", scale) => profile.cross_rank = rank_scale(scale),
            other => panic!("unknown convention {other:?}"),
        }
    }
    profile
}

fn rank_scale(name: &str) -> RankScale {
    match name {
        "fraction" => RankScale::Fraction,
        "unit" => RankScale::Unit,
        "ordinal" => RankScale::Ordinal,
        other => panic!("unknown scale {other}"),
    }
}

/// Runs a case, `pieces` telling how many rows to feed at once.
fn run(fixture: &Fixture, case: &Value, pieces: &[usize]) -> Vec<f64> {
    let name = case["operator"].as_str().unwrap();
    let operator = operators::named(name).unwrap_or_else(|| panic!("no operator {name}"));
    let constants: Vec<f64> = case["constants"]
        .as_array()
        .unwrap()
        .iter()
        .map(|constant| constant.as_f64().unwrap())
        .collect();
    let instruments: Vec<String> = (0..case["instruments"].as_u64().unwrap())
        .map(|index| format!("I{index}/USD"))
        .collect();
    let profile = profile(case);
    let Computation::Kernel { make, .. } = operator.computation else {
        panic!("{name} has no kernel");
    };
    let lanes = fixture.lanes;
    let mut kernel = make(&Call {
        constants: &constants,
        profile: &profile,
        lanes,
        instruments: &instruments,
    });
    let inputs: Vec<(bool, Vec<f64>)> = case["inputs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|input| input.as_str().unwrap())
        .map(|input| (input == "group", padded(fixture, input, instruments.len())))
        .collect();
    let rows = inputs[0].1.len() / lanes;
    let mut output = vec![0.0; rows * lanes];
    let (mut row, mut piece) = (0, 0);
    while row < rows {
        let take = pieces[piece % pieces.len()].min(rows - row);
        let range = row * lanes..(row + take) * lanes;
        let blocks: Vec<Input<'_>> = inputs
            .iter()
            .map(|(group, values)| match group {
                true => Input::Lanes(values),
                false => Input::Rows(&values[range.clone()]),
            })
            .collect();
        kernel.run(&blocks, &mut output[range.clone()]);
        row += take;
        piece += 1;
    }
    output
}

/// The data of a case, lanes beyond its instruments being padding.
fn padded(fixture: &Fixture, name: &str, instruments: usize) -> Vec<f64> {
    let mut values = fixture.data[name].clone();
    for row in values.chunks_mut(fixture.lanes) {
        row[instruments..].fill(f64::NAN);
    }
    values
}

/// Compares a case with its fixture; the first difference in words.
fn difference(fixture: &Fixture, index: usize, case: &Value, output: &[f64]) -> Option<String> {
    let lanes = fixture.lanes;
    let difference = DIFFERENCES.contains(&case["operator"].as_str().unwrap());
    let rounding = |lane: usize| -> f64 {
        let input = &fixture.data[case["inputs"][0].as_str().unwrap()];
        let values = input.iter().skip(lane).step_by(lanes);
        let largest = values.fold(0.0, |largest: f64, value| largest.max(value.abs()));
        if difference { OF_INPUT * largest } else { 0.0 }
    };
    let known = base64(case["known"].as_str().unwrap());
    let cell = |at: usize| format!("row {}, lane {}", at / lanes, at % lanes);
    for (at, value) in output.iter().enumerate() {
        let expected = known[at / 8] >> (at % 8) & 1 == 1;
        if expected == value.is_nan() || value.is_infinite() {
            return Some(format!(
                "{}: {value}, expected it known: {expected}",
                cell(at)
            ));
        }
    }
    let sample = numbers(case["sample"].as_str().unwrap());
    for (k, &expected) in sample.iter().enumerate() {
        let at = (17 + 31 * index + 97 * k) % output.len();
        let value = output[at];
        let allowed = RELATIVE * expected.abs() + ABSOLUTE + rounding(at % lanes);
        if !expected.is_nan() && (value - expected).abs() > allowed {
            return Some(format!("{}: {value:e}, expected {expected:e}", cell(at)));
        }
    }
    None
}

#[test]
fn every_operator_equals_its_oracle() {
    let fixture = fixture();
    let mut wrong = Vec::new();
    for (index, case) in fixture.cases.iter().enumerate() {
        let whole = run(&fixture, case, &[usize::MAX]);
        let pieces = run(&fixture, case, &PIECES);
        let bits = |values: &[f64]| -> Vec<u64> {
            // All NaN are one.
            let canonical = |value: &f64| if value.is_nan() { f64::NAN } else { *value };
            values
                .iter()
                .map(|value| canonical(value).to_bits())
                .collect()
        };
        if bits(&whole) != bits(&pieces) {
            wrong.push(format!("case {index} {case}: pieces differ from the whole"));
        }
        if let Some(text) = difference(&fixture, index, case, &whole) {
            let short = format!(
                "{} {} {} {} of {}",
                case["operator"],
                case["constants"],
                case["conventions"],
                case["profile"],
                case["instruments"]
            );
            wrong.push(format!("case {index} {short}: {text}"));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} differ:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

/// The tables whose operators this fixture answers for.
const TABLES: [&str; 4] = [
    include_str!("../src/operators/arithmetic.rs"),
    include_str!("../src/operators/cross_section.rs"),
    include_str!("../src/operators/recursive.rs"),
    include_str!("../src/operators/time.rs"),
];

#[test]
fn every_kernel_has_a_case() {
    let fixture = fixture();
    let tested: Vec<&str> = fixture
        .cases
        .iter()
        .map(|case| case["operator"].as_str().unwrap())
        .collect();
    let quoted = TABLES.iter().flat_map(|source| source.split('"'));
    let mut kernels = 0;
    for operator in quoted.filter_map(operators::named) {
        if matches!(operator.computation, Computation::Kernel { .. }) {
            kernels += 1;
            assert!(
                tested.contains(&operator.name),
                "{} has none",
                operator.name
            );
        }
    }
    assert!(kernels > 100, "only {kernels} operators found");
}
