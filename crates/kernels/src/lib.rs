//! Dense f32 kernels of the decoder: matrix products, normalisation, rotary embedding, SwiGLU,
//! causal attention and cross-entropy, each as a forward and backward pair.
//!
//! This is the only home of `unsafe` compute code. Every function takes plain slices, states and
//! asserts its shapes, and writes results that do not depend on the number of threads: work is cut
//! into pieces by shape alone and every reduction runs in a fixed order.
//!
//! It deliberately knows nothing of models, files or tokens.
//!
//! Dimensions used throughout: T rows (tokens), C channels, H query heads, G key/value heads,
//! D head width, F feed-forward width, V vocabulary, R rank.

pub mod attention;
pub mod bf16;
pub mod cross_entropy;
pub mod elementwise;
pub mod exp;
mod lanes;
pub mod matmul;
pub mod memory;
pub mod nf4;
pub mod norm;
pub mod operand;
mod pack;
pub mod rotary;
mod slender;
mod stored;
pub mod swiglu;
mod tile;
mod widest;

/// Rows handled by one task of a row-parallel kernel; fixed, so that the cut never depends on the
/// number of threads.
pub(crate) const ROWS_PER_TASK: usize = 32;

/// Lanes of a manual partial sum: one AVX-512 register of f32, a multiple of every narrower one.
pub(crate) const LANES: usize = 16;

/// Returns the sum of `f(i)` over `0..n` in [`LANES`] interleaved partial sums.
///
/// The order of additions is fixed by this function and not by the instruction set, so the result
/// is the same on every machine.
#[inline(always)]
pub(crate) fn lane_sum(n: usize, f: impl Fn(usize) -> f32) -> f32 {
    let mut lanes = [0.0f32; LANES];
    let whole = n / LANES * LANES;
    let mut i = 0;
    while i < whole {
        for (lane, sum) in lanes.iter_mut().enumerate() {
            *sum += f(i + lane);
        }
        i += LANES;
    }
    let mut total = 0.0;
    for sum in lanes {
        total += sum;
    }
    for j in whole..n {
        total += f(j);
    }
    total
}
