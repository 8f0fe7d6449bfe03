//! The order of the checks, and what each of them needs.

use market::Bars;

use super::invariance::{self, draw};
use super::null::{NullWorlds, OfBars, Pipeline, null_worlds, was_made};
use super::planted::{Ground, planted_leak};
use super::record::AuditRecord;
use super::report::{AuditReport, Check, KIND, Kind, SCHEMA};
use super::rerender::Rerender;
use super::settings::{AuditSettings, Progress, Step};
use super::{duplicates, future, known, label_words, numbers, probe, split};
use crate::DatasetError;

/// What is audited. What is not there makes the checks that need it not possible, which the report
/// says.
#[derive(Clone, Copy)]
pub struct Subject<'a> {
    /// Its name for the report.
    pub name: &'a str,
    /// The records, in the order of their files.
    pub records: &'a [AuditRecord],
    /// How far a label looks beyond its decision, milliseconds, for records without a span.
    pub horizon: Option<i64>,
    /// Renders records again, for checks 1 to 3 and the second half of 8 and 9.
    pub rerender: Option<&'a dyn Rerender>,
    /// Makes records of other bars, for check 6.
    pub pipeline: Option<&'a dyn Pipeline>,
    /// Null worlds of their own, for what is not made of bars.
    pub null_worlds: Option<&'a dyn NullWorlds>,
    /// Whether these are texts of unknown make: adds checks 11 and 12, and looks for label words in
    /// place of check 3.
    pub unknown_make: bool,
    /// Source bars, for check 12.
    pub bars: &'a [Bars],
}

impl<'a> Subject<'a> {
    /// Returns a subject of which only the records are known.
    pub fn of_records(name: &'a str, records: &'a [AuditRecord]) -> Self {
        Self {
            name,
            records,
            horizon: None,
            rerender: None,
            pipeline: None,
            null_worlds: None,
            unknown_make: false,
            bars: &[],
        }
    }
}

const NO_RENDERER: &str = "these are finished texts: what rendered them is not at hand, so they \
                           cannot be rendered again from other bars";

/// Makes all checks that are possible. The result depends on the subject, the settings and the seed
/// and on nothing else.
///
/// # Errors
/// [`DatasetError::Setting`] for settings out of range, [`DatasetError::Interrupted`] when
/// `progress` breaks off, and what rendering again meets. A fault of the records is a finding of
/// the report and never an error.
pub fn audit(
    subject: &Subject<'_>,
    settings: &AuditSettings,
    progress: Progress<'_>,
) -> Result<AuditReport, DatasetError> {
    settings.validate()?;
    let Subject {
        records, horizon, ..
    } = *subject;
    let mut made = Made {
        checks: Vec::new(),
        progress,
    };
    let batches = draw(records, settings);
    let samples = batches.iter().map(|batch| batch.records.len()).sum();
    let seed = settings.seed;

    let mut recomputed = None;
    made.make(Kind::Truncation, || match subject.rerender {
        None => Ok(Check::not_possible(Kind::Truncation, NO_RENDERER)),
        Some(rerender) => {
            let (check, again) = invariance::truncation(&batches, rerender, seed)?;
            recomputed = Some(again);
            Ok(check)
        }
    })?;
    made.make(Kind::Poisoning, || match subject.rerender {
        None => Ok(Check::not_possible(Kind::Poisoning, NO_RENDERER)),
        Some(rerender) => invariance::poisoning(&batches, rerender, seed),
    })?;
    made.make(Kind::LabelSwap, || match subject.rerender {
        None if subject.unknown_make => Ok(label_words::label_words(records)),
        None => Ok(Check::not_possible(Kind::LabelSwap, NO_RENDERER)),
        Some(rerender) => invariance::label_swap(&batches, rerender, seed),
    })?;
    made.make(Kind::Availability, || Ok(known::availability(records)))?;
    made.make(Kind::Upstream, || Ok(known::upstream(records)))?;
    let mut null = None;
    let of_bars = subject
        .pipeline
        .map(|pipeline| OfBars::new(pipeline, settings));
    let worlds = match &of_bars {
        Some(of_bars) => Some(of_bars as &dyn NullWorlds),
        None => subject.null_worlds,
    };
    made.make(Kind::NullWorlds, || match worlds {
        None => Ok(Check::not_possible(
            Kind::NullWorlds,
            "what makes records of bars is not at hand, so it cannot be run on other bars",
        )),
        Some(worlds) => {
            let (check, kept) = null_worlds(worlds, settings);
            null = kept.map(|records| (records, worlds.spacing()));
            Ok(check)
        }
    })?;
    made.make(Kind::LeakProbe, || {
        probe::leak_probe(records, horizon, subject.rerender, settings)
    })?;
    made.make(Kind::Claims, || {
        let again = recomputed.as_ref().map(|again| (batches.as_slice(), again));
        Ok(numbers::claims(records, again))
    })?;
    made.make(Kind::Splits, || Ok(split::splits(records, horizon)))?;
    if subject.unknown_make {
        made.make(Kind::Duplicates, || Ok(duplicates::duplicates(records)))?;
        made.make(Kind::FutureValues, || {
            Ok(future::future_values(records, subject.bars, horizon))
        })?;
    }
    let probed = made.of(Kind::LeakProbe).is_some_and(was_made);
    let ground = Ground {
        records,
        horizon,
        batches: &batches,
        rerender: subject.rerender,
        null: null
            .as_ref()
            .map(|(records, spacing)| (records.as_slice(), *spacing)),
        probed,
    };
    made.make(Kind::PlantedLeak, || {
        planted_leak(&ground, settings, &mut |told| {
            if subject.unknown_make {
                label_words::plant(records, told);
                duplicates::plant(records, told);
                future::plant(records, subject.bars, horizon, told);
            }
        })
    })?;
    let mut checks = made.checks;
    checks.sort_by_key(|check| check.number);
    Ok(AuditReport {
        kind: KIND.to_owned(),
        schema: SCHEMA,
        subject: subject.name.to_owned(),
        records: records.len(),
        seed,
        samples,
        passed: !checks.iter().any(Check::is_red),
        checks,
    })
}

/// The checks made so far.
struct Made<'a> {
    checks: Vec<Check>,
    progress: Progress<'a>,
}

impl Made<'_> {
    fn make(
        &mut self,
        kind: Kind,
        check: impl FnOnce() -> Result<Check, DatasetError>,
    ) -> Result<(), DatasetError> {
        for_caller((self.progress)(Step::Begin(kind)))?;
        self.checks.push(check()?);
        for_caller((self.progress)(Step::End(kind)))
    }

    fn of(&self, kind: Kind) -> Option<&Check> {
        self.checks
            .iter()
            .find(|check| check.number == kind.number())
    }
}

fn for_caller(flow: std::ops::ControlFlow<()>) -> Result<(), DatasetError> {
    match flow {
        std::ops::ControlFlow::Continue(()) => Ok(()),
        std::ops::ControlFlow::Break(()) => Err(DatasetError::Interrupted),
    }
}
