//! Agreement with scikit-learn, scipy and numpy on the values written by
//! `python/reference/stats_fixtures.py`.

#![expect(
    clippy::unwrap_used,
    reason = "a fixture that does not parse fails its test"
)]

use serde::Deserialize;
use serde::de::DeserializeOwned;
use stats::{calibration, logistic, metrics, quantile_sorted};

/// Sums of a few hundred terms in another order.
const ROUNDING: f64 = 1e-12;

/// Both sides stop at a small gradient rather than at the exact minimum. With
/// the weakest penalty here a coefficient moves about 1e3 times the gradient per
/// unit of weight, and scikit-learn's stops near 1e-10.
const CONVERGENCE: f64 = 1e-6;

fn fixture<T: DeserializeOwned>(part: &str) -> T {
    let text = include_str!("fixtures/reference.json");
    let document: serde_json::Value = serde_json::from_str(text).unwrap();
    serde_json::from_value(document[part].clone()).unwrap()
}

#[track_caller]
fn check(got: &[f64], expected: &[f64], tolerance: f64) {
    assert_eq!(got.len(), expected.len());
    for (g, e) in got.iter().zip(expected) {
        assert!((g - e).abs() <= tolerance, "{got:?}\n{expected:?}");
    }
}

#[derive(Deserialize)]
struct Metrics {
    truth: Vec<usize>,
    truth_without_class_2: Vec<usize>,
    probabilities: Vec<Vec<f64>>,
    predicted: Vec<usize>,
    accuracy: f64,
    balanced_accuracy: f64,
    balanced_accuracy_without_class_2: f64,
    log_loss: f64,
    brier: f64,
    confusion: Vec<Vec<usize>>,
}

#[test]
fn metrics_agree_with_scikit_learn() {
    let f: Metrics = fixture("metrics");
    let argmax: Vec<usize> = f.probabilities.iter().map(|p| stats::argmax(p)).collect();
    assert_eq!(argmax, f.predicted);
    let table = metrics::confusion(&f.truth, &f.predicted, 3);
    assert_eq!(table, f.confusion);
    let got = [
        metrics::accuracy(&f.truth, &f.predicted),
        metrics::balanced_accuracy(&f.truth, &f.predicted, 3),
        metrics::balanced_accuracy(&f.truth_without_class_2, &f.predicted, 3),
        metrics::log_loss(&f.truth, &f.probabilities),
        metrics::brier(&f.truth, &f.probabilities),
    ];
    let expected = [
        f.accuracy,
        f.balanced_accuracy,
        f.balanced_accuracy_without_class_2,
        f.log_loss,
        f.brier,
    ];
    check(&got, &expected, ROUNDING);
}

#[derive(Deserialize)]
struct Reliability {
    bins: usize,
    forecast: Vec<f64>,
    happened: Vec<bool>,
    observed: Vec<f64>,
    mean_predicted: Vec<f64>,
}

#[test]
fn reliability_bins_are_those_of_calibration_curve() {
    for case in fixture::<Vec<Reliability>>("reliability") {
        let bins = metrics::reliability(&case.forecast, &case.happened, case.bins);
        let observed: Vec<f64> = bins.iter().map(|b| b.observed).collect();
        let predicted: Vec<f64> = bins.iter().map(|b| b.mean_predicted).collect();
        check(&observed, &case.observed, ROUNDING);
        check(&predicted, &case.mean_predicted, ROUNDING);
        let rows: usize = bins.iter().map(|b| b.count).sum();
        assert_eq!(rows, case.forecast.len());
    }
}

#[derive(Deserialize)]
struct Quantiles {
    values: Vec<f64>,
    levels: Vec<f64>,
    expected: Vec<f64>,
}

#[test]
fn quantiles_are_those_of_numpy() {
    let f: Quantiles = fixture("quantiles");
    let got: Vec<f64> = f
        .levels
        .iter()
        .map(|&q| quantile_sorted(&f.values, q))
        .collect();
    check(&got, &f.expected, ROUNDING);
}

#[derive(Deserialize)]
struct Logistic {
    x: Vec<Vec<f64>>,
    y: Vec<usize>,
    weights: Vec<f64>,
    classes: usize,
    l2: f64,
    coefficients: Vec<Vec<f64>>,
    intercepts: Vec<f64>,
    probabilities: Vec<Vec<f64>>,
}

#[test]
fn logistic_regression_agrees_with_scikit_learn() {
    for case in fixture::<Vec<Logistic>>("logistic") {
        let model =
            logistic::fit_weighted(&case.x, &case.y, &case.weights, case.classes, case.l2).unwrap();
        for (got, expected) in model.coefficients.iter().zip(&case.coefficients) {
            check(got, expected, CONVERGENCE);
        }
        check(&model.intercepts, &case.intercepts, CONVERGENCE);
        for (row, expected) in case.x.iter().zip(&case.probabilities) {
            check(&model.probabilities(row), expected, CONVERGENCE);
        }
    }
}

#[derive(Deserialize)]
struct Calibration {
    logits: Vec<Vec<f64>>,
    y: Vec<usize>,
    weights: Vec<f64>,
    l2: f64,
    temperature: f64,
    bias: Vec<f64>,
    probabilities: Vec<Vec<f64>>,
}

#[test]
fn calibration_agrees_with_scipy() {
    for case in fixture::<Vec<Calibration>>("calibration") {
        let scaling =
            calibration::fit_weighted(&case.logits, &case.y, &case.weights, case.l2).unwrap();
        check(&[scaling.temperature], &[case.temperature], CONVERGENCE);
        for (row, expected) in case.logits.iter().zip(&case.probabilities) {
            check(&scaling.apply(row), expected, CONVERGENCE);
        }
        check(&scaling.bias, &case.bias, CONVERGENCE);
    }
}
