//! Operators that TA-Lib's functions need beyond the general ones: averages with
//! its ways of starting, stops that follow the price, Ehlers' cycle measurement
//! and a few statistics with its treatment of ties.
//!
//! They do what TA-Lib 0.8 does, in the same order of operations where rounding
//! can be seen, and do not depend on a profile.

mod averages;
mod cycle;
mod hilbert;
mod stops;
mod windows;

use super::{Axis, Call, Computation, Kind, Operator, Parameter, no_convention, takes, takes_or};
use crate::engine::{Kernel, by_lane, by_window};

use Kind::{Condition, Constant, Values, Window};
use averages::{Adaptive, ExponentialFrom, Sampled, WilderSum};
use cycle::{Mesa, Phasor, Swing, Told};
use stops::{Acceleration, Parabolic, SuperTrend};
use windows::{ExtremeRow, MeanBy};

const X: &[Parameter] = &[takes("x", Values)];
const X_WINDOW: &[Parameter] = &[takes("x", Values), takes("window", Window)];

/// An operator along time that no profile changes.
const fn along_time(
    name: &'static str,
    parameters: &'static [Parameter],
    meaning: &'static str,
    warm_up: fn(&Call<'_>) -> usize,
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
            warm_up,
            convention: no_convention,
        },
    }
}

fn mesa(call: &Call<'_>, following: bool) -> Box<dyn Kernel> {
    let [fast, slow] = [call.constants[0], call.constants[1]];
    by_lane(call.lanes, Mesa::new(fast, slow, following))
}

fn phasor(call: &Call<'_>, told: Told) -> Box<dyn Kernel> {
    by_lane(call.lanes, Phasor::new(told))
}

fn swing(call: &Call<'_>, told: Told) -> Box<dyn Kernel> {
    by_lane(call.lanes, Swing::new(told))
}

fn first_phasor(_: &Call<'_>) -> usize {
    cycle::PHASOR_LOOKBACK
}

fn first_swing(_: &Call<'_>) -> usize {
    cycle::SWING_LOOKBACK
}

fn last_constant(call: &Call<'_>) -> usize {
    call.constants.last().map_or(0, |&last| last as usize)
}

fn window_less_one(call: &Call<'_>) -> usize {
    call.window(0) - 1
}

pub(super) static OPERATORS: &[Operator] = &[
    along_time(
        "ts_ewm_from",
        &[
            takes("x", Values),
            takes("weight", Constant),
            takes("window", Window),
            takes("start", Window),
        ],
        "the exponential average of {x} with weight {weight} for the newest value, started at the {start}th value by the mean of the last {window}",
        |call| call.window(2).max(call.window(1)) - 1,
        |call| {
            let (weight, window, start) = (call.constants[0], call.window(1), call.window(2));
            by_lane(call.lanes, ExponentialFrom::new(weight, window, start))
        },
    ),
    along_time(
        "ts_wilder_sum",
        &[
            takes("x", Values),
            takes("window", Window),
            takes_or("quiet", Constant, 0.0),
        ],
        "Wilder's running sum of {x}, which drops 1 / {window} of itself with each new value after the first {window} - 1, shown {quiet} bars late",
        |call| (call.window(0) + last_constant(call)).saturating_sub(2),
        |call| {
            let quiet = call.constants[1].max(0.0) as usize;
            by_lane(call.lanes, WilderSum::new(call.window(0), quiet))
        },
    ),
    along_time(
        "ts_wilder_if",
        &[
            takes("x", Values),
            takes("condition", Condition),
            takes("window", Window),
        ],
        "Wilder's average over {window} bars of {x}, which stays as it is where {condition} does not hold",
        window_less_one,
        |call| by_lane(call.lanes, Sampled::new(call.window(0))),
    ),
    along_time(
        "ts_adaptive",
        &[takes("x", Values), takes("weight", Values)],
        "the exponential average of {x} whose weight for the newest value is {weight}, started at the value before the first weight",
        super::no_warm_up,
        |call| by_lane(call.lanes, Adaptive::new()),
    ),
    along_time(
        "ts_mean_by",
        &[
            takes("x", Values),
            takes("length", Values),
            takes("least", Window),
            takes("most", Window),
        ],
        "the mean of the last {length} values of {x}, at least {least} and at most {most} of them",
        |call| last_constant(call) - 1,
        |call| {
            let (least, most) = (call.window(0), call.window(1));
            by_lane(call.lanes, MeanBy::new(least, most))
        },
    ),
    along_time(
        "ts_percentile",
        &[
            takes("x", Values),
            takes("window", Window),
            takes("percent", Constant),
        ],
        "the smallest of the last {window} values of {x} that {percent} percent of them do not exceed",
        window_less_one,
        |call| {
            let (window, percent) = (call.window(0), call.constants[1]);
            by_window(call.lanes, window, move |[values]| {
                windows::percentile(values, percent)
            })
        },
    ),
    along_time(
        "ts_count_below",
        X_WINDOW,
        "the number of the {window} values of {x} before this one that are below it",
        |call| call.window(0),
        |call| by_window(call.lanes, call.window(0) + 1, windows::count_below),
    ),
    along_time(
        "ts_max_row",
        X_WINDOW,
        "the number, from 0 at the start, of the bar with the largest {x} of the last {window}",
        window_less_one,
        |call| by_lane(call.lanes, ExtremeRow::new(call.window(0), 1.0)),
    ),
    along_time(
        "ts_min_row",
        X_WINDOW,
        "the number, from 0 at the start, of the bar with the smallest {x} of the last {window}",
        window_less_one,
        |call| by_lane(call.lanes, ExtremeRow::new(call.window(0), -1.0)),
    ),
    along_time(
        "ts_sar",
        &[
            takes("high", Values),
            takes("low", Values),
            takes("step", Constant),
            takes("maximum", Constant),
        ],
        "the parabolic stop of bars from {low} to {high}, accelerating by {step} up to {maximum}",
        |_| 1,
        |call| {
            let side = Acceleration::new(call.constants[0], call.constants[0], call.constants[1]);
            by_lane(
                call.lanes,
                Parabolic::new(0.0, 0.0, [side, side]).unsigned(),
            )
        },
    ),
    along_time(
        "ts_sar_signed",
        &[
            takes("high", Values),
            takes("low", Values),
            takes("start", Constant),
            takes("offset", Constant),
            takes("first_long", Constant),
            takes("step_long", Constant),
            takes("maximum_long", Constant),
            takes("first_short", Constant),
            takes("step_short", Constant),
            takes("maximum_short", Constant),
        ],
        "the parabolic stop of bars from {low} to {high}, negative while short, started at {start} (0: by the first move), moved by the fraction {offset} on reversal, accelerating from {first_long} by {step_long} up to {maximum_long} when long and from {first_short} by {step_short} up to {maximum_short} when short",
        |_| 1,
        |call| {
            let [start, offset, rest @ ..] = call.constants else {
                return by_lane(call.lanes, Parabolic::unknown());
            };
            let side = |at: usize| Acceleration::new(rest[at], rest[at + 1], rest[at + 2]);
            by_lane(
                call.lanes,
                Parabolic::new(*start, *offset, [side(0), side(3)]),
            )
        },
    ),
    along_time(
        "ts_supertrend",
        &[
            takes("close", Values),
            takes("upper", Values),
            takes("lower", Values),
        ],
        "the trailing stop that {close} last broke into: the raised {lower} in an up trend, the lowered {upper} in a down trend",
        super::no_warm_up,
        |call| by_lane(call.lanes, SuperTrend::new(false)),
    ),
    along_time(
        "ts_supertrend_side",
        &[
            takes("close", Values),
            takes("upper", Values),
            takes("lower", Values),
        ],
        "1 while {close} trends above the raised {lower}, -1 while it trends below the lowered {upper}",
        super::no_warm_up,
        |call| by_lane(call.lanes, SuperTrend::new(true)),
    ),
    along_time(
        "ts_mama",
        &[
            takes("x", Values),
            takes("fast", Constant),
            takes("slow", Constant),
        ],
        "the average of {x} whose weight is {fast} over the advance of the cycle phase in degrees, at least {slow}",
        first_phasor,
        |call| mesa(call, false),
    ),
    along_time(
        "ts_fama",
        &[
            takes("x", Values),
            takes("fast", Constant),
            takes("slow", Constant),
        ],
        "the average that follows the cycle-driven average of {x} (fastest {fast}, slowest {slow}) with half its weight",
        first_phasor,
        |call| mesa(call, true),
    ),
    along_time(
        "ts_cycle_period",
        X,
        "the period in bars of the dominant cycle of {x}",
        first_phasor,
        |call| phasor(call, Told::Period),
    ),
    along_time(
        "ts_cycle_inphase",
        X,
        "the in-phase part of the dominant cycle of {x}",
        first_phasor,
        |call| phasor(call, Told::InPhase),
    ),
    along_time(
        "ts_cycle_quadrature",
        X,
        "the quadrature part of the dominant cycle of {x}",
        first_phasor,
        |call| phasor(call, Told::Quadrature),
    ),
    along_time(
        "ts_cycle_phase",
        X,
        "the phase in degrees of the dominant cycle of {x}",
        first_swing,
        |call| swing(call, Told::Phase),
    ),
    along_time(
        "ts_cycle_trendline",
        X,
        "what is left of {x} when its dominant cycle is averaged out",
        first_swing,
        |call| swing(call, Told::Trendline),
    ),
    along_time(
        "ts_cycle_trendmode",
        X,
        "1 where {x} trends and 0 where its dominant cycle runs",
        first_swing,
        |call| swing(call, Told::TrendMode),
    ),
];

#[cfg(test)]
mod tests;
