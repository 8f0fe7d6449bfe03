//! The walk forward: screening, reading, then fold by fold training, predicting and calibrating.

use std::ops::ControlFlow;

use rayon::prelude::*;
use stats::isotonic::Isotonic;

use super::calibrate::{self, Scored};
use super::folds::{Drawn, FEWEST_ROWS, Walk};
use super::linear::Linear;
use super::model::{Logits, members};
use super::score::Scorer;
use super::screen::{Screen, without_infinite};
use super::trees::Trees;
use super::{
    ColumnSource, EnsembleError, EnsembleModel, EnsembleReport, EnsembleSettings, Prediction,
    Screening, source,
};
use crate::DatasetError;

/// Rows that the screening looks at, at most.
const SCREEN_ROWS: usize = 50_000;
/// Rows predicted at a time by one worker.
const CHUNK: usize = 4096;

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

/// The parts of a walk while it goes.
struct Work<'a> {
    walk: &'a Walk<'a>,
    names: Vec<String>,
    /// The kept columns, each with a value a row, without infinite values.
    matrix: Vec<Vec<f32>>,
    settings: &'a EnsembleSettings,
    /// Predictions so far, with their rows.
    history: Vec<(u32, f64)>,
}

/// Both members, trained.
struct Members {
    trees: Trees,
    linear: Linear,
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
        let mut scorer = Scorer::new(self.walk);
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
                let (mut report, predictions) = scorer.fold(&model, &drawn, &rows, &logits);
                report.calibration_rows = seen.rows;
                for (row, prediction) in rows.iter().zip(predictions) {
                    let fold = part as u16;
                    out_of_fold[*row as usize] = Some(OutOfFold { fold, prediction });
                }
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
        let report = scorer.finish(screening, reports, self.settings.seed);
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
            let start = columns.len();
            columns.extend(
                drawn
                    .rows
                    .iter()
                    .map(|row| f64::from(column[*row as usize])),
            );
            fill_if_empty(&mut columns[start..]);
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
}

/// What a calibration has seen.
struct Seen {
    rows: usize,
    through: i64,
}

/// Gives a column without any value one value everywhere: there is nothing to learn from it, and
/// nothing to sort into bins.
fn fill_if_empty(column: &mut [f64]) {
    if column.iter().all(|value| value.is_nan()) {
        column.fill(0.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_without_a_value_is_harmless() {
        let happened: Vec<f64> = (0..400).map(|row| f64::from(row % 2)).collect();
        let mut columns = happened.clone();
        columns.extend([f64::NAN; 400]);
        fill_if_empty(&mut columns[..400]);
        fill_if_empty(&mut columns[400..]);
        assert_eq!(columns[..400], happened);
        let settings = EnsembleSettings {
            min_leaf_rows: 5.0,
            ..Default::default()
        };
        let trees = Trees::fit(&columns, 2, &happened, &[1.0; 400], &settings).unwrap();
        let linear = Linear::fit(&columns, 2, &happened, &[1.0; 400], &settings).unwrap();
        for empty in [f32::NAN, 0.0, 9.0] {
            assert!(trees.logit(&[1.0, empty]) > 1.0);
            assert!(linear.logit(&[0.0, empty]) < -1.0);
        }
    }
}
