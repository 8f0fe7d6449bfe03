//! The forward pass: for training (activations kept for the backward pass) and for inference
//! (keys and values kept in a cache).
//!
//! Dimensions: T rows, C hidden, F feed-forward, H query heads, G key/value heads, D head width.

use crate::ModelError;
use crate::arms::{ArmRows, linear_forward_arms};
use crate::batch::Batch;
use crate::decoder::Decoder;
use crate::linear::{LowRank, linear_forward};
use crate::lora::{Lora, Projection};
use kernels::attention::attention_forward;
use kernels::elementwise::{Dropout, mix64};
use kernels::matmul::{Mat, MatMut, Write, matmul_weight};
use kernels::norm::rms_norm_forward;
use kernels::operand::Side;
use kernels::rotary::Turn;
use kernels::swiglu::swiglu_forward;
use std::sync::{Mutex, MutexGuard, PoisonError};
use weights::ModelConfig;

/// What one layer keeps for its backward pass; shapes in the field notes.
#[derive(Default)]
pub(crate) struct Saved {
    /// Residual stream on entry [T, C].
    pub(crate) x: Vec<f32>,
    pub(crate) rstd_attention: Vec<f32>,
    /// Rotated queries [T, H*D] and keys [T, G*D], values [T, G*D].
    pub(crate) q: Vec<f32>,
    pub(crate) k: Vec<f32>,
    pub(crate) v: Vec<f32>,
    /// Queries and keys before the norm over each head, and its reciprocal root mean squares
    /// [T*H] and [T*G]; empty where the family has no such norm.
    pub(crate) raw: [Vec<f32>; 2],
    pub(crate) rstd_heads: [Vec<f32>; 2],
    /// Attention output before its projection [T, H*D], and log-sum-exp [T, H].
    pub(crate) attention: Vec<f32>,
    pub(crate) lse: Vec<f32>,
    /// Residual stream after attention [T, C].
    pub(crate) middle: Vec<f32>,
    pub(crate) rstd_feed_forward: Vec<f32>,
    /// Gate and up projections [T, F].
    pub(crate) gate: Vec<f32>,
    pub(crate) up: Vec<f32>,
    /// Low-rank activations of each projection [T, R].
    pub(crate) z: [Vec<f32>; 7],
}

impl Saved {
    /// Gives every buffer but those that are filled by copying its size for `t` rows. What a
    /// buffer held is not cleared: all of it is overwritten.
    fn fit(&mut self, config: &ModelConfig, t: usize) {
        let queries = t * config.num_heads * config.head_dim;
        let keys = t * config.num_kv_heads * config.head_dim;
        for (buffer, length) in [
            (&mut self.rstd_attention, t),
            (&mut self.q, queries),
            (&mut self.k, keys),
            (&mut self.v, keys),
            (&mut self.attention, queries),
            (&mut self.lse, t * config.num_heads),
            (&mut self.rstd_feed_forward, t),
            (&mut self.gate, t * config.intermediate_size),
            (&mut self.up, t * config.intermediate_size),
        ] {
            // A buffer that is too small goes before the larger one comes: growing it would hold
            // both, and leave the smaller one's place unused.
            if buffer.capacity() < length {
                *buffer = Vec::new();
            }
            buffer.resize(length, 0.0);
        }
    }
}

/// Layers' buffers between two passes. Fresh memory costs a page fault every 4 KiB, which came to
/// a twentieth of a training step.
#[derive(Default)]
pub(crate) struct Pool(Mutex<Vec<Saved>>);

impl Pool {
    fn take(&self) -> Saved {
        self.list().pop().unwrap_or_default()
    }

    /// Keeps a layer's buffers for the next pass.
    pub(crate) fn give(&self, saved: Saved) {
        self.list().push(saved);
    }

    /// Frees everything; scoring needs other sizes than training.
    pub(crate) fn clear(&self) {
        self.list().clear();
    }

    fn list(&self) -> MutexGuard<'_, Vec<Saved>> {
        // A list of buffers is in order whatever happened to its last user.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Activations of a whole forward pass: every layer's, or every layer's input alone.
#[derive(Default)]
pub(crate) struct Activations {
    pub(crate) layers: Vec<Saved>,
    pub(crate) inputs: Vec<Vec<f32>>,
}

/// Buffers of one layer's forward pass, used again by the next layer.
#[derive(Default)]
pub(crate) struct Scratch {
    normed: Vec<f32>,
    product: Vec<f32>,
}

/// Which layer is computed, and how.
#[derive(Clone, Copy)]
struct Run<'a> {
    index: usize,
    adapted: Option<Adapted<'a>>,
    /// The rows of several arms; empty where all rows have the one adapter.
    arms: &'a [ArmRows<'a>],
    batch: &'a Batch,
    part: Part,
}

/// How much of a layer is computed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    /// All of it.
    Whole,
    /// What its backward pass needs; the residual stream after it is not.
    ForBackward,
}

/// Keys and values of rows already computed, layer by layer: [rows, G*D] each.
#[derive(Debug)]
pub struct KeyValueCache {
    keys: Vec<Vec<f32>>,
    values: Vec<Vec<f32>>,
}

impl KeyValueCache {
    /// Makes room for `rows` rows of `decoder`.
    pub fn new(decoder: &Decoder, rows: usize) -> Self {
        let width = decoder.config().num_kv_heads * decoder.config().head_dim;
        let layers = decoder.config().num_layers;
        Self {
            keys: (0..layers).map(|_| vec![0.0; rows * width]).collect(),
            values: (0..layers).map(|_| vec![0.0; rows * width]).collect(),
        }
    }
}

/// An adapter in use, with its dropout when training.
#[derive(Clone, Copy, Debug)]
pub struct Adapted<'a> {
    /// The adapter.
    pub lora: &'a Lora,
    /// Seed of this step's dropout masks; none means no dropout.
    pub dropout_seed: Option<u64>,
}

impl<'a> Adapted<'a> {
    /// Uses the adapter without dropout.
    pub fn plain(lora: &'a Lora) -> Self {
        Self {
            lora,
            dropout_seed: None,
        }
    }

    pub(crate) fn side(&self, layer: usize, projection: Projection) -> Option<LowRank<'a>> {
        let pair = self.lora.pair(layer, projection)?;
        let probability = self.lora.settings.dropout as f32;
        let dropout = self
            .dropout_seed
            .filter(|_| probability > 0.0)
            .map(|seed| Dropout {
                probability,
                key: mix64(seed ^ mix64((layer * 7 + projection as usize) as u64)),
            });
        Some(LowRank {
            pair,
            rank: self.lora.settings.rank,
            scale: self.lora.scale(),
            dropout,
        })
    }
}

/// What to do with keys, values and activations on the way.
pub(crate) enum Keep<'a> {
    /// Keep everything for a backward pass; keys are the batch's own rows.
    All(&'a mut Activations),
    /// Keep every layer's input, from which its backward pass computes the rest again.
    Inputs(&'a mut Activations),
    /// Keep nothing; keys are the batch's own rows.
    Nothing,
    /// Write keys and values into the cache at the batch's `key_rows` and attend to the cache.
    Cache(&'a mut KeyValueCache),
}

impl Decoder {
    /// Computes the residual stream after the last layer, before the final norm: [T, C].
    pub(crate) fn forward(
        &self,
        adapted: Option<Adapted<'_>>,
        batch: &Batch,
        keep: Keep<'_>,
    ) -> Result<Vec<f32>, ModelError> {
        self.forward_with(adapted, &[], batch, keep)
    }

    fn forward_with(
        &self,
        adapted: Option<Adapted<'_>>,
        arms: &[ArmRows<'_>],
        batch: &Batch,
        mut keep: Keep<'_>,
    ) -> Result<Vec<f32>, ModelError> {
        self.check(batch)?;
        let c = self.config().hidden_size;
        let mut x = vec![0.0; batch.len() * c];
        for (row, token) in x.chunks_exact_mut(c).zip(&batch.tokens) {
            self.embedding.row(*token as usize, row);
        }
        let mut scratch = Scratch::default();
        let mut spare = match keep {
            Keep::Inputs(_) => self.pool.take(),
            _ => Saved::default(),
        };
        for index in 0..self.layers.len() {
            let run = Run {
                index,
                adapted,
                arms,
                batch,
                part: Part::Whole,
            };
            match &mut keep {
                Keep::All(activations) => {
                    let mut saved = self.pool.take();
                    saved.x.clone_from(&x);
                    self.layer_forward(run, &mut x, &mut saved, &mut scratch, None);
                    activations.layers.push(saved);
                }
                Keep::Inputs(activations) => {
                    activations.inputs.push(x.clone());
                    self.layer_forward(run, &mut x, &mut spare, &mut scratch, None);
                }
                Keep::Nothing => self.layer_forward(run, &mut x, &mut spare, &mut scratch, None),
                Keep::Cache(cache) => {
                    let own = Some((&mut cache.keys[index], &mut cache.values[index]));
                    self.layer_forward(run, &mut x, &mut spare, &mut scratch, own);
                }
            }
        }
        if matches!(keep, Keep::Inputs(_)) {
            self.pool.give(spare);
        }
        Ok(x)
    }

    /// Computes a layer again from its input, for the backward pass: everything but what only the
    /// next layer would need.
    pub(crate) fn layer_again(
        &self,
        index: usize,
        adapted: Adapted<'_>,
        batch: &Batch,
        input: Vec<f32>,
        scratch: &mut Scratch,
    ) -> Saved {
        let mut saved = self.pool.take();
        let mut x = input.clone();
        saved.x = input;
        let run = Run {
            index,
            adapted: Some(adapted),
            arms: &[],
            batch,
            part: Part::ForBackward,
        };
        self.layer_forward(run, &mut x, &mut saved, scratch, None);
        saved
    }

    /// Turns `x` from the residual stream before a layer into the one after it.
    fn layer_forward(
        &self,
        run: Run<'_>,
        x: &mut [f32],
        s: &mut Saved,
        scratch: &mut Scratch,
        cache: Option<(&mut Vec<f32>, &mut Vec<f32>)>,
    ) {
        let (config, batch, layer) = (self.config(), run.batch, &self.layers[run.index]);
        let (t, c, f) = (batch.len(), config.hidden_size, config.intermediate_size);
        let eps = config.rms_norm_eps;
        let Scratch { normed, product } = scratch;
        // All of both is overwritten.
        normed.resize(t * c, 0.0);
        product.resize(t * f, 0.0);
        s.fit(config, t);
        let apply = |projection: Projection, x: &[f32], y: &mut [f32], write: Write| {
            if !run.arms.is_empty() {
                let sides: Vec<_> = run
                    .arms
                    .iter()
                    .filter_map(|arm| {
                        let side = Adapted::plain(arm.lora?).side(run.index, projection)?;
                        Some((arm.rows.clone(), side))
                    })
                    .collect();
                linear_forward_arms(layer.linear(projection), &sides, x, y, write);
                return Vec::new();
            }
            let side = run.adapted.and_then(|a| a.side(run.index, projection));
            linear_forward(layer.linear(projection), side, &batch.row_keys, x, y, write)
        };
        rms_norm_forward(x, &layer.attention_norm, eps, normed, &mut s.rstd_attention);
        s.z[0] = apply(Projection::Query, normed, &mut s.q, Write::Set);
        s.z[1] = apply(Projection::Key, normed, &mut s.k, Write::Set);
        s.z[2] = apply(Projection::Value, normed, &mut s.v, Write::Set);
        if let Some(weights) = &layer.head_norms {
            let heads = [&mut s.q, &mut s.k];
            let kept = s.raw.iter_mut().zip(&mut s.rstd_heads);
            for ((x, weight), (raw, rstd)) in heads.into_iter().zip(weights).zip(kept) {
                std::mem::swap(x, raw);
                x.resize(raw.len(), 0.0);
                rstd.resize(raw.len() / weight.len(), 0.0);
                rms_norm_forward(raw, weight, eps, x, rstd);
            }
        }
        let (heads, kv_heads) = (config.num_heads, config.num_kv_heads);
        let turn = Turn::Forward;
        self.rotary.apply(&mut s.q, &batch.positions, heads, turn);
        self.rotary
            .apply(&mut s.k, &batch.positions, kv_heads, turn);
        let (keys, values) = if let Some((keys, values)) = cache {
            let kw = kv_heads * config.head_dim;
            for (row, at) in batch.key_rows.iter().enumerate() {
                keys[at * kw..][..kw].copy_from_slice(&s.k[row * kw..][..kw]);
                values[at * kw..][..kw].copy_from_slice(&s.v[row * kw..][..kw]);
            }
            (&keys[..], &values[..])
        } else {
            (&s.k[..], &s.v[..])
        };
        attention_forward(
            self.heads(run.index),
            &batch.segments,
            &s.q,
            keys,
            values,
            &mut s.attention,
            &mut s.lse,
        );
        s.z[3] = apply(Projection::Output, &s.attention, x, Write::Add);
        s.middle.clear();
        s.middle.extend_from_slice(x);
        let rstd = &mut s.rstd_feed_forward;
        rms_norm_forward(x, &layer.feed_forward_norm, eps, normed, rstd);
        s.z[4] = apply(Projection::Gate, normed, &mut s.gate, Write::Set);
        s.z[5] = apply(Projection::Up, normed, &mut s.up, Write::Set);
        let down = run
            .adapted
            .and_then(|a| a.side(run.index, Projection::Down));
        if run.part == Part::Whole {
            swiglu_forward(&s.gate, &s.up, product);
            s.z[6] = apply(Projection::Down, product, x, Write::Add);
        } else if let Some(side) = down {
            swiglu_forward(&s.gate, &s.up, product);
            s.z[6] = side.inner(product, &batch.row_keys);
        }
    }

    /// Returns the final norm of the named rows of `x` [T, C]: [rows, C].
    pub(crate) fn final_rows(&self, x: &[f32], rows: &[usize]) -> (Vec<f32>, Vec<f32>, Vec<f32>) {
        let c = self.config().hidden_size;
        let mut picked = Vec::with_capacity(rows.len() * c);
        for row in rows {
            picked.extend_from_slice(&x[row * c..][..c]);
        }
        let mut normed = vec![0.0; picked.len()];
        let mut rstd = vec![0.0; rows.len()];
        let eps = self.config().rms_norm_eps;
        rms_norm_forward(&picked, &self.final_norm, eps, &mut normed, &mut rstd);
        (picked, normed, rstd)
    }

    /// Computes logits [rows, V] of normalised rows [rows, C].
    pub(crate) fn logits_of(&self, normed: &[f32], logits: &mut [f32]) {
        let (c, v) = (self.config().hidden_size, self.config().vocab_size);
        let rows = normed.len() / c;
        matmul_weight(
            &mut MatMut::dense(logits, rows, v),
            Write::Set,
            Mat::dense(normed, rows, c),
            (self.head(), Side::Transposed),
            None,
            self.precision,
        );
    }

    /// Computes the logits [rows.len(), V] of the named rows of a batch.
    ///
    /// # Errors
    /// If a token or position is out of range.
    pub fn logits(
        &self,
        lora: Option<&Lora>,
        batch: &Batch,
        rows: &[usize],
    ) -> Result<Vec<f32>, ModelError> {
        inside(|| {
            let x = self.forward(lora.map(Adapted::plain), batch, Keep::Nothing)?;
            Ok(self.row_logits(&x, rows))
        })
    }

    /// As [`Self::logits`], with keys and values in `cache`.
    ///
    /// # Errors
    /// If a token or position is out of range.
    pub fn logits_cached(
        &self,
        lora: Option<&Lora>,
        batch: &Batch,
        cache: &mut KeyValueCache,
        rows: &[usize],
    ) -> Result<Vec<f32>, ModelError> {
        inside(|| {
            let x = self.forward(lora.map(Adapted::plain), batch, Keep::Cache(cache))?;
            Ok(self.row_logits(&x, rows))
        })
    }

    /// As [`Self::logits_cached`], each arm's rows with its own adapter.
    ///
    /// # Errors
    /// If a token or position is out of range.
    pub(crate) fn logits_of_arms(
        &self,
        arms: &[ArmRows<'_>],
        batch: &Batch,
        cache: &mut KeyValueCache,
        rows: &[usize],
    ) -> Result<Vec<f32>, ModelError> {
        inside(|| {
            let x = self.forward_with(None, arms, batch, Keep::Cache(cache))?;
            Ok(self.row_logits(&x, rows))
        })
    }

    fn row_logits(&self, x: &[f32], rows: &[usize]) -> Vec<f32> {
        let (_, normed, _) = self.final_rows(x, rows);
        let mut logits = vec![0.0; rows.len() * self.config().vocab_size];
        self.logits_of(&normed, &mut logits);
        logits
    }

    fn check(&self, batch: &Batch) -> Result<(), ModelError> {
        let vocabulary = self.config().vocab_size;
        if let Some(token) = batch.tokens.iter().find(|t| **t as usize >= vocabulary) {
            return Err(ModelError::Token {
                token: *token,
                vocabulary,
            });
        }
        let needed = batch.positions.iter().max().map_or(0, |p| *p as usize + 1);
        let limit = self.max_positions();
        if needed > limit {
            return Err(ModelError::TooLong { needed, limit });
        }
        Ok(())
    }
}

/// Runs a forward pass on a thread of the pool: sharing work from outside would put the caller to
/// sleep and wake it again for each of hundreds of products, which costs as much as a token's arithmetic.
fn inside<R: Send>(pass: impl FnOnce() -> R + Send) -> R {
    rayon::scope(|_| pass())
}
