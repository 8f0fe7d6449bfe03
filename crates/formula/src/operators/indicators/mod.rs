//! Operators that named indicators need beyond the general ones: filters of
//! second order, averages under fixed curves of weights, stops that change sides.

mod recursions;
mod weights;

use super::{
    Axis, Call, Computation, Kind, Operator, Parameter, no_convention, no_warm_up, takes, takes_or,
};
use crate::engine::{Kernel, by_lane, by_row, by_window};

use Kind::{Constant, Values, Window};
use recursions::{Biquad, DecayingMaximum, HoltWinters, McGinley, ReversalStop, TrailingStop};

const X: &[Parameter] = &[takes("x", Values)];
const X_WINDOW: &[Parameter] = &[takes("x", Values), takes("window", Window)];
const X_DISTANCE: &[Parameter] = &[takes("x", Values), takes("distance", Values)];

/// An operator along time that no profile changes.
const fn along_time(
    name: &'static str,
    parameters: &'static [Parameter],
    meaning: &'static str,
    make: fn(&Call<'_>) -> Box<dyn Kernel>,
) -> Operator {
    Operator {
        name,
        axis: Axis::Time,
        parameters,
        gives: Values,
        meaning,
        computation: Computation::Kernel {
            make,
            warm_up: no_warm_up,
            convention: no_convention,
        },
    }
}

/// One whose window must be full.
const fn over_window(
    name: &'static str,
    parameters: &'static [Parameter],
    meaning: &'static str,
    make: fn(&Call<'_>) -> Box<dyn Kernel>,
) -> Operator {
    Operator {
        computation: Computation::Kernel {
            make,
            warm_up: |call| call.window(0) - 1,
            convention: no_convention,
        },
        ..along_time(name, parameters, meaning, make)
    }
}

fn weighted(call: &Call<'_>, curve: Vec<f64>) -> Box<dyn Kernel> {
    by_window(call.lanes, call.window(0), move |[values]| {
        weights::weighted(&curve, values)
    })
}

pub(super) static OPERATORS: &[Operator] = &[
    along_time(
        "ts_biquad",
        &[
            takes("x", Values),
            takes("b0", Constant),
            takes("b1", Constant),
            takes("b2", Constant),
            takes("a1", Constant),
            takes("a2", Constant),
        ],
        "the filter of {x} that adds {b0} times this, {b1} times the last and {b2} times the value before the last, {a1} times its own last and {a2} times its own result before the last",
        |call| by_row(call.lanes, Biquad::new(call.lanes, call.constants)),
    ),
    along_time(
        "ts_mcginley",
        &[
            takes("x", Values),
            takes("window", Window),
            takes_or("factor", Constant, 0.6),
        ],
        "McGinley's average of {x}, which moves by the difference over {factor} times {window} times the fourth power of {x} over the average",
        |call| {
            let speed = call.constants[1] * call.constants[0];
            let average = f64::NAN;
            by_lane(call.lanes, McGinley { speed, average })
        },
    ),
    along_time(
        "ts_holt_winters",
        &[
            takes("x", Values),
            takes("level", Constant),
            takes("slope", Constant),
            takes("curvature", Constant),
        ],
        "the next {x} foreseen from its level, slope and curvature, corrected with weights {level}, {slope} and {curvature}",
        |call| {
            let at = |index: usize| call.constants[index];
            let state = HoltWinters {
                weights: [at(0), at(1), at(2)],
                level: f64::NAN,
                slope: 0.0,
                curvature: 0.0,
            };
            by_lane(call.lanes, state)
        },
    ),
    along_time(
        "ts_trailing_stop",
        X_DISTANCE,
        "a stop {distance} away from {x} that only moves with the trend and changes sides when {x} crosses it",
        |call| {
            let (before, stop) = (f64::NAN, f64::NAN);
            by_lane(call.lanes, TrailingStop { before, stop })
        },
    ),
    along_time(
        "ts_reversal_stop",
        X_DISTANCE,
        "a stop {distance} away from the best {x} since {x} last crossed it",
        |call| {
            let (long, best) = (true, f64::NAN);
            by_lane(call.lanes, ReversalStop { long, best })
        },
    ),
    Operator {
        parameters: &[takes("x", Values), takes("decay", Constant)],
        ..along_time(
            "ts_decaying_max",
            X,
            "the largest {x} so far, where all that came before counts {decay} times as much with each bar",
            |call| {
                let (decay, peak) = (call.constants[0], f64::NAN);
                by_lane(call.lanes, DecayingMaximum { decay, peak })
            },
        )
    },
    over_window(
        "ts_alma",
        &[
            takes("x", Values),
            takes("window", Window),
            takes_or("offset", Constant, 0.85),
            takes_or("sigma", Constant, 6.0),
        ],
        "the mean of the last {window} values of {x} under a bell curve that peaks at the share {offset} of the window and has a deviation of {window} / {sigma} bars",
        |call| {
            let (offset, sigma) = (call.constants[1], call.constants[2]);
            weighted(call, weights::bell(call.window(0), offset, sigma))
        },
    ),
    over_window(
        "ts_fibonacci_mean",
        X_WINDOW,
        "the mean of the last {window} values of {x} weighted by the Fibonacci numbers, the largest for the newest",
        |call| weighted(call, weights::fibonacci(call.window(0))),
    ),
    over_window(
        "ts_pascal_mean",
        X_WINDOW,
        "the mean of the last {window} values of {x} weighted by a row of Pascal's triangle",
        |call| weighted(call, weights::pascal(call.window(0))),
    ),
    over_window(
        "ts_sine_mean",
        X_WINDOW,
        "the mean of the last {window} values of {x} weighted by half a period of the sine",
        |call| weighted(call, weights::sine(call.window(0))),
    ),
    over_window(
        "ts_hann_mean",
        X_WINDOW,
        "the mean of the last {window} values of {x} weighted by Hann's window",
        |call| weighted(call, weights::hann(call.window(0))),
    ),
    over_window(
        "ts_decay_exp_window",
        &[
            takes("x", Values),
            takes("window", Window),
            takes_or("factor", Constant, 0.9),
        ],
        "the mean of the last {window} values of {x}, where each weighs {factor} times as much as the one after it",
        |call| weighted(call, weights::powers(call.window(0), call.constants[1])),
    ),
    over_window(
        "ts_regression_residual",
        &[
            takes("y", Values),
            takes("a", Values),
            takes("b", Values),
            takes("c", Values),
            takes("window", Window),
        ],
        "what the regression of {y} on {a}, {b} and {c} over the last {window} bars leaves of the newest {y}",
        |call| by_window(call.lanes, call.window(0), weights::residual),
    ),
];
