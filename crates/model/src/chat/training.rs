//! A conversation as it is trained on: exactly what inference sees before each answer, then the
//! answer as it was written, reasoning included.
//!
//! A template's own rendering of a finished conversation will not do. Some drop what stands
//! before `</think>`, some drop the system text once an answer follows, and some open a reasoning
//! block in the generation prompt that the finished answer lacks. So the text is put together: the
//! generation prompt, the answer verbatim (white space around it apart), and what the template
//! writes after a probe answer.

use std::ops::Range;

use super::{ChatMessage, ChatTemplate};
use crate::text_error::TextError;

/// Stands for an answer when the template is asked what it writes around one.
const PROBE: &str = "\u{f1a2}answer\u{f1a3}";

/// How the supported families delimit reasoning: opening and closing mark.
const REASONING: [(&str, &str); 2] = [("<think>", "</think>"), ("[THINK]", "[/THINK]")];

/// A conversation rendered for training.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrainingText {
    /// The whole text.
    pub text: String,
    /// Where in `text` each answer stands, in bytes, with what closes its turn.
    pub answers: Vec<Range<usize>>,
}

impl TrainingText {
    /// Returns what inference sees before the last answer.
    pub fn prompt(&self) -> &str {
        let start = self.answers.last().map_or(0, |answer| answer.start);
        &self.text[..start]
    }
}

/// What a template writes around an answer.
struct Frame {
    prompt: String,
    /// Between prompt and answer: nothing, white space or an empty reasoning block.
    glue: String,
    closing: String,
}

impl ChatTemplate {
    /// Returns the conversation as it is trained on. Every assistant message is an answer; the
    /// last message must be one.
    ///
    /// # Errors
    /// [`TextError::NoAnswer`] and [`TextError::EmptyAnswer`] for conversations without answers;
    /// [`TextError::AnswerRewritten`], [`TextError::BeforeAnswer`], [`TextError::Reasoning`] and
    /// [`TextError::NotAPrefix`] when the template cannot be used so;
    /// [`TextError::TemplateRender`] when it fails.
    pub fn training_text(
        &self,
        messages: &[ChatMessage],
        id: &str,
    ) -> Result<TrainingText, TextError> {
        let own = || id.to_owned();
        let Some(last) = messages.iter().rposition(|m| m.role == "assistant") else {
            return Err(TextError::NoAnswer { id: own() });
        };
        if last + 1 != messages.len() {
            return Err(TextError::NoAnswer { id: own() });
        }
        let mut parts = Vec::new();
        for (position, message) in messages.iter().enumerate() {
            if message.role != "assistant" {
                continue;
            }
            if message.content.trim().is_empty() {
                return Err(TextError::EmptyAnswer {
                    id: own(),
                    position,
                });
            }
            let frame = self.frame(&messages[..position], id)?;
            let answer = frame.written(&message.content, id)?;
            parts.push((position, frame, answer));
        }
        let mut text = String::new();
        if let Some((_, frame, answer)) = parts.last() {
            text = [&frame.prompt[..], answer, &frame.closing].concat();
        }
        let mut answers = Vec::with_capacity(parts.len());
        for (position, frame, answer) in &parts {
            let expected = [&frame.prompt[..], answer].concat();
            let Some(rest) = text.strip_prefix(&expected) else {
                return Err(TextError::NotAPrefix {
                    id: own(),
                    position: *position,
                    common: common_tail(&expected, &text),
                });
            };
            let closing = common_len(&frame.closing, rest);
            answers.push(frame.prompt.len()..expected.len() + closing);
        }
        Ok(TrainingText { text, answers })
    }

    /// Returns an answer as the model writes it after the prompt of `before`: with the marks of
    /// an empty reasoning block where the template's generation prompt opens one, or where the
    /// template writes one before an answer without reasoning.
    ///
    /// # Errors
    /// As [`Self::training_text`].
    pub fn answer_text(&self, before: &[ChatMessage], answer: &str) -> Result<String, TextError> {
        self.frame(before, "answer")?.written(answer, "answer")
    }

    fn frame(&self, before: &[ChatMessage], id: &str) -> Result<Frame, TextError> {
        let id = id.to_owned();
        let prompt = self.render(before, true)?;
        let mut probing = before.to_vec();
        probing.push(ChatMessage::new("assistant", PROBE));
        let rendered = self.render(&probing, false)?;
        let pieces: Vec<&str> = rendered.split(PROBE).collect();
        let [head, closing] = pieces[..] else {
            return Err(TextError::AnswerRewritten { id });
        };
        let glue = head.strip_prefix(&prompt).unwrap_or_default();
        let mut words = glue.to_owned();
        for (open, close) in REASONING {
            words = words.replace(open, "").replace(close, "");
        }
        if !words.trim().is_empty() {
            let text = glue.to_owned();
            return Err(TextError::BeforeAnswer { id, text });
        }
        Ok(Frame {
            glue: glue.to_owned(),
            closing: closing.to_owned(),
            prompt,
        })
    }
}

impl Frame {
    fn written(&self, answer: &str, id: &str) -> Result<String, TextError> {
        let answer = answer.trim();
        let prompt = self.prompt.trim_end();
        for (open, close) in REASONING {
            if prompt.ends_with(open) {
                return Ok(if let Some(reasoning) = answer.strip_prefix(open) {
                    reasoning.trim_start_matches(['\r', '\n']).to_owned()
                } else if answer.contains(close) {
                    answer.to_owned()
                } else {
                    format!("{close}\n\n{answer}")
                });
            }
            if answer.starts_with(open) {
                if prompt.ends_with(close) {
                    return Err(TextError::Reasoning { id: id.to_owned() });
                }
                let before = self.glue.find(open).unwrap_or(self.glue.len());
                return Ok(format!("{}{answer}", &self.glue[..before]));
            }
        }
        Ok(format!("{}{answer}", self.glue))
    }
}

/// Returns how many bytes both texts share from their beginning, at a character's boundary.
fn common_len(a: &str, b: &str) -> usize {
    let pairs = a.chars().zip(b.chars());
    pairs
        .take_while(|(x, y)| x == y)
        .map(|(x, _)| x.len_utf8())
        .sum()
}

/// Returns up to the last 24 characters that both texts share from their beginning.
fn common_tail(a: &str, b: &str) -> String {
    let common = &a[..common_len(a, b)];
    let skipped = common.chars().count().saturating_sub(24);
    common.chars().skip(skipped).collect()
}
