//! Which formulas become columns.

use std::collections::BTreeSet;

use formula::Profile;
use formula::catalogue::Catalogue;
use formula::language::{self, Expression, Notation};
use serde::{Deserialize, Serialize};

use crate::DatasetError;

/// A column of a package.
#[derive(Debug, Clone, PartialEq)]
pub struct Feature {
    /// The column's name.
    pub name: String,
    /// The formula's id in the catalogue, if it is from there.
    pub id: Option<String>,
    /// The formula.
    pub expression: Expression,
    /// Its conventions.
    pub profile: Profile,
}

/// A named list of features, as people edit it.
///
/// Each entry is the id of a formula (`talib.RSI_14`, its column `talib_RSI_14`),
/// several ids by a pattern (`alpha158.*`), or a column of one's own:
/// `ret_1 = close / ts_delay(close, 1) - 1`, `rsi_14 = talib.RSI_14`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FeatureSet {
    /// The set's name.
    pub name: String,
    /// What it is for.
    pub title: String,
    /// The entries.
    pub features: Vec<String>,
}

/// The sets that come with the program.
const BUILT_IN: [(&str, &str); 2] = [
    ("forex-575", include_str!("sets/forex-575.toml")),
    ("crypto", include_str!("sets/crypto.toml")),
];

impl FeatureSet {
    /// Returns the names of the sets that come with the program.
    pub fn names() -> Vec<&'static str> {
        BUILT_IN.iter().map(|(name, _)| *name).collect()
    }

    /// Returns the text of a set that comes with the program.
    pub fn text(name: &str) -> Option<&'static str> {
        BUILT_IN
            .iter()
            .find_map(|(of, text)| (*of == name).then_some(*text))
    }

    /// Reads a set.
    ///
    /// # Errors
    /// [`DatasetError::FeatureSet`] with the parser's message.
    pub fn parse(file: &str, text: &str) -> Result<Self, DatasetError> {
        toml::from_str(text).map_err(|error| DatasetError::FeatureSet {
            file: file.to_owned(),
            reason: error.to_string(),
        })
    }

    /// Returns the columns, in the order of the entries.
    ///
    /// # Errors
    /// [`DatasetError::FeatureSet`] for an id that is not there, a pattern that
    /// matches nothing, a formula that does not parse, or a name used twice.
    pub fn resolve(&self, catalogue: &Catalogue) -> Result<Vec<Feature>, DatasetError> {
        let mut features = Vec::new();
        let mut names = BTreeSet::new();
        for entry in &self.features {
            for feature in resolve(entry, catalogue).map_err(|reason| self.error(reason))? {
                if !names.insert(feature.name.clone()) {
                    let reason = format!("the column `{}` is there twice", feature.name);
                    return Err(self.error(reason));
                }
                features.push(feature);
            }
        }
        if features.is_empty() {
            return Err(self.error("there are no features, expected at least one".to_owned()));
        }
        Ok(features)
    }

    fn error(&self, reason: String) -> DatasetError {
        DatasetError::FeatureSet {
            file: self.name.clone(),
            reason,
        }
    }
}

fn resolve(entry: &str, catalogue: &Catalogue) -> Result<Vec<Feature>, String> {
    if let Some((name, formula)) = entry.split_once('=') {
        return own(name.trim(), formula.trim(), catalogue).map(|feature| vec![feature]);
    }
    let id = entry.trim();
    if id.contains(['*', '?']) {
        let found: Vec<Feature> = catalogue
            .entries()
            .iter()
            .filter(|entry| market::table::matches(id, &entry.id))
            .filter(|entry| !entry.needs.series)
            .map(|entry| of_entry(entry, column_name(&entry.id)))
            .collect();
        if found.is_empty() {
            return Err(format!("no formula's id matches `{id}`"));
        }
        return Ok(found);
    }
    let found = catalogue.get(id).ok_or_else(|| unknown(id, catalogue))?;
    Ok(vec![of_entry(found, column_name(id))])
}

fn own(name: &str, formula: &str, catalogue: &Catalogue) -> Result<Feature, String> {
    let fits = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    if name.is_empty() || !name.chars().all(fits) {
        return Err(format!(
            "`{name}` is not a column name, expected letters, digits and `_`"
        ));
    }
    if let Some(entry) = catalogue.get(formula) {
        return Ok(of_entry(entry, name.to_owned()));
    }
    let expression =
        language::parse(formula, Notation::Foretune).map_err(|error| match error.hint() {
            Some(hint) => format!("`{name}`: {error} ({hint})"),
            None => format!("`{name}`: {error}"),
        })?;
    Ok(Feature {
        name: name.to_owned(),
        id: None,
        expression,
        profile: Profile::PAPER,
    })
}

fn of_entry(entry: &formula::catalogue::Entry, name: String) -> Feature {
    Feature {
        name,
        id: Some(entry.id.clone()),
        expression: entry.expression.clone(),
        profile: entry.profile,
    }
}

/// Returns a formula's id as a column name.
fn column_name(id: &str) -> String {
    id.replace('.', "_")
}

fn unknown(id: &str, catalogue: &Catalogue) -> String {
    match catalogue.nearest(id) {
        Some(near) => format!("there is no formula `{id}`, did you mean `{near}`?"),
        None => format!("there is no formula `{id}`"),
    }
}
