//! Candle files, good and bad, written column by column.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::{ArrayRef, Float64Array, RecordBatch, StringArray, TimestampMillisecondArray};
use arrow_ipc::writer::FileWriter;
use arrow_schema::{DataType, Field, Schema, TimeUnit};

const HOUR: i64 = 3_600_000;
/// 2019-01-01T00:00:00Z.
const START: i64 = 1_546_300_800_000;

/// The columns of a candle file.
#[derive(Clone, Debug)]
pub(crate) struct Columns {
    pub(crate) date: Vec<i64>,
    pub(crate) open: Vec<f64>,
    pub(crate) high: Vec<f64>,
    pub(crate) low: Vec<f64>,
    pub(crate) close: Vec<f64>,
    pub(crate) volume: Vec<f64>,
}

impl Columns {
    /// Hourly candles of a price that swings by some percent within half a day.
    pub(crate) fn swinging(rows: usize) -> Self {
        let price = |row: usize| {
            let t = row as f64;
            100.0
                * (1.0 + 0.06 * (t / 9.0).sin() + 0.05 * (t / 31.0).sin() + 0.02 * (t / 2.3).cos())
        };
        let close: Vec<f64> = (0..rows).map(|row| price(row + 1)).collect();
        let open: Vec<f64> = (0..rows).map(price).collect();
        let pick = |by: fn(f64, f64) -> f64, factor: f64| -> Vec<f64> {
            open.iter()
                .zip(&close)
                .map(|(a, b)| by(*a, *b) * factor)
                .collect()
        };
        Self {
            date: (0..rows).map(|row| START + row as i64 * HOUR).collect(),
            high: pick(f64::max, 1.001),
            low: pick(f64::min, 0.999),
            volume: (0..rows).map(|row| 10.0 + (row % 7) as f64).collect(),
            open,
            close,
        }
    }

    /// Hourly candles of a price that hardly moves.
    pub(crate) fn flat(rows: usize) -> Self {
        let mut columns = Self::swinging(rows);
        for column in [
            &mut columns.open,
            &mut columns.high,
            &mut columns.low,
            &mut columns.close,
        ] {
            for price in column {
                *price = 100.0 + (*price - 100.0) * 1e-4;
            }
        }
        columns
    }

    /// Writes the file and returns its path.
    pub(crate) fn write(&self, folder: &Path, name: &str) -> PathBuf {
        let date = TimestampMillisecondArray::from(self.date.clone()).with_timezone("UTC");
        self.write_with(
            folder,
            name,
            Arc::new(date),
            Arc::new(Float64Array::from(self.close.clone())),
        )
    }

    /// Writes the file with a close column of text.
    pub(crate) fn write_with_text_close(&self, folder: &Path, name: &str) -> PathBuf {
        let date = TimestampMillisecondArray::from(self.date.clone()).with_timezone("UTC");
        let close: StringArray = self
            .close
            .iter()
            .map(|price| Some(price.to_string()))
            .collect();
        self.write_with(folder, name, Arc::new(date), Arc::new(close))
    }

    fn write_with(&self, folder: &Path, name: &str, date: ArrayRef, close: ArrayRef) -> PathBuf {
        fs::create_dir_all(folder).unwrap();
        let number = |values: &[f64]| Arc::new(Float64Array::from(values.to_vec())) as ArrayRef;
        let columns = [
            ("date", date),
            ("open", number(&self.open)),
            ("high", number(&self.high)),
            ("low", number(&self.low)),
            ("close", close),
            ("volume", number(&self.volume)),
        ];
        let kind = |name: &str, column: &ArrayRef| match name {
            "date" => DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into())),
            _ => column.data_type().clone(),
        };
        let fields: Vec<Field> = columns
            .iter()
            .map(|(name, column)| Field::new(*name, kind(name, column), true))
            .collect();
        let schema = Arc::new(Schema::new(fields));
        let arrays = columns.into_iter().map(|(_, column)| column).collect();
        let batch = RecordBatch::try_new(schema.clone(), arrays).unwrap();
        let path = folder.join(name);
        let mut writer = FileWriter::try_new(File::create(&path).unwrap(), &schema).unwrap();
        writer.write(&batch).unwrap();
        writer.finish().unwrap();
        path
    }
}
