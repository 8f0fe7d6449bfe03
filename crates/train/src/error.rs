//! Errors of training.

use model::ModelError;
use std::path::PathBuf;

/// What can stop a training run.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// The decoder refused the work.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// A setting is out of range.
    #[error("setting `{name}` is {value}, expected {expected}")]
    Setting {
        /// Name of the setting.
        name: &'static str,
        /// Its value.
        value: String,
        /// What it should be.
        expected: &'static str,
    },
    /// There is nothing to train on.
    #[error("there is no training example")]
    NoExamples,
    /// A setting needs validations, and there are none.
    #[error("setting `{name}` is {value}, but {why}: there is no validation to go by")]
    NeedsValidation {
        /// Name of the setting.
        name: &'static str,
        /// Its value.
        value: String,
        /// Why there is none.
        why: &'static str,
    },
    /// A loss or gradient is not finite.
    #[error("the {what} is not finite at step {step}, in {}", place(examples, *batch))]
    NotFinite {
        /// Loss or gradient.
        what: &'static str,
        /// The step, counted from 1.
        step: usize,
        /// Ids of the examples that give no finite loss and gradient each by itself.
        examples: Vec<String>,
        /// Examples in the batch.
        batch: usize,
    },
    /// A file of the run directory could not be read or written.
    #[error("cannot {action} `{path}`")]
    File {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why it failed.
        source: std::io::Error,
    },
    /// A checkpoint was written by a run of other settings, examples or base model.
    #[error("checkpoint `{path}` belongs to a run with other settings, examples or base model")]
    OtherRun {
        /// The file.
        path: PathBuf,
    },
    /// A checkpoint is damaged.
    #[error("checkpoint `{path}`: {reason}")]
    Checkpoint {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The caller asked to stop; a checkpoint of the last finished step was written if a run
    /// directory is in use.
    #[error("interrupted after step {step}")]
    Interrupted {
        /// The last finished step.
        step: usize,
    },
}

impl TrainError {
    /// Returns what the user can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Model(error) => error.hint(),
            Self::NotFinite {
                examples, batch, ..
            } if !examples.is_empty() && examples.len() < *batch => Some(
                "look at that example; if nothing is wrong with it, lower `train.learning_rate`"
                    .into(),
            ),
            Self::NotFinite { .. } => Some("lower `train.learning_rate`".into()),
            Self::NeedsValidation { .. } => Some(
                "set `train.validate_every` and `train.validation_examples` above 0, or \
                 `train.early_stopping=0` and `train.keep=last`"
                    .into(),
            ),
            Self::Checkpoint { .. } | Self::OtherRun { .. } => {
                Some("start without --resume to train from the beginning".into())
            }
            Self::Interrupted { .. } => Some("run the same command with --resume to go on".into()),
            Self::NoExamples => Some("build a dataset first: foretune dataset build".into()),
            _ => None,
        }
    }
}

/// Says where in a batch something went wrong.
fn place(examples: &[String], batch: usize) -> String {
    let ids = examples.join("`, `");
    match examples.len() {
        0 => format!("the sum over a batch of {batch} examples; each by itself is finite"),
        1 => format!("example `{ids}`"),
        n if n == batch => format!("every one of the {batch} examples of the batch: `{ids}`"),
        _ => format!("the examples `{ids}`"),
    }
}
