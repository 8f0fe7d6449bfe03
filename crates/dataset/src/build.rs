//! From bars to examples: label, cut in time, balance, render.
//!
//! Work is spread over threads, but nothing depends on their number: every example is made from its
//! own view, and results are collected in order.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use market::{Bars, Instrument, Surroundings, Timestamp};
use rayon::prelude::*;
use sha2::{Digest, Sha256};
use stats::split::{Assignment, TimeSplit};
use stats::uniqueness;

use crate::balance::{Balanced, balance};
use crate::datasheet::{
    BalanceSheet, Boundaries, Counts, Datasheet, InstrumentSheet, SCHEMA, split_sheet,
};
use crate::example::id;
use crate::labels::{Outcome, Unlabelled};
use crate::series::Series;
use crate::{
    AsOf, Dataset, DatasetError, DatasetSettings, Decision, Example, Message, Split, Templates,
    claims, completion, facts, hex, render_prompt,
};

/// Examples rendered between two reports of progress.
const CHUNK: usize = 512;

/// What is being done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Computing indicators and labels, instrument by instrument.
    Instruments,
    /// Rendering prompts and answers.
    Examples,
}

/// How far a build has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// What is being done.
    pub stage: Stage,
    /// How many are done.
    pub done: usize,
    /// Of how many.
    pub total: usize,
}

/// A labelled decision that may become an example.
struct Candidate {
    series: usize,
    row: usize,
    outcome: Outcome,
    persistence: Decision,
}

impl Candidate {
    fn span(&self) -> (i64, i64) {
        (self.outcome.span.0.0, self.outcome.span.1.0)
    }
}

/// Builds a data set from the bars of one or more instruments, all of the first timeframe of the
/// settings, in any order.
///
/// `progress` is called now and then; when it returns [`ControlFlow::Break`] the build stops.
///
/// # Errors
/// Settings, bars or templates that cannot be used; [`DatasetError::NothingLabelled`],
/// [`DatasetError::EmptyClass`] or [`DatasetError::EmptySplit`] for too few bars;
/// [`DatasetError::UnknownNumber`] for a template that invents a number;
/// [`DatasetError::Interrupted`] when asked to stop.
pub fn build(
    settings: &DatasetSettings,
    inputs: &[Bars],
    sentiment: Option<&Surroundings>,
    progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<Dataset, DatasetError> {
    settings.validate()?;
    with_templates(
        settings,
        Templates::load(settings)?,
        inputs,
        sentiment,
        progress,
    )
}

/// Does what [`build`] does with templates that are parsed already.
pub(crate) fn with_templates(
    settings: &DatasetSettings,
    templates: Templates,
    inputs: &[Bars],
    sentiment: Option<&Surroundings>,
    progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<Dataset, DatasetError> {
    let (inputs, mut warnings) = check_inputs(settings, inputs)?;

    let mut series = Vec::with_capacity(inputs.len());
    for (index, bars) in inputs.iter().enumerate() {
        report(progress, Stage::Instruments, index, inputs.len())?;
        series.push(Series::new(bars, sentiment, settings)?);
    }
    report(progress, Stage::Instruments, inputs.len(), inputs.len())?;

    let mut sheets = BTreeMap::new();
    let mut candidates = Vec::new();
    for (index, bars) in inputs.iter().enumerate() {
        let (found, sheet) = collect(index, bars, &series[index], settings);
        candidates.extend(found);
        sheets.insert(bars.instrument.clone(), sheet);
    }
    if candidates.is_empty() {
        return Err(nothing_labelled(&sheets));
    }
    // By time, then instrument: the order of the files.
    candidates.sort_by_key(|candidate| (candidate.outcome.span.0, candidate.series));

    let (cut, mut parts) = divide(settings, &inputs, candidates, &mut sheets)?;
    let train = std::mem::take(&mut parts[0]);
    let (train, balanced) = balance_train(settings, &inputs, train, &mut sheets)?;
    parts[0] = train;
    warnings.extend(shortage(settings, &balanced));

    let total = parts.iter().map(Vec::len).sum();
    let mut done = 0;
    let mut rendered: [Vec<Example>; 3] = Default::default();
    for (split, part) in Split::ALL.into_iter().zip(&parts) {
        if part.is_empty() {
            return Err(DatasetError::EmptySplit { split });
        }
        let weights = weights(part, inputs.len());
        let weighted: Vec<(&Candidate, f64)> = part.iter().zip(weights).collect();
        let examples = &mut rendered[split as usize];
        for chunk in weighted.chunks(CHUNK) {
            report(progress, Stage::Examples, done, total)?;
            let make = |&(candidate, weight): &(&Candidate, f64)| {
                let view = series[candidate.series].view(candidate.row);
                // Only rows with a view became candidates.
                view.map(|view| example(&view, candidate, split, weight, &templates, settings))
            };
            let made: Vec<Option<Result<Example, DatasetError>>> =
                chunk.par_iter().map(make).collect();
            for example in made.into_iter().flatten() {
                examples.push(example?);
            }
            done += chunk.len();
        }
    }
    report(progress, Stage::Examples, total, total)?;

    let [train, validation, test] = rendered;
    let datasheet = datasheet(
        settings,
        cut,
        &balanced,
        sheets,
        warnings,
        [&train, &validation, &test],
    );
    Ok(Dataset {
        settings: DatasetSettings {
            prompt_template: None,
            completion_templates: None,
            ..settings.clone()
        },
        templates,
        train,
        validation,
        test,
        datasheet,
    })
}

fn report(
    progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    stage: Stage,
    done: usize,
    total: usize,
) -> Result<(), DatasetError> {
    match progress(Progress { stage, done, total }) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => Err(DatasetError::Interrupted),
    }
}

/// Checks the bars and returns them by instrument, with what is odd about them.
fn check_inputs<'a>(
    settings: &DatasetSettings,
    inputs: &'a [Bars],
) -> Result<(Vec<&'a Bars>, Vec<String>), DatasetError> {
    if inputs.is_empty() {
        return Err(DatasetError::NoInput);
    }
    let mut inputs: Vec<&Bars> = inputs.iter().collect();
    inputs.sort_by(|a, b| a.instrument.cmp(&b.instrument));
    let mut warnings = Vec::new();
    let mut seen: BTreeSet<&Instrument> = BTreeSet::new();
    for bars in &inputs {
        let instrument = bars.instrument.clone();
        if !seen.insert(&bars.instrument) {
            return Err(DatasetError::DuplicateInstrument { instrument });
        }
        let expected = settings.base_timeframe();
        if bars.timeframe != expected {
            return Err(DatasetError::Timeframe {
                instrument,
                found: bars.timeframe,
                expected,
            });
        }
        for warning in bars.validate()? {
            warnings.push(format!("{instrument} {expected}: {warning}"));
        }
    }
    Ok((inputs, warnings))
}

/// Finds the decisions of one instrument that have a view and an outcome, and counts the rest.
fn collect(
    index: usize,
    bars: &Bars,
    series: &Series<'_>,
    settings: &DatasetSettings,
) -> (Vec<Candidate>, InstrumentSheet) {
    let gaps = bars.gaps();
    let (first, last) = bars.period().unwrap_or((Timestamp(0), Timestamp(0)));
    let mut sheet = InstrumentSheet {
        timeframe: bars.timeframe,
        first,
        last,
        bars_sha256: bars_sha256(bars),
        gaps: gaps.len(),
        missing_bars: gaps.iter().map(|gap| gap.missing).sum(),
        rows: bars.len(),
        off_stride: 0,
        warm_up: 0,
        unlabelled_gap: 0,
        unlabelled_tail: 0,
        purged: 0,
        embargoed: 0,
        balanced_away: 0,
        used: 0,
    };
    let mut candidates = Vec::new();
    for row in 0..bars.len() {
        if !settings.is_decision_time(Timestamp(bars.close_time(row))) {
            sheet.off_stride += 1;
            continue;
        }
        let persistence = series.outcomes().last_matured(row);
        let (Some(persistence), Some(_)) = (persistence, series.view(row)) else {
            sheet.warm_up += 1;
            continue;
        };
        match series.outcomes().rows[row] {
            Ok(outcome) => candidates.push(Candidate {
                series: index,
                row,
                outcome,
                persistence,
            }),
            Err(Unlabelled::Gap) => sheet.unlabelled_gap += 1,
            Err(Unlabelled::Tail) => sheet.unlabelled_tail += 1,
            Err(Unlabelled::Warmup) => sheet.warm_up += 1,
        }
    }
    (candidates, sheet)
}

fn nothing_labelled(sheets: &BTreeMap<Instrument, InstrumentSheet>) -> DatasetError {
    let details: Vec<String> = sheets
        .iter()
        .map(|(instrument, sheet)| {
            format!(
                "`{instrument}`: {} rows, {} off stride, {} in the warm-up, {} with a gap in the \
                 horizon, {} without an outcome yet",
                sheet.rows,
                sheet.off_stride,
                sheet.warm_up,
                sheet.unlabelled_gap,
                sheet.unlabelled_tail
            )
        })
        .collect();
    DatasetError::NothingLabelled {
        detail: details.join("; "),
    }
}

/// Cuts the candidates in time, at the same instants for all instruments.
fn divide(
    settings: &DatasetSettings,
    inputs: &[&Bars],
    candidates: Vec<Candidate>,
    sheets: &mut BTreeMap<Instrument, InstrumentSheet>,
) -> Result<(TimeSplit, [Vec<Candidate>; 3]), DatasetError> {
    let spans: Vec<(i64, i64)> = candidates.iter().map(Candidate::span).collect();
    let cut = TimeSplit::by_fractions(
        &spans,
        settings.split.train,
        settings.split.validation,
        settings.embargo(),
    )?;
    let mut parts: [Vec<Candidate>; 3] = Default::default();
    for candidate in candidates {
        let instrument = &inputs[candidate.series].instrument;
        let mut count = |change: fn(&mut InstrumentSheet) -> &mut usize| {
            if let Some(sheet) = sheets.get_mut(instrument) {
                *change(sheet) += 1;
            }
        };
        match cut.assign(candidate.span()) {
            Assignment::Train => parts[0].push(candidate),
            Assignment::Validation => parts[1].push(candidate),
            Assignment::Test => parts[2].push(candidate),
            Assignment::Purged => count(|sheet| &mut sheet.purged),
            Assignment::Embargoed => count(|sheet| &mut sheet.embargoed),
        }
    }
    Ok((cut, parts))
}

/// Balances the training part and counts what becomes of its rows.
fn balance_train(
    settings: &DatasetSettings,
    inputs: &[&Bars],
    train: Vec<Candidate>,
    sheets: &mut BTreeMap<Instrument, InstrumentSheet>,
) -> Result<(Vec<Candidate>, Balanced), DatasetError> {
    let labelled: Vec<(Decision, String)> = train
        .iter()
        .map(|candidate| {
            let bars = inputs[candidate.series];
            let time = candidate.outcome.span.0;
            (
                candidate.outcome.label,
                id(&bars.instrument, bars.timeframe, time),
            )
        })
        .collect();
    let balanced = balance(&labelled, settings.per_class, settings.seed)?;
    let chosen: BTreeSet<usize> = balanced.chosen.iter().copied().collect();
    let mut kept = Vec::with_capacity(chosen.len());
    for (index, candidate) in train.into_iter().enumerate() {
        if chosen.contains(&index) {
            kept.push(candidate);
        } else if let Some(sheet) = sheets.get_mut(&inputs[candidate.series].instrument) {
            sheet.balanced_away += 1;
        }
    }
    Ok((kept, balanced))
}

fn shortage(settings: &DatasetSettings, balanced: &Balanced) -> Option<String> {
    let wanted = settings.per_class;
    if balanced.per_class >= wanted {
        return None;
    }
    let [buy, sell, hold] = balanced.available;
    Some(format!(
        "asked for {wanted} training examples of each class, found BUY {buy}, SELL {sell}, HOLD \
         {hold}: {} of each are used",
        balanced.per_class
    ))
}

/// Returns the uniqueness of each candidate among those of its instrument.
fn weights(part: &[Candidate], instruments: usize) -> Vec<f64> {
    let mut weights = vec![0.0; part.len()];
    for series in 0..instruments {
        let members: Vec<usize> = (0..part.len())
            .filter(|&index| part[index].series == series)
            .collect();
        let spans: Vec<(i64, i64)> = members.iter().map(|&index| part[index].span()).collect();
        for (index, weight) in members.into_iter().zip(uniqueness::weights(&spans)) {
            weights[index] = weight;
        }
    }
    weights
}

fn example(
    view: &AsOf,
    candidate: &Candidate,
    split: Split,
    weight: f64,
    templates: &Templates,
    settings: &DatasetSettings,
) -> Result<Example, DatasetError> {
    let Outcome {
        label,
        outcome_return,
        span,
    } = candidate.outcome;
    let id = id(&view.instrument, view.timeframe, view.decision_time);
    let prompt = render_prompt(view, templates, settings)?;
    let facts = facts::shown(facts::facts(view, settings), &prompt);
    let completion = completion::compose(&facts, label, &id, templates, settings.seed)?;
    claims::check(&id, &completion.text, &prompt, &facts)?;
    let message = |role: &str, content: String| Message {
        role: role.to_owned(),
        content,
    };
    Ok(Example {
        messages: vec![
            message("user", prompt),
            message("assistant", completion.text),
        ],
        id,
        split,
        instrument: view.instrument.clone(),
        timeframe: view.timeframe,
        decision_time: view.decision_time,
        price: view.price.value,
        label,
        outcome_return,
        span,
        weight,
        persistence: candidate.persistence,
        features: view.features(),
        facts,
        template: completion.template,
    })
}

fn datasheet(
    settings: &DatasetSettings,
    cut: TimeSplit,
    balanced: &Balanced,
    mut instruments: BTreeMap<Instrument, InstrumentSheet>,
    mut warnings: Vec<String>,
    parts: [&[Example]; 3],
) -> Datasheet {
    let [train, validation, test] = parts.map(<[Example]>::len);
    for example in parts.into_iter().flatten() {
        if let Some(sheet) = instruments.get_mut(&example.instrument) {
            sheet.used += 1;
        }
    }
    let splits: BTreeMap<_, _> = Split::ALL
        .into_iter()
        .zip(parts)
        .filter_map(|(split, examples)| Some((split, split_sheet(examples)?)))
        .collect();
    for (split, sheet) in &splits {
        for (class, count) in &sheet.classes {
            if *count == 0 {
                warnings.push(format!("the {split} part has no {class}"));
            }
        }
    }
    Datasheet {
        schema: SCHEMA,
        horizon_hours: settings.horizon_hours,
        label: settings.label,
        decision_stride_bars: settings.decision_stride_bars,
        seed: settings.seed,
        counts: Counts {
            train,
            validation,
            test,
            total: train + validation + test,
        },
        splits,
        boundaries: Boundaries::from(cut),
        balance: BalanceSheet {
            wanted_per_class: settings.per_class,
            available: Decision::ALL.into_iter().zip(balanced.available).collect(),
            used_per_class: balanced.per_class,
        },
        instruments,
        warnings,
        files: BTreeMap::new(),
        audit: None,
    }
}

/// Returns a digest of the bars' values, whatever file they came from.
pub(crate) fn bars_sha256(bars: &Bars) -> String {
    let mut digest = Sha256::new();
    let name = format!("{} {} {}\n", bars.instrument, bars.timeframe, bars.len());
    digest.update(name);
    for time in &bars.open_time {
        digest.update(time.to_le_bytes());
    }
    for column in [&bars.open, &bars.high, &bars.low, &bars.close, &bars.volume] {
        for value in column {
            digest.update(value.to_le_bytes());
        }
    }
    hex(&digest.finalize())
}
