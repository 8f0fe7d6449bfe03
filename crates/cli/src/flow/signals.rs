//! The evaluation of a judge of signals: held-out scenarios of a bridge, reasoned about and decided.

use std::path::PathBuf;

use anyhow::Context;
use dataset::Split;
use dataset::bridge::{self, BridgeExample, BridgeManifest, Reasoning};
use market::Timeframe;
use model::Lora;
use serve::evaluation::signals::{self, Forecasts, How, JUDGE, RATE, Signal};
use serve::report::signals::{self as page, Answers, Sample, SignalReport};
use stats::calibration::{self, Scaling};

use super::base::Base;
use super::question::Question;
use super::reasoned::{self, Reasoned};
use super::select;
use crate::exit::{Exit, Stop};
use crate::files;
use crate::run::Run;
use crate::settings::Settings;

/// Held-out signals shown on the page with the judge's answer.
const SAMPLES: usize = 6;
/// The arm of the base model without the adapter.
const BASE: &str = "base";
/// The arm of the evidence's own calibrated certainty.
const CERTAINTY: &str = "certainty";
/// The arm of the ensemble's confidence.
const CONFIDENCE: &str = "confidence";
/// A signal that pays by accident as often as not.
const PRIOR: f64 = 0.5;

/// What an evaluation leaves behind.
#[derive(Debug)]
pub(crate) struct Evaluated {
    /// The content of `report.json`.
    pub(crate) report: SignalReport,
    /// The page.
    pub(crate) html: PathBuf,
}

/// The held-out scenarios.
struct Held {
    calibration: Vec<BridgeExample>,
    test: Vec<BridgeExample>,
}

/// Evaluates a run that was trained on a bridge, and writes report and page.
///
/// # Errors
/// When a part has nothing to score, a file cannot be written, or on Ctrl-C.
pub(crate) fn evaluate(
    settings: &Settings,
    run: &Run,
    base: &Base,
    adapter: &Lora,
) -> anyhow::Result<Evaluated> {
    let directory = run.dataset();
    let manifest = bridge::read_bridge_manifest(&directory)?;
    let chosen = &settings.evaluate;
    let held = Held {
        calibration: part(run, Split::Validation, chosen.calibration_decisions)?,
        test: part(run, Split::Test, chosen.max_decisions)?,
    };
    let paid = |scenario: &BridgeExample| scenario.about.net_return > 0.0;
    let count = held.calibration.iter().filter(|s| paid(s)).count() as f64;
    // Jeffreys' prior, so that a rate of 0 or 1 never stands for certainty.
    let rate = (count + PRIOR) / (held.calibration.len() as f64 + 2.0 * PRIOR);
    let labels: Vec<usize> = held
        .calibration
        .iter()
        .map(|scenario| usize::from(!paid(scenario)))
        .collect();
    let all: Vec<Question> = held
        .calibration
        .iter()
        .chain(&held.test)
        .map(Question::signal)
        .collect();
    let all: Vec<&Question> = all.iter().collect();
    let room = reasoned::room(&base.text, &all, settings.check.max_new_tokens)?;
    let at_once = manifest.settings.reasoning == Reasoning::DecisionFirst;
    let mut forecasts = Vec::new();
    let mut written: Vec<Reasoned> = Vec::new();
    for (name, lora) in [(BASE, None), (JUDGE, Some(adapter))] {
        let scores = if at_once {
            reasoned::at_once(base, lora, &all)?
        } else {
            written = reasoned::answers(base, lora, &all, room)?;
            reasoned::log_probabilities(base, lora, &written)?
        };
        let (fit_on, score_on) = scores.split_at(labels.len());
        let scaling = calibration::fit(fit_on, &labels, chosen.calibration_l2)?;
        forecasts.push(forecast(name, score_on, &scaling));
    }
    let shown = |name: &str, fact: &str| -> anyhow::Result<Forecasts> {
        let values: anyhow::Result<Vec<f64>> = held
            .test
            .iter()
            .map(|scenario| share(scenario, fact))
            .collect();
        Ok(Forecasts {
            name: name.to_owned(),
            probabilities: values?,
        })
    };
    forecasts.push(shown(CERTAINTY, "certainty")?);
    forecasts.push(shown(CONFIDENCE, "signal")?);
    forecasts.push(Forecasts {
        name: RATE.to_owned(),
        probabilities: vec![rate; held.test.len()],
    });
    let rows: Vec<Signal> = held
        .test
        .iter()
        .map(|scenario| Signal {
            instrument: scenario.about.instrument.clone(),
            decision_time: scenario.about.decision_time,
            net_return: scenario.about.net_return,
        })
        .collect();
    let how = How {
        block: block(&manifest, &held.test),
        replicates: chosen.replicates,
        level: chosen.level,
        seed: chosen.seed,
    };
    let evaluation = signals::evaluate(&rows, &forecasts, rate, &how)?;
    // Where the decision comes first, a few answers are enough to read.
    let rows: Vec<usize> = (0..held.test.len()).collect();
    let read: Vec<usize> = if at_once {
        select::evenly(&rows, settings.check.review).collect()
    } else {
        rows
    };
    let asked: Vec<&Question> = read.iter().map(|row| all[labels.len() + row]).collect();
    let answered = if at_once {
        reasoned::answers(base, Some(adapter), &asked, room)?
    } else {
        written.split_off(labels.len())
    };
    let scenarios: Vec<&BridgeExample> = read.iter().map(|row| &held.test[*row]).collect();
    let report = SignalReport {
        kind: "foretune-signals".to_owned(),
        schema: 1,
        run: run.folder.display().to_string(),
        model: run.record.model.clone(),
        evaluation,
        answers: answers(&asked, &answered, labels.len()),
        samples: samples(&scenarios, &answered),
    };
    files::write_json(&run.folder.join("report.json"), &report)?;
    let html = run.folder.join("report.html");
    files::write(&html, page::html(&report).as_bytes())?;
    Ok(Evaluated { report, html })
}

/// Returns held-out scenarios whose outcomes do not overlap, at most `most`; all of them for 0.
fn part(run: &Run, split: Split, most: usize) -> anyhow::Result<Vec<BridgeExample>> {
    let scenarios = bridge::read_held_out(&run.dataset(), split)?;
    let apart = select::scenarios(&scenarios);
    let most = if most == 0 { apart.len() } else { most };
    Ok(select::evenly(&apart, most).cloned().collect())
}

fn forecast(name: &str, scores: &[Vec<f64>], scaling: &Scaling) -> Forecasts {
    let approve = |logits: &Vec<f64>| scaling.apply(logits)[0];
    Forecasts {
        name: name.to_owned(),
        probabilities: scores.iter().map(approve).collect(),
    }
}

/// Returns a percentage that a scenario shows, as a share.
fn share(scenario: &BridgeExample, fact: &str) -> anyhow::Result<f64> {
    let about = &scenario.about;
    let value = about
        .facts
        .get(fact)
        .and_then(|fact| fact.text.strip_suffix('%')?.parse::<f64>().ok());
    value.map(|percent| percent / 100.0).with_context(|| {
        Stop::new(
            Exit::Data,
            format!("scenario `{}` does not show its {fact}", about.id),
        )
    })
}

/// Returns the length of a block of time: two horizons, and at least a day, within which
/// currencies move together.
fn block(manifest: &BridgeManifest, scenarios: &[BridgeExample]) -> i64 {
    let day = Timeframe::DAY.milliseconds();
    let bar = scenarios
        .first()
        .map_or(day, |scenario| scenario.about.timeframe.milliseconds());
    let bars = i64::try_from(manifest.settings.horizon_bars).unwrap_or(i64::MAX);
    day.max(bar.saturating_mul(bars).saturating_mul(2))
}

fn answers(questions: &[&Question], written: &[Reasoned], calibrated_on: usize) -> Answers {
    let of = |count: usize| count as f64 / written.len().max(1) as f64;
    let grounded = questions.iter().zip(written).filter(|(question, answer)| {
        bridge::grounding(&question.prompt, &answer.text).invented == 0
    });
    Answers {
        read: written.len(),
        form_rate: of(written
            .iter()
            .filter(|answer| answer.decided.is_some())
            .count()),
        grounded: of(grounded.count()),
        calibrated_on,
    }
}

fn samples(scenarios: &[&BridgeExample], written: &[Reasoned]) -> Vec<Sample> {
    let both: Vec<(&BridgeExample, &Reasoned)> = scenarios.iter().copied().zip(written).collect();
    select::evenly(&both, SAMPLES)
        .map(|(scenario, answer)| Sample {
            id: scenario.about.id.clone(),
            prompt: scenario.messages[0].content.clone(),
            answer: answer.text.clone(),
            net_return: scenario.about.net_return,
        })
        .collect()
}
