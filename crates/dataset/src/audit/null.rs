//! Check 6: the whole pipeline on worlds in which nothing can be known.
//!
//! Bars of a null world go through labels, split, balance and rendering like real ones, a
//! regression reads the prompts and features that come out, and must not do better than chance.
//! Decisions are apart by a whole horizon here, so no two outcomes share news. A score above chance
//! counts only if a second draw of the world shows it again: a pipeline that leaks leaks twice.

use market::Bars;

use super::probe::probe;
use super::record::AuditRecord;
use super::report::{Check, Finding, Kind, Status};
use super::score::Score;
use super::settings::AuditSettings;
use super::surrogate::{World, bars};
use crate::DatasetError;

/// How far above chance a null world may score: what a bound of small samples is off by.
pub(super) const MARGIN: f64 = 0.02;

/// A pipeline from bars to records.
pub trait Pipeline: Sync {
    /// Returns the source bars, from which null worlds are made.
    fn bars(&self) -> &[Bars];

    /// Returns the spacing of decisions in a null world, milliseconds: a horizon at least, and a
    /// multiple of the pipeline's own spacing. [`Pipeline::records`] decides on its multiples.
    fn spacing(&self) -> i64;

    /// Reports whether in a random walk of one volatility nothing tells any class; not so where
    /// the label's threshold follows an estimated volatility, which then tells how often the
    /// outcome is within it.
    fn walk_tells_nothing(&self) -> bool;

    /// Makes records of other bars.
    ///
    /// # Errors
    /// Whatever the pipeline meets; a null world that it refuses makes the check not possible.
    fn records(&self, bars: &[Bars]) -> Result<Vec<AuditRecord>, DatasetError>;
}

/// Worlds in which nothing can be known, and the records that a pipeline makes of them.
pub trait NullWorlds: Sync {
    /// Returns their names.
    fn names(&self) -> Vec<&'static str>;

    /// Returns the spacing of decisions, milliseconds: no two outcomes share news.
    fn spacing(&self) -> i64;

    /// Reports whether in a world, by its place among the names, nothing tells any class; else
    /// nothing tells the two sides apart.
    fn tells_nothing(&self, world: usize) -> bool;

    /// Makes the records of a draw of a world.
    ///
    /// # Errors
    /// Whatever the pipeline meets; then that world is not possible.
    fn draw(
        &self,
        world: usize,
        settings: &AuditSettings,
        seed: u64,
    ) -> Result<Vec<AuditRecord>, DatasetError>;
}

/// The null worlds of a pipeline from bars.
pub(super) struct OfBars<'a> {
    pipeline: &'a dyn Pipeline,
    sources: Vec<Bars>,
}

impl<'a> OfBars<'a> {
    pub(super) fn new(pipeline: &'a dyn Pipeline, settings: &AuditSettings) -> Self {
        let bars = pipeline.bars().iter().filter(|bars| !bars.is_empty());
        let last =
            |bars: &Bars| bars.slice(bars.len().saturating_sub(settings.null_bars)..bars.len());
        Self {
            pipeline,
            sources: bars.map(last).collect(),
        }
    }
}

impl NullWorlds for OfBars<'_> {
    fn names(&self) -> Vec<&'static str> {
        World::ALL.iter().map(|world| world.as_str()).collect()
    }

    fn spacing(&self) -> i64 {
        self.pipeline.spacing()
    }

    fn tells_nothing(&self, world: usize) -> bool {
        World::ALL[world] == World::RandomWalk && self.pipeline.walk_tells_nothing()
    }

    fn draw(
        &self,
        world: usize,
        _settings: &AuditSettings,
        seed: u64,
    ) -> Result<Vec<AuditRecord>, DatasetError> {
        let made = bars(World::ALL[world], &self.sources, self.spacing(), seed);
        self.pipeline.records(&made)
    }
}

/// Makes check 6. Returns the records of the first world, for a leak to be planted in.
pub(super) fn null_worlds(
    worlds: &dyn NullWorlds,
    settings: &AuditSettings,
) -> (Check, Option<Vec<AuditRecord>>) {
    let mut check = Check::new(Kind::NullWorlds);
    let mut kept = None;
    let mut scored = 0;
    for (world, name) in worlds.names().into_iter().enumerate() {
        match one(world, worlds, settings, settings.seed) {
            Err(reason) => check.tried(format!("{name}: not possible, {reason}")),
            Ok((records, scores)) => {
                scored += 1;
                for score in &scores {
                    check.measured(name, score, MARGIN);
                }
                if let Some(score) = scores.iter().find(|s| s.beats_chance_by(MARGIN)) {
                    confirm(&mut check, (world, name), worlds, settings, score);
                }
                kept.get_or_insert(records);
            }
        }
    }
    if scored == 0 {
        check.give_up("no null world gives enough decisions for a score; use a longer history");
    }
    (check, kept)
}

fn confirm(
    check: &mut Check,
    (world, name): (usize, &str),
    worlds: &dyn NullWorlds,
    settings: &AuditSettings,
    first: &Score,
) {
    let again = one(world, worlds, settings, !settings.seed);
    let again = again.ok().and_then(|(_, scores)| {
        let same = |score: &Score| score.what == first.what && score.beats_chance_by(MARGIN);
        scores.into_iter().find(same)
    });
    match again {
        Some(second) => check.found(Finding::general(format!(
            "in a {name} nothing can be known, yet the pipeline's prompts tell the outcome: {}; \
             and in a second draw {}. Something from after the decision reaches them",
            first.words(),
            second.words()
        ))),
        None => check.tried(format!("{name}: a second draw did not score above chance")),
    }
}

type Scored = (Vec<AuditRecord>, Vec<Score>);

fn one(
    world: usize,
    worlds: &dyn NullWorlds,
    settings: &AuditSettings,
    seed: u64,
) -> Result<Scored, String> {
    let records = worlds.draw(world, settings, seed);
    let records = records.map_err(|error| error.to_string())?;
    let probe = probe(&records, Some(worlds.spacing()), true, settings)?;
    let scores = [
        probe.answers.sides(settings.seed),
        worlds
            .tells_nothing(world)
            .then(|| probe.answers.all_classes(settings.seed))
            .flatten(),
    ];
    let scores: Vec<Score> = scores.into_iter().flatten().collect();
    if scores.is_empty() {
        return Err("too few decisions of each class for a bound".to_owned());
    }
    Ok((records, scores))
}

/// Reports whether records of a null world score above chance, none if that cannot be told.
pub(super) fn leaks(
    records: &[AuditRecord],
    spacing: i64,
    settings: &AuditSettings,
) -> Option<bool> {
    let probe = probe(records, Some(spacing), true, settings).ok()?;
    let scores = [
        probe.answers.sides(settings.seed),
        probe.answers.all_classes(settings.seed),
    ];
    let scores: Vec<Score> = scores.into_iter().flatten().collect();
    (!scores.is_empty()).then(|| scores.iter().any(|score| score.beats_chance_by(MARGIN)))
}

/// Reports whether a check was made at all.
pub(super) fn was_made(check: &Check) -> bool {
    check.status != Status::NotPossible
}
