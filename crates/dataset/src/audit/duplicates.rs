//! Check 11: no prompt stands in two parts or files. How many stand twice within one is told.
//!
//! Two prompts are near-duplicates if they have the same words and the same numbers to three
//! digits, whatever their case, spacing and punctuation. A prompt that trains and tests measures
//! memory.

use std::collections::BTreeMap;

use super::numbers::read;
use super::planted::Told;
use super::record::AuditRecord;
use super::report::{Check, Finding, Kind};
use crate::claims::numbers;

/// Digits of a number that two near-duplicates share.
const DIGITS: usize = 3;

/// Makes check 11.
pub(super) fn duplicates(records: &[AuditRecord]) -> Check {
    let mut check = Check::new(Kind::Duplicates);
    let mut seen: BTreeMap<String, &AuditRecord> = BTreeMap::new();
    let (mut within, mut otherwise) = (0_usize, 0_usize);
    for record in records {
        let key = key(&record.prompt);
        let Some(first) = seen.get(&key) else {
            seen.insert(key, record);
            continue;
        };
        if (first.split, &first.place.file) == (record.split, &record.place.file) {
            within += 1;
            otherwise += usize::from(first.label != record.label);
            continue;
        }
        let exact = if first.prompt == record.prompt {
            "the same prompt as"
        } else {
            "nearly the same prompt as"
        };
        let place = Finding::at(&first.place, &first.id, "").place();
        let message = format!(
            "{exact} {place}, which belongs to another part or file; expected each prompt in one: a \
             model that has seen it is not tested by it"
        );
        check.found(Finding::at(&record.place, &record.id, message));
    }
    check.tried(format!(
        "{} prompts, by their words and by their numbers to {DIGITS} digits",
        records.len()
    ));
    if within > 0 {
        check.tried(format!(
            "{within} stand in their own file before, {otherwise} of them with another label"
        ));
    }
    let first = records
        .first()
        .map(|record| (record.split, &record.place.file));
    if records
        .iter()
        .all(|record| Some((record.split, &record.place.file)) == first)
    {
        check.give_up("there is one part only; name the others, such as `--test FILE`");
    }
    check
}

/// Returns words and rounded numbers, without case, spacing and punctuation.
fn key(prompt: &str) -> String {
    let mut key = String::with_capacity(prompt.len());
    let mut rest = prompt;
    for number in numbers(prompt) {
        let at = rest.find(number).unwrap_or(0);
        words(&rest[..at], &mut key);
        match read(number) {
            Some(read) => key.push_str(&format!(" {:.*e}{}", DIGITS - 1, read.value, read.unit)),
            None => words(number, &mut key),
        }
        rest = &rest[at + number.len()..];
    }
    words(rest, &mut key);
    key
}

fn words(text: &str, key: &mut String) {
    for word in text
        .split(|c: char| !c.is_alphanumeric())
        .filter(|w| !w.is_empty())
    {
        key.push(' ');
        key.push_str(&word.to_lowercase());
    }
}

/// Plants a near-duplicate, for check 7.
pub(super) fn plant(records: &[AuditRecord], told: &mut Told<'_>) {
    let Some(first) = records
        .iter()
        .find(|record| !record.prompt.trim().is_empty())
    else {
        return;
    };
    let mut copy = first.clone();
    copy.prompt = format!("  {} ", copy.prompt.to_uppercase());
    copy.place.file.push_str(" (planted)");
    let found = duplicates(&[first.clone(), copy]).is_red();
    told(Kind::Duplicates, "a prompt once more in capitals", found);
}

#[cfg(test)]
mod tests {
    use super::super::report::Status;
    use super::*;
    use crate::Split;

    fn check(prompts: &[&str]) -> Check {
        let record = |(line, prompt): (usize, &&str)| AuditRecord {
            id: line.to_string(),
            split: Some(Split::ALL[line]),
            prompt: (*prompt).to_owned(),
            ..AuditRecord::default()
        };
        let records: Vec<AuditRecord> = prompts.iter().enumerate().map(record).collect();
        duplicates(&records)
    }

    #[test]
    fn the_same_prompt_is_found_whatever_its_dress() {
        let base = "RSI: 28.34 (oversold), price 64,213.5";
        assert_eq!(check(&[base, base]).found_total, 1);
        let near = check(&[base, "rsi 28.31\n(oversold) price 64213"]);
        assert_eq!((near.status, near.found_total), (Status::Red, 1));
        assert!(near.found[0].message.starts_with("nearly"));
        let others = [
            "RSI: 29.34 (oversold), price 64,213.5",
            "RSI: 28.34 (neutral), price 64,213.5",
        ];
        for other in others {
            assert_eq!(check(&[base, other]).status, Status::Green, "{other}");
        }
        assert_eq!(check(&[]).status, Status::NotPossible);
        assert_eq!(check(&[base]).status, Status::NotPossible);
    }

    #[test]
    fn what_stands_twice_in_one_part_is_told_and_no_leak() {
        let record = |label: &str, split| AuditRecord {
            prompt: "RSI: 28.3".to_owned(),
            label: Some(label.to_owned()),
            split: Some(split),
            ..AuditRecord::default()
        };
        let other = AuditRecord {
            prompt: "RSI: 50".to_owned(),
            ..record("a", Split::Test)
        };
        let train = |label| record(label, Split::Train);
        let check = duplicates(&[train("a"), train("a"), train("b"), other]);
        assert_eq!(check.status, Status::Green);
        assert!(check.tried[1].starts_with("2 stand"), "{:?}", check.tried);
    }
}
