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
