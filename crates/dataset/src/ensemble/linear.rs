//! The plain member: a logistic regression of clipped, standardised features.
//!
//! Market features have tails in which a straight line has no business: each is clipped to the
//! middle 98 % of what was learned from. A missing value counts as the mean.

use serde::{Deserialize, Serialize};
use stats::logistic;

use super::EnsembleSettings;

/// The share of the values clipped on each side.
const TAIL: f64 = 0.01;

/// A fitted logistic regression.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Linear {
    /// The least and the largest value that counts, for each feature.
    pub clip: Vec<(f64, f64)>,
    /// What is taken off, for each feature: the mean after clipping.
    pub mean: Vec<f64>,
    /// The coefficient of each clipped feature in its own unit.
    pub coefficient: Vec<f64>,
    /// The log-odds of BUY where every feature is at its mean.
    pub intercept: f64,
}

impl Linear {
    /// Fits columns of N values, side by side in `columns`.
    pub(super) fn fit(
        columns: &[f64],
        features: usize,
        buy: &[f64],
        weights: &[f64],
        settings: &EnsembleSettings,
    ) -> Result<Self, stats::StatsError> {
        let n = buy.len();
        let mut rows: Vec<Vec<f64>> = vec![vec![0.0; features]; n];
        let (mut clip, mut mean) = (Vec::new(), Vec::new());
        for feature in 0..features {
            let column = &columns[feature * n..(feature + 1) * n];
            let (bounds, middle) = shape(column);
            for (row, &value) in rows.iter_mut().zip(column) {
                row[feature] = centre(value, bounds, middle);
            }
            clip.push(bounds);
            mean.push(middle);
        }
        let classes: Vec<usize> = buy.iter().map(|y| usize::from(*y > 0.5)).collect();
        let total: f64 = weights.iter().sum();
        let penalty = settings.logistic_l2 * total;
        let model = logistic::fit_weighted(&rows, &classes, weights, 2, penalty)?;
        // The difference of the two classes' lines is the log-odds; with the standardisation
        // taken in, what is left is one multiplication a feature.
        let mut intercept = model.intercepts[1] - model.intercepts[0];
        let mut coefficient = Vec::with_capacity(features);
        for feature in 0..features {
            let difference = model.coefficients[1][feature] - model.coefficients[0][feature];
            let slope = difference / model.scale[feature];
            intercept -= slope * model.mean[feature];
            coefficient.push(slope);
        }
        Ok(Self {
            clip,
            mean,
            coefficient,
            intercept,
        })
    }

    /// Returns the log-odds of BUY for one row of features; NaN is a missing value.
    pub(super) fn logit(&self, row: &[f32]) -> f64 {
        let mut sum = self.intercept;
        for (feature, &value) in row.iter().enumerate() {
            let value = centre(f64::from(value), self.clip[feature], self.mean[feature]);
            sum += self.coefficient[feature] * value;
        }
        sum
    }

    /// Returns what is wrong with a regression from a file, if anything is.
    pub(super) fn fault(&self, features: usize) -> Option<String> {
        let lengths = [self.clip.len(), self.mean.len(), self.coefficient.len()];
        if lengths != [features; 3] {
            return Some(format!(
                "its lists have {lengths:?} entries, expected {features}"
            ));
        }
        let finite = self
            .mean
            .iter()
            .chain(&self.coefficient)
            .all(|x| x.is_finite());
        let clip = |(low, high): &(f64, f64)| low.is_finite() && high.is_finite() && low <= high;
        let sound = finite && self.intercept.is_finite() && self.clip.iter().all(clip);
        (!sound).then(|| "its numbers are not finite, or a clip is upside down".to_owned())
    }
}

fn centre(value: f64, (low, high): (f64, f64), mean: f64) -> f64 {
    if value.is_nan() {
        return 0.0;
    }
    value.clamp(low, high) - mean
}

/// Returns the bounds of a column's middle and the mean of its values put inside them; zeros
/// without any value.
fn shape(column: &[f64]) -> ((f64, f64), f64) {
    let mut values: Vec<f64> = column.iter().copied().filter(|v| !v.is_nan()).collect();
    if values.is_empty() {
        return ((0.0, 0.0), 0.0);
    }
    values.sort_by(f64::total_cmp);
    let low = stats::quantile_sorted(&values, TAIL);
    let high = stats::quantile_sorted(&values, 1.0 - TAIL);
    let sum: f64 = values.iter().map(|value| value.clamp(low, high)).sum();
    ((low, high), sum / values.len() as f64)
}
