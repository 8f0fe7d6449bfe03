//! Decision scoring of several arms at once: one base in memory, one pass over its weights, and
//! every arm's own low-rank side path, keys and values.
//!
//! The rows of all arms lie in one batch, arm after arm. A frozen matrix meets all of them in one
//! product, so it is read and unpacked once; a side path meets the rows of its arm alone. Hidden
//! states differ from the first adapted layer on, so no key and no value of one arm is ever seen
//! by another: each has its own rows of the cache, and its segments name no others.
//!
//! What all prompts begin with (instruction, system prompt) is computed once for each arm and kept
//! for the next call.

use std::ops::Range;

use kernels::cross_entropy::log_sum_exp;
use kernels::matmul::{Mat, MatMut, Write, matmul_parallel, matmul_weight};
use kernels::operand::Side;

use crate::ModelError;
use crate::batch::Batch;
use crate::decoder::{Decoder, Linear};
use crate::forward::KeyValueCache;
use crate::linear::LowRank;
use crate::lora::Lora;
use crate::prefix::push_cached;
use crate::score::DecisionTokens;

/// Rows computed in one forward pass, unless one prompt needs more.
const ROWS_PER_PASS: usize = 1024;

/// Arms that are asked the same prompts.
pub struct Arms {
    adapters: Vec<Option<Lora>>,
    tokens: DecisionTokens,
    prefix: Vec<u32>,
    cache: Option<Cache>,
}

impl std::fmt::Debug for Arms {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Arms")
            .field("arms", &self.adapters.len())
            .field("prefix", &self.prefix.len())
            .finish_non_exhaustive()
    }
}

/// The prefix of every arm, then room for the rest of the prompts.
struct Cache {
    rows: KeyValueCache,
    capacity: usize,
}

/// The rows of one arm in a batch.
#[derive(Clone, Debug)]
pub(crate) struct ArmRows<'a> {
    pub(crate) lora: Option<&'a Lora>,
    pub(crate) rows: Range<usize>,
}

/// One arm's answer to one prompt: which rows predict each label's tokens.
struct Asked {
    arm: usize,
    prompt: usize,
    labels: Vec<Vec<usize>>,
}

impl Arms {
    /// Takes the arms; none stands for the base model itself. `prefix` are tokens that prompts are
    /// expected to begin with; a prompt that does not is computed whole.
    pub fn new(arms: Vec<Option<Lora>>, tokens: DecisionTokens, prefix: Vec<u32>) -> Self {
        Self {
            adapters: arms,
            tokens,
            prefix,
            cache: None,
        }
    }

    /// Returns the number of arms.
    pub fn len(&self) -> usize {
        self.adapters.len()
    }

    /// Reports whether there is no arm.
    pub fn is_empty(&self) -> bool {
        self.adapters.is_empty()
    }

    /// Returns an arm's adapter; none for the base model itself.
    pub fn adapter(&self, arm: usize) -> Option<&Lora> {
        self.adapters.get(arm)?.as_ref()
    }

    /// Returns the log-probability of each label's tokens after each prompt, by arm:
    /// [arms][prompts][labels].
    ///
    /// # Errors
    /// If a prompt is empty or too long, or a token out of range.
    pub fn score(
        &mut self,
        decoder: &Decoder,
        prompts: &[Vec<u32>],
    ) -> Result<Vec<Vec<Vec<f64>>>, ModelError> {
        if prompts.iter().any(Vec::is_empty) {
            return Err(ModelError::TooLong {
                needed: 0,
                limit: decoder.max_positions(),
            });
        }
        let full: Vec<Vec<u32>> = prompts
            .iter()
            .map(|prompt| [&prompt[..], &self.tokens.lead[..]].concat())
            .collect();
        let needed: Vec<usize> = full.iter().map(|prompt| self.rows_of(prompt)).collect();
        let largest = needed.iter().max().copied().unwrap_or(0);
        self.make_room(decoder, largest.max(ROWS_PER_PASS))?;
        let mut scores = vec![vec![Vec::new(); prompts.len()]; self.adapters.len()];
        let mut first = 0;
        while first < full.len() {
            let mut rows = 0;
            let fits = needed[first..].iter().take_while(|own| {
                rows += **own;
                rows <= ROWS_PER_PASS
            });
            let count = fits.count().max(1);
            self.pass(decoder, &full, first..first + count, &mut scores)?;
            first += count;
        }
        Ok(scores)
    }

    /// Returns the rows that all arms need for a prompt with its labels.
    fn rows_of(&self, prompt: &[u32]) -> usize {
        let labels: usize = self.tokens.labels.iter().map(|label| label.len() - 1).sum();
        self.adapters.len() * (prompt.len() - self.kept(prompt) + labels)
    }

    /// Returns how many of a prompt's tokens are in the cache already.
    fn kept(&self, prompt: &[u32]) -> usize {
        let begins = prompt.len() > self.prefix.len() && prompt.starts_with(&self.prefix);
        if begins { self.prefix.len() } else { 0 }
    }

    /// Makes the cache, and computes the prefix of every arm in one pass.
    fn make_room(&mut self, decoder: &Decoder, rows: usize) -> Result<(), ModelError> {
        let capacity = self.adapters.len() * self.prefix.len() + rows;
        if self.cache.as_ref().is_some_and(|c| c.capacity >= capacity) {
            return Ok(());
        }
        let mut cache = KeyValueCache::new(decoder, capacity);
        let width = self.prefix.len();
        if width > 0 && !self.adapters.is_empty() {
            let mut batch = Batch::default();
            let mut sides = Vec::with_capacity(self.adapters.len());
            for (arm, lora) in self.adapters.iter().enumerate() {
                let first = push_cached(&mut batch, &self.prefix, 0, Vec::new(), arm * width);
                sides.push(ArmRows {
                    lora: lora.as_ref(),
                    rows: first..batch.len(),
                });
            }
            // The decoder wants some row's output; nobody looks at it.
            decoder.logits_of_arms(&sides, &batch, &mut cache, &[batch.len() - 1])?;
        }
        self.cache = Some(Cache {
            rows: cache,
            capacity,
        });
        Ok(())
    }

    fn pass(
        &mut self,
        decoder: &Decoder,
        prompts: &[Vec<u32>],
        chosen: Range<usize>,
        scores: &mut [Vec<Vec<f64>>],
    ) -> Result<(), ModelError> {
        let width = self.prefix.len();
        let mut free = self.adapters.len() * width;
        let mut batch = Batch::default();
        let mut sides = Vec::with_capacity(self.adapters.len());
        let mut wanted = Vec::new();
        let mut asked = Vec::new();
        for (arm, lora) in self.adapters.iter().enumerate() {
            let begin = batch.len();
            for prompt in chosen.clone() {
                let tokens = &prompts[prompt];
                let kept = self.kept(tokens);
                let mut context = Vec::with_capacity(2);
                if kept > 0 {
                    context.push(arm * width..arm * width + kept);
                }
                let own = &tokens[kept..];
                push_cached(&mut batch, own, kept, context.clone(), free);
                context.push(free..free + own.len());
                free += own.len();
                let last = wanted.len();
                wanted.push(batch.len() - 1);
                let mut labels = Vec::with_capacity(self.tokens.labels.len());
                for label in &self.tokens.labels {
                    let mut rows = vec![last];
                    let inner = &label[..label.len() - 1];
                    if !inner.is_empty() {
                        let at = tokens.len();
                        let first = push_cached(&mut batch, inner, at, context.clone(), free);
                        free += inner.len();
                        for row in first..batch.len() {
                            rows.push(wanted.len());
                            wanted.push(row);
                        }
                    }
                    labels.push(rows);
                }
                asked.push(Asked {
                    arm,
                    prompt,
                    labels,
                });
            }
            sides.push(ArmRows {
                lora: lora.as_ref(),
                rows: begin..batch.len(),
            });
        }
        let Some(cache) = &mut self.cache else {
            return Ok(());
        };
        let logits = decoder.logits_of_arms(&sides, &batch, &mut cache.rows, &wanted)?;
        let vocabulary = decoder.config().vocab_size;
        let normalisers: Vec<f64> = logits
            .chunks_exact(vocabulary)
            .map(|row| f64::from(log_sum_exp(row)))
            .collect();
        for Asked {
            arm,
            prompt,
            labels,
        } in asked
        {
            let pairs = self.tokens.labels.iter().zip(labels);
            scores[arm][prompt] = pairs
                .map(|(label, rows)| {
                    let each = label.iter().zip(rows).map(|(token, row)| {
                        f64::from(logits[row * vocabulary + *token as usize]) - normalisers[row]
                    });
                    each.sum()
                })
                .collect();
        }
        Ok(())
    }
}

/// Computes y (+)= x W^T + bias + the side path of each row's arm. Shapes: x [T, inputs],
/// y [T, outputs]; the rows of the sides do not overlap.
///
/// The side paths stand side by side in one product, [T, sum of R] times [sum of R, outputs], with
/// zeros where a row is another arm's: adding those changes nothing.
pub(crate) fn linear_forward_arms(
    linear: &Linear,
    sides: &[(Range<usize>, LowRank<'_>)],
    x: &[f32],
    y: &mut [f32],
    write: Write,
) {
    let (t, inputs) = (x.len() / linear.inputs, linear.inputs);
    let width: usize = sides.iter().map(|(_, side)| side.rank).sum();
    let mut z = vec![0.0; t * width];
    let mut b = vec![0.0; linear.outputs * width];
    let mut column = 0;
    for (rows, side) in sides {
        if !rows.is_empty() {
            let own = &x[rows.start * inputs..rows.end * inputs];
            let a = Mat::dense(&side.pair.a, side.rank, inputs);
            let place = &mut z[rows.start * width + column..];
            let mut view = MatMut::new(place, rows.len(), side.rank, width);
            let own = Mat::dense(own, rows.len(), inputs);
            matmul_parallel(&mut view, Write::Set, side.scale, own, a.t());
        }
        for (to, from) in b
            .chunks_exact_mut(width)
            .zip(side.pair.b.chunks_exact(side.rank))
        {
            to[column..column + side.rank].copy_from_slice(from);
        }
        column += side.rank;
    }
    let low_rank = (width > 0).then(|| {
        let b = Mat::dense(&b, linear.outputs, width);
        (Mat::dense(&z, t, width), b.t())
    });
    matmul_weight(
        &mut MatMut::dense(y, t, linear.outputs),
        write,
        Mat::dense(x, t, inputs),
        (&linear.weight, Side::Transposed),
        low_rank,
        linear.precision,
    );
    if let Some(bias) = &linear.bias {
        kernels::elementwise::add_bias(y, bias);
    }
}
