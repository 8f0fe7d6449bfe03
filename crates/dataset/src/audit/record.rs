//! What an audit looks at: one decision with its prompt, answers, outcome and provenance, whatever
//! kind of data set it belongs to.
//!
//! A kind of record joins the audit by turning its own type into [`AuditRecord`]; a kind that can
//! be rendered again implements [`super::Rerender`] as well.

use std::collections::BTreeMap;

use market::Timestamp;
use serde::{Deserialize, Serialize};

use crate::facts::Facts;
use crate::{Dataset, Example, Split};

/// One decision as the audit sees it.
///
/// Only `id`, `decision_time` and `prompt` are needed; a check that needs something that is not
/// there says so instead of passing. With `..AuditRecord::default()` a kind of record fills in what
/// it has.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct AuditRecord {
    /// Where it was read, for findings.
    pub place: Place,
    /// Its name, unique among the records.
    pub id: String,
    /// What is traded, as its bars are named.
    pub instrument: Option<String>,
    /// When the model is asked.
    pub decision_time: Timestamp,
    /// The decision and the end of the interval that the label looks at.
    pub span: Option<(Timestamp, Timestamp)>,
    /// The part it belongs to.
    pub split: Option<Split>,
    /// All that the model reads before it answers, its turns joined by line feeds.
    pub prompt: String,
    /// What it is taught to answer: one completion, or the chosen and the rejected one.
    pub answers: Vec<String>,
    /// The outcome's class, as the record names it: `BUY`, `APPROVE`, `1`.
    pub label: Option<String>,
    /// The relative change of the price over the span: 0.01 is 1 %.
    pub outcome_return: Option<f64>,
    /// Numbers known at the decision, for probes.
    pub features: BTreeMap<String, f64>,
    /// What was known, fact by fact, each with the instant from which it is known.
    pub facts: Facts,
    /// The predictions of other models that it uses.
    pub upstream: Vec<Upstream>,
    /// Where the numbers of an answer may come from.
    pub claims: ClaimRule,
}

/// Where a record was read.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub struct Place {
    /// The file; empty for records that came from none.
    pub file: String,
    /// The line, from 1; 0 for records that came from none.
    pub line: usize,
}

/// A prediction of another model that a record uses.
///
/// It is clean if `trained_through` lies before the decision: the end of the last label that the
/// model saw. A prediction without that stamp has to name the fold that was held out for it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Upstream {
    /// Which model, such as `ensemble` or `declared`.
    pub kind: String,
    /// The end of the last label that the model was trained on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trained_through: Option<Timestamp>,
    /// The fold of the row, which the model was not trained on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fold: Option<u32>,
}

/// Where the numbers of an answer may come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClaimRule {
    /// Each is the number of a fact, in the same form, and stands in the prompt
    /// ([`crate::claims::check`]).
    ShownFacts,
    /// Each is the number of a fact, in the same form, or stands in the prompt: for answers that
    /// compute with what was shown and carry the results as facts.
    Facts,
    /// Each stands in the prompt, by value: for records without facts. Counting words (`3 reasons`)
    /// are left alone.
    #[default]
    Prompt,
}

impl AuditRecord {
    /// Returns an example of a data set as the audit sees it; `line` is its place in the file of
    /// its part, from 1.
    pub fn of_example(example: &Example, line: usize) -> Self {
        Self {
            place: Place {
                file: example.split.file_name().to_owned(),
                line,
            },
            id: example.id.clone(),
            instrument: Some(example.instrument.to_string()),
            decision_time: example.decision_time,
            span: Some(example.span),
            split: Some(example.split),
            prompt: example.prompt().to_owned(),
            answers: vec![example.answer().to_owned()],
            label: Some(example.label.to_string()),
            outcome_return: Some(example.outcome_return),
            features: example.features.clone(),
            facts: example.facts.clone(),
            upstream: Vec::new(),
            claims: ClaimRule::ShownFacts,
        }
    }

    /// Returns all examples of a data set, part by part in the order of their files.
    pub fn of_dataset(dataset: &Dataset) -> Vec<Self> {
        let mut records = Vec::with_capacity(dataset.datasheet.counts.total);
        for split in Split::ALL {
            let examples = dataset.split(split).iter().enumerate();
            records.extend(examples.map(|(row, example)| Self::of_example(example, row + 1)));
        }
        records
    }
}
