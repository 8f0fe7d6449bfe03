//! Agreement with scikit-learn's isotonic regression on the values written by
//! `python/reference/ensemble.py`.

use serde::Deserialize;

/// Sums of some dozens of terms in another order.
const ROUNDING: f64 = 1e-12;

#[derive(Deserialize)]
struct Case {
    x: Vec<f64>,
    y: Vec<f64>,
    weights: Vec<f64>,
    at: Vec<f64>,
    values: Vec<f64>,
    points_x: Vec<f64>,
    points_y: Vec<f64>,
}

#[test]
fn isotonic_regression_agrees_with_scikit_learn() {
    let cases: Vec<Case> = serde_json::from_str(include_str!("fixtures/isotonic.json")).unwrap();
    assert_eq!(cases.len(), 5);
    for case in cases {
        let line = stats::isotonic::fit(&case.x, &case.y, &case.weights).unwrap();
        assert_eq!(line.x, case.points_x);
        for (got, expected) in line.y.iter().zip(&case.points_y) {
            assert!((got - expected).abs() < ROUNDING, "{got} {expected}");
        }
        for (at, expected) in case.at.iter().zip(&case.values) {
            assert!((line.at(*at) - expected).abs() < ROUNDING, "at {at}");
        }
    }
}
