//! Balancing: as many training examples of each class as wanted, or as the rarest class has.
//!
//! Only the training part is ever balanced. Validation and test keep their natural mix, because
//! that is what a live model meets.

use crate::{DatasetError, Decision, seed};

/// What balancing did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Balanced {
    /// The chosen candidates, in their order.
    pub(crate) chosen: Vec<usize>,
    /// Candidates of each class before balancing.
    pub(crate) available: [usize; 3],
    /// Examples of each class after it.
    pub(crate) per_class: usize,
}

/// Chooses candidates, given each one's label and id: `wanted` of each class, or for all classes
/// the number the rarest one has. The choice ranks candidates by a hash of seed and id, so one
/// candidate more or less does not reshuffle the rest.
///
/// # Errors
/// [`DatasetError::EmptyClass`] for a class without a candidate.
pub(crate) fn balance(
    candidates: &[(Decision, String)],
    wanted: usize,
    seed: u64,
) -> Result<Balanced, DatasetError> {
    let mut classes: [Vec<(u64, usize)>; 3] = Default::default();
    for (index, (label, id)) in candidates.iter().enumerate() {
        classes[label.index()].push((seed::hash(seed, "balance", id), index));
    }
    let available = [0, 1, 2].map(|class| classes[class].len());
    for class in Decision::ALL {
        if available[class.index()] == 0 {
            let [buy, sell, hold] = available;
            return Err(DatasetError::EmptyClass {
                class,
                buy,
                sell,
                hold,
            });
        }
    }
    let per_class = available.into_iter().fold(wanted, usize::min);
    let mut chosen: Vec<usize> = Vec::with_capacity(3 * per_class);
    for class in &mut classes {
        class.sort_unstable();
        chosen.extend(class.iter().take(per_class).map(|(_, index)| index));
    }
    chosen.sort_unstable();
    Ok(Balanced {
        chosen,
        available,
        per_class,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn candidates(counts: [usize; 3]) -> Vec<(Decision, String)> {
        Decision::ALL
            .into_iter()
            .zip(counts)
            .flat_map(|(label, count)| (0..count).map(move |n| (label, format!("{label} {n}"))))
            .collect()
    }

    #[test]
    fn a_class_without_examples_is_an_error_with_counts() {
        let error = balance(&candidates([3, 0, 9]), 5, 1).unwrap_err();
        assert_eq!(
            error.to_string(),
            "class `SELL` has no training example (BUY 3, SELL 0, HOLD 9)"
        );
        assert!(error.hint().unwrap().contains("label.sell_below"));
    }

    #[test]
    fn another_candidate_leaves_the_choice_of_the_others_alone() {
        let ids = |candidates: &[(Decision, String)]| -> BTreeSet<String> {
            let balanced = balance(candidates, 10, 7).unwrap();
            let ids = balanced
                .chosen
                .iter()
                .map(|&index| candidates[index].1.clone());
            ids.collect()
        };
        let before = candidates([40, 40, 40]);
        let mut after = before.clone();
        after.insert(0, (Decision::Buy, "one more".to_owned()));
        assert!(ids(&before).difference(&ids(&after)).count() <= 1);
    }

    proptest! {
        #[test]
        fn classes_come_out_equal(
            counts in [1_usize..60, 1..60, 1..60],
            wanted in 1_usize..80,
            seed in 0_u64..100,
        ) {
            let candidates = candidates(counts);
            let balanced = balance(&candidates, wanted, seed).unwrap();
            let rarest = counts.into_iter().min().unwrap();
            prop_assert_eq!(balanced.per_class, wanted.min(rarest));
            prop_assert_eq!(balanced.available, counts);
            for label in Decision::ALL {
                let count = balanced.chosen.iter().filter(|&&i| candidates[i].0 == label).count();
                prop_assert_eq!(count, balanced.per_class);
            }
            let unique: BTreeSet<_> = balanced.chosen.iter().collect();
            prop_assert_eq!(unique.len(), balanced.chosen.len());
        }
    }
}
