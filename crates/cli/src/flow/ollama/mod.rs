//! What ollama needs to know about a model's chats: a Go template, the default system text, where
//! an answer stops.
//!
//! ollama does not run the model's own Jinja template. A Go template is written only for the
//! dialects below, and only when it provably gives the text of the Jinja template: the Jinja
//! template renders a question, and what it wrote around the question must be the dialect's marks
//! to the last character.

mod dialect;
mod modelfile;

use model::{ChatMessage, ChatTemplate, TextError};

pub(crate) use modelfile::{Parameters, modelfile, readme};

use dialect::DIALECTS;

/// Stands for a text in a rendered chat; no template has it.
const QUESTION: &str = "QUESTION-7c1f";
const SYSTEM: &str = "SYSTEM-7c1f";

/// A model's chats in ollama's terms.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Chat {
    /// The dialect's name, none when no Go template could be written.
    pub(crate) dialect: Option<&'static str>,
    /// The Go template.
    pub(crate) template: Option<String>,
    /// The system text that the Jinja template writes when a chat has none.
    pub(crate) system: Option<String>,
    /// What differs from the Jinja template, in sentences.
    pub(crate) notes: Vec<String>,
}

/// Finds the dialect of a chat template and writes it for ollama. `add_bos` says whether the
/// tokenizer adds a beginning-of-sequence token, which ollama then does by itself.
///
/// # Errors
/// When the template cannot render a question.
pub(crate) fn chat(template: &ChatTemplate, add_bos: bool) -> Result<Chat, TextError> {
    let question = ChatMessage::new("user", QUESTION);
    let rendered = template.render(std::slice::from_ref(&question), true)?;
    let begins = template.bos_token();
    let writes_bos = !begins.is_empty() && rendered.starts_with(begins) && {
        // ChatML's first mark is some models' beginning-of-sequence token.
        !DIALECTS.iter().any(|dialect| dialect.begins_with(begins))
    };
    let (bos, body) = rendered.split_at(if writes_bos { begins.len() } else { 0 });
    let found = DIALECTS
        .iter()
        .find_map(|dialect| Some((dialect, dialect.read(body, QUESTION)?)));
    let Some((dialect, (system, opening))) = found else {
        return Ok(unknown());
    };
    let mut notes = Vec::new();
    let own_bos = match (writes_bos, add_bos) {
        (true, false) => bos,
        (false, true) => {
            notes.push(format!(
                "ollama puts `{begins}` before the prompt, the model's own template does not"
            ));
            ""
        }
        _ => "",
    };
    let asked = [ChatMessage::new("system", SYSTEM), question];
    let with_system = format!("{bos}{}", dialect.write(Some(SYSTEM), QUESTION, opening));
    if template.render(&asked, true).ok() != Some(with_system) {
        notes.push(
            "with a system text of your own the model's own template writes something else than \
             this one: leave SYSTEM as it is"
                .to_owned(),
        );
    }
    let padded = [ChatMessage::new("user", format!("{QUESTION}\n"))];
    if !template
        .render(&padded, true)?
        .contains(&format!("{QUESTION}\n{}", dialect.after_user))
    {
        notes.push(
            "the model's own template drops white space at the ends of a message, ollama's does \
             not: send prompts without it"
                .to_owned(),
        );
    }
    Ok(Chat {
        dialect: Some(dialect.name),
        template: Some(dialect.go(own_bos, opening)),
        system: system.map(str::to_owned),
        notes,
    })
}

fn unknown() -> Chat {
    Chat {
        notes: vec![
            "the model's chat template is none that can be written for ollama with certainty; the \
             Modelfile has no TEMPLATE, and ollama takes the one in the GGUF file if it knows it: \
             compare the prompts before you rely on the answers"
                .to_owned(),
        ],
        ..Chat::default()
    }
}

#[cfg(test)]
mod tests;
