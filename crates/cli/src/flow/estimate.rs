//! From settings and a model's shape to the plan whose memory and arithmetic `train` estimates.

use model::{Keeping, ModelConfig};
use train::estimate::{Frozen, Memory, Plan, Precision, memory};
use train::validation::{EXAMPLES_PER_PASS, TOKENS_PER_PASS};
use train::{Keep, Optimizer};
use weights::BaseModel;

use crate::settings::Settings;

/// A tokenizer's memory for each entry of its vocabulary; see `docs/estimate.md`.
const TOKENIZER_BYTES_PER_ENTRY: u64 = 600;

/// How long examples are, as far as memory depends on it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lengths {
    /// Tokens of the longest example (a pair counts as one).
    pub(crate) longest: usize,
    /// Rows of the largest forward pass.
    pub(crate) rows: usize,
    /// Supervised tokens of an example.
    pub(crate) supervised: usize,
    /// Bytes of the examples and whatever else is held beside the training.
    pub(crate) beside: u64,
}

impl Lengths {
    /// Passes as `train` cuts a batch: as many examples as fit the token budget, one at least.
    pub(crate) fn of(settings: &Settings, longest: usize, supervised: usize) -> Self {
        let train = &settings.train;
        let fitting = (train.micro_batch_tokens / longest.max(1)).clamp(1, train.batch_size.max(1));
        Self {
            longest,
            rows: fitting * longest,
            supervised,
            beside: 0,
        }
    }
}

/// What of the engine's behaviour is a choice.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Choices {
    /// How the frozen matrices are held.
    pub(crate) precision: Precision,
    /// Whether activations are computed again.
    pub(crate) recompute: bool,
    /// The optimiser.
    pub(crate) optimizer: Optimizer,
}

impl Choices {
    /// Reads the choices from the settings.
    pub(crate) fn of(settings: &Settings) -> Self {
        Self {
            precision: match settings.model.keep {
                Keeping::F32 => Precision::F32,
                Keeping::Stored => Precision::Stored,
                Keeping::Nf4 => Precision::Nf4,
            },
            recompute: settings.model.recompute,
            optimizer: settings.train.optimizer,
        }
    }

    /// Returns how a decoder keeps its matrices to be the like of this.
    pub(crate) fn keeping(self) -> Keeping {
        match self.precision {
            Precision::Nf4 => Keeping::Nf4,
            Precision::Stored | Precision::Bf16 => Keeping::Stored,
            Precision::F32 | Precision::Q8_0 | Precision::Q4K => Keeping::F32,
        }
    }
}

/// Reads the name of a precision.
///
/// # Errors
/// With the names there are.
pub(crate) fn precision(name: &str) -> Result<Precision, String> {
    let found = Precision::ALL.into_iter().find(|p| p.as_str() == name);
    found.ok_or_else(|| {
        let names = Precision::ALL.map(Precision::as_str).join(", ");
        format!("expected one of {names}")
    })
}

/// Reads the name of an optimiser.
///
/// # Errors
/// With the names there are.
pub(crate) fn optimizer(name: &str) -> Result<Optimizer, String> {
    match name {
        "adamw" => Ok(Optimizer::AdamW),
        "adamw_8bit" => Ok(Optimizer::AdamW8bit),
        _ => Err("expected adamw or adamw_8bit".to_owned()),
    }
}

/// Returns the plan of a training.
///
/// # Errors
/// When a target is not the name of a projection.
pub(crate) fn plan(
    settings: &Settings,
    config: &ModelConfig,
    choices: Choices,
    lengths: Lengths,
    files: Option<&BaseModel>,
) -> anyhow::Result<Plan> {
    let train = &settings.train;
    let per_pass = lengths.rows.div_ceil(lengths.longest.max(1));
    let validated = if train.validate_every == 0 {
        0
    } else {
        let fitting = TOKENS_PER_PASS / lengths.longest.max(1);
        train
            .validation_examples
            .min(fitting.clamp(1, EXAMPLES_PER_PASS))
    };
    Ok(Plan {
        lora: train.lora()?,
        rows: lengths.rows,
        longest: lengths.longest,
        supervised: per_pass * lengths.supervised,
        uneven: true,
        recompute: choices.recompute,
        bf16: settings.model.precision.resolve() != model::Precision::F32,
        optimizer: choices.optimizer,
        adapters: if train.keep == Keep::Best { 3 } else { 2 },
        threads: std::thread::available_parallelism().map_or(1, usize::from),
        validation: (validated * lengths.longest, validated * lengths.supervised),
        file: match choices.precision {
            Precision::Stored => 0,
            _ => files.map_or(0, stored_bytes),
        },
        beside: lengths.beside + config.vocab_size as u64 * TOKENIZER_BYTES_PER_ENTRY,
    })
}

/// Returns the memory of a plan; nothing if sizes as stored are asked for without a file.
pub(crate) fn memory_of(
    config: &ModelConfig,
    precision: Precision,
    plan: &Plan,
    files: Option<&BaseModel>,
) -> Option<Memory> {
    let stored = |name: &str| files?.raw(name).map(|tensor| tensor.bytes.len() as u64);
    Frozen::new(config, precision, &stored).map(|frozen| memory(config, frozen, plan))
}

/// Returns what would make a training smaller, in words, as far as it is not chosen already and
/// this version can do it.
pub(crate) fn knobs(choices: Choices, found: &Memory, plan: &Plan) -> String {
    let mut knobs = Vec::new();
    if found.validation >= found.step.max(found.checkpoint) {
        knobs.push(
            "the validation is the largest moment: `train.validation_examples` below 8, or 0"
                .to_owned(),
        );
    }
    if plan.rows > plan.longest {
        let fewer = (plan.rows / 2).max(plan.longest);
        knobs.push(format!(
            "smaller passes: `train.micro_batch_tokens` = {fewer}"
        ));
    }
    knobs.push("shorter examples: `train.max_tokens`".to_owned());
    if !choices.recompute {
        knobs.push("activations computed again: `model.recompute` = true".to_owned());
    }
    if choices.precision == Precision::F32 {
        knobs.push("quantised weights: `model.keep` = \"stored\" or \"nf4\"".to_owned());
    }
    knobs.push("a smaller model".to_owned());
    knobs.join("; ")
}

/// Returns the bytes of a model's tensors in their files.
fn stored_bytes(files: &BaseModel) -> u64 {
    let names = files.tensor_names();
    names
        .filter_map(|name| files.raw(name))
        .map(|tensor| tensor.bytes.len() as u64)
        .sum()
}

/// Writes bytes in the decimal unit that suits them.
pub(crate) fn amount(bytes: u64) -> String {
    let value = bytes as f64;
    match value {
        _ if value >= 1e10 => format!("{:.1} GB", value / 1e9),
        _ if value >= 1e9 => format!("{:.2} GB", value / 1e9),
        _ if value >= 1e8 => format!("{:.0} MB", value / 1e6),
        _ if value >= 1e6 => format!("{:.1} MB", value / 1e6),
        _ => format!("{:.1} kB", value / 1e3),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_have_the_digits_that_count() {
        let cases = [
            (12_345_678_901, "12.3 GB"),
            (1_340_000_000, "1.34 GB"),
            (497_000_000, "497 MB"),
            (2_100_000, "2.1 MB"),
            (1_500, "1.5 kB"),
        ];
        for (bytes, text) in cases {
            assert_eq!(amount(bytes), text);
        }
    }

    #[test]
    fn passes_hold_whole_examples_within_the_budget() {
        let mut settings = Settings::default();
        settings.train.micro_batch_tokens = 768;
        settings.train.batch_size = 4;
        let rows = |longest: usize| Lengths::of(&settings, longest, 10).rows;
        assert_eq!(rows(240), 720);
        assert_eq!(rows(100), 400, "a batch is no larger than it is");
        assert_eq!(rows(2048), 2048, "one example at least");
    }

    #[test]
    fn names_are_read_and_listed() {
        for known in Precision::ALL {
            assert_eq!(precision(known.as_str()), Ok(known));
        }
        assert!(precision("int3").is_err_and(|e| e.contains("nf4") && e.contains("stored")));
        assert_eq!(optimizer("adamw_8bit"), Ok(Optimizer::AdamW8bit));
        assert!(optimizer("sgd").is_err());
    }
}
