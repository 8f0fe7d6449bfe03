//! Candles become a data set on disk, from files or from a synthetic world.

use std::io;
use std::path::Path;

use anyhow::Context;
use clap::ValueEnum;
use dataset::audit::{AuditReport, AuditSettings};
use dataset::{Audited, Dataset, DatasetError, Stage, world};
use market::freqtrade::{self, CandleKind};
use serde::{Deserialize, Serialize};

use super::{audit, data};
use crate::exit::{Exit, Stop};
use crate::progress::Progress;
use crate::settings::Settings;
use crate::{files, interrupt, output};

/// The truth about a synthetic world, in the data set's directory.
const WORLD_FILE: &str = "world.json";

/// A synthetic world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum WorldName {
    /// A rule visible in the prompt's words predicts the label
    Planted,
    /// A rule that only the prompt's digits state predicts the label; words hint at it
    PlantedDigits,
    /// A random walk: there is nothing to learn
    Null,
}

impl WorldName {
    /// Returns the name as typed.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Planted => "planted",
            Self::PlantedDigits => "planted-digits",
            Self::Null => "null",
        }
    }
}

/// What is known about a synthetic world.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct World {
    /// Its name.
    pub(crate) name: String,
    /// The rule that predicts the label, if there is one.
    pub(crate) rule: Option<String>,
    /// The accuracy of the best possible predictor, if it is known.
    pub(crate) bayes_accuracy: Option<f64>,
}

/// A data set just built.
#[derive(Debug)]
pub(crate) struct Built {
    /// The examples.
    pub(crate) dataset: Dataset,
    /// The truth, for a synthetic world.
    pub(crate) world: Option<World>,
    /// Choices made for the user.
    pub(crate) notes: Vec<String>,
    /// What the audit said; none where it was left out.
    pub(crate) audit: Option<AuditReport>,
}

/// Whether a build audits what it made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Auditing {
    /// It does; a red check ends it with nothing written.
    Made,
    /// It does not, and the data set says so.
    Skipped,
}

/// Builds a data set, audits it and writes it to `out`.
///
/// # Errors
/// As the readers and [`dataset::build`], and for a red check of the audit; then, and on Ctrl-C,
/// nothing is left behind.
pub(crate) fn build(
    settings: &Settings,
    world: Option<(WorldName, usize)>,
    out: &Path,
    auditing: Auditing,
) -> anyhow::Result<Built> {
    let Some((name, blocks)) = world else {
        let candles = data::load(settings)?;
        for note in &candles.notes {
            output::warn(note);
        }
        let dataset = render(&settings.dataset, &candles.bars, candles.sentiment.as_ref())?;
        for warning in &dataset.datasheet.warnings {
            output::warn(warning);
        }
        let sentiment = candles.sentiment.as_ref();
        let audit = write(&dataset, &candles.bars, sentiment, out, auditing)?;
        return Ok(Built {
            dataset,
            world: None,
            notes: candles.notes,
            audit,
        });
    };
    let note = format!(
        "synthetic world `{}`: its own horizon, label and decision times replace those of [dataset]",
        name.as_str()
    );
    output::note(&note);
    let seed = settings.dataset.seed;
    let made = match name {
        WorldName::Planted => world::planted(seed, blocks)?,
        WorldName::PlantedDigits => world::planted_digits(seed, blocks)?,
        WorldName::Null => world::null(seed, blocks)?,
    };
    let chosen = dataset::DatasetSettings {
        seed,
        prompt_template: settings.dataset.prompt_template.clone(),
        completion_templates: settings.dataset.completion_templates.clone(),
        ..made.settings
    };
    let dataset = render(&chosen, &made.bars, None)?;
    let audit = write(&dataset, &made.bars, None, out, auditing)?;
    let folder = out.join("candles");
    for bars in &made.bars {
        let path = freqtrade::path_in(&folder, &bars.instrument, bars.timeframe, &CandleKind::Spot);
        files::create_directory(&folder)?;
        freqtrade::write(&path, bars)?;
    }
    let world = World {
        name: made.name,
        rule: made.rule,
        bayes_accuracy: made.bayes_accuracy,
    };
    files::write_json(&out.join(WORLD_FILE), &world)?;
    Ok(Built {
        dataset,
        world: Some(world),
        notes: vec![note],
        audit,
    })
}

/// Audits a data set and writes it, with what the audit said.
fn write(
    dataset: &Dataset,
    bars: &[market::Bars],
    sentiment: Option<&market::Surroundings>,
    out: &Path,
    auditing: Auditing,
) -> anyhow::Result<Option<AuditReport>> {
    if auditing == Auditing::Skipped {
        output::warn("audit: skipped, and the data set says so");
        dataset.write_audited(out, Audited::Skipped)?;
        return Ok(None);
    }
    let settings = AuditSettings::quick(dataset.settings.seed);
    let report = audit::of_dataset(dataset, bars, sentiment, &settings)?;
    let page = audit::page(&report.without_times())?;
    let made = Audited::Made {
        report: &report,
        page: &page,
    };
    dataset.write_audited(out, made)?;
    Ok(Some(report))
}

/// Reads a data set and, for a synthetic world, its truth.
///
/// # Errors
/// When the directory holds no data set or an altered one.
pub(crate) fn read(directory: &Path) -> anyhow::Result<(Dataset, Option<World>)> {
    require(directory)?;
    let dataset = Dataset::read(directory)?;
    let path = directory.join(WORLD_FILE);
    let world = match std::fs::read(&path) {
        Ok(bytes) => Some(
            serde_json::from_slice(&bytes)
                .map_err(|error| Stop::new(Exit::Data, format!("`{}`: {error}", path.display())))?,
        ),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => {
            return Err(error).with_context(|| format!("cannot read `{}`", path.display()));
        }
    };
    Ok((dataset, world))
}

/// Refuses a directory without a manifest, which is no data set of any kind.
///
/// # Errors
/// With the directory and what makes one.
pub(crate) fn require(directory: &Path) -> Result<(), Stop> {
    let manifest = std::fs::symlink_metadata(directory.join("manifest.json"));
    if let Err(error) = manifest
        && matches!(
            error.kind(),
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
        )
    {
        let message = format!(
            "there is no data set in `{}`: it has no `manifest.json`",
            directory.display()
        );
        return Err(Stop::new(Exit::Data, message)
            .hint("`foretune dataset build --out DIR` makes one; name it with --dataset DIR"));
    }
    Ok(())
}

fn render(
    settings: &dataset::DatasetSettings,
    bars: &[market::Bars],
    sentiment: Option<&market::Surroundings>,
) -> Result<Dataset, DatasetError> {
    let mut shown: Option<(Stage, Progress)> = None;
    let result = dataset::build(settings, bars, sentiment, &mut |state| {
        if shown
            .as_ref()
            .is_none_or(|(stage, _)| *stage != state.stage)
        {
            let (title, unit) = match state.stage {
                Stage::Instruments => ("indicators and labels", "instruments"),
                Stage::Examples => ("examples", "examples"),
            };
            let bar = Progress::start(title, unit, Some(state.total as u64));
            if let Some((_, old)) = shown.replace((state.stage, bar)) {
                old.finish();
            }
        }
        if let Some((_, bar)) = &mut shown {
            bar.set(state.done as u64);
        }
        interrupt::flow()
    });
    if let Some((_, bar)) = shown {
        bar.finish();
    }
    result
}
