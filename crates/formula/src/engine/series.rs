//! Evaluates formulas over a whole return series to one number.
//!
//! Parts of a formula are series or numbers. Operators of one value at a time and
//! along time run the same kernels as on a panel, on one instrument; operators
//! `series_*` bring a series to one number. Periods on which an argument of such
//! an operator is unknown (the warm-up of a window, what `only` leaves out) are
//! left out of all its arguments.

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use thiserror::Error;

use crate::Profile;
use crate::language::{self, Expression, Notation};
use crate::operators::{Axis, Call, Computation, Kind, Operator};

use super::kernel::{Input, known};

/// Lanes of a row: the least that kernels take. The first is used.
const LANES: usize = 8;

/// A return series, one value per period, oldest first, as fractions.
#[derive(Debug, Clone, Copy)]
pub struct SeriesInputs<'a> {
    /// The column `r`.
    pub r: &'a [f64],
    /// The column `benchmark`, for the same periods.
    pub benchmark: Option<&'a [f64]>,
}

/// Why a formula has no value over a series.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SeriesError {
    /// The formula reads a column that is not given.
    #[error("column `{column}` is not given, expected {expected}")]
    Column {
        /// The column.
        column: String,
        /// What is given.
        expected: &'static str,
    },
    /// The series has no values.
    #[error("the return series is empty, expected at least one value")]
    Empty,
    /// Both series need the same periods.
    #[error("the benchmark has {found} values, expected {expected} as the return series")]
    Length {
        /// Values of the benchmark.
        found: usize,
        /// Values of the return series.
        expected: usize,
    },
    /// A value is not finite.
    #[error("value {row} of `{column}` is {value}, expected a finite number")]
    Value {
        /// The column.
        column: &'static str,
        /// The place, from 0.
        row: usize,
        /// As printed.
        value: String,
    },
    /// An operator needs several instruments.
    #[error("operator `{operator}` works across instruments, expected one return series")]
    Operator {
        /// The operator.
        operator: &'static str,
    },
    /// The formula gives a series.
    #[error("the formula gives a series, expected one number")]
    Series,
    /// A constant argument is not a number.
    #[error("argument `{parameter}` of `{operator}` is not a constant")]
    Constant {
        /// The operator.
        operator: &'static str,
        /// Its parameter.
        parameter: &'static str,
    },
    /// The definition of an operator cannot be read.
    #[error("definition of `{operator}`: {reason}")]
    Definition {
        /// The operator.
        operator: &'static str,
        /// What the parser says.
        reason: String,
    },
}

impl SeriesError {
    /// Returns what the user can do about the error, where that is known.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Column { .. } => Some("give a series of returns, and a benchmark if it is read"),
            Self::Empty | Self::Constant { .. } | Self::Definition { .. } => None,
            Self::Length { .. } => Some("align both series on the same periods"),
            Self::Value { .. } => Some("leave out periods without a return"),
            Self::Operator { .. } => Some("evaluate it over a panel of instruments"),
            Self::Series => Some("bring it to one number with a `series_` operator"),
        }
    }
}

/// Returns the value of `expression` over the series; NaN where the statistic does
/// not exist (no spread, too few values).
///
/// # Errors
/// [`SeriesError`] if the inputs are empty, not aligned or not finite, or if the
/// formula is not one of a return series.
pub fn evaluate_series(
    expression: &Expression,
    profile: &Profile,
    inputs: &SeriesInputs<'_>,
) -> Result<f64, SeriesError> {
    check(inputs)?;
    let mut evaluator = Evaluator {
        profile,
        inputs,
        made: HashMap::new(),
    };
    match evaluator.value(expression)? {
        Value::Number(number) => Ok(number),
        Value::Series(_) => Err(SeriesError::Series),
    }
}

fn check(inputs: &SeriesInputs<'_>) -> Result<(), SeriesError> {
    if inputs.r.is_empty() {
        return Err(SeriesError::Empty);
    }
    let benchmark = inputs.benchmark.unwrap_or_default();
    if inputs.benchmark.is_some() && benchmark.len() != inputs.r.len() {
        return Err(SeriesError::Length {
            found: benchmark.len(),
            expected: inputs.r.len(),
        });
    }
    for (column, values) in [("r", inputs.r), ("benchmark", benchmark)] {
        if let Some(row) = values.iter().position(|value| !value.is_finite()) {
            let value = values[row].to_string();
            return Err(SeriesError::Value { column, row, value });
        }
    }
    Ok(())
}

#[derive(Clone)]
enum Value {
    Number(f64),
    Series(Rc<[f64]>),
}

struct Evaluator<'a> {
    profile: &'a Profile,
    inputs: &'a SeriesInputs<'a>,
    /// Parts already computed, by their text: names that a formula binds stand in
    /// its tree once for every use.
    made: HashMap<String, Value>,
}

impl Evaluator<'_> {
    fn value(&mut self, expression: &Expression) -> Result<Value, SeriesError> {
        match expression {
            Expression::Number(number) => Ok(Value::Number(*number)),
            Expression::Field(name) => self.column(name).map(|values| Value::Series(values.into())),
            Expression::Call(operator, arguments) => {
                let key = format!("{expression:?}");
                if let Some(value) = self.made.get(&key) {
                    return Ok(value.clone());
                }
                let value = self.call(operator, arguments)?;
                self.made.insert(key, value.clone());
                Ok(value)
            }
        }
    }

    fn column(&self, name: &str) -> Result<&[f64], SeriesError> {
        let found = match name {
            "r" => Some(self.inputs.r),
            "benchmark" => self.inputs.benchmark,
            _ => None,
        };
        found.ok_or_else(|| SeriesError::Column {
            column: name.to_owned(),
            expected: match self.inputs.benchmark {
                Some(_) => "`r` or `benchmark`",
                None => "`r` alone",
            },
        })
    }

    fn call(
        &mut self,
        operator: &'static Operator,
        arguments: &[Expression],
    ) -> Result<Value, SeriesError> {
        if let Computation::Formula(text) = operator.computation {
            let expression = defined(operator, text(self.profile), arguments)?;
            return self.value(&expression);
        }
        let (mut constants, mut values) = (Vec::new(), Vec::new());
        for (parameter, argument) in operator.parameters.iter().zip(arguments) {
            let value = self.value(argument)?;
            if !matches!(parameter.kind, Kind::Window | Kind::Constant) {
                values.push(value);
            } else if let Value::Number(number) = value {
                constants.push(number);
            } else {
                let (operator, parameter) = (operator.name, parameter.name);
                return Err(SeriesError::Constant {
                    operator,
                    parameter,
                });
            }
        }
        match operator.computation {
            Computation::Reduce(reduce) => Ok(self.reduce(reduce, &values, &constants)),
            _ if matches!(operator.axis, Axis::CrossSection | Axis::Group) => {
                let operator = operator.name;
                Err(SeriesError::Operator { operator })
            }
            _ => Ok(self.run(operator, &values, &constants)),
        }
    }

    fn reduce(
        &self,
        reduce: fn(&[&[f64]], &[f64]) -> f64,
        values: &[Value],
        constants: &[f64],
    ) -> Value {
        let columns: Vec<Rc<[f64]>> = values.iter().map(|value| self.series(value)).collect();
        let complete: Vec<usize> = (0..self.inputs.r.len())
            .filter(|&row| columns.iter().all(|column| !column[row].is_nan()))
            .collect();
        if complete.is_empty() {
            return Value::Number(f64::NAN);
        }
        let kept: Vec<Vec<f64>> = columns
            .iter()
            .map(|column| complete.iter().map(|&row| column[row]).collect())
            .collect();
        let slices: Vec<&[f64]> = kept.iter().map(Vec::as_slice).collect();
        Value::Number(known(reduce(&slices, constants)))
    }

    fn series(&self, value: &Value) -> Rc<[f64]> {
        match value {
            Value::Series(values) => Rc::clone(values),
            Value::Number(number) => vec![*number; self.inputs.r.len()].into(),
        }
    }

    /// Runs a kernel: of numbers alone on one row, otherwise on all of them.
    fn run(&self, operator: &Operator, values: &[Value], constants: &[f64]) -> Value {
        let Computation::Kernel { make, .. } = operator.computation else {
            return Value::Number(f64::NAN);
        };
        let element = operator.axis == Axis::Element;
        let numbers = element && values.iter().all(|value| matches!(value, Value::Number(_)));
        let rows = if numbers { 1 } else { self.inputs.r.len() };
        let columns: Vec<Vec<f64>> = values.iter().map(|value| first_lane(value, rows)).collect();
        let inputs: Vec<Input<'_>> = values
            .iter()
            .zip(&columns)
            .map(|(value, column)| match value {
                Value::Number(number) if element && !numbers => Input::Constant(*number),
                _ => Input::Rows(column),
            })
            .collect();
        let mut output = vec![f64::NAN; rows * LANES];
        let instruments = ["r".to_owned()];
        let call = Call {
            constants,
            profile: self.profile,
            lanes: LANES,
            instruments: &instruments,
        };
        make(&call).run(&inputs, &mut output);
        if numbers {
            Value::Number(output[0])
        } else {
            Value::Series(output.iter().copied().step_by(LANES).collect())
        }
    }
}

/// Returns rows with the value in the first lane and nothing known in the others.
fn first_lane(value: &Value, rows: usize) -> Vec<f64> {
    let mut lanes = vec![f64::NAN; rows * LANES];
    for (row, slot) in lanes.iter_mut().step_by(LANES).enumerate() {
        *slot = match value {
            Value::Number(number) => *number,
            Value::Series(values) => values[row],
        };
    }
    lanes
}

/// Returns the tree that defines an operator, over its arguments.
fn defined(
    operator: &'static Operator,
    text: &str,
    arguments: &[Expression],
) -> Result<Expression, SeriesError> {
    let bindings: BTreeMap<String, Expression> = operator
        .parameters
        .iter()
        .map(|parameter| parameter.name.to_owned())
        .zip(arguments.iter().cloned())
        .collect();
    language::parse_with(text, Notation::Foretune, &bindings).map_err(|error| {
        SeriesError::Definition {
            operator: operator.name,
            reason: error.to_string(),
        }
    })
}
