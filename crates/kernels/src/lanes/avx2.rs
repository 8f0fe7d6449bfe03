//! Lanes of two AVX2 registers.

use super::{Lanes, WIDTH};
use pulp::x86::V3;
use std::arch::x86_64::{__m128, __m128i, __m256, __m256i};

/// Returns the sum of a register: halves are added to one another until one lane is left.
#[inline(always)]
pub(super) fn sum_of_eight(token: V3, a: __m256) -> f32 {
    let (avx, sse) = (token.avx, token.sse);
    let low: __m128 = avx._mm256_castps256_ps128(a);
    let four = sse._mm_add_ps(low, avx._mm256_extractf128_ps::<1>(a));
    let two = sse._mm_add_ps(four, sse._mm_movehl_ps(four, four));
    let one = sse._mm_add_ss(two, sse._mm_shuffle_ps::<1>(two, two));
    sse._mm_cvtss_f32(one)
}

/// Widens sixteen numbers of 16 bits.
#[inline(always)]
fn widened(token: V3, bytes: &[u8; 2 * WIDTH]) -> [__m256i; 2] {
    let parts: [__m128i; 2] = pulp::cast(*bytes);
    [
        token.avx2._mm256_cvtepu16_epi32(parts[0]),
        token.avx2._mm256_cvtepu16_epi32(parts[1]),
    ]
}

impl Lanes for V3 {
    type F = [__m256; 2];
    type I = [__m256i; 2];
    /// Scale and offset: computing a value is as fast as looking it up in two registers.
    type Table = [Self::F; 2];

    #[inline(always)]
    fn load(self, x: &[f32; WIDTH]) -> Self::F {
        pulp::cast(*x)
    }

    #[inline(always)]
    fn splat(self, x: f32) -> Self::F {
        [self.avx._mm256_set1_ps(x); 2]
    }

    #[inline(always)]
    fn add(self, a: Self::F, b: Self::F) -> Self::F {
        [
            self.avx._mm256_add_ps(a[0], b[0]),
            self.avx._mm256_add_ps(a[1], b[1]),
        ]
    }

    #[inline(always)]
    fn mul(self, a: Self::F, b: Self::F) -> Self::F {
        [
            self.avx._mm256_mul_ps(a[0], b[0]),
            self.avx._mm256_mul_ps(a[1], b[1]),
        ]
    }

    #[inline(always)]
    fn mul_add(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F {
        [
            self.fma._mm256_fmadd_ps(a[0], b[0], c[0]),
            self.fma._mm256_fmadd_ps(a[1], b[1], c[1]),
        ]
    }

    #[inline(always)]
    fn sum(self, a: Self::F) -> f32 {
        sum_of_eight(self, self.avx._mm256_add_ps(a[0], a[1]))
    }

    #[inline(always)]
    fn unsigned(self, bytes: &[u8; WIDTH]) -> Self::I {
        let all: __m128i = pulp::cast(*bytes);
        let upper = self.sse2._mm_srli_si128::<8>(all);
        [
            self.avx2._mm256_cvtepu8_epi32(all),
            self.avx2._mm256_cvtepu8_epi32(upper),
        ]
    }

    #[inline(always)]
    fn signed(self, bytes: &[u8; WIDTH]) -> Self::I {
        let all: __m128i = pulp::cast(*bytes);
        let upper = self.sse2._mm_srli_si128::<8>(all);
        [
            self.avx2._mm256_cvtepi8_epi32(all),
            self.avx2._mm256_cvtepi8_epi32(upper),
        ]
    }

    #[inline(always)]
    fn splat_whole(self, x: i32) -> Self::I {
        [self.avx._mm256_set1_epi32(x); 2]
    }

    #[inline(always)]
    fn and(self, a: Self::I, b: Self::I) -> Self::I {
        [
            self.avx2._mm256_and_si256(a[0], b[0]),
            self.avx2._mm256_and_si256(a[1], b[1]),
        ]
    }

    #[inline(always)]
    fn or(self, a: Self::I, b: Self::I) -> Self::I {
        [
            self.avx2._mm256_or_si256(a[0], b[0]),
            self.avx2._mm256_or_si256(a[1], b[1]),
        ]
    }

    #[inline(always)]
    fn sub_whole(self, a: Self::I, b: Self::I) -> Self::I {
        [
            self.avx2._mm256_sub_epi32(a[0], b[0]),
            self.avx2._mm256_sub_epi32(a[1], b[1]),
        ]
    }

    #[inline(always)]
    fn shift_right(self, a: Self::I, bits: u32) -> Self::I {
        let bits = self.avx._mm256_set1_epi32(bits.cast_signed());
        [
            self.avx2._mm256_srlv_epi32(a[0], bits),
            self.avx2._mm256_srlv_epi32(a[1], bits),
        ]
    }

    #[inline(always)]
    fn shift_left(self, a: Self::I, bits: u32) -> Self::I {
        let bits = self.avx._mm256_set1_epi32(bits.cast_signed());
        [
            self.avx2._mm256_sllv_epi32(a[0], bits),
            self.avx2._mm256_sllv_epi32(a[1], bits),
        ]
    }

    #[inline(always)]
    fn float(self, a: Self::I) -> Self::F {
        [
            self.avx._mm256_cvtepi32_ps(a[0]),
            self.avx._mm256_cvtepi32_ps(a[1]),
        ]
    }

    #[inline(always)]
    fn halves(self, bytes: &[u8; 2 * WIDTH]) -> Self::F {
        // As the plain definition does it; the instruction is not among this token's.
        let numbers = widened(self, bytes);
        let magnitude = self.and(numbers, self.splat_whole(0x7fff));
        let sign = self.shift_left(self.and(numbers, self.splat_whole(0x8000)), 16);
        let scaled: Self::F = pulp::cast(self.shift_left(magnitude, 13));
        let scaled = self.mul(scaled, self.splat(f32::from_bits(0x7780_0000)));
        pulp::cast(self.or(pulp::cast(scaled), sign))
    }

    #[inline(always)]
    fn brains(self, bytes: &[u8; 2 * WIDTH]) -> Self::F {
        pulp::cast(self.shift_left(widened(self, bytes), 16))
    }

    #[inline(always)]
    fn splat_half(self, bytes: [u8; 2]) -> Self::F {
        self.splat(super::half(bytes))
    }

    #[inline(always)]
    fn table(self, scale: Self::F, offset: Self::F) -> Self::Table {
        [scale, offset]
    }

    #[inline(always)]
    fn look_up(self, [scale, offset]: Self::Table, codes: Self::I) -> Self::F {
        let codes = self.float(self.and(codes, self.splat_whole(15)));
        self.add(self.mul(codes, scale), offset)
    }
}
