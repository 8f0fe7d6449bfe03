//! What the service shows: the champion's last word on each instrument, the last records, and the
//! figures the dashboard and the metrics are made of.
//!
//! One lock over plain data, held for microseconds: whoever serves a request never waits for a
//! decision. Only what is on the disk is shown.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use market::{Bars, Instrument, Timestamp};
use serde_json::{Value, json};

use super::history::History;
use super::record::{ArmSheet, Decision, Entry, Event, Role};
use crate::class;

/// Records kept for the dashboard and for `GET /v1/events`.
const RECENT: usize = 256;
/// Bars kept of each instrument for its chart.
const CANDLES: usize = 240;
/// Upper bounds of the latency histogram, seconds.
pub const LATENCY_BOUNDS: [f64; 10] = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// What is shown, shared between the service and those who serve requests.
#[derive(Debug)]
pub struct Board {
    inner: Mutex<Inner>,
    changed: Condvar,
    started: Instant,
}

/// The data behind the lock.
#[derive(Debug, Default)]
struct Inner {
    arms: Vec<ArmSheet>,
    signals: BTreeMap<Instrument, Decision>,
    recent: VecDeque<Shown>,
    sequence: u64,
    figures: Figures,
    events: Vec<Event>,
    candles: BTreeMap<Instrument, VecDeque<Candle>>,
    storage: Option<String>,
    source: Option<String>,
    registry: Option<String>,
    stopping: bool,
    counts: Counts,
}

/// A record as it went by.
#[derive(Debug, Clone)]
pub struct Shown {
    /// Counts up from 1 while the process lives.
    pub sequence: u64,
    /// `decision`, `outcome` or `event`.
    pub kind: &'static str,
    /// The line of the log.
    pub line: String,
}

/// One bar of a chart.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Candle {
    /// Open time, Unix milliseconds.
    pub time: i64,
    /// Open, high, low and close.
    pub prices: [f64; 4],
}

/// Everything decided and settled, in little room.
#[derive(Debug, Clone, Default)]
pub struct Figures {
    /// The arms' names; decisions refer to them by place.
    pub arms: Vec<String>,
    /// The instruments; decisions refer to them by place.
    pub instruments: Vec<Instrument>,
    /// Decisions in the order they were made.
    pub decisions: Vec<Row>,
    /// Label and return by instrument and decision time.
    pub outcomes: BTreeMap<(u16, i64), (u8, f64)>,
}

/// One arm's decision, for figures.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Row {
    /// Decision time, Unix milliseconds.
    pub time: i64,
    /// The arm's and the instrument's place in [`Figures`].
    pub arm: u16,
    /// See `arm`.
    pub instrument: u16,
    /// The class decided for.
    pub class: u8,
    /// Whether it came too late to act on.
    pub late: bool,
    /// Calibrated probabilities.
    pub probabilities: [f32; class::COUNT],
    /// Last close.
    pub price: f64,
}

/// Counters of the process.
#[derive(Debug, Clone, Default)]
pub struct Counts {
    /// Bars decided, all arms together counting once.
    pub bars: u64,
    /// Requests answered, by status.
    pub requests: BTreeMap<u16, u64>,
    /// Times an arm's pass took, counted by [`LATENCY_BOUNDS`], and their sum in seconds.
    pub latency: [u64; LATENCY_BOUNDS.len()],
    /// See `latency`.
    pub latency_sum: f64,
    /// Passes.
    pub passes: u64,
}

impl Default for Board {
    fn default() -> Self {
        Self {
            inner: Mutex::new(Inner::default()),
            changed: Condvar::new(),
            started: Instant::now(),
        }
    }
}

impl Board {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Plain data is in order whatever happened to its last user.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Shows what an earlier service has logged.
    pub fn fill(&self, history: &History) {
        let mut inner = self.lock();
        for decision in &history.decisions {
            inner.decided(decision);
        }
        for outcome in &history.outcomes {
            let label = outcome.label.map(|class| class.0);
            inner.figures.settle(
                &outcome.instrument,
                outcome.decision_time,
                label.zip(outcome.outcome_return),
            );
        }
        inner.events.extend(history.events.iter().cloned());
        let last = history.decisions.len().saturating_sub(RECENT / 2);
        for decision in &history.decisions[last..] {
            inner.remember(&Entry::Decision(decision.clone()));
        }
    }

    /// Shows the arms, the champion first.
    pub fn seat(&self, arms: &[ArmSheet]) {
        self.lock().arms = arms.to_vec();
    }

    /// Shows entries that are on the disk.
    pub(crate) fn show(&self, entries: &[Entry]) {
        if entries.is_empty() {
            return;
        }
        let mut inner = self.lock();
        for entry in entries {
            match entry {
                Entry::Decision(decision) => inner.decided(decision),
                Entry::Outcome(outcome) => {
                    let label = outcome.label.map(|class| class.0);
                    inner.figures.settle(
                        &outcome.instrument,
                        outcome.decision_time,
                        label.zip(outcome.outcome_return),
                    );
                }
                Entry::Event(event) => inner.events.push(event.clone()),
            }
            inner.remember(entry);
        }
        drop(inner);
        self.changed.notify_all();
    }

    /// Shows the last bars of an instrument.
    pub fn bars(&self, bars: &Bars) {
        let first = bars.len().saturating_sub(CANDLES);
        let candles = (first..bars.len()).map(|row| Candle {
            time: bars.open_time[row],
            prices: [
                bars.open[row],
                bars.high[row],
                bars.low[row],
                bars.close[row],
            ],
        });
        let candles = candles.collect();
        self.lock().candles.insert(bars.instrument.clone(), candles);
    }

    /// Says why nothing is decided: the log cannot be written.
    pub(crate) fn storage(&self, fault: Option<String>) {
        self.lock().storage = fault;
    }

    /// Says why no new bars come.
    pub fn source(&self, fault: Option<String>) {
        self.lock().source = fault;
    }

    /// Says why the registry's champion is not seated; none while it is.
    pub fn registry(&self, fault: Option<String>) {
        self.lock().registry = fault;
    }

    /// Counts a pass over the arms.
    pub(crate) fn asked(&self, time: Duration, bars: usize) {
        let mut inner = self.lock();
        let counts = &mut inner.counts;
        let seconds = time.as_secs_f64();
        counts.bars += bars as u64;
        counts.passes += 1;
        counts.latency_sum += seconds;
        for (count, bound) in counts.latency.iter_mut().zip(LATENCY_BOUNDS) {
            *count += u64::from(seconds <= bound);
        }
    }

    /// Counts an answered request.
    pub(crate) fn answered(&self, status: u16) {
        *self.lock().counts.requests.entry(status).or_default() += 1;
    }

    /// Says that the service is about to end; ends every event stream.
    pub fn stop(&self) {
        self.lock().stopping = true;
        self.changed.notify_all();
    }

    /// Reports whether the service is about to end.
    pub(crate) fn is_stopping(&self) -> bool {
        self.lock().stopping
    }

    /// Returns the champion's last decision on an instrument. The name may be spelled as in file
    /// names (`BTC_USDT` for `BTC/USDT`).
    pub(crate) fn signal(&self, name: &str) -> Result<Decision, Vec<String>> {
        let inner = self.lock();
        let spelled = |instrument: &Instrument| {
            let text = instrument.as_str();
            text == name || text.replace(['/', ':'], "_") == name
        };
        let found = inner.signals.iter().find(|(known, _)| spelled(known));
        match found {
            Some((_, decision)) => Ok(decision.clone()),
            None => Err(inner.signals.keys().map(ToString::to_string).collect()),
        }
    }

    /// Returns the records after `after`, waiting for the first of them at most `patience`.
    pub(crate) fn since(&self, after: u64, patience: Duration) -> Vec<Shown> {
        let mut inner = self.lock();
        if inner.sequence <= after && !inner.stopping {
            let waited = self.changed.wait_timeout(inner, patience);
            inner = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        let later = inner.recent.iter().filter(|shown| shown.sequence > after);
        later.cloned().collect()
    }

    /// Returns the number of the last record.
    pub(crate) fn sequence(&self) -> u64 {
        self.lock().sequence
    }

    /// Returns the last records, newest first.
    pub(crate) fn recent(&self, most: usize) -> Vec<Shown> {
        self.lock()
            .recent
            .iter()
            .rev()
            .take(most)
            .cloned()
            .collect()
    }

    /// Returns a copy of the figures.
    pub fn figures(&self) -> Figures {
        self.lock().figures.clone()
    }

    /// Returns a copy of the counters.
    pub(crate) fn counts(&self) -> Counts {
        self.lock().counts.clone()
    }

    /// Returns the arms, the champion first.
    pub(crate) fn arms(&self) -> Vec<ArmSheet> {
        self.lock().arms.clone()
    }

    /// Returns the events in order.
    pub(crate) fn events(&self) -> Vec<Event> {
        self.lock().events.clone()
    }

    /// Returns the last bars of an instrument, or of the first one.
    pub(crate) fn candles(&self, name: Option<&str>) -> Option<(Instrument, Vec<Candle>)> {
        let inner = self.lock();
        let wanted = |instrument: &&Instrument| name.is_none_or(|name| instrument.as_str() == name);
        let instrument = inner.candles.keys().find(wanted)?;
        let candles = inner.candles[instrument].iter().copied().collect();
        Some((instrument.clone(), candles))
    }

    /// Returns the instruments with bars.
    pub(crate) fn instruments(&self) -> Vec<Instrument> {
        self.lock().candles.keys().cloned().collect()
    }

    /// Returns the state of health: whether all is well, and what is not.
    pub(crate) fn health(&self) -> (bool, Value) {
        let inner = self.lock();
        let well = inner.storage.is_none() && !inner.stopping;
        let last = inner.signals.values().map(|d| d.decision_time).max();
        let value = json!({
            "status": if well { "ok" } else { "failing" },
            "uptime_seconds": self.started.elapsed().as_secs(),
            "last_decision_time": last,
            "champion": inner.arms.first().map(|arm| arm.name.clone()),
            "storage": inner.storage,
            "source": inner.source,
            "registry": inner.registry,
            "stopping": inner.stopping,
        });
        (well, value)
    }
}

impl Inner {
    fn decided(&mut self, decision: &Decision) {
        if decision.role == Role::Champion {
            let newer = self
                .signals
                .get(&decision.instrument)
                .is_none_or(|last| last.decision_time <= decision.decision_time);
            if newer {
                self.signals
                    .insert(decision.instrument.clone(), decision.clone());
            }
        }
        let arm = place(&mut self.figures.arms, &decision.arm);
        let instrument = place(&mut self.figures.instruments, &decision.instrument);
        self.figures.decisions.push(Row {
            time: decision.decision_time.0,
            arm,
            instrument,
            class: decision.decision as u8,
            late: decision.late,
            probabilities: decision.probabilities.map(|p| p as f32),
            price: decision.price,
        });
    }

    fn remember(&mut self, entry: &Entry) {
        let Ok(line) = entry.to_line() else { return };
        self.sequence += 1;
        self.recent.push_back(Shown {
            sequence: self.sequence,
            kind: match entry {
                Entry::Decision(_) => "decision",
                Entry::Outcome(_) => "outcome",
                Entry::Event(_) => "event",
            },
            line: String::from_utf8_lossy(&line).trim_end().to_owned(),
        });
        if self.recent.len() > RECENT {
            self.recent.pop_front();
        }
    }
}

impl Figures {
    fn settle(&mut self, instrument: &Instrument, time: Timestamp, outcome: Option<(usize, f64)>) {
        let place = place(&mut self.instruments, instrument);
        if let Some((label, value)) = outcome {
            self.outcomes.insert((place, time.0), (label as u8, value));
        }
    }
}

/// Returns the place of an item in a list, appending it if it is not there.
fn place<T: PartialEq + Clone>(list: &mut Vec<T>, item: &T) -> u16 {
    let found = list.iter().position(|known| known == item);
    found.unwrap_or_else(|| {
        list.push(item.clone());
        list.len() - 1
    }) as u16
}
