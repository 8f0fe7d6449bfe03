//! How values hang together: with their own past and with another series.

use super::moments::{centred, correlation, dot, is_flat, mean};
use super::order::ranks;

/// Returns the autocorrelation at `lag` about the mean of all values (Box and
/// Jenkins 1970, eq. 2.1.12).
pub(crate) fn autocorrelation(x: &[f64], lag: usize) -> f64 {
    if lag >= x.len() {
        return f64::NAN;
    }
    let centred = centred(x);
    dot(&centred[lag..], &centred[..x.len() - lag]) / dot(&centred, &centred)
}

/// Returns the partial autocorrelation at `lag` (Durbin 1960, by the
/// Levinson-Durbin recursion on [`autocorrelation`]).
pub(crate) fn partial_autocorrelation(x: &[f64], lag: usize) -> f64 {
    if lag == 0 || lag >= x.len() {
        return f64::NAN;
    }
    let rho: Vec<f64> = (0..=lag).map(|k| autocorrelation(x, k)).collect();
    let mut coefficients: Vec<f64> = Vec::with_capacity(lag);
    let mut left = 1.0;
    for k in 1..=lag {
        let known: f64 = coefficients
            .iter()
            .enumerate()
            .map(|(j, phi)| phi * rho[k - 1 - j])
            .sum();
        let newest = (rho[k] - known) / left;
        let before = coefficients.clone();
        for (j, phi) in coefficients.iter_mut().enumerate() {
            *phi -= newest * before[k - 2 - j];
        }
        coefficients.push(newest);
        left *= 1.0 - newest * newest;
    }
    coefficients[lag - 1]
}

/// Returns Ljung and Box's Q over `lags` autocorrelations (1978, eq. 1.3).
pub(crate) fn ljung_box(x: &[f64], lags: usize) -> f64 {
    let n = x.len() as f64;
    let sum: f64 = (1..=lags)
        .map(|lag| autocorrelation(x, lag).powi(2) / (n - lag as f64))
        .sum();
    n * (n + 2.0) * sum
}

/// Returns the long-run variance with Bartlett weights over `lags` lags (Newey
/// and West 1987): the variance plus twice the weighted autocovariances.
pub(crate) fn long_run_variance(x: &[f64], lags: usize) -> f64 {
    let centred = centred(x);
    let n = x.len() as f64;
    let mut sum = dot(&centred, &centred);
    for lag in 1..=lags.min(x.len().saturating_sub(1)) {
        let weight = 1.0 - lag as f64 / (lags as f64 + 1.0);
        sum += 2.0 * weight * dot(&centred[lag..], &centred[..x.len() - lag]);
    }
    sum / n
}

/// Returns Kendall's tau-b (Kendall 1945).
pub(crate) fn kendall(x: &[f64], y: &[f64]) -> f64 {
    let (mut balance, mut x_pairs, mut y_pairs) = (0_i64, 0_i64, 0_i64);
    for i in 1..x.len() {
        for j in 0..i {
            let a = order(x[i], x[j]);
            let b = order(y[i], y[j]);
            balance += a * b;
            x_pairs += a * a;
            y_pairs += b * b;
        }
    }
    balance as f64 / (x_pairs as f64 * y_pairs as f64).sqrt()
}

fn order(a: f64, b: f64) -> i64 {
    i64::from(a > b) - i64::from(a < b)
}

/// Returns the correlation of the ranks (Spearman 1904).
pub(crate) fn spearman(x: &[f64], y: &[f64]) -> f64 {
    correlation(&ranks(x), &ranks(y))
}

/// Returns the distance correlation (Szekely, Rizzo and Bakirov 2007, def. 4).
pub(crate) fn distance_correlation(x: &[f64], y: &[f64]) -> f64 {
    let (a, b) = (Distances::new(x), Distances::new(y));
    let joint = a.product(x, &b, y);
    let spread = (a.product(x, &a, x) * b.product(y, &b, y)).sqrt();
    (joint.max(0.0) / spread).sqrt()
}

/// The means of the distances between all pairs of values.
struct Distances {
    of_each: Vec<f64>,
    overall: f64,
}

impl Distances {
    fn new(x: &[f64]) -> Self {
        let of_each: Vec<f64> = x
            .iter()
            .map(|a| x.iter().map(|b| (a - b).abs()).sum::<f64>() / x.len() as f64)
            .collect();
        let overall = mean(&of_each);
        Self { of_each, overall }
    }

    fn at(&self, x: &[f64], i: usize, j: usize) -> f64 {
        (x[i] - x[j]).abs() - self.of_each[i] - self.of_each[j] + self.overall
    }

    /// Returns the mean product of the centred distances.
    fn product(&self, x: &[f64], other: &Self, y: &[f64]) -> f64 {
        let n = x.len();
        let mut sum = 0.0;
        for i in 0..n {
            for j in 0..n {
                sum += self.at(x, i, j) * other.at(y, i, j);
            }
        }
        sum / (n * n) as f64
    }
}

/// Returns the bin of each value among `bins` of equal width from the smallest to
/// the largest; nothing if all values are equal.
pub(crate) fn binned(x: &[f64], bins: usize) -> Option<Vec<usize>> {
    if bins == 0 || is_flat(x) {
        return None;
    }
    let low = x.iter().copied().fold(f64::INFINITY, f64::min);
    let high = x.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let width = (high - low) / bins as f64;
    let bin = |value: f64| (((value - low) / width) as usize).min(bins - 1);
    Some(x.iter().map(|value| bin(*value)).collect())
}

/// Returns the mutual information of the binned values in nats (Shannon 1948;
/// the plug-in estimate).
pub(crate) fn mutual_information(x: &[f64], y: &[f64], bins: usize) -> f64 {
    let (Some(a), Some(b)) = (binned(x, bins), binned(y, bins)) else {
        return f64::NAN;
    };
    let n = x.len() as f64;
    let mut joint = vec![0.0; bins * bins];
    let (mut of_a, mut of_b) = (vec![0.0; bins], vec![0.0; bins]);
    for (a, b) in a.into_iter().zip(b) {
        joint[a * bins + b] += 1.0 / n;
        of_a[a] += 1.0 / n;
        of_b[b] += 1.0 / n;
    }
    let mut sum = 0.0;
    for (place, share) in joint.into_iter().enumerate() {
        if share > 0.0 {
            sum += share * (share / (of_a[place / bins] * of_b[place % bins])).ln();
        }
    }
    sum
}

/// Returns the transfer entropy in nats from `x` to `y`, both reduced to whether
/// they are above their medians, with one step of history (Schreiber 2000, eq. 4).
pub(crate) fn transfer_entropy(x: &[f64], y: &[f64]) -> f64 {
    let n = x.len();
    if n < 3 {
        return f64::NAN;
    }
    let symbols = |z: &[f64]| -> Vec<usize> {
        let middle = super::order::median(z);
        z.iter().map(|value| usize::from(*value > middle)).collect()
    };
    let (x, y) = (symbols(x), symbols(y));
    // Counts of (next y, y, x).
    let mut counts = [[[0.0_f64; 2]; 2]; 2];
    for at in 1..n {
        counts[y[at]][y[at - 1]][x[at - 1]] += 1.0;
    }
    let total = (n - 1) as f64;
    let mut sum = 0.0;
    for after in &counts {
        for (own, of_own) in after.iter().enumerate() {
            let own_next: f64 = of_own.iter().sum();
            let own_all: f64 = counts.iter().flat_map(|of| of[own]).sum();
            for (other, all) in of_own.iter().enumerate() {
                let histories: f64 = counts.iter().map(|of| of[own][other]).sum();
                if *all > 0.0 {
                    sum += all / total * ((all / histories) / (own_next / own_all)).ln();
                }
            }
        }
    }
    sum
}
