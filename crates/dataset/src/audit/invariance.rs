//! Checks 1 to 3: nothing that comes after a decision changes what is shown at it.
//!
//! A few instants are drawn, and all that comes after one is cut off, replaced or turned upside
//! down. Every decision at or before it has to look the same. The decisions closest to the instant
//! see a leak that reaches only a bar ahead; a random part of the earlier ones sees a leak from far
//! ahead, such as a scaler fitted on the whole history.

use std::collections::BTreeMap;

use market::Timestamp;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use super::record::AuditRecord;
use super::report::{Check, Finding, Kind};
use super::rerender::{Change, Future, Rendered, Rerender};
use super::settings::AuditSettings;
use crate::DatasetError;

/// Decisions of one instrument, none after `after`.
#[derive(Debug, Clone)]
pub(super) struct Batch<'a> {
    pub(super) after: Timestamp,
    pub(super) records: Vec<&'a AuditRecord>,
}

/// Draws instants and decisions at or before them.
pub(super) fn draw<'a>(records: &'a [AuditRecord], settings: &AuditSettings) -> Vec<Batch<'a>> {
    let mut by_instrument: BTreeMap<Option<&str>, Vec<&AuditRecord>> = BTreeMap::new();
    for record in records {
        let name = record.instrument.as_deref();
        by_instrument.entry(name).or_default().push(record);
    }
    let mut groups: Vec<Vec<&AuditRecord>> = by_instrument.into_values().collect();
    if groups.is_empty() {
        return Vec::new();
    }
    for group in &mut groups {
        group.sort_by_key(|record| record.decision_time);
    }
    let mut random = ChaCha8Rng::seed_from_u64(settings.seed ^ 0x6175_6469);
    let per_cut = settings.samples.div_ceil(settings.cuts);
    let first = random.random_range(0..groups.len() as u64) as usize;
    let batches = (0..settings.cuts).map(|cut| {
        let group = &groups[(first + cut) % groups.len()];
        let last = random.random_range(0..group.len() as u64) as usize;
        let near = per_cut.div_ceil(2).min(last + 1);
        let mut chosen: Vec<usize> = (last + 1 - near..=last).collect();
        for _ in near..per_cut {
            chosen.push(random.random_range(0..=last as u64) as usize);
        }
        chosen.sort_unstable();
        chosen.dedup();
        Batch {
            after: group[last].decision_time,
            records: chosen.into_iter().map(|row| group[row]).collect(),
        }
    });
    batches.collect()
}

/// What each record of each batch looks like after a change.
pub(super) type Again = Vec<Vec<Option<Rendered>>>;

/// Renders all batches after a change.
pub(super) fn render(
    batches: &[Batch<'_>],
    rerender: &dyn Rerender,
    future: Future,
    seed: u64,
) -> Result<Again, DatasetError> {
    batches
        .par_iter()
        .map(|batch| {
            let change = Change {
                after: batch.after,
                future,
                seed,
            };
            let again = rerender.rerender(&batch.records, &change)?;
            assert_eq!(again.len(), batch.records.len(), "one result a record");
            Ok(again)
        })
        .collect()
}

/// Makes check 1 and returns what was rendered for others to use.
pub(super) fn truncation(
    batches: &[Batch<'_>],
    rerender: &dyn Rerender,
    seed: u64,
) -> Result<(Check, Again), DatasetError> {
    let mut check = Check::new(Kind::Truncation);
    let again = render(batches, rerender, Future::Cut, seed)?;
    compare(&mut check, batches, &again, Future::Cut, everything);
    Ok((check, again))
}

/// Makes check 2.
pub(super) fn poisoning(
    batches: &[Batch<'_>],
    rerender: &dyn Rerender,
    seed: u64,
) -> Result<Check, DatasetError> {
    let mut check = Check::new(Kind::Poisoning);
    for future in [Future::Nan, Future::Thousandfold, Future::Noise] {
        let again = render(batches, rerender, future, seed)?;
        compare(&mut check, batches, &again, future, everything);
    }
    Ok(check)
}

/// Makes check 3. A change that leaves every outcome as it is proves nothing.
pub(super) fn label_swap(
    batches: &[Batch<'_>],
    rerender: &dyn Rerender,
    seed: u64,
) -> Result<Check, DatasetError> {
    let mut check = Check::new(Kind::LabelSwap);
    let mut swapped = 0;
    for future in [Future::Mirrored, Future::Thousandfold] {
        let again = render(batches, rerender, future, seed)?;
        for (batch, again) in batches.iter().zip(&again) {
            let pairs = batch.records.iter().zip(again);
            swapped += pairs
                .filter(|(record, again)| {
                    let label = again.as_ref().and_then(|again| again.label.as_ref());
                    label.is_some() && label != record.label.as_ref()
                })
                .count();
        }
        compare(&mut check, batches, &again, future, |record, again| {
            prompts(&record.prompt, &again.prompt)
        });
    }
    check.tried(format!("{swapped} outcomes came out with another class"));
    if swapped == 0 {
        check.give_up(
            "no decision drawn got another outcome, so equal prompts prove nothing; draw more with \
             a larger number of samples",
        );
    }
    Ok(check)
}

fn compare(
    check: &mut Check,
    batches: &[Batch<'_>],
    again: &Again,
    future: Future,
    differs: impl Fn(&AuditRecord, &Rendered) -> Option<String>,
) {
    let mut decisions = 0;
    for (batch, again) in batches.iter().zip(again) {
        for (record, again) in batch.records.iter().zip(again) {
            decisions += 1;
            let fault = match again {
                Some(again) => differs(record, again),
                None => Some("it cannot be rendered any more".to_owned()),
            };
            if let Some(fault) = fault {
                let message = format!(
                    "with what comes after {} {}: {fault}; expected the same, for nothing after \
                     the decision may be used",
                    batch.after,
                    future.as_str()
                );
                check.found(Finding::at(&record.place, &record.id, message));
            }
        }
    }
    check.tried(format!(
        "{decisions} decisions before {} instants, what comes after {}",
        batches.len(),
        future.as_str()
    ));
    if decisions == 0 {
        check.give_up("there is no decision to render again");
    }
}

/// Returns the first difference between a record and its like.
fn everything(record: &AuditRecord, again: &Rendered) -> Option<String> {
    if let Some(fault) = prompts(&record.prompt, &again.prompt) {
        return Some(fault);
    }
    let names = record.features.keys().chain(again.features.keys());
    for name in names {
        let (was, is) = (record.features.get(name), again.features.get(name));
        if was.map(|x| x.to_bits()) != is.map(|x| x.to_bits()) {
            return Some(format!(
                "feature `{name}` is {} instead of {}",
                shown(is),
                shown(was)
            ));
        }
    }
    let names = record.facts.keys().chain(again.facts.keys());
    for name in names {
        if record.facts.get(name) != again.facts.get(name) {
            let text = |fact: Option<&crate::Fact>| {
                fact.map_or("missing".to_owned(), |fact| format!("`{}`", fact.text))
            };
            return Some(format!(
                "fact `{name}` is {} instead of {}",
                text(again.facts.get(name)),
                text(record.facts.get(name))
            ));
        }
    }
    None
}

fn shown(value: Option<&f64>) -> String {
    value.map_or("missing".to_owned(), |value| format!("`{value}`"))
}

/// Returns where two prompts part.
fn prompts(was: &str, is: &str) -> Option<String> {
    if was == is {
        return None;
    }
    let mut lines = was.lines().zip(is.lines()).enumerate();
    let parted = lines.find(|(_, (was, is))| was != is);
    Some(match parted {
        Some((line, (was, is))) => format!(
            "line {} of the prompt is `{}` instead of `{}`",
            line + 1,
            short(is),
            short(was)
        ),
        None => format!("the prompt has {} bytes instead of {}", is.len(), was.len()),
    })
}

/// Returns a text of at most 120 characters.
pub(super) fn short(text: &str) -> String {
    const MOST: usize = 120;
    if text.chars().count() <= MOST {
        return text.to_owned();
    }
    text.chars().take(MOST).chain("...".chars()).collect()
}
