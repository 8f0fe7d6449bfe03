//! An open Parquet file: its footer, and columns of a row group as numbers or times.
//!
//! Only the footer and the chunks that are asked for are read.

use std::fs;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::codec::Codec;
use super::column::{Column, ColumnType};
use super::footer::{self, Footer};
use super::pages::Pages;
use super::thrift::Malformed;
use super::values::{
    Boolean, Decoded, Double, FixedDecimal, Float, Int32, Int64, Plain, Stamp96, Words, decode,
};
use crate::MarketError;
use crate::time::EpochUnit;

const MAGIC: &[u8; 4] = b"PAR1";
/// What stands there where the footer is encrypted.
const ENCRYPTED: &[u8; 4] = b"PARE";
/// The footer's length and the closing magic.
const TRAILER: u64 = 8;
/// The largest footer that is read, 64 MiB: some hundred thousand column chunks.
const LARGEST_FOOTER: u64 = 64 << 20;

/// A Parquet file whose footer has been read and found consistent.
#[derive(Debug)]
pub(crate) struct ParquetFile {
    path: PathBuf,
    handle: Mutex<fs::File>,
    footer: Footer,
}

impl ParquetFile {
    /// Opens a file and reads its footer.
    pub(crate) fn open(path: &Path) -> Result<Self, MarketError> {
        let fail = |source| MarketError::Io {
            path: path.to_owned(),
            action: "read",
            source,
        };
        let mut handle = fs::File::open(path).map_err(fail)?;
        let length = handle.seek(SeekFrom::End(0)).map_err(fail)?;
        let not_parquet = |reason: &str| MarketError::NotParquet {
            path: path.to_owned(),
            reason: reason.to_owned(),
        };
        if length == 0 {
            return Err(not_parquet("it is empty"));
        }
        let mut head = [0; 4];
        let enough = length >= head.len() as u64;
        if enough {
            read_at(&mut handle, 0, &mut head).map_err(fail)?;
        }
        if &head == ENCRYPTED {
            return Err(MarketError::ParquetFeature {
                path: path.to_owned(),
                reason: "it is encrypted".to_owned(),
            });
        }
        if &head != MAGIC {
            return Err(not_parquet("it does not start with `PAR1`"));
        }
        let damaged = |offset: u64, reason: String| MarketError::Damaged {
            path: path.to_owned(),
            offset: Some(offset),
            reason,
        };
        let mut trailer = [0; TRAILER as usize];
        if length >= head.len() as u64 + TRAILER {
            read_at(&mut handle, length - TRAILER, &mut trailer).map_err(fail)?;
        }
        let [a, b, c, d, magic @ ..] = trailer;
        if &magic != MAGIC {
            let reason = "it does not end with `PAR1`: it is cut short".to_owned();
            return Err(damaged(length, reason));
        }
        let size = u64::from(u32::from_le_bytes([a, b, c, d]));
        let start = (length - TRAILER).checked_sub(size);
        let Some(start) = start.filter(|start| *start >= 4 && size <= LARGEST_FOOTER) else {
            let reason = format!("its footer of {size} bytes does not fit into the file");
            return Err(damaged(length - TRAILER, reason));
        };
        let mut bytes = vec![0; size as usize];
        read_at(&mut handle, start, &mut bytes).map_err(fail)?;
        let footer = footer::read(&bytes, 4..start).map_err(|error| {
            damaged(
                start + error.offset as u64,
                format!("its footer is invalid: {}", error.reason),
            )
        })?;
        Ok(Self {
            path: path.to_owned(),
            handle: Mutex::new(handle),
            footer,
        })
    }

    /// Returns where the file is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns what the footer says.
    pub(crate) fn footer(&self) -> &Footer {
        &self.footer
    }

    /// Returns the columns in file order.
    pub(crate) fn columns(&self) -> &[Column] {
        &self.footer.columns
    }

    /// Returns how many rows there are.
    pub(crate) fn rows(&self) -> u64 {
        self.footer
            .groups
            .iter()
            .map(|group| group.rows as u64)
            .sum()
    }

    /// Reads a column of numbers or truth values of one row group as 64-bit floats.
    pub(crate) fn numbers(&self, group: usize, column: usize) -> Result<Decoded<f64>, MarketError> {
        let scaled = |scale: i32| 10_f64.powi(scale);
        match &self.footer.columns[column].column_type {
            ColumnType::Double => self.read(group, column, &Double),
            ColumnType::Float => self.map(group, column, &Float, f64::from),
            ColumnType::Int32 => self.map(group, column, &Int32, f64::from),
            ColumnType::Int64 => self.map(group, column, &Int64, |value| value as f64),
            ColumnType::Unsigned32 => self.map(group, column, &Int32, |value| {
                f64::from(value.cast_unsigned())
            }),
            ColumnType::Unsigned64 => {
                self.map(group, column, &Int64, |value| value.cast_unsigned() as f64)
            }
            ColumnType::Boolean => self.map(group, column, &Boolean, f64::from),
            ColumnType::FixedDecimal(scale, width) => {
                let unit = scaled(*scale);
                self.map(group, column, &FixedDecimal(*width), |value| value / unit)
            }
            ColumnType::Decimal(scale, bits) => {
                let unit = scaled(*scale);
                if *bits == 32 {
                    self.map(group, column, &Int32, |value| f64::from(value) / unit)
                } else {
                    self.map(group, column, &Int64, |value| value as f64 / unit)
                }
            }
            _ => Err(self.column_type(column, "numbers")),
        }
    }

    /// Reads a column of numbers of one row group as 32-bit floats.
    pub(crate) fn floats(&self, group: usize, column: usize) -> Result<Decoded<f32>, MarketError> {
        match &self.footer.columns[column].column_type {
            ColumnType::Float => self.read(group, column, &Float),
            ColumnType::Double => self.map(group, column, &Double, |value| value as f32),
            _ => {
                let numbers = self.numbers(group, column)?;
                Ok(Decoded {
                    values: numbers.values.iter().map(|value| *value as f32).collect(),
                    valid: numbers.valid,
                })
            }
        }
    }

    /// Reads a column of 64-bit integers or stamps of one row group as they are stored; dates and
    /// stamps of twelve bytes become milliseconds.
    pub(crate) fn integers(
        &self,
        group: usize,
        column: usize,
    ) -> Result<Decoded<i64>, MarketError> {
        match &self.footer.columns[column].column_type {
            ColumnType::Int64 | ColumnType::Unsigned64 | ColumnType::Timestamp(..) => {
                self.read(group, column, &Int64)
            }
            ColumnType::Timestamp96 => self.read(group, column, &Stamp96),
            ColumnType::Date => self.map(group, column, &Int32, |day| i64::from(day) * 86_400_000),
            _ => Err(self.column_type(column, "a timestamp or int64")),
        }
    }

    /// Reads a column of texts of all row groups, each turned into a number; a null is NaN.
    pub(crate) fn all_words(
        &self,
        column: usize,
        number: impl Fn(&[u8]) -> f64,
    ) -> Result<Vec<f64>, MarketError> {
        if self.footer.columns[column].column_type != ColumnType::Text {
            return Err(self.column_type(column, "string"));
        }
        let words = Words(number);
        let mut numbers = Vec::new();
        for group in 0..self.footer.groups.len() {
            let read = self.read(group, column, &words)?;
            numbers.extend(read.values);
        }
        Ok(numbers)
    }

    /// Returns the unit of what [`ParquetFile::integers`] reads, unless they are plain integers.
    pub(crate) fn time_unit(&self, column: usize) -> Option<EpochUnit> {
        match &self.footer.columns[column].column_type {
            ColumnType::Timestamp(unit, _) => Some(*unit),
            ColumnType::Timestamp96 | ColumnType::Date => Some(EpochUnit::Milliseconds),
            _ => None,
        }
    }

    /// The error of a column of another type than was expected.
    pub(crate) fn column_type(&self, column: usize, expected: &'static str) -> MarketError {
        let column = &self.footer.columns[column];
        MarketError::ColumnType {
            path: self.path.clone(),
            column: column.name.clone(),
            found: column.column_type.to_string(),
            expected,
        }
    }

    fn map<P: Plain, T>(
        &self,
        group: usize,
        column: usize,
        plain: &P,
        convert: impl Fn(P::Value) -> T,
    ) -> Result<Decoded<T>, MarketError> {
        let read = self.read(group, column, plain)?;
        Ok(Decoded {
            values: read.values.into_iter().map(convert).collect(),
            valid: read.valid,
        })
    }

    fn read<P: Plain>(
        &self,
        group: usize,
        column: usize,
        plain: &P,
    ) -> Result<Decoded<P::Value>, MarketError> {
        let rows = self.footer.groups[group].rows;
        let chunk = self.footer.groups[group].chunks[column];
        let info = &self.footer.columns[column];
        let damaged = |error: Malformed| MarketError::Damaged {
            path: self.path.clone(),
            offset: Some(chunk.start + error.offset as u64),
            reason: format!("column `{}`: {}", info.name, error.reason),
        };
        if chunk.values != rows as u64 {
            return Err(damaged(Malformed {
                offset: 0,
                reason: format!("it has {} values for {rows} rows", chunk.values),
            }));
        }
        let codec = Codec::new(chunk.codec).map_err(|reason| MarketError::ParquetFeature {
            path: self.path.clone(),
            reason: format!("column `{}`: {reason}", info.name),
        })?;
        let mut bytes = vec![0; chunk.length as usize];
        {
            let mut handle = self.handle.lock().unwrap_or_else(PoisonError::into_inner);
            read_at(&mut handle, chunk.start, &mut bytes).map_err(|source| MarketError::Io {
                path: self.path.clone(),
                action: "read",
                source,
            })?;
        }
        decode(plain, Pages::new(&bytes, codec, info.optional, rows)).map_err(damaged)
    }
}

fn read_at(handle: &mut fs::File, offset: u64, bytes: &mut [u8]) -> std::io::Result<()> {
    handle.seek(SeekFrom::Start(offset))?;
    handle.read_exact(bytes)
}
