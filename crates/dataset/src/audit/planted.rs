//! Check 7: an audit that finds nothing may be blind. So it plants leaks of every kind that the
//! other checks look for, in copies of the records, and each has to be found.

use std::collections::BTreeMap;

use market::Timestamp;

use super::invariance::{Batch, label_swap, poisoning, truncation};
use super::known::{availability, upstream};
use super::null::{leaks, was_made};
use super::numbers::claims;
use super::probe::leak_probe;
use super::record::{AuditRecord, Upstream};
use super::report::{Check, Finding, Kind};
use super::rerender::{Change, Rendered, Rerender};
use super::settings::AuditSettings;
use super::split::splits;
use crate::{DatasetError, Fact, Split};

/// Records that plants of single records are put into.
const FEW: usize = 4;
/// A number that no prompt shows.
const INVENTED: &str = "987654.321%";

/// What there is to plant in.
pub(super) struct Ground<'a> {
    pub(super) records: &'a [AuditRecord],
    pub(super) horizon: Option<i64>,
    pub(super) batches: &'a [Batch<'a>],
    pub(super) rerender: Option<&'a dyn Rerender>,
    /// Records of a null world, and their spacing in milliseconds.
    pub(super) null: Option<(&'a [AuditRecord], i64)>,
    /// Whether the leak probe could be made.
    pub(super) probed: bool,
}

/// Hears of a plant: the check that has to find it, what it is, and whether it was found.
pub(super) type Told<'a> = dyn FnMut(Kind, &str, bool) + 'a;

/// Makes check 7.
pub(super) fn planted_leak(
    ground: &Ground<'_>,
    settings: &AuditSettings,
    more: &mut dyn FnMut(&mut Told<'_>),
) -> Result<Check, DatasetError> {
    let mut check = Check::new(Kind::PlantedLeak);
    let mut told = |kind: Kind, plant: &str, found: bool| {
        let (number, name) = (kind.number(), kind.name());
        if found {
            check.tried(format!("{plant}: found by check {number} `{name}`"));
        } else {
            let message = format!(
                "{plant}: not found by check {number} `{name}`; this audit does not work, so \
                 nothing that is green here may be believed"
            );
            check.found(Finding::general(message));
        }
    };
    if let Some(rerender) = ground.rerender {
        plant_in_renderer(ground, rerender, settings, &mut told)?;
    }
    plant_in_records(ground.records, &mut told);
    plant_in_splits(ground, &mut told);
    if ground.probed {
        // Evenly over time and no more than the probe reads: every copy takes memory.
        let step = ground
            .records
            .len()
            .div_ceil(4 * settings.probe_rows)
            .max(1);
        let some = ground.records.iter().step_by(step);
        let told_all: Vec<AuditRecord> = some.map(outcome_in_prompt).collect();
        let leaky = ground.rerender.map(|inner| Leaky { inner });
        let leaky = leaky.as_ref().map(|leaky| leaky as &dyn Rerender);
        let found = leak_probe(&told_all, ground.horizon, leaky, settings)?;
        // A thinner set may be too small to be scored, which is no blindness.
        if was_made(&found) {
            let plant = "the outcome's word in every prompt";
            told(Kind::LeakProbe, plant, found.is_red());
        }
    }
    if let Some((records, spacing)) = ground.null {
        let told_all: Vec<AuditRecord> = records.iter().map(outcome_in_prompt).collect();
        // None only where the world was too small to be scored, and then it was not green either.
        if let Some(found) = leaks(&told_all, spacing, settings) {
            told(
                Kind::NullWorlds,
                "the outcome's word in a null world",
                found,
            );
        }
    }
    more(&mut told);
    if check.tried.is_empty() {
        check.give_up("there is no record to plant a leak in");
    }
    Ok(check)
}

/// Returns a record whose prompt says its outcome, as in "ML prediction: BUY if outcome == 1".
fn outcome_in_prompt(record: &AuditRecord) -> AuditRecord {
    AuditRecord {
        prompt: with_word(&record.prompt, record.label.as_deref()),
        features: with_feature(&record.features, record.label.as_deref()),
        ..record.clone()
    }
}

fn with_word(prompt: &str, label: Option<&str>) -> String {
    format!("{prompt}\nML prediction: {}", label.unwrap_or("none"))
}

/// A feature that stands for the outcome.
fn with_feature(features: &BTreeMap<String, f64>, label: Option<&str>) -> BTreeMap<String, f64> {
    let mut features = features.clone();
    let code = label.map_or(-1.0, |label| label.bytes().map(f64::from).sum());
    features.insert("planted_outcome".to_owned(), code);
    features
}

/// A renderer whose prompts and features know the outcome.
struct Leaky<'a> {
    inner: &'a dyn Rerender,
}

impl Rerender for Leaky<'_> {
    fn rerender(
        &self,
        records: &[&AuditRecord],
        change: &Change,
    ) -> Result<Vec<Option<Rendered>>, DatasetError> {
        let mut again = self.inner.rerender(records, change)?;
        for again in again.iter_mut().flatten() {
            again.prompt = with_word(&again.prompt, again.label.as_deref());
            again.features = with_feature(&again.features, again.label.as_deref());
        }
        Ok(again)
    }
}

fn plant_in_renderer(
    ground: &Ground<'_>,
    rerender: &dyn Rerender,
    settings: &AuditSettings,
    told: &mut Told<'_>,
) -> Result<(), DatasetError> {
    // The instant itself is what counts: its own decision sees the nearest future.
    let chosen = ground.batches.iter().filter_map(|batch| {
        let record = batch
            .records
            .iter()
            .rev()
            .find(|record| record.label.is_some())?;
        Some((record.decision_time, outcome_in_prompt(record)))
    });
    let chosen: Vec<(Timestamp, AuditRecord)> = chosen.take(FEW).collect();
    if chosen.is_empty() {
        return Ok(());
    }
    let leaky = Leaky { inner: rerender };
    let feature_only = |records: &[&AuditRecord], change: &Change| {
        let mut again = rerender.rerender(records, change)?;
        for again in again.iter_mut().flatten() {
            again.features = with_feature(&again.features, again.label.as_deref());
        }
        Ok(again)
    };
    // Only the feature: the prompt stays clean.
    let mut clean = chosen.clone();
    for (_, record) in &mut clean {
        let end = record.prompt.rfind('\n').unwrap_or(0);
        record.prompt.truncate(end);
    }
    let feature = borrowed(&clean);
    let (cut, _) = truncation(&feature, &feature_only, settings.seed)?;
    told(
        Kind::Truncation,
        "a feature that is the outcome",
        cut.is_red(),
    );
    let poisoned = poisoning(&feature, &feature_only, settings.seed)?;
    told(
        Kind::Poisoning,
        "a feature that is the outcome",
        poisoned.is_red(),
    );
    let word = borrowed(&chosen);
    let swapped = label_swap(&word, &leaky, settings.seed)?;
    told(
        Kind::LabelSwap,
        "the outcome's word in the prompt",
        swapped.is_red(),
    );
    Ok(())
}

/// One batch a record.
fn borrowed(owned: &[(Timestamp, AuditRecord)]) -> Vec<Batch<'_>> {
    owned
        .iter()
        .map(|(after, record)| Batch {
            after: *after,
            records: vec![record],
        })
        .collect()
}

fn plant_in_records(records: &[AuditRecord], told: &mut Told<'_>) {
    let few: Vec<AuditRecord> = records.iter().take(FEW).cloned().collect();
    if few.is_empty() {
        return;
    }
    let with = |change: &dyn Fn(&mut AuditRecord)| {
        let mut few = few.clone();
        few.iter_mut().for_each(change);
        few
    };
    let late = with(&|record| {
        let fact = Fact {
            text: "planted".to_owned(),
            zone: None,
            supports: None,
            available_at: Timestamp(record.decision_time.0.saturating_add(1)),
        };
        record.facts.insert("planted".to_owned(), fact);
    });
    let found = availability(&late).is_red();
    told(
        Kind::Availability,
        "a fact known a millisecond too late",
        found,
    );
    let trained = with(&|record| {
        record.upstream.push(Upstream {
            kind: "planted".to_owned(),
            trained_through: Some(record.decision_time),
            fold: None,
        });
    });
    let found = upstream(&trained).is_red();
    told(
        Kind::Upstream,
        "a model trained through the decision",
        found,
    );
    let invented = with(&|record| record.answers.push(format!("DECISION, sure by {INVENTED}")));
    let found = claims(&invented, None).is_red();
    told(Kind::Claims, "a win rate that nobody computed", found);
}

/// Puts a training record's outcome into the time of the test part.
fn plant_in_splits(ground: &Ground<'_>, told: &mut Told<'_>) {
    let of = |wanted: Split| ground.records.iter().find(|r| r.split == Some(wanted));
    let later = of(Split::Test).or_else(|| of(Split::Validation));
    let (Some(train), Some(later)) = (of(Split::Train), later) else {
        return;
    };
    let mut moved = train.clone();
    moved.span = Some((moved.decision_time, later.decision_time));
    let found = splits(&[moved, later.clone()], ground.horizon).is_red();
    told(
        Kind::Splits,
        "a training outcome that reaches the test part",
        found,
    );
}
