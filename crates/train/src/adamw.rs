//! AdamW (Loshchilov and Hutter 2019, algorithm 2) with f32 state, and the global gradient norm.

/// Hyperparameters of one AdamW update.
#[derive(Clone, Copy, Debug)]
pub struct AdamW {
    /// Step size of this update.
    pub learning_rate: f32,
    /// Decay of the first moment.
    pub beta1: f32,
    /// Decay of the second moment.
    pub beta2: f32,
    /// Added to the root of the second moment.
    pub eps: f32,
    /// Decoupled weight decay.
    pub weight_decay: f32,
}

/// Updates `p` in place from gradient `g` and moments `m`, `v`; `step` counts from 1.
/// All slices have the same length. Follows PyTorch's order of operations: decay, moments, update.
///
/// # Panics
/// If the lengths differ or `step` is 0.
pub fn adamw_update(
    rule: AdamW,
    step: u64,
    p: &mut [f32],
    g: &[f32],
    m: &mut [f32],
    v: &mut [f32],
) {
    assert!(step > 0, "steps count from 1");
    assert!(p.len() == g.len() && p.len() == m.len() && p.len() == v.len());
    let power = |beta: f32| 1.0 - f64::from(beta).powf(step as f64);
    let step_size = (f64::from(rule.learning_rate) / power(rule.beta1)) as f32;
    let root = power(rule.beta2).sqrt() as f32;
    let keep = 1.0 - rule.learning_rate * rule.weight_decay;
    for i in 0..p.len() {
        m[i] += (g[i] - m[i]) * (1.0 - rule.beta1);
        v[i] = v[i] * rule.beta2 + g[i] * g[i] * (1.0 - rule.beta2);
        p[i] = p[i] * keep - step_size * m[i] / (v[i].sqrt() / root + rule.eps);
    }
}

/// Returns the sum of squares of `g` in f64.
pub fn sum_of_squares(g: &[f32]) -> f64 {
    g.iter().map(|x| f64::from(*x) * f64::from(*x)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_step_moves_by_the_learning_rate_against_the_sign() {
        let rule = AdamW {
            learning_rate: 0.1,
            beta1: 0.9,
            beta2: 0.999,
            eps: 1e-8,
            weight_decay: 0.0,
        };
        let (mut p, mut m, mut v) = (vec![1.0, 1.0], vec![0.0; 2], vec![0.0; 2]);
        adamw_update(rule, 1, &mut p, &[3.0, -0.01], &mut m, &mut v);
        assert!((p[0] - 0.9).abs() < 1e-5 && (p[1] - 1.1).abs() < 1e-5);
    }
}
