//! A line of a bridge's files.

use market::{Instrument, Timeframe, Timestamp};
use serde::{Deserialize, Serialize};

use super::{Kind, Side};
use crate::{Facts, Message, Split};

/// Where a signal came from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Upstream {
    /// `ensemble` or `columns`.
    pub kind: String,
    /// The side.
    pub side: Side,
    /// The fold that predicted it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fold: Option<u32>,
    /// The end of the last outcome that the model had learned from; none for the user's columns,
    /// which are declared out-of-fold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trained_through: Option<Timestamp>,
}

/// What every example of a bridge says of itself. The outcome fields (`label`, `outcome_return`,
/// `span`) and the answer know the future; the prompt and `facts` do not.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct About {
    /// Unique in the data set.
    pub id: String,
    /// What is asked.
    pub kind: Kind,
    /// The part it belongs to.
    pub split: Split,
    /// What is traded.
    pub instrument: Instrument,
    /// The timeframe of the bars.
    pub timeframe: Timeframe,
    /// When the model is asked.
    pub decision_time: Timestamp,
    /// The decision time and the end of the outcome.
    pub span: (Timestamp, Timestamp),
    /// The right answer: `APPROVE`, `VETO`, `BULLISH`, `BEARISH`, `NEUTRAL`; none for a calculation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// The relative change over the span.
    pub outcome_return: f64,
    /// What the signal made of it after costs.
    pub net_return: f64,
    /// How much of its span is its own among the candidate rows of its pair, in `(0, 1]`.
    pub weight: f64,
    /// The signal's origin.
    pub upstream: Upstream,
    /// What the prompt shows, fact by fact.
    pub facts: Facts,
}

/// A conversation to learn from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BridgeExample {
    /// The user's prompt and the assistant's answer.
    pub messages: Vec<Message>,
    /// Where it comes from.
    #[serde(flatten)]
    pub about: About,
}

/// A preference pair.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BridgePair {
    /// What both answer.
    pub prompt: String,
    /// The answer that the outcome bore out.
    pub chosen: String,
    /// The answer that it did not.
    pub rejected: String,
    /// The net result in units of the typical move: how clear the preference is.
    pub margin: f64,
    /// Where it comes from.
    #[serde(flatten)]
    pub about: About,
}
