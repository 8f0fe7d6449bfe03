#![forbid(unsafe_code)]
//! Training of a low-rank adapter, supervised ([`sft`](mod@sft)) and by preference
//! ([`dpo`](mod@dpo)): batches, AdamW, schedule, checkpoints, run log.
//!
//! It deliberately computes no gradients (that is `model`'s) and prints nothing: progress goes to
//! a callback, records to files in the run directory.

pub mod adamw;
pub mod adamw_8bit;
pub mod checkpoint;
pub mod dpo;
mod error;
pub mod estimate;
mod fingerprint;
mod log;
mod micro_batch;
pub mod optimizer;
mod order;
mod packing;
mod reference;
mod run;
pub mod schedule;
pub mod settings;
pub mod sft;
pub mod tensorboard;
pub mod validation;

pub use dpo::{DpoEvent, DpoRecord, DpoSettings, DpoSummary, Pair, Reference, dpo};
pub use error::TrainError;
pub use log::METRICS_NAME;
pub use optimizer::Optimizer;
pub use order::order;
pub use reference::REFERENCE_NAME;
pub use run::RunFiles;
pub use schedule::Schedule;
pub use settings::{Keep, SftSettings, TooLong};
pub use sft::{Event, StepRecord, Summary, sft};
pub use validation::{Validation, ValidationRecord};
