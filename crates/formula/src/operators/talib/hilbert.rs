//! Ehlers' measurement of the dominant cycle by a Hilbert transform (Rocket
//! Science for Traders, 2001), as TA-Lib computes it.
//!
//! The arithmetic is done in TA-Lib's order: on a price that does not move all of
//! this is rounding noise, and only the same order gives the same noise.

use std::f64::consts::FRAC_PI_4;

/// The longest period, and with it the longest look back of the phase.
pub(super) const LONGEST: usize = 50;

/// Coefficients of the truncated Hilbert transform (Ehlers, 2001, ch. 6).
const OUTER: f64 = 0.0962;
const INNER: f64 = 0.5769;

pub(super) const DEGREES: f64 = 45.0 / FRAC_PI_4;

/// The last values, newest first.
#[derive(Clone)]
pub(super) struct History<const N: usize>(pub(super) [f64; N]);

impl<const N: usize> History<N> {
    pub(super) fn push(&mut self, value: f64) {
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
pub(super) struct Sample {
    pub(super) smooth: f64,
    pub(super) in_phase: f64,
    pub(super) quadrature: f64,
    pub(super) period: f64,
}

/// The transform and the period that it finds.
#[derive(Clone)]
pub(super) struct Cycle {
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
    pub(super) fn new(start: usize) -> Self {
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
    pub(super) fn next(&mut self, x: f64) -> Option<(Sample, usize)> {
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
