//! Cuts a batch of examples into forward passes that fit a token budget.

use crate::packing::{Item, pack};
use model::batch::Batch;
use model::{Encoded, Target};
use std::ops::Range;

/// One forward pass: rows, and what is to be predicted. The targets' weights are relative; the
/// trainer divides them by the whole batch's sum.
pub(crate) struct MicroBatch {
    pub(crate) batch: Batch,
    pub(crate) targets: Vec<Target>,
}

/// Where the decision's own tokens stand in an answer, relative to its first token, and the loss
/// weight they carry.
#[derive(Clone, Copy)]
pub(crate) struct DecisionWeight<'a> {
    pub(crate) weight: f64,
    pub(crate) span: &'a dyn Fn(&Encoded) -> Range<usize>,
}

/// Distributes `examples` (with a key each for dropout) over passes of at most `budget` rows, or one
/// example where it alone exceeds the budget.
pub(crate) fn cut(
    examples: &[(&Encoded, u64)],
    budget: usize,
    decision: DecisionWeight<'_>,
) -> Vec<MicroBatch> {
    let (views, limits) = views(examples);
    let items: Vec<Item<'_>> = views
        .iter()
        .zip(&limits)
        .map(|(view, limit)| Item {
            shareable: &view[..(*limit).min(view.len().saturating_sub(1))],
            rows: view.len(),
        })
        .collect();
    pack(&items, budget)
        .iter()
        .map(|members| {
            let members: Vec<(&Encoded, u64)> = members.iter().map(|i| examples[*i]).collect();
            build(&members, decision)
        })
        .collect()
}

fn views<'a>(examples: &[(&'a Encoded, u64)]) -> (Vec<&'a [u32]>, Vec<usize>) {
    examples
        .iter()
        .map(|(example, _)| {
            // The last token predicts nothing and is left out.
            let inputs = &example.tokens[..example.tokens.len() - 1];
            (inputs, example.prompt_len.saturating_sub(1))
        })
        .unzip()
}

/// Lays out one pass.
pub(crate) fn build(examples: &[(&Encoded, u64)], decision: DecisionWeight<'_>) -> MicroBatch {
    let (views, limits) = views(examples);
    let keys: Vec<u64> = examples.iter().map(|(_, key)| *key).collect();
    let (batch, placements) = Batch::with_shared_prefix(&views, &limits, &keys);
    let mut targets = Vec::new();
    for ((example, _), place) in examples.iter().zip(&placements) {
        let span = (decision.span)(example);
        for position in 1..example.tokens.len() {
            if example.supervised[position] {
                let weight = if span.contains(&position) {
                    decision.weight
                } else {
                    1.0
                };
                targets.push(Target {
                    row: place.row(position - 1),
                    token: example.tokens[position],
                    weight: weight as f32,
                });
            }
        }
    }
    MicroBatch { batch, targets }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example(prompt: usize, answer: usize, stem: u32) -> Encoded {
        let tokens: Vec<u32> = (0..(prompt + answer) as u32)
            .map(|t| if t < 6 { t } else { t * stem })
            .collect();
        Encoded {
            id: String::new(),
            supervised: (0..tokens.len()).map(|t| t >= prompt).collect(),
            tokens,
            prompt_len: prompt,
        }
    }

    #[test]
    fn passes_hold_the_budget_and_every_target_once() {
        let examples: Vec<Encoded> = (0..24)
            .map(|i| example(3 + i * 5 % 17, 1 + i % 4, i as u32 % 3))
            .collect();
        let keyed: Vec<(&Encoded, u64)> = examples.iter().map(|e| (e, 0)).collect();
        let decision = DecisionWeight {
            weight: 2.0,
            span: &|example| example.prompt_len..example.prompt_len + 1,
        };
        let mut counts = Vec::new();
        for budget in [1, 30, 60, 10_000] {
            let passes = cut(&keyed, budget, decision);
            for pass in &passes {
                let alone = pass.batch.segments.len() == 1;
                assert!(pass.batch.len() <= budget || alone, "{budget}");
            }
            let targets = passes.iter().flat_map(|pass| &pass.targets);
            let (mut tokens, weight) = targets.fold((Vec::new(), 0.0), |(mut all, sum), t| {
                all.push(t.token);
                (all, sum + t.weight)
            });
            tokens.sort_unstable();
            let mut expected: Vec<u32> = examples
                .iter()
                .flat_map(|e| e.tokens[e.prompt_len..].to_vec())
                .collect();
            expected.sort_unstable();
            assert_eq!(tokens, expected, "{budget}");
            assert_eq!(weight as usize, expected.len() + examples.len());
            counts.push(passes.len());
        }
        assert!(
            counts[0] == 24 && counts[1] > counts[2] && counts[3] == 1,
            "{counts:?}"
        );
    }
}
