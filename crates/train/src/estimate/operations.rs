//! The arithmetic of a training pass.

use super::{Plan, tensors};
use model::{ModelConfig, Projection};

/// Arithmetic of one pass forward and backward over `rows` rows in sequences of `sequence`
/// tokens, `supervised` of them with loss, in floating-point operations (a multiply-add is two).
///
/// The linear layers dominate; norms, rotary and element-wise work are left out.
pub fn operations(
    config: &ModelConfig,
    plan: &Plan,
    (rows, sequence, supervised): (f64, f64, f64),
) -> f64 {
    let size = |projection: Projection| {
        let (inputs, outputs) = projection.shape(config);
        (inputs * outputs) as f64
    };
    let layers = config.num_layers as f64;
    let linears: f64 = Projection::ALL.into_iter().map(size).sum::<f64>() * layers;
    // Nothing below the first layer's attention is trained.
    let inputs = [Projection::Query, Projection::Key, Projection::Value];
    let without: f64 = inputs.into_iter().map(size).sum();
    let forward_passes = if plan.recompute { 2.0 } else { 1.0 };
    let linear = 2.0 * (linears * forward_passes + linears - without);
    // Forward, backward: z or dz, y or the gradient of B, the gradient of A, dx.
    let factors: f64 = tensors(config, &plan.lora).map(|n| n as f64).sum();
    let low_rank = factors * (2.0 * forward_passes + 4.0);
    // Scores and outputs forward; scores again, and gradients of p, q, k, v backward.
    let keys = f64::midpoint(sequence, 1.0);
    let attention = 2.0 * (2.0 * forward_passes + 5.0) * keys;
    let attention = attention * (config.num_heads * config.head_dim) as f64 * layers;
    let head = 4.0 * (config.vocab_size * config.hidden_size) as f64;
    rows * (linear + low_rank + attention) + supervised * head
}
