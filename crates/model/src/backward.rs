//! The backward pass, written out by hand: gradients of the adapter alone, the base is frozen.

use crate::ModelError;
use crate::batch::Batch;
use crate::decoder::{Decoder, Layer};
use crate::forward::{Activations, Adapted, Keep, Saved};
use crate::linear::linear_backward;
use crate::lora::{Lora, Projection};
use kernels::attention::attention_backward;
use kernels::cross_entropy::cross_entropy_forward_backward;
use kernels::matmul::{Mat, MatMut, Write, matmul_weight};
use kernels::norm::{rms_norm_again, rms_norm_backward};
use kernels::operand::Side;
use kernels::rotary::Turn;
use kernels::swiglu::{swiglu_backward, swiglu_forward};

/// Supervised rows whose logits exist at the same time, at most.
const HEAD_ROWS: usize = 256;

/// Logits that exist at the same time, about: 64 MiB.
const HEAD_VALUES: usize = 1 << 24;

/// One supervised prediction: the row that predicts, the token it should, and the loss weight.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Target {
    /// Row of the batch whose output predicts the token.
    pub row: usize,
    /// The token that follows it.
    pub token: u32,
    /// Factor on this prediction's cross-entropy in the summed loss.
    pub weight: f32,
}

/// Returns how many supervised rows go through the head at a time. Every chunk reads the whole head,
/// so few large ones are quicker than many small ones.
pub fn head_rows(vocabulary: usize) -> usize {
    (HEAD_VALUES / vocabulary.max(1)).clamp(32, HEAD_ROWS)
}

impl Decoder {
    /// Computes the cross-entropy of every target, unweighted, and adds the gradient of their
    /// weighted sum into `gradients` (the shape of the adapter).
    ///
    /// # Errors
    /// If a token or position is out of range.
    ///
    /// # Panics
    /// If a target names a row outside the batch or `gradients` has another shape.
    pub fn loss_and_gradients(
        &self,
        adapted: Adapted<'_>,
        batch: &Batch,
        targets: &[Target],
        gradients: &mut Lora,
    ) -> Result<Vec<f32>, ModelError> {
        let mut activations = Activations::default();
        let x = self.forward(Some(adapted), batch, self.keep(&mut activations))?;
        let (losses, dx) = self.head_backward(&x, targets);
        drop(x);
        self.layers_backward(adapted, batch, activations, dx, gradients);
        Ok(losses)
    }

    /// As [`Self::loss_and_gradients`], for losses whose weights depend on the outcome: `weigh` is
    /// given every target's cross-entropy and returns the factor of each, which replaces the
    /// target's own. The output head is computed twice, the layers once.
    ///
    /// # Errors
    /// If a token or position is out of range.
    ///
    /// # Panics
    /// If a target names a row outside the batch, `gradients` has another shape or `weigh` returns
    /// another number of factors.
    pub fn loss_and_gradients_by(
        &self,
        adapted: Adapted<'_>,
        batch: &Batch,
        targets: &[Target],
        weigh: &mut dyn FnMut(&[f32]) -> Vec<f32>,
        gradients: &mut Lora,
    ) -> Result<Vec<f32>, ModelError> {
        let mut activations = Activations::default();
        let x = self.forward(Some(adapted), batch, self.keep(&mut activations))?;
        let losses = self.head_losses(&x, targets);
        let factors = weigh(&losses);
        assert_eq!(factors.len(), targets.len(), "one factor for each target");
        let weighted: Vec<Target> = targets
            .iter()
            .zip(factors)
            .map(|(target, weight)| Target { weight, ..*target })
            .collect();
        let (_, dx) = self.head_backward(&x, &weighted);
        drop(x);
        self.layers_backward(adapted, batch, activations, dx, gradients);
        Ok(losses)
    }

    /// Computes the cross-entropy of every target without gradients.
    ///
    /// # Errors
    /// If a token or position is out of range.
    pub fn losses(
        &self,
        lora: Option<&Lora>,
        batch: &Batch,
        targets: &[Target],
    ) -> Result<Vec<f32>, ModelError> {
        let x = self.forward(lora.map(Adapted::plain), batch, Keep::Nothing)?;
        Ok(self.head_losses(&x, targets))
    }

    fn head_rows(&self) -> usize {
        head_rows(self.config().vocab_size)
    }

    fn head_losses(&self, x: &[f32], targets: &[Target]) -> Vec<f32> {
        let v = self.config().vocab_size;
        let mut losses = Vec::with_capacity(targets.len());
        for chunk in targets.chunks(self.head_rows()) {
            let rows: Vec<usize> = chunk.iter().map(|target| target.row).collect();
            let (_, normed, _) = self.final_rows(x, &rows);
            let mut logits = vec![0.0; chunk.len() * v];
            self.logits_of(&normed, &mut logits);
            for (row, target) in logits.chunks_exact(v).zip(chunk) {
                losses.push(kernels::cross_entropy::log_sum_exp(row) - row[target.token as usize]);
            }
        }
        losses
    }

    fn keep<'a>(&self, activations: &'a mut Activations) -> Keep<'a> {
        if self.recompute {
            Keep::Inputs(activations)
        } else {
            Keep::All(activations)
        }
    }

    fn layers_backward(
        &self,
        adapted: Adapted<'_>,
        batch: &Batch,
        mut activations: Activations,
        mut dx: Vec<f32>,
        gradients: &mut Lora,
    ) {
        let mut scratch = Scratch::default();
        let mut forward = crate::forward::Scratch::default();
        for index in (0..self.layers.len()).rev() {
            let mut saved = match (activations.layers.pop(), activations.inputs.pop()) {
                (Some(saved), _) => saved,
                (None, Some(input)) => self.layer_again(index, adapted, batch, input, &mut forward),
                (None, None) => return,
            };
            let run = Back {
                layer: &self.layers[index],
                index,
                adapted,
                row_keys: &batch.row_keys,
                gradients,
            };
            self.layer_backward(run, batch, &mut saved, &mut dx, &mut scratch);
            self.pool.give(saved);
        }
    }

    /// Returns the losses and the gradient with respect to the residual stream [T, C].
    fn head_backward(&self, x: &[f32], targets: &[Target]) -> (Vec<f32>, Vec<f32>) {
        let (c, v) = (self.config().hidden_size, self.config().vocab_size);
        let mut dx = vec![0.0; x.len()];
        let mut losses = vec![0.0; targets.len()];
        let at_once = self.head_rows();
        let mut buffer = vec![0.0; targets.len().min(at_once) * v];
        for (chunk, losses) in targets.chunks(at_once).zip(losses.chunks_mut(at_once)) {
            let rows: Vec<usize> = chunk.iter().map(|target| target.row).collect();
            let tokens: Vec<u32> = chunk.iter().map(|target| target.token).collect();
            let scales: Vec<f32> = chunk.iter().map(|target| target.weight).collect();
            let (picked, normed, rstd) = self.final_rows(x, &rows);
            let logits = &mut buffer[..chunk.len() * v];
            self.logits_of(&normed, logits);
            cross_entropy_forward_backward(logits, v, &tokens, &scales, losses);
            let mut dnormed = vec![0.0; normed.len()];
            matmul_weight(
                &mut MatMut::dense(&mut dnormed, chunk.len(), c),
                Write::Set,
                Mat::dense(logits, chunk.len(), v),
                (self.head(), Side::Plain),
                None,
                self.precision,
            );
            let mut dpicked = vec![0.0; normed.len()];
            rms_norm_backward(&picked, &self.final_norm, &rstd, &dnormed, &mut dpicked);
            for (row, gradient) in rows.iter().zip(dpicked.chunks_exact(c)) {
                for (into, from) in dx[row * c..][..c].iter_mut().zip(gradient) {
                    *into += from;
                }
            }
        }
        (losses, dx)
    }

    /// Turns `dx` from the gradient after a layer into the one before it.
    fn layer_backward(
        &self,
        mut back: Back<'_>,
        batch: &Batch,
        saved: &mut Saved,
        dx: &mut [f32],
        scratch: &mut Scratch,
    ) {
        let (layer, first) = (back.layer, back.index == 0);
        let (lora, index) = (back.adapted.lora, back.index);
        let low_rank = |projection| lora.pair(index, projection).is_some();
        let Saved {
            x,
            rstd_attention,
            q,
            k,
            v,
            raw,
            rstd_heads,
            attention,
            lse,
            middle,
            rstd_feed_forward,
            gate,
            up,
            z,
        } = saved;
        let Scratch {
            normed,
            dnormed,
            product,
            dproduct,
            dattention,
            dq,
            dk,
            dv,
            draw,
        } = scratch;
        for (buffer, length) in [
            (&mut *normed, x.len()),
            (&mut *dnormed, x.len()),
            (&mut *product, gate.len()),
            (&mut *dproduct, gate.len()),
            (&mut *dattention, attention.len()),
            (&mut *dq, q.len()),
        ] {
            // All of it is overwritten.
            buffer.resize(length, 0.0);
        }
        for (buffer, length) in [(&mut *dk, k.len()), (&mut *dv, v.len())] {
            // These are added to.
            buffer.clear();
            buffer.resize(length, 0.0);
        }
        let mut run = |projection, x: &[f32], dy: &[f32], dx: Option<(&mut [f32], Write)>| {
            back.run(projection, (x, &z[projection as usize]), dy, dx);
        };

        if low_rank(Projection::Down) {
            swiglu_forward(gate, up, product);
        }
        run(Projection::Down, product, dx, Some((dproduct, Write::Set)));
        swiglu_backward(dproduct, gate, up);
        if low_rank(Projection::Gate) || low_rank(Projection::Up) {
            let weight = &layer.feed_forward_norm;
            rms_norm_again(middle, weight, rstd_feed_forward, normed);
        }
        run(Projection::Gate, normed, gate, Some((dnormed, Write::Set)));
        run(Projection::Up, normed, up, Some((dnormed, Write::Add)));
        let weight = &layer.feed_forward_norm;
        rms_norm_backward(middle, weight, rstd_feed_forward, dnormed, dx);

        run(
            Projection::Output,
            attention,
            dx,
            Some((dattention, Write::Set)),
        );
        attention_backward(
            self.heads(index),
            &batch.segments,
            (q, k, v),
            (attention, lse),
            dattention,
            (dq, dk, dv),
        );
        let config = self.config();
        let positions = &batch.positions;
        self.rotary
            .apply(dq, positions, config.num_heads, Turn::Backward);
        self.rotary
            .apply(dk, positions, config.num_kv_heads, Turn::Backward);
        if let Some(weights) = &layer.head_norms {
            let heads = [&mut *dq, &mut *dk].into_iter().zip(weights);
            for ((dx, weight), (raw, rstd)) in heads.zip(raw.iter().zip(rstd_heads.iter())) {
                draw.clear();
                draw.resize(dx.len(), 0.0);
                rms_norm_backward(raw, weight, rstd, dx, draw);
                std::mem::swap(dx, draw);
            }
        }
        let inputs = [Projection::Query, Projection::Key, Projection::Value];
        if inputs.into_iter().any(low_rank) {
            rms_norm_again(x, &layer.attention_norm, rstd_attention, normed);
        }
        // Nothing below the first layer is trained: its input needs no gradient.
        if first {
            run(Projection::Query, normed, dq, None);
            run(Projection::Key, normed, dk, None);
            run(Projection::Value, normed, dv, None);
            return;
        }
        run(Projection::Query, normed, dq, Some((dnormed, Write::Set)));
        run(Projection::Key, normed, dk, Some((dnormed, Write::Add)));
        run(Projection::Value, normed, dv, Some((dnormed, Write::Add)));
        rms_norm_backward(x, &layer.attention_norm, rstd_attention, dnormed, dx);
    }
}

/// Buffers of one layer's backward pass, used again by the next layer.
#[derive(Default)]
struct Scratch {
    normed: Vec<f32>,
    dnormed: Vec<f32>,
    product: Vec<f32>,
    dproduct: Vec<f32>,
    dattention: Vec<f32>,
    dq: Vec<f32>,
    dk: Vec<f32>,
    dv: Vec<f32>,
    draw: Vec<f32>,
}

/// What every linear of a layer's backward pass needs.
struct Back<'a> {
    layer: &'a Layer,
    index: usize,
    adapted: Adapted<'a>,
    row_keys: &'a [u64],
    gradients: &'a mut Lora,
}

impl Back<'_> {
    fn run(
        &mut self,
        projection: Projection,
        (x, z): (&[f32], &[f32]),
        dy: &[f32],
        dx: Option<(&mut [f32], Write)>,
    ) {
        let side = self.adapted.side(self.index, projection);
        let side = side.zip(self.gradients.pair_mut(self.index, projection));
        linear_backward(
            self.layer.linear(projection),
            side,
            self.row_keys,
            (x, z),
            dy,
            dx,
        );
    }
}
