//! The spectrum of a short stretch, by Fourier sums at the frequencies that fit
//! into it.

use super::entropy::of_shares;
use super::moments::{centred, dot, slope};

/// The sines and cosines of a stretch of `length` values.
#[derive(Debug, Clone)]
pub(crate) struct Fourier {
    length: usize,
    cosine: Vec<f64>,
    sine: Vec<f64>,
}

impl Fourier {
    pub(crate) fn new(length: usize) -> Self {
        let angle = |k: usize| 2.0 * std::f64::consts::PI * k as f64 / length as f64;
        Self {
            length,
            cosine: (0..length).map(|k| angle(k).cos()).collect(),
            sine: (0..length).map(|k| angle(k).sin()).collect(),
        }
    }

    /// Returns the power at 1, 2, ... half as many cycles as there are values, the
    /// mean taken off.
    fn powers(&self, x: &[f64]) -> Vec<f64> {
        let n = self.length;
        let centred = centred(x);
        (1..=n / 2)
            .map(|cycles| {
                let (mut real, mut imaginary) = (0.0, 0.0);
                for (at, value) in centred.iter().enumerate() {
                    let angle = cycles * at % n;
                    real += value * self.cosine[angle];
                    imaginary += value * self.sine[angle];
                }
                real * real + imaginary * imaginary
            })
            .collect()
    }

    fn frequency(&self, place: usize) -> f64 {
        (place + 1) as f64 / self.length as f64
    }

    /// Returns the entropy of the spectrum as a share of its largest value (Inouye
    /// et al. 1991).
    pub(crate) fn entropy(&self, x: &[f64]) -> f64 {
        let powers = self.powers(x);
        let total: f64 = powers.iter().sum();
        of_shares(powers.iter().map(|power| power / total)) / (powers.len() as f64).ln()
    }

    /// Returns the mean frequency weighted by power, in cycles per bar.
    pub(crate) fn centroid(&self, x: &[f64]) -> f64 {
        let powers = self.powers(x);
        let total: f64 = powers.iter().sum();
        let sum: f64 = powers
            .iter()
            .enumerate()
            .map(|(place, power)| self.frequency(place) * power)
            .sum();
        sum / total
    }

    /// Returns the spread of the frequencies about [`Self::centroid`], weighted by
    /// power.
    pub(crate) fn spread(&self, x: &[f64]) -> f64 {
        let centroid = self.centroid(x);
        let powers = self.powers(x);
        let total: f64 = powers.iter().sum();
        let sum: f64 = powers
            .iter()
            .enumerate()
            .map(|(place, power)| (self.frequency(place) - centroid).powi(2) * power)
            .sum();
        (sum / total).sqrt()
    }

    /// Returns the lowest frequency below which `share` of the power lies.
    pub(crate) fn rolloff(&self, x: &[f64], share: f64) -> f64 {
        let powers = self.powers(x);
        let total: f64 = powers.iter().sum();
        let mut sum = 0.0;
        for (place, power) in powers.iter().enumerate() {
            sum += power;
            if total > 0.0 && sum >= share * total {
                return self.frequency(place);
            }
        }
        f64::NAN
    }

    /// Returns the period in bars at which the power is largest.
    pub(crate) fn period(&self, x: &[f64]) -> f64 {
        let powers = self.powers(x);
        let mut best = 0;
        for (place, power) in powers.iter().enumerate() {
            if *power > powers[best] {
                best = place;
            }
        }
        if powers.iter().all(|power| *power == 0.0) {
            return f64::NAN;
        }
        1.0 / self.frequency(best)
    }

    /// Returns the geometric mean of the power over its arithmetic mean (Wiener).
    pub(crate) fn flatness(&self, x: &[f64]) -> f64 {
        let powers = self.powers(x);
        let n = powers.len() as f64;
        let logarithms: f64 = powers.iter().map(|power| power.ln()).sum();
        (logarithms / n).exp() / (powers.iter().sum::<f64>() / n)
    }

    /// Returns the memory parameter d of Geweke and Porter-Hudak (1983, eq. 9) from
    /// the lowest square root of the number of values frequencies.
    pub(crate) fn memory(&self, x: &[f64]) -> f64 {
        let powers = self.powers(x);
        let count = ((self.length as f64).sqrt() as usize).min(powers.len());
        if count < 2 {
            return f64::NAN;
        }
        let logarithms: Vec<f64> = powers[..count].iter().map(|power| power.ln()).collect();
        let regressor: Vec<f64> = (0..count)
            .map(|place| {
                let half = std::f64::consts::PI * self.frequency(place);
                (4.0 * half.sin().powi(2)).ln()
            })
            .collect();
        -slope(&logarithms, &regressor)
    }
}

/// Returns the share of the variance that a wave of `period` bars explains, by
/// Goertzel's recursion (Goertzel 1958): 1 for a pure wave that fits.
pub(crate) fn wave_share(x: &[f64], period: f64) -> f64 {
    let centred = centred(x);
    let angle = 2.0 * std::f64::consts::PI / period;
    let turn = 2.0 * angle.cos();
    let (mut last, mut before) = (0.0, 0.0);
    for value in &centred {
        let next = value + turn * last - before;
        before = last;
        last = next;
    }
    let power = last * last + before * before - turn * last * before;
    2.0 * power / (x.len() as f64 * dot(&centred, &centred))
}
