//! One line of a data set's files, as much of it as the page needs: an example, a bridge's example
//! or pair, a question about a formula, a line of a joined source.

use std::collections::BTreeMap;

use dataset::{Message, Split};
use market::Timestamp;
use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
pub(super) struct Line {
    #[serde(default)]
    messages: Vec<Turn>,
    #[serde(default)]
    prompt: Option<Value>,
    #[serde(default)]
    chosen: Option<Value>,
    #[serde(default)]
    pub(super) id: Option<String>,
    #[serde(default)]
    pub(super) split: Option<Split>,
    #[serde(default)]
    pub(super) kind: Option<String>,
    #[serde(default)]
    pub(super) instrument: Option<String>,
    #[serde(default)]
    pub(super) span: Option<(Timestamp, Timestamp)>,
    #[serde(default)]
    pub(super) label: Option<String>,
    #[serde(default)]
    pub(super) outcome_return: Option<f64>,
    #[serde(default)]
    pub(super) facts: BTreeMap<String, Fact>,
}

/// A turn; whatever else a source says of it is left alone.
#[derive(Deserialize)]
struct Turn {
    role: String,
    content: String,
}

/// A fact as far as a page shows it.
#[derive(Deserialize)]
pub(super) struct Fact {
    pub(super) text: String,
    #[serde(default)]
    pub(super) zone: Option<String>,
}

impl Line {
    /// Returns the conversation; of a pair the one with the chosen answer.
    pub(super) fn conversation(&self) -> Vec<Message> {
        if !self.messages.is_empty() {
            let turn = |turn: &Turn| Message {
                role: turn.role.clone(),
                content: turn.content.clone(),
            };
            return self.messages.iter().map(turn).collect();
        }
        let mut turns = turns(self.prompt.as_ref(), "user");
        turns.extend(self::turns(self.chosen.as_ref(), "assistant"));
        turns
    }
}

/// A text, or turns as they are.
fn turns(value: Option<&Value>, role: &str) -> Vec<Message> {
    match value {
        Some(Value::String(text)) => vec![Message {
            role: role.to_owned(),
            content: text.clone(),
        }],
        Some(Value::Array(turns)) => turns
            .iter()
            .filter_map(|turn| serde_json::from_value(turn.clone()).ok())
            .collect(),
        _ => Vec::new(),
    }
}

impl Fact {
    /// Returns its number, without its unit; none for a word.
    pub(super) fn number(&self) -> Option<f64> {
        let word = self.text.split_whitespace().next()?;
        // Of units only these: the `4h` of a trend names a timeframe and is no quantity.
        let units = ["%", "bp", "x"];
        let digits = units
            .iter()
            .find_map(|unit| word.strip_suffix(unit))
            .unwrap_or(word);
        let number: f64 = digits.replace(',', "").parse().ok()?;
        number.is_finite().then_some(number)
    }

    /// Returns its zone, or its text where it has none.
    pub(super) fn word(&self) -> &str {
        self.zone.as_deref().unwrap_or(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_without_their_units() {
        let number = |text: &str| {
            let zone = None;
            let text = text.to_owned();
            Fact { text, zone }.number()
        };
        assert_eq!(number("-3.1%"), Some(-3.1));
        assert_eq!(number("25.9bp"), Some(25.9));
        assert_eq!(number("0.0008125 93%"), Some(0.000_812_5));
        assert_eq!(number("1,666"), Some(1666.0));
        assert_eq!(number("4h"), None);
        assert_eq!(number("n/a"), None);
        assert_eq!(number("inf"), None);
        assert_eq!(number(""), None);
    }
}
