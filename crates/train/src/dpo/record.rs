//! What preference training reports, on the way and at the end.

use crate::log::Logged;
use serde::{Deserialize, Serialize};

/// One optimiser step.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct DpoRecord {
    /// Steps done, counted from 1.
    pub step: usize,
    /// Steps in all.
    pub total_steps: usize,
    /// Pairs seen so far.
    pub pairs: usize,
    /// Mean loss of the batch, in nats.
    pub loss: f64,
    /// Mean reward of the chosen answers.
    pub reward_chosen: f64,
    /// Mean reward of the rejected answers.
    pub reward_rejected: f64,
    /// Mean difference of the two.
    pub reward_margin: f64,
    /// Share of pairs whose chosen answer has the higher reward.
    pub reward_accuracy: f64,
    /// Step size of this step.
    pub learning_rate: f64,
    /// Global gradient norm before clipping.
    pub gradient_norm: f64,
    /// Tokens of the pairs seen so far: both conversations in full.
    pub tokens: usize,
    /// Rows computed so far.
    pub rows: usize,
    /// Seconds spent on steps so far, in all processes of the run; the reference is left out.
    pub seconds: f64,
    /// Tokens per second of all steps so far.
    pub tokens_per_second: f64,
}

impl Logged for DpoRecord {
    fn step(&self) -> usize {
        self.step
    }

    fn scalars(&self) -> Vec<(&'static str, f64)> {
        vec![
            ("train/loss", self.loss),
            ("train/rewards/chosen", self.reward_chosen),
            ("train/rewards/rejected", self.reward_rejected),
            ("train/rewards/margins", self.reward_margin),
            ("train/rewards/accuracies", self.reward_accuracy),
            ("train/learning_rate", self.learning_rate),
            ("train/grad_norm", self.gradient_norm),
            ("train/tokens_per_second", self.tokens_per_second),
        ]
    }
}

/// What a preference training reports on the way.
#[derive(Clone, Copy, Debug)]
pub enum DpoEvent<'a> {
    /// Pairs whose reference is known.
    Reference {
        /// So many are.
        done: usize,
        /// Of so many.
        total: usize,
    },
    /// A step is done.
    Step(&'a DpoRecord),
}

/// What a preference training ends with.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DpoSummary {
    /// Steps done.
    pub steps: usize,
    /// Pairs seen.
    pub pairs: usize,
    /// Tokens of those pairs.
    pub tokens: usize,
    /// Supervised tokens among them.
    pub supervised_tokens: usize,
    /// Seconds spent: in this process reference included, in earlier ones their steps.
    pub wall_seconds: f64,
    /// Tokens per second of training alone.
    pub tokens_per_second: f64,
    /// Every step, those of earlier processes as the log has them.
    pub history: Vec<DpoRecord>,
}
