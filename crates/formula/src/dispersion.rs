//! How widely prices range: bands, volatility, true range.

/// The lines of [`bollinger`], each as long as its input and in units of price.
#[derive(Debug, Clone, PartialEq)]
pub struct Bollinger {
    /// `middle` plus `width` deviations.
    pub upper: Vec<f64>,
    /// The simple moving average.
    pub middle: Vec<f64>,
    /// `middle` minus `width` deviations.
    pub lower: Vec<f64>,
}

/// Returns Bollinger bands: the mean of the last `period` closes, and `width`
/// *population* standard deviations to both sides (TA-Lib `BBANDS`; customary
/// 20 and 2). NaN in the first `period - 1` rows.
///
/// # Panics
/// If `period` is 0.
pub fn bollinger(close: &[f64], period: usize, width: f64) -> Bollinger {
    let windows = rolling(close, period);
    let half = |m: &Moments| width * (m.squares / m.count).sqrt();
    Bollinger {
        upper: windows.iter().map(|m| m.mean + half(m)).collect(),
        middle: windows.iter().map(|m| m.mean).collect(),
        lower: windows.iter().map(|m| m.mean - half(m)).collect(),
    }
}

/// Returns where the close stands between the bands: 0 at the lower, 1 at the
/// upper, outside them below 0 or above 1. NaN where the bands are, and where
/// they have no width.
///
/// # Panics
/// If the bands do not have the length of `close`.
pub fn percent_b(close: &[f64], bands: &Bollinger) -> Vec<f64> {
    assert_eq!(close.len(), bands.lower.len(), "bands of other bars");
    let lines = bands.lower.iter().zip(&bands.upper);
    close
        .iter()
        .zip(lines)
        .map(|(close, (lower, upper))| {
            if upper > lower {
                (close - lower) / (upper - lower)
            } else {
                f64::NAN
            }
        })
        .collect()
}

/// Returns the sample standard deviation (divisor `window - 1`) of the last
/// `window` logarithmic returns, per bar and not annualised. NaN in the first
/// `window` rows. Prices are positive.
///
/// # Panics
/// If `window` is below 2.
pub fn volatility(close: &[f64], window: usize) -> Vec<f64> {
    assert!(window >= 2, "a sample deviation of fewer than two returns");
    let returns: Vec<f64> = close.windows(2).map(|w| (w[1] / w[0]).ln()).collect();
    let mut result = vec![f64::NAN; close.len().min(1)];
    let deviations = rolling(&returns, window);
    result.extend(
        deviations
            .iter()
            .map(|m| (m.squares / (m.count - 1.0)).sqrt()),
    );
    result
}

/// Returns Wilder's average true range, in units of price (TA-Lib `ATR`). The
/// true range is the largest of high - low, |high - previous close| and
/// |low - previous close|; the first bar has none. The average is seeded with
/// the mean of the first `period` true ranges and then moves by `1 / period`.
/// NaN in the first `period` rows.
///
/// # Panics
/// If the lengths differ or `period` is 0.
pub fn atr(high: &[f64], low: &[f64], close: &[f64], period: usize) -> Vec<f64> {
    assert!(period > 0, "a period of 0");
    assert!(
        high.len() == close.len() && low.len() == close.len(),
        "high, low and close of different bars"
    );
    let mut result = vec![f64::NAN; close.len()];
    if close.len() <= period {
        return result;
    }
    let true_range = |t: usize| {
        let before = close[t - 1];
        (high[t] - low[t])
            .max((high[t] - before).abs())
            .max((low[t] - before).abs())
    };
    let n = period as f64;
    let mut average = (1..=period).map(true_range).sum::<f64>() / n;
    result[period] = average;
    for (t, slot) in result.iter_mut().enumerate().skip(period + 1) {
        average = (average * (n - 1.0) + true_range(t)) / n;
        *slot = average;
    }
    result
}

/// Count, mean and sum of squared deviations from the mean of some values.
#[derive(Clone, Copy)]
struct Moments {
    count: f64,
    mean: f64,
    squares: f64,
}

impl Moments {
    const NONE: Self = Self {
        count: 0.0,
        mean: 0.0,
        squares: 0.0,
    };
    const UNKNOWN: Self = Self {
        count: f64::NAN,
        mean: f64::NAN,
        squares: f64::NAN,
    };

    /// Welford 1962.
    fn with(self, value: f64) -> Self {
        let count = self.count + 1.0;
        let delta = value - self.mean;
        let mean = self.mean + delta / count;
        Self {
            count,
            mean,
            squares: self.squares + delta * (value - mean),
        }
    }

    /// Chan, Golub and LeVeque 1979, eq. 2.1.
    fn merge(self, other: Self) -> Self {
        let count = self.count + other.count;
        let delta = other.mean - self.mean;
        Self {
            count,
            mean: self.mean + delta * (other.count / count),
            squares: self.squares
                + other.squares
                + delta * delta * (self.count * other.count / count),
        }
    }
}

/// Returns the moments of the last `period` values at each row.
///
/// Running sums of squares lose all digits of a small deviation around a large
/// price, and an early outlier spoils every later row. Here nothing is ever
/// subtracted: the series is cut into blocks of `period` values, and a window is
/// the end of one block merged with the start of the next (the scheme of van
/// Herk 1992 for running extrema).
fn rolling(x: &[f64], period: usize) -> Vec<Moments> {
    assert!(period > 0, "a period of 0");
    let mut result = Vec::with_capacity(x.len());
    // ends[o] holds the moments of offsets o.. of the block before.
    let mut ends = vec![Moments::UNKNOWN; period];
    for block in x.chunks(period) {
        let mut start = Moments::NONE;
        for (offset, &value) in block.iter().enumerate() {
            start = start.with(value);
            result.push(match ends.get(offset + 1) {
                Some(&end) => end.merge(start),
                None => start,
            });
        }
        if block.len() == period {
            let mut end = Moments::NONE;
            for (slot, &value) in ends.iter_mut().zip(block).rev() {
                end = end.with(value);
                *slot = end;
            }
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn bands_use_the_population_deviation() {
        let bands = bollinger(&[1.0, 3.0, 5.0], 2, 2.0);
        assert!(bands.middle[0].is_nan() && bands.upper[0].is_nan());
        assert_eq!(bands.middle[1..], [2.0, 4.0]);
        assert_eq!(bands.upper[1..], [4.0, 6.0]);
        assert_eq!(bands.lower[1..], [0.0, 2.0]);
        assert_eq!(percent_b(&[1.0, 3.0, 5.0], &bands)[1..], [0.75, 0.75]);
    }

    #[test]
    fn a_still_market_has_bands_without_width() {
        let close = [0.1; 50];
        let bands = bollinger(&close, 20, 2.0);
        assert_eq!(bands.upper[19..], [0.1; 31]);
        assert!(percent_b(&close, &bands).iter().all(|v| v.is_nan()));
        assert_eq!(volatility(&close, 20)[20..], [0.0; 30]);
    }

    #[test]
    fn an_early_outlier_leaves_no_trace() {
        let mut close = vec![1e12, 3.0];
        close.extend((0..60).map(|i| 1.0 + 1e-9 * f64::from(i % 2)));
        let bands = bollinger(&close, 20, 1.0);
        let half = bands.upper[61] - bands.middle[61];
        assert!((half - 0.5e-9).abs() < 1e-15, "{half:e}");
    }

    #[test]
    fn volatility_is_the_sample_deviation_of_log_returns() {
        let close = [1.0, 1.0_f64.exp(), 3.0_f64.exp()];
        let got = volatility(&close, 2);
        assert!(got[0].is_nan() && got[1].is_nan());
        // Returns 1 and 2: squared deviations 0.25 + 0.25, divided by 1.
        assert!((got[2] - 0.5_f64.sqrt()).abs() < 1e-12);
        assert!(volatility(&[], 2).is_empty());
    }

    #[test]
    fn true_range_reaches_to_the_previous_close() {
        let (high, low, close) = ([5.0, 9.0, 9.0], [4.0, 8.0, 8.5], [4.5, 8.5, 8.6]);
        let got = atr(&high, &low, &close, 1);
        assert!(got[0].is_nan());
        assert_eq!(got[1], 4.5);
        assert_eq!(got[2], 0.5);
    }

    proptest! {
        #[test]
        fn windows_match_two_passes(
            x in prop::collection::vec(-1e3f64..1e3, 0..80),
            period in 1usize..12,
            offset in prop::sample::select(vec![0.0, 1e6]),
        ) {
            let x: Vec<f64> = x.into_iter().map(|v| v + offset).collect();
            let got = rolling(&x, period);
            prop_assert_eq!(got.len(), x.len());
            for (t, m) in got.iter().enumerate() {
                if t + 1 < period {
                    prop_assert!(m.mean.is_nan());
                    continue;
                }
                let window = &x[t + 1 - period..=t];
                let mean = window.iter().sum::<f64>() / period as f64;
                let squares: f64 = window.iter().map(|v| (v - mean).powi(2)).sum();
                prop_assert!((m.mean - mean).abs() <= 1e-9);
                prop_assert!((m.squares - squares).abs() <= 1e-6 * (1.0 + squares));
            }
        }
    }
}
