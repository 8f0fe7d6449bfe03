//! Variance, covariance, correlation and regression over a moving window.
//!
//! Sums of squares are taken about a pivot near the values (the mean of the block
//! before), in blocks as in [`super::fold`], so that the usual cancellation of
//! `E[x^2] - E[x]^2` does not happen. A window whose values are all equal has a
//! deviation of exactly 0, whatever the rounding: equal neighbours are counted.

use crate::profile::{Flat, WarmUp};

use super::fold::Known;
use super::kernel::ByRow;
use super::lanes::{Lanes, blocks, blocks_mut};

/// Qlib takes a standard deviation within this of 0 as 0 (`numpy.isclose(x, 0, atol=2e-5)`).
const QLIB_FLAT: f64 = 2e-5;

/// Counts equal values in a row, in each lane; unknown values do not count.
struct Equal {
    last: Vec<Lanes>,
    run: Vec<Lanes>,
}

impl Equal {
    fn new(lanes: usize) -> Self {
        Self {
            last: vec![Lanes::UNKNOWN; lanes / 8],
            run: vec![Lanes::ZERO; lanes / 8],
        }
    }

    /// Takes eight lanes of a row; returns `spread`, or 0 where the last `count`
    /// values were all equal.
    #[inline(always)]
    fn block(&mut self, block: usize, x: Lanes) -> Lanes {
        let (last, run) = (self.last[block], self.run[block]);
        let one = Lanes::of(1.0);
        let next = x.known_or(x.equal(last, run + one, one), run);
        self.run[block] = next;
        self.last[block] = x.known_or(x, last);
        next
    }
}

/// Returns `spread`, or 0 where at least `count` equal values came last.
#[inline(always)]
fn unless_equal(run: Lanes, count: Lanes, spread: Lanes) -> Lanes {
    run.less(count, spread, Lanes::ZERO)
}

/// Sums over a window of `Q` quantities that are made of raw values and pivots,
/// so that they can be made anew when the pivots move.
struct Sums<const N: usize, const Q: usize> {
    width: usize,
    window: usize,
    at: usize,
    /// Raw values of the present block of time: `window` slots of a row.
    raw: Vec<[Lanes; N]>,
    /// The last block's ends, folded; slot `at + 1` belongs to the present bar.
    ends: Vec<[Lanes; Q]>,
    beginnings: Vec<[Lanes; Q]>,
    pivots: Vec<[Lanes; N]>,
}

impl<const N: usize, const Q: usize> Sums<N, Q> {
    fn new(lanes: usize, window: usize) -> Self {
        let width = lanes / 8;
        Self {
            width,
            window,
            at: 0,
            raw: vec![[Lanes::UNKNOWN; N]; window * width],
            ends: vec![[Lanes::ZERO; Q]; (window + 1) * width],
            beginnings: vec![[Lanes::ZERO; Q]; width],
            pivots: vec![[Lanes::UNKNOWN; N]; width],
        }
    }

    /// Takes eight lanes of a row and returns the sums over the window;
    /// `quantities` makes the quantities of centred values and the place in the
    /// block of time (0 for its first bar, negative for bars before it). A bar
    /// with any unknown value counts in none of them.
    #[inline(always)]
    fn block(
        &mut self,
        block: usize,
        inputs: [Lanes; N],
        quantities: impl Fn([Lanes; N], Lanes) -> [Lanes; Q],
    ) -> [Lanes; Q] {
        let slot = self.at * self.width + block;
        self.raw[slot] = inputs;
        let pivots = &mut self.pivots[block];
        for (pivot, input) in pivots.iter_mut().zip(inputs) {
            *pivot = pivot.known_or(*pivot, input);
        }
        let made = centred(inputs, *pivots, Lanes::of(self.at as f64), quantities);
        let beginnings = &mut self.beginnings[block];
        let mut sums = self.ends[slot + self.width];
        for quantity in 0..Q {
            beginnings[quantity] += made[quantity];
            sums[quantity] += beginnings[quantity];
        }
        sums
    }

    /// Begins a row: where a block of time is over, moves the pivots to its mean
    /// and folds it backwards about them. Before the row rather than after it, so
    /// that the pivots belong to the sums while a row is worked on.
    #[inline(always)]
    fn begin_row(&mut self, quantities: impl Fn([Lanes; N], Lanes) -> [Lanes; Q] + Copy) {
        if self.at < self.window {
            return;
        }
        for block in 0..self.width {
            self.move_pivots(block);
            let mut sums = [Lanes::ZERO; Q];
            for slot in (0..self.window).rev() {
                let place = Lanes::of(slot as f64 - self.window as f64);
                let index = slot * self.width + block;
                let made = centred(self.raw[index], self.pivots[block], place, quantities);
                for quantity in 0..Q {
                    sums[quantity] += made[quantity];
                }
                self.ends[index] = sums;
            }
            self.beginnings[block] = [Lanes::ZERO; Q];
        }
        self.at = 0;
    }

    #[inline(always)]
    fn move_pivots(&mut self, block: usize) {
        let mut sums = [Lanes::ZERO; N];
        let mut counts = [Lanes::ZERO; N];
        let pivots = self.pivots[block];
        for slot in 0..self.window {
            let raw = self.raw[slot * self.width + block];
            for input in 0..N {
                let from_pivot = raw[input] - pivots[input];
                sums[input] += from_pivot.known_or(from_pivot, Lanes::ZERO);
                counts[input] += from_pivot.known_or(Lanes::of(1.0), Lanes::ZERO);
            }
        }
        for input in 0..N {
            let moved = pivots[input] + sums[input] / counts[input];
            self.pivots[block][input] = moved.known_or(moved, pivots[input]);
        }
    }

    #[inline(always)]
    fn end_row(&mut self) {
        self.at += 1;
    }
}

/// Returns the quantities of values about their pivots, 0 where one is unknown.
#[inline(always)]
fn centred<const N: usize, const Q: usize>(
    raw: [Lanes; N],
    pivots: [Lanes; N],
    place: Lanes,
    quantities: impl Fn([Lanes; N], Lanes) -> [Lanes; Q],
) -> [Lanes; Q] {
    let mut values = raw;
    let mut sum = Lanes::ZERO;
    for input in 0..N {
        values[input] = raw[input] - pivots[input];
        sum += values[input];
    }
    let mut made = quantities(values, place);
    for quantity in &mut made {
        *quantity = sum.known_or(*quantity, Lanes::ZERO);
    }
    made
}

#[inline(always)]
fn squares([x]: [Lanes; 1], _: Lanes) -> [Lanes; 2] {
    [x, x * x]
}

#[inline(always)]
fn products([x, y]: [Lanes; 2], _: Lanes) -> [Lanes; 5] {
    [x, y, x * x, y * y, x * y]
}

#[inline(always)]
fn timed([x]: [Lanes; 1], place: Lanes) -> [Lanes; 3] {
    [x, x * place, x * x]
}

/// The variance or deviation of one series.
pub(crate) struct Variance {
    known: Known,
    equal: Equal,
    sums: Sums<1, 2>,
    ddof: f64,
    root: bool,
}

impl Variance {
    pub(crate) fn new(lanes: usize, window: usize, ddof: u8, warm_up: WarmUp) -> Self {
        Self {
            known: Known::new(lanes, window, warm_up),
            equal: Equal::new(lanes),
            sums: Sums::new(lanes, window),
            ddof: f64::from(ddof),
            root: false,
        }
    }

    /// The square root of it.
    pub(crate) fn root(self) -> Self {
        Self { root: true, ..self }
    }
}

impl ByRow<1> for Variance {
    #[inline(always)]
    fn row(&mut self, [x]: [&[f64]; 1], output: &mut [f64]) {
        self.sums.begin_row(squares);
        for (block, (x, output)) in blocks(x).iter().zip(blocks_mut(output)).enumerate() {
            let x = Lanes(*x);
            let count = self.known.block(block, x);
            let run = self.equal.block(block, x);
            let [sum, squared] = self.sums.block(block, [x], squares);
            let spread = (squared - sum * sum / count).not_negative();
            let variance = unless_equal(run, count, spread) / (count - Lanes::of(self.ddof));
            let value = if self.root { variance.sqrt() } else { variance };
            *output = count.known_or(value, count).known().0;
        }
        self.known.end_row();
        self.sums.end_row();
    }
}

/// What two series have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pair {
    /// The covariance with this many degrees of freedom taken off.
    Covariance(u8),
    /// Pearson's correlation.
    Correlation(Flat),
    /// The slope of the first on the second, with an intercept.
    Slope,
    /// The intercept of that line.
    Intercept,
    /// The residual of the newest bar.
    Residual,
}

/// A statistic of two series.
pub(crate) struct Covariance {
    known: Known,
    equal: [Equal; 2],
    sums: Sums<2, 5>,
    pair: Pair,
}

impl Covariance {
    pub(crate) fn new(lanes: usize, window: usize, pair: Pair, warm_up: WarmUp) -> Self {
        Self {
            known: Known::new(lanes, window, warm_up),
            equal: [(); 2].map(|()| Equal::new(lanes)),
            sums: Sums::new(lanes, window),
            pair,
        }
    }

    #[inline(always)]
    fn value(&self, block: usize, x: Lanes, y: Lanes, n: Lanes, spreads: [Lanes; 5]) -> Lanes {
        let [sum_x, sum_y, xx, yy, xy] = spreads;
        let [pivot_x, pivot_y] = self.sums.pivots[block];
        let slope = xy / yy;
        let mean_x = sum_x / n + pivot_x;
        let mean_y = sum_y / n + pivot_y;
        match self.pair {
            Pair::Covariance(ddof) => xy / (n - Lanes::of(f64::from(ddof))),
            Pair::Correlation(flat) => correlation(xx, yy, xy, n, flat),
            Pair::Slope => slope,
            Pair::Intercept => mean_x - slope * mean_y,
            Pair::Residual => (x - mean_x) - slope * (y - mean_y),
        }
    }
}

impl ByRow<2> for Covariance {
    #[inline(always)]
    fn row(&mut self, [x, y]: [&[f64]; 2], output: &mut [f64]) {
        self.sums.begin_row(products);
        let inputs = blocks(x).iter().zip(blocks(y));
        for (block, ((x, y), output)) in inputs.zip(blocks_mut(output)).enumerate() {
            let (x, y) = (Lanes(*x), Lanes(*y));
            let n = self.known.block(block, x + y);
            let equal_x = self.equal[0].block(block, x);
            let equal_y = self.equal[1].block(block, y);
            let [sum_x, sum_y, xx, yy, xy] = self.sums.block(block, [x, y], products);
            let xx = unless_equal(equal_x, n, (xx - sum_x * sum_x / n).not_negative());
            let yy = unless_equal(equal_y, n, (yy - sum_y * sum_y / n).not_negative());
            let xy = unless_equal(equal_x, n, unless_equal(equal_y, n, xy - sum_x * sum_y / n));
            let value = self.value(block, x, y, n, [sum_x, sum_y, xx, yy, xy]);
            *output = n.known_or(value, n).known().0;
        }
        self.known.end_row();
        self.sums.end_row();
    }
}

#[inline(always)]
fn correlation(xx: Lanes, yy: Lanes, xy: Lanes, n: Lanes, flat: Flat) -> Lanes {
    let value = (xy / (xx * yy).sqrt()).map(
        #[inline(always)]
        |value| value.clamp(-1.0, 1.0),
    );
    match flat {
        Flat::Unknown => value,
        Flat::Zero => {
            let value = xx.equal(Lanes::ZERO, Lanes::ZERO, value);
            yy.equal(Lanes::ZERO, Lanes::ZERO, value)
        }
        Flat::Tolerance => {
            let smallest = Lanes::of(QLIB_FLAT * QLIB_FLAT) * (n - Lanes::of(1.0));
            let value = smallest.less(xx, value, Lanes::UNKNOWN);
            smallest.less(yy, value, Lanes::UNKNOWN)
        }
    }
}

/// What a regression of a series on time says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Line {
    /// The change per bar.
    Slope,
    /// The line's value at the oldest bar.
    Start,
    /// The line's value at the newest bar.
    End,
    /// The newest value minus the line's.
    Residual,
    /// The share of the variance that the line explains.
    Determination,
    /// The mean with weights 1 to n, the newest heaviest.
    Weighted,
}

/// A regression on time over the last `window` bars.
pub(crate) struct Trend {
    known: Known,
    equal: Equal,
    sums: Sums<1, 3>,
    line: Line,
}

impl Trend {
    /// Needs full windows: the place in time of a value is that of its bar.
    pub(crate) fn new(lanes: usize, window: usize, line: Line) -> Self {
        Self {
            known: Known::new(lanes, window, WarmUp::Full),
            equal: Equal::new(lanes),
            sums: Sums::new(lanes, window),
            line,
        }
    }
}

impl ByRow<1> for Trend {
    #[inline(always)]
    fn row(&mut self, [x]: [&[f64]; 1], output: &mut [f64]) {
        self.sums.begin_row(timed);
        let n = self.sums.window as f64;
        let centre = Lanes::of(self.sums.at as f64 - (n - 1.0) / 2.0);
        let tt = Lanes::of(n * (n * n - 1.0) / 12.0);
        let half = Lanes::of((n - 1.0) / 2.0);
        let n = Lanes::of(n);
        for (block, (x, output)) in blocks(x).iter().zip(blocks_mut(output)).enumerate() {
            let x = Lanes(*x);
            let count = self.known.block(block, x);
            let run = self.equal.block(block, x);
            let [sum, in_time, squared] = self.sums.block(block, [x], timed);
            let tx = unless_equal(run, n, in_time - centre * sum);
            let xx = unless_equal(run, n, (squared - sum * sum / n).not_negative());
            let mean = sum / n + self.sums.pivots[block][0];
            let slope = tx / tt;
            let value = match self.line {
                // A single bar has no direction but lies on its own line.
                Line::Start if self.sums.window == 1 => mean,
                Line::End if self.sums.window == 1 => mean,
                Line::Residual if self.sums.window == 1 => x - mean,
                Line::Slope => slope,
                Line::Start => mean - slope * half,
                Line::End => mean + slope * half,
                Line::Residual => x - (mean + slope * half),
                Line::Determination => {
                    let share = tx * tx / (tt * xx);
                    Lanes::of(1.0).less(share, Lanes::of(1.0), share)
                }
                // Weights 1..n are (n + 1) / 2 plus the distance to the centre.
                Line::Weighted => mean + Lanes::of(2.0) * tx / (n * (n + Lanes::of(1.0))),
            };
            *output = count.known_or(value, count).known().0;
        }
        self.known.end_row();
        self.sums.end_row();
    }
}
