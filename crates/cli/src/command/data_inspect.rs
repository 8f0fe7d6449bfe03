//! `foretune data inspect`: what a data directory holds and what is wrong with it.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::Args;
use market::inspect::{FileReport, Inspection, PackageReport, inspect};
use market::{Timestamp, Warning};
use serde_json::json;

use crate::arguments::Global;
use crate::exit::{Exit, Stop};
use crate::flow;
use crate::output::{Printed, counted};
use crate::settings::Settings;

/// Report rows, spans, gaps and faults of every candle file
///
/// Reads a freqtrade data directory (feather files, futures in `futures/`), a
/// directory of Parquet or CSV files of bars or ticks, or a package of wide tables
/// (`EURUSD/train.parquet`), and says for each file what it holds, where rows are
/// missing, and the first fault with its row, counted from 0. Nothing is changed.
/// Exit code 3 when a file has a fault.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  foretune data inspect                             the bundled candles
  foretune data inspect user_data/data/binance
  foretune data inspect training_package
  foretune data inspect --json | jq '.files[].gaps'")]
pub(crate) struct Typed {
    /// Data directory [default: data.directory of the settings, else the bundled candles]
    #[arg(value_name = "DIR")]
    directory: Option<PathBuf>,
}

/// Runs the command.
///
/// # Errors
/// When the directory cannot be listed or has no candle file.
pub(crate) fn run(typed: Typed, global: &Global) -> anyhow::Result<Printed> {
    let settings = Settings::resolve(global, &[])?;
    let directory = match typed.directory {
        Some(directory) => directory,
        None => flow::data::directory(&settings)?,
    };
    let inspection = inspect(&directory)?;
    let sound = inspection.is_sound();
    let mut data = serde_json::to_value(&inspection)?;
    data["sound"] = json!(sound);
    Ok(Printed {
        data,
        text: text(&inspection),
        stop: (!sound).then(|| faulty(&inspection)),
    })
}

fn faulty(inspection: &Inspection) -> Stop {
    let files = &inspection.files;
    if let Some(package) = &inspection.package {
        let message = format!(
            "the package `{}` has {}",
            inspection.directory.display(),
            counted(package.faults.len(), "fault")
        );
        return Stop::new(Exit::Data, message).hint("`package.faults` of the result lists them");
    }
    let bad = files.iter().filter(|file| !file.errors.is_empty()).count();
    let message = format!(
        "{bad} of {} in `{}` cannot be used",
        counted(files.len(), "file"),
        inspection.directory.display()
    );
    Stop::new(Exit::Data, message).hint("`files[].errors` of the result says why")
}

/// Returns the table people read.
pub(crate) fn text(inspection: &Inspection) -> String {
    let mut out = format!("{}\n", inspection.directory.display());
    let width = inspection
        .files
        .iter()
        .map(|file| file.file.display().to_string().len())
        .max()
        .unwrap_or(0);
    for file in &inspection.files {
        let _ = writeln!(
            out,
            "{:width$}  {}",
            file.file.display().to_string(),
            summary(file)
        );
        // The gaps are in the summary already, and listed one by one with --json.
        let other = |warning: &&Warning| !matches!(warning, Warning::Gaps { .. });
        for warning in file.warnings.iter().filter(other) {
            let _ = writeln!(out, "{:width$}  warning: {warning}", "");
        }
        for note in &file.notes {
            let _ = writeln!(out, "{:width$}  note: {note}", "");
        }
        for fault in &file.errors {
            let _ = writeln!(out, "{:width$}  error: {}", "", fault.message);
            if let Some(hint) = &fault.hint {
                let _ = writeln!(out, "{:width$}  hint: {hint}", "");
            }
        }
    }
    if let Some(package) = &inspection.package {
        describe_package(&mut out, package);
    }
    out
}

fn describe_package(out: &mut String, package: &PackageReport) {
    let width = package.pairs.iter().map(|pair| pair.pair.len()).max();
    let width = width.unwrap_or(0);
    for pair in &package.pairs {
        let mut parts = vec![
            pair.instrument.to_string(),
            counted(pair.rows as usize, "row"),
            counted(pair.features, "column"),
        ];
        if let (Some(first), Some(last)) = (pair.first, pair.last) {
            parts.push(format!("{} to {}", day(first), day(last)));
        }
        let _ = writeln!(out, "{:width$}  {}", pair.pair, parts.join(", "));
    }
    for fault in &package.faults {
        let _ = writeln!(out, "error: {}", fault.message);
        if let Some(hint) = &fault.hint {
            let _ = writeln!(out, "hint: {hint}");
        }
    }
    let _ = writeln!(
        out,
        "{} in {}",
        counted(package.rows as usize, "row"),
        counted(package.pairs.len(), "pair")
    );
}

fn summary(file: &FileReport) -> String {
    let mut parts = Vec::new();
    if let Some(instrument) = &file.instrument {
        parts.push(instrument.to_string());
    }
    if let Some(kind) = &file.kind {
        parts.push(kind.to_string());
    }
    if let Some(rows) = file.rows {
        parts.push(counted(rows, "row"));
    }
    if let (Some(first), Some(last)) = (file.first, file.last) {
        parts.push(format!("{} to {}", day(first), day(last)));
    }
    match file.gaps.count {
        // Ticks and tables of any rows have no clock to miss a beat of.
        0 if file.rows.is_some() && file.timeframe.is_some() => {
            parts.push("no gaps".to_owned());
        }
        0 => {}
        count => {
            parts.push(counted(count, "gap"));
            parts.push(format!("{} missing", counted(file.gaps.missing, "row")));
        }
    }
    parts.join(", ")
}

fn day(time: Timestamp) -> String {
    time.to_string().chars().take(10).collect()
}
