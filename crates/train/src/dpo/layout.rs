//! How pairs are laid out in forward passes: both answers of a pair attend to one copy of their
//! prompt, and prompts that begin alike share their beginning.

use super::loss::Scores;
use crate::packing::{Item, pack};
use model::batch::{Batch, shared_prefix};
use model::{Encoded, Target};
use std::ops::Range;

/// A prompt with two answers; both conversations begin with the same prompt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    /// The pair's id.
    pub id: String,
    /// Prompt and preferred answer.
    pub chosen: Encoded,
    /// Prompt and the other answer.
    pub rejected: Encoded,
}

impl Pair {
    /// Returns the tokens of both conversations in full.
    pub(crate) fn tokens(&self) -> usize {
        self.chosen.tokens.len() + self.rejected.tokens.len()
    }
}

/// One forward pass over some pairs.
pub(crate) struct Pass {
    pub(crate) batch: Batch,
    pub(crate) targets: Vec<Target>,
    /// For each pair its place in the batch of pairs and the targets of its two answers.
    pub(crate) answers: Vec<(usize, Range<usize>, Range<usize>)>,
}

impl Pass {
    /// Sums a loss per target into scores per pair.
    pub(crate) fn scores(&self, losses: &[f32]) -> impl Iterator<Item = (usize, Scores)> {
        let total = |range: &Range<usize>| -> f64 {
            -losses[range.clone()]
                .iter()
                .map(|l| f64::from(*l))
                .sum::<f64>()
        };
        self.answers
            .iter()
            .map(|(index, chosen, rejected)| {
                let scores = Scores {
                    chosen: total(chosen),
                    rejected: total(rejected),
                };
                (*index, scores)
            })
            .collect::<Vec<_>>()
            .into_iter()
    }
}

/// Returns the tokens whose rows are computed: the last one predicts nothing.
fn inputs(example: &Encoded) -> &[u32] {
    &example.tokens[..example.tokens.len() - 1]
}

/// Returns how many leading tokens the two conversations of a pair share; each keeps a row of its
/// own.
fn shared_in(pair: &Pair) -> usize {
    let views = [inputs(&pair.chosen), inputs(&pair.rejected)];
    shared_prefix(&views, &[usize::MAX; 2])
}

/// Distributes pairs over passes of at most `budget` rows, or one pair where it alone exceeds it.
pub(crate) fn passes(pairs: &[(&Pair, u64)], budget: usize) -> Vec<Pass> {
    let items: Vec<Item<'_>> = pairs
        .iter()
        .map(|(pair, _)| {
            let shared = shared_in(pair);
            Item {
                shareable: &inputs(&pair.chosen)[..shared.saturating_sub(1)],
                rows: inputs(&pair.chosen).len() + inputs(&pair.rejected).len() - shared,
            }
        })
        .collect();
    let members = pack(&items, budget);
    members
        .iter()
        .map(|members| lay_out(pairs, members))
        .collect()
}

/// Lays out pairs: what all share, then for each pair the rest of its prompt and two answers.
fn lay_out(pairs: &[(&Pair, u64)], members: &[usize]) -> Pass {
    let prompts: Vec<&[u32]> = members
        .iter()
        .map(|index| pairs[*index].0)
        .map(|pair| &inputs(&pair.chosen)[..shared_in(pair)])
        .collect();
    let common = shared_prefix(&prompts, &vec![usize::MAX; prompts.len()]);
    let mut batch = Batch::default();
    let mut targets = Vec::new();
    let mut answers = Vec::with_capacity(members.len());
    if common > 0 {
        batch.push(&prompts[0][..common], 0, Vec::new(), 0);
    }
    let beginning = 0..common;
    for (index, prompt) in members.iter().zip(&prompts) {
        let (pair, key) = &pairs[*index];
        let mut context = Vec::with_capacity(2);
        if common > 0 {
            context.push(beginning.clone());
        }
        let middle = batch.len();
        if prompt.len() > common {
            batch.push(&prompt[common..], common, context.clone(), *key);
            context.push(middle..batch.len());
        }
        let mut answer = |example: &Encoded, key: u64| {
            let start = batch.len();
            batch.push(
                &inputs(example)[prompt.len()..],
                prompt.len(),
                context.clone(),
                key,
            );
            let from = targets.len();
            for position in (1..example.tokens.len()).filter(|i| example.supervised[*i]) {
                let predicting = position - 1;
                let row = if predicting < common {
                    predicting
                } else if predicting < prompt.len() {
                    middle + predicting - common
                } else {
                    start + predicting - prompt.len()
                };
                targets.push(Target {
                    row,
                    token: example.tokens[position],
                    weight: 1.0,
                });
            }
            from..targets.len()
        };
        let chosen = answer(&pair.chosen, *key);
        let rejected = answer(&pair.rejected, !*key);
        answers.push((*index, chosen, rejected));
    }
    Pass {
        batch,
        targets,
        answers,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(tokens: &[u32], prompt: usize) -> Encoded {
        Encoded {
            id: "x".into(),
            tokens: tokens.to_vec(),
            supervised: (0..tokens.len()).map(|i| i >= prompt).collect(),
            prompt_len: prompt,
        }
    }

    fn pair(chosen: &[u32], rejected: &[u32], prompt: usize) -> Pair {
        Pair {
            id: "x".into(),
            chosen: encoded(chosen, prompt),
            rejected: encoded(rejected, prompt),
        }
    }

    #[test]
    fn lays_out_prompt_and_answers_once() {
        let pairs = [
            pair(&[1, 2, 3, 7, 8], &[1, 2, 3, 9, 8, 8], 3),
            pair(&[1, 2, 4, 7, 8], &[1, 2, 4, 7, 5], 3),
        ];
        let keyed: Vec<(&Pair, u64)> = pairs.iter().map(|p| (p, 0)).collect();
        let all = passes(&keyed, 1000);
        assert_eq!(all.len(), 1);
        let pass = &all[0];
        // [1 2], then [3 | 7 | 9 8], then [4 7 ...]: the second pair shares its first answer token
        // but keeps one row of each answer.
        assert_eq!(pass.batch.tokens, [1, 2, 3, 7, 9, 8, 4, 7, 7]);
        assert_eq!(pass.batch.positions, [0, 1, 2, 3, 3, 4, 2, 3, 3]);
        let predicts: Vec<(usize, u32)> = pass.targets.iter().map(|t| (t.row, t.token)).collect();
        let first = [(2, 7), (3, 8), (2, 9), (4, 8), (5, 8)];
        assert_eq!(predicts[..5], first);
        assert_eq!(predicts[5..], [(6, 7), (7, 8), (6, 7), (8, 5)]);
        assert_eq!(passes(&keyed, 6).len(), 2);
    }

    #[test]
    fn passes_hold_the_budget_and_every_pair_once() {
        let pairs: Vec<Pair> = (0..20u32)
            .map(|i| {
                let prompt: Vec<u32> = (0..3 + i * 5 % 13).map(|t| t * (1 + i % 2)).collect();
                let with = |answer: &[u32]| [&prompt[..], answer].concat();
                pair(&with(&[90, i, 2]), &with(&[91, 2]), prompt.len())
            })
            .collect();
        let keyed: Vec<(&Pair, u64)> = pairs.iter().map(|p| (p, 0)).collect();
        for budget in [1, 25, 50, 10_000] {
            let all = passes(&keyed, budget);
            let mut seen = Vec::new();
            for pass in &all {
                let one = pass.answers.len() == 1;
                assert!(pass.batch.len() <= budget || one, "{budget}");
                seen.extend(pass.answers.iter().map(|(index, ..)| *index));
                for (index, chosen, rejected) in &pass.answers {
                    let tokens = |range: &Range<usize>| -> Vec<u32> {
                        pass.targets[range.clone()]
                            .iter()
                            .map(|t| t.token)
                            .collect()
                    };
                    assert_eq!(tokens(chosen), [90, *index as u32, 2]);
                    assert_eq!(tokens(rejected), [91, 2]);
                }
            }
            seen.sort_unstable();
            assert_eq!(seen, (0..20).collect::<Vec<_>>());
        }
    }
}
