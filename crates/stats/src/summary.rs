//! Estimates with their intervals, and the small numeric helpers that every
//! room of the house shares.

use serde::{Deserialize, Serialize};

/// A two-sided interval. It is written as `[low, high]`; an end that could not
/// be estimated is NaN here and `null` in JSON.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(from = "[Option<f64>; 2]", into = "[Option<f64>; 2]")]
pub struct Interval {
    /// The lower end.
    pub low: f64,
    /// The upper end.
    pub high: f64,
}

impl Interval {
    /// Returns the interval of which nothing is known.
    pub fn unknown() -> Self {
        Self {
            low: f64::NAN,
            high: f64::NAN,
        }
    }

    /// Returns whether both ends are known.
    pub fn is_known(&self) -> bool {
        !self.low.is_nan() && !self.high.is_nan()
    }

    /// Returns whether `value` lies in the closed interval; never true of an
    /// unknown interval.
    pub fn contains(&self, value: f64) -> bool {
        self.low <= value && value <= self.high
    }
}

impl From<[Option<f64>; 2]> for Interval {
    fn from([low, high]: [Option<f64>; 2]) -> Self {
        Self {
            low: low.unwrap_or(f64::NAN),
            high: high.unwrap_or(f64::NAN),
        }
    }
}

impl From<Interval> for [Option<f64>; 2] {
    fn from(interval: Interval) -> Self {
        [interval.low, interval.high].map(|end| end.is_finite().then_some(end))
    }
}

/// A number, how sure one may be of it, and how many rows it comes from.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Estimate {
    /// The point estimate.
    pub value: f64,
    /// Its interval.
    pub interval: Interval,
    /// The number of rows it was computed from.
    pub n: usize,
}

/// Returns the index of the largest value; the first of equal ones, and 0 for a
/// row of NaN only. NaN never wins over a number.
///
/// # Panics
/// If `values` is empty.
pub fn argmax(values: &[f64]) -> usize {
    assert!(!values.is_empty(), "argmax of an empty slice");
    let mut best = 0;
    for (index, &value) in values.iter().enumerate().skip(1) {
        if value > values[best] || (values[best].is_nan() && !value.is_nan()) {
            best = index;
        }
    }
    best
}

/// Returns `exp(x_k) / sum_j exp(x_j)`, computed without overflow. An empty row
/// gives an empty row.
pub fn softmax(logits: &[f64]) -> Vec<f64> {
    let largest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let mut row: Vec<f64> = logits.iter().map(|&x| (x - largest).exp()).collect();
    let total: f64 = row.iter().sum();
    for value in &mut row {
        *value /= total;
    }
    row
}

/// Returns the `q`-quantile of ascending values, interpolated linearly between
/// order statistics (Hyndman and Fan 1996, type 7; the default of numpy). NaN
/// for no values.
///
/// # Panics
/// If `q` is outside `[0, 1]`.
pub fn quantile_sorted(ascending: &[f64], q: f64) -> f64 {
    assert!((0.0..=1.0).contains(&q), "quantile {q} outside [0, 1]");
    let Some(last) = ascending.len().checked_sub(1) else {
        return f64::NAN;
    };
    let position = q * last as f64;
    let below = position.floor() as usize;
    let above = (below + 1).min(last);
    let fraction = position - below as f64;
    ascending[below] + fraction * (ascending[above] - ascending[below])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_is_a_pair_in_json() {
        let interval = Interval {
            low: 0.25,
            high: 0.5,
        };
        assert_eq!(serde_json::to_string(&interval).unwrap(), "[0.25,0.5]");
        let back: Interval = serde_json::from_str("[0.25,0.5]").unwrap();
        assert_eq!(back, interval);
        assert!(interval.contains(0.25) && interval.contains(0.5) && !interval.contains(0.51));
    }

    #[test]
    fn an_unknown_interval_is_null_and_contains_nothing() {
        let text = serde_json::to_string(&Interval::unknown()).unwrap();
        assert_eq!(text, "[null,null]");
        let back: Interval = serde_json::from_str(&text).unwrap();
        assert!(!back.is_known() && !back.contains(0.0));
    }

    #[test]
    fn argmax_takes_the_first_of_equals_and_ignores_nan() {
        assert_eq!(argmax(&[1.0, 3.0, 3.0]), 1);
        assert_eq!(argmax(&[f64::NAN, -1.0, -2.0]), 1);
        assert_eq!(argmax(&[0.5, f64::NAN]), 0);
        assert_eq!(argmax(&[f64::NAN, f64::NAN]), 0);
    }

    #[test]
    fn softmax_survives_large_logits() {
        let row = softmax(&[1000.0, 1000.0, -1000.0]);
        assert_eq!(row, vec![0.5, 0.5, 0.0]);
        assert!(softmax(&[]).is_empty());
    }

    #[test]
    fn quantiles_interpolate() {
        let values = [1.0, 2.0, 4.0];
        assert_eq!(quantile_sorted(&values, 0.0), 1.0);
        assert_eq!(quantile_sorted(&values, 0.75), 3.0);
        assert_eq!(quantile_sorted(&values, 1.0), 4.0);
        assert!(quantile_sorted(&[], 0.5).is_nan());
    }
}
