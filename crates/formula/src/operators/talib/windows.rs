//! Statistics of a window whose length or whose treatment of ties is TA-Lib's.

use crate::engine::ByLane;

/// The last values of one lane, each standing twice so that the newest ones are
/// always one slice.
#[derive(Clone)]
struct Last {
    values: Vec<f64>,
    length: usize,
    at: usize,
}

impl Last {
    fn new(length: usize) -> Self {
        Self {
            values: vec![f64::NAN; 2 * length],
            length,
            at: 0,
        }
    }

    fn push(&mut self, value: f64) {
        self.values[self.at] = value;
        self.values[self.at + self.length] = value;
        self.at = (self.at + 1) % self.length;
    }

    /// Returns the newest `count` values, oldest first.
    fn newest(&self, count: usize) -> &[f64] {
        let end = self.at + self.length;
        &self.values[end - count..end]
    }
}

/// A mean over a number of values that is given bar by bar.
#[derive(Clone)]
pub(super) struct MeanBy {
    least: usize,
    most: usize,
    count: usize,
    last: Last,
}

impl MeanBy {
    pub(super) fn new(least: usize, most: usize) -> Self {
        let most = most.max(least);
        Self {
            least,
            most,
            count: 0,
            last: Last::new(most),
        }
    }
}

impl ByLane<2> for MeanBy {
    fn next(&mut self, [x, length]: [f64; 2]) -> f64 {
        if x.is_nan() || length.is_nan() {
            self.count = 0;
            return f64::NAN;
        }
        self.last.push(x);
        self.count = (self.count + 1).min(self.most);
        if self.count < self.most {
            return f64::NAN;
        }
        let length = (length.max(0.0) as usize).clamp(self.least, self.most);
        self.last.newest(length).iter().sum::<f64>() / length as f64
    }
}

/// The number of the bar with the extremum. A new value that equals the extremum
/// takes its place; when the extremum leaves the window, the oldest of the
/// largest that are left does.
#[derive(Clone)]
pub(super) struct ExtremeRow {
    window: usize,
    /// 1 for the largest, -1 for the smallest.
    sign: f64,
    count: usize,
    best: Option<usize>,
    last: Last,
}

impl ExtremeRow {
    pub(super) fn new(window: usize, sign: f64) -> Self {
        Self {
            window,
            sign,
            count: 0,
            best: None,
            last: Last::new(window),
        }
    }
}

impl ByLane<1> for ExtremeRow {
    fn next(&mut self, [x]: [f64; 1]) -> f64 {
        if x.is_nan() {
            (self.count, self.best) = (0, None);
            return f64::NAN;
        }
        self.last.push(self.sign * x);
        self.count += 1;
        if self.count < self.window {
            return f64::NAN;
        }
        let oldest = self.count - self.window;
        let values = self.last.newest(self.window);
        let held = self.best.filter(|&best| best >= oldest);
        let best = match held {
            Some(best) if values[self.window - 1] < values[best - oldest] => best,
            Some(_) => self.count - 1,
            None => oldest + first_largest(values),
        };
        self.best = Some(best);
        best as f64
    }
}

fn first_largest(values: &[f64]) -> usize {
    let mut best = 0;
    for (index, value) in values.iter().enumerate() {
        if *value > values[best] {
            best = index;
        }
    }
    best
}

/// Returns the smallest value that at least `percent` percent do not exceed.
pub(super) fn percentile(values: &[f64], percent: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let rank = (percent * values.len() as f64 / 100.0).ceil();
    sorted[(rank.max(1.0) as usize).min(values.len()) - 1]
}

/// Returns how many values are below the last.
pub(super) fn count_below([values]: [&[f64]; 1]) -> f64 {
    match values {
        [before @ .., newest] => before.iter().filter(|value| *value < newest).count() as f64,
        [] => f64::NAN,
    }
}
