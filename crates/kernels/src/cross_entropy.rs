//! Softmax cross-entropy over rows of logits.

use crate::widest::widest;
use crate::{LANES, exp::exp, lane_sum};
use rayon::prelude::*;

/// Returns log(sum(exp(row))), shifted by the maximum so that it cannot overflow.
pub fn log_sum_exp(row: &[f32]) -> f32 {
    widest(
        #[inline(always)]
        || {
            let max = maximum(row);
            lane_sum(row.len(), |i| exp(row[i] - max)).ln() + max
        },
    )
}

/// Replaces each row of `logits` [T, V] by the gradient of `weights[t] * cross-entropy(row,
/// targets[t])` and writes the unweighted losses into `losses` [T].
///
/// # Panics
/// If the shapes do not fit together or a target lies outside the vocabulary.
pub fn cross_entropy_forward_backward(
    logits: &mut [f32],
    vocabulary: usize,
    targets: &[u32],
    weights: &[f32],
    losses: &mut [f32],
) {
    assert_eq!(logits.len(), targets.len() * vocabulary);
    assert_eq!(targets.len(), weights.len());
    assert_eq!(targets.len(), losses.len());
    logits
        .par_chunks_exact_mut(vocabulary)
        .zip(targets.par_iter().zip(weights))
        .zip(losses.par_iter_mut())
        .for_each(|((row, (&target, &weight)), loss)| {
            let target = target as usize;
            assert!(target < vocabulary, "target outside the vocabulary");
            widest(
                #[inline(always)]
                || {
                    let max = maximum(row);
                    let picked = row[target] - max;
                    for x in row.iter_mut() {
                        *x = exp(*x - max);
                    }
                    let sum = lane_sum(row.len(), |i| row[i]);
                    *loss = sum.ln() - picked;
                    let scale = weight / sum;
                    for x in row.iter_mut() {
                        *x *= scale;
                    }
                    row[target] -= weight;
                },
            );
        });
}

/// Returns the largest value, in lanes.
#[inline(always)]
pub(crate) fn maximum(row: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; LANES];
    for chunk in row.chunks(LANES) {
        for (lane, x) in lanes.iter_mut().zip(chunk) {
            *lane = if *x > *lane { *x } else { *lane };
        }
    }
    lanes.iter().copied().fold(f32::NEG_INFINITY, f32::max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gradient_is_softmax_minus_one_hot() {
        let v = 37;
        let start: Vec<f32> = (0..2 * v)
            .map(|i| ((i * 29 % 31) as f32 - 15.0) / 4.0)
            .collect();
        let mut logits = start.clone();
        let mut losses = [0.0; 2];
        cross_entropy_forward_backward(&mut logits, v, &[5, 36], &[0.5, 2.0], &mut losses);
        for (t, (target, weight)) in [(5usize, 0.5f64), (36, 2.0)].into_iter().enumerate() {
            let row = &start[t * v..(t + 1) * v];
            let sum: f64 = row.iter().map(|x| f64::from(*x).exp()).sum();
            let loss = sum.ln() - f64::from(row[target]);
            assert!((loss - f64::from(losses[t])).abs() < 1e-5);
            assert!((f64::from(log_sum_exp(row)) - sum.ln()).abs() < 1e-5);
            for i in 0..v {
                let hot = f64::from(u8::from(i == target));
                let exact = weight * (f64::from(row[i]).exp() / sum - hot);
                assert!((exact - f64::from(logits[t * v + i])).abs() < 1e-6);
            }
        }
    }

    #[test]
    fn huge_logits_do_not_overflow() {
        let mut logits = vec![1e4, -1e4, 9.999e3];
        let mut losses = [0.0];
        cross_entropy_forward_backward(&mut logits, 3, &[1], &[1.0], &mut losses);
        assert!(losses[0].is_finite() && logits.iter().all(|x| x.is_finite()));
    }
}
