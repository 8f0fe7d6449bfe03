//! Sums, products and extrema of a moving window in a constant number of steps
//! per bar.
//!
//! Time is cut into blocks of one window. A window is the end of one block and
//! the beginning of the next (van Herk 1992; Gil and Werman 1993): the ends are
//! folded backwards once per block, the beginning grows by one value per bar, and
//! the answer combines the two. Nothing is ever subtracted, so nothing cancels,
//! no error accumulates, and one outlier or hole is forgotten as soon as it leaves
//! the window.

use crate::profile::WarmUp;

use super::kernel::ByRow;
use super::lanes::{Lanes, blocks, blocks_mut};

/// An associative operation with a neutral element.
pub(crate) trait Fold: Send {
    /// Combining with this changes nothing.
    const NEUTRAL: f64;

    /// Returns both together.
    fn both(a: f64, b: f64) -> f64;
}

/// Addition.
pub(crate) struct Sum;

impl Fold for Sum {
    const NEUTRAL: f64 = 0.0;

    #[inline(always)]
    fn both(a: f64, b: f64) -> f64 {
        a + b
    }
}

/// Multiplication.
pub(crate) struct Product;

impl Fold for Product {
    const NEUTRAL: f64 = 1.0;

    #[inline(always)]
    fn both(a: f64, b: f64) -> f64 {
        a * b
    }
}

/// The smaller.
pub(crate) struct Minimum;

impl Fold for Minimum {
    const NEUTRAL: f64 = f64::INFINITY;

    #[inline(always)]
    fn both(a: f64, b: f64) -> f64 {
        if b < a { b } else { a }
    }
}

/// The larger.
pub(crate) struct Maximum;

impl Fold for Maximum {
    const NEUTRAL: f64 = f64::NEG_INFINITY;

    #[inline(always)]
    fn both(a: f64, b: f64) -> f64 {
        if b > a { b } else { a }
    }
}

/// How many values of the window are known, in each lane.
pub(crate) struct Known {
    window: Lanes,
    partial: bool,
    /// Known values in a row, up to now.
    run: Vec<Lanes>,
    /// For partial windows: the counts, folded like the values.
    counts: Blocks,
}

impl Known {
    pub(crate) fn new(lanes: usize, window: usize, warm_up: WarmUp) -> Self {
        let partial = warm_up == WarmUp::Partial;
        Self {
            window: Lanes::of(window as f64),
            partial,
            run: vec![Lanes::ZERO; lanes / 8],
            counts: Blocks::new(lanes, if partial { window } else { 1 }, 0.0),
        }
    }

    /// Takes a block of the next row and returns the number of known values that
    /// an answer may use: for full windows the window's length or NaN, for partial
    /// ones 1 or more or NaN.
    #[inline(always)]
    pub(crate) fn block(&mut self, block: usize, x: Lanes) -> Lanes {
        let one = x.known_or(Lanes::of(1.0), Lanes::ZERO);
        if self.partial {
            let count = self.counts.block::<Sum>(block, one);
            return Lanes::ZERO.less(count, count, Lanes::UNKNOWN);
        }
        let run = x.known_or(self.run[block] + one, Lanes::ZERO);
        self.run[block] = run;
        run.less(self.window, Lanes::UNKNOWN, self.window)
    }

    /// Ends the row: all its blocks were taken.
    #[inline(always)]
    pub(crate) fn end_row(&mut self) {
        if self.partial {
            self.counts.end_row::<Sum>();
        }
    }
}

/// The blocks of time of one folded quantity: `window` slots of a row each. Slots
/// behind the present one hold the folded end of the last block, the others the
/// present block's own values.
pub(crate) struct Blocks {
    width: usize,
    window: usize,
    at: usize,
    slots: Vec<Lanes>,
    beginning: Vec<Lanes>,
    neutral: Lanes,
}

impl Blocks {
    pub(crate) fn new(lanes: usize, window: usize, neutral: f64) -> Self {
        let neutral = Lanes::of(neutral);
        let width = lanes / 8;
        Self {
            width,
            window,
            at: 0,
            slots: vec![neutral; window * width],
            beginning: vec![neutral; width],
            neutral,
        }
    }

    /// Takes eight lanes of a row and returns their fold over the window.
    #[inline(always)]
    pub(crate) fn block<F: Fold>(&mut self, block: usize, value: Lanes) -> Lanes {
        let slot = self.at * self.width + block;
        self.slots[slot] = value;
        let beginning = self.beginning[block].with(value, F::both);
        self.beginning[block] = beginning;
        if self.at + 1 == self.window {
            return beginning;
        }
        self.slots[slot + self.width].with(beginning, F::both)
    }

    /// Ends the row; folds the block of time backwards if it is over.
    #[inline(always)]
    pub(crate) fn end_row<F: Fold>(&mut self) {
        self.at += 1;
        if self.at < self.window {
            return;
        }
        for slot in (self.width..self.window * self.width).rev() {
            let folded = self.slots[slot - self.width].with(self.slots[slot], F::both);
            self.slots[slot - self.width] = folded;
        }
        self.beginning.fill(self.neutral);
        self.at = 0;
    }
}

/// A fold over the last `window` values.
pub(crate) struct Rolling<F> {
    known: Known,
    blocks: Blocks,
    fold: std::marker::PhantomData<F>,
    mean: bool,
}

impl<F: Fold> Rolling<F> {
    pub(crate) fn new(lanes: usize, window: usize, warm_up: WarmUp) -> Self {
        Self {
            known: Known::new(lanes, window, warm_up),
            blocks: Blocks::new(lanes, window, F::NEUTRAL),
            fold: std::marker::PhantomData,
            mean: false,
        }
    }

    /// The fold divided by the number of values.
    pub(crate) fn mean(self) -> Self {
        Self { mean: true, ..self }
    }
}

impl<F: Fold> ByRow<1> for Rolling<F> {
    #[inline(always)]
    fn row(&mut self, [x]: [&[f64]; 1], output: &mut [f64]) {
        let neutral = Lanes::of(F::NEUTRAL);
        for (block, (x, output)) in blocks(x).iter().zip(blocks_mut(output)).enumerate() {
            let x = Lanes(*x);
            let count = self.known.block(block, x);
            let fold = self.blocks.block::<F>(block, x.known_or(x, neutral));
            let value = if self.mean {
                fold / count
            } else {
                count.known_or(fold, count)
            };
            *output = value.known().0;
        }
        self.known.end_row();
        self.blocks.end_row::<F>();
    }
}
