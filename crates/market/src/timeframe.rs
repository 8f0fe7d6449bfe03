//! The span of one bar, and the grid of bars it defines on the clock.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Datelike, NaiveDate};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::MarketError;

const SECOND: i64 = 1_000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
const WEEK: i64 = 7 * DAY;
/// The nominal month of exchange libraries; only [`Timeframe::milliseconds`] uses it.
const NOMINAL_MONTH: i64 = 30 * DAY;
/// 1970-01-05, the first Monday of the Unix epoch, in milliseconds.
const FIRST_MONDAY: i64 = 4 * DAY;
/// The largest count in front of a unit.
const LARGEST_COUNT: u32 = 1_000;

/// A bar's span: a count and a unit, `15m`, `1h`, `4h`, `1d`, `1w`, `1M`.
///
/// Units are `s`, `m` (minute), `h`, `d`, `w` and `M` (calendar month; `Mo` in file names).
/// Ordered by span.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Timeframe {
    count: u32,
    unit: Unit,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Unit {
    Second,
    Minute,
    Hour,
    Day,
    Week,
    Month,
}

impl Timeframe {
    /// One hour.
    pub const HOUR: Self = Self {
        count: 1,
        unit: Unit::Hour,
    };
    /// Four hours.
    pub const FOUR_HOURS: Self = Self {
        count: 4,
        unit: Unit::Hour,
    };
    /// One day.
    pub const DAY: Self = Self {
        count: 1,
        unit: Unit::Day,
    };

    /// Returns the span in milliseconds. A month, which has no fixed span, counts as 30 days;
    /// grid arithmetic goes through [`Timeframe::bucket_start`] and [`Timeframe::next`] instead.
    pub fn milliseconds(self) -> i64 {
        let unit = match self.unit {
            Unit::Second => SECOND,
            Unit::Minute => MINUTE,
            Unit::Hour => HOUR,
            Unit::Day => DAY,
            Unit::Week => WEEK,
            Unit::Month => NOMINAL_MONTH,
        };
        i64::from(self.count) * unit
    }

    /// Reports whether the span varies with the calendar (months).
    pub fn is_calendar(self) -> bool {
        self.unit == Unit::Month
    }

    /// Returns the open time of the bar of this timeframe that contains `time`, in Unix
    /// milliseconds. Bars are aligned to the Unix epoch, weeks to its first Monday, months to
    /// January 1970.
    pub fn bucket_start(self, time: i64) -> i64 {
        match self.unit {
            Unit::Month => {
                let count = i64::from(self.count);
                month_start(month_index(time).div_euclid(count).saturating_mul(count))
            }
            Unit::Week => {
                let phase = time
                    .wrapping_sub(FIRST_MONDAY)
                    .rem_euclid(self.milliseconds());
                time.saturating_sub(phase)
            }
            _ => time.saturating_sub(time.rem_euclid(self.milliseconds())),
        }
    }

    /// Returns when the bar opened at `open_time` closes and the next one opens.
    pub fn next(self, open_time: i64) -> i64 {
        if self.is_calendar() {
            let month = month_index(open_time);
            let within = open_time.saturating_sub(month_start(month));
            month_start(month.saturating_add(i64::from(self.count))).saturating_add(within)
        } else {
            open_time.saturating_add(self.milliseconds())
        }
    }

    /// Reports whether every bar of `longer` is made of a whole number of bars of this timeframe.
    pub fn divides(self, longer: Self) -> bool {
        match (self.unit, longer.unit) {
            (Unit::Month, Unit::Month) => longer.count.is_multiple_of(self.count),
            (Unit::Month, _) => false,
            (_, Unit::Month) => DAY % self.milliseconds() == 0,
            (_, Unit::Week) if self.unit != Unit::Week => {
                // The week's phase (Monday) has to fall on this grid too.
                longer.milliseconds() % self.milliseconds() == 0
                    && FIRST_MONDAY % self.milliseconds() == 0
            }
            (Unit::Week, _) if longer.unit != Unit::Week => false,
            _ => longer.milliseconds() % self.milliseconds() == 0,
        }
    }
}

/// Months from January 1970 to the month of `time`; saturates outside the calendar.
fn month_index(time: i64) -> i64 {
    let edge = if time < 0 {
        DateTime::<chrono::Utc>::MIN_UTC
    } else {
        DateTime::<chrono::Utc>::MAX_UTC
    };
    let date = DateTime::from_timestamp_millis(time).unwrap_or(edge);
    (i64::from(date.year()) - 1970) * 12 + i64::from(date.month0())
}

/// The first instant of a month counted from January 1970; saturates outside the calendar.
fn month_start(index: i64) -> i64 {
    let year = i32::try_from(1970_i64.saturating_add(index.div_euclid(12)));
    let month = index.rem_euclid(12) as u32 + 1;
    let first = year
        .ok()
        .and_then(|year| NaiveDate::from_ymd_opt(year, month, 1));
    match first.and_then(|date| date.and_hms_opt(0, 0, 0)) {
        Some(midnight) => midnight.and_utc().timestamp_millis(),
        None if index < 0 => i64::MIN,
        None => i64::MAX,
    }
}

impl PartialOrd for Timeframe {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Timeframe {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        let key = |frame: &Self| (frame.milliseconds(), frame.unit as u8);
        key(self).cmp(&key(other))
    }
}

impl fmt::Display for Timeframe {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = match self.unit {
            Unit::Second => "s",
            Unit::Minute => "m",
            Unit::Hour => "h",
            Unit::Day => "d",
            Unit::Week => "w",
            Unit::Month => "M",
        };
        write!(formatter, "{}{unit}", self.count)
    }
}

impl FromStr for Timeframe {
    type Err = MarketError;

    /// Reads a count from 1 to 1,000 and a unit, `15m`; `1Mo` is the month's file-name spelling.
    ///
    /// # Errors
    /// [`MarketError::Timeframe`] for anything else.
    fn from_str(text: &str) -> Result<Self, MarketError> {
        let refuse = || MarketError::Timeframe {
            text: text.to_owned(),
        };
        let letters = text
            .find(|c: char| !c.is_ascii_digit())
            .ok_or_else(refuse)?;
        let (digits, unit) = text.split_at(letters);
        let unit = match unit {
            "s" => Unit::Second,
            "m" => Unit::Minute,
            "h" => Unit::Hour,
            "d" => Unit::Day,
            "w" => Unit::Week,
            "M" | "Mo" => Unit::Month,
            _ => return Err(refuse()),
        };
        match digits.parse() {
            Ok(count @ 1..=LARGEST_COUNT) => Ok(Self { count, unit }),
            _ => Err(refuse()),
        }
    }
}

impl Serialize for Timeframe {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timeframe {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Timestamp;

    fn frame(text: &str) -> Timeframe {
        text.parse().unwrap()
    }

    fn time(text: &str) -> i64 {
        text.parse::<Timestamp>().unwrap().0
    }

    #[test]
    fn text_form_round_trips() {
        for text in ["1s", "1m", "15m", "1h", "4h", "12h", "1d", "3d", "1w", "1M"] {
            assert_eq!(frame(text).to_string(), text);
        }
        assert_eq!(frame("1Mo"), frame("1M"));
        assert_eq!(frame("4h").milliseconds(), 14_400_000);
        assert_eq!(serde_json::to_string(&frame("1d")).unwrap(), "\"1d\"");
    }

    #[test]
    fn nonsense_is_refused() {
        for text in [
            "",
            "h",
            "1",
            "0h",
            "1001m",
            "-1h",
            "1y",
            "1H",
            "1 h",
            "1hh",
            "99999999999m",
        ] {
            let error = text.parse::<Timeframe>().unwrap_err();
            assert!(
                matches!(error, MarketError::Timeframe { .. }),
                "{text}: {error}"
            );
        }
    }

    fn check_bucket(text: &str, inside: &str, start: &str, end: &str) {
        let frame = frame(text);
        assert_eq!(frame.bucket_start(time(inside)), time(start), "{text}");
        assert_eq!(frame.bucket_start(time(start)), time(start), "{text}");
        assert_eq!(frame.next(time(start)), time(end), "{text}");
    }

    #[test]
    fn buckets_are_aligned() {
        check_bucket(
            "4h",
            "2019-03-01T13:59:00Z",
            "2019-03-01T12:00:00Z",
            "2019-03-01T16:00:00Z",
        );
        check_bucket("1d", "2019-03-01T13:59:00Z", "2019-03-01", "2019-03-02");
        check_bucket("1w", "2019-03-03T23:59:59Z", "2019-02-25", "2019-03-04");
        check_bucket("1w", "1969-12-30", "1969-12-29", "1970-01-05");
        check_bucket("1M", "2019-02-28T23:00:00Z", "2019-02-01", "2019-03-01");
        check_bucket("1M", "2019-12-31", "2019-12-01", "2020-01-01");
        check_bucket("3M", "2019-06-30", "2019-04-01", "2019-07-01");
    }

    #[test]
    fn no_instant_panics() {
        for text in ["1h", "1w", "1M"] {
            for time in [i64::MIN, -1, 0, i64::MAX] {
                let start = frame(text).bucket_start(time);
                frame(text).next(start);
            }
        }
    }

    #[test]
    fn which_grids_nest() {
        for (short, long) in [
            ("1h", "4h"),
            ("1h", "1d"),
            ("4h", "1w"),
            ("1d", "1M"),
            ("1M", "3M"),
            ("1h", "1h"),
        ] {
            assert!(frame(short).divides(frame(long)), "{short} {long}");
        }
        for (short, long) in [
            ("4h", "1h"),
            ("1h", "90m"),
            ("1w", "1M"),
            ("3d", "1w"),
            ("1M", "1w"),
            ("1w", "14d"),
        ] {
            assert!(!frame(short).divides(frame(long)), "{short} {long}");
        }
    }

    #[test]
    fn ordered_by_span() {
        let mut frames = [
            frame("1M"),
            frame("1d"),
            frame("90m"),
            frame("1h"),
            frame("1w"),
        ];
        frames.sort();
        assert_eq!(
            frames.map(|frame| frame.to_string()),
            ["1h", "90m", "1d", "1w", "1M"]
        );
    }
}
