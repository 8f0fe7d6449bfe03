//! Operators over the last bars of one instrument.

use super::{
    Axis, Call, Computation, Kind, Operator, Parameter, no_convention, takes, takes_or,
    window_warm_up,
};
use crate::Profile;
use crate::engine::{
    Change, Covariance, Delay, Kernel, Line, Maximum, Minimum, Pair, Place, Product, Quantile,
    Rank, Rolling, Shape, Sum, Trend, TwoPass, Variance, by_row,
};
use crate::profile::{AverageVolume, WarmUp};

use Kind::{Condition, Constant, Values, Window};

const X_WINDOW: &[Parameter] = &[takes("x", Values), takes("window", Window)];
const X_Y_WINDOW: &[Parameter] = &[
    takes("x", Values),
    takes("y", Values),
    takes("window", Window),
];

/// An operator of one series and a window.
const fn over_window(
    name: &'static str,
    meaning: &'static str,
    convention: fn(&Profile) -> u32,
    make: fn(&Call<'_>) -> Box<dyn Kernel>,
) -> Operator {
    Operator {
        name,
        axis: Axis::Time,
        parameters: X_WINDOW,
        gives: Values,
        meaning,
        computation: Computation::Kernel {
            make,
            warm_up: window_warm_up,
            convention,
        },
    }
}

/// An operator of two series and a window.
const fn over_window_of_two(
    name: &'static str,
    meaning: &'static str,
    convention: fn(&Profile) -> u32,
    make: fn(&Call<'_>) -> Box<dyn Kernel>,
) -> Operator {
    Operator {
        parameters: X_Y_WINDOW,
        ..over_window(name, meaning, convention, make)
    }
}

/// An operator that needs full windows whatever the profile says.
const fn over_full_window(
    name: &'static str,
    meaning: &'static str,
    make: fn(&Call<'_>) -> Box<dyn Kernel>,
) -> Operator {
    Operator {
        computation: Computation::Kernel {
            make,
            warm_up: full_window,
            convention: no_convention,
        },
        ..over_window(name, meaning, no_convention, make)
    }
}

/// An operator by a formula.
const fn by_formula(
    name: &'static str,
    parameters: &'static [Parameter],
    meaning: &'static str,
    formula: fn(&Profile) -> &'static str,
) -> Operator {
    Operator {
        name,
        axis: Axis::Time,
        parameters,
        gives: Values,
        meaning,
        computation: Computation::Formula(formula),
    }
}

fn full_window(call: &Call<'_>) -> usize {
    call.window(0) - 1
}

fn bars_before(call: &Call<'_>) -> usize {
    call.window(0)
}

fn partial(profile: &Profile) -> u32 {
    profile.warm_up as u32
}

fn partial_and_ddof(profile: &Profile) -> u32 {
    partial(profile) * 2 + u32::from(profile.ddof)
}

fn partial_and_flat(profile: &Profile) -> u32 {
    partial(profile) * 4 + profile.flat as u32
}

/// TA-Lib takes the newest of equal extrema, the others the oldest.
fn newest(profile: &Profile) -> bool {
    *profile == Profile::TALIB
}

fn partial_and_position(profile: &Profile) -> u32 {
    partial(profile) * 4 + profile.position as u32 * 2 + u32::from(newest(profile))
}

fn partial_and_rank(profile: &Profile) -> u32 {
    (partial(profile) * 4 + profile.time_rank as u32) * 2 + profile.time_ties as u32
}

fn place(call: &Call<'_>, largest: bool) -> Box<dyn Kernel> {
    let profile = call.profile;
    by_row(
        call.lanes,
        Place::new(
            call.lanes,
            call.window(0),
            largest,
            newest(profile),
            profile.position,
            profile.warm_up,
        ),
    )
}

fn pair(call: &Call<'_>, pair: Pair) -> Box<dyn Kernel> {
    let warm_up = call.profile.warm_up;
    by_row(
        call.lanes,
        Covariance::new(call.lanes, call.window(0), pair, warm_up),
    )
}

fn line(call: &Call<'_>, line: Line) -> Box<dyn Kernel> {
    let warm_up = call.profile.warm_up;
    by_row(
        call.lanes,
        Trend::new(call.lanes, call.window(0), line, warm_up),
    )
}

fn shape(call: &Call<'_>, shape: Shape) -> Box<dyn Kernel> {
    by_row(call.lanes, TwoPass::new(call.lanes, call.window(0), shape))
}

fn variance(call: &Call<'_>) -> Variance {
    let profile = call.profile;
    Variance::new(call.lanes, call.window(0), profile.ddof, profile.warm_up)
}

macro_rules! rolling {
    ($call:ident, $fold:ty) => {
        Rolling::<$fold>::new($call.lanes, $call.window(0), $call.profile.warm_up)
    };
}

/// An operator that reads one bar, `window` bars ago.
const fn over_lag(
    name: &'static str,
    meaning: &'static str,
    make: fn(&Call<'_>) -> Box<dyn Kernel>,
) -> Operator {
    Operator {
        computation: Computation::Kernel {
            make,
            warm_up: bars_before,
            convention: no_convention,
        },
        ..over_window(name, meaning, no_convention, make)
    }
}

pub(super) static OPERATORS: &[Operator] = &[
    over_lag("ts_delay", "{x} {window} bars ago", |call| {
        by_row(call.lanes, Delay::new(call.lanes, call.window(0)))
    }),
    over_lag("ts_delta", "the change of {x} over {window} bars", |call| {
        by_row(call.lanes, Change::new(call.lanes, call.window(0), false))
    }),
    Operator {
        parameters: &[takes("x", Values), takes_or("window", Window, 1.0)],
        ..over_lag(
            "ts_returns",
            "the relative change of {x} over {window} bars",
            |call| by_row(call.lanes, Change::new(call.lanes, call.window(0), true)),
        )
    },
    over_window(
        "ts_sum",
        "the sum of {x} over the last {window} bars",
        partial,
        |call| by_row(call.lanes, rolling!(call, Sum)),
    ),
    over_window(
        "ts_mean",
        "the mean of {x} over the last {window} bars",
        partial,
        |call| by_row(call.lanes, rolling!(call, Sum).mean()),
    ),
    over_window(
        "ts_product",
        "the product of {x} over the last {window} bars",
        partial,
        |call| by_row(call.lanes, rolling!(call, Product)),
    ),
    over_window(
        "ts_min",
        "the smallest {x} of the last {window} bars",
        partial,
        |call| by_row(call.lanes, rolling!(call, Minimum)),
    ),
    over_window(
        "ts_max",
        "the largest {x} of the last {window} bars",
        partial,
        |call| by_row(call.lanes, rolling!(call, Maximum)),
    ),
    Operator {
        parameters: &[takes("condition", Condition), takes("window", Window)],
        ..over_window(
            "ts_count",
            "the number of the last {window} bars on which {condition}",
            partial,
            |call| by_row(call.lanes, rolling!(call, Sum)),
        )
    },
    over_window(
        "ts_argmax",
        "the place of the largest {x} among the last {window} bars",
        partial_and_position,
        |call| place(call, true),
    ),
    over_window(
        "ts_argmin",
        "the place of the smallest {x} among the last {window} bars",
        partial_and_position,
        |call| place(call, false),
    ),
    over_window(
        "ts_rank",
        "the rank of {x} among its values of the last {window} bars",
        partial_and_rank,
        |call| {
            let profile = call.profile;
            let (lanes, window) = (call.lanes, call.window(0));
            by_row(
                lanes,
                Rank::new(
                    lanes,
                    window,
                    profile.time_rank,
                    profile.time_ties,
                    profile.warm_up,
                ),
            )
        },
    ),
    over_window(
        "ts_std",
        "the standard deviation of {x} over the last {window} bars",
        partial_and_ddof,
        |call| by_row(call.lanes, variance(call).root()),
    ),
    over_window(
        "ts_var",
        "the variance of {x} over the last {window} bars",
        partial_and_ddof,
        |call| by_row(call.lanes, variance(call)),
    ),
    over_window_of_two(
        "ts_cov",
        "the covariance of {x} and {y} over the last {window} bars",
        partial_and_ddof,
        |call| pair(call, Pair::Covariance(call.profile.ddof)),
    ),
    over_window_of_two(
        "ts_corr",
        "the correlation of {x} and {y} over the last {window} bars",
        partial_and_flat,
        |call| pair(call, Pair::Correlation(call.profile.flat)),
    ),
    over_window_of_two(
        "ts_beta",
        "the slope of {x} on {y} over the last {window} bars",
        partial,
        |call| pair(call, Pair::Slope),
    ),
    over_window_of_two(
        "ts_alpha",
        "the intercept of {x} on {y} over the last {window} bars",
        partial,
        |call| pair(call, Pair::Intercept),
    ),
    over_window_of_two(
        "ts_beta_resid",
        "what the regression of {x} on {y} over the last {window} bars leaves of the newest {x}",
        partial,
        |call| pair(call, Pair::Residual),
    ),
    over_window(
        "ts_slope",
        "the slope per bar of the line through the last {window} values of {x}",
        partial,
        |call| line(call, Line::Slope),
    ),
    over_window(
        "ts_intercept",
        "the value at the oldest bar of the line through the last {window} values of {x}",
        partial,
        |call| line(call, Line::Start),
    ),
    over_window(
        "ts_forecast",
        "the value at the newest bar of the line through the last {window} values of {x}",
        partial,
        |call| line(call, Line::End),
    ),
    over_window(
        "ts_resid",
        "how far the newest {x} is above the line through the last {window} values of {x}",
        partial,
        |call| line(call, Line::Residual),
    ),
    over_window(
        "ts_rsquare",
        "the share of the variance of the last {window} values of {x} that their line explains",
        partial_and_flat,
        |call| line(call, Line::Determination(call.profile.flat)),
    ),
    over_full_window(
        "ts_decay_linear",
        "the mean of the last {window} values of {x}, weighted from 1 for the oldest to {window} for the newest",
        |call| {
            let window = call.window(0);
            by_row(
                call.lanes,
                Trend::new(call.lanes, window, Line::Weighted, WarmUp::Full),
            )
        },
    ),
    over_full_window(
        "ts_mad",
        "the mean absolute deviation of the last {window} values of {x} from their mean",
        |call| shape(call, Shape::AbsoluteDeviation),
    ),
    over_full_window(
        "ts_skew",
        "the skewness of the last {window} values of {x}",
        |call| shape(call, Shape::Skewness),
    ),
    over_full_window(
        "ts_kurt",
        "the excess kurtosis of the last {window} values of {x}",
        |call| shape(call, Shape::Kurtosis),
    ),
    over_window(
        "ts_median",
        "the median of the last {window} values of {x}",
        partial,
        |call| quantile(call, 0.5),
    ),
    Operator {
        parameters: &[
            takes("x", Values),
            takes("window", Window),
            takes("quantile", Constant),
        ],
        ..over_window(
            "ts_quantile",
            "the {quantile} quantile of the last {window} values of {x}",
            partial,
            |call| quantile(call, call.constants[1]),
        )
    },
    by_formula(
        "ts_zscore",
        X_WINDOW,
        "how many standard deviations {x} is above its mean of the last {window} bars",
        |_| "(x - ts_mean(x, window)) / ts_std(x, window)",
    ),
    by_formula(
        "ts_position",
        X_WINDOW,
        "where {x} stands between its smallest (0) and largest (1) of the last {window} bars",
        |_| "(x - ts_min(x, window)) / (ts_max(x, window) - ts_min(x, window))",
    ),
    by_formula(
        "adv",
        &[takes("window", Window)],
        "the average volume of the last {window} bars",
        |profile| match profile.average_volume {
            AverageVolume::Value => "ts_mean(vwap * volume, window)",
            AverageVolume::Units => "ts_mean(volume, window)",
        },
    ),
];

fn quantile(call: &Call<'_>, quantile: f64) -> Box<dyn Kernel> {
    let (lanes, window) = (call.lanes, call.window(0));
    let quantile = quantile.clamp(0.0, 1.0);
    by_row(
        lanes,
        Quantile::new(lanes, window, quantile, call.profile.warm_up),
    )
}
