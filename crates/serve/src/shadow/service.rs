//! The one path by which bars become decisions, live and in a replay alike.
//!
//! [`Service::advance`] takes bars and a stretch of time. At every instant of it, in order, it
//! first writes down the outcomes that mature then, and then asks all arms about every instrument
//! whose bar closes then: one prompt an instrument, all arms in one pass. What is in the log
//! already is not written again; so a service that was killed goes on as if it had not been, and
//! the final log of a replay is the same byte for byte.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Instant;

use dataset::{DatasetSettings, Series, Templates, Unlabelled, render_prompt};
use market::{Bars, Instrument, Timestamp};
use stats::argmax;

use super::board::Board;
use super::history::History;
use super::judge::{Answer, Judge};
use super::log::ShadowLog;
use super::preregistration::sha256;
use super::record::{Class, Decision, Entry, Event, EventKind, Mode, Outcome, decision_id};
use crate::error::ServeError;

/// What a service decides about and how it is told.
#[derive(Debug, Clone)]
pub struct Setup {
    /// The settings that prompts and labels are made by.
    pub settings: DatasetSettings,
    /// The templates of the prompts.
    pub templates: Templates,
    /// Where the bars come from.
    pub mode: Mode,
    /// A decision made so long after its bar's close is late, milliseconds.
    pub late_after: i64,
    /// SHA-256 of the base model's file.
    pub model_sha256: String,
    /// SHA-256 of templates and settings.
    pub template_sha256: String,
    /// SHA-256 of the pre-registration.
    pub preregistration: String,
    /// The present; not asked in a replay.
    pub clock: fn() -> Timestamp,
}

/// The bars of one instrument, made ready for decisions.
pub struct Ready<'a> {
    bars: &'a Bars,
    series: Series<'a>,
}

impl<'a> Ready<'a> {
    /// Computes indicators and outcomes.
    ///
    /// # Errors
    /// As [`Series::new`].
    pub fn new(
        bars: &'a Bars,
        sentiment: Option<&'a market::Surroundings>,
        settings: &'a DatasetSettings,
    ) -> Result<Self, dataset::DatasetError> {
        Ok(Self {
            bars,
            series: Series::new(bars, sentiment, settings)?,
        })
    }
}

/// Champion and challengers at work on one log.
pub struct Service<J> {
    setup: Setup,
    judge: J,
    log: ShadowLog,
    board: Arc<Board>,
    /// Which arms have decided, by instrument and decision time.
    decided: BTreeMap<(Timestamp, Instrument), BTreeSet<String>>,
    /// Decisions without an outcome, by the end of their horizon.
    open: BTreeSet<(Timestamp, Instrument)>,
    /// Entries on their way to the board: shown once they are on the disk.
    unshown: Vec<Entry>,
    /// Whether the start is in the log.
    told: bool,
}

impl<J: Judge> Service<J> {
    /// Takes up a log where its history ends.
    pub fn resume(
        setup: Setup,
        judge: J,
        log: ShadowLog,
        history: &History,
        board: Arc<Board>,
    ) -> Self {
        let horizon = setup.settings.horizon();
        let mut decided: BTreeMap<(Timestamp, Instrument), BTreeSet<String>> = BTreeMap::new();
        let mut open = BTreeSet::new();
        for decision in &history.decisions {
            let instrument = decision.instrument.clone();
            let key = (decision.decision_time, instrument.clone());
            decided.entry(key).or_default().insert(decision.arm.clone());
            let end = Timestamp(decision.decision_time.0 + horizon);
            open.insert((end, instrument));
        }
        for outcome in &history.outcomes {
            open.remove(&(outcome.matured_at, outcome.instrument.clone()));
        }
        let started = history
            .events
            .iter()
            .any(|event| event.event == EventKind::Start);
        board.fill(history);
        board.seat(judge.arms());
        Self {
            told: started && setup.mode == Mode::Replay,
            setup,
            judge,
            log,
            board,
            decided,
            open,
            unshown: Vec::new(),
        }
    }

    /// Returns what decides.
    pub fn judge(&mut self) -> &mut J {
        &mut self.judge
    }

    /// Returns the close of the last bar that was decided, whichever instrument's.
    pub fn last_decided(&self) -> Option<Timestamp> {
        self.decided.keys().next_back().map(|(time, _)| *time)
    }

    /// Writes down that the service begins; a replay does so once.
    ///
    /// # Errors
    /// As [`Service::flush`].
    pub fn start(&mut self, at: Timestamp) -> Result<(), ServeError> {
        if std::mem::replace(&mut self.told, true) {
            return Ok(());
        }
        self.tell(EventKind::Start, at, None)
    }

    /// Writes down an event with the arms as they are now.
    ///
    /// # Errors
    /// As [`Service::flush`].
    pub fn tell(
        &mut self,
        event: EventKind,
        at: Timestamp,
        text: Option<String>,
    ) -> Result<(), ServeError> {
        self.board.seat(self.judge.arms());
        let event = Event {
            event,
            at,
            mode: self.setup.mode,
            preregistration: self.setup.preregistration.clone(),
            arms: self.judge.arms().to_vec(),
            text,
        };
        self.write(vec![Entry::Event(event)])
    }

    /// Writes what an earlier failure left waiting, and shows it once it is on the disk.
    ///
    /// # Errors
    /// [`ServeError::Io`] while that fails; nothing is lost as long as the process lives.
    pub fn flush(&mut self) -> Result<(), ServeError> {
        self.write(Vec::new())
    }

    fn write(&mut self, entries: Vec<Entry>) -> Result<(), ServeError> {
        let written = self.log.append(&entries);
        if let Err(ServeError::Entry { .. }) = written {
            return written;
        }
        self.unshown.extend(entries);
        match written {
            Ok(()) => {
                self.board.storage(None);
                self.board.show(&std::mem::take(&mut self.unshown));
                Ok(())
            }
            Err(error) => {
                self.board.storage(Some(error.to_string()));
                Err(error)
            }
        }
    }

    /// Decides and settles everything from after `range.0` up to and with `range.1`, in order of
    /// time. `progress` receives (instants done, instants in all) after each instant and may end
    /// the stretch early.
    ///
    /// Returns how many instants were decided.
    ///
    /// # Errors
    /// [`ServeError::Io`] when the log cannot be written: nothing further is decided.
    /// [`ServeError::Judge`] when the model cannot answer, [`ServeError::View`] when a market
    /// cannot be shown.
    pub fn advance(
        &mut self,
        ready: &[Ready<'_>],
        range: (Timestamp, Timestamp),
        progress: &mut dyn FnMut(&mut J, usize, usize) -> ControlFlow<()>,
    ) -> Result<usize, ServeError> {
        self.flush()?;
        let plan = self.plan(ready, range);
        let total = plan.len();
        let mut done = 0;
        let mut plan = plan.into_iter().peekable();
        // Horizons whose end the bars do not reach yet: looked at again the next time.
        let mut waiting = BTreeSet::new();
        loop {
            let matures = self.open.first().map(|(time, _)| *time);
            let matures = matures.filter(|time| *time <= range.1);
            let decides = plan.peek().map(|(time, _)| *time);
            let Some(time) = matures.into_iter().chain(decides).min() else {
                break;
            };
            let mut entries = self.settle(ready, time, &mut waiting);
            let rows = plan.next_if(|(planned, _)| *planned == time);
            if let Some((_, rows)) = &rows {
                entries.extend(self.decide(ready, time, rows)?);
            }
            let written = self.write(entries);
            if written.is_err() {
                self.open.append(&mut waiting);
            }
            written?;
            if rows.is_some() {
                done += 1;
                if progress(&mut self.judge, done, total).is_break() {
                    break;
                }
            }
        }
        self.open.append(&mut waiting);
        Ok(done)
    }

    /// Lists the instants at which some arm has yet to decide, with the bars that close then. All
    /// bars of such an instant are listed: arms are asked about them together, always.
    fn plan(
        &self,
        ready: &[Ready<'_>],
        (after, until): (Timestamp, Timestamp),
    ) -> BTreeMap<Timestamp, Vec<(usize, usize)>> {
        let mut plan: BTreeMap<Timestamp, Vec<(usize, usize)>> = BTreeMap::new();
        let mut due = BTreeSet::new();
        for (index, ready) in ready.iter().enumerate() {
            let bars = ready.bars;
            let first = bars.open_time.partition_point(|open| *open < after.0);
            let first = first.saturating_sub(1);
            for row in first..bars.len() {
                let time = Timestamp(bars.close_time(row));
                let wanted = time > after
                    && time <= until
                    && self.setup.settings.is_decision_time(time)
                    && ready.series.view(row).is_some();
                if !wanted {
                    continue;
                }
                plan.entry(time).or_default().push((index, row));
                let decided = self.decided.get(&(time, bars.instrument.clone()));
                let whole =
                    self.judge.arms().iter().all(|arm| {
                        decided.is_some_and(|decided| decided.contains(arm.name.as_str()))
                    });
                if !whole {
                    due.insert(time);
                }
            }
        }
        plan.retain(|time, _| due.contains(time));
        plan
    }

    /// Returns the outcomes of horizons that end at `time`.
    fn settle(
        &mut self,
        ready: &[Ready<'_>],
        time: Timestamp,
        waiting: &mut BTreeSet<(Timestamp, Instrument)>,
    ) -> Vec<Entry> {
        let mut entries = Vec::new();
        while let Some((end, instrument)) = self.open.pop_first() {
            if end > time {
                self.open.insert((end, instrument));
                break;
            }
            match self.outcome(ready, &instrument, end) {
                Some(outcome) => entries.push(Entry::Outcome(outcome)),
                None => {
                    waiting.insert((end, instrument));
                }
            }
        }
        entries
    }

    /// Returns what became of a decision; none while the bars do not tell.
    fn outcome(
        &self,
        ready: &[Ready<'_>],
        instrument: &Instrument,
        matured_at: Timestamp,
    ) -> Option<Outcome> {
        let settings = &self.setup.settings;
        let decision_time = Timestamp(matured_at.0 - settings.horizon());
        let ready = ready
            .iter()
            .find(|ready| ready.bars.instrument == *instrument)?;
        let timeframe = ready.bars.timeframe;
        let row = row_closing_at(ready.bars, decision_time)?;
        let (label, outcome_return, void) = match &ready.series.outcomes().rows[row] {
            Ok(outcome) => (
                Some(Class(outcome.label.index())),
                Some(outcome.outcome_return),
                None,
            ),
            Err(Unlabelled::Gap) => (None, None, Some("gap".to_owned())),
            Err(Unlabelled::Tail | Unlabelled::Warmup) => return None,
        };
        Some(Outcome {
            id: decision_id(instrument, timeframe, decision_time),
            instrument: instrument.clone(),
            timeframe,
            decision_time,
            matured_at,
            recorded_at: self.now(matured_at),
            label,
            outcome_return,
            void,
        })
    }

    /// Asks all arms about the bars that close at `time`; returns what is not in the log yet.
    fn decide(
        &mut self,
        ready: &[Ready<'_>],
        time: Timestamp,
        rows: &[(usize, usize)],
    ) -> Result<Vec<Entry>, ServeError> {
        let mut views = Vec::with_capacity(rows.len());
        let mut prompts = Vec::with_capacity(rows.len());
        for (index, row) in rows {
            let Some(view) = ready[*index].series.view(*row) else {
                continue;
            };
            let setup = &self.setup;
            let prompt = render_prompt(&view, &setup.templates, &setup.settings)
                .map_err(|source| ServeError::View(Box::new(source)))?;
            views.push(view);
            prompts.push(prompt);
        }
        let started = Instant::now();
        let judged = self
            .judge
            .judge(&prompts)
            .map_err(|source| ServeError::Judge { time, source })?;
        let latency_ms = (self.setup.mode == Mode::Live)
            .then(|| (started.elapsed().as_secs_f64() * 1e6).round() / 1e3);
        self.board.asked(started.elapsed(), prompts.len());
        let decided_at = self.now(time);
        let mut entries = Vec::new();
        for (place, (view, prompt)) in views.iter().zip(&prompts).enumerate() {
            let key = (time, view.instrument.clone());
            let arms = self.decided.entry(key).or_default();
            for (sheet, answers) in self.judge.arms().iter().zip(&judged.answers) {
                if !arms.insert(sheet.name.clone()) {
                    continue;
                }
                let Answer { probabilities, raw } = answers[place];
                entries.push(Entry::Decision(Decision {
                    preregistration: self.setup.preregistration.clone(),
                    id: decision_id(&view.instrument, view.timeframe, time),
                    instrument: view.instrument.clone(),
                    timeframe: view.timeframe,
                    decision_time: time,
                    decided_at,
                    late: decided_at.0 - time.0 > self.setup.late_after,
                    arm: sheet.name.clone(),
                    role: sheet.role,
                    decision: argmax(&probabilities),
                    probabilities,
                    raw_probabilities: raw,
                    price: view.price.value,
                    model_sha256: self.setup.model_sha256.clone(),
                    adapter_sha256: sheet.adapter_sha256.clone(),
                    template_sha256: self.setup.template_sha256.clone(),
                    prompt_sha256: sha256(prompt.as_bytes()),
                    prompt_tokens: judged.tokens[place],
                    latency_ms,
                }));
            }
            let end = Timestamp(time.0 + self.setup.settings.horizon());
            self.open.insert((end, view.instrument.clone()));
        }
        Ok(entries)
    }

    /// Returns the present: the clock's, or in a replay the time of the history.
    fn now(&self, time: Timestamp) -> Timestamp {
        match self.setup.mode {
            Mode::Live => (self.setup.clock)(),
            Mode::Replay => time,
        }
    }
}

/// Returns the row of the bar that closes at an instant.
fn row_closing_at(bars: &Bars, time: Timestamp) -> Option<usize> {
    let after = bars.open_time.partition_point(|open| *open < time.0);
    let row = after.checked_sub(1)?;
    (bars.close_time(row) == time.0).then_some(row)
}

#[cfg(test)]
#[path = "service_tests.rs"]
mod tests;
