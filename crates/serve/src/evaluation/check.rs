//! Refusing what cannot be scored, before anything is computed.

use std::collections::BTreeSet;

use super::{ArmDecisions, Row, Settings};
use crate::class;
use crate::error::ServeError;

/// Longest horizon that is believed, in milliseconds: a thousand years.
const LONGEST_HORIZON: i64 = 1000 * 366 * 86_400_000;
/// How far three probabilities may miss a sum of one; they may have been `f32`.
const SUM_TOLERANCE: f64 = 1e-4;

/// Checks that every setting is in range.
pub(super) fn settings(settings: &Settings) -> Result<(), ServeError> {
    let refuse = |name, reason| Err(ServeError::Setting { name, reason });
    if !(1..=LONGEST_HORIZON).contains(&settings.horizon) {
        let reason = format!("`{}` ms, expected a positive horizon", settings.horizon);
        return refuse("horizon", reason);
    }
    if settings.replicates == 0 {
        return refuse("replicates", "`0`, expected at least 1".to_owned());
    }
    if !(settings.level > 0.0 && settings.level < 1.0) {
        let reason = format!("`{}`, expected a number between 0 and 1", settings.level);
        return refuse("level", reason);
    }
    if !(0.0..1.0).contains(&settings.cost_per_side) {
        let reason = format!(
            "`{}`, expected a fraction from 0 to below 1",
            settings.cost_per_side
        );
        return refuse("cost_per_side", reason);
    }
    Ok(())
}

/// Checks that there are rows, each usable and of its own instrument and time.
pub(super) fn rows(rows: &[Row]) -> Result<(), ServeError> {
    if rows.is_empty() {
        let reason = "nothing to score, expected at least one row".to_owned();
        return Err(ServeError::Row { row: 0, reason });
    }
    let mut seen = BTreeSet::new();
    for (number, row) in rows.iter().enumerate() {
        let reason = if row.label >= class::COUNT {
            format!(
                "label `{}`, expected a class index below {}",
                row.label,
                class::COUNT
            )
        } else if !row.outcome_return.is_finite() {
            "outcome return is not a finite number".to_owned()
        } else if !(row.price.is_finite() && row.price > 0.0) {
            format!("price `{}`, expected a positive number", row.price)
        } else if !seen.insert((&row.instrument, row.decision_time)) {
            format!(
                "`{}` at `{}` comes twice",
                row.instrument, row.decision_time
            )
        } else {
            continue;
        };
        return Err(ServeError::Row {
            row: number,
            reason,
        });
    }
    Ok(())
}

/// Checks that every arm has its own name and a usable decision for every row.
pub(super) fn arms(arms: &[ArmDecisions], rows: usize) -> Result<(), ServeError> {
    let mut names = BTreeSet::new();
    for arm in arms {
        if let Some(reason) = arm_fault(arm, rows) {
            return Err(ServeError::Arm {
                arm: arm.name.clone(),
                reason,
            });
        }
        if !names.insert(&arm.name) {
            let reason = "comes twice, expected different names".to_owned();
            return Err(ServeError::Arm {
                arm: arm.name.clone(),
                reason,
            });
        }
    }
    Ok(())
}

fn arm_fault(arm: &ArmDecisions, rows: usize) -> Option<String> {
    if arm.name.is_empty() {
        return Some("no name, expected one".to_owned());
    }
    let lists = [Some(&arm.decisions), arm.raw_decisions.as_ref()];
    for decisions in lists.into_iter().flatten() {
        if decisions.len() != rows {
            return Some(format!("{} decisions, expected {rows}", decisions.len()));
        }
        if let Some(row) = decisions.iter().position(|class| *class >= class::COUNT) {
            let found = decisions[row];
            return Some(format!(
                "decision `{found}` in row {row}, expected a class index below {}",
                class::COUNT
            ));
        }
    }
    let probabilities = arm.probabilities.as_ref()?;
    if probabilities.len() != rows {
        return Some(format!(
            "{} rows of probabilities, expected {rows}",
            probabilities.len()
        ));
    }
    let unusable = |p: &[f64; class::COUNT]| {
        !p.iter().all(|value| (0.0..=1.0).contains(value))
            || (p.iter().sum::<f64>() - 1.0).abs() > SUM_TOLERANCE
    };
    let row = probabilities.iter().position(unusable)?;
    Some(format!(
        "probabilities `{:?}` in row {row}, expected three that sum to 1",
        probabilities[row]
    ))
}
