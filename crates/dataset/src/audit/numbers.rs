//! Numbers in texts: what an answer states (check 9), and where in a prompt a number stands.

use std::collections::{BTreeMap, BTreeSet};

use super::invariance::{Again, Batch};
use super::record::{AuditRecord, ClaimRule};
use super::report::{Check, Finding, Kind};
use crate::claims::{self, numbers};

/// The largest whole number without sign or unit that counts things rather than claims something.
const LARGEST_COUNT: f64 = 10.0;

/// A number as written.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Written {
    /// Its value; of `-3.1%` it is -3.1.
    pub(super) value: f64,
    /// Digits after the point.
    pub(super) decimals: usize,
    /// Digits that count, leading zeros left out.
    pub(super) significant: usize,
    /// Whether it carries a sign.
    pub(super) signed: bool,
    /// The letters or `%` right behind it.
    pub(super) unit: String,
}

/// Reads a number as [`numbers`] cuts it out; none for what is no number, such as `1.2.3`.
pub(super) fn read(text: &str) -> Option<Written> {
    let body = text.trim_start_matches(['+', '-']);
    let end = body
        .find(|c: char| !(c.is_ascii_digit() || c == '.' || c == ','))
        .unwrap_or(body.len());
    let (digits, unit) = body.split_at(end);
    let plain: String = digits.chars().filter(|c| *c != ',').collect();
    let size: f64 = plain.parse().ok()?;
    let decimals = plain.split_once('.').map_or(0, |(_, after)| after.len());
    let significant = plain
        .trim_start_matches(['0', '.'])
        .chars()
        .filter(char::is_ascii_digit)
        .count();
    Some(Written {
        value: if text.starts_with('-') { -size } else { size },
        decimals,
        significant,
        signed: text.starts_with(['+', '-']),
        unit: unit.to_owned(),
    })
}

/// A number of a text and the words before it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Slot<'a> {
    /// Up to two words right before it on its line, in lower case, with a count from the second
    /// such number on: `24h change`, `trend 2`.
    pub(super) key: String,
    /// As written.
    pub(super) text: &'a str,
    /// As read.
    pub(super) number: Written,
}

/// Returns the numbers of a text with the words before them.
pub(super) fn slots(text: &str) -> Vec<Slot<'_>> {
    let mut slots: Vec<Slot<'_>> = Vec::new();
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for line in text.lines() {
        let mut at = 0;
        for number in numbers(line) {
            // `numbers` returns parts of the line in order.
            let start = at + line[at..].find(number).unwrap_or(0);
            let before = line[..start]
                .rsplit(|c: char| !(c.is_alphanumeric() || c == '_'))
                .filter(|word| !word.is_empty())
                .take(2);
            let mut words: Vec<String> = before.map(str::to_lowercase).collect();
            words.reverse();
            at = start + number.len();
            let Some(read) = read(number) else { continue };
            let key = words.join(" ");
            let count = counts.entry(key.clone()).or_insert(0_usize);
            *count += 1;
            let count = *count;
            slots.push(Slot {
                key: if count == 1 {
                    key
                } else {
                    format!("{key} #{count}")
                },
                text: number,
                number: read,
            });
        }
    }
    slots
}

/// Makes check 9 on every answer, and again on those whose facts were recomputed.
pub(super) fn claims(records: &[AuditRecord], recomputed: Option<(&[Batch<'_>], &Again)>) -> Check {
    let mut check = Check::new(Kind::Claims);
    let mut stated = 0;
    let answers: usize = records.iter().map(|record| record.answers.len()).sum();
    for record in records {
        for answer in &record.answers {
            stated += numbers(answer).len();
            if let Some(number) = unsourced(record, answer) {
                let message = format!(
                    "the answer states `{number}`, expected only numbers that {}",
                    match record.claims {
                        ClaimRule::ShownFacts => "are facts and stand in the prompt",
                        ClaimRule::Facts => "are facts or stand in the prompt",
                        ClaimRule::Prompt => "stand in the prompt",
                    }
                );
                check.found(Finding::at(&record.place, &record.id, message));
            }
        }
    }
    check.tried(format!("{stated} numbers in {answers} answers"));
    if answers == 0 {
        check.give_up("no record has an answer");
    }
    let Some((batches, again)) = recomputed else {
        return check;
    };
    let mut compared = 0;
    for (batch, again) in batches.iter().zip(again) {
        for (record, again) in batch.records.iter().zip(again) {
            let Some(again) = again.as_ref().filter(|again| !again.facts.is_empty()) else {
                continue;
            };
            compared += 1;
            let fresh = AuditRecord {
                facts: again.facts.clone(),
                prompt: again.prompt.clone(),
                ..(*record).clone()
            };
            for answer in &record.answers {
                if let Some(number) = unsourced(&fresh, answer) {
                    let message = format!(
                        "the answer states `{number}`, which does not come out when the facts are \
                         computed again from bars cut at the decision"
                    );
                    check.found(Finding::at(&record.place, &record.id, message));
                }
            }
        }
    }
    check.tried(format!(
        "{compared} answers against facts computed again from bars cut at their decision"
    ));
    check
}

/// Returns the first number of an answer without a source.
fn unsourced<'a>(record: &AuditRecord, answer: &'a str) -> Option<&'a str> {
    match record.claims {
        ClaimRule::ShownFacts => {
            claims::unknown(answer, &record.prompt, &record.facts, claims::Source::Both)
        }
        ClaimRule::Facts => claims::unknown(
            answer,
            &record.prompt,
            &record.facts,
            claims::Source::Either,
        ),
        ClaimRule::Prompt => {
            let shown: Vec<Written> = numbers(&record.prompt)
                .into_iter()
                .filter_map(read)
                .collect();
            let mut seen = BTreeSet::new();
            numbers(answer)
                .into_iter()
                .filter(|number| seen.insert(*number))
                .find(|number| !read(number).is_some_and(|number| traced(&number, &shown)))
        }
    }
}

/// Reports whether a number is one of those shown, rounded at most, or only counts things.
fn traced(number: &Written, shown: &[Written]) -> bool {
    let counts = number.decimals == 0
        && number.unit.is_empty()
        && !number.signed
        && number.value <= LARGEST_COUNT;
    let scale = 10_f64.powi(number.decimals as i32);
    let rounded = |value: f64| (value.abs() * scale).round();
    let own = rounded(number.value);
    counts
        || shown.iter().any(|shown| {
            let same_unit =
                number.unit == shown.unit || number.unit.is_empty() || shown.unit.is_empty();
            let same_side = !number.signed || !shown.signed || number.value * shown.value >= 0.0;
            same_unit
                && same_side
                && rounded(shown.value) == own
                && (own != 0.0 || shown.value == 0.0)
        })
}

#[cfg(test)]
mod tests {
    use super::super::report::Status;
    use super::*;

    #[test]
    fn numbers_are_read_with_what_rounds_them() {
        let check = |text, value, decimals, significant, unit: &str| {
            let read = read(text).unwrap();
            assert_eq!(
                (
                    read.value,
                    read.decimals,
                    read.significant,
                    read.unit.as_str()
                ),
                (value, decimals, significant, unit),
                "{text}"
            );
        };
        check("-3.1%", -3.1, 1, 2, "%");
        check("1,234.50bp", 1234.5, 2, 6, "bp");
        check("0.0213", 0.0213, 4, 3, "");
        assert_eq!(read("1.2.3"), None);
    }

    #[test]
    fn slots_know_the_words_before_them() {
        let keys: Vec<(String, &str)> = slots("Price: 4,102.5\nRSI(14): 28.3 to 30\nnow 5 now 6")
            .into_iter()
            .map(|slot| (slot.key, slot.text))
            .collect();
        let expect = [
            ("price", "4,102.5"),
            ("rsi", "14"),
            ("rsi 14", "28.3"),
            ("3 to", "30"),
            ("now", "5"),
            ("5 now", "6"),
        ];
        assert_eq!(
            keys.iter()
                .map(|(k, t)| (k.as_str(), *t))
                .collect::<Vec<_>>(),
            expect
        );
    }

    fn record(prompt: &str, answer: &str) -> AuditRecord {
        AuditRecord {
            prompt: prompt.to_owned(),
            answers: vec![answer.to_owned()],
            ..AuditRecord::default()
        }
    }

    #[test]
    fn an_answer_may_round_what_the_prompt_shows_and_not_invent() {
        let prompt = "RSI 28.34, change -3.10%";
        for fine in ["RSI at 28.3", "about 28", "3 reasons", "fell 3.1%", "BUY"] {
            assert_eq!(
                claims(&[record(prompt, fine)], None).status,
                Status::Green,
                "{fine}"
            );
        }
        for invented in [
            "win rate 63%",
            "p < 0.001",
            "Kelly 0.38",
            "rose +3.1%",
            "in 12 hours",
        ] {
            let check = claims(&[record(prompt, invented)], None);
            assert_eq!(check.status, Status::Red, "{invented}");
        }
        let none = AuditRecord::default();
        assert_eq!(claims(&[none], None).status, Status::NotPossible);
    }
}
