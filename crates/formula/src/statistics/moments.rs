//! Means, spreads and shapes, in two passes over the values.

/// Returns the mean.
pub(crate) fn mean(x: &[f64]) -> f64 {
    x.iter().sum::<f64>() / x.len() as f64
}

/// Returns the values minus their mean; exactly 0 if they are all equal.
pub(crate) fn centred(x: &[f64]) -> Vec<f64> {
    if is_flat(x) {
        return vec![0.0; x.len()];
    }
    let mean = mean(x);
    x.iter().map(|value| value - mean).collect()
}

/// Returns whether all values are equal.
pub(crate) fn is_flat(x: &[f64]) -> bool {
    x.iter().all(|value| *value == x[0])
}

/// Returns the sum of `x * y`.
pub(crate) fn dot(x: &[f64], y: &[f64]) -> f64 {
    x.iter().zip(y).map(|(x, y)| x * y).sum()
}

/// Returns the variance with `ddof` degrees of freedom taken off.
pub(crate) fn variance(x: &[f64], ddof: f64) -> f64 {
    let centred = centred(x);
    dot(&centred, &centred) / (x.len() as f64 - ddof)
}

/// Returns the mean of the centred values to the power of `order`.
fn central(x: &[f64], order: i32) -> f64 {
    centred(x)
        .iter()
        .map(|value| value.powi(order))
        .sum::<f64>()
        / x.len() as f64
}

/// Returns the skewness of the sample, without correction for its size.
pub(crate) fn skewness(x: &[f64]) -> f64 {
    central(x, 3) / central(x, 2).powf(1.5)
}

/// Returns the excess kurtosis of the sample, without correction for its size.
pub(crate) fn kurtosis(x: &[f64]) -> f64 {
    let second = central(x, 2);
    central(x, 4) / (second * second) - 3.0
}

/// Returns the covariance with `ddof` degrees of freedom taken off.
pub(crate) fn covariance(x: &[f64], y: &[f64], ddof: f64) -> f64 {
    dot(&centred(x), &centred(y)) / (x.len() as f64 - ddof)
}

/// Returns Pearson's correlation.
pub(crate) fn correlation(x: &[f64], y: &[f64]) -> f64 {
    let (x, y) = (centred(x), centred(y));
    dot(&x, &y) / (dot(&x, &x) * dot(&y, &y)).sqrt()
}

/// Returns the slope of `y` on `x`.
pub(crate) fn slope(y: &[f64], x: &[f64]) -> f64 {
    let x = centred(x);
    dot(&centred(y), &x) / dot(&x, &x)
}
