//! Long memory: how spread grows with the horizon.

use super::moments::{centred, dot, mean, slope, variance};

/// Returns the sizes 1, 2, 4 and so on times `first`, up to `last`.
fn doubling(first: usize, last: usize) -> Vec<usize> {
    std::iter::successors(Some(first), |size| Some(size * 2))
        .take_while(|size| *size <= last)
        .collect()
}

/// Returns the slope of the logarithms; NaN with fewer than two sizes.
fn log_log_slope(sizes: &[usize], values: &[f64]) -> f64 {
    if sizes.len() < 2 {
        return f64::NAN;
    }
    let x: Vec<f64> = sizes.iter().map(|size| (*size as f64).ln()).collect();
    let y: Vec<f64> = values.iter().map(|value| value.ln()).collect();
    slope(&y, &x)
}

/// Returns the range of the running sum of deviations from the mean, 0 before the
/// first included.
pub(crate) fn sum_range(x: &[f64]) -> f64 {
    let (mut sum, mut low, mut high) = (0.0_f64, 0.0_f64, 0.0_f64);
    for value in centred(x) {
        sum += value;
        low = low.min(sum);
        high = high.max(sum);
    }
    high - low
}

/// Returns that range over the standard deviation (Hurst 1951); nothing for equal
/// values.
fn rescaled_range(x: &[f64]) -> Option<f64> {
    let deviation = variance(x, 0.0).sqrt();
    (deviation > 0.0).then(|| sum_range(x) / deviation)
}

/// Returns Hurst's exponent by rescaled range over chunks of 8, 16, 32 ... values
/// (Hurst 1951; Mandelbrot and Wallis 1969), of the values themselves taken as
/// increments.
pub(crate) fn hurst_rescaled_range(x: &[f64]) -> f64 {
    let sizes = doubling(8, x.len());
    let values: Vec<f64> = sizes
        .iter()
        .map(|size| {
            let ranges: Vec<f64> = x.chunks_exact(*size).filter_map(rescaled_range).collect();
            mean(&ranges)
        })
        .collect();
    log_log_slope(&sizes, &values)
}

/// Returns Hurst's exponent by the variance of the means of blocks of 1, 2, 4 ...
/// values, at least 8 blocks each (Taqqu, Teverovsky and Willinger 1995, section 3.1).
pub(crate) fn hurst_aggregated_variance(x: &[f64]) -> f64 {
    let sizes = doubling(1, x.len() / 8);
    let values: Vec<f64> = sizes
        .iter()
        .map(|size| {
            let means: Vec<f64> = x.chunks_exact(*size).map(mean).collect();
            variance(&means, 0.0)
        })
        .collect();
    1.0 + 0.5 * log_log_slope(&sizes, &values)
}

/// Returns the exponent of detrended fluctuation analysis with straight lines over
/// boxes of 4, 8, 16 ... values up to a quarter of them (Peng et al. 1994).
pub(crate) fn detrended_fluctuation(x: &[f64]) -> f64 {
    let mut profile = centred(x);
    for at in 1..profile.len() {
        profile[at] += profile[at - 1];
    }
    let sizes = doubling(4, x.len() / 4);
    let values: Vec<f64> = sizes
        .iter()
        .map(|size| {
            let roots: Vec<f64> = profile
                .chunks_exact(*size)
                .map(|box_| (left_of_line(box_) / *size as f64).sqrt())
                .collect();
            mean(&roots)
        })
        .collect();
    log_log_slope(&sizes, &values)
}

/// Returns the sum of squares that the straight line through the values leaves.
pub(crate) fn left_of_line(x: &[f64]) -> f64 {
    let places: Vec<f64> = (0..x.len()).map(|place| place as f64).collect();
    let (places, centred) = (centred(&places), centred(x));
    let slope = dot(&centred, &places) / dot(&places, &places);
    centred
        .iter()
        .zip(places)
        .map(|(value, place)| (value - slope * place).powi(2))
        .sum()
}

/// Returns the variance of overlapping sums of `q` values over `q` times the
/// variance, both without bias (Lo and MacKinlay 1988, eqs. 12 to 13).
pub(crate) fn variance_ratio(x: &[f64], q: usize) -> f64 {
    let n = x.len();
    if q == 0 || q >= n {
        return f64::NAN;
    }
    let centred = centred(x);
    let single = dot(&centred, &centred) / (n - 1) as f64;
    let sums: f64 = centred
        .windows(q)
        .map(|part| part.iter().sum::<f64>().powi(2))
        .sum();
    let (n, q) = (n as f64, q as f64);
    sums / (q * (n - q + 1.0) * (1.0 - q / n)) / single
}

/// Returns the variance ratio's distance from 1 in standard errors that hold under
/// changing variance (Lo and MacKinlay 1988, eqs. 19 to 20).
pub(crate) fn variance_ratio_z(x: &[f64], q: usize) -> f64 {
    let ratio = variance_ratio(x, q);
    let squares: Vec<f64> = centred(x).iter().map(|value| value * value).collect();
    let total: f64 = squares.iter().sum();
    let mut theta = 0.0;
    for lag in 1..q.min(x.len()) {
        let delta = dot(&squares[lag..], &squares[..x.len() - lag]) / (total * total);
        theta += (2.0 * (q - lag) as f64 / q as f64).powi(2) * delta;
    }
    (ratio - 1.0) / theta.sqrt()
}

/// Returns the newest value of the fractional difference of order `order` with as
/// many weights as values (Hosking 1981, eq. 2.2; Lopez de Prado 2018, section
/// 5.4.2).
pub(crate) fn fractional_difference(x: &[f64], order: f64) -> f64 {
    let (mut weight, mut sum) = (1.0, 0.0);
    for (ago, value) in x.iter().rev().enumerate() {
        if ago > 0 {
            weight *= -(order - ago as f64 + 1.0) / ago as f64;
        }
        sum += weight * value;
    }
    sum
}
