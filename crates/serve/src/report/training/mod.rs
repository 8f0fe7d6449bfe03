//! The page of one training: how loss, speed and validation went, in figures and plain words.
//!
//! [`read_log`] reads a run's `metrics.jsonl`, finished or not; [`report`] sums it up and words
//! what a reader should look at twice; [`html`] draws the page. Supervised and preference training
//! share everything but their own figures.

mod figures;
mod log;
mod page;
mod warnings;

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

pub use log::{Log, Step, Validation, parse_log, read_log};
pub use page::html;

/// Version of the layout of [`Report`].
pub const SCHEMA: u32 = 1;

/// What the run's other files say about it; what is unknown stays empty.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Facts {
    /// Where the run is.
    pub run: String,
    /// Whether the run has written its manifest: the training came to its end.
    pub finished: bool,
    /// The base model's source.
    pub model: Option<String>,
    /// Trained parameters.
    pub parameters: Option<u64>,
    /// Distinct examples (or pairs) at hand.
    pub examples_available: Option<u64>,
    /// Tokens that carried loss.
    pub supervised_tokens: Option<u64>,
    /// Time from start to end, validation included, seconds.
    pub wall_seconds: Option<f64>,
    /// Largest resident memory of the process.
    pub peak_memory_bytes: Option<u64>,
    /// Step whose adapter was kept.
    pub kept_step: Option<u64>,
    /// Whether the training stopped because the validation loss no longer fell.
    pub stopped_early: bool,
    /// Examples that were too long and lost part of their prompt.
    pub examples_cut: Option<u64>,
    /// What the most frequent class would score on the validation examples.
    pub majority: Option<Majority>,
    /// Settings of the training, by key.
    pub settings: BTreeMap<String, Value>,
}

/// The most frequent class among the validation examples.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Majority {
    /// Its name.
    pub class: String,
    /// Its share.
    pub share: f64,
    /// How many classes there are.
    pub classes: usize,
}

/// Everything there is to say about a training: what `--json` prints.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// Layout version, [`SCHEMA`].
    pub schema: u32,
    /// `sft` or `dpo`.
    pub kind: &'static str,
    /// What the run's files say.
    #[serde(flatten)]
    pub facts: Facts,
    /// The course in numbers.
    pub course: Course,
    /// What to look at twice, in plain words.
    pub warnings: Vec<String>,
    /// Every step.
    pub steps: Vec<Step>,
    /// Every validation.
    pub validations: Vec<Validation>,
}

/// The course of a training in numbers.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Course {
    /// Steps done.
    pub steps: u64,
    /// Steps planned.
    pub total_steps: u64,
    /// Examples (or pairs) seen, repetitions counted.
    pub examples: Option<u64>,
    /// Tokens seen.
    pub tokens: Option<u64>,
    /// Mean loss of the first steps, as many as `mean_of_steps`.
    pub first_loss: Option<f64>,
    /// Mean loss of the last steps.
    pub last_loss: Option<f64>,
    /// How many steps the two means are over.
    pub mean_of_steps: usize,
    /// Tokens per second over all steps.
    pub tokens_per_second: Option<f64>,
    /// Seconds spent on steps.
    pub step_seconds: Option<f64>,
    /// The validation with the lowest loss.
    pub best: Option<Validation>,
    /// The last validation.
    pub last: Option<Validation>,
    /// Mean difference of the rewards over the last steps (preference training).
    pub reward_margin: Option<f64>,
    /// Mean share of pairs the right way round over the last steps (preference training).
    pub reward_accuracy: Option<f64>,
}

/// Sums up a training.
pub fn report(log: Log, facts: Facts) -> Report {
    let course = course(&log);
    let warnings = warnings::find(&log, &facts, &course);
    Report {
        schema: SCHEMA,
        kind: if log.is_preference() { "dpo" } else { "sft" },
        facts,
        course,
        warnings,
        steps: log.steps,
        validations: log.validations,
    }
}

fn course(log: &Log) -> Course {
    let last = log.steps.last();
    let window = window(log.steps.len());
    let ends = |value: &dyn Fn(&Step) -> Option<f64>| {
        let values: Vec<f64> = log.steps.iter().filter_map(value).collect();
        let n = window.min(values.len());
        (mean(&values[..n]), mean(&values[values.len() - n..]))
    };
    let (first_loss, last_loss) = ends(&|step| step.loss);
    let by_loss = |a: &&Validation, b: &&Validation| a.loss().total_cmp(&b.loss());
    Course {
        steps: last.map_or(0, |step| step.step),
        total_steps: last.and_then(|step| step.total_steps).unwrap_or(0),
        examples: last.and_then(|step| step.examples.or(step.pairs)),
        tokens: last.and_then(|step| step.tokens),
        first_loss,
        last_loss,
        mean_of_steps: window,
        tokens_per_second: last.and_then(|step| step.tokens_per_second),
        step_seconds: last.and_then(Step::elapsed),
        best: log.validations.iter().min_by(by_loss).copied(),
        last: log.validations.last().copied(),
        reward_margin: ends(&|step| step.reward_margin).1,
        reward_accuracy: ends(&|step| step.reward_accuracy).1,
    }
}

/// Steps that a mean at either end of the training is over: a tenth, at least five.
fn window(steps: usize) -> usize {
    (steps / 10).max(5).min(steps)
}

fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// Returns a moving mean that takes the noise of single batches off.
///
/// At the beginning, where a loss falls steeply, the window shrinks on both sides, so that the
/// curve is not bent; at the end it only loses what is not there yet, so that a single batch does
/// not look like a turn.
fn smooth(values: &[f64]) -> Vec<f64> {
    let reach = (values.len() / 30).max(3);
    let window = |i: usize| {
        let reach = reach.min(i);
        &values[i - reach..(i + reach + 1).min(values.len())]
    };
    (0..values.len())
        .map(|i| mean(window(i)).unwrap_or(values[i]))
        .collect()
}

#[cfg(test)]
mod tests;
