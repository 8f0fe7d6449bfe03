//! Exponential averages and what is built of them alone.

/// Returns the exponential moving average with smoothing `2 / (period + 1)`,
/// seeded by the simple mean of the first `period` values (TA-Lib `EMA`). NaN in
/// the first `period - 1` rows.
///
/// # Panics
/// If `period` is 0.
pub fn ema(x: &[f64], period: usize) -> Vec<f64> {
    ema_from(x, period, period.max(1) - 1)
}

/// The lines of [`macd`], each as long as its input and in units of price.
#[derive(Debug, Clone, PartialEq)]
pub struct Macd {
    /// Fast average minus slow average.
    pub macd: Vec<f64>,
    /// The average of `macd`.
    pub signal: Vec<f64>,
    /// `macd - signal`.
    pub histogram: Vec<f64>,
}

/// Returns the moving average convergence/divergence (TA-Lib `MACD`; customary
/// periods 12, 26, 9).
///
/// Both averages give their first value in row `slow - 1`: the fast one is
/// seeded with the mean of the `fast` values that end there, not with the first
/// of the series. The signal is seeded with the mean of the first `signal`
/// differences. All three lines are NaN in the first `slow + signal - 2` rows.
/// The shorter of `fast` and `slow` is taken as fast.
///
/// # Panics
/// If a period is 0.
pub fn macd(close: &[f64], fast: usize, slow: usize, signal: usize) -> Macd {
    assert!(fast > 0 && slow > 0 && signal > 0, "a period of 0");
    let (fast, slow) = (fast.min(slow), fast.max(slow));
    let fast = ema_from(close, fast, slow - 1);
    let slow_average = ema_from(close, slow, slow - 1);
    let mut line: Vec<f64> = fast.iter().zip(&slow_average).map(|(f, s)| f - s).collect();

    let known = (slow - 1).min(line.len());
    let mut average = vec![f64::NAN; known];
    average.extend(ema(&line[known..], signal));
    for (value, signal) in line.iter_mut().zip(&average) {
        if signal.is_nan() {
            *value = f64::NAN;
        }
    }
    Macd {
        histogram: line.iter().zip(&average).map(|(m, s)| m - s).collect(),
        macd: line,
        signal: average,
    }
}

/// Returns the exponential average whose first value stands in row `first` and
/// is the mean of the `period` values that end there.
fn ema_from(x: &[f64], period: usize, first: usize) -> Vec<f64> {
    assert!(period > 0, "a period of 0");
    let mut result = vec![f64::NAN; x.len()];
    if first >= x.len() {
        return result;
    }
    let mut average = x[first + 1 - period..=first].iter().sum::<f64>() / period as f64;
    result[first] = average;
    let smoothing = 2.0 / (period + 1) as f64;
    for t in first + 1..x.len() {
        average += (x[t] - average) * smoothing;
        result[t] = average;
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ema_is_seeded_with_the_mean() {
        let got = ema(&[1.0, 2.0, 6.0, 7.0], 3);
        assert!(got[0].is_nan() && got[1].is_nan());
        assert_eq!(got[2..], [3.0, 5.0]);
        assert_eq!(ema(&[4.0, 5.0], 1), [4.0, 5.0]);
        assert!(ema(&[1.0, 2.0], 3).iter().all(|v| v.is_nan()));
        assert!(ema(&[], 3).is_empty());
    }

    #[test]
    fn macd_averages_start_together() {
        let close = [1.0, 2.0, 4.0, 8.0];
        // Row 2: fast (2 + 4) / 2 = 3, slow (1 + 2 + 4) / 3 = 7/3.
        // Row 3: fast 3 + 5 * 2/3, slow 7/3 + (8 - 7/3) / 2.
        let got = macd(&close, 2, 3, 1);
        assert!(got.macd[1].is_nan());
        assert!((got.macd[2] - 2.0 / 3.0).abs() < 1e-15);
        assert!((got.macd[3] - (19.0 / 3.0 - 31.0 / 6.0)).abs() < 1e-15);
        assert_eq!(got.histogram[3], 0.0);
        assert_eq!(macd(&close, 3, 2, 1).macd[3], got.macd[3]);
    }

    #[test]
    fn macd_is_unknown_until_its_signal_is() {
        let close: Vec<f64> = (0..40).map(f64::from).collect();
        let got = macd(&close, 12, 26, 9);
        for line in [&got.macd, &got.signal, &got.histogram] {
            assert_eq!(line.len(), 40);
            assert!(line[32].is_nan() && !line[33].is_nan());
        }
        assert!(
            macd(&close[..33], 12, 26, 9)
                .macd
                .iter()
                .all(|v| v.is_nan())
        );
        assert!(macd(&close[..3], 12, 26, 9).macd.iter().all(|v| v.is_nan()));
    }

    #[test]
    #[should_panic(expected = "a period of 0")]
    fn a_period_of_zero_is_a_bug() {
        ema(&[1.0], 0);
    }
}
