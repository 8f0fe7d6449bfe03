//! Which examples a command uses when it does not use them all: always evenly
//! over time, never by chance, so that two runs see the same ones.

use std::collections::{BTreeMap, BTreeSet};

use dataset::bridge::BridgeExample;
use dataset::{Decision, Example};
use market::{Instrument, Timestamp};

/// Returns at most `most` training examples, evenly from the classes and over
/// time, in time order; all of them for 0.
pub(crate) fn training(examples: &[Example], most: usize) -> Vec<&Example> {
    if most == 0 || examples.len() <= most {
        return examples.iter().collect();
    }
    let mut chosen = Vec::with_capacity(most);
    for (position, class) in Decision::ALL.into_iter().enumerate() {
        let of_class: Vec<usize> = (0..examples.len())
            .filter(|index| examples[*index].label == class)
            .collect();
        let share = most / Decision::ALL.len() + usize::from(position < most % Decision::ALL.len());
        chosen.extend(evenly(&of_class, share));
    }
    chosen.sort_unstable();
    chosen.into_iter().map(|index| &examples[index]).collect()
}

/// Returns decisions whose outcomes do not overlap: per instrument those on
/// multiples of `horizon` milliseconds. At most about `most`, evenly over time
/// with all instruments of an instant together; all of them for 0.
pub(crate) fn decisions(examples: &[Example], horizon: i64, most: usize) -> Vec<&Example> {
    let mut apart: Vec<&Example> = examples
        .iter()
        .filter(|example| example.decision_time.0.rem_euclid(horizon) == 0)
        .collect();
    if apart.is_empty() {
        apart = greedy(examples, horizon);
    }
    if most == 0 || apart.len() <= most {
        return apart;
    }
    let instruments: BTreeSet<_> = apart.iter().map(|example| &example.instrument).collect();
    let times: Vec<i64> = apart
        .iter()
        .map(|example| example.decision_time.0)
        .collect::<BTreeSet<_>>()
        .into_iter()
        .collect();
    let kept: BTreeSet<i64> = evenly(&times, (most / instruments.len()).max(1)).collect();
    apart.retain(|example| kept.contains(&example.decision_time.0));
    apart
}

/// Returns decisions of each instrument that start when the horizon of the last one is over. A
/// barrier touched earlier does not bring the next one forward: how many decisions a stretch of
/// time has would depend on what happened in it.
fn greedy(examples: &[Example], horizon: i64) -> Vec<&Example> {
    apart(examples, |example| {
        let start = example.decision_time;
        (&example.instrument, start, Timestamp(start.0 + horizon))
    })
}

/// Returns held-out scenarios of each instrument that start when the last one is over.
pub(crate) fn scenarios(examples: &[BridgeExample]) -> Vec<&BridgeExample> {
    apart(examples, |example| {
        let about = &example.about;
        (&about.instrument, about.decision_time, about.span.1)
    })
}

/// Returns items, in time order, of each instrument that start when the last one is over.
fn apart<T>(items: &[T], span: impl Fn(&T) -> (&Instrument, Timestamp, Timestamp)) -> Vec<&T> {
    let mut over: BTreeMap<&Instrument, Timestamp> = BTreeMap::new();
    items
        .iter()
        .filter(|item| {
            let (instrument, start, end) = span(item);
            let free = over.get(instrument).is_none_or(|last| start >= *last);
            if free {
                over.insert(instrument, end);
            }
            free
        })
        .collect()
}

/// Returns at most `most` items, the first and the last among them from 2 on.
pub(crate) fn evenly<T: Copy>(items: &[T], most: usize) -> impl Iterator<Item = T> {
    let count = most.min(items.len());
    (0..count).map(move |index| {
        let last = items.len() - 1;
        items[if count == 1 {
            last / 2
        } else {
            index * last / (count - 1)
        }]
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn evenly_spreads_from_first_to_last() {
        let items: Vec<usize> = (0..101).collect();
        assert_eq!(evenly(&items, 5).collect::<Vec<_>>(), [0, 25, 50, 75, 100]);
        assert_eq!(evenly(&items, 1).collect::<Vec<_>>(), [50]);
        assert_eq!(evenly(&items, 1000).count(), 101);
        assert_eq!(evenly::<usize>(&[], 3).count(), 0);
    }

    #[test]
    fn evenly_never_repeats() {
        for length in 1..40_usize {
            let items: Vec<usize> = (0..length).collect();
            for most in 1..=length {
                let chosen: BTreeSet<usize> = evenly(&items, most).collect();
                assert_eq!(chosen.len(), most);
            }
        }
    }
}
