#![forbid(unsafe_code)]
//! Supervised fine-tuning of a low-rank adapter: batches, AdamW, schedule, checkpoints, run log.
//!
//! It deliberately computes no gradients (that is `model`'s) and prints nothing: progress goes to
//! a callback, records to files in the run directory.

pub mod adamw;
pub mod checkpoint;
mod error;
mod micro_batch;
pub mod schedule;
pub mod settings;
pub mod sft;
pub mod validation;

pub use error::TrainError;
pub use settings::SftSettings;
pub use sft::{Event, StepRecord, Summary, sft};
pub use validation::{Validation, ValidationRecord};
