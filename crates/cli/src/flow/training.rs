//! A training from a data set to a run directory.

use std::path::Path;

use model::Lora;
use train::Event;
use train::RunFiles;
use weights::peft::{self, PeftConfig};

use super::base::Base;
use super::corpus::{Corpus, Tokens};
use super::shorten::Limit;
use crate::progress::Progress;
use crate::run::{self, Record, Run, Training};
use crate::settings::Settings;
use crate::{files, interrupt, memory, output};

/// Trains an adapter on `corpus`, read from `dataset_folder`, and writes the run directory `folder`. `resume`
/// continues from the checkpoint there.
///
/// # Errors
/// When an example does not fit the model, the loss is not finite, the disk is
/// full, or on Ctrl-C (after a checkpoint).
pub(crate) fn train(
    settings: &Settings,
    corpus: &Corpus,
    dataset_folder: &Path,
    base: &Base,
    folder: &Path,
    resume: bool,
) -> anyhow::Result<(Run, Lora)> {
    let Tokens {
        examples,
        cut: examples_cut,
        validation,
    } = corpus.encode(settings, base)?;
    let limit = Limit::from(&settings.train);
    if let Some(note) = limit.note(examples_cut, examples.len()) {
        output::warn(&note);
    }
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
        validation.as_ref(),
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
        examples_available: corpus.available(),
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
