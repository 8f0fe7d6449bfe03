//! Operators across the instruments of one row. Unknown values take no part.

use crate::profile::RankScale;

use super::history::scaled;
use super::kernel::{ByRow, known};
use super::lanes::{Lanes, blocks, blocks_mut};

/// The rank of each value among those of its group, or of all.
pub(crate) struct CrossRank {
    scale: RankScale,
    instruments: usize,
}

impl CrossRank {
    pub(crate) fn new(instruments: usize, scale: RankScale) -> Self {
        Self { scale, instruments }
    }

    /// Ranks eight lanes among all, in whole numbers: exact whatever the values.
    #[inline(always)]
    fn block(&self, x: Lanes, all: &[f64], count: Lanes) -> Lanes {
        let mut twice = Lanes::ZERO;
        for &other in &all[..self.instruments] {
            let other = Lanes::of(other);
            twice += other.less(x, Lanes::of(2.0), Lanes::ZERO);
            twice += other.equal(x, Lanes::of(1.0), Lanes::ZERO);
        }
        finish(x, twice, count, self.scale)
    }

    /// The same among lanes of the same group.
    #[inline(always)]
    fn group_block(&self, x: Lanes, group: Lanes, all: &[f64], groups: &[f64]) -> Lanes {
        let mut twice = Lanes::ZERO;
        let mut count = Lanes::ZERO;
        for (&other, &theirs) in all.iter().zip(groups).take(self.instruments) {
            // Of another group: neither smaller nor equal nor counted.
            let other = group.equal(Lanes::of(theirs), Lanes::of(other), Lanes::UNKNOWN);
            twice += other.less(x, Lanes::of(2.0), Lanes::ZERO);
            twice += other.equal(x, Lanes::of(1.0), Lanes::ZERO);
            count += other.equal(other, Lanes::of(1.0), Lanes::ZERO);
        }
        finish(x, twice, count, self.scale)
    }
}

#[inline(always)]
fn finish(x: Lanes, twice: Lanes, count: Lanes, scale: RankScale) -> Lanes {
    let rank = (twice + Lanes::of(1.0)) * Lanes::of(0.5);
    let value = rank.with(
        count,
        #[inline(always)]
        |rank, n| scaled(rank, n, scale),
    );
    // An instrument without a group has no peers.
    x.known_or(Lanes::ZERO.less(count, value, Lanes::UNKNOWN), x)
}

impl ByRow<1> for CrossRank {
    #[inline(always)]
    fn row(&mut self, [x]: [&[f64]; 1], output: &mut [f64]) {
        let known = x[..self.instruments].iter().filter(|x| !x.is_nan()).count();
        let count = Lanes::of(known as f64);
        for (block, output) in blocks(x).iter().zip(blocks_mut(output)) {
            *output = self.block(Lanes(*block), x, count).0;
        }
    }
}

impl ByRow<2> for CrossRank {
    #[inline(always)]
    fn row(&mut self, [x, group]: [&[f64]; 2], output: &mut [f64]) {
        let inputs = blocks(x).iter().zip(blocks(group));
        for ((block, groups), output) in inputs.zip(blocks_mut(output)) {
            *output = self.group_block(Lanes(*block), Lanes(*groups), x, group).0;
        }
    }
}

/// A statistic of a group that each of its members gets, alone or applied to it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Among {
    /// The mean.
    Mean,
    /// The sum.
    Sum,
    /// The number of known values.
    Count,
    /// The smallest.
    Minimum,
    /// The largest.
    Maximum,
    /// The deviation, with this many degrees of freedom taken off.
    Deviation(u8),
    /// The value minus the mean.
    Demean,
    /// The value minus the mean over the deviation.
    Standardise(u8),
    /// The value times a constant over the sum of absolute values.
    Scale(f64),
}

/// Statistics by group; without a group all instruments are one.
pub(crate) struct Across {
    among: Among,
    instruments: usize,
    all: Vec<f64>,
}

impl Across {
    pub(crate) fn new(lanes: usize, instruments: usize, among: Among) -> Self {
        Self {
            among,
            instruments,
            all: vec![0.0; lanes],
        }
    }
}

/// Sums of one group in a row.
#[derive(Clone, Copy)]
struct Group {
    count: f64,
    mean: f64,
    sum: f64,
    absolute: f64,
    spread: f64,
    smallest: f64,
    largest: f64,
}

impl Group {
    fn of(x: &[f64], group: &[f64], which: f64) -> Self {
        let members = || {
            x.iter()
                .zip(group)
                .filter(|(x, group)| **group == which && !x.is_nan())
                .map(|(x, _)| *x)
        };
        let (mut count, mut sum, mut absolute) = (0.0, 0.0, 0.0);
        let (mut smallest, mut largest) = (f64::INFINITY, f64::NEG_INFINITY);
        for value in members() {
            count += 1.0;
            sum += value;
            absolute += value.abs();
            smallest = f64::min(smallest, value);
            largest = f64::max(largest, value);
        }
        // Equal values have no spread, whatever the rounding of their mean.
        let mean = if smallest == largest {
            smallest
        } else {
            sum / count
        };
        let spread = members().map(|value| (value - mean) * (value - mean)).sum();
        Self {
            count,
            mean,
            sum,
            absolute,
            spread,
            smallest,
            largest,
        }
    }

    fn give(self, among: Among, x: f64) -> f64 {
        let deviation = |ddof: u8| (self.spread / (self.count - f64::from(ddof))).sqrt();
        match among {
            Among::Mean => self.mean,
            Among::Sum => self.sum,
            Among::Count => self.count,
            Among::Minimum => self.smallest,
            Among::Maximum => self.largest,
            Among::Deviation(ddof) => deviation(ddof),
            Among::Demean => x - self.mean,
            Among::Standardise(ddof) => (x - self.mean) / deviation(ddof),
            Among::Scale(total) => x * total / self.absolute,
        }
    }
}

impl ByRow<1> for Across {
    #[inline(always)]
    fn row(&mut self, [x]: [&[f64]; 1], output: &mut [f64]) {
        let group = Group::of(&x[..self.instruments], &self.all, 0.0);
        for (output, &x) in output.iter_mut().zip(x) {
            *output = if x.is_nan() {
                f64::NAN
            } else {
                known(group.give(self.among, x))
            };
        }
    }
}

impl ByRow<2> for Across {
    #[inline(always)]
    fn row(&mut self, [x, groups]: [&[f64]; 2], output: &mut [f64]) {
        output.fill(f64::NAN);
        for first in 0..self.instruments {
            let which = groups[first];
            if groups[..first].contains(&which) {
                continue;
            }
            let group = Group::of(&x[..self.instruments], groups, which);
            for lane in 0..self.instruments {
                if groups[lane] == which && !x[lane].is_nan() {
                    output[lane] = known(group.give(self.among, x[lane]));
                }
            }
        }
    }
}
