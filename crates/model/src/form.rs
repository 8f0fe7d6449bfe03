//! Answers of a given form: the text must begin with one of several given texts, such as
//! `DECISION: BUY - `, and goes on freely.
//!
//! A token may be chosen as long as the text so far can still become one of them, however the
//! tokenizer would have cut it; a token that completes one and begins the free part counts too.
//! All other tokens are masked and the probabilities of those left add up to 1. Once a form is
//! complete nothing is masked. Tokens that hold a part of a character are never chosen within a
//! form.

use std::collections::BTreeMap;

use crate::ModelError;
use crate::tokenizer::Tokenizer;

/// An ordinary text whose token stands before the one looked at, because some tokenizers drop the
/// space of a token that comes first.
const ANCHOR: &str = "a";

/// Texts an answer may begin with, prepared for a tokenizer.
#[derive(Clone, Debug)]
pub struct Form {
    texts: Vec<String>,
    /// For every unfinished beginning of a form: the tokens that may follow, with their texts.
    next: BTreeMap<String, Vec<(u32, String)>>,
}

/// How much of a form an answer has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    /// The text so far; none once a form is complete.
    done: Option<String>,
}

impl Form {
    /// Prepares the forms `texts` for a tokenizer.
    ///
    /// # Errors
    /// [`ModelError::Form`] when there is no text, one is empty, or the tokenizer has no tokens to
    /// write one.
    pub fn new(tokenizer: &Tokenizer, texts: &[&str]) -> Result<Self, ModelError> {
        let unusable = |message: String| ModelError::Form { message };
        if texts.is_empty() || texts.contains(&"") {
            return Err(unusable("there is no text to begin an answer with".into()));
        }
        let words = token_texts(tokenizer)?;
        let mut next: BTreeMap<String, Vec<(u32, String)>> = BTreeMap::new();
        let mut open = vec![String::new()];
        while let Some(done) = open.pop() {
            if next.contains_key(&done) {
                continue;
            }
            let rests: Vec<&str> = texts.iter().filter_map(|t| t.strip_prefix(&done)).collect();
            let fits = |word: &str| {
                let mut rests = rests.iter();
                rests.any(|rest| rest.starts_with(word) || word.starts_with(rest))
            };
            let following: Vec<(u32, String)> = words
                .iter()
                .filter(|(_, word)| fits(word))
                .cloned()
                .collect();
            if following.is_empty() {
                let message = format!("the tokenizer cannot go on after {done:?}");
                return Err(unusable(message));
            }
            let longer = following.iter().map(|(_, word)| format!("{done}{word}"));
            open.extend(longer.filter(|text| !complete(texts, text)));
            next.insert(done, following);
        }
        Ok(Self {
            texts: texts.iter().map(|text| (*text).to_owned()).collect(),
            next,
        })
    }

    /// Returns the most tokens the fixed part can take.
    pub fn longest(&self) -> usize {
        self.texts
            .iter()
            .map(|text| text.chars().count())
            .max()
            .unwrap_or(0)
    }

    /// Returns whether `answer` begins with one of the forms.
    pub fn fits(&self, answer: &str) -> bool {
        self.texts.iter().any(|text| answer.starts_with(text))
    }

    pub(crate) fn begin() -> Progress {
        Progress {
            done: Some(String::new()),
        }
    }

    /// Sets the logits of tokens that cannot follow to minus infinity.
    pub(crate) fn mask(&self, progress: &Progress, logits: &mut [f32]) {
        let Some(following) = progress.done.as_ref().and_then(|done| self.next.get(done)) else {
            return;
        };
        let mut masked = vec![f32::NEG_INFINITY; logits.len()];
        for (token, _) in following {
            if let Some(logit) = logits.get(*token as usize) {
                masked[*token as usize] = *logit;
            }
        }
        logits.copy_from_slice(&masked);
    }

    /// Takes note of a chosen token.
    pub(crate) fn advance(&self, progress: &mut Progress, token: u32) {
        let Some(done) = &progress.done else {
            return;
        };
        let word = self
            .next
            .get(done)
            .and_then(|following| following.iter().find(|(id, _)| *id == token));
        progress.done = word
            .map(|(_, word)| format!("{done}{word}"))
            .filter(|text| self.next.contains_key(text));
    }
}

/// Returns whether `text` is a whole form, maybe with more behind it.
fn complete(forms: &[&str], text: &str) -> bool {
    forms.iter().any(|form| text.starts_with(form))
}

/// Returns every token that writes whole characters, with what it writes in the middle of a text.
fn token_texts(tokenizer: &Tokenizer) -> Result<Vec<(u32, String)>, ModelError> {
    let fail = |error: crate::TextError| ModelError::Form {
        message: error.to_string(),
    };
    let anchor = tokenizer.encode(ANCHOR).map_err(fail)?;
    let before = tokenizer.decode(&anchor).map_err(fail)?;
    let mut texts = Vec::new();
    for id in 0..tokenizer.vocab_size() as u32 {
        if tokenizer.token(id).is_none() {
            continue;
        }
        let both = tokenizer
            .decode(&[&anchor[..], &[id]].concat())
            .map_err(fail)?;
        if let Some(text) = both.strip_prefix(&before)
            && !text.is_empty()
            && !text.contains('\u{fffd}')
        {
            texts.push((id, text.to_owned()));
        }
    }
    Ok(texts)
}
