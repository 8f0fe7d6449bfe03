//! `foretune export`: a trained adapter in the forms other programs load.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Args, Subcommand};
use serde_json::json;
use weights::{BaseModel, lora_gguf, peft};

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
    LoraGguf(Target),
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
    /// Where to write [default: RUN/peft or RUN/adapter.gguf]
    #[arg(long, value_name = "PATH")]
    out: Option<PathBuf>,
}

/// Runs the command.
///
/// # Errors
/// When the run has no usable adapter, the base model is another one than it was
/// trained on, or the target cannot be written.
pub(crate) fn run(typed: &Typed, _: &Global) -> anyhow::Result<Printed> {
    let (form, target) = match typed {
        Typed::Peft(target) => ("peft", target),
        Typed::LoraGguf(target) => ("lora-gguf", target),
    };
    let run = Run::open(&target.run)?;
    if let Some(out) = &target.out {
        match typed {
            Typed::Peft(_) => refuse_folder(out)?,
            Typed::LoraGguf(_) => refuse_file(out)?,
        }
    }
    let written = match typed {
        Typed::Peft(_) => {
            let out = target
                .out
                .clone()
                .unwrap_or_else(|| run.folder.join("peft"));
            let (tensors, config) = peft::read(&run.peft())?;
            peft::write(&out, &tensors, &config)?;
            vec![
                out.join("adapter_config.json"),
                out.join("adapter_model.safetensors"),
            ]
        }
        Typed::LoraGguf(_) => {
            let out = target.out.clone().unwrap_or_else(|| run.gguf());
            let base = flow::base::fetch(&run.record.model)?;
            if same_file(&out, &base) {
                let message = format!("`{}` is the base model", out.display());
                return Err(Stop::new(Exit::Usage, message).hint(ELSEWHERE).into());
            }
            let base = BaseModel::open(&base)?;
            same_base(&run, base.sha256()?)?;
            gguf(&run, base.config(), &out)?;
            vec![out]
        }
    };
    let mut listed = Vec::new();
    let mut lines = Vec::new();
    for path in &written {
        let bytes = std::fs::metadata(path)?.len();
        listed.push(json!({"path": path, "bytes": bytes, "sha256": sha256_of(path)?}));
        lines.push(format!("wrote {} ({bytes} bytes)", path.display()));
    }
    Ok(Printed::new(
        json!({"form": form, "files": listed}),
        lines.join("\n"),
    ))
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
    let (tensors, _) = peft::read(&run.peft())?;
    if let Some(folder) = out.parent() {
        files::create_directory(folder)?;
    }
    let name = run
        .folder
        .file_name()
        .map_or_else(|| "adapter".into(), |name| name.to_string_lossy());
    Ok(lora_gguf::write(out, &tensors, base, &name)?)
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
