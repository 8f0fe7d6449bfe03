//! Operators that carry on from their last value: averages with all of the past
//! in them, running totals, counters.

use super::{Axis, Call, Computation, Kind, Operator, Parameter, no_convention, no_warm_up, takes};
use crate::Profile;
use crate::engine::{Cumulative, Exponential, Kept, Kernel, Since, When, by_row};
use crate::profile::Seed;

use Kind::{Condition, Constant, Values, Window};

const X: &[Parameter] = &[takes("x", Values)];

fn seed(profile: &Profile) -> u32 {
    profile.seed as u32
}

fn seed_warm_up(call: &Call<'_>) -> usize {
    match call.profile.seed {
        Seed::First => 0,
        Seed::Mean => call.window(0) - 1,
    }
}

fn average(call: &Call<'_>, alpha: f64) -> Box<dyn Kernel> {
    let seed = call.profile.seed;
    by_row(
        call.lanes,
        Exponential::new(call.lanes, alpha, call.window(0), seed),
    )
}

const fn total(
    name: &'static str,
    meaning: &'static str,
    make: fn(&Call<'_>) -> Box<dyn Kernel>,
) -> Operator {
    Operator {
        name,
        axis: Axis::Time,
        parameters: X,
        gives: Values,
        meaning,
        computation: Computation::Kernel {
            make,
            warm_up: no_warm_up,
            convention: no_convention,
        },
    }
}

macro_rules! cumulative {
    ($name:literal, $kept:expr, $meaning:literal) => {
        total($name, $meaning, |call| {
            by_row(call.lanes, Cumulative::new(call.lanes, $kept))
        })
    };
}

pub(super) static OPERATORS: &[Operator] = &[
    Operator {
        name: "ts_ema",
        axis: Axis::Time,
        parameters: &[takes("x", Values), takes("window", Window)],
        gives: Values,
        meaning: "the exponential average of {x} with weight 2 / ({window} + 1) for the newest value",
        computation: Computation::Kernel {
            make: |call| average(call, 2.0 / (call.window(0) as f64 + 1.0)),
            warm_up: seed_warm_up,
            convention: seed,
        },
    },
    Operator {
        name: "ts_wilder",
        axis: Axis::Time,
        parameters: &[takes("x", Values), takes("window", Window)],
        gives: Values,
        meaning: "Wilder's average of {x} with weight 1 / {window} for the newest value",
        computation: Computation::Kernel {
            make: |call| average(call, 1.0 / call.window(0) as f64),
            warm_up: seed_warm_up,
            convention: seed,
        },
    },
    Operator {
        name: "ts_ewm",
        axis: Axis::Time,
        parameters: &[takes("x", Values), takes("weight", Constant)],
        gives: Values,
        meaning: "the exponential average of {x} with weight {weight} for the newest value",
        computation: Computation::Kernel {
            make: |call| {
                by_row(
                    call.lanes,
                    Exponential::new(call.lanes, call.constants[0], 1, Seed::First),
                )
            },
            warm_up: no_warm_up,
            convention: no_convention,
        },
    },
    Operator {
        name: "ts_sma",
        axis: Axis::Time,
        parameters: &[
            takes("x", Values),
            takes("n", Constant),
            takes("m", Constant),
        ],
        gives: Values,
        meaning: "the recursive average of {x} with weight {m} / {n} for the newest value",
        computation: Computation::Kernel {
            make: |call| {
                let weight = call.constants[1] / call.constants[0];
                by_row(
                    call.lanes,
                    Exponential::new(call.lanes, weight, 1, Seed::First),
                )
            },
            warm_up: no_warm_up,
            convention: no_convention,
        },
    },
    cumulative!("ts_cumsum", Kept::Sum, "the sum of {x} since the beginning"),
    cumulative!(
        "ts_cumprod",
        Kept::Product,
        "the product of {x} since the beginning"
    ),
    cumulative!(
        "ts_cummax",
        Kept::Maximum,
        "the largest {x} since the beginning"
    ),
    cumulative!(
        "ts_cummin",
        Kept::Minimum,
        "the smallest {x} since the beginning"
    ),
    cumulative!("ts_last", Kept::Last, "the last known {x}"),
    cumulative!(
        "ts_bars",
        Kept::Count,
        "the number of bars since the beginning on which {x} is known"
    ),
    Operator {
        parameters: &[takes("condition", Condition)],
        ..total("ts_since", "the number of bars since {condition}", |call| {
            by_row(call.lanes, Since::new(call.lanes))
        })
    },
    Operator {
        parameters: &[takes("condition", Condition), takes("x", Values)],
        ..total("ts_when", "{x} when last {condition}", |call| {
            by_row(call.lanes, When::new(call.lanes))
        })
    },
];
