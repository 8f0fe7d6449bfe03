//! The page of a data set: written beside its files, outside the manifest, so that it can be made
//! again at any time and a build stays the same byte for byte with and without a tokenizer.

use std::path::{Path, PathBuf};

use dataset::Message;
use serve::report::dataset::{Page, Ruler, html, read};

use super::base;
use super::text::Text;
use crate::settings::Model;
use crate::{files, interrupt};

/// The page in a data set's directory.
pub(crate) const PAGE: &str = "page.html";

/// What lengths are counted with: a base model's tokenizer, or none.
#[derive(Debug)]
pub(crate) struct Counting {
    base: Option<(String, Text)>,
}

impl Counting {
    /// Opens the tokenizer and chat template of a base model, if one is named; no weights are
    /// read.
    ///
    /// # Errors
    /// As [`base::fetch`] and [`base::open`].
    pub(crate) fn open(source: Option<&str>, settings: &Model) -> anyhow::Result<Self> {
        let open = |source: &str| {
            let (_, text) = base::open(&base::fetch(source)?, settings)?;
            Ok::<_, anyhow::Error>((source.to_owned(), text))
        };
        Ok(Self {
            base: source.map(open).transpose()?,
        })
    }

    /// Reads a data set and writes its page into it; returns both.
    ///
    /// # Errors
    /// On a file that is missing, unreadable or none of a data set, and on Ctrl-C.
    pub(crate) fn write(&self, directory: &Path) -> anyhow::Result<(Page, PathBuf)> {
        let mut measure = |turns: &[Message]| {
            if interrupt::check().is_err() {
                return Err("interrupted".to_owned());
            }
            Ok(match &self.base {
                Some((_, text)) => text.length(turns).map_err(|error| error.to_string())?,
                None => turns.iter().map(|turn| turn.content.chars().count()).sum(),
            })
        };
        let (unit, note) = match &self.base {
            Some((source, _)) => (
                "tokens",
                format!("Tokens of {source}, its chat template around them."),
            ),
            None => (
                "characters",
                "No base model was named, so these are characters of prompt and answer; `foretune report DIR --base MODEL` counts tokens.".to_owned(),
            ),
        };
        let mut ruler = Ruler {
            unit,
            note,
            measure: &mut measure,
        };
        let read = read(directory, &mut ruler);
        // An interruption comes out as a line that cannot be measured.
        interrupt::check()?;
        let page = read?;
        let path = directory.join(PAGE);
        files::write(&path, html(&page).as_bytes())?;
        Ok((page, path))
    }
}
