//! Reading a log back: the good entries in file order, and everything that is odd about it.
//!
//! A bad line does not end the reading. Whether an oddity matters is the reader's to decide; the
//! service goes on after it, `foretune evaluate` tells it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use market::{Instrument, Timestamp};

use super::log;
use super::record::{Decision, Entry, Event, Outcome};
use crate::error::ServeError;
use crate::lines;

/// How far a clock may be ahead of another before a record counts as future-dated, milliseconds.
pub const CLOCK_TOLERANCE: i64 = 5 * 60_000;

/// A log as read. Duplicates are left out of the lists and stand among the oddities.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct History {
    /// Decisions in file order, one per id and arm.
    pub decisions: Vec<Decision>,
    /// Outcomes in file order, one per id.
    pub outcomes: Vec<Outcome>,
    /// Events in file order.
    pub events: Vec<Event>,
    /// What was odd, in file order.
    pub oddities: Vec<Oddity>,
}

/// Something odd about a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Oddity {
    /// The file.
    pub path: PathBuf,
    /// Line number, from 1.
    pub line: usize,
    /// What kind of oddity.
    pub kind: OddityKind,
    /// What it is, in words.
    pub reason: String,
}

/// Kinds of oddity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum OddityKind {
    /// No record of this schema; the line is left out.
    Malformed,
    /// A decision or an outcome that was there already; the later one is left out.
    Duplicate,
    /// A decision before one that its arm had already made on the same instrument; kept.
    OutOfOrder,
    /// A decision made before its bar closed, or a record from after `now`; left out.
    FutureDated,
    /// A write that was cut off; left out.
    Torn,
}

impl History {
    /// Reads every file of the log in `folder`, oldest first. `now` is the reader's clock.
    ///
    /// # Errors
    /// [`ServeError::Io`] when the directory or a file cannot be read.
    pub fn read(folder: &Path, now: Timestamp) -> Result<Self, ServeError> {
        let mut reading = Reading {
            now,
            history: Self::default(),
            decided: BTreeSet::new(),
            matured: BTreeSet::new(),
            latest: BTreeMap::new(),
        };
        for path in log::files(folder)? {
            let mut last = 0;
            let torn = lines::read(&path, |line, bytes| {
                last = line;
                reading.take(&path, line, bytes.and_then(Entry::parse));
            })?;
            if torn > 0 {
                let reason = format!("{torn} bytes without a line feed");
                reading.odd(&path, last + 1, OddityKind::Torn, reason);
            }
        }
        Ok(reading.history)
    }
}

/// A log half read.
struct Reading {
    now: Timestamp,
    history: History,
    decided: BTreeSet<(String, String)>,
    matured: BTreeSet<String>,
    latest: BTreeMap<(String, Instrument), Timestamp>,
}

impl Reading {
    fn odd(&mut self, path: &Path, line: usize, kind: OddityKind, reason: String) {
        self.history.oddities.push(Oddity {
            path: path.to_owned(),
            line,
            kind,
            reason,
        });
    }

    fn take(&mut self, path: &Path, line: usize, entry: Result<Entry, String>) {
        let entry = match entry {
            Ok(entry) => entry,
            Err(reason) => return self.odd(path, line, OddityKind::Malformed, reason),
        };
        if entry.at().0 > self.now.0.saturating_add(CLOCK_TOLERANCE) {
            let reason = format!("written at {}, it is now {}", entry.at(), self.now);
            return self.odd(path, line, OddityKind::FutureDated, reason);
        }
        match entry {
            Entry::Decision(decision) => self.decision(path, line, decision),
            Entry::Outcome(outcome) => {
                if self.matured.insert(outcome.id.clone()) {
                    self.history.outcomes.push(outcome);
                } else {
                    let reason = format!("`{}` has an outcome already", outcome.id);
                    self.odd(path, line, OddityKind::Duplicate, reason);
                }
            }
            Entry::Event(event) => self.history.events.push(event),
        }
    }

    fn decision(&mut self, path: &Path, line: usize, decision: Decision) {
        if decision.decision_time.0 > decision.decided_at.0.saturating_add(CLOCK_TOLERANCE) {
            let reason = format!(
                "decided at {}, before its bar closed at {}",
                decision.decided_at, decision.decision_time
            );
            return self.odd(path, line, OddityKind::FutureDated, reason);
        }
        let key = (decision.id.clone(), decision.arm.clone());
        if !self.decided.insert(key) {
            let reason = format!(
                "arm `{}` has decided `{}` already",
                decision.arm, decision.id
            );
            return self.odd(path, line, OddityKind::Duplicate, reason);
        }
        let key = (decision.arm.clone(), decision.instrument.clone());
        let time = decision.decision_time;
        let latest = *self
            .latest
            .entry(key)
            .and_modify(|latest| *latest = time.max(*latest))
            .or_insert(time);
        if latest > time {
            let reason = format!("`{}` comes after a decision at {latest}", decision.id);
            self.odd(path, line, OddityKind::OutOfOrder, reason);
        }
        self.history.decisions.push(decision);
    }
}

#[cfg(test)]
#[path = "log_tests.rs"]
pub(crate) mod tests;
