//! Synthetic bars for the integration tests.

use std::ops::ControlFlow;

use dataset::{Dataset, DatasetError, DatasetSettings, Progress, build};
use market::{Bars, Instrument, Timeframe};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

pub(crate) const HOUR: i64 = 3_600_000;
/// 2019-01-01T00:00:00Z.
pub(crate) const START: i64 = 1_546_300_800_000;

/// Hourly bars of a lively random walk, without the hours in `missing`.
pub(crate) fn walk(name: &str, seed: u64, hours: usize, missing: &[usize]) -> Bars {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut bars = Bars::empty(Instrument::new(name).unwrap(), Timeframe::HOUR);
    let mut close = 5_000.0;
    for hour in 0..hours {
        let open = close;
        close *= 1.0 + 0.016 * (rng.random::<f64>() - 0.5) * 2.0;
        let wick = 1.0 + 0.003 * rng.random::<f64>();
        if missing.contains(&hour) {
            continue;
        }
        bars.open_time.push(START + hour as i64 * HOUR);
        bars.open.push(open);
        bars.high.push(open.max(close) * wick);
        bars.low.push(open.min(close) / wick);
        bars.close.push(close);
        bars.volume.push(1.0 + rng.random::<f64>());
    }
    bars
}

/// Builds without a word about progress.
pub(crate) fn quiet(settings: &DatasetSettings, bars: &[Bars]) -> Result<Dataset, DatasetError> {
    build(settings, bars, None, &mut |_: Progress| {
        ControlFlow::Continue(())
    })
}
