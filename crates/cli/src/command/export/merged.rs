//! `foretune export gguf`: base model and adapter as one file.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Value, json};
use weights::convert::{self, FileType, Job, Written};
use weights::{BaseModel, WeightsError, peft};

use super::{open_base, printed};
use crate::output::{self, Printed};
use crate::progress::Progress;
use crate::run::Run;
use crate::{files, interrupt};

/// Which run, in how many bits, and where to.
#[derive(Args, Debug)]
#[command(after_help = "\
Every weight is `W + scale * B A`, computed in f32 from the values of the base model's file and
only then stored as TYPE. A base model that is a directory is converted with its tokenizer and
chat template; the metadata of a GGUF base is copied. Matrices go through memory some rows at a
time, whatever the size of the model.

  f32, f16, bf16   as they are
  q8_0             8.5 bits a weight: the nearest to what was trained
  q4_k_m           about 4.9 bits, the mixture of types most such files have; rows that are no
                   multiple of 256 values become Q5_0 or Q8_0

A merged model in few bits is another model than base and adapter apart: `foretune check RUN
--merged TYPE` compares its decisions.

Examples:
  foretune export gguf runs/quickstart
  foretune export gguf runs/quickstart --type q4_k_m --out signal.gguf
  llama-cli -m signal.gguf")]
pub(crate) struct Typed {
    /// Run directory
    #[arg(value_name = "RUN")]
    run: PathBuf,
    /// How the weights are stored: f32, f16, bf16, q8_0, q4_k_m
    #[arg(long = "type", value_name = "TYPE", default_value = "q8_0")]
    kind: FileType,
    /// Where to write [default: RUN/export/model-TYPE.gguf]
    #[arg(long, value_name = "PATH")]
    out: Option<PathBuf>,
}

/// Runs the command.
///
/// # Errors
/// As [`write`], and when the run or its base model cannot be used.
pub(super) fn run(typed: &Typed) -> anyhow::Result<Printed> {
    let run = Run::open(&typed.run)?;
    let out = typed.out.clone();
    let out = out.unwrap_or_else(|| run.export().join(format!("model-{}.gguf", typed.kind)));
    let base = open_base(&run, &out)?;
    let written = write(&run, &base, typed.kind, &out)?;
    tell(&written);
    printed("gguf", &[out], told(&written))
}

/// Writes base and adapter as one file.
///
/// # Errors
/// When the adapter does not fit, a GGUF file cannot hold the tokenizer, the file cannot be
/// written, or on Ctrl-C.
pub(crate) fn write(
    run: &Run,
    base: &BaseModel,
    kind: FileType,
    out: &Path,
) -> anyhow::Result<Written> {
    let (adapter, _) = peft::read(&run.peft())?;
    if let Some(folder) = out.parent() {
        files::create_directory(folder)?;
    }
    let job = Job {
        base,
        adapter: Some(&adapter),
        file_type: kind,
        name: &run.name(),
    };
    let bytes = convert::tensor_bytes(job);
    let mut bar = Progress::start(&format!("merge to {kind}"), "bytes", Some(bytes));
    let written = convert::write(out, job, &mut |done, total| {
        bar.set((bytes as f64 * done as f64 / total.max(1) as f64) as u64);
        interrupt::flow()
    });
    bar.finish();
    match written {
        Err(WeightsError::Interrupted) => Err(interrupt::stopped().into()),
        written => Ok(written?),
    }
}

/// Tells the person watching what is not as they may expect.
pub(super) fn tell(written: &Written) {
    if written.rounded_again > 0 {
        output::warn(&format!(
            "{} matrices were stored in blocks already and are now rounded a second time; a base \
             model in F16 or BF16 gives a better merged model",
            written.rounded_again
        ));
    }
    if let Some((name, wanted, used)) = written.fallbacks.first() {
        output::note(&format!(
            "{} matrices have rows that are no whole number of blocks, such as `{name}`: stored as \
             {used} instead of {wanted}",
            written.fallbacks.len()
        ));
    }
    for note in &written.notes {
        output::warn(note);
    }
}

/// Returns what was written for programs.
pub(super) fn told(written: &Written) -> Value {
    let fallbacks: Vec<Value> = written
        .fallbacks
        .iter()
        .map(|(name, wanted, used)| {
            json!({"tensor": name, "wanted": wanted.name(), "used": used.name()})
        })
        .collect();
    json!({
        "types": written.types, "fallbacks": fallbacks, "merged": written.merged,
        "rounded_again": written.rounded_again, "notes": written.notes,
    })
}
