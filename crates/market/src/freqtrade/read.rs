//! Reads candles and mark prices from feather files.
//!
//! Column order does not matter and other columns are passed over. Stamps may be Arrow timestamps
//! of any unit, with or without a time zone (the values are UTC in both cases), or integers whose
//! unit is told by their size.

use std::fs::File;
use std::io::{Cursor, Read};
use std::path::Path;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Float32Type, Float64Type, Int64Type, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampNanosecondType, TimestampSecondType,
};
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_ipc::reader::FileReaderBuilder;
use arrow_schema::{ArrowError, DataType, Schema, TimeUnit};

use super::{CandleKind, DataFile, LARGEST_FILE, check, parse_file_name};
use crate::time::EpochUnit;
use crate::{Bars, MarketError, Timestamp, Warning};

const TIME_TYPES: &str = "a timestamp or int64";
const NUMBER_TYPES: &str = "float64, float32 or int64";
const COLUMNS: [&str; 6] = ["date", "open", "high", "low", "close", "volume"];

/// Reads a candle or mark-price file. Instrument and timeframe come from the file's name.
///
/// The bars have passed [`Bars::validate`]; what is odd but usable comes from
/// [`read_with_warnings`].
///
/// # Errors
/// [`MarketError::FileName`] and [`MarketError::WrongKind`] from the name; what is wrong with the
/// bytes, with its offset; with a column's type; or with a row.
pub fn read(path: &Path) -> Result<Bars, MarketError> {
    read_with_warnings(path).map(|(bars, _)| bars)
}

/// [`read`], and what is odd about the file: gaps, jumps, null volumes.
///
/// # Errors
/// As [`read`].
pub fn read_with_warnings(path: &Path) -> Result<(Bars, Vec<Warning>), MarketError> {
    let file = parse_file_name(path)?;
    let (bars, mut warnings) = read_unchecked(&file)?;
    warnings.extend(bars.validate_as(&path.display().to_string())?);
    Ok((bars, warnings))
}

/// Reads bars whose rows have not been validated.
pub(crate) fn read_unchecked(file: &DataFile) -> Result<(Bars, Vec<Warning>), MarketError> {
    let path = &file.path;
    let null_volume_is_zero = match file.kind {
        CandleKind::Spot | CandleKind::Futures => false,
        CandleKind::Mark => true,
        CandleKind::FundingRate | CandleKind::Other(_) => {
            return Err(MarketError::WrongKind {
                path: path.clone(),
                found: file.kind.to_string(),
                expected: "candles or mark prices",
            });
        }
    };
    let table = Table::read(path, &COLUMNS)?;
    let mut warnings = Vec::new();
    let mut volume = table.numbers_or_null("volume")?;
    for (row, value) in volume.iter_mut().enumerate() {
        let absent = value.is_none() || (null_volume_is_zero && value.is_some_and(f64::is_nan));
        if !absent {
            continue;
        }
        if !null_volume_is_zero {
            return Err(MarketError::Null {
                path: path.clone(),
                row,
                column: "volume",
            });
        }
        *value = Some(0.0);
        match warnings.last_mut() {
            Some(Warning::NullVolume { count }) => *count += 1,
            _ => warnings.push(Warning::NullVolume { count: 1 }),
        }
    }
    let bars = Bars {
        instrument: file.instrument.clone(),
        timeframe: file.timeframe,
        open_time: table.times()?,
        open: table.numbers("open")?,
        high: table.numbers("high")?,
        low: table.numbers("low")?,
        close: table.numbers("close")?,
        volume: volume.into_iter().flatten().collect(),
    };
    Ok((bars, warnings))
}

/// The wanted columns of a feather file, in record batches.
pub(super) struct Table<'a> {
    path: &'a Path,
    columns: &'a [&'static str],
    batches: Vec<RecordBatch>,
}

impl<'a> Table<'a> {
    /// Reads the named columns of a file, the first of which is the time.
    pub(super) fn read(path: &'a Path, columns: &'a [&'static str]) -> Result<Self, MarketError> {
        let bytes = read_bytes(path)?;
        let schema = check::check(path, &bytes)?;
        let mut projection = Vec::new();
        for column in columns {
            projection.push(find(path, &schema, column)?);
        }
        let batches = decode(&bytes, &projection).map_err(|error| {
            // Columns are decoded one by one to find the one that fails; arrow does not say.
            let alone = columns.iter().zip(&projection).find_map(|(column, index)| {
                let error = decode(&bytes, &[*index]).err()?;
                Some((*column, error))
            });
            let reason = match alone {
                Some((column, error)) => {
                    format!("column `{column}` cannot be decoded: {}", plain(&error))
                }
                None => plain(&error),
            };
            MarketError::Damaged {
                path: path.to_owned(),
                offset: None,
                reason,
            }
        })?;
        Ok(Self {
            path,
            columns,
            batches,
        })
    }

    /// Returns a column's chunks and the row at which each starts.
    fn chunks(&self, column: &str) -> impl Iterator<Item = (usize, &ArrayRef)> {
        let index = self.columns.iter().position(|name| *name == column);
        let mut start = 0;
        self.batches.iter().filter_map(move |batch| {
            let row = start;
            start += batch.num_rows();
            index.map(|index| (row, batch.column(index)))
        })
    }

    fn column_type(&self, column: &str, array: &ArrayRef, expected: &'static str) -> MarketError {
        MarketError::ColumnType {
            path: self.path.to_owned(),
            column: column.to_owned(),
            found: array.data_type().to_string(),
            expected,
        }
    }

    /// Returns the stamps in Unix milliseconds.
    pub(super) fn times(&self) -> Result<Vec<i64>, MarketError> {
        let column = self.columns[0];
        let mut times = Vec::new();
        for (start, array) in self.chunks(column) {
            if let Some(row) = first_null(array) {
                return Err(MarketError::Null {
                    path: self.path.to_owned(),
                    row: start + row,
                    column,
                });
            }
            match array.data_type() {
                DataType::Timestamp(unit, _) => {
                    let values = match unit {
                        TimeUnit::Second => array.as_primitive::<TimestampSecondType>().values(),
                        TimeUnit::Millisecond => {
                            array.as_primitive::<TimestampMillisecondType>().values()
                        }
                        TimeUnit::Microsecond => {
                            array.as_primitive::<TimestampMicrosecondType>().values()
                        }
                        TimeUnit::Nanosecond => {
                            array.as_primitive::<TimestampNanosecondType>().values()
                        }
                    };
                    let unit = epoch_unit(*unit);
                    times.extend(values.iter().map(|value| unit.milliseconds(*value)));
                }
                DataType::Int64 => {
                    let values = array.as_primitive::<Int64Type>().values();
                    let unit = values
                        .first()
                        .map_or(Ok(EpochUnit::Milliseconds), |first| {
                            EpochUnit::of_integer(*first).ok_or_else(|| {
                                MarketError::ImplausibleTime {
                                    origin: self.path.display().to_string(),
                                    row: start,
                                    time: Timestamp(*first),
                                }
                            })
                        })?;
                    times.extend(values.iter().map(|value| unit.milliseconds(*value)));
                }
                _ => return Err(self.column_type(column, array, TIME_TYPES)),
            }
        }
        Ok(times)
    }

    /// Returns a column of numbers of which none may be null.
    pub(super) fn numbers(&self, column: &'static str) -> Result<Vec<f64>, MarketError> {
        let values = self.numbers_or_null(column)?;
        let null = |row| MarketError::Null {
            path: self.path.to_owned(),
            row,
            column,
        };
        values
            .into_iter()
            .enumerate()
            .map(|(row, value)| value.ok_or_else(|| null(row)))
            .collect()
    }

    /// Returns a column of numbers; a column of Arrow's null type is null in every row.
    fn numbers_or_null(&self, column: &str) -> Result<Vec<Option<f64>>, MarketError> {
        let mut numbers = Vec::new();
        for (_, array) in self.chunks(column) {
            match array.data_type() {
                DataType::Float64 => numbers.extend(array.as_primitive::<Float64Type>().iter()),
                DataType::Float32 => {
                    let values = array.as_primitive::<Float32Type>().iter();
                    numbers.extend(values.map(|value| value.map(f64::from)));
                }
                DataType::Int64 => {
                    let values = array.as_primitive::<Int64Type>().iter();
                    numbers.extend(values.map(|value| value.map(|value| value as f64)));
                }
                DataType::Null => numbers.extend(std::iter::repeat_n(None, array.len())),
                _ => return Err(self.column_type(column, array, NUMBER_TYPES)),
            }
        }
        Ok(numbers)
    }
}

/// Decodes some columns, in the order of their indices in the file.
fn decode(bytes: &[u8], projection: &[usize]) -> Result<Vec<RecordBatch>, ArrowError> {
    FileReaderBuilder::new()
        .with_projection(projection.to_vec())
        .build(Cursor::new(bytes))?
        .collect()
}

/// Returns arrow's message in one line, without the words that only name its own kinds.
fn plain(error: &ArrowError) -> String {
    let text = match error {
        ArrowError::IoError(message, _)
        | ArrowError::IpcError(message)
        | ArrowError::InvalidArgumentError(message) => message.clone(),
        other => other.to_string(),
    };
    check::one_line(&text)
}

fn first_null(array: &ArrayRef) -> Option<usize> {
    (array.null_count() > 0).then(|| (0..array.len()).find(|row| array.is_null(*row)))?
}

fn find(path: &Path, schema: &Schema, column: &'static str) -> Result<usize, MarketError> {
    let mut found = schema
        .fields()
        .iter()
        .enumerate()
        .filter(|(_, field)| field.name() == column);
    match (found.next(), found.next()) {
        (Some((index, _)), None) => Ok(index),
        (Some(_), Some(_)) => Err(MarketError::Unsupported {
            path: path.to_owned(),
            reason: format!("it has more than one column `{column}`"),
        }),
        (None, _) => Err(MarketError::MissingColumn {
            path: path.to_owned(),
            column,
            found: schema
                .fields()
                .iter()
                .map(|field| field.name().clone())
                .collect(),
        }),
    }
}

fn epoch_unit(unit: TimeUnit) -> EpochUnit {
    match unit {
        TimeUnit::Second => EpochUnit::Seconds,
        TimeUnit::Millisecond => EpochUnit::Milliseconds,
        TimeUnit::Microsecond => EpochUnit::Microseconds,
        TimeUnit::Nanosecond => EpochUnit::Nanoseconds,
    }
}

fn read_bytes(path: &Path) -> Result<Vec<u8>, MarketError> {
    let fail = |source| MarketError::Io {
        path: path.to_owned(),
        action: "read",
        source,
    };
    let file = File::open(path).map_err(fail)?;
    let too_large = |bytes| MarketError::TooLarge {
        path: path.to_owned(),
        bytes,
        limit: LARGEST_FILE,
    };
    let stated = file.metadata().map_err(fail)?.len();
    if stated > LARGEST_FILE {
        return Err(too_large(stated));
    }
    let mut bytes = Vec::new();
    file.take(LARGEST_FILE + 1)
        .read_to_end(&mut bytes)
        .map_err(fail)?;
    if bytes.len() as u64 > LARGEST_FILE {
        return Err(too_large(bytes.len() as u64));
    }
    Ok(bytes)
}
