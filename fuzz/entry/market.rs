//! Offers bytes to the readers of `market`.

mod scratch;

use market::table::WideReader;
use market::{freqtrade, ohlcv, sentiment, ticks};
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

/// A Parquet file, as bars, as ticks and as a wide table.
pub(crate) fn parquet(bytes: &[u8]) {
    with_files(&[("EURUSD_M15.parquet", bytes)], |path| {
        let path = path.join("EURUSD_M15.parquet");
        if let Err(error) = ohlcv::read(&path) {
            let _ = (error.to_string(), error.hint());
        }
        let second = "1s".parse();
        if let (Ok(file), Ok(second)) = (ticks::read(&path), second) {
            let _ = match &file {
                ticks::TickFile::Quotes(quotes, _) => ticks::aggregate(None, Some(quotes), second),
                ticks::TickFile::Trades(trades, _) => ticks::aggregate(Some(trades), None, second),
            };
        }
        let Ok(reader) = WideReader::open(&path) else {
            return;
        };
        let _ = (reader.period(), reader.select(&["*", "!a*"]));
        for group in 0..reader.groups() {
            for column in 0..reader.columns().len() {
                let _ = (reader.floats(group, column), reader.numbers(group, column));
            }
        }
    });
}

/// Bars as CSV.
pub(crate) fn bars_csv(bytes: &[u8]) {
    with_files(
        &[("EURUSD_M15.csv", bytes)],
        |path| match ohlcv::read_contents(&path.join("EURUSD_M15.csv")) {
            Ok(contents) => assert!(!contents.bars.is_empty()),
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
