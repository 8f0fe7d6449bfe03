//! Agreement with scipy and arch on the values written by
//! `python/reference/evidence.py`.

#![expect(
    clippy::unwrap_used,
    reason = "a fixture that does not parse fails its test"
)]

use serde::Deserialize;
use serde::de::DeserializeOwned;
use stats::beta::Beta;
use stats::{beta, normal, stationary};

/// Sums of a few hundred terms in another order.
const ROUNDING: f64 = 1e-12;

/// The relative error of tails and quantiles: both sides sum other expansions
/// and keep about 13 digits; with parameters in the millions scipy itself keeps
/// about 11.
const SPECIAL_FUNCTIONS: f64 = 1e-10;

fn fixture<T: DeserializeOwned>(part: &str) -> T {
    let text = include_str!("fixtures/evidence.json");
    let document: serde_json::Value = serde_json::from_str(text).unwrap();
    serde_json::from_value(document[part].clone()).unwrap()
}

#[track_caller]
fn check(got: f64, expected: f64, tolerance: f64) {
    assert!(
        (got - expected).abs() <= tolerance,
        "{got:e}, expected {expected:e}"
    );
}

/// As `check`, relative to the expected value.
#[track_caller]
fn check_relative(got: f64, expected: f64, tolerance: f64) {
    check(got, expected, tolerance * expected.abs());
}

#[derive(Deserialize)]
struct Normal {
    x: Vec<f64>,
    cumulative: Vec<f64>,
    p: Vec<f64>,
    quantile: Vec<f64>,
}

#[test]
fn the_normal_distribution_agrees_with_scipy() {
    let f: Normal = fixture("normal");
    for (x, expected) in f.x.iter().zip(f.cumulative) {
        check_relative(normal::cumulative(*x), expected, SPECIAL_FUNCTIONS);
    }
    for (p, expected) in f.p.iter().zip(f.quantile) {
        check(normal::quantile(*p), expected, SPECIAL_FUNCTIONS);
    }
}

#[derive(Deserialize)]
struct Rows {
    rows: Vec<Vec<f64>>,
}

#[test]
fn the_beta_distribution_agrees_with_scipy() {
    for row in fixture::<Rows>("beta").rows {
        let [a, b, p, quantile, cumulative] = row[..] else {
            panic!("{row:?}")
        };
        // One unit in the last place of x near 1 is not a small part of 1 - x.
        let slope = f64::EPSILON * (a + b).max(1.0 / (1.0 - quantile));
        let allowed = SPECIAL_FUNCTIONS * cumulative + slope;
        check(beta::incomplete_beta(quantile, a, b), cumulative, allowed);
        check_relative(beta::beta_quantile(p, a, b), quantile, SPECIAL_FUNCTIONS);
    }
}

#[test]
fn credible_bounds_agree_with_scipy() {
    for row in fixture::<Rows>("posterior").rows {
        let [wins, trials, a, b, level, lower, upper, mean] = row[..] else {
            panic!("{row:?}")
        };
        let posterior = Beta { a, b }.after(wins, trials);
        check_relative(posterior.lower(level), lower, SPECIAL_FUNCTIONS);
        check_relative(posterior.upper(level), upper, SPECIAL_FUNCTIONS);
        check(posterior.mean(), mean, ROUNDING);
    }
}

#[derive(Deserialize)]
struct Blocks {
    series: Vec<f64>,
    stationary: f64,
    circular: f64,
}

#[test]
fn block_lengths_agree_with_arch() {
    for case in fixture::<Vec<Blocks>>("block_length") {
        let length = stationary::optimal_block_length(&case.series);
        // arch gives lengths below 1 as they are.
        check_relative(length.stationary, case.stationary.max(1.0), 1e-9);
        check_relative(length.circular, case.circular.max(1.0), 1e-9);
    }
}
