//! The Crypto Fear & Greed Index: one reading a day, 0 (extreme fear) to 100 (extreme greed).
//!
//! Reads a CSV file or the JSON of `https://api.alternative.me/fng/` (whose terms ask for
//! attribution); downloads nothing. Readings are handed out only as of a decision time, once the
//! publication lag has passed.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::{MarketError, Timestamp};

/// The largest file that is read, 64 MiB: one reading a day takes some 100 bytes.
const LARGEST_FILE: u64 = 64 << 20;
const DAY: i64 = 86_400_000;

/// Readings of the index in time order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FearGreed {
    days: Vec<Day>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Day {
    time: i64,
    value: u8,
    classification: String,
}

/// One reading as it could be known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reading {
    /// The index, 0 to 100.
    pub value: u8,
    /// The publisher's word for it, such as `Extreme Fear`.
    pub classification: String,
    /// The day the reading is stamped with, 00:00 UTC.
    pub time: Timestamp,
    /// When it could be known: its stamp plus the publication lag.
    pub available_at: Timestamp,
}

impl FearGreed {
    /// Returns the number of readings.
    pub fn len(&self) -> usize {
        self.days.len()
    }

    /// Reports whether there is no reading.
    pub fn is_empty(&self) -> bool {
        self.days.is_empty()
    }

    /// Returns the stamps of the first and last reading.
    pub fn period(&self) -> Option<(Timestamp, Timestamp)> {
        let (first, last) = (self.days.first()?, self.days.last()?);
        Some((Timestamp(first.time), Timestamp(last.time)))
    }

    /// Returns the number of days without a reading between the first and the last.
    pub fn missing_days(&self) -> usize {
        let missing = |pair: &[Day]| ((pair[1].time - pair[0].time) / DAY - 1).max(0) as usize;
        self.days.windows(2).map(missing).sum()
    }

    /// Returns the last reading known at `decision_time`: the last one whose stamp plus
    /// `publication_lag` is not after it. Both in milliseconds; a negative lag counts as none.
    ///
    /// After a missing day this is an older reading; [`Reading::time`] tells its age.
    pub fn as_of(&self, decision_time: i64, publication_lag: i64) -> Option<Reading> {
        let lag = publication_lag.max(0);
        let known = self
            .days
            .partition_point(|day| day.time.saturating_add(lag) <= decision_time);
        let day = &self.days[known.checked_sub(1)?];
        Some(Reading {
            value: day.value,
            classification: day.classification.clone(),
            time: Timestamp(day.time),
            available_at: Timestamp(day.time.saturating_add(lag)),
        })
    }

    /// Returns the readings known at `time`, those whose stamp plus `publication_lag` is not after
    /// it; both in milliseconds.
    #[must_use]
    pub fn known_by(&self, time: i64, publication_lag: i64) -> Self {
        let lag = publication_lag.max(0);
        let known = |day: &&Day| day.time.saturating_add(lag) <= time;
        Self {
            days: self.days.iter().filter(known).cloned().collect(),
        }
    }

    /// Returns readings of which those not yet known at `time` are turned upside down, 100 less the
    /// value: what an audit puts in the place of the future.
    #[must_use]
    pub fn mirrored_after(&self, time: i64, publication_lag: i64) -> Self {
        let lag = publication_lag.max(0);
        let mut readings = self.clone();
        for day in &mut readings.days {
            if day.time.saturating_add(lag) > time {
                day.value = 100_u8.saturating_sub(day.value);
            }
        }
        readings
    }

    fn new(path: &Path, mut days: Vec<(String, Day)>) -> Result<Self, MarketError> {
        if days.is_empty() {
            return Err(MarketError::Empty {
                origin: path.display().to_string(),
            });
        }
        days.sort_by_key(|(_, day)| day.time);
        if let Some(pair) = days
            .windows(2)
            .find(|pair| pair[0].1.time == pair[1].1.time)
        {
            let (place, day) = &pair[1];
            let reason = format!(
                "{} has a reading already at {}",
                Timestamp(day.time),
                pair[0].0
            );
            return Err(fault(path, place, reason));
        }
        Ok(Self {
            days: days.into_iter().map(|(_, day)| day).collect(),
        })
    }
}

fn fault(path: &Path, place: &str, reason: impl Into<String>) -> MarketError {
    MarketError::Sentiment {
        path: path.to_owned(),
        place: place.to_owned(),
        reason: reason.into(),
    }
}

/// Reads a `.json` file with [`read_json`] and any other with [`read_csv`].
///
/// # Errors
/// As those.
pub fn read(path: &Path) -> Result<FearGreed, MarketError> {
    if path
        .extension()
        .is_some_and(|extension| extension == "json")
    {
        read_json(path)
    } else {
        read_csv(path)
    }
}

/// Reads a CSV file with a header. Needs the columns `timestamp` (Unix seconds) or `date`
/// (`2018-02-01`), `value`, and `classification` or `value_classification`, in any order.
///
/// # Errors
/// [`MarketError::Sentiment`] with the line: a missing column, a value outside 0 to 100 or not
/// whole, a stamp that is no time or implausible or repeated; [`MarketError::Empty`];
/// [`MarketError::Io`]; [`MarketError::TooLarge`].
pub fn read_csv(path: &Path) -> Result<FearGreed, MarketError> {
    let text = read_text(path)?;
    let mut reader = csv::ReaderBuilder::new()
        .trim(csv::Trim::All)
        .from_reader(text.as_bytes());
    let header = reader
        .headers()
        .map_err(|error| fault(path, "line 1", error.to_string()))?;
    let column = |names: &[&str]| {
        let found = header.iter().position(|name| names.contains(&name));
        found.ok_or_else(|| {
            fault(
                path,
                "line 1",
                format!("no column `{}`", names.join("` or `")),
            )
        })
    };
    let time = column(&["timestamp"]).or_else(|_| column(&["timestamp", "date"]))?;
    let value = column(&["value"])?;
    let classification = column(&["classification", "value_classification"])?;
    let mut days = Vec::new();
    for record in reader.records() {
        let record = record.map_err(|error| {
            let line = error.position().map_or(0, csv::Position::line);
            fault(path, &format!("line {line}"), error.to_string())
        })?;
        let place = format!("line {}", record.position().map_or(0, csv::Position::line));
        let field = |column: usize| record.get(column).unwrap_or_default();
        let day = parse_day(field(time), field(value), field(classification))
            .map_err(|reason| fault(path, &place, reason))?;
        days.push((place, day));
    }
    FearGreed::new(path, days)
}

/// The shape of the API's answer; numbers come as text.
#[derive(Deserialize)]
struct Answer {
    data: Vec<Entry>,
    #[serde(default)]
    metadata: Metadata,
}

#[derive(Deserialize)]
struct Entry {
    value: String,
    value_classification: String,
    timestamp: String,
}

#[derive(Deserialize, Default)]
struct Metadata {
    error: Option<String>,
}

/// Reads the API's JSON answer, saved as it came.
///
/// # Errors
/// As [`read_csv`], with the element of `data` counted from 0; and where the answer itself reports
/// an error.
pub fn read_json(path: &Path) -> Result<FearGreed, MarketError> {
    let text = read_text(path)?;
    let answer: Answer = serde_json::from_str(&text)
        .map_err(|error| fault(path, &format!("line {}", error.line()), error.to_string()))?;
    if let Some(error) = answer.metadata.error {
        return Err(fault(
            path,
            "`metadata`",
            format!("the service reported `{error}`"),
        ));
    }
    let mut days = Vec::new();
    for (index, entry) in answer.data.iter().enumerate() {
        let place = format!("`data` element {index}");
        let day = parse_day(&entry.timestamp, &entry.value, &entry.value_classification)
            .map_err(|reason| fault(path, &place, reason))?;
        days.push((place, day));
    }
    FearGreed::new(path, days)
}

/// Reads one reading from text; the reason where it is none.
fn parse_day(time: &str, value: &str, classification: &str) -> Result<Day, String> {
    let stamp = match time.parse::<i64>() {
        Ok(seconds) => Timestamp(seconds.saturating_mul(1_000)),
        Err(_) => time
            .parse()
            .map_err(|error: MarketError| error.to_string())?,
    };
    if !stamp.is_plausible() {
        return Err(format!("time {stamp} is outside the years 2009 to 2099"));
    }
    let number = value.parse::<f64>().ok();
    let number = number.filter(|number| (0.0..=100.0).contains(number) && number.fract() == 0.0);
    let number =
        number.ok_or_else(|| format!("value `{value}` is not a whole number from 0 to 100"))?;
    if classification.is_empty() {
        return Err("the classification is empty".to_owned());
    }
    Ok(Day {
        time: stamp.0,
        value: number as u8,
        classification: classification.to_owned(),
    })
}

fn read_text(path: &Path) -> Result<String, MarketError> {
    let fail = |source| MarketError::Io {
        path: path.to_owned(),
        action: "read",
        source,
    };
    let file = File::open(path).map_err(fail)?;
    let mut text = String::new();
    file.take(LARGEST_FILE + 1)
        .read_to_string(&mut text)
        .map_err(fail)?;
    if text.len() as u64 > LARGEST_FILE {
        let bytes = text.len() as u64;
        return Err(MarketError::TooLarge {
            path: path.to_owned(),
            bytes,
            limit: LARGEST_FILE,
        });
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000;
    const FIRST: i64 = 1_517_443_200_000;

    fn csv(text: &str) -> Result<FearGreed, MarketError> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("index.csv");
        std::fs::write(&path, text).unwrap();
        read(&path)
    }

    fn json(text: &str) -> Result<FearGreed, MarketError> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("index.json");
        std::fs::write(&path, text).unwrap();
        read(&path)
    }

    const TWO_DAYS: &str = "date,timestamp,value,classification\n\
        2018-02-04,1517702400,24.0,Extreme Fear\n\
        2018-02-01,1517443200,30.0,Fear\n";

    #[test]
    fn csv_is_read_and_sorted() {
        let index = csv(TWO_DAYS).unwrap();
        assert_eq!(index.len(), 2);
        assert_eq!(index.missing_days(), 2);
        let (first, last) = index.period().unwrap();
        assert_eq!(first.to_string(), "2018-02-01T00:00:00Z");
        assert_eq!(last.to_string(), "2018-02-04T00:00:00Z");
        let by_date = csv("value,value_classification,date\n30,Fear,2018-02-01\n").unwrap();
        assert_eq!(by_date.as_of(FIRST, 0).unwrap().value, 30);
    }

    #[test]
    fn what_is_not_known_yet_is_left_out_or_mirrored() {
        let index = csv(TWO_DAYS).unwrap();
        let lag = 6 * HOUR;
        assert!(index.known_by(FIRST + lag - 1, lag).is_empty());
        assert_eq!(index.known_by(FIRST + lag, lag).len(), 1);
        let other = index.mirrored_after(FIRST + lag, lag);
        let value = |index: &FearGreed, time| index.as_of(time, 0).unwrap().value;
        assert_eq!(value(&other, FIRST), 30);
        assert_eq!(value(&other, i64::MAX), 76);
    }

    #[test]
    fn a_reading_is_known_only_after_the_lag() {
        let index = csv(TWO_DAYS).unwrap();
        let lag = 6 * HOUR;
        assert_eq!(index.as_of(FIRST + lag - 1, lag), None);
        let reading = index.as_of(FIRST + lag, lag).unwrap();
        assert_eq!(
            (reading.value, reading.classification.as_str()),
            (30, "Fear")
        );
        assert_eq!(reading.available_at, Timestamp(FIRST + lag));
        assert_eq!(reading.time, Timestamp(FIRST));
        assert_eq!(
            index.as_of(FIRST + 3 * DAY + lag - 1, lag).unwrap().value,
            30
        );
        assert_eq!(index.as_of(FIRST + 3 * DAY + lag, lag).unwrap().value, 24);
        assert_eq!(
            index.as_of(FIRST - 1, -DAY),
            None,
            "a negative lag must not look ahead"
        );
        assert_eq!(index.as_of(i64::MAX, i64::MAX).unwrap().value, 24);
    }

    #[test]
    fn the_api_answer_is_read() {
        let index = json(
            r#"{"name":"Fear and Greed Index","data":[
                {"value":"47","value_classification":"Neutral","timestamp":"1777248000","time_until_update":"1"},
                {"value":"33","value_classification":"Fear","timestamp":"1777161600"}],
                "metadata":{"error":null}}"#,
        )
        .unwrap();
        assert_eq!(index.len(), 2);
        assert_eq!(index.as_of(1_777_248_000_000, 0).unwrap().value, 47);
        assert_eq!(index.as_of(1_777_247_999_999, 0).unwrap().value, 33);
    }

    fn check_fault(result: Result<FearGreed, MarketError>, expect: &str) {
        let error = result.unwrap_err();
        assert!(matches!(error, MarketError::Sentiment { .. }), "{error}");
        assert!(error.to_string().contains(expect), "{error}");
        assert!(error.to_string().contains("index."), "{error}");
    }

    #[test]
    fn faults_name_their_place() {
        let header = "timestamp,value,classification\n";
        check_fault(csv("timestamp,value\n"), "no column `classification`");
        check_fault(
            csv("value,classification\n"),
            "no column `timestamp` or `date`",
        );
        check_fault(
            csv(&format!("{header}1517443200,30,Fear\n1517443200,31,Fear\n")),
            "line 3",
        );
        check_fault(
            csv(&format!("{header}1517443200,101,Fear\n")),
            "line 2: value `101`",
        );
        check_fault(
            csv(&format!("{header}1517443200,30.5,Fear\n")),
            "whole number",
        );
        check_fault(
            csv(&format!("{header}1517443200,NaN,Fear\n")),
            "whole number",
        );
        check_fault(
            csv(&format!("{header}1517443200,30,\n")),
            "classification is empty",
        );
        check_fault(csv(&format!("{header}17,30,Fear\n")), "outside the years");
        check_fault(
            csv(&format!("{header}soon,30,Fear\n")),
            "`soon` is not a time",
        );
        check_fault(csv(&format!("{header}1517443200,30\n")), "line 2");
        check_fault(json("{\"data\":"), "line 1");
        check_fault(
            json("{\"data\":[],\"metadata\":{\"error\":\"busy\"}}"),
            "`busy`",
        );
        let entry = r#"{"value":"-1","value_classification":"Fear","timestamp":"1517443200"}"#;
        check_fault(json(&format!("{{\"data\":[{entry}]}}")), "element 0");
    }

    #[test]
    fn no_reading_and_no_file_are_errors() {
        assert!(matches!(
            csv("timestamp,value,classification\n"),
            Err(MarketError::Empty { .. })
        ));
        assert!(matches!(
            json("{\"data\":[]}"),
            Err(MarketError::Empty { .. })
        ));
        let absent = read_csv(Path::new("absent.csv"));
        assert!(matches!(
            absent,
            Err(MarketError::Io { action: "read", .. })
        ));
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics(text in ".{0,200}") {
            let _ = csv(&text);
            let _ = json(&text);
        }

        #[test]
        fn nothing_is_known_early(decision in FIRST - DAY..FIRST + 9 * DAY, lag in 0..2 * DAY) {
            let index = csv(TWO_DAYS).unwrap();
            if let Some(reading) = index.as_of(decision, lag) {
                proptest::prop_assert!(reading.available_at.0 <= decision);
                proptest::prop_assert_eq!(reading.available_at.0, reading.time.0 + lag);
            }
        }
    }
}
