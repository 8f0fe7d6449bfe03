//! Questions and answers about formulas, made of their trees and of computed
//! values: what a formula measures, how to compute it on bars that are shown, what
//! a value on a real bar says, what a longer window changes, where it fails.
//!
//! No number is written by hand. A computation is evaluated on the very numbers
//! that the question shows, rounded as shown, so that a reader (or [`verify()`])
//! can do it again from the text alone; a value on a real bar comes from the bars
//! up to that one.

mod about;
mod compute;
mod near;
mod real;
mod text;
mod verify;

use std::collections::BTreeMap;
use std::io::Write;
use std::ops::ControlFlow;
use std::path::Path;

use formula::catalogue::{Catalogue, Entry};
use formula::panel::Panel;
use serde::{Deserialize, Serialize};

pub(crate) use near::near_duplicate_rate;
pub use near::{NEAR_DUPLICATE, Removed};
pub use verify::{Verification, verify};

use crate::{DatasetError, Message};

/// The file of the examples.
pub const FILE: &str = "formula_samples.jsonl";
/// The file that says what they are.
pub const DATASHEET: &str = "formula_samples.json";

/// What a question is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// What the formula measures.
    Definition,
    /// Its expression, operator by operator.
    Reading,
    /// Its value on bars that are shown, with the steps.
    Computation,
    /// What a value on a real bar says.
    Interpretation,
    /// What another constant changes.
    Sensitivity,
    /// What it needs, and where it applies.
    Applicability,
    /// Where it fails.
    Pitfalls,
    /// The same in another notation.
    Translation,
    /// How it differs from another formula.
    Comparison,
    /// Where it comes from.
    Citation,
    /// Which formula an expression is.
    Recognition,
}

/// One question with its answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KnowledgeExample {
    /// The question and the answer.
    pub messages: Vec<Message>,
    /// Unique in the file: `talib.RSI_14#computation-2`.
    pub id: String,
    /// What it is about.
    pub kind: Kind,
    /// The formula's id.
    pub formula: String,
    /// The formula's family.
    pub family: String,
    /// The instrument of the numbers, where there are any.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub instrument: Option<String>,
    /// The open time of the bar that the numbers end with, Unix milliseconds.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub open_time: Option<i64>,
}

/// How many questions of the kinds with numbers are asked about a formula.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct KnowledgeSettings {
    /// Computations on shown bars.
    pub computations: usize,
    /// Values on real bars.
    pub interpretations: usize,
    /// Other constants.
    pub sensitivities: usize,
    /// Other formulas compared with.
    pub comparisons: usize,
    /// The seed of every choice.
    pub seed: u64,
}

impl Default for KnowledgeSettings {
    fn default() -> Self {
        Self {
            computations: 5,
            interpretations: 5,
            sensitivities: 2,
            comparisons: 2,
            seed: 17,
        }
    }
}

/// What the examples are: [`DATASHEET`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KnowledgeSheet {
    /// The version of the program.
    pub version: String,
    /// The settings.
    pub settings: KnowledgeSettings,
    /// Examples in the file.
    pub examples: usize,
    /// Formulas with at least one example.
    pub formulas: usize,
    /// Examples by kind.
    pub by_kind: BTreeMap<Kind, usize>,
    /// Examples by family.
    pub by_family: BTreeMap<String, usize>,
    /// What was taken out as a near-duplicate, and by which measure.
    pub removed: Removed,
    /// The instruments of the bars, and their first and last open time.
    pub bars: Vec<String>,
    /// The sha256 of the file.
    pub sha256: String,
}

/// Makes the examples of all formulas over the bars of `panel`. `report` is told how
/// many formulas are done, and may stop the work.
///
/// # Errors
/// [`DatasetError::Formula`] where a formula cannot be planned,
/// [`DatasetError::Stopped`] where `report` says so.
pub fn examples(
    catalogue: &Catalogue,
    panel: &Panel,
    settings: &KnowledgeSettings,
    report: &mut dyn FnMut(usize, usize) -> ControlFlow<()>,
) -> Result<(Vec<KnowledgeExample>, Removed), DatasetError> {
    let world = real::World::new(catalogue, panel)?;
    let mut all = Vec::new();
    let entries = catalogue.entries();
    for (done, entry) in entries.iter().enumerate() {
        let mut maker = Maker {
            entry,
            examples: Vec::new(),
        };
        about::add(&mut maker, catalogue);
        compute::add(&mut maker, &world, settings);
        real::add(&mut maker, &world, settings);
        all.append(&mut maker.examples);
        if done % 20 == 0 && report(done, entries.len()).is_break() {
            return Err(DatasetError::Stopped);
        }
    }
    Ok(near::without_near_duplicates(all))
}

/// Writes examples and datasheet into a directory, each whole or not at all.
///
/// # Errors
/// What the disk refuses.
pub fn write(
    directory: &Path,
    examples: &[KnowledgeExample],
    removed: Removed,
    settings: KnowledgeSettings,
    panel: &Panel,
) -> Result<KnowledgeSheet, DatasetError> {
    std::fs::create_dir_all(directory).map_err(DatasetError::io("create", directory))?;
    let mut bytes = Vec::new();
    let path = directory.join(FILE);
    for example in examples {
        serde_json::to_writer(&mut bytes, example)
            .map_err(std::io::Error::from)
            .map_err(DatasetError::io("write", &path))?;
        bytes.push(b'\n');
    }
    let mut sheet = KnowledgeSheet {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        settings,
        examples: examples.len(),
        formulas: 0,
        by_kind: BTreeMap::new(),
        by_family: BTreeMap::new(),
        removed,
        bars: text::spans(panel),
        sha256: crate::store::sha256(&bytes),
    };
    let mut formulas = std::collections::BTreeSet::new();
    for example in examples {
        *sheet.by_kind.entry(example.kind).or_default() += 1;
        *sheet.by_family.entry(example.family.clone()).or_default() += 1;
        formulas.insert(&example.formula);
    }
    sheet.formulas = formulas.len();
    replace(&path, &bytes)?;
    let path = directory.join(DATASHEET);
    let mut text = serde_json::to_vec_pretty(&sheet)
        .map_err(std::io::Error::from)
        .map_err(DatasetError::io("write", &path))?;
    text.push(b'\n');
    replace(&path, &text)?;
    Ok(sheet)
}

/// Writes under a temporary name, syncs and renames.
fn replace(path: &Path, bytes: &[u8]) -> Result<(), DatasetError> {
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let written = (|| {
        let mut file = tempfile::NamedTempFile::new_in(parent)?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        file.persist(path).map_err(|error| error.error)?;
        Ok(())
    })();
    written.map_err(DatasetError::io("write", path))
}

/// Collects the examples of one formula.
pub(crate) struct Maker<'a> {
    pub(crate) entry: &'a Entry,
    examples: Vec<KnowledgeExample>,
}

impl Maker<'_> {
    /// Adds a question about the formula.
    pub(crate) fn add(&mut self, kind: Kind, question: String, answer: String) {
        self.add_at(kind, question, answer, None);
    }

    /// Adds a question about values that end at a bar of an instrument.
    pub(crate) fn add_at(
        &mut self,
        kind: Kind,
        question: String,
        answer: String,
        at: Option<(String, i64)>,
    ) {
        let same = self.examples.iter().filter(|example| example.kind == kind);
        let number = same.count() + 1;
        let name = serde_json::to_value(kind).unwrap_or_default();
        let message = |role: &str, content: String| Message {
            role: role.to_owned(),
            content,
        };
        self.examples.push(KnowledgeExample {
            messages: vec![message("user", question), message("assistant", answer)],
            id: format!("{}#{}-{number}", self.entry.id, name.as_str().unwrap_or("")),
            kind,
            formula: self.entry.id.clone(),
            family: self.entry.family.clone(),
            instrument: at.as_ref().map(|(instrument, _)| instrument.clone()),
            open_time: at.map(|(_, time)| time),
        });
    }
}
