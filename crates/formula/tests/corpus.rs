//! The seeds of the fuzz targets for formulas (`fuzz/corpus`), whole and damaged, on stable Rust:
//! none may panic.
#![expect(
    clippy::unwrap_used,
    reason = "in a test a failed step is a failed test"
)]

#[path = "../../../fuzz/entry/formula.rs"]
mod entry;

#[path = "../../../fuzz/entry/replay.rs"]
mod seeds;

use seeds::replay;

#[test]
fn formula() {
    replay("formula", entry::formula);
}

#[test]
fn formula_catalogue() {
    replay("formula_catalogue", entry::catalogue);
}
