//! Writes a wide table row group by row group from column slices.
//!
//! Columns are encoded side by side on the threads of the rayon pool that the call runs in, a few
//! at a time, and put into the file in their order: the bytes do not depend on how many threads
//! there are, and beside the caller's slices no more than [`AHEAD`] encoded columns are held.
//! Floats are written without nulls; a missing value is NaN.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use parquet::column::writer::{ColumnCloseResult, ColumnWriter, get_column_writer};
use parquet::data_type::DataType;
use parquet::errors::ParquetError;
use parquet::file::properties::WriterPropertiesPtr;
use parquet::file::reader::{ChunkReader, Length};
use parquet::file::writer::{SerializedFileWriter, SerializedPageWriter, TrackedWrite};
use parquet::schema::types::{ColumnDescPtr, SchemaDescPtr};
use rayon::prelude::*;
use tempfile::NamedTempFile;

use super::layout::{WideColumn, WideOptions, check_names, properties, refuse, schema};
use crate::{MarketError, atomic};

/// How many encoded columns may wait for their turn to be written.
const AHEAD: usize = 32;
/// What is gathered before it is given to the operating system.
const BUFFER: usize = 1 << 20;

/// The values of one column of a row group.
#[derive(Debug, Clone, Copy)]
pub enum WideValues<'a> {
    /// 32-bit floats.
    F32(&'a [f32]),
    /// 64-bit floats.
    F64(&'a [f64]),
    /// Small whole numbers.
    I8(&'a [i8]),
    /// Whole numbers.
    I64(&'a [i64]),
}

/// What was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// The rows.
    pub rows: u64,
    /// The row groups.
    pub groups: usize,
    /// The size of the file.
    pub bytes: u64,
}

/// A file that is being written. Without [`WideWriter::finish`] nothing is left behind.
pub struct WideWriter {
    path: PathBuf,
    file: SerializedFileWriter<BufWriter<File>>,
    temporary: NamedTempFile,
    schema: SchemaDescPtr,
    properties: WriterPropertiesPtr,
    kinds: Vec<WideColumn>,
    buffers: Mutex<Vec<Vec<u8>>>,
    rows: u64,
    groups: usize,
}

impl WideWriter {
    /// Starts a file with a time column and the named columns behind it.
    ///
    /// # Errors
    /// [`MarketError::Table`] where a name is empty or there twice, or the level is not one of
    /// zstd; [`MarketError::Io`] where the file cannot be made.
    pub fn create(
        path: &Path,
        time: &str,
        columns: &[(String, WideColumn)],
        options: &WideOptions,
    ) -> Result<Self, MarketError> {
        check_names(path, time, columns)?;
        let properties = properties(time, columns, options);
        let properties = Arc::new(properties.map_err(|reason| refuse(path, reason))?);
        let temporary = atomic::begin(path)?;
        let handle = temporary.reopen().map_err(atomic::fail(path, "write"))?;
        let root = schema(time, columns).map_err(|error| into_market(path, error))?;
        let output = BufWriter::with_capacity(BUFFER, handle);
        let file = SerializedFileWriter::new(output, root, Arc::clone(&properties))
            .map_err(|error| into_market(path, error))?;
        Ok(Self {
            path: path.to_owned(),
            schema: Arc::new(file.schema_descr().clone()),
            file,
            temporary,
            properties,
            kinds: columns.iter().map(|(_, kind)| *kind).collect(),
            buffers: Mutex::new(Vec::new()),
            rows: 0,
            groups: 0,
        })
    }

    /// Writes a row group: Unix milliseconds, UTC, and a slice per column in their order.
    ///
    /// # Errors
    /// [`MarketError::Table`] where a slice is missing, of another type or length, or there are no
    /// rows; [`MarketError::Io`] where the disk refuses.
    pub fn write_group(
        &mut self,
        times: &[i64],
        columns: &[WideValues<'_>],
    ) -> Result<(), MarketError> {
        self.check(times.len(), columns)?;
        let fail = |error| into_market(&self.path, error);
        let encoder = Encoder {
            schema: &self.schema,
            properties: &self.properties,
            buffers: &self.buffers,
        };
        let mut group = self.file.next_row_group().map_err(fail)?;
        let all: Vec<_> = std::iter::once(WideValues::I64(times))
            .chain(columns.iter().copied())
            .enumerate()
            .collect();
        for some in all.chunks(AHEAD) {
            let encoded: Vec<_> = some
                .par_iter()
                .map(|(index, values)| encoder.encode(*index, *values))
                .collect();
            for outcome in encoded {
                let (bytes, close) = outcome.map_err(fail)?;
                group.append_column(&Encoded(&bytes), close).map_err(fail)?;
                encoder.give_back(bytes);
            }
        }
        group.close().map_err(fail)?;
        self.rows += times.len() as u64;
        self.groups += 1;
        Ok(())
    }

    /// Ends the file, syncs it and gives it its name.
    ///
    /// # Errors
    /// [`MarketError::Io`] where the disk refuses.
    pub fn finish(mut self) -> Result<Written, MarketError> {
        let fail = |error| into_market(&self.path, error);
        self.file.finish().map_err(fail)?;
        let bytes = self.file.bytes_written() as u64;
        self.file
            .inner_mut()
            .flush()
            .map_err(atomic::fail(&self.path, "write"))?;
        drop(self.file);
        atomic::persist(self.temporary, &self.path)?;
        Ok(Written {
            rows: self.rows,
            groups: self.groups,
            bytes,
        })
    }

    fn check(&self, rows: usize, columns: &[WideValues<'_>]) -> Result<(), MarketError> {
        let wrong = |reason: String| Err(refuse(&self.path, reason));
        if rows == 0 {
            return wrong("a row group has no rows".to_owned());
        }
        if columns.len() != self.kinds.len() {
            let (found, expected) = (columns.len(), self.kinds.len());
            return wrong(format!("{found} columns were given, expected {expected}"));
        }
        for (index, (values, kind)) in columns.iter().zip(&self.kinds).enumerate() {
            let name = self.schema.column(index + 1).name().to_owned();
            if values.kind() != *kind {
                let found = values.kind();
                return wrong(format!(
                    "column `{name}` was given {found:?}, expected {kind:?}"
                ));
            }
            if values.len() != rows {
                let found = values.len();
                return wrong(format!("column `{name}` has {found} rows, expected {rows}"));
            }
        }
        Ok(())
    }
}

impl WideValues<'_> {
    /// Returns what the values are.
    pub fn kind(&self) -> WideColumn {
        match self {
            Self::F32(_) => WideColumn::F32,
            Self::F64(_) => WideColumn::F64,
            Self::I8(_) => WideColumn::I8,
            Self::I64(_) => WideColumn::I64,
        }
    }

    /// Returns the number of values.
    pub fn len(&self) -> usize {
        match self {
            Self::F32(values) => values.len(),
            Self::F64(values) => values.len(),
            Self::I8(values) => values.len(),
            Self::I64(values) => values.len(),
        }
    }

    /// Reports whether there is no value.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// What the threads share while a row group is encoded.
struct Encoder<'a> {
    schema: &'a SchemaDescPtr,
    properties: &'a WriterPropertiesPtr,
    buffers: &'a Mutex<Vec<Vec<u8>>>,
}

type Chunk = (Vec<u8>, ColumnCloseResult);

impl Encoder<'_> {
    fn encode(&self, index: usize, values: WideValues<'_>) -> Result<Chunk, ParquetError> {
        let mut buffer = self.buffers().pop().unwrap_or_default();
        buffer.clear();
        let mut sink = TrackedWrite::new(buffer);
        let description = self.schema.column(index);
        let close = self.write(description, values, &mut sink)?;
        Ok((sink.into_inner()?, close))
    }

    fn write(
        &self,
        description: ColumnDescPtr,
        values: WideValues<'_>,
        sink: &mut TrackedWrite<Vec<u8>>,
    ) -> Result<ColumnCloseResult, ParquetError> {
        let pages = Box::new(SerializedPageWriter::new(sink));
        let writer = get_column_writer(description, Arc::clone(self.properties), pages);
        match (writer, values) {
            (ColumnWriter::FloatColumnWriter(writer), WideValues::F32(values)) => {
                write_all(writer, values)
            }
            (ColumnWriter::DoubleColumnWriter(writer), WideValues::F64(values)) => {
                write_all(writer, values)
            }
            (ColumnWriter::Int64ColumnWriter(writer), WideValues::I64(values)) => {
                write_all(writer, values)
            }
            (ColumnWriter::Int32ColumnWriter(writer), WideValues::I8(values)) => {
                let values: Vec<i32> = values.iter().map(|value| i32::from(*value)).collect();
                write_all(writer, &values)
            }
            _ => Err(ParquetError::General(
                "a column's values are not of its type".to_owned(),
            )),
        }
    }

    fn give_back(&self, buffer: Vec<u8>) {
        self.buffers().push(buffer);
    }

    fn buffers(&self) -> std::sync::MutexGuard<'_, Vec<Vec<u8>>> {
        self.buffers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn write_all<T: DataType>(
    mut writer: parquet::column::writer::ColumnWriterImpl<'_, T>,
    values: &[T::T],
) -> Result<ColumnCloseResult, ParquetError> {
    writer.write_batch(values, None, None)?;
    writer.close()
}

/// An encoded column on its way into the file.
struct Encoded<'a>(&'a [u8]);

impl Length for Encoded<'_> {
    fn len(&self) -> u64 {
        self.0.len() as u64
    }
}

impl<'a> ChunkReader for Encoded<'a> {
    type T = &'a [u8];

    fn get_read(&self, start: u64) -> Result<&'a [u8], ParquetError> {
        let start = usize::try_from(start).ok();
        start
            .and_then(|start| self.0.get(start..))
            .ok_or_else(|| ParquetError::EOF("a column starts behind its end".to_owned()))
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<bytes::Bytes, ParquetError> {
        let slice = self.get_read(start)?;
        let slice = slice
            .get(..length)
            .ok_or_else(|| ParquetError::EOF("a column is cut short".to_owned()))?;
        Ok(bytes::Bytes::copy_from_slice(slice))
    }
}

/// What the writer fails at is the disk; anything else is a fault of this file.
fn into_market(path: &Path, error: ParquetError) -> MarketError {
    let source = match error {
        ParquetError::External(inner) => match inner.downcast::<std::io::Error>() {
            Ok(source) => *source,
            Err(other) => std::io::Error::other(other),
        },
        other => std::io::Error::other(other.to_string()),
    };
    atomic::fail(path, "write")(source)
}
