//! `foretune export ollama`: a directory that `ollama create` takes.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Args, ValueEnum};
use model::{ChatTemplate, Tokenizer};
use serde_json::{Value, json};
use weights::BaseModel;
use weights::convert::FileType;

use super::{ELSEWHERE, gguf, merged, open_base};
use crate::exit::{Exit, Stop};
use crate::flow::ollama::{self, Chat, Parameters};
use crate::output::{self, Printed};
use crate::progress::Progress;
use crate::run::{Run, sha256_of};
use crate::{files, interrupt};

/// What the manifest of a bundle says it is.
const KIND: &str = "foretune-ollama";
/// The layout of the manifest.
const SCHEMA: u32 = 1;
/// Bytes copied between two looks at Ctrl-C.
const PIECE: usize = 8 << 20;

/// Which run, in which form, and where to.
#[derive(Args, Debug)]
#[command(after_help = "\
The directory holds all ollama needs: Modelfile (FROM, ADAPTER, TEMPLATE, SYSTEM, stop texts and
sampling), the model file, and with --form adapter the adapter beside a copy of the base model.
The chat template is written in ollama's language for ChatML, Llama 2 and 3, Mistral and DeepSeek
R1 when it gives the text of the model's own to the last character.

Examples:
  foretune export ollama runs/quickstart
  foretune export ollama runs/quickstart --form merged --type q4_k_m --out signal
  ollama create signal -f signal/Modelfile")]
pub(crate) struct Typed {
    /// Run directory
    #[arg(value_name = "RUN")]
    run: PathBuf,
    /// Adapter beside the base model, or merged [default: adapter for a GGUF base]
    #[arg(long, value_name = "FORM")]
    form: Option<Form>,
    /// How a merged model's weights are stored: f16, bf16, q8_0, q4_k_m
    #[arg(long = "type", value_name = "TYPE", default_value = "q8_0")]
    kind: FileType,
    /// Directory to write [default: RUN/export/ollama]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// What the model file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Form {
    /// The base model as it is, the adapter beside it.
    Adapter,
    /// Both in one.
    Merged,
}

/// Runs the command.
///
/// # Errors
/// When the run or its base model cannot be used, something else is in the way, the disk is full,
/// or on Ctrl-C; nothing is left of an unfinished bundle.
pub(super) fn run(typed: &Typed) -> anyhow::Result<Printed> {
    let run = Run::open(&typed.run)?;
    let out = typed.out.clone();
    let out = out.unwrap_or_else(|| run.export().join("ollama"));
    refuse_other(&out)?;
    let base = open_base(&run, &out.join("model.gguf"))?;
    let form = match (typed.form, base.gguf_path()) {
        (Some(Form::Adapter), None) => {
            let message = format!(
                "`{}` is a directory, and ollama needs a GGUF file beside an adapter",
                base.path().display()
            );
            let hint = "use --form merged, which converts the base model too";
            return Err(Stop::new(Exit::Model, message).hint(hint).into());
        }
        (Some(form), _) => form,
        (None, Some(_)) => Form::Adapter,
        (None, None) => Form::Merged,
    };
    let parent = match out.parent() {
        Some(parent) if parent != Path::new("") => parent.to_owned(),
        _ => PathBuf::from("."),
    };
    files::create_directory(&parent)?;
    let making = tempfile::Builder::new()
        .prefix(".foretune-")
        .tempdir_in(&parent)
        .with_context(|| format!("cannot create a directory in `{}`", parent.display()))?;
    let chat = fill(making.path(), &run, &base, form, typed.kind)?;
    let listed = manifest(making.path(), &run, form)?;
    put(making, &out)?;
    let mut lines = vec![format!("wrote {}", out.display())];
    for note in &chat.notes {
        output::warn(note);
    }
    let name = run.name();
    let modelfile = out.join("Modelfile");
    lines.push(format!("  ollama create {name} -f {}", modelfile.display()));
    let data = json!({"form": "ollama", "path": out, "files": listed, "dialect": chat.dialect,
                      "notes": chat.notes});
    Ok(Printed::new(data, lines.join("\n")))
}

/// Writes everything but the manifest.
fn fill(
    folder: &Path,
    run: &Run,
    base: &BaseModel,
    form: Form,
    kind: FileType,
) -> anyhow::Result<Chat> {
    let settings = &run.record.settings;
    let template = ChatTemplate::new(base.chat_template()?, base.bos_token(), base.eos_token())?;
    let template = match settings.model.thinking.flag() {
        Some(on) => template.with_flag("enable_thinking", on),
        None => template,
    };
    let chat = ollama::chat(&template, base.add_bos())?;
    let tokenizer = Tokenizer::from_json(&base.tokenizer_json()?)?;
    let mut stop: Vec<String> = vec![base.eos_token().to_owned()];
    stop.extend(
        base.config()
            .eos
            .iter()
            .filter_map(|id| tokenizer.token(*id)),
    );
    stop.retain(|text| !text.is_empty());
    stop.sort();
    stop.dedup();
    let (model, adapter) = if let (Form::Adapter, Some(path)) = (form, base.gguf_path()) {
        gguf(run, base.config(), &folder.join("adapter.gguf"))?;
        copy(path, &folder.join("base.gguf"))?;
        ("base.gguf", Some("adapter.gguf"))
    } else {
        let written = merged::write(run, base, kind, &folder.join("model.gguf"))?;
        merged::tell(&written);
        ("model.gguf", None)
    };
    let answer_tokens = settings.check.max_new_tokens;
    let context = (settings.train.max_tokens + answer_tokens).next_multiple_of(256);
    let parameters = Parameters {
        model,
        adapter,
        stop: &stop,
        answers: &settings.answers,
        context: context.min(base.config().max_position),
        answer_tokens,
    };
    let modelfile = ollama::modelfile(&chat, &parameters);
    files::write(&folder.join("Modelfile"), modelfile.as_bytes())?;
    let readme = ollama::readme(&chat, &parameters, &run.name(), &run.record.model);
    files::write(&folder.join("README.md"), readme.as_bytes())?;
    Ok(chat)
}

/// Copies a file, stopping on Ctrl-C.
fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    let fail = || format!("cannot copy `{}` to `{}`", from.display(), to.display());
    let mut source = File::open(from).with_context(fail)?;
    let total = source.metadata().with_context(fail)?.len();
    let mut target = File::create(to).with_context(fail)?;
    let mut bar = Progress::start("copy the base model", "bytes", Some(total));
    let mut buffer = vec![0; PIECE];
    let mut done = 0;
    loop {
        interrupt::check()?;
        let count = source.read(&mut buffer).with_context(fail)?;
        if count == 0 {
            break;
        }
        target.write_all(&buffer[..count]).with_context(fail)?;
        done += count as u64;
        bar.set(done);
    }
    bar.finish();
    target.sync_all().with_context(fail)
}

/// Writes the manifest and returns the files it lists.
fn manifest(folder: &Path, run: &Run, form: Form) -> anyhow::Result<Value> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    let mut listed = Vec::new();
    for name in names {
        let path = folder.join(&name);
        let bytes = fs::metadata(&path)?.len();
        listed.push(json!({"path": name, "bytes": bytes, "sha256": sha256_of(&path)?}));
    }
    let listed = Value::Array(listed);
    let document = json!({
        "schema": SCHEMA, "kind": KIND, "version": env!("CARGO_PKG_VERSION"),
        "form": match form { Form::Adapter => "adapter", Form::Merged => "merged" },
        "run": run.name(), "model": run.record.model, "model_sha256": run.record.model_sha256,
        "adapter_sha256": run.adapter_sha256()?, "files": listed,
    });
    files::write_json(&folder.join("manifest.json"), &document)?;
    Ok(listed)
}

/// Refuses to replace a directory that is no bundle.
fn refuse_other(out: &Path) -> anyhow::Result<()> {
    files::check_directory(out)?;
    let empty = fs::read_dir(out).map_or(true, |mut entries| entries.next().is_none());
    if empty || is_bundle(out) {
        return Ok(());
    }
    let message = format!("`{}` exists and is no bundle for ollama", out.display());
    Err(Stop::new(Exit::Usage, message).hint(ELSEWHERE).into())
}

fn is_bundle(folder: &Path) -> bool {
    let manifest = fs::read(folder.join("manifest.json")).ok();
    let manifest: Option<Value> = manifest.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    manifest.is_some_and(|manifest| manifest["kind"] == KIND)
}

/// Gives a finished directory its name; a bundle that was there is removed once it has.
fn put(making: tempfile::TempDir, out: &Path) -> anyhow::Result<()> {
    let fail = || format!("cannot create `{}`", out.display());
    let parent = making
        .path()
        .parent()
        .map(Path::to_owned)
        .unwrap_or_default();
    let old = tempfile::Builder::new()
        .prefix(".foretune-")
        .tempdir_in(&parent)
        .with_context(fail)?;
    let aside = old.path().join("bundle");
    let there = out.exists();
    if there {
        fs::rename(out, &aside).with_context(fail)?;
    }
    // Temporary directories are private to their owner.
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(making.path(), fs::Permissions::from_mode(0o755)).with_context(fail)?;
    }
    let renamed = fs::rename(making.path(), out);
    if renamed.is_err() && there {
        fs::rename(&aside, out).with_context(fail)?;
    }
    renamed.with_context(fail)?;
    let _ = making.keep();
    Ok(())
}
