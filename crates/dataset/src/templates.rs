//! Template files: the prompt, and what an answer may say.
//!
//! Both are built in and can be replaced by files named in the settings. An unknown name in a
//! template is an error, never an empty string.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;

use minijinja::{AutoEscape, Environment, UndefinedBehavior};
use serde::Deserialize;

use crate::{DatasetError, DatasetSettings, Decision};

const PROMPT: &str = include_str!("../templates/crypto-12h.prompt.jinja");
const COMPLETIONS: &str = include_str!("../templates/crypto-12h.completions.toml");
/// What the same verdicts mean where the first barrier touched decides.
const BARRIER_COMPLETIONS: &str = include_str!("../templates/triple-barrier.completions.toml");
/// The names of the built-in templates.
const PROMPT_NAME: &str = "crypto-12h.prompt.jinja";
const COMPLETIONS_NAME: &str = "crypto-12h.completions.toml";
const BARRIER_COMPLETIONS_NAME: &str = "triple-barrier.completions.toml";
/// A template file larger than this is not one.
const LARGEST_FILE: u64 = 1 << 20;

/// The prompt template in the environment; completion templates go by their ids.
const PROMPT_KEY: &str = "prompt";

/// The templates of one data set, parsed.
#[derive(Clone)]
pub struct Templates {
    prompt_source: Cow<'static, str>,
    completion_source: Cow<'static, str>,
    environment: Environment<'static>,
    reasons: [Vec<Reason>; 3],
}

impl fmt::Debug for Templates {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Templates")
            .field("reasons", &self.reasons)
            .finish_non_exhaustive()
    }
}

/// The facts a reason template is written for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum When {
    /// Some fact agrees with the decision.
    Support,
    /// Some agree, some do not.
    Mixed,
    /// None agrees.
    Against,
}

/// One way to give the reason for a decision.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Reason {
    pub(crate) id: String,
    pub(crate) when: When,
    text: String,
}

/// The file of completion templates.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ReasonFile {
    buy: Vec<Reason>,
    sell: Vec<Reason>,
    hold: Vec<Reason>,
}

impl Templates {
    /// Returns the templates that the settings name, or the built-in ones of the label rule.
    ///
    /// # Errors
    /// [`DatasetError::Io`] for a file that cannot be read, [`DatasetError::Template`] for one that
    /// does not parse, repeats an id, or leaves a situation of some decision without a template.
    pub fn load(settings: &DatasetSettings) -> Result<Self, DatasetError> {
        let (prompt_name, prompt) =
            source(settings.prompt_template.as_deref(), PROMPT_NAME, PROMPT)?;
        let (name, built_in) = if settings.label.first_touch() {
            (BARRIER_COMPLETIONS_NAME, BARRIER_COMPLETIONS)
        } else {
            (COMPLETIONS_NAME, COMPLETIONS)
        };
        let (completions_name, completions) =
            source(settings.completion_templates.as_deref(), name, built_in)?;
        Self::parse(&prompt_name, prompt, &completions_name, completions)
    }

    /// Returns the templates of two sources; the names are for errors.
    ///
    /// # Errors
    /// As [`Templates::load`].
    pub(crate) fn parse(
        prompt_name: &str,
        prompt: Cow<'static, str>,
        completions_name: &str,
        completions: Cow<'static, str>,
    ) -> Result<Self, DatasetError> {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_auto_escape_callback(|_| AutoEscape::None);
        environment
            .add_template_owned(PROMPT_KEY, prompt.clone())
            .map_err(|error| template_error(prompt_name, &error))?;

        let refuse = |message: String| DatasetError::Template {
            name: completions_name.to_owned(),
            message,
        };
        let file: ReasonFile =
            toml::from_str(&completions).map_err(|error| refuse(error.to_string()))?;
        let reasons = [file.buy, file.sell, file.hold];
        let mut ids = BTreeSet::from([PROMPT_KEY]);
        for (decision, reasons) in Decision::ALL.into_iter().zip(&reasons) {
            for when in [When::Support, When::Mixed, When::Against] {
                if !reasons.iter().any(|reason| reason.when == when) {
                    return Err(refuse(format!(
                        "no {decision} entry has `when = {when:?}`, expected at least one"
                    )));
                }
            }
            for reason in reasons {
                if !ids.insert(&reason.id) {
                    return Err(refuse(format!(
                        "the id `{}` is used twice or reserved, expected unique ids",
                        reason.id
                    )));
                }
                environment
                    .add_template_owned(reason.id.clone(), reason.text.clone())
                    .map_err(|error| template_error(completions_name, &error))?;
            }
        }
        Ok(Self {
            prompt_source: prompt,
            completion_source: completions,
            environment,
            reasons,
        })
    }

    /// Returns the source of the prompt template.
    pub fn prompt_source(&self) -> &str {
        &self.prompt_source
    }

    /// Returns the source of the completion templates, TOML.
    pub fn completion_source(&self) -> &str {
        &self.completion_source
    }

    /// Returns the ways to give the reason for a decision.
    pub(crate) fn reasons(&self, decision: Decision) -> &[Reason] {
        &self.reasons[decision.index()]
    }

    /// Renders the prompt template.
    pub(crate) fn render_prompt(&self, context: minijinja::Value) -> Result<String, DatasetError> {
        self.render(PROMPT_KEY, context)
    }

    /// Renders a completion template.
    pub(crate) fn render_reason(
        &self,
        reason: &Reason,
        context: minijinja::Value,
    ) -> Result<String, DatasetError> {
        self.render(&reason.id, context)
    }

    fn render(&self, key: &str, context: minijinja::Value) -> Result<String, DatasetError> {
        self.environment
            .get_template(key)
            .and_then(|template| template.render(context))
            .map_err(|error| template_error(key, &error))
    }
}

fn source(
    path: Option<&Path>,
    name: &str,
    built_in: &'static str,
) -> Result<(String, Cow<'static, str>), DatasetError> {
    let Some(path) = path else {
        return Ok((name.to_owned(), Cow::Borrowed(built_in)));
    };
    let name = path.display().to_string();
    let size = std::fs::metadata(path)
        .map_err(DatasetError::io("read", path))?
        .len();
    if size > LARGEST_FILE {
        let message = format!("{size} bytes, expected a template of at most {LARGEST_FILE}");
        return Err(DatasetError::Template { name, message });
    }
    let text = std::fs::read_to_string(path).map_err(DatasetError::io("read", path))?;
    Ok((name, Cow::Owned(text)))
}

fn template_error(name: &str, error: &minijinja::Error) -> DatasetError {
    let what = error
        .detail()
        .map_or_else(|| error.kind().to_string(), str::to_owned);
    DatasetError::Template {
        name: name.to_owned(),
        message: match error.line() {
            Some(line) => format!("line {line}: {what}"),
            None => what,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::LabelRule;

    fn parse(prompt: &str, completions: &str) -> Result<Templates, DatasetError> {
        let (prompt, completions) = (prompt.to_owned(), completions.to_owned());
        Templates::parse("p", prompt.into(), "c", completions.into())
    }

    fn refusal(prompt: &str, completions: &str) -> String {
        parse(prompt, completions).unwrap_err().to_string()
    }

    #[test]
    fn built_in_templates_have_ten_reasons_per_class() {
        let barriers = DatasetSettings {
            label: LabelRule::TripleBarrierAbsolute {
                profit: 0.02,
                loss: 0.02,
            },
            ..DatasetSettings::default()
        };
        for settings in [DatasetSettings::default(), barriers] {
            let templates = Templates::load(&settings).unwrap();
            for decision in Decision::ALL {
                assert!(templates.reasons(decision).len() >= 10, "{decision}");
            }
            let said = templates
                .completion_source()
                .contains("upper barrier first");
            assert_eq!(said, settings.label.first_touch());
        }
    }

    #[test]
    fn broken_templates_are_located() {
        let message = refusal("one\n{{ two", COMPLETIONS);
        assert!(message.starts_with("template `p`: line 2"), "{message}");
        let message = refusal(PROMPT, "buy = 3");
        assert!(message.starts_with("template `c`: "), "{message}");
        let message = refusal(PROMPT, "buy = []\nsell = []\nhold = []");
        assert!(message.contains("no BUY entry"), "{message}");
        let message = refusal(PROMPT, &COMPLETIONS.replace("buy-02", "buy-01"));
        assert!(message.contains("`buy-01` is used twice"), "{message}");
        let message = refusal(PROMPT, &COMPLETIONS.replace("when =", "if ="));
        assert!(message.contains("unknown field"), "{message}");
    }

    #[test]
    fn unknown_names_are_errors() {
        let templates = parse("{{ outcome }}", COMPLETIONS).unwrap();
        let error = templates
            .render_prompt(minijinja::context! { price => 1 })
            .unwrap_err();
        assert!(error.to_string().contains("undefined"), "{error}");
    }

    #[test]
    fn files_replace_the_built_in_ones() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("my.jinja");
        std::fs::write(&path, "Hello").unwrap();
        let mut settings = DatasetSettings {
            prompt_template: Some(path),
            ..DatasetSettings::default()
        };
        let templates = Templates::load(&settings).unwrap();
        assert_eq!(templates.prompt_source(), "Hello");
        settings.prompt_template = Some(directory.path().join("none"));
        let error = Templates::load(&settings).unwrap_err();
        assert!(matches!(error, DatasetError::Io { .. }), "{error}");
    }
}
