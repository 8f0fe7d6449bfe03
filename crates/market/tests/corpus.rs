//! The seeds of the fuzz targets for candles and sentiment (`fuzz/corpus`), whole and damaged, on stable Rust:
//! none may panic.
#![expect(
    clippy::unwrap_used,
    reason = "in a test a failed step is a failed test"
)]

use std::path::Path;

#[path = "../../../fuzz/entry/market.rs"]
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
fn feather() {
    replay("feather", entry::feather);
}

#[test]
fn sentiment_csv() {
    replay("sentiment_csv", entry::sentiment_csv);
}

#[test]
fn sentiment_json() {
    replay("sentiment_json", entry::sentiment_json);
}
