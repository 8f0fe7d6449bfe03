//! Generation for several prompts at once, with a key/value cache: greedy or sampled, free or held
//! to a form.

use crate::ModelError;
use crate::batch::Batch;
use crate::decoder::Decoder;
use crate::form::{Form, Progress};
use crate::forward::KeyValueCache;
use crate::lora::Lora;
use crate::prefix::{Limits, Node, Plan, push_cached};
use crate::sampling::Sampling;
use kernels::cross_entropy::log_sum_exp;
use std::ops::{ControlFlow, Range};

/// Prompts decoded side by side: a step of many costs little more than a step of one.
const PROMPTS_PER_PASS: usize = 16;
/// Rows of prompts computed in one forward pass.
const ROWS_PER_PASS: usize = 8192;

/// One generated token with the alternatives it was chosen from.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// The chosen token.
    pub token: u32,
    /// The most probable tokens with their log-probabilities before temperature, best first;
    /// greedy takes the first.
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

/// How to generate.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options<'a> {
    /// Tokens after each prompt at most.
    pub max_new: usize,
    /// Tokens that end an answer.
    pub stop: &'a [u32],
    /// Alternatives of each step to keep; at least the best one is.
    pub top: usize,
    /// How tokens are drawn; none takes the most probable one (the lowest id on a tie).
    pub sampling: Option<Sampling>,
    /// What every answer begins with.
    pub form: Option<&'a Form>,
}

/// Generates greedily up to `max_new` tokens after each prompt, until a stop token. Keeps the
/// `top` best alternatives of each step. `progress` receives (prompts finished, prompts in all).
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
    let options = Options {
        max_new,
        stop,
        top,
        ..Options::default()
    };
    generate(decoder, lora, prompts, &options, progress)
}

/// Generates an answer to each prompt. What prompts begin alike with is computed once for all.
/// `progress` receives (prompts finished, prompts in all).
///
/// # Errors
/// If a prompt is empty or too long, a token or a sampling setting out of range, `max_new` too
/// small for the form, or if `progress` asks to stop.
pub fn generate(
    decoder: &Decoder,
    lora: Option<&Lora>,
    prompts: &[Vec<u32>],
    options: &Options<'_>,
    progress: &mut dyn FnMut(usize, usize) -> ControlFlow<()>,
) -> Result<Vec<Generated>, ModelError> {
    if let Some(sampling) = &options.sampling {
        sampling.check()?;
    }
    if let Some(form) = options.form
        && options.max_new < form.longest()
    {
        let (max_new, longest) = (options.max_new, form.longest());
        let message = format!("it may take {longest} tokens, but only {max_new} are allowed");
        return Err(ModelError::Form { message });
    }
    let views: Vec<&[u32]> = prompts.iter().map(Vec::as_slice).collect();
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
            room: options.max_new,
        },
    );
    let mut run = Run {
        decoder,
        lora,
        options,
        cache: KeyValueCache::new(decoder, plan.capacity),
        answers: vec![Generated::default(); prompts.len()],
    };
    let mut before = 0;
    for pass in &plan.passes {
        let mut report = |done: usize| progress(before + done, prompts.len());
        before += run.pass(&views, pass, &mut report)?;
    }
    Ok(run.answers)
}

/// What all passes of a generation share.
struct Run<'a> {
    decoder: &'a Decoder,
    lora: Option<&'a Lora>,
    options: &'a Options<'a>,
    cache: KeyValueCache,
    answers: Vec<Generated>,
}

/// One prompt's place in the cache.
struct Slot {
    prompt: usize,
    /// Cache rows of prompt and answer so far.
    visible: Vec<Range<usize>>,
    /// Next position and its cache row.
    position: usize,
    row: usize,
    form: Progress,
}

impl Run<'_> {
    /// Generates the answers of one pass's prompts; returns how many they are.
    fn pass(
        &mut self,
        prompts: &[&[u32]],
        pass: &[Node],
        report: &mut dyn FnMut(usize) -> ControlFlow<()>,
    ) -> Result<usize, ModelError> {
        let mut batch = Batch::default();
        let mut slots = Vec::new();
        let mut rows = Vec::new();
        for node in pass {
            let tokens = &prompts[node.prompt][node.tokens.clone()];
            let (at, context) = (node.tokens.start, node.context.clone());
            push_cached(&mut batch, tokens, at, context, node.start);
            if node.leaf {
                rows.push(batch.len() - 1);
                slots.push(Slot {
                    prompt: node.prompt,
                    visible: node.visible(),
                    position: node.tokens.end,
                    row: node.own().end,
                    form: Form::begin(),
                });
            }
        }
        if rows.is_empty() {
            // Shared beginnings alone; the decoder wants some row all the same.
            rows.push(batch.len() - 1);
        }
        let all = slots.len();
        let mut logits = self.forward(&batch, &rows)?;
        for step in 0..self.options.max_new {
            let vocabulary = self.decoder.config().vocab_size;
            for (slot, row) in slots.iter_mut().zip(logits.chunks_exact_mut(vocabulary)) {
                self.choose(slot, step, row);
            }
            slots.retain(|slot| !self.answers[slot.prompt].stopped);
            if report(all - slots.len()).is_break() {
                return Err(ModelError::Interrupted);
            }
            if slots.is_empty() || step + 1 == self.options.max_new {
                break;
            }
            let mut next = Batch::default();
            for slot in &mut slots {
                let steps = &self.answers[slot.prompt].steps;
                let token = steps.last().map_or(0, |step| step.token);
                let context = slot.visible.clone();
                push_cached(&mut next, &[token], slot.position, context, slot.row);
                slot.position += 1;
                slot.row += 1;
                if let Some(last) = slot.visible.last_mut() {
                    last.end = slot.row;
                }
            }
            let rows: Vec<usize> = (0..next.len()).collect();
            logits = self.forward(&next, &rows)?;
        }
        Ok(all)
    }

    fn forward(&mut self, batch: &Batch, rows: &[usize]) -> Result<Vec<f32>, ModelError> {
        self.decoder
            .logits_cached(self.lora, batch, &mut self.cache, rows)
    }

    /// Chooses a prompt's next token from its logits.
    fn choose(&mut self, slot: &mut Slot, step: usize, logits: &mut [f32]) {
        if let Some(form) = self.options.form {
            form.mask(&slot.form, logits);
        }
        let top = best_tokens(logits, self.options.top.max(1));
        let token = match &self.options.sampling {
            Some(sampling) => sampling.draw(logits, slot.prompt, step),
            None => top.first().map_or(0, |best| best.0),
        };
        if let Some(form) = self.options.form {
            form.advance(&mut slot.form, token);
        }
        let answer = &mut self.answers[slot.prompt];
        answer.stopped = self.options.stop.contains(&token);
        answer.steps.push(Step { token, top });
    }
}

/// Returns the `top` most probable tokens of a row of logits with log-probabilities, best first.
fn best_tokens(row: &[f32], top: usize) -> Vec<(u32, f32)> {
    let normaliser = log_sum_exp(row);
    let mut best: Vec<(u32, f32)> = Vec::with_capacity(top + 1);
    for (token, logit) in row.iter().enumerate() {
        // A token that a form excludes is no alternative.
        if *logit == f32::NEG_INFINITY {
            continue;
        }
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
