//! A frozen linear layer with a low-rank side path, forward and backward.

use crate::decoder::Linear;
use crate::lora::Pair;
use kernels::elementwise::{Dropout, add_assign, add_bias};
use kernels::matmul::{Mat, MatMut, Write, matmul_parallel, matmul_weight};
use kernels::operand::Side;

/// The side path of one linear: factors, scale and the dropout on its input.
#[derive(Clone, Copy)]
pub(crate) struct LowRank<'a> {
    pub(crate) pair: &'a Pair,
    pub(crate) rank: usize,
    pub(crate) scale: f32,
    pub(crate) dropout: Option<Dropout>,
}

impl LowRank<'_> {
    /// Returns x with dropout applied, or nothing when x itself serves.
    fn dropped(&self, x: &[f32], row_keys: &[u64]) -> Option<Vec<f32>> {
        self.dropout.map(|dropout| {
            let mut x = x.to_vec();
            dropout.apply(&mut x, row_keys);
            x
        })
    }

    /// Returns z = scale * dropout(x) A^T [T, R] for x [T, inputs].
    pub(crate) fn inner(&self, x: &[f32], row_keys: &[u64]) -> Vec<f32> {
        let inputs = self.pair.a.len() / self.rank;
        let t = x.len() / inputs;
        let dropped = self.dropped(x, row_keys);
        let x = Mat::dense(dropped.as_deref().unwrap_or(x), t, inputs);
        let a = Mat::dense(&self.pair.a, self.rank, inputs);
        let mut z = vec![0.0; t * self.rank];
        let mut view = MatMut::dense(&mut z, t, self.rank);
        matmul_parallel(&mut view, Write::Set, self.scale, x, a.t());
        z
    }
}

/// Computes y (+)= x W^T + bias + scale * dropout(x) A^T B^T and returns z = scale * dropout(x) A^T
/// [T, R], empty without a side path. Shapes: x [T, inputs], y [T, outputs].
pub(crate) fn linear_forward(
    linear: &Linear,
    side: Option<LowRank<'_>>,
    row_keys: &[u64],
    x: &[f32],
    y: &mut [f32],
    write: Write,
) -> Vec<f32> {
    let t = x.len() / linear.inputs;
    let z = side.map_or_else(Vec::new, |side| side.inner(x, row_keys));
    let low_rank = side.map(|side| {
        let b = Mat::dense(&side.pair.b, linear.outputs, side.rank);
        (Mat::dense(&z, t, side.rank), b.t())
    });
    matmul_weight(
        &mut MatMut::dense(y, t, linear.outputs),
        write,
        Mat::dense(x, t, linear.inputs),
        (&linear.weight, Side::Transposed),
        low_rank,
        linear.precision,
    );
    if let Some(bias) = &linear.bias {
        add_bias(y, bias);
    }
    z
}

/// Writes the gradient with respect to x into `dx` (when asked for) and adds the side path's
/// gradients into `gradients`. Shapes: dy [T, outputs], x and dx [T, inputs], z [T, R] as
/// [`linear_forward`] returned it.
pub(crate) fn linear_backward(
    linear: &Linear,
    side: Option<(LowRank<'_>, &mut Pair)>,
    row_keys: &[u64],
    (x, z): (&[f32], &[f32]),
    dy: &[f32],
    dx: Option<(&mut [f32], Write)>,
) {
    let t = dy.len() / linear.outputs;
    let dy_view = Mat::dense(dy, t, linear.outputs);
    let whole = |dx: (&mut [f32], Write), low_rank| {
        matmul_weight(
            &mut MatMut::dense(dx.0, t, linear.inputs),
            dx.1,
            dy_view,
            (&linear.weight, Side::Plain),
            low_rank,
            linear.precision,
        );
    };
    let Some((side, gradients)) = side else {
        if let Some(dx) = dx {
            whole(dx, None);
        }
        return;
    };
    let r = side.rank;
    let b = Mat::dense(&side.pair.b, linear.outputs, r);
    let mut dz = vec![0.0; t * r];
    let mut view = MatMut::dense(&mut dz, t, r);
    matmul_parallel(&mut view, Write::Set, side.scale, dy_view, b);
    // z carries the scale already.
    let mut db = MatMut::dense(&mut gradients.b, linear.outputs, r);
    matmul_parallel(&mut db, Write::Add, 1.0, dy_view.t(), Mat::dense(z, t, r));
    let dropped = side.dropped(x, row_keys);
    let x = Mat::dense(dropped.as_deref().unwrap_or(x), t, linear.inputs);
    let dz_view = Mat::dense(&dz, t, r);
    let mut da = MatMut::dense(&mut gradients.a, r, linear.inputs);
    matmul_parallel(&mut da, Write::Add, 1.0, dz_view.t(), x);
    drop(dropped);
    let Some(dx) = dx else { return };
    let a = Mat::dense(&side.pair.a, r, linear.inputs);
    let Some(dropout) = side.dropout else {
        return whole(dx, Some((dz_view, a)));
    };
    let (dx, write) = dx;
    whole((&mut *dx, write), None);
    let mut through = vec![0.0; t * linear.inputs];
    let mut view = MatMut::dense(&mut through, t, linear.inputs);
    matmul_parallel(&mut view, Write::Set, 1.0, dz_view, a);
    dropout.apply(&mut through, row_keys);
    add_assign(dx, &through);
}
