//! Text to token ids and back, by the model's own `tokenizer.json`.
//!
//! Special tokens written in the text are parsed as such and nothing is ever added: what
//! a chat template renders is exactly what the model sees. Text that comes from data goes through
//! [`Tokenizer::encode_plain`], where they are letters like any other. It deliberately offers no
//! padding and no truncation.

use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};

use tokenizers::Tokenizer as Inner;

use crate::shield::shielded;
use crate::text_error::TextError;

/// A tokenizer built from a `tokenizer.json` document.
#[derive(Clone)]
pub struct Tokenizer {
    inner: Inner,
    /// The same, blind to special tokens; made when it is first needed.
    plain: Arc<OnceLock<Inner>>,
    /// Spellings of the special tokens with their ids, the longest first.
    special: Arc<[(String, u32)]>,
    /// The characters they begin with, few even where there are a thousand of them.
    starts: Arc<[char]>,
}

impl Tokenizer {
    /// Builds a tokenizer from the text of a `tokenizer.json`.
    ///
    /// # Errors
    /// [`TextError::Tokenizer`] when the document is not valid.
    pub fn from_json(json: &str) -> Result<Self, TextError> {
        let refused = |message: String| TextError::Tokenizer { message };
        // The library panics on some documents that are no JSON.
        serde_json::from_str::<serde::de::IgnoredAny>(json)
            .map_err(|error| refused(error.to_string()))?;
        let parsed: tokenizers::Result<Inner> = shielded(|| json.parse()).map_err(refused)?;
        let mut inner = parsed.map_err(|error| refused(error.to_string()))?;
        // A file may carry its trainer's padding and truncation; a text is never cut here.
        inner.with_padding(None);
        inner
            .with_truncation(None)
            .map_err(|error| TextError::Tokenizer {
                message: error.to_string(),
            })?;
        let mut special: Vec<(String, u32)> = inner
            .get_added_tokens_decoder()
            .into_iter()
            .filter(|(_, token)| token.special && !token.content.is_empty())
            .map(|(id, token)| (token.content, id))
            .collect();
        special.sort_by(|a, b| b.0.len().cmp(&a.0.len()).then_with(|| a.cmp(b)));
        let starts: BTreeSet<char> = special
            .iter()
            .filter_map(|(spelling, _)| spelling.chars().next())
            .collect();
        Ok(Self {
            inner,
            plain: Arc::default(),
            starts: starts.into_iter().collect(),
            special: special.into(),
        })
    }

    /// Returns the token ids of `text`; special tokens in it are parsed, none is added.
    ///
    /// # Errors
    /// [`TextError::Codec`] when the library fails.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, TextError> {
        encode_with(&self.inner, text)
    }

    /// Returns the token ids of `text` taken as data: what looks like a special token is spelled
    /// out in ordinary tokens.
    ///
    /// # Errors
    /// [`TextError::Codec`] when the library fails.
    pub fn encode_plain(&self, text: &str) -> Result<Vec<u32>, TextError> {
        let plain = self.plain.get_or_init(|| {
            let mut plain = self.inner.clone();
            plain.set_encode_special_tokens(true);
            plain
        });
        encode_with(plain, text)
    }

    /// Returns the first special token spelled in `text`: where, its spelling and its id.
    pub(crate) fn find_special<'a>(&'a self, text: &str) -> Option<(usize, &'a str, u32)> {
        text.char_indices().find_map(|(at, first)| {
            if !self.starts.contains(&first) {
                return None;
            }
            let rest = &text[at..];
            self.special
                .iter()
                .find(|(spelling, _)| rest.starts_with(spelling.as_str()))
                .map(|(spelling, id)| (at, spelling.as_str(), *id))
        })
    }

    /// Returns the text of `tokens`, special tokens included.
    ///
    /// # Errors
    /// [`TextError::Codec`] when a token is unknown to the decoder.
    pub fn decode(&self, tokens: &[u32]) -> Result<String, TextError> {
        self.decode_with(tokens, false)
    }

    /// Returns the text of `tokens` without special tokens, as a reader sees an answer.
    ///
    /// # Errors
    /// [`TextError::Codec`] when a token is unknown to the decoder.
    pub fn decode_plain(&self, tokens: &[u32]) -> Result<String, TextError> {
        self.decode_with(tokens, true)
    }

    /// Returns the id of the token spelled exactly `token`.
    pub fn token_id(&self, token: &str) -> Option<u32> {
        self.inner.token_to_id(token)
    }

    /// Returns the spelling of a token as the vocabulary stores it.
    pub fn token(&self, id: u32) -> Option<String> {
        self.inner.id_to_token(id)
    }

    /// Returns whether the token is a special one (an end of turn, not a word).
    pub fn is_special(&self, id: u32) -> bool {
        self.inner
            .get_added_tokens_decoder()
            .get(&id)
            .is_some_and(|token| token.special)
    }

    /// Returns the number of tokens, added ones included.
    pub fn vocab_size(&self) -> usize {
        self.inner.get_vocab_size(true)
    }

    fn decode_with(&self, tokens: &[u32], skip_special: bool) -> Result<String, TextError> {
        let failed = |message: String| TextError::Codec {
            action: "decode the tokens",
            message,
        };
        shielded(|| self.inner.decode(tokens, skip_special))
            .map_err(failed)?
            .map_err(|error| failed(error.to_string()))
    }
}

fn encode_with(inner: &Inner, text: &str) -> Result<Vec<u32>, TextError> {
    let failed = |message: String| TextError::Codec {
        action: "encode the text",
        message,
    };
    let encoding = shielded(|| inner.encode(text, false)).map_err(failed)?;
    let encoding = encoding.map_err(|error| failed(error.to_string()))?;
    Ok(encoding.get_ids().to_vec())
}
