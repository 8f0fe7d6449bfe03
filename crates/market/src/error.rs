//! What can go wrong with market data, with the place where it did.

use std::io;
use std::path::PathBuf;

use crate::{Timeframe, Timestamp};

/// An error of this crate.
///
/// `origin` is the path of the file the bars came from, or the instrument and timeframe of bars
/// made in memory. Rows count from 0, as pandas shows them.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MarketError {
    /// A text is not an instant.
    #[error("`{text}` is not a time such as `2019-03-01T12:00:00Z`")]
    Timestamp {
        /// The text.
        text: String,
    },
    /// A text is not an instrument's name.
    #[error("`{name}` is not an instrument such as `BTC/USDT`: {reason}")]
    Instrument {
        /// The text, at most 64 characters of it.
        name: String,
        /// Which rule it breaks.
        reason: &'static str,
    },
    /// A text is not a timeframe.
    #[error("`{text}` is not a timeframe such as `15m`, `1h`, `1d`, `1w` or `1M`")]
    Timeframe {
        /// The text.
        text: String,
    },
    /// The operating system refused a file operation.
    #[error("cannot {action} `{path}`: {source}")]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What was attempted, a verb.
        action: &'static str,
        /// The system's reason.
        source: io::Error,
    },
    /// A file is larger than a reader takes.
    #[error("`{path}` has {bytes} bytes, more than the {limit} that are read")]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size.
        bytes: u64,
        /// The limit.
        limit: u64,
    },
    /// A directory has no candle file.
    #[error("`{path}` has no candle file named like `BTC_USDT-1h.feather`")]
    NoCandleFiles {
        /// The directory.
        path: PathBuf,
        /// Directories below it that have some.
        nested: Vec<PathBuf>,
    },
    /// A file's name does not say instrument and timeframe.
    #[error("`{path}` is not named like `BTC_USDT-1h.feather`: {reason}")]
    FileName {
        /// The file.
        path: PathBuf,
        /// What is missing.
        reason: String,
    },
    /// A file holds another kind of series than was asked for.
    #[error("`{path}` holds `{found}` data, expected {expected}")]
    WrongKind {
        /// The file.
        path: PathBuf,
        /// The kind its name says.
        found: String,
        /// What was asked for.
        expected: &'static str,
    },
    /// A file is not an Arrow IPC file at all.
    #[error("`{path}` is not a feather file: {reason}")]
    NotFeather {
        /// The file.
        path: PathBuf,
        /// What was looked for.
        reason: String,
    },
    /// A file is not Parquet at all.
    #[error("`{path}` is not a Parquet file: {reason}")]
    NotParquet {
        /// The file.
        path: PathBuf,
        /// What was looked for.
        reason: String,
    },
    /// A Parquet file uses a feature that is not read.
    #[error("`{path}` cannot be read: {reason}")]
    ParquetFeature {
        /// The file.
        path: PathBuf,
        /// The feature.
        reason: String,
    },
    /// A table has no column for something it must have, under any of its usual names.
    #[error("`{path}` has no column for the {role}, only `{}`", found.join("`, `"))]
    NoColumnFor {
        /// The file.
        path: PathBuf,
        /// What the column would hold.
        role: &'static str,
        /// The names under which it is looked for.
        names: &'static [&'static str],
        /// The columns that are there.
        found: Vec<String>,
    },
    /// A table has a name twice.
    #[error("`{path}` has more than one column `{column}`")]
    RepeatedColumn {
        /// The file.
        path: PathBuf,
        /// The name.
        column: String,
    },
    /// A Parquet or CSV file's name does not say the instrument.
    #[error("`{path}` is not named like `EURUSD_M15.parquet`: {reason}")]
    BarsFileName {
        /// The file.
        path: PathBuf,
        /// What is missing.
        reason: String,
    },
    /// Nothing says how long a file's bars are.
    #[error("`{path}` does not say its timeframe, and its rows do not show one")]
    UnknownTimeframe {
        /// The file.
        path: PathBuf,
    },
    /// A directory has no file of bars.
    #[error("`{path}` has no file of bars named like `EURUSD_M15.parquet` or `EURUSD_M15.csv`")]
    NoBarsFiles {
        /// The directory.
        path: PathBuf,
    },
    /// A wide table was given what it cannot hold.
    #[error("cannot write `{path}`: {reason}")]
    Table {
        /// The file.
        path: PathBuf,
        /// What was given and expected.
        reason: String,
    },
    /// A wide table has no such column.
    #[error("`{path}` has no column `{column}`")]
    UnknownColumn {
        /// The file.
        path: PathBuf,
        /// The name or pattern.
        column: String,
        /// A column that is named much like it.
        similar: Option<String>,
    },
    /// A directory is no package.
    #[error("`{path}` has no folder with a `train.parquet`")]
    NoPackage {
        /// The directory.
        path: PathBuf,
    },
    /// A best bid is above the best ask.
    #[error("`{origin}` row {row}: bid {bid} is above ask {ask}")]
    CrossedQuote {
        /// Where the quotes come from.
        origin: String,
        /// The row.
        row: usize,
        /// The bid.
        bid: f64,
        /// The ask.
        ask: f64,
    },
    /// A size is negative or not finite.
    #[error("`{origin}` row {row}: `{column}` is {value}, expected zero or more")]
    Size {
        /// Where the ticks come from.
        origin: String,
        /// The row.
        row: usize,
        /// The column.
        column: &'static str,
        /// The value.
        value: f64,
    },
    /// A trade's side is not one.
    #[error("`{origin}` row {row}: the side is neither buy nor sell")]
    Side {
        /// Where the trades come from.
        origin: String,
        /// The row.
        row: usize,
    },
    /// Ticks would make more bars than are made.
    #[error("the ticks span {bars} bars of {timeframe}, more than the {limit} that are made")]
    TooManyBars {
        /// The span of a bar.
        timeframe: Timeframe,
        /// How many there would be.
        bars: u64,
        /// The limit.
        limit: u64,
    },
    /// A line of a CSV file is not a bar.
    #[error("`{path}` line {line}: {reason}")]
    CsvLine {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: u64,
        /// What was found and expected.
        reason: String,
    },
    /// A file starts as Arrow IPC or Parquet and then contradicts itself or stops.
    #[error("`{path}` is damaged{}: {reason}", at_byte(*.offset))]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where, counted from the file's start, if that is known.
        offset: Option<u64>,
        /// What was found and expected.
        reason: String,
    },
    /// A feather file uses a feature that candle files do not.
    #[error("`{path}` cannot be read: {reason}")]
    Unsupported {
        /// The file.
        path: PathBuf,
        /// The feature.
        reason: String,
    },
    /// A column is absent.
    #[error("`{path}` has no column `{column}`, only `{}`", found.join("`, `"))]
    MissingColumn {
        /// The file.
        path: PathBuf,
        /// The column.
        column: &'static str,
        /// The columns that are there.
        found: Vec<String>,
    },
    /// A column has a type that cannot be that quantity.
    #[error("column `{column}` of `{path}` has type `{found}`, expected {expected}")]
    ColumnType {
        /// The file.
        path: PathBuf,
        /// The column.
        column: String,
        /// The type found.
        found: String,
        /// The types accepted.
        expected: &'static str,
    },
    /// A value that must be there is null.
    #[error("`{path}` row {row}: `{column}` is null")]
    Null {
        /// The file.
        path: PathBuf,
        /// The row.
        row: usize,
        /// The column.
        column: &'static str,
    },
    /// A line of a sentiment file is not a reading.
    #[error("`{path}` {place}: {reason}")]
    Sentiment {
        /// The file.
        path: PathBuf,
        /// The line of a CSV file or the element of a JSON file.
        place: String,
        /// What was found and expected.
        reason: String,
    },
    /// There is no row.
    #[error("`{origin}` has no rows")]
    Empty {
        /// Where the bars come from.
        origin: String,
    },
    /// A column is not as long as `open_time`.
    #[error("`{origin}`: `{column}` has {found} rows, `open_time` has {expected}")]
    Length {
        /// Where the bars come from.
        origin: String,
        /// The column.
        column: &'static str,
        /// Its rows.
        found: usize,
        /// The rows of `open_time`.
        expected: usize,
    },
    /// A stamp lies outside the years in which market data can be.
    #[error("`{origin}` row {row}: time {time} is outside the years 2009 to 2099")]
    ImplausibleTime {
        /// Where the bars come from.
        origin: String,
        /// The row.
        row: usize,
        /// The stamp as read.
        time: Timestamp,
    },
    /// A stamp occurs twice in a row.
    #[error("`{origin}` row {row}: time {time} is a duplicate of the row before")]
    DuplicateTime {
        /// Where the bars come from.
        origin: String,
        /// The second row.
        row: usize,
        /// The stamp.
        time: Timestamp,
    },
    /// A stamp is earlier than the one before.
    #[error("`{origin}` row {row}: time {time} comes before the previous row's {previous}")]
    UnsortedTime {
        /// Where the bars come from.
        origin: String,
        /// The row.
        row: usize,
        /// Its stamp.
        time: Timestamp,
        /// The stamp of the row before.
        previous: Timestamp,
    },
    /// A price is not a positive, finite number.
    #[error("`{origin}` row {row}: `{column}` is {value}, expected a positive price")]
    Price {
        /// Where the bars come from.
        origin: String,
        /// The row.
        row: usize,
        /// The column.
        column: &'static str,
        /// The value.
        value: f64,
    },
    /// A bar's high is below its low.
    #[error("`{origin}` row {row}: high {high} is below low {low}")]
    HighBelowLow {
        /// Where the bars come from.
        origin: String,
        /// The row.
        row: usize,
        /// The high.
        high: f64,
        /// The low.
        low: f64,
    },
    /// A bar's open or close lies outside its low and high.
    #[error("`{origin}` row {row}: `{column}` {value} is outside [{low}, {high}]")]
    OutsideRange {
        /// Where the bars come from.
        origin: String,
        /// The row.
        row: usize,
        /// `open` or `close`.
        column: &'static str,
        /// The value.
        value: f64,
        /// The low.
        low: f64,
        /// The high.
        high: f64,
    },
    /// A volume is negative or not finite.
    #[error("`{origin}` row {row}: volume is {value}, expected zero or more")]
    Volume {
        /// Where the bars come from.
        origin: String,
        /// The row.
        row: usize,
        /// The value.
        value: f64,
    },
    /// A line is no headline.
    #[error("`{}` line {line}: {reason}", path.display())]
    Headline {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: u64,
        /// What is wrong.
        reason: String,
    },
    /// A funding rate is not a finite number.
    #[error("`{origin}` row {row}: funding rate is {value}, expected a finite number")]
    Rate {
        /// Where the rates come from.
        origin: String,
        /// The row.
        row: usize,
        /// The value.
        value: f64,
    },
    /// The rows are not spaced as the timeframe says.
    #[error("`{origin}` is named {timeframe}, but its rows are typically {} apart", span(*.typical))]
    TimeframeMismatch {
        /// Where the bars come from.
        origin: String,
        /// The timeframe expected.
        timeframe: Timeframe,
        /// The most common spacing, milliseconds.
        typical: i64,
    },
    /// Two rows are not a whole number of bars apart.
    #[error("`{origin}` row {row}: {} after the previous row, not a multiple of {timeframe}", span(*.spacing))]
    Spacing {
        /// Where the bars come from.
        origin: String,
        /// The later row.
        row: usize,
        /// The timeframe.
        timeframe: Timeframe,
        /// The distance, milliseconds.
        spacing: i64,
    },
}

impl MarketError {
    /// Returns the row the error is about, counted from 0, where it is about one.
    pub fn row(&self) -> Option<usize> {
        match self {
            Self::Null { row, .. }
            | Self::ImplausibleTime { row, .. }
            | Self::DuplicateTime { row, .. }
            | Self::UnsortedTime { row, .. }
            | Self::Price { row, .. }
            | Self::HighBelowLow { row, .. }
            | Self::OutsideRange { row, .. }
            | Self::Volume { row, .. }
            | Self::Rate { row, .. }
            | Self::CrossedQuote { row, .. }
            | Self::Size { row, .. }
            | Self::Side { row, .. }
            | Self::Spacing { row, .. } => Some(*row),
            _ => None,
        }
    }

    /// Returns what to do about the error, where there is something to say.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::NoCandleFiles { nested, .. } if !nested.is_empty() => {
                let names: Vec<String> = nested
                    .iter()
                    .map(|path| format!("`{}`", path.display()))
                    .collect();
                return Some(format!("did you mean {}?", names.join(" or ")));
            }
            Self::Io {
                action: "list",
                source,
                ..
            } => match source.kind() {
                io::ErrorKind::NotFound => {
                    "check the path; freqtrade keeps its candles in `user_data/data/<exchange>`"
                }
                io::ErrorKind::NotADirectory => {
                    "give the directory that holds the `.feather` files, not a file"
                }
                _ => return None,
            },
            Self::NoCandleFiles { .. } => {
                "give the directory that holds the `.feather` files, \
                 such as `user_data/data/binance` of freqtrade"
            }
            Self::FileName { .. } => {
                "rename it to `<pair>-<timeframe>.feather` with `_` for `/` and `:`, \
                 or add `-futures` or `-mark` before the extension"
            }
            Self::NotFeather { .. } => {
                "freqtrade writes this format with `--data-format-ohlcv feather`; \
                 other formats can be turned into it with `freqtrade convert-data`"
            }
            Self::NotParquet { .. } => {
                "give a file as `frame.to_parquet(path)` of pandas writes it; \
                 freqtrade's feather files end in `.feather`, tables of text in `.csv`"
            }
            Self::ParquetFeature { .. } => {
                "write it again, in pandas with `frame.to_parquet(path, compression=\"zstd\")`, in \
                 parts if it has too many rows"
            }
            Self::NoColumnFor { role, names, .. } => {
                let names = names.join("`, `");
                return Some(format!("name the column of the {role} one of `{names}`"));
            }
            Self::UnknownColumn {
                similar: Some(similar),
                ..
            } => return Some(format!("did you mean `{similar}`?")),
            Self::UnknownColumn { .. } => {
                "`foretune data inspect` lists the columns; `*` and `?` stand for letters"
            }
            Self::NoPackage { .. } => {
                "give the directory whose folders are the pairs, such as `training_package` with \
                 `EURUSD/train.parquet`"
            }
            Self::CrossedQuote { .. } | Self::Size { .. } => {
                "remove the row: nothing is repaired here"
            }
            Self::Side { .. } => {
                "the side is `buy` or `sell`, 1 or -1, of the aggressor; or a column \
                 `buyer_is_maker` says true or false"
            }
            Self::TooManyBars { .. } => "take a longer timeframe, or fewer ticks",
            Self::RepeatedColumn { .. } => "keep one of them, or rename the others",
            Self::BarsFileName { .. } => {
                "rename it to `<pair>_<timeframe>.parquet` (or `.csv`), such as `EURUSD_M15.parquet` \
                 or `EUR_USD-15m.parquet`"
            }
            Self::UnknownTimeframe { .. } => {
                "put the timeframe into the name, such as `EURUSD_M15.parquet`"
            }
            Self::NoBarsFiles { .. } => "give the directory that holds the files themselves",
            Self::CsvLine { .. } => {
                "the first line names the columns, such as `time,open,high,low,close,volume`; \
                 times are RFC 3339, `2025-02-16 22:15:00`, MetaTrader's `2025.02.16 22:15`, \
                 or seconds to nanoseconds since 1970"
            }
            Self::ColumnType { path, found, .. }
                if found == "string" && path.extension().is_some_and(|end| end != "feather") =>
            {
                "turn the texts into numbers or times before writing the file, in pandas with \
                 `frame[name] = pandas.to_datetime(frame[name], utc=True)`"
            }
            Self::Damaged { .. } => {
                "the file may be half-downloaded: delete it and download it again"
            }
            Self::Empty { .. } => "delete the file or download its candles again",
            Self::Unsupported { .. } => {
                "write it as freqtrade does, with plain columns and LZ4: in pandas \
                 `frame.to_feather(path, compression=\"lz4\")`"
            }
            Self::MissingColumn { .. } => {
                "a candle file has the columns `date`, `open`, `high`, `low`, `close` and `volume`; \
                 rename the columns, or download the candles again"
            }
            Self::ColumnType { .. } => {
                "convert the column and write the file again, or download its candles again"
            }
            Self::Null { .. }
            | Self::Price { .. }
            | Self::HighBelowLow { .. }
            | Self::OutsideRange { .. }
            | Self::Volume { .. }
            | Self::Rate { .. } => {
                "download the candles again, or remove the row: a row that is missing is \
                 reported as a gap and never bridged"
            }
            Self::DuplicateTime { .. } | Self::UnsortedTime { .. } => {
                "sort the rows by time and keep one row per time"
            }
            Self::ImplausibleTime { .. } => {
                "the column's unit may be wrong: it may be s, ms, us or ns since 1970"
            }
            Self::TimeframeMismatch { .. } => {
                "rename the file to its true timeframe, or download it again"
            }
            Self::Spacing { .. } => {
                "rows of two timeframes or of shifted clocks may have been joined"
            }
            _ => return None,
        };
        Some(hint.to_owned())
    }
}

fn at_byte(offset: Option<u64>) -> String {
    offset.map_or_else(String::new, |offset| format!(" at byte {offset}"))
}

/// Writes a span of milliseconds in the largest unit that divides it: `4h`, `90m`.
pub(crate) fn span(milliseconds: i64) -> String {
    let units = [
        (86_400_000, "d"),
        (3_600_000, "h"),
        (60_000, "m"),
        (1_000, "s"),
    ];
    for (unit, name) in units {
        if milliseconds != 0 && milliseconds % unit == 0 {
            return format!("{}{name}", milliseconds / unit);
        }
    }
    format!("{milliseconds}ms")
}
