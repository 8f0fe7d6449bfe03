//! Everything that can go wrong with the ensemble, and what to do about it.

use std::path::PathBuf;

/// An error of the ensemble.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum EnsembleError {
    /// A feature's name says that it is an outcome.
    #[error("column `{column}` is named like an outcome (`{pattern}`), expected features only")]
    OutcomeByName {
        /// The column.
        column: String,
        /// What its name matches.
        pattern: &'static str,
    },
    /// A feature moves exactly as the outcome does.
    #[error(
        "column `{column}` has a correlation of {correlation:.6} with the outcome, expected a \
         feature that was known at the decision"
    )]
    OutcomeByCorrelation {
        /// The column.
        column: String,
        /// Its correlation with the outcome or the label, of values or of ranks.
        correlation: f64,
    },
    /// Two columns have one name.
    #[error("column `{column}` is there twice, expected each name once")]
    DuplicateColumn {
        /// The column.
        column: String,
    },
    /// A row cannot be used.
    #[error("row {row}: {reason}")]
    BadRow {
        /// The row, counted from 0.
        row: usize,
        /// What is wrong, and what was expected.
        reason: String,
    },
    /// There are too many rows, or none.
    #[error("{rows} rows were given, expected 1 to {}", u32::MAX)]
    RowCount {
        /// How many.
        rows: usize,
    },
    /// A part of the walk has too little to learn from.
    #[error("{part}: {found} {what}, expected at least {expected}")]
    TooFew {
        /// Which part of the walk.
        part: String,
        /// How many there are.
        found: usize,
        /// Of what.
        what: &'static str,
        /// How many are needed.
        expected: usize,
    },
    /// No column is left after those that say nothing.
    #[error(
        "no usable feature among {offered} columns ({missing} without a value, {constant} constant)"
    )]
    NoFeature {
        /// Columns offered.
        offered: usize,
        /// Columns without any value in the first window.
        missing: usize,
        /// Columns with one value in the first window.
        constant: usize,
    },
    /// A model learned from labels that were not over at the decision.
    #[error(
        "the model is trained through {trained_through}, which is not before the decision at \
         {decision} (Unix milliseconds)"
    )]
    FromTheFuture {
        /// The end of the last label the model has seen, Unix milliseconds.
        trained_through: i64,
        /// The decision it was asked for, Unix milliseconds.
        decision: i64,
    },
    /// A row to predict has another number of features than the model.
    #[error("{found} features were given, the model expects {expected}")]
    FeatureCount {
        /// Features of the model.
        expected: usize,
        /// Features given.
        found: usize,
    },
    /// A model file cannot be used.
    #[error("`{}`: {message}", path.display())]
    ModelFile {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what was expected.
        message: String,
    },
    /// The trees could not be grown.
    #[error("{part}: the trees cannot be grown: {message}")]
    Trees {
        /// Which part of the walk.
        part: String,
        /// What the booster said.
        message: String,
    },
    /// A table of a package lacks what the ensemble needs.
    #[error("`{}`: {message}", path.display())]
    Table {
        /// The table.
        path: PathBuf,
        /// What is wrong, and what was expected.
        message: String,
    },
}

impl EnsembleError {
    /// Returns what the user can do, where there is something.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::OutcomeByName { column, .. } => {
                format!("leave it out with `!{column}` in the list of features, or rename it")
            }
            Self::OutcomeByCorrelation { column, .. } => format!(
                "`{column}` holds the answer: find out how it was made, and leave it out with \
                 `!{column}`"
            ),
            Self::DuplicateColumn { .. } => "rename one of them".to_owned(),
            Self::TooFew { .. } => {
                "give a longer history, fewer folds, a shorter embargo or a larger `first_share`"
                    .to_owned()
            }
            Self::NoFeature { .. } => {
                "check that the columns hold numbers in the first window of time".to_owned()
            }
            Self::FromTheFuture { .. } => {
                "use the model of the fold that holds the decision, or train on an earlier end"
                    .to_owned()
            }
            Self::ModelFile { .. } => "train the ensemble again".to_owned(),
            _ => return None,
        };
        Some(hint)
    }
}
