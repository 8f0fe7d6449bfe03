//! The format of a file: one family, its formulas, and grids of formulas that
//! differ in numbers.

use std::collections::BTreeMap;
use std::ops::Range;

use serde::Deserialize;
use toml::Spanned;

use super::error::{Fault, FaultKind};
use crate::language::suggestion;

/// Formulas of one grid at most.
const MOST_OF_A_GRID: usize = 10_000;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    pub(super) family: RawFamily,
    #[serde(default)]
    pub(super) formula: Vec<RawFormula>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawFamily {
    pub(super) id: Spanned<String>,
    pub(super) title: String,
    pub(super) source: String,
    pub(super) profile: Spanned<String>,
    pub(super) notation: Spanned<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawFormula {
    pub(super) id: Spanned<String>,
    name: String,
    pub(super) expression: Spanned<String>,
    citation: String,
    explanation: String,
    interpretation: String,
    pitfalls: String,
    #[serde(rename = "for")]
    grid: Option<Spanned<BTreeMap<String, Vec<toml::Value>>>>,
    pub(super) profile: Option<Spanned<String>>,
    pub(super) notation: Option<Spanned<String>>,
    proxy: Option<String>,
    deviation: Option<String>,
    #[serde(default)]
    also: Vec<String>,
}

/// The texts of one formula, the numbers of a grid filled in.
#[derive(Debug, Clone)]
pub(super) struct Texts {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) expression: String,
    pub(super) citation: String,
    pub(super) explanation: String,
    pub(super) interpretation: String,
    pub(super) pitfalls: String,
    pub(super) proxy: Option<String>,
    pub(super) deviation: Option<String>,
    pub(super) also: Vec<String>,
}

/// Reads the TOML.
pub(super) fn read(name: &str, text: &str) -> Result<File, Fault> {
    toml::from_str(text).map_err(|error| Fault {
        file: name.to_owned(),
        line: line_of(text, error.span().unwrap_or_default()),
        problem: FaultKind::Format {
            message: error.message().to_owned(),
            hint: nearest_key(error.message()),
        },
    })
}

/// Returns the line, from 1, at which a span begins.
pub(super) fn line_of(text: &str, span: Range<usize>) -> usize {
    let before = text.as_bytes().iter().take(span.start);
    before.filter(|byte| **byte == b'\n').count() + 1
}

/// The reader says: unknown field `a`, expected one of `b`, `c`.
fn nearest_key(message: &str) -> Option<String> {
    let mut quoted = message.split('`').skip(1).step_by(2);
    let typed = quoted.next()?;
    if !message.starts_with("unknown field") {
        return None;
    }
    suggestion(typed, quoted)
}

impl RawFormula {
    /// Returns the formulas of the grid, or the only one.
    pub(super) fn expanded(&self) -> Result<Vec<Texts>, FaultKind> {
        let id = self.id.get_ref();
        let grid = |reason: &str| FaultKind::Grid {
            id: id.clone(),
            reason: reason.to_owned(),
        };
        let mut all: Vec<BTreeMap<&str, String>> = vec![BTreeMap::new()];
        for (name, values) in self.grid.iter().flat_map(toml::Spanned::get_ref) {
            if all.len() * values.len() > MOST_OF_A_GRID {
                return Err(grid("gives too many formulas"));
            }
            let mut next = Vec::with_capacity(all.len() * values.len());
            for one in &all {
                for value in values {
                    let mut one = one.clone();
                    let value = written(value).ok_or_else(|| grid("is not of numbers"))?;
                    one.insert(name.as_str(), value);
                    next.push(one);
                }
            }
            all = next;
        }
        if all.is_empty() {
            return Err(grid("gives no formula"));
        }
        all.iter().map(|one| self.filled(one)).collect()
    }

    fn filled(&self, values: &BTreeMap<&str, String>) -> Result<Texts, FaultKind> {
        let id = fill(self.id.get_ref(), values);
        let take = |key: &'static str, text: &str| {
            let text = fill(text, values);
            if let Some(name) = placeholder(&text) {
                let (id, name) = (id.clone(), name.to_owned());
                return Err(FaultKind::Placeholder { id, key, name });
            }
            if text.trim().is_empty() {
                let id = id.clone();
                return Err(FaultKind::Empty { id, key });
            }
            Ok(text)
        };
        let optional = |key, text: &Option<String>| {
            let text = text.as_ref();
            text.map(|text| take(key, text)).transpose()
        };
        let also = self.also.iter().map(|other| take("also", other));
        Ok(Texts {
            id: take("id", self.id.get_ref())?,
            name: take("name", &self.name)?,
            expression: take("expression", self.expression.get_ref())?,
            citation: take("citation", &self.citation)?,
            explanation: take("explanation", &self.explanation)?,
            interpretation: take("interpretation", &self.interpretation)?,
            pitfalls: take("pitfalls", &self.pitfalls)?,
            proxy: optional("proxy", &self.proxy)?,
            deviation: optional("deviation", &self.deviation)?,
            also: also.collect::<Result<_, _>>()?,
        })
    }
}

fn written(value: &toml::Value) -> Option<String> {
    match value {
        toml::Value::Integer(value) => Some(value.to_string()),
        toml::Value::Float(value) => Some(value.to_string()),
        toml::Value::String(value) => Some(value.clone()),
        _ => None,
    }
}

fn fill(text: &str, values: &BTreeMap<&str, String>) -> String {
    let mut filled = text.to_owned();
    for (name, value) in values {
        filled = filled.replace(&format!("{{{name}}}"), value);
    }
    filled
}

/// Returns the name of the first `{name}` in a text.
fn placeholder(text: &str) -> Option<&str> {
    text.split('{').skip(1).find_map(|rest| {
        let name = rest.split_once('}')?.0;
        let is_name = !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || c == '_');
        is_name.then_some(name)
    })
}
