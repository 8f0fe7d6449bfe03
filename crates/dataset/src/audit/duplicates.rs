//! Check 11: no prompt stands in two places.
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
    for record in records {
        let key = key(&record.prompt);
        let Some(first) = seen.get(&key) else {
            seen.insert(key, record);
            continue;
        };
        let exact = if first.prompt == record.prompt {
            "the same prompt as"
        } else {
            "nearly the same prompt as"
        };
        let other = if first.label == record.label {
            ""
        } else {
            ", with another label"
        };
        let across = if first.split == record.split {
            ""
        } else {
            ", which belongs to another part"
        };
        let place = Finding::at(&first.place, &first.id, "").place();
        let message = format!("{exact} {place}{other}{across}; expected each prompt once");
        check.found(Finding::at(&record.place, &record.id, message));
    }
    check.tried(format!(
        "{} prompts, by their words and by their numbers to {DIGITS} digits",
        records.len()
    ));
    if records.is_empty() {
        check.give_up("there is no record");
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
    let found = duplicates(&[first.clone(), copy]).is_red();
    told(Kind::Duplicates, "a prompt once more in capitals", found);
}

#[cfg(test)]
mod tests {
    use super::super::report::Status;
    use super::*;

    fn check(prompts: &[&str]) -> Check {
        let record = |(line, prompt): (usize, &&str)| AuditRecord {
            id: line.to_string(),
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
    }
}
