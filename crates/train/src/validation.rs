//! Validation while training: loss of the answers and accuracy of the decisions.

use crate::TrainError;
use model::batch::Batch;
use model::score::{DecisionTokens, decisions};
use model::{Decoder, Encoded, Lora, Target};
use serde::{Deserialize, Serialize};
use std::ops::ControlFlow;

/// Held-out examples with the decisions they should lead to.
#[derive(Clone, Debug)]
pub struct Validation {
    /// Prompt and answer, encoded.
    pub examples: Vec<Encoded>,
    /// Index of the right label of each example.
    pub labels: Vec<usize>,
    /// The tokens that stand for the labels.
    pub tokens: DecisionTokens,
}

/// The outcome of one validation.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ValidationRecord {
    /// Optimiser steps done.
    pub step: usize,
    /// Mean cross-entropy of the supervised tokens, in nats.
    pub validation_loss: f64,
    /// Share of examples whose most probable label is the right one.
    pub validation_decision_accuracy: f64,
    /// The same with every class counted alike.
    pub validation_balanced_accuracy: f64,
    /// Examples scored.
    pub validation_examples: usize,
}

impl Validation {
    /// Keeps `n` examples, evenly spaced over the whole.
    #[must_use]
    pub fn thinned(&self, n: usize) -> Self {
        let len = self.examples.len();
        let n = n.min(len);
        let indices: Vec<usize> = (0..n).map(|i| i * len / n.max(1)).collect();
        Self {
            examples: indices.iter().map(|i| self.examples[*i].clone()).collect(),
            labels: indices.iter().map(|i| self.labels[*i]).collect(),
            tokens: self.tokens.clone(),
        }
    }

    /// Scores all examples.
    ///
    /// # Errors
    /// If the decoder refuses an example or the caller asks to stop.
    pub fn run(
        &self,
        decoder: &Decoder,
        lora: &Lora,
        step: usize,
    ) -> Result<ValidationRecord, TrainError> {
        let mut sum = 0.0;
        let mut count = 0usize;
        for pass in self.examples.chunks(8) {
            let views: Vec<&[u32]> = pass
                .iter()
                .map(|example| &example.tokens[..example.tokens.len() - 1])
                .collect();
            let limits: Vec<usize> = pass
                .iter()
                .map(|e| e.prompt_len.saturating_sub(1))
                .collect();
            let (batch, places) = Batch::with_shared_prefix(&views, &limits, &vec![0; views.len()]);
            let targets: Vec<Target> = pass
                .iter()
                .zip(&places)
                .flat_map(|(example, place)| {
                    (1..example.tokens.len())
                        .filter(|i| example.supervised[*i])
                        .map(|i| Target {
                            row: place.row(i - 1),
                            token: example.tokens[i],
                            weight: 1.0,
                        })
                })
                .collect();
            let losses = decoder.losses(Some(lora), &batch, &targets)?;
            count += losses.len();
            sum += losses.iter().map(|l| f64::from(*l)).sum::<f64>();
        }
        let prompts: Vec<Vec<u32>> = self
            .examples
            .iter()
            .map(|e| e.tokens[..e.prompt_len].to_vec())
            .collect();
        let mut go_on = |_, _| ControlFlow::Continue(());
        let scores = decisions(decoder, Some(lora), &prompts, &self.tokens, &mut go_on)?;
        let classes = self.tokens.labels.len();
        let (mut right, mut total) = (vec![0.0; classes], vec![0.0; classes]);
        for (score, label) in scores.iter().zip(&self.labels) {
            total[*label] += 1.0;
            if stats::argmax(score) == *label {
                right[*label] += 1.0;
            }
        }
        let seen: Vec<f64> = right
            .iter()
            .zip(&total)
            .filter(|(_, n)| **n > 0.0)
            .map(|(r, n)| r / n)
            .collect();
        let n = self.labels.len().max(1) as f64;
        Ok(ValidationRecord {
            step,
            validation_loss: sum / count.max(1) as f64,
            validation_decision_accuracy: right.iter().sum::<f64>() / n,
            validation_balanced_accuracy: seen.iter().sum::<f64>() / seen.len().max(1) as f64,
            validation_examples: self.labels.len(),
        })
    }
}
