//! What can be wrong with the text of a formula, where, and what to do about it.

use std::fmt;

use thiserror::Error;

/// A formula that cannot be read: the problem and its place.
#[derive(Debug, Clone, PartialEq, Error)]
#[error("{problem}, at column {column}{}", in_line(*.line))]
pub struct ParseError {
    /// What is wrong.
    pub problem: Box<Problem>,
    /// The byte of the text at which it begins, from 0.
    pub offset: usize,
    /// The number of bytes that it covers; 0 at the end of the text.
    pub length: usize,
    /// The line, from 1.
    pub line: usize,
    /// The character of the line, from 1.
    pub column: usize,
    /// The text of that line.
    pub source_line: String,
}

/// What can be wrong with a formula.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum Problem {
    /// The text is longer than anyone writes.
    #[error("the formula has {bytes} bytes, at most {most} are read")]
    TooLong {
        /// Length of the text.
        bytes: usize,
        /// The limit.
        most: usize,
    },
    /// Too many levels of nesting.
    #[error("the formula is nested more than {most} deep")]
    TooDeep {
        /// The limit.
        most: usize,
    },
    /// Too many nodes, once names are replaced by what they stand for.
    #[error("the formula has more than {most} parts")]
    TooLarge {
        /// The limit.
        most: usize,
    },
    /// A character that no formula has.
    #[error("unexpected character `{character}`")]
    Character {
        /// The character.
        character: char,
        /// What to write instead.
        hint: Option<&'static str>,
    },
    /// Something else stands where a part of the grammar was expected.
    #[error("expected {expected}, found {found}")]
    Expected {
        /// What was expected.
        expected: &'static str,
        /// What is there.
        found: String,
        /// What to do.
        hint: Option<&'static str>,
    },
    /// A number that is too large.
    #[error("`{text}` is not a finite number")]
    Number {
        /// As written.
        text: String,
    },
    /// No column or bound name is called this.
    #[error("unknown column `{name}`")]
    UnknownName {
        /// As written.
        name: String,
        /// The nearest known name or other advice.
        hint: Option<String>,
    },
    /// No operator is called this.
    #[error("unknown operator `{name}`")]
    UnknownOperator {
        /// As written.
        name: String,
        /// The nearest known name or other advice.
        hint: Option<String>,
    },
    /// A name bound by `where` means something already.
    #[error("`{name}` cannot be bound: it is already {already}")]
    Bound {
        /// The name.
        name: String,
        /// What it is.
        already: &'static str,
    },
    /// A name bound by `where` that the formula does not read.
    #[error("`{name}` is bound but not used")]
    Unused {
        /// The name.
        name: String,
    },
    /// The wrong number of arguments.
    #[error("`{operator}` takes {takes}, given {given}")]
    Arity {
        /// The operator, as written.
        operator: String,
        /// How many it takes, in words.
        takes: String,
        /// How many were given.
        given: usize,
        /// How the operator is called.
        signature: String,
    },
    /// A window that is not a constant whole number in range.
    #[error("`{operator}` needs {needs} as `{parameter}`, found `{found}`")]
    Window {
        /// The operator.
        operator: String,
        /// Its parameter.
        parameter: String,
        /// What it needs.
        needs: String,
        /// What is there.
        found: String,
    },
    /// A value of a later bar.
    #[error("`{operator}` by {lag} reads the future, refused outside labels")]
    Future {
        /// The operator, as written.
        operator: String,
        /// The lag, below 0.
        lag: f64,
    },
    /// An argument of the wrong kind.
    #[error("`{operator}` needs {needs} as `{parameter}`, found {found}")]
    Kind {
        /// The operator.
        operator: String,
        /// Its parameter.
        parameter: String,
        /// What it needs.
        needs: &'static str,
        /// What is there.
        found: String,
        /// What to do.
        hint: Option<String>,
    },
    /// Columns of the panel and of a return series in one formula.
    #[error("`{operator}` mixes columns of the panel with a return series")]
    Mixed {
        /// The operator at which they meet.
        operator: String,
    },
    /// What the whole formula gives cannot stand alone.
    #[error("the formula gives {gives}")]
    Whole {
        /// What it gives.
        gives: &'static str,
        /// What to do.
        hint: &'static str,
    },
    /// The notation cannot be read here.
    #[error("{message}")]
    Notation {
        /// What is wrong.
        message: String,
        /// What to do.
        hint: Option<String>,
    },
}

impl Problem {
    /// Returns what the user can do about it, where that is known.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::TooLong { .. } | Self::TooLarge { .. } => {
                Some("split it into several formulas".to_owned())
            }
            Self::TooDeep { .. } => {
                Some("write sums of many terms in groups: `(a + b) + (c + d)`".to_owned())
            }
            Self::Character { hint, .. } | Self::Expected { hint, .. } => {
                hint.map(ToOwned::to_owned)
            }
            Self::UnknownName { hint, .. }
            | Self::UnknownOperator { hint, .. }
            | Self::Kind { hint, .. }
            | Self::Notation { hint, .. } => hint.clone(),
            Self::Bound { .. } => Some("choose another name".to_owned()),
            Self::Unused { .. } => Some("use it or leave it out".to_owned()),
            Self::Arity { signature, .. } => Some(format!("write `{signature}`")),
            Self::Future { .. } => Some("a lag is at least 0".to_owned()),
            Self::Mixed { .. } => Some(
                "`r` and `benchmark` stand for a whole return series; use `returns` for bars"
                    .to_owned(),
            ),
            Self::Whole { hint, .. } => Some((*hint).to_owned()),
            Self::Number { .. } | Self::Window { .. } => None,
        }
    }
}

fn in_line(line: usize) -> String {
    if line == 1 {
        String::new()
    } else {
        format!(" of line {line}")
    }
}

impl ParseError {
    /// Places `problem` at the bytes `offset..offset + length` of `text`.
    pub(crate) fn new(problem: Problem, text: &str, offset: usize, length: usize) -> Self {
        let mut offset = offset.min(text.len());
        while !text.is_char_boundary(offset) {
            offset -= 1;
        }
        let before = &text[..offset];
        let start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let rest = &text[start..];
        let source_line = rest.lines().next().unwrap_or_default();
        Self {
            problem: Box::new(problem),
            offset,
            length,
            line: before.matches('\n').count() + 1,
            column: text[start..offset].chars().count() + 1,
            source_line: source_line.to_owned(),
        }
    }

    /// Returns what the user can do about the error, where that is known.
    pub fn hint(&self) -> Option<String> {
        self.problem.hint()
    }

    /// Returns the line of the formula with carets below the place.
    pub fn caret(&self) -> Caret<'_> {
        Caret(self)
    }
}

/// Shows where an error is: the line and, below it, `^^^`.
#[derive(Debug, Clone, Copy)]
pub struct Caret<'a>(&'a ParseError);

/// Characters of a long line that are shown before and after the place.
const AROUND: usize = 60;

impl fmt::Display for Caret<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let error = self.0;
        let place = error.column - 1;
        let skip = place.saturating_sub(AROUND);
        let shown = |character: char| match character {
            character if character.is_control() => ' ',
            character => character,
        };
        let mut start = 0;
        if let Some((byte, _)) = error.source_line.char_indices().nth(place) {
            start = byte;
        } else if place > 0 {
            start = error.source_line.len();
        }
        let end = (start + error.length).min(error.source_line.len());
        let wide = error
            .source_line
            .get(start..end)
            .map_or(1, |part| part.chars().count())
            .clamp(1, AROUND);
        let line: String = error
            .source_line
            .chars()
            .skip(skip)
            .take(2 * AROUND + 1)
            .map(shown)
            .collect();
        writeln!(formatter, "{line}")?;
        write!(
            formatter,
            "{}{}",
            " ".repeat(place - skip),
            "^".repeat(wide)
        )
    }
}

/// Returns advice naming the one of `known` that `name` was likely meant to be.
pub(crate) fn suggestion<'a>(
    name: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<String> {
    nearest(name, known).map(|known| format!("did you mean `{known}`?"))
}

/// Returns the one of `known` nearest to `name`, if any is near.
pub(crate) fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = name.to_ascii_lowercase();
    known
        .into_iter()
        .map(|known| {
            let score = strsim::jaro_winkler(&lower, &known.to_ascii_lowercase());
            (known, score)
        })
        .filter(|(_, score)| *score > 0.8)
        .max_by(|left, right| left.1.total_cmp(&right.1))
        .map(|(known, _)| known)
}
