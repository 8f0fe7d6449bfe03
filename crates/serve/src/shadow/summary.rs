//! What the dashboard shows, as JSON: everything is computed from the log.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use market::Timestamp;
use serde_json::{Value, json};

use super::board::{Board, LATENCY_BOUNDS};
use super::record::Mode;
use crate::class;
use crate::registry::Change;
use crate::verdict;

/// Records shown.
const RECORDS: usize = 40;
/// Events and promotions shown.
const EVENTS: usize = 40;
/// A verdict is at least so old before another is made.
const VERDICT_AGE: Duration = Duration::from_secs(15);

/// The verdict on a log, kept for a while: it reads the whole log.
#[derive(Debug)]
pub struct Verdicts {
    folder: PathBuf,
    knowledge_cutoff: Option<Timestamp>,
    kept: Mutex<Option<Kept>>,
}

#[derive(Debug)]
struct Kept {
    made: Instant,
    sequence: u64,
    value: Value,
}

impl Verdicts {
    /// Judges the log in `folder`; figures are split at the end of what the base model may have
    /// read, if that is known.
    pub fn new(folder: PathBuf, knowledge_cutoff: Option<Timestamp>) -> Self {
        Self {
            folder,
            knowledge_cutoff,
            kept: Mutex::new(None),
        }
    }

    /// Returns the verdict, or `{"error": ...}`. One thread makes it; the others wait for it.
    fn get(&self, sequence: u64, now: Timestamp) -> Value {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(kept) = &*kept
            && (kept.sequence == sequence || kept.made.elapsed() < VERDICT_AGE)
        {
            return kept.value.clone();
        }
        let settings = verdict::Settings {
            now,
            knowledge_cutoff: self.knowledge_cutoff,
        };
        let value = match verdict::judge(&self.folder, &settings) {
            Ok(verdict) => serde_json::to_value(&verdict)
                .unwrap_or_else(|error| json!({"error": error.to_string()})),
            Err(error) => json!({"error": error.to_string()}),
        };
        *kept = Some(Kept {
            made: Instant::now(),
            sequence,
            value: value.clone(),
        });
        value
    }
}

/// What a summary is made of.
pub(crate) struct Parts<'a> {
    pub(crate) board: &'a Board,
    pub(crate) verdicts: &'a Verdicts,
    pub(crate) promotions: &'a [Change],
    pub(crate) mode: Mode,
    pub(crate) now: Timestamp,
}

/// Returns the summary, with the bars of an instrument, or of the first one.
pub(crate) fn of(parts: &Parts<'_>, instrument: Option<&str>) -> Value {
    let board = parts.board;
    let (_, health) = board.health();
    let counts = board.counts();
    let newest = |values: Vec<Value>| -> Vec<Value> {
        let first = values.len().saturating_sub(EVENTS);
        values[first..].iter().rev().cloned().collect()
    };
    let recent: Vec<Value> = board
        .recent(RECORDS)
        .iter()
        .filter_map(|shown| serde_json::from_str(&shown.line).ok())
        .collect();
    json!({
        "mode": parts.mode,
        "now": parts.now,
        "health": health,
        "arms": board.arms(),
        "instruments": board.instruments(),
        "chart": chart(board, instrument),
        "verdict": parts.verdicts.get(board.sequence(), parts.now),
        "latency": {
            "bounds": LATENCY_BOUNDS,
            "counts": counts.latency,
            "passes": counts.passes,
            "sum_seconds": counts.latency_sum,
        },
        "recent": recent,
        "events": newest(values(&board.events())),
        "promotions": newest(values(parts.promotions)),
    })
}

fn values<T: serde::Serialize>(items: &[T]) -> Vec<Value> {
    items
        .iter()
        .filter_map(|item| serde_json::to_value(item).ok())
        .collect()
}

/// Returns the last bars of an instrument with every arm's decisions on them.
fn chart(board: &Board, instrument: Option<&str>) -> Value {
    let Some((instrument, candles)) = board.candles(instrument) else {
        return Value::Null;
    };
    let figures = board.figures();
    let from = candles.first().map_or(i64::MAX, |candle| candle.time);
    let place = figures
        .instruments
        .iter()
        .position(|known| *known == instrument);
    let decisions: Vec<Value> = figures
        .decisions
        .iter()
        .filter(|row| Some(usize::from(row.instrument)) == place && row.time > from)
        .map(|row| {
            let outcome = figures.outcomes.get(&(row.instrument, row.time));
            json!({
                "time": row.time,
                "arm": figures.arms.get(usize::from(row.arm)),
                "decision": class::name(usize::from(row.class)),
                "probabilities": row.probabilities,
                "price": row.price,
                "late": row.late,
                "label": outcome.map(|(label, _)| class::name(usize::from(*label))),
                "return": outcome.map(|(_, value)| value),
            })
        })
        .collect();
    let bars: Vec<Value> = candles
        .iter()
        .map(|candle| {
            let [open, high, low, close] = candle.prices;
            json!([candle.time, open, high, low, close])
        })
        .collect();
    json!({"instrument": instrument, "candles": bars, "decisions": decisions})
}
