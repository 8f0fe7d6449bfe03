//! How much of each example is its own: average uniqueness of overlapping
//! label spans, and the effective number of examples.
//!
//! Lopez de Prado, "Advances in Financial Machine Learning" (2018), section
//! 4.4: `u_i` is the mean over the span of example `i` of
//! `1 / (number of spans alive)`. Time is continuous here, so bars of any
//! length and spans that start between bars need no grid.

/// Returns the average uniqueness of each span `(start, end)`, in `(0, 1]`.
///
/// Spans that only touch do not overlap. A span without length counts as one
/// unit of time long. Pass the spans of one instrument to count overlap within
/// it; pass those of several together to treat them as one market.
/// Takes `O(n log n)`.
///
/// # Panics
/// If a span ends before it starts.
pub fn weights(spans: &[(i64, i64)]) -> Vec<f64> {
    let spans: Vec<(i64, i64)> = spans
        .iter()
        .map(|&(start, end)| {
            assert!(end >= start, "a span ends at {end}, before {start}");
            (start, end.max(start.saturating_add(1)))
        })
        .collect();

    // One event per end of a span, then one segment between distinct instants.
    let mut events: Vec<(i64, i64)> = Vec::with_capacity(2 * spans.len());
    for &(start, end) in &spans {
        events.push((start, 1));
        events.push((end, -1));
    }
    events.sort_unstable();

    // share[i] = integral of 1 / (spans alive) up to instants[i].
    let mut instants: Vec<i64> = Vec::with_capacity(events.len());
    let mut share: Vec<f64> = Vec::with_capacity(events.len());
    let mut alive = 0_i64;
    let mut total = 0.0;
    for (time, change) in events {
        match instants.last() {
            Some(&last) if last == time => {}
            last => {
                if let (Some(&last), true) = (last, alive > 0) {
                    total += (time - last) as f64 / alive as f64;
                }
                instants.push(time);
                share.push(total);
            }
        }
        alive += change;
    }

    let at = |time: i64| share[instants.partition_point(|&instant| instant < time)];
    spans
        .iter()
        .map(|&(start, end)| ((at(end) - at(start)) / (end - start) as f64).min(1.0))
        .collect()
}

/// Returns the effective number of examples, the sum of their uniqueness
/// [`weights`]. For spans of equal length decided at every bar it is about
/// `n / (bars per span)`.
pub fn effective_n(weights: &[f64]) -> f64 {
    weights.iter().sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The definition, in quadratic time on a grid of single units.
    fn by_definition(spans: &[(i64, i64)]) -> Vec<f64> {
        let spans: Vec<(i64, i64)> = spans.iter().map(|&(s, e)| (s, e.max(s + 1))).collect();
        let alive = |t: i64| spans.iter().filter(|&&(s, e)| s <= t && t < e).count() as f64;
        spans
            .iter()
            .map(|&(s, e)| (s..e).map(|t| 1.0 / alive(t)).sum::<f64>() / (e - s) as f64)
            .collect()
    }

    #[test]
    fn spans_that_touch_are_unique() {
        assert_eq!(weights(&[(0, 10), (10, 20)]), vec![1.0, 1.0]);
        assert_eq!(weights(&[(0, 10), (0, 10)]), vec![0.5, 0.5]);
        assert_eq!(weights(&[(0, 10), (5, 15)]), vec![0.75, 0.75]);
        assert!(weights(&[]).is_empty());
    }

    #[test]
    fn hourly_decisions_over_twelve_hours_count_a_twelfth() {
        let spans: Vec<(i64, i64)> = (0..1200).map(|hour| (hour, hour + 12)).collect();
        let n = effective_n(&weights(&spans));
        assert!((n - 1200.0 / 12.0).abs() < 5.0, "{n}");
    }

    #[test]
    #[should_panic(expected = "ends at 3, before 5")]
    fn a_backward_span_is_refused() {
        weights(&[(5, 3)]);
    }

    proptest! {
        #[test]
        fn weights_follow_the_definition(
            spans in prop::collection::vec((0i64..40, 0i64..15), 0..30),
        ) {
            let spans: Vec<(i64, i64)> = spans.into_iter().map(|(s, l)| (s, s + l)).collect();
            let fast = weights(&spans);
            for (got, expected) in fast.iter().zip(by_definition(&spans)) {
                prop_assert!((got - expected).abs() < 1e-12, "{got} {expected}");
                prop_assert!(*got > 0.0 && *got <= 1.0);
            }
        }
    }
}
