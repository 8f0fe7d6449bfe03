//! From a package of features to what a language model learns a judgement from.
//!
//! A conventional ensemble gives a signal that is out-of-fold for every row; the language model
//! learns to APPROVE or VETO it from evidence that was known at the time. Five kinds of examples
//! come of it: readings of feature values, trade scenarios, preference pairs, worked certainty
//! calculations, and questions about formulas. [`build()`] makes them, [`write()`] puts them into
//! a directory, [`verify()`] says whether a directory is fit to train on.
//!
//! Whether a signal paid is judged by its own side and after costs: meta-labelling (Lopez de
//! Prado, "Advances in Financial Machine Learning", 2018, section 3.6).

mod answers;
mod audit;
mod build;
mod draw;
mod evidence;
mod guard;
mod key;
mod null;
mod parse;
mod past;
mod pool;
mod record;
mod settings;
mod sheet;
mod signal;
mod sources;
mod store;
mod table;
mod training;
mod upstream;
mod verify;
mod words;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use build::{Bridge, BridgeProgress, BridgeStage, build};
pub use evidence::CERTAINTY_WEIGHTS;
pub use parse::{Grounding, evidence_verdict, grounding, parse_verdict};
pub use record::{About, BridgeExample, BridgePair, Upstream};
pub use settings::{BridgeSettings, Reasoning, SignalSource, Stamp};
pub use sheet::{BridgeSheet, CalibrationSheet, KindSheet, PairCounts};
pub use signal::Side;
pub use sources::{Joined, JoinedSource};
pub use store::{
    BridgeManifest, FORMULAS, JOINED, JOINED_PAIRS, KIND, is_bridge, read_bridge_manifest, write,
};
pub use training::{Conversation, TrainingFiles, read_held_out, read_training};
pub use verify::{Item, Readiness, verify};

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Which way values point.
    Reading,
    /// Whether a signal should be traded.
    Scenario,
    /// The same, with a right and a wrong answer.
    Preference,
    /// The evidence step by step.
    Calculation,
}

impl Kind {
    /// All kinds, in the order of their files.
    pub const ALL: [Self; 4] = [
        Self::Reading,
        Self::Scenario,
        Self::Preference,
        Self::Calculation,
    ];

    /// Returns the file of the training examples of this kind.
    pub fn file(self) -> &'static str {
        match self {
            Self::Reading => "real_feature_examples.jsonl",
            Self::Scenario => "real_trade_scenarios.jsonl",
            Self::Preference => "real_dpo_pairs.jsonl",
            Self::Calculation => "real_certainty_calculations.jsonl",
        }
    }

    /// Returns the name as in ids.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Reading => "reading",
            Self::Scenario => "scenario",
            Self::Preference => "preference",
            Self::Calculation => "calculation",
        }
    }
}

/// What becomes of a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Verdict {
    /// It is traded.
    Approve,
    /// It is not.
    Veto,
}

impl Verdict {
    /// Both, in the order of their indices.
    pub const ALL: [Self; 2] = [Self::Approve, Self::Veto];

    /// Returns the other one.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::Approve => Self::Veto,
            Self::Veto => Self::Approve,
        }
    }

    /// Returns `APPROVE` or `VETO`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Approve => "APPROVE",
            Self::Veto => "VETO",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// Where the price went, beyond costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    Bullish,
    Bearish,
    Neutral,
}

impl Direction {
    /// Returns where an outcome went, given the cost of a round trip.
    fn of(outcome: f64, cost: f64) -> Self {
        if outcome > cost {
            Self::Bullish
        } else if outcome < -cost {
            Self::Bearish
        } else {
            Self::Neutral
        }
    }
}

impl fmt::Display for Direction {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Bullish => "BULLISH",
            Self::Bearish => "BEARISH",
            Self::Neutral => "NEUTRAL",
        })
    }
}
