//! The three decisions, the three parts of a data set, and the form of an answer.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What every answer starts with.
pub const ANSWER_PREFIX: &str = "DECISION: ";
/// What stands between the decision and its reason.
pub const REASON_SEPARATOR: &str = " - ";

/// A decision, also the name of a label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Decision {
    /// The price is expected to rise beyond the threshold.
    Buy,
    /// The price is expected to fall beyond the threshold.
    Sell,
    /// Neither.
    Hold,
}

impl Decision {
    /// All decisions, in the order of [`Decision::index`].
    pub const ALL: [Self; 3] = [Self::Buy, Self::Sell, Self::Hold];

    /// Returns the position in [`Decision::ALL`].
    pub fn index(self) -> usize {
        match self {
            Self::Buy => 0,
            Self::Sell => 1,
            Self::Hold => 2,
        }
    }

    /// Returns `BUY`, `SELL` or `HOLD`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Buy => "BUY",
            Self::Sell => "SELL",
            Self::Hold => "HOLD",
        }
    }

    /// Returns the decision on the other side of the market; HOLD has none.
    pub fn opposite(self) -> Option<Self> {
        match self {
            Self::Buy => Some(Self::Sell),
            Self::Sell => Some(Self::Buy),
            Self::Hold => None,
        }
    }
}

impl fmt::Display for Decision {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// A part of a data set. Parts are contiguous in time, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Split {
    /// What the model learns from; balanced.
    Train,
    /// What choices and calibration are made on; its natural mix.
    Validation,
    /// What is scored once; its natural mix.
    Test,
}

impl Split {
    /// All parts, in time order.
    pub const ALL: [Self; 3] = [Self::Train, Self::Validation, Self::Test];

    /// Returns `train`, `validation` or `test`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Validation => "validation",
            Self::Test => "test",
        }
    }

    /// Returns the name of the part's file in a data set directory.
    pub fn file_name(self) -> &'static str {
        match self {
            Self::Train => "examples.jsonl",
            Self::Validation => "validation.jsonl",
            Self::Test => "test.jsonl",
        }
    }
}

impl fmt::Display for Split {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// Returns the decision of an answer of the form `DECISION: BUY|SELL|HOLD - reason`: from the
/// first character, in this case, with a reason on the first line. What follows that line is
/// not looked at. Anything else is no answer.
pub fn parse_answer(answer: &str) -> Option<Decision> {
    let rest = answer.strip_prefix(ANSWER_PREFIX)?;
    Decision::ALL.into_iter().find(|decision| {
        rest.strip_prefix(decision.as_str())
            .and_then(|rest| rest.strip_prefix(REASON_SEPARATOR))
            .and_then(|reason| reason.lines().next())
            .is_some_and(|reason| !reason.trim().is_empty())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_in_form_are_read() {
        let check = |text, expect| assert_eq!(parse_answer(text), expect, "{text:?}");
        check("DECISION: BUY - RSI at 28.3", Some(Decision::Buy));
        check("DECISION: SELL - x", Some(Decision::Sell));
        check("DECISION: HOLD - x\nand more", Some(Decision::Hold));
        check("", None);
        check("BUY", None);
        check(" DECISION: BUY - x", None);
        check("decision: buy - x", None);
        check("DECISION: BUY", None);
        check("DECISION: BUY - ", None);
        check("DECISION: BUY - \nreason on the next line", None);
        check("DECISION: BUY- x", None);
        check("DECISION: BUYS - x", None);
        check("DECISION: BUY|SELL|HOLD - reason", None);
    }

    #[test]
    fn order_is_the_index() {
        for (index, decision) in Decision::ALL.into_iter().enumerate() {
            assert_eq!(decision.index(), index);
            let json = serde_json::to_string(&decision).unwrap();
            assert_eq!(json, format!("\"{decision}\""));
        }
        assert_eq!(serde_json::to_string(&Split::Train).unwrap(), "\"train\"");
    }
}
