//! The bundled candles, the development data, and the inspection of whole directories.

use std::path::{Path, PathBuf};

use crate::common::{columns, development_data, feather, repository};
use market::freqtrade::{self, CandleKind, read_with_warnings};
use market::inspect::{Inspection, inspect};
use market::{MarketError, Timestamp, Warning, sentiment};

fn bundled(name: &str) -> (PathBuf, serde_json::Value) {
    let directory = repository().join("examples/data");
    let metadata =
        std::fs::read_to_string(directory.join(format!("{name}.metadata.json"))).unwrap();
    (
        directory.join(format!("{name}.feather")),
        serde_json::from_str(&metadata).unwrap(),
    )
}

/// Reads a bundled file and compares it with what its metadata says.
fn check_bundled(name: &str, pair: &str) -> Vec<Warning> {
    let (path, metadata) = bundled(name);
    let (bars, warnings) = read_with_warnings(&path).unwrap();
    assert_eq!(bars.instrument.as_str(), pair);
    assert_eq!(metadata["rows"], bars.len());
    assert_eq!(metadata["timeframe"], bars.timeframe.to_string());
    assert_eq!(metadata["bytes"], std::fs::metadata(&path).unwrap().len());
    let (first, last) = (bars.open_time[0], bars.open_time[bars.len() - 1]);
    assert_eq!(metadata["first_open_time"], Timestamp(first).to_string());
    assert_eq!(metadata["last_open_time"], Timestamp(last).to_string());
    let gaps: Vec<_> = bars
        .gaps()
        .iter()
        .map(|gap| serde_json::json!({"from": gap.from, "to": gap.to, "missing": gap.missing}))
        .collect();
    assert_eq!(metadata["gap_list"], serde_json::Value::Array(gaps));
    warnings
}

#[test]
fn bundled_bitcoin_is_sound() {
    let warnings = check_bundled("BTC_USD-1h", "BTC/USD");
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert!(
        matches!(
            warnings[0],
            Warning::Gaps {
                count: 2,
                missing: 5,
                ..
            }
        ),
        "{warnings:?}"
    );
    assert!(
        matches!(warnings[1], Warning::ZeroVolume { count: 28, .. }),
        "{warnings:?}"
    );
}

#[test]
fn bundled_euro_is_sound() {
    let warnings = check_bundled("EUR_USD-1h", "EUR/USD");
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(
        matches!(warnings[0], Warning::Gaps { count: 52, .. }),
        "{warnings:?}"
    );
}

#[test]
fn no_bundled_candle_repeats_the_one_before() {
    // The source's clock was wrong in places; a wrong correction would repeat or shift candles.
    let (path, _) = bundled("BTC_USD-1h");
    let bars = freqtrade::read(&path).unwrap();
    let mut jumps = 0;
    for row in 1..bars.len() {
        assert!(
            bars.close[row] != bars.close[row - 1]
                || bars.volume[row] != bars.volume[row - 1]
                || bars.volume[row] == 0.0
        );
        jumps += usize::from(bars.open[row] != bars.close[row - 1]);
    }
    // Two at the gaps, seven where trading moved between two hours.
    assert_eq!(jumps, 9);
}

#[test]
fn bundled_files_are_discovered() {
    let files = freqtrade::discover(&repository().join("examples/data")).unwrap();
    let found: Vec<_> = files.iter().map(|file| file.instrument.as_str()).collect();
    assert_eq!(found, ["BTC/USD", "EUR/USD"]);
    assert!(files.iter().all(|file| file.kind == CandleKind::Spot));
}

#[test]
fn one_bad_file_does_not_spoil_the_report() {
    let directory = tempfile::tempdir().unwrap();
    let futures = directory.path().join("futures");
    std::fs::create_dir(&futures).unwrap();
    let put = |path: PathBuf, rows| feather(&path, &[columns(rows)], None);
    put(directory.path().join("BTC_USDT-1h.feather"), 20);
    put(directory.path().join("ETH_USDT-4h.feather"), 20);
    put(directory.path().join("XRP_USDT-1h.feather"), 0);
    put(directory.path().join("unnamed.feather"), 20);
    put(futures.join("BTC_USDT_USDT-1h-mark.feather"), 20);
    put(futures.join("BTC_USDT_USDT-1h-funding_rate.feather"), 20);
    put(futures.join("BTC_USDT_USDT-1h-premiumIndex.feather"), 20);
    std::fs::write(futures.join("SOL_USDT_USDT-1h-futures.feather"), b"ARROW1").unwrap();

    let inspection = inspect(directory.path()).unwrap();
    assert!(!inspection.is_sound());
    let report = |name: &str| {
        inspection
            .files
            .iter()
            .find(|file| file.file.ends_with(name))
            .unwrap()
    };
    assert_eq!(inspection.files.len(), 8);
    let sound = report("BTC_USDT-1h.feather");
    assert_eq!((sound.rows, sound.errors.len()), (Some(20), 0));
    assert_eq!(sound.first.unwrap().to_string(), "2019-03-01T12:00:00Z");
    assert_eq!(sound.last.unwrap().to_string(), "2019-03-02T07:00:00Z");
    // What could be read is reported although the file is unusable.
    let mismatch = report("ETH_USDT-4h.feather");
    assert_eq!(mismatch.rows, Some(20));
    assert!(mismatch.errors[0].message.contains("typically 1h apart"));
    assert!(mismatch.errors[0].hint.is_some());
    assert!(
        report("XRP_USDT-1h.feather").errors[0]
            .message
            .contains("has no rows")
    );
    assert!(
        report("unnamed.feather").errors[0]
            .message
            .contains("is not named like")
    );
    assert_eq!(
        report("futures/BTC_USDT_USDT-1h-mark.feather").kind,
        Some(CandleKind::Mark)
    );
    let funding = report("BTC_USDT_USDT-1h-funding_rate.feather");
    assert_eq!((funding.rows, funding.errors.len()), (Some(20), 0));
    let other = report("BTC_USDT_USDT-1h-premiumIndex.feather");
    assert_eq!((other.rows, other.errors.len()), (None, 0));
    assert!(
        report("SOL_USDT_USDT-1h-futures.feather").errors[0]
            .message
            .contains("cut short")
    );

    let json = serde_json::to_string(&inspection).unwrap();
    assert_eq!(
        serde_json::from_str::<Inspection>(&json).unwrap(),
        inspection
    );
}

#[test]
fn the_row_of_a_fault_is_reported() {
    let directory = tempfile::tempdir().unwrap();
    let mut table = columns(20);
    table.swap(2, 3);
    (table[2].0, table[3].0) = ("high", "low");
    feather(
        &directory.path().join("BTC_USDT-1h.feather"),
        &[table],
        None,
    );
    let inspection = inspect(directory.path()).unwrap();
    let fault = &inspection.files[0].errors[0];
    assert_eq!(fault.row, Some(0));
    assert!(fault.message.contains("is below low"), "{}", fault.message);
}

#[test]
fn gaps_are_counted_and_the_first_few_listed() {
    let inspection = inspect(&repository().join("examples/data")).unwrap();
    assert!(inspection.is_sound());
    let euro = &inspection.files[1];
    assert_eq!(euro.gaps.count, 52);
    assert_eq!(euro.gaps.listed.len(), 5);
    assert_eq!(euro.gaps.largest.unwrap().missing, 49);
    assert_eq!(euro.gaps.listed[0].from.to_string(), "2017-01-06T22:00:00Z");
}

#[test]
fn a_directory_without_feather_files_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let error = inspect(directory.path()).unwrap_err();
    assert!(
        matches!(error, MarketError::NoCandleFiles { .. }),
        "{error}"
    );
    assert!(inspect(&directory.path().join("absent")).is_err());
}

fn rows(inspection: &Inspection, name: &str) -> Option<usize> {
    inspection
        .files
        .iter()
        .find(|file| file.file == Path::new(name))
        .unwrap()
        .rows
}

#[test]
fn development_candles_are_read() {
    let Some(directory) = development_data("crypto") else {
        return;
    };
    let inspection = inspect(&directory).unwrap();
    assert!(inspection.is_sound(), "{inspection:#?}");
    assert_eq!(inspection.files.len(), 8);
    assert_eq!(rows(&inspection, "BTC_USDT-1h.feather"), Some(61_246));
    assert_eq!(
        rows(&inspection, "futures/BTC_USDT_USDT-1h-futures.feather"),
        Some(46_591)
    );
    assert_eq!(
        rows(&inspection, "futures/BTC_USDT_USDT-1h-mark.feather"),
        Some(44_053)
    );
    assert_eq!(
        rows(&inspection, "futures/BTC_USDT_USDT-1h-funding_rate.feather"),
        Some(5_819)
    );
    let spot = inspection
        .files
        .iter()
        .find(|file| file.file == Path::new("BTC_USDT-1h.feather"));
    assert!((100..140).contains(&spot.unwrap().gaps.missing));
}

#[test]
fn development_sentiment_is_read() {
    let Some(path) = development_data("sentiment/fear_and_greed.csv") else {
        return;
    };
    let index = sentiment::read(&path).unwrap();
    assert_eq!(index.missing_days(), 4);
    let reading = index
        .as_of("2018-02-01T12:00:00Z".parse::<Timestamp>().unwrap().0, 0)
        .unwrap();
    assert_eq!(
        (reading.value, reading.classification.as_str()),
        (30, "Fear")
    );
}
