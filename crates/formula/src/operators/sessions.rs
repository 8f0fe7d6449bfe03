//! Operators of sessions and seasons: what happened since an event such as the
//! opening of a market, and what was usual at the same time of day or week.

use std::collections::BTreeMap;

use super::{Axis, Call, Computation, Kind, Operator, Parameter, no_convention, no_warm_up, takes};
use crate::engine::{ByLane, Kernel, by_lane};

use Kind::{Condition, Values, Window};

const CONDITION_X: &[Parameter] = &[takes("condition", Condition), takes("x", Values)];

/// Folds a series from the bar on which a condition last held. Unknown values
/// take no part and show nothing.
#[derive(Clone)]
struct FoldSince {
    both: fn(f64, f64) -> f64,
    begun: bool,
    state: f64,
}

impl ByLane<2> for FoldSince {
    fn next(&mut self, [condition, x]: [f64; 2]) -> f64 {
        if !condition.is_nan() && condition != 0.0 {
            self.begun = true;
            self.state = f64::NAN;
        }
        if !self.begun || x.is_nan() {
            return f64::NAN;
        }
        self.state = if self.state.is_nan() {
            x
        } else {
            (self.both)(self.state, x)
        };
        self.state
    }
}

/// As many seasons as a week has minutes. Later ones stay unknown, so that memory
/// is bounded whatever a formula calls a season.
const MOST_SEASONS: usize = 7 * 24 * 60;

/// Means by season: a value per hour, weekday or whatever tells bars apart.
#[derive(Clone)]
struct Seasonal {
    window: usize,
    seasons: BTreeMap<u64, Vec<f64>>,
}

impl ByLane<2> for Seasonal {
    fn next(&mut self, [x, season]: [f64; 2]) -> f64 {
        if x.is_nan() || season.is_nan() {
            return f64::NAN;
        }
        // Both zeros are one season.
        let key = (season + 0.0).to_bits();
        if self.seasons.len() >= MOST_SEASONS && !self.seasons.contains_key(&key) {
            return f64::NAN;
        }
        let values = self.seasons.entry(key).or_default();
        if values.len() == self.window {
            values.remove(0);
        }
        values.push(x);
        if values.len() < self.window {
            return f64::NAN;
        }
        values.iter().sum::<f64>() / self.window as f64
    }
}

const fn since(
    name: &'static str,
    meaning: &'static str,
    make: fn(&Call<'_>) -> Box<dyn Kernel>,
) -> Operator {
    Operator {
        name,
        axis: Axis::Time,
        parameters: CONDITION_X,
        gives: Values,
        meaning,
        computation: Computation::Kernel {
            make,
            warm_up: no_warm_up,
            convention: no_convention,
        },
    }
}

fn fold_since(call: &Call<'_>, both: fn(f64, f64) -> f64) -> Box<dyn Kernel> {
    let state = FoldSince {
        both,
        begun: false,
        state: f64::NAN,
    };
    by_lane::<2, _>(call.lanes, state)
}

pub(super) static OPERATORS: &[Operator] = &[
    since(
        "ts_sum_since",
        "the sum of {x} since {condition}, that bar included",
        |call| fold_since(call, |sum, x| sum + x),
    ),
    since(
        "ts_max_since",
        "the largest {x} since {condition}, that bar included",
        |call| fold_since(call, f64::max),
    ),
    since(
        "ts_min_since",
        "the smallest {x} since {condition}, that bar included",
        |call| fold_since(call, f64::min),
    ),
    Operator {
        parameters: &[
            takes("x", Values),
            takes("season", Values),
            takes("window", Window),
        ],
        computation: Computation::Kernel {
            make: |call| {
                let state = Seasonal {
                    window: call.window(0),
                    seasons: BTreeMap::new(),
                };
                by_lane::<2, _>(call.lanes, state)
            },
            warm_up: |call| call.window(0) - 1,
            convention: no_convention,
        },
        ..since(
            "ts_seasonal_mean",
            "the mean of the last {window} values of {x} on bars with the same {season}, this one included",
            |call| fold_since(call, f64::max),
        )
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    const UNKNOWN: f64 = f64::NAN;

    #[test]
    fn folds_begin_with_the_condition() {
        let mut fold = FoldSince {
            both: f64::max,
            begun: false,
            state: UNKNOWN,
        };
        let steps = [
            (0.0, 9.0),
            (1.0, UNKNOWN),
            (0.0, 2.0),
            (UNKNOWN, 3.0),
            (0.0, 1.0),
            (1.0, 0.5),
        ];
        let values = steps.map(|(condition, x)| fold.next([condition, x]));
        assert!(values[0].is_nan() && values[1].is_nan());
        assert_eq!(values[2..], [2.0, 3.0, 3.0, 0.5]);
    }

    #[test]
    fn seasons_have_their_own_past() {
        let mut mean = Seasonal {
            window: 2,
            seasons: BTreeMap::new(),
        };
        let steps = [
            (1.0, 0.0),
            (10.0, 1.0),
            (3.0, 0.0),
            (UNKNOWN, 0.0),
            (20.0, 1.0),
            (5.0, -0.0),
        ];
        let values = steps.map(|(x, season)| mean.next([x, season]));
        assert!(values[0].is_nan() && values[1].is_nan() && values[3].is_nan());
        assert_eq!([values[2], values[4], values[5]], [2.0, 15.0, 4.0]);
    }

    #[test]
    fn the_number_of_seasons_is_bounded() {
        let mut mean = Seasonal {
            window: 1,
            seasons: BTreeMap::new(),
        };
        let last = (0..MOST_SEASONS + 5)
            .map(|season| mean.next([1.0, season as f64]))
            .last();
        assert!(last.is_some_and(f64::is_nan));
        assert_eq!(mean.seasons.len(), MOST_SEASONS);
        assert_eq!(mean.next([2.0, 3.0]), 2.0);
    }
}
