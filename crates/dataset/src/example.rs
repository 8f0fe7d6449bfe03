//! One example: a conversation to learn from, and where it came from.

use std::collections::{BTreeMap, BTreeSet};

use market::{Instrument, Timeframe, Timestamp};
use serde::{Deserialize, Serialize};

use crate::claims;
use crate::facts::Facts;
use crate::{Decision, Split, parse_answer};

/// One turn of a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Message {
    /// `user` or `assistant`.
    pub role: String,
    /// What is said.
    pub content: String,
}

/// One decision on one instrument at one instant: prompt, answer, outcome and provenance.
///
/// The outcome fields (`label`, `outcome_return`, `span`) and the answer know the future; the
/// prompt, `features`, `facts` and `persistence` do not.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Example {
    /// The user's prompt and the assistant's answer.
    pub messages: Vec<Message>,
    /// Unique in the data set: `BTC/USD@1h@2019-03-01T12:00:00Z`.
    pub id: String,
    /// The part it belongs to.
    pub split: Split,
    /// What is traded.
    pub instrument: Instrument,
    /// The timeframe of the bars.
    pub timeframe: Timeframe,
    /// When the model is asked.
    pub decision_time: Timestamp,
    /// The close at the decision time, in the quote currency.
    pub price: f64,
    /// The outcome's decision, which the answer states.
    pub label: Decision,
    /// The relative change of the price over the span, as in [`crate::Outcome`]: 0.01 is 1 %.
    pub outcome_return: f64,
    /// The decision time and the end of what the label looks at: of the horizon, or of the bar
    /// that touched a barrier.
    pub span: (Timestamp, Timestamp),
    /// How much of its span is its own among the examples of its part and instrument, in `(0, 1]`.
    pub weight: f64,
    /// The decision that the last fully matured horizon would have deserved.
    pub persistence: Decision,
    /// Numbers of the view, free of the price's scale, for baselines.
    pub features: BTreeMap<String, f64>,
    /// What the prompt shows, fact by fact.
    pub facts: Facts,
    /// The id of the completion template.
    pub template: String,
}

impl Example {
    /// Returns the prompt.
    pub fn prompt(&self) -> &str {
        self.content("user")
    }

    /// Returns the answer.
    pub fn answer(&self) -> &str {
        self.content("assistant")
    }

    fn content(&self, role: &str) -> &str {
        self.messages
            .iter()
            .find(|message| message.role == role)
            .map_or("", |message| message.content.as_str())
    }

    /// Checks an example that was read against its own fields. Returns what is wrong, if anything.
    pub(crate) fn fault(&self, split: Split, ids: &BTreeSet<String>) -> Option<String> {
        let roles: Vec<&str> = self.messages.iter().map(|m| m.role.as_str()).collect();
        if roles != ["user", "assistant"] {
            return Some(format!(
                "the roles are {roles:?}, expected `user`, `assistant`"
            ));
        }
        if ids.contains(&self.id) {
            return Some(format!("the id `{}` occurs before", self.id));
        }
        if self.split != split {
            return Some(format!("the split is `{}`, expected `{split}`", self.split));
        }
        if self.answer().trim().is_empty() {
            return Some("the answer is empty".to_owned());
        }
        if parse_answer(self.answer()) != Some(self.label) {
            return Some(format!(
                "the answer does not state the label `{}`",
                self.label
            ));
        }
        if self.span.0 != self.decision_time || self.span.1 <= self.span.0 {
            return Some(format!(
                "the span is {} to {}, expected it to start at the decision time {}",
                self.span.0, self.span.1, self.decision_time
            ));
        }
        let numbers = [
            ("price", self.price, self.price > 0.0),
            ("outcome_return", self.outcome_return, true),
            ("weight", self.weight, (0.0..=1.0).contains(&self.weight)),
        ];
        let features = self
            .features
            .iter()
            .map(|(name, x)| (name.as_str(), *x, true));
        for (name, value, fits) in numbers.into_iter().chain(features) {
            if !(fits && value.is_finite()) {
                return Some(format!("`{name}` is `{value}`, which is out of its range"));
            }
        }
        if let Some((name, fact)) = self
            .facts
            .iter()
            .find(|(_, fact)| fact.available_at > self.decision_time)
        {
            return Some(format!(
                "fact `{name}` becomes known at {}, after the decision at {}",
                fact.available_at, self.decision_time
            ));
        }
        claims::check(&self.id, self.answer(), self.prompt(), &self.facts)
            .err()
            .map(|error| error.to_string())
    }
}

/// Returns the id of the example of an instrument at an instant.
pub(crate) fn id(instrument: &Instrument, timeframe: Timeframe, time: Timestamp) -> String {
    format!("{instrument}@{timeframe}@{time}")
}
