//! The append-only decision log: one JSON object a line.
//!
//! A record is on the disk once [`Writer::sync`] has returned, and whatever
//! kills the process, the next [`Writer::open`] finds every complete record:
//! a line without its line feed is a write that was cut off, and is dropped.
//! One writer at a time; readers need no lock. The log is never rewritten:
//! nothing here edits, sorts or compacts it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use market::{Instrument, Timestamp};
use serde::{Deserialize, Serialize};

use crate::class;
use crate::error::ServeError;
use crate::lines::{self, LineWriter};

pub use crate::lines::MAX_LINE;

/// Version of the record layout this code writes and reads.
pub const SCHEMA: u32 = 1;
/// How far three probabilities may miss a sum of one.
const SUM_TOLERANCE: f64 = 1e-6;

/// One decision of one arm.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// Layout version, [`SCHEMA`].
    pub schema: u32,
    /// Who decided: `base`, `adapter`, `majority`, ...
    pub arm: String,
    /// What was decided about.
    pub instrument: Instrument,
    /// The close of the bar the decision was made on.
    pub decision_time: Timestamp,
    /// Class index; `"BUY"`, `"SELL"` or `"HOLD"` in the file.
    #[serde(with = "class")]
    pub decision: usize,
    /// Calibrated probabilities of BUY, SELL, HOLD; they sum to one.
    pub probabilities: [f64; class::COUNT],
    /// Probabilities before calibration.
    pub raw_probabilities: Option<[f64; class::COUNT]>,
    /// What the model wrote, when it wrote.
    pub answer: Option<String>,
    /// What happened, once it is known.
    pub outcome: Option<Outcome>,
    /// Hash of the base model's file; none for an arm without a model.
    pub model_sha256: Option<String>,
    /// Hash of the adapter; none for the base and the baselines.
    pub adapter_sha256: Option<String>,
    /// Hash of the rendered prompt; none for an arm that reads none.
    pub prompt_sha256: Option<String>,
}

/// What happened after a decision.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Outcome {
    /// The right class, by the label rule.
    #[serde(with = "class")]
    pub label: usize,
    /// Return over the horizon as a fraction: 0.02 is +2 %.
    #[serde(rename = "return")]
    pub outcome_return: f64,
}

impl Record {
    /// Says what keeps the record out of a log, if anything does.
    fn fault(&self) -> Option<String> {
        if self.schema != SCHEMA {
            return Some(format!("schema `{}`, expected `{SCHEMA}`", self.schema));
        }
        if self.arm.is_empty() {
            return Some("empty arm, expected a name".to_owned());
        }
        if self.decision >= class::COUNT {
            return Some(format!(
                "decision `{}`, expected a class index below {}",
                self.decision,
                class::COUNT
            ));
        }
        if let Some(fault) = probability_fault("probabilities", &self.probabilities) {
            return Some(fault);
        }
        if let Some(fault) = self
            .raw_probabilities
            .as_ref()
            .and_then(|raw| probability_fault("raw_probabilities", raw))
        {
            return Some(fault);
        }
        self.outcome.and_then(|outcome| {
            if outcome.label >= class::COUNT {
                Some(format!(
                    "outcome label `{}`, expected a class index below {}",
                    outcome.label,
                    class::COUNT
                ))
            } else if !outcome.outcome_return.is_finite() {
                Some("outcome return is not a finite number".to_owned())
            } else {
                None
            }
        })
    }
}

pub(crate) fn probability_fault(field: &str, probabilities: &[f64]) -> Option<String> {
    if let Some(bad) = probabilities.iter().find(|p| !(0.0..=1.0).contains(*p)) {
        return Some(format!("`{field}` holds `{bad}`, expected 0 to 1"));
    }
    let sum: f64 = probabilities.iter().sum();
    ((sum - 1.0).abs() > SUM_TOLERANCE).then(|| format!("`{field}` sum to `{sum}`, expected 1"))
}

/// The one writer of a log; holds the file's lock until dropped.
#[derive(Debug)]
pub struct Writer(LineWriter);

impl Writer {
    /// Opens or creates the log at `path` for appending.
    ///
    /// A torn tail (bytes after the last line feed) is cut off;
    /// [`Writer::dropped_bytes`] says how many bytes that were.
    ///
    /// # Errors
    /// [`ServeError::Locked`] when another writer has the log,
    /// [`ServeError::NotALog`] when the file holds something else (it is left
    /// alone), [`ServeError::Io`] for what the operating system refuses.
    pub fn open(path: &Path) -> Result<Self, ServeError> {
        LineWriter::open(path, |file| lines::lock(file, path)).map(Self)
    }

    /// Returns how many bytes of a torn tail were cut off on opening.
    pub fn dropped_bytes(&self) -> u64 {
        self.0.dropped_bytes()
    }

    /// Returns the log's path.
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Appends one record. It is durable after the next [`Writer::sync`].
    ///
    /// # Errors
    /// [`ServeError::Record`] for a record a reader would refuse (nothing is
    /// written), [`ServeError::Io`] when the write fails; what was half
    /// written is taken back, so the log stays whole.
    pub fn append(&mut self, record: &Record) -> Result<(), ServeError> {
        let refuse = |reason| ServeError::Record {
            arm: record.arm.clone(),
            instrument: record.instrument.to_string(),
            decision_time: record.decision_time.to_string(),
            reason,
        };
        if let Some(reason) = record.fault() {
            return Err(refuse(reason));
        }
        let mut line = serde_json::to_vec(record).map_err(|error| refuse(error.to_string()))?;
        line.push(b'\n');
        if line.len() > MAX_LINE {
            let reason = format!("{} bytes long, expected at most {MAX_LINE}", line.len());
            return Err(refuse(reason));
        }
        self.0.append(&line)
    }

    /// Waits until everything appended so far is on the disk.
    ///
    /// # Errors
    /// [`ServeError::Io`] when the operating system cannot promise that.
    pub fn sync(&mut self) -> Result<(), ServeError> {
        self.0.sync()
    }
}

/// A log as read: the good records, and everything that was wrong.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Log {
    /// The records in file order, duplicates included.
    pub records: Vec<Record>,
    /// Complete lines that are no record of this schema.
    pub malformed: Vec<Malformed>,
    /// Records of an arm, instrument and decision time seen before.
    pub duplicates: Vec<Duplicate>,
    /// Bytes after the last line feed: a write that was cut off.
    pub torn_bytes: u64,
}

/// A line that is no record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Malformed {
    /// The log.
    pub path: PathBuf,
    /// Line number, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub reason: String,
}

/// A second record of the same decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Duplicate {
    /// Line number of the repetition, from 1.
    pub line: usize,
    /// Line number of the first record.
    pub first_line: usize,
    /// The arm of both.
    pub arm: String,
    /// The instrument of both.
    pub instrument: Instrument,
    /// The decision time of both.
    pub decision_time: Timestamp,
}

impl Log {
    /// Returns the records of a log in which every line must be good.
    ///
    /// # Errors
    /// [`ServeError::Line`] with the first malformed line or duplicate.
    pub fn strict(self, path: &Path) -> Result<Vec<Record>, ServeError> {
        let malformed = self.malformed.first().map(|m| (m.line, m.reason.clone()));
        let duplicate = self.duplicates.first().map(|d| {
            let reason = format!(
                "arm `{}` for `{}` at `{}` was already decided on line {}",
                d.arm, d.instrument, d.decision_time, d.first_line
            );
            (d.line, reason)
        });
        match malformed.into_iter().chain(duplicate).min() {
            Some((line, reason)) => Err(ServeError::Line {
                path: path.to_owned(),
                line,
                reason,
            }),
            None => Ok(self.records),
        }
    }
}

/// Reads the log at `path`, line by line; a bad line does not end the reading.
///
/// # Errors
/// [`ServeError::Io`] when the file cannot be read.
pub fn read(path: &Path) -> Result<Log, ServeError> {
    let mut log = Log::default();
    let mut first_lines = BTreeMap::new();
    let torn_bytes = lines::read(path, |line, bytes| match bytes.and_then(parse) {
        Ok(record) => {
            let key = (
                record.arm.clone(),
                record.instrument.clone(),
                record.decision_time,
            );
            let first_line = *first_lines.entry(key).or_insert(line);
            if first_line != line {
                log.duplicates.push(Duplicate {
                    line,
                    first_line,
                    arm: record.arm.clone(),
                    instrument: record.instrument.clone(),
                    decision_time: record.decision_time,
                });
            }
            log.records.push(record);
        }
        Err(reason) => log.malformed.push(Malformed {
            path: path.to_owned(),
            line,
            reason,
        }),
    })?;
    log.torn_bytes = torn_bytes;
    Ok(log)
}

/// Parses one line; the schema is judged before the fields.
fn parse(line: &[u8]) -> Result<Record, String> {
    #[derive(Deserialize)]
    struct Probe {
        schema: u32,
    }
    let probe: Probe =
        serde_json::from_slice(line).map_err(|error| format!("not a record: {error}"))?;
    if probe.schema != SCHEMA {
        return Err(format!("schema `{}`, expected `{SCHEMA}`", probe.schema));
    }
    let record: Record =
        serde_json::from_slice(line).map_err(|error| format!("not a record: {error}"))?;
    match record.fault() {
        Some(reason) => Err(reason),
        None => Ok(record),
    }
}

#[cfg(test)]
mod tests;
