//! A log's decisions as signals for a backtest elsewhere: one JSON object a line, each saying from
//! when on it could have been acted upon.
//!
//! Field names are those of `GET /v1/signal/{instrument}`, so that one reader does for both. A file
//! holds the decisions of one question: those under another pre-registration are left out and
//! counted. Nothing is computed here but times; whether a signal is used is the reader's business.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use market::{Instrument, Timeframe, Timestamp};
use serde::Serialize;

use super::history::{History, Oddity, OddityKind};
use super::preregistration::Preregistration;
use super::record::{Decision, Role};
use crate::class::{self, ByClass};
use crate::error::ServeError;

/// Version of the layout.
pub const SCHEMA: u32 = 1;
/// What every file of signals begins with.
pub const FIRST_BYTES: &str = "{\"schema\":1,\"instrument\":";

/// How times of the log become times of signals, all in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Timing {
    /// How long a signal outlives the next decision's bar, as the service's `late_after`.
    pub late_after: i64,
    /// What is added to the time of the decision: how long it takes from there to an order.
    pub delay: i64,
}

/// What was written, and what was not.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Signals {
    /// The lines, in the order in which they became available.
    pub text: String,
    /// How many there are of each arm.
    pub arms: BTreeMap<String, usize>,
    /// What was decided about.
    pub instruments: BTreeSet<Instrument>,
    /// How many were decided late.
    pub late: usize,
    /// Decision times of the first and the last.
    pub span: Option<(Timestamp, Timestamp)>,
    /// Decisions under another pre-registration, left out.
    pub foreign: usize,
    /// Lines of the log that are odd; all but those out of order are left out.
    pub oddities: Vec<Oddity>,
}

/// A line as written.
#[derive(Serialize)]
struct Line<'a> {
    schema: u32,
    instrument: &'a Instrument,
    timeframe: Timeframe,
    decision_time: Timestamp,
    decided_at: Timestamp,
    available_at: Timestamp,
    valid_until: Timestamp,
    late: bool,
    arm: &'a str,
    role: Role,
    decision: &'static str,
    probabilities: ByClass<f64>,
    price: f64,
    adapter_sha256: Option<&'a str>,
    prompt_sha256: &'a str,
    id: &'a str,
}

impl Signals {
    /// Reads the log in `folder` and returns its decisions, those of `arm` alone where one is
    /// named. `now` is the reader's clock.
    ///
    /// # Errors
    /// [`ServeError::Io`] when log or pre-registration cannot be read, [`ServeError::Line`] when
    /// the pre-registration is none or does not tell how often is decided.
    pub fn of(
        folder: &Path,
        now: Timestamp,
        arm: Option<&str>,
        timing: Timing,
    ) -> Result<Self, ServeError> {
        let (rule, digest) = Preregistration::read(folder)?;
        let stride = stride(&rule).ok_or_else(|| ServeError::Line {
            path: folder.join(super::preregistration::FILE),
            line: 1,
            reason: "`dataset.decision_stride_bars` is no number above 0".to_owned(),
        })?;
        let history = History::read(folder, now)?;
        let mut found = Self {
            oddities: history.oddities,
            ..Self::default()
        };
        let mut used: Vec<&Decision> = Vec::new();
        for decision in &history.decisions {
            if decision.preregistration != digest {
                found.foreign += 1;
                continue;
            }
            // Every arm is counted, so that a name that is not there can be told apart.
            let count = found.arms.entry(decision.arm.clone()).or_default();
            if arm.is_none_or(|arm| arm == decision.arm) {
                *count += 1;
                used.push(decision);
            }
        }
        used.sort_by_key(|decision| {
            (
                decision.decided_at.max(decision.decision_time),
                decision.decision_time,
            )
        });
        for decision in &used {
            found.add(decision, stride, timing)?;
        }
        Ok(found)
    }

    /// Returns how many lines there are.
    pub fn count(&self) -> usize {
        self.arms.values().sum()
    }

    /// Returns how many lines of the log were left out as odd.
    pub fn left_out(&self) -> usize {
        let out = |oddity: &&Oddity| oddity.kind != OddityKind::OutOfOrder;
        self.oddities.iter().filter(out).count()
    }

    fn add(&mut self, decision: &Decision, stride: i64, timing: Timing) -> Result<(), ServeError> {
        let time = decision.decision_time;
        let bar = decision.timeframe.milliseconds();
        // A clock that was behind while the bar closed makes nothing known before its close.
        let decided = decision.decided_at.max(time);
        let line = Line {
            schema: SCHEMA,
            instrument: &decision.instrument,
            timeframe: decision.timeframe,
            decision_time: time,
            decided_at: decision.decided_at,
            available_at: Timestamp(decided.0.saturating_add(timing.delay)),
            valid_until: Timestamp(time.0 + bar * stride + timing.late_after),
            late: decision.late,
            arm: &decision.arm,
            role: decision.role,
            decision: class::name(decision.decision),
            probabilities: ByClass::from_array(decision.probabilities),
            price: decision.price,
            adapter_sha256: decision.adapter_sha256.as_deref(),
            prompt_sha256: &decision.prompt_sha256,
            id: &decision.id,
        };
        let written = serde_json::to_string(&line).map_err(|error| ServeError::Entry {
            reason: error.to_string(),
        })?;
        self.text += &written;
        self.text.push('\n');
        self.late += usize::from(decision.late);
        self.instruments.insert(decision.instrument.clone());
        let (first, last) = self.span.unwrap_or((time, time));
        self.span = Some((first.min(time), last.max(time)));
        Ok(())
    }
}

/// Returns how many bars lie between two decisions.
fn stride(rule: &Preregistration) -> Option<i64> {
    let bars = rule.dataset.get("decision_stride_bars")?.as_u64()?;
    i64::try_from(bars).ok().filter(|bars| *bars > 0)
}

#[cfg(test)]
#[path = "signals_tests.rs"]
mod tests;
