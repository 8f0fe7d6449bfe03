//! Who is compared with whom, and on which decisions.
//!
//! A champion reigns from its first decision in that role until another arm takes it. Evidence is
//! counted within the present reign only: what an arm was worth against somebody else does not
//! matter, and an e-process starts afresh with its question.

use std::collections::HashMap;

use super::reader::{Choice, Happened, Records};
use crate::shadow::Role;

/// A decision that both arms made in time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Pair {
    pub(super) series: u32,
    pub(super) time: i64,
    pub(super) champion: Choice,
    pub(super) challenger: Choice,
    /// `None` until it has matured, and where there never will be an outcome.
    pub(super) happened: Option<Happened>,
    /// Whether its outcome is known, or will not come any more.
    pub(super) settled: bool,
}

/// The champion of now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Reign {
    pub(super) arm: u16,
    /// The arm before it.
    pub(super) before: Option<u16>,
    /// Its first decision as champion.
    pub(super) since: i64,
}

/// Returns the reign in force at the end of the log, none for a log without a champion.
pub(super) fn reign(records: &Records) -> Option<Reign> {
    let mut found: Option<Reign> = None;
    for decided in &records.decisions {
        if decided.role != Role::Champion {
            continue;
        }
        found = match found {
            Some(reign) if reign.arm == decided.arm => Some(reign),
            other => Some(Reign {
                arm: decided.arm,
                before: other.map(|reign| reign.arm),
                since: decided.time,
            }),
        };
    }
    found
}

/// Counts of decisions that could not be paired.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Unpaired {
    /// Decided too late to act on, by either arm.
    pub late: usize,
    /// Of the challenger alone.
    pub without_champion: usize,
    /// Before the champion's reign.
    pub before_reign: usize,
    /// Waiting for their outcome.
    pub open: usize,
    /// Without an outcome for ever: bars are missing, or nobody wrote it down within another
    /// horizon.
    pub void: usize,
}

/// Returns the pairs of the champion and one challenger, in order of time and series, and what was
/// left out.
pub(super) fn pairs(
    records: &Records,
    reign: Reign,
    challenger: u16,
    horizon: i64,
) -> (Vec<Pair>, Unpaired) {
    let overdue = records.latest.saturating_sub(horizon.saturating_mul(2));
    let mut unpaired = Unpaired::default();
    let of_champion = records.decisions.iter().filter(|d| d.arm == reign.arm);
    let champion: HashMap<(u32, i64), (bool, Choice)> = of_champion
        .map(|d| ((d.series, d.time), (d.late, d.choice)))
        .collect();
    let mut pairs = Vec::new();
    for own in records.decisions.iter().filter(|d| d.arm == challenger) {
        let key = (own.series, own.time);
        if own.time < reign.since {
            unpaired.before_reign += 1;
            continue;
        }
        let Some(&(late, choice)) = champion.get(&key) else {
            unpaired.without_champion += 1;
            continue;
        };
        if late || own.late {
            unpaired.late += 1;
            continue;
        }
        let outcome = records.outcomes.get(&key);
        let settled = outcome.is_some() || own.time <= overdue;
        match outcome {
            Some(Some(_)) => {}
            _ if settled => unpaired.void += 1,
            _ => unpaired.open += 1,
        }
        pairs.push(Pair {
            series: own.series,
            time: own.time,
            champion: choice,
            challenger: own.choice,
            happened: outcome.copied().flatten(),
            settled,
        });
    }
    pairs.sort_unstable_by_key(|pair| (pair.time, pair.series));
    (pairs, unpaired)
}
