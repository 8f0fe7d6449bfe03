//! Blocks of bf16 multiplied by AVX-512's dot products of pairs.

use super::{BLOCK, SIDE};
use std::arch::x86_64::{
    __m512bh, __m512i, _mm512_dpbf16_ps, _mm512_loadu_si512, _mm512_set1_epi32, _mm512_setzero_ps,
    _mm512_storeu_ps,
};

/// Rows whose sums are in registers together, two registers each.
const ROWS: usize = 8;

/// Returns whether this machine has the instructions.
pub(super) fn available() -> bool {
    std::arch::is_x86_feature_detected!("avx512f")
        && std::arch::is_x86_feature_detected!("avx512bf16")
}

/// Computes c [32][32] = sum over blocks of a times b.
///
/// # Panics
/// On a machine without the instructions.
pub(super) fn multiply(a: &[u16], b: &[u16], c: &mut [f32; BLOCK]) {
    assert!(available(), "no bf16 dot products on this machine");
    let blocks = a.len() / BLOCK;
    assert!(a.len() == blocks * BLOCK && b.len() == blocks * BLOCK);
    // SAFETY: the features were found; both operands hold `blocks` whole blocks.
    #[expect(unsafe_code, reason = "AVX-512 on blocks whose sizes were checked")]
    unsafe {
        blocks_of(blocks, a.as_ptr(), b.as_ptr(), c);
    }
}

/// # Safety
/// The machine has AVX-512F and bf16 dot products; `a` and `b` point to `blocks` blocks.
#[target_feature(enable = "avx512f,avx512bf16")]
#[expect(unsafe_code, reason = "raw blocks whose number the caller vouches for")]
unsafe fn blocks_of(blocks: usize, a: *const u16, b: *const u16, c: &mut [f32; BLOCK]) {
    for top in (0..SIDE).step_by(ROWS) {
        let mut sums = [[_mm512_setzero_ps(); 2]; ROWS];
        for block in 0..blocks {
            for pair in 0..SIDE / 2 {
                // SAFETY: offsets stay inside a block: pairs and rows are below 32, and the tile of
                // the second 16 columns lies half a block on.
                unsafe {
                    let tile = b.add(block * BLOCK + pair * SIDE);
                    let first: __m512bh = bits(_mm512_loadu_si512(tile.cast()));
                    let second: __m512bh = bits(_mm512_loadu_si512(tile.add(BLOCK / 2).cast()));
                    for (r, sums) in sums.iter_mut().enumerate() {
                        let row = a.add(block * BLOCK + (top + r) * SIDE + 2 * pair);
                        let left = bits(_mm512_set1_epi32(row.cast::<i32>().read_unaligned()));
                        sums[0] = _mm512_dpbf16_ps(sums[0], left, first);
                        sums[1] = _mm512_dpbf16_ps(sums[1], left, second);
                    }
                }
            }
        }
        for (r, sums) in sums.iter().enumerate() {
            let row = &mut c[(top + r) * SIDE..][..SIDE];
            // SAFETY: the row has 32 values.
            unsafe {
                _mm512_storeu_ps(row.as_mut_ptr(), sums[0]);
                _mm512_storeu_ps(row.as_mut_ptr().add(SIDE / 2), sums[1]);
            }
        }
    }
}

/// Takes 64 bytes as 32 bf16 values.
#[target_feature(enable = "avx512f,avx512bf16")]
fn bits(x: __m512i) -> __m512bh {
    // SAFETY: both types are 64 bytes for which every bit pattern is valid.
    #[expect(unsafe_code, reason = "the same 64 bytes under another type")]
    unsafe {
        std::mem::transmute(x)
    }
}
