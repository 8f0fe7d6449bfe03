//! A directory of wide tables, `<PAIR>/{train,val,test}.parquet`, and what is wrong with it.
//!
//! [`Package::open`] lists it and reads the footers; [`Package::check`] reads the stamps too.
//! Nothing is repaired.

use std::fmt;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::WideReader;
use crate::ohlcv::instrument;
use crate::{Instrument, MarketError};

/// What a package says about itself.
const METADATA: &str = "metadata.json";
/// The largest such file that is read.
const LARGEST_METADATA: u64 = 16 << 20;
/// A part of a package, in the order of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Split {
    /// What is learned from.
    Train,
    /// What settings are chosen on.
    Val,
    /// What is measured on.
    Test,
}

impl Split {
    /// All of them, in the order of time.
    pub const ALL: [Self; 3] = [Self::Train, Self::Val, Self::Test];

    /// Returns the name, `train`, `val` or `test`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Val => "val",
            Self::Test => "test",
        }
    }

    /// The names of its file, without the ending.
    fn names(self) -> &'static [&'static str] {
        match self {
            Self::Train => &["train"],
            Self::Val => &["val", "valid", "validation"],
            Self::Test => &["test"],
        }
    }
}

impl fmt::Display for Split {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// A directory of wide tables.
#[derive(Debug)]
pub struct Package {
    /// The directory.
    pub directory: PathBuf,
    /// Its pairs, sorted by folder.
    pub pairs: Vec<PackagePair>,
    /// The content of `metadata.json`, where there is one and it is JSON.
    pub metadata: Option<serde_json::Value>,
    /// What was wrong with files while they were listed.
    pub faults: Vec<PackageFault>,
}

/// One pair's tables.
#[derive(Debug)]
pub struct PackagePair {
    /// The folder's name.
    pub name: String,
    /// What is traded, as the folder's name says.
    pub instrument: Instrument,
    /// The tables that are there and could be opened, in the order of time.
    pub tables: Vec<(Split, WideReader)>,
}

/// What is wrong with a package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackageFault {
    /// The kind, for programs.
    pub kind: PackageFaultKind,
    /// The pair's folder; empty for the package itself.
    pub pair: String,
    /// The table.
    pub split: Option<Split>,
    /// The row, counted from 0, where it is about one.
    pub row: Option<usize>,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

/// The kinds of faults of a package.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum PackageFaultKind {
    /// A table cannot be read.
    Unreadable,
    /// A pair lacks a table.
    MissingSplit,
    /// A table has no rows.
    Empty,
    /// A table has other columns than the first pair's training table.
    Columns,
    /// A table has no time column.
    NoTime,
    /// Stamps repeat, go back, or lie in no year of market data.
    Time,
    /// A table starts before the one that comes before it has ended.
    Overlap,
    /// `metadata.json` is not JSON.
    Metadata,
}

impl Package {
    /// Lists a package and opens its tables. Folders without any of the three are passed over; a
    /// table that cannot be opened is a fault in the list.
    ///
    /// # Errors
    /// [`MarketError::Io`] where the directory cannot be listed, [`MarketError::NoPackage`] where
    /// no folder of it has a table.
    pub fn open(directory: &Path) -> Result<Self, MarketError> {
        let mut faults = Vec::new();
        let mut pairs = Vec::new();
        for folder in folders(directory)? {
            let Some(name) = folder.file_name().and_then(|name| name.to_str()) else {
                continue;
            };
            let files: Vec<(Split, PathBuf)> = Split::ALL
                .into_iter()
                .filter_map(|split| Some((split, table_path(&folder, split)?)))
                .collect();
            if files.is_empty() {
                continue;
            }
            let fault = |split: Option<Split>, error: &MarketError| {
                PackageFault::of(PackageFaultKind::Unreadable, name, split, error)
            };
            let instrument = match instrument(name) {
                Ok(instrument) => instrument,
                Err(error) => {
                    faults.push(fault(None, &error));
                    continue;
                }
            };
            let mut tables = Vec::new();
            for (split, path) in files {
                match WideReader::open(&path) {
                    Ok(reader) => tables.push((split, reader)),
                    Err(error) => faults.push(fault(Some(split), &error)),
                }
            }
            pairs.push(PackagePair {
                name: name.to_owned(),
                instrument,
                tables,
            });
        }
        if pairs.is_empty() && faults.is_empty() {
            return Err(MarketError::NoPackage {
                path: directory.to_owned(),
            });
        }
        let metadata = read_metadata(&directory.join(METADATA), &mut faults);
        Ok(Self {
            directory: directory.to_owned(),
            pairs,
            metadata,
            faults,
        })
    }

    /// Returns the number of rows of all tables.
    pub fn rows(&self) -> u64 {
        let tables = self.pairs.iter().flat_map(|pair| &pair.tables);
        tables.map(|(_, reader)| reader.rows()).sum()
    }

    /// Reads every stamp and lists everything that is wrong, pair by pair; empty for a sound
    /// package. `index_order` declares that tables without a time column are in the order of time.
    pub fn check(&self, index_order: bool) -> Vec<PackageFault> {
        let mut faults = self.faults.clone();
        let model = self.pairs.iter().find_map(|pair| pair.tables.first());
        let found: Vec<Vec<PackageFault>> = self
            .pairs
            .par_iter()
            .map(|pair| {
                let mut faults = pair.missing(&self.faults);
                if let Some((_, model)) = model {
                    faults.extend(pair.columns(model));
                }
                faults.extend(pair.times(index_order));
                faults
            })
            .collect();
        faults.extend(found.into_iter().flatten());
        faults
    }
}

impl PackagePair {
    /// Returns a table.
    pub fn table(&self, split: Split) -> Option<&WideReader> {
        let mut tables = self.tables.iter();
        tables.find_map(|(of, reader)| (*of == split).then_some(reader))
    }
}

impl PackageFault {
    pub(super) fn of(
        kind: PackageFaultKind,
        pair: &str,
        split: Option<Split>,
        error: &MarketError,
    ) -> Self {
        Self {
            kind,
            pair: pair.to_owned(),
            split,
            row: error.row(),
            message: error.to_string(),
            hint: error.hint(),
        }
    }
}

/// Returns the table of a part of a package, if it is there.
fn table_path(folder: &Path, split: Split) -> Option<PathBuf> {
    let mut names = split.names().iter();
    names.find_map(|name| {
        let path = folder.join(format!("{name}.parquet"));
        path.is_file().then_some(path)
    })
}

fn folders(directory: &Path) -> Result<Vec<PathBuf>, MarketError> {
    let fail = |source| MarketError::Io {
        path: directory.to_owned(),
        action: "list",
        source,
    };
    let mut folders = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(fail)? {
        let path = entry.map_err(fail)?.path();
        if path.is_dir() {
            folders.push(path);
        }
    }
    folders.sort();
    Ok(folders)
}

fn read_metadata(path: &Path, faults: &mut Vec<PackageFault>) -> Option<serde_json::Value> {
    let size = std::fs::metadata(path).ok()?.len();
    let read = if size > LARGEST_METADATA {
        Err(format!(
            "it has {size} bytes, more than the {LARGEST_METADATA} that are read"
        ))
    } else {
        std::fs::read(path)
            .map_err(|error| error.to_string())
            .and_then(|bytes| serde_json::from_slice(&bytes).map_err(|error| error.to_string()))
    };
    match read {
        Ok(value) => Some(value),
        Err(reason) => {
            faults.push(PackageFault {
                kind: PackageFaultKind::Metadata,
                pair: String::new(),
                split: None,
                row: None,
                message: format!("`{}` cannot be read: {reason}", path.display()),
                hint: Some("delete it or write it again".to_owned()),
            });
            None
        }
    }
}
