//! Whether a directory is fit to train on: a checklist from its files and manifest alone, so that
//! it works after an upload as well as after a build.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;

use super::store::{digest, read_bridge_manifest, read_sheet};
use super::{FORMULAS, JOINED, JOINED_PAIRS, Kind};
use crate::{DatasetError, read_manifest};

/// One line of the checklist.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Item {
    /// What was looked at.
    pub name: String,
    /// What was found, and what was expected where it differs.
    pub found: String,
    /// Whether it is as it should be.
    pub ok: bool,
}

/// The checklist of a directory.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Readiness {
    /// Whether every item is as it should be.
    pub ready: bool,
    /// Examples by file.
    pub counts: BTreeMap<String, usize>,
    /// The audit's checks by name; empty where there was none.
    pub audit: BTreeMap<String, String>,
    /// Every item.
    pub items: Vec<Item>,
}

/// Goes through a data set or a bridge.
///
/// # Errors
/// [`DatasetError::Io`] or [`DatasetError::Manifest`] where there is no readable manifest;
/// everything else is an item of the list.
pub fn verify(directory: &Path) -> Result<Readiness, DatasetError> {
    let mut list = List::default();
    if super::is_bridge(directory) {
        bridge(directory, &mut list)?;
    } else {
        plain(directory, &mut list)?;
    }
    audit(directory, &mut list);
    Ok(Readiness {
        ready: list.items.iter().all(|item| item.ok),
        counts: list.counts,
        audit: list.audit,
        items: list.items,
    })
}

#[derive(Default)]
struct List {
    items: Vec<Item>,
    counts: BTreeMap<String, usize>,
    audit: BTreeMap<String, String>,
}

impl List {
    fn add(&mut self, name: impl Into<String>, found: impl Into<String>, ok: bool) {
        self.items.push(Item {
            name: name.into(),
            found: found.into(),
            ok,
        });
    }

    fn at_least(&mut self, name: &str, found: usize, expected: usize) {
        let ok = found >= expected;
        let text = if ok {
            found.to_string()
        } else {
            format!("{found}, expected {expected}")
        };
        self.add(name, text, ok);
    }
}

fn bridge(directory: &Path, list: &mut List) -> Result<(), DatasetError> {
    let manifest = read_bridge_manifest(directory)?;
    let settings = &manifest.settings;
    files(directory, &manifest.files, list);
    let sheet = match read_sheet(directory) {
        Ok(sheet) => sheet,
        Err(error) => {
            list.add("datasheet", error.to_string(), false);
            return Ok(());
        }
    };
    if settings.pairs > 0 {
        let ok = sheet.pairs == settings.pairs;
        let text = if ok {
            sheet.pairs.to_string()
        } else {
            format!("{}, expected {}", sheet.pairs, settings.pairs)
        };
        list.add("pairs", text, ok);
    } else {
        list.add("pairs", sheet.pairs.to_string(), sheet.pairs > 0);
    }
    let features = sheet.features;
    let ok = features > 0 && (settings.features == 0 || features == settings.features);
    list.add("features", features.to_string(), ok);
    list.add(
        "samples in the package",
        sheet.rows.to_string(),
        sheet.rows > 0,
    );
    let wanted = [
        (Kind::Reading, settings.readings_per_pair),
        (Kind::Scenario, settings.scenarios_per_pair),
        (Kind::Preference, settings.preferences_per_pair),
        (Kind::Calculation, settings.calculations_per_pair),
    ];
    for (kind, per_pair) in wanted {
        let found = list.counts.get(kind.file()).copied().unwrap_or(0);
        list.at_least(kind.file(), found, per_pair * sheet.pairs);
    }
    if settings.held_out_per_pair > 0 {
        for name in ["validation.jsonl", "test.jsonl"] {
            let found = list.counts.get(name).copied().unwrap_or(0);
            list.at_least(name, found, 1);
        }
    }
    if settings.formulas > 0 {
        let found = list.counts.get(FORMULAS).copied().unwrap_or(0);
        list.at_least(FORMULAS, found, settings.formulas);
    }
    for (name, kept) in [
        (JOINED, sheet.sources.iter().map(|s| s.kept - s.pairs).sum()),
        (
            JOINED_PAIRS,
            sheet.sources.iter().map(|s| s.pairs).sum::<usize>(),
        ),
    ] {
        let kept: usize = kept;
        if kept > 0 {
            let found = list.counts.get(name).copied().unwrap_or(0);
            list.at_least(name, found, kept);
        }
    }
    let per_pair: usize = wanted.iter().map(|(_, n)| n).sum();
    let planned = per_pair * sheet.pairs + settings.formulas;
    let total = sheet.total();
    list.at_least("training examples in all", total, planned);
    let market = sheet.from_market();
    list.add(
        "of these from your market data",
        market.to_string(),
        market > 0,
    );
    Ok(())
}

fn plain(directory: &Path, list: &mut List) -> Result<(), DatasetError> {
    let manifest = read_manifest(directory)?;
    files(directory, &manifest.files, list);
    let pairs = manifest.inputs.len();
    list.add("instruments", pairs.to_string(), pairs > 0);
    for name in ["examples.jsonl", "validation.jsonl", "test.jsonl"] {
        let found = list.counts.get(name).copied().unwrap_or(0);
        list.at_least(name, found, 1);
    }
    match crate::Dataset::read(directory) {
        Ok(dataset) => {
            let n = dataset.train.len() + dataset.validation.len() + dataset.test.len();
            list.add("every example checked against itself", n.to_string(), n > 0);
        }
        Err(error) => list.add(
            "every example checked against itself",
            error.to_string(),
            false,
        ),
    }
    Ok(())
}

/// Compares every file with the manifest.
fn files(
    directory: &Path,
    expected: &BTreeMap<String, crate::datasheet::FileSheet>,
    list: &mut List,
) {
    let mut faults = Vec::new();
    for (name, sheet) in expected {
        match digest(&directory.join(name)) {
            Ok(found) => {
                if found.sha256 != sheet.sha256 {
                    faults.push(format!(
                        "`{name}` was altered: sha256 {}, expected {}",
                        found.sha256, sheet.sha256
                    ));
                }
                if Path::new(name)
                    .extension()
                    .is_some_and(|end| end == "jsonl")
                {
                    list.counts.insert(name.clone(), found.lines);
                }
            }
            Err(error) => faults.push(error.to_string()),
        }
    }
    let text = if faults.is_empty() {
        format!("{} as written", expected.len())
    } else {
        faults.join("; ")
    };
    list.add("files", text, faults.is_empty());
}

/// Reads what the audit found when the data set was built.
fn audit(directory: &Path, list: &mut List) {
    let path = directory.join("audit.json");
    let read = std::fs::read(&path)
        .ok()
        .and_then(|bytes| serde_json::from_slice::<serde_json::Value>(&bytes).ok());
    let Some(report) = read else {
        let none = "there is none: build it again without `--no-audit`";
        list.add("audit", none, false);
        return;
    };
    let empty = Vec::new();
    let checks = report["checks"].as_array().unwrap_or(&empty);
    for check in checks {
        let name = check["name"].as_str().unwrap_or("?").to_owned();
        let status = check["status"].as_str().unwrap_or("?").to_owned();
        list.audit.insert(name, status);
    }
    let red: Vec<&String> = list
        .audit
        .iter()
        .filter(|(_, status)| *status == "red")
        .map(|(name, _)| name)
        .collect();
    let ok = red.is_empty() && !checks.is_empty();
    let text = match (red.is_empty(), checks.len()) {
        (true, 0) => "skipped".to_owned(),
        (true, n) => format!("{n} checks, none red"),
        (false, _) => format!("red: {red:?}"),
    };
    list.add("audit", text, ok);
}
