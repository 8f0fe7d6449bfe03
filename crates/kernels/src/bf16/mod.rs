//! Products with operands rounded to bf16 and sums in f32.
//!
//! Both operands are packed into blocks of 32 x 32 values, the format of AMX tiles: the left one
//! once as a whole, the right one (usually a frozen weight, decoded on the way) panel by panel. A
//! [`Unit`] then multiplies a row of left blocks with a column of right ones. There are three:
//! AMX, AVX-512 with bf16 dot products, and plain code, which is also the oracle of the others.
//!
//! Every element is one sum over the depth in an order that the shape alone decides; units differ
//! in how they round on the way, so results depend on the machine, never on the thread count.

#[cfg(target_arch = "x86_64")]
mod amx;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod pack;
mod plain;

use crate::matmul::{Mat, Shared, Write};
use crate::operand::Right;
use rayon::prelude::*;
use std::cell::Cell;
use std::ops::Range;
use std::sync::OnceLock;

/// Rows and columns of a block, and its depth.
pub(crate) const SIDE: usize = 32;

/// Values of a block of either operand.
pub(crate) const BLOCK: usize = SIDE * SIDE;

/// Depth of a panel at most: 32 columns x 1024 are 64 KiB.
const DEPTH: usize = 1024;

/// Columns of one task: six panels stay in a second cache together.
const COLUMNS: usize = 192;

/// Rows of one task at most.
const ROWS: usize = 1024;

thread_local! {
    /// The calling thread's packed left operand, kept from product to product.
    static LEFT: Cell<Vec<u16>> = const { Cell::new(Vec::new()) };
    /// The calling thread's packed panels of the right operand.
    static RIGHT: Cell<Vec<u16>> = const { Cell::new(Vec::new()) };
}

/// What multiplies blocks on this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Advanced Matrix Extensions: 16 x 16 results an instruction.
    Amx,
    /// AVX-512 with dot products of bf16 pairs.
    Avx512,
    /// f32 arithmetic on the rounded values, on any machine.
    Plain,
}

impl Unit {
    /// Returns the best unit of this machine. A unit is only used after it has multiplied a block
    /// as the plain one does.
    pub fn best() -> Self {
        static BEST: OnceLock<Unit> = OnceLock::new();
        *BEST.get_or_init(|| {
            Self::found()
                .into_iter()
                .find(|unit| unit.agrees())
                .unwrap_or(Self::Plain)
        })
    }

    /// Returns the units this machine says it has, the fastest first.
    fn found() -> Vec<Self> {
        let mut units = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            if amx::available() {
                units.push(Self::Amx);
            }
            if avx512::available() {
                units.push(Self::Avx512);
            }
        }
        units.push(Self::Plain);
        units
    }

    /// Returns whether the unit is so much faster than f32 that products should use it unasked.
    pub fn pays(self) -> bool {
        self == Self::Amx
    }

    fn agrees(self) -> bool {
        let values = |seed: usize| -> Vec<u16> {
            (0..2 * BLOCK)
                .map(|i| pack::round(((i * 7 + seed) % 17) as f32 - 8.0))
                .collect()
        };
        let (a, b) = (values(3), values(11));
        let (mut ours, mut oracle) = ([0.0; BLOCK], [0.0; BLOCK]);
        self.begin();
        self.multiply(&a, &b, &mut ours);
        self.end();
        Self::Plain.multiply(&a, &b, &mut oracle);
        // Small whole numbers: exact in every order.
        ours == oracle
    }

    /// Prepares the calling thread; must be followed by [`Self::end`] on the same thread.
    fn begin(self) {
        #[cfg(target_arch = "x86_64")]
        if self == Self::Amx {
            amx::begin();
        }
    }

    fn end(self) {
        #[cfg(target_arch = "x86_64")]
        if self == Self::Amx {
            amx::end();
        }
    }

    /// Computes c [32][32] = sum over blocks of a [32 rows][32] times b [32][32 columns].
    fn multiply(self, a: &[u16], b: &[u16], c: &mut [f32; BLOCK]) {
        assert!(a.len() == b.len() && a.len().is_multiple_of(BLOCK) && !a.is_empty());
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Amx => amx::multiply(a, b, c),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => avx512::multiply(a, b, c),
            _ => plain::multiply(a, b, c),
        }
    }
}

/// The result of a product: [rows, cols], rows `stride` apart.
#[derive(Clone, Copy)]
pub(crate) struct Target {
    pub(crate) c: Shared<*mut f32>,
    pub(crate) stride: usize,
    pub(crate) rows: usize,
    pub(crate) cols: usize,
}

/// Computes `c = a * b` (or adds it) on all threads of the pool.
///
/// # Safety
/// `target` describes a result of a's rows and b's columns that nobody else touches during the
/// call.
#[expect(unsafe_code, reason = "writes a result shared by tasks")]
pub(crate) unsafe fn product(unit: Unit, target: Target, write: Write, a: Mat<'_>, b: Right<'_>) {
    let depth_blocks = a.cols.div_ceil(SIDE);
    let mut left = LEFT.take();
    let length = target.rows.div_ceil(SIDE) * depth_blocks * BLOCK;
    if left.len() < length {
        left.resize(length, 0);
    }
    left[..length]
        .par_chunks_exact_mut(depth_blocks * BLOCK)
        .enumerate()
        .for_each(|(group, blocks)| {
            let rows = group * SIDE..((group + 1) * SIDE).min(target.rows);
            pack::left(blocks, a, rows);
        });
    let height = target
        .rows
        .div_ceil(target.rows.div_ceil(ROWS))
        .next_multiple_of(SIDE);
    let mut pieces = Vec::new();
    for top in (0..target.rows).step_by(height) {
        for first in (0..target.cols).step_by(COLUMNS) {
            pieces.push((
                top..(top + height).min(target.rows),
                first..(first + COLUMNS).min(target.cols),
            ));
        }
    }
    let packed = &left[..length];
    pieces.into_par_iter().for_each(|(rows, cols)| {
        // SAFETY: pieces are disjoint parts of a result that the caller owns alone.
        unsafe { piece(unit, target, write, (packed, a.cols), b, rows, cols) };
    });
    LEFT.set(left);
}

/// Computes one piece of a product.
///
/// # Safety
/// As for [`product`], for the piece's rows and columns.
#[expect(unsafe_code, reason = "writes one piece of a shared result")]
unsafe fn piece(
    unit: Unit,
    target: Target,
    write: Write,
    (left, depth): (&[u16], usize),
    b: Right<'_>,
    rows: Range<usize>,
    cols: Range<usize>,
) {
    let depth_blocks = depth.div_ceil(SIDE);
    let panels = cols.len().div_ceil(SIDE);
    let mut right = RIGHT.take();
    right.resize(panels * DEPTH.min(depth_blocks * SIDE) * SIDE, 0);
    let mut sums = [0.0; BLOCK];
    let mut write = write;
    unit.begin();
    for first in (0..depth_blocks).step_by(DEPTH / SIDE) {
        let blocks = first..(first + DEPTH / SIDE).min(depth_blocks);
        let ks = blocks.start * SIDE..(blocks.end * SIDE).min(depth);
        let panel_length = blocks.len() * BLOCK;
        pack::right(&mut right[..panels * panel_length], b, &ks, &cols);
        for top in rows.clone().step_by(SIDE) {
            let group = top / SIDE * depth_blocks;
            let a = &left[(group + blocks.start) * BLOCK..(group + blocks.end) * BLOCK];
            let tile_rows = top..(top + SIDE).min(rows.end);
            for (panel, from) in right
                .chunks_exact(panel_length)
                .zip((cols.start..).step_by(SIDE))
            {
                let tile_cols = from..(from + SIDE).min(cols.end);
                if tile_cols.is_empty() {
                    break;
                }
                unit.multiply(a, panel, &mut sums);
                for (row, sums) in tile_rows.clone().zip(sums.chunks_exact(SIDE)) {
                    let offset = row * target.stride + tile_cols.start;
                    // SAFETY: row and columns lie inside the piece, which is this task's alone.
                    let into = unsafe {
                        std::slice::from_raw_parts_mut(target.c.get().add(offset), tile_cols.len())
                    };
                    for (into, sum) in into.iter_mut().zip(sums) {
                        *into = if write == Write::Add {
                            *into + sum
                        } else {
                            *sum
                        };
                    }
                }
            }
        }
        write = Write::Add;
    }
    unit.end();
    RIGHT.set(right);
}

#[cfg(test)]
mod tests;
