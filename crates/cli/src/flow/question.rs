//! Held-out questions of either kind of data set, as checks and evaluations ask them.

use std::path::Path;

use dataset::bridge::{self, BridgeExample, Verdict};
use dataset::{Decision, Example, Split};

use super::{examples, select};

/// What an answer decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Task {
    /// BUY, SELL or HOLD, stated first.
    Trade,
    /// Whether a signal is to be traded, stated where the answer comes to it.
    Signal,
}

impl Task {
    /// Returns the names of the classes, in the order of their indices.
    pub(crate) fn classes(self) -> Vec<String> {
        match self {
            Self::Trade => Decision::ALL.iter().map(ToString::to_string).collect(),
            Self::Signal => Verdict::ALL.iter().map(ToString::to_string).collect(),
        }
    }

    /// Returns the class that an answer states, if it has the form.
    pub(crate) fn decided(self, answer: &str) -> Option<usize> {
        let answer = answer.trim();
        match self {
            Self::Trade => dataset::parse_answer(answer).map(Decision::index),
            Self::Signal => bridge::parse_verdict(answer).map(index),
        }
    }

    /// Returns the form of an answer.
    pub(crate) fn form(self) -> String {
        format!("DECISION: {} - reason", self.classes().join("|"))
    }
}

/// Returns a verdict's index.
pub(crate) fn index(verdict: Verdict) -> usize {
    usize::from(verdict == Verdict::Veto)
}

/// A prompt that the model has not been trained on.
#[derive(Clone, Debug)]
pub(crate) struct Question {
    /// The example.
    pub(crate) id: String,
    /// The prompt.
    pub(crate) prompt: String,
    /// The answer written with knowledge of the outcome: never shown to a model.
    pub(crate) answer: String,
    /// The class that the outcome bore out.
    pub(crate) label: usize,
    /// The class that the evidence of the prompt alone speaks for, where that is defined.
    pub(crate) evidence: Option<usize>,
}

impl Question {
    fn trade(example: &Example) -> Self {
        Self {
            id: example.id.clone(),
            prompt: example.prompt().to_owned(),
            answer: String::new(),
            label: example.label.index(),
            evidence: None,
        }
    }

    /// Returns the question of a held-out scenario.
    pub(crate) fn signal(scenario: &BridgeExample) -> Self {
        let label = Verdict::ALL
            .iter()
            .position(|verdict| scenario.about.label.as_deref() == Some(verdict.as_str()));
        Self {
            id: scenario.about.id.clone(),
            prompt: scenario.messages[0].content.clone(),
            answer: scenario.messages[1].content.clone(),
            label: label.unwrap_or_default(),
            evidence: bridge::evidence_verdict(&scenario.about.facts).map(index),
        }
    }
}

/// Reads the held-out questions of a data set or a bridge whose outcomes do not overlap, in time
/// order: of the test part.
///
/// # Errors
/// When the directory holds neither, or something altered or missing.
pub(crate) fn held_out(directory: &Path) -> anyhow::Result<(Task, Vec<Question>)> {
    if bridge::is_bridge(directory) {
        let scenarios = bridge::read_held_out(directory, Split::Test)?;
        let apart = select::scenarios(&scenarios);
        return Ok((
            Task::Signal,
            apart.into_iter().map(Question::signal).collect(),
        ));
    }
    let (dataset, _) = examples::read(directory)?;
    let apart = select::decisions(&dataset.test, dataset.settings.horizon(), 0);
    Ok((
        Task::Trade,
        apart.into_iter().map(Question::trade).collect(),
    ))
}
