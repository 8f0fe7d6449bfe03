//! Averages that start, wait or weigh in TA-Lib's ways. All begin anew after an
//! unknown value.

use std::collections::VecDeque;

use crate::engine::ByLane;

/// An exponential average that starts at a given value of its input, from the
/// mean of the last few: two averages of different length can start together.
#[derive(Clone)]
pub(super) struct ExponentialFrom {
    weight: f64,
    window: usize,
    start: usize,
    count: usize,
    /// The values of the seed, until it is taken.
    seed: VecDeque<f64>,
    average: f64,
}

impl ExponentialFrom {
    pub(super) fn new(weight: f64, window: usize, start: usize) -> Self {
        Self {
            weight,
            window,
            start: start.max(window),
            count: 0,
            seed: VecDeque::with_capacity(window),
            average: 0.0,
        }
    }
}

impl ByLane<1> for ExponentialFrom {
    fn next(&mut self, [x]: [f64; 1]) -> f64 {
        if x.is_nan() {
            self.count = 0;
            self.seed.clear();
            return f64::NAN;
        }
        if self.count == self.start {
            self.average += self.weight * (x - self.average);
            return self.average;
        }
        self.count += 1;
        if self.seed.len() == self.window {
            self.seed.pop_front();
        }
        self.seed.push_back(x);
        if self.count < self.start {
            return f64::NAN;
        }
        self.average = self.seed.iter().sum::<f64>() / self.window as f64;
        self.average
    }
}

/// Wilder's running sum: the plain sum of the first `window - 1` values, then
/// less a `window`th of itself and plus the new value.
#[derive(Clone)]
pub(super) struct WilderSum {
    window: usize,
    /// Values before the sum is shown.
    shown: usize,
    count: usize,
    sum: f64,
}

impl WilderSum {
    pub(super) fn new(window: usize, quiet: usize) -> Self {
        Self {
            window,
            shown: window - 1 + quiet,
            count: 0,
            sum: 0.0,
        }
    }
}

impl ByLane<1> for WilderSum {
    fn next(&mut self, [x]: [f64; 1]) -> f64 {
        if x.is_nan() {
            (self.count, self.sum) = (0, 0.0);
            return f64::NAN;
        }
        self.count += 1;
        if self.count >= self.window {
            self.sum -= self.sum / self.window as f64;
        }
        self.sum += x;
        if self.count >= self.shown {
            self.sum
        } else {
            f64::NAN
        }
    }
}

/// Wilder's average of the values on which a condition holds; the others leave it
/// as it is, and count as nothing in its seed.
#[derive(Clone)]
pub(super) struct Sampled {
    window: usize,
    count: usize,
    average: f64,
}

impl Sampled {
    pub(super) fn new(window: usize) -> Self {
        Self {
            window,
            count: 0,
            average: 0.0,
        }
    }
}

impl ByLane<2> for Sampled {
    fn next(&mut self, [x, condition]: [f64; 2]) -> f64 {
        let taken = condition != 0.0;
        if condition.is_nan() || (taken && x.is_nan()) {
            (self.count, self.average) = (0, 0.0);
            return f64::NAN;
        }
        let window = self.window as f64;
        if self.count < self.window {
            self.count += 1;
            self.average += if taken { x } else { 0.0 };
            if self.count < self.window {
                return f64::NAN;
            }
            self.average /= window;
        } else if taken {
            self.average += (x - self.average) / window;
        }
        self.average
    }
}

/// An exponential average whose weight is given bar by bar. It starts at the value
/// before the first known weight.
#[derive(Clone)]
pub(super) struct Adaptive {
    before: f64,
    average: f64,
}

impl Adaptive {
    pub(super) fn new() -> Self {
        Self {
            before: f64::NAN,
            average: f64::NAN,
        }
    }
}

impl ByLane<2> for Adaptive {
    fn next(&mut self, [x, weight]: [f64; 2]) -> f64 {
        let before = std::mem::replace(&mut self.before, x);
        if x.is_nan() || weight.is_nan() {
            self.average = f64::NAN;
            return f64::NAN;
        }
        if self.average.is_nan() {
            self.average = if before.is_nan() { x } else { before };
        }
        self.average += weight * (x - self.average);
        self.average
    }
}
