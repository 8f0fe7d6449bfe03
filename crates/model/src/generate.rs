//! Greedy generation for several prompts at once, with a key/value cache.

use crate::ModelError;
use crate::batch::{Batch, shared_prefix};
use crate::decoder::Decoder;
use crate::forward::KeyValueCache;
use crate::lora::Lora;
use kernels::attention::Segment;
use kernels::cross_entropy::log_sum_exp;
use std::ops::ControlFlow;

/// Prompts decoded side by side.
const PROMPTS_PER_PASS: usize = 16;

/// One generated token with the alternatives it beat.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// The chosen token.
    pub token: u32,
    /// The most probable tokens with their log-probabilities, best first; the chosen one leads.
    pub top: Vec<(u32, f32)>,
}

/// The answer to one prompt.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Generated {
    /// Tokens in order; the stop token, if one was reached, is the last.
    pub steps: Vec<Step>,
    /// Whether a stop token ended it (and not the length limit).
    pub stopped: bool,
}

impl Generated {
    /// Returns the token ids without the stop token.
    pub fn tokens(&self) -> Vec<u32> {
        let keep = self.steps.len() - usize::from(self.stopped);
        self.steps[..keep].iter().map(|step| step.token).collect()
    }
}

/// Generates up to `max_new` tokens after each prompt, always taking the most probable one (the
/// lowest id on a tie), until a stop token. Keeps the `top` best alternatives of each step.
/// `progress` receives (prompts finished, prompts in all).
///
/// # Errors
/// If a prompt is empty or too long, a token out of range, or `progress` asks to stop.
pub fn greedy(
    decoder: &Decoder,
    lora: Option<&Lora>,
    prompts: &[Vec<u32>],
    max_new: usize,
    stop: &[u32],
    top: usize,
    progress: &mut dyn FnMut(usize, usize) -> ControlFlow<()>,
) -> Result<Vec<Generated>, ModelError> {
    let mut all = Vec::with_capacity(prompts.len());
    for pass in prompts.chunks(PROMPTS_PER_PASS) {
        let before = all.len();
        let mut report = |done: usize| progress(before + done, prompts.len());
        all.extend(greedy_pass(
            decoder,
            lora,
            pass,
            max_new,
            stop,
            top.max(1),
            &mut report,
        )?);
    }
    Ok(all)
}

/// One prompt's place in the cache.
struct Slot {
    prefix: usize,
    start: usize,
    /// Rows filled after the prefix.
    filled: usize,
}

fn greedy_pass(
    decoder: &Decoder,
    lora: Option<&Lora>,
    prompts: &[Vec<u32>],
    max_new: usize,
    stop: &[u32],
    top: usize,
    report: &mut dyn FnMut(usize) -> ControlFlow<()>,
) -> Result<Vec<Generated>, ModelError> {
    let views: Vec<&[u32]> = prompts.iter().map(Vec::as_slice).collect();
    if views.iter().any(|prompt| prompt.is_empty()) {
        return Err(ModelError::TooLong {
            needed: 0,
            limit: decoder.max_positions(),
        });
    }
    let shared = shared_prefix(&views, &vec![usize::MAX; views.len()]);
    let mut batch = Batch::default();
    let mut slots = Vec::with_capacity(views.len());
    let mut capacity = shared;
    if shared > 0 {
        batch.push(&views[0][..shared], 0, Vec::new(), 0);
    }
    let mut rows = Vec::with_capacity(views.len());
    for prompt in &views {
        let own = prompt.len() - shared;
        let context = if shared > 0 {
            vec![0..shared]
        } else {
            Vec::new()
        };
        let first_row = batch.len();
        batch.push(&prompt[shared..], shared, context, 0);
        // The cache leaves room behind each prompt for what it will generate.
        for (i, key_row) in batch.key_rows[first_row..].iter_mut().enumerate() {
            *key_row = capacity + i;
        }
        if let Some(segment) = batch.segments.last_mut() {
            segment.own = capacity..capacity + own;
        }
        slots.push(Slot {
            prefix: shared,
            start: capacity,
            filled: own,
        });
        capacity += own + max_new;
        rows.push(batch.len() - 1);
    }
    let mut cache = KeyValueCache::new(decoder, capacity);
    let mut answers = vec![Generated::default(); views.len()];
    let mut active: Vec<usize> = (0..views.len()).collect();
    let mut logits = decoder.logits_cached(lora, &batch, &mut cache, &rows)?;
    let v = decoder.config().vocab_size;
    for step in 0..max_new {
        for (index, row) in active.iter().zip(logits.chunks_exact(v)) {
            let best = best_tokens(row, top);
            let token = best[0].0;
            answers[*index].stopped = stop.contains(&token);
            answers[*index].steps.push(Step { token, top: best });
        }
        active.retain(|index| !answers[*index].stopped);
        if report(views.len() - active.len()).is_break() {
            return Err(ModelError::Interrupted);
        }
        if active.is_empty() || step + 1 == max_new {
            break;
        }
        let mut next = Batch::default();
        for index in &active {
            let slot = &mut slots[*index];
            let token = answers[*index].steps.last().map_or(0, |step| step.token);
            let row = next.len();
            next.push(&[token], slot.prefix + slot.filled, Vec::new(), 0);
            let at = slot.start + slot.filled;
            next.key_rows[row] = at;
            let mut context = Vec::with_capacity(2);
            if slot.prefix > 0 {
                context.push(0..slot.prefix);
            }
            context.push(slot.start..at);
            next.segments[row] = Segment {
                rows: row..row + 1,
                context,
                own: at..at + 1,
            };
            slot.filled += 1;
        }
        let rows: Vec<usize> = (0..next.len()).collect();
        logits = decoder.logits_cached(lora, &next, &mut cache, &rows)?;
    }
    Ok(answers)
}

/// Returns the `top` most probable tokens of a row of logits with log-probabilities, best first.
fn best_tokens(row: &[f32], top: usize) -> Vec<(u32, f32)> {
    let normaliser = log_sum_exp(row);
    let mut best: Vec<(u32, f32)> = Vec::with_capacity(top + 1);
    for (token, logit) in row.iter().enumerate() {
        if best.len() == top && best.last().is_some_and(|worst| *logit <= worst.1) {
            continue;
        }
        let at = best.partition_point(|other| other.1 >= *logit);
        best.insert(at, (token as u32, *logit));
        best.truncate(top);
    }
    for entry in &mut best {
        entry.1 -= normaliser;
    }
    best
}

#[cfg(test)]
mod tests {
    use super::best_tokens;

    #[test]
    fn best_tokens_are_sorted_and_ties_go_to_the_lowest_id() {
        let best = best_tokens(&[0.0, 2.0, 1.0, 2.0, -1.0], 3);
        assert_eq!(best.iter().map(|b| b.0).collect::<Vec<_>>(), [1, 3, 2]);
        let total: f32 = best_tokens(&[0.0, 2.0, 1.0, 2.0, -1.0], 5)
            .iter()
            .map(|b| b.1.exp())
            .sum();
        assert!((total - 1.0).abs() < 1e-6);
    }
}
