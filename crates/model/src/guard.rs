//! Keeps data from being read as structure: a special token spelled in a message (`<|im_end|>` in
//! a user's text) must not end the turn.
//!
//! Every such spelling gets a mark inside before the template is rendered. Afterwards the text is
//! cut at the special tokens the template itself wrote, the marks are removed, and the pieces
//! between are encoded as plain text. Messages without such spellings, nearly all, go the direct
//! way and give the same ids. (A tokenizer of SentencePiece's kind may write one more space mark
//! before a piece; in training as in inference.)

use std::borrow::Cow;

use crate::chat::ChatMessage;
use crate::text_error::TextError;
use crate::tokenizer::Tokenizer;

/// Characters for private use, of which one that occurs in no message becomes the mark.
const MARKS: std::ops::RangeInclusive<char> = '\u{e000}'..='\u{e0ff}';

/// Remembers how messages were marked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Guard {
    mark: Option<char>,
}

impl Guard {
    /// Marks what needs it in `messages`.
    ///
    /// # Errors
    /// [`TextError::Unmarkable`] when the messages use every character that could be a mark.
    pub(crate) fn over<'a>(
        tokenizer: &Tokenizer,
        messages: &'a [ChatMessage],
    ) -> Result<(Self, Cow<'a, [ChatMessage]>), TextError> {
        let suspicious = |message: &ChatMessage| {
            tokenizer.find_special(&message.content).is_some()
                || tokenizer.find_special(&message.role).is_some()
        };
        if !messages.iter().any(suspicious) {
            return Ok((Self { mark: None }, Cow::Borrowed(messages)));
        }
        let free = |mark: &char| {
            let used = |message: &ChatMessage| {
                message.content.contains(*mark) || message.role.contains(*mark)
            };
            !messages.iter().any(used)
        };
        let mark = MARKS.into_iter().find(free).ok_or(TextError::Unmarkable)?;
        let marked = messages
            .iter()
            .map(|message| ChatMessage {
                role: marked(tokenizer, &message.role, mark),
                content: marked(tokenizer, &message.content, mark),
            })
            .collect();
        Ok((Self { mark: Some(mark) }, Cow::Owned(marked)))
    }

    /// Returns the tokens of a rendered text.
    ///
    /// # Errors
    /// [`TextError::Codec`] when the tokenizer fails.
    pub(crate) fn encode(self, tokenizer: &Tokenizer, text: &str) -> Result<Vec<u32>, TextError> {
        let Some(mark) = self.mark else {
            return tokenizer.encode(text);
        };
        let mut tokens = Vec::new();
        let mut rest = text;
        while let Some((at, spelling, id)) = tokenizer.find_special(rest) {
            tokens.extend(tokenizer.encode_plain(&rest[..at].replace(mark, ""))?);
            tokens.push(id);
            rest = &rest[at + spelling.len()..];
        }
        tokens.extend(tokenizer.encode_plain(&rest.replace(mark, ""))?);
        Ok(tokens)
    }
}

/// Writes the mark behind the first character of every special token spelled in `text`, also of
/// those that only appear within another.
fn marked(tokenizer: &Tokenizer, text: &str, mark: char) -> String {
    let mut done = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((at, spelling, _)) = tokenizer.find_special(rest) {
        let first = spelling.chars().next().map_or(0, char::len_utf8);
        done.push_str(&rest[..at + first]);
        done.push(mark);
        rest = &rest[at + first..];
    }
    done.push_str(rest);
    done
}
