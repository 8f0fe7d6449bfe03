//! Settings of a fine-tuning run.

use crate::TrainError;
use crate::optimizer::Optimizer;
use crate::schedule::Schedule;
use model::{LoraSettings, Projection};
use serde::{Deserialize, Serialize};

/// Settings of supervised fine-tuning; every field has a default.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SftSettings {
    /// Peak step size. The default suits SmolLM2-135M; see the project's log for the measurements.
    pub learning_rate: f64,
    /// Share of the steps over which the step size rises from zero.
    pub warmup_ratio: f64,
    /// How the step size goes on after that.
    pub schedule: Schedule,
    /// Examples per optimiser step.
    pub batch_size: usize,
    /// Passes over the training examples.
    pub epochs: f64,
    /// Examples seen at most, whatever `epochs` says; 0 means no limit.
    pub max_examples: usize,
    /// Rows per forward pass at most; a batch is cut into passes and its gradients added up.
    pub micro_batch_tokens: usize,
    /// Rank R of the adapter.
    pub rank: usize,
    /// The adapter's update is scaled by alpha / rank.
    pub alpha: f64,
    /// Scale by alpha / sqrt(rank) instead (rsLoRA, Kalajdzievski 2023).
    pub rslora: bool,
    /// Dropout on the adapter's input.
    pub dropout: f64,
    /// Projections that carry the adapter, by name (`q_proj`, `v_proj`, ...); `all` for all seven.
    pub targets: Vec<String>,
    /// The optimiser.
    pub optimizer: Optimizer,
    /// The step size of the factors B is that of the factors A times this (LoRA+, Hayou et al.
    /// 2024); 1 treats them alike.
    pub loraplus_ratio: f64,
    /// Decoupled weight decay.
    pub weight_decay: f64,
    /// Decay of AdamW's first moment.
    pub beta1: f64,
    /// Decay of AdamW's second moment.
    pub beta2: f64,
    /// AdamW's epsilon.
    pub eps: f64,
    /// Gradients with a larger global norm are scaled down to it; 0 turns clipping off.
    pub max_gradient_norm: f64,
    /// Loss weight of the decision's own tokens relative to the rest of the answer.
    pub decision_weight: f64,
    /// Longest example in tokens.
    pub max_tokens: usize,
    /// What becomes of a longer example.
    pub too_long: TooLong,
    /// Steps between validations; 0 turns them off.
    pub validate_every: usize,
    /// Validation examples scored each time, at most.
    pub validation_examples: usize,
    /// Validations in a row without a lower validation loss after which a supervised training
    /// stops; 0 never stops early.
    pub early_stopping: usize,
    /// Which adapter a supervised training ends with.
    pub keep: Keep,
    /// Steps between checkpoints; 0 turns them off.
    pub checkpoint_every: usize,
    /// Seed of the adapter's first values, the order of examples and dropout.
    pub seed: u64,
}

/// What becomes of an example of more than `max_tokens`. Answers are never cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TooLong {
    /// It is an error.
    Refuse,
    /// The prompt's text loses its beginning.
    CutStart,
    /// The prompt's text loses its end.
    CutEnd,
}

/// Which adapter a training ends with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Keep {
    /// That of the last step.
    Last,
    /// That of the validation with the lowest loss.
    Best,
}

/// The word for all projections in `targets`, and PEFT's for the same.
const ALL_TARGETS: [&str; 2] = ["all", "all-linear"];

impl Default for SftSettings {
    fn default() -> Self {
        Self {
            learning_rate: 2e-3,
            warmup_ratio: 0.03,
            schedule: Schedule::Cosine,
            batch_size: 4,
            epochs: 1.0,
            max_examples: 0,
            micro_batch_tokens: 768,
            rank: 8,
            alpha: 16.0,
            rslora: false,
            dropout: 0.05,
            targets: vec!["q_proj".into(), "v_proj".into()],
            optimizer: Optimizer::AdamW,
            loraplus_ratio: 1.0,
            weight_decay: 0.0,
            beta1: 0.9,
            beta2: 0.999,
            eps: 1e-8,
            max_gradient_norm: 1.0,
            decision_weight: 1.0,
            max_tokens: 1024,
            too_long: TooLong::Refuse,
            validate_every: 30,
            validation_examples: 40,
            early_stopping: 0,
            keep: Keep::Last,
            checkpoint_every: 20,
            seed: 42,
        }
    }
}

impl SftSettings {
    /// Returns the settings of the adapter.
    ///
    /// # Errors
    /// If a target is not the name of a projection.
    pub fn lora(&self) -> Result<LoraSettings, TrainError> {
        let targets = match &self.targets[..] {
            [all] if ALL_TARGETS.contains(&all.as_str()) => Projection::ALL.to_vec(),
            names => names
                .iter()
                .map(|name| projection(name))
                .collect::<Result<Vec<_>, _>>()?,
        };
        Ok(LoraSettings {
            rank: self.rank,
            alpha: self.alpha,
            rslora: self.rslora,
            dropout: self.dropout,
            targets,
        })
    }

    /// Checks the range of every setting.
    ///
    /// # Errors
    /// Naming the first setting that is out of range.
    pub fn validate(&self) -> Result<(), TrainError> {
        let unit = |x: f64| (0.0..1.0).contains(&x);
        let positive = |x: f64| x.is_finite() && x > 0.0;
        let at_least_zero = |x: f64| x.is_finite() && x >= 0.0;
        let numbers = [
            (
                "train.learning_rate",
                self.learning_rate,
                positive(self.learning_rate),
                "a positive number",
            ),
            (
                "train.warmup_ratio",
                self.warmup_ratio,
                unit(self.warmup_ratio),
                "a number in [0, 1)",
            ),
            (
                "train.epochs",
                self.epochs,
                positive(self.epochs),
                "a positive number",
            ),
            (
                "train.alpha",
                self.alpha,
                positive(self.alpha),
                "a positive number",
            ),
            (
                "train.dropout",
                self.dropout,
                unit(self.dropout),
                "a number in [0, 1)",
            ),
            (
                "train.loraplus_ratio",
                self.loraplus_ratio,
                positive(self.loraplus_ratio),
                "a positive number",
            ),
            (
                "train.weight_decay",
                self.weight_decay,
                at_least_zero(self.weight_decay),
                "0 or more",
            ),
            (
                "train.beta1",
                self.beta1,
                unit(self.beta1),
                "a number in [0, 1)",
            ),
            (
                "train.beta2",
                self.beta2,
                unit(self.beta2),
                "a number in [0, 1)",
            ),
            (
                "train.eps",
                self.eps,
                positive(self.eps),
                "a positive number",
            ),
            (
                "train.max_gradient_norm",
                self.max_gradient_norm,
                at_least_zero(self.max_gradient_norm),
                "0 or more",
            ),
            (
                "train.decision_weight",
                self.decision_weight,
                positive(self.decision_weight),
                "a positive number",
            ),
        ];
        for (name, value, fits, expected) in numbers {
            if !fits {
                return Err(TrainError::Setting {
                    name,
                    value: value.to_string(),
                    expected,
                });
            }
        }
        let counts = [
            ("train.batch_size", self.batch_size),
            ("train.micro_batch_tokens", self.micro_batch_tokens),
            ("train.rank", self.rank),
            ("train.max_tokens", self.max_tokens),
        ];
        for (name, value) in counts {
            if value == 0 {
                return Err(TrainError::Setting {
                    name,
                    value: "0".into(),
                    expected: "at least 1",
                });
            }
        }
        if self.validate_every == 0 {
            self.refuse_without_validation("train.validate_every is 0")?;
        }
        self.lora().map(drop)
    }

    /// Returns how many examples a run over `available` examples sees.
    pub fn examples_seen(&self, available: usize) -> usize {
        let by_epochs = (self.epochs * available as f64).ceil() as usize;
        if self.max_examples == 0 {
            by_epochs
        } else {
            by_epochs.min(self.max_examples)
        }
    }

    /// Checks that nothing hangs on validations, of which there are none.
    ///
    /// # Errors
    /// Naming the setting that does.
    pub(crate) fn refuse_without_validation(&self, why: &'static str) -> Result<(), TrainError> {
        let (name, value) = if self.early_stopping > 0 {
            ("train.early_stopping", self.early_stopping.to_string())
        } else if self.keep == Keep::Best {
            ("train.keep", "`best`".to_owned())
        } else {
            return Ok(());
        };
        Err(TrainError::NeedsValidation { name, value, why })
    }
}

fn projection(name: &str) -> Result<Projection, TrainError> {
    Projection::from_name(name).ok_or_else(|| TrainError::Setting {
        name: "train.targets",
        value: format!("`{name}`"),
        expected: "q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj or down_proj, or `all` alone",
    })
}
