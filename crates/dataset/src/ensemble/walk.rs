//! The walk forward: screening, reading, then fold by fold training, predicting and calibrating.

use std::ops::ControlFlow;

use rayon::prelude::*;
use stats::isotonic::Isotonic;

use super::calibrate::{self, Scored};
use super::folds::{Drawn, FEWEST_ROWS, Walk};
use super::linear::Linear;
use super::model::{Logits, members};
use super::report::{ARMS, Tally, score};
use super::screen::{Screen, without_infinite};
use super::trees::Trees;
use super::{
    ColumnSource, EnsembleError, EnsembleModel, EnsembleReport, EnsembleSettings, FoldReport,
    Prediction, Screening, source,
};
use crate::DatasetError;

/// Rows that the screening looks at, at most.
const SCREEN_ROWS: usize = 50_000;
/// Rows predicted at a time by one worker.
const CHUNK: usize = 4096;
/// Resamples of the intervals in the report.
const REPLICATES: usize = 1000;
/// The level of those intervals.
const LEVEL: f64 = 0.95;
/// Bins of the reliability diagram.
const BINS: usize = 10;

/// What the work is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EnsembleStage {
    /// Looking at columns in the first window.
    Screening,
    /// Reading the columns that were kept.
    Reading,
    /// Training and predicting: the warm-up, each fold, the live model.
    Training,
}

/// How far the work is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EnsembleProgress {
    /// What it is at.
    pub stage: EnsembleStage,
    /// Steps done of this stage.
    pub done: usize,
    /// Steps of this stage.
    pub total: usize,
}

/// An out-of-fold prediction of a row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OutOfFold {
    /// The fold that the row is in, from 1.
    pub fold: u16,
    /// The prediction, by models that saw no label of the fold or later.
    pub prediction: Prediction,
}

/// A trained ensemble.
#[derive(Debug, Clone, PartialEq)]
pub struct Ensemble {
    /// The prediction of each row; nothing in the first window.
    pub out_of_fold: Vec<Option<OutOfFold>>,
    /// What was found.
    pub report: EnsembleReport,
    /// The model of each fold.
    pub models: Vec<EnsembleModel>,
    /// The model of every row, for decisions after all of them.
    pub live: EnsembleModel,
}

/// Trains on a source and predicts every row after the first window.
///
/// `progress` is called after every step; when it returns [`ControlFlow::Break`] the work stops
/// before the next one. A step of [`EnsembleStage::Training`] can take several seconds.
///
/// The same rows, columns and settings give the same bits on any number of threads.
///
/// # Errors
/// [`DatasetError::Setting`]; [`DatasetError::Ensemble`] for rows or columns that cannot be used;
/// [`DatasetError::Interrupted`]; whatever the source gives.
pub fn fit(
    source: &dyn ColumnSource,
    settings: &EnsembleSettings,
    progress: &mut dyn FnMut(EnsembleProgress) -> ControlFlow<()>,
) -> Result<Ensemble, DatasetError> {
    settings.validate()?;
    source::check(source)?;
    let walk = Walk::new(source.rows(), source.target(), settings)?;
    let (columns, mut screening) = screen(source, &walk, settings, progress)?;
    let matrix = read(source, &columns, &mut screening, progress)?;
    Work {
        walk: &walk,
        names: screening
            .kept
            .iter()
            .map(|kept| kept.name.clone())
            .collect(),
        matrix,
        settings,
        previous: previous(&walk),
        history: Vec::new(),
    }
    .run(screening, progress)
}

fn tell(
    progress: &mut dyn FnMut(EnsembleProgress) -> ControlFlow<()>,
    stage: EnsembleStage,
    done: usize,
    total: usize,
) -> Result<(), DatasetError> {
    match progress(EnsembleProgress { stage, done, total }) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => Err(DatasetError::Interrupted),
    }
}

fn screen(
    source: &dyn ColumnSource,
    walk: &Walk<'_>,
    settings: &EnsembleSettings,
    progress: &mut dyn FnMut(EnsembleProgress) -> ControlFlow<()>,
) -> Result<(Vec<usize>, Screening), DatasetError> {
    let cut = walk.cuts[0];
    let most = SCREEN_ROWS.min(settings.max_rows);
    let drawn = walk.draw(
        Some(cut),
        settings,
        most,
        "the first window before the warm-up",
    )?;
    let total = source.features().len();
    let mut screen = Screen::new(source, walk, &drawn, cut);
    let mut done = 0;
    while screen.step()? {
        done += 1;
        tell(progress, EnsembleStage::Screening, done, total)?;
    }
    Ok(screen.finish(settings)?)
}

/// Reads the kept columns, whole.
fn read(
    source: &dyn ColumnSource,
    columns: &[usize],
    screening: &mut Screening,
    progress: &mut dyn FnMut(EnsembleProgress) -> ControlFlow<()>,
) -> Result<Vec<Vec<f32>>, DatasetError> {
    let mut matrix = Vec::with_capacity(columns.len());
    for (done, &column) in columns.iter().enumerate() {
        let mut values = vec![f32::NAN; source.rows().len()];
        source.read(column, None, &mut values)?;
        let infinite = without_infinite(&mut values);
        let name = &source.features()[column];
        screening.infinite.retain(|(other, _)| other != name);
        if infinite > 0 {
            screening.infinite.push((name.clone(), infinite));
        }
        matrix.push(values);
        tell(progress, EnsembleStage::Reading, done + 1, columns.len())?;
    }
    screening.infinite.sort();
    Ok(matrix)
}

/// Returns for each row the last outcome of its instrument that was known at the decision.
fn previous(walk: &Walk<'_>) -> Vec<Option<bool>> {
    let mut previous = vec![None; walk.rows.len()];
    for group in walk.by_instrument(&walk.order) {
        let mut known: Vec<u32> = group.to_vec();
        known.retain(|row| walk.label(*row).is_some());
        known.sort_by_key(|row| walk.rows[*row as usize].end);
        let mut over = 0;
        for &row in group {
            let decision = walk.rows[row as usize].decision;
            let is_over = |row: &u32| walk.rows[*row as usize].end <= decision;
            while known.get(over).is_some_and(is_over) {
                over += 1;
            }
            previous[row as usize] = over.checked_sub(1).and_then(|last| walk.label(known[last]));
        }
    }
    previous
}

/// The parts of a walk while it goes.
struct Work<'a> {
    walk: &'a Walk<'a>,
    names: Vec<String>,
    /// The kept columns, each with a value a row, without infinite values.
    matrix: Vec<Vec<f32>>,
    settings: &'a EnsembleSettings,
    previous: Vec<Option<bool>>,
    /// Predictions so far, with their rows.
    history: Vec<(u32, f64)>,
}

/// Both members, trained.
struct Members {
    trees: Trees,
    linear: Linear,
}

/// What is added up while folds are scored.
#[derive(Default)]
struct Totals {
    tally: Tally,
    effective: f64,
    /// Decision, gain in Brier score, gain in accuracy over majority.
    gains: Vec<(i64, f64, f64)>,
    forecasts: Vec<f64>,
    happened: Vec<bool>,
}

impl Work<'_> {
    fn run(
        mut self,
        screening: Screening,
        progress: &mut dyn FnMut(EnsembleProgress) -> ControlFlow<()>,
    ) -> Result<Ensemble, DatasetError> {
        let folds = self.settings.folds;
        let mut out_of_fold = vec![None; self.walk.rows.len()];
        let mut models = Vec::with_capacity(folds);
        let mut reports = Vec::with_capacity(folds);
        let mut totals = Totals::default();
        for part in 0..=folds {
            let name = match part {
                0 => "the warm-up of the calibration".to_owned(),
                fold => format!("fold {fold}"),
            };
            let cut = self.walk.cuts[part];
            let drawn = self
                .walk
                .draw(Some(cut), self.settings, self.settings.max_rows, &name)?;
            let members = self.train(&drawn, &name)?;
            let rows = self.walk.part(part);
            let logits = self.predict(&members, &rows);
            if part > 0 {
                let (calibration, seen) = self.calibrate(Some(cut), &name)?;
                let through = drawn.through.max(seen.through);
                let model = self.model(Some(part as u16), members, calibration, through, &drawn);
                let mut report = self.report(&model, &drawn, &rows);
                report.calibration_rows = seen.rows;
                self.score(
                    &model,
                    &drawn,
                    &rows,
                    &logits,
                    &mut out_of_fold,
                    &mut totals,
                    &mut report,
                );
                models.push(model);
                reports.push(report);
            }
            let pooled = rows.iter().zip(&logits).map(|(row, l)| (*row, l.pooled()));
            self.history.extend(pooled);
            tell(progress, EnsembleStage::Training, part + 1, folds + 2)?;
        }
        let drawn = self.walk.draw(
            None,
            self.settings,
            self.settings.max_rows,
            "the live model",
        )?;
        let members = self.train(&drawn, "the live model")?;
        let (calibration, seen) = self.calibrate(None, "the live model")?;
        let through = drawn.through.max(seen.through);
        let live = self.model(None, members, calibration, through, &drawn);
        let report = self.finish(screening, reports, totals);
        tell(progress, EnsembleStage::Training, folds + 2, folds + 2)?;
        Ok(Ensemble {
            out_of_fold,
            report,
            models,
            live,
        })
    }

    fn train(&self, drawn: &Drawn, name: &str) -> Result<Members, DatasetError> {
        let buy: Vec<f64> = drawn
            .rows
            .iter()
            .map(|row| f64::from(u8::from(self.walk.label(*row) == Some(true))))
            .collect();
        let mut columns = Vec::with_capacity(self.matrix.len() * buy.len());
        for column in &self.matrix {
            columns.extend(
                drawn
                    .rows
                    .iter()
                    .map(|row| f64::from(column[*row as usize])),
            );
        }
        let features = self.matrix.len();
        let (trees, linear) = rayon::join(
            || Trees::fit(&columns, features, &buy, &drawn.weights, self.settings),
            || Linear::fit(&columns, features, &buy, &drawn.weights, self.settings),
        );
        let trees = trees.map_err(|message| EnsembleError::Trees {
            part: name.to_owned(),
            message,
        })?;
        Ok(Members {
            trees,
            linear: linear?,
        })
    }

    fn predict(&self, members_of: &Members, rows: &[u32]) -> Vec<Logits> {
        let chunk = |rows: &[u32]| {
            let mut values = vec![0.0_f32; self.matrix.len()];
            let predict = |row: &u32| {
                for (value, column) in values.iter_mut().zip(&self.matrix) {
                    *value = column[*row as usize];
                }
                members(&members_of.trees, &members_of.linear, &values)
            };
            rows.iter().map(predict).collect::<Vec<_>>()
        };
        rows.par_chunks(CHUNK).flat_map_iter(chunk).collect()
    }

    /// Fits the calibration on earlier predictions whose label was over before `cut`.
    fn calibrate(&self, cut: Option<i64>, name: &str) -> Result<(Isotonic, Seen), DatasetError> {
        let over = |row: u32| cut.is_none_or(|cut| self.walk.is_over(row, cut));
        let earlier = self.history.iter();
        let mut earlier: Vec<(u32, f64)> = earlier
            .filter(|(row, _)| self.walk.label(*row).is_some() && over(*row))
            .copied()
            .collect();
        earlier.sort_by_key(|(row, _)| {
            let row = &self.walk.rows[*row as usize];
            (row.instrument, row.decision)
        });
        if earlier.len() < FEWEST_ROWS {
            return Err(EnsembleError::TooFew {
                part: name.to_owned(),
                found: earlier.len(),
                what: "earlier predictions to calibrate on",
                expected: FEWEST_ROWS,
            }
            .into());
        }
        let rows: Vec<u32> = earlier.iter().map(|(row, _)| *row).collect();
        let ends = rows.iter().map(|row| self.walk.rows[*row as usize].end);
        let seen = Seen {
            rows: rows.len(),
            through: ends.max().unwrap_or(i64::MIN),
        };
        let uniqueness = self.walk.uniqueness(&rows);
        let scored = earlier
            .iter()
            .zip(&uniqueness)
            .map(|((row, logit), unique)| Scored {
                logit: *logit,
                buy: self.walk.label(*row) == Some(true),
                weight: unique * f64::from(self.walk.rows[*row as usize].weight),
            });
        Ok((calibrate::fit(scored.collect(), self.settings)?, seen))
    }

    fn model(
        &self,
        fold: Option<u16>,
        members: Members,
        calibration: Isotonic,
        trained_through: i64,
        drawn: &Drawn,
    ) -> EnsembleModel {
        EnsembleModel {
            fold,
            trained_through,
            trained_rows: drawn.rows.len(),
            features: self.names.clone(),
            trees: members.trees,
            linear: members.linear,
            calibration,
        }
    }

    fn report(&self, model: &EnsembleModel, drawn: &Drawn, rows: &[u32]) -> FoldReport {
        let fold = model.fold.unwrap_or(0);
        let labelled: Vec<u32> = rows
            .iter()
            .copied()
            .filter(|row| self.walk.label(*row).is_some())
            .collect();
        let decisions = rows
            .iter()
            .map(|row| self.walk.rows[*row as usize].decision);
        FoldReport {
            fold,
            from: self.walk.cuts[fold as usize],
            to: decisions.max().unwrap_or(self.walk.cuts[fold as usize]),
            rows: rows.len(),
            scored: labelled.len(),
            effective_rows: self.walk.uniqueness(&labelled).iter().sum(),
            trained_rows: drawn.rows.len(),
            drawn_from: drawn.from,
            drawn_from_effective: drawn.effective,
            purged: drawn.purged,
            calibration_rows: 0,
            trained_through: model.trained_through,
            scores: super::Scores::default(),
        }
    }

    fn score(
        &self,
        model: &EnsembleModel,
        drawn: &Drawn,
        rows: &[u32],
        logits: &[Logits],
        out_of_fold: &mut [Option<OutOfFold>],
        totals: &mut Totals,
        report: &mut FoldReport,
    ) {
        let again = self.persistence(drawn);
        let mut tally = Tally::default();
        for (&row, logits) in rows.iter().zip(logits) {
            let probability = model.calibration.at(logits.pooled());
            out_of_fold[row as usize] = Some(OutOfFold {
                fold: report.fold,
                prediction: Prediction {
                    probability,
                    trained_through: model.trained_through,
                },
            });
            let Some(buy) = self.walk.label(row) else {
                continue;
            };
            let persistence = match self.previous[row as usize] {
                Some(true) => again,
                Some(false) => 1.0 - again,
                None => drawn.base_rate,
            };
            let arms: [f64; ARMS] = [
                probability,
                chance(logits.pooled()),
                chance(logits.trees),
                chance(logits.linear),
                drawn.base_rate,
                persistence,
            ];
            tally.count(&arms, buy);
            let (own, majority) = (score(probability, buy), score(drawn.base_rate, buy));
            totals.gains.push((
                self.walk.rows[row as usize].decision,
                majority.brier - own.brier,
                own.accuracy - majority.accuracy,
            ));
            totals.forecasts.push(probability);
            totals.happened.push(buy);
        }
        report.scores = tally.scores();
        totals.tally.add(&tally);
        totals.effective += report.effective_rows;
    }

    /// Returns how often an outcome came again among the rows learned from.
    fn persistence(&self, drawn: &Drawn) -> f64 {
        let (mut again, mut all) = (0.0, 0.0);
        for (&row, weight) in drawn.rows.iter().zip(&drawn.weights) {
            let (Some(before), Some(now)) = (self.previous[row as usize], self.walk.label(row))
            else {
                continue;
            };
            all += weight;
            again += if before == now { *weight } else { 0.0 };
        }
        if all > 0.0 { again / all } else { 0.5 }
    }

    fn finish(
        &self,
        screening: Screening,
        folds: Vec<FoldReport>,
        totals: Totals,
    ) -> EnsembleReport {
        let walk = self.walk;
        let labelled: Vec<u32> = walk
            .order
            .iter()
            .copied()
            .filter(|row| walk.label(*row).is_some())
            .collect();
        let longest = walk.rows.iter().map(|row| row.end - row.decision).max();
        let block = (2 * longest.unwrap_or(0)).max(1);
        let gain = |of: &dyn Fn(&(i64, f64, f64)) -> f64| {
            estimate(&totals.gains, block, self.settings.seed, of)
        };
        let predicted: usize = folds.iter().map(|fold| fold.rows).sum();
        EnsembleReport {
            rows: walk.rows.len(),
            instruments: walk.by_instrument(&walk.order).count(),
            labelled: labelled.len(),
            ties: walk
                .rows
                .iter()
                .filter(|row| row.target == 0.0 && walk.target == super::Target::Return)
                .count(),
            effective_rows: walk.uniqueness(&labelled).iter().sum(),
            effective_rows_as_one_market: walk.effective_as_one_market(&labelled),
            first_window_rows: walk.rows.len() - predicted,
            screening,
            overall: totals.tally.scores(),
            scored: totals.tally.rows,
            scored_effective_rows: totals.effective,
            brier_gain: gain(&|row| row.1),
            accuracy_gain: gain(&|row| row.2),
            block,
            reliability: match totals.forecasts.is_empty() {
                true => Vec::new(),
                false => stats::metrics::reliability(&totals.forecasts, &totals.happened, BINS),
            },
            folds,
        }
    }
}

/// What a calibration has seen.
struct Seen {
    rows: usize,
    through: i64,
}

fn chance(logit: f64) -> f64 {
    1.0 / (1.0 + (-logit).exp())
}

/// Returns the mean gain over rows with the interval of resampled blocks of time. Blocks are added
/// up first, so that a resample costs as much as there are blocks.
fn estimate(
    gains: &[(i64, f64, f64)],
    length: i64,
    seed: u64,
    of: &dyn Fn(&(i64, f64, f64)) -> f64,
) -> stats::Estimate {
    let times: Vec<i64> = gains.iter().map(|row| row.0).collect();
    let blocks = stats::bootstrap::time_blocks(&times, length);
    let count = blocks.iter().max().map_or(0, |last| last + 1);
    let mut sums = vec![(0.0, 0.0); count];
    for (row, block) in gains.iter().zip(blocks) {
        sums[block].0 += of(row);
        sums[block].1 += 1.0;
    }
    let mean = |blocks: &[usize]| {
        let (sum, rows) = blocks.iter().fold((0.0, 0.0), |(sum, rows), block| {
            (sum + sums[*block].0, rows + sums[*block].1)
        });
        sum / rows
    };
    let numbers: Vec<usize> = (0..count).collect();
    let mut estimate = stats::bootstrap::estimate(&numbers, REPLICATES, seed, LEVEL, &mean);
    estimate.n = gains.len();
    estimate
}
