//! Packages of features: what is in the files is what the formulas compute, the
//! parts keep apart, and nothing is left behind when the work stops.
#![allow(clippy::unwrap_used, reason = "what cannot be made fails its test")]

use std::collections::BTreeMap;
use std::fs;
use std::ops::ControlFlow;
use std::path::Path;

use dataset::DatasetError;
use dataset::package::{Feature, FeatureSet, PackageSettings, PackageSheet, write_package};
use formula::catalogue::Catalogue;
use formula::engine::{Evaluator, Plan, Request};
use formula::panel::{Bar, Panel};
use market::Instrument;
use market::table::WideReader;

const SET: &str = r#"
name = "small"
title = "For tests"
features = [
    "ret_1 = close / ts_delay(close, 1) - 1",
    "rank = cs_rank(ts_returns(close, 3))",
    "rsi = talib.RSI_14",
    "flat = close * 0 + 2",
    "talib.BBANDS_upper_20",
]
"#;

fn features() -> Vec<Feature> {
    let set = FeatureSet::parse("small", SET).unwrap();
    set.resolve(Catalogue::builtin().unwrap()).unwrap()
}

/// Three instruments; the last misses every seventh bar.
fn panel(rows: usize) -> Panel {
    let names = ["EUR/USD", "GBP/USD", "USD/JPY"].map(|name| Instrument::new(name).unwrap());
    let mut panel = Panel::new(&names, "1h".parse().unwrap(), 2).unwrap();
    for row in 0..rows {
        let bars: Vec<Option<Bar>> = (0..3)
            .map(|lane| {
                let at = row as f64;
                let close = 1.0 + lane as f64 + 0.1 * (at * (0.13 + 0.05 * lane as f64)).sin();
                let bar = Bar {
                    open: close,
                    high: close + 0.01,
                    low: close - 0.01,
                    close,
                    volume: 1.0,
                };
                (lane != 2 || row % 7 != 3).then_some(bar)
            })
            .collect();
        panel.push(row as i64 * 3_600_000, &bars).unwrap();
    }
    panel
}

fn write(panel: &Panel, settings: &PackageSettings, directory: &Path) -> PackageSheet {
    write_package(
        panel,
        "small",
        &features(),
        settings,
        BTreeMap::new(),
        directory,
        &mut |_| ControlFlow::Continue(()),
    )
    .unwrap()
}

fn settings() -> PackageSettings {
    PackageSettings {
        horizons: vec![1, 5],
        group_rows: 64,
        ..PackageSettings::default()
    }
}

fn column(reader: &WideReader, name: &str) -> Vec<f32> {
    let place = reader.column(name).unwrap();
    (0..reader.groups())
        .flat_map(|group| reader.floats(group, place).unwrap())
        .collect()
}

#[test]
fn the_files_hold_what_the_formulas_compute() {
    let scratch = tempfile::tempdir().unwrap();
    let directory = scratch.path().join("package");
    let panel = panel(600);
    let sheet = write(&panel, &settings(), &directory);
    let features = features();
    let requests: Vec<Request<'_>> = features
        .iter()
        .map(|feature| Request {
            name: &feature.name,
            expression: &feature.expression,
            profile: feature.profile,
        })
        .collect();
    let plan = Plan::new(&requests, &panel).unwrap();
    let mut expected = vec![Vec::new(); features.len()];
    Evaluator::new(&plan, &panel).advance(&panel, |formula, _, block| {
        expected[formula].extend_from_slice(block);
    });
    let close = panel.column("close").unwrap();
    let mut rows = 0;
    for (lane, folder) in ["EURUSD", "GBPUSD", "USDJPY"].iter().enumerate() {
        let bars = panel.bars_of(lane);
        for part in ["train", "val", "test"] {
            let path = directory.join(folder).join(format!("{part}.parquet"));
            let reader = WideReader::open(&path).unwrap();
            let times: Vec<i64> = (0..reader.groups())
                .flat_map(|group| reader.times(group).unwrap())
                .collect();
            assert_eq!(times.len() as u64, sheet.pairs[*folder].parts[part].rows);
            rows += times.len() as u64;
            for (index, feature) in features.iter().enumerate() {
                let found = column(&reader, &feature.name);
                for (time, found) in times.iter().zip(found) {
                    let row = (time / 3_600_000) as usize;
                    let value = expected[index][row * panel.lanes() + lane] as f32;
                    assert!(
                        value.to_bits() == found.to_bits() || (value.is_nan() && found.is_nan()),
                        "{folder} {part} {} row {row}: {value} and {found}",
                        feature.name
                    );
                }
            }
            let target = column(&reader, "target_return_5");
            for (time, found) in times.iter().zip(target) {
                let row = (time / 3_600_000) as u32;
                let own = bars.binary_search(&row).unwrap();
                let at = |own: usize| close[bars[own] as usize * panel.lanes() + lane];
                assert_eq!((at(own + 5) / at(own) - 1.0) as f32, found);
            }
        }
    }
    assert_eq!(rows, sheet.rows);
    let flat = sheet
        .features
        .iter()
        .find(|feature| feature.name == "flat")
        .unwrap();
    assert_eq!(flat.degenerate.as_deref(), Some("constant"));
    assert_eq!(sheet.features[0].degenerate, None);
    assert_eq!(sheet.features[2].id.as_deref(), Some("talib.RSI_14"));
}

#[test]
fn threads_and_group_sizes_change_no_value() {
    let scratch = tempfile::tempdir().unwrap();
    let panel = panel(500);
    let mut digests = Vec::new();
    for threads in [1, 3] {
        let directory = scratch.path().join(format!("{threads}"));
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        let sheet = pool.install(|| write(&panel, &settings(), &directory));
        digests.push(serde_json::to_string(&sheet).unwrap());
    }
    assert_eq!(digests[0], digests[1]);
}

#[test]
fn a_stopped_package_leaves_nothing_and_keeps_the_old_one() {
    let scratch = tempfile::tempdir().unwrap();
    let directory = scratch.path().join("package");
    let panel = panel(600);
    write(&panel, &settings(), &directory);
    let before = fs::read(directory.join("metadata.json")).unwrap();
    let mut groups = 0;
    let error = write_package(
        &panel,
        "small",
        &features(),
        &settings(),
        BTreeMap::new(),
        &directory,
        &mut |_| {
            groups += 1;
            if groups == 3 {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        },
    )
    .unwrap_err();
    assert!(matches!(error, DatasetError::Stopped));
    assert_eq!(fs::read(directory.join("metadata.json")).unwrap(), before);
    assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 1);
}

#[test]
fn what_cannot_be_a_package_is_refused() {
    let scratch = tempfile::tempdir().unwrap();
    let other = scratch.path().join("other");
    fs::create_dir(&other).unwrap();
    fs::write(other.join("thesis.txt"), "mine").unwrap();
    let refused = |panel: &Panel, settings: &PackageSettings, directory: &Path| {
        write_package(
            panel,
            "small",
            &features(),
            settings,
            BTreeMap::new(),
            directory,
            &mut |_| ControlFlow::Continue(()),
        )
        .unwrap_err()
        .to_string()
    };
    let text = refused(&panel(600), &settings(), &other);
    assert!(text.contains("something else than a package"), "{text}");
    let text = refused(&panel(22), &settings(), &scratch.path().join("new"));
    assert!(text.contains("`EUR/USD` has 22 bars"), "{text}");
    let backwards = PackageSettings {
        horizons: vec![5, 1],
        ..settings()
    };
    let text = refused(&panel(600), &backwards, &scratch.path().join("new"));
    assert!(text.contains("features.horizons"), "{text}");
    assert!(!scratch.path().join("new").exists());
}

#[test]
fn faults_in_a_set_are_named() {
    let check = |entry: &str, expected: &str| {
        let text = format!("name = 'mine'\ntitle = ''\nfeatures = ['{entry}', 'a = close']");
        let set = FeatureSet::parse("mine", &text).unwrap();
        let error = set.resolve(Catalogue::builtin().unwrap()).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    };
    check("talib.RSI_15x", "did you mean `talib.RSI_");
    check("nothing.*", "no formula");
    check("a = open", "the column `a` is there twice");
    check("b c = open", "is not a column name");
    check("b = ts_meen(close, 5)", "ts_mean");
    let error = FeatureSet::parse("mine", "name = 'x'\nfeature = []").unwrap_err();
    assert!(error.to_string().contains("feature"), "{error}");
}

#[test]
fn the_sets_that_come_along_resolve() {
    let catalogue = Catalogue::builtin().unwrap();
    for name in FeatureSet::names() {
        let set = FeatureSet::parse(name, FeatureSet::text(name).unwrap()).unwrap();
        assert_eq!(set.name, name);
        let features = set.resolve(catalogue).unwrap();
        if name == "forex-575" {
            assert_eq!(features.len(), 575);
        }
        assert!(features.len() > 100);
    }
}
