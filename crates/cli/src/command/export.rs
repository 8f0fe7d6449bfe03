//! `foretune export`: a trained adapter, or what arms decided, in the forms other programs load.

mod bundle;
mod merged;
mod signals;

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use weights::convert::FileType;
use weights::{BaseModel, WeightsError, lora_gguf, peft};

pub(crate) use merged::write as write_merged;

use crate::arguments::Global;
use crate::exit::{Exit, Stop};
use crate::files;
use crate::flow;
use crate::output::Printed;
use crate::run::{Run, sha256_of};

/// The forms.
#[derive(Debug, Subcommand)]
pub(crate) enum Typed {
    /// Write a PEFT directory (transformers, vLLM, TRL)
    Peft(Target),
    /// Write a LoRA GGUF (llama.cpp, ollama)
    LoraGguf(LoraTarget),
    /// Merge the adapter into its base model and write one GGUF file (llama.cpp, ollama)
    Gguf(merged::Typed),
    /// Write a directory for `ollama create`: Modelfile, model and adapter
    Ollama(bundle::Typed),
    Signals(signals::Typed),
}

/// Which run, and where to.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  foretune export peft runs/quickstart --out adapter
  foretune export lora-gguf runs/quickstart
  llama-cli -m base.gguf --lora runs/quickstart/adapter.gguf")]
pub(crate) struct Target {
    /// Run directory
    #[arg(value_name = "RUN")]
    run: PathBuf,
    /// Where to write [default: RUN/peft]
    #[arg(long, value_name = "PATH")]
    out: Option<PathBuf>,
}

/// Which run, in how many bits, and where to.
#[derive(Args, Debug)]
#[command(after_help = "\
A matrix whose rows are no multiple of 32 values is stored in f16 with --type q8_0; the
rows of B are as long as the rank.

Examples:
  foretune export lora-gguf runs/quickstart
  foretune export lora-gguf runs/quickstart --type f16 --out adapter-f16.gguf
  llama-cli -m base.gguf --lora runs/quickstart/adapter.gguf")]
pub(crate) struct LoraTarget {
    /// Run directory
    #[arg(value_name = "RUN")]
    run: PathBuf,
    /// How the matrices are stored: f32, f16, bf16, q8_0
    #[arg(long = "type", value_name = "TYPE", default_value = "f32", value_parser = lora_type)]
    kind: FileType,
    /// Where to write [default: RUN/adapter.gguf, or RUN/export/adapter-TYPE.gguf]
    #[arg(long, value_name = "PATH")]
    out: Option<PathBuf>,
}

fn lora_type(text: &str) -> Result<FileType, String> {
    match text.parse() {
        Ok(FileType::Q4_K_M) | Err(_) => {
            Err(format!("`{text}` is none of f32, f16, bf16 and q8_0"))
        }
        Ok(kind) => Ok(kind),
    }
}

/// Runs the command.
///
/// # Errors
/// When the run has no usable adapter, the base model is another one than it was
/// trained on, or the target cannot be written.
pub(crate) fn run(typed: &Typed, _: &Global) -> anyhow::Result<Printed> {
    match typed {
        Typed::Peft(target) => run_peft(target),
        Typed::LoraGguf(target) => run_lora_gguf(target),
        Typed::Gguf(typed) => merged::run(typed),
        Typed::Ollama(typed) => bundle::run(typed),
        Typed::Signals(typed) => signals::run(typed),
    }
}

fn run_peft(target: &Target) -> anyhow::Result<Printed> {
    let run = Run::open(&target.run)?;
    let out = target.out.clone();
    let out = out.unwrap_or_else(|| run.folder.join("peft"));
    refuse_folder(&out)?;
    let (tensors, config) = peft::read(&run.peft())?;
    peft::write(&out, &tensors, &config)?;
    let written = ["adapter_config.json", "adapter_model.safetensors"];
    printed("peft", &written.map(|name| out.join(name)), Value::Null)
}

fn run_lora_gguf(target: &LoraTarget) -> anyhow::Result<Printed> {
    let run = Run::open(&target.run)?;
    let out = target.out.clone().unwrap_or_else(|| match target.kind {
        FileType::F32 => run.gguf(),
        kind => run.export().join(format!("adapter-{kind}.gguf")),
    });
    let base = open_base(&run, &out)?;
    gguf_as(&run, base.config(), &out, target.kind)?;
    printed("lora-gguf", &[out], Value::Null)
}

/// Opens the base model a run was trained on, for writing something to `out`.
fn open_base(run: &Run, out: &Path) -> anyhow::Result<BaseModel> {
    refuse_file(out)?;
    let base = flow::base::fetch(&run.record.model)?;
    if same_file(out, &base) {
        let message = format!("`{}` is the base model", out.display());
        return Err(Stop::new(Exit::Usage, message).hint(ELSEWHERE).into());
    }
    let base = BaseModel::open(&base)?;
    same_base(run, base.sha256()?)?;
    Ok(base)
}

/// Lists the files written, with what else there is to tell.
fn printed(form: &str, written: &[PathBuf], more: Value) -> anyhow::Result<Printed> {
    let mut listed = Vec::new();
    let mut lines = Vec::new();
    for path in written {
        let bytes = std::fs::metadata(path)?.len();
        listed.push(json!({"path": path, "bytes": bytes, "sha256": sha256_of(path)?}));
        lines.push(format!("wrote {} ({bytes} bytes)", path.display()));
    }
    let mut data = json!({"form": form, "files": listed});
    if let Value::Object(more) = more {
        data.as_object_mut()
            .into_iter()
            .for_each(|data| data.extend(more.clone()));
    }
    Ok(Printed::new(data, lines.join("\n")))
}

const ELSEWHERE: &str = "name another place with --out";

/// Refuses to replace a file that is no GGUF file.
fn refuse_file(out: &Path) -> anyhow::Result<()> {
    let Ok(found) = std::fs::metadata(out) else {
        return Ok(());
    };
    let mut start = [0; weights::gguf::MAGIC.len()];
    let is_gguf = found.is_file() && {
        let mut file =
            File::open(out).with_context(|| format!("cannot read `{}`", out.display()))?;
        file.read_exact(&mut start).is_ok() && start == weights::gguf::MAGIC
    };
    if is_gguf {
        return Ok(());
    }
    let message = format!("`{}` exists and is not a GGUF file", out.display());
    Err(Stop::new(Exit::Usage, message).hint(ELSEWHERE).into())
}

/// Refuses to write an adapter among the files of something else.
fn refuse_folder(out: &Path) -> anyhow::Result<()> {
    files::check_directory(out)?;
    let Ok(mut entries) = std::fs::read_dir(out) else {
        return Ok(());
    };
    if entries.next().is_none() || out.join("adapter_config.json").exists() {
        return Ok(());
    }
    let message = format!("`{}` exists and is not an adapter directory", out.display());
    Err(Stop::new(Exit::Usage, message).hint(ELSEWHERE).into())
}

fn same_file(left: &Path, right: &Path) -> bool {
    match (left.canonicalize(), right.canonicalize()) {
        (Ok(left), Ok(right)) => left == right,
        _ => false,
    }
}

/// Writes a run's adapter for llama.cpp.
///
/// # Errors
/// When the adapter does not fit the base or the file cannot be written.
pub(crate) fn gguf(run: &Run, base: &weights::ModelConfig, out: &Path) -> anyhow::Result<()> {
    gguf_as(run, base, out, FileType::F32)
}

/// Writes a run's adapter for llama.cpp, its matrices stored as `kind`.
fn gguf_as(
    run: &Run,
    base: &weights::ModelConfig,
    out: &Path,
    kind: FileType,
) -> anyhow::Result<()> {
    let (tensors, _) = peft::read(&run.peft())?;
    if let Some(folder) = out.parent() {
        files::create_directory(folder)?;
    }
    let name = run.name();
    lora_gguf::write_as(out, &tensors, base, &name, kind).map_err(|error| match error {
        // What llama.cpp cannot take beside a base model it may take merged into it.
        error @ WeightsError::Adapter { .. } => {
            let message = "llama.cpp cannot be given this adapter beside its base model";
            let hint = format!(
                "merge it instead: `foretune export gguf {} --type q8_0`",
                run.folder.display()
            );
            let stop = Stop::new(Exit::Model, message).hint(hint);
            stop.caused_by(error).into()
        }
        error => error.into(),
    })
}

/// Refuses a base model other than the one the adapter was trained on.
///
/// # Errors
/// When the digests differ.
pub(crate) fn same_base(run: &Run, sha256: &str) -> Result<(), Stop> {
    if run.record.model_sha256 == sha256 {
        return Ok(());
    }
    let message = format!(
        "the base model `{}` has sha256 {sha256}, the adapter was trained on {}",
        run.record.model, run.record.model_sha256
    );
    Err(Stop::new(Exit::Model, message).hint("put the original file back, or train again"))
}
