//! Bars from Parquet and CSV files, against files that pandas, pyarrow and polars wrote.

use std::path::{Path, PathBuf};

use crate::common::{development_data, parquet_fixtures};
use market::ohlcv::{self, TimeframeSource, read_contents};
use market::{MarketError, Timestamp, Warning};
use serde_json::Value;

fn numbers(value: &Value) -> Vec<f64> {
    value
        .as_array()
        .unwrap()
        .iter()
        .map(|value| value.as_f64().unwrap())
        .collect()
}

#[test]
fn files_of_other_libraries_are_read_exactly() {
    let folder = parquet_fixtures().join("bars");
    let known: Value =
        serde_json::from_slice(&std::fs::read(folder.join("bars.json")).unwrap()).unwrap();
    let known = known.as_object().unwrap();
    assert_eq!(known.len(), 7);
    for (name, expected) in known {
        let contents = read_contents(&folder.join(name)).unwrap();
        let bars = contents.bars;
        assert_eq!(expected["instrument"], bars.instrument.as_str(), "{name}");
        let timeframe: market::Timeframe = expected["timeframe"].as_str().unwrap().parse().unwrap();
        assert_eq!(
            timeframe.milliseconds(),
            bars.timeframe.milliseconds(),
            "{name}"
        );
        let times: Vec<i64> = serde_json::from_value(expected["time"].clone()).unwrap();
        assert_eq!(times, bars.open_time, "{name}");
        assert_eq!(numbers(&expected["open"]), bars.open, "{name}");
        assert_eq!(numbers(&expected["high"]), bars.high, "{name}");
        assert_eq!(numbers(&expected["low"]), bars.low, "{name}");
        assert_eq!(numbers(&expected["close"]), bars.close, "{name}");
        if expected["volume"].is_null() {
            assert_eq!(contents.volume_column, None, "{name}");
            assert!(bars.volume.iter().all(|volume| *volume == 0.0), "{name}");
        } else {
            assert_eq!(numbers(&expected["volume"]), bars.volume, "{name}");
        }
        let others: Vec<String> = serde_json::from_value(expected["others"].clone()).unwrap();
        assert_eq!(others, contents.other_columns, "{name}");
        let gap = contents.warnings.iter().any(|warning| {
            matches!(
                warning,
                Warning::Gaps {
                    count: 1,
                    missing: 2,
                    ..
                }
            )
        });
        assert!(gap, "{name}: {:?}", contents.warnings);
        let source = if name == "XAUUSD.parquet" {
            TimeframeSource::Rows
        } else {
            TimeframeSource::Name
        };
        assert_eq!(contents.timeframe_source, source, "{name}");
    }
}

#[test]
fn what_cannot_be_bars_is_refused_with_its_place() {
    let folder = parquet_fixtures().join("refused");
    let check = |pair: &str, words: &str, hint: &str| {
        let error = ohlcv::read(&folder.join(format!("{pair}_M15.parquet"))).unwrap_err();
        let message = error.to_string();
        assert!(message.contains(words), "{pair}: {message}");
        let advice = error.hint().unwrap();
        assert!(advice.contains(hint), "{pair}: {advice}");
    };
    check("EURUSD", "column `date` of", "pandas.to_datetime");
    check(
        "EURUSD",
        "has type `string`, expected a timestamp",
        "utc=True",
    );
    check(
        "EURGBP",
        "column `date`: it is compressed with BROTLI",
        "zstd",
    );
    check("EURCHF", "row 7: `close` is null", "download");
    check("EURAUD", "no column for the lowest price", "`low`");
    check("EURCAD", "no column for the time", "`timestamp`");
    check("EURNZD", "`close.element`", "closing price");
    check("EURJPY", "more than one column `high`", "keep one");
}

#[test]
fn a_file_says_what_else_it_holds() {
    let path = parquet_fixtures().join("bars/GBP_USD-15m.parquet");
    let contents = read_contents(&path).unwrap();
    assert_eq!(contents.time_column, "Time");
    assert_eq!(contents.volume_column.as_deref(), Some("tick_volume"));
    assert_eq!(contents.other_columns, ["spread"]);
}

fn csv(name: &str, text: &str) -> Result<ohlcv::Contents, MarketError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, text).unwrap();
    read_contents(&path)
}

#[test]
fn csv_files_are_read() {
    let meta_trader = "<DATE>\t<TIME>\t<OPEN>\t<HIGH>\t<LOW>\t<CLOSE>\t<TICKVOL>\t<VOL>\t<SPREAD>\n\
        2025.02.16\t22:00:00\t1.1\t1.3\t1.0\t1.2\t67\t0\t5\n\
        2025.02.16\t22:15:00\t1.2\t1.4\t1.1\t1.3\t82\t0\t5\n";
    let contents = csv("EURUSD_M15.csv", meta_trader).unwrap();
    let start: Timestamp = "2025-02-16T22:00:00Z".parse().unwrap();
    assert_eq!(contents.bars.open_time, [start.0, start.0 + 900_000]);
    assert_eq!(contents.bars.close, [1.2, 1.3]);
    assert_eq!(contents.bars.volume, [67.0, 82.0]);
    assert_eq!(contents.other_columns, ["<VOL>", "<SPREAD>"]);

    for text in [
        "time,open,high,low,close\n2025-02-16 22:00:00,1.1,1.3,1.0,1.2\n2025-02-16 22:15:00,1.2,1.4,1.1,1.3\n",
        "\u{feff}Date;Close;Low;High;Open\r\n1739743200;1.2;1.0;1.3;1.1\r\n1739744100;1.3;1.1;1.4;1.2\r\n",
        "timestamp,open,high,low,close\n1739743200000,1.1,1.3,1.0,1.2\n1739744100000,1.2,1.4,1.1,1.3\n",
    ] {
        let read = csv("EUR_USD.csv", text).unwrap();
        assert_eq!(read.bars.open_time, contents.bars.open_time, "{text}");
        assert_eq!(read.bars.high, [1.3, 1.4], "{text}");
        assert_eq!(read.bars.timeframe.to_string(), "15m", "{text}");
        assert_eq!(read.timeframe_source, TimeframeSource::Rows, "{text}");
    }
}

#[test]
fn a_csv_fault_names_its_line() {
    let head = "time,open,high,low,close\n2025-02-16 22:00:00,1.1,1.3,1.0,1.2\n";
    for (line, words) in [
        (
            "2025-02-16 22:15:00,1.2,x,1.1,1.3\n",
            "line 3: `high` is `x`, expected a number",
        ),
        (
            "yesterday,1.2,1.4,1.1,1.3\n",
            "line 3: `yesterday` is not a time",
        ),
        (
            "2025-02-16 22:15:00,1.2,1.4\n",
            "line 3: 3 fields, the first line has 5",
        ),
    ] {
        let error = csv("EURUSD_M15.csv", &format!("{head}{line}")).unwrap_err();
        assert!(error.to_string().contains(words), "{error}");
        assert!(error.hint().unwrap().contains("first line"));
    }
    let error = csv("EURUSD_M15.csv", head.trim_start_matches("time,")).unwrap_err();
    assert!(matches!(error, MarketError::NoColumnFor { .. }), "{error}");
    let error = csv("EURUSD.csv", head).unwrap_err();
    assert!(
        matches!(error, MarketError::UnknownTimeframe { .. }),
        "{error}"
    );
    let error = csv("EURUSD_M15.csv", "").unwrap_err();
    assert!(matches!(error, MarketError::NoColumnFor { .. }), "{error}");
}

#[test]
fn files_of_a_directory_are_found() {
    let files = ohlcv::discover(&parquet_fixtures().join("bars")).unwrap();
    let names: Vec<_> = files.iter().map(|file| file.instrument.as_str()).collect();
    let expected = [
        "AUD/NZD", "BTC/USDT", "EUR/JPY", "EUR/USD", "GBP/USD", "USD/CHF", "XAU/USD",
    ];
    assert_eq!(names, expected);
    let error = ohlcv::discover(Path::new(env!("CARGO_MANIFEST_DIR"))).unwrap_err();
    assert!(matches!(error, MarketError::NoBarsFiles { .. }), "{error}");
}

#[test]
fn development_currency_bars_are_read() {
    let Some(folder) = development_data("forex/m15") else {
        return;
    };
    let files: Vec<PathBuf> = ohlcv::discover(&folder)
        .unwrap()
        .into_iter()
        .map(|file| file.path)
        .collect();
    assert_eq!(files.len(), 28);
    for path in files {
        let contents = read_contents(&path).unwrap();
        assert_eq!(contents.bars.timeframe.to_string(), "15m");
        assert!(contents.bars.instrument.quote().is_some());
        assert!(
            (19_000..20_500).contains(&contents.bars.len()),
            "{}",
            path.display()
        );
    }
    // As pandas describes the file.
    let bars = ohlcv::read(&folder.join("EURCAD.parquet")).unwrap();
    assert_eq!(bars.len(), 19_671);
    let start: Timestamp = "2025-02-16T22:00:00Z".parse().unwrap();
    assert_eq!(bars.open_time[0], start.0);
    assert_eq!(
        (bars.open[0], bars.high[1], bars.close[4]),
        (1.48498, 1.48607, 1.48743)
    );
    let mean = bars.close.iter().sum::<f64>() / bars.len() as f64;
    assert!((mean - 1.588455).abs() < 1e-6, "{mean}");
}
