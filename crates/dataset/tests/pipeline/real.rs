//! Real candles, where they are at hand: gaps, several instruments, the published index.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use dataset::{DatasetSettings, Decision, Split, build};
use market::{freqtrade, sentiment};

/// The directory of shared data, if there is one.
fn shared() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
    let named = std::env::var_os("FORETUNE_SHARED_DATA").map(PathBuf::from);
    named.or(Some(beside)).filter(|path| path.is_dir())
}

#[test]
#[expect(clippy::print_stderr, reason = "a skipped test says so")]
fn two_real_markets_make_a_sound_data_set() {
    let Some(data) = shared() else {
        eprintln!("skipped: no shared data, set FORETUNE_SHARED_DATA to its directory");
        return;
    };
    let read = |name: &str| freqtrade::read(&data.join("crypto").join(name)).unwrap();
    let bars = [read("BTC_USDT-1h.feather"), read("ETH_USDT-1h.feather")];
    let index = sentiment::read(&data.join("sentiment/fear_and_greed.csv")).unwrap();
    let settings = DatasetSettings {
        decision_stride_bars: 12,
        per_class: 300,
        ..DatasetSettings::default()
    };
    let around = market::Surroundings {
        fear_greed: Some(index.clone()),
        ..market::Surroundings::default()
    };
    let dataset = build(&settings, &bars, Some(&around), &mut |_| {
        ControlFlow::Continue(())
    })
    .unwrap();
    let sheet = &dataset.datasheet;
    assert_eq!(sheet.counts.train, 900);
    assert_eq!(sheet.instruments.len(), 2);
    for split in Split::ALL {
        let part = &sheet.splits[&split];
        assert_eq!(part.by_instrument.len(), 2);
        assert!(part.fear_greed_known * 10 > part.n * 9, "{split}: {part:?}");
        // Decisions a horizon apart do not overlap.
        assert!(part.effective_n > 0.999 * part.n as f64);
    }
    // Nothing is balanced but the training part: half of all decisions and more are HOLD.
    let test = &sheet.splits[&Split::Test];
    assert!(2 * test.classes[&Decision::Hold] > test.n);
    for instrument in sheet.instruments.values() {
        assert!(instrument.gaps > 0 && instrument.unlabelled_gap > 0);
    }
}
