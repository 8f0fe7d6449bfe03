//! One instant: Unix milliseconds, UTC, written as RFC 3339.
//!
//! There is no "now" here: the clock is read in `cli` and passed in.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, NaiveDate, SecondsFormat};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::MarketError;

/// An instant in Unix milliseconds, UTC.
///
/// Displayed and serialised as RFC 3339, `2019-03-01T12:00:00Z`, with milliseconds only where they
/// are not zero. A value beyond the calendar's range (some 260,000 years) is displayed as `<n>ms`.
/// The default is the epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// Returns the Unix milliseconds.
    pub fn milliseconds(self) -> i64 {
        self.0
    }

    /// Reports whether the instant lies in the years 2009 to 2099, the range in which a market
    /// data file's stamps are believed.
    pub fn is_plausible(self) -> bool {
        (EARLIEST..LATEST).contains(&self.0)
    }
}

/// The unit in which a file counts time since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EpochUnit {
    /// Seconds, `s`.
    Seconds,
    /// Thousandths, `ms`.
    Milliseconds,
    /// Millionths, `us`.
    Microseconds,
    /// Thousand-millionths, `ns`.
    Nanoseconds,
}

impl EpochUnit {
    /// Returns the unit in which an integer lies in the years of market data; at most one does.
    pub(crate) fn of_integer(value: i64) -> Option<Self> {
        let units = [
            Self::Seconds,
            Self::Milliseconds,
            Self::Microseconds,
            Self::Nanoseconds,
        ];
        units
            .into_iter()
            .find(|unit| Timestamp(unit.milliseconds(value)).is_plausible())
    }

    /// Converts to Unix milliseconds, towards the past; saturates.
    pub(crate) fn milliseconds(self, value: i64) -> i64 {
        match self {
            Self::Seconds => value.saturating_mul(1_000),
            Self::Milliseconds => value,
            Self::Microseconds => value.div_euclid(1_000),
            Self::Nanoseconds => value.div_euclid(1_000_000),
        }
    }

    /// Converts to Unix nanoseconds; saturates.
    pub(crate) fn nanoseconds(self, value: i64) -> i64 {
        match self {
            Self::Seconds => value.saturating_mul(1_000_000_000),
            Self::Milliseconds => value.saturating_mul(1_000_000),
            Self::Microseconds => value.saturating_mul(1_000),
            Self::Nanoseconds => value,
        }
    }
}

impl fmt::Display for EpochUnit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Seconds => "s",
            Self::Milliseconds => "ms",
            Self::Microseconds => "us",
            Self::Nanoseconds => "ns",
        })
    }
}

/// 2009-01-01T00:00:00Z, before the first bitcoin block.
const EARLIEST: i64 = 1_230_768_000_000;
/// 2100-01-01T00:00:00Z.
const LATEST: i64 = 4_102_444_800_000;

impl fmt::Display for Timestamp {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(time) = DateTime::from_timestamp_millis(self.0) else {
            return write!(formatter, "{}ms", self.0);
        };
        let precision = if self.0.rem_euclid(1000) == 0 {
            SecondsFormat::Secs
        } else {
            SecondsFormat::Millis
        };
        formatter.write_str(&time.to_rfc3339_opts(precision, true))
    }
}

impl FromStr for Timestamp {
    type Err = MarketError;

    /// Reads RFC 3339 with any offset, a bare date (its midnight, UTC), or the `<n>ms` form.
    ///
    /// # Errors
    /// [`MarketError::Timestamp`] for anything else, or for a fraction finer than a millisecond.
    fn from_str(text: &str) -> Result<Self, MarketError> {
        let refuse = || MarketError::Timestamp {
            text: text.to_owned(),
        };
        if let Some(digits) = text.strip_suffix("ms") {
            return digits.parse().map(Self).map_err(|_| refuse());
        }
        if let Ok(date) = text.parse::<NaiveDate>() {
            let midnight = date.and_hms_opt(0, 0, 0).ok_or_else(refuse)?;
            return Ok(Self(midnight.and_utc().timestamp_millis()));
        }
        let time = DateTime::parse_from_rfc3339(text).map_err(|_| refuse())?;
        if time.timestamp_subsec_nanos() % 1_000_000 != 0 {
            return Err(refuse());
        }
        Ok(Self(time.timestamp_millis()))
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(milliseconds: i64, text: &str) {
        assert_eq!(Timestamp(milliseconds).to_string(), text);
        assert_eq!(text.parse::<Timestamp>().unwrap(), Timestamp(milliseconds));
        let json = serde_json::to_string(&Timestamp(milliseconds)).unwrap();
        assert_eq!(json, format!("\"{text}\""));
        let back: Timestamp = serde_json::from_str(&json).unwrap();
        assert_eq!(back, Timestamp(milliseconds));
    }

    #[test]
    fn text_form_round_trips() {
        check(1_551_441_600_000, "2019-03-01T12:00:00Z");
        check(1_551_441_600_250, "2019-03-01T12:00:00.250Z");
        check(0, "1970-01-01T00:00:00Z");
        check(-1, "1969-12-31T23:59:59.999Z");
        check(i64::MAX, "9223372036854775807ms");
        check(i64::MIN, "-9223372036854775808ms");
    }

    #[test]
    fn other_spellings_are_read() {
        let noon = Timestamp(1_551_441_600_000);
        assert_eq!(
            "2019-03-01T14:00:00+02:00".parse::<Timestamp>().unwrap(),
            noon
        );
        let midnight = Timestamp(1_551_398_400_000);
        assert_eq!("2019-03-01".parse::<Timestamp>().unwrap(), midnight);
    }

    #[test]
    fn nonsense_is_refused() {
        for text in [
            "",
            "yesterday",
            "2019-02-30T00:00:00Z",
            "2019-03-01T12:00:00.0001Z",
            "ms",
        ] {
            let error = text.parse::<Timestamp>().unwrap_err();
            assert!(
                matches!(error, MarketError::Timestamp { .. }),
                "{text}: {error}"
            );
        }
    }

    #[test]
    fn plausible_years() {
        assert!(!Timestamp(EARLIEST - 1).is_plausible());
        assert!(Timestamp(EARLIEST).is_plausible());
        assert!(Timestamp(LATEST - 1).is_plausible());
        assert!(!Timestamp(LATEST).is_plausible());
    }
}
