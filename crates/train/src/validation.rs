//! Validation while training: loss of the answers and accuracy of the decisions.

use crate::TrainError;
use crate::log::Logged;
use model::batch::Batch;
use model::score::{DecisionTokens, decisions};
use model::{Decoder, Encoded, Lora, log_sum_exp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::ops::ControlFlow;

/// Examples scored in one forward pass, at most.
pub const EXAMPLES_PER_PASS: usize = 8;

/// Tokens scored in one forward pass, but for an example that is longer: eight of usual length.
pub const TOKENS_PER_PASS: usize = 2048;

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
    /// Steps done at the validation with the lowest loss so far, this one among them.
    #[serde(default)]
    pub best_step: Option<usize>,
}

impl Logged for ValidationRecord {
    fn step(&self) -> usize {
        self.step
    }

    fn scalars(&self) -> Vec<(&'static str, f64)> {
        vec![
            ("eval/loss", self.validation_loss),
            ("eval/decision_accuracy", self.validation_decision_accuracy),
            ("eval/balanced_accuracy", self.validation_balanced_accuracy),
        ]
    }
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
    /// Where the labels' first tokens differ, the row that predicts the decision in the right
    /// answer scores them all, and one pass gives loss and decision; else the labels are scored
    /// in a pass of their own.
    ///
    /// # Errors
    /// If the decoder refuses an example.
    pub fn run(
        &self,
        decoder: &Decoder,
        lora: &Lora,
        step: usize,
    ) -> Result<ValidationRecord, TrainError> {
        let firsts: BTreeSet<u32> = self.tokens.labels.iter().map(|label| label[0]).collect();
        let told_apart = firsts.len() == self.tokens.labels.len();
        let (mut sum, mut count) = (0.0, 0usize);
        let mut decided = Vec::with_capacity(self.examples.len());
        let mut rest = &self.examples[..];
        while !rest.is_empty() {
            let mut tokens = 0;
            let fitting = rest.iter().take(EXAMPLES_PER_PASS).take_while(|example| {
                // The last token predicts nothing and takes no row.
                tokens += example.tokens.len().saturating_sub(1);
                tokens <= TOKENS_PER_PASS
            });
            let (pass, later) = rest.split_at(fitting.count().max(1));
            rest = later;
            let scored = self.pass(decoder, lora, pass)?;
            sum += scored.losses.iter().sum::<f64>();
            count += scored.losses.len();
            decided.extend(scored.decisions);
        }
        if !told_apart {
            let prompts: Vec<Vec<u32>> = self
                .examples
                .iter()
                .map(|e| e.tokens[..e.prompt_len].to_vec())
                .collect();
            let mut go_on = |_, _| ControlFlow::Continue(());
            let scores = decisions(decoder, Some(lora), &prompts, &self.tokens, &mut go_on)?;
            decided = scores.iter().map(|score| stats::argmax(score)).collect();
        }
        let classes = self.tokens.labels.len();
        let (mut right, mut total) = (vec![0.0; classes], vec![0.0; classes]);
        for (decision, label) in decided.iter().zip(&self.labels) {
            total[*label] += 1.0;
            if decision == label {
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
            best_step: None,
        })
    }

    /// Computes one forward pass: the answers' losses, and the label whose first token is the most
    /// probable where the decision stands.
    fn pass(&self, decoder: &Decoder, lora: &Lora, pass: &[Encoded]) -> Result<Scored, TrainError> {
        let views: Vec<&[u32]> = pass
            .iter()
            .map(|example| &example.tokens[..example.tokens.len() - 1])
            .collect();
        let limits: Vec<usize> = pass
            .iter()
            .map(|e| e.prompt_len.saturating_sub(1))
            .collect();
        let (batch, places) = Batch::with_shared_prefix(&views, &limits, &vec![0; views.len()]);
        let mut rows = Vec::new();
        let mut targets = Vec::new();
        let mut deciding = Vec::with_capacity(pass.len());
        for (example, place) in pass.iter().zip(&places) {
            let decision = example.prompt_len + self.tokens.lead.len();
            for position in (1..example.tokens.len()).filter(|i| example.supervised[*i]) {
                if position == decision {
                    deciding.push(rows.len());
                }
                rows.push(place.row(position - 1));
                targets.push(example.tokens[position]);
            }
        }
        let logits = decoder.logits(Some(lora), &batch, &rows)?;
        let vocabulary = decoder.config().vocab_size;
        let row = |index: usize| &logits[index * vocabulary..(index + 1) * vocabulary];
        let losses = targets
            .iter()
            .enumerate()
            .map(|(index, token)| f64::from(log_sum_exp(row(index)) - row(index)[*token as usize]))
            .collect();
        let firsts: Vec<usize> = self
            .tokens
            .labels
            .iter()
            .map(|label| label[0] as usize)
            .collect();
        let decisions = deciding
            .iter()
            .map(|index| {
                let scores: Vec<f64> = firsts
                    .iter()
                    .map(|token| f64::from(row(*index)[*token]))
                    .collect();
                stats::argmax(&scores)
            })
            .collect();
        Ok(Scored { losses, decisions })
    }
}

struct Scored {
    losses: Vec<f64>,
    decisions: Vec<usize>,
}
