//! Sound bars, and feather files made column by column, for the tests to break.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::{ArrayRef, Float64Array, RecordBatch, TimestampMillisecondArray};
use arrow_ipc::CompressionType;
use arrow_ipc::writer::{FileWriter, IpcWriteOptions};
use market::{Bars, Instrument, Timeframe};

/// 2019-03-01T12:00:00Z.
pub(crate) const START: i64 = 1_551_441_600_000;
pub(crate) const HOUR: i64 = 3_600_000;

/// Sound hourly bars without anything odd.
pub(crate) fn hourly(rows: usize) -> Bars {
    let price = |offset: f64| {
        (0..rows)
            .map(|row| 3_800.0 + (row % 7) as f64 + offset)
            .collect()
    };
    Bars {
        instrument: Instrument::new("BTC/USDT").unwrap(),
        timeframe: Timeframe::HOUR,
        open_time: (0..rows as i64).map(|row| START + row * HOUR).collect(),
        open: price(0.0),
        high: price(2.5),
        low: price(-1.5),
        close: price(0.5),
        volume: (0..rows).map(|row| 10.0 + row as f64).collect(),
    }
}

pub(crate) type Columns = Vec<(&'static str, ArrayRef)>;

/// The columns of a sound candle file.
pub(crate) fn columns(rows: usize) -> Columns {
    let bars = hourly(rows);
    let number = |values: Vec<f64>| Arc::new(Float64Array::from(values)) as ArrayRef;
    vec![
        (
            "date",
            Arc::new(TimestampMillisecondArray::from(bars.open_time).with_timezone("UTC")),
        ),
        ("open", number(bars.open)),
        ("high", number(bars.high)),
        ("low", number(bars.low)),
        ("close", number(bars.close)),
        ("volume", number(bars.volume)),
    ]
}

/// Replaces one column.
pub(crate) fn with(mut columns: Columns, name: &str, array: ArrayRef) -> Columns {
    let column = columns.iter_mut().find(|column| column.0 == name).unwrap();
    column.1 = array;
    columns
}

/// Writes record batches of equal columns into an Arrow IPC file.
pub(crate) fn feather(path: &Path, batches: &[Columns], compression: Option<CompressionType>) {
    let options = IpcWriteOptions::default()
        .try_with_compression(compression)
        .unwrap();
    let batches: Vec<_> = batches
        .iter()
        .map(|columns| {
            let columns = columns
                .iter()
                .map(|(name, array)| (*name, Arc::clone(array), true));
            RecordBatch::try_from_iter_with_nullable(columns).unwrap()
        })
        .collect();
    let file = std::fs::File::create(path).unwrap();
    let mut writer = FileWriter::try_new_with_options(file, &batches[0].schema(), options).unwrap();
    for batch in &batches {
        writer.write(batch).unwrap();
    }
    writer.finish().unwrap();
}

/// Writes one batch under a name in a new directory.
pub(crate) fn one(name: &str, columns: Columns) -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(name);
    feather(&path, &[columns], Some(CompressionType::LZ4_FRAME));
    (directory, path)
}

/// The repository's root.
pub(crate) fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The Parquet files made by `python/reference/parquet_fixtures.py`.
pub(crate) fn parquet_fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/parquet")
}

/// The development data, or `None` with a note where it is not there.
#[expect(clippy::print_stderr, reason = "a skipped test has to be seen")]
pub(crate) fn development_data(part: &str) -> Option<PathBuf> {
    let root = std::env::var_os("FORETUNE_SHARED_DATA")
        .map_or_else(|| repository().join("../shared/data"), PathBuf::from);
    let path = root.join(part);
    if path.exists() {
        return Some(path);
    }
    eprintln!("skipped: no development data at `{}`", path.display());
    None
}
