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
}

impl FormulaError {
    /// Returns what the user can do about the error, where that is known.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Frame { bars, .. } => Some(format!(
                "choose timeframes that are multiples of `{bars}`, or start from shorter bars"
            )),
        }
    }
}
