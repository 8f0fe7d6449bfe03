//! How unpredictable values are: entropies in nats, or as a share of their largest
//! possible value where said.

use super::dependence::binned;
use super::moments::{mean, variance};
use super::order::stable_order;
use std::collections::BTreeMap;

/// Returns how often each of `bins` bins of equal width is hit, as shares.
fn shares(x: &[f64], bins: usize) -> Option<Vec<f64>> {
    let mut shares = vec![0.0; bins];
    for bin in binned(x, bins)? {
        shares[bin] += 1.0 / x.len() as f64;
    }
    Some(shares)
}

/// Returns the entropy of shares.
pub(crate) fn of_shares(shares: impl IntoIterator<Item = f64>) -> f64 {
    let sum: f64 = shares
        .into_iter()
        .filter(|share| *share > 0.0)
        .map(|share| share * share.ln())
        .sum();
    -sum
}

/// Returns Shannon's entropy of the histogram (Shannon 1948, section 6).
pub(crate) fn histogram(x: &[f64], bins: usize) -> f64 {
    shares(x, bins).map_or(f64::NAN, of_shares)
}

/// Returns Renyi's entropy of the histogram (Renyi 1961, eq. 1.21), `order` not 1.
pub(crate) fn renyi(x: &[f64], bins: usize, order: f64) -> f64 {
    let Some(shares) = shares(x, bins) else {
        return f64::NAN;
    };
    power_sum(&shares, order).ln() / (1.0 - order)
}

/// Returns Tsallis's entropy of the histogram (Tsallis 1988, eq. 1), `order` not 1.
pub(crate) fn tsallis(x: &[f64], bins: usize, order: f64) -> f64 {
    let Some(shares) = shares(x, bins) else {
        return f64::NAN;
    };
    (1.0 - power_sum(&shares, order)) / (order - 1.0)
}

fn power_sum(shares: &[f64], order: f64) -> f64 {
    shares
        .iter()
        .filter(|share| **share > 0.0)
        .map(|share| share.powf(order))
        .sum()
}

/// Returns the entropy of the orders in which `order` values `delay` apart stand,
/// as a share of its largest value (Bandt and Pompe 2002); equal values stand in
/// the order of time.
pub(crate) fn permutation(x: &[f64], order: usize, delay: usize) -> f64 {
    ordinal(x, order, delay, |_| 1.0)
}

/// Returns the same with every pattern weighted by the variance of its values
/// (Fadlallah et al. 2013).
pub(crate) fn weighted_permutation(x: &[f64], order: usize, delay: usize) -> f64 {
    ordinal(x, order, delay, |values| variance(values, 0.0))
}

fn ordinal(x: &[f64], order: usize, delay: usize, weight: impl Fn(&[f64]) -> f64) -> f64 {
    let span = order.saturating_sub(1) * delay;
    if order < 2 || x.len() <= span {
        return f64::NAN;
    }
    let mut weights: BTreeMap<Vec<usize>, f64> = BTreeMap::new();
    let mut total = 0.0;
    for start in 0..x.len() - span {
        let values: Vec<f64> = (0..order).map(|k| x[start + k * delay]).collect();
        let weight = weight(&values);
        *weights.entry(stable_order(&values)).or_default() += weight;
        total += weight;
    }
    let most: f64 = (2..=order).map(|k| (k as f64).ln()).sum();
    of_shares(weights.into_values().map(|weight| weight / total)) / most
}

/// Returns whether two stretches of `length` values stay within `tolerance`.
fn close(x: &[f64], i: usize, j: usize, length: usize, tolerance: f64) -> bool {
    (0..length).all(|k| (x[i + k] - x[j + k]).abs() <= tolerance)
}

/// Returns the sample entropy: minus the logarithm of the share of pairs of
/// stretches of `length` values within `tolerance` standard deviations that stay
/// so for one value more (Richman and Moorman 2000).
pub(crate) fn sample(x: &[f64], length: usize, tolerance: f64) -> f64 {
    if x.len() < length + 2 {
        return f64::NAN;
    }
    let tolerance = tolerance * variance(x, 0.0).sqrt();
    let starts = x.len() - length;
    let (mut short, mut long) = (0.0_f64, 0.0_f64);
    for i in 1..starts {
        for j in 0..i {
            if close(x, i, j, length, tolerance) {
                short += 1.0;
                if (x[i + length] - x[j + length]).abs() <= tolerance {
                    long += 1.0;
                }
            }
        }
    }
    -(long / short).ln()
}

/// Returns the approximate entropy (Pincus 1991, eqs. 10 to 12): as the sample
/// entropy, but every stretch also matches itself.
pub(crate) fn approximate(x: &[f64], length: usize, tolerance: f64) -> f64 {
    if x.len() < length + 2 {
        return f64::NAN;
    }
    let tolerance = tolerance * variance(x, 0.0).sqrt();
    let phi = |length: usize| {
        let starts = x.len() + 1 - length;
        let logarithms: Vec<f64> = (0..starts)
            .map(|i| {
                let matches = (0..starts)
                    .filter(|j| close(x, i, *j, length, tolerance))
                    .count();
                (matches as f64 / starts as f64).ln()
            })
            .collect();
        mean(&logarithms)
    };
    phi(length) - phi(length + 1)
}
