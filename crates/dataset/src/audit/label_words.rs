//! Check 3 for texts of unknown make: does the prompt say the outcome's class?
//!
//! Nothing can be rendered again, so a clean file is *not possible*, never green. An instruction
//! that lists all classes is in every prompt and says nothing; what counts is the rest.

use std::collections::{BTreeMap, BTreeSet};

use super::numbers::slots;
use super::planted::Told;
use super::record::AuditRecord;
use super::report::{Check, Finding, Kind};

/// A line in this share of the prompts belongs to the instruction.
const COMMON: f64 = 0.9;
/// Prompts that have to name a class before anything is said.
const FEWEST: usize = 5;
/// The share of prompts that name only their own class from which that is no prediction any more.
const TOO_RIGHT: f64 = 0.9;
/// Findings of one fault that are listed.
const LISTED: usize = 5;

/// Makes check 3 by looking at the words.
pub(super) fn label_words(records: &[AuditRecord]) -> Check {
    let mut check = Check::new(Kind::LabelSwap);
    let labels: BTreeSet<String> = records
        .iter()
        .filter_map(|record| record.label.as_deref().map(str::to_lowercase))
        .collect();
    if labels.len() < 2 {
        return Check::not_possible(
            Kind::LabelSwap,
            "the records do not have two labels; name the label's field",
        );
    }
    let words: BTreeSet<&str> = labels
        .iter()
        .map(String::as_str)
        .filter(|label| label.len() >= 2 && label.parse::<f64>().is_err())
        .collect();
    let common = common_lines(records);
    let (mut own, mut other) = (Vec::new(), 0_usize);
    for record in records {
        let Some(label) = record.label.as_deref().map(str::to_lowercase) else {
            continue;
        };
        let named = named(&record.prompt, &common, &words);
        match (named.contains(label.as_str()), named.len()) {
            (true, 1) => own.push(record),
            (false, 1) => other += 1,
            _ => {}
        }
    }
    let said = own.len() + other;
    check.tried(format!(
        "{said} prompts name exactly one class outside the instruction, {} of them their own",
        own.len()
    ));
    if own.len() >= FEWEST && own.len() as f64 >= TOO_RIGHT * said as f64 {
        for (index, record) in own.iter().enumerate() {
            let label = record.label.as_deref().unwrap_or_default();
            let message = format!(
                "the prompt names `{label}`, the record's own label, as {} of {said} prompts that \
                 name a class do; expected a prompt that does not know the outcome: leave it out, \
                 or put in what a model trained before the decision predicted",
                own.len()
            );
            list(
                &mut check,
                index,
                Finding::at(&record.place, &record.id, message),
            );
        }
    }
    numeric(&mut check, records);
    check.give_up(
        "no prompt was found to name its label, but texts cannot be rendered again with the other \
         outcome, so that it does not depend on it is not shown",
    );
    check
}

fn list(check: &mut Check, index: usize, finding: Finding) {
    if index < LISTED {
        check.found(finding);
    } else {
        check.found_total += 1;
    }
}

/// Finds a place in the prompt whose number is the label.
fn numeric(check: &mut Check, records: &[AuditRecord]) {
    let mut places: BTreeMap<String, (usize, Vec<&AuditRecord>, BTreeSet<&str>)> = BTreeMap::new();
    for record in records {
        let Some(label) = record.label.as_deref() else {
            continue;
        };
        let Ok(value) = label.parse::<f64>() else {
            continue;
        };
        for slot in slots(&record.prompt) {
            let (all, same, labels) = places.entry(slot.key).or_default();
            *all += 1;
            if slot.number.value == value {
                same.push(record);
                labels.insert(label);
            }
        }
    }
    for (key, (all, same, labels)) in places {
        let often = same.len() >= FEWEST && same.len() as f64 >= TOO_RIGHT * all as f64;
        if often && labels.len() >= 2 {
            for (index, record) in same.iter().enumerate() {
                let message = format!(
                    "the number behind `{key}` is the record's label in {} of {all} prompts; \
                     expected a prompt that does not know the outcome",
                    same.len()
                );
                list(
                    check,
                    index,
                    Finding::at(&record.place, &record.id, message),
                );
            }
        }
    }
}

/// Returns lines that nearly all prompts have.
fn common_lines(records: &[AuditRecord]) -> BTreeSet<&str> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for record in records {
        let lines: BTreeSet<&str> = record.prompt.lines().collect();
        for line in lines {
            *counts.entry(line).or_default() += 1;
        }
    }
    let most = COMMON * records.len() as f64;
    counts
        .into_iter()
        .filter(|(_, count)| *count as f64 >= most)
        .map(|(line, _)| line)
        .collect()
}

/// Returns the classes that the lines of a prompt outside the instruction name as words.
fn named<'a>(
    prompt: &str,
    common: &BTreeSet<&str>,
    words: &BTreeSet<&'a str>,
) -> BTreeSet<&'a str> {
    let lines = prompt.lines().filter(|line| !common.contains(line));
    let text: Vec<String> = lines.map(str::to_lowercase).collect();
    let is_named = |word: &&&str| text.iter().any(|line| has_word(line, word));
    words.iter().filter(is_named).copied().collect()
}

fn has_word(line: &str, word: &str) -> bool {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        !before.is_some_and(part) && !after.is_some_and(part)
    })
}

/// Plants the label's word, for check 7.
pub(super) fn plant(records: &[AuditRecord], told: &mut Told<'_>) {
    let with_word: Vec<AuditRecord> = records
        .iter()
        .filter(|record| record.label.is_some())
        .map(|record| AuditRecord {
            // Instead of the prompt: its own words may name several classes already.
            prompt: format!("Signal: {}", record.label.as_deref().unwrap_or_default()),
            ..record.clone()
        })
        .collect();
    let labels: BTreeSet<&str> = with_word
        .iter()
        .filter_map(|r| r.label.as_deref())
        .collect();
    let counts = |label: &&str| {
        let of_label = with_word
            .iter()
            .filter(|r| r.label.as_deref() == Some(*label));
        of_label.count()
    };
    // A class that nearly all have would itself pass for the instruction.
    let most = labels.iter().map(counts).max().unwrap_or(0);
    if labels.len() < 2 || with_word.len() - most < FEWEST {
        return;
    }
    let found = label_words(&with_word).is_red();
    told(Kind::LabelSwap, "the label's word in the prompt", found);
}

#[cfg(test)]
mod tests {
    use super::super::report::Status;
    use super::*;

    fn records(line: impl Fn(usize, &str) -> String) -> Vec<AuditRecord> {
        let labels = ["BUY", "SELL", "HOLD"];
        (0..30)
            .map(|row| AuditRecord {
                id: row.to_string(),
                label: Some(labels[row % 3].to_owned()),
                prompt: format!(
                    "Answer BUY, SELL or HOLD.\nRSI: {row}\n{}",
                    line(row, labels[row % 3])
                ),
                ..AuditRecord::default()
            })
            .collect()
    }

    #[test]
    fn the_outcome_named_in_the_prompt_is_found() {
        let check = label_words(&records(|_, label| format!("ML prediction: {label}")));
        assert_eq!((check.status, check.found_total), (Status::Red, 30));
        assert!(check.found[0].message.contains("`BUY`"));
    }

    #[test]
    fn a_prediction_that_is_often_wrong_is_no_proof_and_no_pass() {
        let check = label_words(&records(|row, _| {
            format!("ML prediction: {}", ["BUY", "SELL", "HOLD"][row % 7 % 3])
        }));
        assert_eq!(check.status, Status::NotPossible);
        assert_eq!(label_words(&[]).status, Status::NotPossible);
    }

    #[test]
    fn a_number_that_is_the_label_is_found() {
        let mut all = records(|row, _| format!("target={}", row % 2));
        for (row, record) in all.iter_mut().enumerate() {
            record.label = Some((row % 2).to_string());
        }
        let check = label_words(&all);
        assert_eq!(check.status, Status::Red);
        assert!(check.found[0].message.contains("`target`"), "{check:?}");
    }
}
