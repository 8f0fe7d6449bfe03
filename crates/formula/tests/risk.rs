//! The family `risk` against empyrical, quantstats, scipy and independent NumPy
//! code: the values written by `python/reference/risk_fixtures.py`.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test prints its table and fails on a fixture that does not parse"
)]

mod parity;

use std::collections::BTreeMap;

use formula::Profile;
use formula::catalogue::Catalogue;
use formula::engine::{SeriesError, SeriesInputs, evaluate_series};
use formula::language::{Notation, parse};
use parity::Parity;
use serde::Deserialize;

/// The largest relative difference: both sides work in double precision and in
/// two passes, on at most 900 values.
const TOLERANCE: f64 = 1e-9;
/// For quantiles by halving of an integral with parameters up to 500, whose
/// logarithm carries an error of some 500 roundings.
const INTEGRAL_TOLERANCE: f64 = 1e-8;
/// For values that the reference finds by a numerical minimum, whose place is
/// known to the root of the precision only.
const SEARCHED_TOLERANCE: f64 = 1e-6;
/// The formulas of [`SEARCHED_TOLERANCE`].
const SEARCHED: [&str; 2] = ["risk.evar", "risk.minimum_variance_weight"];

#[derive(Deserialize)]
struct Case {
    name: String,
    r: Vec<f64>,
    benchmark: Vec<f64>,
    sources: BTreeMap<String, String>,
    values: BTreeMap<String, Option<f64>>,
}

fn cases() -> Vec<Case> {
    serde_json::from_str(include_str!("fixtures/risk.json")).unwrap()
}

fn risk() -> Catalogue {
    Catalogue::parse("risk.toml", include_str!("../catalogue/risk.toml")).unwrap()
}

#[test]
fn every_risk_formula_agrees_with_its_reference() {
    let catalogue = risk();
    let mut parity = Parity::new("Family `risk`, two return series of 900 and 160 periods");
    for case in cases() {
        assert_eq!(case.values.len(), catalogue.entries().len());
        let inputs = SeriesInputs {
            r: &case.r,
            benchmark: Some(&case.benchmark),
        };
        for entry in catalogue.entries() {
            let id = entry.id.as_str();
            let found = evaluate_series(&entry.expression, &entry.profile, &inputs).unwrap();
            let tolerance = if SEARCHED.contains(&id) {
                SEARCHED_TOLERANCE
            } else {
                TOLERANCE
            };
            let at = format!("{id} {}", case.name);
            parity.take(&case.sources[id], &at, found, case.values[id], tolerance);
        }
    }
    parity.check();
}

#[test]
fn distributions_agree_with_scipy() {
    let values: BTreeMap<String, Option<f64>> =
        serde_json::from_str(include_str!("fixtures/distributions.json")).unwrap();
    let mut parity = Parity::new("Distributions");
    for (text, expected) in values {
        let tolerance = if text.starts_with("beta") || text.starts_with("t_quantile") {
            INTEGRAL_TOLERANCE
        } else {
            TOLERANCE
        };
        let found = value(&text, &[0.1]).unwrap();
        parity.take("scipy", &text, found, expected, tolerance);
    }
    parity.check();
}

fn value(text: &str, r: &[f64]) -> Result<f64, SeriesError> {
    let expression = parse(text, Notation::Foretune).unwrap();
    let inputs = SeriesInputs { r, benchmark: None };
    evaluate_series(&expression, &Profile::PAPER, &inputs)
}

#[test]
fn a_flat_series_has_no_ratio() {
    let flat = [0.1; 40];
    assert_eq!(value("series_std(r)", &flat), Ok(0.0));
    for text in [
        "series_mean(r) / series_std(r)",
        "series_skew(r)",
        "series_autocorr(r)",
        "series_adf(r, 1)",
        "series_growth_fraction(r)",
    ] {
        assert!(value(text, &flat).unwrap().is_nan(), "{text}");
    }
}

#[test]
fn unknown_periods_are_left_out_of_all_arguments() {
    let r = [0.1, -0.2, 0.3, 0.05];
    assert_eq!(value("series_count(only(r, r > 0))", &r), Ok(3.0));
    assert_eq!(value("series_first(ts_delay(r, 1))", &r), Ok(0.1));
    let paired = value("series_cov(r, ts_delay(r, 1))", &r).unwrap();
    let by_hand = value("series_cov(only(r, ts_bars(r) > 1), ts_delay(r, 1))", &r).unwrap();
    assert_eq!(paired, by_hand);
    assert!(value("series_mean(only(r, r > 1))", &r).unwrap().is_nan());
}

#[test]
fn errors_say_what_is_wrong() {
    let column = value("series_mean(benchmark)", &[0.1]).unwrap_err();
    assert_eq!(
        column.to_string(),
        "column `benchmark` is not given, expected `r` alone"
    );
    assert!(column.hint().is_some());
    assert_eq!(value("series_mean(r)", &[]), Err(SeriesError::Empty));
    let hole = value("series_mean(r)", &[0.1, f64::NAN]).unwrap_err();
    assert_eq!(
        hole.to_string(),
        "value 1 of `r` is NaN, expected a finite number"
    );
    let expression = parse("series_mean(r)", Notation::Foretune).unwrap();
    let inputs = SeriesInputs {
        r: &[0.1, 0.2],
        benchmark: Some(&[0.1]),
    };
    let length = evaluate_series(&expression, &Profile::PAPER, &inputs).unwrap_err();
    assert_eq!(
        length.to_string(),
        "the benchmark has 1 values, expected 2 as the return series"
    );
    let panel = parse("cs_rank(close)", Notation::Foretune).unwrap();
    let inputs = SeriesInputs {
        r: &[0.1],
        benchmark: None,
    };
    assert!(evaluate_series(&panel, &Profile::PAPER, &inputs).is_err());
}
