//! Reading `metrics.jsonl`: one JSON object a line, steps and validations mixed.
//!
//! Keys nobody knows here are skipped, so that a log of a newer version still has a page. A run
//! that was killed leaves half a line at the end, which is left out; any other line that is no JSON
//! object is an error. Where two processes logged the same step the later line counts.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::ServeError;

/// One optimiser step; what the log does not have is none.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Step {
    /// Steps done, from 1.
    pub step: u64,
    /// Steps planned.
    pub total_steps: Option<u64>,
    /// Examples seen so far.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub examples: Option<u64>,
    /// Pairs seen so far (preference training).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pairs: Option<u64>,
    /// Mean loss of the batch, nats.
    pub loss: Option<f64>,
    /// Step size.
    pub learning_rate: Option<f64>,
    /// Global gradient norm before clipping.
    pub gradient_norm: Option<f64>,
    /// Tokens seen so far.
    pub tokens: Option<u64>,
    /// Seconds spent on steps so far; old logs have none.
    pub seconds: Option<f64>,
    /// Tokens per second of all steps so far.
    pub tokens_per_second: Option<f64>,
    /// Mean reward of the chosen answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reward_chosen: Option<f64>,
    /// Mean reward of the rejected answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reward_rejected: Option<f64>,
    /// Mean difference of the two.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reward_margin: Option<f64>,
    /// Share of pairs whose chosen answer has the higher reward.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reward_accuracy: Option<f64>,
}

impl Step {
    /// Returns the seconds spent on steps so far, from tokens and speed where they are not logged.
    pub fn elapsed(&self) -> Option<f64> {
        let from_speed =
            || Some(self.tokens? as f64 / self.tokens_per_second.filter(|v| *v > 0.0)?);
        self.seconds.filter(|s| *s > 0.0).or_else(from_speed)
    }
}

/// One validation.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Validation {
    /// Optimiser steps done.
    pub step: u64,
    /// Mean loss per supervised token, nats.
    pub validation_loss: Option<f64>,
    /// Share of decisions that are right.
    pub validation_decision_accuracy: Option<f64>,
    /// The same with every class counted alike.
    pub validation_balanced_accuracy: Option<f64>,
    /// Examples scored.
    pub validation_examples: Option<u64>,
}

impl Validation {
    /// Returns the loss, infinite where there is none.
    pub fn loss(&self) -> f64 {
        self.validation_loss.unwrap_or(f64::INFINITY)
    }
}

/// A training as its log tells it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Log {
    /// The steps, ascending, each once.
    pub steps: Vec<Step>,
    /// The validations, ascending, each once.
    pub validations: Vec<Validation>,
    /// Whether the last line was cut off and left out.
    pub torn: bool,
    /// Lines whose step a later line has again.
    pub repeated: usize,
    /// Lines that are neither step nor validation.
    pub other: usize,
}

impl Log {
    /// Whether this is preference training.
    pub fn is_preference(&self) -> bool {
        let has_rewards = |step: &Step| step.reward_margin.is_some() || step.pairs.is_some();
        self.steps.iter().any(has_rewards)
    }
}

/// Reads a log.
///
/// # Errors
/// When the file cannot be read, or with the number of the first line that is no JSON object.
pub fn read_log(path: &Path) -> Result<Log, ServeError> {
    let bytes = std::fs::read(path).map_err(|source| ServeError::Io {
        action: "read",
        path: path.to_owned(),
        source,
    })?;
    parse_log(path, &bytes)
}

/// As [`read_log`], from bytes; `path` is for the errors.
///
/// # Errors
/// As [`read_log`].
pub fn parse_log(path: &Path, bytes: &[u8]) -> Result<Log, ServeError> {
    let mut log = Log::default();
    let (mut steps, mut validations) = (BTreeMap::new(), BTreeMap::new());
    for (index, line) in bytes.split_inclusive(|byte| *byte == b'\n').enumerate() {
        if line.trim_ascii().is_empty() {
            continue;
        }
        let entry = match Entry::parse(line) {
            Ok(entry) => entry,
            // Only the last line can lack its end.
            Err(_) if !line.ends_with(b"\n") => {
                log.torn = true;
                break;
            }
            Err(reason) => {
                return Err(ServeError::Line {
                    path: path.to_owned(),
                    line: index + 1,
                    reason,
                });
            }
        };
        let repeated = match entry {
            Entry::Step(step) => steps.insert(step.step, step).is_some(),
            Entry::Validation(found) => validations.insert(found.step, found).is_some(),
            Entry::Other => {
                log.other += 1;
                false
            }
        };
        log.repeated += usize::from(repeated);
    }
    log.steps = steps.into_values().collect();
    log.validations = validations.into_values().collect();
    Ok(log)
}

enum Entry {
    Step(Step),
    Validation(Validation),
    Other,
}

impl Entry {
    fn parse(line: &[u8]) -> Result<Self, String> {
        let value: serde_json::Value = serde_json::from_slice(line)
            .map_err(|error| format!("expected one JSON object, found: {error}"))?;
        let Some(object) = value.as_object() else {
            return Err(format!("expected a JSON object, found `{value}`"));
        };
        let wrong = |error: serde_json::Error| format!("not a record of a training: {error}");
        if !object.contains_key("step") {
            return Ok(Self::Other);
        }
        if object.contains_key("validation_loss") {
            return serde_json::from_value(value)
                .map(Self::Validation)
                .map_err(wrong);
        }
        if object.contains_key("loss") {
            return serde_json::from_value(value).map(Self::Step).map_err(wrong);
        }
        Ok(Self::Other)
    }
}

/// Returns (step, tokens per second of that step) where step and predecessor are logged.
pub(super) fn speeds(steps: &[Step]) -> Vec<(f64, f64)> {
    let speed = |pair: &[Step]| {
        let (before, after) = (&pair[0], &pair[1]);
        let seconds = after.elapsed()? - before.elapsed()?;
        let tokens = after.tokens?.checked_sub(before.tokens?)? as f64;
        (seconds > 0.0).then(|| (after.step as f64, tokens / seconds))
    };
    steps.windows(2).filter_map(speed).collect()
}
