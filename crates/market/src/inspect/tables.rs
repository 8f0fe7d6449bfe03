//! Reports on Parquet and CSV files and on packages.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::FileReport;
use crate::freqtrade::CandleKind;
use crate::ohlcv::{self, BarsFile, TimeframeSource};
use crate::parquet::ParquetFile;
use crate::table::{Package, PackageFault, WideReader};
use crate::ticks::{self, TickFile};
use crate::{Instrument, MarketError, Timestamp};

/// How many names of columns a note lists.
const LISTED: usize = 8;
/// Nanoseconds in a millisecond.
const MILLISECOND: i64 = 1_000_000;

/// The state of a package of wide tables.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PackageReport {
    /// The rows of all tables.
    pub rows: u64,
    /// The pairs, sorted by folder.
    pub pairs: Vec<PairReport>,
    /// Everything that is wrong.
    pub faults: Vec<PackageFault>,
}

/// One pair of a package.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PairReport {
    /// The folder's name.
    pub pair: String,
    /// What is traded, as the folder's name says.
    pub instrument: Instrument,
    /// The rows of its tables.
    pub rows: u64,
    /// The columns of numbers of its first table, the time apart.
    pub features: usize,
    /// The first stamp of the first table and the last of the last, where they have stamps.
    pub first: Option<Timestamp>,
    /// See [`PairReport::first`].
    pub last: Option<Timestamp>,
}

/// Lists the Parquet files of a directory, and its CSV files that have the columns of bars.
pub(super) fn files(directory: &Path) -> Result<Vec<PathBuf>, MarketError> {
    let fail = |source| MarketError::Io {
        path: directory.to_owned(),
        action: "list",
        source,
    };
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(fail)? {
        let path = entry.map_err(fail)?.path();
        let wanted = ohlcv::is_parquet(&path)
            || ohlcv::has_known_extension(&path) && ohlcv::has_columns_of_bars(&path);
        if wanted && path.is_file() {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

/// Fills the report of a Parquet or CSV file as far as it allows.
pub(super) fn look(path: &Path, report: &mut FileReport) -> Result<(), MarketError> {
    let kind = |name: &str| Some(CandleKind::Other(name.to_owned()));
    if !ohlcv::is_parquet(path) || ohlcv::has_columns_of_bars(path) {
        report.kind = kind("bars");
        return look_at_bars(&ohlcv::parse_file_name(path)?, report);
    }
    if let Some(name) = ticks::kind_of(&ParquetFile::open(path)?)? {
        report.kind = kind(name);
        return look_at_ticks(path, report);
    }
    report.kind = kind("table");
    look_at_table(path, report)
}

fn look_at_bars(file: &BarsFile, report: &mut FileReport) -> Result<(), MarketError> {
    report.instrument = Some(file.instrument.clone());
    report.timeframe = file.timeframe;
    let (contents, fault) = ohlcv::read_unchecked(file)?;
    let bars = &contents.bars;
    report.fill(&bars.open_time, &bars.gaps());
    if let Some(fault) = fault {
        return Err(fault);
    }
    report.timeframe = Some(bars.timeframe);
    if contents.timeframe_source == TimeframeSource::Rows {
        let note = format!("its rows, not its name, say {}", bars.timeframe);
        report.notes.push(note);
    }
    if contents.volume_column.is_none() {
        report.notes.push("it has no volume".to_owned());
    }
    if !contents.other_columns.is_empty() {
        let names = listed(&contents.other_columns);
        report.notes.push(format!("columns passed over: {names}"));
    }
    report.warnings = bars.validate_as(&file.path.display().to_string())?;
    Ok(())
}

fn look_at_ticks(path: &Path, report: &mut FileReport) -> Result<(), MarketError> {
    let (times, warnings) = match ticks::read(path)? {
        TickFile::Quotes(quotes, warnings) => (quotes.time, warnings),
        TickFile::Trades(trades, warnings) => (trades.time, warnings),
    };
    let stamp = |time: &i64| Timestamp(time.div_euclid(MILLISECOND));
    report.rows = Some(times.len());
    report.first = times.first().map(stamp);
    report.last = times.last().map(stamp);
    report.notes = warnings.iter().map(ToString::to_string).collect();
    Ok(())
}

fn look_at_table(path: &Path, report: &mut FileReport) -> Result<(), MarketError> {
    let reader = WideReader::open(path)?;
    report.rows = usize::try_from(reader.rows()).ok();
    let note = format!("{} columns of numbers", features(&reader));
    report.notes.push(note);
    match reader.time_column() {
        Some(_) => {
            let period = reader.period()?;
            report.first = period.map(|period| period.0);
            report.last = period.map(|period| period.1);
        }
        None => report.notes.push("it has no time column".to_owned()),
    }
    Ok(())
}

/// Reports on a package.
pub(super) fn package(package: &Package) -> PackageReport {
    let pairs = package.pairs.iter().map(|pair| {
        let tables = || pair.tables.iter().map(|(_, reader)| reader);
        // What fails here is among the faults.
        let period = |reader: &WideReader| reader.period().ok().flatten();
        PairReport {
            pair: pair.name.clone(),
            instrument: pair.instrument.clone(),
            rows: tables().map(WideReader::rows).sum(),
            features: tables().next().map_or(0, features),
            first: tables().next().and_then(period).map(|period| period.0),
            last: tables().last().and_then(period).map(|period| period.1),
        }
    });
    PackageReport {
        rows: package.rows(),
        pairs: pairs.collect(),
        faults: package.check(false),
    }
}

fn features(reader: &WideReader) -> usize {
    let all = reader.select(&["*"]);
    all.map_or(0, |selection| selection.columns.len())
}

fn listed(names: &[String]) -> String {
    let some: Vec<_> = names
        .iter()
        .take(LISTED)
        .map(|name| format!("`{name}`"))
        .collect();
    match names.len().saturating_sub(LISTED) {
        0 => some.join(", "),
        rest => format!("{} and {rest} more", some.join(", ")),
    }
}
