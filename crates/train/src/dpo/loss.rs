//! The loss of one pair, and the settings it depends on.

use crate::TrainError;
use serde::{Deserialize, Serialize};

/// Settings of preference training beside those of every training.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DpoSettings {
    /// How strongly the model is kept near the reference.
    pub beta: f64,
    /// Probability that a pair is the wrong way round; 0 is the plain loss.
    pub label_smoothing: f64,
    /// Peak step size; takes the place of `train.learning_rate`.
    pub learning_rate: f64,
    /// What the model is compared with.
    pub reference: Reference,
}

/// The model that a preference training starts its comparison from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reference {
    /// The base model, the adapter switched off.
    Base,
    /// The model as it stands before the first step, with the adapter it starts from; for a fresh
    /// adapter that is the base. TRL does the same.
    Start,
}

impl Default for DpoSettings {
    fn default() -> Self {
        Self {
            beta: 0.1,
            label_smoothing: 0.0,
            learning_rate: 5e-4,
            reference: Reference::Start,
        }
    }
}

impl DpoSettings {
    /// Checks the range of every setting.
    ///
    /// # Errors
    /// Naming the first setting that is out of range.
    pub fn validate(&self) -> Result<(), TrainError> {
        let positive = |x: f64| x.is_finite() && x > 0.0;
        let checks = [
            (
                "dpo.beta",
                self.beta,
                positive(self.beta),
                "a positive number",
            ),
            (
                "dpo.label_smoothing",
                self.label_smoothing,
                (0.0..0.5).contains(&self.label_smoothing),
                "a number in [0, 0.5)",
            ),
            (
                "dpo.learning_rate",
                self.learning_rate,
                positive(self.learning_rate),
                "a positive number",
            ),
        ];
        for (name, value, fits, expected) in checks {
            if !fits {
                return Err(TrainError::Setting {
                    name,
                    value: value.to_string(),
                    expected,
                });
            }
        }
        Ok(())
    }
}

/// Log-probabilities of a pair's answers under one model, in nats.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scores {
    /// Of the chosen answer's tokens, summed.
    pub chosen: f64,
    /// Of the rejected answer's tokens, summed.
    pub rejected: f64,
}

/// Loss and rewards of one pair.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Preference {
    /// The loss, in nats.
    pub loss: f64,
    /// Its derivative with respect to log p(chosen); with respect to log p(rejected) it is the
    /// negative of this.
    pub slope: f64,
    /// Reward of the chosen answer.
    pub reward_chosen: f64,
    /// Reward of the rejected answer.
    pub reward_rejected: f64,
}

/// Computes the loss of one pair from the two models' scores.
pub fn preference(settings: &DpoSettings, trained: Scores, reference: Scores) -> Preference {
    let (beta, smoothing) = (settings.beta, settings.label_smoothing);
    let reward_chosen = beta * (trained.chosen - reference.chosen);
    let reward_rejected = beta * (trained.rejected - reference.rejected);
    let x = reward_chosen - reward_rejected;
    // log sigmoid(x) without overflow at either end.
    let log_sigmoid = |x: f64| x.min(0.0) - (-x.abs()).exp().ln_1p();
    let sigmoid = |x: f64| log_sigmoid(x).exp();
    Preference {
        loss: -(1.0 - smoothing) * log_sigmoid(x) - smoothing * log_sigmoid(-x),
        slope: beta * (smoothing * sigmoid(x) - (1.0 - smoothing) * sigmoid(-x)),
        reward_chosen,
        reward_rejected,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slope_is_the_derivative() {
        let reference = Scores {
            chosen: -3.0,
            rejected: -2.5,
        };
        for smoothing in [0.0, 0.2] {
            let settings = DpoSettings {
                beta: 0.7,
                label_smoothing: smoothing,
                ..DpoSettings::default()
            };
            for chosen in [-9.0, -3.1, 4.0] {
                let at = |chosen: f64| {
                    let trained = Scores {
                        chosen,
                        rejected: -2.0,
                    };
                    preference(&settings, trained, reference)
                };
                let h = 1e-5;
                let slope = (at(chosen + h).loss - at(chosen - h).loss) / (2.0 * h);
                assert!((slope - at(chosen).slope).abs() < 1e-8);
            }
        }
    }

    #[test]
    fn extreme_scores_stay_finite() {
        let zero = Scores {
            chosen: 0.0,
            rejected: 0.0,
        };
        let far = Scores {
            chosen: -1e6,
            rejected: 0.0,
        };
        let found = preference(&DpoSettings::default(), far, zero);
        assert!((found.loss - 1e5).abs() < 1e-6 && (found.slope + 0.1).abs() < 1e-9);
    }
}
