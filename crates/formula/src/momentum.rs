//! How far and how one-sidedly prices moved.

/// Returns the relative strength index in `[0, 100]`: Wilder's average of gains
/// as a share of the averages of gains and losses (Wilder, "New Concepts in
/// Technical Trading Systems", 1978; TA-Lib `RSI`).
///
/// The averages are seeded with the means of the first `period` changes and then
/// move by `1 / period`. NaN in the first `period` rows. Where no price ever
/// moved the index is 0, as in TA-Lib, although nothing was sold.
///
/// # Panics
/// If `period` is 0.
pub fn rsi(close: &[f64], period: usize) -> Vec<f64> {
    assert!(period > 0, "a period of 0");
    let mut result = vec![f64::NAN; close.len()];
    if close.len() <= period {
        return result;
    }
    let (mut gain, mut loss) = (0.0, 0.0);
    for pair in close[..=period].windows(2) {
        let (up, down) = parts(pair[1] - pair[0]);
        gain += up;
        loss += down;
    }
    let n = period as f64;
    gain /= n;
    loss /= n;
    result[period] = share(gain, loss);
    for t in period + 1..close.len() {
        let (up, down) = parts(close[t] - close[t - 1]);
        gain = (gain * (n - 1.0) + up) / n;
        loss = (loss * (n - 1.0) + down) / n;
        result[t] = share(gain, loss);
    }
    result
}

/// Splits a change into gain and loss; NaN goes into both.
fn parts(change: f64) -> (f64, f64) {
    if change > 0.0 {
        (change, 0.0)
    } else if change < 0.0 {
        (0.0, -change)
    } else {
        (change, change)
    }
}

fn share(gain: f64, loss: f64) -> f64 {
    let total = gain + loss;
    if total == 0.0 {
        0.0
    } else {
        100.0 * (gain / total)
    }
}

/// Returns `x[t] / x[t - bars] - 1`, a fraction (0.02 is 2 %). NaN in the first
/// `bars` rows.
pub fn change(x: &[f64], bars: usize) -> Vec<f64> {
    let mut result = vec![f64::NAN; x.len().min(bars)];
    result.extend(
        x.iter()
            .skip(bars)
            .zip(x)
            .map(|(now, then)| now / then - 1.0),
    );
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rsi_counts_gains_against_losses() {
        // Changes +2, -1, +1 with period 2: seed 1 and 0.5, then 1 and 0.25.
        let got = rsi(&[10.0, 12.0, 11.0, 12.0], 2);
        assert!(got[0].is_nan() && got[1].is_nan());
        assert!((got[2] - 100.0 * 1.0 / 1.5).abs() < 1e-12);
        assert!((got[3] - 100.0 * 1.0 / 1.25).abs() < 1e-12);
        assert!(rsi(&[1.0, 2.0], 2).iter().all(|v| v.is_nan()));
    }

    #[test]
    fn rsi_of_one_way_and_still_markets() {
        let rising: Vec<f64> = (0..20).map(f64::from).collect();
        let falling: Vec<f64> = rising.iter().rev().copied().collect();
        assert_eq!(rsi(&rising, 14)[14..], [100.0; 6]);
        assert_eq!(rsi(&falling, 14)[14..], [0.0; 6]);
        assert_eq!(rsi(&[7.0; 20], 14)[14..], [0.0; 6]);
    }

    #[test]
    fn nan_is_passed_on() {
        let mut close = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        close[3] = f64::NAN;
        let got = rsi(&close, 2);
        assert!(got[2].is_finite() && got[3..].iter().all(|v| v.is_nan()));
    }

    #[test]
    fn change_is_a_fraction() {
        let got = change(&[100.0, 50.0, 102.0], 2);
        assert!(got[0].is_nan() && got[1].is_nan());
        assert!((got[2] - 0.02).abs() < 1e-12);
        assert_eq!(change(&[1.0, 2.0], 5).len(), 2);
        assert_eq!(change(&[3.0], 0), [0.0]);
    }
}
