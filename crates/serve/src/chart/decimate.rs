//! Thinning long series without losing their extremes.

/// Returns the indices to draw so that `buckets` columns show what all points show.
///
/// Points are put into `buckets` columns by their position in `x` (ascending);
/// each column keeps its first, lowest, highest and last finite point. Short
/// series are returned whole. At most `4 * buckets` indices, ascending.
pub fn extremes(x: &[f64], y: &[f64], buckets: usize) -> Vec<usize> {
    let length = x.len().min(y.len());
    let usable = |i: &usize| x[*i].is_finite() && y[*i].is_finite();
    let points: Vec<usize> = (0..length).filter(usable).collect();
    let (Some(&first), Some(&last)) = (points.first(), points.last()) else {
        return Vec::new();
    };
    if points.len() <= buckets.saturating_mul(2) {
        return points;
    }
    let scale = super::scale::Scale::new((x[first], x[last]), (0.0, buckets.max(1) as f64));
    let column = |i: usize| (scale.map(x[i]) as usize).min(buckets.saturating_sub(1));
    let mut kept = Vec::new();
    for group in points.chunk_by(|a, b| column(*a) == column(*b)) {
        let by_height = |a: &&usize, b: &&usize| y[**a].total_cmp(&y[**b]);
        let mut corners: Vec<usize> = [
            group.first(),
            group.iter().min_by(by_height),
            group.iter().max_by(by_height),
            group.last(),
        ]
        .into_iter()
        .flatten()
        .copied()
        .collect();
        corners.sort_unstable();
        corners.dedup();
        kept.extend(corners);
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_spike_survives() {
        let x: Vec<f64> = (0..10_000).map(f64::from).collect();
        let mut y = vec![1.0; 10_000];
        y[7_777] = 50.0;
        y[3_333] = -50.0;
        let kept = extremes(&x, &y, 100);
        assert!(kept.contains(&7_777) && kept.contains(&3_333));
        assert!(kept.len() <= 400);
    }

    #[test]
    fn nothing_usable_is_nothing_drawn() {
        assert!(extremes(&[], &[], 10).is_empty());
        assert!(extremes(&[1.0, 2.0], &[f64::NAN, f64::INFINITY], 10).is_empty());
        assert_eq!(extremes(&[1.0, 2.0], &[3.0, 4.0], 10), [0, 1]);
    }

    proptest! {
        #[test]
        fn kept_points_are_ascending_bounded_and_span_the_extent(
            y in prop::collection::vec(-1e6..1e6f64, 1..2000), buckets in 1usize..200,
        ) {
            let x: Vec<f64> = (0..y.len()).map(|i| i as f64).collect();
            let kept = extremes(&x, &y, buckets);
            prop_assert!(kept.windows(2).all(|pair| pair[0] < pair[1]));
            prop_assert!(kept.len() <= 4 * buckets);
            let all = super::super::scale::extent(y.iter().copied());
            let drawn = super::super::scale::extent(kept.iter().map(|&i| y[i]));
            prop_assert_eq!(all, drawn);
        }
    }
}
