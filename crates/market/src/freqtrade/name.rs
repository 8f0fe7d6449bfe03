//! File names that say instrument, timeframe and kind, and the files of a directory.
//!
//! A name is `<pair>-<timeframe>[-<kind>].feather`, the pair with `_` for `/ : . @ $ +` and space.
//! That is not reversible: the first `_` is read as `/` and the second as `:`, which is right for
//! every `base/quote` and `base/quote:settle` pair. Kinds other than spot live in `futures/`.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{Instrument, MarketError, Timeframe, ohlcv};

/// How many levels down candles are looked for, to suggest their directory.
const NESTED_DEPTH: usize = 2;
/// How many directories of a level are looked at for that, and how many are named.
const NESTED_LISTED: usize = 200;
const NESTED_NAMED: usize = 3;

/// What the rows of a candle file are.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CandleKind {
    /// Traded prices on the spot market.
    Spot,
    /// Traded prices of a futures contract.
    Futures,
    /// The exchange's mark price, without volume.
    Mark,
    /// Funding rates, in the column `open`.
    FundingRate,
    /// Another series under its name in the file, such as `index` or `premiumIndex`.
    Other(String),
}

impl CandleKind {
    /// Returns the kind's name in file names, `spot` where files have none.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Spot => "spot",
            Self::Futures => "futures",
            Self::Mark => "mark",
            Self::FundingRate => "funding_rate",
            Self::Other(name) => name,
        }
    }

    /// Reports whether the rows are traded prices, to be used as bars.
    pub fn is_candles(&self) -> bool {
        matches!(self, Self::Spot | Self::Futures)
    }

    fn from_name(name: &str) -> Self {
        match name {
            "spot" => Self::Spot,
            "futures" => Self::Futures,
            "mark" => Self::Mark,
            "funding_rate" => Self::FundingRate,
            other => Self::Other(other.to_owned()),
        }
    }
}

impl fmt::Display for CandleKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl Serialize for CandleKind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for CandleKind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self::from_name(&String::deserialize(deserializer)?))
    }
}

/// A file whose name says what it holds. Its content has not been looked at.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct DataFile {
    /// Where it is.
    pub path: PathBuf,
    /// What is traded.
    pub instrument: Instrument,
    /// The span of a row; for funding files only a name.
    pub timeframe: Timeframe,
    /// What the rows are.
    pub kind: CandleKind,
}

/// Returns the file name of a series, without the folder: `BTC_USDT_USDT-1h-futures.feather`.
pub fn file_name(instrument: &Instrument, timeframe: Timeframe, kind: &CandleKind) -> String {
    let pair = escape(instrument);
    // `1M` and `1m` are the same file where names ignore case.
    let timeframe = timeframe.to_string().replace('M', "Mo");
    match kind {
        CandleKind::Spot => format!("{pair}-{timeframe}.feather"),
        kind => format!("{pair}-{timeframe}-{kind}.feather"),
    }
}

/// Returns the path of a series in a data directory: below `futures/` unless it is spot.
pub fn path_in(
    directory: &Path,
    instrument: &Instrument,
    timeframe: Timeframe,
    kind: &CandleKind,
) -> PathBuf {
    let name = file_name(instrument, timeframe, kind);
    match kind {
        CandleKind::Spot => directory.join(name),
        _ => directory.join("futures").join(name),
    }
}

/// Reads instrument, timeframe and kind from a path's last component.
///
/// # Errors
/// [`MarketError::FileName`] where the name does not follow the pattern.
pub fn parse_file_name(path: &Path) -> Result<DataFile, MarketError> {
    let refuse = |reason: String| MarketError::FileName {
        path: path.to_owned(),
        reason,
    };
    let name = path.file_name().and_then(|name| name.to_str());
    let name = name.ok_or_else(|| refuse("its name is not valid text".to_owned()))?;
    let stem = name
        .strip_suffix(".feather")
        .ok_or_else(|| refuse("it does not end in `.feather`".to_owned()))?;

    // The timeframe is the last part that reads as one: pairs may hold `-` themselves.
    let parts: Vec<&str> = stem.split('-').collect();
    let position = match parts.as_slice() {
        [.., last] if last.parse::<Timeframe>().is_ok() => parts.len() - 1,
        [.., second, _] if second.parse::<Timeframe>().is_ok() => parts.len() - 2,
        _ => return Err(refuse("it has no timeframe after a `-`".to_owned())),
    };
    let timeframe = parts[position].parse()?;
    let kind = match parts.get(position + 1) {
        None => CandleKind::Spot,
        Some(kind) if is_kind(kind) => CandleKind::from_name(kind),
        Some(kind) => return Err(refuse(format!("`{kind}` is not a kind of candles"))),
    };
    let pair = parts[..position]
        .join("-")
        .replacen('_', "/", 1)
        .replacen('_', ":", 1);
    let instrument = Instrument::new(&pair).map_err(|error| refuse(error.to_string()))?;
    Ok(DataFile {
        path: path.to_owned(),
        instrument,
        timeframe,
        kind,
    })
}

fn is_kind(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphabetic() || c == '_')
}

/// The pair as it stands in a file name.
pub(super) fn escape(instrument: &Instrument) -> String {
    instrument
        .as_str()
        .replace(['/', ' ', '.', '@', '$', '+', ':'], "_")
}

/// Lists the candle files of a data directory and of its `futures/` folder, sorted by path.
///
/// Names that do not follow the pattern are passed over; [`crate::inspect::inspect`] lists them.
/// Kinds that are not candles (mark, funding rate) are listed under their kind.
///
/// # Errors
/// [`MarketError::Io`] where the directory cannot be read, [`MarketError::NoCandleFiles`] where it
/// has no file of that naming.
pub fn discover(directory: &Path) -> Result<Vec<DataFile>, MarketError> {
    let paths = feather_files(directory)?;
    let mut files: Vec<_> = paths
        .iter()
        .filter_map(|path| parse_file_name(path).ok())
        .collect();
    if files.is_empty() {
        return Err(no_candle_files(directory));
    }
    files.sort();
    Ok(files)
}

/// Returns the error of a directory without candles. It names the directories below that have
/// some: freqtrade keeps them in `user_data/data/<exchange>`, and `user_data/data` is easily given.
pub(crate) fn no_candle_files(directory: &Path) -> MarketError {
    let mut nested = Vec::new();
    with_candles_below(directory, NESTED_DEPTH, &mut nested);
    nested.truncate(NESTED_NAMED);
    MarketError::NoCandleFiles {
        path: directory.to_owned(),
        nested,
    }
}

/// Collects the directories with candle files at most `depth` levels down, in order. What cannot be
/// listed is passed over: this only serves a hint.
fn with_candles_below(directory: &Path, depth: usize, found: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(directory) else {
        return;
    };
    let mut folders: Vec<PathBuf> = entries
        .flatten()
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .take(NESTED_LISTED)
        .collect();
    folders.sort();
    for folder in folders {
        if found.len() >= NESTED_NAMED {
            return;
        }
        let has_candles = feather_files(&folder)
            .is_ok_and(|paths| paths.iter().any(|path| parse_file_name(path).is_ok()))
            || ohlcv::has_bars(&folder);
        if has_candles {
            found.push(folder);
        } else if depth > 1 {
            with_candles_below(&folder, depth - 1, found);
        }
    }
}

/// Lists every `.feather` file of a directory and of its `futures/` folder, sorted by path.
pub(crate) fn feather_files(directory: &Path) -> Result<Vec<PathBuf>, MarketError> {
    let mut paths = Vec::new();
    list(directory, &mut paths)?;
    let futures = directory.join("futures");
    if futures.is_dir() {
        list(&futures, &mut paths)?;
    }
    paths.sort();
    Ok(paths)
}

fn list(directory: &Path, paths: &mut Vec<PathBuf>) -> Result<(), MarketError> {
    let fail = |source| MarketError::Io {
        path: directory.to_owned(),
        action: "list",
        source,
    };
    for entry in std::fs::read_dir(directory).map_err(fail)? {
        let path = entry.map_err(fail)?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "feather")
            && path.is_file()
        {
            paths.push(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, pair: &str, timeframe: &str, kind: &CandleKind) {
        let file = parse_file_name(Path::new(name)).unwrap();
        assert_eq!(file.instrument.as_str(), pair, "{name}");
        assert_eq!(file.timeframe.to_string(), timeframe, "{name}");
        assert_eq!(&file.kind, kind, "{name}");
        assert_eq!(file_name(&file.instrument, file.timeframe, kind), name);
    }

    #[test]
    fn names_round_trip() {
        use CandleKind::{FundingRate, Futures, Mark, Other, Spot};
        check("BTC_USDT-1h.feather", "BTC/USDT", "1h", &Spot);
        check("EUR_USD-15m.feather", "EUR/USD", "15m", &Spot);
        check("BTC_USDT-1Mo.feather", "BTC/USDT", "1M", &Spot);
        check("GOOGL-1d.feather", "GOOGL", "1d", &Spot);
        check(
            "BTC_USDT_USDT-1h-futures.feather",
            "BTC/USDT:USDT",
            "1h",
            &Futures,
        );
        check(
            "BTC_USDT_USDT-240628-1h-futures.feather",
            "BTC/USDT:USDT-240628",
            "1h",
            &Futures,
        );
        check(
            "BTC_USDT_USDT-1h-mark.feather",
            "BTC/USDT:USDT",
            "1h",
            &Mark,
        );
        check(
            "BTC_USDT_USDT-8h-funding_rate.feather",
            "BTC/USDT:USDT",
            "8h",
            &FundingRate,
        );
        let premium = Other("premiumIndex".to_owned());
        check(
            "BTC_USDT_USDT-1h-premiumIndex.feather",
            "BTC/USDT:USDT",
            "1h",
            &premium,
        );
    }

    #[test]
    fn other_names_are_refused() {
        for name in [
            "BTC_USDT-1h.json",
            "BTC_USDT-trades.feather",
            "BTC_USDT.feather",
            "-1h.feather",
            "BTC_USDT-1h-.feather",
            "BTC_USDT-1h-mark2.feather",
            "BTC_USDT-0h.feather",
            ".feather",
        ] {
            let error = parse_file_name(Path::new(name)).unwrap_err();
            assert!(
                matches!(error, MarketError::FileName { .. }),
                "{name}: {error}"
            );
            assert!(error.hint().is_some());
        }
    }

    #[test]
    fn kinds_other_than_spot_live_in_futures() {
        let instrument = Instrument::new("BTC/USDT:USDT").unwrap();
        let path = path_in(
            Path::new("data"),
            &instrument,
            Timeframe::HOUR,
            &CandleKind::Mark,
        );
        assert_eq!(
            path,
            Path::new("data/futures/BTC_USDT_USDT-1h-mark.feather")
        );
        let path = path_in(
            Path::new("data"),
            &instrument,
            Timeframe::HOUR,
            &CandleKind::Spot,
        );
        assert_eq!(path, Path::new("data/BTC_USDT_USDT-1h.feather"));
    }

    #[test]
    fn discovery_finds_both_levels_and_passes_over_the_rest() {
        let directory = tempfile::tempdir().unwrap();
        let futures = directory.path().join("futures");
        std::fs::create_dir(&futures).unwrap();
        std::fs::create_dir(directory.path().join("X_Y-1h.feather")).unwrap();
        for name in [
            "ETH_USDT-1h.feather",
            "BTC_USDT-1h.feather",
            "notes.txt",
            "BTC_USDT-trades.feather",
        ] {
            std::fs::write(directory.path().join(name), b"").unwrap();
        }
        std::fs::write(futures.join("BTC_USDT_USDT-1h-mark.feather"), b"").unwrap();
        let files = discover(directory.path()).unwrap();
        let found: Vec<_> = files
            .iter()
            .map(|file| (file.instrument.as_str(), &file.kind))
            .collect();
        assert_eq!(
            found,
            [
                ("BTC/USDT", &CandleKind::Spot),
                ("ETH/USDT", &CandleKind::Spot),
                ("BTC/USDT:USDT", &CandleKind::Mark)
            ]
        );
    }

    #[test]
    fn a_directory_without_candles_or_without_itself_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let error = discover(directory.path()).unwrap_err();
        assert!(
            matches!(error, MarketError::NoCandleFiles { .. }),
            "{error}"
        );
        assert!(error.hint().unwrap().contains("user_data/data/binance"));
        let error = discover(&directory.path().join("absent")).unwrap_err();
        assert!(error.hint().unwrap().contains("check the path"));
        assert!(
            matches!(error, MarketError::Io { action: "list", .. }),
            "{error}"
        );
        assert!(error.to_string().contains("absent"), "{error}");
    }

    #[test]
    fn candles_further_down_are_suggested() {
        let directory = tempfile::tempdir().unwrap();
        let spot = directory.path().join("data/binance");
        let futures = directory.path().join("data/okx/futures");
        for folder in [&spot, &futures, &directory.path().join("data/empty")] {
            std::fs::create_dir_all(folder).unwrap();
        }
        std::fs::write(spot.join("BTC_USDT-1h.feather"), b"").unwrap();
        std::fs::write(futures.join("BTC_USDT_USDT-1h-futures.feather"), b"").unwrap();
        for start in [directory.path(), &directory.path().join("data")] {
            let hint = discover(start).unwrap_err().hint().unwrap();
            let expect = format!(
                "did you mean `{}` or `{}`?",
                spot.display(),
                directory.path().join("data/okx").display()
            );
            assert_eq!(hint, expect);
        }
        let file = spot.join("BTC_USDT-1h.feather");
        let hint = discover(&file).unwrap_err().hint().unwrap();
        assert!(hint.contains("not a file"), "{hint}");
    }

    #[test]
    fn kinds_serialise_as_their_name() {
        let json = serde_json::to_string(&CandleKind::FundingRate).unwrap();
        assert_eq!(json, "\"funding_rate\"");
        assert_eq!(
            serde_json::from_str::<CandleKind>(&json).unwrap(),
            CandleKind::FundingRate
        );
    }
}
