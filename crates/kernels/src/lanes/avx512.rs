//! Lanes of one AVX-512 register.

use super::{Lanes, WIDTH};
use pulp::x86::V4;
use std::arch::x86_64::{__m128i, __m256i, __m512, __m512i};

impl Lanes for V4 {
    type F = __m512;
    type I = __m512i;
    type Table = __m512;

    #[inline(always)]
    fn load(self, x: &[f32; WIDTH]) -> __m512 {
        pulp::cast(*x)
    }

    #[inline(always)]
    fn splat(self, x: f32) -> __m512 {
        self.avx512f._mm512_set1_ps(x)
    }

    #[inline(always)]
    fn add(self, a: __m512, b: __m512) -> __m512 {
        self.avx512f._mm512_add_ps(a, b)
    }

    #[inline(always)]
    fn mul(self, a: __m512, b: __m512) -> __m512 {
        self.avx512f._mm512_mul_ps(a, b)
    }

    #[inline(always)]
    fn mul_add(self, a: __m512, b: __m512, c: __m512) -> __m512 {
        self.avx512f._mm512_fmadd_ps(a, b, c)
    }

    #[inline(always)]
    fn sum(self, a: __m512) -> f32 {
        let low = self.avx512f._mm512_castps512_ps256(a);
        let high = self.avx512dq._mm512_extractf32x8_ps::<1>(a);
        super::avx2::sum_of_eight(*self, self.avx._mm256_add_ps(low, high))
    }

    #[inline(always)]
    fn unsigned(self, bytes: &[u8; WIDTH]) -> __m512i {
        self.avx512f
            ._mm512_cvtepu8_epi32(pulp::cast::<_, __m128i>(*bytes))
    }

    #[inline(always)]
    fn signed(self, bytes: &[u8; WIDTH]) -> __m512i {
        self.avx512f
            ._mm512_cvtepi8_epi32(pulp::cast::<_, __m128i>(*bytes))
    }

    #[inline(always)]
    fn splat_whole(self, x: i32) -> __m512i {
        self.avx512f._mm512_set1_epi32(x)
    }

    #[inline(always)]
    fn and(self, a: __m512i, b: __m512i) -> __m512i {
        self.avx512f._mm512_and_si512(a, b)
    }

    #[inline(always)]
    fn or(self, a: __m512i, b: __m512i) -> __m512i {
        self.avx512f._mm512_or_si512(a, b)
    }

    #[inline(always)]
    fn sub_whole(self, a: __m512i, b: __m512i) -> __m512i {
        self.avx512f._mm512_sub_epi32(a, b)
    }

    #[inline(always)]
    fn shift_right(self, a: __m512i, bits: u32) -> __m512i {
        self.avx512f
            ._mm512_srlv_epi32(a, self.splat_whole(bits.cast_signed()))
    }

    #[inline(always)]
    fn shift_left(self, a: __m512i, bits: u32) -> __m512i {
        self.avx512f
            ._mm512_sllv_epi32(a, self.splat_whole(bits.cast_signed()))
    }

    #[inline(always)]
    fn float(self, a: __m512i) -> __m512 {
        self.avx512f._mm512_cvtepi32_ps(a)
    }

    #[inline(always)]
    fn halves(self, bytes: &[u8; 2 * WIDTH]) -> __m512 {
        self.avx512f
            ._mm512_cvtph_ps(pulp::cast::<_, __m256i>(*bytes))
    }

    #[inline(always)]
    fn brains(self, bytes: &[u8; 2 * WIDTH]) -> __m512 {
        let numbers = self
            .avx512f
            ._mm512_cvtepu16_epi32(pulp::cast::<_, __m256i>(*bytes));
        pulp::cast(self.shift_left(numbers, 16))
    }

    #[inline(always)]
    fn splat_half(self, bytes: [u8; 2]) -> __m512 {
        let half = self.avx._mm256_set1_epi16(i16::from_le_bytes(bytes));
        self.avx512f._mm512_cvtph_ps(half)
    }

    #[inline(always)]
    fn splat_two_halves(self, bytes: [u8; 4]) -> [__m512; 2] {
        let both = self.avx._mm256_set1_epi32(i32::from_le_bytes(bytes));
        let both = self.avx512f._mm512_cvtph_ps(both);
        [
            self.avx512f._mm512_moveldup_ps(both),
            self.avx512f._mm512_movehdup_ps(both),
        ]
    }

    #[inline(always)]
    fn table(self, scale: __m512, offset: __m512) -> __m512 {
        let codes = self.load(&[
            0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 11.0, 12.0, 13.0, 14.0, 15.0,
        ]);
        self.add(self.mul(codes, scale), offset)
    }

    #[inline(always)]
    fn look_up(self, table: __m512, codes: __m512i) -> __m512 {
        // The instruction looks at no more than four bits of an index.
        self.avx512f._mm512_permutexvar_ps(codes, table)
    }
}
