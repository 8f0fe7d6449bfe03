//! Cuts the text of a formula into numbers, names and symbols with their places.

use super::Notation;
use super::error::{ParseError, Problem};

/// A part of the text.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token<'a> {
    Number(f64),
    Name(&'a str),
    Symbol(&'static str),
    End,
}

/// The bytes of the text that something covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) start: usize,
    pub(super) end: usize,
}

impl Span {
    /// Returns the span from the start of this to the end of `other`.
    pub(super) fn to(self, other: Self) -> Self {
        Self {
            start: self.start,
            end: other.end,
        }
    }

    /// Returns `problem` at this place.
    pub(super) fn error(self, problem: Problem, text: &str) -> ParseError {
        ParseError::new(problem, text, self.start, self.end - self.start)
    }
}

/// Longest first.
const SYMBOLS: [&str; 23] = [
    "<=", ">=", "==", "!=", "&&", "||", "**", "+", "-", "*", "/", "%", "^", "(", ")", ",", "?",
    ":", "<", ">", "=", "!", "&",
];
const BAR: &str = "|";

/// Returns the tokens of `text`, the last one [`Token::End`].
pub(super) fn tokens(text: &str, notation: Notation) -> Result<Vec<(Token<'_>, Span)>, ParseError> {
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(character) = text[at..].chars().next() {
        let start = at;
        let token = if character.is_whitespace() {
            at += character.len_utf8();
            continue;
        } else if starts_number(&text[at..]) {
            at += number_length(&text[at..]);
            number(text, start, at)?
        } else if starts_name(character, notation) {
            at += name_length(&text[at..], notation);
            Token::Name(&text[start..at])
        } else if let Some(symbol) = symbol(&text[at..]) {
            at += symbol.len();
            Token::Symbol(symbol)
        } else {
            let problem = Problem::Character {
                character,
                hint: character_hint(character),
            };
            return Err(ParseError::new(problem, text, at, character.len_utf8()));
        };
        tokens.push((token, Span { start, end: at }));
    }
    let end = text.trim_end().len();
    tokens.push((Token::End, Span { start: end, end }));
    Ok(tokens)
}

fn symbol(rest: &str) -> Option<&'static str> {
    SYMBOLS
        .into_iter()
        .chain([BAR])
        .find(|symbol| rest.starts_with(symbol))
}

fn character_hint(character: char) -> Option<&'static str> {
    match character {
        '（' | '）' | '，' | '：' | '？' => Some("write the ASCII character"),
        '×' => Some("write `*`"),
        '÷' => Some("write `/`"),
        '−' | '–' => Some("write `-`"),
        '$' => Some("only the Qlib notation writes columns as `$close`"),
        '[' | ']' | '{' | '}' => Some("write parentheses"),
        _ => None,
    }
}

fn starts_number(rest: &str) -> bool {
    let mut bytes = rest.bytes();
    match bytes.next() {
        Some(b'.') => bytes.next().is_some_and(|byte| byte.is_ascii_digit()),
        first => first.is_some_and(|byte| byte.is_ascii_digit()),
    }
}

fn number_length(rest: &str) -> usize {
    let bytes = rest.as_bytes();
    let digits = |mut at: usize| {
        while bytes.get(at).is_some_and(u8::is_ascii_digit) {
            at += 1;
        }
        at
    };
    let mut at = digits(0);
    if bytes.get(at) == Some(&b'.') {
        at = digits(at + 1);
    }
    if matches!(bytes.get(at), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(bytes.get(at + 1), Some(b'+' | b'-')));
        let end = digits(at + 1 + sign);
        if end > at + 1 + sign {
            at = end;
        }
    }
    at
}

fn number(text: &str, start: usize, end: usize) -> Result<Token<'static>, ParseError> {
    let written = &text[start..end];
    match written.parse::<f64>() {
        Ok(value) if value.is_finite() => Ok(Token::Number(value)),
        _ => {
            let problem = Problem::Number {
                text: shortened(written),
            };
            Err(ParseError::new(problem, text, start, end - start))
        }
    }
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(24) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

fn starts_name(character: char, notation: Notation) -> bool {
    character.is_ascii_alphabetic()
        || character == '_'
        || (character == '$' && notation == Notation::Qlib)
}

fn name_length(rest: &str, notation: Notation) -> usize {
    let dotted = notation == Notation::Alpha101;
    rest.char_indices()
        .skip(1)
        .find(|(_, character)| {
            !(character.is_ascii_alphanumeric()
                || *character == '_'
                || (dotted && *character == '.'))
        })
        .map_or(rest.len(), |(end, _)| end)
}
