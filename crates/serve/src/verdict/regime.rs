//! Calm or wild, rising or falling: the market an arm decided in, told from the prices in the log
//! up to the decision and nothing later.

use std::collections::HashMap;

use super::reader::Records;

/// Changes behind a volatility.
const VOLATILITY_BARS: usize = 24;
/// Decisions between the two prices of a trend.
const TREND_BARS: usize = 48;

/// The regime of one decision; `None` at the start of a series.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Regime {
    /// Whether prices lately moved more than their own average so far.
    pub(super) wild: Option<bool>,
    /// Whether the price is above that of 48 decisions ago.
    pub(super) rising: Option<bool>,
}

/// Returns the regime of every series and time.
pub(super) fn regimes(records: &Records) -> HashMap<(u32, i64), Regime> {
    let mut prices: Vec<Vec<(i64, f64)>> = vec![Vec::new(); records.series.len()];
    for decided in &records.decisions {
        prices[decided.series as usize].push((decided.time, decided.price));
    }
    let mut found = HashMap::new();
    for (series, prices) in prices.iter_mut().enumerate() {
        prices.sort_by_key(|&(time, _)| time);
        prices.dedup_by_key(|&mut (time, _)| time);
        for (time, regime) in of_series(prices) {
            found.insert((series as u32, time), regime);
        }
    }
    found
}

fn of_series(prices: &[(i64, f64)]) -> Vec<(i64, Regime)> {
    let change = |at: usize| (prices[at].1 / prices[at - 1].1).ln().powi(2);
    let (mut recent, mut total, mut count) = (0.0, 0.0, 0.0);
    let mut regimes = Vec::with_capacity(prices.len());
    for (at, &(time, price)) in prices.iter().enumerate() {
        let mut regime = Regime::default();
        if at > 0 {
            recent += change(at);
        }
        if at > VOLATILITY_BARS {
            recent -= change(at - VOLATILITY_BARS);
        }
        if at >= VOLATILITY_BARS {
            let volatility = recent.max(0.0).sqrt();
            if count > 0.0 {
                regime.wild = Some(volatility > total / count);
            }
            total += volatility;
            count += 1.0;
        }
        if at >= TREND_BARS {
            regime.rising = Some(price > prices[at - TREND_BARS].1);
        }
        regimes.push((time, regime));
    }
    regimes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regimes_look_back_only() {
        let price = |hour: i64| match hour {
            0..100 => 100.0 + 0.1 * (hour % 2) as f64 + 0.01 * hour as f64,
            _ => 101.0 + 3.0 * (hour % 2) as f64 - 0.05 * (hour - 100) as f64,
        };
        let all: Vec<(i64, f64)> = (0..200).map(|hour| (hour, price(hour))).collect();
        let regimes = of_series(&all);
        assert_eq!(regimes[10].1, Regime::default());
        assert_eq!(regimes[90].1.rising, Some(true));
        assert_eq!(regimes[120].1.wild, Some(true));
        assert_eq!(regimes[198].1.rising, Some(false));
        // A different future changes nothing.
        assert_eq!(of_series(&all[..130]), regimes[..130]);
    }
}
