//! Offers the seeds of a fuzz target, whole and damaged, to its entry; for the tests of each crate.

use std::path::Path;

/// Places in a seed that are spoilt.
const PLACES: usize = 24;

/// Offers every seed in `fuzz/corpus/<target>`.
pub(crate) fn replay(target: &str, offer: fn(&[u8])) {
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
