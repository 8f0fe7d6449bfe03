//! Offers bytes to the readers of `dataset`.

mod scratch;

use std::ops::ControlFlow;
use std::path::PathBuf;

use dataset::archive::{self, Limits};
use dataset::ensemble::EnsembleModel;
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

/// A model of the ensemble: a whole file, or the model in it without its digest, so that lists that
/// do not hold together are reached.
pub(crate) fn ensemble_model(bytes: &[u8]) {
    let file = EnsembleModel::parse(bytes).ok();
    let bare = serde_json::from_slice::<serde_json::Value>(bytes);
    let bare = bare.ok().and_then(|mut file| {
        let model = file.get_mut("model").map(serde_json::Value::take);
        serde_json::from_value::<EnsembleModel>(model.unwrap_or(file)).ok()
    });
    for model in file.into_iter().chain(bare) {
        for value in [f32::NAN, f32::INFINITY, -1.0, 0.0, 0.5, f32::MAX] {
            let row = vec![value; model.features.len()];
            if let Ok(prediction) = model.predict(i64::MAX, &row) {
                assert!((0.0..=1.0).contains(&prediction.probability));
            }
        }
    }
}

/// The tar of a bundle, then the same bytes as the compressed file.
pub(crate) fn archive(bytes: &[u8]) {
    let compressed = zstd::encode_all(bytes, 1).unwrap();
    let limits = Limits {
        bytes: 1 << 20,
        members: 100,
    };
    for file in [&compressed[..], bytes] {
        with_files(&[("a.tar.zst", file)], |path| {
            let mut go_on = |_, _| ControlFlow::Continue(());
            let read = archive::verify(&path.join("a.tar.zst"), limits, &mut go_on);
            let out = path.join("out");
            let unpacked = archive::unpack(&path.join("a.tar.zst"), &out, limits, &mut go_on);
            assert_eq!(read.is_ok(), unpacked.is_ok());
            assert_eq!(out.exists(), unpacked.is_ok());
            if let Err(error) = read {
                let _ = (error.to_string(), error.hint());
            } else {
                std::fs::remove_dir_all(&out).unwrap();
            }
        });
    }
}
