//! AdamW with 8-bit moments (Dettmers et al. 2022, "8-bit Optimizers via Block-wise
//! Quantization"), in the arithmetic of bitsandbytes' CPU code, which is the reference
//! (`backends/cpu/ops.py`): it fuses the products into the moments' sums, and so does this.
//!
//! Each moment is one code per element and one f32 scale per block of [`BLOCK`] elements; the
//! parameters move by the moments before they are quantised again.

use crate::adamw::AdamW;
use model::dynamic_map;
use std::sync::LazyLock;

/// Elements that share a scale.
pub const BLOCK: usize = 256;
/// Tensors of fewer elements keep f32 moments, as in bitsandbytes.
pub const SMALLEST: usize = 4096;

/// An 8-bit map and the middles between neighbouring values.
struct Map {
    values: [f32; 256],
    middles: [f32; 255],
}

impl Map {
    fn new(signed: bool) -> Self {
        let values = dynamic_map(signed);
        Self {
            values,
            middles: std::array::from_fn(|i| f32::midpoint(values[i], values[i + 1])),
        }
    }

    /// Returns the code whose value is nearest to `x`, the lower one halfway.
    fn code(&self, x: f32) -> u8 {
        self.middles.partition_point(|middle| *middle < x) as u8
    }
}

/// The first moment's map.
static SIGNED: LazyLock<Map> = LazyLock::new(|| Map::new(true));
/// The second moment's map.
static UNSIGNED: LazyLock<Map> = LazyLock::new(|| Map::new(false));

/// One moment of a tensor of n elements.
#[derive(Clone, Debug, PartialEq)]
pub struct Blocks {
    /// One code per element, [n].
    pub codes: Vec<u8>,
    /// The largest magnitude of each block, [n / [`BLOCK`], rounded up].
    pub absmax: Vec<f32>,
}

impl Blocks {
    /// Returns a moment that is zero throughout.
    pub fn zeros(len: usize) -> Self {
        Self {
            codes: vec![0; len],
            absmax: vec![0.0; len.div_ceil(BLOCK)],
        }
    }

    fn read(&self, map: &Map, block: usize, into: &mut [f32]) {
        let codes = &self.codes[block * BLOCK..];
        for (value, code) in into.iter_mut().zip(codes) {
            *value = map.values[usize::from(*code)] * self.absmax[block];
        }
    }

    /// Quantises one block. A full block is multiplied by the reciprocal of its largest magnitude,
    /// a short one divided by it.
    fn write(&mut self, map: &Map, block: usize, values: &[f32]) {
        /// In the place of a largest magnitude of zero.
        const TINY: f32 = 1e-38;
        let largest = values.iter().fold(0.0f32, |most, x| most.max(x.abs()));
        let full = values.len() == BLOCK;
        let divisor = largest.max(TINY);
        self.absmax[block] = if full { largest } else { divisor };
        let reciprocal = 1.0 / divisor;
        let codes = &mut self.codes[block * BLOCK..];
        for (code, x) in codes.iter_mut().zip(values) {
            let scaled = if full { x * reciprocal } else { x / divisor };
            *code = map.code(scaled.clamp(-1.0, 1.0));
        }
    }
}

/// Updates `p` in place from gradient `g` and quantised moments; `step` counts from 1.
///
/// # Panics
/// If the lengths differ or `step` is 0.
pub fn adamw_8bit_update(
    rule: AdamW,
    step: u64,
    p: &mut [f32],
    g: &[f32],
    first: &mut Blocks,
    second: &mut Blocks,
) {
    assert!(p.len() == g.len() && p.len() == first.codes.len() && p.len() == second.codes.len());
    let (mut m, mut v) = ([0.0; BLOCK], [0.0; BLOCK]);
    for (block, (p, g)) in p.chunks_mut(BLOCK).zip(g.chunks(BLOCK)).enumerate() {
        let (m, v) = (&mut m[..p.len()], &mut v[..p.len()]);
        first.read(&SIGNED, block, m);
        second.read(&UNSIGNED, block, v);
        fused_update(rule, step, p, g, m, v);
        first.write(&SIGNED, block, m);
        second.write(&UNSIGNED, block, v);
    }
}

/// Updates `p` in place from gradient `g` and f32 moments, rounding as bitsandbytes does.
///
/// # Panics
/// If the lengths differ or `step` is 0.
pub fn fused_update(
    rule: AdamW,
    step: u64,
    p: &mut [f32],
    g: &[f32],
    m: &mut [f32],
    v: &mut [f32],
) {
    assert!(p.len() == g.len() && p.len() == m.len() && p.len() == v.len());
    let by = rule.factors(step);
    for i in 0..p.len() {
        m[i] = g[i].mul_add(by.new1, m[i] * by.beta1);
        v[i] = (g[i] * by.new2).mul_add(g[i], v[i] * by.beta2);
        let denominator = v[i].sqrt() / by.root + by.eps;
        p[i] = p[i] * by.keep - by.step_size * m[i] / denominator;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use safetensors::SafeTensors;

    /// Ties, zeros, a short last block: `python/reference/bitsandbytes_nf4.py`.
    const REFERENCE: &[u8] =
        include_bytes!("../../weights/tests/fixtures/nf4/reference.safetensors");

    #[test]
    fn blocks_equal_bitsandbytes_bit_for_bit() {
        let file = SafeTensors::deserialize(REFERENCE).unwrap();
        for (name, map) in [("signed", &SIGNED), ("unsigned", &UNSIGNED)] {
            let bytes = |part: &str| {
                let view = file.tensor(&format!("blockwise.{name}.{part}")).unwrap();
                view.data().to_vec()
            };
            let floats = |part: &str| -> Vec<f32> {
                let bytes = bytes(part);
                let four = bytes.chunks_exact(4);
                four.map(|b| f32::from_le_bytes(b.try_into().unwrap()))
                    .collect()
            };
            let values = floats("input");
            let mut blocks = Blocks::zeros(values.len());
            let mut read = vec![f32::NAN; values.len()];
            for (index, block) in values.chunks(BLOCK).enumerate() {
                blocks.write(map, index, block);
                blocks.read(map, index, &mut read[index * BLOCK..][..block.len()]);
            }
            assert_eq!(blocks.codes, bytes("codes"), "{name}");
            assert_eq!(blocks.absmax, floats("absmax"), "{name}");
            assert_eq!(read, floats("dequantised"), "{name}");
        }
    }
}
