//! The claim check: an answer may state only numbers that its prompt shows as facts.

use std::collections::BTreeSet;

use crate::DatasetError;
use crate::facts::Facts;

/// Numbers in the names of facts, as the built-in prompt writes them: `24h change`, `RSI(14)`,
/// `EMA(50)`.
const NAMES: [(&str, &str); 3] = [("change_24h", "24h"), ("rsi", "14"), ("ema", "50")];

/// Returns the numbers of a text as written, each with its sign and unit: `-3.1%`, `28.3`, `4h`.
///
/// A minus or plus belongs to a number unless a letter, a digit or a closing bracket stands before
/// it; a unit is the run of letters and `%` that follows at once.
pub fn numbers(text: &str) -> Vec<&str> {
    let bytes = text.as_bytes();
    let mut numbers = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        if !bytes[at].is_ascii_digit() {
            at += 1;
            continue;
        }
        let signed = at > 0
            && matches!(bytes[at - 1], b'+' | b'-')
            && !at.checked_sub(2).is_some_and(|before| {
                bytes[before].is_ascii_alphanumeric() || bytes[before] == b')'
            });
        let start = at - usize::from(signed);
        let mut end = at;
        let digit = |index: usize| bytes.get(index).is_some_and(u8::is_ascii_digit);
        // A point or comma belongs to the number only if a digit follows.
        while digit(end) || (matches!(bytes.get(end), Some(b'.' | b',')) && digit(end + 1)) {
            end += 1;
        }
        while bytes
            .get(end)
            .is_some_and(|byte| byte.is_ascii_alphabetic() || *byte == b'%')
        {
            end += 1;
        }
        numbers.push(&text[start..end]);
        at = end;
    }
    numbers
}

/// Where a number of an answer has to be found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// Among the facts and in the prompt.
    Both,
    /// Among the facts or in the prompt.
    Either,
}

/// Checks that every number of an answer is the number of a fact, in the same form, and stands in
/// the prompt.
///
/// Digits inside a word (`x2`) count as numbers, so they cannot slip through. Numbers of the
/// instruction, such as the threshold, are no facts.
///
/// # Errors
/// [`DatasetError::UnknownNumber`] with the example's id for the first that is not.
pub fn check(id: &str, answer: &str, prompt: &str, facts: &Facts) -> Result<(), DatasetError> {
    match unknown(answer, prompt, facts, Source::Both) {
        None => Ok(()),
        Some(number) => Err(DatasetError::UnknownNumber {
            id: id.to_owned(),
            number: number.to_owned(),
        }),
    }
}

/// Returns the first number of an answer that does not have its source.
pub(crate) fn unknown<'a>(
    answer: &'a str,
    prompt: &str,
    facts: &Facts,
    source: Source,
) -> Option<&'a str> {
    let stated = numbers(answer);
    if stated.is_empty() {
        return None;
    }
    let mut known: BTreeSet<&str> = facts
        .values()
        .flat_map(|fact| numbers(&fact.text))
        .collect();
    let named = NAMES.iter().filter(|(fact, _)| facts.contains_key(*fact));
    known.extend(named.map(|(_, number)| *number));
    let shown: BTreeSet<&str> = numbers(prompt).into_iter().collect();
    stated.into_iter().find(|number| match source {
        Source::Both => !(known.contains(number) && shown.contains(number)),
        Source::Either => !(known.contains(number) || shown.contains(number)),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::as_of::tests::view;
    use crate::facts::facts;
    use crate::{DatasetSettings, Templates, render_prompt};

    #[test]
    fn numbers_keep_sign_and_unit() {
        let check = |text, expect: &[&str]| assert_eq!(numbers(text), expect, "{text}");
        check("RSI at 28.3 (oversold), down -3.1%.", &["28.3", "-3.1%"]);
        check("RSI(14): 1,234.5bp; 4h up", &["14", "1,234.5bp", "4h"]);
        check("2019-03 x2 p<0.001", &["2019", "03", "2", "0.001"]);
        check("BUY - 5. Then 6,", &["5", "6"]);
        check("EMA(50)-1 +0.46%", &["50", "1", "+0.46%"]);
        check("Größe 5€", &["5"]);
        check("none", &[]);
    }

    #[test]
    fn invented_numbers_are_found() {
        let settings = DatasetSettings::default();
        let templates = Templates::load(&settings).unwrap();
        let prompt = render_prompt(&view(), &templates, &settings).unwrap();
        let facts = facts(&view(), &settings);
        let check = |answer: &str| super::check("id", answer, &prompt, &facts);
        check("DECISION: BUY - RSI(14) at 28.3, MACD -12bp, 24h change of -3.1%, 1h up").unwrap();
        for (answer, number) in [
            ("win rate 63%", "63%"),
            ("RSI at 28", "28"),
            ("RSI at 28.34", "28.34"),
            ("fell 3.1%", "3.1%"),
            ("over 2%", "2%"),
            ("in 12 hours", "12"),
            ("MACD at 12bp", "12bp"),
        ] {
            match check(answer).unwrap_err() {
                DatasetError::UnknownNumber { id, number: found } => {
                    assert_eq!((id.as_str(), found.as_str()), ("id", number));
                }
                other => panic!("{other}"),
            }
        }
    }

    proptest! {
        /// Any text is read without a panic, and every digit of it is in some number.
        #[test]
        fn no_digit_is_missed(text in "\\PC{0,40}") {
            let digits = |text: &str| text.chars().filter(char::is_ascii_digit).count();
            let found: usize = numbers(&text).into_iter().map(digits).sum();
            prop_assert_eq!(found, digits(&text));
        }
    }

    #[test]
    fn a_fact_that_the_prompt_leaves_out_is_not_shown() {
        let settings = DatasetSettings::default();
        let facts = facts(&view(), &settings);
        assert!(check("id", "RSI at 28.3", "RSI(14): (oversold)", &facts).is_err());
    }
}
