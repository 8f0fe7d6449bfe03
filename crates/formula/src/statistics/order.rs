//! Statistics of the sorted values: quantiles, ranks, L-moments, tails.

use super::moments::mean;

/// Returns the values in ascending order.
pub(crate) fn sorted(x: &[f64]) -> Vec<f64> {
    let mut sorted = x.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    sorted
}

/// Returns a quantile of ascending values, linear between the nearest two (type 7
/// of Hyndman and Fan 1996).
pub(crate) fn quantile_sorted(ascending: &[f64], quantile: f64) -> f64 {
    if ascending.is_empty() {
        return f64::NAN;
    }
    let place = quantile.clamp(0.0, 1.0) * (ascending.len() - 1) as f64;
    let below = place.floor() as usize;
    let above = (below + 1).min(ascending.len() - 1);
    ascending[below] + (ascending[above] - ascending[below]) * (place - place.floor())
}

/// Returns a quantile.
pub(crate) fn quantile(x: &[f64], quantile: f64) -> f64 {
    quantile_sorted(&sorted(x), quantile)
}

/// Returns the median.
pub(crate) fn median(x: &[f64]) -> f64 {
    quantile(x, 0.5)
}

/// Returns the median distance from the median.
pub(crate) fn median_deviation(x: &[f64]) -> f64 {
    let middle = median(x);
    let distances: Vec<f64> = x.iter().map(|value| (value - middle).abs()).collect();
    median(&distances)
}

/// Returns the ranks from 1, equal values sharing the mean of theirs.
pub(crate) fn ranks(x: &[f64]) -> Vec<f64> {
    let order = stable_order(x);
    let mut ranks = vec![0.0; x.len()];
    let mut start = 0;
    while start < order.len() {
        let mut end = start + 1;
        while end < order.len() && x[order[end]] == x[order[start]] {
            end += 1;
        }
        for &index in &order[start..end] {
            ranks[index] = (start + end + 1) as f64 / 2.0;
        }
        start = end;
    }
    ranks
}

/// Returns the places of the values in ascending order, older first among equals.
pub(crate) fn stable_order(x: &[f64]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..x.len()).collect();
    order.sort_by(|&a, &b| x[a].total_cmp(&x[b]));
    order
}

/// Returns the sample L-moment of `order` 1 to 4 (Hosking 1990, eq. 3.1, through
/// probability-weighted moments).
pub(crate) fn l_moment(x: &[f64], order: usize) -> f64 {
    let n = x.len();
    if n < order || order == 0 || order > 4 {
        return f64::NAN;
    }
    let mut weighted = [0.0; 4];
    for (place, value) in sorted(x).into_iter().enumerate() {
        let mut weight = 1.0;
        for (power, sum) in weighted.iter_mut().enumerate().take(order) {
            *sum += weight * value;
            weight *= (place as f64 - power as f64) / (n as f64 - 1.0 - power as f64);
        }
    }
    let [b0, b1, b2, b3] = weighted.map(|sum| sum / n as f64);
    match order {
        1 => b0,
        2 => 2.0 * b1 - b0,
        3 => 6.0 * b2 - 6.0 * b1 + b0,
        _ => 20.0 * b3 - 30.0 * b2 + 12.0 * b1 - b0,
    }
}

/// Returns the median of the means of all pairs, each value with itself included
/// (Hodges and Lehmann 1963).
pub(crate) fn hodges_lehmann(x: &[f64]) -> f64 {
    let mut means = Vec::with_capacity(x.len() * (x.len() + 1) / 2);
    for (index, a) in x.iter().enumerate() {
        means.extend(x[index..].iter().map(|b| 0.5 * (a + b)));
    }
    median(&means)
}

/// Returns the median slope per step between all pairs (Theil 1950; Sen 1968).
pub(crate) fn theil_sen(x: &[f64]) -> f64 {
    let mut slopes = Vec::with_capacity(x.len() * x.len().saturating_sub(1) / 2);
    for (index, a) in x.iter().enumerate() {
        for (later, b) in x.iter().enumerate().skip(index + 1) {
            slopes.push((b - a) / (later - index) as f64);
        }
    }
    median(&slopes)
}

/// Returns Hill's estimate of the tail index from the largest `share` of the
/// values (Hill 1975, eq. 2.2): 1 over the mean logarithm of how far they are
/// above the next one. NaN if that one is not positive.
pub(crate) fn hill(x: &[f64], share: f64) -> f64 {
    let ascending = sorted(x);
    let count = (share * x.len() as f64).floor() as usize;
    if count == 0 || count >= x.len() {
        return f64::NAN;
    }
    let threshold = ascending[x.len() - count - 1];
    if threshold <= 0.0 {
        return f64::NAN;
    }
    let excess: Vec<f64> = ascending[x.len() - count..]
        .iter()
        .map(|value| (value / threshold).ln())
        .collect();
    1.0 / mean(&excess)
}

/// Returns the sum of the ranks of the positive values when all are ranked by
/// size, zeros left out (Wilcoxon 1945).
pub(crate) fn signed_rank(x: &[f64]) -> f64 {
    let moved: Vec<f64> = x.iter().copied().filter(|value| *value != 0.0).collect();
    let sizes: Vec<f64> = moved.iter().map(|value| value.abs()).collect();
    let ranks = ranks(&sizes);
    moved
        .iter()
        .zip(ranks)
        .filter(|(value, _)| **value > 0.0)
        .map(|(_, rank)| rank)
        .sum()
}
