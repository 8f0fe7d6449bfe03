//! The buffers of a training step and of a validation, one by one, and what the allocator makes of
//! them. Dimensions as in [`crate::estimate`].

use super::{F32, Plan, head_rows};
use model::ModelConfig;

/// Query rows of an attention tile (`TILE` in `kernels`).
const ATTENTION_TILE: usize = 64;

/// Buffers of this size or more are returned to the system as soon as they are freed; smaller ones
/// stay with the process. The ceiling of the threshold that the GNU C library moves by itself
/// (mallopt(3), `M_MMAP_THRESHOLD`: 4 MiB times the width of a `long`).
const KEPT_BY_ALLOCATOR: u64 = 32 << 20;

/// A buffer of the training step and the phases it lives in: forward, head, backward.
struct Buffer(u64, [bool; 3]);

/// Widths, in floats, of the buffers that one layer keeps of each row for its backward pass: the
/// fields of `Saved` in `model::forward`, in their order.
pub(super) fn saved_widths(config: &ModelConfig, plan: &Plan) -> Vec<u64> {
    let Widths { c, f, h, g, q, k } = Widths::of(config);
    // The stream on entry, the norm's root; q, k, v.
    let mut widths = vec![c, 1, q, k, k];
    if config.qk_norm {
        // Queries and keys before the norm over each head, and its roots.
        widths.extend([q, k, h, g]);
    }
    // Attention's output and log-sum-exp; the stream after it, the norm's root; gate and up.
    widths.extend([q, h, c, 1, f, f]);
    // Low-rank activations.
    widths.extend(plan.lora.targets.iter().map(|_| plan.lora.rank as u64));
    widths
}

/// Bytes of everything a step allocates besides what it saves.
///
/// What the allocator keeps counts for all phases at once, larger buffers for their own phase:
/// measured on SmolLM2-135M the peak of repeated steps is the sum of the phases' buffers, not the
/// largest phase, because freed memory between live buffers is not given back.
pub(super) fn working(config: &ModelConfig, plan: &Plan) -> u64 {
    let Widths { c, f, q, k, .. } = Widths::of(config);
    let t = plan.rows as u64;
    let row = |floats: u64| t * floats * F32;
    let again = plan.recompute;
    let forward = [true, false, again];
    let backward = [false, false, true];
    let widest = plan
        .lora
        .targets
        .iter()
        .map(|projection| projection.shape(config).0 as u64)
        .max()
        .unwrap_or(0);
    let dropped = if plan.lora.dropout > 0.0 { widest } else { 0 };
    let head_rows = head_rows(config, plan);
    let mut buffers = vec![
        // `Decoder::forward`: the stream, the normed rows, the product of gate and up.
        Buffer(row(c), [true, true, again]),
        Buffer(row(c), forward),
        Buffer(row(f), forward),
        // `head_backward`: its gradient, and four small buffers of the chunk.
        Buffer(row(c), [false, true, true]),
        Buffer(4 * head_rows * c * F32, [false, true, false]),
        // `linear_forward` and `linear_backward`: the input with dropout, the gradient through it.
        Buffer(row(dropped), [true, false, true]),
        Buffer(row(dropped), backward),
    ];
    // `Scratch`: normed, dnormed, product, dproduct, dattention, dq, dk, dv, draw.
    let draw = if config.qk_norm { q } else { 0 };
    for floats in [c, c, f, f, q, q, k, k, draw] {
        buffers.push(Buffer(row(floats), backward));
    }
    // Attention's results come from the worker threads in small pieces: backward has three for
    // each query head, more than forward's one, and takes over its memory.
    let pieces = row(3 * q);
    // Scores and their gradient of one tile on every thread.
    let tiles = (plan.threads * 2 * ATTENTION_TILE * plan.longest) as u64 * F32;
    let kept: u64 = buffers
        .iter()
        .map(|b| b.0)
        .filter(|bytes| is_kept(*bytes))
        .sum();
    let returned = (0..3)
        .map(|phase| {
            let large = buffers.iter().filter(|b| !is_kept(b.0) && b.1[phase]);
            large.map(|b| b.0).sum::<u64>()
        })
        .max()
        .unwrap_or(0);
    // The left operand of a bf16 product, packed; the longest is the logits' gradient.
    let packed = if plan.bf16 {
        2 * (t * f.max(q).max(c)).max(head_rows * config.vocab_size as u64)
    } else {
        0
    };
    kept + returned + pieces + tiles + packed
}

/// Bytes of a forward pass that keeps nothing: one layer's buffers, stream, normed rows, product,
/// attention's pieces; then the logits of the rows asked for, all at once.
///
/// Everything but the stream is freed between the two, and no live buffer stands in the way of
/// giving it back; the allocator keeps twice its own threshold at most (mallopt(3),
/// `M_TRIM_THRESHOLD`), which is the size of the largest buffer it has kept so far.
pub(super) fn scoring(config: &ModelConfig, plan: &Plan) -> u64 {
    let Widths { c, f, h, q, k, .. } = Widths::of(config);
    let (rows, logits) = (plan.validation.0 as u64, plan.validation.1 as u64);
    let mut widths = vec![q, k, k, q, h, f, f, c, f];
    if config.qk_norm {
        widths.extend([q, k]);
    }
    let of = |width: u64| rows * width * F32;
    let pieces = of(q + h);
    let forward: u64 = widths.iter().map(|w| of(*w)).sum::<u64>() + pieces;
    let kept: u64 = widths
        .iter()
        .map(|w| of(*w))
        .filter(|bytes| is_kept(*bytes))
        .sum::<u64>()
        + pieces;
    let sizes = [rows, plan.rows as u64].map(|rows| [f, c, q].map(|w| rows * w * F32));
    let threshold = sizes
        .into_iter()
        .flatten()
        .filter(|bytes| is_kept(*bytes))
        .max();
    let left = kept.min(2 * threshold.unwrap_or(KEPT_BY_ALLOCATOR));
    let (v, stream) = (config.vocab_size as u64, of(c));
    stream + forward.max(left + logits * (v + 2 * c) * F32)
}

/// Whether the allocator keeps a buffer of this size when it is freed.
pub(super) fn is_kept(bytes: u64) -> bool {
    bytes < KEPT_BY_ALLOCATOR
}

struct Widths {
    c: u64,
    f: u64,
    h: u64,
    g: u64,
    q: u64,
    k: u64,
}

impl Widths {
    fn of(config: &ModelConfig) -> Self {
        let d = config.head_dim as u64;
        let (h, g) = (config.num_heads as u64, config.num_kv_heads as u64);
        Self {
            c: config.hidden_size as u64,
            f: config.intermediate_size as u64,
            h,
            g,
            q: h * d,
            k: g * d,
        }
    }
}
