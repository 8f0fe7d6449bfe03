//! Wide tables and packages of other libraries, read.

use std::path::Path;

use crate::common::parquet_fixtures;
use market::MarketError;
use market::table::{
    ColumnType, Package, PackageFaultKind, PackageFaultKind as Kind, Split, WideColumn,
    WideOptions, WideReader, WideValues, WideWriter,
};
use serde_json::Value;

/// Reads a number of `values.json`, in which `null` is null and infinities are words.
fn number(value: &Value) -> f64 {
    match value {
        Value::Null => f64::NAN,
        Value::Bool(value) => f64::from(*value),
        Value::String(text) => text.parse().unwrap(),
        other => other.as_f64().unwrap(),
    }
}

fn all(reader: &WideReader, column: usize) -> (Vec<f64>, Vec<f32>) {
    let (mut numbers, mut floats) = (Vec::new(), Vec::new());
    for group in 0..reader.groups() {
        numbers.extend(reader.numbers(group, column).unwrap());
        floats.extend(reader.floats(group, column).unwrap());
        assert_eq!(numbers.len(), floats.len());
    }
    (numbers, floats)
}

#[test]
fn every_type_codec_and_encoding_is_read_exactly() {
    let folder = parquet_fixtures().join("values");
    let known: Value =
        serde_json::from_slice(&std::fs::read(folder.join("values.json")).unwrap()).unwrap();
    let known = known.as_object().unwrap();
    let times: Vec<i64> = serde_json::from_value(known["time"].clone()).unwrap();
    let mut read = Vec::new();
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        if path
            .extension()
            .is_none_or(|extension| extension != "parquet")
        {
            continue;
        }
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let reader = WideReader::open(&path).unwrap();
        assert_eq!(reader.rows(), times.len() as u64, "{name}");
        let time = reader.time_column().unwrap();
        assert_eq!(reader.columns()[time].name, "time");
        let found: Vec<i64> = (0..reader.groups())
            .flat_map(|group| reader.times(group).unwrap())
            .collect();
        assert_eq!(found, times, "{name}");
        let mut columns = 0;
        for (place, column) in reader.columns().iter().enumerate() {
            let Some(expected) = known.get(&column.name).filter(|_| place != time) else {
                continue;
            };
            let (numbers, floats) = all(&reader, place);
            let expected: Vec<f64> = expected.as_array().unwrap().iter().map(number).collect();
            assert_eq!(numbers.len(), expected.len(), "{name} {}", column.name);
            for (row, expected) in expected.iter().enumerate() {
                let place = format!("{name} {} row {row}", column.name);
                // Bits, so that the sign of zero counts; the bits of a NaN do not.
                let same = |found: f64, expected: f64| {
                    found.to_bits() == expected.to_bits() || found.is_nan() && expected.is_nan()
                };
                assert!(same(numbers[row], *expected), "{place}: {}", numbers[row]);
                let single = f64::from(*expected as f32);
                assert!(
                    same(f64::from(floats[row]), single),
                    "{place}: {}",
                    floats[row]
                );
            }
            columns += 1;
        }
        assert!(columns >= 18, "{name}: {columns}");
        read.push((name, reader.groups()));
    }
    read.sort();
    let expected = [
        ("gzip-pages", 1),
        ("lz4-checksums", 1),
        ("none-plain", 1),
        ("none-v2-runs", 1),
        ("polars", 2),
        ("snappy-dictionary", 1),
        ("zstd-split-deltas", 1),
        ("zstd-v2-groups", 2),
    ];
    assert_eq!(
        read,
        expected.map(|(name, groups)| (name.to_owned(), groups))
    );
}

fn values() -> WideReader {
    WideReader::open(&parquet_fixtures().join("values/none-plain.parquet")).unwrap()
}

#[test]
fn columns_are_picked_by_name_and_pattern() {
    let reader = values();
    let names = |wanted: &[&str]| -> Vec<String> {
        let selection = reader.select(wanted).unwrap();
        let name = |place: &usize| reader.columns()[*place].name.clone();
        selection.columns.iter().map(name).collect()
    };
    assert_eq!(names(&["double", "float"]), ["double", "float"]);
    assert_eq!(names(&["int?", "int8"]), ["int8"]);
    assert_eq!(
        names(&["uint*", "double_*", "uint8"]),
        ["uint8", "uint32", "uint64", "double_null", "double_few"]
    );
    assert_eq!(names(&["double*", "!*_null"]), ["double", "double_few"]);
    let everything = reader.select(&["*"]).unwrap();
    let passed: Vec<_> = everything
        .passed_over
        .iter()
        .map(|place| reader.columns()[*place].name.as_str())
        .collect();
    assert_eq!(passed, ["text", "list.element"]);
    assert_eq!(everything.columns.len(), reader.columns().len() - 3);
}

#[test]
fn what_is_no_number_is_refused_only_where_asked_for() {
    let reader = values();
    let error = reader.select(&["float", "text"]).unwrap_err();
    let expected = "column `text` of `";
    assert!(error.to_string().starts_with(expected), "{error}");
    assert!(
        error
            .to_string()
            .ends_with("has type `string`, expected numbers or truth values")
    );
    let error = reader.select(&["time"]).unwrap_err();
    assert!(error.to_string().contains("timestamp[ms, UTC]"), "{error}");
    let error = reader.select(&["doubel_few"]).unwrap_err();
    assert_eq!(error.hint().unwrap(), "did you mean `double_few`?");
    let error = reader.select(&["rsi_*"]).unwrap_err();
    assert!(
        matches!(error, MarketError::UnknownColumn { similar: None, .. }),
        "{error}"
    );
    let text = reader.column("text").unwrap();
    assert_eq!(reader.columns()[text].column_type, ColumnType::Text);
    assert!(matches!(
        reader.floats(0, text),
        Err(MarketError::ColumnType { .. })
    ));
}

#[test]
fn what_is_written_is_read_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.parquet");
    let columns = [
        ("a", WideColumn::F32),
        ("d", WideColumn::I8),
        ("n", WideColumn::I64),
    ];
    let columns = columns.map(|(name, kind)| (name.to_owned(), kind));
    let mut writer = WideWriter::create(&path, "date", &columns, &WideOptions::default()).unwrap();
    let rows = 100_000;
    let times: Vec<i64> = (0..rows)
        .map(|row| 1_739_743_200_000 + row * 60_000)
        .collect();
    let floats: Vec<f32> = (0..rows).map(|row| (row as f32).sin()).collect();
    let directions: Vec<i8> = (0..rows).map(|row| (row % 3) as i8 - 1).collect();
    let counts: Vec<i64> = (0..rows).map(|row| row * row % 1009 - 500).collect();
    for half in [0..60_000, 60_000..100_000] {
        let group = [
            WideValues::F32(&floats[half.clone()]),
            WideValues::I8(&directions[half.clone()]),
            WideValues::I64(&counts[half.clone()]),
        ];
        writer.write_group(&times[half], &group).unwrap();
    }
    writer.finish().unwrap();
    let reader = WideReader::open(&path).unwrap();
    assert_eq!(
        (reader.rows(), reader.groups(), reader.group_rows(1)),
        (100_000, 2, 40_000)
    );
    assert_eq!(reader.times(1).unwrap(), times[60_000..]);
    assert_eq!(all(&reader, 1).1, floats);
    let wide = |values: &[i64]| values.iter().map(|value| *value as f64).collect::<Vec<_>>();
    assert_eq!(
        all(&reader, 2).0,
        directions.iter().map(|d| f64::from(*d)).collect::<Vec<_>>()
    );
    assert_eq!(all(&reader, 3).0, wide(&counts));
    let period = reader.period().unwrap().unwrap();
    assert_eq!((period.0.0, period.1.0), (times[0], times[99_999]));
}

#[test]
fn a_sound_package_has_no_faults() {
    let package = Package::open(&parquet_fixtures().join("package")).unwrap();
    assert_eq!(package.check(false), []);
    assert_eq!(package.rows(), 108);
    assert_eq!(package.metadata.as_ref().unwrap()["pairs"], 2);
    let names: Vec<_> = package
        .pairs
        .iter()
        .map(|pair| pair.instrument.as_str())
        .collect();
    assert_eq!(names, ["EUR/USD", "GBP/USD"]);
    let train = package.pairs[0].table(Split::Train).unwrap();
    let time = train.time_column().unwrap();
    assert_eq!(train.columns()[time].name, "__index_level_0__");
    // Three values of `rsi_14` are missing, and the index of pandas is no feature.
    let selection = train.select(&["*", "!target_*"]).unwrap();
    assert_eq!(selection.columns.len(), 4);
    let rsi = train.floats(0, train.column("rsi_14").unwrap()).unwrap();
    assert_eq!(rsi.iter().filter(|value| value.is_nan()).count(), 3);
}

/// Writes a table of two features.
fn write(path: &Path, times: &[i64], names: [&str; 2]) {
    let columns = names.map(|name| (name.to_owned(), WideColumn::F32));
    let mut writer = WideWriter::create(path, "time", &columns, &WideOptions::default()).unwrap();
    let values = vec![0.5; times.len()];
    let group = [WideValues::F32(&values), WideValues::F32(&values)];
    writer.write_group(times, &group).unwrap();
    writer.finish().unwrap();
}

#[test]
fn every_fault_of_a_package_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let hours = |range: std::ops::Range<i64>| -> Vec<i64> {
        range
            .map(|hour| 1_739_743_200_000 + hour * 3_600_000)
            .collect()
    };
    let usual = ["a", "b"];
    write(&at("AUDUSD/train.parquet"), &hours(0..10), usual);
    write(&at("AUDUSD/validation.parquet"), &hours(10..15), usual);
    write(&at("AUDUSD/test.parquet"), &hours(14..20), usual);
    write(&at("EURUSD/train.parquet"), &hours(0..10), ["a", "c"]);
    write(
        &at("EURUSD/val.parquet"),
        &[5, 4].map(|hour| hours(hour..hour + 1)[0]),
        usual,
    );
    std::fs::write(at("EURUSD/test.parquet"), b"PAR1 and no more").unwrap();
    write(
        &at("GBPUSD/train.parquet"),
        &[0, 0].map(|hour| hours(hour..hour + 1)[0]),
        usual,
    );
    std::fs::write(at("metadata.json"), b"{").unwrap();
    std::fs::create_dir(at("notes")).unwrap();
    let package = Package::open(folder.path()).unwrap();
    let found = package.check(false);
    let kinds: Vec<_> = found
        .iter()
        .map(|fault| (fault.pair.as_str(), fault.split, fault.kind))
        .collect();
    let expected = [
        ("EURUSD", Some(Split::Test), Kind::Unreadable),
        ("", None, Kind::Metadata),
        ("AUDUSD", Some(Split::Test), Kind::Overlap),
        ("EURUSD", Some(Split::Train), Kind::Columns),
        ("EURUSD", Some(Split::Val), Kind::Time),
        ("GBPUSD", Some(Split::Val), Kind::MissingSplit),
        ("GBPUSD", Some(Split::Test), Kind::MissingSplit),
        ("GBPUSD", Some(Split::Train), Kind::Time),
    ];
    assert_eq!(kinds, expected);
    assert!(
        found[2]
            .message
            .contains("starts at 2025-02-17T12:00:00Z, before val ends at")
    );
    assert!(
        found[3]
            .message
            .ends_with("it lacks `b`, and has besides `c`"),
        "{}",
        found[3].message
    );
    assert_eq!(found[4].row, Some(1));
    assert!(found[7].message.contains("is a duplicate"));
    assert!(found.iter().all(|fault| fault.hint.is_some()));
}

#[test]
fn rows_without_a_time_need_a_declaration() {
    let folder = tempfile::tempdir().unwrap();
    for (split, rows) in [("train", 4), ("val", 2), ("test", 2)] {
        // Small integers under the name of an index are no times.
        let path = folder.path().join(format!("EURUSD/{split}.parquet"));
        let columns = [("index".to_owned(), WideColumn::I64)];
        let options = WideOptions::default();
        let mut writer = WideWriter::create(&path, "order", &columns, &options).unwrap();
        let index: Vec<i64> = (0..rows).collect();
        writer
            .write_group(&index, &[WideValues::I64(&index)])
            .unwrap();
        writer.finish().unwrap();
    }
    // The only column of stamps is taken for the time, and here holds none.
    let package = Package::open(folder.path()).unwrap();
    assert!(
        package
            .check(true)
            .iter()
            .all(|fault| fault.kind == PackageFaultKind::Time)
    );
    let reader = WideReader::open(&parquet_fixtures().join("refused/EURCAD_M15.parquet")).unwrap();
    assert_eq!(reader.time_column(), None);
    assert!(matches!(
        reader.times(0),
        Err(MarketError::NoColumnFor { role: "time", .. })
    ));
    let bare = folder.path().join("bare/EURCAD");
    std::fs::create_dir_all(&bare).unwrap();
    for split in ["train", "val", "test"] {
        std::fs::copy(reader.path(), bare.join(format!("{split}.parquet"))).unwrap();
    }
    let package = Package::open(&folder.path().join("bare")).unwrap();
    let kinds: Vec<_> = package
        .check(false)
        .iter()
        .map(|fault| fault.kind)
        .collect();
    assert_eq!(kinds, [PackageFaultKind::NoTime; 3]);
    assert_eq!(package.check(true), []);
    let error = Package::open(&parquet_fixtures().join("bars")).unwrap_err();
    assert!(matches!(error, MarketError::NoPackage { .. }), "{error}");
}
