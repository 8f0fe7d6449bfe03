//! Scores of several arms on the same rows, with honest intervals.
//!
//! Outcomes of neighbouring decisions overlap, and instruments move together,
//! so rows are not independent. Every interval here resamples whole blocks of
//! time of two horizons, all instruments of a block together. Differences
//! between arms are paired: both arms are scored on the same resample.
//!
//! An arm trained on as many rows of one class as of another answers the rare
//! classes too often. Such an arm hands in its decisions twice: re-weighted to
//! the class mix of validation decisions (`decisions`, the primary figures) and
//! as it answers by itself (`raw_decisions`, reported as `..._as_answered`).
//!
//! Nothing here decides anything: decisions, probabilities and outcomes are
//! handed in. One look at one span is what is reported; many looks at the same
//! span, or many trained variants, make every interval here too narrow.

mod check;
mod equity;
mod findings;
mod result;
mod score;
pub mod signals;

use market::{Instrument, Timestamp};
use serde::{Deserialize, Serialize};

pub use equity::{Coverage, Equity, EquityPoint};
pub(crate) use findings::reweighting;
pub use findings::{Finding, Verdict, display_name};
pub use result::{ArmEvaluation, Basis, CalibrationBin, Comparison, Evaluation};

use crate::class::{self, ByClass};
use crate::error::ServeError;
use score::Blocks;

/// Name of the arm the evaluation is about.
pub const ADAPTER: &str = "adapter";
/// Name of the untrained model's arm.
pub const BASE: &str = "base";
/// Name of the arm that always answers the most frequent training class.
pub const MAJORITY: &str = "majority";
/// Name of the arm that decides for the last known label again.
///
/// Its probabilities are not those of that decision but how often each label
/// followed it in earlier data, so they may favour another class: its accuracy
/// judges the repetition, its log loss and Brier score judge the frequencies.
pub const PERSISTENCE: &str = "persistence";
/// Name of the logistic regression's arm.
pub const LOGISTIC: &str = "logistic";

/// A moment at which every arm decided, and what happened after it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// What was decided about.
    pub instrument: Instrument,
    /// The close of the bar the decision was made on.
    pub decision_time: Timestamp,
    /// Price at the decision.
    pub price: f64,
    /// The right class index, by the label rule.
    pub label: usize,
    /// Return over the horizon as a fraction: 0.02 is +2 %.
    pub outcome_return: f64,
}

/// What one arm decided, row by row.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ArmDecisions {
    /// The arm's name; `majority`, `base`, `adapter`, `persistence` and
    /// `logistic` have a meaning here, others are shown as they are.
    pub name: String,
    /// Class index per row, re-weighted where the arm is.
    pub decisions: Vec<usize>,
    /// Probabilities of BUY, SELL, HOLD per row.
    pub probabilities: Option<Vec<[f64; class::COUNT]>>,
    /// Class index per row as the arm answers by itself, before re-weighting;
    /// none for an arm that is not re-weighted.
    pub raw_decisions: Option<Vec<usize>>,
}

/// How to evaluate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    /// Label horizon in milliseconds; a time block is twice as long.
    pub horizon: i64,
    /// Bootstrap replicates.
    pub replicates: usize,
    /// Confidence level of the intervals, such as 0.95.
    pub level: f64,
    /// Seed of the bootstrap.
    pub seed: u64,
    /// Trading cost as a fraction of the position, per side.
    pub cost_per_side: f64,
    /// Best accuracy any method can reach, known in a planted world.
    pub bayes_accuracy: Option<f64>,
    /// Validation decisions to whose class mix arms were re-weighted; 0 if none was.
    pub calibration_decisions: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            horizon: 12 * 3_600_000,
            replicates: 1000,
            level: 0.95,
            seed: 1,
            cost_per_side: 0.0005,
            bayes_accuracy: None,
            calibration_decisions: 0,
        }
    }
}

/// Scores every arm on the same rows.
///
/// # Errors
/// [`ServeError::Setting`], [`ServeError::Row`] and [`ServeError::Arm`] for
/// settings out of range, unusable or repeated rows, and arms that do not fit.
pub fn evaluate(
    rows: &[Row],
    arms: &[ArmDecisions],
    settings: &Settings,
) -> Result<Evaluation, ServeError> {
    check::settings(settings)?;
    check::rows(rows)?;
    check::arms(arms, rows.len())?;
    let order = time_order(rows);
    let rows: Vec<&Row> = order.iter().map(|&i| &rows[i]).collect();
    let arms: Vec<ArmDecisions> = arms.iter().map(|arm| reorder(arm, &order)).collect();
    let labels: Vec<usize> = rows.iter().map(|row| row.label).collect();
    let blocks = Blocks::new(&rows, settings);
    let find = |name: &str| arms.iter().find(|arm| arm.name == name);

    let context = Context {
        rows: &rows,
        labels: &labels,
        blocks: &blocks,
        settings,
        majority: find(MAJORITY),
        base: find(BASE),
    };
    let scored: Vec<ArmEvaluation> = arms.iter().map(|arm| score_arm(arm, &context)).collect();
    let comparisons = find(ADAPTER).map_or_else(Vec::new, |adapter| {
        let others = arms.iter().filter(|arm| arm.name != ADAPTER);
        others
            .flat_map(|other| compare(adapter, other, &context))
            .collect()
    });
    let basis = Basis {
        n: rows.len(),
        effective_n: blocks.count(),
        instruments: instrument_groups(&rows).1,
        from: rows[0].decision_time,
        to: rows[rows.len() - 1].decision_time,
        horizon_ms: settings.horizon,
        block_ms: 2 * settings.horizon,
        replicates: settings.replicates,
        level: settings.level,
        seed: settings.seed,
        cost_per_side: settings.cost_per_side,
        label_mix: ByClass::count(&labels).shares(),
        calibration_decisions: settings.calibration_decisions,
        coverage: equity::coverage(&rows, settings.horizon),
    };
    let adapter = scored.iter().find(|arm| arm.name == ADAPTER);
    let (edge, edge_interval) = adapter.map_or((None, None), |arm| {
        (arm.edge_over_majority, arm.edge_over_majority_interval)
    });
    let findings = findings::all(&basis, &scored, &comparisons, settings.bayes_accuracy);
    Ok(Evaluation {
        evaluation: basis,
        edge_over_majority: edge,
        edge_over_majority_interval: edge_interval,
        comparisons,
        buy_and_hold: equity::hold(&rows, settings),
        findings,
        arms: scored,
    })
}

/// What every arm is scored against.
struct Context<'a> {
    rows: &'a [&'a Row],
    labels: &'a [usize],
    blocks: &'a Blocks,
    settings: &'a Settings,
    majority: Option<&'a ArmDecisions>,
    base: Option<&'a ArmDecisions>,
}

fn score_arm(arm: &ArmDecisions, context: &Context<'_>) -> ArmEvaluation {
    let Context { labels, blocks, .. } = *context;
    let hit = |decisions: &[usize], row: usize| f64::from(u8::from(decisions[row] == labels[row]));
    let mean = |row_score: &dyn Fn(usize) -> f64| blocks.mean(&|row| Some(row_score(row)));
    let (accuracy, accuracy_interval) = mean(&|row| hit(&arm.decisions, row));
    let (balanced_accuracy, balanced_accuracy_interval) =
        blocks.balanced_accuracy(labels, &arm.decisions);
    let probabilities = arm.probabilities.as_deref();
    let log_loss = probabilities.map(|p| mean(&|row| score::log_loss(&p[row], labels[row])));
    let brier = probabilities.map(|p| mean(&|row| score::brier(&p[row], labels[row])));
    let flips = stats::metrics::flips(&instrument_groups(context.rows).0, &arm.decisions);
    let flip_rate = flips
        .iter()
        .any(Option::is_some)
        .then(|| blocks.mean(&|row| flips[row].map(|flip| f64::from(u8::from(flip)))));
    let same = |other: &ArmDecisions, row: usize| {
        f64::from(u8::from(arm.decisions[row] == other.decisions[row]))
    };
    let agreement = context.base.map(|base| mean(&|row| same(base, row)));
    let raw = arm.raw_decisions.as_deref();
    let raw_accuracy = raw.map(|raw| mean(&|row| hit(raw, row)));
    let answered = raw.unwrap_or(&arm.decisions);
    let (accuracy_as_answered, accuracy_as_answered_interval) = mean(&|row| hit(answered, row));
    let (balanced_accuracy_as_answered, balanced_accuracy_as_answered_interval) =
        blocks.balanced_accuracy(labels, answered);
    let edge_of = |decisions: &[usize]| {
        let majority = context.majority?;
        Some(mean(&|row| {
            hit(decisions, row) - hit(&majority.decisions, row)
        }))
    };
    let (edge, edge_as_answered) = (edge_of(&arm.decisions), edge_of(answered));
    ArmEvaluation {
        name: arm.name.clone(),
        n: labels.len(),
        accuracy,
        accuracy_interval,
        balanced_accuracy,
        balanced_accuracy_interval,
        accuracy_as_answered,
        accuracy_as_answered_interval,
        balanced_accuracy_as_answered,
        balanced_accuracy_as_answered_interval,
        log_loss: log_loss.map(|(value, _)| value),
        log_loss_interval: log_loss.map(|(_, interval)| interval),
        brier: brier.map(|(value, _)| value),
        brier_interval: brier.map(|(_, interval)| interval),
        flip_rate: flip_rate.map(|(value, _)| value),
        flip_rate_interval: flip_rate.map(|(_, interval)| interval),
        agreement: agreement.map(|(value, _)| value),
        agreement_interval: agreement.map(|(_, interval)| interval),
        raw_accuracy: raw_accuracy.map(|(value, _)| value),
        raw_accuracy_interval: raw_accuracy.map(|(_, interval)| interval),
        class_mix: ByClass::count(&arm.decisions).shares(),
        raw_class_mix: raw.map(|raw| ByClass::count(raw).shares()),
        class_mix_as_answered: ByClass::count(answered).shares(),
        confusion: score::confusion(labels, &arm.decisions),
        confusion_as_answered: score::confusion(labels, answered),
        edge_over_majority: edge.map(|(value, _)| value),
        edge_over_majority_interval: edge.map(|(_, interval)| interval),
        edge_over_majority_as_answered: edge_as_answered.map(|(value, _)| value),
        edge_over_majority_as_answered_interval: edge_as_answered.map(|(_, interval)| interval),
        calibration: probabilities.map(|p| calibration(&arm.decisions, p, context)),
        equity_diagnostic: equity::curve(context.rows, &arm.decisions, context.settings),
    }
}

/// Returns equal-mass bins of the probability given to the decision taken.
fn calibration(
    decisions: &[usize],
    probabilities: &[[f64; class::COUNT]],
    context: &Context<'_>,
) -> Vec<CalibrationBin> {
    // Fewer rows than this say little about a share.
    const ROWS_PER_BIN: usize = 40;
    const MOST_BINS: usize = 10;
    let rows = 0..decisions.len();
    let stated: Vec<f64> = rows
        .clone()
        .map(|i| probabilities[i][decisions[i]])
        .collect();
    let right: Vec<bool> = rows.map(|i| decisions[i] == context.labels[i]).collect();
    let wanted = (stated.len() / ROWS_PER_BIN).clamp(1, MOST_BINS);
    stats::metrics::reliability(&stated, &right, wanted)
        .into_iter()
        .map(|bin| {
            let (observed, observed_interval) = context.blocks.mean(&|row| {
                (bin.low..=bin.high)
                    .contains(&stated[row])
                    .then(|| f64::from(u8::from(right[row])))
            });
            CalibrationBin {
                stated: bin.mean_predicted,
                observed,
                observed_interval,
                n: bin.count,
            }
        })
        .collect()
}

/// Compares the adapter with another arm in every score both have.
fn compare(adapter: &ArmDecisions, other: &ArmDecisions, context: &Context<'_>) -> Vec<Comparison> {
    let labels = context.labels;
    let hit =
        |arm: &ArmDecisions, row: usize| f64::from(u8::from(arm.decisions[row] == labels[row]));
    let comparison = |metric: &str, better_by: &dyn Fn(usize) -> f64| {
        let (difference, difference_interval) = context.blocks.mean(&|row| Some(better_by(row)));
        Comparison {
            against: other.name.clone(),
            metric: metric.to_owned(),
            difference,
            difference_interval,
            verdict: Verdict::of(difference_interval),
        }
    };
    let mut all = vec![comparison("accuracy", &|row| {
        hit(adapter, row) - hit(other, row)
    })];
    if let (Some(ours), Some(theirs)) = (&adapter.probabilities, &other.probabilities) {
        all.push(comparison("log_loss", &|row| {
            score::log_loss(&theirs[row], labels[row]) - score::log_loss(&ours[row], labels[row])
        }));
        all.push(comparison("brier", &|row| {
            score::brier(&theirs[row], labels[row]) - score::brier(&ours[row], labels[row])
        }));
    }
    all
}

/// Returns the order by time, then instrument.
fn time_order(rows: &[Row]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..rows.len()).collect();
    order.sort_by(|&a, &b| {
        let key = |i: usize| (rows[i].decision_time, &rows[i].instrument);
        key(a).cmp(&key(b))
    });
    order
}

fn reorder(arm: &ArmDecisions, order: &[usize]) -> ArmDecisions {
    let pick = |classes: &Vec<usize>| order.iter().map(|&i| classes[i]).collect();
    ArmDecisions {
        name: arm.name.clone(),
        decisions: pick(&arm.decisions),
        probabilities: arm
            .probabilities
            .as_ref()
            .map(|rows| order.iter().map(|&i| rows[i]).collect()),
        raw_decisions: arm.raw_decisions.as_ref().map(pick),
    }
}

/// Numbers the instruments; returns each row's number and how many there are.
fn instrument_groups(rows: &[&Row]) -> (Vec<usize>, usize) {
    let mut names: Vec<&Instrument> = rows.iter().map(|row| &row.instrument).collect();
    names.sort_unstable();
    names.dedup();
    let number = |row: &&Row| names.partition_point(|name| **name < row.instrument);
    (rows.iter().map(number).collect(), names.len())
}

#[cfg(test)]
mod tests;
