//! Bars from Parquet files.

use std::path::Path;

use super::columns::{CLOSE, HIGH, LOW, Names, OPEN, TIME, VOLUME};
use super::{LARGEST_TABLE, Table, implausible};
use crate::MarketError;
use crate::parquet::{ColumnType, ParquetFile};
use crate::time::EpochUnit;

/// Reads the columns of bars.
pub(super) fn read(path: &Path) -> Result<Table, MarketError> {
    let file = ParquetFile::open(path)?;
    check_rows(&file)?;
    let names = Names::of(&file);
    let time = time_column(&file, &names)?;
    let prices = [
        names.one("opening price", OPEN)?,
        names.one("highest price", HIGH)?,
        names.one("lowest price", LOW)?,
        names.one("closing price", CLOSE)?,
    ];
    let volume = names.all(VOLUME)?.first().copied();
    let mut used = prices.to_vec();
    used.push(time);
    used.extend(volume);
    let [open, high, low, close] = prices;
    Ok(Table {
        time: times(&file, time, EpochUnit::milliseconds)?,
        open: numbers(&file, open, "open")?,
        high: numbers(&file, high, "high")?,
        low: numbers(&file, low, "low")?,
        close: numbers(&file, close, "close")?,
        volume: volume
            .map(|volume| numbers(&file, volume, "volume"))
            .transpose()?,
        time_column: names.name(time).to_owned(),
        volume_column: volume.map(|volume| names.name(volume).to_owned()),
        other_columns: names.others(&used),
    })
}

/// Returns the names of a file's columns, if it can be read.
pub(super) fn column_names(path: &Path) -> Option<Vec<String>> {
    let file = ParquetFile::open(path).ok()?;
    Some(
        file.columns()
            .iter()
            .map(|column| column.name.clone())
            .collect(),
    )
}

/// Refuses files that would not fit into memory.
pub(crate) fn check_rows(file: &ParquetFile) -> Result<(), MarketError> {
    if file.rows() <= LARGEST_TABLE {
        return Ok(());
    }
    Err(MarketError::ParquetFeature {
        path: file.path().to_owned(),
        reason: format!(
            "it has {} rows, more than the {LARGEST_TABLE} that are read",
            file.rows()
        ),
    })
}

/// Returns the column of the stamps: the first usual name whose type can be one.
fn time_column(file: &ParquetFile, names: &Names<'_>) -> Result<usize, MarketError> {
    let candidates = names.all(TIME)?;
    let fits = |column: &&usize| {
        let column_type = &file.columns()[**column].column_type;
        column_type.is_time() || *column_type == ColumnType::Int64
    };
    match (candidates.iter().find(fits), candidates.first()) {
        (Some(column), _) => Ok(*column),
        (None, Some(column)) => Err(file.column_type(*column, "a timestamp or int64")),
        (None, None) => Err(names.none("time", TIME)),
    }
}

/// Reads the stamps of all row groups, in the unit that `convert` makes of the file's.
pub(crate) fn times(
    file: &ParquetFile,
    column: usize,
    convert: impl Fn(EpochUnit, i64) -> i64,
) -> Result<Vec<i64>, MarketError> {
    let mut times: Vec<i64> = Vec::new();
    let mut unit = file.time_unit(column);
    for group in 0..file.footer().groups.len() {
        let read = file.integers(group, column)?;
        if let Some(row) = first_null(read.valid.as_ref()) {
            return Err(null(file, times.len() + row, "time"));
        }
        let known = match (unit, read.values.first()) {
            (Some(unit), _) => unit,
            (None, None) => continue,
            (None, Some(first)) => EpochUnit::of_integer(*first)
                .ok_or_else(|| implausible(file.path(), times.len(), *first))?,
        };
        unit = Some(known);
        times.extend(read.values.iter().map(|value| convert(known, *value)));
    }
    Ok(times)
}

/// Reads a column of numbers of all row groups, none of which may be null.
pub(crate) fn numbers(
    file: &ParquetFile,
    column: usize,
    name: &'static str,
) -> Result<Vec<f64>, MarketError> {
    let mut numbers: Vec<f64> = Vec::new();
    for group in 0..file.footer().groups.len() {
        let mut read = file.numbers(group, column)?;
        if let Some(row) = first_null(read.valid.as_ref()) {
            return Err(null(file, numbers.len() + row, name));
        }
        if numbers.is_empty() {
            numbers = read.values;
        } else {
            numbers.append(&mut read.values);
        }
    }
    Ok(numbers)
}

fn first_null(valid: Option<&Vec<bool>>) -> Option<usize> {
    valid?.iter().position(|valid| !valid)
}

fn null(file: &ParquetFile, row: usize, column: &'static str) -> MarketError {
    MarketError::Null {
        path: file.path().to_owned(),
        row,
        column,
    }
}
