//! Recursions of named indicators: filters of second order, averages that speed
//! up, stops that change sides. All begin anew after an unknown value.

use crate::engine::{ByLane, ByRow, known};

/// `y = b0 x + b1 x[1] + b2 x[2] + a1 y[1] + a2 y[2]`, begun as if the first value
/// had stood for ever.
pub(super) struct Biquad {
    b: [f64; 3],
    a: [f64; 2],
    /// What a constant 1 becomes in the end.
    gain: f64,
    /// The last two inputs and outputs of each lane.
    state: [Vec<f64>; 4],
}

impl Biquad {
    pub(super) fn new(lanes: usize, constants: &[f64]) -> Self {
        let at = |index: usize| constants.get(index).copied().unwrap_or(f64::NAN);
        let (b, a) = ([at(0), at(1), at(2)], [at(3), at(4)]);
        let gain = b.iter().sum::<f64>() / (1.0 - a[0] - a[1]);
        Self {
            b,
            a,
            gain: if gain.is_finite() { gain } else { 0.0 },
            state: [(); 4].map(|()| vec![f64::NAN; lanes]),
        }
    }
}

impl ByRow<1> for Biquad {
    #[inline(always)]
    fn row(&mut self, [x]: [&[f64]; 1], output: &mut [f64]) {
        let ([b0, b1, b2], [a1, a2], gain) = (self.b, self.a, self.gain);
        let [x1, x2, y1, y2] = &mut self.state;
        let lanes = output.iter_mut().zip(x).zip(x1).zip(x2).zip(y1).zip(y2);
        for (((((output, &x), x1), x2), y1), y2) in lanes {
            let first = y1.is_nan();
            let (p1, p2) = if first { (x, x) } else { (*x1, *x2) };
            let (q1, q2) = if first {
                (gain * x, gain * x)
            } else {
                (*y1, *y2)
            };
            let y = known(b0 * x + b1 * p1 + b2 * p2 + a1 * q1 + a2 * q2);
            (*x2, *x1, *y2, *y1) = (p1, x, q1, y);
            *output = y;
        }
    }
}

/// McGinley's average: the farther the value falls below it, the faster.
#[derive(Clone)]
pub(super) struct McGinley {
    pub(super) speed: f64,
    pub(super) average: f64,
}

impl ByLane<1> for McGinley {
    fn next(&mut self, [x]: [f64; 1]) -> f64 {
        self.average = if self.average.is_nan() {
            x
        } else {
            self.average + (x - self.average) / (self.speed * (x / self.average).powi(4))
        };
        self.average
    }
}

/// Level, slope and curvature, each corrected by a part of its error.
#[derive(Clone)]
pub(super) struct HoltWinters {
    pub(super) weights: [f64; 3],
    pub(super) level: f64,
    pub(super) slope: f64,
    pub(super) curvature: f64,
}

impl ByLane<1> for HoltWinters {
    fn next(&mut self, [x]: [f64; 1]) -> f64 {
        if self.level.is_nan() {
            (self.level, self.slope, self.curvature) = (x, 0.0, 0.0);
        }
        let [of_level, of_slope, of_curvature] = self.weights;
        let foreseen = self.level + self.slope + self.curvature / 2.0;
        let level = (1.0 - of_level) * foreseen + of_level * x;
        let slope =
            (1.0 - of_slope) * (self.slope + self.curvature) + of_slope * (level - self.level);
        self.curvature =
            (1.0 - of_curvature) * self.curvature + of_curvature * (slope - self.slope);
        (self.level, self.slope) = (level, slope);
        level + slope + self.curvature / 2.0
    }
}

/// A stop that only moves with the trend and jumps to the other side when crossed
/// (Vervoort, 2009).
#[derive(Clone)]
pub(super) struct TrailingStop {
    pub(super) before: f64,
    pub(super) stop: f64,
}

impl ByLane<2> for TrailingStop {
    fn next(&mut self, [x, distance]: [f64; 2]) -> f64 {
        let (before, stop) = (self.before, self.stop);
        self.before = x;
        self.stop = if x.is_nan() || distance.is_nan() {
            f64::NAN
        } else if stop.is_nan() {
            x - distance
        } else if x > stop && before > stop {
            stop.max(x - distance)
        } else if x < stop && before < stop {
            stop.min(x + distance)
        } else if x > stop {
            x - distance
        } else {
            x + distance
        };
        self.stop
    }
}

/// A stop at a distance from the best value since the last reversal (Wilder's
/// volatility system, 1978). It begins long.
#[derive(Clone)]
pub(super) struct ReversalStop {
    pub(super) long: bool,
    pub(super) best: f64,
}

impl ByLane<2> for ReversalStop {
    fn next(&mut self, [x, distance]: [f64; 2]) -> f64 {
        if x.is_nan() || distance.is_nan() {
            (self.long, self.best) = (true, f64::NAN);
            return f64::NAN;
        }
        let stop = |long: bool, best: f64| {
            if long {
                best - distance
            } else {
                best + distance
            }
        };
        if self.best.is_nan() {
            self.best = x;
        }
        self.best = if self.long {
            self.best.max(x)
        } else {
            self.best.min(x)
        };
        let here = stop(self.long, self.best);
        if (self.long && x < here) || (!self.long && x > here) {
            (self.long, self.best) = (!self.long, x);
        }
        stop(self.long, self.best)
    }
}

/// The largest value, forgotten by a fixed share each bar.
#[derive(Clone)]
pub(super) struct DecayingMaximum {
    pub(super) decay: f64,
    pub(super) peak: f64,
}

impl ByLane<1> for DecayingMaximum {
    fn next(&mut self, [x]: [f64; 1]) -> f64 {
        self.peak = if x.is_nan() {
            f64::NAN
        } else {
            x.max(self.decay * self.peak)
        };
        self.peak
    }
}
