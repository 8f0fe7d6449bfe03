//! `foretune features`: candles become tables of named features and targets.

use std::fmt::Write as _;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use dataset::package::{FeatureSet, PackageSettings, PackageSheet, write_package};
use formula::catalogue::Catalogue;
use formula::panel::{Alignment, Clock, Panel};
use market::Timeframe;

use crate::arguments::Global;
use crate::exit::{Exit, Stop};
use crate::flow::bars::{self, Tables};
use crate::output::{self, Printed};
use crate::progress::{Progress, spoken};
use crate::settings::Settings;
use crate::{files, flow, interrupt};

/// Compute named features of every instrument and write them as Parquet
///
/// Reads candles (freqtrade feather files, Parquet or CSV), brings all instruments
/// onto one clock, computes every feature of the set from the past alone, and writes
/// a directory an instrument with train, val and test. Targets look forward and are
/// named so; the parts are cut at the same instants for all instruments, purged and
/// embargoed. metadata.json tells every column's formula and how often it is missing.
#[derive(Args, Debug)]
#[command(after_help = "\
Writes:
  PAIR/train.parquet, val.parquet, test.parquet   timestamp, features (f32), targets
  PAIR/metadata.json                              rows, spans and digests of the files
  metadata.json                                   formulas, missingness, cuts, inputs

Examples:
  foretune features                                          the bundled candles
  foretune features --data user_data/data --timeframe 15m --out training_package
  foretune features --show-set forex-575 > mine.toml         a set to edit
  foretune features --features mine.toml --only 'talib_*' --only 'ret_*'")]
pub(crate) struct Typed {
    /// Directory with candles [default: data.directory of the settings, else the bundled candles]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Directory of the package
    #[arg(long, value_name = "DIR", default_value = "training_package")]
    out: PathBuf,
    /// Feature set: forex-575, crypto, or a file [default: by the instruments]
    #[arg(long, value_name = "SET")]
    features: Option<String>,
    /// Keep only columns whose name matches (repeatable; * and ? match any letters)
    #[arg(long, value_name = "PATTERN")]
    only: Vec<String>,
    /// Print a feature set that comes with the program and stop
    #[arg(long, value_name = "SET", conflicts_with_all = ["data", "features", "only"])]
    show_set: Option<String>,
    /// Timeframe of the candles, if there are several
    #[arg(long, value_name = "FRAME")]
    timeframe: Option<Timeframe>,
    /// Instruments to use, such as EUR/USD (repeatable) [default: all]
    #[arg(long, value_name = "NAME")]
    instrument: Vec<String>,
    /// Bars ahead of the targets
    #[arg(
        long,
        value_name = "BARS",
        value_delimiter = ',',
        default_value = "1,5,10,20,50"
    )]
    horizons: Vec<usize>,
    /// Which instants are rows [default: continuous if the markets never close]
    #[arg(long, value_enum, value_name = "CLOCK")]
    clock: Option<ClockName>,
    /// Bars for which an instrument without a bar keeps its price
    #[arg(long, value_name = "BARS", default_value_t = 4)]
    carry: usize,
    /// Threads [default: all cores]; the result is the same
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
}

/// Which instants are rows.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum ClockName {
    /// Instants at which some instrument has a bar
    Observed,
    /// Every step of the timeframe
    Continuous,
}

/// Runs the command.
///
/// # Errors
/// On faulty candles, an unknown set or formula, too few bars, or Ctrl-C.
pub(crate) fn run(typed: &Typed, global: &Global) -> anyhow::Result<Printed> {
    if let Some(name) = &typed.show_set {
        let text = FeatureSet::text(name).ok_or_else(|| no_set(name))?;
        let set = FeatureSet::parse(name, text)?;
        return Ok(Printed::new(serde_json::to_value(&set)?, text.to_owned()));
    }
    files::check_directory(&typed.out)?;
    let settings = Settings::resolve(global, &[])?;
    let directory = match &typed.data {
        Some(directory) => directory.clone(),
        None => flow::data::directory(&settings)?,
    };
    let tables = bars::load(&directory, typed.timeframe, &typed.instrument)?;
    for note in &tables.notes {
        output::note(note);
    }
    let set = set(typed, &tables)?;
    let mut features = set.resolve(catalogue()?)?;
    if !typed.only.is_empty() {
        features.retain(|feature| {
            let mut patterns = typed.only.iter();
            patterns.any(|pattern| market::table::matches(pattern, &feature.name))
        });
        if features.is_empty() {
            let text = format!(
                "no feature of `{}` matches {}",
                set.name,
                typed.only.join(", ")
            );
            return Err(Stop::new(Exit::Usage, text)
                .hint(format!(
                    "`foretune features --show-set {}` lists them",
                    set.name
                ))
                .into());
        }
    }
    let never_close = bars::never_close(&tables.bars);
    let clock = match typed.clock {
        Some(ClockName::Continuous) => Clock::Continuous,
        None if never_close => Clock::Continuous,
        Some(ClockName::Observed) | None => Clock::Observed,
    };
    let package = PackageSettings {
        horizons: typed.horizons.clone(),
        alignment: Alignment {
            clock,
            carry: typed.carry,
        },
        ..PackageSettings::default()
    };
    package.validate()?;
    let panel = Panel::of_bars(&tables.bars, package.alignment)?;
    let mut progress = Progress::start("features", "bars", None);
    let mut report = |done: dataset::package::PackageProgress| -> ControlFlow<()> {
        progress.set_total(done.total);
        progress.set(done.rows);
        interrupt::flow()
    };
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(typed.threads.map_or(0, usize::from))
        .build()?;
    let sheet = pool.install(|| {
        write_package(
            &panel,
            &set.name,
            &features,
            &package,
            tables.digests.clone(),
            &typed.out,
            &mut report,
        )
    });
    interrupt::check()?;
    let sheet = sheet?;
    let time = progress.finish();
    let mut text = summary(&sheet, &typed.out);
    let _ = write!(
        text,
        "written to {} in {}",
        typed.out.display(),
        spoken(time)
    );
    Ok(Printed::new(serde_json::to_value(&sheet)?, text))
}

/// Returns the catalogue that comes with the program.
pub(crate) fn catalogue() -> anyhow::Result<&'static Catalogue> {
    Catalogue::builtin().map_err(|faults| anyhow::anyhow!("{faults}"))
}

fn set(typed: &Typed, tables: &Tables) -> anyhow::Result<FeatureSet> {
    let name = match &typed.features {
        Some(name) => name.as_str(),
        None if bars::never_close(&tables.bars) => "crypto",
        None => "forex-575",
    };
    if let Some(text) = FeatureSet::text(name) {
        return Ok(FeatureSet::parse(name, text)?);
    }
    let path = Path::new(name);
    if !path.exists() {
        return Err(no_set(name).into());
    }
    let text = std::fs::read_to_string(path).map_err(|error| files::fail("read", path, error))?;
    Ok(FeatureSet::parse(name, &text)?)
}

fn no_set(name: &str) -> Stop {
    let names = FeatureSet::names().join(", ");
    Stop::new(
        Exit::Usage,
        format!("there is no feature set or file `{name}`"),
    )
    .hint(format!("sets: {names}"))
}

fn summary(sheet: &PackageSheet, out: &Path) -> String {
    let mut text = format!(
        "{} rows of {} instruments, {} features, {} bars\n",
        sheet.rows,
        sheet.pairs.len(),
        sheet.features.len(),
        sheet.timeframe
    );
    let _ = writeln!(
        text,
        "first {} bars of each left out (warm-up), {} after each cut (embargo)",
        sheet.warm_up_bars, sheet.embargo_bars
    );
    for (part, cut) in ["val", "test"].iter().zip(&sheet.cuts) {
        let _ = writeln!(text, "{part} begins {cut}");
    }
    let missing = sheet.features.iter().map(|feature| feature.missing);
    let mean = missing.sum::<f64>() / sheet.features.len().max(1) as f64;
    let _ = writeln!(text, "{:.2} % of all values are unknown", 100.0 * mean);
    let degenerate: Vec<String> = sheet
        .features
        .iter()
        .filter_map(|feature| {
            let why = feature.degenerate.as_ref()?;
            Some(format!("{} ({why})", feature.name))
        })
        .collect();
    if !degenerate.is_empty() {
        let _ = writeln!(
            text,
            "{} features are degenerate here: {}{}",
            degenerate.len(),
            degenerate[..degenerate.len().min(8)].join(", "),
            if degenerate.len() > 8 {
                format!(", ... (all in {})", out.join("metadata.json").display())
            } else {
                String::new()
            }
        );
    }
    text
}
