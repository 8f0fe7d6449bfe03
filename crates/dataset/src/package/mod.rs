//! Wide tables of features and targets, one directory an instrument, as models
//! that are trained outside read them: `EURUSD/{train,val,test}.parquet`.
//!
//! Every column is a named formula of the past. A target looks forward and is
//! computed here, not by a formula; its name says so. The parts are cut at the
//! same instants for all instruments, purged of rows whose targets reach over a
//! cut and embargoed after it.
//!
//! Features are computed some thousand rows at a time and written as they come:
//! memory depends on the number of columns and instruments, not on history.

mod features;
mod report;
mod rows;
mod write;

pub use features::{Feature, FeatureSet};
pub use report::{FeatureReport, PackageSheet, PairSheet, PartSheet};
pub use write::{PackageProgress, write_package};

use formula::panel::Alignment;

use crate::{DatasetError, SplitFractions};

/// How a package is made.
#[derive(Debug, Clone, PartialEq)]
pub struct PackageSettings {
    /// Bars ahead of the targets, ascending.
    pub horizons: Vec<usize>,
    /// The shares of the parts, by rows of the common clock.
    pub split: SplitFractions,
    /// Bars left out after a cut; the longest horizon by default.
    pub embargo_bars: Option<usize>,
    /// How instruments come onto one clock.
    pub alignment: Alignment,
    /// Rows computed and written at a time.
    pub group_rows: usize,
    /// The zstd level of the files.
    pub level: i32,
}

impl Default for PackageSettings {
    fn default() -> Self {
        Self {
            horizons: vec![1, 5, 10, 20, 50],
            split: SplitFractions::default(),
            embargo_bars: None,
            alignment: Alignment::default(),
            group_rows: 2048,
            level: 1,
        }
    }
}

impl PackageSettings {
    /// Returns the longest horizon in bars.
    pub(crate) fn longest(&self) -> usize {
        self.horizons.iter().copied().max().unwrap_or(0)
    }

    /// Returns the embargo in bars.
    pub(crate) fn embargo(&self) -> usize {
        self.embargo_bars.unwrap_or_else(|| self.longest())
    }

    /// Checks the values.
    ///
    /// # Errors
    /// [`DatasetError::Setting`] names the first that cannot be used.
    pub fn validate(&self) -> Result<(), DatasetError> {
        let refuse = |name, value: String, expected: &str| {
            Err(DatasetError::Setting {
                name,
                value,
                expected: expected.to_owned(),
            })
        };
        let horizons = &self.horizons;
        if horizons.is_empty() || horizons[0] == 0 || horizons.windows(2).any(|h| h[0] >= h[1]) {
            return refuse(
                "features.horizons",
                format!("{horizons:?}"),
                "ascending numbers of bars, at least 1",
            );
        }
        let SplitFractions {
            train,
            validation,
            test,
        } = self.split;
        let shares = [train, validation, test];
        if shares.iter().any(|share| share.is_nan() || *share <= 0.0)
            || (shares.iter().sum::<f64>() - 1.0).abs() > 1e-9
        {
            return refuse(
                "features.split",
                format!("{shares:?}"),
                "three positive shares that sum to 1",
            );
        }
        if !(64..=1 << 20).contains(&self.group_rows) {
            return refuse(
                "features.group_rows",
                self.group_rows.to_string(),
                "64 to 1048576 rows",
            );
        }
        Ok(())
    }
}
