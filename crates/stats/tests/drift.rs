//! Drift against scipy and numpy: python/reference/drift_fixtures.py.

use serde::Deserialize;
use stats::drift::{kolmogorov_smirnov, population_stability};

/// Both sides add ten logarithms of the same shares.
const TOLERANCE: f64 = 1e-12;

#[derive(Deserialize)]
struct Case {
    name: String,
    earlier: Vec<f64>,
    later: Vec<f64>,
    index: f64,
    bins: usize,
    distance: f64,
}

#[test]
fn index_and_distance_are_those_of_numpy_and_scipy() {
    let cases: Vec<Case> = serde_json::from_str(include_str!("fixtures/drift.json")).unwrap();
    assert_eq!(cases.len(), 4);
    for case in cases {
        let found = population_stability(&case.earlier, &case.later, 10);
        assert_eq!(found.bins, case.bins, "{}", case.name);
        assert!(
            (found.index - case.index).abs() < TOLERANCE,
            "{}: {found:?}",
            case.name
        );
        let distance = kolmogorov_smirnov(&case.earlier, &case.later);
        assert!(
            (distance - case.distance).abs() < TOLERANCE,
            "{}: {distance}",
            case.name
        );
    }
}
