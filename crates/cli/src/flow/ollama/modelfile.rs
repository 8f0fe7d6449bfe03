//! The text of a Modelfile, and of the README beside it.

use std::fmt::Write as _;

use super::Chat;
use crate::settings::Answers;

/// What goes into a Modelfile beside the chat.
#[derive(Clone, Debug)]
pub(crate) struct Parameters<'a> {
    /// The model file beside the Modelfile.
    pub(crate) model: &'a str,
    /// The adapter file beside it, if it is not merged.
    pub(crate) adapter: Option<&'a str>,
    /// Texts that end an answer.
    pub(crate) stop: &'a [String],
    /// How answers are drawn.
    pub(crate) answers: &'a Answers,
    /// Tokens of prompt and answer together.
    pub(crate) context: usize,
    /// Tokens of an answer at most.
    pub(crate) answer_tokens: usize,
}

/// Returns the Modelfile.
pub(crate) fn modelfile(chat: &Chat, given: &Parameters<'_>) -> String {
    let mut out = format!("FROM ./{}\n", given.model);
    if let Some(adapter) = given.adapter {
        let _ = writeln!(out, "ADAPTER ./{adapter}");
    }
    if let Some(template) = &chat.template {
        let _ = writeln!(out, "TEMPLATE \"\"\"{template}\"\"\"");
    }
    if let Some(system) = &chat.system {
        let _ = writeln!(out, "SYSTEM \"\"\"{system}\"\"\"");
    }
    let mut parameter = |name: &str, value: String| {
        let _ = writeln!(out, "PARAMETER {name} {value}");
    };
    for stop in given.stop {
        parameter("stop", format!("\"{stop}\""));
    }
    let answers = given.answers;
    parameter("temperature", answers.temperature.to_string());
    parameter("top_k", answers.top_k.to_string());
    parameter("top_p", answers.top_p.to_string());
    parameter("min_p", answers.min_p.to_string());
    parameter("seed", answers.seed.to_string());
    // ollama's own default would change even greedy answers.
    parameter("repeat_penalty", "1".to_owned());
    parameter("num_ctx", given.context.to_string());
    parameter("num_predict", given.answer_tokens.to_string());
    out
}

/// Returns the README of the bundle. `run` is the run's name, `base` the base model's source.
pub(crate) fn readme(chat: &Chat, given: &Parameters<'_>, run: &str, base: &str) -> String {
    let what = match given.adapter {
        Some(adapter) => format!(
            "The base model `{base}` is in `{}`, the adapter trained on it in `{adapter}`. ollama \
             applies the adapter when it loads the model.",
            given.model
        ),
        None => format!(
            "`{}` is the base model `{base}` with the adapter merged into it.",
            given.model
        ),
    };
    let mut out = format!(
        "# {run} for ollama\n\n{what}\n\n    ollama create {run} -f Modelfile\n    ollama run {run}\n\n\
         The Modelfile draws answers as the run's settings say (`[answers]`; temperature {}), turns \
         ollama's penalty for repetitions off, and ends answers at {}. Prompts must be those of \
         `foretune`: the model has seen no others.\n",
        given.answers.temperature,
        given
            .stop
            .iter()
            .map(|stop| format!("`{stop}`"))
            .collect::<Vec<_>>()
            .join(", "),
    );
    match chat.dialect {
        Some(name) => {
            let _ = writeln!(
                out,
                "\nChats are written in the dialect {name}. The template gives the same text as the \
                 model's own for a question; this was compared when the bundle was made."
            );
        }
        None => out.push('\n'),
    }
    for note in &chat.notes {
        let _ = writeln!(out, "\nNote: {note}.");
    }
    out.push_str(
        "\n`foretune check RUN` compares the answers of llama.cpp, which ollama runs, with those of \
         the engine that trained the adapter. `manifest.json` has the sha256 of every file.\n",
    );
    out
}
