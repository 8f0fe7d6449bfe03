//! `foretune data inspect`: what a data directory holds and what is wrong with it.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::Args;
use market::inspect::{FileReport, Inspection, inspect};
use market::{Timestamp, Warning};
use serde_json::json;

use crate::arguments::Global;
use crate::exit::{Exit, Stop};
use crate::flow;
use crate::output::Printed;
use crate::settings::Settings;

/// Report rows, spans, gaps and faults of every candle file
///
/// Reads a freqtrade data directory (feather files, futures in `futures/`) and
/// says for each file what it holds, where rows are missing, and the first fault
/// with its row, counted from 0. Nothing is changed. Exit code 3 when a file has a fault.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  foretune data inspect                             the bundled candles
  foretune data inspect user_data/data/binance
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
    let bad = files.iter().filter(|file| !file.errors.is_empty()).count();
    let message = format!(
        "{bad} of {} in `{}` cannot be used",
        counted(files.len(), "file"),
        inspection.directory.display()
    );
    Stop::new(Exit::Data, message).hint("`files[].errors` of the result says why")
}

fn counted(count: usize, what: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {what}{plural}")
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
        for fault in &file.errors {
            let _ = writeln!(out, "{:width$}  error: {}", "", fault.message);
            if let Some(hint) = &fault.hint {
                let _ = writeln!(out, "{:width$}  hint: {hint}", "");
            }
        }
    }
    out
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
        0 if file.rows.is_some() => parts.push("no gaps".to_owned()),
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
