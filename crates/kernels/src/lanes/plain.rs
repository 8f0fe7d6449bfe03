//! Lanes as arrays: the definition of the others, and what other machines run.

use super::{Lanes, WIDTH};

/// Lanes without special instructions.
#[derive(Clone, Copy)]
pub(crate) struct Plain;

/// Reads a half-precision number. The exponent moves to its place and is corrected by a
/// multiplication, which is exact and serves numbers below the normal range too.
#[inline(always)]
pub(crate) fn half(bytes: [u8; 2]) -> f32 {
    let half = u32::from(u16::from_le_bytes(bytes));
    let scaled = f32::from_bits((half & 0x7fff) << 13) * f32::from_bits(0x7780_0000);
    f32::from_bits(scaled.to_bits() | (half & 0x8000) << 16)
}

#[inline(always)]
fn pairs(bytes: &[u8; 2 * WIDTH], read: impl Fn([u8; 2]) -> f32) -> [f32; WIDTH] {
    std::array::from_fn(|i| read([bytes[2 * i], bytes[2 * i + 1]]))
}

impl Lanes for Plain {
    type F = [f32; WIDTH];
    type I = [i32; WIDTH];
    type Table = [f32; WIDTH];

    #[inline(always)]
    fn load(self, x: &[f32; WIDTH]) -> Self::F {
        *x
    }

    #[inline(always)]
    fn splat(self, x: f32) -> Self::F {
        [x; WIDTH]
    }

    #[inline(always)]
    fn add(self, a: Self::F, b: Self::F) -> Self::F {
        std::array::from_fn(|i| a[i] + b[i])
    }

    #[inline(always)]
    fn mul(self, a: Self::F, b: Self::F) -> Self::F {
        std::array::from_fn(|i| a[i] * b[i])
    }

    #[inline(always)]
    fn mul_add(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F {
        std::array::from_fn(|i| a[i].mul_add(b[i], c[i]))
    }

    #[inline(always)]
    fn sum(self, a: Self::F) -> f32 {
        let eight: [f32; 8] = std::array::from_fn(|i| a[i] + a[i + 8]);
        let four: [f32; 4] = std::array::from_fn(|i| eight[i] + eight[i + 4]);
        (four[0] + four[2]) + (four[1] + four[3])
    }

    #[inline(always)]
    fn unsigned(self, bytes: &[u8; WIDTH]) -> Self::I {
        std::array::from_fn(|i| i32::from(bytes[i]))
    }

    #[inline(always)]
    fn signed(self, bytes: &[u8; WIDTH]) -> Self::I {
        std::array::from_fn(|i| i32::from(bytes[i].cast_signed()))
    }

    #[inline(always)]
    fn splat_whole(self, x: i32) -> Self::I {
        [x; WIDTH]
    }

    #[inline(always)]
    fn and(self, a: Self::I, b: Self::I) -> Self::I {
        std::array::from_fn(|i| a[i] & b[i])
    }

    #[inline(always)]
    fn or(self, a: Self::I, b: Self::I) -> Self::I {
        std::array::from_fn(|i| a[i] | b[i])
    }

    #[inline(always)]
    fn sub_whole(self, a: Self::I, b: Self::I) -> Self::I {
        std::array::from_fn(|i| a[i].wrapping_sub(b[i]))
    }

    #[inline(always)]
    fn shift_right(self, a: Self::I, bits: u32) -> Self::I {
        std::array::from_fn(|i| (a[i].cast_unsigned() >> bits).cast_signed())
    }

    #[inline(always)]
    fn shift_left(self, a: Self::I, bits: u32) -> Self::I {
        std::array::from_fn(|i| a[i] << bits)
    }

    #[inline(always)]
    fn float(self, a: Self::I) -> Self::F {
        a.map(|x| x as f32)
    }

    #[inline(always)]
    fn halves(self, bytes: &[u8; 2 * WIDTH]) -> Self::F {
        pairs(bytes, half)
    }

    #[inline(always)]
    fn brains(self, bytes: &[u8; 2 * WIDTH]) -> Self::F {
        pairs(
            bytes,
            #[inline(always)]
            |pair| f32::from_bits(u32::from(u16::from_le_bytes(pair)) << 16),
        )
    }

    #[inline(always)]
    fn splat_half(self, bytes: [u8; 2]) -> Self::F {
        [half(bytes); WIDTH]
    }

    #[inline(always)]
    fn table(self, scale: Self::F, offset: Self::F) -> Self::Table {
        std::array::from_fn(|code| code as f32 * scale[code] + offset[code])
    }

    #[inline(always)]
    fn look_up(self, table: Self::Table, codes: Self::I) -> Self::F {
        codes.map(|code| table[(code & 15) as usize])
    }
}
