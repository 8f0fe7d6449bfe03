//! How much to stake: the Kelly criterion, halved, at a cautious win rate.
//!
//! Kelly's fraction maximises the expected logarithm of wealth when the odds
//! are known. They never are, and staking too much costs far more than staking
//! too little, so [`size`] takes the lower credible bound of the win rate, half
//! of what it allows, and a cap; below break-even it stakes nothing.

/// Returns the payoff ratio after costs: what a win adds per unit that a loss
/// takes, `(gain - cost) / (loss + cost)`. `gain` and `loss` are positive sizes
/// and `cost` the round trip, all in one unit (a fraction of the stake, say).
pub fn net_payoff_ratio(gain: f64, loss: f64, cost: f64) -> f64 {
    (gain - cost) / (loss + cost)
}

/// Returns the win probability at which a bet with payoff ratio `b` neither
/// gains nor loses on average, `1 / (1 + b)`; 1 for a ratio that is not
/// positive, which no win rate can make good.
pub fn break_even(b: f64) -> f64 {
    if b > 0.0 { 1.0 / (1.0 + b) } else { 1.0 }
}

/// Returns Kelly's fraction of wealth, `p - (1 - p) / b` (Kelly 1956), for a bet
/// that adds `b` per unit staked with probability `p` and takes the stake
/// otherwise. Negative below break-even: then the other side would be the bet.
pub fn fraction(p: f64, b: f64) -> f64 {
    p - (1.0 - p) / b
}

/// Returns the Kelly fraction of a position whose excess return has this mean
/// and variance per period, `mean / variance` (Merton 1969). It may exceed 1,
/// which is leverage.
pub fn continuous(mean: f64, variance: f64) -> f64 {
    mean / variance
}

/// Returns the stake as a fraction of wealth, in `[0, cap]`: half of Kelly's
/// fraction at `win_rate_lower_bound`, at most `cap`, and 0 when the bound is
/// not above break-even. `b` is the payoff ratio after costs (see
/// [`net_payoff_ratio`]). Anything that is not a number stakes nothing.
///
/// # Panics
/// If `cap` is negative or NaN.
pub fn size(win_rate_lower_bound: f64, b: f64, cap: f64) -> f64 {
    assert!(cap >= 0.0, "cap `{cap}` on a stake, expected at least 0");
    if win_rate_lower_bound > break_even(b) {
        (0.5 * fraction(win_rate_lower_bound, b)).min(cap)
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The expected logarithm of wealth after one bet.
    fn growth(stake: f64, p: f64, b: f64) -> f64 {
        p * (b * stake).ln_1p() + (1.0 - p) * (-stake).ln_1p()
    }

    #[test]
    fn known_bets() {
        assert!((fraction(0.6, 1.0) - 0.2).abs() < 1e-15);
        assert!((size(0.6, 1.0, 1.0) - 0.1).abs() < 1e-15);
        assert_eq!(size(0.6, 1.0, 0.05), 0.05);
        assert_eq!(continuous(0.02, 0.04), 0.5);
    }

    #[test]
    fn nothing_is_staked_without_an_edge() {
        assert_eq!(size(0.5, 1.0, 1.0), 0.0);
        assert_eq!(size(0.2, 2.0, 1.0), 0.0);
        // Costs turn a fair payoff of 2 % against 2 % into a losing one.
        let b = net_payoff_ratio(0.02, 0.02, 0.002);
        assert!((break_even(b) - 0.55).abs() < 1e-12, "{}", break_even(b));
        assert_eq!(size(0.54, b, 1.0), 0.0);
        // A cost above the gain can never pay.
        assert_eq!(size(1.0, net_payoff_ratio(0.001, 0.02, 0.002), 1.0), 0.0);
        assert_eq!(size(f64::NAN, 1.0, 1.0), 0.0);
        assert_eq!(size(0.9, f64::NAN, 1.0), 0.0);
    }

    #[test]
    #[should_panic(expected = "expected at least 0")]
    fn a_negative_cap_is_refused() {
        size(0.6, 1.0, -0.1);
    }

    proptest! {
        #[test]
        fn the_fraction_grows_fastest(p in 0.05f64..0.95, b in 0.2f64..5.0) {
            let best = fraction(p, b);
            prop_assume!(best > 0.01 && best < 0.98);
            let at_best = growth(best, p, b);
            prop_assert!(at_best >= growth(best - 0.005, p, b));
            prop_assert!(at_best >= growth(best + 0.005, p, b));
        }

        #[test]
        fn a_stake_stays_within_its_cap(p in 0.0f64..1.0, b in 0.0f64..9.0, cap in 0.0f64..1.0) {
            let stake = size(p, b, cap);
            prop_assert!((0.0..=cap).contains(&stake));
            prop_assert_eq!(stake > 0.0, p > break_even(b) && cap > 0.0);
        }
    }
}
