//! One market in one JSON object, as `foretune predict` and `POST /v1/decide` take it.
//!
//! The object becomes an as-of view, and the view a prompt by the one renderer. The rule for what
//! is missing: **a number that the prompt shows must be given**; nothing is made up in its place.
//! What the prompt can show as unknown may be missing: `fear_greed` (shown as `n/a`), `headlines`
//! (shown as `none`), and each timeframe's trend (shown as `n/a`). Numbers no prompt shows (`atr`,
//! the MACD's own lines beside its histogram) may be missing.

use std::collections::BTreeMap;

use dataset::{AsOf, DatasetSettings, FrameState, FrameView, Known, Trend};
use market::{Instrument, Timeframe, Timestamp};
use serde::{Deserialize, Serialize};

/// Headlines taken at most; the prompt shows fewer.
const MOST_HEADLINES: usize = 50;

/// A market to decide about.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Request {
    /// The instrument, such as `BTC/USDT`. Required.
    #[serde(alias = "instrument")]
    pub asset: Option<String>,
    /// The last close, in the quote currency. Required.
    pub price: Option<f64>,
    /// The relative change over 24 hours: 0.01 is 1 %. Required.
    #[serde(alias = "change_24h")]
    pub change: Option<f64>,
    /// The indicators.
    pub indicators: Indicators,
    /// The Fear & Greed index, 0 to 100.
    pub fear_greed: Option<f64>,
    /// The last funding rate of a perpetual, a fraction.
    pub funding: Option<f64>,
    /// Headlines, newest first.
    pub headlines: Vec<String>,
    /// The state of each timeframe's last closed bar.
    pub timeframes: BTreeMap<String, Option<Frame>>,
    /// The close of the bar the numbers are of; the present when absent. The prompt does not show
    /// it.
    pub decision_time: Option<Timestamp>,
    /// Another adapter than the one in force, by name or run directory; `base` for none.
    #[serde(rename = "_lora_override")]
    pub lora_override: Option<String>,
}

/// The indicators of a [`Request`], as `formula` defines them.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Indicators {
    /// RSI(14), 0 to 100. Required.
    pub rsi: Option<f64>,
    /// The MACD(12,26,9) line in the quote currency.
    pub macd: Option<f64>,
    /// Its signal line.
    pub macd_signal: Option<f64>,
    /// The line minus its signal. Required, unless both lines are given.
    pub macd_histogram: Option<f64>,
    /// Exponential moving averages of 9, 21, 50 and 200 bars. Required.
    pub ema_9: Option<f64>,
    /// See `ema_9`.
    pub ema_21: Option<f64>,
    /// See `ema_9`.
    pub ema_50: Option<f64>,
    /// See `ema_9`.
    pub ema_200: Option<f64>,
    /// Where the close lies in the Bollinger bands (20, 2): 0 lower, 1 upper. Required.
    #[serde(alias = "bollinger")]
    pub percent_b: Option<f64>,
    /// The average true range over 14 bars; no built-in prompt shows it.
    pub atr: Option<f64>,
    /// The standard deviation of the log return per bar. Required where the prompt names the 24 h
    /// change in words (`dataset.change_zone`).
    pub volatility: Option<f64>,
    /// The typical move over the horizon as a fraction. Required for a volatility-scaled label.
    pub typical_move: Option<f64>,
}

/// The state of one timeframe's last closed bar.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Frame {
    /// Its direction: `up`, `down` or `flat`.
    pub trend: Trend,
    /// Its RSI(14); no built-in prompt shows it.
    #[serde(default)]
    pub rsi: Option<f64>,
}

/// Why a request cannot be answered.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// No JSON object of this form.
    #[error("the request is not of the form expected: {0}")]
    Form(String),
    /// Numbers that the prompt shows are missing.
    #[error("missing: {}; a number that the prompt shows is never made up", .0.join(", "))]
    Missing(Vec<&'static str>),
    /// A value that cannot be used.
    #[error("`{field}`: {reason}")]
    Value {
        /// The field.
        field: String,
        /// What is wrong with it and what was expected.
        reason: String,
    },
}

impl Request {
    /// Reads a request.
    ///
    /// # Errors
    /// [`RequestError::Form`] for anything else, with line and column.
    pub fn parse(text: &[u8]) -> Result<Self, RequestError> {
        serde_json::from_slice(text).map_err(|error| RequestError::Form(error.to_string()))
    }

    /// Returns the market as it could be seen at the decision time, `now` unless it is stated.
    ///
    /// # Errors
    /// [`RequestError::Missing`] with everything that is missing, [`RequestError::Value`] for the
    /// first value that cannot be used.
    pub fn view(&self, settings: &DatasetSettings, now: Timestamp) -> Result<AsOf, RequestError> {
        let time = self.decision_time.unwrap_or(now);
        let known = |value: f64| Known::new(value, time);
        let given = &self.indicators;
        let histogram = given.macd_histogram.or_else(|| {
            let (line, signal) = (given.macd?, given.macd_signal?);
            Some(line - signal)
        });
        let mut missing = Vec::new();
        if self.asset.is_none() {
            missing.push("asset");
        }
        let mut number = |name: &'static str, value: Option<f64>| {
            if value.is_none() {
                missing.push(name);
            }
            known(value.unwrap_or(0.0))
        };
        let price = number("price", self.price);
        let change_24h = number("change", self.change);
        let rsi = number("indicators.rsi", given.rsi);
        let macd_histogram = number("indicators.macd_histogram", histogram);
        let ema = [
            number("indicators.ema_9", given.ema_9),
            number("indicators.ema_21", given.ema_21),
            number("indicators.ema_50", given.ema_50),
            number("indicators.ema_200", given.ema_200),
        ];
        let percent_b = number("indicators.percent_b", given.percent_b);
        let volatility = if settings.change_zone {
            number("indicators.volatility", given.volatility)
        } else {
            known(given.volatility.unwrap_or(0.0))
        };
        let scaled = settings.label.window_bars().is_some();
        let typical_move = scaled.then(|| number("indicators.typical_move", given.typical_move));
        if !missing.is_empty() {
            return Err(RequestError::Missing(missing));
        }
        let name = self.asset.as_deref().unwrap_or_default();
        let instrument = Instrument::new(name).map_err(|error| value("asset", &error))?;
        let headlines = self.headlines.iter().take(MOST_HEADLINES);
        let view = AsOf {
            instrument,
            timeframe: settings.base_timeframe(),
            decision_time: time,
            price,
            change_24h,
            rsi,
            // Only the histogram is shown; what stands for the lines agrees with it.
            macd: known(given.macd.unwrap_or(macd_histogram.value)),
            macd_signal: known(given.macd_signal.unwrap_or(0.0)),
            macd_histogram,
            ema,
            percent_b,
            atr: known(given.atr.unwrap_or(0.0)),
            volatility,
            typical_move,
            fear_greed: self.fear_greed.map(known),
            frames: self.frames(settings, time)?,
            funding: self.funding.map(known),
            headlines: headlines
                .map(|headline| Known::new(headline.clone(), time))
                .collect(),
        };
        view.verify().map_err(|error| RequestError::Value {
            field: "request".to_owned(),
            reason: error.to_string(),
        })?;
        Ok(view)
    }

    fn frames(
        &self,
        settings: &DatasetSettings,
        time: Timestamp,
    ) -> Result<Vec<FrameView>, RequestError> {
        let mut stated = BTreeMap::new();
        for (name, frame) in &self.timeframes {
            let timeframe: Timeframe = name
                .parse()
                .map_err(|error| value(&format!("timeframes.{name}"), &error))?;
            if !settings.timeframes.contains(&timeframe) {
                let known: Vec<String> = settings
                    .timeframes
                    .iter()
                    .map(ToString::to_string)
                    .collect();
                return Err(RequestError::Value {
                    field: format!("timeframes.{name}"),
                    reason: format!("the prompt shows {}", known.join(", ")),
                });
            }
            stated.insert(timeframe.to_string(), *frame);
        }
        let view = |timeframe: &Timeframe| {
            let frame = stated.get(&timeframe.to_string()).copied().flatten();
            FrameView {
                timeframe: *timeframe,
                state: frame.map(|frame| {
                    let state = FrameState {
                        trend: frame.trend,
                        rsi: frame.rsi.unwrap_or(50.0),
                    };
                    Known::new(state, time)
                }),
            }
        };
        Ok(settings.timeframes.iter().map(view).collect())
    }
}

fn value(field: &str, reason: &dyn std::fmt::Display) -> RequestError {
    RequestError::Value {
        field: field.to_owned(),
        reason: reason.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dataset::{Templates, render_prompt};

    const NOW: Timestamp = Timestamp(1_704_067_200_000);
    const FULL: &str = r#"{"asset": "BTC/USDT:USDT", "price": 9412.5, "change": -0.031,
        "indicators": {"rsi": 28.34, "macd": -40.0, "macd_signal": -28.4, "ema_9": 9420.0,
            "ema_21": 9450.0, "ema_50": 9300.0, "ema_200": 9100.0, "percent_b": 0.052,
            "volatility": 0.006},
        "fear_greed": 25, "timeframes": {"1h": {"trend": "down"}, "1d": null}}"#;

    fn prompt(text: &str) -> Result<String, RequestError> {
        let settings = DatasetSettings::default();
        let view = Request::parse(text.as_bytes())?.view(&settings, NOW)?;
        Ok(render_prompt(&view, &Templates::load(&settings).unwrap(), &settings).unwrap())
    }

    fn without(key: &str) -> serde_json::Value {
        let mut value: serde_json::Value = serde_json::from_str(FULL).unwrap();
        match key.split_once('.') {
            Some((part, key)) => value[part].as_object_mut().unwrap().remove(key),
            None => value.as_object_mut().unwrap().remove(key),
        };
        value
    }

    #[test]
    fn a_request_becomes_the_prompt_of_a_view() {
        let text = prompt(FULL).unwrap();
        let expect = "Asset: BTC/USDT\nPrice: 9412.5\n24h change: -3.1% (down)\nRSI(14): 28.3 (oversold)\n\
                      MACD: -12bp (bearish)\nEMA(50): +1.2% (mixed)\nBollinger: 0.05 (near lower)\n\
                      Fear & Greed: 25 (extreme fear)\nTrend: 1h down 4h n/a 1d n/a\nHeadlines: none";
        assert!(text.ends_with(expect), "{text}");
    }

    #[test]
    fn numbers_that_are_shown_must_be_given() {
        for key in [
            "asset",
            "price",
            "change",
            "indicators.rsi",
            "indicators.ema_200",
            "indicators.percent_b",
            "indicators.volatility",
        ] {
            let error = prompt(&without(key).to_string()).unwrap_err().to_string();
            assert!(error.starts_with(&format!("missing: {key};")), "{error}");
        }
        let error = prompt("{}").unwrap_err().to_string();
        assert!(
            error.contains("asset, price, change, indicators.rsi"),
            "{error}"
        );
        let error = prompt(&without("indicators.macd").to_string()).unwrap_err();
        assert!(error.to_string().contains("macd_histogram"), "{error}");
    }

    #[test]
    fn what_can_be_shown_as_unknown_may_be_missing() {
        for (key, expect) in [
            ("fear_greed", "Fear & Greed: n/a (neutral)"),
            ("timeframes", "Trend: 1h n/a 4h n/a 1d n/a"),
        ] {
            let text = prompt(&without(key).to_string()).unwrap();
            assert!(text.contains(expect), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        for (from, to, expect) in [
            ("BTC/USDT:USDT", "../../etc", "`asset`"),
            ("9412.5", "-1", "price"),
            ("28.34", "280", "rsi"),
            ("\"1h\"", "\"3h\"", "the prompt shows 1h, 4h, 1d"),
            ("\"down\"", "\"sideways\"", "sideways"),
            ("\"price\"", "\"prise\"", "unknown field `prise`"),
            ("9412.5", "1e999", "number out of range"),
        ] {
            let text = FULL.replacen(from, to, 1);
            let error = prompt(&text).unwrap_err().to_string();
            assert!(error.contains(expect), "{to}: {error}");
        }
        assert!(matches!(prompt("[1]"), Err(RequestError::Form(_))));
    }
}
