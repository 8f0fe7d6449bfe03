//! Decoding four-bit codes through a table of sixteen values, one scale for all.

/// Writes `table[code] * scale` for every code: two codes a byte, the first in the high half.
///
/// # Panics
/// If `out` does not hold exactly two values for each byte.
pub fn decode_nibbles(codes: &[u8], table: &[f32; 16], scale: f32, out: &mut [f32]) {
    assert_eq!(out.len(), 2 * codes.len(), "two values a byte");
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx512f") && codes.len().is_multiple_of(8) {
        for (codes, out) in codes.chunks_exact(8).zip(out.chunks_exact_mut(16)) {
            // SAFETY: the feature was found above; the chunks hold 8 bytes and 16 values.
            #[expect(unsafe_code, reason = "AVX-512 table look-up")]
            unsafe {
                x86::sixteen(codes.as_ptr(), table, scale, out.as_mut_ptr());
            }
        }
        return;
    }
    plain(codes, table, scale, out);
}

fn plain(codes: &[u8], table: &[f32; 16], scale: f32, out: &mut [f32]) {
    let (pairs, _) = out.as_chunks_mut::<2>();
    for (byte, pair) in codes.iter().zip(pairs) {
        pair[0] = table[(byte >> 4) as usize] * scale;
        pair[1] = table[(byte & 15) as usize] * scale;
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::{
        _mm_and_si128, _mm_loadl_epi64, _mm_set1_epi8, _mm_srli_epi16, _mm_unpacklo_epi8,
        _mm512_cvtepu8_epi32, _mm512_loadu_ps, _mm512_mul_ps, _mm512_permutexvar_ps,
        _mm512_set1_ps, _mm512_storeu_ps,
    };

    /// Decodes 8 bytes to 16 values.
    ///
    /// # Safety
    /// The machine has AVX-512F; 8 bytes may be read and 16 values written.
    #[target_feature(enable = "avx512f")]
    #[inline]
    #[expect(unsafe_code, reason = "raw parts whose lengths the caller checked")]
    pub(super) unsafe fn sixteen(codes: *const u8, table: &[f32; 16], scale: f32, out: *mut f32) {
        // SAFETY: the caller vouches for the lengths.
        unsafe {
            let bytes = _mm_loadl_epi64(codes.cast());
            let low = _mm_set1_epi8(15);
            let first = _mm_and_si128(_mm_srli_epi16::<4>(bytes), low);
            let second = _mm_and_si128(bytes, low);
            let indices = _mm512_cvtepu8_epi32(_mm_unpacklo_epi8(first, second));
            let values = _mm512_permutexvar_ps(indices, _mm512_loadu_ps(table.as_ptr()));
            _mm512_storeu_ps(out, _mm512_mul_ps(values, _mm512_set1_ps(scale)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{decode_nibbles, plain};

    #[test]
    fn equals_the_definition() {
        let table: [f32; 16] = std::array::from_fn(|i| (i as f32 - 7.3).powi(3));
        for bytes in [1, 7, 8, 32, 41] {
            let codes: Vec<u8> = (0..bytes).map(|i| (i * 37 + 11) as u8).collect();
            let (mut fast, mut slow) = (vec![0.0; 2 * bytes], vec![0.0; 2 * bytes]);
            decode_nibbles(&codes, &table, 0.7, &mut fast);
            plain(&codes, &table, 0.7, &mut slow);
            assert_eq!(fast, slow);
            assert_eq!(slow[0], table[usize::from(codes[0] >> 4)] * 0.7);
        }
    }
}
