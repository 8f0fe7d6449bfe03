//! What an evaluation gives: the part of `report.json` with the scores.

use market::Timestamp;
use serde::{Deserialize, Serialize};
use stats::Interval;

use super::equity::{Coverage, Equity};
use super::findings::{Finding, Verdict};
use crate::class::{self, ByClass};

/// The scores of all arms. Its keys are stable.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// What the scores rest on.
    pub evaluation: Basis,
    /// The arms in the order given.
    pub arms: Vec<ArmEvaluation>,
    /// Accuracy of the adapter minus accuracy of the majority class.
    pub edge_over_majority: Option<f64>,
    /// Its interval.
    pub edge_over_majority_interval: Option<Interval>,
    /// The adapter against every other arm.
    pub comparisons: Vec<Comparison>,
    /// What buying every instrument at its first decision, in equal parts, and
    /// selling it at the end of its last would have returned.
    pub buy_and_hold: Equity,
    /// The result in sentences, most important first.
    pub findings: Vec<Finding>,
}

/// What the scores of an evaluation rest on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Basis {
    /// Rows scored.
    pub n: usize,
    /// Time blocks of two horizons among them: the number of independent looks.
    pub effective_n: usize,
    /// Distinct instruments.
    pub instruments: usize,
    /// First decision.
    pub from: Timestamp,
    /// Last decision.
    pub to: Timestamp,
    /// Label horizon in milliseconds.
    pub horizon_ms: i64,
    /// Length of a time block in milliseconds.
    pub block_ms: i64,
    /// Bootstrap replicates.
    pub replicates: usize,
    /// Confidence level of all intervals.
    pub level: f64,
    /// Seed of the bootstrap.
    pub seed: u64,
    /// Trading cost per side, as a fraction.
    pub cost_per_side: f64,
    /// Shares of the true classes.
    pub label_mix: ByClass<f64>,
    /// Validation decisions to whose class mix arms were re-weighted; 0 if none was.
    pub calibration_decisions: usize,
    /// How much of the span the decisions cover.
    pub coverage: Coverage,
}

/// The scores of one arm. Every `<name>_interval` is `[low, high]`.
///
/// Where an arm was re-weighted to the class mix of validation decisions, its
/// scores are those after it; `..._as_answered` are those of the decisions it
/// gives by itself, which is what is served. For other arms the two are equal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ArmEvaluation {
    /// The arm's name.
    pub name: String,
    /// Rows scored.
    pub n: usize,
    /// Share of right decisions.
    pub accuracy: f64,
    /// Its interval.
    pub accuracy_interval: Interval,
    /// Mean over the classes of the share of that class decided right.
    pub balanced_accuracy: f64,
    /// Its interval.
    pub balanced_accuracy_interval: Interval,
    /// Share of right decisions as the arm answers by itself.
    pub accuracy_as_answered: f64,
    /// Its interval.
    pub accuracy_as_answered_interval: Interval,
    /// Balanced accuracy as the arm answers by itself.
    pub balanced_accuracy_as_answered: f64,
    /// Its interval.
    pub balanced_accuracy_as_answered_interval: Interval,
    /// Mean of -ln(probability given to what happened), nats.
    pub log_loss: Option<f64>,
    /// Its interval.
    pub log_loss_interval: Option<Interval>,
    /// Mean squared error of the probabilities, summed over classes, 0 to 2.
    pub brier: Option<f64>,
    /// Its interval.
    pub brier_interval: Option<Interval>,
    /// Share of decisions that differ from the one before on that instrument;
    /// none when no instrument has two.
    pub flip_rate: Option<f64>,
    /// Its interval.
    pub flip_rate_interval: Option<Interval>,
    /// Share of decisions equal to the base model's.
    pub agreement: Option<f64>,
    /// Its interval.
    pub agreement_interval: Option<Interval>,
    /// `accuracy_as_answered`, of re-weighted arms only.
    pub raw_accuracy: Option<f64>,
    /// Its interval.
    pub raw_accuracy_interval: Option<Interval>,
    /// Shares of the decided classes.
    pub class_mix: ByClass<f64>,
    /// `class_mix_as_answered`, of re-weighted arms only.
    pub raw_class_mix: Option<ByClass<f64>>,
    /// Shares of the classes decided as the arm answers by itself.
    pub class_mix_as_answered: ByClass<f64>,
    /// Counts: `confusion[truth][decided]`.
    pub confusion: [[usize; class::COUNT]; class::COUNT],
    /// The same counts as the arm answers by itself.
    pub confusion_as_answered: [[usize; class::COUNT]; class::COUNT],
    /// Accuracy minus that of the majority arm.
    pub edge_over_majority: Option<f64>,
    /// Its interval.
    pub edge_over_majority_interval: Option<Interval>,
    /// `accuracy_as_answered` minus the accuracy of the majority arm.
    pub edge_over_majority_as_answered: Option<f64>,
    /// Its interval.
    pub edge_over_majority_as_answered_interval: Option<Interval>,
    /// How sure it was against how often it was right.
    pub calibration: Option<Vec<CalibrationBin>>,
    /// Net-of-cost equity: a diagnostic, not evidence.
    pub equity_diagnostic: Equity,
}

impl ArmEvaluation {
    /// Returns whether the arm's primary figures are those after re-weighting.
    pub fn is_reweighted(&self) -> bool {
        self.raw_accuracy.is_some()
    }
}

/// Decisions of similar stated probability.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CalibrationBin {
    /// Mean probability given to the decision taken.
    pub stated: f64,
    /// Share of them that were right.
    pub observed: f64,
    /// Interval of `observed`.
    pub observed_interval: Interval,
    /// Decisions in the bin.
    pub n: usize,
}

/// The adapter against another arm, in one score.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// The other arm.
    pub against: String,
    /// `accuracy`, `log_loss` or `brier`.
    pub metric: String,
    /// How much better the adapter is; negative when it is worse.
    pub difference: f64,
    /// Its interval.
    pub difference_interval: Interval,
    /// What the interval allows to say.
    pub verdict: Verdict,
}
