//! RMS normalisation (Zhang and Sennrich 2019, equation 4): y = x / sqrt(mean(x^2) + eps) * w.

use crate::widest::widest;
use crate::{ROWS_PER_TASK, lane_sum};
use rayon::prelude::*;

/// Normalises rows. Shapes: x [T, C], weight [C], y [T, C], rstd [T] (the reciprocal root mean
/// square of each row, kept for the backward pass).
///
/// # Panics
/// If the shapes do not fit together.
pub fn rms_norm_forward(x: &[f32], weight: &[f32], eps: f32, y: &mut [f32], rstd: &mut [f32]) {
    let c = weight.len();
    assert_eq!(x.len(), y.len());
    assert_eq!(x.len(), rstd.len() * c);
    let block = c * ROWS_PER_TASK;
    x.par_chunks(block)
        .zip(y.par_chunks_mut(block))
        .zip(rstd.par_chunks_mut(ROWS_PER_TASK))
        .for_each(|((x, y), rstd)| {
            widest(
                #[inline(always)]
                || {
                    for ((x, y), r) in x
                        .chunks_exact(c)
                        .zip(y.chunks_exact_mut(c))
                        .zip(rstd.iter_mut())
                    {
                        let mean = lane_sum(c, |i| x[i] * x[i]) / c as f32;
                        *r = 1.0 / (mean + eps).sqrt();
                        for i in 0..c {
                            y[i] = x[i] * *r * weight[i];
                        }
                    }
                },
            );
        });
}

/// Applies the normalisation again from the saved `rstd`. Shapes as in [`rms_norm_forward`].
///
/// # Panics
/// If the shapes do not fit together.
pub fn rms_norm_again(x: &[f32], weight: &[f32], rstd: &[f32], y: &mut [f32]) {
    let c = weight.len();
    assert_eq!(x.len(), y.len());
    assert_eq!(x.len(), rstd.len() * c);
    let block = c * ROWS_PER_TASK;
    x.par_chunks(block)
        .zip(y.par_chunks_mut(block))
        .zip(rstd.par_chunks(ROWS_PER_TASK))
        .for_each(|((x, y), rstd)| {
            widest(
                #[inline(always)]
                || {
                    for ((x, y), r) in x.chunks_exact(c).zip(y.chunks_exact_mut(c)).zip(rstd) {
                        for ((y, x), weight) in y.iter_mut().zip(x).zip(weight) {
                            *y = x * r * weight;
                        }
                    }
                },
            );
        });
}

/// Adds the gradient with respect to x into `dx`; the weight is frozen and gets none.
/// Shapes: x, dy, dx [T, C], weight [C], rstd [T].
///
/// # Panics
/// If the shapes do not fit together.
pub fn rms_norm_backward(x: &[f32], weight: &[f32], rstd: &[f32], dy: &[f32], dx: &mut [f32]) {
    let c = weight.len();
    assert_eq!(x.len(), dy.len());
    assert_eq!(x.len(), dx.len());
    assert_eq!(x.len(), rstd.len() * c);
    let block = c * ROWS_PER_TASK;
    x.par_chunks(block)
        .zip(dy.par_chunks(block))
        .zip(dx.par_chunks_mut(block))
        .zip(rstd.par_chunks(ROWS_PER_TASK))
        .for_each(|(((x, dy), dx), rstd)| {
            widest(
                #[inline(always)]
                || {
                    for (((x, dy), dx), &r) in x
                        .chunks_exact(c)
                        .zip(dy.chunks_exact(c))
                        .zip(dx.chunks_exact_mut(c))
                        .zip(rstd)
                    {
                        let dot = lane_sum(c, |i| x[i] * dy[i] * weight[i]);
                        let k = dot * r * r * r / c as f32;
                        for i in 0..c {
                            dx[i] += dy[i] * weight[i] * r - x[i] * k;
                        }
                    }
                },
            );
        });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loss(x: &[f32], w: &[f32], dy: &[f32]) -> f64 {
        let c = w.len();
        x.chunks(c)
            .zip(dy.chunks(c))
            .map(|(x, dy)| {
                let mean: f64 = x.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>() / c as f64;
                let r = 1.0 / (mean + 1e-5).sqrt();
                (0..c)
                    .map(|i| f64::from(x[i]) * r * f64::from(w[i]) * f64::from(dy[i]))
                    .sum::<f64>()
            })
            .sum()
    }

    #[test]
    fn backward_is_the_finite_difference() {
        let c = 19;
        let x: Vec<f32> = (0..3 * c)
            .map(|i| ((i * 37 % 23) as f32 - 11.0) / 7.0)
            .collect();
        let w: Vec<f32> = (0..c).map(|i| 0.5 + i as f32 / 20.0).collect();
        let dy: Vec<f32> = (0..3 * c)
            .map(|i| ((i * 17 % 29) as f32 - 14.0) / 9.0)
            .collect();
        let (mut y, mut rstd, mut dx) = (vec![0.0; 3 * c], vec![0.0; 3], vec![0.0; 3 * c]);
        rms_norm_forward(&x, &w, 1e-5, &mut y, &mut rstd);
        let direct: f64 = y.iter().zip(&dy).map(|(a, b)| f64::from(a * b)).sum();
        assert!((direct - loss(&x, &w, &dy)).abs() < 1e-4);
        let mut again = vec![0.0; 3 * c];
        rms_norm_again(&x, &w, &rstd, &mut again);
        assert_eq!(y, again);
        rms_norm_backward(&x, &w, &rstd, &dy, &mut dx);
        for i in 0..x.len() {
            let h = 1e-2f32;
            let (mut up, mut down) = (x.clone(), x.clone());
            up[i] += h;
            down[i] -= h;
            let numeric = (loss(&up, &w, &dy) - loss(&down, &w, &dy)) / f64::from(up[i] - down[i]);
            // Central differences with h = 0.01 leave an h^2 term of about 1e-4 here.
            assert!(
                (numeric - f64::from(dx[i])).abs() < 1e-3,
                "{i}: {numeric} {}",
                dx[i]
            );
        }
    }
}
