//! What e-values are good for: several challengers at once, and how long a
//! decision will take.
//!
//! An e-value is a bet against "no better" that cannot win on average if that is
//! true: 20 or more happens with probability of at most 1/20, at any time one
//! cares to look.

/// Returns which hypotheses are rejected by the e-BH procedure of Wang and Ramdas
/// (2022), at false discovery rate `alpha`, in ascending order. It holds however
/// the e-values depend on one another: the k largest are rejected, for the
/// largest k whose k-th e-value is at least `n / (alpha k)`. NaN is never
/// rejected.
///
/// # Panics
/// Unless `0 < alpha < 1`.
pub fn benjamini_hochberg(e_values: &[f64], alpha: f64) -> Vec<usize> {
    assert!(alpha > 0.0 && alpha < 1.0, "alpha {alpha} outside (0, 1)");
    let n = e_values.len();
    let mut order: Vec<usize> = (0..n).filter(|&i| !e_values[i].is_nan()).collect();
    order.sort_by(|&a, &b| e_values[b].total_cmp(&e_values[a]));
    let enough = |&k: &usize| e_values[order[k - 1]] >= n as f64 / (alpha * k as f64);
    let count = (1..=order.len()).rev().find(enough).unwrap_or(0);
    let mut rejected = order[..count].to_vec();
    rejected.sort_unstable();
    rejected
}

/// Returns about how many independent blocks a bet needs to reach `1 / alpha`,
/// `2 ln(1 / alpha) (deviation / lead)^2`, when scores lead by `lead` on average
/// and spread by `deviation`. Infinite without a lead.
pub fn blocks_to_decision(alpha: f64, deviation: f64, lead: f64) -> f64 {
    if lead > 0.0 {
        2.0 * (1.0 / alpha).ln() * (deviation / lead).powi(2)
    } else {
        f64::INFINITY
    }
}

/// Returns how many independent instruments `count` instruments are worth when
/// their scores correlate by `correlation`: `m / (1 + (m - 1) rho)`.
pub fn effective_instruments(count: usize, correlation: f64) -> f64 {
    let m = count as f64;
    m / (1.0 + (m - 1.0) * correlation)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn larger_company_helps() {
        // n / (alpha k) at 5 %: 80, 40, 26.7, 20.
        assert_eq!(
            benjamini_hochberg(&[79.0, 1.0, 1.0, 1.0], 0.05),
            Vec::<usize>::new()
        );
        assert_eq!(benjamini_hochberg(&[80.0, 1.0, 1.0, 1.0], 0.05), vec![0]);
        assert_eq!(
            benjamini_hochberg(&[0.2, 41.0, 45.0, 1.0], 0.05),
            vec![1, 2]
        );
        assert_eq!(benjamini_hochberg(&[20.0; 4], 0.05), vec![0, 1, 2, 3]);
        let odd = [f64::INFINITY, f64::NAN];
        assert_eq!(benjamini_hochberg(&odd, 0.05), vec![0]);
        assert!(benjamini_hochberg(&[], 0.05).is_empty());
    }

    #[test]
    fn a_decision_takes_its_time() {
        // A lead of a fifth of the spread at 5 %: 2 ln 20 * 25.
        assert!((blocks_to_decision(0.05, 1.0, 0.2) - 149.787).abs() < 1e-3);
        assert_eq!(blocks_to_decision(0.05, 1.0, 0.0), f64::INFINITY);
        assert_eq!(effective_instruments(10, 0.0), 10.0);
        assert_eq!(effective_instruments(10, 1.0), 1.0);
    }

    proptest! {
        #[test]
        fn the_rejected_are_the_largest(
            e_values in prop::collection::vec(0.0f64..500.0, 0..12),
            alpha in 0.01f64..0.5,
        ) {
            let rejected = benjamini_hochberg(&e_values, alpha);
            let n = e_values.len() as f64;
            for &index in &rejected {
                prop_assert!(e_values[index] >= n / (alpha * rejected.len() as f64));
            }
            let next = rejected.len() + 1;
            let large = e_values.iter().filter(|&&e| e >= n / (alpha * next as f64)).count();
            prop_assert!(large < next);
        }
    }
}
