//! The inspection of directories of Parquet and CSV files, and of packages.

use crate::common::{columns, development_data, feather, parquet_fixtures};
use market::inspect::{Inspection, inspect};

fn report<'a>(inspection: &'a Inspection, name: &str) -> &'a market::inspect::FileReport {
    let mut files = inspection.files.iter();
    files.find(|file| file.file.ends_with(name)).unwrap()
}

#[test]
fn bars_ticks_and_tables_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let copy = |from: &str, to: &str| {
        std::fs::copy(parquet_fixtures().join(from), folder.path().join(to)).unwrap();
    };
    copy("bars/GBP_USD-15m.parquet", "GBP_USD-15m.parquet");
    copy("bars/XAUUSD.parquet", "XAUUSD.parquet");
    copy("refused/EURCHF_M15.parquet", "EURCHF_M15.parquet");
    copy("ticks/quotes.parquet", "quotes.parquet");
    copy("ticks/trades.parquet", "trades.parquet");
    copy("package/EURUSD/train.parquet", "train.parquet");
    feather(
        &folder.path().join("BTC_USDT-1h.feather"),
        &[columns(20)],
        None,
    );
    let csv = "time,open,high,low,close\n2025-02-16 22:00:00,1.1,1.3,1.0,1.2\n2025-02-16 22:15:00,1.2,1.4,1.1,1.3\n";
    std::fs::write(folder.path().join("AUDUSD_M15.csv"), csv).unwrap();
    std::fs::write(folder.path().join("fear_and_greed.csv"), "date,value\n").unwrap();
    let inspection = inspect(folder.path()).unwrap();
    assert_eq!(inspection.files.len(), 8);
    assert!(!inspection.is_sound() && inspection.package.is_none());
    let kind = |name: &str| {
        let file = report(&inspection, name);
        let kind = file.kind.as_ref().unwrap().to_string();
        (kind, file.rows, file.errors.len())
    };
    let expected = |kind: &str, rows: usize| (kind.to_owned(), Some(rows), 0);
    assert_eq!(kind("BTC_USDT-1h.feather"), expected("spot", 20));
    assert_eq!(kind("GBP_USD-15m.parquet"), expected("bars", 50));
    assert_eq!(kind("AUDUSD_M15.csv"), expected("bars", 2));
    assert_eq!(kind("quotes.parquet"), expected("quotes", 400));
    assert_eq!(kind("train.parquet"), expected("table", 30));
    assert_eq!(kind("trades.parquet").0, "trades");
    let notes = |name: &str| report(&inspection, name).notes.clone();
    assert_eq!(
        notes("GBP_USD-15m.parquet"),
        ["columns passed over: `spread`"]
    );
    assert_eq!(notes("XAUUSD.parquet"), ["its rows, not its name, say 1d"]);
    assert_eq!(notes("AUDUSD_M15.csv"), ["it has no volume"]);
    assert_eq!(notes("train.parquet"), ["8 columns of numbers"]);
    let gaps = &report(&inspection, "GBP_USD-15m.parquet").gaps;
    assert_eq!((gaps.count, gaps.missing), (1, 2));
    let fault = &report(&inspection, "EURCHF_M15.parquet").errors[0];
    assert_eq!(fault.row, Some(7));
    let json = serde_json::to_string(&inspection).unwrap();
    assert_eq!(
        serde_json::from_str::<Inspection>(&json).unwrap(),
        inspection
    );
}

#[test]
fn a_directory_above_bars_names_the_one_below() {
    let error = inspect(&parquet_fixtures()).unwrap_err();
    let hint = error.hint().unwrap();
    assert!(hint.contains("parquet/bars` or `"), "{hint}");
    assert!(hint.ends_with("parquet/refused`?"), "{hint}");
}

#[test]
fn a_package_is_inspected() {
    let inspection = inspect(&parquet_fixtures().join("package")).unwrap();
    assert!(inspection.is_sound() && inspection.files.is_empty());
    let package = inspection.package.as_ref().unwrap();
    assert_eq!((package.rows, package.pairs.len()), (108, 2));
    let pair = &package.pairs[0];
    assert_eq!(
        (pair.pair.as_str(), pair.rows, pair.features),
        ("EURUSD", 60, 8)
    );
    assert_eq!(pair.first.unwrap().to_string(), "2025-02-16T22:00:00Z");
    assert_eq!(pair.last.unwrap().to_string(), "2025-02-17T12:45:00Z");
    let json = serde_json::to_string(&inspection).unwrap();
    assert_eq!(
        serde_json::from_str::<Inspection>(&json).unwrap(),
        inspection
    );
}

#[test]
fn development_parquet_files_are_sound() {
    for (part, files) in [("forex/m15", 28), ("ticks", 2)] {
        let Some(folder) = development_data(part) else {
            return;
        };
        let inspection = inspect(&folder).unwrap();
        assert_eq!(inspection.files.len(), files);
        assert!(inspection.is_sound(), "{:#?}", inspection.files);
    }
}
