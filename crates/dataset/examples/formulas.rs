//! How fast formulas are computed, on bars read from a raw file.
//!
//!     cargo run --release -p foretune-dataset --example formulas -- compute FILE INSTRUMENTS ROWS PATTERN...
//!     cargo run --release -p foretune-dataset --example formulas -- live FILE INSTRUMENTS ROWS SET
//!     cargo run --release -p foretune-dataset --example formulas -- package FILE INSTRUMENTS ROWS SET DIRECTORY
//!
//! FILE holds f64 in the machine's order: open, high, low, close, volume, each ROWS x
//! INSTRUMENTS. `compute` evaluates every formula whose id matches on one thread,
//! `live` times single new bars of a feature set, `package` writes the set's tables
//! and, after it, as many columns again without computing. The last line is JSON.

#![allow(clippy::print_stdout, clippy::unwrap_used, missing_docs)]

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::Instant;

use dataset::package::{Feature, FeatureSet, PackageSettings, PackageSheet, write_package};
use formula::catalogue::Catalogue;
use formula::engine::{Evaluator, Plan, Request};
use formula::panel::{Bar, Panel};
use market::Instrument;
use market::table::{WideColumn, WideOptions, WideReader, WideValues, WideWriter, matches};
use serde_json::json;

const CURRENCIES: [&str; 11] = [
    "EUR", "GBP", "AUD", "NZD", "USD", "CAD", "CHF", "JPY", "SEK", "NOK", "PLN",
];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [kind, file, instruments, rows, rest @ ..] = arguments.as_slice() else {
        panic!("usage: see the head of this file");
    };
    let bars = Raw::read(
        Path::new(file),
        instruments.parse().unwrap(),
        rows.parse().unwrap(),
    );
    match kind.as_str() {
        "compute" => compute(&bars.panel(bars.rows), rest),
        "live" => live(&bars, &rest[0]),
        "package" => package(&bars.panel(bars.rows), &rest[0], Path::new(&rest[1])),
        _ => panic!("compute, live or package"),
    }
}

struct Raw {
    values: Vec<f64>,
    instruments: usize,
    rows: usize,
}

impl Raw {
    fn read(file: &Path, instruments: usize, rows: usize) -> Self {
        let bytes = std::fs::read(file).unwrap();
        let chunks = bytes.as_chunks().0.iter();
        let values: Vec<f64> = chunks.map(|chunk| f64::from_ne_bytes(*chunk)).collect();
        assert_eq!(values.len(), 5 * instruments * rows, "five columns");
        Self {
            values,
            instruments,
            rows,
        }
    }

    fn names(&self) -> Vec<Instrument> {
        let pairs = CURRENCIES.iter().enumerate().flat_map(|(first, base)| {
            let quotes = CURRENCIES[first + 1..].iter();
            quotes.map(move |quote| format!("{base}/{quote}"))
        });
        pairs
            .take(self.instruments)
            .map(|name| Instrument::new(&name).unwrap())
            .collect()
    }

    fn row(&self, row: usize) -> Vec<Option<Bar>> {
        let size = self.rows * self.instruments;
        (0..self.instruments)
            .map(|instrument| {
                let at = row * self.instruments + instrument;
                Some(Bar {
                    open: self.values[at],
                    high: self.values[size + at],
                    low: self.values[2 * size + at],
                    close: self.values[3 * size + at],
                    volume: self.values[4 * size + at],
                })
            })
            .collect()
    }

    fn panel(&self, rows: usize) -> Panel {
        let mut panel = Panel::new(&self.names(), "15m".parse().unwrap(), 4).unwrap();
        for row in 0..rows {
            panel.push(row as i64 * 900_000, &self.row(row)).unwrap();
        }
        panel
    }
}

fn compute(panel: &Panel, patterns: &[String]) {
    let catalogue = Catalogue::builtin().unwrap();
    let requests: Vec<Request<'_>> = catalogue
        .entries()
        .iter()
        .filter(|entry| patterns.iter().any(|pattern| matches(pattern, &entry.id)))
        .map(|entry| Request {
            name: &entry.id,
            expression: &entry.expression,
            profile: entry.profile,
        })
        .filter(|request| Plan::new(&[*request], panel).is_ok())
        .collect();
    let plan = Plan::new(&requests, panel).unwrap();
    let begun = processor_seconds();
    let mut sum = 0.0;
    let mut evaluator = Evaluator::new(&plan, panel);
    evaluator.advance(panel, |_, _, block| sum += block[0]);
    let seconds = processor_seconds() - begun;
    let values = requests.len() * panel.rows() * panel.instruments().len();
    println!(
        "{}",
        json!({
            "formulas": requests.len(),
            "operators": plan.operators().0,
            "operators_asked": plan.operators().1,
            "processor_seconds": seconds,
            "million_values_per_processor_second": values as f64 / seconds / 1e6,
            "peak_bytes": peak_bytes(),
            "checksum": sum.is_nan(),
        })
    );
}

fn features(set: &str) -> Vec<Feature> {
    let text =
        FeatureSet::text(set).map_or_else(|| std::fs::read_to_string(set).unwrap(), str::to_owned);
    let set = FeatureSet::parse(set, &text).unwrap();
    set.resolve(Catalogue::builtin().unwrap()).unwrap()
}

fn live(raw: &Raw, set: &str) {
    let features = features(set);
    let requests: Vec<Request<'_>> = features
        .iter()
        .map(|feature| Request {
            name: &feature.name,
            expression: &feature.expression,
            profile: feature.profile,
        })
        .collect();
    let new = 200.min(raw.rows / 2);
    let mut panel = raw.panel(raw.rows - new);
    let plan = Plan::new(&requests, &panel).unwrap();
    let mut evaluator = Evaluator::new(&plan, &panel);
    evaluator.advance(&panel, |_, _, _| {});
    let mut times = Vec::new();
    let mut sum = 0.0;
    for row in raw.rows - new..raw.rows {
        let bars = raw.row(row);
        let begun = Instant::now();
        panel.push(row as i64 * 900_000, &bars).unwrap();
        evaluator.advance(&panel, |_, _, block| sum += block[0]);
        times.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    times.sort_by(f64::total_cmp);
    println!(
        "{}",
        json!({
            "features": features.len(),
            "instruments": raw.instruments,
            "bars": new,
            "milliseconds_median": times[new / 2],
            "milliseconds_p95": times[new * 95 / 100],
            "milliseconds_worst": times[new - 1],
            "checksum": sum.is_nan(),
        })
    );
}

fn package(panel: &Panel, set: &str, directory: &Path) {
    let features = features(set);
    let settings = PackageSettings::default();
    let begun = Instant::now();
    let sheet = write_package(
        panel,
        set,
        &features,
        &settings,
        BTreeMap::new(),
        directory,
        &mut |_| ControlFlow::Continue(()),
    )
    .unwrap();
    let whole = begun.elapsed().as_secs_f64();
    let peak = peak_bytes();
    let begun = Instant::now();
    write_again(&sheet, directory);
    let writing = begun.elapsed().as_secs_f64();
    println!(
        "{}",
        json!({
            "rows": sheet.rows,
            "features": features.len(),
            "seconds": whole,
            "writing_alone_seconds": writing,
            "ratio": whole / writing,
            "peak_bytes": peak,
        })
    );
}

/// Writes as many tables of as many columns of values that are already there: the
/// columns of the first table, cut into the same groups.
fn write_again(sheet: &PackageSheet, directory: &Path) {
    let first = directory.join(sheet.pairs.keys().next().unwrap());
    let reader = WideReader::open(&first.join("train.parquet")).unwrap();
    let group: Vec<Vec<f32>> = sheet
        .features
        .iter()
        .map(|feature| {
            reader
                .floats(0, reader.column(&feature.name).unwrap())
                .unwrap()
        })
        .collect();
    let times = reader.times(0).unwrap();
    let columns: Vec<(String, WideColumn)> = sheet
        .features
        .iter()
        .map(|feature| (feature.name.clone(), WideColumn::F32))
        .collect();
    for (pair, parts) in &sheet.pairs {
        for part in parts.parts.values() {
            let path = directory.join(pair).join("again.parquet");
            let options = WideOptions::default();
            let mut writer = WideWriter::create(&path, "timestamp", &columns, &options).unwrap();
            let mut left = part.rows as usize;
            while left > 0 {
                let now = left.min(times.len());
                let values: Vec<WideValues<'_>> = group
                    .iter()
                    .map(|column| WideValues::F32(&column[..now]))
                    .collect();
                writer.write_group(&times[..now], &values).unwrap();
                left -= now;
            }
            writer.finish().unwrap();
            std::fs::remove_file(path).unwrap();
        }
    }
}

/// Seconds that this thread has run, on Linux.
fn processor_seconds() -> f64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    let nanoseconds: f64 = text.split(' ').next().unwrap().parse().unwrap();
    nanoseconds / 1e9
}

fn peak_bytes() -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = text.lines().find(|line| line.starts_with("VmHWM")).unwrap();
    line.split_whitespace()
        .nth(1)
        .unwrap()
        .parse::<u64>()
        .unwrap()
        * 1024
}
