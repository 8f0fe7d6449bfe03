//! Layers of settings: each is a piece of TOML with an origin, checked on its
//! own so that an error names the place it was typed at, then merged.

use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use toml::{Table, Value};

use super::suggest;
use crate::exit::{Exit, Stop};

/// Where a piece of settings was typed.
#[derive(Clone, Debug)]
pub(crate) enum Origin {
    /// A preset of the binary.
    Preset(&'static str),
    /// A settings file.
    File(PathBuf),
    /// An environment variable, named here.
    Variable(String),
    /// A command-line flag, named here.
    Flag(String),
}

impl Origin {
    fn at(&self, (line, column): (usize, usize)) -> String {
        match self {
            Self::Preset(name) => format!("preset `{name}`, line {line}"),
            Self::File(path) => format!("`{}`, line {line}, column {column}", path.display()),
            Self::Variable(name) => format!("environment variable `{name}`"),
            Self::Flag(name) => format!("`{name}`"),
        }
    }
}

/// Some settings and where they were typed.
#[derive(Debug)]
pub(crate) struct Layer {
    origin: Origin,
    text: String,
}

impl Layer {
    /// Takes TOML text as typed.
    pub(crate) fn new(origin: Origin, text: impl Into<String>) -> Self {
        Self {
            origin,
            text: text.into(),
        }
    }

    /// Reads a settings file.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub(crate) fn file(path: &Path) -> Result<Self, Stop> {
        match std::fs::read_to_string(path) {
            Ok(text) => Ok(Self::new(Origin::File(path.to_owned()), text)),
            Err(error) => Err(Stop::new(
                Exit::Usage,
                format!("cannot read settings file `{}`: {error}", path.display()),
            )
            .hint("`foretune init` writes a commented foretune.toml")),
        }
    }

    /// Takes one value for a dotted key such as `train.learning_rate`.
    ///
    /// # Errors
    /// When the key is not made of names joined by dots.
    pub(crate) fn value(origin: Origin, key: &str, value: &str) -> Result<Self, Stop> {
        let bare = |part: &str| {
            !part.is_empty()
                && part
                    .chars()
                    .all(|letter| letter.is_ascii_alphanumeric() || letter == '_' || letter == '-')
        };
        if !key.split('.').all(bare) {
            return Err(Stop::new(
                Exit::Usage,
                format!(
                    "{}: `{key}` is not a settings key such as `train.learning_rate`",
                    origin.at((1, 1))
                ),
            ));
        }
        Ok(Self::new(origin, format!("{key} = {}\n", as_toml(value))))
    }

    /// Checks the layer on its own against `T` and returns it as a table. What a
    /// lower layer may still supply is not missed.
    ///
    /// # Errors
    /// On a syntax error, an unknown key or a value of the wrong kind, each with
    /// its place and, for a key, the nearest known one.
    pub(crate) fn table<T: DeserializeOwned>(&self) -> Result<Table, Stop> {
        let table: Table = toml::from_str(&self.text).map_err(|error| self.refuse(&error))?;
        match toml::from_str::<T>(&self.text) {
            Err(error) if !error.message().starts_with("missing field") => Err(self.refuse(&error)),
            _ => Ok(table),
        }
    }

    /// Reads all layers up to this one.
    ///
    /// # Errors
    /// When they do not fit together, naming this layer.
    pub(crate) fn fits<T: DeserializeOwned>(&self, merged: &Table) -> Result<T, Stop> {
        merged
            .clone()
            .try_into()
            .map_err(|error: toml::de::Error| self.refuse(&error))
    }

    /// Names the place where the layer was typed.
    pub(crate) fn named(&self) -> String {
        match &self.origin {
            Origin::File(path) => format!("`{}`", path.display()),
            origin => origin.at((1, 1)),
        }
    }

    fn refuse(&self, error: &toml::de::Error) -> Stop {
        let place = error
            .span()
            .map_or((1, 1), |span| place(&self.text, span.start));
        let message = format!("{}: {}", self.origin.at(place), error.message());
        let stop = Stop::new(Exit::Usage, message);
        match suggest::for_key(error.message(), &super::keys()) {
            Some(hint) => stop.hint(hint),
            None => stop,
        }
    }
}

/// Lays `above` over `below`: tables are merged, everything else replaced. A
/// table of another `kind` has other keys and is replaced too.
pub(crate) fn merge(below: &mut Table, above: Table) {
    for (key, value) in above {
        match (below.get_mut(&key), value) {
            (Some(Value::Table(old)), Value::Table(new)) if same_kind(old, &new) => merge(old, new),
            (_, value) => {
                below.insert(key, value);
            }
        }
    }
}

fn same_kind(below: &Table, above: &Table) -> bool {
    above
        .get("kind")
        .is_none_or(|kind| below.get("kind") == Some(kind))
}

/// Reads a value as TOML if it is TOML, as a string otherwise.
fn as_toml(value: &str) -> String {
    let value = value.trim();
    let probe = format!("value = {value}");
    if !value.contains('\n') && toml::from_str::<Table>(&probe).is_ok() {
        value.to_owned()
    } else {
        Value::String(value.to_owned()).to_string()
    }
}

/// Returns line and column (from 1) of a byte offset.
fn place(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before
        .chars()
        .rev()
        .take_while(|letter| *letter != '\n')
        .count()
        + 1;
    (line, column)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_merge_and_values_replace() {
        let mut below: Table = toml::from_str("a = 1\n[t]\nx = 1\ny = [1, 2]").unwrap();
        let above: Table = toml::from_str("b = 2\n[t]\ny = [3]\nz = 4").unwrap();
        merge(&mut below, above);
        let expect: Table = toml::from_str("a = 1\nb = 2\n[t]\nx = 1\ny = [3]\nz = 4").unwrap();
        assert_eq!(below, expect);
    }

    #[test]
    fn values_are_toml_or_else_strings() {
        let cases = [
            ("1e-3", "1e-3"),
            ("true", "true"),
            ("[\"q\", \"v\"]", "[\"q\", \"v\"]"),
            ("pypi:x==1", "\"pypi:x==1\""),
            ("./dir", "\"./dir\""),
        ];
        for (typed, expect) in cases {
            assert_eq!(as_toml(typed), expect);
        }
    }

    #[test]
    fn places_count_from_one() {
        assert_eq!(place("ab\ncd", 0), (1, 1));
        assert_eq!(place("ab\ncd", 4), (2, 2));
    }

    #[test]
    fn a_key_must_be_a_path_of_names() {
        for key in ["", "train.", "a b", "a=b"] {
            assert!(
                Layer::value(Origin::Flag("--set".into()), key, "1").is_err(),
                "{key}"
            );
        }
    }
}
