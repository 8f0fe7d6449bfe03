//! Writes candles as freqtrade does: one record batch, LZ4 frames, milliseconds in UTC.

use std::collections::HashMap;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::Arc;

use arrow_array::{ArrayRef, Float64Array, RecordBatch, TimestampMillisecondArray};
use arrow_ipc::CompressionType;
use arrow_ipc::writer::{FileWriter, IpcWriteOptions};
use arrow_schema::{ArrowError, DataType, Field, Schema, TimeUnit};
use serde_json::json;

use super::name::escape;
use super::parse_file_name;
use crate::{Bars, MarketError, atomic};

/// Writes bars to a feather file that freqtrade and `pandas.read_feather` read, making its folder.
///
/// The file appears whole or not at all. Same bars, same bytes.
///
/// # Errors
/// [`MarketError::FileName`] where the name says another instrument or timeframe than the bars
/// ([`super::path_in`] makes the right one), any error of [`Bars::validate`], and
/// [`MarketError::Io`].
pub fn write(path: &Path, bars: &Bars) -> Result<(), MarketError> {
    check_name(path, bars)?;
    bars.validate_as(&path.display().to_string())?;
    let mut temporary = atomic::begin(path)?;
    let mut writer = BufWriter::new(temporary.as_file_mut());
    encode(&mut writer, bars).map_err(|error| atomic::fail(path, "write")(into_io(error)))?;
    writer.flush().map_err(atomic::fail(path, "write"))?;
    drop(writer);
    atomic::persist(temporary, path)
}

/// The name decides what a reader takes the file for, so it has to be true.
fn check_name(path: &Path, bars: &Bars) -> Result<(), MarketError> {
    let file = parse_file_name(path)?;
    if escape(&file.instrument) == escape(&bars.instrument) && file.timeframe == bars.timeframe {
        return Ok(());
    }
    let reason = format!("the bars are {} {}", bars.instrument, bars.timeframe);
    Err(MarketError::FileName {
        path: path.to_owned(),
        reason,
    })
}

fn into_io(error: ArrowError) -> std::io::Error {
    match error {
        ArrowError::IoError(_, source) => source,
        other => std::io::Error::other(other),
    }
}

fn encode(output: impl Write, bars: &Bars) -> Result<(), ArrowError> {
    let time = TimestampMillisecondArray::from(bars.open_time.clone()).with_timezone("UTC");
    let number = |values: &[f64]| Arc::new(Float64Array::from(values.to_vec())) as ArrayRef;
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("date", Arc::new(time)),
        ("open", number(&bars.open)),
        ("high", number(&bars.high)),
        ("low", number(&bars.low)),
        ("close", number(&bars.close)),
        ("volume", number(&bars.volume)),
    ];
    let fields: Vec<_> = columns
        .iter()
        .map(|(name, array)| Field::new(*name, array.data_type().clone(), true))
        .collect();
    let metadata = HashMap::from([("pandas".to_owned(), pandas_metadata(&fields))]);
    let schema = Arc::new(Schema::new_with_metadata(fields, metadata));
    let arrays = columns.into_iter().map(|(_, array)| array).collect();
    let batch = RecordBatch::try_new(Arc::clone(&schema), arrays)?;
    let options =
        IpcWriteOptions::default().try_with_compression(Some(CompressionType::LZ4_FRAME))?;
    let mut writer = FileWriter::try_new_with_options(output, &schema, options)?;
    writer.write(&batch)?;
    writer.finish()
}

/// The schema entry from which pandas restores its own types.
fn pandas_metadata(fields: &[Field]) -> String {
    let columns: Vec<_> = fields
        .iter()
        .map(|field| {
            let (pandas, numpy, metadata) = match field.data_type() {
                DataType::Timestamp(TimeUnit::Millisecond, _) => {
                    ("datetimetz", "datetime64[ms]", json!({"timezone": "UTC"}))
                }
                _ => ("float64", "float64", json!(null)),
            };
            json!({
                "name": field.name(),
                "field_name": field.name(),
                "pandas_type": pandas,
                "numpy_type": numpy,
                "metadata": metadata,
            })
        })
        .collect();
    json!({
        "index_columns": [],
        "column_indexes": [],
        "columns": columns,
        "attributes": {},
        "creator": {"library": "foretune", "version": env!("CARGO_PKG_VERSION")},
        "pandas_version": "2.2.0",
    })
    .to_string()
}
