//! Reads a user's own wide table with whatever columns it has.
//!
//! Opening reads the footer, and the first chunk of a column of integers that is named like a time;
//! after that, each call reads one column of one row group and nothing else. Calls may come from
//! several threads.

use std::path::Path;

use super::glob::{is_pattern, matches};
use crate::ohlcv::{Names, TIME, implausible};
use crate::parquet::{Column, ColumnType, Decoded, ParquetFile};
use crate::time::EpochUnit;
use crate::{MarketError, Timestamp};

/// The types that are read as numbers, for messages.
const NUMBERS: &str = "numbers or truth values";
/// The key under which pandas keeps what its index was.
const PANDAS: &str = "pandas";
/// How unlike a name may be to be suggested for another.
const CLOSE_ENOUGH: f64 = 0.8;

/// An open wide table.
#[derive(Debug)]
pub struct WideReader {
    file: ParquetFile,
    time: Option<usize>,
    /// The unit of a time column of plain integers.
    unit: Option<EpochUnit>,
}

/// Columns that were picked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selection {
    /// The columns, by place in [`WideReader::columns`]: in the order asked for, those of a pattern
    /// in file order, none twice.
    pub columns: Vec<usize>,
    /// Columns that a pattern matched and that hold no numbers.
    pub passed_over: Vec<usize>,
}

impl WideReader {
    /// Opens a file and finds its time column: one with a usual name (`date`, `time`,
    /// `timestamp`, `datetime`, ..., an index of pandas) that holds stamps, dates, or integers in
    /// the years of market data; or else the only column of stamps.
    ///
    /// # Errors
    /// [`MarketError::Io`], [`MarketError::NotParquet`], [`MarketError::Damaged`] with the byte.
    pub fn open(path: &Path) -> Result<Self, MarketError> {
        let file = ParquetFile::open(path)?;
        let mut reader = Self {
            file,
            time: None,
            unit: None,
        };
        reader.find_time()?;
        Ok(reader)
    }

    /// Returns where the file is.
    pub fn path(&self) -> &Path {
        self.file.path()
    }

    /// Returns every column in file order, the time column among them.
    pub fn columns(&self) -> &[Column] {
        self.file.columns()
    }

    /// Returns the place of a column by its name.
    pub fn column(&self, name: &str) -> Option<usize> {
        self.columns().iter().position(|column| column.name == name)
    }

    /// Returns the number of rows.
    pub fn rows(&self) -> u64 {
        self.file.rows()
    }

    /// Returns the number of row groups.
    pub fn groups(&self) -> usize {
        self.file.footer().groups.len()
    }

    /// Returns the number of rows of a row group.
    ///
    /// # Panics
    /// Where there is no such group.
    pub fn group_rows(&self, group: usize) -> usize {
        self.file.footer().groups[group].rows
    }

    /// Returns the texts stored in the footer beside the data.
    pub fn notes(&self) -> &[(String, String)] {
        &self.file.footer().notes
    }

    /// Returns the place of the time column. Without one the rows have an order and nothing else,
    /// and whoever uses them has to be told so by the user.
    pub fn time_column(&self) -> Option<usize> {
        self.time
    }

    /// Picks columns by names and patterns with `*` and `?`. A text that starts with `!` takes
    /// away what it matches of those picked before it. A pattern never picks the time column, and
    /// passes over columns that hold no numbers.
    ///
    /// # Errors
    /// [`MarketError::UnknownColumn`] for a text that matches nothing, [`MarketError::ColumnType`]
    /// for a column named in full that holds no numbers.
    pub fn select<T: AsRef<str>>(&self, wanted: &[T]) -> Result<Selection, MarketError> {
        let mut selection = Selection {
            columns: Vec::new(),
            passed_over: Vec::new(),
        };
        for text in wanted {
            let text = text.as_ref();
            if let Some(pattern) = text.strip_prefix('!') {
                let columns = self.columns();
                selection
                    .columns
                    .retain(|place| !matches(pattern, &columns[*place].name));
                continue;
            }
            let found = self.matching(text);
            if found.is_empty() {
                return Err(self.unknown(text));
            }
            for place in found {
                if self.columns()[place].column_type.is_number() {
                    if !selection.columns.contains(&place) {
                        selection.columns.push(place);
                    }
                } else if is_pattern(text) {
                    if Some(place) != self.time && !selection.passed_over.contains(&place) {
                        selection.passed_over.push(place);
                    }
                } else {
                    return Err(self.file.column_type(place, NUMBERS));
                }
            }
        }
        // An index of pandas or a time in integers is no feature.
        let named = |place: usize| {
            let name = &self.columns()[place].name;
            wanted.iter().any(|text| text.as_ref() == name)
        };
        selection
            .columns
            .retain(|place| Some(*place) != self.time || named(*place));
        Ok(selection)
    }

    /// Reads the stamps of a row group as Unix milliseconds, UTC. Stamps without a time zone are
    /// taken as UTC.
    ///
    /// # Errors
    /// [`MarketError::NoColumnFor`] without a time column, [`MarketError::Null`] with the row in
    /// the group, [`MarketError::Damaged`].
    pub fn times(&self, group: usize) -> Result<Vec<i64>, MarketError> {
        let Some(column) = self.time else {
            return Err(self.names().none("time", TIME));
        };
        let read = self.file.integers(group, column)?;
        if let Some(row) = read.valid.and_then(|valid| valid.iter().position(|is| !is)) {
            return Err(MarketError::Null {
                path: self.path().to_owned(),
                row,
                column: "time",
            });
        }
        let unit = self.file.time_unit(column).or(self.unit);
        let unit = unit.unwrap_or(EpochUnit::Milliseconds);
        let mut times = read.values;
        if unit != EpochUnit::Milliseconds {
            for time in &mut times {
                *time = unit.milliseconds(*time);
            }
        }
        Ok(times)
    }

    /// Reads a column of a row group as 32-bit floats: null is NaN, true 1, false 0.
    ///
    /// # Errors
    /// [`MarketError::ColumnType`] where it holds no numbers, [`MarketError::Damaged`] with the
    /// byte, [`MarketError::ParquetFeature`] for a codec that is not read.
    ///
    /// # Panics
    /// Where there is no such group or column.
    pub fn floats(&self, group: usize, column: usize) -> Result<Vec<f32>, MarketError> {
        let Decoded { mut values, valid } = self.file.floats(group, column)?;
        for (value, valid) in values.iter_mut().zip(valid.iter().flatten()) {
            if !valid {
                *value = f32::NAN;
            }
        }
        Ok(values)
    }

    /// Reads a column of a row group as 64-bit floats: null is NaN, true 1, false 0.
    ///
    /// # Errors
    /// As [`WideReader::floats`].
    ///
    /// # Panics
    /// Where there is no such group or column.
    pub fn numbers(&self, group: usize, column: usize) -> Result<Vec<f64>, MarketError> {
        let Decoded { mut values, valid } = self.file.numbers(group, column)?;
        for (value, valid) in values.iter_mut().zip(valid.iter().flatten()) {
            if !valid {
                *value = f64::NAN;
            }
        }
        Ok(values)
    }

    fn matching(&self, text: &str) -> Vec<usize> {
        let columns = self.columns().iter().enumerate();
        let exact: Vec<usize> = columns
            .clone()
            .filter_map(|(place, column)| (column.name == text).then_some(place))
            .collect();
        if !exact.is_empty() || !is_pattern(text) {
            return exact;
        }
        columns
            .filter_map(|(place, column)| matches(text, &column.name).then_some(place))
            .collect()
    }

    fn unknown(&self, text: &str) -> MarketError {
        let likeness =
            |name: &str| strsim::jaro_winkler(&name.to_lowercase(), &text.to_lowercase());
        let best = self
            .columns()
            .iter()
            .map(|column| (likeness(&column.name), &column.name))
            .max_by(|left, right| left.0.total_cmp(&right.0));
        MarketError::UnknownColumn {
            path: self.path().to_owned(),
            column: text.to_owned(),
            similar: best
                .filter(|(likeness, _)| *likeness >= CLOSE_ENOUGH)
                .map(|(_, name)| name.clone()),
        }
    }

    fn names(&self) -> Names<'_> {
        Names::of(&self.file)
    }

    fn find_time(&mut self) -> Result<(), MarketError> {
        // A name that is there twice says nothing.
        let mut candidates = self.names().all(TIME).unwrap_or_default();
        candidates.extend(self.pandas_index());
        for place in candidates {
            match &self.columns()[place].column_type {
                column_type if column_type.is_time() => {
                    self.time = Some(place);
                    return Ok(());
                }
                // An index may as well number the rows.
                ColumnType::Int64 => {
                    if let Some(unit) = self.unit_of(place)? {
                        (self.time, self.unit) = (Some(place), Some(unit));
                        return Ok(());
                    }
                }
                _ => {}
            }
        }
        let mut stamps =
            (0..self.columns().len()).filter(|place| self.columns()[*place].column_type.is_time());
        if let (Some(place), None) = (stamps.next(), stamps.next()) {
            self.time = Some(place);
        }
        Ok(())
    }

    /// Returns the unit of a column of integers, if its first value is a time.
    fn unit_of(&self, column: usize) -> Result<Option<EpochUnit>, MarketError> {
        let Some(group) = (0..self.groups()).find(|group| self.group_rows(*group) > 0) else {
            return Ok(None);
        };
        let read = self.file.integers(group, column)?;
        Ok(read.values.first().copied().and_then(EpochUnit::of_integer))
    }

    /// Returns the columns that pandas says were its index.
    fn pandas_index(&self) -> Vec<usize> {
        let note = self.notes().iter().find(|(key, _)| key == PANDAS);
        let note = note.and_then(|(_, text)| serde_json::from_str::<serde_json::Value>(text).ok());
        let names = note.and_then(|note| note["index_columns"].as_array().cloned());
        names
            .unwrap_or_default()
            .iter()
            .filter_map(|name| self.column(name.as_str()?))
            .collect()
    }

    /// Returns the first and the last stamp, reading two row groups of the time column at most.
    ///
    /// # Errors
    /// As [`WideReader::times`]; [`MarketError::ImplausibleTime`] for a stamp outside the years of
    /// market data.
    pub fn period(&self) -> Result<Option<(Timestamp, Timestamp)>, MarketError> {
        let filled = |group: &usize| self.group_rows(*group) > 0;
        let (Some(first), Some(last)) = (
            (0..self.groups()).find(filled),
            (0..self.groups()).rev().find(filled),
        ) else {
            return Ok(None);
        };
        let start = self.times(first)?.first().copied();
        let end = self.times(last)?.last().copied();
        let Some((start, end)) = start.zip(end) else {
            return Ok(None);
        };
        for (row, time) in [(0, start), (self.rows() as usize - 1, end)] {
            if !Timestamp(time).is_plausible() {
                return Err(implausible(self.path(), row, time));
            }
        }
        Ok(Some((Timestamp(start), Timestamp(end))))
    }
}
