//! `foretune audit`: does anything from after a decision reach what is read or taught?

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Args, ValueEnum};
use dataset::audit::{self, AuditRecord, AuditReport, AuditSettings, Fields, Subject};
use dataset::{Dataset, DatasetError, Split, bridge};
use market::{Bars, Timeframe};
use serde_json::json;

use super::dataset_build::Input;
use crate::arguments::Global;
use crate::exit::{Exit, Stop};
use crate::flow::{self, bars, data};
use crate::output::{self, Printed};
use crate::settings::Settings;
use crate::{files, run};

const HOUR: i64 = 3_600_000;
/// What a page begins with.
const HTML: &[u8] = b"<!doctype html";

/// Look for anything from the future in training examples
///
/// Audits a data set that foretune built, by building it again from candles cut,
/// poisoned and mirrored at random times, from worlds in which nothing can be
/// known, and by twelve checks in all; or anyone's JSON lines with a time in each
/// line, by what can be seen without the program that wrote them. A check that
/// cannot be made says so and is never green. Exit code 5 when a check is red.
#[derive(Args, Debug)]
#[command(after_help = "\
Forms of a line: `messages` (or `conversations`), `prompt` and `completion`,
or `prompt`, `chosen` and `rejected`; beside them a time, and best a label, an
instrument and an id. Several files: the first is trained on; name the others with
--validation and --test. docs/audit.md explains every check.

Examples:
  foretune audit dataset                                   built from the bundled candles
  foretune audit dataset-binance --data user_data/data/binance --html audit.html
  foretune audit train.jsonl --test test.jsonl --bars candles --horizon-hours 12
  foretune audit mine.jsonl --time-field meta.time --label-field target --json")]
pub(crate) struct Typed {
    /// Data set directory, or files of JSON lines
    #[arg(value_name = "PATH", required = true)]
    paths: Vec<PathBuf>,
    /// File of the validation part (repeatable)
    #[arg(long, value_name = "FILE")]
    validation: Vec<PathBuf>,
    /// File of the test part (repeatable)
    #[arg(long, value_name = "FILE")]
    test: Vec<PathBuf>,
    /// Candles that a data set was built from [default: its own, else data.directory of the
    /// settings, else the bundled candles]
    #[arg(long, value_name = "DIR", conflicts_with = "bars")]
    data: Option<PathBuf>,
    /// Fear & Greed file that a data set was built with
    #[arg(long, value_name = "FILE")]
    fear_greed: Option<PathBuf>,
    /// Bars that the files are about: a directory, or one file
    #[arg(long, value_name = "PATH")]
    bars: Option<PathBuf>,
    /// Timeframe of the bars, if the directory has several
    #[arg(long, value_name = "TIME")]
    timeframe: Option<Timeframe>,
    /// Field of the decision time
    #[arg(long, value_name = "NAME", default_value = "decision_time")]
    time_field: String,
    /// Whether times are those at which a bar opens or closes; decisions are made at its close
    #[arg(long, value_enum, value_name = "WHICH", default_value = "close")]
    time_is: TimeIs,
    /// Field of the outcome's class; where a line has none, it is what the answer states
    #[arg(long, value_name = "NAME", default_value = "label")]
    label_field: String,
    /// Field of the prompt [default: messages or prompt]
    #[arg(long, value_name = "NAME")]
    prompt_field: Option<String>,
    /// Field of the instrument [default: instrument, pair, symbol or asset]
    #[arg(long, value_name = "NAME")]
    instrument_field: Option<String>,
    /// How far a label looks beyond its decision
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=87_840))]
    horizon_hours: Option<u32>,
    /// Decisions rendered again from changed candles [default: 120]
    #[arg(long, value_name = "N")]
    samples: Option<usize>,
    /// How far above chance a probe of the prompt may score, as a share [default: 0.15]
    #[arg(long, value_name = "SHARE")]
    allow_edge: Option<f64>,
    /// Seed of everything random [default: 17]
    #[arg(long, value_name = "N")]
    seed: Option<u32>,
    /// Write the report as a page; another page that is there is replaced
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

/// Whose instant a time is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum TimeIs {
    /// The open of the last bar that was known
    Open,
    /// The close of the last bar that was known
    Close,
}

/// Runs the command.
///
/// # Errors
/// On faulty files, or on Ctrl-C. A red check is a result and ends with code 5.
pub(crate) fn run(typed: &Typed, global: &Global) -> anyhow::Result<Printed> {
    let mut settings = AuditSettings::default();
    settings.samples = typed.samples.unwrap_or(settings.samples);
    settings.suspicious_edge = typed.allow_edge.unwrap_or(settings.suspicious_edge);
    settings.seed = typed.seed.map_or(settings.seed, u64::from);
    settings.validate()?;
    if let Some(path) = &typed.html {
        run::refuse_in_dataset(path)?;
        files::refuse_other(path, HTML, "is no HTML page")?;
    }
    let report = match typed.paths.as_slice() {
        [folder] if folder.is_dir() => of_dataset(typed, global, folder, &settings)?,
        files => of_files(typed, files, &settings)?,
    };
    if let Some(path) = &typed.html {
        files::write(path, flow::audit::page(&report)?.as_bytes())?;
    }
    let mut text = flow::audit::text(&report);
    if let Some(path) = &typed.html {
        text += &format!("page: {}", path.display());
    }
    Ok(Printed {
        data: json!(report),
        text,
        stop: stop(&report),
    })
}

fn stop(report: &AuditReport) -> Option<Stop> {
    let red: Vec<String> = report
        .red()
        .map(|c| format!("{} `{}`", c.number, c.name))
        .collect();
    (!red.is_empty()).then(|| {
        let message = format!(
            "the audit of `{}` is red: {}",
            report.subject,
            red.join(", ")
        );
        Stop::new(Exit::Refused, message).hint("docs/audit.md says what each check looks at")
    })
}

/// Audits a data set directory.
fn of_dataset(
    typed: &Typed,
    global: &Global,
    folder: &Path,
    audit_settings: &AuditSettings,
) -> anyhow::Result<AuditReport> {
    let unused = [
        ("--bars", typed.bars.is_some()),
        ("--test", !typed.test.is_empty()),
        ("--validation", !typed.validation.is_empty()),
        ("--horizon-hours", typed.horizon_hours.is_some()),
    ];
    if let Some((flag, _)) = unused.into_iter().find(|(_, given)| *given) {
        let message = format!(
            "`{flag}` is for files of JSON lines, and `{}` is a directory",
            folder.display()
        );
        return Err(Stop::new(Exit::Usage, message)
            .hint("a data set says those things itself; its candles are named with --data")
            .into());
    }
    if bridge::is_bridge(folder) {
        let message = format!(
            "`{}` is a bridge: a bridge is audited when it is built",
            folder.display()
        );
        return Err(Stop::new(Exit::Data, message)
            .hint("build it again without --no-audit; what was found then lies in its audit.html")
            .into());
    }
    let (dataset, _) = flow::examples::read(folder)?;
    let own = folder.join("candles");
    let named = typed.data.clone().or_else(|| own.is_dir().then_some(own));
    let input = Input {
        data: named,
        fear_greed: typed.fear_greed.clone(),
        ..Input::default()
    };
    let mut settings = Settings::resolve(global, &input.flags())?;
    settings.dataset = dataset.settings.clone();
    let instruments = dataset.datasheet.instruments.keys();
    settings.data.instruments = instruments.map(ToString::to_string).collect();
    let candles = data::load(&settings)?;
    for note in &candles.notes {
        output::warn(note);
    }
    let bars = audit::bars_of(&dataset, candles.bars)?;
    refuse_without_readings(&dataset, &settings)?;
    let sentiment = candles.sentiment.as_ref();
    let mut report = flow::audit::of_dataset(&dataset, &bars, sentiment, audit_settings)?;
    report.subject = folder.display().to_string();
    Ok(report)
}

/// A data set with readings cannot be built again without them: every prompt would differ.
fn refuse_without_readings(dataset: &Dataset, settings: &Settings) -> Result<(), Stop> {
    let shown: usize = dataset
        .datasheet
        .splits
        .values()
        .map(|s| s.fear_greed_known)
        .sum();
    match &settings.data.fear_greed {
        None if shown > 0 => {
            let message = format!(
                "{shown} prompts of the data set show a Fear & Greed reading, and no file of readings is named"
            );
            Err(Stop::new(Exit::Data, message).hint("name it with --fear-greed FILE"))
        }
        _ => Ok(()),
    }
}

/// Audits files of JSON lines.
fn of_files(
    typed: &Typed,
    files: &[PathBuf],
    settings: &AuditSettings,
) -> anyhow::Result<AuditReport> {
    let tables = typed
        .bars
        .as_deref()
        .map(|path| tables(path, typed.timeframe));
    let bars = tables.transpose()?.unwrap_or_default();
    let fields = Fields {
        time: typed.time_field.clone(),
        label: typed.label_field.clone(),
        prompt: typed.prompt_field.clone(),
        instrument: typed.instrument_field.clone(),
        time_offset: match typed.time_is {
            TimeIs::Close => 0,
            TimeIs::Open => bar_length(typed, &bars)?,
        },
    };
    let parts = files
        .iter()
        .map(|path| (path, Split::Train))
        .chain(
            typed
                .validation
                .iter()
                .map(|path| (path, Split::Validation)),
        )
        .chain(typed.test.iter().map(|path| (path, Split::Test)));
    let mut records: Vec<AuditRecord> = Vec::new();
    let mut names = Vec::new();
    for (path, split) in parts {
        if path.is_dir() {
            let message = format!(
                "`{}` is a directory, expected a file of JSON lines",
                path.display()
            );
            return Err(Stop::new(Exit::Usage, message)
                .hint("audit one data set directory by itself")
                .into());
        }
        let read = audit::read_records(path, &fields, Some(split)).map_err(faulty)?;
        if read.is_empty() {
            let message = format!("`{}` has no record, expected one a line", path.display());
            return Err(Stop::new(Exit::Data, message)
                .hint("name a file of JSON lines")
                .into());
        }
        records.extend(read);
        names.push(path.display().to_string());
    }
    let name = names.join(", ");
    let subject = Subject {
        horizon: typed.horizon_hours.map(|hours| i64::from(hours) * HOUR),
        unknown_make: true,
        bars: &bars,
        ..Subject::of_records(&name, &records)
    };
    Ok(flow::audit::of_subject(&subject, settings)?)
}

/// A line of somebody's file cannot be built again; its form can be named.
fn faulty(error: DatasetError) -> anyhow::Error {
    match error {
        DatasetError::Line { .. } => Stop::new(Exit::Data, error.to_string())
            .hint("docs/audit.md lists the forms of a line and the flags that name its fields")
            .into(),
        other => other.into(),
    }
}

fn tables(path: &Path, timeframe: Option<Timeframe>) -> anyhow::Result<Vec<Bars>> {
    if path.is_dir() {
        let tables = bars::load(path, timeframe, &[])?;
        for note in &tables.notes {
            output::note(note);
        }
        return Ok(tables.bars);
    }
    let table =
        bars::read(path).with_context(|| format!("cannot use the bars `{}`", path.display()))?;
    Ok(vec![table])
}

/// The length of a bar, for times that are those of an open.
fn bar_length(typed: &Typed, bars: &[Bars]) -> Result<i64, Stop> {
    let of_bars = bars.first().map(|bars| bars.timeframe);
    typed
        .timeframe
        .or(of_bars)
        .map(Timeframe::milliseconds)
        .ok_or_else(|| {
            Stop::new(
                Exit::Usage,
                "`--time-is open` needs to know how long a bar is",
            )
            .hint("name the bars with --bars, or their timeframe with --timeframe 1h")
        })
}
