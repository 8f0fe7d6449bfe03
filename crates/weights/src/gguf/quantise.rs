//! Encoding f32 values into the block types of a GGUF file, byte for byte as ggml's own
//! `quantize_row_*_ref` functions do without an importance matrix (`tests/quantise.rs`), which
//! fixes the order of the operations.

mod blocks;
mod super_blocks;

use half::{bf16, f16};

use super::TensorType;
use super::block::K;

impl TensorType {
    /// The types [`quantise`] encodes.
    pub const ENCODABLE: &[Self] = Self::DECODABLE;
}

/// Encodes `values`, a whole number of blocks, to `out`.
///
/// Returns `false`, leaving `out` as it is, when the type is not in
/// [`TensorType::ENCODABLE`] or the lengths do not belong together. The values must be finite;
/// others give a block without meaning, as they do in ggml.
#[must_use]
pub fn quantise(tensor_type: TensorType, values: &[f32], out: &mut [u8]) -> bool {
    let (count, size) = tensor_type.block();
    if !values.len().is_multiple_of(count) || values.len() / count * size != out.len() {
        return false;
    }
    // Compiled for every register width; lanes are whole groups, so the results are the same.
    pulp::Arch::new().dispatch(Encode {
        tensor_type,
        values,
        out,
    })
}

/// An encoding to be compiled for every register width (see `Decode` in `block.rs`).
struct Encode<'a> {
    tensor_type: TensorType,
    values: &'a [f32],
    out: &'a mut [u8],
}

/// Wraps a function in a closure that is inlined (see the macro of the same name in `block.rs`).
macro_rules! inlined {
    ($module:ident :: $function:ident) => {
        #[inline(always)]
        |block| $module::$function(block)
    };
}

impl pulp::NullaryFnOnce for Encode<'_> {
    type Output = bool;

    #[inline(always)]
    fn call(self) -> bool {
        let Self {
            tensor_type,
            values,
            out,
        } = self;
        match tensor_type {
            TensorType::F32 => each(values, out, |x: &[f32; 1]| x[0].to_le_bytes()),
            TensorType::F16 => each(values, out, |x: &[f32; 1]| {
                f16::from_f32(x[0]).to_le_bytes()
            }),
            TensorType::BF16 => each(values, out, |x: &[f32; 1]| {
                bf16::from_f32(x[0]).to_le_bytes()
            }),
            TensorType::Q4_0 => each(values, out, inlined!(blocks::q4_0)),
            TensorType::Q4_1 => each(values, out, inlined!(blocks::q4_1)),
            TensorType::Q5_0 => each(values, out, inlined!(blocks::q5_0)),
            TensorType::Q5_1 => each(values, out, inlined!(blocks::q5_1)),
            TensorType::Q8_0 => each(values, out, inlined!(blocks::q8_0)),
            TensorType::Q4_K => each(values, out, inlined!(super_blocks::q4_k)),
            TensorType::Q5_K => each(values, out, inlined!(super_blocks::q5_k)),
            TensorType::Q6_K => each(values, out, inlined!(super_blocks::q6_k)),
            _ => return false,
        }
        true
    }
}

/// Encodes block after block of V values to B bytes.
#[inline(always)]
fn each<const V: usize, const B: usize>(
    values: &[f32],
    out: &mut [u8],
    encode: impl Fn(&[f32; V]) -> [u8; B],
) {
    let (from, _) = values.as_chunks::<V>();
    let (to, _) = out.as_chunks_mut::<B>();
    for (from, to) in from.iter().zip(to) {
        *to = encode(from);
    }
}

/// Returns half precision's bytes of a scale.
#[inline(always)]
fn half_bytes(value: f32) -> [u8; 2] {
    f16::from_f32(value).to_le_bytes()
}

/// Returns 1 / `value`, and 0 for 0.
#[inline(always)]
fn inverse(value: f32) -> f32 {
    if value == 0.0 { 0.0 } else { 1.0 / value }
}
