//! Variance, covariance, correlation and the regression of one series on another
//! over a moving window.

use crate::profile::{Flat, WarmUp};

use super::fold::Known;
use super::kernel::ByRow;
use super::lanes::{Lanes, blocks, blocks_mut};
use super::moments::{Equal, QLIB_FLAT, Sums, cancelled, unless_equal};

/// A value and its square.
#[inline(always)]
fn squares([x]: [Lanes; 1], _: Lanes) -> [Lanes; 2] {
    [x, x * x]
}

/// Two values, their squares and their product.
#[inline(always)]
fn products([x, y]: [Lanes; 2], _: Lanes) -> [Lanes; 5] {
    [x, y, x * x, y * y, x * y]
}

/// A sum of products about the pivots, moved to the means. One division at the end:
/// of whole numbers equal spreads come out equal.
#[inline(always)]
fn about_mean(products: Lanes, x: Lanes, y: Lanes, n: Lanes) -> Lanes {
    (products * n - x * y) / n
}

/// What a sum of products may be off by, against the spreads of its factors.
const NOISE: f64 = 1.0 / (1_u64 << 44) as f64;

/// Rounds to 44 bits, and what is below `noise` to 0: values that are equal but for
/// the rounding of their sums come out equal, so that ranks of them tie rather
/// than rank the rounding.
#[inline(always)]
fn settled(value: Lanes, noise: Lanes) -> Lanes {
    // Veltkamp's splitting: the upper 53 - 9 bits.
    let large = value * Lanes::of((1_u64 << 9) as f64 + 1.0);
    let upper = large - (large - value);
    let size = value.map(f64::abs);
    size.less(noise, Lanes::ZERO, upper)
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

    /// Puts sums anew where they cancelled.
    #[cold]
    fn again(&self, block: usize, lost: Lanes, sums: &mut [Lanes; 2]) {
        for lane in 0..8 {
            if lost.0[lane] > 0.0 {
                let (_, again) = self.sums.again(block, lane, squares);
                for (sum, again) in sums.iter_mut().zip(again) {
                    sum.0[lane] = again;
                }
            }
        }
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
            let mut sums = self.sums.block(block, [x], squares);
            let lost = cancelled(run, count, sums[0], sums[1]);
            if lost.any() {
                self.again(block, lost, &mut sums);
            }
            let [sum, squared] = sums;
            let spread = about_mean(squared, sum, sum, count).not_negative();
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

/// Sums of two series in a window about their pivots.
#[derive(Clone, Copy)]
struct Both {
    pivots: [Lanes; 2],
    sums: [Lanes; 5],
    runs: [Lanes; 2],
    n: Lanes,
}

impl Both {
    #[inline(always)]
    fn lost(&self) -> Lanes {
        let [x, y, xx, yy, _] = self.sums;
        cancelled(self.runs[0], self.n, x, xx) + cancelled(self.runs[1], self.n, y, yy)
    }

    #[inline(always)]
    fn tell(self, pair: Pair, x: Lanes, y: Lanes) -> Lanes {
        let [sum_x, sum_y, xx, yy, xy] = self.sums;
        let ([run_x, run_y], n) = (self.runs, self.n);
        let xx = about_mean(xx, sum_x, sum_x, n).not_negative();
        let yy = about_mean(yy, sum_y, sum_y, n).not_negative();
        let xy = about_mean(xy, sum_x, sum_y, n);
        let xx = unless_equal(run_x, n, xx);
        let yy = unless_equal(run_y, n, yy);
        let xy = unless_equal(run_x, n, unless_equal(run_y, n, xy));
        let [pivot_x, pivot_y] = self.pivots;
        let (mean_x, mean_y) = (sum_x / n, sum_y / n);
        let slope = xy / yy;
        match pair {
            Pair::Covariance(ddof) => {
                let noise = Lanes::of(NOISE) * (xx * yy).sqrt();
                settled(xy, noise) / (n - Lanes::of(f64::from(ddof)))
            }
            Pair::Correlation(flat) => correlation(xx, yy, xy, n, flat),
            Pair::Slope => slope,
            Pair::Intercept => mean_x + pivot_x - slope * (mean_y + pivot_y),
            // About the pivots, so that far from zero nothing is rounded off.
            Pair::Residual => (x - pivot_x - mean_x) - slope * (y - pivot_y - mean_y),
        }
    }
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

    /// Puts sums anew, about pivots of their own, where they cancelled.
    #[cold]
    fn again(&self, block: usize, lost: Lanes, both: &mut Both) {
        for lane in 0..8 {
            if lost.0[lane] > 0.0 {
                let (pivots, sums) = self.sums.again(block, lane, products);
                for (pivot, again) in both.pivots.iter_mut().zip(pivots) {
                    pivot.0[lane] = again;
                }
                for (sum, again) in both.sums.iter_mut().zip(sums) {
                    sum.0[lane] = again;
                }
            }
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
            // Bars count where both are known.
            let run_x = self.equal[0].block(block, y.known_or(x, y));
            let run_y = self.equal[1].block(block, x.known_or(y, x));
            let sums = self.sums.block(block, [x, y], products);
            let mut both = Both {
                pivots: self.sums.pivots[block],
                sums,
                runs: [run_x, run_y],
                n,
            };
            let lost = both.lost();
            if lost.any() {
                self.again(block, lost, &mut both);
            }
            let value = both.tell(self.pair, x, y);
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
    let value = settled(value, Lanes::of(NOISE));
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
