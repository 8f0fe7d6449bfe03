//! The arms of an evaluation on the same held-out decisions: the base model and
//! the adapter by their decision tokens' logits, and three cheap rivals.
//!
//! Nothing is fitted on the test part. The two models and the logistic
//! regression learn from balanced classes, so their answers are re-weighted to
//! the natural class mix by a calibration fitted alike on the same decisions
//! of the validation part; what they answer by themselves is kept beside it.
//! The majority class and its probabilities are the natural class mix of the
//! training span, before it was balanced. Persistence decides for the last
//! known label again; its probabilities are how often each label followed that
//! one in the validation part, and may favour another class.

use dataset::{Dataset, Decision, Example};
use model::{Lora, score};
use serde::Serialize;
use serve::evaluation::{ADAPTER, ArmDecisions, BASE, LOGISTIC, MAJORITY, PERSISTENCE, Row};
use stats::calibration::{self, Scaling};
use stats::{argmax, logistic, softmax};

use super::base::Base;
use super::select;
use crate::exit::{Exit, Stop};
use crate::interrupt;
use crate::progress::Progress;
use crate::settings::Evaluate;

const CLASSES: usize = Decision::ALL.len();

/// The held-out decisions and what every arm says about them.
#[derive(Debug)]
pub(crate) struct Scored<'a> {
    /// The decisions, in time order.
    pub(crate) test: Vec<&'a Example>,
    /// The same for `serve`.
    pub(crate) rows: Vec<Row>,
    /// The arms.
    pub(crate) arms: Vec<Arm>,
    /// Decisions of the validation part used for calibration.
    pub(crate) calibration_decisions: usize,
}

/// One arm with its probabilities before calibration.
#[derive(Debug)]
pub(crate) struct Arm {
    /// What it decided.
    pub(crate) decided: ArmDecisions,
    /// Probabilities before calibration, for arms that are calibrated.
    pub(crate) raw: Option<Vec<[f64; CLASSES]>>,
    /// The calibration, for arms that are calibrated.
    pub(crate) scaling: Option<Calibration>,
}

/// A calibration as reported.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Calibration {
    /// What logits are divided by.
    pub(crate) temperature: f64,
    /// What is added to the logits of BUY, SELL and HOLD.
    pub(crate) bias: Vec<f64>,
}

/// Scores all arms.
///
/// # Errors
/// When a part has no decision, a fit fails, or on Ctrl-C.
pub(crate) fn score<'a>(
    dataset: &'a Dataset,
    base: &Base,
    adapter: &Lora,
    settings: &Evaluate,
) -> anyhow::Result<Scored<'a>> {
    let horizon = dataset.settings.horizon();
    let test = select::decisions(&dataset.test, horizon, settings.max_decisions);
    let held = select::decisions(&dataset.validation, horizon, settings.calibration_decisions);
    if test.is_empty() || held.is_empty() {
        let message = "the validation or the test part has no decision to score";
        return Err(Stop::new(Exit::Data, message).into());
    }
    let labels: Vec<usize> = held.iter().map(|example| example.label.index()).collect();
    let mut arms = Vec::new();
    for (name, lora) in [(BASE, None), (ADAPTER, Some(adapter))] {
        let both: Vec<&Example> = held.iter().chain(&test).copied().collect();
        let logits = model_logits(name, base, lora, &both)?;
        let (fit_on, score_on) = logits.split_at(held.len());
        arms.push(calibrated(name, fit_on, &labels, score_on, settings)?);
    }
    arms.push(majority(dataset, test.len())?);
    arms.push(persistence(&dataset.validation, &test));
    arms.push(regression(dataset, &held, &labels, &test, settings)?);
    Ok(Scored {
        rows: test.iter().map(|example| row(example)).collect(),
        test,
        arms,
        calibration_decisions: held.len(),
    })
}

fn row(example: &Example) -> Row {
    Row {
        instrument: example.instrument.clone(),
        decision_time: example.decision_time,
        price: example.price,
        label: example.label.index(),
        outcome_return: example.outcome_return,
    }
}

/// Returns log-probabilities of the decisions, [N][CLASSES].
fn model_logits(
    name: &str,
    base: &Base,
    lora: Option<&Lora>,
    examples: &[&Example],
) -> anyhow::Result<Vec<Vec<f64>>> {
    let prompts = base.text.prompts(examples)?;
    let mut bar = Progress::start(
        &format!("score {name}"),
        "decisions",
        Some(prompts.len() as u64),
    );
    let scores = score::decisions(
        &base.decoder,
        lora,
        &prompts,
        &base.text.decisions,
        &mut |done, _| {
            bar.set(done as u64);
            interrupt::flow()
        },
    );
    bar.finish();
    Ok(scores?)
}

fn calibrated(
    name: &str,
    fit_on: &[Vec<f64>],
    labels: &[usize],
    score_on: &[Vec<f64>],
    settings: &Evaluate,
) -> anyhow::Result<Arm> {
    let scaling = calibration::fit(fit_on, labels, settings.calibration_l2)?;
    let raw: Vec<[f64; CLASSES]> = score_on
        .iter()
        .map(|logits| array(&softmax(logits)))
        .collect();
    let probabilities: Vec<[f64; CLASSES]> = score_on
        .iter()
        .map(|logits| array(&scaling.apply(logits)))
        .collect();
    let Scaling { temperature, bias } = scaling;
    Ok(Arm {
        decided: ArmDecisions {
            name: name.to_owned(),
            decisions: probabilities.iter().map(|row| argmax(row)).collect(),
            raw_decisions: Some(raw.iter().map(|row| argmax(row)).collect()),
            probabilities: Some(probabilities),
        },
        raw: Some(raw),
        scaling: Some(Calibration { temperature, bias }),
    })
}

/// The most frequent class of the training span, before it was balanced.
fn majority(dataset: &Dataset, rows: usize) -> anyhow::Result<Arm> {
    let available = &dataset.datasheet.balance.available;
    let counts = Decision::ALL.map(|class| available.get(&class).copied().unwrap_or(0) as f64);
    let total: f64 = counts.iter().sum();
    if total <= 0.0 {
        return Err(Stop::new(Exit::Data, "the datasheet counts no training example").into());
    }
    let shares = counts.map(|count| count / total);
    Ok(plain(
        MAJORITY,
        vec![argmax(&shares); rows],
        vec![shares; rows],
    ))
}

/// What the last matured horizon deserved, with how often each label followed
/// it in the validation part. The decision is the repetition by definition, not
/// the most probable of those labels.
fn persistence(validation: &[Example], test: &[&Example]) -> Arm {
    // One pseudo-count per cell: a decision never seen before says nothing.
    let mut table = [[1.0; CLASSES]; CLASSES];
    for example in validation {
        table[example.persistence.index()][example.label.index()] += example.weight;
    }
    let decisions: Vec<usize> = test
        .iter()
        .map(|example| example.persistence.index())
        .collect();
    let probabilities = decisions
        .iter()
        .map(|decision| {
            let total: f64 = table[*decision].iter().sum();
            table[*decision].map(|count| count / total)
        })
        .collect();
    plain(PERSISTENCE, decisions, probabilities)
}

fn regression(
    dataset: &Dataset,
    held: &[&Example],
    labels: &[usize],
    test: &[&Example],
    settings: &Evaluate,
) -> anyhow::Result<Arm> {
    let rows = |examples: &mut dyn Iterator<Item = &Example>| -> Vec<Vec<f64>> {
        examples
            .map(|example| example.features.values().copied().collect())
            .collect()
    };
    let x = rows(&mut dataset.train.iter());
    let y: Vec<usize> = dataset
        .train
        .iter()
        .map(|example| example.label.index())
        .collect();
    let weights: Vec<f64> = dataset.train.iter().map(|example| example.weight).collect();
    let fitted = logistic::fit_weighted(&x, &y, &weights, CLASSES, settings.logistic_l2)?;
    let logits = |examples: &[&Example]| -> Vec<Vec<f64>> {
        rows(&mut examples.iter().copied())
            .iter()
            .map(|row| fitted.logits(row))
            .collect()
    };
    calibrated(LOGISTIC, &logits(held), labels, &logits(test), settings)
}

fn plain(name: &str, decisions: Vec<usize>, probabilities: Vec<[f64; CLASSES]>) -> Arm {
    Arm {
        decided: ArmDecisions {
            name: name.to_owned(),
            decisions,
            probabilities: Some(probabilities),
            raw_decisions: None,
        },
        raw: None,
        scaling: None,
    }
}

fn array(row: &[f64]) -> [f64; CLASSES] {
    std::array::from_fn(|class| row[class])
}
