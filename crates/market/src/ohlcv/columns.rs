//! Under which names files of bars and ticks keep their columns.
//!
//! Names are compared without case, and without the `<` and `>` of MetaTrader. Where several of a
//! role's names are there, the one that comes first in its list is taken.

use std::path::Path;

use crate::MarketError;
use crate::parquet::ParquetFile;

/// Stamps of rows; `__index_level_0__` is what pandas calls an index without a name.
pub(crate) const TIME: &[&str] = &[
    "date",
    "time",
    "timestamp",
    "datetime",
    "date_time",
    "open_time",
    "opentime",
    "ts",
    "__index_level_0__",
    "index",
];
/// First prices.
pub(crate) const OPEN: &[&str] = &["open", "o"];
/// Highest prices.
pub(crate) const HIGH: &[&str] = &["high", "h"];
/// Lowest prices.
pub(crate) const LOW: &[&str] = &["low", "l"];
/// Last prices.
pub(crate) const CLOSE: &[&str] = &["close", "c"];
/// Volumes. Where a file has a traded volume and a count of ticks, the traded one is taken.
pub(crate) const VOLUME: &[&str] = &[
    "volume",
    "tick_volume",
    "tickvolume",
    "tickvol",
    "vol",
    "real_volume",
    "v",
];

/// The names of a file's columns.
pub(crate) struct Names<'a> {
    path: &'a Path,
    names: Vec<String>,
}

impl<'a> Names<'a> {
    /// Takes the names in file order.
    pub(crate) fn new(path: &'a Path, names: impl Iterator<Item = String>) -> Self {
        Self {
            path,
            names: names.collect(),
        }
    }

    /// Takes the names of a Parquet file.
    pub(crate) fn of(file: &'a ParquetFile) -> Self {
        let names = file.columns().iter().map(|column| column.name.clone());
        Self::new(file.path(), names)
    }

    /// Returns every column of a role, the most usual name first.
    ///
    /// # Errors
    /// [`MarketError::RepeatedColumn`] where one name is there twice.
    pub(crate) fn all(&self, role: &[&str]) -> Result<Vec<usize>, MarketError> {
        let mut found = Vec::new();
        for name in role {
            let mut places =
                (0..self.names.len()).filter(|place| &plain(&self.names[*place]) == name);
            let first = places.next();
            if places.next().is_some() {
                return Err(MarketError::RepeatedColumn {
                    path: self.path.to_owned(),
                    column: (*name).to_owned(),
                });
            }
            found.extend(first);
        }
        Ok(found)
    }

    /// Returns the column of a role that must be there.
    ///
    /// # Errors
    /// [`MarketError::NoColumnFor`], and as [`Names::all`].
    pub(crate) fn one(
        &self,
        role: &'static str,
        names: &'static [&'static str],
    ) -> Result<usize, MarketError> {
        self.all(names)?
            .first()
            .copied()
            .ok_or_else(|| self.none(role, names))
    }

    /// The error of a role that no column has.
    pub(crate) fn none(&self, role: &'static str, names: &'static [&'static str]) -> MarketError {
        MarketError::NoColumnFor {
            path: self.path.to_owned(),
            role,
            names,
            found: self.names.clone(),
        }
    }

    /// Returns the names of the columns that are not among those used.
    pub(crate) fn others(&self, used: &[usize]) -> Vec<String> {
        (0..self.names.len())
            .filter(|place| !used.contains(place))
            .map(|place| self.names[place].clone())
            .collect()
    }

    /// Returns a column's name as it stands in the file.
    pub(crate) fn name(&self, place: usize) -> &str {
        &self.names[place]
    }
}

/// Returns a name in lower case and without decoration.
fn plain(name: &str) -> String {
    name.trim()
        .trim_start_matches('\u{feff}')
        .trim_start_matches('<')
        .trim_end_matches('>')
        .to_ascii_lowercase()
        .replace(' ', "_")
}
