//! Operators across the instruments of one row. Unknown values take no part.

use crate::profile::RankScale;

use super::history::scaled;
use super::kernel::{ByRow, known};

/// The rank of each value among those of its group, or of all.
pub(crate) struct CrossRank {
    pub(crate) scale: RankScale,
    pub(crate) instruments: usize,
    pub(crate) twice: Vec<f64>,
    pub(crate) count: Vec<f64>,
}

impl CrossRank {
    pub(crate) fn new(lanes: usize, instruments: usize, scale: RankScale) -> Self {
        Self {
            scale,
            instruments,
            twice: vec![0.0; lanes],
            count: vec![0.0; lanes],
        }
    }

    #[inline(always)]
    fn finish(&self, x: &[f64], output: &mut [f64]) {
        let lanes = output.iter_mut().zip(x).zip(&self.twice).zip(&self.count);
        for (((output, &x), &twice), &n) in lanes {
            let value = scaled((twice + 1.0) / 2.0, n, self.scale);
            *output = if x.is_nan() { f64::NAN } else { value };
        }
    }
}

impl ByRow<1> for CrossRank {
    #[inline(always)]
    fn row(&mut self, [x]: [&[f64]; 1], output: &mut [f64]) {
        self.twice.fill(0.0);
        let mut known = 0.0;
        for &other in &x[..self.instruments] {
            known += if other.is_nan() { 0.0 } else { 1.0 };
            for (twice, &x) in self.twice.iter_mut().zip(x) {
                *twice += if other < x { 2.0 } else { 0.0 };
                *twice += if other == x { 1.0 } else { 0.0 };
            }
        }
        self.count.fill(known);
        self.finish(x, output);
    }
}

impl ByRow<2> for CrossRank {
    #[inline(always)]
    fn row(&mut self, [x, group]: [&[f64]; 2], output: &mut [f64]) {
        self.twice.fill(0.0);
        self.count.fill(0.0);
        for (&other, &theirs) in x.iter().zip(group).take(self.instruments) {
            let here = if other.is_nan() { 0.0 } else { 1.0 };
            for lane in 0..x.len() {
                let same = group[lane] == theirs;
                self.twice[lane] += if same & (other < x[lane]) { 2.0 } else { 0.0 };
                self.twice[lane] += if same & (other == x[lane]) { 1.0 } else { 0.0 };
                self.count[lane] += if same { here } else { 0.0 };
            }
        }
        self.finish(x, output);
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
