//! Printing: data to standard output, everything else to standard error.
//!
//! The only module that writes to the two streams (the progress bar draws
//! through `indicatif`, on standard error).

use std::io::{self, IsTerminal, Write};

use serde_json::{Value, json};

use crate::exit::{Report, Stop};

/// What a command hands back to be printed.
#[derive(Debug)]
pub(crate) struct Printed {
    /// The result for programs, printed with `--json`.
    pub(crate) data: Value,
    /// The result for people, printed without `--json`.
    pub(crate) text: String,
    /// Why the command ends without success although it has a result, such as a
    /// gate that was not met. Told as an error with `--json`; the text says it already.
    pub(crate) stop: Option<Stop>,
}

impl Printed {
    /// Builds the result of a command that did what was asked.
    pub(crate) fn new(data: Value, text: impl Into<String>) -> Self {
        Self {
            data,
            text: text.into(),
            stop: None,
        }
    }
}

/// Returns a count with its noun, which takes an `s` unless it is one.
pub(crate) fn counted(count: usize, what: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {what}{plural}")
}

/// Prints a result on standard output. A reader who closed the pipe is no error.
///
/// # Errors
/// When standard output cannot be written.
pub(crate) fn print(printed: &Printed, json: bool) -> io::Result<()> {
    let mut text = if json {
        serde_json::to_string_pretty(&printed.data)?
    } else {
        printed.text.trim_end().to_owned()
    };
    if text.is_empty() {
        return Ok(());
    }
    text.push('\n');
    let mut stdout = io::stdout().lock();
    match stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
    {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

/// Prints an error on standard error, for people or, with `json`, as one line.
pub(crate) fn print_error(report: &Report, json: bool) {
    if json {
        line(&error_json(report).to_string());
        return;
    }
    line(&format!("{} {}", paint("error:", "1;31"), report.message));
    for cause in &report.causes {
        line(&format!("  caused by: {cause}"));
    }
    for hint in &report.hints {
        line(&format!("{} {hint}", paint("hint:", "1;36")));
    }
}

/// Prints a warning on standard error.
pub(crate) fn warn(message: &str) {
    line(&format!("{} {message}", paint("warning:", "1;33")));
}

/// Prints a line for the person watching, on standard error.
pub(crate) fn note(message: &str) {
    line(message);
}

/// Returns whether standard error is a terminal that may show colour.
pub(crate) fn colour() -> bool {
    let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let dumb = std::env::var_os("TERM").is_some_and(|value| value == "dumb");
    io::stderr().is_terminal() && !unwanted && !dumb
}

fn error_json(report: &Report) -> Value {
    json!({"error": {
        "code": report.exit.code(),
        "kind": report.exit.kind(),
        "message": report.message,
        "causes": report.causes,
        "hints": report.hints,
    }})
}

fn paint(text: &str, code: &str) -> String {
    if colour() {
        format!("\x1b[{code}m{text}\x1b[0m")
    } else {
        text.to_owned()
    }
}

fn line(text: &str) {
    // Nothing sensible is left to do when standard error itself is gone.
    let _ = writeln!(io::stderr().lock(), "{text}");
}
