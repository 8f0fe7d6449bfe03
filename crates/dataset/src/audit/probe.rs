//! Check 8: a logistic regression that reads the prompt, learns on the earlier part and is scored
//! on the later one, purged.
//!
//! A market has edges, and volatility tells how large a move will be, so a score above chance is
//! not yet a leak. It is one if it is larger than any edge known and the prompts are not shown to
//! come from the past alone: where records can be rendered again, those that the probe answers best
//! are, from inputs cut at their decision.

use std::collections::{BTreeMap, BTreeSet};

use rayon::prelude::*;
use stats::bootstrap::time_blocks;
use stats::logistic;

use super::invariance::{Batch, render};
use super::record::AuditRecord;
use super::report::{Check, Finding, Kind, Status};
use super::rerender::{Future, Rerender};
use super::score::{Answers, Score};
use super::settings::AuditSettings;
use super::split::span_end;
use super::words::{Columns, Read, read};
use crate::{DatasetError, Split};

/// The share of the records that is learned from where they have no parts.
const LEARNED: f64 = 0.7;
/// Rows needed on each side.
const FEWEST_ROWS: usize = 60;
/// The weight of the penalty, per row learned from.
const PENALTY: f64 = 0.05;
/// Records rendered again on suspicion.
const SUSPECTS: usize = 12;
/// Records named for the reader where they cannot be rendered again.
const READ: usize = 5;
/// What the probe reads most, as told to the reader.
const NAMED: usize = 6;

/// What a probe found.
pub(super) struct Probe<'a> {
    pub(super) answers: Answers,
    /// The rows it was scored on.
    tested: Vec<&'a AuditRecord>,
    learned: usize,
    /// What it reads most, the strongest first.
    telling: Vec<String>,
}

/// Learns and answers; an error in words where that is not possible. `by_parts` learns from the
/// training part and answers the others, where there are parts in order.
pub(super) fn probe<'a>(
    records: &'a [AuditRecord],
    horizon: Option<i64>,
    by_parts: bool,
    settings: &AuditSettings,
) -> Result<Probe<'a>, String> {
    let labelled: Vec<&AuditRecord> = records.iter().filter(|r| r.label.is_some()).collect();
    if labelled.is_empty() {
        return Err("no record has a label; name its field".to_owned());
    }
    let (learned, tested) = divide(&labelled, horizon, by_parts);
    let learned = thinned(learned, settings.probe_rows);
    let tested = thinned(tested, settings.probe_rows);
    if learned.len() < FEWEST_ROWS || tested.len() < FEWEST_ROWS {
        return Err(format!(
            "{} records to learn from and {} to be scored on are left after the cut in time, \
             expected {FEWEST_ROWS} each",
            learned.len(),
            tested.len()
        ));
    }
    let names: BTreeSet<&str> = learned.iter().filter_map(|r| r.label.as_deref()).collect();
    let names: Vec<&str> = names.into_iter().collect();
    if names.len() < 2 || names.len() > 32 {
        return Err(format!(
            "there are {} classes, expected 2 to 32",
            names.len()
        ));
    }
    let index: BTreeMap<&str, usize> = names.iter().enumerate().map(|(i, n)| (*n, i)).collect();
    let class = |record: &AuditRecord| {
        let label = record.label.as_deref()?;
        index.get(label).copied()
    };
    // A class that only the later part has cannot be learned.
    let tested: Vec<&AuditRecord> = tested.into_iter().filter(|r| class(r).is_some()).collect();
    let labels: Vec<usize> = learned.iter().filter_map(|record| class(record)).collect();
    let rows: Vec<Read<'_>> = learned.par_iter().map(|record| read(record)).collect();
    let columns = Columns::choose(&learned, &rows, &labels, names.len());
    if columns.len() == 0 {
        return Err("all prompts are alike: there is nothing to read".to_owned());
    }
    let x: Vec<Vec<f64>> = rows.iter().map(|row| columns.row(row)).collect();
    let weights = balancing(&labels, names.len());
    let penalty = PENALTY * labels.len() as f64;
    let model = logistic::fit_weighted(&x, &labels, &weights, names.len(), penalty)
        .map_err(|error| format!("the regression cannot be fitted: {error}"))?;
    let answer = |record: &&AuditRecord| model.probabilities(&columns.row(&read(record)));
    let probabilities: Vec<Vec<f64>> = tested.par_iter().map(answer).collect();
    let times: Vec<i64> = tested.iter().map(|r| r.decision_time.0).collect();
    let span = |r: &&AuditRecord| span_end(r, horizon).0 - r.decision_time.0;
    let longest = tested.iter().map(span).max().unwrap_or(0).max(1);
    let truth: Vec<usize> = tested.iter().filter_map(|record| class(record)).collect();
    Ok(Probe {
        answers: Answers {
            classes: names.into_iter().map(str::to_owned).collect(),
            truth,
            probabilities,
            // Outcomes that overlap share a block as a rule.
            blocks: time_blocks(&times, longest.saturating_mul(2)),
        },
        tested,
        learned: labels.len(),
        telling: telling(&model, &columns),
    })
}

/// Cuts in time: the training part and the others where there are parts in order, else the first
/// seven tenths and the rest. Rows whose span reaches the later part are left out.
fn divide<'a>(
    records: &[&'a AuditRecord],
    horizon: Option<i64>,
    by_parts: bool,
) -> (Vec<&'a AuditRecord>, Vec<&'a AuditRecord>) {
    let mut sorted = records.to_vec();
    sorted.sort_by_key(|record| record.decision_time);
    let purged = |learned: Vec<&'a AuditRecord>, tested: &[&AuditRecord]| {
        let start = tested.iter().map(|record| record.decision_time).min();
        let ends_before =
            |record: &&AuditRecord| start.is_none_or(|start| span_end(record, horizon) < start);
        learned.into_iter().filter(ends_before).collect::<Vec<_>>()
    };
    let (train, others): (Vec<&AuditRecord>, Vec<&AuditRecord>) = sorted
        .iter()
        .partition(|record| record.split.is_none_or(|split| split == Split::Train));
    if by_parts && !others.is_empty() {
        let all = train.len();
        let kept = purged(train, &others);
        // Parts that lie in each other leave nothing after the purge.
        if kept.len() * 2 > all {
            return (kept, others);
        }
    }
    let cut = (sorted.len() as f64 * LEARNED) as usize;
    let (learned, tested) = sorted.split_at(cut);
    let kept = purged(learned.to_vec(), tested);
    (kept, tested.to_vec())
}

/// Keeps at most so many rows, evenly over time.
fn thinned(rows: Vec<&AuditRecord>, most: usize) -> Vec<&AuditRecord> {
    if rows.len() <= most {
        return rows;
    }
    (0..most).map(|i| rows[i * rows.len() / most]).collect()
}

/// Weights under which every class that occurs counts alike.
fn balancing(labels: &[usize], classes: usize) -> Vec<f64> {
    let mut counts = vec![0_usize; classes];
    for &label in labels {
        counts[label] += 1;
    }
    let present = counts.iter().filter(|&&n| n > 0).count();
    let weight = |&label: &usize| labels.len() as f64 / (present * counts[label]) as f64;
    labels.iter().map(weight).collect()
}

fn telling(model: &logistic::Model, columns: &Columns) -> Vec<String> {
    let strength = |column: usize| {
        let of_class = model.coefficients.iter().map(|c| c[column].abs());
        of_class.fold(0.0, f64::max)
    };
    let mut order: Vec<usize> = (0..columns.len()).collect();
    order.sort_by(|&a, &b| strength(b).total_cmp(&strength(a)).then(a.cmp(&b)));
    order.truncate(NAMED);
    order
        .into_iter()
        .map(|column| columns.name(column))
        .collect()
}

/// Makes check 8.
pub(super) fn leak_probe(
    records: &[AuditRecord],
    horizon: Option<i64>,
    rerender: Option<&dyn Rerender>,
    settings: &AuditSettings,
) -> Result<Check, DatasetError> {
    let mut check = Check::new(Kind::LeakProbe);
    let both = |probe: &Probe<'_>| -> Vec<Score> {
        let all = probe.answers.all_classes(settings.seed);
        let sides = probe.answers.sides(settings.seed);
        all.into_iter().chain(sides).collect()
    };
    let mut probed = probe(records, horizon, true, settings);
    // Held-out parts may cover too little time for a bound; then all records are cut in time.
    if probed.as_ref().map_or(true, |probe| both(probe).is_empty())
        && let Ok(of_all) = probe(records, horizon, false, settings)
        && !both(&of_all).is_empty()
    {
        check.tried("parts cover too little time: all records are cut at seven tenths".to_owned());
        probed = Ok(of_all);
    }
    let probe = match probed {
        Ok(probe) => probe,
        Err(reason) => return Ok(Check::not_possible(Kind::LeakProbe, reason)),
    };
    let scores = both(&probe);
    if scores.is_empty() {
        return Ok(Check::not_possible(
            Kind::LeakProbe,
            format!(
                "the {} records to be scored on have too few of each class or cover too little \
                 time for a bound",
                probe.tested.len()
            ),
        ));
    }
    check.tried(format!(
        "learned from {} prompts, scored on {} later ones",
        probe.learned,
        probe.tested.len()
    ));
    for score in &scores {
        check.measured("later prompts", score, settings.suspicious_edge);
    }
    check.tried(format!("reads most: {}", probe.telling.join(", ")));
    let suspicious: Vec<&Score> = scores
        .iter()
        .filter(|score| score.beats_chance_by(settings.suspicious_edge))
        .collect();
    if let Some(score) = suspicious.first() {
        suspect(&mut check, &probe, score, rerender, settings)?;
    } else if scores.iter().any(|score| score.beats_chance_by(0.0)) {
        check.reason = Some(format!(
            "above chance, but not by the {:.0} points that no known edge explains",
            settings.suspicious_edge * 100.0
        ));
    }
    Ok(check)
}

/// Decides on a score that is too good: are the prompts that give the outcome away of the past?
fn suspect(
    check: &mut Check,
    probe: &Probe<'_>,
    score: &Score,
    rerender: Option<&dyn Rerender>,
    settings: &AuditSettings,
) -> Result<(), DatasetError> {
    let told = format!(
        "the prompt tells the outcome better than any known edge ({}); it reads most {}",
        score.words(),
        probe.telling.join(", ")
    );
    let Some(rerender) = rerender else {
        check.found(Finding::general(format!(
            "{told}. Expected at most {:.0} points above chance: look for the outcome in these, or \
             raise the edge that you expect if you know where it comes from",
            settings.suspicious_edge * 100.0
        )));
        for record in best(probe).into_iter().take(READ) {
            let message = "among the prompts that give their outcome away most";
            check.found(Finding::at(&record.place, &record.id, message));
        }
        return Ok(());
    };
    let batches: Vec<Batch<'_>> = best(probe)
        .into_iter()
        .map(|record| Batch {
            after: record.decision_time,
            records: vec![record],
        })
        .collect();
    let again = render(&batches, rerender, Future::Cut, settings.seed)?;
    for (batch, again) in batches.iter().zip(&again) {
        let record = batch.records[0];
        let same = again[0].as_ref().is_some_and(|a| a.prompt == record.prompt);
        if !same {
            let message = format!("{told}; this prompt is another one without the future");
            check.found(Finding::at(&record.place, &record.id, message));
        }
    }
    check.tried(format!(
        "the {} prompts answered best, rendered again from inputs cut at their decision",
        batches.len()
    ));
    if check.status == Status::Green {
        check.reason = Some(
            "the outcome can be read, but from the past alone: the prompts that tell most came out \
             the same from inputs cut at their decision"
                .to_owned(),
        );
    }
    Ok(())
}

/// The records answered right with the most confidence.
fn best<'a>(probe: &Probe<'a>) -> Vec<&'a AuditRecord> {
    let Answers {
        truth,
        probabilities,
        ..
    } = &probe.answers;
    let mut right: Vec<(f64, usize)> = (0..truth.len())
        .filter(|&row| stats::argmax(&probabilities[row]) == truth[row])
        .map(|row| (probabilities[row][truth[row]], row))
        .collect();
    right.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    right.truncate(SUSPECTS);
    right
        .into_iter()
        .map(|(_, row)| probe.tested[row])
        .collect()
}
