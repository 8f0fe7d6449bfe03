//! The backward pass, written out by hand: gradients of the adapter alone, the base is frozen.

use crate::ModelError;
use crate::batch::Batch;
use crate::decoder::{Decoder, Layer};
use crate::forward::{Activations, Adapted, Keep, Saved};
use crate::linear::linear_backward;
use crate::lora::{Lora, Projection};
use kernels::attention::attention_backward;
use kernels::cross_entropy::cross_entropy_forward_backward;
use kernels::matmul::{Mat, MatMut, Write, matmul_parallel};
use kernels::norm::{rms_norm_again, rms_norm_backward};
use kernels::rotary::Turn;
use kernels::swiglu::{swiglu_backward, swiglu_forward};

/// Supervised rows whose logits exist at the same time.
const HEAD_ROWS: usize = 64;

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
        let x = self.forward(Some(adapted), batch, Keep::All(&mut activations))?;
        let (losses, mut dx) = self.head_backward(&x, targets);
        drop(x);
        while let Some(saved) = activations.layers.pop() {
            let index = activations.layers.len();
            self.layer_backward(index, adapted, batch, saved, &mut dx, gradients);
        }
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
        let v = self.config().vocab_size;
        let mut losses = Vec::with_capacity(targets.len());
        for chunk in targets.chunks(HEAD_ROWS) {
            let rows: Vec<usize> = chunk.iter().map(|target| target.row).collect();
            let (_, normed, _) = self.final_rows(&x, &rows);
            let mut logits = vec![0.0; chunk.len() * v];
            self.logits_of(&normed, &mut logits);
            for (row, target) in logits.chunks_exact(v).zip(chunk) {
                losses.push(kernels::cross_entropy::log_sum_exp(row) - row[target.token as usize]);
            }
        }
        Ok(losses)
    }

    /// Returns the losses and the gradient with respect to the residual stream [T, C].
    fn head_backward(&self, x: &[f32], targets: &[Target]) -> (Vec<f32>, Vec<f32>) {
        let (c, v) = (self.config().hidden_size, self.config().vocab_size);
        let mut dx = vec![0.0; x.len()];
        let mut losses = vec![0.0; targets.len()];
        for (chunk, losses) in targets.chunks(HEAD_ROWS).zip(losses.chunks_mut(HEAD_ROWS)) {
            let rows: Vec<usize> = chunk.iter().map(|target| target.row).collect();
            let tokens: Vec<u32> = chunk.iter().map(|target| target.token).collect();
            let scales: Vec<f32> = chunk.iter().map(|target| target.weight).collect();
            let (picked, normed, rstd) = self.final_rows(x, &rows);
            let mut logits = vec![0.0; chunk.len() * v];
            self.logits_of(&normed, &mut logits);
            cross_entropy_forward_backward(&mut logits, v, &tokens, &scales, losses);
            let mut dnormed = vec![0.0; normed.len()];
            matmul_parallel(
                &mut MatMut::dense(&mut dnormed, chunk.len(), c),
                Write::Set,
                1.0,
                Mat::dense(&logits, chunk.len(), v),
                Mat::dense(self.head(), v, c),
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

    /// Turns `dx` from the gradient after layer `index` into the one before it.
    fn layer_backward(
        &self,
        index: usize,
        adapted: Adapted<'_>,
        batch: &Batch,
        saved: Saved,
        dx: &mut [f32],
        gradients: &mut Lora,
    ) {
        let layer = &self.layers[index];
        let Saved {
            x,
            rstd_attention,
            q,
            k,
            v,
            attention,
            lse,
            middle,
            rstd_feed_forward,
            mut gate,
            mut up,
            z,
        } = saved;
        let mut back = Back {
            layer,
            index,
            adapted,
            row_keys: &batch.row_keys,
            z: &z,
            gradients,
        };
        let mut normed = vec![0.0; x.len()];
        let mut dnormed = vec![0.0; x.len()];

        let mut product = vec![0.0; gate.len()];
        if back.has(Projection::Down) {
            swiglu_forward(&gate, &up, &mut product);
        }
        let mut dproduct = vec![0.0; gate.len()];
        back.run(
            Projection::Down,
            &product,
            dx,
            Some((&mut dproduct, Write::Set)),
        );
        drop(product);
        swiglu_backward(&dproduct, &mut gate, &mut up);
        drop(dproduct);
        if back.has(Projection::Gate) || back.has(Projection::Up) {
            rms_norm_again(
                &middle,
                &layer.feed_forward_norm,
                &rstd_feed_forward,
                &mut normed,
            );
        }
        back.run(
            Projection::Gate,
            &normed,
            &gate,
            Some((&mut dnormed, Write::Set)),
        );
        back.run(
            Projection::Up,
            &normed,
            &up,
            Some((&mut dnormed, Write::Add)),
        );
        rms_norm_backward(
            &middle,
            &layer.feed_forward_norm,
            &rstd_feed_forward,
            &dnormed,
            dx,
        );

        let mut dattention = vec![0.0; attention.len()];
        back.run(
            Projection::Output,
            &attention,
            dx,
            Some((&mut dattention, Write::Set)),
        );
        let (mut dq, mut dk, mut dv) = (vec![0.0; q.len()], vec![0.0; k.len()], vec![0.0; v.len()]);
        attention_backward(
            self.heads(),
            &batch.segments,
            (&q, &k, &v),
            (&attention, &lse),
            &dattention,
            (&mut dq, &mut dk, &mut dv),
        );
        let config = self.config();
        self.rotary
            .apply(&mut dq, &batch.positions, config.num_heads, Turn::Backward);
        self.rotary.apply(
            &mut dk,
            &batch.positions,
            config.num_kv_heads,
            Turn::Backward,
        );
        let low_rank = [Projection::Query, Projection::Key, Projection::Value];
        if low_rank.into_iter().any(|projection| back.has(projection)) {
            rms_norm_again(&x, &layer.attention_norm, &rstd_attention, &mut normed);
        }
        // Nothing below the first layer is trained: its input needs no gradient.
        if index == 0 {
            back.run(Projection::Query, &normed, &dq, None);
            back.run(Projection::Key, &normed, &dk, None);
            back.run(Projection::Value, &normed, &dv, None);
            return;
        }
        back.run(
            Projection::Query,
            &normed,
            &dq,
            Some((&mut dnormed, Write::Set)),
        );
        back.run(
            Projection::Key,
            &normed,
            &dk,
            Some((&mut dnormed, Write::Add)),
        );
        back.run(
            Projection::Value,
            &normed,
            &dv,
            Some((&mut dnormed, Write::Add)),
        );
        rms_norm_backward(&x, &layer.attention_norm, &rstd_attention, &dnormed, dx);
    }
}

/// What every linear of a layer's backward pass needs.
struct Back<'a> {
    layer: &'a Layer,
    index: usize,
    adapted: Adapted<'a>,
    row_keys: &'a [u64],
    z: &'a [Vec<f32>; 7],
    gradients: &'a mut Lora,
}

impl Back<'_> {
    fn has(&self, projection: Projection) -> bool {
        self.adapted.lora.pair(self.index, projection).is_some()
    }

    fn run(
        &mut self,
        projection: Projection,
        x: &[f32],
        dy: &[f32],
        dx: Option<(&mut [f32], Write)>,
    ) {
        let side = self.adapted.side(self.index, projection);
        let side = side.zip(self.gradients.pair_mut(self.index, projection));
        let z = &self.z[projection as usize];
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
