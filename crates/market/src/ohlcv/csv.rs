//! Bars from CSV files: MetaTrader's exports and what pandas, spreadsheets and brokers write.
//!
//! The first line names the columns; fields are separated by commas, semicolons or tabs. A time
//! without an offset is taken as UTC. MetaTrader's files carry the clock of the broker's server,
//! which is rarely UTC: shift it before the bars are mixed with others.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use ::csv::{ReaderBuilder, StringRecord};
use chrono::{NaiveDate, NaiveDateTime};

use super::columns::{CLOSE, HIGH, LOW, Names, OPEN, TIME, VOLUME};
use super::{Table, implausible};
use crate::time::EpochUnit;
use crate::{MarketError, Timestamp};

/// The largest file that is read, 2 GiB.
const LARGEST_FILE: u64 = 2 << 30;
/// The longest first line.
const LONGEST_HEAD: u64 = 64 << 10;
/// How texts write a date and a time of day without an offset.
const FORMATS: [&str; 7] = [
    "%Y-%m-%d %H:%M:%S%.f",
    "%Y-%m-%dT%H:%M:%S%.f",
    "%Y-%m-%d %H:%M",
    "%Y.%m.%d %H:%M:%S%.f",
    "%Y.%m.%d %H:%M",
    "%Y%m%d %H%M%S",
    "%Y/%m/%d %H:%M:%S%.f",
];
/// How they write a date alone.
const DATES: [&str; 3] = ["%Y.%m.%d", "%Y%m%d", "%Y/%m/%d"];

/// Reads the columns of bars.
pub(super) fn read(path: &Path) -> Result<Table, MarketError> {
    let io = |source| MarketError::Io {
        path: path.to_owned(),
        action: "read",
        source,
    };
    let handle = File::open(path).map_err(io)?;
    let bytes = handle.metadata().map_err(io)?.len();
    if bytes > LARGEST_FILE {
        return Err(MarketError::TooLarge {
            path: path.to_owned(),
            bytes,
            limit: LARGEST_FILE,
        });
    }
    let mut input = BufReader::new(handle.take(LARGEST_FILE));
    let mut head = Vec::new();
    (&mut input)
        .take(LONGEST_HEAD)
        .read_until(b'\n', &mut head)
        .map_err(io)?;
    let mut reader = ReaderBuilder::new()
        .has_headers(true)
        .delimiter(delimiter(&head))
        .trim(::csv::Trim::All)
        .from_reader(std::io::Cursor::new(head).chain(input));
    let line = |error: ::csv::Error| {
        let line = error.position().map_or(1, ::csv::Position::line);
        match error.into_kind() {
            ::csv::ErrorKind::Io(source) => io(source),
            ::csv::ErrorKind::UnequalLengths {
                expected_len, len, ..
            } => bad_line(
                path,
                line,
                format!("{len} fields, the first line has {expected_len}"),
            ),
            _ => bad_line(path, line, "it is not text in UTF-8".to_owned()),
        }
    };
    let header = reader.headers().map_err(line)?.clone();
    let names = Names::new(path, header.iter().map(str::to_owned));
    let mut table = Builder::new(path, &names)?;
    let mut record = StringRecord::new();
    while reader.read_record(&mut record).map_err(line)? {
        let line = record.position().map_or(0, ::csv::Position::line);
        table.push(&record, line)?;
    }
    Ok(table.finish(&names))
}

/// Returns the names in a file's first line, if it can be read.
pub(super) fn column_names(path: &Path) -> Option<Vec<String>> {
    let mut head = Vec::new();
    let handle = File::open(path).ok()?;
    BufReader::new(handle.take(LONGEST_HEAD))
        .read_until(b'\n', &mut head)
        .ok()?;
    let delimiter = char::from(delimiter(&head));
    let line = String::from_utf8(head).ok()?;
    let names = line.trim_end().split(delimiter);
    Some(
        names
            .map(|name| name.trim_matches('"').to_owned())
            .collect(),
    )
}

/// Returns the separator of which the first line has most.
fn delimiter(head: &[u8]) -> u8 {
    let count = |byte: u8| head.split(|found| *found == byte).count();
    // Of equal maxima `max_by_key` returns the last.
    [b'\t', b';', b',']
        .into_iter()
        .max_by_key(|byte| count(*byte))
        .unwrap_or(b',')
}

struct Builder<'a> {
    path: &'a Path,
    /// The columns of the stamp: one, or a date and a time of day.
    time: Vec<usize>,
    prices: [usize; 4],
    volume: Option<usize>,
    unit: Option<EpochUnit>,
    times: Vec<i64>,
    columns: [Vec<f64>; 4],
    volumes: Vec<f64>,
}

impl<'a> Builder<'a> {
    fn new(path: &'a Path, names: &Names<'_>) -> Result<Self, MarketError> {
        let mut time = names.all(TIME)?;
        if time.is_empty() {
            return Err(names.none("time", TIME));
        }
        // `date` and `time` come first in the list of names, in this order.
        let both = [names.all(&["date"])?, names.all(&["time"])?].concat();
        if both.len() == 2 {
            time = both;
        } else {
            time.truncate(1);
        }
        let prices = [
            names.one("opening price", OPEN)?,
            names.one("highest price", HIGH)?,
            names.one("lowest price", LOW)?,
            names.one("closing price", CLOSE)?,
        ];
        Ok(Self {
            path,
            time,
            prices,
            volume: names.all(VOLUME)?.first().copied(),
            unit: None,
            times: Vec::new(),
            columns: Default::default(),
            volumes: Vec::new(),
        })
    }

    fn push(&mut self, record: &StringRecord, line: u64) -> Result<(), MarketError> {
        let time = self.time(record, line)?;
        self.times.push(time);
        for (place, name) in ["open", "high", "low", "close"].into_iter().enumerate() {
            let value = self.number(record, self.prices[place], name, line)?;
            self.columns[place].push(value);
        }
        if let Some(volume) = self.volume {
            let value = self.number(record, volume, "volume", line)?;
            self.volumes.push(value);
        }
        Ok(())
    }

    fn number(
        &self,
        record: &StringRecord,
        column: usize,
        name: &str,
        line: u64,
    ) -> Result<f64, MarketError> {
        let text = record.get(column).unwrap_or_default();
        text.parse().map_err(|_| {
            let reason = format!("`{name}` is `{}`, expected a number", shortened(text));
            bad_line(self.path, line, reason)
        })
    }

    fn time(&mut self, record: &StringRecord, line: u64) -> Result<i64, MarketError> {
        let field = |place: usize| record.get(place).unwrap_or_default();
        let texts: Vec<&str> = self.time.iter().map(|place| field(*place)).collect();
        let text = match texts.as_slice() {
            // A file may have a whole stamp in `date` and something else in `time`.
            [date, _] if date.contains(':') => (*date).to_owned(),
            texts => texts.join(" "),
        };
        if text.len() > 8
            && let Ok(value) = text.parse::<i64>()
        {
            let unit = match self.unit {
                Some(unit) => unit,
                None => EpochUnit::of_integer(value)
                    .ok_or_else(|| implausible(self.path, self.times.len(), value))?,
            };
            self.unit = Some(unit);
            return Ok(unit.milliseconds(value));
        }
        instant(&text).ok_or_else(|| {
            let reason = format!("`{}` is not a time", shortened(&text));
            bad_line(self.path, line, reason)
        })
    }

    fn finish(self, names: &Names<'_>) -> Table {
        let mut used = [self.time.as_slice(), &self.prices].concat();
        used.extend(self.volume);
        let [open, high, low, close] = self.columns;
        Table {
            time: self.times,
            open,
            high,
            low,
            close,
            volume: self.volume.map(|_| self.volumes),
            time_column: names.name(self.time[0]).to_owned(),
            volume_column: self.volume.map(|volume| names.name(volume).to_owned()),
            other_columns: names.others(&used),
        }
    }
}

/// Reads a time in Unix milliseconds, with an offset or taken as UTC.
fn instant(text: &str) -> Option<i64> {
    if let Ok(time) = text.parse::<Timestamp>() {
        return Some(time.milliseconds());
    }
    // pandas writes a space where RFC 3339 has a `T`.
    if let Ok(time) = text.replacen(' ', "T", 1).parse::<Timestamp>() {
        return Some(time.milliseconds());
    }
    let whole = FORMATS
        .iter()
        .find_map(|format| NaiveDateTime::parse_from_str(text, format).ok());
    let midnight = || {
        let date = DATES
            .iter()
            .find_map(|format| NaiveDate::parse_from_str(text, format).ok())?;
        date.and_hms_opt(0, 0, 0)
    };
    Some(whole.or_else(midnight)?.and_utc().timestamp_millis())
}

fn bad_line(path: &Path, line: u64, reason: String) -> MarketError {
    MarketError::CsvLine {
        path: path.to_owned(),
        line,
        reason,
    }
}

fn shortened(text: &str) -> String {
    text.chars().take(40).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_in_usual_spellings() {
        let expected = "2025-02-16T22:15:00Z".parse::<Timestamp>().unwrap().0;
        for text in [
            "2025-02-16T22:15:00Z",
            "2025-02-16 22:15:00",
            "2025-02-16T22:15:00",
            "2025-02-16 22:15",
            "2025-02-16 22:15:00+00:00",
            "2025-02-17 00:15:00+02:00",
            "2025.02.16 22:15",
            "2025.02.16 22:15:00",
            "20250216 221500",
            "2025-02-16 22:15:00.000",
        ] {
            assert_eq!(instant(text), Some(expected), "{text}");
        }
        let midnight = "2025-02-16".parse::<Timestamp>().unwrap().0;
        for text in ["2025-02-16", "2025.02.16", "20250216", "2025/02/16"] {
            assert_eq!(instant(text), Some(midnight), "{text}");
        }
        for text in ["", "22:15", "16.02.2025", "yesterday", "2025-02-30 10:00"] {
            assert_eq!(instant(text), None, "{text}");
        }
    }
}
