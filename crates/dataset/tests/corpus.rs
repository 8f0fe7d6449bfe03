//! The seeds of the fuzz targets for data sets, bundles, preference pairs and ensembles (`fuzz/corpus`), whole and damaged, on stable Rust:
//! none may panic.
#![expect(
    clippy::unwrap_used,
    reason = "in a test a failed step is a failed test"
)]

#[path = "../../../fuzz/entry/dataset.rs"]
mod entry;

#[path = "../../../fuzz/entry/replay.rs"]
mod seeds;

use seeds::replay;

#[test]
fn preference_pairs() {
    replay("preference_pairs", entry::preference_pairs);
}

#[test]
fn dataset_examples() {
    replay("dataset_examples", entry::examples);
}

#[test]
fn dataset_manifest() {
    replay("dataset_manifest", entry::manifest);
}

#[test]
fn ensemble_model() {
    replay("ensemble_model", entry::ensemble_model);
}

#[test]
fn archive() {
    replay("archive", entry::archive);
}
