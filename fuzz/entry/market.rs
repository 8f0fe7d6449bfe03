//! Offers bytes to the readers of `market`.

mod scratch;

use market::{freqtrade, sentiment};
use scratch::with_files;

/// A candle file of freqtrade.
pub(crate) fn feather(bytes: &[u8]) {
    with_files(
        &[("BTC_USDT-1h.feather", bytes)],
        |path| match freqtrade::read_with_warnings(&path.join("BTC_USDT-1h.feather")) {
            Ok((bars, _)) => {
                let _ = (bars.gaps(), bars.validate());
            }
            Err(error) => {
                let _ = (error.to_string(), error.hint());
            }
        },
    );
}

fn readings(name: &str, bytes: &[u8]) {
    with_files(&[(name, bytes)], |path| {
        if let Ok(index) = sentiment::read(&path.join(name)) {
            assert!(!index.is_empty());
            let _ = (index.period(), index.missing_days());
            let _ = index.as_of(1_600_000_000_000, 3_600_000);
        }
    });
}

/// Fear & Greed as CSV.
pub(crate) fn sentiment_csv(bytes: &[u8]) {
    readings("fear.csv", bytes);
}

/// Fear & Greed as the service's JSON answer.
pub(crate) fn sentiment_json(bytes: &[u8]) {
    readings("fear.json", bytes);
}
