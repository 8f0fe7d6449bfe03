//! Packages of wide tables as the ensemble's rows and columns.

#![allow(clippy::unwrap_used, reason = "what cannot be made fails its test")]

use std::ops::ControlFlow;
use std::path::Path;

use dataset::DatasetError;
use dataset::ensemble::{
    ColumnSource, EnsembleError, EnsembleSettings, PackageSource, PackageTarget, fit,
};
use market::Timeframe;
use market::table::{Package, WideColumn, WideOptions, WideValues, WideWriter};

const BAR: i64 = 900_000;
const START: i64 = 1_700_000_100_000;
const WEEKEND: i64 = 200 * BAR;

/// Writes a table of a feature `a` (the row's number), a feature `b`, and outcomes, with the first
/// bar `first` bars after the start and a weekend before its bar number 5.
fn table(path: &Path, first: i64, n: usize, extra: Option<&str>) -> Vec<i64> {
    let time = |bar: i64| START + (first + bar) * BAR + if bar >= 5 { WEEKEND } else { 0 };
    let times: Vec<i64> = (0..n as i64).map(time).collect();
    let mut names = vec!["a", "b", "target_return_3", "target_direction_3"];
    names.extend(extra);
    let columns: Vec<(String, WideColumn)> = names
        .iter()
        .map(|name| ((*name).to_owned(), WideColumn::F32))
        .collect();
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let mut writer =
        WideWriter::create(path, "timestamp", &columns, &WideOptions::default()).unwrap();
    // Two row groups.
    for rows in [0..n / 2, n / 2..n] {
        let column = |scale: f32| {
            rows.clone()
                .map(|row| scale * row as f32)
                .collect::<Vec<_>>()
        };
        let mut values = vec![column(1.0), column(-2.0), column(0.1), column(0.2)];
        values.extend(extra.map(|_| column(9.0)));
        let values: Vec<WideValues<'_>> = values
            .iter()
            .map(|column| WideValues::F32(column))
            .collect();
        writer.write_group(&times[rows.clone()], &values).unwrap();
    }
    writer.finish().unwrap();
    times
}

fn open(directory: &Path) -> Package {
    let package = Package::open(directory).unwrap();
    assert!(package.faults.is_empty(), "{:?}", package.faults);
    package
}

#[test]
fn rows_end_when_the_later_bar_closes() {
    let directory = tempfile::tempdir().unwrap();
    let train = table(&directory.path().join("EURUSD/train.parquet"), 0, 12, None);
    let test = table(&directory.path().join("EURUSD/test.parquet"), 300, 10, None);
    table(
        &directory.path().join("GBPUSD/train.parquet"),
        0,
        8,
        Some("only_here"),
    );
    let package = open(directory.path());
    let target = PackageTarget::return_over(3);
    let refused = PackageSource::open(&package, &target, &[], None).unwrap_err();
    assert!(refused.to_string().contains("timeframe"), "{refused}");

    let timeframe: Timeframe = "15m".parse().unwrap();
    let source = PackageSource::open(&package, &target, &[], Some(timeframe)).unwrap();
    assert_eq!(source.features(), ["a", "b"]);
    assert_eq!(source.instruments(), ["EURUSD", "GBPUSD"]);
    assert_eq!(source.rows().len(), 30);
    let rows = source.rows();
    assert_eq!(rows[0].decision, train[0] + BAR);
    assert_eq!(rows[0].end, train[3] + BAR);
    // Over the weekend.
    assert_eq!(rows[3].end, train[6] + BAR);
    assert!(rows[3].end - rows[3].decision > WEEKEND);
    // The bars after a part are in no table: the next part bounds them.
    assert_eq!(rows[10].end, test[0] + BAR);
    // Behind the last row: some bars and the longest gap.
    let last = rows[21];
    assert_eq!(last.decision, test[9] + BAR);
    assert!(last.end >= last.decision + 3 * BAR + WEEKEND);
    assert_eq!((rows[0].target, rows[5].target), (0.0, 0.5));
    assert_eq!((rows[21].instrument, rows[22].instrument), (0, 1));
    let tables: Vec<_> = source
        .tables()
        .map(|(pair, _, rows)| (pair, rows))
        .collect();
    assert_eq!(tables, [(0, 0..12), (0, 12..22), (1, 22..30)]);

    let mut all = vec![0.0; 30];
    source.read(1, None, &mut all).unwrap();
    assert_eq!(all[..3], [0.0, -2.0, -4.0]);
    assert_eq!(all[21..24], [-18.0, 0.0, -2.0]);
    // Row groups that begin too late are left out.
    source.read(1, Some(rows[6].decision), &mut all).unwrap();
    assert!(all[..6].iter().all(|value| !value.is_nan()));
    assert!(all[6..22].iter().all(|value| value.is_nan()));
}

#[test]
fn features_are_picked_by_patterns() {
    let directory = tempfile::tempdir().unwrap();
    for pair in ["EURUSD", "GBPUSD"] {
        let path = directory.path().join(pair).join("train.parquet");
        table(&path, 0, 8, Some("future_b"));
    }
    std::fs::write(
        directory.path().join("metadata.json"),
        r#"{"timeframe": "15m"}"#,
    )
    .unwrap();
    let package = open(directory.path());
    let names = |wanted: &[&str]| {
        let wanted: Vec<String> = wanted.iter().map(|text| (*text).to_owned()).collect();
        let source = PackageSource::open(&package, &PackageTarget::return_over(3), &wanted, None);
        source.map(|source| source.features().to_vec())
    };
    assert_eq!(names(&[]).unwrap(), ["a", "b", "future_b"]);
    assert_eq!(names(&["!future_*"]).unwrap(), ["a", "b"]);
    assert_eq!(names(&["*b", "!future_b"]).unwrap(), ["b"]);
    let unknown = names(&["a", "nothing*"]).unwrap_err().to_string();
    assert!(unknown.contains("nothing*"), "{unknown}");
    assert!(names(&["!*"]).is_err());
    // What is named like an outcome and was not taken out is refused.
    let source = PackageSource::open(&package, &PackageTarget::return_over(3), &[], None).unwrap();
    let error = fit(&source, &EnsembleSettings::default(), &mut |_| {
        ControlFlow::Continue(())
    });
    let Err(DatasetError::Ensemble(EnsembleError::OutcomeByName { column, .. })) = error else {
        panic!("{error:?}");
    };
    assert_eq!(column, "future_b");

    let missing = PackageSource::open(&package, &PackageTarget::return_over(9), &[], None);
    assert!(missing.unwrap_err().to_string().contains("target_return_9"));
    let endless = PackageTarget {
        horizon: usize::MAX,
        ..PackageTarget::return_over(3)
    };
    let refused = PackageSource::open(&package, &endless, &[], None).unwrap_err();
    assert!(matches!(refused, DatasetError::Setting { .. }));
}

#[test]
fn stamps_that_go_back_are_located() {
    let directory = tempfile::tempdir().unwrap();
    table(&directory.path().join("EURUSD/train.parquet"), 0, 12, None);
    table(&directory.path().join("EURUSD/test.parquet"), 3, 10, None);
    let package = open(directory.path());
    let timeframe = Some("15m".parse().unwrap());
    let error = PackageSource::open(&package, &PackageTarget::return_over(3), &[], timeframe);
    let error = error.unwrap_err().to_string();
    assert!(
        error.contains("test.parquet") && error.contains("row 0"),
        "{error}"
    );
}
