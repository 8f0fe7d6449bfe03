//! What candle files hold, column by column.

use std::path::Path;
use std::sync::Arc;

use crate::common::{HOUR, START, columns, feather, hourly, one, with};
use arrow_array::{
    ArrayRef, BooleanArray, Float32Array, Float64Array, Int32Array, Int64Array, NullArray,
    StringArray, TimestampMicrosecondArray, TimestampMillisecondArray, TimestampNanosecondArray,
    TimestampSecondArray,
};
use arrow_ipc::CompressionType;
use market::freqtrade::{self, CandleKind, read, read_funding, read_with_warnings};
use market::{MarketError, Timeframe, Warning};

const SPOT: &str = "BTC_USDT-1h.feather";
const MARK: &str = "BTC_USDT_USDT-1h-mark.feather";
const FUNDING: &str = "BTC_USDT_USDT-8h-funding_rate.feather";

fn times() -> Vec<i64> {
    hourly(5).open_time
}

#[test]
fn every_spelling_of_time_is_read() {
    let scaled = |by: i64| times().iter().map(|time| time * by).collect::<Vec<_>>();
    let seconds: Vec<i64> = times().iter().map(|time| time / 1_000).collect();
    let spellings: Vec<ArrayRef> = vec![
        Arc::new(TimestampSecondArray::from(seconds.clone())),
        Arc::new(TimestampMillisecondArray::from(times())),
        Arc::new(TimestampMillisecondArray::from(times()).with_timezone("+02:00")),
        Arc::new(TimestampMicrosecondArray::from(scaled(1_000)).with_timezone("UTC")),
        Arc::new(TimestampNanosecondArray::from(scaled(1_000_000)).with_timezone("UTC")),
        Arc::new(Int64Array::from(seconds)),
        Arc::new(Int64Array::from(times())),
        Arc::new(Int64Array::from(scaled(1_000))),
        Arc::new(Int64Array::from(scaled(1_000_000))),
    ];
    for spelling in spellings {
        let name = spelling.data_type().to_string();
        let (_directory, path) = one(SPOT, with(columns(5), "date", spelling));
        assert_eq!(read(&path).unwrap(), hourly(5), "{name}");
    }
}

#[test]
fn column_order_extra_columns_and_batches_do_not_matter() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(SPOT);
    let mut mixed = columns(5);
    mixed.reverse();
    let words: ArrayRef = Arc::new(StringArray::from(vec!["note"; 5]));
    let flags: ArrayRef = Arc::new(BooleanArray::from(vec![true; 5]));
    mixed.insert(2, ("note", words));
    mixed.insert(0, ("flag", flags));
    mixed.push(("nothing", Arc::new(NullArray::new(5))));
    let later = mixed
        .iter()
        .map(|(name, array)| (*name, array.slice(2, 3)))
        .collect();
    let earlier = mixed
        .iter()
        .map(|(name, array)| (*name, array.slice(0, 2)))
        .collect();
    for compression in [None, Some(CompressionType::LZ4_FRAME)] {
        feather(
            &path,
            &[
                crate::common::Columns::clone(&earlier),
                crate::common::Columns::clone(&later),
            ],
            compression,
        );
        assert_eq!(read(&path).unwrap(), hourly(5));
    }
}

#[test]
fn narrower_numbers_are_read() {
    let floats = Float32Array::from(vec![3_800.5_f32; 3]);
    let whole = Int64Array::from(vec![7_i64; 3]);
    let mut table = columns(3);
    for name in ["open", "high", "low", "close"] {
        table = with(table, name, Arc::new(floats.clone()));
    }
    let (_directory, path) = one(SPOT, with(table, "volume", Arc::new(whole)));
    let bars = read(&path).unwrap();
    assert_eq!(bars.close, [3_800.5; 3]);
    assert_eq!(bars.volume, [7.0; 3]);
}

fn check_type(column: &str, array: ArrayRef, found: &str) {
    let (_directory, path) = one(SPOT, with(columns(3), column, array));
    let error = read(&path).unwrap_err();
    assert!(matches!(error, MarketError::ColumnType { .. }), "{error}");
    let message = error.to_string();
    for part in [column, found, "expected", SPOT] {
        assert!(message.contains(part), "{message} lacks {part}");
    }
}

#[test]
fn other_types_are_refused() {
    check_type(
        "date",
        Arc::new(StringArray::from(vec!["2019-03-01"; 3])),
        "Utf8",
    );
    check_type(
        "date",
        Arc::new(Int32Array::from(vec![1_551_441_600; 3])),
        "Int32",
    );
    check_type(
        "close",
        Arc::new(StringArray::from(vec!["3800.5"; 3])),
        "Utf8",
    );
    check_type(
        "volume",
        Arc::new(BooleanArray::from(vec![true; 3])),
        "Boolean",
    );
}

#[test]
fn a_missing_or_repeated_column_is_refused() {
    let mut table = columns(3);
    table.remove(3);
    let (_directory, path) = one(SPOT, table);
    let error = read(&path).unwrap_err();
    assert!(
        matches!(error, MarketError::MissingColumn { column: "low", .. }),
        "{error}"
    );
    assert!(error.to_string().contains("`high`, `close`"), "{error}");

    let mut table = columns(3);
    table.push(table[1].clone());
    let (_directory, path) = one(SPOT, table);
    let error = read(&path).unwrap_err();
    assert!(matches!(error, MarketError::Unsupported { .. }), "{error}");
    assert!(
        error.to_string().contains("more than one column `open`"),
        "{error}"
    );
}

#[test]
fn nulls_are_refused_with_their_row_across_batches() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(SPOT);
    let whole = columns(6);
    let first: crate::common::Columns = whole
        .iter()
        .map(|(name, array)| (*name, array.slice(0, 4)))
        .collect();
    let rest: crate::common::Columns = whole
        .iter()
        .map(|(name, array)| (*name, array.slice(4, 2)))
        .collect();
    let null: ArrayRef = Arc::new(Float64Array::from(vec![Some(3_801.0), None]));
    let null_time: ArrayRef =
        Arc::new(TimestampMillisecondArray::from(vec![None, Some(START)]).with_timezone("UTC"));
    for (column, array, row) in [
        ("open", &null, 5),
        ("volume", &null, 5),
        ("date", &null_time, 4),
    ] {
        feather(
            &path,
            &[first.clone(), with(rest.clone(), column, Arc::clone(array))],
            None,
        );
        let error = read(&path).unwrap_err();
        assert!(matches!(error, MarketError::Null { .. }), "{error}");
        assert_eq!(error.row(), Some(row));
        assert!(error.to_string().contains(column), "{error}");
    }
}

#[test]
fn mark_files_have_no_volume() {
    let volumes: Vec<ArrayRef> = vec![
        Arc::new(NullArray::new(3)),
        Arc::new(Float64Array::from(vec![None::<f64>; 3])),
        Arc::new(Float64Array::from(vec![f64::NAN; 3])),
    ];
    for volume in volumes {
        let (_directory, path) = one(MARK, with(columns(3), "volume", volume));
        let (bars, warnings) = read_with_warnings(&path).unwrap();
        assert_eq!(bars.volume, [0.0; 3]);
        assert_eq!(bars.instrument.as_str(), "BTC/USDT:USDT");
        assert_eq!(warnings, [Warning::NullVolume { count: 3 }]);
    }
}

#[test]
fn faults_in_rows_name_the_file() {
    let (_directory, path) = one(SPOT, columns(0));
    let error = read(&path).unwrap_err();
    assert!(matches!(error, MarketError::Empty { .. }), "{error}");
    assert!(error.to_string().contains(SPOT), "{error}");

    let price: ArrayRef = Arc::new(Float64Array::from(vec![3_800.0, -1.0, 3_800.0]));
    let (_directory, path) = one(SPOT, with(columns(3), "low", price));
    let error = read(&path).unwrap_err();
    assert!(
        matches!(error, MarketError::Price { row: 1, .. }),
        "{error}"
    );
    assert!(error.to_string().contains(SPOT), "{error}");

    let (_directory, path) = one("BTC_USDT-4h.feather", columns(3));
    let error = read(&path).unwrap_err();
    assert!(
        matches!(error, MarketError::TimeframeMismatch { .. }),
        "{error}"
    );
    assert!(
        error
            .to_string()
            .contains("named 4h, but its rows are typically 1h apart"),
        "{error}"
    );

    let stamps: ArrayRef = Arc::new(Int64Array::from(vec![12_345_i64; 3]));
    let (_directory, path) = one(SPOT, with(columns(3), "date", stamps));
    let error = read(&path).unwrap_err();
    assert!(
        matches!(error, MarketError::ImplausibleTime { row: 0, .. }),
        "{error}"
    );
}

#[test]
fn a_kind_is_not_taken_for_another() {
    let (_directory, path) = one(FUNDING, columns(3));
    let error = read(&path).unwrap_err();
    assert!(matches!(error, MarketError::WrongKind { .. }), "{error}");
    assert!(
        error
            .to_string()
            .contains("holds `funding_rate` data, expected candles"),
        "{error}"
    );
    let (_directory, path) = one(SPOT, columns(3));
    let error = read_funding(&path).unwrap_err();
    assert!(matches!(error, MarketError::WrongKind { .. }), "{error}");
    let (_directory, path) = one("BTC_USDT-1h-premiumIndex.feather", columns(3));
    assert!(matches!(read(&path), Err(MarketError::WrongKind { .. })));
}

/// Funding rates eight hours apart, the second stamp 7 ms late, one payment missing.
fn funding() -> crate::common::Columns {
    let stamps = vec![
        START - 4 * HOUR,
        START + 4 * HOUR + 7,
        START + 20 * HOUR,
        START + 28 * HOUR,
    ];
    let rate: ArrayRef = Arc::new(Float64Array::from(vec![0.0001, -0.0002, 0.0003, 0.0]));
    let table = with(
        columns(4),
        "date",
        Arc::new(TimestampMillisecondArray::from(stamps)),
    );
    with(table, "open", rate)
}

#[test]
fn funding_is_read_with_its_jitter() {
    let (_directory, path) = one("BTC_USDT_USDT-1h-funding_rate.feather", funding());
    let (rates, warnings) = read_funding(&path).unwrap();
    assert_eq!(rates.len(), 4);
    assert_eq!(rates.interval(), Some(8 * HOUR));
    assert_eq!(rates.gaps().len(), 1);
    assert_eq!((rates.gaps()[0].after_row, rates.gaps()[0].missing), (1, 1));
    assert_eq!(warnings.len(), 3, "{warnings:?}");
    assert_eq!(
        warnings[0],
        Warning::Jitter {
            count: 1,
            largest: 7
        }
    );
    assert!(matches!(
        warnings[1],
        Warning::Gaps {
            count: 1,
            missing: 1,
            ..
        }
    ));
    assert_eq!(
        warnings[2],
        Warning::NamedTimeframe {
            named: Timeframe::HOUR,
            typical: 8 * HOUR
        }
    );
    assert_eq!(rates.as_of(START - 4 * HOUR - 1), None);
    assert_eq!(rates.as_of(START + 4 * HOUR + 6).unwrap().1, 0.0001);
    assert_eq!(rates.as_of(START + 4 * HOUR + 7).unwrap().1, -0.0002);
}

#[test]
fn funding_faults_name_their_row() {
    let rate: ArrayRef = Arc::new(Float64Array::from(vec![0.0, 0.0, f64::NAN, 0.0]));
    let (_directory, path) = one(FUNDING, with(funding(), "open", rate));
    let error = read_funding(&path).unwrap_err();
    assert!(matches!(error, MarketError::Rate { row: 2, .. }), "{error}");
    assert!(error.to_string().contains(FUNDING), "{error}");
    let (_directory, path) = one(FUNDING, columns(0));
    assert!(matches!(
        read_funding(&path),
        Err(MarketError::Empty { .. })
    ));
    let stamps: ArrayRef = Arc::new(TimestampMillisecondArray::from(vec![START; 4]));
    let (_directory, path) = one(FUNDING, with(funding(), "date", stamps));
    assert!(matches!(
        read_funding(&path),
        Err(MarketError::DuplicateTime { row: 1, .. })
    ));
}

#[test]
fn what_is_written_is_read_back() {
    let directory = tempfile::tempdir().unwrap();
    let bars = hourly(500);
    let kind = CandleKind::Futures;
    let path = freqtrade::path_in(directory.path(), &bars.instrument, bars.timeframe, &kind);
    freqtrade::write(&path, &bars).unwrap();
    assert_eq!(read(&path).unwrap(), bars);
    let bytes = std::fs::read(&path).unwrap();
    freqtrade::write(&path, &bars).unwrap();
    assert_eq!(
        std::fs::read(&path).unwrap(),
        bytes,
        "the same bars gave other bytes"
    );
    let beside = std::fs::read_dir(path.parent().unwrap()).unwrap().count();
    assert_eq!(beside, 1, "a temporary file was left behind");
}

#[test]
fn what_could_not_be_read_back_is_not_written() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(SPOT);
    let mut bars = hourly(5);
    bars.close[3] = f64::NAN;
    let error = freqtrade::write(&path, &bars).unwrap_err();
    assert!(
        matches!(error, MarketError::Price { row: 3, .. }),
        "{error}"
    );
    let other = directory.path().join("ETH_USDT-1h.feather");
    let error = freqtrade::write(&other, &hourly(5)).unwrap_err();
    assert!(matches!(error, MarketError::FileName { .. }), "{error}");
    assert!(
        error.to_string().contains("the bars are BTC/USDT 1h"),
        "{error}"
    );
    let below_a_file = directory.path().join("file");
    std::fs::write(&below_a_file, b"").unwrap();
    let error = freqtrade::write(&below_a_file.join(SPOT), &hourly(5)).unwrap_err();
    assert!(matches!(error, MarketError::Io { .. }), "{error}");
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
}

#[test]
fn an_absent_file_is_named() {
    let error = read(Path::new("nowhere/BTC_USDT-1h.feather")).unwrap_err();
    assert!(
        matches!(error, MarketError::Io { action: "read", .. }),
        "{error}"
    );
    assert!(error.to_string().contains("nowhere"), "{error}");
}

fn fixture(name: &str) -> Result<market::Bars, MarketError> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    read(&root.join(name).join("BTC_USDT-1h.feather"))
}

#[test]
fn files_of_the_reference_writer_are_read() {
    for name in ["chunks", "text", "legacy"] {
        let bars = fixture(name).unwrap();
        assert_eq!(bars.open_time, hourly(6).open_time, "{name}");
        assert_eq!(
            bars.open,
            [100.0, 101.0, 102.0, 103.0, 104.0, 105.0],
            "{name}"
        );
        assert_eq!(bars.volume, [10.0; 6], "{name}");
    }
}

#[test]
fn features_that_candle_files_do_not_use_are_named() {
    for (name, expect) in [
        ("zstd", "compressed with ZSTD, expected LZ4_FRAME"),
        ("dictionary", "dictionary-encoded columns"),
        ("nested", "column `note` has the nested type"),
    ] {
        let error = fixture(name).unwrap_err();
        assert!(matches!(error, MarketError::Unsupported { .. }), "{error}");
        assert!(error.to_string().contains(expect), "{error}");
    }
}
