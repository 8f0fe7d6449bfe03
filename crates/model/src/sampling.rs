//! Drawing a token from a row of logits.
//!
//! Temperature, top-k, top-p and min-p mean what they mean in transformers and are applied in its
//! order, each to what the one before has left (`generation/logits_process.py`). A draw depends on
//! the seed, the prompt's index and the step alone, never on what is generated beside it.

use kernels::elementwise::mix64;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::ModelError;

/// How tokens are drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampling {
    /// Divides the logits; above 0. Less than 1 sharpens, more flattens.
    pub temperature: f32,
    /// Keeps this many most probable tokens, ties with the last included; 0 keeps all.
    pub top_k: usize,
    /// Keeps the most probable tokens whose probabilities reach this sum; 0 to 1, 1 keeps all.
    pub top_p: f32,
    /// Drops tokens less probable than this share of the most probable one; 0 to 1, 0 keeps all.
    pub min_p: f32,
    /// Seed of the draws.
    pub seed: u64,
}

impl Default for Sampling {
    /// Draws from the model's own distribution.
    fn default() -> Self {
        Self {
            temperature: 1.0,
            top_k: 0,
            top_p: 1.0,
            min_p: 0.0,
            seed: 0,
        }
    }
}

impl Sampling {
    /// Checks the ranges.
    ///
    /// # Errors
    /// [`ModelError::Sampling`] with the setting that is out of range.
    pub fn check(&self) -> Result<(), ModelError> {
        let wrong = |setting, value: f32, expected| {
            let found = value.to_string();
            Err(ModelError::Sampling {
                setting,
                found,
                expected,
            })
        };
        if !(self.temperature > 0.0 && self.temperature.is_finite()) {
            return wrong("temperature", self.temperature, "a number above 0");
        }
        if !(self.top_p > 0.0 && self.top_p <= 1.0) {
            return wrong("top_p", self.top_p, "above 0 and at most 1");
        }
        if !(0.0..=1.0).contains(&self.min_p) {
            return wrong("min_p", self.min_p, "from 0 to 1");
        }
        Ok(())
    }

    /// Returns the tokens that may be drawn with their probabilities, which add up to 1: the most
    /// probable first, the lowest id first on a tie. Logits of minus infinity are never drawn.
    pub fn distribution(&self, logits: &[f32]) -> Vec<(u32, f64)> {
        let mut kept: Vec<(u32, f64)> = (0..)
            .zip(logits)
            .filter(|(_, logit)| **logit > f32::NEG_INFINITY)
            .map(|(token, logit)| (token, f64::from(logit / self.temperature)))
            .collect();
        kept.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        if (1..kept.len()).contains(&self.top_k) {
            let least = kept[self.top_k - 1].1;
            kept.retain(|(_, logit)| *logit >= least);
        }
        let mut probabilities = normalised(&kept);
        if self.top_p < 1.0 {
            // A token stays if what is more probable does not yet reach the sum.
            let mut sum = 0.0;
            let stay = probabilities
                .iter()
                .take_while(|(_, probability)| {
                    let stays = sum < f64::from(self.top_p);
                    sum += probability;
                    stays
                })
                .count();
            kept.truncate(stay.max(1));
            probabilities = normalised(&kept);
        }
        if self.min_p > 0.0 {
            let least = f64::from(self.min_p) * probabilities.first().map_or(0.0, |best| best.1);
            let stay = probabilities.iter().take_while(|p| p.1 >= least).count();
            kept.truncate(stay.max(1));
            probabilities = normalised(&kept);
        }
        probabilities
    }

    /// Draws a token for the given step of the given prompt.
    pub(crate) fn draw(&self, logits: &[f32], prompt: usize, step: usize) -> u32 {
        let key = mix64(mix64(self.seed ^ mix64(prompt as u64)) ^ step as u64);
        let mut left: f64 = ChaCha8Rng::seed_from_u64(key).random();
        let distribution = self.distribution(logits);
        for (token, probability) in &distribution {
            left -= probability;
            if left < 0.0 {
                return *token;
            }
        }
        // Rounding may leave a sum just below 1.
        distribution.last().map_or(0, |(token, _)| *token)
    }
}

/// Turns sorted logits into probabilities.
fn normalised(logits: &[(u32, f64)]) -> Vec<(u32, f64)> {
    let best = logits.first().map_or(0.0, |(_, logit)| *logit);
    let weights: Vec<f64> = logits.iter().map(|(_, l)| (l - best).exp()).collect();
    let sum: f64 = weights.iter().sum();
    let tokens = logits.iter().map(|(token, _)| *token);
    tokens.zip(weights.iter().map(|w| w / sum)).collect()
}
