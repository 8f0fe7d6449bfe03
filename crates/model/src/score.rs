//! Decision scoring without generating: log-probabilities of label tokens after a prompt.

use crate::ModelError;
use crate::batch::{Batch, shared_prefix};
use crate::decoder::Decoder;
use crate::lora::Lora;
use kernels::cross_entropy::log_sum_exp;
use std::ops::ControlFlow;

/// Prompts scored in one forward pass.
const PROMPTS_PER_PASS: usize = 16;

/// The tokens that stand for the decisions at the start of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecisionTokens {
    /// Tokens every answer begins with, such as those of `DECISION:`.
    pub lead: Vec<u32>,
    /// Tokens of each label that follow the lead.
    pub labels: Vec<Vec<u32>>,
}

impl DecisionTokens {
    /// Derives lead and labels from tokenised answers that differ in the label alone, such as
    /// `DECISION: BUY -` and `DECISION: SELL -`: what all begin with is the lead, what all end
    /// with is dropped, the rest are the labels.
    ///
    /// # Errors
    /// If fewer than two answers are given or a label has no token of its own.
    pub fn derive(answers: &[Vec<u32>]) -> Result<Self, ModelError> {
        let unusable = || ModelError::Unsupported {
            feature: "a tokenizer that does not tell the decisions apart".into(),
        };
        let [first, rest @ ..] = answers else {
            return Err(unusable());
        };
        if rest.is_empty() {
            return Err(unusable());
        }
        let common = |reverse: bool, limit: usize| {
            let at = |answer: &[u32], i: usize| {
                if reverse {
                    answer[answer.len() - 1 - i]
                } else {
                    answer[i]
                }
            };
            (0..limit)
                .take_while(|i| answers.iter().all(|answer| at(answer, *i) == at(first, *i)))
                .count()
        };
        let shortest = answers.iter().map(Vec::len).min().unwrap_or(0);
        let lead = common(false, shortest);
        let tail = common(true, shortest - lead);
        let labels: Vec<Vec<u32>> = answers
            .iter()
            .map(|answer| answer[lead..answer.len() - tail].to_vec())
            .collect();
        if labels.iter().any(Vec::is_empty) {
            return Err(unusable());
        }
        Ok(Self {
            lead: first[..lead].to_vec(),
            labels,
        })
    }
}

/// Returns for each prompt the log-probability of each label's tokens after prompt and lead.
///
/// Prompts that begin alike share that beginning's computation within a pass. `progress` receives
/// (prompts done, prompts in all).
///
/// # Errors
/// If a prompt is empty or too long, a token out of range, or `progress` asks to stop.
pub fn decisions(
    decoder: &Decoder,
    lora: Option<&Lora>,
    prompts: &[Vec<u32>],
    tokens: &DecisionTokens,
    progress: &mut dyn FnMut(usize, usize) -> ControlFlow<()>,
) -> Result<Vec<Vec<f64>>, ModelError> {
    let mut scores = Vec::with_capacity(prompts.len());
    for pass in prompts.chunks(PROMPTS_PER_PASS) {
        let full: Vec<Vec<u32>> = pass
            .iter()
            .map(|prompt| [&prompt[..], &tokens.lead[..]].concat())
            .collect();
        score_pass(decoder, lora, &full, &tokens.labels, &mut scores)?;
        if progress(scores.len(), prompts.len()).is_break() {
            return Err(ModelError::Interrupted);
        }
    }
    Ok(scores)
}

fn score_pass(
    decoder: &Decoder,
    lora: Option<&Lora>,
    prompts: &[Vec<u32>],
    labels: &[Vec<u32>],
    scores: &mut Vec<Vec<f64>>,
) -> Result<(), ModelError> {
    let views: Vec<&[u32]> = prompts.iter().map(Vec::as_slice).collect();
    if views.iter().any(|prompt| prompt.is_empty()) {
        return Err(ModelError::TooLong {
            needed: 0,
            limit: decoder.max_positions(),
        });
    }
    let limits = vec![usize::MAX; views.len()];
    let shared = shared_prefix(&views, &limits);
    let mut batch = Batch::default();
    if shared > 0 {
        batch.push(&views[0][..shared], 0, Vec::new(), 0);
    }
    let prefix = if shared > 0 {
        vec![0..shared]
    } else {
        Vec::new()
    };
    // For each prompt and label: the rows whose outputs predict the label's tokens.
    let mut rows = Vec::new();
    for prompt in &views {
        let start = batch.len();
        batch.push(&prompt[shared..], shared, prefix.clone(), 0);
        let last = batch.len() - 1;
        let mut context = prefix.clone();
        context.push(start..batch.len());
        for label in labels {
            rows.push(last);
            let inner = &label[..label.len() - 1];
            if !inner.is_empty() {
                let first = batch.len();
                batch.push(inner, prompt.len(), context.clone(), 0);
                rows.extend(first..batch.len());
            }
        }
    }
    let v = decoder.config().vocab_size;
    let logits = decoder.logits(lora, &batch, &rows)?;
    let mut predicted = logits.chunks_exact(v);
    for _ in &views {
        let mut of_prompt = Vec::with_capacity(labels.len());
        for label in labels {
            let mut sum = 0.0;
            for (token, row) in label.iter().zip(predicted.by_ref()) {
                sum += f64::from(row[*token as usize]) - f64::from(log_sum_exp(row));
            }
            of_prompt.push(sum);
        }
        scores.push(of_prompt);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn derives_lead_and_labels() {
        let answers = vec![vec![5, 6, 10, 7], vec![5, 6, 11, 12, 7], vec![5, 6, 13, 7]];
        let tokens = DecisionTokens::derive(&answers).unwrap();
        assert_eq!(tokens.lead, [5, 6]);
        assert_eq!(tokens.labels, [vec![10], vec![11, 12], vec![13]]);
    }

    #[test]
    fn refuses_labels_that_look_alike() {
        assert!(DecisionTokens::derive(&[vec![1, 2], vec![1, 2]]).is_err());
        assert!(DecisionTokens::derive(&[vec![1, 2]]).is_err());
    }
}
