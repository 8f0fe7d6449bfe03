//! Decision scoring without generating: log-probabilities of label tokens after a prompt.

use crate::ModelError;
use crate::batch::Batch;
use crate::decoder::Decoder;
use crate::forward::KeyValueCache;
use crate::lora::Lora;
use crate::prefix::{Limits, Node, Plan, push_cached};
use kernels::cross_entropy::log_sum_exp;
use std::ops::ControlFlow;

/// Rows computed in one forward pass: enough to keep the matrix products busy, few enough for the
/// activations of a large model.
const ROWS_PER_PASS: usize = 1024;
/// Prompts scored in one forward pass; each takes rows of logits as wide as the vocabulary.
const PROMPTS_PER_PASS: usize = 64;

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
/// What prompts begin alike with is computed once for all of them, wherever they stand in the
/// list. `progress` receives (prompts done, prompts in all).
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
    let full: Vec<Vec<u32>> = prompts
        .iter()
        .map(|prompt| [&prompt[..], &tokens.lead[..]].concat())
        .collect();
    let views: Vec<&[u32]> = full.iter().map(Vec::as_slice).collect();
    if views.iter().any(|prompt| prompt.is_empty()) {
        return Err(ModelError::TooLong {
            needed: 0,
            limit: decoder.max_positions(),
        });
    }
    let plan = Plan::new(
        &views,
        Limits {
            rows: ROWS_PER_PASS,
            prompts: PROMPTS_PER_PASS,
            room: tokens.labels.iter().map(|label| label.len() - 1).sum(),
        },
    );
    let mut cache = KeyValueCache::new(decoder, plan.capacity);
    let mut scores = vec![Vec::new(); prompts.len()];
    let mut done = 0;
    for pass in &plan.passes {
        score_pass(
            decoder,
            lora,
            &mut cache,
            (&views, &tokens.labels),
            pass,
            &mut scores,
        )?;
        done += pass.iter().filter(|node| node.leaf).count();
        if progress(done, prompts.len()).is_break() {
            return Err(ModelError::Interrupted);
        }
    }
    Ok(scores)
}

fn score_pass(
    decoder: &Decoder,
    lora: Option<&Lora>,
    cache: &mut KeyValueCache,
    (prompts, labels): (&[&[u32]], &[Vec<u32>]),
    pass: &[Node],
    scores: &mut [Vec<f64>],
) -> Result<(), ModelError> {
    let mut batch = Batch::default();
    // The rows whose outputs are needed, each once; and for each prompt and label, which of them
    // predict the label's tokens.
    let mut rows = Vec::new();
    let mut predicting: Vec<(usize, Vec<Vec<usize>>)> = Vec::new();
    for node in pass {
        let tokens = &prompts[node.prompt][node.tokens.clone()];
        let (at, context) = (node.tokens.start, node.context.clone());
        push_cached(&mut batch, tokens, at, context, node.start);
        if !node.leaf {
            continue;
        }
        let last = rows.len();
        rows.push(batch.len() - 1);
        let mut free = node.own().end;
        let mut of_prompt = Vec::with_capacity(labels.len());
        for label in labels {
            let mut of_label = vec![last];
            let inner = &label[..label.len() - 1];
            if !inner.is_empty() {
                let first = push_cached(&mut batch, inner, node.tokens.end, node.visible(), free);
                free += inner.len();
                for row in first..batch.len() {
                    of_label.push(rows.len());
                    rows.push(row);
                }
            }
            of_prompt.push(of_label);
        }
        predicting.push((node.prompt, of_prompt));
    }
    if rows.is_empty() {
        // A pass of shared beginnings alone fills the cache; the decoder wants some row all the
        // same.
        rows.push(batch.len() - 1);
    }
    let logits = decoder.logits_cached(lora, &batch, cache, &rows)?;
    let vocabulary = decoder.config().vocab_size;
    let normalisers: Vec<f64> = logits
        .chunks_exact(vocabulary)
        .map(|row| f64::from(log_sum_exp(row)))
        .collect();
    for (prompt, of_prompt) in predicting {
        scores[prompt] = labels
            .iter()
            .zip(of_prompt)
            .map(|(label, of_label)| {
                let each = label.iter().zip(of_label).map(|(token, row)| {
                    f64::from(logits[row * vocabulary + *token as usize]) - normalisers[row]
                });
                each.sum()
            })
            .collect();
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
