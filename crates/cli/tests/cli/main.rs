//! The binary as seen from outside, in one test program.

#![expect(
    clippy::unwrap_used,
    reason = "a helper of a test fails the test by panicking"
)]

mod answers;
mod audit;
mod bad_input;
mod bridge;
mod dataset_page;
mod estimate;
mod evaluate_log;
mod export;
mod flow;
mod freqtrade;
mod import;
mod interop;
mod keeping;
mod killed;
mod pack;
mod readme;
mod report;
mod service;
mod shadow;
mod support;
mod usage;
