//! The one error type of the crate.

use thiserror::Error;

/// What can be wrong with data or settings handed to a statistic.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum StatsError {
    /// There is nothing to estimate from.
    #[error("`{what}` is empty, expected at least one row")]
    Empty {
        /// The name of the argument.
        what: &'static str,
    },
    /// Two arguments that describe the same rows differ in length.
    #[error("`{what}` has {found} rows, expected {expected}")]
    LengthMismatch {
        /// The name of the argument.
        what: &'static str,
        /// The number of rows of the argument it belongs to.
        expected: usize,
        /// The number of rows it has.
        found: usize,
    },
    /// A row of a matrix is shorter or longer than its first row.
    #[error("row {row} of `{what}` has {found} columns, expected {expected}")]
    RaggedRow {
        /// The name of the argument.
        what: &'static str,
        /// The row, counted from 0.
        row: usize,
        /// The number of columns of the other rows.
        expected: usize,
        /// The number of columns it has.
        found: usize,
    },
    /// A value is NaN or infinite.
    #[error("row {row}, column {column} of `{what}` is `{value}`, expected a finite number")]
    NotFinite {
        /// The name of the argument.
        what: &'static str,
        /// The row, counted from 0.
        row: usize,
        /// The column, counted from 0.
        column: usize,
        /// The offending value.
        value: f64,
    },
    /// A class index lies outside `0..classes`.
    #[error("row {row} has class `{class}`, expected a class below {classes}")]
    ClassOutOfRange {
        /// The row, counted from 0.
        row: usize,
        /// The class index found.
        class: usize,
        /// The number of classes.
        classes: usize,
    },
    /// A setting is outside its range.
    #[error("setting `{name}` is `{value}`, expected {expected}")]
    InvalidSetting {
        /// The name of the setting.
        name: &'static str,
        /// Its value as text.
        value: String,
        /// The accepted range in words.
        expected: &'static str,
    },
    /// The time span is too short for the wanted splits.
    #[error(
        "time span {start}..{end} leaves no room for train, validation and test with embargo {embargo}"
    )]
    SpanTooShort {
        /// The first instant covered.
        start: i64,
        /// The last instant covered.
        end: i64,
        /// The embargo asked for.
        embargo: i64,
    },
    /// An outcome was handed in before it was known.
    #[error("outcome of a decision that matures at {matures_at} was given at {now}")]
    NotMature {
        /// The instant at which it was given.
        now: i64,
        /// The instant from which it may be used.
        matures_at: i64,
    },
    /// An optimiser stopped before the gradient vanished.
    #[error(
        "no convergence after {iterations} iterations: gradient norm {gradient_norm:e}, expected at most {tolerance:e}"
    )]
    NotConverged {
        /// The iterations spent.
        iterations: usize,
        /// The largest absolute entry of the last gradient.
        gradient_norm: f64,
        /// The norm at which it would have stopped.
        tolerance: f64,
    },
}

impl StatsError {
    /// Returns what the user can do about the error, where that is known.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NotFinite { .. } => {
                Some("leave out rows in the indicators' warm-up before fitting".to_owned())
            }
            Self::SpanTooShort { .. } => {
                Some("use a longer history, a shorter embargo or smaller held-out fractions".into())
            }
            Self::NotConverged { .. } => {
                Some("raise the L2 penalty: the classes may be separable".to_owned())
            }
            Self::Empty { .. } => Some("check that the split is not empty".to_owned()),
            Self::NotMature { .. } => {
                Some("keep the decision open and settle it once its horizon has passed".to_owned())
            }
            Self::LengthMismatch { .. }
            | Self::RaggedRow { .. }
            | Self::ClassOutOfRange { .. }
            | Self::InvalidSetting { .. } => None,
        }
    }
}

/// Checks that `rows` is a non-empty rectangle of finite numbers and returns
/// its number of columns.
pub(crate) fn check_matrix(what: &'static str, rows: &[Vec<f64>]) -> Result<usize, StatsError> {
    let expected = rows.first().ok_or(StatsError::Empty { what })?.len();
    for (row, values) in rows.iter().enumerate() {
        if values.len() != expected {
            return Err(StatsError::RaggedRow {
                what,
                row,
                expected,
                found: values.len(),
            });
        }
        if let Some(column) = values.iter().position(|v| !v.is_finite()) {
            return Err(StatsError::NotFinite {
                what,
                row,
                column,
                value: values[column],
            });
        }
    }
    Ok(expected)
}

/// Checks that `classes` names a class below `count` for each of `rows` rows.
pub(crate) fn check_classes(
    rows: usize,
    classes: &[usize],
    count: usize,
) -> Result<(), StatsError> {
    if classes.len() != rows {
        return Err(StatsError::LengthMismatch {
            what: "classes",
            expected: rows,
            found: classes.len(),
        });
    }
    match classes.iter().position(|&class| class >= count) {
        Some(row) => Err(StatsError::ClassOutOfRange {
            row,
            class: classes[row],
            classes: count,
        }),
        None => Ok(()),
    }
}

/// Checks that `weights` holds one positive-sum set of non-negative weights.
pub(crate) fn check_weights(rows: usize, weights: &[f64]) -> Result<(), StatsError> {
    if weights.len() != rows {
        return Err(StatsError::LengthMismatch {
            what: "weights",
            expected: rows,
            found: weights.len(),
        });
    }
    if let Some(row) = weights.iter().position(|w| !w.is_finite()) {
        return Err(StatsError::NotFinite {
            what: "weights",
            row,
            column: 0,
            value: weights[row],
        });
    }
    let total: f64 = weights.iter().sum();
    if weights.iter().any(|&w| w < 0.0) || total <= 0.0 {
        return Err(StatsError::InvalidSetting {
            name: "weights",
            value: format!("sum {total}"),
            expected: "non-negative weights with a positive sum",
        });
    }
    Ok(())
}

/// Checks an L2 penalty: finite and not negative.
pub(crate) fn check_penalty(l2: f64) -> Result<(), StatsError> {
    if l2.is_finite() && l2 >= 0.0 {
        return Ok(());
    }
    Err(StatsError::InvalidSetting {
        name: "l2",
        value: l2.to_string(),
        expected: "a finite penalty of at least 0",
    })
}
