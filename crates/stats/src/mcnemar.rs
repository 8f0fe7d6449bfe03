//! McNemar's exact test of two arms that decided the same cases.
//!
//! Only cases on which exactly one arm was right say anything; under equal
//! accuracy each is a fair coin. The cases have to be independent: give one per
//! *non-overlapping* block. On hourly decisions with 12-hour labels the test
//! cries wolf in 4 of 10 worlds (see `tests/null_world.rs`).

use serde::Serialize;

use crate::beta::incomplete_beta;

/// The outcome of the test.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct McNemar {
    /// Cases that only the first arm got right.
    pub only_first: usize,
    /// Cases that only the second arm got right.
    pub only_second: usize,
    /// The two-sided p-value; 1 without any such case.
    pub p_value: f64,
}

/// Returns the exact two-sided test for the counts of cases that only one arm
/// got right: twice the smaller binomial tail, at most 1.
pub fn exact(only_first: usize, only_second: usize) -> McNemar {
    let discordant = only_first + only_second;
    let fewer = only_first.min(only_second);
    // P(Binomial(n, 1/2) <= k) = I_{1/2}(n - k, k + 1).
    let p_value = if discordant == 0 {
        1.0
    } else {
        (2.0 * incomplete_beta(0.5, (discordant - fewer) as f64, (fewer + 1) as f64)).min(1.0)
    };
    McNemar {
        only_first,
        only_second,
        p_value,
    }
}

/// Returns the test for two arms given case by case whether each was right.
///
/// # Panics
/// If the lengths differ.
pub fn of_cases(first_right: &[bool], second_right: &[bool]) -> McNemar {
    assert_eq!(first_right.len(), second_right.len(), "cases of both arms");
    let count = |wanted: (bool, bool)| {
        let pairs = first_right.iter().zip(second_right);
        pairs.filter(|(a, b)| (**a, **b) == wanted).count()
    };
    exact(count((true, false)), count((false, true)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_counts_by_hand() {
        // 1 of 5: 2 (1 + 5) / 32.
        assert!((exact(1, 4).p_value - 0.375).abs() < 1e-14);
        assert_eq!(exact(1, 4).p_value, exact(4, 1).p_value);
        assert_eq!(exact(0, 0).p_value, 1.0);
        assert_eq!(exact(3, 3).p_value, 1.0);
    }

    #[test]
    fn cases_are_counted() {
        let first = [true, true, false, false, true];
        let second = [true, false, true, false, false];
        let test = of_cases(&first, &second);
        assert_eq!((test.only_first, test.only_second), (2, 1));
    }
}
