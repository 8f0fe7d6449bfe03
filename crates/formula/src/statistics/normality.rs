//! How far a sample is from a normal one with its own mean and deviation.

use super::moments::{correlation, mean, variance};
use super::order::sorted;
use super::special::{normal_below, normal_quantile};

/// Returns the normal probabilities of the standardised values, ascending.
fn probabilities(x: &[f64]) -> Vec<f64> {
    let (mean, deviation) = (mean(x), variance(x, 1.0).sqrt());
    sorted(x)
        .into_iter()
        .map(|value| normal_below((value - mean) / deviation))
        .collect()
}

/// Returns the largest distance between the two distribution functions
/// (Lilliefors 1967).
pub(crate) fn lilliefors(x: &[f64]) -> f64 {
    let n = x.len() as f64;
    probabilities(x)
        .into_iter()
        .enumerate()
        .map(|(place, p)| ((place + 1) as f64 / n - p).max(p - place as f64 / n))
        .fold(f64::NAN, f64::max)
}

/// Returns the squared distance weighted towards the tails (Anderson and Darling
/// 1954).
pub(crate) fn anderson_darling(x: &[f64]) -> f64 {
    let n = x.len();
    let p = probabilities(x);
    let sum: f64 = (0..n)
        .map(|place| (2 * place + 1) as f64 * (p[place].ln() + (1.0 - p[n - 1 - place]).ln()))
        .sum();
    -(n as f64) - sum / n as f64
}

/// Returns the squared distance between the two distribution functions (Cramer
/// 1928; von Mises 1931).
pub(crate) fn cramer_von_mises(x: &[f64]) -> f64 {
    let n = x.len() as f64;
    let sum: f64 = probabilities(x)
        .into_iter()
        .enumerate()
        .map(|(place, p)| (p - (2 * place + 1) as f64 / (2.0 * n)).powi(2))
        .sum();
    sum + 1.0 / (12.0 * n)
}

/// Returns the squared correlation of the sorted values with normal scores
/// (Shapiro and Francia 1972, with the scores of Blom 1958).
pub(crate) fn shapiro_francia(x: &[f64]) -> f64 {
    let n = x.len() as f64;
    let scores: Vec<f64> = (1..=x.len())
        .map(|place| normal_quantile((place as f64 - 0.375) / (n + 0.25)))
        .collect();
    correlation(&sorted(x), &scores).powi(2)
}
