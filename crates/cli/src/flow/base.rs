//! The base model of a command: fetched, opened, loaded.

use std::path::{Path, PathBuf};

use anyhow::Context;
use model::{ChatTemplate, Decoder, Tokenizer};
use weights::source::{self, Progress as Fetch};
use weights::{BaseModel, WeightsError};

use super::text::Text;
use crate::interrupt;
use crate::progress::Progress;

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
pub(crate) fn load(source: &str, path: &Path) -> anyhow::Result<Base> {
    let files = BaseModel::open(path)?;
    let text = read_text(&files, path)?;
    let mut bar = Progress::start("load weights", "tensors", None);
    let decoder = Decoder::load(&files, &mut |done, total| {
        bar.set_total(total as u64);
        bar.set(done as u64);
        interrupt::flow()
    });
    bar.finish();
    Ok(Base {
        source: source.to_owned(),
        sha256: files.sha256()?.to_owned(),
        gguf: files.gguf_path().map(Path::to_owned),
        text,
        decoder: decoder?,
    })
}

fn read_text(files: &BaseModel, path: &Path) -> anyhow::Result<Text> {
    let cannot_use = |what: &str| format!("cannot use the {what} of `{}`", path.display());
    let template: Result<&str, WeightsError> = files.chat_template();
    let template = ChatTemplate::new(template?, files.bos_token(), files.eos_token())
        .with_context(|| cannot_use("chat template"))?;
    let tokenizer =
        Tokenizer::from_json(&files.tokenizer_json()?).with_context(|| cannot_use("tokenizer"))?;
    Text::new(path, tokenizer, template, &files.config().eos)
}
