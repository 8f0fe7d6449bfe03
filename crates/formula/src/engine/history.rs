//! Operators that look at each of the last values: delays, places of extrema,
//! ranks and weighted means.

use crate::profile::{Position, RankScale, WarmUp};

use super::fold::Known;
use super::kernel::{ByRow, known};

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

/// Where in the window the extremum stands. Of equal ones the oldest counts, or
/// the newest if `newest` is set (TA-Lib).
pub(crate) struct Place {
    ring: Ring,
    known: Known,
    counts: Vec<f64>,
    best: Vec<f64>,
    largest: bool,
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
            ring: Ring::new(lanes, window),
            known: Known::new(lanes, window, warm_up),
            counts: vec![0.0; lanes],
            best: vec![0.0; lanes],
            largest,
            newest,
            position,
        }
    }
}

impl ByRow<1> for Place {
    #[inline(always)]
    fn row(&mut self, [x]: [&[f64]; 1], output: &mut [f64]) {
        self.ring.push(x);
        self.known.row(x, &mut self.counts);
        let sign = if self.largest { 1.0 } else { -1.0 };
        self.best.fill(f64::NEG_INFINITY);
        let newest = self.newest;
        // From the oldest on, so that of equal values the first to be met stays.
        for ago in (0..self.ring.window).rev() {
            for ((place, best), &value) in output
                .iter_mut()
                .zip(&mut self.best)
                .zip(self.ring.ago(ago))
            {
                let value = value * sign;
                let better = (value > *best) | (newest & (value == *best));
                *best = if better { value } else { *best };
                *place = if better { ago as f64 } else { *place };
            }
        }
        let window = self.ring.window as f64;
        let from_oldest = self.position == Position::FromOldest;
        for (place, &count) in output.iter_mut().zip(&self.counts) {
            let told = if from_oldest {
                // A partial window begins with the bars that are there.
                count.min(window) - *place
            } else {
                *place
            };
            *place = if count.is_nan() { f64::NAN } else { told };
        }
    }
}

/// The rank of the newest value in its window.
pub(crate) struct Rank {
    ring: Ring,
    known: Known,
    counts: Vec<f64>,
    scale: RankScale,
}

impl Rank {
    pub(crate) fn new(lanes: usize, window: usize, scale: RankScale, warm_up: WarmUp) -> Self {
        Self {
            ring: Ring::new(lanes, window),
            known: Known::new(lanes, window, warm_up),
            counts: vec![0.0; lanes],
            scale,
        }
    }
}

impl ByRow<1> for Rank {
    #[inline(always)]
    fn row(&mut self, [x]: [&[f64]; 1], output: &mut [f64]) {
        self.ring.push(x);
        self.known.row(x, &mut self.counts);
        // Twice the rank above the smallest: 2 for each smaller, 1 for each equal.
        output.fill(0.0);
        for ago in 0..self.ring.window {
            for ((twice, &x), &value) in output.iter_mut().zip(x).zip(self.ring.ago(ago)) {
                *twice += if value < x { 2.0 } else { 0.0 };
                *twice += if value == x { 1.0 } else { 0.0 };
            }
        }
        for ((output, &n), &x) in output.iter_mut().zip(&self.counts).zip(x) {
            let rank = (*output + 1.0) / 2.0;
            let value = scaled(rank, n, self.scale);
            *output = if n.is_nan() | x.is_nan() {
                f64::NAN
            } else {
                value
            };
        }
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
    ring: Ring,
    known: Known,
    counts: Vec<f64>,
    mean: Vec<f64>,
    powers: [Vec<f64>; 3],
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
            ring: Ring::new(lanes, window),
            known: Known::new(lanes, window, WarmUp::Full),
            counts: vec![0.0; lanes],
            mean: vec![0.0; lanes],
            powers: [(); 3].map(|()| vec![0.0; lanes]),
            shape,
        }
    }
}

impl ByRow<1> for TwoPass {
    #[inline(always)]
    fn row(&mut self, [x]: [&[f64]; 1], output: &mut [f64]) {
        self.ring.push(x);
        self.known.row(x, &mut self.counts);
        let window = self.ring.window;
        let n = window as f64;
        self.mean.fill(0.0);
        for ago in 0..window {
            for (mean, &value) in self.mean.iter_mut().zip(self.ring.ago(ago)) {
                *mean += value;
            }
        }
        for mean in &mut self.mean {
            *mean /= n;
        }
        for power in &mut self.powers {
            power.fill(0.0);
        }
        let [second, third, fourth] = &mut self.powers;
        if self.shape == Shape::AbsoluteDeviation {
            for ago in 0..window {
                for ((sum, &value), &mean) in
                    second.iter_mut().zip(self.ring.ago(ago)).zip(&self.mean)
                {
                    *sum += (value - mean).abs();
                }
            }
            for ((output, &sum), &count) in output.iter_mut().zip(&*second).zip(&self.counts) {
                *output = known(sum / count);
            }
            return;
        }
        for ago in 0..window {
            let row = self.ring.ago(ago);
            for lane in 0..row.len() {
                let from_mean = row[lane] - self.mean[lane];
                let square = from_mean * from_mean;
                second[lane] += square;
                third[lane] += square * from_mean;
                fourth[lane] += square * square;
            }
        }
        for lane in 0..output.len() {
            // Equal values leave rounding behind, which is not a spread.
            let flat = second[lane] <= n * (self.mean[lane] * f64::EPSILON * n).powi(2);
            let (m2, m3, m4) = (second[lane] / n, third[lane] / n, fourth[lane] / n);
            let value = match self.shape {
                Shape::Skewness => (n * (n - 1.0)).sqrt() / (n - 2.0) * m3 / (m2 * m2.sqrt()),
                _ => {
                    (n - 1.0) / ((n - 2.0) * (n - 3.0))
                        * ((n + 1.0) * m4 / (m2 * m2) - 3.0 * (n - 1.0))
                }
            };
            output[lane] = if flat | self.counts[lane].is_nan() {
                f64::NAN
            } else {
                known(value)
            };
        }
    }
}
