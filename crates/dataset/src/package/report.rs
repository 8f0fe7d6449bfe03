//! What a package holds, for people and machines: `metadata.json`.

use std::collections::BTreeMap;

use market::{Timeframe, Timestamp};
use serde::{Deserialize, Serialize};

/// The version of [`PackageSheet`].
pub(crate) const SCHEMA: u32 = 1;

/// What a package holds: `metadata.json` of the directory.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PackageSheet {
    /// The version of this layout.
    pub schema: u32,
    /// The version of the program.
    pub version: String,
    /// The feature set's name.
    pub set: String,
    /// The span of a bar.
    pub timeframe: Timeframe,
    /// What the column `timestamp` means.
    pub timestamp: String,
    /// The bars ahead of the targets.
    pub horizons: Vec<usize>,
    /// What the targets mean.
    pub targets: String,
    /// Rows left out at the beginning of each instrument: no feature is partial.
    pub warm_up_bars: usize,
    /// Rows left out after a cut.
    pub embargo_bars: usize,
    /// Open times at which validation and test begin.
    pub cuts: Vec<Timestamp>,
    /// Rows in all.
    pub rows: u64,
    /// The sha256 of each input file by name.
    pub inputs: BTreeMap<String, String>,
    /// The instruments by folder.
    pub pairs: BTreeMap<String, PairSheet>,
    /// The features in the order of the columns.
    pub features: Vec<FeatureReport>,
}

/// One instrument: `metadata.json` of its folder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PairSheet {
    /// What is traded.
    pub instrument: String,
    /// The parts that have rows, by name.
    pub parts: BTreeMap<String, PartSheet>,
}

/// One file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PartSheet {
    /// Rows.
    pub rows: u64,
    /// The open time of the first row.
    pub first: Timestamp,
    /// The open time of the last row.
    pub last: Timestamp,
    /// The file's size.
    pub bytes: u64,
    /// The file's digest.
    pub sha256: String,
}

/// What became of one feature.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FeatureReport {
    /// The column's name.
    pub name: String,
    /// The formula's id in the catalogue.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub id: Option<String>,
    /// The formula in canonical notation.
    pub formula: String,
    /// Its conventions.
    pub profile: String,
    /// Rows before the first value on data without holes.
    pub warm_up_bars: usize,
    /// The share of rows whose value is unknown.
    pub missing: f64,
    /// The share of rows whose value equals that of the bar before.
    pub unchanged: f64,
    /// The smallest value; none if all are unknown.
    pub smallest: Option<f64>,
    /// The largest value.
    pub largest: Option<f64>,
    /// What makes the column unfit, if anything does.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub degenerate: Option<String>,
}

/// Above this share of unknown values a feature counts as degenerate.
pub(crate) const MOSTLY_MISSING: f64 = 0.5;
/// Above this share of values equal to the one before a feature counts as degenerate.
pub(crate) const MOSTLY_UNCHANGED: f64 = 0.99;

/// Counts what [`FeatureReport`] tells.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tally {
    pub(crate) rows: u64,
    missing: u64,
    unchanged: u64,
    smallest: f32,
    largest: f32,
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            rows: 0,
            missing: 0,
            unchanged: 0,
            smallest: f32::INFINITY,
            largest: f32::NEG_INFINITY,
        }
    }
}

impl Tally {
    /// Takes consecutive values of one instrument.
    pub(crate) fn take(&mut self, values: &[f32]) {
        self.rows += values.len() as u64;
        for &value in values {
            self.missing += u64::from(value.is_nan());
            self.smallest = self.smallest.min(value);
            self.largest = self.largest.max(value);
        }
        for pair in values.windows(2) {
            self.unchanged += u64::from(pair[0] == pair[1]);
        }
    }

    pub(crate) fn missing(&self) -> f64 {
        share(self.missing, self.rows)
    }

    pub(crate) fn unchanged(&self) -> f64 {
        share(self.unchanged, self.rows)
    }

    /// Returns the smallest and largest value.
    pub(crate) fn range(&self) -> Option<(f64, f64)> {
        (self.smallest <= self.largest).then(|| (f64::from(self.smallest), f64::from(self.largest)))
    }

    pub(crate) fn degenerate(&self) -> Option<String> {
        match self.range() {
            None => Some("never known".to_owned()),
            Some((smallest, largest)) if smallest == largest => Some("constant".to_owned()),
            Some(_) if self.missing() > MOSTLY_MISSING => Some("mostly unknown".to_owned()),
            Some(_) if self.unchanged() > MOSTLY_UNCHANGED => Some("hardly ever moves".to_owned()),
            Some(_) => None,
        }
    }
}

fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 {
        0.0
    } else {
        part as f64 / whole as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn degenerate_features_are_named() {
        let check = |values: &[f32], expected: Option<&str>| {
            let mut tally = Tally::default();
            tally.take(values);
            assert_eq!(tally.degenerate().as_deref(), expected);
        };
        check(&[1.0, 2.0, 3.0], None);
        check(&[2.0, 2.0], Some("constant"));
        check(&[f32::NAN, f32::NAN], Some("never known"));
        check(
            &[f32::NAN, f32::NAN, 1.0, 2.0, f32::NAN],
            Some("mostly unknown"),
        );
        let mut slow = vec![1.0; 1000];
        slow[0] = 2.0;
        check(&slow, Some("hardly ever moves"));
    }
}
