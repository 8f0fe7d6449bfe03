//! AdamW (Loshchilov and Hutter 2019, algorithm 2) with f32 state, and the global gradient norm.

/// Hyperparameters of one AdamW update, in f64 like PyTorch's: 1 - 0.999 has two digits less in f32.
#[derive(Clone, Copy, Debug)]
pub struct AdamW {
    /// Step size of this update.
    pub learning_rate: f64,
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Added to the root of the second moment.
    pub eps: f64,
    /// Decoupled weight decay.
    pub weight_decay: f64,
}

/// What an update multiplies by, each rounded to f32 once.
pub(crate) struct Factors {
    pub(crate) beta1: f32,
    pub(crate) beta2: f32,
    /// 1 - beta1.
    pub(crate) new1: f32,
    /// 1 - beta2.
    pub(crate) new2: f32,
    /// Learning rate over the first moment's bias correction.
    pub(crate) step_size: f32,
    /// Root of the second moment's bias correction.
    pub(crate) root: f32,
    pub(crate) eps: f32,
    /// What weight decay leaves of a parameter.
    pub(crate) keep: f32,
}

impl AdamW {
    /// Returns the factors of the update number `step`, counted from 1.
    pub(crate) fn factors(&self, step: u64) -> Factors {
        assert!(step > 0, "steps count from 1");
        let correction = |beta: f64| 1.0 - beta.powf(step as f64);
        Factors {
            beta1: self.beta1 as f32,
            beta2: self.beta2 as f32,
            new1: (1.0 - self.beta1) as f32,
            new2: (1.0 - self.beta2) as f32,
            step_size: (self.learning_rate / correction(self.beta1)) as f32,
            root: correction(self.beta2).sqrt() as f32,
            eps: self.eps as f32,
            keep: (1.0 - self.learning_rate * self.weight_decay) as f32,
        }
    }
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
    assert!(p.len() == g.len() && p.len() == m.len() && p.len() == v.len());
    let Factors {
        beta2,
        new1,
        new2,
        step_size,
        root,
        eps,
        keep,
        ..
    } = rule.factors(step);
    for i in 0..p.len() {
        m[i] += (g[i] - m[i]) * new1;
        v[i] = v[i] * beta2 + g[i] * g[i] * new2;
        p[i] = p[i] * keep - step_size * m[i] / (v[i].sqrt() / root + eps);
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
