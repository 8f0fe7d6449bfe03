//! Quantities found by search: the stake that makes wealth grow fastest, tail
//! risk by exponential moments, expectiles.

use super::moments::mean;

/// Halvings of an interval: more than a double's digits.
const HALVINGS: usize = 200;

/// Finds where a falling function crosses 0 between `low` and `high`.
fn crossing(mut low: f64, mut high: f64, falling: impl Fn(f64) -> f64) -> f64 {
    for _ in 0..HALVINGS {
        let middle = 0.5 * (low + high);
        if middle <= low || middle >= high {
            break;
        }
        if falling(middle) > 0.0 {
            low = middle;
        } else {
            high = middle;
        }
    }
    0.5 * (low + high)
}

/// Returns the multiple f of the stake that makes the mean of log(1 + f x) largest
/// (Kelly 1956; Thorp 2006, section 7); negative if the other side pays. NaN unless
/// there are gains and losses.
pub(crate) fn growth_fraction(x: &[f64]) -> f64 {
    let worst = x.iter().copied().fold(f64::INFINITY, f64::min);
    let best = x.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if worst >= 0.0 || best <= 0.0 {
        return f64::NAN;
    }
    let derivative = |f: f64| x.iter().map(|value| value / (1.0 + f * value)).sum::<f64>();
    crossing(-1.0 / best, -1.0 / worst, derivative)
}

/// Returns the entropic value at risk of losses `-x` at tail probability `level`
/// (Ahmadi-Javid 2012, def. 3.1) as a return: the negative of the smallest
/// z log(E[exp(-x / z)] / level) over z > 0.
pub(crate) fn entropic_value_at_risk(x: &[f64], level: f64) -> f64 {
    let worst = x.iter().copied().fold(f64::INFINITY, f64::min);
    let scale = x
        .iter()
        .map(|value| (value - worst).abs())
        .fold(0.0, f64::max);
    if scale == 0.0 {
        return worst;
    }
    // The largest loss is taken out of the exponentials so that none overflows.
    let bound = |log_z: f64| {
        let z = log_z.exp() * scale;
        let exponentials: f64 = x.iter().map(|value| ((worst - value) / z).exp()).sum();
        z * (exponentials / x.len() as f64 / level).ln() - worst
    };
    let least = golden_minimum(-16.0, 16.0, bound);
    -bound(least)
}

/// Finds the place of the minimum of a function with one dip (Kiefer 1953).
fn golden_minimum(mut low: f64, mut high: f64, function: impl Fn(f64) -> f64) -> f64 {
    let golden = 0.5 * (5.0_f64.sqrt() - 1.0);
    let (mut left, mut right) = (high - golden * (high - low), low + golden * (high - low));
    let (mut at_left, mut at_right) = (function(left), function(right));
    for _ in 0..100 {
        if at_left < at_right {
            high = right;
            (right, at_right) = (left, at_left);
            left = high - golden * (high - low);
            at_left = function(left);
        } else {
            low = left;
            (left, at_left) = (right, at_right);
            right = low + golden * (high - low);
            at_right = function(right);
        }
    }
    0.5 * (low + high)
}

/// Returns the expectile at `level` (Newey and Powell 1987, eq. 2.7): the point
/// whose shortfalls, weighted 1 - level, balance its excesses, weighted level.
pub(crate) fn expectile(x: &[f64], level: f64) -> f64 {
    let low = x.iter().copied().fold(f64::INFINITY, f64::min);
    let high = x.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if low == high {
        return low;
    }
    crossing(low, high, |point| {
        let balance: Vec<f64> = x
            .iter()
            .map(|value| {
                let excess = value - point;
                if excess > 0.0 {
                    level * excess
                } else {
                    (1.0 - level) * excess
                }
            })
            .collect();
        mean(&balance)
    })
}
