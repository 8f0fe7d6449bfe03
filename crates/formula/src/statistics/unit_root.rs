//! Tests of whether a series wanders or returns.

use super::dependence::long_run_variance;
use super::least_squares::fit;
use super::moments::centred;

/// Returns the t-statistic of the augmented Dickey-Fuller regression with a
/// constant and `lags` lagged differences (Said and Dickey 1984).
pub(crate) fn dickey_fuller(x: &[f64], lags: usize) -> f64 {
    let n = x.len();
    if n < 2 * lags + 5 || super::moments::is_flat(x) {
        return f64::NAN;
    }
    let change = |at: usize| x[at] - x[at - 1];
    let times = lags + 1..n;
    // Values are centred first: the constant takes the difference, and prices far
    // from 0 lose no digits.
    let centre = x[0];
    let mut columns = vec![
        times.clone().map(|at| x[at - 1] - centre).collect(),
        vec![1.0; n - lags - 1],
    ];
    for lag in 1..=lags {
        columns.push(times.clone().map(|at| change(at - lag)).collect());
    }
    let y = times.map(change).collect();
    fit(columns, y).map_or(f64::NAN, |fit| fit.t_statistic(0))
}

/// Returns the KPSS statistic of stationarity about a level with `lags` Bartlett
/// lags (Kwiatkowski, Phillips, Schmidt and Shin 1992, eq. 14).
pub(crate) fn kpss(x: &[f64], lags: usize) -> f64 {
    let n = x.len() as f64;
    let (mut sum, mut squares) = (0.0, 0.0);
    for value in centred(x) {
        sum += value;
        squares += sum * sum;
    }
    squares / (n * n) / long_run_variance(x, lags)
}

/// Returns the largest Dickey-Fuller statistic over all beginnings that leave at
/// least `shortest` values to the end (Phillips, Shi and Yu 2015; Lopez de Prado
/// 2018, section 17.4.2). NaN beginnings are passed over.
pub(crate) fn supremum_dickey_fuller(x: &[f64], shortest: usize, lags: usize) -> f64 {
    if shortest > x.len() || shortest == 0 {
        return f64::NAN;
    }
    (0..=x.len() - shortest)
        .map(|start| dickey_fuller(&x[start..], lags))
        .fold(f64::NAN, f64::max)
}
