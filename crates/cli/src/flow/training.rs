//! A training from a data set to a run directory.

use std::path::Path;

use dataset::{Dataset, Example};
use model::Lora;
use train::RunFiles;
use train::{Event, Validation};
use weights::peft::{self, PeftConfig};

use super::base::Base;
use super::select;
use super::shorten::Limit;
use crate::progress::Progress;
use crate::run::{self, Record, Run, Training};
use crate::settings::Settings;
use crate::{files, interrupt, memory, output};

/// Trains an adapter on the training part of `dataset`, read from
/// `dataset_folder`, and writes the run directory `folder`. `resume`
/// continues from the checkpoint there.
///
/// # Errors
/// When an example does not fit the model, the loss is not finite, the disk is
/// full, or on Ctrl-C (after a checkpoint).
pub(crate) fn train(
    settings: &Settings,
    dataset: &Dataset,
    dataset_folder: &Path,
    base: &Base,
    folder: &Path,
    resume: bool,
) -> anyhow::Result<(Run, Lora)> {
    let chosen = select::training(&dataset.train, settings.train.max_examples);
    let limit = Limit::from(&settings.train);
    let (examples, examples_cut) = base.text.conversations(&chosen, limit)?;
    if let Some(note) = limit.note(examples_cut, examples.len()) {
        output::warn(&note);
    }
    let validation = validation(settings, dataset, base)?;
    let mut lora = Lora::new(
        base.decoder.config(),
        settings.train.lora()?,
        settings.train.seed,
    )?;
    begin(settings, folder, resume)?;
    let run_files = RunFiles {
        directory: folder,
        resume,
        base_sha256: &base.identity(&settings.model),
    };
    let mut bar = Progress::start("train", "steps", None);
    let mut accuracy = String::new();
    let trained = train::sft(
        &base.decoder,
        &mut lora,
        &examples,
        Some(&validation),
        &settings.train,
        Some(run_files),
        &mut |event| {
            match event {
                Event::Step(step) => {
                    bar.set_total(step.total_steps as u64);
                    bar.set_note(format!(
                        "loss {:.3}, {:.0} tokens/s{accuracy}{}",
                        step.loss,
                        step.tokens_per_second,
                        memory::note()
                    ));
                    bar.set(step.step as u64);
                }
                Event::Validated(found) => {
                    let best = match found.best_step {
                        Some(best) if best < found.step => format!(" (best at step {best})"),
                        _ => String::new(),
                    };
                    accuracy = format!(
                        ", validation loss {:.3}{best}, decisions {:.0} %",
                        found.validation_loss,
                        found.validation_decision_accuracy * 100.0
                    );
                }
            }
            interrupt::flow()
        },
    );
    bar.finish();
    base.decoder.free_buffers();
    let summary = trained?;
    write_adapter(settings, base, &lora, folder)?;
    let training = Training {
        examples_available: dataset.train.len(),
        examples: summary.examples,
        steps: summary.steps,
        tokens: summary.tokens,
        supervised_tokens: summary.supervised_tokens,
        tokens_per_second: summary.tokens_per_second,
        wall_seconds: summary.wall_seconds,
        peak_memory_bytes: memory::peak_bytes(),
        parameters: lora.parameters(),
        examples_cut,
        kept_step: summary.kept_step,
        stopped_early: summary.stopped_early,
        history: summary.history,
        validations: summary.validations,
    };
    let record = Record::new(settings, &base.sha256, dataset_folder, training)?;
    let run = Run::write(folder, record)?;
    Ok((run, lora))
}

/// Makes the run directory; a resumed run keeps the settings it has until it is done.
///
/// # Errors
/// When they cannot be written.
pub(super) fn begin(settings: &Settings, folder: &Path, resume: bool) -> anyhow::Result<()> {
    files::create_directory(folder)?;
    if resume {
        return Ok(());
    }
    write_settings(settings, folder)
}

/// Puts a trained adapter and its settings in the place of what an earlier
/// training left: only now is it certain that this one belongs here.
///
/// # Errors
/// When they cannot be written.
pub(super) fn write_adapter(
    settings: &Settings,
    base: &Base,
    lora: &Lora,
    folder: &Path,
) -> anyhow::Result<()> {
    run::begin(folder)?;
    write_settings(settings, folder)?;
    let config = PeftConfig {
        base_model_name_or_path: base.source.clone(),
    };
    let tensors = lora.to_tensors(base.decoder.config());
    Ok(peft::write(&folder.join("adapter"), &tensors, &config)?)
}

fn write_settings(settings: &Settings, folder: &Path) -> anyhow::Result<()> {
    let text = settings.to_toml()?;
    files::write(&folder.join("settings.toml"), text.as_bytes())
}

/// Returns held-out examples to watch while training.
fn validation(settings: &Settings, dataset: &Dataset, base: &Base) -> anyhow::Result<Validation> {
    let most = settings.train.validation_examples;
    let chosen: Vec<&Example> = if most == 0 {
        Vec::new()
    } else {
        select::decisions(&dataset.validation, dataset.settings.horizon(), most)
    };
    if chosen.is_empty() {
        output::warn("no validation during training: `train.validation_examples` is 0");
    }
    Ok(Validation {
        examples: base
            .text
            .conversations(&chosen, Limit::from(&settings.train))?
            .0,
        labels: chosen.iter().map(|example| example.label.index()).collect(),
        tokens: base.text.decisions.clone(),
    })
}
