//! What a data directory holds and what is wrong with it, file by file: feather files of candles,
//! Parquet and CSV files of bars, Parquet files of ticks, or a package of wide tables.
//!
//! One bad file is a line in the report, never the end of it. Nothing is repaired.

mod tables;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::freqtrade::{self, CandleKind, DataFile};
use crate::table::Package;
use crate::{Bars, Gap, Instrument, MarketError, Timeframe, Timestamp, Warning};
pub use tables::{PackageReport, PairReport};

/// How many gaps of a file are listed one by one.
const LISTED_GAPS: usize = 5;

/// The state of a data directory.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Inspection {
    /// The directory.
    pub directory: PathBuf,
    /// Every `.feather` file of it and of its `futures/` folder, then every Parquet file of it and
    /// every CSV file that has the columns of bars, each sorted by path.
    pub files: Vec<FileReport>,
    /// The package that the directory is, where it has no such files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub package: Option<PackageReport>,
}

/// The state of one file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FileReport {
    /// The path below the directory.
    pub file: PathBuf,
    /// What is traded, where the name says it.
    pub instrument: Option<Instrument>,
    /// The timeframe in the name, where it says one.
    pub timeframe: Option<Timeframe>,
    /// What the rows are, where the name says it; `bars`, `quotes`, `trades` or `table` by its
    /// columns for a Parquet or CSV file.
    pub kind: Option<CandleKind>,
    /// The number of rows, where they could be read.
    pub rows: Option<usize>,
    /// The first row's stamp.
    pub first: Option<Timestamp>,
    /// The last row's stamp.
    pub last: Option<Timestamp>,
    /// The holes between rows.
    pub gaps: GapReport,
    /// What is odd but usable.
    pub warnings: Vec<Warning>,
    /// What else there is to say about a Parquet or CSV file, in words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// What makes the file unusable: the first fault found.
    pub errors: Vec<Fault>,
}

/// The holes of one file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GapReport {
    /// The number of holes.
    pub count: usize,
    /// The rows missing in all of them.
    pub missing: usize,
    /// The largest hole, the first of them where several are equal.
    pub largest: Option<Gap>,
    /// The first few, in time order.
    pub listed: Vec<Gap>,
}

/// Something that makes a file unusable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// The row, counted from 0, where there is one.
    pub row: Option<usize>,
    /// What is wrong, with the file's path.
    pub message: String,
    /// What to do about it, where there is something to say.
    pub hint: Option<String>,
}

impl Inspection {
    /// Reports whether no file and no table of the package has an error.
    pub fn is_sound(&self) -> bool {
        let package = self.package.as_ref();
        self.files.iter().all(|file| file.errors.is_empty())
            && package.is_none_or(|package| package.faults.is_empty())
    }
}

impl FileReport {
    fn new(file: &Path) -> Self {
        Self {
            file: file.to_owned(),
            instrument: None,
            timeframe: None,
            kind: None,
            rows: None,
            first: None,
            last: None,
            gaps: GapReport::default(),
            warnings: Vec::new(),
            notes: Vec::new(),
            errors: Vec::new(),
        }
    }

    fn fill(&mut self, times: &[i64], gaps: &[Gap]) {
        self.rows = Some(times.len());
        self.first = times.first().copied().map(Timestamp);
        self.last = times.last().copied().map(Timestamp);
        self.gaps = GapReport {
            count: gaps.len(),
            missing: gaps.iter().map(|gap| gap.missing).sum(),
            // Of equal maxima `max_by_key` returns the last.
            largest: gaps.iter().rev().max_by_key(|gap| gap.missing).copied(),
            listed: gaps.iter().take(LISTED_GAPS).copied().collect(),
        };
    }
}

/// Reads every file of a data directory, and every feather file of its `futures/` folder, and
/// reports on it; or, where there is none, on the package of wide tables that the directory is.
///
/// # Errors
/// [`MarketError::Io`] where the directory cannot be listed, [`MarketError::NoCandleFiles`] where
/// it has neither a file nor a table. A file's own faults are in its [`FileReport`].
pub fn inspect(directory: &Path) -> Result<Inspection, MarketError> {
    let paths = freqtrade::feather_files(directory)?;
    let others = tables::files(directory)?;
    let package = if paths.is_empty() && others.is_empty() {
        match Package::open(directory) {
            Ok(package) => Some(tables::package(&package)),
            Err(_) => return Err(freqtrade::no_candle_files(directory)),
        }
    } else {
        None
    };
    let candles = paths.iter().map(|path| inspect_file(directory, path, look));
    let others = others
        .iter()
        .map(|path| inspect_file(directory, path, tables::look));
    Ok(Inspection {
        directory: directory.to_owned(),
        files: candles.chain(others).collect(),
        package,
    })
}

/// Looks at a file and fills its report.
type Look = fn(&Path, &mut FileReport) -> Result<(), MarketError>;

fn inspect_file(directory: &Path, path: &Path, look: Look) -> FileReport {
    let mut report = FileReport::new(path.strip_prefix(directory).unwrap_or(path));
    if let Err(error) = look(path, &mut report) {
        report.errors.push(Fault {
            row: error.row(),
            message: error.to_string(),
            hint: error.hint(),
        });
    }
    report
}

/// Fills the report as far as the file allows.
fn look(path: &Path, report: &mut FileReport) -> Result<(), MarketError> {
    let file = freqtrade::parse_file_name(path)?;
    report.instrument = Some(file.instrument.clone());
    report.timeframe = Some(file.timeframe);
    report.kind = Some(file.kind.clone());
    match &file.kind {
        CandleKind::FundingRate => look_at_funding(&file, report),
        CandleKind::Other(_) => Ok(()),
        CandleKind::Spot | CandleKind::Futures | CandleKind::Mark => look_at_bars(&file, report),
    }
}

fn look_at_bars(file: &DataFile, report: &mut FileReport) -> Result<(), MarketError> {
    let (bars, warnings): (Bars, _) = freqtrade::read_unchecked(file)?;
    report.fill(&bars.open_time, &bars.gaps());
    report.warnings = warnings;
    let warnings = bars.validate_as(&file.path.display().to_string())?;
    report.warnings.extend(warnings);
    Ok(())
}

fn look_at_funding(file: &DataFile, report: &mut FileReport) -> Result<(), MarketError> {
    let funding = freqtrade::read_funding_unchecked(file)?;
    report.fill(&funding.funding_time, &funding.gaps());
    report.warnings = funding.validate_as(file)?;
    Ok(())
}
