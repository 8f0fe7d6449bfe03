//! Averages and counters that carry on from their last value. After an unknown
//! value they begin anew: what was before a hole says nothing about after it.

use crate::profile::Seed;

use super::kernel::{ByRow, known};

/// `y = a * x + (1 - a) * y`.
pub(crate) struct Exponential {
    alpha: f64,
    /// Values whose mean the average starts with; 1 for the first value.
    seed: f64,
    count: Vec<f64>,
    state: Vec<f64>,
}

impl Exponential {
    pub(crate) fn new(lanes: usize, alpha: f64, window: usize, seed: Seed) -> Self {
        Self {
            alpha,
            seed: match seed {
                Seed::First => 1.0,
                Seed::Mean => window as f64,
            },
            count: vec![0.0; lanes],
            state: vec![0.0; lanes],
        }
    }
}

impl ByRow<1> for Exponential {
    #[inline(always)]
    fn row(&mut self, [x]: [&[f64]; 1], output: &mut [f64]) {
        let (alpha, seed) = (self.alpha, self.seed);
        let lanes = output
            .iter_mut()
            .zip(x)
            .zip(&mut self.count)
            .zip(&mut self.state);
        for (((output, &x), count), state) in lanes {
            let missing = x.is_nan();
            let x = if missing { 0.0 } else { x };
            let n = if missing { 0.0 } else { *count + 1.0 };
            // While seeding the state is the sum of the values.
            let sum = if n <= 1.0 { x } else { *state + x };
            let seeded = if n == seed { sum / seed } else { sum };
            let next = if n <= seed {
                seeded
            } else {
                *state + alpha * (x - *state)
            };
            *count = n;
            *state = next;
            *output = if n >= seed { known(next) } else { f64::NAN };
        }
    }
}

/// What [`Cumulative`] keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kept {
    /// The sum of all values; an unknown value adds nothing and shows nothing.
    Sum,
    /// The product likewise.
    Product,
    /// The largest value so far.
    Maximum,
    /// The smallest value so far.
    Minimum,
    /// The last known value.
    Last,
    /// The number of known values.
    Count,
}

/// A fold over everything since the beginning.
pub(crate) struct Cumulative {
    kept: Kept,
    state: Vec<f64>,
}

impl Cumulative {
    pub(crate) fn new(lanes: usize, kept: Kept) -> Self {
        Self {
            kept,
            state: vec![f64::NAN; lanes],
        }
    }
}

impl ByRow<1> for Cumulative {
    #[inline(always)]
    fn row(&mut self, [x]: [&[f64]; 1], output: &mut [f64]) {
        for ((output, &x), state) in output.iter_mut().zip(x).zip(&mut self.state) {
            let first = state.is_nan();
            let s = *state;
            let next = match self.kept {
                Kept::Sum => {
                    if first {
                        x
                    } else {
                        s + x
                    }
                }
                Kept::Product => {
                    if first {
                        x
                    } else {
                        s * x
                    }
                }
                Kept::Maximum => {
                    if first | (x > s) {
                        x
                    } else {
                        s
                    }
                }
                Kept::Minimum => {
                    if first | (x < s) {
                        x
                    } else {
                        s
                    }
                }
                Kept::Last => x,
                Kept::Count => {
                    if first {
                        1.0
                    } else {
                        s + 1.0
                    }
                }
            };
            *state = if x.is_nan() { s } else { next };
            let shown = if x.is_nan() & (self.kept != Kept::Last) {
                f64::NAN
            } else {
                *state
            };
            *output = known(shown);
        }
    }
}

/// Bars since a condition held: 0 on the bar itself, unknown before the first.
pub(crate) struct Since {
    state: Vec<f64>,
}

impl Since {
    pub(crate) fn new(lanes: usize) -> Self {
        Self {
            state: vec![f64::NAN; lanes],
        }
    }
}

impl ByRow<1> for Since {
    #[inline(always)]
    fn row(&mut self, [condition]: [&[f64]; 1], output: &mut [f64]) {
        for ((output, &condition), state) in output.iter_mut().zip(condition).zip(&mut self.state) {
            let holds = !condition.is_nan() & (condition != 0.0);
            *state = if holds { 0.0 } else { *state + 1.0 };
            *output = *state;
        }
    }
}

/// The value of a series when a condition last held.
pub(crate) struct When {
    state: Vec<f64>,
}

impl When {
    pub(crate) fn new(lanes: usize) -> Self {
        Self {
            state: vec![f64::NAN; lanes],
        }
    }
}

impl ByRow<2> for When {
    #[inline(always)]
    fn row(&mut self, [condition, x]: [&[f64]; 2], output: &mut [f64]) {
        let lanes = output.iter_mut().zip(condition).zip(x).zip(&mut self.state);
        for (((output, &condition), &x), state) in lanes {
            let holds = !condition.is_nan() & (condition != 0.0);
            *state = if holds { x } else { *state };
            *output = *state;
        }
    }
}
