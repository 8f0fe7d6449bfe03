//! Every evaluation of an adapter on held-out decisions is a trial, and the ledger counts it.
//!
//! The ledger lies beside the run directories, so that what competes is counted together. The
//! settings that change decisions or returns are part of what was tried: evaluating with another
//! calibration is another trial, evaluating the same again is none.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use dataset::Dataset;
use serve::class;
use serve::evaluation::ADAPTER;
use serve::trials::{self, FILE, Standing, Tried};

use super::arms::Scored;
use crate::clock;
use crate::run::{self, Run};
use crate::settings::{Evaluate, Settings};

/// Counts the trial of a run's adapter, and says what it is worth beside all others.
///
/// # Errors
/// When the adapter cannot be read or the ledger cannot be used.
pub(crate) fn record(
    settings: &Settings,
    own: &Run,
    dataset: &Dataset,
    scored: &Scored<'_>,
) -> anyhow::Result<Standing> {
    let how = &settings.evaluate;
    let configuration = format!(
        "{} {} {} {} {}",
        own.adapter_sha256()?,
        how.calibration_decisions,
        how.calibration_l2,
        how.max_decisions,
        how.cost_per_side
    );
    let tried = Tried {
        configuration: run::sha256(configuration.as_bytes()),
        run: own.folder.display().to_string(),
        dataset_sha256: own.record.dataset_sha256.clone(),
        at: clock::now(),
        returns: returns(scored, dataset.settings.horizon(), how),
    };
    Ok(trials::record(&place(own, how), &tried)?)
}

fn place(own: &Run, how: &Evaluate) -> PathBuf {
    let beside = || {
        let parent = own.folder.parent().unwrap_or(Path::new(""));
        parent.join(FILE)
    };
    how.ledger.clone().unwrap_or_else(beside)
}

/// Returns the adapter's mean return after costs of each stretch of a horizon in which anything
/// was decided: BUY gains what the price gains, SELL what it loses, HOLD nothing.
fn returns(scored: &Scored<'_>, horizon: i64, how: &Evaluate) -> Vec<(i64, f64)> {
    let Some(adapter) = scored.arms.iter().find(|arm| arm.decided.name == ADAPTER) else {
        return Vec::new();
    };
    let mut periods: BTreeMap<i64, (f64, f64)> = BTreeMap::new();
    for (row, &decision) in scored.rows.iter().zip(&adapter.decided.decisions) {
        let costs = 2.0 * how.cost_per_side;
        let value = match decision {
            class::BUY => row.outcome_return - costs,
            class::SELL => -row.outcome_return - costs,
            _ => 0.0,
        };
        let start = row.decision_time.0.div_euclid(horizon) * horizon;
        let (sum, count) = periods.entry(start).or_default();
        *sum += value;
        *count += 1.0;
    }
    let mean = |(start, (sum, count))| (start, sum / count);
    periods.into_iter().map(mean).collect()
}
