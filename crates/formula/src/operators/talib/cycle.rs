//! What is made of the measured cycle: its period, phase and trendline, whether
//! trend or cycle rules, and averages whose speed follows the phase.

use std::f64::consts::FRAC_PI_4;
use std::sync::LazyLock;

use super::hilbert::{Cycle, DEGREES, History, LONGEST, Sample};
use crate::engine::ByLane;

/// Bars before the phasor, the period and the adaptive averages are known.
pub(super) const PHASOR_LOOKBACK: usize = 32;

/// Bars before the phase and what is made of it are known.
pub(super) const SWING_LOOKBACK: usize = 63;

/// The bar on which the transform begins, for either of them.
const PHASOR_START: usize = 12;
const SWING_START: usize = 37;

/// What an operator tells of the cycle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    Period,
    InPhase,
    Quadrature,
    Phase,
    Trendline,
    TrendMode,
}

/// The period and the phasor's parts.
#[derive(Clone)]
pub(super) struct Phasor {
    told: Told,
    cycle: Cycle,
}

impl Phasor {
    pub(super) fn new(told: Told) -> Self {
        Self {
            told,
            cycle: Cycle::new(PHASOR_START),
        }
    }
}

impl ByLane<1> for Phasor {
    fn next(&mut self, [x]: [f64; 1]) -> f64 {
        if x.is_nan() {
            *self = Self::new(self.told);
            return f64::NAN;
        }
        match (self.cycle.next(x), self.told) {
            (Some((sample, bar)), told) if bar >= PHASOR_LOOKBACK => match told {
                Told::InPhase => sample.in_phase,
                Told::Quadrature => sample.quadrature,
                _ => sample.period,
            },
            _ => f64::NAN,
        }
    }
}

/// The average whose weight follows the phase, and the one that follows it.
#[derive(Clone)]
pub(super) struct Mesa {
    fast: f64,
    slow: f64,
    following: bool,
    cycle: Cycle,
    phase: f64,
    average: f64,
    follower: f64,
}

impl Mesa {
    pub(super) fn new(fast: f64, slow: f64, following: bool) -> Self {
        Self {
            fast,
            slow,
            following,
            cycle: Cycle::new(PHASOR_START),
            phase: 0.0,
            average: 0.0,
            follower: 0.0,
        }
    }
}

impl ByLane<1> for Mesa {
    fn next(&mut self, [x]: [f64; 1]) -> f64 {
        if x.is_nan() {
            *self = Self::new(self.fast, self.slow, self.following);
            return f64::NAN;
        }
        let Some((sample, bar)) = self.cycle.next(x) else {
            return f64::NAN;
        };
        let phase = if sample.in_phase == 0.0 {
            0.0
        } else {
            (sample.quadrature / sample.in_phase).atan() * DEGREES
        };
        let advance = (self.phase - phase).max(1.0);
        self.phase = phase;
        let weight = if advance > 1.0 {
            (self.fast / advance).max(self.slow)
        } else {
            self.fast
        };
        self.average = weight * x + (1.0 - weight) * self.average;
        let half = weight * 0.5;
        self.follower = half * self.average + (1.0 - half) * self.follower;
        if bar < PHASOR_LOOKBACK {
            f64::NAN
        } else if self.following {
            self.follower
        } else {
            self.average
        }
    }
}

/// Sines and cosines of one turn in `n` steps, for each period `n`.
static TURNS: LazyLock<Vec<Vec<[f64; 2]>>> = LazyLock::new(|| {
    (0..=LONGEST + 1)
        .map(|n| {
            (0..n)
                .map(|step| (step as f64 * (FRAC_PI_4 * 8.0) / n as f64).sin_cos())
                .map(|(sine, cosine)| [sine, cosine])
                .collect()
        })
        .collect()
});

/// The phase, the trendline and which of trend and cycle rules.
#[derive(Clone)]
pub(super) struct Swing {
    told: Told,
    cycle: Cycle,
    prices: History<LONGEST>,
    smooth: History<LONGEST>,
    phase: f64,
    /// Sine and leading sine of the phase.
    sines: [f64; 2],
    /// The last three means over a cycle, newest first.
    means: [f64; 3],
    bars_in_trend: usize,
}

impl Swing {
    pub(super) fn new(told: Told) -> Self {
        Self {
            told,
            cycle: Cycle::new(SWING_START),
            prices: History([0.0; LONGEST]),
            smooth: History([0.0; LONGEST]),
            phase: 0.0,
            sines: [0.0; 2],
            means: [0.0; 3],
            bars_in_trend: 0,
        }
    }

    /// Finds the phase by comparing the last cycle with a sine and a cosine.
    fn find_phase(&mut self, sample: &Sample, length: usize) {
        let (mut real, mut imaginary) = (0.0, 0.0);
        for ([sine, cosine], &value) in TURNS[length].iter().zip(&self.smooth.0) {
            real += sine * value;
            imaginary += cosine * value;
        }
        if imaginary != 0.0 {
            self.phase = (real / imaginary).atan() * DEGREES;
        } else if real < 0.0 {
            self.phase -= 90.0;
        } else if real > 0.0 {
            self.phase += 90.0;
        }
        self.phase += 90.0;
        // The smoothing lags by one bar.
        self.phase += 360.0 / sample.period;
        if imaginary < 0.0 {
            self.phase += 180.0;
        }
        if self.phase > 315.0 {
            self.phase -= 360.0;
        }
    }

    fn trendline(&mut self, length: usize) -> f64 {
        let mut mean = self.prices.0[..length].iter().fold(0.0, |sum, x| sum + x);
        if length > 0 {
            mean /= length as f64;
        }
        let [first, second, third] = self.means;
        self.means = [mean, first, second];
        (4.0 * mean + 3.0 * first + 2.0 * second + third) / 10.0
    }

    /// Returns whether the bar counts as part of a trend.
    fn trends(&mut self, sample: &Sample, trendline: f64, phase_before: f64) -> bool {
        let radians = 1.0 / DEGREES;
        let [sine_before, lead_before] = self.sines;
        let sine = (self.phase * radians).sin();
        let lead = ((self.phase + 45.0) * radians).sin();
        self.sines = [sine, lead];
        let mut trend = true;
        let crossed = (sine > lead && sine_before <= lead_before)
            || (sine < lead && sine_before >= lead_before);
        if crossed {
            self.bars_in_trend = 0;
            trend = false;
        }
        self.bars_in_trend += 1;
        if (self.bars_in_trend as f64) < 0.5 * sample.period {
            trend = false;
        }
        let advance = self.phase - phase_before;
        if sample.period != 0.0
            && advance > 0.67 * 360.0 / sample.period
            && advance < 1.5 * 360.0 / sample.period
        {
            trend = false;
        }
        let off = ((sample.smooth - trendline) / trendline).abs();
        trend || (trendline != 0.0 && off >= 0.015)
    }
}

impl ByLane<1> for Swing {
    fn next(&mut self, [x]: [f64; 1]) -> f64 {
        if x.is_nan() {
            *self = Self::new(self.told);
            return f64::NAN;
        }
        self.prices.push(x);
        let Some((sample, bar)) = self.cycle.next(x) else {
            return f64::NAN;
        };
        self.smooth.push(sample.smooth);
        let length = ((sample.period + 0.5) as usize).min(LONGEST);
        let phase_before = self.phase;
        if self.told != Told::Trendline {
            self.find_phase(&sample, length);
        }
        let mut told = self.phase;
        if self.told != Told::Phase {
            let trendline = self.trendline(length);
            told = trendline;
            if self.told == Told::TrendMode {
                let trends = self.trends(&sample, trendline, phase_before);
                told = f64::from(u8::from(trends));
            }
        }
        if bar < SWING_LOOKBACK { f64::NAN } else { told }
    }
}
