//! Cross-validation of overlapping examples: purged k-fold and combinatorial
//! purged cross-validation (Lopez de Prado 2018, chapters 7 and 12).
//!
//! Time is cut into groups of about equally many examples, all instruments at
//! once; examples that start together stay together. A training example is left
//! out when its span meets the time of a test group, from its first start to its
//! last *end*, or starts less than the embargo after it. Cheap baselines only:
//! adapters are trained once and walk forward, see [`crate::split`].

use serde::Serialize;

use crate::StatsError;

/// One way of dividing the examples, by row, ascending.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fold {
    /// The groups of time that are tested, ascending.
    pub groups: Vec<usize>,
    /// Rows to learn from.
    pub train: Vec<usize>,
    /// Rows to score.
    pub test: Vec<usize>,
}

/// Returns the `folds` divisions in which each group of time is tested once.
///
/// # Errors
/// See [`combinatorial`].
pub fn purged_k_fold(
    spans: &[(i64, i64)],
    folds: usize,
    embargo: i64,
) -> Result<Vec<Fold>, StatsError> {
    combinatorial(spans, folds, 1, embargo)
}

/// Returns every division in which `tested` of `groups` groups of time are
/// tested and the rest, purged and embargoed, is learned from. `spans[row]` is
/// the `(decision time, end of label)` of a row, rows in any order.
///
/// # Errors
/// [`StatsError::InvalidSetting`] for fewer than two groups, no tested group or
/// none left to learn from, a negative embargo, a span that ends before it
/// starts, or fewer distinct decision times than groups.
pub fn combinatorial(
    spans: &[(i64, i64)],
    groups: usize,
    tested: usize,
    embargo: i64,
) -> Result<Vec<Fold>, StatsError> {
    check(spans, groups, tested, embargo)?;
    let group_of = assign_groups(spans, groups)?;
    let window = |group: usize| {
        let rows = (0..spans.len()).filter(|&row| group_of[row] == group);
        rows.fold((i64::MAX, i64::MIN), |(start, end), row| {
            (start.min(spans[row].0), end.max(spans[row].1))
        })
    };
    let windows: Vec<(i64, i64)> = (0..groups).map(window).collect();
    let fold = |chosen: Vec<usize>| {
        let apart = |row: &usize| {
            let (start, end) = spans[*row];
            chosen
                .iter()
                .map(|&group| windows[group])
                .all(|(from, to)| end < from || start >= to.saturating_add(embargo.max(1)))
        };
        let in_test = |row: &usize| chosen.contains(&group_of[*row]);
        Fold {
            train: (0..spans.len())
                .filter(|row| !in_test(row))
                .filter(apart)
                .collect(),
            test: (0..spans.len()).filter(in_test).collect(),
            groups: chosen,
        }
    };
    Ok(combinations(groups, tested).into_iter().map(fold).collect())
}

/// Returns the backtest paths of [`combinatorial`]: `paths[path][group]` is the
/// division whose test rows of that group belong to the path. Each path covers
/// every group once, and each tested group of each division is used once.
pub fn paths(folds: &[Fold], groups: usize) -> Vec<Vec<usize>> {
    let of_group = |group: usize| {
        let holds = |&fold: &usize| folds[fold].groups.contains(&group);
        (0..folds.len()).filter(holds).collect::<Vec<usize>>()
    };
    let by_group: Vec<Vec<usize>> = (0..groups).map(of_group).collect();
    let count = by_group.iter().map(Vec::len).min().unwrap_or(0);
    (0..count)
        .map(|path| by_group.iter().map(|folds| folds[path]).collect())
        .collect()
}

fn check(
    spans: &[(i64, i64)],
    groups: usize,
    tested: usize,
    embargo: i64,
) -> Result<(), StatsError> {
    let invalid = |name, value: String, expected| {
        Err(StatsError::InvalidSetting {
            name,
            value,
            expected,
        })
    };
    if groups < 2 {
        return invalid("groups", groups.to_string(), "at least 2");
    }
    if tested == 0 || tested >= groups {
        let expected = "at least 1 and fewer than the groups";
        return invalid("tested groups", tested.to_string(), expected);
    }
    if embargo < 0 {
        return invalid(
            "embargo",
            embargo.to_string(),
            "a length of time of at least 0",
        );
    }
    if let Some((start, end)) = spans.iter().find(|(start, end)| end < start) {
        let expected = "an end at or after its start";
        return invalid("span", format!("{start}..{end}"), expected);
    }
    Ok(())
}

/// Returns the group of each row: the rows in order of decision time, cut where
/// `k n / groups` rows lie before, moved back to the start of a decision time.
fn assign_groups(spans: &[(i64, i64)], groups: usize) -> Result<Vec<usize>, StatsError> {
    let mut starts: Vec<i64> = spans.iter().map(|span| span.0).collect();
    starts.sort_unstable();
    let n = starts.len();
    let cuts: Vec<i64> = (1..groups)
        .filter_map(|k| starts.get(k * n / groups).copied())
        .collect();
    let distinct = cuts.windows(2).all(|pair| pair[0] < pair[1]);
    if cuts.len() + 1 != groups || !distinct || starts.first() >= cuts.first() {
        return Err(StatsError::InvalidSetting {
            name: "groups",
            value: groups.to_string(),
            expected: "at most as many groups as there are distinct decision times",
        });
    }
    let group = |span: &(i64, i64)| cuts.partition_point(|&cut| cut <= span.0);
    Ok(spans.iter().map(group).collect())
}

/// Returns every ascending choice of `size` out of `0..count`, in order.
fn combinations(count: usize, size: usize) -> Vec<Vec<usize>> {
    let mut chosen: Vec<usize> = (0..size).collect();
    let mut all = vec![chosen.clone()];
    while let Some(place) = (0..size).rev().find(|&i| chosen[i] < count - size + i) {
        chosen[place] += 1;
        for later in place + 1..size {
            chosen[later] = chosen[later - 1] + 1;
        }
        all.push(chosen.clone());
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn hourly(n: i64, horizon: i64) -> Vec<(i64, i64)> {
        (0..n).map(|t| (t, t + horizon)).collect()
    }

    #[test]
    fn the_middle_fold_is_purged_on_both_sides() {
        let folds = purged_k_fold(&hourly(90, 5), 3, 0).unwrap();
        assert_eq!(folds.len(), 3);
        assert_eq!(folds[1].test, (30..60).collect::<Vec<_>>());
        // Labels of 25..30 reach into the fold; 60..65 start within its labels.
        let train: Vec<usize> = (0..25).chain(65..90).collect();
        assert_eq!(folds[1].train, train);
        let embargoed = purged_k_fold(&hourly(90, 5), 3, 10).unwrap();
        let train: Vec<usize> = (0..25).chain(74..90).collect();
        assert_eq!(embargoed[1].train, train);
    }

    #[test]
    fn every_choice_and_every_path() {
        let folds = combinatorial(&hourly(120, 2), 6, 2, 0).unwrap();
        assert_eq!(folds.len(), 15);
        assert_eq!(folds[0].groups, vec![0, 1]);
        assert_eq!(folds[14].groups, vec![4, 5]);
        let paths = paths(&folds, 6);
        assert_eq!(paths.len(), 5);
        let mut used: Vec<(usize, usize)> = Vec::new();
        for path in &paths {
            for (group, &fold) in path.iter().enumerate() {
                assert!(folds[fold].groups.contains(&group));
                used.push((group, fold));
            }
        }
        used.sort_unstable();
        used.dedup();
        assert_eq!(used.len(), 30);
    }

    #[test]
    fn bad_settings_are_named() {
        let spans = hourly(20, 3);
        let bad = |spans: &[(i64, i64)], groups, tested, embargo| {
            matches!(
                combinatorial(spans, groups, tested, embargo),
                Err(StatsError::InvalidSetting { .. })
            )
        };
        assert!(bad(&spans, 1, 1, 0));
        assert!(bad(&spans, 4, 0, 0));
        assert!(bad(&spans, 4, 4, 0));
        assert!(bad(&spans, 4, 1, -1));
        assert!(bad(&[(5, 4)], 2, 1, 0));
        assert!(bad(&[], 2, 1, 0));
        assert!(bad(&[(7, 9); 50], 2, 1, 0));
    }

    proptest! {
        /// No training span meets a test span, and the embargo holds, for any
        /// spans in any order, several instruments at once.
        #[test]
        fn training_never_meets_testing(
            spans in prop::collection::vec((0i64..2_000, 0i64..200), 10..150),
            groups in 2usize..7,
            tested in 1usize..4,
            embargo in 0i64..100,
        ) {
            let spans: Vec<(i64, i64)> = spans.into_iter().map(|(s, l)| (s, s + l)).collect();
            let Ok(folds) = combinatorial(&spans, groups, tested, embargo) else {
                return Ok(());
            };
            for fold in &folds {
                for &train in &fold.train {
                    for &test in &fold.test {
                        let (a, b) = (spans[train], spans[test]);
                        prop_assert!(a.1 < b.0 || a.0 >= b.1 + embargo.max(1), "{a:?} {b:?}");
                    }
                }
            }
            // Each row is tested in its share of the divisions.
            let times = folds.iter().flat_map(|fold| &fold.test).filter(|&&row| row == 0).count();
            prop_assert_eq!(times * groups, folds.len() * tested);
        }
    }
}
