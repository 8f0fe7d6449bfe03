//! The ensemble on a package of wide tables: report, seconds and peak memory as JSON.
//!
//!     cargo run --release -p foretune-dataset --example ensemble -- PACKAGE [HORIZON] [MODELS]
//!     cargo run --release -p foretune-dataset --example ensemble -- null PACKAGE HORIZON
//!     cargo run --release -p foretune-dataset --example ensemble -- synthetic ROWS INSTRUMENTS FEATURES PACKAGE
//!
//! The first trains on `target_return_HORIZON` (20 by default) of the package and writes the models
//! to the directory MODELS, if one is named. The second does the same with outcomes that belong to
//! another time: each instrument's outcomes moved on by a third of its rows, so that they overlap
//! and go together as the real ones do and cannot be predicted; what is gained there is noise. The
//! third writes a package of seeded random walks, to measure time and memory at a size of which
//! there is no real one: nothing in it can be predicted, and no score of it says anything about a
//! market.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::unwrap_used,
    missing_docs
)]

use std::ops::ControlFlow;
use std::path::Path;
use std::time::Instant;

use dataset::DatasetError;
use dataset::ensemble::{
    ColumnSource, EnsembleProgress, EnsembleSettings, EnsembleStage, PackageSource, PackageTarget,
    Row, Target, fit,
};
use market::table::{Package, WideColumn, WideOptions, WideValues, WideWriter};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::json;

/// A quarter of an hour, milliseconds.
const BAR: i64 = 900_000;
/// Rows of a row group, as `foretune features` writes them.
const GROUP: usize = 2048;
/// The bars that the synthetic outcome looks ahead.
const AHEAD: usize = 20;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["synthetic", rows, instruments, features, package] => synthetic(
            rows.parse().unwrap(),
            instruments.parse().unwrap(),
            features.parse().unwrap(),
            Path::new(package),
        ),
        ["null", package, horizon] => {
            train(Path::new(package), horizon.parse().unwrap(), None, true);
        }
        [package] => train(Path::new(package), AHEAD, None, false),
        [package, horizon] => train(Path::new(package), horizon.parse().unwrap(), None, false),
        [package, horizon, models] => {
            let models = Some(Path::new(models));
            train(Path::new(package), horizon.parse().unwrap(), models, false);
        }
        _ => panic!("usage: see the head of this file"),
    }
}

fn train(directory: &Path, horizon: usize, models: Option<&Path>, null: bool) {
    let start = Instant::now();
    let package = Package::open(directory).unwrap();
    let target = PackageTarget::return_over(horizon);
    let package = PackageSource::open(&package, &target, &[], None).unwrap();
    let mut rows = package.rows().to_vec();
    if null {
        move_outcomes(&mut rows);
    }
    let source = WithRows { package, rows };
    let opened = start.elapsed().as_secs_f64();
    let settings = EnsembleSettings::default();
    let mut stages: Vec<(EnsembleStage, f64)> = Vec::new();
    let mut progress = |step: EnsembleProgress| {
        let now = start.elapsed().as_secs_f64();
        if step.done == step.total {
            stages.push((step.stage, now));
        }
        if step.stage == EnsembleStage::Training {
            eprintln!(
                "{:?} {}/{} at {now:.1} s",
                step.stage, step.done, step.total
            );
        }
        ControlFlow::Continue(())
    };
    let ensemble = fit(&source, &settings, &mut progress).unwrap();
    let seconds = start.elapsed().as_secs_f64();
    if let Some(models) = models {
        ensemble.save(models).unwrap();
    }
    let stages: Vec<_> = stages
        .iter()
        .map(|(stage, at)| json!({ "stage": format!("{stage:?}"), "done_at_seconds": at }))
        .collect();
    let result = json!({
        "package": directory.display().to_string(),
        "rows": source.rows().len(),
        "features": source.features().len(),
        "horizon_bars": horizon,
        "outcomes_of_another_time": null,
        "seconds": seconds,
        "processor_seconds": processor_seconds(),
        "opened_at_seconds": opened,
        "stages": stages,
        "peak_memory_mib": peak_memory(),
        "threads": rayon::current_num_threads(),
        "build": if cfg!(debug_assertions) { "dev" } else { "release" },
        "settings": settings,
        "report": ensemble.report,
    });
    println!("{}", serde_json::to_string_pretty(&result).unwrap());
}

/// Returns the processor time that this process has taken, which other work on the machine does not
/// stretch as it does the clock's; where the system says it, in its ticks of a hundredth.
fn processor_seconds() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    let (_, fields) = stat.rsplit_once(')')?;
    let mut ticks = fields.split_whitespace().skip(11);
    let user: f64 = ticks.next()?.parse().ok()?;
    let system: f64 = ticks.next()?.parse().ok()?;
    Some((user + system) / 100.0)
}

/// A package with rows of its own.
struct WithRows<'a> {
    package: PackageSource<'a>,
    rows: Vec<Row>,
}

impl ColumnSource for WithRows<'_> {
    fn rows(&self) -> &[Row] {
        &self.rows
    }

    fn target(&self) -> Target {
        self.package.target()
    }

    fn features(&self) -> &[String] {
        self.package.features()
    }

    fn read(
        &self,
        feature: usize,
        before: Option<i64>,
        out: &mut [f32],
    ) -> Result<(), DatasetError> {
        self.package.read(feature, before, out)
    }
}

fn move_outcomes(rows: &mut [Row]) {
    for instrument in rows.chunk_by_mut(|a, b| a.instrument == b.instrument) {
        let mut outcomes: Vec<f32> = instrument.iter().map(|row| row.target).collect();
        outcomes.rotate_left(instrument.len() / 3);
        for (row, outcome) in instrument.iter_mut().zip(outcomes) {
            row.target = outcome;
        }
    }
}

/// Returns the largest resident memory of this process so far, MiB, where the system says it.
fn peak_memory() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kib: f64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib / 1024.0)
}

/// Writes a package of random walks: the outcome is of one walk, the features are others.
fn synthetic(rows: usize, instruments: usize, features: usize, directory: &Path) {
    let start = Instant::now();
    let mut names: Vec<(String, WideColumn)> = (0..features)
        .map(|feature| (format!("walk_{feature}"), WideColumn::F32))
        .collect();
    names.push((format!("target_return_{AHEAD}"), WideColumn::F32));
    for instrument in 0..instruments {
        let from = rows * instrument / instruments;
        let to = rows * (instrument + 1) / instruments;
        let name = format!("{}{}", code(instrument / 26), code(instrument % 26));
        let pair = directory.join(name);
        std::fs::create_dir_all(&pair).unwrap();
        let mut random = ChaCha8Rng::seed_from_u64(instrument as u64);
        let mut price = Vec::with_capacity(to - from + AHEAD);
        let mut walks = vec![0.0_f32; features];
        let mut level = 0.0_f32;
        for _ in 0..to - from + AHEAD {
            level += step(&mut random) * 1e-3;
            price.push(level);
        }
        let path = pair.join("train.parquet");
        let mut writer =
            WideWriter::create(&path, "timestamp", &names, &WideOptions::default()).unwrap();
        let mut row = 0;
        while row < to - from {
            let n = GROUP.min(to - from - row);
            let mut columns = vec![vec![0.0_f32; n]; features];
            for at in 0..n {
                for (walk, column) in walks.iter_mut().zip(&mut columns) {
                    *walk += step(&mut random);
                    column[at] = *walk;
                }
            }
            let ahead = (row..row + n).map(|at| (price[at + AHEAD] - price[at]).exp_m1());
            columns.push(ahead.collect());
            let times: Vec<i64> = (row..row + n)
                .map(|at| 1_700_000_100_000 + at as i64 * BAR)
                .collect();
            let values: Vec<WideValues<'_>> = columns
                .iter()
                .map(|column| WideValues::F32(column))
                .collect();
            writer.write_group(&times, &values).unwrap();
            row += n;
        }
        writer.finish().unwrap();
        eprintln!(
            "{} of {instruments} at {:.0} s",
            instrument + 1,
            start.elapsed().as_secs_f64()
        );
    }
    std::fs::write(directory.join("metadata.json"), r#"{"timeframe": "15m"}"#).unwrap();
}

fn step(random: &mut ChaCha8Rng) -> f32 {
    random.random_range(-1.0_f32..1.0)
}

/// Returns a made-up currency code.
fn code(number: usize) -> String {
    format!("X{}Q", char::from(b'A' + (number % 26) as u8))
}
