//! The signal of every row: of the package's own columns, or of the ensemble, out-of-fold.

use std::ops::{ControlFlow, Range};

use market::Timestamp;

use super::signal::{self, Signal};
use super::table::{Source, Table};
use super::{BridgeProgress, BridgeSettings, BridgeStage, Side};
use crate::ensemble::{self, Ensemble, EnsembleSettings, PackageSource, PackageTarget};
use crate::{DatasetError, Decision};

/// Signals by pair and row, and where they come from.
pub(crate) struct Predicted {
    pub(crate) signals: Vec<Vec<Option<Signal>>>,
    pub(crate) ensemble: Option<Ensemble>,
}

/// Returns the signals of all rows.
///
/// # Errors
/// As [`ensemble::fit`] and [`PackageSource::open`].
pub(crate) fn signals(
    source: &Source,
    tables: &[Table],
    settings: &BridgeSettings,
    ensemble: &EnsembleSettings,
    progress: &mut dyn FnMut(BridgeProgress) -> ControlFlow<()>,
) -> Result<Predicted, DatasetError> {
    if source.by_columns {
        let signals = tables
            .iter()
            .map(|table| signal::of_columns(table).unwrap_or_default())
            .collect();
        return Ok(Predicted {
            signals,
            ensemble: None,
        });
    }
    let target = PackageTarget::return_over(settings.horizon_bars);
    let package = PackageSource::open(
        &source.package,
        &target,
        &source.features,
        Some(source.timeframe),
    )?;
    let fitted = ensemble::fit(&package, ensemble, &mut |state| {
        // Screening reads every column once; folds are few and long.
        let (done, total) = match state.stage {
            ensemble::EnsembleStage::Screening => (state.done * 40 / state.total.max(1), 100),
            ensemble::EnsembleStage::Reading => (40 + state.done * 10 / state.total.max(1), 100),
            ensemble::EnsembleStage::Training => (50 + state.done * 50 / state.total.max(1), 100),
        };
        progress(BridgeProgress {
            stage: BridgeStage::Ensemble,
            done,
            total,
        })
    })?;
    let mut signals: Vec<Vec<Option<Signal>>> = tables
        .iter()
        .map(|table| Vec::with_capacity(table.decided.len()))
        .collect();
    // The package's tables come pair by pair in the order of time, as ours do.
    for (pair, path, rows) in package.tables() {
        let own = signals
            .get_mut(pair as usize)
            .ok_or_else(|| out_of_step(path, &rows))?;
        own.extend(rows.map(|row| fitted.out_of_fold[row].as_ref().map(signal)));
    }
    for (table, signals) in tables.iter().zip(&signals) {
        if table.decided.len() != signals.len() {
            return Err(out_of_step(&source.package.directory, &(0..signals.len())));
        }
    }
    Ok(Predicted {
        signals,
        ensemble: Some(fitted),
    })
}

fn signal(predicted: &ensemble::OutOfFold) -> Signal {
    let prediction = predicted.prediction;
    Signal {
        side: match prediction.side() {
            Decision::Sell => Side::Sell,
            Decision::Buy | Decision::Hold => Side::Buy,
        },
        confidence: prediction.confidence(),
        fold: Some(u32::from(predicted.fold)),
        trained_through: Some(Timestamp(prediction.trained_through)),
    }
}

fn out_of_step(path: &std::path::Path, rows: &Range<usize>) -> DatasetError {
    DatasetError::Bridge {
        path: path.to_owned(),
        message: format!(
            "changed while it was read (rows {} to {})",
            rows.start, rows.end
        ),
    }
}
