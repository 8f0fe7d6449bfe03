//! The one error type of the crate.

use market::Timeframe;
use thiserror::Error;

/// What can be wrong with a request for features.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum FormulaError {
    /// A longer timeframe cannot be made of the bars given.
    #[error("timeframe `{frame}` cannot be made of `{bars}` bars, expected a whole number of them")]
    Frame {
        /// The timeframe asked for.
        frame: Timeframe,
        /// The timeframe of the bars.
        bars: Timeframe,
    },
    /// A panel needs instruments.
    #[error("there are no instruments, expected at least one table of bars")]
    NoInstruments,
    /// An instrument comes twice.
    #[error("`{instrument}` is there twice, expected one table an instrument")]
    Twice {
        /// The instrument.
        instrument: String,
    },
    /// A table without rows.
    #[error("`{instrument}` has no bars")]
    NoBars {
        /// The instrument.
        instrument: String,
    },
    /// Tables of different timeframes.
    #[error("`{instrument}` has `{found}` bars, expected `{expected}` as for the others")]
    Timeframes {
        /// The instrument.
        instrument: String,
        /// Its timeframe.
        found: Timeframe,
        /// The first table's timeframe.
        expected: Timeframe,
    },
    /// Rows out of order, or the same time twice.
    #[error("row {row} of `{instrument}` is not after the row before it")]
    NotAscending {
        /// The instrument, or the panel.
        instrument: String,
        /// The row, from 0.
        row: usize,
    },
    /// Bars that open between those of others.
    #[error(
        "the clock of `{instrument}` is shifted by {shift} ms against `{reference}` (bars from {since} ms on)"
    )]
    Misaligned {
        /// The instrument.
        instrument: String,
        /// The shift in milliseconds.
        shift: i64,
        /// The instrument it is compared with.
        reference: String,
        /// The open time of its first bar.
        since: i64,
    },
    /// The wrong number of values.
    #[error("{found} values, expected {expected}")]
    Width {
        /// How many there are.
        found: usize,
        /// How many there should be.
        expected: usize,
    },
    /// A formula reads a column that the panel does not have.
    #[error("formula `{formula}` needs the column `{column}` ({meaning}), which is not there")]
    Column {
        /// The formula's name.
        formula: String,
        /// The column.
        column: String,
        /// What it means.
        meaning: String,
    },
    /// A formula for a whole series asked of a panel.
    #[error("formula `{formula}` gives one number for a whole series, expected one for every bar")]
    Scalar {
        /// The formula's name.
        formula: String,
    },
    /// The definition of an operator or a derived column does not parse. Guarded
    /// by a test over all of them.
    #[error("the definition of `{name}` does not parse: {reason}")]
    Definition {
        /// The operator or column.
        name: String,
        /// The parser's message.
        reason: String,
    },
}

impl FormulaError {
    /// Returns what the user can do about the error, where that is known.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Frame { bars, .. } => Some(format!(
                "choose timeframes that are multiples of `{bars}`, or start from shorter bars"
            )),
            Self::Misaligned { .. } => Some(
                "resample the tables to one clock, all bars opening at multiples of the timeframe"
                    .to_owned(),
            ),
            Self::Column { .. } => Some(
                "leave the formula out, or give the column (ticks, rates, a table of your own)"
                    .to_owned(),
            ),
            Self::Scalar { .. } => Some(
                "formulas over `r` are evaluated on a return series, see `foretune formulas eval`"
                    .to_owned(),
            ),
            _ => None,
        }
    }
}
