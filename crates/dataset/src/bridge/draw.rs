//! Rows drawn across time in proportion to how much of their span is their own.
//!
//! A blind sample takes crowded stretches too often. Here the cumulated uniqueness of the
//! candidates is cut into as many equal pieces as rows are wanted, and each piece gives one row.

use crate::seed;

/// Returns at most `wanted` places of `weights`, ascending, one from each of as many equal pieces
/// of the cumulated weight; a place drawn twice counts once. Weights are 0 or more.
pub(crate) fn spread(weights: &[f64], wanted: usize, seed: u64, name: &str) -> Vec<usize> {
    let total: f64 = weights.iter().sum();
    if wanted == 0 || total <= 0.0 {
        return Vec::new();
    }
    let candidates = weights.iter().filter(|weight| **weight > 0.0).count();
    if candidates <= wanted {
        return (0..weights.len())
            .filter(|place| weights[*place] > 0.0)
            .collect();
    }
    let piece = total / wanted as f64;
    let mut chosen = Vec::with_capacity(wanted);
    let (mut place, mut sum) = (0, weights[0]);
    for index in 0..wanted {
        // Where in its piece: a number of the name alone.
        let share = (seed::hash(seed, "draw", &format!("{name} {index}")) >> 11) as f64
            / (1_u64 << 53) as f64;
        let mark = (index as f64 + share) * piece;
        while sum <= mark && place + 1 < weights.len() {
            place += 1;
            sum += weights[place];
        }
        if chosen.last() != Some(&place) {
            chosen.push(place);
        }
    }
    fill(&mut chosen, weights, wanted);
    chosen
}

/// Adds candidates next to those chosen until there are enough.
fn fill(chosen: &mut Vec<usize>, weights: &[f64], wanted: usize) {
    if chosen.len() == wanted {
        return;
    }
    let mut taken = vec![false; weights.len()];
    for place in chosen.iter() {
        taken[*place] = true;
    }
    let free: Vec<usize> = (0..weights.len())
        .filter(|place| !taken[*place] && weights[*place] > 0.0)
        .collect();
    let missing = (wanted - chosen.len()).min(free.len());
    chosen.extend((0..missing).map(|index| free[index * free.len() / missing]));
    chosen.sort_unstable();
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn as_many_as_asked_for_each_once(
            weights in prop::collection::vec(0.0..1.0_f64, 1..300),
            wanted in 0_usize..100,
            seed in 0_u64..50,
        ) {
            let chosen = spread(&weights, wanted, seed, "x");
            let candidates = weights.iter().filter(|weight| **weight > 0.0).count();
            prop_assert_eq!(chosen.len(), wanted.min(candidates));
            prop_assert!(chosen.windows(2).all(|pair| pair[0] < pair[1]));
            prop_assert!(chosen.iter().all(|place| weights[*place] > 0.0));
        }
    }

    #[test]
    fn heavy_stretches_give_more_rows() {
        let weights: Vec<f64> = (0..1000).map(|i| if i < 500 { 0.1 } else { 0.9 }).collect();
        let late = spread(&weights, 100, 1, "x")
            .iter()
            .filter(|i| **i >= 500)
            .count();
        assert!((89..=91).contains(&late), "{late}");
    }
}
