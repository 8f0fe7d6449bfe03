//! The evaluation of a run: all arms scored on the held-out decisions, logged,
//! and written as `report.json` and `report.html`.

use std::path::{Path, PathBuf};

use dataset::Dataset;
use model::{Lora, generate};
use serve::evaluation::{self, ArmDecisions, BASE, Evaluation};
use serve::log::{Outcome, Record, SCHEMA, Writer};
use serve::report::{self as page, Sample};

use super::arms::{self, Scored};
use super::base::Base;
use super::examples::World;
use super::llama;
use super::report::{self, Parts};
use super::{select, trials};
use crate::progress::Progress;
use crate::run::{self, Run};
use crate::settings::{AnswerForm, Settings};
use crate::{files, interrupt};

/// Held-out prompts shown on the page with both models' answers.
const SAMPLES: usize = 3;

/// What an evaluation needs besides the settings.
#[derive(Debug)]
pub(crate) struct Input<'a> {
    /// The run.
    pub(crate) run: &'a Run,
    /// Its base model.
    pub(crate) base: &'a Base,
    /// Its adapter.
    pub(crate) adapter: &'a Lora,
    /// Its data set.
    pub(crate) dataset: &'a Dataset,
    /// The truth, for a synthetic world.
    pub(crate) world: Option<&'a World>,
    /// The comparison with llama.cpp, if it was made.
    pub(crate) check: Option<&'a llama::Outcome>,
    /// What the reader should know.
    pub(crate) warnings: &'a [String],
    /// Where the time went before.
    pub(crate) timings: Vec<page::Timing>,
}

/// What an evaluation leaves behind.
#[derive(Debug)]
pub(crate) struct Evaluated {
    /// The content of `report.json`.
    pub(crate) report: page::Report,
    /// The page.
    pub(crate) html: PathBuf,
}

/// Evaluates a run and writes log, report and page.
///
/// # Errors
/// When a part has nothing to score, a file cannot be written, or on Ctrl-C.
pub(crate) fn evaluate(settings: &Settings, input: Input<'_>) -> anyhow::Result<Evaluated> {
    let started = std::time::Instant::now();
    let scored = arms::score(input.dataset, input.base, input.adapter, &settings.evaluate)?;
    let samples = samples(settings, &input, &scored)?;
    let decided: Vec<ArmDecisions> = scored.arms.iter().map(|arm| arm.decided.clone()).collect();
    let evaluation = score(settings, &input, &scored, &decided)?;
    interrupt::check()?;
    let standing = trials::record(settings, input.run, input.dataset, &scored)?;
    let folder = &input.run.folder;
    write_log(&folder.join("decisions.jsonl"), &input, &scored)?;
    let mut timings = input.timings;
    timings.push(page::Timing {
        stage: "evaluate".to_owned(),
        seconds: started.elapsed().as_secs_f64(),
    });
    let parts = Parts {
        run: input.run,
        dataset: input.dataset,
        world: input.world,
        check: input.check,
        warnings: input.warnings,
        scored: &scored,
        timings,
        trials: Some(standing),
    };
    let (report, page_data) = report::assemble(settings, &parts, evaluation, decided, samples)?;
    files::write_json(&folder.join("report.json"), &report)?;
    let html = folder.join("report.html");
    files::write(&html, page::html(&report, &page_data).as_bytes())?;
    Ok(Evaluated { report, html })
}

fn score(
    settings: &Settings,
    input: &Input<'_>,
    scored: &Scored<'_>,
    decided: &[ArmDecisions],
) -> anyhow::Result<Evaluation> {
    let chosen = &settings.evaluate;
    let how = evaluation::Settings {
        horizon: input.dataset.settings.horizon(),
        replicates: chosen.replicates,
        level: chosen.level,
        seed: chosen.seed,
        cost_per_side: chosen.cost_per_side,
        bayes_accuracy: input.world.and_then(|world| world.bayes_accuracy),
        calibration_decisions: scored.calibration_decisions,
    };
    Ok(evaluation::evaluate(&scored.rows, decided, &how)?)
}

/// Lets both models answer a few held-out prompts in full.
fn samples(
    settings: &Settings,
    input: &Input<'_>,
    scored: &Scored<'_>,
) -> anyhow::Result<Vec<Sample>> {
    let chosen: Vec<_> = select::evenly(&scored.test, SAMPLES).collect();
    let text = &input.base.text;
    let prompts = text.prompts(&chosen)?;
    let mut bar = Progress::start("answer samples", "prompts", Some(2 * prompts.len() as u64));
    let mut answers = Vec::with_capacity(2);
    let form = match settings.answers.form {
        AnswerForm::Free => None,
        AnswerForm::Decision => Some(text.decision_form()?),
    };
    let options = generate::Options {
        max_new: settings.check.max_new_tokens,
        stop: &text.stop,
        top: 1,
        sampling: settings.answers.sampling(),
        form: form.as_ref(),
    };
    for lora in [None, Some(input.adapter)] {
        let before = answers.len() * prompts.len();
        let generated = generate::generate(
            &input.base.decoder,
            lora,
            &prompts,
            &options,
            &mut |done, _| {
                bar.set((before + done) as u64);
                interrupt::flow()
            },
        )?;
        let texts: Result<Vec<String>, _> = generated
            .iter()
            .map(|answer| text.tokenizer.decode_plain(&answer.tokens()))
            .collect();
        answers.push(texts?);
    }
    bar.finish();
    let adapter = answers.pop().unwrap_or_default();
    let base = answers.pop().unwrap_or_default();
    let rows = chosen.iter().zip(base.into_iter().zip(adapter));
    Ok(rows
        .map(|(example, (base, adapter))| Sample {
            instrument: example.instrument.clone(),
            decision_time: example.decision_time,
            prompt: example.prompt().to_owned(),
            label: example.label.index(),
            base: Some(base),
            adapter: Some(adapter),
        })
        .collect())
}

/// Writes every arm's decisions, replacing an older log of the same run.
fn write_log(path: &Path, input: &Input<'_>, scored: &Scored<'_>) -> anyhow::Result<()> {
    let folder = tempfile::Builder::new()
        .prefix(".decisions-")
        .tempdir_in(&input.run.folder)?;
    let temporary = folder.path().join("decisions.jsonl");
    let adapter_sha256 = input.run.adapter_sha256()?;
    let mut writer = Writer::open(&temporary)?;
    for arm in &scored.arms {
        let is_model = arm.raw.is_some() && arm.decided.name != evaluation::LOGISTIC;
        let is_adapter = is_model && arm.decided.name != BASE;
        for (row, example) in scored.test.iter().enumerate() {
            let Some(probabilities) = &arm.decided.probabilities else {
                continue;
            };
            writer.append(&Record {
                schema: SCHEMA,
                arm: arm.decided.name.clone(),
                instrument: example.instrument.clone(),
                decision_time: example.decision_time,
                decision: arm.decided.decisions[row],
                probabilities: probabilities[row],
                raw_probabilities: arm.raw.as_ref().map(|raw| raw[row]),
                answer: None,
                outcome: Some(Outcome {
                    label: example.label.index(),
                    outcome_return: example.outcome_return,
                }),
                model_sha256: is_model.then(|| input.base.sha256.clone()),
                adapter_sha256: is_adapter.then(|| adapter_sha256.clone()),
                prompt_sha256: is_model.then(|| run::sha256(example.prompt().as_bytes())),
            })?;
        }
    }
    writer.sync()?;
    drop(writer);
    std::fs::rename(&temporary, path)?;
    Ok(())
}
