#![forbid(unsafe_code)]
//! Statistics as plain functions over slices: what may be claimed about a
//! classifier of overlapping market outcomes, and with which uncertainty.
//!
//! Classes are indices `0..classes`, times are integers on any one clock
//! (elsewhere in foretune: Unix milliseconds), probabilities are rows that sum
//! to one. Settings and data that can be wrong at run time give a
//! [`StatsError`]; slices whose lengths disagree are a bug of the caller and
//! panic, as indexing does.
//!
//! This crate deliberately does no input or output, reads no clock and holds
//! no global random generator: seeds are arguments.

pub mod beta;
pub mod betting;
pub mod bootstrap;
pub mod calibration;
pub mod comparison;
pub mod conformal;
pub mod cross_validation;
pub mod drift;
pub mod e_value;
mod error;
pub mod isotonic;
pub mod kelly;
pub mod ledger;
pub mod logistic;
pub mod mcnemar;
pub mod metrics;
pub mod normal;
mod optimise;
pub mod overfitting;
pub mod plan_rule;
pub mod reliability;
pub mod sharpe;
pub mod split;
pub mod stationary;
mod summary;
pub mod superior;
pub mod uniqueness;
pub mod world;

pub use error::StatsError;
pub use summary::{Estimate, Interval, argmax, quantile_sorted, softmax};
