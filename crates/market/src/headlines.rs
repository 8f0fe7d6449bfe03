//! Headlines with the instant at which each was published.
//!
//! Reads JSON lines (`{"time": ..., "text": ..., "asset": ...}`) or a CSV file with a header. They
//! are handed out only as of a decision time, once a lag has passed, and as plain text: whoever
//! shows them to a model has to treat them as data.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde_json::Value;

use crate::{Instrument, MarketError, Timestamp};

/// The largest file that is read.
const LARGEST_FILE: u64 = 1 << 30;
/// The longest headline that is taken for one, bytes.
const LONGEST: usize = 4096;

/// Headlines in the order of time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Headlines {
    items: Vec<Item>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Item {
    time: i64,
    /// What it is about, such as `BTC`; none for all markets.
    asset: Option<String>,
    text: String,
}

impl Headlines {
    /// Returns the number of headlines.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Reports whether there is none.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Returns headlines about an instrument or about no one in particular that were known at
    /// `decision_time` and not older than `max_age`, newest first, at most `most`, each with the
    /// instant from which it was known: its stamp plus `lag`. All times in milliseconds.
    pub fn as_of(
        &self,
        decision_time: i64,
        lag: i64,
        max_age: i64,
        instrument: &Instrument,
        most: usize,
    ) -> Vec<(Timestamp, &str)> {
        let lag = lag.max(0);
        let known = self
            .items
            .partition_point(|item| item.time.saturating_add(lag) <= decision_time);
        self.items[..known]
            .iter()
            .rev()
            .take_while(|item| decision_time - item.time.saturating_add(lag) <= max_age)
            .filter(|item| {
                item.asset
                    .as_deref()
                    .is_none_or(|asset| is_about(instrument, asset))
            })
            .take(most)
            .map(|item| (Timestamp(item.time.saturating_add(lag)), item.text.as_str()))
            .collect()
    }

    /// Returns the headlines known at `time`.
    #[must_use]
    pub fn known_by(&self, time: i64, lag: i64) -> Self {
        let known = |item: &&Item| item.time.saturating_add(lag.max(0)) <= time;
        Self {
            items: self.items.iter().filter(known).cloned().collect(),
        }
    }

    /// Returns headlines of which those not yet known at `time` say something else: what an audit
    /// puts in the place of the future.
    #[must_use]
    pub fn altered_after(&self, time: i64, lag: i64) -> Self {
        let mut altered = self.clone();
        for item in &mut altered.items {
            if item.time.saturating_add(lag.max(0)) > time {
                item.text = item.text.chars().rev().collect();
            }
        }
        altered
    }
}

/// Reports whether an instrument's pair names an asset: `BTC` or `BTC/USDT` for `BTC/USDT:USDT`.
fn is_about(instrument: &Instrument, asset: &str) -> bool {
    let name = instrument.as_str();
    let pair = name.split_once(':').map_or(name, |(pair, _)| pair);
    let base = pair.split_once('/').map_or(pair, |(base, _)| base);
    [name, pair, base]
        .iter()
        .any(|known| known.eq_ignore_ascii_case(asset))
}

/// Reads headlines: a `.csv` file with the columns `time` (or `timestamp`, `date`), `text` (or
/// `headline`, `title`) and perhaps `asset` (or `instrument`), else JSON lines with these fields.
/// Times are Unix seconds or milliseconds, or written out (`2021-05-01T12:30:00Z`).
///
/// # Errors
/// [`MarketError::Headline`] with the line; [`MarketError::Empty`]; [`MarketError::Io`];
/// [`MarketError::TooLarge`].
pub fn read(path: &Path) -> Result<Headlines, MarketError> {
    let text = read_text(path)?;
    let is_csv = path.extension().is_some_and(|end| end == "csv");
    let mut items = if is_csv {
        of_csv(path, &text)?
    } else {
        of_lines(path, &text)?
    };
    if items.is_empty() {
        return Err(MarketError::Empty {
            origin: path.display().to_string(),
        });
    }
    items.sort_by_key(|item| item.time);
    Ok(Headlines { items })
}

const TIME: [&str; 4] = ["time", "timestamp", "date", "published_at"];
const TEXT: [&str; 3] = ["text", "headline", "title"];
const ASSET: [&str; 3] = ["asset", "instrument", "symbol"];

fn of_csv(path: &Path, text: &str) -> Result<Vec<Item>, MarketError> {
    let mut reader = csv::ReaderBuilder::new()
        .trim(csv::Trim::All)
        .from_reader(text.as_bytes());
    let header = reader
        .headers()
        .map_err(|error| fault(path, 1, error.to_string()))?
        .clone();
    let place = |names: &[&str]| header.iter().position(|name| names.contains(&name));
    let needed = |names: &[&str]| {
        place(names).ok_or_else(|| fault(path, 1, format!("no column `{}`", names.join("` or `"))))
    };
    let (time, title, asset) = (needed(&TIME)?, needed(&TEXT)?, place(&ASSET));
    let mut items = Vec::new();
    for record in reader.records() {
        let record = record.map_err(|error| {
            let line = error.position().map_or(0, csv::Position::line);
            fault(path, line, error.to_string())
        })?;
        let line = record.position().map_or(0, csv::Position::line);
        let field = |place: usize| record.get(place).unwrap_or_default();
        let about = asset.map(field);
        items.push(item(field(time), field(title), about).map_err(|e| fault(path, line, e))?);
    }
    Ok(items)
}

fn of_lines(path: &Path, text: &str) -> Result<Vec<Item>, MarketError> {
    let mut items = Vec::new();
    for (index, line) in text.lines().enumerate() {
        if line.trim().is_empty() {
            continue;
        }
        let number = index as u64 + 1;
        let value: Value =
            serde_json::from_str(line).map_err(|error| fault(path, number, error.to_string()))?;
        let field = |names: &[&str]| {
            names.iter().find_map(|name| match value.get(*name)? {
                Value::String(text) => Some(text.clone()),
                Value::Number(number) => Some(number.to_string()),
                _ => None,
            })
        };
        let needed = |names: &[&str]| {
            field(names)
                .ok_or_else(|| fault(path, number, format!("no field `{}`", names.join("` or `"))))
        };
        let (time, title, about) = (needed(&TIME)?, needed(&TEXT)?, field(&ASSET));
        items.push(
            item(&time, &title, about.as_deref()).map_err(|error| fault(path, number, error))?,
        );
    }
    Ok(items)
}

fn item(time: &str, text: &str, asset: Option<&str>) -> Result<Item, String> {
    let stamp = match time.parse::<i64>() {
        // Seconds of market data have ten digits, milliseconds thirteen.
        Ok(number) if number.abs() < 100_000_000_000 => Timestamp(number * 1_000),
        Ok(number) => Timestamp(number),
        Err(_) => time
            .parse()
            .map_err(|error: MarketError| error.to_string())?,
    };
    if !stamp.is_plausible() {
        return Err(format!("time {stamp} is outside the years 2009 to 2099"));
    }
    if text.trim().is_empty() {
        return Err("the headline is empty".to_owned());
    }
    if text.len() > LONGEST {
        return Err(format!(
            "the headline has {} bytes, expected at most {LONGEST}",
            text.len()
        ));
    }
    Ok(Item {
        time: stamp.0,
        asset: asset
            .map(str::trim)
            .filter(|asset| !asset.is_empty())
            .map(str::to_owned),
        text: text.to_owned(),
    })
}

fn fault(path: &Path, line: u64, reason: String) -> MarketError {
    MarketError::Headline {
        path: path.to_owned(),
        line,
        reason,
    }
}

fn read_text(path: &Path) -> Result<String, MarketError> {
    let fail = |source| MarketError::Io {
        path: path.to_owned(),
        action: "read",
        source,
    };
    let mut text = String::new();
    File::open(path)
        .map_err(fail)?
        .take(LARGEST_FILE + 1)
        .read_to_string(&mut text)
        .map_err(fail)?;
    if text.len() as u64 > LARGEST_FILE {
        return Err(MarketError::TooLarge {
            path: path.to_owned(),
            bytes: text.len() as u64,
            limit: LARGEST_FILE,
        });
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000;
    const NOON: i64 = 1_517_443_200_000 + 12 * HOUR;

    fn read_as(name: &str, text: &str) -> Result<Headlines, MarketError> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        read(&path)
    }

    fn lines() -> Headlines {
        read_as(
            "news.jsonl",
            "{\"time\":\"2018-02-01T11:00:00Z\",\"text\":\"old\",\"asset\":\"BTC\"}\n\
             {\"time\":1517486400000,\"text\":\"noon\"}\n\n\
             {\"timestamp\":1517485500,\"title\":\"eth\",\"asset\":\"ETH/USDT\"}\n",
        )
        .unwrap()
    }

    #[test]
    fn only_what_was_known_is_handed_out_newest_first() {
        let news = lines();
        let bitcoin = Instrument::new("BTC/USDT:USDT").unwrap();
        let ether = Instrument::new("ETH/USDT:USDT").unwrap();
        let texts = |time, lag, instrument: &Instrument| -> Vec<String> {
            let found = news.as_of(time, lag, 24 * HOUR, instrument, 3);
            found.into_iter().map(|(_, text)| text.to_owned()).collect()
        };
        assert_eq!(texts(NOON, 0, &bitcoin), ["noon", "old"]);
        assert_eq!(texts(NOON - 1, 0, &bitcoin), ["old"]);
        assert_eq!(texts(NOON, 1, &bitcoin), ["old"]);
        assert_eq!(texts(NOON, 0, &ether), ["noon", "eth"]);
        let (known, _) = news.as_of(NOON + HOUR, HOUR, 24 * HOUR, &bitcoin, 1)[0];
        assert_eq!(known.0, NOON + HOUR);
        assert!(
            news.as_of(NOON + 48 * HOUR, 0, 24 * HOUR, &bitcoin, 3)
                .is_empty()
        );
        assert_eq!(news.known_by(NOON - 1, 0).len(), 2);
        assert_eq!(
            news.altered_after(NOON - 1, 0)
                .as_of(NOON, 0, HOUR, &bitcoin, 1)[0]
                .1,
            "noon".chars().rev().collect::<String>()
        );
    }

    #[test]
    fn csv_and_faults() {
        let news = read_as("news.csv", "date,headline\n2018-02-01T11:00:00Z,\"a, b\"\n").unwrap();
        assert_eq!(news.len(), 1);
        for (name, text, fragment) in [
            ("a.csv", "when,what\n1,b\n", "no column `time`"),
            ("a.jsonl", "{\"time\":1517486400,\"text\":\" \"}", "empty"),
            (
                "a.jsonl",
                "{\"time\":5,\"text\":\"x\"}",
                "outside the years",
            ),
            ("a.jsonl", "{\"text\":\"x\"}", "no field `time`"),
            ("a.jsonl", "nonsense", "expected"),
        ] {
            let error = read_as(name, text).unwrap_err().to_string();
            assert!(error.contains(fragment), "{error}");
        }
        assert!(matches!(
            read_as("a.jsonl", "\n").unwrap_err(),
            MarketError::Empty { .. }
        ));
    }
}
