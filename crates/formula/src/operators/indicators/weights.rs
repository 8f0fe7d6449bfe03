//! Means of a window under a fixed curve of weights, and a regression on several
//! series.

use std::f64::consts::PI;

/// Returns weights that sum to 1.
pub(super) fn normal(weights: impl Iterator<Item = f64>) -> Vec<f64> {
    let weights: Vec<f64> = weights.collect();
    let total: f64 = weights.iter().sum();
    weights.into_iter().map(|weight| weight / total).collect()
}

/// The sum of weights times values, oldest first.
pub(super) fn weighted(weights: &[f64], values: &[f64]) -> f64 {
    weights.iter().zip(values).map(|(w, x)| w * x).sum()
}

/// A bell curve whose peak stands at the share `offset` of the window and whose
/// deviation is the window over `sigma` (Legoux and Kouzis-Loukas, 2009).
pub(super) fn bell(window: usize, offset: f64, sigma: f64) -> Vec<f64> {
    let peak = offset * (window as f64 - 1.0);
    let deviation = window as f64 / sigma;
    normal((0..window).map(|at| (-((at as f64 - peak) / deviation).powi(2) / 2.0).exp()))
}

/// The Fibonacci numbers 1, 1, 2, 3, ..., the largest for the newest value.
/// Scaled down on the way, so that no window is too long for them.
pub(super) fn fibonacci(window: usize) -> Vec<f64> {
    let (mut before, mut here) = (0.0, 1.0);
    let mut numbers = Vec::with_capacity(window);
    for _ in 0..window {
        numbers.push(here);
        (before, here) = (here, before + here);
        if here > 1e200 {
            for number in &mut numbers {
                *number *= 1e-200;
            }
            (before, here) = (before * 1e-200, here * 1e-200);
        }
    }
    normal(numbers.into_iter())
}

/// A row of Pascal's triangle, by logarithms so that long rows have no overflow.
pub(super) fn pascal(window: usize) -> Vec<f64> {
    let last = window - 1;
    let mut log = 0.0;
    let mut logs = vec![0.0];
    for at in 1..window {
        log += ((last + 1 - at) as f64 / at as f64).ln();
        logs.push(log);
    }
    let largest = logs.iter().copied().fold(0.0, f64::max);
    normal(logs.into_iter().map(|log: f64| (log - largest).exp()))
}

/// Half a period of the sine without its zeros.
pub(super) fn sine(window: usize) -> Vec<f64> {
    normal((1..=window).map(|at| (at as f64 * PI / (window as f64 + 1.0)).sin()))
}

/// Hann's window without its zeros.
pub(super) fn hann(window: usize) -> Vec<f64> {
    normal((1..=window).map(|at| 1.0 - (2.0 * PI * at as f64 / (window as f64 + 1.0)).cos()))
}

/// Powers of `factor`, 1 for the newest value.
pub(super) fn powers(window: usize, factor: f64) -> Vec<f64> {
    normal((0..window).map(|at| factor.powi((window - 1 - at) as i32)))
}

/// What the least-squares plane of `y` on three series and a constant leaves of
/// the newest `y`. Unknown where the series do not tell the slopes apart.
pub(super) fn residual([y, a, b, c]: [&[f64]; 4]) -> f64 {
    /// A pivot this small against its column's sum of squares is rounding.
    const DEPENDENT: f64 = 1e-12;
    let n = y.len() as f64;
    let means = [y, a, b, c].map(|series| series.iter().sum::<f64>() / n);
    let mut normal = [[0.0; 4]; 3];
    for row in 0..y.len() {
        let x = [a[row] - means[1], b[row] - means[2], c[row] - means[3]];
        let y = y[row] - means[0];
        for i in 0..3 {
            for j in 0..3 {
                normal[i][j] += x[i] * x[j];
            }
            normal[i][3] += x[i] * y;
        }
    }
    let scale = [normal[0][0], normal[1][1], normal[2][2]];
    for i in 0..3 {
        if normal[i][i] <= DEPENDENT * scale[i] {
            return f64::NAN;
        }
        for below in i + 1..3 {
            let factor = normal[below][i] / normal[i][i];
            for column in i..4 {
                normal[below][column] -= factor * normal[i][column];
            }
        }
    }
    let mut slopes = [0.0; 3];
    for i in (0..3).rev() {
        let known: f64 = (i + 1..3).map(|j| normal[i][j] * slopes[j]).sum();
        slopes[i] = (normal[i][3] - known) / normal[i][i];
    }
    let last = y.len() - 1;
    let newest = [a[last] - means[1], b[last] - means[2], c[last] - means[3]];
    y[last] - means[0] - slopes.iter().zip(newest).map(|(s, x)| s * x).sum::<f64>()
}
