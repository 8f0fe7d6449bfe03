//! Variance, covariance, correlation and regression over a moving window.
//!
//! Sums of squares are taken about a pivot near the values (the mean of the block
//! before), in blocks as in [`super::fold`], so that the usual cancellation of
//! `E[x^2] - E[x]^2` does not happen. A window whose values are all equal has a
//! deviation of exactly 0, whatever the rounding: equal neighbours are counted.

use crate::profile::{Flat, WarmUp};

use super::fold::Known;
use super::kernel::{ByRow, known};

/// Qlib takes a standard deviation within this of 0 as 0 (`numpy.isclose(x, 0, atol=2e-5)`).
const QLIB_FLAT: f64 = 2e-5;

/// Counts equal values in a row, in each lane; unknown values do not count.
struct Equal {
    last: Vec<f64>,
    run: Vec<f64>,
}

impl Equal {
    fn new(lanes: usize) -> Self {
        Self {
            last: vec![f64::NAN; lanes],
            run: vec![0.0; lanes],
        }
    }

    #[inline(always)]
    fn row(&mut self, x: &[f64]) {
        for ((last, run), &x) in self.last.iter_mut().zip(&mut self.run).zip(x) {
            *run = if x.is_nan() {
                *run
            } else if x == *last {
                *run + 1.0
            } else {
                1.0
            };
            *last = if x.is_nan() { *last } else { x };
        }
    }
}

/// Sums over a window of up to `Q` quantities that are made of raw values and
/// pivots, so that they can be made anew when the pivots move.
struct Sums<const N: usize, const Q: usize> {
    lanes: usize,
    window: usize,
    at: usize,
    /// Raw values of the present block: `window` slots of `lanes`, per input.
    raw: [Vec<f64>; N],
    /// The last block's ends, folded; slot `at + 1` belongs to the present bar.
    ends: [Vec<f64>; Q],
    beginnings: [Vec<f64>; Q],
    pivots: [Vec<f64>; N],
}

impl<const N: usize, const Q: usize> Sums<N, Q> {
    fn new(lanes: usize, window: usize) -> Self {
        Self {
            lanes,
            window,
            at: 0,
            raw: [(); N].map(|()| vec![f64::NAN; window * lanes]),
            ends: [(); Q].map(|()| vec![0.0; (window + 1) * lanes]),
            beginnings: [(); Q].map(|()| vec![0.0; lanes]),
            pivots: [(); N].map(|()| vec![f64::NAN; lanes]),
        }
    }

    /// Takes a row; `quantities` makes the quantities of centred values and the
    /// place in the block (0 for its first bar, negative for bars before it).
    /// A bar with any unknown value counts in none of them.
    #[inline(always)]
    fn push(
        &mut self,
        inputs: [&[f64]; N],
        quantities: impl Fn([f64; N], f64) -> [f64; Q] + Copy,
        output: &mut [Vec<f64>; Q],
    ) {
        if self.at == self.window {
            self.turn(quantities);
        }
        let (lanes, at) = (self.lanes, self.at);
        for input in 0..N {
            self.raw[input][at * lanes..][..lanes].copy_from_slice(inputs[input]);
            for (pivot, &value) in self.pivots[input].iter_mut().zip(inputs[input]) {
                *pivot = if pivot.is_nan() { value } else { *pivot };
            }
        }
        for lane in 0..lanes {
            let mut centred = [0.0; N];
            let mut missing = false;
            for input in 0..N {
                centred[input] = inputs[input][lane] - self.pivots[input][lane];
                missing |= centred[input].is_nan();
            }
            let made = quantities(centred, at as f64);
            for quantity in 0..Q {
                let beginning = &mut self.beginnings[quantity][lane];
                *beginning += if missing { 0.0 } else { made[quantity] };
                output[quantity][lane] = *beginning + self.ends[quantity][(at + 1) * lanes + lane];
            }
        }
        self.at += 1;
    }

    /// Moves the pivots to the mean of the block that ended and folds it
    /// backwards about them.
    #[inline(always)]
    fn turn(&mut self, quantities: impl Fn([f64; N], f64) -> [f64; Q]) {
        let (lanes, window) = (self.lanes, self.window);
        self.move_pivots();
        for slot in (0..window).rev() {
            let place = slot as f64 - window as f64;
            for lane in 0..lanes {
                let mut centred = [0.0; N];
                let mut missing = false;
                for input in 0..N {
                    centred[input] =
                        self.raw[input][slot * lanes + lane] - self.pivots[input][lane];
                    missing |= centred[input].is_nan();
                }
                let made = quantities(centred, place);
                for quantity in 0..Q {
                    let after = self.ends[quantity][(slot + 1) * lanes + lane];
                    self.ends[quantity][slot * lanes + lane] =
                        after + if missing { 0.0 } else { made[quantity] };
                }
            }
        }
        for beginning in &mut self.beginnings {
            beginning.fill(0.0);
        }
        self.at = 0;
    }

    #[inline(always)]
    fn move_pivots(&mut self) {
        let (lanes, window) = (self.lanes, self.window);
        for input in 0..N {
            for lane in 0..lanes {
                let pivot = self.pivots[input][lane];
                let (mut sum, mut count) = (0.0, 0.0);
                for slot in 0..window {
                    let value = self.raw[input][slot * lanes + lane];
                    sum += if value.is_nan() { 0.0 } else { value - pivot };
                    count += if value.is_nan() { 0.0 } else { 1.0 };
                }
                if count > 0.0 {
                    self.pivots[input][lane] = pivot + sum / count;
                }
            }
        }
    }
}

/// The variance or deviation of one series.
pub(crate) struct Variance {
    known: Known,
    equal: Equal,
    sums: Sums<1, 2>,
    counts: Vec<f64>,
    rows: [Vec<f64>; 2],
    ddof: f64,
    root: bool,
}

impl Variance {
    pub(crate) fn new(lanes: usize, window: usize, ddof: u8, warm_up: WarmUp) -> Self {
        Self {
            known: Known::new(lanes, window, warm_up),
            equal: Equal::new(lanes),
            sums: Sums::new(lanes, window),
            counts: vec![0.0; lanes],
            rows: [(); 2].map(|()| vec![0.0; lanes]),
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
        self.known.row(x, &mut self.counts);
        self.equal.row(x);
        self.sums.push(
            [x],
            #[inline(always)]
            |[x], _| [x, x * x],
            &mut self.rows,
        );
        let [sums, squares] = &self.rows;
        for lane in 0..output.len() {
            let count = self.counts[lane];
            let spread = squares[lane] - sums[lane] * sums[lane] / count;
            let spread = if self.equal.run[lane] >= count {
                0.0
            } else {
                spread.max(0.0)
            };
            let variance = spread / (count - self.ddof);
            let value = if self.root { variance.sqrt() } else { variance };
            output[lane] = if count.is_nan() {
                f64::NAN
            } else {
                known(value)
            };
        }
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
    both: Vec<f64>,
    counts: Vec<f64>,
    rows: [Vec<f64>; 5],
    pair: Pair,
}

impl Covariance {
    pub(crate) fn new(lanes: usize, window: usize, pair: Pair, warm_up: WarmUp) -> Self {
        Self {
            known: Known::new(lanes, window, warm_up),
            equal: [(); 2].map(|()| Equal::new(lanes)),
            sums: Sums::new(lanes, window),
            both: vec![0.0; lanes],
            counts: vec![0.0; lanes],
            rows: [(); 5].map(|()| vec![0.0; lanes]),
            pair,
        }
    }
}

impl ByRow<2> for Covariance {
    #[inline(always)]
    fn row(&mut self, [x, y]: [&[f64]; 2], output: &mut [f64]) {
        for ((both, &x), &y) in self.both.iter_mut().zip(x).zip(y) {
            *both = x + y;
        }
        self.known.row(&self.both, &mut self.counts);
        self.equal[0].row(x);
        self.equal[1].row(y);
        self.sums.push(
            [x, y],
            #[inline(always)]
            |[x, y], _| [x, y, x * x, y * y, x * y],
            &mut self.rows,
        );
        let [sum_x, sum_y, sum_xx, sum_yy, sum_xy] = &self.rows;
        for lane in 0..output.len() {
            let n = self.counts[lane];
            let flat_x = self.equal[0].run[lane] >= n;
            let flat_y = self.equal[1].run[lane] >= n;
            let xx = (sum_xx[lane] - sum_x[lane] * sum_x[lane] / n).max(0.0);
            let yy = (sum_yy[lane] - sum_y[lane] * sum_y[lane] / n).max(0.0);
            let xy = sum_xy[lane] - sum_x[lane] * sum_y[lane] / n;
            let xx = if flat_x { 0.0 } else { xx };
            let yy = if flat_y { 0.0 } else { yy };
            let xy = if flat_x | flat_y { 0.0 } else { xy };
            let slope = xy / yy;
            let mean_x = sum_x[lane] / n + self.sums.pivots[0][lane];
            let mean_y = sum_y[lane] / n + self.sums.pivots[1][lane];
            let value = match self.pair {
                Pair::Covariance(ddof) => xy / (n - f64::from(ddof)),
                Pair::Correlation(flat) => correlation(xx, yy, xy, n, flat),
                Pair::Slope => slope,
                Pair::Intercept => mean_x - slope * mean_y,
                Pair::Residual => (x[lane] - mean_x) - slope * (y[lane] - mean_y),
            };
            output[lane] = if n.is_nan() { f64::NAN } else { known(value) };
        }
    }
}

#[inline(always)]
fn correlation(xx: f64, yy: f64, xy: f64, n: f64, flat: Flat) -> f64 {
    let value = (xy / (xx * yy).sqrt()).clamp(-1.0, 1.0);
    match flat {
        Flat::Unknown => value,
        Flat::Zero => {
            if xx == 0.0 || yy == 0.0 {
                0.0
            } else {
                value
            }
        }
        Flat::Tolerance => {
            let smallest = QLIB_FLAT * QLIB_FLAT * (n - 1.0);
            if xx <= smallest || yy <= smallest {
                f64::NAN
            } else {
                value
            }
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
    counts: Vec<f64>,
    rows: [Vec<f64>; 3],
    line: Line,
}

impl Trend {
    /// Needs full windows: the place in time of a value is that of its bar.
    pub(crate) fn new(lanes: usize, window: usize, line: Line) -> Self {
        Self {
            known: Known::new(lanes, window, WarmUp::Full),
            equal: Equal::new(lanes),
            sums: Sums::new(lanes, window),
            counts: vec![0.0; lanes],
            rows: [(); 3].map(|()| vec![0.0; lanes]),
            line,
        }
    }
}

impl ByRow<1> for Trend {
    #[inline(always)]
    fn row(&mut self, [x]: [&[f64]; 1], output: &mut [f64]) {
        self.known.row(x, &mut self.counts);
        self.equal.row(x);
        self.sums.push(
            [x],
            #[inline(always)]
            |[x], place| [x, x * place, x * x],
            &mut self.rows,
        );
        let pivots = &self.sums.pivots[0];
        let place = (self.sums.at - 1) as f64;
        let [sums, timed, squares] = &self.rows;
        let n = self.sums.window as f64;
        let centre = place - (n - 1.0) / 2.0;
        let tt = n * (n * n - 1.0) / 12.0;
        for lane in 0..output.len() {
            let sum = sums[lane];
            let flat = self.equal.run[lane] >= n;
            let tx = if flat {
                0.0
            } else {
                timed[lane] - centre * sum
            };
            let xx = if flat {
                0.0
            } else {
                (squares[lane] - sum * sum / n).max(0.0)
            };
            let mean = sum / n + pivots[lane];
            let slope = tx / tt;
            let end = mean + slope * (n - 1.0) / 2.0;
            let value = match self.line {
                Line::Slope => slope,
                Line::Start => mean - slope * (n - 1.0) / 2.0,
                Line::End => end,
                Line::Residual => x[lane] - end,
                Line::Determination => (tx * tx / (tt * xx)).min(1.0),
                Line::Weighted => {
                    // Weights 1..n are (n + 1) / 2 plus the distance to the centre.
                    mean + 2.0 * tx / (n * (n + 1.0))
                }
            };
            output[lane] = if self.counts[lane].is_nan() {
                f64::NAN
            } else {
                known(value)
            };
        }
    }
}
