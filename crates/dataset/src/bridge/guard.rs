//! What is refused or told about a bridge as a whole, before it is written.

use std::path::Path;

use super::table::Table;
use super::{About, BridgeExample, BridgeSettings, Verdict};
use crate::DatasetError;
use crate::ensemble::Ensemble;

/// A share of right signals beyond which a leak is more likely than an edge.
const TOO_GOOD: f64 = 0.75;

/// Refuses examples that all have the same verdict: there is nothing to tell apart.
pub(super) fn refuse_one_verdict<'a>(
    directory: &Path,
    what: &str,
    examples: impl Iterator<Item = &'a About>,
) -> Result<(), DatasetError> {
    let labels: Vec<&str> = examples
        .filter_map(|about| about.label.as_deref())
        .collect();
    for verdict in Verdict::ALL {
        if labels.is_empty() || labels.contains(&verdict.as_str()) {
            continue;
        }
        let message = format!(
            "{verdict} never occurs in its {} {what}: expected some signals to pay after costs and \
             some not to; look at `bridge.cost`, `bridge.costs` and the target's unit",
            labels.len()
        );
        return Err(DatasetError::Bridge {
            path: directory.to_owned(),
            message,
        });
    }
    Ok(())
}

/// Returns a note where signals are right more often than any market allows.
pub(super) fn too_good(ensemble: Option<&Ensemble>, scenarios: &[BridgeExample]) -> Option<String> {
    let accuracy = ensemble.map(|ensemble| ensemble.report.overall.ensemble.accuracy);
    let paid = scenarios
        .iter()
        .filter(|example| example.about.label.as_deref() == Some(Verdict::Approve.as_str()));
    let paid = paid.count() as f64 / scenarios.len().max(1) as f64;
    let (what, share) = match accuracy {
        Some(accuracy) if accuracy > TOO_GOOD => ("the ensemble is right out-of-fold", accuracy),
        _ if paid > TOO_GOOD => ("signals pay after costs", paid),
        _ => return None,
    };
    Some(format!(
        "{what} {:.0} % of the time, which no known market allows: look for the outcome, or a value \
         from after the decision, among the columns",
        share * 100.0
    ))
}

/// Refuses costs of instruments that are not there.
pub(super) fn refuse_unknown_costs(
    tables: &[Table],
    settings: &BridgeSettings,
) -> Result<(), DatasetError> {
    let known = |name: &String| {
        let mut tables = tables.iter();
        tables.any(|table| table.instrument.as_str() == name)
    };
    match settings.costs.keys().find(|name| !known(name)) {
        None => Ok(()),
        Some(name) => {
            let there: Vec<&str> = tables.iter().map(|t| t.instrument.as_str()).collect();
            Err(DatasetError::Setting {
                name: "bridge.costs",
                value: name.clone(),
                expected: format!("instruments of the package: {}", there.join(", ")),
            })
        }
    }
}
