//! The straight line through the last values of a series.

use crate::profile::{Flat, WarmUp};

use super::fold::Known;
use super::kernel::ByRow;
use super::lanes::{Lanes, blocks, blocks_mut};
use super::moments::{Equal, QLIB_FLAT, Sums, cancelled, unless_equal};

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
    Determination(Flat),
    /// The mean with weights 1 to n, the newest heaviest.
    Weighted,
}

/// A regression on time over the last `window` bars. In partial windows the known
/// values stand at their bars' places.
pub(crate) struct Trend {
    known: Known,
    equal: Equal,
    sums: Sums<1, 3>,
    line: Line,
}

/// A value, times its place, and its square.
#[inline(always)]
fn timed([x]: [Lanes; 1], place: Lanes) -> [Lanes; 3] {
    [x, x * place, x * x]
}

/// Sums over a window about the means, and what else it takes to tell a [`Line`].
#[derive(Clone, Copy)]
struct Fit {
    /// Known values.
    n: Lanes,
    /// Squares of the places.
    tt: Lanes,
    /// Products of places and values.
    tx: Lanes,
    /// Squares of the values.
    xx: Lanes,
    /// What the values were taken about, their sum and mean about it.
    pivot: Lanes,
    sum: Lanes,
    mean: Lanes,
    /// From the mean place back to the oldest known value, and on to the newest bar.
    before: Lanes,
    after: Lanes,
}

impl Fit {
    #[inline(always)]
    fn tell(self, line: Line, x: Lanes, window: usize) -> Lanes {
        let slope = self.tx / self.tt;
        match line {
            // A single bar has no direction but lies on its own line.
            Line::Start | Line::End if window == 1 => self.mean + self.pivot,
            Line::Residual if window == 1 => x - self.pivot - self.mean,
            Line::Slope => slope,
            Line::Start => self.mean - slope * self.before + self.pivot,
            Line::End => self.mean + slope * self.after + self.pivot,
            // About the pivot, so that far from zero nothing is rounded off.
            Line::Residual => x - self.pivot - (self.mean + slope * self.after),
            Line::Determination(flat) => {
                let share = self.tx * self.tx / (self.tt * self.xx);
                let share = Lanes::of(1.0).less(share, Lanes::of(1.0), share);
                if flat == Flat::Tolerance {
                    let least = Lanes::of(QLIB_FLAT * QLIB_FLAT) * (self.n - Lanes::of(1.0));
                    least.less(self.xx, share, Lanes::UNKNOWN)
                } else {
                    share
                }
            }
            // Weights 1..n are (n + 1) / 2 plus the distance to the centre. One
            // division at the end: of whole numbers equal means come out equal.
            Line::Weighted => {
                let half = (self.n + Lanes::of(1.0)) * Lanes::of(0.5);
                let weights = self.n * half;
                (self.tx + self.sum * half + self.pivot * weights) / weights
            }
        }
    }
}

impl Trend {
    pub(crate) fn new(lanes: usize, window: usize, line: Line, warm_up: WarmUp) -> Self {
        Self {
            known: Known::new(lanes, window, warm_up),
            equal: Equal::new(lanes),
            sums: Sums::new(lanes, window),
            line,
        }
    }

    /// Returns the fit of full windows from the running sums.
    #[inline(always)]
    fn full(&self, block: usize, run: Lanes, [sum, in_time, squared]: [Lanes; 3]) -> Fit {
        let n = self.sums.window as f64;
        let half = Lanes::of((n - 1.0) / 2.0);
        let centre = Lanes::of(self.sums.at as f64) - half;
        let tt = Lanes::of(n * (n * n - 1.0) / 12.0);
        let n = Lanes::of(n);
        Fit {
            n,
            tt,
            tx: unless_equal(run, n, in_time - centre * sum),
            xx: unless_equal(run, n, ((squared * n - sum * sum) / n).not_negative()),
            pivot: self.sums.pivots[block][0],
            sum,
            mean: sum / n,
            before: half,
            after: half,
        }
    }

    /// Puts the fit of a lane's window, full or not, from its values.
    #[cold]
    fn again(&self, block: usize, lane: usize, run: f64, fit: &mut Fit) {
        let values = self.sums.values(block, lane);
        let values = values.filter_map(|([x], place)| (!x.is_nan()).then_some((x, place)));
        let (pivot, oldest) = values.clone().next().unwrap_or((0.0, 0.0));
        let n = values.clone().count() as f64;
        let (mut mean, mut centre) = (0.0, 0.0);
        for (x, place) in values.clone() {
            mean += (x - pivot) / n;
            centre += place / n;
        }
        let (mut tt, mut tx, mut xx) = (0.0, 0.0, 0.0);
        if run < n {
            for (x, place) in values.clone() {
                let (x, place) = (x - pivot - mean, place - centre);
                tx += place * x;
                xx += x * x;
            }
        }
        for (_, place) in values {
            tt += (place - centre) * (place - centre);
        }
        let put = |target: &mut Lanes, value: f64| target.0[lane] = value;
        put(&mut fit.n, n);
        put(&mut fit.tt, tt);
        put(&mut fit.tx, tx);
        put(&mut fit.xx, xx);
        put(&mut fit.pivot, pivot);
        put(&mut fit.sum, mean * n);
        put(&mut fit.mean, mean);
        put(&mut fit.before, centre - oldest);
        put(&mut fit.after, self.sums.at as f64 - centre);
    }
}

impl ByRow<1> for Trend {
    #[inline(always)]
    fn row(&mut self, [x]: [&[f64]; 1], output: &mut [f64]) {
        self.sums.begin_row(timed);
        let window = Lanes::of(self.sums.window as f64);
        for (block, (x, output)) in blocks(x).iter().zip(blocks_mut(output)).enumerate() {
            let x = Lanes(*x);
            let count = self.known.block(block, x);
            let run = self.equal.block(block, x);
            let sums = self.sums.block(block, [x], timed);
            let mut fit = self.full(block, run, sums);
            let lost = cancelled(run, count, sums[0], sums[2])
                + count.less(window, Lanes::of(1.0), Lanes::ZERO);
            if lost.any() {
                for lane in 0..8 {
                    if lost.0[lane] > 0.0 {
                        self.again(block, lane, run.0[lane], &mut fit);
                    }
                }
            }
            let value = fit.tell(self.line, x, self.sums.window);
            *output = count.known_or(value, count).known().0;
        }
        self.known.end_row();
        self.sums.end_row();
    }
}
