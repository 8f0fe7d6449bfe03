//! Falls of the wealth that a return series builds.

/// Returns for each period how far wealth stands below its highest value so far,
/// the initial 1 included: 0 at a peak, -0.2 when a fifth is lost.
pub(crate) fn drawdowns(x: &[f64]) -> Vec<f64> {
    let mut path = Path::default();
    x.iter().map(|value| path.step(*value)).collect()
}

/// Wealth and its peak, period after period.
#[derive(Debug, Clone)]
pub(crate) struct Path {
    wealth: f64,
    peak: f64,
    /// Periods since the peak.
    pub(crate) under: f64,
}

impl Default for Path {
    fn default() -> Self {
        Self {
            wealth: 1.0,
            peak: 1.0,
            under: 0.0,
        }
    }
}

impl Path {
    /// Takes one period's return and gives the drawdown.
    pub(crate) fn step(&mut self, value: f64) -> f64 {
        self.wealth *= 1.0 + value;
        if self.wealth >= self.peak {
            self.peak = self.wealth;
            self.under = 0.0;
        } else {
            self.under += 1.0;
        }
        self.wealth / self.peak - 1.0
    }
}

/// Returns the depth of each fall from a peak until the peak is passed again, as
/// positive shares in the order of time; a fall that has not ended counts.
pub(crate) fn depths(x: &[f64]) -> Vec<f64> {
    let mut depths = Vec::new();
    let mut deepest = 0.0_f64;
    for drawdown in drawdowns(x) {
        if drawdown < 0.0 {
            deepest = deepest.max(-drawdown);
        } else if deepest > 0.0 {
            depths.push(deepest);
            deepest = 0.0;
        }
    }
    if deepest > 0.0 {
        depths.push(deepest);
    }
    depths
}

/// Returns the sum of the depths to the power of `power`.
pub(crate) fn depth_sum(x: &[f64], power: f64) -> f64 {
    depths(x).iter().map(|depth| depth.powf(power)).sum()
}

/// Returns the mean of the `count` deepest falls, of all if there are fewer.
pub(crate) fn deepest_mean(x: &[f64], count: usize) -> f64 {
    let mut depths = depths(x);
    depths.sort_unstable_by(|a, b| b.total_cmp(a));
    depths.truncate(count);
    super::moments::mean(&depths)
}
