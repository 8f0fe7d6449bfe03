//! Operators that look at each of the last values: delays, places of extrema,
//! ranks and weighted means.

use crate::profile::{Position, RankScale, Ties, WarmUp};

use super::fold::Known;
use super::kernel::{ByRow, known};
use super::lanes::{Lanes, blocks, blocks_mut};

/// The last `window` rows, the present one included.
pub(crate) struct Ring {
    lanes: usize,
    window: usize,
    /// The slot of the newest row.
    newest: usize,
    rows: Vec<f64>,
}

impl Ring {
    pub(crate) fn new(lanes: usize, window: usize) -> Self {
        Self {
            lanes,
            window,
            newest: window - 1,
            rows: vec![f64::NAN; window * lanes],
        }
    }

    /// Takes a row in place of the oldest.
    #[inline(always)]
    pub(crate) fn push(&mut self, row: &[f64]) {
        self.newest = if self.newest + 1 == self.window {
            0
        } else {
            self.newest + 1
        };
        self.rows[self.newest * self.lanes..][..self.lanes].copy_from_slice(row);
    }

    /// Returns the row of `ago` bars before, 0 being the newest.
    #[inline(always)]
    pub(crate) fn ago(&self, ago: usize) -> &[f64] {
        let slot = if ago <= self.newest {
            self.newest - ago
        } else {
            self.newest + self.window - ago
        };
        &self.rows[slot * self.lanes..][..self.lanes]
    }
}

/// The value of some bars before.
pub(crate) struct Delay(Ring);

impl Delay {
    pub(crate) fn new(lanes: usize, bars: usize) -> Self {
        Self(Ring::new(lanes, bars + 1))
    }
}

impl ByRow<1> for Delay {
    #[inline(always)]
    fn row(&mut self, [x]: [&[f64]; 1], output: &mut [f64]) {
        self.0.push(x);
        output.copy_from_slice(self.0.ago(self.0.window - 1));
    }
}

/// The change since some bars before.
pub(crate) struct Change {
    ring: Ring,
    relative: bool,
}

impl Change {
    pub(crate) fn new(lanes: usize, bars: usize, relative: bool) -> Self {
        Self {
            ring: Ring::new(lanes, bars + 1),
            relative,
        }
    }
}

impl ByRow<1> for Change {
    #[inline(always)]
    fn row(&mut self, [x]: [&[f64]; 1], output: &mut [f64]) {
        self.ring.push(x);
        let before = self.ring.ago(self.ring.window - 1);
        if self.relative {
            for ((output, &x), &before) in output.iter_mut().zip(x).zip(before) {
                *output = known(x / before - 1.0);
            }
        } else {
            for ((output, &x), &before) in output.iter_mut().zip(x).zip(before) {
                *output = known(x - before);
            }
        }
    }
}

/// The last `window` rows in blocks of lanes, the present one included.
pub(crate) struct Past {
    width: usize,
    window: usize,
    /// The slot of the newest row.
    newest: usize,
    rows: Vec<Lanes>,
}

impl Past {
    pub(crate) fn new(lanes: usize, window: usize) -> Self {
        Self {
            width: lanes / 8,
            window,
            newest: window - 1,
            rows: vec![Lanes::UNKNOWN; window * lanes / 8],
        }
    }

    /// Makes room for a row in place of the oldest.
    #[inline(always)]
    pub(crate) fn begin_row(&mut self) {
        self.newest = if self.newest + 1 == self.window {
            0
        } else {
            self.newest + 1
        };
    }

    /// Takes a block of the newest row; returns the value that leaves the window.
    #[inline(always)]
    pub(crate) fn put(&mut self, block: usize, x: Lanes) -> Lanes {
        std::mem::replace(&mut self.rows[self.newest * self.width + block], x)
    }

    /// Calls with each value of a block, in no particular order of time.
    #[inline(always)]
    pub(crate) fn each(&self, block: usize, mut f: impl FnMut(Lanes)) {
        let mut at = block;
        for _ in 0..self.window {
            f(self.rows[at]);
            at += self.width;
        }
    }

    /// Calls with each value of a block from the oldest to the newest, and how many
    /// bars ago it was.
    #[inline(always)]
    pub(crate) fn since_oldest(&self, block: usize, mut f: impl FnMut(Lanes, f64)) {
        let mut ago = self.window as f64;
        let oldest = self.newest + 1;
        for slots in [oldest..self.window, 0..oldest] {
            for slot in slots {
                ago -= 1.0;
                f(self.rows[slot * self.width + block], ago);
            }
        }
    }
}

/// Where in the window the extremum stands. Of equal ones the oldest counts, or
/// the newest if `newest` is set (TA-Lib).
pub(crate) struct Place {
    past: Past,
    known: Known,
    sign: f64,
    newest: bool,
    position: Position,
}

impl Place {
    pub(crate) fn new(
        lanes: usize,
        window: usize,
        largest: bool,
        newest: bool,
        position: Position,
        warm_up: WarmUp,
    ) -> Self {
        Self {
            past: Past::new(lanes, window),
            known: Known::new(lanes, window, warm_up),
            sign: if largest { 1.0 } else { -1.0 },
            newest,
            position,
        }
    }
}

impl ByRow<1> for Place {
    #[inline(always)]
    fn row(&mut self, [x]: [&[f64]; 1], output: &mut [f64]) {
        self.past.begin_row();
        let sign = Lanes::of(self.sign);
        for (block, (x, output)) in blocks(x).iter().zip(blocks_mut(output)).enumerate() {
            let x = Lanes(*x);
            let count = self.known.block(block, x);
            self.past.put(block, x);
            let mut best = Lanes::of(f64::NEG_INFINITY);
            let mut place = Lanes::ZERO;
            let mut oldest = Lanes::of(-1.0);
            let newest = self.newest;
            self.past.since_oldest(
                block,
                #[inline(always)]
                |value, ago| {
                    let ago = Lanes::of(ago);
                    let first = value.known_or(ago, oldest);
                    oldest = oldest.less(Lanes::ZERO, first, oldest);
                    let value = value * sign;
                    let better = best.less(value, ago, place);
                    place = if newest {
                        best.equal(value, ago, better)
                    } else {
                        better
                    };
                    best = best.less(value, value, best);
                },
            );
            // A partial window begins with its first known value.
            let told = match self.position {
                Position::FromOldest => oldest - place + Lanes::of(1.0),
                Position::BarsAgo => place,
            };
            *output = count.known_or(told, count).0;
        }
        self.known.end_row();
    }
}

/// The rank of the newest value in its window.
pub(crate) struct Rank {
    past: Past,
    known: Known,
    scale: RankScale,
    /// What an equal value, and the value itself, add to twice the rank.
    equal: f64,
    itself: f64,
}

impl Rank {
    pub(crate) fn new(
        lanes: usize,
        window: usize,
        scale: RankScale,
        ties: Ties,
        warm_up: WarmUp,
    ) -> Self {
        let (equal, itself) = match ties {
            Ties::Mean => (1.0, 1.0),
            Ties::Least => (0.0, 2.0),
        };
        Self {
            past: Past::new(lanes, window),
            known: Known::new(lanes, window, warm_up),
            scale,
            equal,
            itself,
        }
    }
}

impl ByRow<1> for Rank {
    #[inline(always)]
    fn row(&mut self, [x]: [&[f64]; 1], output: &mut [f64]) {
        self.past.begin_row();
        let scale = self.scale;
        let (equal, itself) = (Lanes::of(self.equal), Lanes::of(self.itself));
        for (block, (x, output)) in blocks(x).iter().zip(blocks_mut(output)).enumerate() {
            let x = Lanes(*x);
            let n = self.known.block(block, x);
            self.past.put(block, x);
            // Twice the rank: 2 for each smaller, 1 for each equal and for itself.
            let mut twice = Lanes::ZERO;
            self.past.each(
                block,
                #[inline(always)]
                |value| {
                    twice += value.less(x, Lanes::of(2.0), Lanes::ZERO);
                    twice += value.equal(x, equal, Lanes::ZERO);
                },
            );
            let rank = (twice + itself) * Lanes::of(0.5);
            let value = rank.with(
                n,
                #[inline(always)]
                |rank, n| scaled(rank, n, scale),
            );
            *output = (n + x).known_or(value, Lanes::UNKNOWN).0;
        }
        self.known.end_row();
    }
}

/// Returns a rank from 1 to n on its scale.
#[inline(always)]
pub(crate) fn scaled(rank: f64, n: f64, scale: RankScale) -> f64 {
    match scale {
        RankScale::Ordinal => rank,
        RankScale::Fraction => rank / n,
        RankScale::Unit => {
            if n > 1.0 {
                (rank - 1.0) / (n - 1.0)
            } else {
                0.5
            }
        }
    }
}

/// A statistic of all values of a full window, in two passes over them.
pub(crate) struct TwoPass {
    past: Past,
    known: Known,
    shape: Shape,
}

/// What [`TwoPass`] gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// The mean absolute deviation from the mean.
    AbsoluteDeviation,
    /// The skewness with the bias correction of pandas.
    Skewness,
    /// The excess kurtosis with the bias correction of pandas.
    Kurtosis,
}

impl TwoPass {
    pub(crate) fn new(lanes: usize, window: usize, shape: Shape) -> Self {
        Self {
            past: Past::new(lanes, window),
            known: Known::new(lanes, window, WarmUp::Full),
            shape,
        }
    }

    /// The mean about a value of the window, so that far from zero nothing is
    /// rounded off.
    #[inline(always)]
    fn mean(&self, block: usize, about: Lanes, n: f64) -> Lanes {
        let mut sum = Lanes::ZERO;
        self.past.each(
            block,
            #[inline(always)]
            |value| sum += value - about,
        );
        sum / Lanes::of(n)
    }

    #[inline(always)]
    fn absolute(&self, block: usize, about: Lanes, mean: Lanes, n: f64) -> Lanes {
        let mut sum = Lanes::ZERO;
        self.past.each(
            block,
            #[inline(always)]
            |value| sum += (value - about - mean).map(f64::abs),
        );
        sum / Lanes::of(n)
    }

    #[inline(always)]
    fn moments(&self, block: usize, about: Lanes, mean: Lanes) -> [Lanes; 3] {
        let mut powers = [Lanes::ZERO; 3];
        self.past.each(
            block,
            #[inline(always)]
            |value| {
                let from_mean = value - about - mean;
                let square = from_mean * from_mean;
                powers[0] += square;
                powers[1] += square * from_mean;
                powers[2] += square * square;
            },
        );
        powers
    }
}

impl ByRow<1> for TwoPass {
    #[inline(always)]
    fn row(&mut self, [x]: [&[f64]; 1], output: &mut [f64]) {
        self.past.begin_row();
        let n = self.past.window as f64;
        for (block, (x, output)) in blocks(x).iter().zip(blocks_mut(output)).enumerate() {
            let x = Lanes(*x);
            let count = self.known.block(block, x);
            self.past.put(block, x);
            let mean = self.mean(block, x, n);
            let value = if self.shape == Shape::AbsoluteDeviation {
                self.absolute(block, x, mean, n)
            } else {
                let powers = self.moments(block, x, mean);
                let mut value = Lanes::UNKNOWN;
                for lane in 0..8 {
                    let powers = powers.map(|power| power.0[lane]);
                    value.0[lane] = shape_of(self.shape, powers, n);
                }
                value
            };
            *output = count.known_or(value, count).known().0;
        }
        self.known.end_row();
    }
}

/// Returns the skewness or kurtosis of sums of powers about the mean.
#[inline(always)]
fn shape_of(shape: Shape, [second, third, fourth]: [f64; 3], n: f64) -> f64 {
    if second == 0.0 {
        return f64::NAN;
    }
    let (m2, m3, m4) = (second / n, third / n, fourth / n);
    if shape == Shape::Skewness {
        (n * (n - 1.0)).sqrt() / (n - 2.0) * m3 / (m2 * m2.sqrt())
    } else {
        (n - 1.0) / ((n - 2.0) * (n - 3.0)) * ((n + 1.0) * m4 / (m2 * m2) - 3.0 * (n - 1.0))
    }
}
