//! What supervised training reports, on the way and at the end.

use crate::ValidationRecord;
use crate::log::Logged;
use serde::{Deserialize, Serialize};

/// One optimiser step.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepRecord {
    /// Steps done, counted from 1.
    pub step: usize,
    /// Steps in all.
    pub total_steps: usize,
    /// Examples seen so far.
    pub examples: usize,
    /// Mean cross-entropy of the batch's supervised tokens, in nats.
    pub loss: f64,
    /// Step size of this step.
    pub learning_rate: f64,
    /// Global gradient norm before clipping.
    pub gradient_norm: f64,
    /// Tokens of the examples seen so far, as the user counts them: prompts and answers in full.
    pub tokens: usize,
    /// Rows computed so far; fewer than `tokens` where a shared prompt prefix was computed once.
    pub rows: usize,
    /// Seconds spent on steps so far, in all processes of the run; validation is left out.
    #[serde(default)]
    pub seconds: f64,
    /// Tokens per second of all steps so far.
    pub tokens_per_second: f64,
}

impl Logged for StepRecord {
    fn step(&self) -> usize {
        self.step
    }

    fn scalars(&self) -> Vec<(&'static str, f64)> {
        vec![
            ("train/loss", self.loss),
            ("train/learning_rate", self.learning_rate),
            ("train/grad_norm", self.gradient_norm),
            ("train/tokens_per_second", self.tokens_per_second),
        ]
    }
}

/// What a run reports on the way.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// A step is done.
    Step(&'a StepRecord),
    /// A validation is done.
    Validated(&'a ValidationRecord),
}

/// What a run ends with.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// Steps done.
    pub steps: usize,
    /// Examples seen.
    pub examples: usize,
    /// Tokens of those examples.
    pub tokens: usize,
    /// Rows computed.
    pub rows: usize,
    /// Supervised tokens among them.
    pub supervised_tokens: usize,
    /// Seconds spent training: in this process validation included, in earlier ones their steps.
    pub wall_seconds: f64,
    /// Tokens per second of training alone.
    pub tokens_per_second: f64,
    /// Every step, those of earlier processes as the log has them.
    pub history: Vec<StepRecord>,
    /// Every validation, likewise.
    pub validations: Vec<ValidationRecord>,
    /// Steps done when the adapter that the run ends with was as it is: fewer than `steps` where the
    /// best one is kept.
    pub kept_step: usize,
    /// Whether the run ended because the validation loss no longer fell.
    pub stopped_early: bool,
}
