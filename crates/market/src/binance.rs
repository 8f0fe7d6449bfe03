//! Klines from Binance's REST interface: `/api/v3/klines` (spot) and `/fapi/v1/klines` (futures).
//!
//! A kline is an array of twelve: open time, open, high, low, close and volume as strings, close
//! time, and five more that are not used here. An exchange also answers with HTML, with 429 (too
//! many requests) and 418 (banned for a while), with nothing, and with bars it revises later: each
//! is an error of its own or left to the caller, and none a panic. The body of an answer is bounded.
//!
//! The last kline of an answer is usually still forming. It is returned as it is; the caller knows
//! the time and drops it.

use std::io::Read;
use std::time::Duration;

use serde_json::Value;

use crate::{Bars, EpochUnit, Instrument, Timeframe, Timestamp};

/// The public address of the spot interface.
pub const SPOT: &str = "https://api.binance.com";
/// The most klines an answer holds.
pub const MOST: usize = 1000;
/// The largest answer that is read, in bytes: a thousand klines take about 200,000.
const LARGEST: u64 = 4 << 20;
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// What a client waits after 429 or 418 without being told.
const REST: Duration = Duration::from_secs(60);

/// Why there are no klines.
#[derive(Debug, thiserror::Error)]
pub enum BinanceError {
    /// 429 or 418: the exchange wants to be left alone.
    #[error("`{url}` answered {status}: too many requests, wait {} s", wait.as_secs())]
    TooMany {
        /// What was asked.
        url: String,
        /// 429, or 418 for a ban.
        status: u16,
        /// How long to wait.
        wait: Duration,
    },
    /// Another status than 200.
    #[error("`{url}` answered {status}: {text}")]
    Status {
        /// What was asked.
        url: String,
        /// The status.
        status: u16,
        /// The beginning of the answer.
        text: String,
    },
    /// No connection, or no answer in time.
    #[error("cannot ask `{url}`: {reason}")]
    Network {
        /// What was asked.
        url: String,
        /// Why not.
        reason: String,
    },
    /// An answer that is no list of klines.
    #[error("`{url}` answered something else than klines: {reason}")]
    Form {
        /// What was asked.
        url: String,
        /// What is wrong, with the number of the kline.
        reason: String,
    },
}

impl BinanceError {
    /// Returns how long to wait before asking again, if the exchange said so.
    pub fn wait(&self) -> Option<Duration> {
        match self {
            Self::TooMany { wait, .. } => Some(*wait),
            _ => None,
        }
    }
}

/// A client of one interface.
#[derive(Debug, Clone)]
pub struct Client {
    agent: ureq::Agent,
    base: String,
    klines: &'static str,
    time: &'static str,
}

impl Client {
    /// Makes a client of the interface at `base`, such as [`SPOT`]; of the futures' one where the
    /// address says so (`https://fapi...`).
    pub fn new(base: &str) -> Self {
        let agent = ureq::Agent::config_builder()
            .timeout_global(Some(PATIENCE))
            .http_status_as_error(false)
            .max_redirects(2)
            .build()
            .into();
        let futures = base.contains("//fapi");
        Self {
            agent,
            base: base.trim_end_matches('/').to_owned(),
            klines: if futures {
                "/fapi/v1/klines"
            } else {
                "/api/v3/klines"
            },
            time: if futures {
                "/fapi/v1/time"
            } else {
                "/api/v3/time"
            },
        }
    }

    /// Returns the exchange's clock.
    ///
    /// # Errors
    /// [`BinanceError`] when it does not answer with one.
    pub fn time(&self) -> Result<Timestamp, BinanceError> {
        let url = format!("{}{}", self.base, self.time);
        let value = self.get(&url)?;
        let time = value["serverTime"].as_i64().map(Timestamp);
        time.filter(|time| time.is_plausible())
            .ok_or(BinanceError::Form {
                url,
                reason: "no plausible `serverTime`".to_owned(),
            })
    }

    /// Returns klines from `start` on, at most [`MOST`], ascending and each once; where one comes
    /// twice the later one counts.
    ///
    /// # Errors
    /// [`BinanceError`] when there is no such answer.
    pub fn klines(
        &self,
        instrument: &Instrument,
        timeframe: Timeframe,
        start: Timestamp,
    ) -> Result<Bars, BinanceError> {
        let url = format!(
            "{}{}?symbol={}&interval={timeframe}&startTime={}&limit={MOST}",
            self.base,
            self.klines,
            symbol(instrument),
            start.0.max(0),
        );
        let value = self.get(&url)?;
        parse(&value, instrument, timeframe).map_err(|reason| BinanceError::Form { url, reason })
    }

    fn get(&self, url: &str) -> Result<Value, BinanceError> {
        let network = |reason: String| BinanceError::Network {
            url: url.to_owned(),
            reason,
        };
        let mut answer = self
            .agent
            .get(url)
            .call()
            .map_err(|error| network(error.to_string()))?;
        let status = answer.status().as_u16();
        let after = answer
            .headers()
            .get("retry-after")
            .and_then(|value| value.to_str().ok()?.parse().ok())
            .map(Duration::from_secs);
        let mut text = Vec::new();
        let body = answer.body_mut().as_reader();
        body.take(LARGEST)
            .read_to_end(&mut text)
            .map_err(|error| network(error.to_string()))?;
        match status {
            200 => {}
            429 | 418 => {
                return Err(BinanceError::TooMany {
                    url: url.to_owned(),
                    status,
                    wait: after.unwrap_or(REST).min(Duration::from_secs(3 * 86_400)),
                });
            }
            _ => {
                return Err(BinanceError::Status {
                    url: url.to_owned(),
                    status,
                    text: beginning(&text),
                });
            }
        }
        serde_json::from_slice(&text).map_err(|error| BinanceError::Form {
            url: url.to_owned(),
            reason: format!("{error}; it begins `{}`", beginning(&text)),
        })
    }
}

/// Returns the exchange's name of a pair: `BTCUSDT` for `BTC/USDT` and `BTC/USDT:USDT`.
pub fn symbol(instrument: &Instrument) -> String {
    let pair = instrument.as_str().split(':').next().unwrap_or("");
    pair.chars().filter(char::is_ascii_alphanumeric).collect()
}

fn beginning(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let plain = |c: &char| !c.is_control();
    text.chars().filter(plain).take(120).collect()
}

/// Reads the answer; the reason where it is none.
fn parse(value: &Value, instrument: &Instrument, timeframe: Timeframe) -> Result<Bars, String> {
    let list = value
        .as_array()
        .ok_or_else(|| match value["msg"].as_str() {
            Some(message) => format!("`{}`", beginning(message.as_bytes())),
            None => "no list".to_owned(),
        })?;
    if list.len() > MOST + 500 {
        return Err(format!("{} klines, asked for {MOST}", list.len()));
    }
    let mut rows = Vec::with_capacity(list.len());
    for (index, kline) in list.iter().enumerate() {
        let row = row(kline).map_err(|reason| format!("kline {index}: {reason}"))?;
        if timeframe.bucket_start(row.0) != row.0 {
            let time = Timestamp(row.0);
            return Err(format!(
                "kline {index}: {time} is no start of a `{timeframe}` bar"
            ));
        }
        rows.push(row);
    }
    // A stable sort: of two with one time the later answer counts.
    rows.sort_by_key(|row| row.0);
    let mut bars = Bars::empty(instrument.clone(), timeframe);
    for (index, (time, [open, high, low, close, volume])) in rows.iter().enumerate() {
        if rows.get(index + 1).is_some_and(|next| next.0 == *time) {
            continue;
        }
        bars.open_time.push(*time);
        bars.open.push(*open);
        bars.high.push(*high);
        bars.low.push(*low);
        bars.close.push(*close);
        bars.volume.push(*volume);
    }
    Ok(bars)
}

fn row(kline: &Value) -> Result<(i64, [f64; 5]), String> {
    let fields = kline.as_array().filter(|fields| fields.len() >= 6);
    let fields = fields.ok_or("no array of at least six")?;
    let stamp = fields[0].as_i64().ok_or("no open time")?;
    let unit = EpochUnit::of_integer(stamp).ok_or_else(|| format!("implausible time {stamp}"))?;
    let mut numbers = [0.0; 5];
    for (number, (field, name)) in numbers.iter_mut().zip(
        fields[1..6]
            .iter()
            .zip(["open", "high", "low", "close", "volume"]),
    ) {
        let value = match field {
            Value::String(text) => text.parse().ok(),
            other => other.as_f64(),
        };
        let value = value.filter(|value: &f64| value.is_finite() && *value >= 0.0);
        *number = value.ok_or_else(|| format!("`{name}` is `{field}`, expected a number"))?;
    }
    let [open, high, low, close, _] = numbers;
    if !(low > 0.0 && low <= open.min(close) && high >= open.max(close)) {
        return Err(format!(
            "prices {open}, {high}, {low}, {close} contradict each other"
        ));
    }
    Ok((unit.milliseconds(stamp), numbers))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Bars, String> {
        let value: Value = serde_json::from_str(text).unwrap();
        parse(
            &value,
            &Instrument::new("BTC/USDT").unwrap(),
            Timeframe::HOUR,
        )
    }

    const A: &str = r#"[1704067200000,"42283.58","42554.57","42261.02","42475.23","1271.68",1704070799999,"5.4e7",47134,"682.57","2.8e7","0"]"#;
    const B: &str = r#"[1704070800000,"42475.23","42775.00","42431.65","42613.56","1196.37",1704074399999,"5.0e7",47195,"663.51","2.8e7","0"]"#;

    #[test]
    fn klines_are_read_in_order_and_once() {
        let revised = B.replace("42613.56", "42600.00");
        let bars = read(&format!("[{B},{A},{revised}]")).unwrap();
        assert_eq!(bars.open_time, [1_704_067_200_000, 1_704_070_800_000]);
        assert_eq!(bars.close, [42475.23, 42600.0]);
        assert_eq!(bars.volume[0], 1271.68);
        assert!(read("[]").unwrap().is_empty());
        let micro = A.replace("[1704067200000", "[1704067200000000");
        assert_eq!(
            read(&format!("[{micro}]")).unwrap().open_time,
            [1_704_067_200_000]
        );
    }

    #[test]
    fn what_is_no_kline_is_told() {
        for (text, expect) in [
            (
                r#"{"code":-1121,"msg":"Invalid symbol."}"#.to_owned(),
                "Invalid symbol",
            ),
            ("3".to_owned(), "no list"),
            ("[[1]]".to_owned(), "kline 0: no array"),
            (
                format!("[{}]", A.replace("42554.57", "42000.00")),
                "contradict",
            ),
            (
                format!("[{}]", A.replace("\"42283.58\"", "null")),
                "`open` is `null`",
            ),
            (format!("[{}]", A.replace("42283.58", "NaN")), "`open`"),
            (
                format!("[{A},{}]", B.replace("[1704070800000", "[1704070800001")),
                "kline 1: 2024",
            ),
            (
                format!("[{}]", A.replace("[1704067200000", "[17")),
                "implausible",
            ),
        ] {
            let error = read(&text).unwrap_err();
            assert!(error.contains(expect), "{error}");
        }
    }

    #[test]
    fn symbols_have_no_separators() {
        for name in ["BTC/USDT", "BTC/USDT:USDT"] {
            assert_eq!(symbol(&Instrument::new(name).unwrap()), "BTCUSDT");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_json_panics(text in r#"[\[\]{}0-9,"a-z.:-]{0,80}"#) {
            if let Ok(value) = serde_json::from_str(&text) {
                let _ = parse(&value, &Instrument::new("A").unwrap(), Timeframe::HOUR);
            }
        }
    }
}
