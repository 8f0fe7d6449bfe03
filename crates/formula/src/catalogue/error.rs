//! What can be wrong with a file of the catalogue.

use std::fmt;

use thiserror::Error;

use crate::language::ParseError;

/// One fault of a file.
#[derive(Debug, Clone, PartialEq, Error)]
#[error("{file}:{line}: {problem}")]
pub struct Fault {
    /// The file.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// What is wrong.
    pub problem: FaultKind,
}

/// What can be wrong.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum FaultKind {
    /// Not the format: broken TOML, an unknown or a missing key, a wrong type.
    #[error("{message}")]
    Format {
        /// What the reader says.
        message: String,
        /// The nearest known key.
        hint: Option<String>,
    },
    /// A profile or notation that nobody knows.
    #[error("unknown {what} `{name}`")]
    Unknown {
        /// `profile` or `notation`.
        what: &'static str,
        /// As written.
        name: String,
        /// What is known.
        known: String,
    },
    /// An id that is not the family's name, a dot and letters, digits or `_`.
    #[error("id `{id}` is not `{family}.` and letters, digits or `_`")]
    Id {
        /// As written.
        id: String,
        /// The family.
        family: String,
    },
    /// A text that says nothing.
    #[error("`{key}` of `{id}` is empty")]
    Empty {
        /// The formula.
        id: String,
        /// The key.
        key: &'static str,
    },
    /// `{name}` in a text without `name` in `for`.
    #[error("`{key}` of `{id}` has `{{{name}}}`, which `for` does not give")]
    Placeholder {
        /// The formula.
        id: String,
        /// The key.
        key: &'static str,
        /// The placeholder.
        name: String,
    },
    /// A grid of nothing, of too many, or of other than numbers and texts.
    #[error("`for` of `{id}` {reason}")]
    Grid {
        /// The formula.
        id: String,
        /// What is wrong.
        reason: String,
    },
    /// An expression that cannot be read.
    #[error("`{id}`: {error}")]
    Expression {
        /// The formula.
        id: String,
        /// Why.
        error: ParseError,
    },
    /// Two formulas of one id, or an id that another formula has under `also`.
    #[error("id `{id}` is there already, in {first}")]
    DuplicateId {
        /// The id.
        id: String,
        /// Where the first one is.
        first: String,
    },
    /// Two formulas that compute the same.
    #[error("`{second}` computes the same as `{first}`")]
    DuplicateFormula {
        /// The formula that came first.
        first: String,
        /// The one that is too many.
        second: String,
    },
}

impl FaultKind {
    /// Returns what to do about it, where that is known.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Format { hint, .. } => hint.clone(),
            Self::Unknown { known, .. } => Some(format!("known are {known}")),
            Self::DuplicateFormula { first, second } => Some(format!(
                "leave it out and list `{second}` under `also` of `{first}`"
            )),
            Self::Expression { error, .. } => error.hint(),
            _ => None,
        }
    }
}

/// All faults of the files, in their order.
#[derive(Debug, Clone, PartialEq, Error)]
pub struct Faults(
    /// At least one.
    pub Vec<Fault>,
);

impl fmt::Display for Faults {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.0.iter().enumerate() {
            if index > 0 {
                writeln!(formatter)?;
            }
            write!(formatter, "{fault}")?;
            if let FaultKind::Expression { error, .. } = &fault.problem {
                write!(formatter, "\n{}", error.caret())?;
            }
            if let Some(hint) = fault.problem.hint() {
                write!(formatter, "\nhint: {hint}")?;
            }
        }
        Ok(())
    }
}
