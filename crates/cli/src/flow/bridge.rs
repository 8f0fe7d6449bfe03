//! A package of features becomes a bridge on disk: features where they are still to be computed,
//! then the ensemble, the examples, and the questions about formulas that go with them.

use std::path::{Path, PathBuf};

use dataset::Audited;
use dataset::audit::{AuditReport, AuditSettings};
use dataset::bridge::{self, BridgeManifest, BridgeSheet, BridgeStage};
use dataset::knowledge::{self, KnowledgeExample, KnowledgeSettings};
use dataset::package::{FeatureSet, PackageSettings};

use super::examples::Auditing;
use super::{audit, bars, data};
use crate::command::features;
use crate::progress::Progress;
use crate::settings::Settings;
use crate::{interrupt, output};

/// What was written.
#[derive(Debug)]
pub(crate) struct Written {
    /// The manifest.
    pub(crate) manifest: BridgeManifest,
    /// The datasheet.
    pub(crate) sheet: BridgeSheet,
    /// What the audit said; none where it was left out.
    pub(crate) audit: Option<AuditReport>,
}

/// Where the features come from.
#[derive(Debug, Clone)]
pub(crate) enum Origin {
    /// A package that is there.
    Package(PathBuf),
    /// Candles, of which a package is computed first, for the time of the build.
    Candles(PathBuf),
}

/// Builds a bridge and writes it to `out`.
///
/// # Errors
/// As [`bridge::build`] and [`bridge::write`]; on Ctrl-C nothing is left behind.
pub(crate) fn build(
    settings: &Settings,
    origin: &Origin,
    out: &Path,
    auditing: Auditing,
) -> anyhow::Result<Written> {
    let temporary;
    let package = match origin {
        Origin::Package(directory) => directory.as_path(),
        Origin::Candles(directory) => {
            temporary = compute(settings, directory, out)?;
            temporary.path()
        }
    };
    let mut shown: Option<(BridgeStage, Progress)> = None;
    let built = bridge::build(
        package,
        &settings.bridge,
        &settings.ensemble,
        &mut |state| {
            if shown
                .as_ref()
                .is_none_or(|(stage, _)| *stage != state.stage)
            {
                let (title, unit) = match state.stage {
                    BridgeStage::Reading => ("reading the package", "steps"),
                    BridgeStage::Ensemble => ("ensemble", "percent"),
                    BridgeStage::Calibration => ("history of certainty", "pairs"),
                    BridgeStage::Examples => ("examples", "pairs"),
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
        },
    );
    if let Some((_, bar)) = shown {
        bar.finish();
    }
    let built = built?;
    for note in &built.sheet.notes {
        output::warn(note);
    }
    let report = match auditing {
        Auditing::Skipped => {
            output::warn("audit: skipped, and the data set says so");
            None
        }
        Auditing::Made => {
            let records = built.audit_records();
            let quick = AuditSettings::quick(settings.bridge.seed);
            Some(audit::of_subject(&built.subject(&records), &quick)?)
        }
    };
    let page = report
        .as_ref()
        .map(|report| audit::page(&report.without_times()))
        .transpose()?;
    let audited = match (&report, &page) {
        (Some(report), Some(page)) => Audited::Made { report, page },
        _ => Audited::Skipped,
    };
    if let Some(report) = &report
        && report.red().next().is_some()
    {
        output::note(&audit::text(report));
    }
    let formulas = formulas(settings)?;
    let (manifest, sheet) = bridge::write(&built, package, &formulas, audited, out)?;
    for source in &sheet.sources {
        output::note(&format!(
            "joined {} of {} examples from {} ({} of them pairs, {} there already)",
            source.kept, source.lines, source.name, source.pairs, source.duplicates
        ));
    }
    Ok(Written {
        manifest,
        sheet,
        audit: report,
    })
}

/// Computes the package's features from candles, beside the place of the bridge.
fn compute(settings: &Settings, data: &Path, out: &Path) -> anyhow::Result<tempfile::TempDir> {
    let tables = bars::load(data, settings.bridge.timeframe, &settings.data.instruments)?;
    for note in &tables.notes {
        output::note(note);
    }
    let text = FeatureSet::text("forex-575").unwrap_or_default();
    let set = FeatureSet::parse("forex-575", text)?;
    let features = set.resolve(features::catalogue()?)?;
    let options = PackageSettings {
        horizons: vec![settings.bridge.horizon_bars],
        ..PackageSettings::default()
    };
    let digests = tables.digests.clone();
    let panel = bars::panel(tables, usize::MAX)?;
    let parent = match out.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    std::fs::create_dir_all(parent)?;
    let temporary = tempfile::Builder::new()
        .prefix(".features-")
        .tempdir_in(parent)?;
    let mut bar = Progress::start("features", "rows", None);
    let written = dataset::package::write_package(
        &panel,
        &set.name,
        &features,
        &options,
        digests,
        temporary.path(),
        &mut |state| {
            bar.set_total(state.total);
            bar.set(state.rows);
            interrupt::flow()
        },
    );
    bar.finish();
    written?;
    Ok(temporary)
}

/// Makes the questions about formulas, and picks as many as asked for, spread over the catalogue.
fn formulas(settings: &Settings) -> anyhow::Result<Vec<KnowledgeExample>> {
    let wanted = settings.bridge.formulas;
    if wanted == 0 {
        return Ok(Vec::new());
    }
    let all = features::catalogue()?;
    let mut own = settings.clone();
    // The bundled candles do: questions need bars, not those of the package.
    own.data.directory = None;
    let directory = data::directory(&own)?;
    let timeframe = Some(settings.dataset.base_timeframe());
    let panel = bars::panel(bars::load(&directory, timeframe, &[])?, bars::RECENT)?;
    let options = KnowledgeSettings {
        seed: settings.bridge.seed,
        ..KnowledgeSettings::default()
    };
    let mut bar = Progress::start("formula questions", "formulas", None);
    let made = knowledge::examples(all, &panel, &options, &mut |done, total| {
        bar.set_total(total as u64);
        bar.set(done as u64);
        interrupt::flow()
    });
    bar.finish();
    let (examples, _) = made?;
    let n = examples.len();
    if n <= wanted {
        return Ok(examples);
    }
    Ok(examples
        .into_iter()
        .enumerate()
        .filter(|(index, _)| (index + 1) * wanted / n > index * wanted / n)
        .map(|(_, example)| example)
        .collect())
}
