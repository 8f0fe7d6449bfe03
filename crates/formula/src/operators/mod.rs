//! The operators of the language: one table entry each, with its parameters, the
//! axis it works along, its meaning in words and the kernel that computes it.
//!
//! The prefix of a name tells the axis: `ts_` along time within one instrument,
//! `cs_` across instruments at one time, `group_` across the instruments of one
//! group, `fx_` across currency pairs by the currencies they hold, `series_` a whole
//! series into one number. Everything else works on one
//! value at a time.

pub(crate) mod arithmetic;
pub(crate) mod cross_section;
pub(crate) mod distributions;
pub(crate) mod fx;
pub(crate) mod indicators;
pub(crate) mod microstructure;
pub(crate) mod recursive;
pub(crate) mod series;
pub(crate) mod sessions;
pub(crate) mod statistics;
pub(crate) mod talib;
pub(crate) mod time;

use std::fmt;
use std::sync::LazyLock;

use crate::Profile;
use crate::engine::Kernel;

/// What an operator works along.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Axis {
    /// One value at a time.
    Element,
    /// The past of one instrument, this bar included.
    Time,
    /// All instruments at one time.
    CrossSection,
    /// The instruments of one group at one time.
    Group,
    /// A whole series into one number (`foretune formulas` on a return series).
    Series,
}

/// What an argument is, or a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A number for each instrument and time.
    Values,
    /// 1, 0 or unknown for each instrument and time.
    Condition,
    /// Which group each instrument belongs to.
    Group,
    /// A constant whole number of bars, at least 1.
    Window,
    /// A constant.
    Constant,
    /// One number for a whole series.
    Scalar,
}

/// One parameter of an operator.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Parameter {
    /// Its name, as [`Operator::meaning`] uses it.
    pub name: &'static str,
    /// What it takes.
    pub kind: Kind,
    /// The value when it is left out; only the last parameters have one.
    pub default: Option<f64>,
}

/// How an operator is computed.
#[derive(Clone, Copy)]
pub enum Computation {
    /// By a kernel.
    Kernel {
        /// Makes the kernel in its initial state.
        make: fn(&Call<'_>) -> Box<dyn Kernel>,
        /// Bars before the first known value, beyond those of the arguments, on
        /// data without holes.
        warm_up: fn(&Call<'_>) -> usize,
        /// Tells apart the conventions that change this operator's result, so
        /// that formulas of different profiles share what is the same.
        convention: fn(&Profile) -> u32,
    },
    /// By a formula in canonical notation over the names of the parameters.
    Formula(fn(&Profile) -> &'static str),
    /// By a function of whole series (axis [`Axis::Series`]): the values of the
    /// `Values` arguments, all of one length and finite, then the constants.
    Reduce(fn(&[&[f64]], &[f64]) -> f64),
}

/// What a kernel is made from.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a> {
    /// The `Window` and `Constant` arguments, in the order of the parameters.
    pub constants: &'a [f64],
    /// The conventions in force.
    pub profile: &'a Profile,
    /// Instruments in a row of the panel, padding included; a multiple of 8.
    pub lanes: usize,
    /// The instruments, at most `lanes` (`EUR/USD`); lanes beyond are padding.
    pub instruments: &'a [String],
}

impl Call<'_> {
    /// Returns the constant argument `index` as a number of bars.
    pub fn window(&self, index: usize) -> usize {
        self.constants[index] as usize
    }
}

/// An operator of the language.
#[derive(Clone, Copy)]
pub struct Operator {
    /// The canonical name, for example `ts_mean`.
    pub name: &'static str,
    /// What it works along.
    pub axis: Axis,
    /// Its parameters.
    pub parameters: &'static [Parameter],
    /// What it gives.
    pub gives: Kind,
    /// One sentence with the parameters' names in braces: "the mean of {x} over
    /// the last {window} bars". Used in explanations and in worked examples.
    pub meaning: &'static str,
    /// How it is computed.
    pub computation: Computation,
}

impl PartialEq for Operator {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl fmt::Debug for Operator {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name)
    }
}

/// The tables of all operators, by theme.
static TABLES: &[&[Operator]] = &[
    arithmetic::OPERATORS,
    time::OPERATORS,
    recursive::OPERATORS,
    cross_section::OPERATORS,
    talib::OPERATORS,
    indicators::OPERATORS,
    distributions::OPERATORS,
    series::OPERATORS,
    statistics::OPERATORS,
    fx::OPERATORS,
    sessions::OPERATORS,
    microstructure::OPERATORS,
];

static SORTED: LazyLock<Vec<&'static Operator>> = LazyLock::new(|| {
    let mut all: Vec<&'static Operator> = TABLES.iter().flat_map(|table| table.iter()).collect();
    all.sort_by_key(|operator| operator.name);
    all
});

/// Returns all operators, sorted by name.
pub fn all() -> &'static [&'static Operator] {
    &SORTED
}

/// Returns the operator called `name`.
pub fn named(name: &str) -> Option<&'static Operator> {
    let place = SORTED.binary_search_by_key(&name, |operator| operator.name);
    place.ok().map(|place| SORTED[place])
}

/// A parameter without a default.
pub(crate) const fn takes(name: &'static str, kind: Kind) -> Parameter {
    Parameter {
        name,
        kind,
        default: None,
    }
}

/// A constant parameter with a default.
pub(crate) const fn takes_or(name: &'static str, kind: Kind, default: f64) -> Parameter {
    Parameter {
        name,
        kind,
        default: Some(default),
    }
}

/// No warm-up of its own.
pub(crate) fn no_warm_up(_: &Call<'_>) -> usize {
    0
}

/// The first constant is a window that must be full.
pub(crate) fn window_warm_up(call: &Call<'_>) -> usize {
    match call.profile.warm_up {
        crate::profile::WarmUp::Full => call.window(0) - 1,
        crate::profile::WarmUp::Partial => 0,
    }
}

/// No convention changes the result.
pub(crate) fn no_convention(_: &Profile) -> u32 {
    0
}
