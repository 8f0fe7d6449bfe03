//! Makes the examples, pair by pair.
//!
//! First a thin sample of all pairs gives the history by which certainty is calibrated; then each
//! pair gives its examples. Pairs are worked on side by side; nothing depends on the number of
//! threads.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::{ControlFlow, Range};
use std::path::Path;

use market::Timestamp;
use rayon::prelude::*;
use stats::uniqueness;

use super::answers::{Judged, Shown, Writer, check_numbers};
use super::draw::spread;
use super::evidence::{Depth, Evidence};
use super::guard::{refuse_one_verdict, refuse_unknown_costs, too_good};
use super::past::Past;
use super::pool::{History, Sampled};
use super::sheet::{BridgeSheet, PairCounts};
use super::signal::Signal;
use super::table::{Source, Table};
use super::words::Words;
use super::{About, BridgeExample, BridgePair, BridgeSettings, Direction, Kind, Upstream, Verdict};
use crate::ensemble::{Ensemble, EnsembleSettings};
use crate::{DatasetError, Facts, Message, Split, seed};

/// Rows of each pair whose outcomes feed the calibration, at least.
const SAMPLED_PER_PAIR: usize = 240;
/// Rows of all pairs together that do: few pairs give more each.
const SAMPLED: usize = 12_000;
/// Pairs worked on between two reports of progress.
const PAIRS_AT_ONCE: usize = 4;

/// What is being done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BridgeStage {
    /// Reading columns.
    Reading,
    /// Training the ensemble.
    Ensemble,
    /// Gathering the history of certainty.
    Calibration,
    /// Making examples.
    Examples,
}

/// How far a build has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BridgeProgress {
    /// What is being done.
    pub stage: BridgeStage,
    /// How many steps are done.
    pub done: usize,
    /// Of how many.
    pub total: usize,
}

/// The examples of a bridge, not yet written.
#[derive(Debug)]
pub struct Bridge {
    /// The settings.
    pub settings: BridgeSettings,
    /// Training conversations by kind; preferences are apart.
    pub examples: BTreeMap<Kind, Vec<BridgeExample>>,
    /// Preference pairs.
    pub pairs: Vec<BridgePair>,
    /// Held-out scenarios: validation, test.
    pub held_out: [Vec<BridgeExample>; 2],
    /// What they are.
    pub sheet: BridgeSheet,
    /// What they were made of.
    pub(crate) inputs: Inputs,
    /// The ensemble, where one was trained.
    pub ensemble: Option<Ensemble>,
}

/// What one pair gives.
#[derive(Debug, Default)]
struct Made {
    examples: Vec<BridgeExample>,
    pairs: Vec<BridgePair>,
    held_out: [Vec<BridgeExample>; 2],
    counts: PairCounts,
}

/// Builds the examples of a package.
///
/// `progress` is called now and then; when it returns [`ControlFlow::Break`] the build stops.
///
/// # Errors
/// [`DatasetError::Setting`], [`DatasetError::Bridge`] for a package that cannot be used,
/// [`DatasetError::UnknownNumber`] for a template that invents a number,
/// [`DatasetError::Interrupted`] when asked to stop.
pub fn build(
    directory: &Path,
    settings: &BridgeSettings,
    ensemble: &EnsembleSettings,
    progress: &mut dyn FnMut(BridgeProgress) -> ControlFlow<()>,
) -> Result<Bridge, DatasetError> {
    settings.validate()?;
    let words = Words::built_in()?;
    let source = Source::open(directory, settings)?;
    let report =
        |progress: &mut dyn FnMut(BridgeProgress) -> ControlFlow<()>, stage, done, total| {
            match progress(BridgeProgress { stage, done, total }) {
                ControlFlow::Continue(()) => Ok(()),
                ControlFlow::Break(()) => Err(DatasetError::Interrupted),
            }
        };
    report(progress, BridgeStage::Reading, 0, 1)?;
    let tables = source.tables(settings)?;
    refuse_unknown_costs(&tables, settings)?;
    let predicted = super::upstream::signals(&source, &tables, settings, ensemble, progress)?;

    let pairs = tables.len();
    let mut sample = Vec::new();
    // Readings show nothing of it.
    let calibrated = if settings.judges() { pairs } else { 0 };
    for first in (0..calibrated).step_by(PAIRS_AT_ONCE) {
        report(progress, BridgeStage::Calibration, first, pairs)?;
        let last = (first + PAIRS_AT_ONCE).min(pairs);
        let found: Vec<Vec<Sampled>> = (first..last)
            .into_par_iter()
            .map(|pair| {
                let signals = &predicted.signals[pair];
                sampled((pair, pairs), &tables[pair], signals, settings)
            })
            .collect();
        sample.extend(found.into_iter().flatten());
    }
    let history = History::new(sample)?;
    let inputs = Inputs {
        settings: settings.clone(),
        timeframe: source.timeframe.to_string(),
        words,
        source,
        tables,
        signals: predicted.signals,
        history,
    };
    let work = inputs.work();
    let mut made = Vec::with_capacity(pairs);
    for first in (0..pairs).step_by(PAIRS_AT_ONCE) {
        report(progress, BridgeStage::Examples, first, pairs)?;
        let last = (first + PAIRS_AT_ONCE).min(pairs);
        let found: Vec<Result<Made, DatasetError>> = (first..last)
            .into_par_iter()
            .map(|pair| work.pair(&inputs.tables[pair], &inputs.signals[pair]))
            .collect();
        for pair in found {
            made.push(pair?);
        }
    }
    report(progress, BridgeStage::Examples, pairs, pairs)?;
    let mut examples: BTreeMap<Kind, Vec<BridgeExample>> = BTreeMap::new();
    let mut preferences = Vec::new();
    let mut held_out: [Vec<BridgeExample>; 2] = Default::default();
    let mut counts = BTreeMap::new();
    for (pair, table) in made.into_iter().zip(&inputs.tables) {
        for example in pair.examples {
            examples
                .entry(example.about.kind)
                .or_default()
                .push(example);
        }
        preferences.extend(pair.pairs);
        for (part, new) in held_out.iter_mut().zip(pair.held_out) {
            part.extend(new);
        }
        counts.insert(table.instrument.to_string(), pair.counts);
    }
    // A cut by position must not put later outcomes into an earlier part.
    let order = |about: &About| (about.decision_time, about.instrument.clone());
    for examples in examples.values_mut().chain(held_out.iter_mut()) {
        examples.sort_by_cached_key(|example| order(&example.about));
    }
    preferences.sort_by_cached_key(|pair| order(&pair.about));
    if examples.is_empty() && preferences.is_empty() {
        let first = inputs.history.start();
        return Err(DatasetError::Bridge {
            path: directory.to_owned(),
            message: format!(
                "gave no example: expected training rows with a past of {} rows (the longest pair \
                 has {} rows), an out-of-fold signal and a calibration before them ({}); give it a \
                 longer history, or lower `bridge.past_rows`",
                settings.past_rows,
                inputs
                    .tables
                    .iter()
                    .map(|table| table.parts[0])
                    .max()
                    .unwrap_or(0),
                match first {
                    Some(first) => format!("the first at {}", Timestamp(first)),
                    None => format!("none from {} outcomes", inputs.history.sampled),
                }
            ),
        });
    }
    let scenarios = examples.get(&Kind::Scenario).map_or(&[][..], Vec::as_slice);
    refuse_one_verdict(directory, "scenarios", scenarios.iter().map(|e| &e.about))?;
    refuse_one_verdict(
        directory,
        "preferences",
        preferences.iter().map(|p| &p.about),
    )?;
    let mut sheet = BridgeSheet::new(
        &inputs.source,
        settings,
        ensemble,
        &inputs.history,
        predicted.ensemble.as_ref().map(|ensemble| &ensemble.report),
        &examples,
        &preferences,
        &held_out,
        counts,
    );
    sheet.notes.extend(too_good(
        predicted.ensemble.as_ref(),
        examples.get(&Kind::Scenario).map_or(&[][..], Vec::as_slice),
    ));
    Ok(Bridge {
        settings: settings.clone(),
        examples,
        pairs: preferences,
        held_out,
        sheet,
        inputs,
        ensemble: predicted.ensemble,
    })
}

/// Gathers the evidence of evenly spaced rows of a pair.
pub(crate) fn sampled(
    (pair, pairs): (usize, usize),
    table: &Table,
    signals: &[Option<Signal>],
    settings: &BridgeSettings,
) -> Vec<Sampled> {
    let past = Past::new(table);
    let cost = settings.cost_of(table.instrument.as_str());
    let columns = table.shown.len();
    let candidates = candidates(table, signals, 0..table.decided.len(), settings);
    let wanted = SAMPLED_PER_PAIR.max(SAMPLED / pairs.max(1));
    let step = (candidates.len() / wanted).max(1);
    candidates
        .into_iter()
        .step_by(step)
        .filter_map(|row| {
            let signal = signals[row]?;
            let end = table.ends[row]?;
            let evidence =
                Evidence::gather(&past, row, columns, signal, cost, Depth::Cases, settings)?;
            let outcome = f64::from(table.outcomes[row]);
            Some(Sampled {
                decided: table.decided[row],
                end,
                pair,
                raw: evidence.raw,
                side: evidence.signal.side,
                confidence: evidence.signal.confidence,
                outcome,
                paid: evidence.signal.side.sign() * outcome > cost,
            })
        })
        .collect()
}

/// Returns the rows that could become examples: a signal, an outcome, and a past.
pub(crate) fn candidates(
    table: &Table,
    signals: &[Option<Signal>],
    rows: Range<usize>,
    settings: &BridgeSettings,
) -> Vec<usize> {
    rows.filter(|row| {
        *row >= settings.past_rows
            && signals[*row].is_some()
            && table.ends[*row].is_some()
            && table.outcomes[*row].is_finite()
    })
    .collect()
}

/// Returns how much of the evidence prompts of a kind show.
fn depth(kind: Kind, settings: &BridgeSettings, table: &Table, row: usize) -> Depth {
    match kind {
        Kind::Reading => Depth::Features,
        Kind::Calculation => Depth::Cases,
        Kind::Scenario | Kind::Preference => Depth::Resampled(row_seed(settings, table, row)),
    }
}

fn row_seed(settings: &BridgeSettings, table: &Table, row: usize) -> u64 {
    let name = format!("{} {}", table.instrument, table.decided[row]);
    seed::hash(settings.seed, "evidence", &name)
}

/// Everything that examples are made of.
#[derive(Debug)]
pub(crate) struct Inputs {
    settings: BridgeSettings,
    timeframe: String,
    pub(crate) words: Words,
    pub(crate) source: Source,
    pub(crate) tables: Vec<Table>,
    pub(crate) signals: Vec<Vec<Option<Signal>>>,
    history: History,
}

impl Inputs {
    pub(crate) fn work(&self) -> Work<'_> {
        self.work_with(&self.history)
    }

    /// Works with another history of certainty.
    pub(crate) fn work_with<'a>(&'a self, history: &'a History) -> Work<'a> {
        Work {
            source: &self.source,
            writer: Writer {
                words: &self.words,
                keys: &self.source.keys,
                settings: &self.settings,
            },
            history,
            timeframe: &self.timeframe,
        }
    }
}

/// What all pairs share.
pub(crate) struct Work<'a> {
    source: &'a Source,
    writer: Writer<'a>,
    history: &'a History,
    timeframe: &'a str,
}

/// A prompt and what it shows, without an answer.
pub(crate) struct Asked {
    pub(crate) prompt: String,
    pub(crate) facts: Facts,
    /// The right answer by the outcome of the table.
    pub(crate) label: Option<String>,
}

/// A row drawn for an example, with its evidence.
struct Chosen {
    row: usize,
    weight: f64,
    evidence: Evidence,
    judged: Option<Judged>,
}

impl Work<'_> {
    fn pair(&self, table: &Table, signals: &[Option<Signal>]) -> Result<Made, DatasetError> {
        let settings = self.writer.settings;
        let past = Past::new(table);
        let start = self.history.start();
        let mut made = Made {
            counts: PairCounts {
                rows: table.parts[0],
                infinite: table.infinite,
                ..PairCounts::default()
            },
            ..Made::default()
        };
        let known = |row: &usize| {
            !settings.judges() || start.is_some_and(|start| table.decided[*row] >= start)
        };
        let mut train = candidates(table, signals, table.part(0), settings);
        train.retain(known);
        made.counts.candidates = train.len();
        let own = weights(table, &train);
        let cost = settings.cost_of(table.instrument.as_str());
        let mut used = BTreeSet::new();
        let wanted = [
            (Kind::Preference, settings.preferences_per_pair),
            (Kind::Scenario, settings.scenarios_per_pair),
            (Kind::Reading, settings.readings_per_pair),
            (Kind::Calculation, settings.calculations_per_pair),
        ];
        for (kind, wanted) in wanted {
            let fits = |row: usize| {
                let outcome = f64::from(table.outcomes[row]);
                !used.contains(&row)
                    && (kind != Kind::Preference
                        || outcome.abs() > settings.preference_costs * cost)
            };
            let left: Vec<f64> = train
                .iter()
                .zip(&own)
                .map(|(row, weight)| if fits(*row) { *weight } else { 0.0 })
                .collect();
            // Some rows lack past cases; a few more are drawn and the first that fit are kept.
            let spare = if kind == Kind::Calculation {
                wanted / 2
            } else {
                0
            };
            let name = format!("{} {}", table.instrument, kind.as_str());
            let drawn = spread(&left, wanted + spare, settings.seed, &name);
            let found = self.choose(table, signals, &past, &train, &own, &drawn, kind);
            let mut count = 0;
            for chosen in thinned(found, wanted, kind) {
                if self.add(&mut made, table, &chosen, kind, Split::Train)? {
                    used.insert(chosen.row);
                    count += 1;
                }
            }
            made.counts.made.insert(kind, count);
        }
        for (index, split) in [Split::Validation, Split::Test].into_iter().enumerate() {
            let mut rows = candidates(table, signals, table.part(index + 1), settings);
            rows.retain(known);
            let own = weights(table, &rows);
            let name = format!("{} {split}", table.instrument);
            let drawn = spread(&own, settings.held_out_per_pair, settings.seed, &name);
            for chosen in self.choose(table, signals, &past, &rows, &own, &drawn, Kind::Scenario) {
                self.add(&mut made, table, &chosen, Kind::Scenario, split)?;
            }
        }
        Ok(made)
    }

    /// Gathers the evidence of drawn rows.
    fn choose(
        &self,
        table: &Table,
        signals: &[Option<Signal>],
        past: &Past<'_>,
        rows: &[usize],
        weights: &[f64],
        drawn: &[usize],
        kind: Kind,
    ) -> Vec<Chosen> {
        let settings = self.writer.settings;
        let cost = settings.cost_of(table.instrument.as_str());
        drawn
            .iter()
            .filter_map(|place| {
                let row = rows[*place];
                let evidence = Evidence::gather(
                    past,
                    row,
                    table.shown.len(),
                    signals[row]?,
                    cost,
                    depth(kind, settings, table, row),
                    settings,
                )?;
                // A reading shows nothing of what history makes of it.
                let judged = match kind {
                    Kind::Reading => None,
                    _ => Some(self.judged(table.decided[row], &evidence)?),
                };
                Some(Chosen {
                    row,
                    weight: weights[*place],
                    evidence,
                    judged,
                })
            })
            .collect()
    }

    /// Returns what history makes of evidence; none where it cannot say.
    fn judged(&self, decided: i64, evidence: &Evidence) -> Option<Judged> {
        let signal = evidence.signal;
        let found = self
            .history
            .at(decided, evidence.raw, signal.side, signal.confidence);
        found.map(|(certainty, set)| Judged {
            certainty: super::evidence::tenth_percent(certainty),
            set,
        })
    }

    /// Renders the prompt of a row of a table again, as the examples' prompts are rendered.
    ///
    /// # Errors
    /// [`DatasetError::Template`].
    pub(crate) fn ask(
        &self,
        table: &Table,
        past: &Past<'_>,
        row: usize,
        signal: Signal,
        kind: Kind,
        id: &str,
    ) -> Result<Option<Asked>, DatasetError> {
        let depth = depth(kind, self.writer.settings, table, row);
        self.ask_deep(table, past, row, signal, kind, id, depth)
    }

    /// Renders the prompt of a scenario without the analogues' p-value.
    ///
    /// # Errors
    /// [`DatasetError::Template`].
    pub(crate) fn ask_without_p(
        &self,
        table: &Table,
        past: &Past<'_>,
        row: usize,
        signal: Signal,
        id: &str,
    ) -> Result<Option<Asked>, DatasetError> {
        self.ask_deep(table, past, row, signal, Kind::Scenario, id, Depth::Cases)
    }

    fn ask_deep(
        &self,
        table: &Table,
        past: &Past<'_>,
        row: usize,
        signal: Signal,
        kind: Kind,
        id: &str,
        depth: Depth,
    ) -> Result<Option<Asked>, DatasetError> {
        let settings = self.writer.settings;
        let cost = settings.cost_of(table.instrument.as_str());
        let columns = table.shown.len();
        let Some(evidence) = Evidence::gather(past, row, columns, signal, cost, depth, settings)
        else {
            return Ok(None);
        };
        let now = table.decided[row];
        let signal = evidence.signal;
        let judged = match kind {
            Kind::Reading => None,
            _ => self.judged(now, &evidence),
        };
        if judged.is_none() && kind != Kind::Reading {
            return Ok(None);
        }
        let shown = Shown {
            id,
            instrument: table.instrument.as_str(),
            timeframe: self.timeframe,
            evidence: &evidence,
            judged,
        };
        let prompt = match kind {
            Kind::Reading => self.writer.reading(&shown)?,
            Kind::Scenario | Kind::Preference => self.writer.scenario(&shown)?,
            Kind::Calculation => match self.writer.calculation(&shown)? {
                Some((prompt, _)) => prompt,
                None => return Ok(None),
            },
        };
        let outcome = f64::from(table.outcomes[row]);
        let label = match kind {
            _ if !outcome.is_finite() => None,
            Kind::Reading => Some(Direction::of(outcome, evidence.cost).to_string()),
            Kind::Scenario | Kind::Preference => {
                let paid = signal.side.sign() * outcome > evidence.cost;
                Some(
                    if paid {
                        Verdict::Approve
                    } else {
                        Verdict::Veto
                    }
                    .to_string(),
                )
            }
            Kind::Calculation => None,
        };
        Ok(Some(Asked {
            prompt,
            facts: self.writer.record(&shown, Timestamp(now)),
            label,
        }))
    }

    /// Renders one example and adds it; a calculation without past cases is none.
    fn add(
        &self,
        made: &mut Made,
        table: &Table,
        chosen: &Chosen,
        kind: Kind,
        split: Split,
    ) -> Result<bool, DatasetError> {
        let row = chosen.row;
        let decided = Timestamp(table.decided[row]);
        let Some(end) = table.ends[row] else {
            return Ok(false);
        };
        let instrument = &table.instrument;
        let timeframe = self.timeframe;
        let id = format!("{instrument}@{timeframe}@{decided}#{}", kind.as_str());
        let evidence = &chosen.evidence;
        let shown = Shown {
            id: &id,
            instrument: instrument.as_str(),
            timeframe,
            evidence,
            judged: chosen.judged,
        };
        let outcome = f64::from(table.outcomes[row]);
        let signal = evidence.signal;
        let net = signal.side.sign() * outcome - evidence.cost;
        let verdict = if net > 0.0 {
            Verdict::Approve
        } else {
            Verdict::Veto
        };
        let direction = Direction::of(outcome, evidence.cost);
        let facts = self.writer.record(&shown, decided);
        let about = |label: Option<String>| About {
            id: id.clone(),
            kind,
            split,
            instrument: instrument.clone(),
            timeframe: self.source.timeframe,
            decision_time: decided,
            span: (decided, Timestamp(end)),
            label,
            outcome_return: outcome,
            net_return: net,
            weight: chosen.weight,
            upstream: Upstream {
                kind: if self.source.by_columns {
                    "columns"
                } else {
                    "ensemble"
                }
                .to_owned(),
                side: signal.side,
                fold: signal.fold,
                trained_through: signal.trained_through,
            },
            facts: facts.clone(),
        };
        let (prompt, answer, label) = match kind {
            Kind::Preference => {
                let prompt = self.writer.scenario(&shown)?;
                let chosen_answer = self.writer.judge(&shown, verdict)?;
                let rejected = self.writer.judge(&shown, verdict.other())?;
                check_numbers(&id, &prompt, &chosen_answer)?;
                check_numbers(&id, &prompt, &rejected)?;
                made.pairs.push(BridgePair {
                    prompt,
                    chosen: chosen_answer,
                    rejected,
                    margin: (net.abs() / evidence.typical_move.max(1e-9) * 100.0).round() / 100.0,
                    about: about(Some(verdict.to_string())),
                });
                return Ok(true);
            }
            Kind::Scenario => {
                let prompt = self.writer.scenario(&shown)?;
                let answer = self.writer.judge(&shown, verdict)?;
                check_numbers(&id, &prompt, &answer)?;
                (prompt, answer, Some(verdict.to_string()))
            }
            Kind::Reading => {
                let prompt = self.writer.reading(&shown)?;
                let answer = self.writer.read(&shown, direction)?;
                check_numbers(&id, &prompt, &answer)?;
                (prompt, answer, Some(direction.to_string()))
            }
            Kind::Calculation => {
                let Some((prompt, answer)) = self.writer.calculation(&shown)? else {
                    return Ok(false);
                };
                (prompt, answer, None)
            }
        };
        let message = |role: &str, content: String| Message {
            role: role.to_owned(),
            content,
        };
        let example = BridgeExample {
            messages: vec![message("user", prompt), message("assistant", answer)],
            about: about(label),
        };
        match split {
            Split::Train => made.examples.push(example),
            Split::Validation => made.held_out[0].push(example),
            Split::Test => made.held_out[1].push(example),
        }
        Ok(true)
    }
}

/// Keeps as many as wanted, evenly; of calculations only those that have cases.
fn thinned(mut found: Vec<Chosen>, wanted: usize, kind: Kind) -> Vec<Chosen> {
    if kind == Kind::Calculation {
        found.retain(|chosen| chosen.evidence.cases.is_some());
    }
    let all = found.len();
    if all <= wanted {
        return found;
    }
    let mut index = 0;
    found.retain(|_| {
        let keep = (index + 1) * wanted / all > index * wanted / all;
        index += 1;
        keep
    });
    found
}

/// Returns the uniqueness of the spans of rows among one another.
fn weights(table: &Table, rows: &[usize]) -> Vec<f64> {
    let spans: Vec<(i64, i64)> = rows
        .iter()
        .map(|row| {
            let start = table.decided[*row];
            (start, table.ends[*row].unwrap_or(start))
        })
        .collect();
    uniqueness::weights(&spans)
}
