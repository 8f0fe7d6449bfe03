//! Where the ensemble's rows and columns come from.
//!
//! Rows are few numbers each and are held; columns are read one at a time, so that a table of
//! hundreds of features never has to be in memory at once.

use std::collections::BTreeSet;

use super::EnsembleError;
use crate::DatasetError;

/// One decision: when it is made, over which time its outcome forms, and the outcome.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Row {
    /// The number of the instrument, from 0.
    pub instrument: u32,
    /// The decision time, Unix milliseconds: every feature of the row is known by then.
    pub decision: i64,
    /// The end of the label's span, Unix milliseconds, not before the decision. Where it is not
    /// known exactly, a time by which the outcome is surely known.
    pub end: i64,
    /// The outcome as [`Target`] says; NaN where it is not known (yet).
    pub target: f32,
    /// How much the row counts, at least 0; 1 where nothing is special.
    pub weight: f32,
}

/// What [`Row::target`] holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// A forward return: above 0 is BUY, below 0 SELL; rows of exactly 0 are predicted, and neither
    /// learned from nor scored.
    Return,
    /// 1 for BUY, 0 for SELL.
    Label,
}

impl Target {
    /// Returns whether the outcome was BUY; `None` where there is none.
    pub fn label(self, value: f32) -> Option<bool> {
        match self {
            Self::Return if value == 0.0 || value.is_nan() => None,
            Self::Return => Some(value > 0.0),
            Self::Label if value.is_nan() => None,
            Self::Label => Some(value == 1.0),
        }
    }
}

/// Rows in memory and columns that can be read one by one.
pub trait ColumnSource: Sync {
    /// Returns the rows, in any order.
    fn rows(&self) -> &[Row];

    /// Returns what [`Row::target`] holds.
    fn target(&self) -> Target;

    /// Returns the names of the features.
    fn features(&self) -> &[String];

    /// Fills `out`, one value a row, with a feature; missing values are NaN.
    ///
    /// With `before`, rows decided at that time or later are not needed: a source may leave them
    /// NaN and unread.
    ///
    /// # Errors
    /// Whatever reading gives.
    fn read(
        &self,
        feature: usize,
        before: Option<i64>,
        out: &mut [f32],
    ) -> Result<(), DatasetError>;
}

/// Rows and columns in memory.
#[derive(Debug, Clone)]
pub struct MemorySource {
    /// The rows.
    pub rows: Vec<Row>,
    /// What their targets are.
    pub target: Target,
    /// The names of the features.
    pub names: Vec<String>,
    /// The features, each with a value a row.
    pub columns: Vec<Vec<f32>>,
}

impl ColumnSource for MemorySource {
    fn rows(&self) -> &[Row] {
        &self.rows
    }

    fn target(&self) -> Target {
        self.target
    }

    fn features(&self) -> &[String] {
        &self.names
    }

    fn read(&self, feature: usize, _: Option<i64>, out: &mut [f32]) -> Result<(), DatasetError> {
        let column = &self.columns[feature];
        if column.len() != out.len() {
            return Err(DatasetError::Ensemble(EnsembleError::BadRow {
                row: column.len().min(out.len()),
                reason: format!(
                    "column `{}` has {} values, expected {}",
                    self.names[feature],
                    column.len(),
                    out.len()
                ),
            }));
        }
        out.copy_from_slice(column);
        Ok(())
    }
}

/// Names by which outcomes go, lower case: the start of a name, or all of it.
const OUTCOME_STARTS: [&str; 8] = [
    "target", "future", "label", "outcome", "forward_", "fwd_", "next_", "y_true",
];
const OUTCOME_NAMES: [&str; 3] = ["y", "class", "signal_correct"];

/// Returns what makes a column's name that of an outcome, if anything does.
pub fn named_like_an_outcome(name: &str) -> Option<&'static str> {
    let name = name.to_lowercase();
    // A futures contract is not the future.
    let starts = OUTCOME_STARTS
        .iter()
        .find(|start| name.starts_with(**start) && !name.starts_with("futures"));
    let whole = || OUTCOME_NAMES.iter().find(|whole| name == **whole);
    starts.or_else(whole).copied()
}

/// Checks names and rows.
pub(super) fn check(source: &dyn ColumnSource) -> Result<(), EnsembleError> {
    let mut seen = BTreeSet::new();
    for name in source.features() {
        if let Some(pattern) = named_like_an_outcome(name) {
            return Err(EnsembleError::OutcomeByName {
                column: name.clone(),
                pattern,
            });
        }
        if !seen.insert(name) {
            return Err(EnsembleError::DuplicateColumn {
                column: name.clone(),
            });
        }
    }
    let rows = source.rows();
    if rows.is_empty() || u32::try_from(rows.len()).is_err() {
        return Err(EnsembleError::RowCount { rows: rows.len() });
    }
    for (place, row) in rows.iter().enumerate() {
        check_row(source.target(), row)
            .map_err(|reason| EnsembleError::BadRow { row: place, reason })?;
    }
    Ok(())
}

/// Times further from 1970 than this are no times, milliseconds (about 3,000 years).
const FURTHEST: i64 = 100_000_000_000_000;

fn check_row(target: Target, row: &Row) -> Result<(), String> {
    if row.end < row.decision {
        return Err(format!(
            "its label ends at {}, before the decision at {}",
            row.end, row.decision
        ));
    }
    if row.decision < -FURTHEST || row.end > FURTHEST {
        return Err(format!(
            "its span {}..{} is not in Unix milliseconds",
            row.decision, row.end
        ));
    }
    if !(row.weight >= 0.0 && row.weight.is_finite()) {
        return Err(format!(
            "its weight is `{}`, expected at least 0",
            row.weight
        ));
    }
    if row.target.is_infinite() {
        return Err(format!(
            "its outcome is `{}`, expected a number",
            row.target
        ));
    }
    if target == Target::Label && ![0.0, 1.0].contains(&row.target) && !row.target.is_nan() {
        return Err(format!("its label is `{}`, expected 0 or 1", row.target));
    }
    Ok(())
}
