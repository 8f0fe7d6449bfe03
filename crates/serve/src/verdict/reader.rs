//! Reading a shadow log for its verdict: line by line into a few numbers per decision, so that
//! years of it fit in memory. What is wrong with a line is counted with its number, and the line
//! is never used.
//!
//! Stricter than [`crate::shadow::History`], which serves people who look at a log: decisions out
//! of order and those made under another pre-registration do not count here.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};

use market::{Instrument, Timeframe, Timestamp};
use serde::{Deserialize, Serialize};

use crate::class;
use crate::error::ServeError;
use crate::lines;
use crate::shadow::history::CLOCK_TOLERANCE;
use crate::shadow::log;
use crate::shadow::{Decision, Entry, Outcome, Role, SCHEMA};

/// How many faults are told one by one; all are counted.
const TOLD: usize = 100;

/// What can be wrong with a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// A write that was cut off.
    Torn,
    /// No record, or one that contradicts itself.
    Malformed,
    /// A record of another layout.
    ForeignSchema,
    /// Made under another pre-registration, or measured over another horizon.
    ForeignQuestion,
    /// A decision or an outcome that was there already.
    Duplicate,
    /// A decision before one that its arm had already made on the same series.
    OutOfOrder,
    /// Written before it could be known, or after the reader's now.
    FutureDated,
}

impl FaultKind {
    /// Returns the kind in words.
    pub fn words(self) -> &'static str {
        match self {
            Self::Torn => "torn",
            Self::Malformed => "malformed",
            Self::ForeignSchema => "foreign schema",
            Self::ForeignQuestion => "foreign question",
            Self::Duplicate => "duplicate",
            Self::OutOfOrder => "out of order",
            Self::FutureDated => "future dated",
        }
    }
}

/// One line that was not used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// What kind.
    pub kind: FaultKind,
    /// The file.
    pub path: PathBuf,
    /// Line number, from 1.
    pub line: usize,
    /// What is wrong, in words.
    pub reason: String,
}

/// The lines that were not used.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Faults {
    /// How many there are of each kind.
    pub counts: BTreeMap<FaultKind, usize>,
    /// The first hundred.
    pub first: Vec<Fault>,
}

/// One decision of one arm.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Choice {
    pub(super) decision: usize,
    pub(super) probabilities: [f64; class::COUNT],
}

/// A decision as read.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Decided {
    pub(super) series: u32,
    pub(super) arm: u16,
    pub(super) role: Role,
    pub(super) late: bool,
    pub(super) time: i64,
    pub(super) price: f64,
    pub(super) choice: Choice,
}

/// What happened, if anything could be measured.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Happened {
    pub(super) label: usize,
    pub(super) change: f64,
}

/// What a log says, with names replaced by numbers.
#[derive(Debug, Default)]
pub(super) struct Records {
    /// Arms by number.
    pub(super) arms: Vec<String>,
    /// Instrument and timeframe by number.
    pub(super) series: Vec<(Instrument, Timeframe)>,
    /// Decisions in file order.
    pub(super) decisions: Vec<Decided>,
    /// Outcomes by series and decision time; `None` for one that never will be.
    pub(super) outcomes: HashMap<(u32, i64), Option<Happened>>,
    /// What was not used.
    pub(super) faults: Faults,
    /// Lines read.
    pub(super) lines: usize,
    /// When the newest record that counts was written.
    pub(super) latest: i64,
}

/// Reads all files of a log, oldest first.
///
/// # Errors
/// [`ServeError::Io`] when the directory or a file cannot be read.
pub(super) fn read(
    folder: &Path,
    preregistration: &str,
    horizon: i64,
    now: Timestamp,
) -> Result<Records, ServeError> {
    let mut reading = Reading {
        preregistration,
        horizon,
        now: now.0.saturating_add(CLOCK_TOLERANCE),
        records: Records::default(),
        arm_numbers: HashMap::new(),
        series_numbers: HashMap::new(),
        decided: HashSet::new(),
        latest: HashMap::new(),
    };
    for path in log::files(folder)? {
        let mut last = 0;
        let torn = lines::read(&path, |line, bytes| {
            last = line;
            reading.records.lines += 1;
            if let Err((kind, reason)) = bytes.map_or_else(
                |reason| Err((FaultKind::Malformed, reason)),
                |bytes| reading.take(bytes),
            ) {
                reading.fault(kind, &path, line, reason);
            }
        })?;
        if torn > 0 {
            let reason = format!("{torn} bytes without a line feed");
            reading.fault(FaultKind::Torn, &path, last + 1, reason);
        }
    }
    Ok(reading.records)
}

struct Reading<'a> {
    preregistration: &'a str,
    horizon: i64,
    now: i64,
    records: Records,
    arm_numbers: HashMap<String, u16>,
    series_numbers: HashMap<Instrument, Vec<(Timeframe, u32)>>,
    decided: HashSet<(u32, u16, i64)>,
    latest: HashMap<(u32, u16), i64>,
}

type Taken = Result<(), (FaultKind, String)>;

impl Reading<'_> {
    fn fault(&mut self, kind: FaultKind, path: &Path, line: usize, reason: String) {
        let faults = &mut self.records.faults;
        *faults.counts.entry(kind).or_default() += 1;
        if faults.first.len() < TOLD {
            faults.first.push(Fault {
                kind,
                path: path.to_owned(),
                line,
                reason,
            });
        }
    }

    fn take(&mut self, bytes: &[u8]) -> Taken {
        let entry = Entry::parse(bytes).map_err(|reason| (kind_of(bytes), reason))?;
        let at = entry.at();
        if at.0 > self.now {
            return Err((
                FaultKind::FutureDated,
                format!("written at {at}, after now"),
            ));
        }
        match entry {
            Entry::Decision(decision) => self.decision(decision)?,
            Entry::Outcome(outcome) => self.outcome(outcome)?,
            Entry::Event(_) => {}
        }
        self.records.latest = self.records.latest.max(at.0);
        Ok(())
    }

    fn decision(&mut self, decision: Decision) -> Taken {
        if decision.preregistration != self.preregistration {
            let reason = "decided under another pre-registration".to_owned();
            return Err((FaultKind::ForeignQuestion, reason));
        }
        let time = decision.decision_time.0;
        if time > decision.decided_at.0.saturating_add(CLOCK_TOLERANCE) {
            let reason = format!("decided at {}, before its bar closed", decision.decided_at);
            return Err((FaultKind::FutureDated, reason));
        }
        let series = self.series(decision.instrument, decision.timeframe);
        let arm = self.arm(decision.arm);
        if !self.decided.insert((series, arm, time)) {
            let reason = format!("`{}` was decided by this arm already", decision.id);
            return Err((FaultKind::Duplicate, reason));
        }
        let latest = self.latest.entry((series, arm)).or_insert(time);
        if time < *latest {
            let reason = format!("`{}` comes after a later decision", decision.id);
            return Err((FaultKind::OutOfOrder, reason));
        }
        *latest = time;
        self.records.decisions.push(Decided {
            series,
            arm,
            role: decision.role,
            late: decision.late,
            time,
            price: decision.price,
            choice: Choice {
                decision: decision.decision,
                probabilities: decision.probabilities,
            },
        });
        Ok(())
    }

    fn outcome(&mut self, outcome: Outcome) -> Taken {
        let time = outcome.decision_time.0;
        if outcome.matured_at.0 - time != self.horizon {
            let reason = format!("measured until {}, another horizon", outcome.matured_at);
            return Err((FaultKind::ForeignQuestion, reason));
        }
        if outcome.matured_at.0 > outcome.recorded_at.0.saturating_add(CLOCK_TOLERANCE) {
            let reason = format!(
                "recorded at {}, before its horizon ended",
                outcome.recorded_at
            );
            return Err((FaultKind::FutureDated, reason));
        }
        let happened = outcome.label.zip(outcome.outcome_return);
        let happened = happened.map(|(label, change)| Happened {
            label: label.0,
            change,
        });
        let series = self.series(outcome.instrument, outcome.timeframe);
        match self.records.outcomes.entry((series, time)) {
            std::collections::hash_map::Entry::Occupied(_) => {
                let reason = format!("`{}` has an outcome already", outcome.id);
                Err((FaultKind::Duplicate, reason))
            }
            std::collections::hash_map::Entry::Vacant(slot) => {
                slot.insert(happened);
                Ok(())
            }
        }
    }

    fn arm(&mut self, name: String) -> u16 {
        if let Some(&number) = self.arm_numbers.get(&name) {
            return number;
        }
        // A log with more arms than this number holds would be another kind of log.
        let number = u16::try_from(self.records.arms.len()).unwrap_or(u16::MAX);
        self.records.arms.push(name.clone());
        self.arm_numbers.insert(name, number);
        number
    }

    fn series(&mut self, instrument: Instrument, timeframe: Timeframe) -> u32 {
        let known = self.series_numbers.get(&instrument);
        let found = known.and_then(|all| all.iter().find(|(own, _)| *own == timeframe));
        if let Some(&(_, number)) = found {
            return number;
        }
        let number = self.records.series.len() as u32;
        self.records.series.push((instrument.clone(), timeframe));
        let own = self.series_numbers.entry(instrument).or_default();
        own.push((timeframe, number));
        number
    }
}

/// Tells a record of another layout from something that is no record.
fn kind_of(bytes: &[u8]) -> FaultKind {
    #[derive(Deserialize)]
    struct Probe {
        schema: u32,
    }
    match serde_json::from_slice::<Probe>(bytes) {
        Ok(probe) if probe.schema != SCHEMA => FaultKind::ForeignSchema,
        _ => FaultKind::Malformed,
    }
}
