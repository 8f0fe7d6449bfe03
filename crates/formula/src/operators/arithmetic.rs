//! One value at a time: arithmetic, comparison, logic and elementary functions.
//!
//! What has no real value has none here: a division by zero, a logarithm of
//! nothing, a root of a negative number are NaN, never an infinity.

use super::{Axis, Computation, Kind, Operator, no_convention, no_warm_up, takes};
use crate::Profile;
use crate::engine::{Input, Kernel, known, widest};
use crate::profile::Comparison;

use Kind::{Condition, Values};

/// Applies a function of one value.
struct Map1<F>(F);

impl<F: Fn(f64) -> f64 + Send> Kernel for Map1<F> {
    fn run(&mut self, inputs: &[Input<'_>], output: &mut [f64]) {
        let Some(Input::Rows(x)) = inputs.first() else {
            return;
        };
        widest(
            #[inline(always)]
            || {
                for (output, &x) in output.iter_mut().zip(*x) {
                    *output = known((self.0)(x));
                }
            },
        );
    }
}

/// Applies a function of two values.
struct Map2<F>(F);

impl<F: Fn(f64, f64) -> f64 + Send> Kernel for Map2<F> {
    fn run(&mut self, inputs: &[Input<'_>], output: &mut [f64]) {
        let [x, y] = inputs else { return };
        widest(
            #[inline(always)]
            || match (*x, *y) {
                (Input::Rows(x), Input::Rows(y)) => {
                    for ((output, &x), &y) in output.iter_mut().zip(x).zip(y) {
                        *output = known((self.0)(x, y));
                    }
                }
                (Input::Rows(x), Input::Constant(y)) => {
                    for (output, &x) in output.iter_mut().zip(x) {
                        *output = known((self.0)(x, y));
                    }
                }
                (Input::Constant(x), Input::Rows(y)) => {
                    for (output, &y) in output.iter_mut().zip(y) {
                        *output = known((self.0)(x, y));
                    }
                }
                _ => {}
            },
        );
    }
}

/// Chooses between two values.
struct Choose;

impl Kernel for Choose {
    fn run(&mut self, inputs: &[Input<'_>], output: &mut [f64]) {
        let [condition, yes, no] = inputs else { return };
        widest(
            #[inline(always)]
            || {
                let at = |input: &Input<'_>, index: usize| match input {
                    Input::Rows(values) | Input::Lanes(values) => values[index],
                    Input::Constant(value) => *value,
                };
                match (*condition, *yes, *no) {
                    (Input::Rows(c), Input::Rows(y), Input::Rows(n)) => {
                        for (((output, &c), &y), &n) in output.iter_mut().zip(c).zip(y).zip(n) {
                            *output = choose(c, y, n);
                        }
                    }
                    _ => {
                        for (index, output) in output.iter_mut().enumerate() {
                            *output = choose(at(condition, index), at(yes, index), at(no, index));
                        }
                    }
                }
            },
        );
    }
}

#[inline(always)]
fn choose(condition: f64, yes: f64, no: f64) -> f64 {
    if condition.is_nan() {
        f64::NAN
    } else if condition != 0.0 {
        yes
    } else {
        no
    }
}

/// Returns 1, 0 or NaN.
#[inline(always)]
fn truth(is: bool, unknown: bool) -> f64 {
    if unknown {
        f64::NAN
    } else if is {
        1.0
    } else {
        0.0
    }
}

/// `x` to the power of `y`; unknown where either is, though 1 to any power is 1.
#[inline(always)]
fn power(x: f64, y: f64) -> f64 {
    if x.is_nan() | y.is_nan() {
        f64::NAN
    } else {
        x.powf(y)
    }
}

macro_rules! unary {
    ($name:literal, $meaning:literal, |$x:ident| $value:expr) => {
        Operator {
            name: $name,
            axis: Axis::Element,
            parameters: &[takes("x", Values)],
            gives: Values,
            meaning: $meaning,
            computation: Computation::Kernel {
                make: |_| {
                    Box::new(Map1(
                        #[inline(always)]
                        |$x: f64| $value,
                    ))
                },
                warm_up: no_warm_up,
                convention: no_convention,
            },
        }
    };
}

macro_rules! binary {
    ($name:literal, $kind:expr, $gives:expr, $meaning:literal, |$x:ident, $y:ident| $value:expr) => {
        Operator {
            name: $name,
            axis: Axis::Element,
            parameters: &[takes("x", $kind), takes("y", $kind)],
            gives: $gives,
            meaning: $meaning,
            computation: Computation::Kernel {
                make: |_| {
                    Box::new(Map2(
                        #[inline(always)]
                        |$x: f64, $y: f64| $value,
                    ))
                },
                warm_up: no_warm_up,
                convention: no_convention,
            },
        }
    };
}

/// A comparison, whose answer for unknown values is a convention.
macro_rules! comparison {
    ($name:literal, $meaning:literal, |$x:ident, $y:ident| $is:expr) => {
        Operator {
            name: $name,
            axis: Axis::Element,
            parameters: &[takes("x", Values), takes("y", Values)],
            gives: Condition,
            meaning: $meaning,
            computation: Computation::Kernel {
                make: |call| match call.profile.comparison {
                    Comparison::Unknown => Box::new(Map2(
                        #[inline(always)]
                        |$x: f64, $y: f64| truth($is, $x.is_nan() | $y.is_nan()),
                    )),
                    Comparison::False => Box::new(Map2(
                        #[inline(always)]
                        |$x: f64, $y: f64| truth($is, false),
                    )),
                },
                warm_up: no_warm_up,
                convention: |profile: &Profile| profile.comparison as u32,
            },
        }
    };
}

pub(super) static OPERATORS: &[Operator] = &[
    binary!("add", Values, Values, "{x} plus {y}", |x, y| x + y),
    binary!("subtract", Values, Values, "{x} minus {y}", |x, y| x - y),
    binary!("multiply", Values, Values, "{x} times {y}", |x, y| x * y),
    binary!(
        "divide",
        Values,
        Values,
        "{x} divided by {y}, unknown where {y} is 0",
        |x, y| x / y
    ),
    binary!(
        "power",
        Values,
        Values,
        "{x} to the power of {y}",
        |x, y| power(x, y)
    ),
    binary!(
        "signed_power",
        Values,
        Values,
        "the sign of {x} times the absolute value of {x} to the power of {y}",
        |x, y| if x == 0.0 {
            power(0.0, y)
        } else {
            x.signum() * power(x.abs(), y)
        }
    ),
    binary!(
        "modulo",
        Values,
        Values,
        "the remainder of {x} divided by {y}, with the sign of {y}",
        |x, y| x - y * (x / y).floor()
    ),
    binary!(
        "min",
        Values,
        Values,
        "the smaller of {x} and {y}",
        |x, y| {
            if x.is_nan() | y.is_nan() {
                f64::NAN
            } else if y < x {
                y
            } else {
                x
            }
        }
    ),
    binary!(
        "max",
        Values,
        Values,
        "the larger of {x} and {y}",
        |x, y| {
            if x.is_nan() | y.is_nan() {
                f64::NAN
            } else if y > x {
                y
            } else {
                x
            }
        }
    ),
    binary!(
        "atan2",
        Values,
        Values,
        "the angle in radians of the point ({y}, {x})",
        |x, y| x.atan2(y)
    ),
    binary!(
        "fill",
        Values,
        Values,
        "{x}, or {y} where {x} is unknown",
        |x, y| if x.is_nan() { y } else { x }
    ),
    unary!("negate", "minus {x}", |x| -x),
    unary!("abs", "the absolute value of {x}", |x| x.abs()),
    unary!("sign", "1, 0 or -1 by the sign of {x}", |x| {
        if x == 0.0 {
            0.0
        } else if x.is_nan() {
            x
        } else {
            x.signum()
        }
    }),
    unary!("log", "the natural logarithm of {x}", |x| x.ln()),
    unary!("log10", "the logarithm of {x} to base 10", |x| x.log10()),
    unary!("log2", "the logarithm of {x} to base 2", |x| x.log2()),
    unary!("log1p", "the natural logarithm of 1 plus {x}", |x| x
        .ln_1p()),
    unary!("exp", "e to the power of {x}", |x| x.exp()),
    unary!("sqrt", "the square root of {x}", |x| x.sqrt()),
    unary!("cbrt", "the cube root of {x}", |x| x.cbrt()),
    unary!("floor", "{x} rounded down to a whole number", |x| x.floor()),
    unary!("ceil", "{x} rounded up to a whole number", |x| x.ceil()),
    unary!(
        "round",
        "{x} rounded to the nearest whole number, halves to even",
        |x| x.round_ties_even()
    ),
    unary!("sin", "the sine of {x}", |x| x.sin()),
    unary!("cos", "the cosine of {x}", |x| x.cos()),
    unary!("tan", "the tangent of {x}", |x| x.tan()),
    unary!("asin", "the angle whose sine is {x}", |x| x.asin()),
    unary!("acos", "the angle whose cosine is {x}", |x| x.acos()),
    unary!("atan", "the angle whose tangent is {x}", |x| x.atan()),
    unary!("sinh", "the hyperbolic sine of {x}", |x| x.sinh()),
    unary!("cosh", "the hyperbolic cosine of {x}", |x| x.cosh()),
    unary!("tanh", "the hyperbolic tangent of {x}", |x| x.tanh()),
    unary!("atanh", "the number whose hyperbolic tangent is {x}", |x| x
        .atanh()),
    unary!("sigmoid", "1 / (1 + e^-{x})", |x| 1.0 / (1.0 + (-x).exp())),
    Operator {
        gives: Condition,
        ..unary!("is_unknown", "whether {x} is unknown", |x| truth(
            x.is_nan(),
            false
        ))
    },
    Operator {
        parameters: &[takes("x", Condition)],
        gives: Condition,
        ..unary!("not", "not {x}", |x| truth(x == 0.0, x.is_nan()))
    },
    binary!("and", Condition, Condition, "{x} and {y}", |x, y| truth(
        (x != 0.0) & (y != 0.0),
        x.is_nan() | y.is_nan()
    )),
    binary!("or", Condition, Condition, "{x} or {y}", |x, y| truth(
        (x != 0.0) | (y != 0.0),
        x.is_nan() | y.is_nan()
    )),
    comparison!("less", "{x} is below {y}", |x, y| x < y),
    comparison!("less_equal", "{x} is at most {y}", |x, y| x <= y),
    comparison!("greater", "{x} is above {y}", |x, y| x > y),
    comparison!("greater_equal", "{x} is at least {y}", |x, y| x >= y),
    comparison!("equal", "{x} equals {y}", |x, y| x == y),
    comparison!("not_equal", "{x} differs from {y}", |x, y| x != y),
    Operator {
        name: "if_else",
        axis: Axis::Element,
        parameters: &[
            takes("condition", Condition),
            takes("yes", Values),
            takes("no", Values),
        ],
        gives: Values,
        meaning: "{yes} where {condition}, {no} elsewhere",
        computation: Computation::Kernel {
            make: |_| Box::new(Choose),
            warm_up: no_warm_up,
            convention: no_convention,
        },
    },
];
