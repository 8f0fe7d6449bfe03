//! Densities, probabilities and quantiles of the usual distributions, and the
//! filter that keeps some values of a series.

use super::{Axis, Computation, Kind, Operator, no_convention, no_warm_up, takes};
use crate::engine::{Input, Kernel, known};
use crate::statistics::special;

use Kind::{Condition, Values};

/// Applies a function of `N` values.
struct Map<const N: usize>(fn([f64; N]) -> f64);

impl<const N: usize> Kernel for Map<N> {
    fn run(&mut self, inputs: &[Input<'_>], output: &mut [f64]) {
        let Ok(inputs) = <[Input<'_>; N]>::try_from(inputs) else {
            return;
        };
        for (index, output) in output.iter_mut().enumerate() {
            let values = inputs.map(|input| match input {
                Input::Rows(values) | Input::Lanes(values) => values[index],
                Input::Constant(value) => value,
            });
            *output = if values.iter().any(|value| value.is_nan()) {
                f64::NAN
            } else {
                known((self.0)(values))
            };
        }
    }
}

macro_rules! map {
    ($name:literal, [$($parameter:literal),+], $meaning:literal, $function:expr) => {
        Operator {
            name: $name,
            axis: Axis::Element,
            parameters: &[$(takes($parameter, Values)),+],
            gives: Values,
            meaning: $meaning,
            computation: Computation::Kernel {
                make: |_| Box::new(Map($function)),
                warm_up: no_warm_up,
                convention: no_convention,
            },
        }
    };
}

pub(super) static OPERATORS: &[Operator] = &[
    map!(
        "normal_pdf",
        ["x"],
        "the standard normal density at {x}",
        |[x]: [f64; 1]| special::normal_density(x)
    ),
    map!(
        "normal_cdf",
        ["x"],
        "the probability that a standard normal value is at most {x}",
        |[x]: [f64; 1]| special::normal_below(x)
    ),
    map!(
        "normal_quantile",
        ["p"],
        "the value that a standard normal one is below with probability {p}",
        |[p]: [f64; 1]| special::normal_quantile(p)
    ),
    map!(
        "chi2_tail",
        ["x", "k"],
        "the probability that a chi-squared value of {k} degrees of freedom is above {x}",
        |[x, k]: [f64; 2]| special::chi_squared_above(x, k)
    ),
    map!(
        "t_tail",
        ["x", "k"],
        "the probability that a Student value of {k} degrees of freedom is above {x}",
        |[x, k]: [f64; 2]| special::student_above(x, k)
    ),
    map!(
        "t_quantile",
        ["p", "k"],
        "the value that a Student one of {k} degrees of freedom is below with probability {p}",
        |[p, k]: [f64; 2]| special::student_quantile(p, k)
    ),
    map!(
        "f_tail",
        ["x", "k", "n"],
        "the probability that a value of the F distribution with {k} and {n} degrees of freedom is above {x}",
        |[x, k, n]: [f64; 3]| special::f_above(x, k, n)
    ),
    map!(
        "beta_cdf",
        ["x", "a", "b"],
        "the probability that a Beta({a}, {b}) value is at most {x}",
        |[x, a, b]: [f64; 3]| special::beta_integral(x, a, b)
    ),
    map!(
        "beta_quantile",
        ["p", "a", "b"],
        "the value that a Beta({a}, {b}) one is below with probability {p}",
        |[p, a, b]: [f64; 3]| special::beta_quantile(p, a, b)
    ),
    map!(
        "bridge_tail",
        ["x"],
        "the probability that a Brownian bridge moves further than {x} from 0",
        |[x]: [f64; 1]| special::bridge_above(x)
    ),
    map!(
        "dickey_fuller_p",
        ["t"],
        "the p-value of the Dickey-Fuller t-statistic {t} with a constant",
        |[t]: [f64; 1]| special::dickey_fuller_p(t)
    ),
    Operator {
        parameters: &[takes("x", Values), takes("condition", Condition)],
        ..map!(
            "only",
            ["x", "condition"],
            "{x} where {condition}, unknown elsewhere",
            |[x, condition]: [f64; 2]| if condition == 0.0 { f64::NAN } else { x }
        )
    },
];
