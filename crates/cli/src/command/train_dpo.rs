//! `foretune train dpo`: an adapter learns from pairs of a better and a worse answer.

use std::path::PathBuf;

use clap::Args;
use model::Lora;
use serde_json::json;
use train::Keep;

use super::export;
use super::train_sft::{Length, refuse_foreign};
use crate::arguments::Global;
use crate::exit::{Exit, Stop};
use crate::files;
use crate::flow::base;
use crate::flow::corpus::Corpus;
use crate::flow::guard::Guard;
use crate::flow::preference::{self, Sources};
use crate::flow::shorten::Limit;
use crate::output::{self, Printed};
use crate::progress::spoken;
use crate::run::{self, Run};
use crate::settings::Settings;

/// Train an adapter by preference (DPO): a better answer against a worse one
///
/// Usually after supervised training, from whose adapter it starts (`--from`). The loss compares
/// the model with a reference, whose log-probabilities are computed once and kept in the run
/// directory. Each line of the pairs file is a JSON object with `prompt`, `chosen` and `rejected`,
/// each a text or a list of messages. A run that is already in the directory is moved aside.
#[derive(Args, Debug)]
#[command(after_help = format!("\
{}
  reference.jsonl             the reference's log-probabilities (dpo)

Examples:
  foretune train dpo --pairs pairs.jsonl --from runs/first --out runs/preferred
  foretune train dpo --pairs pairs.jsonl --from runs/first --set dpo.beta=0.3 --steps 100
  foretune train dpo --pairs pairs.jsonl --model ./Llama-3.2-1B-Instruct --dataset dataset", run::LAYOUT))]
pub(crate) struct Typed {
    /// File of preference pairs, JSON lines
    #[arg(long, value_name = "FILE")]
    pairs: PathBuf,
    /// Run whose adapter, base model and data set to start from
    #[arg(long, value_name = "RUN", conflicts_with_all = ["model", "dataset"])]
    from: Option<PathBuf>,
    /// Data set that the run is evaluated on [default: that of --from, or dataset]
    #[arg(long, value_name = "DIR")]
    dataset: Option<PathBuf>,
    /// Run directory
    #[arg(long, value_name = "DIR", default_value = "runs/dpo")]
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

/// Runs the command.
///
/// # Errors
/// When pairs, model or settings do not fit, or on Ctrl-C.
pub(crate) fn run(typed: &Typed, global: &Global) -> anyhow::Result<Printed> {
    model::share_one_heap();
    let mut settings = Settings::resolve(global, &typed.length.flags())?;
    typed.length.apply(&mut settings);
    settings.dpo.validate()?;
    if settings.train.keep == Keep::Best || settings.train.early_stopping > 0 {
        output::warn(
            "`train.keep` and `train.early_stopping` go by validations, which preference training has none of",
        );
    }
    files::check_directory(&typed.out)?;
    refuse_foreign(&typed.out)?;
    let start = typed.from.as_deref().map(Run::open).transpose()?;
    let dataset = match (&start, &typed.dataset) {
        (Some(run), _) => run.dataset(),
        (None, Some(dataset)) => dataset.clone(),
        (None, None) => PathBuf::from("dataset"),
    };
    let mut inputs = vec![typed.pairs.as_path(), dataset.as_path()];
    inputs.extend(typed.from.as_deref());
    run::refuse_own_input(&typed.out, typed.resume, &inputs)?;
    Corpus::read(&dataset)?;
    let pairs = dataset::read_pairs(&typed.pairs)?;
    if pairs.is_empty() {
        let message = format!("`{}` holds no pair", typed.pairs.display());
        return Err(Stop::new(Exit::Data, message).into());
    }
    if let Some(run) = &start {
        settings.model.source.clone_from(&run.record.model);
    }
    let base = base::load_if(
        &settings.model.source,
        &base::fetch(&settings.model.source)?,
        &settings.model,
        |files, text| typed.guard.dpo(&settings, &pairs, files, text),
    )?;
    let lora = match &start {
        Some(run) => {
            export::same_base(run, &base.sha256)?;
            run.adapter(base.decoder.config())?
        }
        None => Lora::new(
            base.decoder.config(),
            settings.train.lora()?,
            settings.train.seed,
        )?,
    };
    let limit = Limit::from(&settings.train);
    let (encoded, cut) = base.text.pairs(&pairs, limit)?;
    if let Some(note) = limit.note(cut, encoded.len()) {
        output::warn(&note);
    }
    run::make_room(&typed.out, typed.resume)?;
    let sources = Sources {
        pairs: &typed.pairs,
        from: typed.from.as_deref(),
        dataset: &dataset,
    };
    let run = preference::train(
        &settings,
        &sources,
        (&encoded, cut),
        lora,
        &base,
        &typed.out,
        typed.resume,
    )?;
    let data = json!({
        "run": typed.out,
        "training": run.record.training,
        "preference": run.record.preference,
    });
    Ok(Printed::new(data, text(&run)))
}

/// Returns the training in plain words.
fn text(run: &Run) -> String {
    let training = &run.record.training;
    let mut out = format!(
        "trained {} parameters on {} pairs (of {}) in {} steps, {} ({:.0} tokens/s)",
        training.parameters,
        training.examples,
        training.examples_available,
        training.steps,
        spoken(std::time::Duration::from_secs_f64(training.wall_seconds)),
        training.tokens_per_second
    );
    let history = run.record.preference.iter().flat_map(|p| &p.history);
    if let Some(last) = history.last() {
        out += &format!(
            "; at the end loss {:.3}, reward margin {:+.3}, {:.0} % of the batch the right way round",
            last.loss,
            last.reward_margin,
            last.reward_accuracy * 100.0
        );
    }
    out += &format!("\nrun directory: {}", run.folder.display());
    out
}
