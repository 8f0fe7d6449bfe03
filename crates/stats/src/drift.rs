//! How far two samples of one quantity lie apart: the population stability
//! index and the Kolmogorov-Smirnov distance.
//!
//! Both are descriptive. Rows of a market overlap, so the size to hold them
//! against is that of the *effective* samples: [`stability_by_chance`].

use std::collections::BTreeMap;

use crate::quantile_sorted;

/// Stands in for the count of a bin that a sample does not reach, so that one
/// empty bin does not make the index infinite.
const EMPTY: f64 = 0.5;

/// A population stability index and the number of bins it was taken over.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Stability {
    /// The index, 0 for equal shares; NaN for an empty sample.
    pub index: f64,
    /// Bins compared.
    pub bins: usize,
}

/// Returns the population stability index of `later` against `earlier` over at
/// most `bins` bins that hold equal parts of `earlier`. An edge belongs to the
/// bin below it; equal edges make one bin fewer. Neither sample holds a NaN.
///
/// # Panics
/// If `bins` is 0.
pub fn population_stability(earlier: &[f64], later: &[f64], bins: usize) -> Stability {
    assert!(bins > 0, "shares of no bins");
    let mut ascending = earlier.to_vec();
    ascending.sort_by(f64::total_cmp);
    let mut edges: Vec<f64> = (1..bins)
        .map(|bin| quantile_sorted(&ascending, bin as f64 / bins as f64))
        .collect();
    edges.dedup();
    // An edge at the very end has nothing above it in the earlier sample.
    if edges.last() == ascending.last() {
        edges.pop();
    }
    let counts = |sample: &[f64]| {
        let mut counts = vec![0_usize; edges.len() + 1];
        for value in sample {
            counts[edges.partition_point(|edge| edge < value)] += 1;
        }
        counts
    };
    index(&counts(earlier), &counts(later))
}

/// Returns the population stability index of `later` against `earlier` over
/// the categories that occur in either.
pub fn category_stability(earlier: &[&str], later: &[&str]) -> Stability {
    let mut counts: BTreeMap<&str, [usize; 2]> = BTreeMap::new();
    for (side, sample) in [earlier, later].into_iter().enumerate() {
        for category in sample {
            counts.entry(category).or_default()[side] += 1;
        }
    }
    let of = |side: usize| counts.values().map(|pair| pair[side]).collect::<Vec<_>>();
    index(&of(0), &of(1))
}

fn index(earlier: &[usize], later: &[usize]) -> Stability {
    let total = |counts: &[usize]| counts.iter().sum::<usize>() as f64;
    let (n, m) = (total(earlier), total(later));
    let share = |count: usize, total: f64| (count as f64).max(EMPTY) / total;
    let terms = earlier.iter().zip(later).map(|(&a, &b)| {
        let (a, b) = (share(a, n), share(b, m));
        (b - a) * (b / a).ln()
    });
    let index = if n > 0.0 && m > 0.0 {
        terms.sum()
    } else {
        f64::NAN
    };
    Stability {
        index,
        bins: earlier.len(),
    }
}

/// Returns the value that an index over so many bins stays below in about 95 of
/// 100 draws of two samples of one distribution, `n` and `m` independent rows:
/// times `n m / (n + m)` it is then a chi-squared variate of `bins - 1` degrees
/// of freedom (Yurdakul and Naranjo 2020), here by its mean and deviation.
pub fn stability_by_chance(bins: usize, n: f64, m: f64) -> f64 {
    let freedom = bins.saturating_sub(1) as f64;
    (freedom + 1.645 * (2.0 * freedom).sqrt()) * (1.0 / n + 1.0 / m)
}

/// Returns the Kolmogorov-Smirnov distance of two samples, the largest
/// difference of their distribution functions, in `[0, 1]`; NaN if one is
/// empty. Neither holds a NaN.
pub fn kolmogorov_smirnov(a: &[f64], b: &[f64]) -> f64 {
    if a.is_empty() || b.is_empty() {
        return f64::NAN;
    }
    let sorted = |sample: &[f64]| {
        let mut sorted = sample.to_vec();
        sorted.sort_by(f64::total_cmp);
        sorted
    };
    let (a, b) = (sorted(a), sorted(b));
    let (mut i, mut j, mut distance) = (0, 0, 0.0_f64);
    while i < a.len() && j < b.len() {
        let value = a[i].min(b[j]);
        i += a[i..].iter().take_while(|x| **x <= value).count();
        j += b[j..].iter().take_while(|x| **x <= value).count();
        let (below_a, below_b) = (i as f64 / a.len() as f64, j as f64 / b.len() as f64);
        distance = distance.max((below_a - below_b).abs());
    }
    distance
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_sample_is_no_distance_from_itself() {
        let sample: Vec<f64> = (0..97).map(|x| f64::from(x * x % 31)).collect();
        assert_eq!(population_stability(&sample, &sample, 10).index, 0.0);
        assert_eq!(kolmogorov_smirnov(&sample, &sample), 0.0);
        assert_eq!(category_stability(&["a", "b"], &["b", "a"]).index, 0.0);
    }

    #[test]
    fn samples_apart_are_far_and_finite() {
        let low: Vec<f64> = (0..50).map(f64::from).collect();
        let high: Vec<f64> = (100..150).map(f64::from).collect();
        assert_eq!(kolmogorov_smirnov(&low, &high), 1.0);
        let found = population_stability(&low, &high, 10);
        assert!(found.index > 3.0 && found.index.is_finite(), "{found:?}");
        assert!(category_stability(&["a"; 9], &["b"; 9]).index > 3.0);
        assert!(population_stability(&[], &high, 10).index.is_nan());
        assert!(kolmogorov_smirnov(&[], &high).is_nan());
        // One value only: one bin, nothing to compare.
        let constant = population_stability(&[1.0; 20], &[2.0; 20], 10);
        assert_eq!((constant.bins, constant.index), (1, 0.0));
    }

    #[test]
    fn the_bound_of_chance_holds_for_independent_samples() {
        use rand::{RngExt, SeedableRng};
        let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(5);
        let mut draw = |n: usize| (0..n).map(|_| random.random::<f64>()).collect::<Vec<_>>();
        let bound = stability_by_chance(10, 400.0, 150.0);
        let beyond = (0..500)
            .filter(|_| population_stability(&draw(400), &draw(150), 10).index > bound)
            .count();
        // 5 % of 500, give or take four deviations.
        assert!((5..=50).contains(&beyond), "{beyond}");
    }

    proptest! {
        #[test]
        fn the_distance_is_that_of_its_definition(
            a in prop::collection::vec(-5_i8..5, 1..30),
            b in prop::collection::vec(-5_i8..5, 1..30),
        ) {
            let wide = |sample: &[i8]| sample.iter().map(|x| f64::from(*x)).collect::<Vec<_>>();
            let below = |sample: &[i8], x: i8| {
                sample.iter().filter(|y| **y <= x).count() as f64 / sample.len() as f64
            };
            let largest = (-5..5).map(|x| (below(&a, x) - below(&b, x)).abs()).fold(0.0, f64::max);
            prop_assert!((kolmogorov_smirnov(&wide(&a), &wide(&b)) - largest).abs() < 1e-12);
        }
    }
}
