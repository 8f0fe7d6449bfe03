//! What an audit says: one entry a check, with what was tried and what was found.

use serde::{Deserialize, Serialize};

use super::record::Place;
use super::score::Score;
use crate::DatasetError;

/// The version of [`AuditReport`].
pub const SCHEMA: u32 = 1;
/// What a report of this kind says it is.
pub const KIND: &str = "foretune-audit";
/// Findings kept of one check; [`Check::found_total`] counts all of them.
pub const MOST_FINDINGS: usize = 20;

/// The outcome of an audit. The same inputs, settings and seed give the same report on any number
/// of threads; [`Check::seconds`] alone differs, and is left out unless the caller measured it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AuditReport {
    /// [`KIND`].
    pub kind: String,
    /// [`SCHEMA`].
    pub schema: u32,
    /// What was audited, in words: a directory, files, a kind of record.
    pub subject: String,
    /// Records looked at.
    pub records: usize,
    /// The seed of every random choice.
    pub seed: u64,
    /// Decisions drawn for the checks that render again.
    pub samples: usize,
    /// Whether no check is red.
    pub passed: bool,
    /// The checks, by number.
    pub checks: Vec<Check>,
}

/// What became of one check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// It was made and found nothing.
    Green,
    /// It found a fault.
    Red,
    /// It could not be made, for the reason given. This is not a pass.
    NotPossible,
}

impl Status {
    /// Returns `green`, `red` or `not possible`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Green => "green",
            Self::Red => "red",
            Self::NotPossible => "not possible",
        }
    }
}

/// One check of an audit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Check {
    /// Its number; 1 to 9 are those of the list in [`crate::audit`], 10 and above the further ones.
    pub number: u8,
    /// Its name, such as `label_swap`.
    pub name: String,
    /// What it asks, as a sentence.
    pub question: String,
    /// What became of it.
    pub status: Status,
    /// Why it could not be made, or what its colour rests on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What was tried, with counts.
    pub tried: Vec<String>,
    /// What probes scored.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scores: Vec<Measured>,
    /// What was found, the first [`MOST_FINDINGS`].
    pub found: Vec<Finding>,
    /// How much was found.
    pub found_total: usize,
    /// How long it took; measured by the caller, who has a clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<f64>,
}

/// The score of a probe: the mean over classes of the share that it answers right.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// What was asked of what.
    pub what: String,
    /// The score, 0 to 1.
    pub value: f64,
    /// The lower end of its interval.
    pub low: f64,
    /// The upper end of its interval.
    pub high: f64,
    /// What always giving one answer scores.
    pub chance: f64,
    /// The least that is taken for a leak, by the lower end.
    pub limit: f64,
    /// Rows scored.
    pub rows: usize,
    /// Blocks of time that they lie in.
    pub blocks: usize,
}

/// One fault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// The file, where the record came from one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// The line in it, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
    /// The record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// What is wrong, what was expected, and what to do.
    pub message: String,
}

impl Finding {
    /// Returns a finding about the whole, not one record.
    pub fn general(message: impl Into<String>) -> Self {
        Self {
            file: None,
            line: None,
            id: None,
            message: message.into(),
        }
    }

    /// Returns a finding about one record.
    pub fn at(place: &Place, id: &str, message: impl Into<String>) -> Self {
        Self {
            file: (!place.file.is_empty()).then(|| place.file.clone()),
            line: (place.line > 0).then_some(place.line),
            id: Some(id.to_owned()),
            message: message.into(),
        }
    }

    /// Returns where it is, as people read it: `file line 3`, or the record's id.
    pub fn place(&self) -> String {
        match (&self.file, self.line, &self.id) {
            (Some(file), Some(line), _) => format!("{file} line {line}"),
            (Some(file), None, _) => file.clone(),
            (None, _, Some(id)) => id.clone(),
            (None, _, None) => String::new(),
        }
    }
}

impl Check {
    /// Returns a check not yet made: green, with nothing tried.
    pub(super) fn new(kind: Kind) -> Self {
        Self {
            number: kind.number(),
            name: kind.name().to_owned(),
            question: kind.question().to_owned(),
            status: Status::Green,
            reason: None,
            tried: Vec::new(),
            scores: Vec::new(),
            found: Vec::new(),
            found_total: 0,
            seconds: None,
        }
    }

    /// Returns a check that cannot be made.
    pub(super) fn not_possible(kind: Kind, reason: impl Into<String>) -> Self {
        Self {
            status: Status::NotPossible,
            reason: Some(reason.into()),
            ..Self::new(kind)
        }
    }

    /// Says what was tried.
    pub(super) fn tried(&mut self, what: impl Into<String>) {
        self.tried.push(what.into());
    }

    /// Tells a score, of which `edge` above chance is taken for a leak.
    pub(super) fn measured(&mut self, of: &str, score: &Score, edge: f64) {
        self.tried(format!("{of}: {}", score.words()));
        self.scores.push(Measured {
            what: format!("{of}, {}", score.what),
            value: score.value,
            low: score.low,
            high: score.high,
            chance: score.chance,
            limit: score.chance + edge,
            rows: score.rows,
            blocks: score.blocks,
        });
    }

    /// Adds a fault, which turns the check red.
    pub(super) fn found(&mut self, finding: Finding) {
        self.status = Status::Red;
        self.found_total += 1;
        if self.found.len() < MOST_FINDINGS {
            self.found.push(finding);
        }
    }

    /// Turns a check that found nothing into one that was not possible.
    pub(super) fn give_up(&mut self, reason: impl Into<String>) {
        if self.status == Status::Green {
            self.status = Status::NotPossible;
            self.reason = Some(reason.into());
        }
    }

    /// Reports whether it found a fault.
    pub fn is_red(&self) -> bool {
        self.status == Status::Red
    }
}

impl AuditReport {
    /// Returns the check of a number.
    pub fn check(&self, number: u8) -> Option<&Check> {
        self.checks.iter().find(|check| check.number == number)
    }

    /// Returns the checks that found a fault.
    pub fn red(&self) -> impl Iterator<Item = &Check> {
        self.checks.iter().filter(|check| check.is_red())
    }

    /// Counts the checks of a status.
    pub fn count(&self, status: Status) -> usize {
        let of_status = |check: &&Check| check.status == status;
        self.checks.iter().filter(of_status).count()
    }

    /// Returns the report without measured times: the bytes that belong into a data set, which
    /// must come out the same on another machine.
    #[must_use]
    pub fn without_times(&self) -> Self {
        let mut report = self.clone();
        for check in &mut report.checks {
            check.seconds = None;
        }
        report
    }

    /// Refuses a report with a red check.
    ///
    /// # Errors
    /// [`DatasetError::LeakFound`] with the red checks and the first finding of each.
    pub fn refuse_red(&self) -> Result<(), DatasetError> {
        let red: Vec<String> = self
            .red()
            .map(|check| {
                let Some(first) = check.found.first() else {
                    return format!("check {} `{}`", check.number, check.name);
                };
                let place = first.place();
                let at = if place.is_empty() {
                    String::new()
                } else {
                    format!(" at {place}")
                };
                format!(
                    "check {} `{}`{at}: {} ({} in all)",
                    check.number, check.name, first.message, check.found_total
                )
            })
            .collect();
        if red.is_empty() {
            return Ok(());
        }
        Err(DatasetError::LeakFound {
            found: red.join("; "),
        })
    }

    /// Returns one line of words: `9 checks: 7 green, 0 red, 2 not possible`.
    pub fn summary(&self) -> String {
        format!(
            "{} checks: {} green, {} red, {} not possible",
            self.checks.len(),
            self.count(Status::Green),
            self.count(Status::Red),
            self.count(Status::NotPossible)
        )
    }
}

/// The checks there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// 1: bars cut at the decision give the same features and prompt bytes.
    Truncation,
    /// 2: what stands after the decision may be anything.
    Poisoning,
    /// 3: the other outcome gives the same prompt bytes.
    LabelSwap,
    /// 4: every fact was known.
    Availability,
    /// 5: every prediction of another model was made without the row.
    Upstream,
    /// 6: worlds in which nothing can be known score chance.
    NullWorlds,
    /// 7: leaks planted on purpose are found.
    PlantedLeak,
    /// 8: the prompt does not tell the outcome better than any known edge.
    LeakProbe,
    /// 9: every number of an answer has a source.
    Claims,
    /// 10: parts are apart in time.
    Splits,
    /// 11: no prompt stands in two parts or files.
    Duplicates,
    /// 12: no number of a prompt is a later bar's.
    FutureValues,
}

impl Kind {
    /// Returns the number.
    pub fn number(self) -> u8 {
        self as u8 + 1
    }

    /// Returns the name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Truncation => "truncation",
            Self::Poisoning => "future_poisoning",
            Self::LabelSwap => "label_swap",
            Self::Availability => "available_at",
            Self::Upstream => "upstream_predictions",
            Self::NullWorlds => "null_worlds",
            Self::PlantedLeak => "planted_leak",
            Self::LeakProbe => "leak_probe",
            Self::Claims => "claims",
            Self::Splits => "splits",
            Self::Duplicates => "duplicates",
            Self::FutureValues => "future_values",
        }
    }

    /// Returns what the check asks.
    pub fn question(self) -> &'static str {
        match self {
            Self::Truncation => {
                "Do bars cut at the decision give the same features, facts and prompt bytes?"
            }
            Self::Poisoning => {
                "Does anything change when what comes after the decision is NaN, a thousand times \
                 as large, or noise?"
            }
            Self::LabelSwap => "Are the prompt's bytes the same when the outcome is the opposite?",
            Self::Availability => "Was every fact known at the decision?",
            Self::Upstream => {
                "Was every prediction of another model made by one trained before the decision, \
                 or out of fold?"
            }
            Self::NullWorlds => {
                "Do worlds without anything to know score chance through the whole pipeline?"
            }
            Self::PlantedLeak => "Does this audit find the leaks it plants itself?",
            Self::LeakProbe => {
                "Can a logistic regression read the outcome from the prompt's words and numbers?"
            }
            Self::Claims => "Does every number of an answer have a source?",
            Self::Splits => "Are the parts in order, apart in time and purged?",
            Self::Duplicates => "Does no prompt stand in two parts or files?",
            Self::FutureValues => "Is no number of a prompt the value of a later bar?",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_turns_a_check_red_and_the_list_is_bounded() {
        let mut check = Check::new(Kind::Claims);
        assert_eq!((check.number, check.status), (9, Status::Green));
        for number in 0..MOST_FINDINGS + 5 {
            check.found(Finding::general(format!("{number}")));
        }
        assert!(check.is_red());
        assert_eq!(check.found.len(), MOST_FINDINGS);
        assert_eq!(check.found_total, MOST_FINDINGS + 5);
        check.give_up("no");
        assert_eq!(check.status, Status::Red);
    }

    #[test]
    fn the_layout_is_stable() {
        let mut check = Check::new(Kind::LabelSwap);
        check.tried("2 decisions");
        let place = Place {
            file: "a.jsonl".to_owned(),
            line: 3,
        };
        check.found(Finding::at(&place, "x", "wrong"));
        let report = AuditReport {
            kind: KIND.to_owned(),
            schema: SCHEMA,
            subject: "a".to_owned(),
            records: 2,
            seed: 1,
            samples: 2,
            passed: false,
            checks: vec![check],
        };
        let expect = r#"{"kind":"foretune-audit","schema":1,"subject":"a","records":2,"seed":1,"samples":2,"passed":false,"checks":[{"number":3,"name":"label_swap","question":"Are the prompt's bytes the same when the outcome is the opposite?","status":"red","tried":["2 decisions"],"found":[{"file":"a.jsonl","line":3,"id":"x","message":"wrong"}],"found_total":1}]}"#;
        let text = serde_json::to_string(&report).unwrap();
        assert_eq!(text, expect);
        let read: AuditReport = serde_json::from_str(&text).unwrap();
        assert_eq!(read, report);
    }
}
