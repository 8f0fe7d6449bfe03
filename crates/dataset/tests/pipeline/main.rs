//! The room as a whole: one binary, so that it links once.
#![expect(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

mod audit;
mod barriers;
mod build;
mod common;
mod leaks;
mod real;
mod store;
mod worlds;
