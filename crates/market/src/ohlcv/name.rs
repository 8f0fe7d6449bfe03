//! Which instrument and timeframe a file's name says.
//!
//! A name is `<pair>`, then a timeframe behind `_` or `-` if there is one, then `.parquet` or
//! `.csv`. A pair is written as freqtrade writes it, with `_` for `/` and `:` (`BTC_USDT_USDT`), or
//! in one word that ends in a known quote currency (`EURUSD`, `BTCUSDT`); any other word is an
//! instrument without a quote currency (`GOOGL`). A timeframe is `15m` or MetaTrader's `M15`.

use std::path::{Path, PathBuf};

use crate::{Instrument, MarketError, Timeframe};

/// Endings by which a one-word pair is split, the longest first.
const QUOTES: [&str; 32] = [
    "FDUSD", "USDT", "USDC", "BUSD", "TUSD", "USD", "EUR", "GBP", "JPY", "CHF", "AUD", "NZD",
    "CAD", "SEK", "NOK", "DKK", "PLN", "HUF", "CZK", "TRY", "ZAR", "MXN", "SGD", "HKD", "CNH",
    "CNY", "THB", "ILS", "INR", "KRW", "BRL", "BTC",
];

/// The endings of files of bars.
const EXTENSIONS: [&str; 4] = ["parquet", "pq", "csv", "txt"];

/// A file whose name says what it holds. Its content has not been looked at.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct BarsFile {
    /// Where it is.
    pub path: PathBuf,
    /// What is traded.
    pub instrument: Instrument,
    /// The span of a row, where the file's name or its folder's says it.
    pub timeframe: Option<Timeframe>,
}

/// Reads instrument and timeframe from a path. The folder's name counts where the file's name has
/// no timeframe: `m15/EURUSD.parquet`.
///
/// # Errors
/// [`MarketError::BarsFileName`] where the name does not follow the pattern.
pub fn parse_file_name(path: &Path) -> Result<BarsFile, MarketError> {
    let refuse = |reason: String| MarketError::BarsFileName {
        path: path.to_owned(),
        reason,
    };
    let stem = path.file_stem().and_then(|stem| stem.to_str());
    let stem = stem.ok_or_else(|| refuse("its name is not valid text".to_owned()))?;
    if !has_known_extension(path) {
        return Err(refuse(
            "it ends in neither `.parquet` nor `.csv`".to_owned(),
        ));
    }
    let (pair, timeframe) = match stem.rfind(['_', '-']) {
        Some(at) => match timeframe(&stem[at + 1..]) {
            Some(timeframe) => (&stem[..at], Some(timeframe)),
            None => (stem, None),
        },
        None => (stem, None),
    };
    let folder = path.parent().and_then(Path::file_name);
    let folder = folder.and_then(|folder| folder.to_str());
    Ok(BarsFile {
        path: path.to_owned(),
        instrument: instrument(pair).map_err(|error| refuse(error.to_string()))?,
        timeframe: timeframe.or_else(|| self::timeframe(folder?)),
    })
}

/// Lists the files of bars of a directory, sorted by path: those whose names follow the pattern.
///
/// # Errors
/// [`MarketError::Io`] where the directory cannot be read, [`MarketError::NoBarsFiles`] where it has
/// no such file.
pub fn discover(directory: &Path) -> Result<Vec<BarsFile>, MarketError> {
    let fail = |source| MarketError::Io {
        path: directory.to_owned(),
        action: "list",
        source,
    };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(fail)? {
        let path = entry.map_err(fail)?.path();
        if path.is_file() {
            files.extend(parse_file_name(&path).ok());
        }
    }
    if files.is_empty() {
        return Err(MarketError::NoBarsFiles {
            path: directory.to_owned(),
        });
    }
    files.sort();
    Ok(files)
}

/// Reports whether a path ends as a file of bars does.
pub(crate) fn has_known_extension(path: &Path) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str());
    extension.is_some_and(|extension| {
        let extension = extension.to_ascii_lowercase();
        EXTENSIONS.contains(&extension.as_str())
    })
}

/// Reports whether a path ends as a Parquet file does.
pub(crate) fn is_parquet(path: &Path) -> bool {
    path.extension()
        .is_some_and(|extension| extension == "parquet" || extension == "pq")
}

/// Reads a pair as it stands in a file's or folder's name: `EURUSD`, `EUR_USD`, `BTC_USDT_USDT`.
///
/// # Errors
/// [`MarketError::Instrument`] where it is not one.
pub fn instrument(pair: &str) -> Result<Instrument, MarketError> {
    if pair.contains('_') {
        return Instrument::new(&pair.replacen('_', "/", 1).replacen('_', ":", 1));
    }
    let upper = pair.to_ascii_uppercase();
    let split = QUOTES.iter().find_map(|quote| {
        let base = upper.strip_suffix(quote)?;
        let plain = base.len() >= 2 && base.chars().all(|c| c.is_ascii_alphanumeric());
        plain.then(|| format!("{base}/{quote}"))
    });
    Instrument::new(&split.unwrap_or_else(|| pair.to_owned()))
}

/// Reads `15m`, or MetaTrader's `M15`, `H4`, `D1`, `W1`, `MN1` in either case.
fn timeframe(text: &str) -> Option<Timeframe> {
    if let Ok(timeframe) = text.parse() {
        return Some(timeframe);
    }
    let upper = text.to_ascii_uppercase();
    let at = upper.find(|c: char| c.is_ascii_digit())?;
    let (letters, digits) = upper.split_at(at);
    let unit = match letters {
        "M" => "m",
        "H" => "h",
        "D" => "d",
        "W" => "w",
        "MN" => "M",
        _ => return None,
    };
    format!("{digits}{unit}").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(path: &str, pair: &str, timeframe: Option<&str>) {
        let file = parse_file_name(Path::new(path)).unwrap();
        assert_eq!(file.instrument.as_str(), pair, "{path}");
        let found = file.timeframe.map(|timeframe| timeframe.to_string());
        assert_eq!(found.as_deref(), timeframe, "{path}");
    }

    #[test]
    fn names_say_pair_and_timeframe() {
        check("EURUSD_M15.parquet", "EUR/USD", Some("15m"));
        check("EUR_USD-15m.parquet", "EUR/USD", Some("15m"));
        check("EUR_USD_15m.csv", "EUR/USD", Some("15m"));
        check("data/m15/EURCAD.parquet", "EUR/CAD", Some("15m"));
        check("data/EURCAD.parquet", "EUR/CAD", None);
        check("m15/EURCAD_H4.csv", "EUR/CAD", Some("4h"));
        check("eurusd_mn1.CSV", "EUR/USD", Some("1M"));
        check("BTCUSDT-1h.parquet", "BTC/USDT", Some("1h"));
        check("BTC_USDT_USDT-1h.parquet", "BTC/USDT:USDT", Some("1h"));
        check("XAUUSD_D1.pq", "XAU/USD", Some("1d"));
        check("GOOGL-1d.parquet", "GOOGL", Some("1d"));
        check("USDT.parquet", "USDT", None);
    }

    #[test]
    fn other_names_are_refused() {
        for name in [
            "EURUSD.feather",
            "EURUSD",
            ".parquet",
            "_M15.parquet",
            "a b.csv",
        ] {
            let error = parse_file_name(Path::new(name)).unwrap_err();
            assert!(
                matches!(error, MarketError::BarsFileName { .. }),
                "{name}: {error}"
            );
            assert!(error.hint().is_some());
        }
    }
}
