//! A frozen linear layer with a low-rank side path, forward and backward.

use crate::decoder::Linear;
use crate::lora::Pair;
use kernels::elementwise::{Dropout, add_assign, add_bias};
use kernels::matmul::{Mat, MatMut, Write, matmul_parallel};

/// The side path of one linear: factors, scale and the dropout on its input.
#[derive(Clone, Copy)]
pub(crate) struct Side<'a> {
    pub(crate) pair: &'a Pair,
    pub(crate) rank: usize,
    pub(crate) scale: f32,
    pub(crate) dropout: Option<Dropout>,
}

impl Side<'_> {
    /// Returns x with dropout applied, or nothing when x itself serves.
    fn dropped(&self, x: &[f32], row_keys: &[u64]) -> Option<Vec<f32>> {
        self.dropout.map(|dropout| {
            let mut x = x.to_vec();
            dropout.apply(&mut x, row_keys);
            x
        })
    }
}

/// Computes y (+)= x W^T + bias + scale * dropout(x) A^T B^T and returns z = dropout(x) A^T
/// [T, R], empty without a side path. Shapes: x [T, inputs], y [T, outputs].
pub(crate) fn linear_forward(
    linear: &Linear,
    side: Option<Side<'_>>,
    row_keys: &[u64],
    x: &[f32],
    y: &mut [f32],
    write: Write,
) -> Vec<f32> {
    let t = x.len() / linear.inputs;
    let weight = Mat::dense(&linear.weight, linear.outputs, linear.inputs);
    let mut out = MatMut::dense(y, t, linear.outputs);
    matmul_parallel(
        &mut out,
        write,
        1.0,
        Mat::dense(x, t, linear.inputs),
        weight.t(),
    );
    let z = side.map_or_else(Vec::new, |side| {
        let dropped = side.dropped(x, row_keys);
        let x = dropped.as_deref().unwrap_or(x);
        let mut z = vec![0.0; t * side.rank];
        let a = Mat::dense(&side.pair.a, side.rank, linear.inputs);
        let input = Mat::dense(x, t, linear.inputs);
        matmul_parallel(
            &mut MatMut::dense(&mut z, t, side.rank),
            Write::Set,
            1.0,
            input,
            a.t(),
        );
        let b = Mat::dense(&side.pair.b, linear.outputs, side.rank);
        let z_view = Mat::dense(&z, t, side.rank);
        matmul_parallel(&mut out, Write::Add, side.scale, z_view, b.t());
        z
    });
    if let Some(bias) = &linear.bias {
        add_bias(y, bias);
    }
    z
}

/// Writes the gradient with respect to x into `dx` (when asked for) and adds the side path's
/// gradients into `gradients`. Shapes: dy [T, outputs], x and dx [T, inputs], z [T, R].
pub(crate) fn linear_backward(
    linear: &Linear,
    side: Option<(Side<'_>, &mut Pair)>,
    row_keys: &[u64],
    (x, z): (&[f32], &[f32]),
    dy: &[f32],
    mut dx: Option<(&mut [f32], Write)>,
) {
    let t = dy.len() / linear.outputs;
    let dy_view = Mat::dense(dy, t, linear.outputs);
    if let Some((dx, write)) = &mut dx {
        let weight = Mat::dense(&linear.weight, linear.outputs, linear.inputs);
        matmul_parallel(
            &mut MatMut::dense(dx, t, linear.inputs),
            *write,
            1.0,
            dy_view,
            weight,
        );
    }
    let Some((side, gradients)) = side else {
        return;
    };
    let r = side.rank;
    let dropped = side.dropped(x, row_keys);
    let x = dropped.as_deref().unwrap_or(x);
    let b = Mat::dense(&side.pair.b, linear.outputs, r);
    let mut dz = vec![0.0; t * r];
    matmul_parallel(
        &mut MatMut::dense(&mut dz, t, r),
        Write::Set,
        side.scale,
        dy_view,
        b,
    );
    let mut db = MatMut::dense(&mut gradients.b, linear.outputs, r);
    matmul_parallel(
        &mut db,
        Write::Add,
        side.scale,
        dy_view.t(),
        Mat::dense(z, t, r),
    );
    let dz_view = Mat::dense(&dz, t, r);
    let mut da = MatMut::dense(&mut gradients.a, r, linear.inputs);
    matmul_parallel(
        &mut da,
        Write::Add,
        1.0,
        dz_view.t(),
        Mat::dense(x, t, linear.inputs),
    );
    if let Some((dx, _)) = dx {
        let a = Mat::dense(&side.pair.a, r, linear.inputs);
        if let Some(dropout) = side.dropout {
            let mut through = vec![0.0; t * linear.inputs];
            let mut view = MatMut::dense(&mut through, t, linear.inputs);
            matmul_parallel(&mut view, Write::Set, 1.0, dz_view, a);
            dropout.apply(&mut through, row_keys);
            add_assign(dx, &through);
        } else {
            matmul_parallel(
                &mut MatMut::dense(dx, t, linear.inputs),
                Write::Add,
                1.0,
                dz_view,
                a,
            );
        }
    }
}
