//! A training by preference, from pairs to a run directory.

use std::path::Path;

use anyhow::Context;
use model::Lora;
use train::{DpoEvent, DpoRecord, Pair, RunFiles, StepRecord};

use super::base::Base;
use super::training;
use crate::progress::Progress;
use crate::run::{self, Preference, Record, Run, Training};
use crate::settings::Settings;
use crate::{interrupt, memory};

/// Where the pairs and the adapter come from.
pub(crate) struct Sources<'a> {
    /// The file of pairs.
    pub(crate) pairs: &'a Path,
    /// The run whose adapter the training starts from, if any.
    pub(crate) from: Option<&'a Path>,
    /// The data set that the run is evaluated on later.
    pub(crate) dataset: &'a Path,
}

/// Trains `lora` on `pairs`, of which so many were cut to fit, and writes the run directory `folder`. `resume`
/// continues from the checkpoint there.
///
/// # Errors
/// When the loss is not finite, the disk is full, or on Ctrl-C (after a
/// checkpoint).
pub(crate) fn train(
    settings: &Settings,
    sources: &Sources<'_>,
    (pairs, examples_cut): (&[Pair], usize),
    mut lora: Lora,
    base: &Base,
    folder: &Path,
    resume: bool,
) -> anyhow::Result<Run> {
    training::begin(settings, folder, resume)?;
    let run_files = RunFiles {
        directory: folder,
        resume,
        base_sha256: &base.identity(&settings.model),
    };
    let mut bar = Progress::start("reference", "pairs", None);
    let mut stepping = false;
    let trained = train::dpo(
        &base.decoder,
        &mut lora,
        pairs,
        (&settings.train, &settings.dpo),
        Some(run_files),
        &mut |event| {
            match event {
                DpoEvent::Reference { done, total } => {
                    bar.set_total(total as u64);
                    bar.set(done as u64);
                }
                DpoEvent::Step(step) => {
                    if !stepping {
                        stepping = true;
                        let next = Progress::start("train", "steps", None);
                        std::mem::replace(&mut bar, next).finish();
                    }
                    bar.set_total(step.total_steps as u64);
                    bar.set_note(format!(
                        "loss {:.3}, margin {:+.3}, right way round {:.0} %, {:.0} tokens/s{}",
                        step.loss,
                        step.reward_margin,
                        step.reward_accuracy * 100.0,
                        step.tokens_per_second,
                        memory::note()
                    ));
                    bar.set(step.step as u64);
                }
            }
            interrupt::flow()
        },
    );
    bar.finish();
    base.decoder.free_buffers();
    let summary = trained?;
    training::write_adapter(settings, base, &lora, folder)?;
    let training = Training {
        examples_available: pairs.len(),
        examples: summary.pairs,
        steps: summary.steps,
        tokens: summary.tokens,
        supervised_tokens: summary.supervised_tokens,
        tokens_per_second: summary.tokens_per_second,
        wall_seconds: summary.wall_seconds,
        peak_memory_bytes: memory::peak_bytes(),
        parameters: lora.parameters(),
        examples_cut,
        kept_step: summary.steps,
        stopped_early: false,
        history: summary.history.iter().map(as_step).collect(),
        validations: Vec::new(),
    };
    let mut record = Record::new(settings, &base.sha256, sources.dataset, training)?;
    let absolute = |path: &Path| {
        std::path::absolute(path).with_context(|| format!("cannot resolve `{}`", path.display()))
    };
    record.preference = Some(Preference {
        pairs: absolute(sources.pairs)?,
        pairs_sha256: run::sha256_of(sources.pairs)?,
        from: sources.from.map(absolute).transpose()?,
        history: summary.history,
    });
    Run::write(folder, record)
}

/// Returns what a step has in common with those of supervised training.
fn as_step(step: &DpoRecord) -> StepRecord {
    StepRecord {
        step: step.step,
        total_steps: step.total_steps,
        examples: step.pairs,
        loss: step.loss,
        learning_rate: step.learning_rate,
        gradient_norm: step.gradient_norm,
        tokens: step.tokens,
        rows: step.rows,
        seconds: step.seconds,
        tokens_per_second: step.tokens_per_second,
    }
}
