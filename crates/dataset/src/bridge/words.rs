//! The template file of the bridge, parsed: prompts, clauses, openings and closings.

use std::collections::{BTreeMap, BTreeSet};

use minijinja::{AutoEscape, Environment, UndefinedBehavior, Value};
use serde::Deserialize;

use crate::DatasetError;

/// The built-in file.
const BUILT_IN: &str = include_str!("../../templates/forex-bridge.toml");
/// Its name in a data set.
pub(crate) const FILE: &str = "templates/forex-bridge.toml";
/// The fewest openings, closings and orders of a class.
const FEWEST: usize = 10;

/// Parts of the evidence an answer tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Part {
    Signal,
    Cases,
    Factors,
    Cost,
    Set,
}

/// Phrases for one part of the evidence.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Clauses {
    /// Where it speaks for the trade.
    #[serde(rename = "for")]
    pub(crate) for_it: Vec<String>,
    /// Where it speaks against it.
    pub(crate) against: Vec<String>,
}

/// How the evidence told stands to what an answer states.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Stance {
    /// All of it agrees; of a flat reading: there is none.
    Support,
    /// More of it agrees than not; of a flat reading: both sides, unevenly.
    Mixed,
    /// As much agrees as does not.
    Even,
    /// More of it disagrees, or all; of a flat reading: one side alone.
    Against,
    /// There is none.
    Silent,
}

/// The stances that a verdict's openings are written for, a direction's, and a flat reading's.
const JUDGED: [Stance; 3] = [Stance::Support, Stance::Mixed, Stance::Against];
const DIRECTED: [Stance; 5] = [
    Stance::Support,
    Stance::Mixed,
    Stance::Even,
    Stance::Against,
    Stance::Silent,
];
const FLAT: [Stance; 4] = [
    Stance::Support,
    Stance::Mixed,
    Stance::Even,
    Stance::Against,
];

/// An opening and the evidence it is written for.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Opening {
    pub(crate) when: Stance,
    pub(crate) text: String,
}

/// How answers of one class begin and end.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Class {
    pub(crate) openings: Vec<Opening>,
    pub(crate) closings: Vec<String>,
    /// Closings of a trade that is approved although the evidence stakes nothing on it.
    #[serde(default)]
    pub(crate) unstaked: Vec<String>,
}

/// How features are told in a reading.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Reading {
    pub(crate) features: Vec<String>,
    pub(crate) plain: Vec<String>,
    pub(crate) none: Vec<String>,
}

/// How a calculation begins and ends.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Calculation {
    pub(crate) openings: Vec<String>,
    pub(crate) clear: Vec<String>,
    pub(crate) unclear: Vec<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Answers {
    pub(crate) orders: Vec<Vec<Part>>,
    pub(crate) turns: Vec<String>,
    pub(crate) clauses: BTreeMap<Part, Clauses>,
    pub(crate) approve: Class,
    pub(crate) veto: Class,
    pub(crate) reading: Reading,
    pub(crate) bullish: Class,
    pub(crate) bearish: Class,
    pub(crate) neutral: Class,
    pub(crate) calculation: Calculation,
}

impl Answers {
    /// Returns every phrase that is rendered.
    fn phrases(&self) -> BTreeSet<&str> {
        let classes = [
            &self.approve,
            &self.veto,
            &self.bullish,
            &self.bearish,
            &self.neutral,
        ];
        let of_classes = classes.into_iter().flat_map(|class| {
            let openings = class.openings.iter().map(|opening| opening.text.as_str());
            let closings = class.closings.iter().chain(&class.unstaked);
            openings.chain(closings.map(String::as_str))
        });
        let of_clauses = self
            .clauses
            .values()
            .flat_map(|clauses| clauses.for_it.iter().chain(&clauses.against));
        let of_readings = self.reading.features.iter().chain(&self.reading.plain);
        of_classes
            .chain(of_clauses.map(String::as_str))
            .chain(of_readings.map(String::as_str))
            .collect()
    }
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Prompts {
    reading: String,
    scenario: String,
    calculation: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    prompts: Prompts,
    answers: Answers,
}

/// The templates of a bridge.
pub(crate) struct Words {
    pub(crate) source: String,
    pub(crate) answers: Answers,
    environment: Environment<'static>,
}

impl std::fmt::Debug for Words {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Words")
            .field("answers", &self.answers)
            .finish_non_exhaustive()
    }
}

/// The names of the prompts.
pub(crate) const READING: &str = "reading";
pub(crate) const SCENARIO: &str = "scenario";
pub(crate) const CALCULATION: &str = "calculation";

impl Words {
    /// Parses the built-in file.
    ///
    /// # Errors
    /// As [`Words::parse`].
    pub(crate) fn built_in() -> Result<Self, DatasetError> {
        Self::parse(BUILT_IN)
    }

    /// Parses a template file; an unknown name in a template is an error when it is used.
    ///
    /// # Errors
    /// [`DatasetError::Template`] for a file that does not parse or has too little variety.
    pub(crate) fn parse(source: &str) -> Result<Self, DatasetError> {
        let refuse = |message: String| DatasetError::Template {
            name: FILE.to_owned(),
            message,
        };
        let File { prompts, answers } =
            toml::from_str(source).map_err(|error| refuse(error.to_string()))?;
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_auto_escape_callback(|_| AutoEscape::None);
        let named = [
            (READING, prompts.reading),
            (SCENARIO, prompts.scenario),
            (CALCULATION, prompts.calculation),
        ];
        for (name, text) in named {
            environment
                .add_template_owned(name, text)
                .map_err(|error| refuse(format!("{error:#}")))?;
        }
        // Phrases are parsed once, each under its own text as a name.
        for phrase in answers.phrases() {
            environment
                .add_template_owned(phrase.to_owned(), phrase.to_owned())
                .map_err(|error| refuse(format!("`{phrase}`: {error:#}")))?;
        }
        let classes = [
            ("approve", &answers.approve, &JUDGED[..]),
            ("veto", &answers.veto, &JUDGED),
            ("bullish", &answers.bullish, &DIRECTED),
            ("bearish", &answers.bearish, &DIRECTED),
            ("neutral", &answers.neutral, &FLAT),
        ];
        for (name, class, stances) in classes {
            let mut counts = vec![
                ("openings", class.openings.len()),
                ("closings", class.closings.len()),
            ];
            if name == "approve" {
                counts.push(("unstaked", class.unstaked.len()));
            }
            for (what, count) in counts {
                if count < FEWEST {
                    return Err(refuse(format!(
                        "`answers.{name}.{what}` has {count}, expected at least {FEWEST}"
                    )));
                }
            }
            for when in stances {
                if !class.openings.iter().any(|opening| opening.when == *when) {
                    return Err(refuse(format!(
                        "`answers.{name}.openings` has none for `{when:?}`"
                    )));
                }
            }
        }
        if answers.orders.len() < FEWEST {
            return Err(refuse(format!(
                "`answers.orders` has {}, expected at least {FEWEST}",
                answers.orders.len()
            )));
        }
        Ok(Self {
            source: source.to_owned(),
            answers,
            environment,
        })
    }

    /// Renders a prompt.
    ///
    /// # Errors
    /// [`DatasetError::Template`] for an unknown name in it.
    pub(crate) fn prompt(&self, name: &str, facts: &Value) -> Result<String, DatasetError> {
        self.environment
            .get_template(name)
            .and_then(|template| template.render(facts))
            .map(|text| text.trim().to_owned())
            .map_err(|error| DatasetError::Template {
                name: format!("{FILE}: {name}"),
                message: format!("{error:#}"),
            })
    }

    /// Renders a phrase of the file.
    ///
    /// # Errors
    /// [`DatasetError::Template`] for an unknown name in it.
    pub(crate) fn phrase(&self, text: &str, facts: &Value) -> Result<String, DatasetError> {
        self.environment
            .get_template(text)
            .and_then(|template| template.render(facts))
            .map_err(|error| DatasetError::Template {
                name: format!("{FILE}: `{text}`"),
                message: format!("{error:#}"),
            })
    }
}
