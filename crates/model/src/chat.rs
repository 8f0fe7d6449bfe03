//! A conversation rendered to text by the model's own chat template.
//!
//! The environment is the one transformers gives to templates: block trimming, Python's
//! string and list methods, `raise_exception`, `strftime_now`, `tojson`. The date is data:
//! a template that prints today's date prints the one given here, so that a prompt is the
//! same text tomorrow. Tools and documents are not supported.

use chrono::NaiveDate;
use chrono::format::{Item, StrftimeItems};
use minijinja::value::{Kwargs, ValueKind};
use minijinja::{Environment, Error, ErrorKind, Value, context};

use crate::text_error::TextError;

const TEMPLATE: &str = "chat";
/// Deeper values than any message has; bounds the recursion a hostile template can cause.
const MAX_JSON_DEPTH: usize = 64;
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
        environment
            .set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        environment.add_function(
            "raise_exception",
            |message: String| -> Result<Value, Error> {
                Err(Error::new(ErrorKind::InvalidOperation, message))
            },
        );
        environment.add_function("strftime_now", move |format: String| {
            strftime(date, &format)
        });
        environment.add_filter("tojson", python_json);
        environment
            .add_template_owned(TEMPLATE, source.to_owned())
            .map_err(|error| syntax(describe(&error)))?;
        Ok(Self {
            environment,
            bos_token: bos_token.to_owned(),
            eos_token: eos_token.to_owned(),
        })
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
        self.environment
            .get_template(TEMPLATE)
            .and_then(|template| {
                template.render(context! {
                    messages => messages,
                    add_generation_prompt => add_generation_prompt,
                    bos_token => self.bos_token.as_str(),
                    eos_token => self.eos_token.as_str(),
                    tools => Value::from(()),
                    documents => Value::from(()),
                })
            })
            .map_err(|error| TextError::TemplateRender {
                message: describe(&error),
            })
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

/// Python's `json.dumps(value, ensure_ascii=False)`, with `indent`, as transformers gives it
/// to templates; the engine's own filter escapes for HTML.
#[expect(
    clippy::needless_pass_by_value,
    reason = "the engine hands arguments over"
)]
fn python_json(value: &Value, kwargs: Kwargs) -> Result<Value, Error> {
    let indent: Option<usize> = kwargs.get("indent")?;
    let mut text = String::new();
    write_json(value, indent, 0, &mut text)?;
    Ok(Value::from_safe_string(text))
}

fn write_json(
    value: &Value,
    indent: Option<usize>,
    depth: usize,
    text: &mut String,
) -> Result<(), Error> {
    let line = |depth: usize, text: &mut String| {
        if let Some(width) = indent {
            text.push('\n');
            text.extend(std::iter::repeat_n(' ', width * depth));
        }
    };
    if depth > MAX_JSON_DEPTH {
        return Err(Error::new(
            ErrorKind::InvalidOperation,
            "a value for `tojson` is nested too deeply",
        ));
    }
    let comma = if indent.is_some() { "," } else { ", " };
    match value.kind() {
        ValueKind::Undefined | ValueKind::None => text.push_str("null"),
        ValueKind::Bool => text.push_str(if value.is_true() { "true" } else { "false" }),
        ValueKind::Number => text.push_str(&value.to_string()),
        ValueKind::Map => {
            text.push('{');
            for (index, key) in value.try_iter()?.enumerate() {
                if index > 0 {
                    text.push_str(comma);
                }
                line(depth + 1, text);
                quote(&key.to_string(), text);
                text.push_str(": ");
                write_json(&value.get_item(&key)?, indent, depth + 1, text)?;
            }
            if value.len().is_some_and(|n| n > 0) {
                line(depth, text);
            }
            text.push('}');
        }
        ValueKind::Seq | ValueKind::Iterable => {
            text.push('[');
            let mut any = false;
            for item in value.try_iter()? {
                if any {
                    text.push_str(comma);
                }
                any = true;
                line(depth + 1, text);
                write_json(&item, indent, depth + 1, text)?;
            }
            if any {
                line(depth, text);
            }
            text.push(']');
        }
        _ => quote(&value.to_string(), text),
    }
    Ok(())
}

fn hexadecimal(digit: u32) -> char {
    char::from_digit(digit, 16).unwrap_or('0')
}

fn quote(string: &str, text: &mut String) {
    text.push('"');
    for character in string.chars() {
        match character {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            '\u{8}' => text.push_str("\\b"),
            '\u{c}' => text.push_str("\\f"),
            control if (control as u32) < 0x20 => {
                text.push_str("\\u00");
                text.extend([16, 1].map(|unit| hexadecimal(control as u32 / unit % 16)));
            }
            other => text.push(other),
        }
    }
    text.push('"');
}
