//! What a run directory says about its training, put into the shape of the training page.
//!
//! The log is all that is needed. Manifest and settings are read as plain JSON and TOML, not as
//! this version's types: a run of another version, or one that was cut short, has its page too.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use dataset::Decision;
use serde_json::Value;
use serve::report::training::{self, Facts, Log, Majority, Report};

use super::{examples, select};
use crate::exit::{Exit, Stop};

/// Reads a run directory.
///
/// # Errors
/// When it has no log, or a file of it cannot be read as what it should be.
pub(crate) fn read(folder: &Path) -> anyhow::Result<Report> {
    let path = folder.join(train::METRICS_NAME);
    if !path.is_file() {
        let message = format!("`{}` is missing: not a training", path.display());
        return Err(Stop::new(Exit::Usage, message)
            .hint("name a directory that `foretune train` or `foretune quickstart` has written")
            .into());
    }
    let log = training::read_log(&path)?;
    let manifest = json(&folder.join("manifest.json"))?;
    let settings = match &manifest {
        Some(manifest) => Some(manifest["settings"].clone()),
        None => toml(&folder.join("settings.toml"))?,
    };
    let facts = facts(folder, &log, manifest.as_ref(), settings.as_ref());
    Ok(training::report(log, facts))
}

fn facts(folder: &Path, log: &Log, manifest: Option<&Value>, settings: Option<&Value>) -> Facts {
    let training = manifest.map(|manifest| &manifest["training"]);
    let number = |key: &str| training.and_then(|training| training[key].as_u64());
    let source = manifest
        .and_then(|manifest| manifest["model"].as_str())
        .or_else(|| settings.and_then(|settings| settings["model"]["source"].as_str()));
    Facts {
        run: folder.display().to_string(),
        finished: manifest.is_some(),
        model: source.map(str::to_owned),
        parameters: number("parameters"),
        examples_available: number("examples_available"),
        supervised_tokens: number("supervised_tokens"),
        wall_seconds: training.and_then(|training| training["wall_seconds"].as_f64()),
        peak_memory_bytes: number("peak_memory_bytes"),
        kept_step: number("kept_step"),
        stopped_early: training
            .is_some_and(|training| training["stopped_early"] == Value::Bool(true)),
        examples_cut: number("examples_cut"),
        majority: majority(folder, log, manifest, settings),
        settings: listed(settings, log.is_preference()),
    }
}

/// Returns the settings of the training by key; a preference training's own lie over the rest.
fn listed(settings: Option<&Value>, is_preference: bool) -> BTreeMap<String, Value> {
    let section = |name: &str| {
        let section = settings.and_then(|settings| settings[name].as_object());
        section.into_iter().flatten()
    };
    let mut listed: BTreeMap<String, Value> = section("train")
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    if is_preference {
        listed.extend(section("dpo").map(|(key, value)| (key.clone(), value.clone())));
    }
    listed
}

/// Returns the most frequent class of the validation examples, chosen as the training chose them;
/// nothing if the data set is gone or has changed.
fn majority(
    folder: &Path,
    log: &Log,
    manifest: Option<&Value>,
    settings: Option<&Value>,
) -> Option<Majority> {
    let scored = log.validations.last()?.validation_examples?;
    let dataset = manifest.and_then(|manifest| manifest["dataset"].as_str());
    let (dataset, _) = examples::read(&folder.join(dataset.unwrap_or("dataset"))).ok()?;
    let most = settings?["train"]["validation_examples"].as_u64()? as usize;
    let chosen = select::decisions(&dataset.validation, dataset.settings.horizon(), most);
    if chosen.is_empty() || chosen.len() as u64 != scored {
        return None;
    }
    let count = |class: Decision| chosen.iter().filter(|e| e.label == class).count();
    let most_frequent = Decision::ALL
        .into_iter()
        .max_by_key(|class| count(*class))?;
    let classes: BTreeSet<usize> = chosen.iter().map(|e| e.label.index()).collect();
    Some(Majority {
        class: most_frequent.to_string(),
        share: count(most_frequent) as f64 / chosen.len() as f64,
        classes: classes.len(),
    })
}

fn json(path: &Path) -> Result<Option<Value>, Stop> {
    let Some(text) = text(path)? else {
        return Ok(None);
    };
    let value: Value = serde_json::from_str(&text).map_err(|error| unusable(path, &error))?;
    Ok(Some(value))
}

fn toml(path: &Path) -> Result<Option<Value>, Stop> {
    let Some(text) = text(path)? else {
        return Ok(None);
    };
    let table: toml::Table = toml::from_str(&text).map_err(|error| unusable(path, &error))?;
    let value = serde_json::to_value(table).map_err(|error| unusable(path, &error))?;
    Ok(Some(value))
}

fn text(path: &Path) -> Result<Option<String>, Stop> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(unusable(path, &error)),
    }
}

fn unusable(path: &Path, error: &dyn std::error::Error) -> Stop {
    let message = format!("cannot use `{}`: {error}", path.display());
    Stop::new(Exit::Data, message).hint("move the file away; the page is then made without it")
}
