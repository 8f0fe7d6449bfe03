//! How tensors store their values: block types, their sizes, and their decoding to f32.
//!
//! Layouts follow `ggml-common.h` and `ggml-quants.c` of ggml; results equal the PyPI package
//! `gguf` bit for bit (`tests/dequantise.rs`), which fixes the order of the operations.

use std::fmt;

use half::bf16;

/// Values of one K-quant block (`QK_K` of ggml).
pub(super) const K: usize = 256;

macro_rules! tensor_types {
    ($($(#[$doc:meta])* $variant:ident = $code:literal, $name:literal, $values:expr, $bytes:expr;)*) => {
        /// How a tensor's values are stored, with ggml's code.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[expect(non_camel_case_types, reason = "ggml's own names")]
        #[expect(missing_docs, reason = "the name is the documentation: see ggml-common.h")]
        #[non_exhaustive]
        pub enum TensorType { $($(#[$doc])* $variant = $code),* }

        impl TensorType {
            /// Returns the type with ggml's code, if it exists.
            pub fn from_code(code: u32) -> Option<Self> {
                match code { $($code => Some(Self::$variant),)* _ => None }
            }

            /// Returns ggml's name, such as `Q4_K`.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),* }
            }

            /// Returns how many values and how many bytes one block has.
            pub fn block(self) -> (usize, usize) {
                match self { $(Self::$variant => ($values, $bytes)),* }
            }
        }
    };
}

tensor_types! {
    F32 = 0, "F32", 1, 4;
    F16 = 1, "F16", 1, 2;
    Q4_0 = 2, "Q4_0", 32, 2 + 16;
    Q4_1 = 3, "Q4_1", 32, 2 + 2 + 16;
    Q5_0 = 6, "Q5_0", 32, 2 + 4 + 16;
    Q5_1 = 7, "Q5_1", 32, 2 + 2 + 4 + 16;
    Q8_0 = 8, "Q8_0", 32, 2 + 32;
    Q8_1 = 9, "Q8_1", 32, 4 + 32;
    Q2_K = 10, "Q2_K", K, 2 + 2 + K / 16 + K / 4;
    Q3_K = 11, "Q3_K", K, 2 + K / 4 + K / 8 + 12;
    Q4_K = 12, "Q4_K", K, 2 + 2 + 12 + K / 2;
    Q5_K = 13, "Q5_K", K, 2 + 2 + 12 + K / 8 + K / 2;
    Q6_K = 14, "Q6_K", K, K / 2 + K / 4 + K / 16 + 2;
    Q8_K = 15, "Q8_K", K, 4 + K + K / 8;
    IQ2_XXS = 16, "IQ2_XXS", K, 2 + K / 4;
    IQ2_XS = 17, "IQ2_XS", K, 2 + K / 4 + K / 32;
    IQ3_XXS = 18, "IQ3_XXS", K, 2 + K / 4 + K / 8;
    IQ1_S = 19, "IQ1_S", K, 2 + K / 8 + K / 16;
    IQ4_NL = 20, "IQ4_NL", 32, 2 + 16;
    IQ3_S = 21, "IQ3_S", K, 2 + K / 4 + K / 8 + K / 32 + 4;
    IQ2_S = 22, "IQ2_S", K, 2 + K / 4 + K / 16;
    IQ4_XS = 23, "IQ4_XS", K, 2 + 2 + K / 2 + K / 64;
    I8 = 24, "I8", 1, 1;
    I16 = 25, "I16", 1, 2;
    I32 = 26, "I32", 1, 4;
    I64 = 27, "I64", 1, 8;
    F64 = 28, "F64", 1, 8;
    IQ1_M = 29, "IQ1_M", K, K / 8 + K / 16 + K / 32;
    BF16 = 30, "BF16", 1, 2;
    TQ1_0 = 34, "TQ1_0", K, 2 + 4 * 13;
    TQ2_0 = 35, "TQ2_0", K, 2 + 64;
    MXFP4 = 39, "MXFP4", 32, 1 + 16;
}

/// [`TensorType::DECODABLE`] as an error message lists it.
pub(crate) const DECODABLE_NAMES: &str =
    "F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q4_K, Q5_K or Q6_K";

impl TensorType {
    /// The types [`dequantise`] decodes.
    pub const DECODABLE: &[Self] = &[
        Self::F32,
        Self::F16,
        Self::BF16,
        Self::Q4_0,
        Self::Q4_1,
        Self::Q5_0,
        Self::Q5_1,
        Self::Q8_0,
        Self::Q4_K,
        Self::Q5_K,
        Self::Q6_K,
    ];

    /// Returns ggml's code.
    pub fn code(self) -> u32 {
        self as u32
    }

    /// Returns the bytes of a tensor of `shape` (outermost first); `None` when a row is not a
    /// whole number of blocks or the size does not fit a `usize`.
    pub fn bytes_of(self, shape: &[usize]) -> Option<usize> {
        let (values, bytes) = self.block();
        let (row, outer) = shape
            .split_last()
            .map_or((1, shape), |(n, rest)| (*n, rest));
        if !row.is_multiple_of(values) {
            return None;
        }
        let rows = outer.iter().try_fold(1usize, |n, &d| n.checked_mul(d))?;
        (row / values).checked_mul(bytes)?.checked_mul(rows)
    }
}

impl fmt::Display for TensorType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Decodes `bytes`, a whole number of blocks, to `out`, one f32 per value.
///
/// Returns `false`, leaving `out` as it is, when the type is not in
/// [`TensorType::DECODABLE`] or the lengths do not belong together.
#[must_use]
pub fn dequantise(tensor_type: TensorType, bytes: &[u8], out: &mut [f32]) -> bool {
    let (values, size) = tensor_type.block();
    if !bytes.len().is_multiple_of(size) || bytes.len() / size * values != out.len() {
        return false;
    }
    // Compiled for every register width; the results are the same.
    pulp::Arch::new().dispatch(Decode {
        tensor_type,
        bytes,
        out,
    })
}

/// A decoding to be compiled for every register width. A closure would be called through a shim
/// that is not inlined, and run in baseline code.
struct Decode<'a> {
    tensor_type: TensorType,
    bytes: &'a [u8],
    out: &'a mut [f32],
}

impl pulp::NullaryFnOnce for Decode<'_> {
    type Output = bool;

    #[inline(always)]
    fn call(self) -> bool {
        decode(self.tensor_type, self.bytes, self.out)
    }
}

/// Wraps a function in a closure that is inlined: called by its name it would be called through a
/// shim of the compiler's, and run in baseline code.
macro_rules! inlined {
    ($function:ident) => {
        #[inline(always)]
        |block, values| $function(block, values)
    };
}

#[inline(always)]
fn decode(tensor_type: TensorType, bytes: &[u8], out: &mut [f32]) -> bool {
    match tensor_type {
        TensorType::F32 => blocks(bytes, out, |b: &[u8; 4], y: &mut [f32; 1]| {
            y[0] = f32::from_le_bytes(*b);
        }),
        TensorType::F16 => blocks(bytes, out, |b: &[u8; 2], y: &mut [f32; 1]| {
            y[0] = half_at(b, 0);
        }),
        TensorType::BF16 => blocks(bytes, out, |b: &[u8; 2], y: &mut [f32; 1]| {
            y[0] = bf16::from_le_bytes(*b).to_f32();
        }),
        TensorType::Q4_0 => blocks(bytes, out, inlined!(q4_0)),
        TensorType::Q4_1 => blocks(bytes, out, inlined!(q4_1)),
        TensorType::Q5_0 => blocks(bytes, out, inlined!(q5_0)),
        TensorType::Q5_1 => blocks(bytes, out, inlined!(q5_1)),
        TensorType::Q8_0 => blocks(bytes, out, inlined!(q8_0)),
        TensorType::Q4_K => blocks(bytes, out, inlined!(q4_k)),
        TensorType::Q5_K => blocks(bytes, out, inlined!(q5_k)),
        TensorType::Q6_K => blocks(bytes, out, inlined!(q6_k)),
        _ => return false,
    }
    true
}

#[inline(always)]
fn blocks<const B: usize, const V: usize>(
    bytes: &[u8],
    out: &mut [f32],
    decode: impl Fn(&[u8; B], &mut [f32; V]),
) {
    let (blocks, _) = bytes.as_chunks::<B>();
    let (values, _) = out.as_chunks_mut::<V>();
    for (block, values) in blocks.iter().zip(values) {
        decode(block, values);
    }
}

/// Reads the half-precision number at byte `at`. The exponent moves to its place and is corrected by
/// a multiplication, which is exact and makes numbers of what half precision holds below its normal
/// range; a library's conversion would not be inlined into the loops.
#[inline(always)]
fn half_at(bytes: &[u8], at: usize) -> f32 {
    let half = u32::from(u16::from_le_bytes([bytes[at], bytes[at + 1]]));
    let scaled = f32::from_bits((half & 0x7fff) << 13) * f32::from_bits(0x7780_0000);
    let magnitude = if half & 0x7c00 == 0x7c00 {
        0x7f80_0000 | (half & 0x03ff) << 13
    } else {
        scaled.to_bits()
    };
    f32::from_bits(magnitude | (half & 0x8000) << 16)
}

/// Half a block's low nibbles come first, then its high ones.
#[inline(always)]
fn q4_0(b: &[u8; 18], y: &mut [f32; 32]) {
    let d = half_at(b, 0);
    for j in 0..16 {
        y[j] = d * (i32::from(b[2 + j] & 15) - 8) as f32;
        y[16 + j] = d * (i32::from(b[2 + j] >> 4) - 8) as f32;
    }
}

#[inline(always)]
fn q4_1(b: &[u8; 20], y: &mut [f32; 32]) {
    let (d, m) = (half_at(b, 0), half_at(b, 2));
    for j in 0..16 {
        y[j] = d * f32::from(b[4 + j] & 15) + m;
        y[16 + j] = d * f32::from(b[4 + j] >> 4) + m;
    }
}

/// Returns the 32 five-bit numbers of a Q5 block: four bits in `low`, the fifth in `high`.
#[inline(always)]
fn five_bits(high: &[u8], low: &[u8]) -> [u8; 32] {
    let high = u32::from_le_bytes([high[0], high[1], high[2], high[3]]);
    std::array::from_fn(|j| {
        let nibble = if j < 16 {
            low[j] & 15
        } else {
            low[j - 16] >> 4
        };
        nibble | (((high >> j) & 1) as u8) << 4
    })
}

#[inline(always)]
fn q5_0(b: &[u8; 22], y: &mut [f32; 32]) {
    let d = half_at(b, 0);
    for (y, q) in y.iter_mut().zip(five_bits(&b[2..6], &b[6..])) {
        *y = d * (i32::from(q) - 16) as f32;
    }
}

#[inline(always)]
fn q5_1(b: &[u8; 24], y: &mut [f32; 32]) {
    let (d, m) = (half_at(b, 0), half_at(b, 2));
    for (y, q) in y.iter_mut().zip(five_bits(&b[4..8], &b[8..])) {
        *y = d * f32::from(q) + m;
    }
}

#[inline(always)]
fn q8_0(b: &[u8; 34], y: &mut [f32; 32]) {
    let d = half_at(b, 0);
    for j in 0..32 {
        y[j] = f32::from(b[2 + j].cast_signed()) * d;
    }
}

/// Returns the six-bit scale and minimum of group `g` of 8, packed in 12 bytes.
#[inline(always)]
fn scale_and_minimum(packed: &[u8], g: usize) -> (f32, f32) {
    let (scale, minimum) = if g < 4 {
        (packed[g] & 63, packed[g + 4] & 63)
    } else {
        (
            packed[g + 4] & 15 | packed[g - 4] >> 6 << 4,
            packed[g + 4] >> 4 | packed[g] >> 6 << 4,
        )
    };
    (f32::from(scale), f32::from(minimum))
}

#[inline(always)]
fn q4_k(b: &[u8; 144], y: &mut [f32; K]) {
    let (d, minimum) = (half_at(b, 0), half_at(b, 2));
    for g in 0..8 {
        let (s, m) = scale_and_minimum(&b[4..16], g);
        let (s, m) = (d * s, minimum * m);
        for j in 0..32 {
            // Groups 2i and 2i + 1 share 32 bytes: low nibbles, then high ones.
            let q = b[16 + g / 2 * 32 + j] >> (4 * (g % 2)) & 15;
            y[g * 32 + j] = s * f32::from(q) - m;
        }
    }
}

#[inline(always)]
fn q5_k(b: &[u8; 176], y: &mut [f32; K]) {
    let (d, minimum) = (half_at(b, 0), half_at(b, 2));
    for g in 0..8 {
        let (s, m) = scale_and_minimum(&b[4..16], g);
        let (s, m) = (d * s, minimum * m);
        for j in 0..32 {
            let low = b[48 + g / 2 * 32 + j] >> (4 * (g % 2)) & 15;
            let high = b[16 + j] >> g & 1;
            y[g * 32 + j] = s * f32::from(low | high << 4) - m;
        }
    }
}

#[inline(always)]
fn q6_k(b: &[u8; 210], y: &mut [f32; K]) {
    let d = half_at(b, 208);
    for g in 0..8 {
        // Per half of 128 values: 64 bytes of low nibbles, 32 bytes of high bit pairs.
        let (half, part) = (g / 4, g % 4);
        for j in 0..32 {
            let low = b[half * 64 + part % 2 * 32 + j] >> (4 * (part / 2)) & 15;
            let high = b[128 + half * 32 + j] >> (2 * part) & 3;
            let scale = f32::from(b[192 + g * 2 + j / 16].cast_signed());
            y[g * 32 + j] = d * scale * (i32::from(low | high << 4) - 32) as f32;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::half_at;
    use half::f16;

    #[test]
    fn every_half_precision_number_is_read_exactly() {
        for bits in 0..=u16::MAX {
            let (ours, theirs) = (
                half_at(&bits.to_le_bytes(), 0),
                f16::from_bits(bits).to_f32(),
            );
            let same = ours.to_bits() == theirs.to_bits() || ours.is_nan() && theirs.is_nan();
            assert!(same, "{bits:#06x}: {ours} is not {theirs}");
        }
    }
}
