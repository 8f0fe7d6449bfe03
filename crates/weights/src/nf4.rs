//! NF4 (Dettmers et al. 2023, "QLoRA"): four bits a value, blocks of 64 scaled by their largest
//! magnitude, and those scales quantised again to eight bits.
//!
//! Values, blocks and rounding follow bitsandbytes' CPU code and equal it bit for bit
//! (`tests/nf4.rs`).

use std::ops::Range;

use rayon::prelude::*;

use crate::dynamic_map;

/// The sixteen values: quantiles of a standard normal, scaled to [-1, 1].
pub const NF4: [f32; 16] = [
    -1.0,
    -0.696_192_8,
    -0.525_073_05,
    -0.394_917_5,
    -0.284_441_38,
    -0.184_773_43,
    -0.091_050_036,
    0.0,
    0.079_580_3,
    0.160_930_2,
    0.246_112_3,
    0.337_915_24,
    0.440_709_83,
    0.562_617,
    0.722_956_84,
    1.0,
];

/// Values of a block.
pub const NF4_BLOCK: usize = 64;

/// Scales of a block of scales.
const NESTED_BLOCK: usize = 256;

/// Smallest magnitude a block is divided by.
const TINY: f32 = 1e-38;

/// A matrix [rows, cols] in NF4, blocks running over its row-major values.
#[derive(Clone, Debug)]
pub struct Nf4Matrix {
    rows: usize,
    cols: usize,
    /// Two values a byte, the first in the high half.
    codes: Vec<u8>,
    scales: Scales,
}

/// The blocks' largest magnitudes.
#[derive(Clone, Debug)]
enum Scales {
    /// As they are.
    Full(Vec<f32>),
    /// Less their mean, in eight bits, blocks of 256 scaled by their largest magnitude.
    Nested {
        codes: Vec<u8>,
        absmax: Vec<f32>,
        offset: f32,
        map: Box<[f32; 256]>,
    },
}

impl Nf4Matrix {
    /// Quantises a matrix that `fill` gives row by row, on all threads, so that it never exists as a
    /// whole. `double` quantises the scales too (4.127 bits a value instead of 4.5). The result does
    /// not depend on the number of threads.
    ///
    /// # Errors
    /// What `fill` returns for the first row that it fails for.
    pub fn quantise<E: Send>(
        rows: usize,
        cols: usize,
        double: bool,
        fill: impl Fn(usize, &mut [f32]) -> Result<(), E> + Sync,
    ) -> Result<Self, E> {
        let count = rows * cols;
        let mut codes = vec![0; count.div_ceil(2)];
        let mut absmax = vec![0.0; count.div_ceil(NF4_BLOCK)];
        // As many rows as a block has values are a whole number of blocks.
        let each = (NF4_BLOCK * cols).max(1);
        let faults: Vec<Option<E>> = codes
            .par_chunks_mut(each.div_ceil(2))
            .zip(absmax.par_chunks_mut(each.div_ceil(NF4_BLOCK)))
            .enumerate()
            .map(|(task, (codes, absmax))| {
                let first = task * NF4_BLOCK;
                let rows = first..(first + NF4_BLOCK).min(rows);
                quantise_rows(rows, cols, &fill, codes, absmax).err()
            })
            .collect();
        if let Some(fault) = faults.into_iter().flatten().next() {
            return Err(fault);
        }
        let scales = if double {
            nest(&absmax)
        } else {
            Scales::Full(absmax)
        };
        Ok(Self {
            rows,
            cols,
            codes,
            scales,
        })
    }

    /// Returns the number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Returns the number of columns.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// Returns the bytes in use.
    pub fn byte_len(&self) -> usize {
        let scales = match &self.scales {
            Scales::Full(absmax) => absmax.len() * 4,
            Scales::Nested { codes, absmax, .. } => codes.len() + absmax.len() * 4 + 4 + 1024,
        };
        self.codes.len() + scales
    }

    /// Returns the codes of all values, two a byte, the first in the high half.
    pub fn codes(&self) -> &[u8] {
        &self.codes
    }

    /// Returns the largest magnitude of a block of 64 values.
    ///
    /// # Panics
    /// If there is no such block.
    #[inline]
    pub fn scale(&self, block: usize) -> f32 {
        match &self.scales {
            Scales::Full(absmax) => absmax[block],
            Scales::Nested {
                codes,
                absmax,
                offset,
                map,
            } => map[codes[block] as usize] * absmax[block / NESTED_BLOCK] + offset,
        }
    }

    /// Decodes columns `cols` of row `row` to `out`, which has their number: the plain
    /// definition, value by value.
    ///
    /// # Panics
    /// If row or columns lie outside the matrix or `out` has another length.
    pub fn decode(&self, row: usize, cols: Range<usize>, out: &mut [f32]) {
        assert!(
            row < self.rows && cols.end <= self.cols,
            "outside the matrix"
        );
        assert_eq!(cols.len(), out.len(), "one value for each column");
        let first = row * self.cols + cols.start;
        for (index, value) in (first..).zip(out) {
            let byte = self.codes[index / 2];
            let code = if index % 2 == 0 { byte >> 4 } else { byte & 15 };
            *value = NF4[code as usize] * self.scale(index / NF4_BLOCK);
        }
    }
}

/// Quantises some rows, which begin with a block, to their codes and the blocks' scales.
fn quantise_rows<E>(
    rows: Range<usize>,
    cols: usize,
    fill: &impl Fn(usize, &mut [f32]) -> Result<(), E>,
    codes: &mut [u8],
    absmax: &mut [f32],
) -> Result<(), E> {
    let mut blocks = codes.chunks_mut(NF4_BLOCK / 2).zip(absmax);
    let mut put = |block: &[f32]| {
        if let Some((codes, scale)) = blocks.next() {
            *scale = quantise_block(block, codes);
        }
    };
    let mut row_values = vec![0.0; cols];
    let mut block = Vec::with_capacity(NF4_BLOCK);
    for row in rows {
        fill(row, &mut row_values)?;
        let mut rest = &row_values[..];
        while !rest.is_empty() {
            let (now, later) = rest.split_at(rest.len().min(NF4_BLOCK - block.len()));
            block.extend_from_slice(now);
            rest = later;
            if block.len() == NF4_BLOCK {
                put(&block);
                block.clear();
            }
        }
    }
    if !block.is_empty() {
        put(&block);
    }
    Ok(())
}

/// Writes the codes of a block and returns its largest magnitude.
fn quantise_block(block: &[f32], codes: &mut [u8]) -> f32 {
    let absmax = block.iter().fold(0.0f32, |max, x| max.max(x.abs()));
    let whole = block.len() == NF4_BLOCK;
    let code = |x: f32| nearest(&NF4, normalise(x, absmax, whole));
    for (pair, byte) in block.chunks(2).zip(codes) {
        let low = pair.get(1).map_or(code(0.0), |x| code(*x));
        *byte = code(pair[0]) << 4 | low;
    }
    if whole { absmax } else { absmax.max(TINY) }
}

/// Scales a value of a block to [-1, 1]. A last, shorter block is divided, all others are
/// multiplied by the reciprocal.
fn normalise(x: f32, absmax: f32, whole: bool) -> f32 {
    let absmax = absmax.max(TINY);
    let scaled = if whole {
        x * (1.0 / absmax)
    } else {
        x / absmax
    };
    scaled.clamp(-1.0, 1.0)
}

/// Returns the code of the value of ascending `map` nearest to `x`, the lower one of two as near:
/// the number of midpoints below it, counted without a branch.
fn nearest(map: &[f32], x: f32) -> u8 {
    let midpoints = map.windows(2).map(|pair| f32::midpoint(pair[0], pair[1]));
    midpoints.map(|middle| u32::from(x > middle)).sum::<u32>() as u8
}

/// Quantises scales to eight bits.
fn nest(absmax: &[f32]) -> Scales {
    let mean = absmax.iter().map(|x| f64::from(*x)).sum::<f64>() / absmax.len().max(1) as f64;
    let offset = mean as f32;
    let map = Box::new(dynamic_map(true));
    let mut codes = Vec::with_capacity(absmax.len());
    let mut nested = Vec::with_capacity(absmax.len().div_ceil(NESTED_BLOCK));
    for block in absmax.chunks(NESTED_BLOCK) {
        let centred: Vec<f32> = block.iter().map(|x| x - offset).collect();
        let largest = centred.iter().fold(0.0f32, |max, x| max.max(x.abs()));
        let whole = block.len() == NESTED_BLOCK;
        codes.extend(
            centred
                .iter()
                .map(|x| nearest(&map[..], normalise(*x, largest, whole))),
        );
        nested.push(if whole { largest } else { largest.max(TINY) });
    }
    Scales::Nested {
        codes,
        absmax: nested,
        offset,
        map,
    }
}
