//! How the ensemble is trained.

use serde::{Deserialize, Serialize};

use crate::DatasetError;

/// The most features a model may have.
pub const MOST_FEATURES: usize = 1024;

/// How the ensemble is trained. The defaults suit half a million rows of a few dozen
/// instruments; they are meant for weak signals, hence the shallow trees and heavy penalties.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EnsembleSettings {
    /// Folds after the first window, each predicted by models of the time before it.
    pub folds: usize,
    /// The share of the rows in the first window, which gets no prediction.
    pub first_share: f64,
    /// Time between the end of the last label learned from and the first decision predicted,
    /// milliseconds. At least the memory of the features is honest.
    pub embargo: i64,
    /// Features kept by the screening at most.
    pub features: usize,
    /// A feature whose rank correlation with a better one exceeds this is passed over.
    pub max_correlation: f64,
    /// Rows that one model learns from at most.
    pub max_rows: usize,
    /// Rows drawn for each effective (unique) row: overlapping labels repeat themselves.
    pub rows_per_effective: f64,
    /// Trees of a model.
    pub trees: usize,
    /// The depth of a tree.
    pub depth: usize,
    /// The share of each tree's answer that is taken.
    pub learning_rate: f64,
    /// The penalty on the square of a leaf's value, as in XGBoost's `lambda`.
    pub tree_l2: f64,
    /// Rows in a leaf, about, at least (as weight; see `trees`).
    pub min_leaf_rows: f64,
    /// The penalty of the logistic regression for each row of weight 1.
    pub logistic_l2: f64,
    /// Groups of equal weight that the calibration sees at most.
    pub calibration_groups: usize,
    /// Effective rows at the overall rate that are added to each group of the calibration.
    pub calibration_prior: f64,
    /// The seed of every draw.
    pub seed: u64,
}

impl Default for EnsembleSettings {
    fn default() -> Self {
        Self {
            folds: 5,
            first_share: 0.3,
            embargo: 0,
            features: 64,
            max_correlation: 0.95,
            max_rows: 100_000,
            rows_per_effective: 4.0,
            trees: 150,
            depth: 4,
            learning_rate: 0.05,
            tree_l2: 10.0,
            min_leaf_rows: 100.0,
            logistic_l2: 0.01,
            calibration_groups: 20,
            calibration_prior: 10.0,
            seed: 0,
        }
    }
}

impl EnsembleSettings {
    /// Checks the values.
    ///
    /// # Errors
    /// [`DatasetError::Setting`] names the first that cannot be used.
    pub fn validate(&self) -> Result<(), DatasetError> {
        let whole = |name, value: usize, low: usize, high: usize| {
            if (low..=high).contains(&value) {
                return Ok(());
            }
            refuse(name, value.to_string(), format!("{low} to {high}"))
        };
        let real = |name, value: f64, low: f64, high: f64| {
            if value >= low && value <= high {
                return Ok(());
            }
            refuse(name, value.to_string(), format!("{low} to {high}"))
        };
        whole("ensemble.folds", self.folds, 1, 100)?;
        real("ensemble.first_share", self.first_share, 0.05, 0.9)?;
        if self.embargo < 0 {
            let value = self.embargo.to_string();
            return refuse("ensemble.embargo", value, "at least 0 milliseconds".into());
        }
        whole("ensemble.features", self.features, 1, MOST_FEATURES)?;
        real("ensemble.max_correlation", self.max_correlation, 0.0, 1.0)?;
        whole("ensemble.max_rows", self.max_rows, 100, 10_000_000)?;
        real(
            "ensemble.rows_per_effective",
            self.rows_per_effective,
            0.01,
            1000.0,
        )?;
        whole("ensemble.trees", self.trees, 1, 10_000)?;
        whole("ensemble.depth", self.depth, 1, 12)?;
        real("ensemble.learning_rate", self.learning_rate, 1e-4, 1.0)?;
        real("ensemble.tree_l2", self.tree_l2, 0.0, 1e9)?;
        real("ensemble.min_leaf_rows", self.min_leaf_rows, 1.0, 1e9)?;
        real("ensemble.logistic_l2", self.logistic_l2, 1e-9, 1e9)?;
        whole(
            "ensemble.calibration_groups",
            self.calibration_groups,
            1,
            10_000,
        )?;
        real(
            "ensemble.calibration_prior",
            self.calibration_prior,
            1e-3,
            1e9,
        )
    }

    /// Returns the time between a label's end and a decision, at least one unit: a label that ends
    /// when a decision is made is not quite known to it.
    pub(super) fn gap(&self) -> i64 {
        self.embargo.max(1)
    }
}

fn refuse(name: &'static str, value: String, expected: String) -> Result<(), DatasetError> {
    Err(DatasetError::Setting {
        name,
        value,
        expected,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_bad_setting_is_named() {
        let check = |change: &dyn Fn(&mut EnsembleSettings), expected: &str| {
            let mut settings = EnsembleSettings::default();
            change(&mut settings);
            match settings.validate() {
                Err(DatasetError::Setting { name, .. }) => assert_eq!(name, expected),
                other => panic!("{other:?}"),
            }
        };
        assert!(EnsembleSettings::default().validate().is_ok());
        check(&|s| s.folds = 0, "ensemble.folds");
        check(&|s| s.first_share = f64::NAN, "ensemble.first_share");
        check(&|s| s.embargo = -1, "ensemble.embargo");
        check(&|s| s.features = 0, "ensemble.features");
        check(&|s| s.max_correlation = 1.5, "ensemble.max_correlation");
        check(&|s| s.max_rows = 5, "ensemble.max_rows");
        check(
            &|s| s.rows_per_effective = 0.0,
            "ensemble.rows_per_effective",
        );
        check(&|s| s.trees = 0, "ensemble.trees");
        check(&|s| s.depth = 99, "ensemble.depth");
        check(&|s| s.learning_rate = 0.0, "ensemble.learning_rate");
        check(&|s| s.tree_l2 = -1.0, "ensemble.tree_l2");
        check(&|s| s.min_leaf_rows = 0.0, "ensemble.min_leaf_rows");
        check(&|s| s.logistic_l2 = f64::INFINITY, "ensemble.logistic_l2");
        check(&|s| s.calibration_groups = 0, "ensemble.calibration_groups");
        check(&|s| s.calibration_prior = 0.0, "ensemble.calibration_prior");
    }
}
