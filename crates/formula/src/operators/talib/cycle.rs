//! Ehlers' measurement of the dominant cycle by a Hilbert transform (Rocket
//! Science for Traders, 2001), as TA-Lib computes it.
//!
//! The arithmetic is done in TA-Lib's order: on a price that does not move all of
//! this is rounding noise, and only the same order gives the same noise.

use std::f64::consts::FRAC_PI_4;
use std::sync::LazyLock;

use crate::engine::ByLane;

/// Bars before the phasor, the period and the adaptive averages are known.
pub(super) const PHASOR_LOOKBACK: usize = 32;

/// Bars before the phase and what is made of it are known.
pub(super) const SWING_LOOKBACK: usize = 63;

/// The bar on which the transform begins, for either of them.
const PHASOR_START: usize = 12;
const SWING_START: usize = 37;

/// The longest period, and with it the longest look back of the phase.
const LONGEST: usize = 50;

/// Coefficients of the truncated Hilbert transform (Ehlers, 2001, ch. 6).
const OUTER: f64 = 0.0962;
const INNER: f64 = 0.5769;

const DEGREES: f64 = 45.0 / FRAC_PI_4;

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

/// The last values, newest first.
#[derive(Clone)]
struct History<const N: usize>([f64; N]);

impl<const N: usize> History<N> {
    fn push(&mut self, value: f64) {
        self.0.copy_within(..N - 1, 1);
        self.0[0] = value;
    }
}

impl History<7> {
    /// Returns the quadrature of the values, scaled for the period.
    fn transform(&self, scale: f64) -> f64 {
        let past = &self.0;
        let mut value = -(OUTER * past[6]);
        value += OUTER * past[0];
        value -= INNER * past[4];
        value += INNER * past[2];
        value * scale
    }
}

/// The mean of the last four values with weights 4 to 1, from running sums.
#[derive(Clone, Default)]
struct Smoother {
    plain: f64,
    weighted: f64,
    leaving: f64,
    /// The last three values, oldest first.
    last: [f64; 3],
}

impl Smoother {
    fn push(&mut self, bar: usize, x: f64) -> f64 {
        self.plain += x;
        let mut smooth = 0.0;
        if bar < 3 {
            self.weighted += x * (bar + 1) as f64;
        } else {
            self.plain -= self.leaving;
            self.weighted += x * 4.0;
            self.leaving = self.last[0];
            smooth = self.weighted * 0.1;
            self.weighted -= self.plain;
        }
        self.last = [self.last[1], self.last[2], x];
        smooth
    }
}

/// What the transform says of one bar.
#[derive(Debug, Clone, Copy)]
struct Sample {
    smooth: f64,
    in_phase: f64,
    quadrature: f64,
    period: f64,
}

/// The transform and the period that it finds.
#[derive(Clone)]
struct Cycle {
    start: usize,
    bar: usize,
    smoother: Smoother,
    smooth: History<7>,
    detrended: History<7>,
    quadrature: History<7>,
    in_phase: History<7>,
    /// In-phase and quadrature parts of the smoothed phasor before.
    phasor: [f64; 2],
    /// Its product with the conjugate of the one before, smoothed.
    product: [f64; 2],
    period: f64,
    smooth_period: f64,
}

impl Cycle {
    fn new(start: usize) -> Self {
        let none = History([0.0; 7]);
        Self {
            start,
            bar: 0,
            smoother: Smoother::default(),
            smooth: none.clone(),
            detrended: none.clone(),
            quadrature: none.clone(),
            in_phase: none,
            phasor: [0.0; 2],
            product: [0.0; 2],
            period: 0.0,
            smooth_period: 0.0,
        }
    }

    /// Takes the next value; nothing while the transform has not begun. The
    /// second number is the bar's place since the beginning.
    fn next(&mut self, x: f64) -> Option<(Sample, usize)> {
        let bar = self.bar;
        self.bar += 1;
        let smooth = self.smoother.push(bar, x);
        if bar < self.start {
            return None;
        }
        let scale = 0.075 * self.period + 0.54;
        self.smooth.push(smooth);
        self.detrended.push(self.smooth.transform(scale));
        let quadrature = self.detrended.transform(scale);
        self.quadrature.push(quadrature);
        let in_phase = self.detrended.0[3];
        self.in_phase.push(in_phase);
        let ahead = [
            self.in_phase.transform(scale),
            self.quadrature.transform(scale),
        ];
        self.turn([in_phase - ahead[1], quadrature + ahead[0]]);
        let sample = Sample {
            smooth,
            in_phase,
            quadrature,
            period: self.smooth_period,
        };
        Some((sample, bar))
    }

    /// Adjusts the period to how far the phasor turned.
    fn turn(&mut self, [in_phase, quadrature]: [f64; 2]) {
        let [i_before, q_before] = self.phasor;
        let q = 0.2 * quadrature + 0.8 * q_before;
        let i = 0.2 * in_phase + 0.8 * i_before;
        let [real, imaginary] = self.product;
        let real = 0.2 * (i * i_before + q * q_before) + 0.8 * real;
        let imaginary = 0.2 * (i * q_before - q * i_before) + 0.8 * imaginary;
        self.phasor = [i, q];
        self.product = [real, imaginary];
        let before = self.period;
        let mut period = before;
        if imaginary != 0.0 && real != 0.0 {
            period = 360.0 / ((imaginary / real).atan() * DEGREES);
        }
        period = period.min(1.5 * before).max(0.67 * before);
        period = period.clamp(6.0, LONGEST as f64);
        self.period = 0.2 * period + 0.8 * before;
        self.smooth_period = 0.33 * self.period + 0.67 * self.smooth_period;
    }
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
