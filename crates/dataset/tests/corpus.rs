//! The seeds of the fuzz targets for data sets and preference pairs (`fuzz/corpus`), whole and damaged, on stable Rust:
//! none may panic.
#![expect(
    clippy::unwrap_used,
    reason = "in a test a failed step is a failed test"
)]

use std::path::Path;

#[path = "../../../fuzz/entry/dataset.rs"]
mod entry;

/// Places in a seed that are spoilt.
const PLACES: usize = 24;

fn replay(target: &str, offer: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus");
    let mut seeds = 0;
    for seed in std::fs::read_dir(folder.join(target)).unwrap() {
        let bytes = std::fs::read(seed.unwrap().path()).unwrap();
        offer(&bytes);
        for place in 0..PLACES {
            let at = place * bytes.len() / PLACES;
            offer(&bytes[..at]);
            let mut spoilt = bytes.clone();
            if let Some(byte) = spoilt.get_mut(at) {
                *byte ^= 1 << (place % 8);
            }
            offer(&spoilt);
        }
        seeds += 1;
    }
    assert!(seeds > 0);
}

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
