//! `foretune dataset build`: candles become examples.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::Args;
use dataset::bridge::BridgeSheet;
use dataset::{DatasetError, Datasheet, Split};
use serde_json::json;

use crate::arguments::Global;
use crate::exit::{Exit, Stop};
use crate::flow;
use crate::flow::bridge::{self, Origin};
use crate::flow::dataset_page::Counting;
use crate::flow::examples::{self, Auditing, Built, WorldName};
use crate::output::Printed;
use crate::settings::Settings;
use crate::{files, run};

/// Build leak-free training, validation and test examples from candles
///
/// Labels are outcomes over the horizon; the parts are contiguous in time,
/// purged and embargoed; only the training part is balanced. What was built is
/// audited for leaks, and a leak ends the build with exit code 5. The directory
/// is written whole or not at all and replaces an older data set of that name.
#[derive(Args, Debug)]
#[command(after_help = "\
Writes:
  examples.jsonl                 training conversations, balanced
  validation.jsonl, test.jsonl   later in time, in their natural mix
  datasheet.md, datasheet.json   counts, effective sizes, class mix, spans
  templates/                     the templates used
  audit.json, audit.html         what the leak audit tried and found
  page.html                      classes over time, spans, drift, lengths, examples to read
  manifest.json                  settings and sha256 of inputs and outputs
  world.json, candles/           with --world: the truth, and the candles made

Examples:
  foretune dataset build                                bundled candles, into ./dataset
  foretune dataset build --data user_data/data/binance --out dataset-binance
  foretune dataset build --world planted --out planted  a world whose rule is known
  foretune dataset build --set dataset.horizon_hours=24 --json
  foretune dataset build --preset forex-bridge --package training_package --out forex_integrated
  foretune dataset build --preset forex-bridge --data forex --out forex_integrated

The last two build a bridge: real_feature_examples.jsonl, real_trade_scenarios.jsonl,
real_dpo_pairs.jsonl, real_certainty_calculations.jsonl, formula_samples.jsonl, held-out
scenarios, the ensemble's models; `foretune dataset verify` says whether it is fit.")]
pub(crate) struct Typed {
    /// Directory of the data set
    #[arg(long, value_name = "DIR", default_value = "dataset")]
    out: PathBuf,
    /// Package of features to build a forex bridge from: PAIR/train.parquet
    #[arg(long, value_name = "DIR", conflicts_with_all = ["world", "fear_greed", "data"])]
    package: Option<PathBuf>,
    /// Leave the leak audit out; the data set then says that it was skipped
    #[arg(long)]
    no_audit: bool,
    /// Base model whose tokens the page counts; characters without it
    #[arg(long, value_name = "SOURCE")]
    base: Option<String>,
    /// Where the candles come from.
    #[command(flatten)]
    input: Input,
}

/// Flags about candles, shared with `quickstart`.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct Input {
    /// freqtrade data directory [default: the bundled candles]
    #[arg(long, value_name = "DIR", conflicts_with = "world")]
    pub(crate) data: Option<PathBuf>,
    /// Use a synthetic world whose truth is known instead of candles from files
    #[arg(long, value_enum, value_name = "NAME")]
    pub(crate) world: Option<WorldName>,
    /// Decisions in the synthetic world [default: 2400]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(60..=100_000), requires = "world")]
    pub(crate) blocks: Option<u32>,
    /// Fear & Greed file (CSV, or JSON as published)
    #[arg(long, value_name = "FILE", conflicts_with = "world")]
    pub(crate) fear_greed: Option<PathBuf>,
    /// Seed of everything random
    #[arg(long, value_name = "N")]
    pub(crate) seed: Option<u32>,
}

impl Input {
    /// Returns the synthetic world asked for, if any, and its size.
    pub(crate) fn world(&self) -> Option<(WorldName, usize)> {
        let blocks = self
            .blocks
            .map_or(dataset::world::BLOCKS, |blocks| blocks as usize);
        self.world.map(|name| (name, blocks))
    }

    /// Returns the settings these flags stand for, by dotted key.
    pub(crate) fn flags(&self) -> Vec<(&'static str, String)> {
        let mut flags = Vec::new();
        let quoted = |path: &PathBuf| toml::Value::String(path.display().to_string()).to_string();
        if let Some(directory) = &self.data {
            flags.push(("data.directory", quoted(directory)));
        }
        if let Some(file) = &self.fear_greed {
            flags.push(("data.fear_greed", quoted(file)));
        }
        if let Some(seed) = self.seed {
            for key in ["dataset.seed", "train.seed", "evaluate.seed"] {
                flags.push((key, seed.to_string()));
            }
        }
        flags
    }
}

/// Runs the command.
///
/// # Errors
/// On faulty candles or settings, too few bars for a class, or on Ctrl-C.
pub(crate) fn run(typed: &Typed, global: &Global) -> anyhow::Result<Printed> {
    let settings = Settings::resolve(global, &typed.input.flags())?;
    let counting = Counting::open(typed.base.as_deref(), &settings.model)?;
    if let Some(origin) = bridge_origin(typed, &settings)? {
        return run_bridge(typed, &settings, &origin, &counting);
    }
    refuse_unfit(&typed.out)?;
    let auditing = if typed.no_audit {
        Auditing::Skipped
    } else {
        Auditing::Made
    };
    let built = examples::build(&settings, typed.input.world(), &typed.out, auditing)?;
    let Built {
        dataset,
        notes,
        world,
        audit,
    } = &built;
    let (_, page) = counting.write(&typed.out)?;
    let data = json!({
        "directory": typed.out,
        "page": page,
        "datasheet": dataset.datasheet,
        "world": world,
        "notes": notes,
        "audit": audit,
    });
    let mut text = summary(&dataset.datasheet);
    let _ = writeln!(text, "{}", flow::audit::line(audit.as_ref()));
    let _ = writeln!(text, "written to {}", typed.out.display());
    let _ = write!(text, "page: {}", page.display());
    Ok(Printed::new(data, text))
}

/// Returns what a bridge is to be built from, if one is asked for: a package, or candles under the
/// bridge's preset.
///
/// # Errors
/// When the preset is named alone: the bundled candles are no currencies.
fn bridge_origin(typed: &Typed, settings: &Settings) -> Result<Option<Origin>, Stop> {
    if let Some(package) = &typed.package {
        return Ok(Some(Origin::Package(package.clone())));
    }
    if settings.preset.as_deref() != Some("forex-bridge") || typed.input.world.is_some() {
        return Ok(None);
    }
    if let Some(directory) = &settings.data.directory {
        return Ok(Some(Origin::Candles(directory.clone())));
    }
    let message = "the preset `forex-bridge` builds a bridge, and neither a package of features nor \
                   candles are named";
    Err(Stop::new(Exit::Usage, message)
        .hint("name a package with --package DIR, or candles of currencies with --data DIR"))
}

fn run_bridge(
    typed: &Typed,
    settings: &Settings,
    origin: &Origin,
    counting: &Counting,
) -> anyhow::Result<Printed> {
    files::check_directory(&typed.out)?;
    if let Some(parent) = typed.out.parent() {
        files::check_directory(parent)?;
    }
    let auditing = if typed.no_audit {
        Auditing::Skipped
    } else {
        Auditing::Made
    };
    let written = bridge::build(settings, origin, &typed.out, auditing)?;
    let (_, page) = counting.write(&typed.out)?;
    let text = format!(
        "{}{}\nwritten to {}\npage: {}",
        bridge_summary(&written.sheet),
        flow::audit::line(written.audit.as_ref()),
        typed.out.display(),
        page.display()
    );
    let data = json!({
        "directory": typed.out,
        "page": page,
        "audit": written.audit,
        "datasheet": written.sheet,
        "files": written.manifest.files,
    });
    Ok(Printed::new(data, text))
}

/// Returns counts and mix of a bridge, a line a kind.
fn bridge_summary(sheet: &BridgeSheet) -> String {
    let mut out = format!(
        "{} pairs, {} features, {} rows; signal: {}\n",
        sheet.pairs, sheet.features, sheet.rows, sheet.signal
    );
    let mix = |labels: &std::collections::BTreeMap<String, usize>| {
        let parts: Vec<String> = labels
            .iter()
            .map(|(label, n)| format!("{label} {n}"))
            .collect();
        parts.join(", ")
    };
    for (kind, found) in &sheet.kinds {
        let _ = writeln!(
            out,
            "{:<36} {:>6} (effective {:.0}) {} to {} {}",
            kind.file(),
            found.n,
            found.effective_n,
            found.first,
            found.last,
            mix(&found.labels)
        );
    }
    for (part, found) in &sheet.held_out {
        let name = format!("{part}.jsonl");
        let _ = writeln!(
            out,
            "{name:<36} {:>6} held out: {}",
            found.n,
            mix(&found.labels)
        );
    }
    if sheet.formulas > 0 {
        let _ = writeln!(out, "{:<36} {:>6}", "formula_samples.jsonl", sheet.formulas);
    }
    let joined: usize = sheet.sources.iter().map(|source| source.kept).sum();
    let _ = writeln!(
        out,
        "{} examples in all ({} from market data, {joined} joined)",
        sheet.total(),
        sheet.from_market()
    );
    let calibration = &sheet.calibration;
    if calibration.judged > 0 {
        let _ = writeln!(
            out,
            "certainty: Brier {:.4} calibrated, {:.4} raw, {:.4} of the rate alone, over {} rows",
            calibration.brier_calibrated,
            calibration.brier_raw,
            calibration.brier_rate,
            calibration.judged
        );
    }
    out
}

/// Refuses a place where the data set could not be put, before it is built.
fn refuse_unfit(out: &Path) -> anyhow::Result<()> {
    files::check_directory(out)?;
    // It is written beside its place and then renamed.
    if let Some(parent) = out.parent() {
        files::check_directory(parent)?;
    }
    let filled = std::fs::read_dir(out).is_ok_and(|mut entries| entries.next().is_some());
    if filled && (!run::is_dataset(out) || dataset::bridge::is_bridge(out)) {
        let path = out.to_owned();
        return Err(DatasetError::NotADataset { path }.into());
    }
    Ok(())
}

/// Returns counts and class mix, a line per part.
pub(crate) fn summary(sheet: &Datasheet) -> String {
    let mut out = String::new();
    for split in Split::ALL {
        let Some(part) = sheet.splits.get(&split) else {
            continue;
        };
        let mix: Vec<String> = part
            .classes
            .iter()
            .map(|(class, count)| format!("{class} {count}"))
            .collect();
        let _ = writeln!(
            out,
            "{:<10} {:>6} examples (effective {:.0}): {}; {} to {}",
            split.as_str(),
            part.n,
            part.effective_n,
            mix.join(", "),
            part.first_decision,
            part.last_outcome
        );
    }
    out
}
