//! SwiGLU (Shazeer 2020): m = silu(gate) * up, silu(g) = g / (1 + e^-g).

use crate::exp::exp;
use crate::widest::widest;
use rayon::prelude::*;

/// Elements handled by one task.
const BLOCK: usize = 1 << 14;

#[inline(always)]
fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

/// Computes `m = silu(gate) * up` element by element; all slices have the same length.
///
/// # Panics
/// If the lengths differ.
pub fn swiglu_forward(gate: &[f32], up: &[f32], m: &mut [f32]) {
    assert_eq!(gate.len(), up.len());
    assert_eq!(gate.len(), m.len());
    gate.par_chunks(BLOCK)
        .zip(up.par_chunks(BLOCK))
        .zip(m.par_chunks_mut(BLOCK))
        .for_each(|((gate, up), m)| {
            widest(
                #[inline(always)]
                || {
                    for ((g, u), m) in gate.iter().zip(up).zip(m.iter_mut()) {
                        *m = g * sigmoid(*g) * u;
                    }
                },
            );
        });
}

/// Replaces `gate` and `up` by the gradients with respect to them, given `dm`.
///
/// # Panics
/// If the lengths differ.
pub fn swiglu_backward(dm: &[f32], gate: &mut [f32], up: &mut [f32]) {
    assert_eq!(gate.len(), up.len());
    assert_eq!(gate.len(), dm.len());
    gate.par_chunks_mut(BLOCK)
        .zip(up.par_chunks_mut(BLOCK))
        .zip(dm.par_chunks(BLOCK))
        .for_each(|((gate, up), dm)| {
            widest(
                #[inline(always)]
                || {
                    for ((g, u), d) in gate.iter_mut().zip(up.iter_mut()).zip(dm) {
                        let s = sigmoid(*g);
                        let silu = *g * s;
                        let dgate = d * *u * (s + silu * (1.0 - s));
                        *u = d * silu;
                        *g = dgate;
                    }
                },
            );
        });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backward_is_the_finite_difference() {
        let n = 41;
        let gate: Vec<f32> = (0..n).map(|i| (i as f32 - 20.0) / 4.0).collect();
        let up: Vec<f32> = (0..n).map(|i| ((i * 7 % 11) as f32 - 5.0) / 3.0).collect();
        let dm: Vec<f32> = (0..n).map(|i| ((i * 5 % 13) as f32 - 6.0) / 5.0).collect();
        let value = |g: f64, u: f64| g / (1.0 + (-g).exp()) * u;
        let mut m = vec![0.0; n];
        swiglu_forward(&gate, &up, &mut m);
        let (mut dg, mut du) = (gate.clone(), up.clone());
        swiglu_backward(&dm, &mut dg, &mut du);
        for i in 0..n {
            let (g, u, d) = (f64::from(gate[i]), f64::from(up[i]), f64::from(dm[i]));
            assert!((value(g, u) - f64::from(m[i])).abs() < 2e-6);
            let h = 1e-4;
            let numeric_gate = (value(g + h, u) - value(g - h, u)) / (2.0 * h) * d;
            let numeric_up = (value(g, u + h) - value(g, u - h)) / (2.0 * h) * d;
            assert!((numeric_gate - f64::from(dg[i])).abs() < 2e-6);
            assert!((numeric_up - f64::from(du[i])).abs() < 2e-6);
        }
    }
}
