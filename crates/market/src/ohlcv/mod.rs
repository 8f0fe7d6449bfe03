//! Bars from Parquet and CSV files, as pandas, polars and MetaTrader write them.
//!
//! One file holds one instrument; its name says which ([`parse_file_name`]). Columns are found by
//! their usual names without regard to case and order: a time (`date`, `time`, `timestamp`,
//! `datetime`, `open_time`, an index of pandas), `open`, `high`, `low`, `close`, and `volume` or
//! `tick_volume` if there is one. Other columns are passed over and listed. Stamps are the bar's
//! **open** time in UTC: timestamps of any unit, with a time zone or without, or integers whose
//! unit is told by their size. The bars pass the same checks as freqtrade's.

mod columns;
mod csv;
mod name;
mod parquet;

use std::path::Path;

use crate::validate::typical_spacing;
use crate::{Bars, MarketError, Timeframe, Timestamp, Warning};

pub use name::{BarsFile, discover, instrument, parse_file_name};

pub(crate) use columns::{Names, TIME};
pub(crate) use name::{has_known_extension, is_parquet};
pub(crate) use parquet::{check_rows, numbers, times};

/// The most rows that are read from one file, as many as from a feather file.
pub(crate) const LARGEST_TABLE: u64 = 64 << 20;

/// How many files of a directory are looked at to tell whether it has bars.
const LOOKED_AT: usize = 8;

/// Where a file's timeframe comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeframeSource {
    /// The name of the file or of its folder.
    Name,
    /// The most common distance of its rows.
    Rows,
}

/// What a file of bars holds.
#[derive(Debug, Clone, PartialEq)]
pub struct Contents {
    /// The bars, checked.
    pub bars: Bars,
    /// What is odd but usable.
    pub warnings: Vec<Warning>,
    /// Where the timeframe comes from.
    pub timeframe_source: TimeframeSource,
    /// The column that the stamps come from.
    pub time_column: String,
    /// The column that the volumes come from; without one every volume is zero.
    pub volume_column: Option<String>,
    /// The columns that were passed over.
    pub other_columns: Vec<String>,
}

/// Reads the bars of a Parquet or CSV file. Instrument and timeframe come from its name.
///
/// # Errors
/// As [`read_contents`].
pub fn read(path: &Path) -> Result<Bars, MarketError> {
    read_contents(path).map(|contents| contents.bars)
}

/// [`read`], and what else the file says.
///
/// # Errors
/// [`MarketError::BarsFileName`] from the name; what is wrong with the bytes, with its offset or
/// line; [`MarketError::NoColumnFor`] and [`MarketError::ColumnType`] from the columns;
/// [`MarketError::UnknownTimeframe`]; or what [`Bars::validate`] finds, with its row.
pub fn read_contents(path: &Path) -> Result<Contents, MarketError> {
    let file = parse_file_name(path)?;
    let (mut contents, fault) = read_unchecked(&file)?;
    if let Some(fault) = fault {
        return Err(fault);
    }
    let warnings = contents.bars.validate_as(&path.display().to_string())?;
    contents.warnings.extend(warnings);
    Ok(contents)
}

/// Reads bars whose rows have not been validated; without a timeframe they are taken for hourly
/// and the fault is returned beside them.
pub(crate) fn read_unchecked(
    file: &BarsFile,
) -> Result<(Contents, Option<MarketError>), MarketError> {
    let table = if is_parquet(&file.path) {
        parquet::read(&file.path)?
    } else {
        csv::read(&file.path)?
    };
    let (timeframe, source) = match file.timeframe {
        Some(timeframe) => (Some(timeframe), TimeframeSource::Name),
        None => (shown(&table.time), TimeframeSource::Rows),
    };
    let fault = match timeframe {
        Some(_) => None,
        None => Some(MarketError::UnknownTimeframe {
            path: file.path.clone(),
        }),
    };
    let rows = table.time.len();
    let bars = Bars {
        instrument: file.instrument.clone(),
        timeframe: timeframe.unwrap_or(Timeframe::HOUR),
        open_time: table.time,
        open: table.open,
        high: table.high,
        low: table.low,
        close: table.close,
        volume: table.volume.unwrap_or_else(|| vec![0.0; rows]),
    };
    let contents = Contents {
        bars,
        warnings: Vec::new(),
        timeframe_source: source,
        time_column: table.time_column,
        volume_column: table.volume_column,
        other_columns: table.other_columns,
    };
    Ok((contents, fault))
}

/// Reports whether one of the first files of a directory has bars.
pub(crate) fn has_bars(directory: &Path) -> bool {
    let files = discover(directory).unwrap_or_default();
    let mut first = files.iter().take(LOOKED_AT);
    first.any(|file| has_columns_of_bars(&file.path))
}

/// Reports whether a file has columns for the four prices of bars, as far as it can be told: for
/// CSV files from the first line. A file that cannot be read has none.
pub(crate) fn has_columns_of_bars(path: &Path) -> bool {
    let names = if is_parquet(path) {
        parquet::column_names(path)
    } else {
        csv::column_names(path)
    };
    names.is_some_and(|names| {
        let names = Names::new(path, names.into_iter());
        let roles = [columns::OPEN, columns::HIGH, columns::LOW, columns::CLOSE];
        // A name that is there twice is a fault of bars.
        let there = |role: &[&str]| names.all(role).is_ok_and(|found| !found.is_empty());
        roles.into_iter().filter(|role| there(role)).count() >= 3
    })
}

/// The columns of a file before they are bars.
struct Table {
    time: Vec<i64>,
    open: Vec<f64>,
    high: Vec<f64>,
    low: Vec<f64>,
    close: Vec<f64>,
    volume: Option<Vec<f64>>,
    time_column: String,
    volume_column: Option<String>,
    other_columns: Vec<String>,
}

/// Returns the timeframe that rows show, if it is one of whole seconds. Months cannot be told.
fn shown(times: &[i64]) -> Option<Timeframe> {
    let spacing = typical_spacing(times).filter(|spacing| *spacing > 0)?;
    let units = [
        (604_800_000, "w"),
        (86_400_000, "d"),
        (3_600_000, "h"),
        (60_000, "m"),
        (1_000, "s"),
    ];
    let (unit, name) = units.into_iter().find(|(unit, _)| spacing % unit == 0)?;
    format!("{}{name}", spacing / unit).parse().ok()
}

/// The error of a stamp that lies in no year of market data in any unit.
pub(crate) fn implausible(path: &Path, row: usize, value: i64) -> MarketError {
    MarketError::ImplausibleTime {
        origin: path.display().to_string(),
        row,
        time: Timestamp(value),
    }
}
