//! A conversation rendered to text by the model's own chat template.
//!
//! The environment is the one transformers gives to templates: block trimming, Python's
//! string and list methods, loop controls, `{% generation %}` marks, `raise_exception`,
//! `strftime_now`, `tojson`. The date is data: a template that prints today's date prints the
//! one given here, so that a prompt is the same text tomorrow. Tools and documents are not
//! supported. A template is a program of the model's author: its steps and the widths it pads to
//! are bounded, the memory it builds texts in is not.

mod json;
mod methods;
mod training;

pub use training::TrainingText;

use std::collections::BTreeMap;

use chrono::NaiveDate;
use chrono::format::{Item, StrftimeItems};
use minijinja::{Environment, Error, ErrorKind, Value, context};

use crate::shield::shielded;
use crate::text_error::TextError;

const TEMPLATE: &str = "chat";
/// Steps of the template engine for one rendering: a long conversation takes some thousands.
const MAX_STEPS: u64 = 5_000_000;
/// The date a template sees unless another is given: Llama 3.2's own fallback.
const DEFAULT_DATE: (i32, u32, u32) = (2024, 7, 26);

/// One turn of a conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChatMessage {
    /// `system`, `user` or `assistant`.
    pub role: String,
    /// The text.
    pub content: String,
}

impl ChatMessage {
    /// Returns a message of the given role.
    pub fn new(role: impl Into<String>, content: impl Into<String>) -> Self {
        Self {
            role: role.into(),
            content: content.into(),
        }
    }
}

/// A compiled chat template with the model's special tokens.
pub struct ChatTemplate {
    environment: Environment<'static>,
    bos_token: String,
    eos_token: String,
    flags: BTreeMap<String, bool>,
}

impl ChatTemplate {
    /// Compiles `source`; the tokens are what the template sees as `bos_token` and
    /// `eos_token`, empty where the model has none. The date is 26 July 2024.
    ///
    /// # Errors
    /// [`TextError::TemplateSyntax`] with the offending line.
    pub fn new(source: &str, bos_token: &str, eos_token: &str) -> Result<Self, TextError> {
        let (year, month, day) = DEFAULT_DATE;
        Self::with_date(source, bos_token, eos_token, year, month, day)
    }

    /// Like [`Self::new`], with the date that `strftime_now` answers with (at midnight).
    ///
    /// # Errors
    /// [`TextError::TemplateSyntax`] with the offending line, or for a date that is none.
    pub fn with_date(
        source: &str,
        bos_token: &str,
        eos_token: &str,
        year: i32,
        month: u32,
        day: u32,
    ) -> Result<Self, TextError> {
        let syntax = |message: String| TextError::TemplateSyntax { message };
        let date = NaiveDate::from_ymd_opt(year, month, day)
            .ok_or_else(|| syntax(format!("`{year}-{month}-{day}` is not a date")))?;
        let mut environment = Environment::new();
        let blocks = environment
            .syntax()
            .to_builder()
            .trim_blocks(true)
            .lstrip_blocks(true)
            .build();
        environment.set_syntax(blocks.map_err(|error| syntax(describe(&error)))?);
        environment.set_fuel(Some(MAX_STEPS));
        environment.set_unknown_method_callback(methods::call);
        environment.add_function(
            "raise_exception",
            |message: String| -> Result<Value, Error> {
                Err(Error::new(ErrorKind::InvalidOperation, message))
            },
        );
        environment.add_function("strftime_now", move |format: String| {
            strftime(date, &format)
        });
        environment.add_filter("tojson", json::python_json);
        environment.add_filter("indent", methods::indent);
        environment.add_filter("format", methods::printf);
        shielded(|| environment.add_template_owned(TEMPLATE, without_generation_marks(source)))
            .map_err(syntax)?
            .map_err(|error| syntax(describe(&error)))?;
        Ok(Self {
            environment,
            bos_token: bos_token.to_owned(),
            eos_token: eos_token.to_owned(),
            flags: BTreeMap::new(),
        })
    }

    /// Sets a switch the template may ask for, such as Qwen3's `enable_thinking`; a switch that is
    /// never set stays undefined, and the template's own default holds.
    #[must_use]
    pub fn with_flag(mut self, name: &str, on: bool) -> Self {
        self.flags.insert(name.to_owned(), on);
        self
    }

    /// Returns the text of the conversation; with `add_generation_prompt` it ends where the
    /// assistant's next answer begins.
    ///
    /// # Errors
    /// [`TextError::TemplateRender`] when the template fails or raises.
    pub fn render(
        &self,
        messages: &[ChatMessage],
        add_generation_prompt: bool,
    ) -> Result<String, TextError> {
        let messages: Vec<Value> = messages
            .iter()
            .map(|message| {
                context! { role => message.role.as_str(), content => message.content.as_str() }
            })
            .collect();
        let mut seen: BTreeMap<&str, Value> = self
            .flags
            .iter()
            .map(|(name, on)| (name.as_str(), Value::from(*on)))
            .collect();
        seen.extend([
            ("messages", Value::from(messages)),
            ("add_generation_prompt", Value::from(add_generation_prompt)),
            ("bos_token", Value::from(self.bos_token.as_str())),
            ("eos_token", Value::from(self.eos_token.as_str())),
            ("tools", Value::from(())),
            ("documents", Value::from(())),
        ]);
        let failed = |message: String| TextError::TemplateRender { message };
        shielded(|| {
            let template = self.environment.get_template(TEMPLATE)?;
            template.render(&seen)
        })
        .map_err(failed)?
        .map_err(|error| failed(describe(&error)))
    }

    /// Returns the text of the beginning-of-sequence token, empty if there is none.
    pub fn bos_token(&self) -> &str {
        &self.bos_token
    }

    /// Returns the text of the end-of-sequence token, empty if there is none.
    pub fn eos_token(&self) -> &str {
        &self.eos_token
    }
}

/// Returns the engine's reason and line without its source excerpt.
fn describe(error: &Error) -> String {
    let reason = error
        .detail()
        .map_or_else(|| error.kind().to_string(), str::to_owned);
    match error.line() {
        Some(line) => format!("{reason} (line {line})"),
        None => reason,
    }
}

/// Replaces the tags that mark what the assistant wrote by ones that do nothing; the template
/// engine knows no such tag, and the supervision mask is derived otherwise.
fn without_generation_marks(source: &str) -> String {
    let mut text = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(start) = rest.find("{%") {
        let (before, tag) = rest.split_at(start);
        text.push_str(before);
        let Some(end) = tag.find("%}") else {
            rest = tag;
            break;
        };
        let inner = &tag[2..end];
        let name = inner.trim_matches(['-', '+']).trim();
        let replaced = match name {
            "generation" => inner.replace(name, "if true"),
            "endgeneration" => inner.replace(name, "endif"),
            _ => inner.to_owned(),
        };
        text.push_str("{%");
        text.push_str(&replaced);
        text.push_str("%}");
        rest = &tag[end + 2..];
    }
    text.push_str(rest);
    text
}

fn strftime(date: NaiveDate, format: &str) -> Result<String, Error> {
    let items: Vec<Item<'_>> = StrftimeItems::new(format).collect();
    let midnight = date.and_hms_opt(0, 0, 0);
    let mut text = String::new();
    let written = midnight.is_some_and(|moment| {
        !items.contains(&Item::Error)
            && std::fmt::write(
                &mut text,
                format_args!("{}", moment.format_with_items(items.iter())),
            )
            .is_ok()
    });
    if written {
        Ok(text)
    } else {
        Err(Error::new(
            ErrorKind::InvalidOperation,
            format!("`{format}` is not a date format `strftime_now` knows"),
        ))
    }
}
