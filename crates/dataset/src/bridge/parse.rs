//! What a model's answer to a scenario says: its verdict, the values it names, and what the
//! evidence itself says.

use std::collections::BTreeSet;

use super::Verdict;
use crate::{ANSWER_PREFIX, Facts, REASON_SEPARATOR, claims};

/// The marks of reasoning.
const THINK: [&str; 2] = ["<think>", "</think>"];

/// Returns the verdict of an answer of the form `DECISION: APPROVE|VETO - reason`.
///
/// One line of the answer states it, in this case and with a reason. Reasons may stand before it,
/// between `<think>` and `</think>` (the first of which a chat template may have written already)
/// or without marks, and after it. Two statements, marks out of place, or anything else is no
/// answer.
pub fn parse_verdict(answer: &str) -> Option<Verdict> {
    let mut stated = answer
        .match_indices(ANSWER_PREFIX.trim_end())
        .map(|(at, _)| at);
    let at = stated.next()?;
    if stated.next().is_some() {
        return None;
    }
    let (before, line) = answer.split_at(at);
    if !(before.trim().is_empty() || before.ends_with('\n')) || !marks_are_sound(before) {
        return None;
    }
    let rest = line.strip_prefix(ANSWER_PREFIX)?;
    if THINK.iter().any(|mark| rest.contains(mark)) {
        return None;
    }
    Verdict::ALL.into_iter().find(|verdict| {
        rest.strip_prefix(verdict.as_str())
            .and_then(|rest| rest.strip_prefix(REASON_SEPARATOR))
            .and_then(|reason| reason.lines().next())
            .is_some_and(|reason| !reason.trim().is_empty())
    })
}

/// Reports whether what stands before a verdict is reasons without marks or one closed block.
fn marks_are_sound(before: &str) -> bool {
    let reasons = before.trim();
    let [open, close] = THINK;
    let inner = match reasons.strip_suffix(close) {
        Some(inner) => inner.strip_prefix(open).unwrap_or(inner),
        None => reasons,
    };
    !inner.contains(open) && !inner.contains(close)
}

/// How an answer's numbers stand to its prompt.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Grounding {
    /// Different numbers of the answer that the prompt shows in the same form.
    pub shown: usize,
    /// Different numbers of the answer that the prompt does not show.
    pub invented: usize,
}

/// Counts the numbers of an answer that its prompt shows and those that it does not.
pub fn grounding(prompt: &str, answer: &str) -> Grounding {
    let shown: BTreeSet<&str> = claims::numbers(prompt).into_iter().collect();
    let stated: BTreeSet<&str> = claims::numbers(answer).into_iter().collect();
    let known = stated.intersection(&shown).count();
    Grounding {
        shown: known,
        invented: stated.len() - known,
    }
}

/// Returns the verdict that the evidence alone speaks for: APPROVE where the calibrated certainty
/// is above what the trade needs to break even after costs (half, where there are no past cases),
/// else VETO. None where the facts do not show a certainty.
pub fn evidence_verdict(facts: &Facts) -> Option<Verdict> {
    let percent = |name: &str| -> Option<f64> {
        let text = facts.get(name)?.text.strip_suffix('%')?;
        text.parse().ok()
    };
    let needed = percent("break_even").unwrap_or(50.0);
    Some(if percent("certainty")? > needed {
        Verdict::Approve
    } else {
        Verdict::Veto
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Fact;

    #[test]
    fn answers_in_form_are_read() {
        let check = |text, expect| assert_eq!(parse_verdict(text), expect, "{text:?}");
        let (approve, veto) = (Some(Verdict::Approve), Some(Verdict::Veto));
        check(
            "<think>\nWin rate 52%.\n</think>\nDECISION: VETO - too dear.",
            veto,
        );
        // R1's template writes the first mark itself.
        check(
            "\nWin rate 52%.\n</think>\n\nDECISION: APPROVE - good.",
            approve,
        );
        check("Win rate 52%.\nDECISION: APPROVE - good.", approve);
        check("DECISION: APPROVE - good.\nAnd more.", approve);
        check("DECISION: APPROVE", None);
        check("DECISION: APPROVE - ", None);
        check("DECISION: APPROVED - good", None);
        check("decision: APPROVE - good", None);
        check("so DECISION: APPROVE - good", None);
        check("DECISION: APPROVE - good\nDECISION: VETO - bad", None);
        check("<think>\nDECISION: VETO - bad\n</think>", None);
        check("<think>\nno end\nDECISION: VETO - bad", None);
        check(
            "<think><think>x</think></think>\nDECISION: VETO - bad",
            None,
        );
        check("", None);
    }

    #[test]
    fn numbers_are_counted_once_each() {
        let counted = grounding("rate 52.4%, cost 1.0bp", "52.4% and 52.4% against 9.9%");
        assert_eq!((counted.shown, counted.invented), (1, 1));
        assert_eq!(grounding("52", "nothing"), Grounding::default());
    }

    #[test]
    fn evidence_weighs_certainty_against_break_even() {
        let facts = |pairs: &[(&str, &str)]| -> Facts {
            let fact = |text: &str| Fact {
                text: text.to_owned(),
                zone: None,
                supports: None,
                available_at: market::Timestamp(0),
            };
            let pairs = pairs.iter();
            pairs
                .map(|(name, text)| ((*name).to_owned(), fact(text)))
                .collect()
        };
        let check = |pairs: &[(&str, &str)], expect| {
            assert_eq!(evidence_verdict(&facts(pairs)), expect, "{pairs:?}");
        };
        check(&[], None);
        check(&[("certainty", "n/a")], None);
        check(&[("certainty", "50.1%")], Some(Verdict::Approve));
        check(&[("certainty", "50.0%")], Some(Verdict::Veto));
        check(
            &[("certainty", "50.1%"), ("break_even", "52.6%")],
            Some(Verdict::Veto),
        );
    }

    proptest! {
        #[test]
        fn no_text_breaks_the_reader(text in any::<String>()) {
            let _ = (parse_verdict(&text), grounding(&text, &text));
        }
    }
}
