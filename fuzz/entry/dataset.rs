//! Offers bytes to the readers of `dataset`.

mod scratch;

use std::ops::ControlFlow;
use std::path::PathBuf;

use dataset::{Dataset, read_pairs, world};
use scratch::with_files;

thread_local! {
    /// A whole data set; one file of it is replaced at a time.
    static SET: (tempfile::TempDir, PathBuf) = {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("set");
        let made = world::null(1, 40).unwrap();
        let mut go_on = |_| ControlFlow::Continue(());
        let dataset = dataset::build(&made.settings, &made.bars, None, &mut go_on).unwrap();
        dataset.write(&path).unwrap();
        (directory, path)
    };
}

fn replaced(name: &str, bytes: &[u8]) {
    SET.with(|(_, path)| {
        let file = path.join(name);
        let sound = std::fs::read(&file).unwrap();
        std::fs::write(&file, bytes).unwrap();
        if let Err(error) = Dataset::read(path) {
            let _ = (error.to_string(), error.hint());
        }
        std::fs::write(&file, sound).unwrap();
    });
}

/// The training examples.
pub(crate) fn examples(bytes: &[u8]) {
    replaced("examples.jsonl", bytes);
}

/// The manifest.
pub(crate) fn manifest(bytes: &[u8]) {
    replaced("manifest.json", bytes);
}

/// A preference-pair file.
pub(crate) fn preference_pairs(bytes: &[u8]) {
    with_files(&[("pairs.jsonl", bytes)], |path| {
        if let Ok(pairs) = read_pairs(&path.join("pairs.jsonl")) {
            for pair in pairs {
                assert!(pair.chosen != pair.rejected && !pair.prompt.is_empty());
            }
        }
    });
}
