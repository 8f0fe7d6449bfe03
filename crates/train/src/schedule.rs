//! Step-size schedules: a linear warm-up, then the chosen way down.

use serde::{Deserialize, Serialize};

/// How the step size goes on after the warm-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Schedule {
    /// Half a cosine down to zero.
    Cosine,
    /// A straight line down to zero.
    Linear,
    /// As it is.
    Constant,
}

impl Schedule {
    /// Returns the factor on the peak step size at `step` (counted from 0) of `total`.
    ///
    /// The warm-up takes `ceil(total * warmup_ratio)` steps and ends at 1, as in transformers'
    /// schedules, except that its first step is not wasted at zero.
    pub fn factor(self, step: usize, total: usize, warmup_ratio: f64) -> f64 {
        let warmup = (total as f64 * warmup_ratio).ceil() as usize;
        if step < warmup {
            return (step + 1) as f64 / (warmup + 1) as f64;
        }
        let rest = total.saturating_sub(warmup).max(1);
        let progress = ((step - warmup) as f64 / rest as f64).min(1.0);
        match self {
            Self::Cosine => 0.5 * (1.0 + (std::f64::consts::PI * progress).cos()),
            Self::Linear => 1.0 - progress,
            Self::Constant => 1.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Schedule;

    #[test]
    fn rise_then_fall_or_stay() {
        let all = |schedule: Schedule| -> Vec<f64> {
            (0..100)
                .map(|step| schedule.factor(step, 100, 0.03))
                .collect()
        };
        for schedule in [Schedule::Cosine, Schedule::Linear] {
            let factors = all(schedule);
            assert!((factors[0] - 0.25).abs() < 1e-12 && (factors[3] - 1.0).abs() < 1e-12);
            assert!(factors.windows(2).skip(3).all(|pair| pair[1] < pair[0]));
            assert!(factors[99] > 0.0 && factors[99] < 0.011);
        }
        assert!((all(Schedule::Linear)[50] - (1.0 - 47.0 / 97.0)).abs() < 1e-12);
        assert!(
            all(Schedule::Constant)[3..]
                .iter()
                .all(|factor| *factor == 1.0)
        );
    }
}
