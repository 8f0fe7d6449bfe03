//! The catalogue of cited formulas: readable files, one a family, checked whole
//! when they are read.
//!
//! A formula stands in the catalogue once: the reader refuses a second one of the
//! same id or one that computes the same. Nothing in it is text only; every
//! expression is read and checked.

mod error;
mod file;
mod files;
mod inputs;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use toml::Spanned;

pub use error::{Fault, FaultKind, Faults};
pub use inputs::Needs;

use crate::Profile;
use crate::language::{self, Expression, Notation};
use file::{RawFamily, RawFormula, Texts, line_of};

/// Formulas of one source.
#[derive(Debug, Clone, PartialEq)]
pub struct Family {
    /// The name that ids begin with.
    pub id: String,
    /// What people call it.
    pub title: String,
    /// The work that the formulas are from.
    pub source: String,
}

/// One formula.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// Family, dot, name; unique.
    pub id: String,
    /// The [`Family::id`].
    pub family: String,
    /// What people call it.
    pub name: String,
    /// The expression as its source writes it.
    pub text: String,
    /// The way it is written.
    pub notation: Notation,
    /// The expression read.
    pub expression: Expression,
    /// The conventions it is computed by.
    pub profile: Profile,
    /// The place in the family's source.
    pub citation: String,
    /// What it measures and how.
    pub explanation: String,
    /// What high and low values say.
    pub interpretation: String,
    /// Where it needs care.
    pub pitfalls: String,
    /// What stands in for what is really meant, when computed from bars.
    pub proxy: Option<String>,
    /// How and why this differs from the printed formula.
    pub deviation: Option<String>,
    /// Further names of the same formula, in other families.
    pub also: Vec<String>,
    /// What it asks of the data.
    pub needs: Needs,
    /// [`language::canonical_hash`].
    pub hash: u128,
    /// [`language::structure_hash`].
    pub structure: u128,
}

/// How many formulas there are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// Distinct expressions.
    pub expressions: usize,
    /// Distinct structures, constants abstracted.
    pub structures: usize,
}

/// Formulas with their families.
#[derive(Debug, Clone, PartialEq)]
pub struct Catalogue {
    families: Vec<Family>,
    entries: Vec<Entry>,
    places: BTreeMap<String, usize>,
}

static BUILTIN: LazyLock<Result<Catalogue, Faults>> =
    LazyLock::new(|| Catalogue::read(files::FILES));

impl Catalogue {
    /// Returns the catalogue that the program carries, read on first use.
    ///
    /// # Errors
    ///
    /// None in a tested release.
    pub fn builtin() -> Result<&'static Self, &'static Faults> {
        BUILTIN.as_ref()
    }

    /// Reads one file of the user's own. `name` is used in messages.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with the file.
    pub fn parse(name: &str, text: &str) -> Result<Self, Faults> {
        Self::read(&[(name, text)])
    }

    /// Reads files, names and texts, into one catalogue.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with the files.
    pub fn read(files: &[(&str, &str)]) -> Result<Self, Faults> {
        let mut reader = Reader::default();
        for (name, text) in files {
            reader.file(name, text);
        }
        reader.finish()
    }

    /// Returns the families in the order of the files.
    pub fn families(&self) -> &[Family] {
        &self.families
    }

    /// Returns the family called `id`.
    pub fn family(&self, id: &str) -> Option<&Family> {
        self.families.iter().find(|family| family.id == id)
    }

    /// Returns all formulas in the order of the files.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Returns the formula called `id`, also by one of its further names.
    pub fn get(&self, id: &str) -> Option<&Entry> {
        self.places.get(id).map(|place| &self.entries[*place])
    }

    /// Returns the id most like `id`.
    pub fn nearest(&self, id: &str) -> Option<&str> {
        language::nearest(id, self.places.keys().map(String::as_str))
    }

    /// Returns the formulas that have every one of `words`, those that have them in
    /// the id or name first.
    pub fn search(&self, words: &str) -> Vec<&Entry> {
        let words: Vec<String> = words.split_whitespace().map(str::to_lowercase).collect();
        let mut found: Vec<(bool, &Entry)> = self
            .entries
            .iter()
            .filter_map(|entry| {
                let title = format!("{} {}", entry.id, entry.name).to_lowercase();
                let all = format!("{title} {}", self.words_of(entry)).to_lowercase();
                let in_all = words.iter().all(|word| all.contains(word.as_str()));
                let in_title = words.iter().all(|word| title.contains(word.as_str()));
                in_all.then_some((!in_title, entry))
            })
            .collect();
        found.sort_by_key(|(later, _)| *later);
        found.into_iter().map(|(_, entry)| entry).collect()
    }

    fn words_of(&self, entry: &Entry) -> String {
        let family = self.family(&entry.family);
        [
            family.map_or("", |family| &family.title),
            &entry.text,
            &entry.expression.to_string(),
            &entry.citation,
            &entry.explanation,
            &entry.interpretation,
            &entry.pitfalls,
            &entry.also.join(" "),
        ]
        .join(" ")
    }

    /// Returns how many formulas there are.
    pub fn counts(&self) -> Counts {
        counts(self.entries.iter())
    }

    /// Returns how many formulas each family has, in the order of the families.
    /// A structure that two families share is counted in both.
    pub fn by_family(&self) -> Vec<(&Family, Counts)> {
        let of = |family: &Family| {
            let entries = self.entries.iter();
            counts(entries.filter(|entry| entry.family == family.id))
        };
        let families = self.families.iter();
        families.map(|family| (family, of(family))).collect()
    }
}

fn counts<'a>(entries: impl Iterator<Item = &'a Entry> + Clone) -> Counts {
    let expressions: BTreeSet<u128> = entries.clone().map(|entry| entry.hash).collect();
    let structures: BTreeSet<u128> = entries.map(|entry| entry.structure).collect();
    Counts {
        expressions: expressions.len(),
        structures: structures.len(),
    }
}

/// Gathers formulas and faults.
#[derive(Default)]
struct Reader {
    families: Vec<Family>,
    entries: Vec<Entry>,
    /// Ids and further names, each with the place of its formula and its file.
    places: BTreeMap<String, (usize, String)>,
    hashes: BTreeMap<u128, usize>,
    faults: Vec<Fault>,
}

/// What a formula takes from its family.
struct Defaults<'a> {
    file: &'a str,
    text: &'a str,
    family: &'a str,
    profile: Option<Profile>,
    notation: Option<Notation>,
}

impl Reader {
    fn file(&mut self, name: &str, text: &str) {
        let file = match file::read(name, text) {
            Ok(file) => file,
            Err(fault) => return self.faults.push(fault),
        };
        let RawFamily {
            id, title, source, ..
        } = &file.family;
        let defaults = Defaults {
            file: name,
            text,
            family: id.get_ref(),
            profile: self.profile(name, text, &file.family.profile),
            notation: self.notation(name, text, &file.family.notation),
        };
        self.families.push(Family {
            id: id.get_ref().clone(),
            title: title.clone(),
            source: source.clone(),
        });
        for formula in &file.formula {
            self.formula(&defaults, formula);
        }
    }

    fn fault(&mut self, file: &str, line: usize, problem: FaultKind) {
        self.faults.push(Fault {
            file: file.to_owned(),
            line,
            problem,
        });
    }

    fn profile(&mut self, file: &str, text: &str, name: &Spanned<String>) -> Option<Profile> {
        let profile = Profile::named(name.get_ref());
        if profile.is_none() {
            let known = Profile::ALL.map(|profile| profile.name).join(", ");
            self.unknown(file, text, name, "profile", known);
        }
        profile
    }

    fn notation(&mut self, file: &str, text: &str, name: &Spanned<String>) -> Option<Notation> {
        let notation = Notation::named(name.get_ref());
        if notation.is_none() {
            let known = Notation::ALL.map(Notation::name).join(", ");
            self.unknown(file, text, name, "notation", known);
        }
        notation
    }

    fn unknown(
        &mut self,
        file: &str,
        text: &str,
        name: &Spanned<String>,
        what: &'static str,
        known: String,
    ) {
        let line = line_of(text, name.span());
        let name = name.get_ref().clone();
        self.fault(file, line, FaultKind::Unknown { what, name, known });
    }

    fn formula(&mut self, defaults: &Defaults<'_>, formula: &RawFormula) {
        let &Defaults { file, text, .. } = defaults;
        let profile = match &formula.profile {
            Some(name) => self.profile(file, text, name),
            None => defaults.profile,
        };
        let notation = match &formula.notation {
            Some(name) => self.notation(file, text, name),
            None => defaults.notation,
        };
        let line = line_of(text, formula.id.span());
        let all = match formula.expanded() {
            Ok(all) => all,
            Err(problem) => return self.fault(file, line, problem),
        };
        let (Some(profile), Some(notation)) = (profile, notation) else {
            return;
        };
        for texts in all {
            if !is_id(&texts.id, defaults.family) {
                let (id, family) = (texts.id, defaults.family.to_owned());
                self.fault(file, line, FaultKind::Id { id, family });
                continue;
            }
            match language::parse(&texts.expression, notation) {
                Ok(expression) => {
                    let entry = entry(texts, defaults.family, notation, profile, expression);
                    self.entry(file, line, entry);
                }
                Err(error) => {
                    let line = line_of(text, formula.expression.span());
                    let id = texts.id;
                    self.fault(file, line, FaultKind::Expression { id, error });
                    // The others of a grid have the same fault.
                    break;
                }
            }
        }
    }

    fn entry(&mut self, file: &str, line: usize, entry: Entry) {
        if let Some(first) = self.hashes.get(&entry.hash) {
            let first = self.entries[*first].id.clone();
            let second = entry.id;
            return self.fault(file, line, FaultKind::DuplicateFormula { first, second });
        }
        let place = self.entries.len();
        for name in std::iter::once(&entry.id).chain(&entry.also) {
            if let Some((_, first)) = self.places.get(name) {
                let (id, first) = (name.clone(), first.clone());
                self.fault(file, line, FaultKind::DuplicateId { id, first });
            } else {
                let here = format!("{file}:{line}");
                self.places.insert(name.clone(), (place, here));
            }
        }
        self.hashes.insert(entry.hash, place);
        self.entries.push(entry);
    }

    fn finish(self) -> Result<Catalogue, Faults> {
        if !self.faults.is_empty() {
            return Err(Faults(self.faults));
        }
        let places = self.places.into_iter();
        Ok(Catalogue {
            families: self.families,
            entries: self.entries,
            places: places.map(|(id, (place, _))| (id, place)).collect(),
        })
    }
}

fn is_id(id: &str, family: &str) -> bool {
    let of_letters = |part: &str| {
        let letter = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        !part.is_empty() && part.bytes().all(letter)
    };
    let lower = !family.bytes().any(|byte| byte.is_ascii_uppercase());
    id.strip_prefix(family)
        .and_then(|rest| rest.strip_prefix('.'))
        .is_some_and(|name| of_letters(name) && of_letters(family) && lower)
}

fn entry(
    texts: Texts,
    family: &str,
    notation: Notation,
    profile: Profile,
    expression: Expression,
) -> Entry {
    Entry {
        id: texts.id,
        family: family.to_owned(),
        name: texts.name,
        text: texts.expression,
        notation,
        hash: language::canonical_hash(&expression, &profile),
        structure: language::structure_hash(&expression),
        needs: Needs::of(&expression, &profile),
        expression,
        profile,
        citation: texts.citation,
        explanation: texts.explanation,
        interpretation: texts.interpretation,
        pitfalls: texts.pitfalls,
        proxy: texts.proxy,
        deviation: texts.deviation,
        also: texts.also,
    }
}
