//! A trained model: what it asks for, what it answers, and for which time it may be asked.

use serde::{Deserialize, Serialize};
use stats::isotonic::Isotonic;

use super::EnsembleError;
use super::linear::Linear;
use super::settings::MOST_FEATURES;
use super::trees::Trees;
use crate::Decision;

/// A pair of trees and regression with its calibration.
///
/// Its answers depend on its own numbers only, so a model that was saved and loaded answers alike.
/// However it is read, its lists are checked against each other first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Unchecked")]
pub struct EnsembleModel {
    /// The fold it was made for, from 1; nothing for the live model, which has seen every row.
    pub fold: Option<u16>,
    /// The end of the last label that it or its calibration has seen, Unix milliseconds.
    pub trained_through: i64,
    /// Rows it learned from.
    pub trained_rows: usize,
    /// The features it asks for, in order.
    pub features: Vec<String>,
    pub(super) trees: Trees,
    pub(super) linear: Linear,
    pub(super) calibration: Isotonic,
}

/// A model as a file says it is.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Unchecked {
    fold: Option<u16>,
    trained_through: i64,
    trained_rows: usize,
    features: Vec<String>,
    trees: Trees,
    linear: Linear,
    calibration: Isotonic,
}

impl TryFrom<Unchecked> for EnsembleModel {
    type Error = String;

    fn try_from(read: Unchecked) -> Result<Self, String> {
        let model = Self {
            fold: read.fold,
            trained_through: read.trained_through,
            trained_rows: read.trained_rows,
            features: read.features,
            trees: read.trees,
            linear: read.linear,
            calibration: read.calibration,
        };
        match model.fault() {
            Some(fault) => Err(fault),
            None => Ok(model),
        }
    }
}

/// A model's answer.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Prediction {
    /// The calibrated probability of BUY.
    pub probability: f64,
    /// The end of the last label that the model has seen, Unix milliseconds.
    pub trained_through: i64,
}

impl Prediction {
    /// Returns the likelier side: BUY or SELL.
    pub fn side(&self) -> Decision {
        side(self.probability)
    }

    /// Returns the calibrated probability of that side, at least 0.5.
    pub fn confidence(&self) -> f64 {
        self.probability.max(1.0 - self.probability)
    }
}

/// Returns the likelier side; BUY of equals.
pub(super) fn side(probability: f64) -> Decision {
    if probability >= 0.5 {
        Decision::Buy
    } else {
        Decision::Sell
    }
}

/// The log-odds of a model's members.
#[derive(Debug, Clone, Copy)]
pub(super) struct Logits {
    pub trees: f64,
    pub linear: f64,
}

impl Logits {
    /// Returns the log-odds of both together: the mean. Weights fitted on weak signals would be
    /// mostly noise.
    pub(super) fn pooled(self) -> f64 {
        f64::midpoint(self.trees, self.linear)
    }
}

impl EnsembleModel {
    /// Returns the prediction for a decision at `decision` (Unix milliseconds) from its features,
    /// in the order of [`EnsembleModel::features`]; NaN and infinite values are missing.
    ///
    /// # Errors
    /// [`EnsembleError::FromTheFuture`] unless every label the model has seen ended before the
    /// decision, [`EnsembleError::FeatureCount`].
    pub fn predict(&self, decision: i64, features: &[f32]) -> Result<Prediction, EnsembleError> {
        if self.trained_through >= decision {
            return Err(EnsembleError::FromTheFuture {
                trained_through: self.trained_through,
                decision,
            });
        }
        if features.len() != self.features.len() {
            return Err(EnsembleError::FeatureCount {
                expected: self.features.len(),
                found: features.len(),
            });
        }
        let finite = |value: &f32| {
            if value.is_infinite() {
                f32::NAN
            } else {
                *value
            }
        };
        let row: Vec<f32> = features.iter().map(finite).collect();
        let logits = members(&self.trees, &self.linear, &row);
        Ok(Prediction {
            probability: self.calibration.at(logits.pooled()),
            trained_through: self.trained_through,
        })
    }

    /// Returns what is wrong with a model from a file, if anything is.
    fn fault(&self) -> Option<String> {
        let features = self.features.len();
        if !(1..=MOST_FEATURES).contains(&features) {
            return Some(format!(
                "it has {features} features, expected 1 to {MOST_FEATURES}"
            ));
        }
        if !self.calibration.is_sound() {
            return Some("its calibration falls or is not finite".to_owned());
        }
        let probabilities = &self.calibration.y;
        if probabilities.iter().any(|p| !(0.0..=1.0).contains(p)) {
            return Some("its calibration leaves 0 to 1".to_owned());
        }
        self.trees
            .fault(features)
            .or_else(|| self.linear.fault(features))
    }
}

/// Returns the log-odds of both members for a row without infinite values.
pub(super) fn members(trees: &Trees, linear: &Linear, row: &[f32]) -> Logits {
    Logits {
        trees: trees.logit(row),
        linear: linear.logit(row),
    }
}
