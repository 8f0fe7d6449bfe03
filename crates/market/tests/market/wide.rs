//! Wide tables written and read back.

use std::path::Path;

use market::MarketError;
use market::table::{WideColumn, WideOptions, WideValues, WideWriter};
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::Field;

/// A small table with a missing value, in two row groups.
struct Sample {
    times: Vec<i64>,
    floats: Vec<Vec<f32>>,
    double: Vec<f64>,
    direction: Vec<i8>,
    count: Vec<i64>,
}

const FLOATS: usize = 70;
const SPLIT: usize = 333;

impl Sample {
    fn new(rows: usize) -> Self {
        let float = |row: usize, column: usize| {
            if row % 17 == column % 17 {
                f32::NAN
            } else {
                ((row * 31 + column * 7) % 101) as f32 / 13.0 - 3.0
            }
        };
        Self {
            times: (0..rows as i64)
                .map(|row| 1_739_743_200_000 + row * 900_000)
                .collect(),
            floats: (0..FLOATS)
                .map(|column| (0..rows).map(|row| float(row, column)).collect())
                .collect(),
            double: (0..rows).map(|row| (row as f64).sqrt()).collect(),
            direction: (0..rows).map(|row| row as i8 % 3 - 1).collect(),
            count: (0..rows as i64).map(|row| row * row - 7).collect(),
        }
    }

    fn columns() -> Vec<(String, WideColumn)> {
        let mut columns: Vec<_> = (0..FLOATS)
            .map(|column| (format!("f{column}"), WideColumn::F32))
            .collect();
        columns.push(("double".to_owned(), WideColumn::F64));
        columns.push(("direction".to_owned(), WideColumn::I8));
        columns.push(("count".to_owned(), WideColumn::I64));
        columns
    }

    fn group(&self, rows: std::ops::Range<usize>) -> Vec<WideValues<'_>> {
        let mut values: Vec<_> = self
            .floats
            .iter()
            .map(|column| WideValues::F32(&column[rows.clone()]))
            .collect();
        values.push(WideValues::F64(&self.double[rows.clone()]));
        values.push(WideValues::I8(&self.direction[rows.clone()]));
        values.push(WideValues::I64(&self.count[rows]));
        values
    }

    fn write(&self, path: &Path, options: &WideOptions) -> market::table::Written {
        let mut writer = WideWriter::create(path, "time", &Self::columns(), options).unwrap();
        let rows = self.times.len();
        for rows in [0..SPLIT, SPLIT..rows] {
            writer
                .write_group(&self.times[rows.clone()], &self.group(rows))
                .unwrap();
        }
        writer.finish().unwrap()
    }
}

#[test]
fn what_is_written_is_read_by_another_reader() {
    let folder = tempfile::tempdir().unwrap();
    let sample = Sample::new(500);
    let plain = WideOptions {
        level: 3,
        byte_stream_split: false,
        statistics: false,
        notes: vec![("made by".to_owned(), "a test".to_owned())],
    };
    for (name, options) in [("split", WideOptions::default()), ("plain", plain)] {
        let path = folder.path().join("deeper").join(format!("{name}.parquet"));
        let written = sample.write(&path, &options);
        assert_eq!((written.rows, written.groups), (500, 2));
        assert_eq!(written.bytes, std::fs::metadata(&path).unwrap().len());
        let file = SerializedFileReader::new(std::fs::File::open(&path).unwrap()).unwrap();
        assert_eq!(file.metadata().num_row_groups(), 2);
        for (row, read) in file.get_row_iter(None).unwrap().enumerate() {
            let read: Vec<Field> = read
                .unwrap()
                .into_columns()
                .into_iter()
                .map(|column| column.1)
                .collect();
            assert_eq!(read[0], Field::TimestampMillis(sample.times[row]));
            for (column, value) in read[1..=FLOATS].iter().enumerate() {
                let Field::Float(value) = value else {
                    panic!("{value:?}");
                };
                let expected = sample.floats[column][row];
                assert_eq!(value.to_bits(), expected.to_bits(), "{name} {row} {column}");
            }
            let rest = [
                Field::Double(sample.double[row]),
                Field::Byte(sample.direction[row]),
                Field::Long(sample.count[row]),
            ];
            assert_eq!(read[1 + FLOATS..], rest);
        }
        let notes = file.metadata().file_metadata().key_value_metadata();
        assert_eq!(notes.map_or(0, Vec::len), options.notes.len());
    }
}

#[test]
fn bytes_do_not_depend_on_the_number_of_threads() {
    let folder = tempfile::tempdir().unwrap();
    let sample = Sample::new(700);
    let bytes = |threads: usize| {
        let path = folder.path().join(format!("{threads}.parquet"));
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        pool.install(|| sample.write(&path, &WideOptions::default()));
        std::fs::read(path).unwrap()
    };
    let one = bytes(1);
    assert_eq!(one, bytes(4));
    assert_eq!(one, bytes(3));
}

#[test]
fn an_unfinished_table_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("train.parquet");
    std::fs::write(&path, b"old").unwrap();
    let sample = Sample::new(400);
    let mut writer =
        WideWriter::create(&path, "time", &Sample::columns(), &WideOptions::default()).unwrap();
    writer
        .write_group(&sample.times, &sample.group(0..400))
        .unwrap();
    drop(writer);
    assert_eq!(std::fs::read(&path).unwrap(), b"old");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn what_does_not_fit_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.parquet");
    let create = |columns: &[(&str, WideColumn)], level: i32| {
        let columns: Vec<_> = columns
            .iter()
            .map(|(name, kind)| ((*name).to_owned(), *kind))
            .collect();
        let options = WideOptions {
            level,
            ..WideOptions::default()
        };
        WideWriter::create(&path, "time", &columns, &options)
    };
    let message = |error: MarketError| error.to_string();
    let twice = create(&[("a", WideColumn::F32), ("a", WideColumn::F64)], 1);
    assert!(message(twice.err().unwrap()).contains("two columns are named `a`"));
    let time = create(&[("time", WideColumn::F32)], 1);
    assert!(message(time.err().unwrap()).contains("two columns are named `time`"));
    assert!(message(create(&[("", WideColumn::F32)], 1).err().unwrap()).contains("no name"));
    assert!(message(create(&[("a", WideColumn::F32)], 99).err().unwrap()).contains("not a level"));

    let mut writer = create(&[("a", WideColumn::F32)], 1).unwrap();
    for (times, columns, words) in [
        (&[][..], vec![WideValues::F32(&[])], "has no rows"),
        (&[1], vec![], "0 columns were given, expected 1"),
        (
            &[1],
            vec![WideValues::F64(&[1.0])],
            "column `a` was given F64, expected F32",
        ),
        (
            &[1, 2],
            vec![WideValues::F32(&[1.0])],
            "column `a` has 1 rows, expected 2",
        ),
    ] {
        let error = writer.write_group(times, &columns).unwrap_err();
        assert!(error.to_string().contains(words), "{error}");
    }
    writer
        .write_group(&[1], &[WideValues::F32(&[1.0])])
        .unwrap();
    assert_eq!(writer.finish().unwrap().rows, 1);
}
