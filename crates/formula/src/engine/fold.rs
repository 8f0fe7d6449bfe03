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

use super::kernel::{ByRow, known};

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
    window: f64,
    partial: bool,
    /// Known values in a row, up to now.
    run: Vec<f64>,
    /// For partial windows: the counts, folded like the values.
    counts: Blocks,
}

impl Known {
    pub(crate) fn new(lanes: usize, window: usize, warm_up: WarmUp) -> Self {
        let partial = warm_up == WarmUp::Partial;
        Self {
            window: window as f64,
            partial,
            run: vec![0.0; lanes],
            counts: Blocks::new(lanes, if partial { window } else { 1 }, 0.0),
        }
    }

    /// Takes the next row and writes the number of known values that an answer
    /// may use: for full windows the window's length or NaN, for partial ones 1
    /// or more or NaN.
    #[inline(always)]
    pub(crate) fn row(&mut self, x: &[f64], counts: &mut [f64]) {
        if self.partial {
            self.counts.push(
                |row, values| {
                    for (value, &x) in values.iter_mut().zip(row) {
                        *value = if x.is_nan() { 0.0 } else { 1.0 };
                    }
                },
                x,
                Sum::both,
                counts,
            );
            for count in counts {
                *count = if *count > 0.0 { *count } else { f64::NAN };
            }
            return;
        }
        let window = self.window;
        for ((count, run), &x) in counts.iter_mut().zip(&mut self.run).zip(x) {
            *run = if x.is_nan() { 0.0 } else { *run + 1.0 };
            *count = if *run >= window { window } else { f64::NAN };
        }
    }
}

/// The blocks of one folded quantity: `window` slots of `lanes` values. Slots
/// behind the present one hold the folded end of the last block, the others the
/// present block's own values.
pub(crate) struct Blocks {
    lanes: usize,
    window: usize,
    at: usize,
    slots: Vec<f64>,
    beginning: Vec<f64>,
    neutral: f64,
}

impl Blocks {
    pub(crate) fn new(lanes: usize, window: usize, neutral: f64) -> Self {
        Self {
            lanes,
            window,
            at: 0,
            slots: vec![neutral; window * lanes],
            beginning: vec![neutral; lanes],
            neutral,
        }
    }

    /// Takes a row through `value` and writes the fold over the window.
    #[inline(always)]
    pub(crate) fn push(
        &mut self,
        value: impl Fn(&[f64], &mut [f64]),
        row: &[f64],
        both: impl Fn(f64, f64) -> f64,
        output: &mut [f64],
    ) {
        let (lanes, at) = (self.lanes, self.at);
        let (slots, ends) = self.slots.split_at_mut((at + 1) * lanes);
        let slot = &mut slots[at * lanes..];
        value(row, slot);
        for (beginning, &value) in self.beginning.iter_mut().zip(&*slot) {
            *beginning = both(*beginning, value);
        }
        if at + 1 < self.window {
            for ((output, &end), &beginning) in
                output.iter_mut().zip(&ends[..lanes]).zip(&self.beginning)
            {
                *output = both(end, beginning);
            }
            self.at += 1;
        } else {
            output.copy_from_slice(&self.beginning);
            self.turn(both);
        }
    }

    /// Folds the block that ended backwards and begins a new one.
    #[inline(always)]
    fn turn(&mut self, both: impl Fn(f64, f64) -> f64) {
        let lanes = self.lanes;
        for slot in (1..self.window).rev() {
            let (before, after) = self.slots.split_at_mut(slot * lanes);
            for (value, &next) in before[(slot - 1) * lanes..].iter_mut().zip(&after[..lanes]) {
                *value = both(*value, next);
            }
        }
        self.beginning.fill(self.neutral);
        self.at = 0;
    }
}

/// A fold over the last `window` values.
pub(crate) struct Rolling<F> {
    known: Known,
    blocks: Blocks,
    counts: Vec<f64>,
    fold: std::marker::PhantomData<F>,
    mean: bool,
}

impl<F: Fold> Rolling<F> {
    pub(crate) fn new(lanes: usize, window: usize, warm_up: WarmUp) -> Self {
        Self {
            known: Known::new(lanes, window, warm_up),
            blocks: Blocks::new(lanes, window, F::NEUTRAL),
            counts: vec![0.0; lanes],
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
        self.known.row(x, &mut self.counts);
        self.blocks.push(
            #[inline(always)]
            |row, values| {
                for (value, &x) in values.iter_mut().zip(row) {
                    *value = if x.is_nan() { F::NEUTRAL } else { x };
                }
            },
            x,
            F::both,
            output,
        );
        if self.mean {
            for (output, &count) in output.iter_mut().zip(&self.counts) {
                *output = known(*output / count);
            }
        } else {
            for (output, &count) in output.iter_mut().zip(&self.counts) {
                *output = if count.is_nan() {
                    f64::NAN
                } else {
                    known(*output)
                };
            }
        }
    }
}
