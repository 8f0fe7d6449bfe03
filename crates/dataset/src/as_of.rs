//! The view of one market at one instant: all that a prompt, an answer or a feature may use.
//!
//! Every value carries the instant from which it is known. Whatever renders a view first calls
//! [`AsOf::verify`], so a fact from the future is an error and never a word in a prompt. A view
//! says nothing about what happened next: the outcome lives in [`crate::Example`] only.

use std::collections::BTreeMap;

use formula::zones::Trend;
use market::{Instrument, Timeframe, Timestamp};
use serde::{Deserialize, Serialize};

use crate::DatasetError;

/// A value and when it became known.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Known<T> {
    /// The value.
    pub value: T,
    /// The first instant at which it could be used.
    pub available_at: Timestamp,
}

impl<T> Known<T> {
    /// Returns a value known from an instant on.
    pub fn new(value: T, available_at: Timestamp) -> Self {
        Self {
            value,
            available_at,
        }
    }
}

/// What the last closed bar of one timeframe says.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FrameState {
    /// Its direction.
    pub trend: Trend,
    /// Its RSI(14), 0 to 100.
    pub rsi: f64,
}

/// One timeframe of the multi-timeframe view.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FrameView {
    /// The timeframe.
    pub timeframe: Timeframe,
    /// Its state; none during its warm-up and after a gap.
    #[serde(default)]
    pub state: Option<Known<FrameState>>,
}

/// One market as it could be seen at one decision time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AsOf {
    /// What is traded.
    pub instrument: Instrument,
    /// The timeframe of the bars.
    pub timeframe: Timeframe,
    /// When the model is asked: the close of the last bar.
    pub decision_time: Timestamp,
    /// The last close, in the quote currency, above 0.
    pub price: Known<f64>,
    /// The relative change of the close over 24 hours: 0.01 is 1 %.
    pub change_24h: Known<f64>,
    /// RSI(14), 0 to 100.
    pub rsi: Known<f64>,
    /// The MACD(12,26,9) line, in the quote currency.
    pub macd: Known<f64>,
    /// Its signal line.
    pub macd_signal: Known<f64>,
    /// The line minus its signal.
    pub macd_histogram: Known<f64>,
    /// The exponential moving averages of 9, 21, 50 and 200 bars, in the quote currency.
    pub ema: [Known<f64>; 4],
    /// Where the close lies in the Bollinger bands (20, 2): 0 the lower, 1 the upper band.
    pub percent_b: Known<f64>,
    /// The average true range over 14 bars, in the quote currency.
    pub atr: Known<f64>,
    /// The standard deviation of the log return per bar.
    pub volatility: Known<f64>,
    /// The typical move over the horizon as a fraction of the price, `sigma * sqrt(h)`; only for
    /// a volatility-scaled label.
    #[serde(default)]
    pub typical_move: Option<Known<f64>>,
    /// The Fear & Greed index, 0 to 100, if a recent reading is known.
    #[serde(default)]
    pub fear_greed: Option<Known<f64>>,
    /// The last funding rate paid, a fraction of the position's value; for perpetuals.
    #[serde(default)]
    pub funding: Option<Known<f64>>,
    /// The multi-timeframe view.
    pub frames: Vec<FrameView>,
    /// Headlines, newest first.
    #[serde(default)]
    pub headlines: Vec<Known<String>>,
}

/// The periods of [`AsOf::ema`], in bars.
pub const EMA_PERIODS: [u32; 4] = [9, 21, 50, 200];

impl AsOf {
    /// Checks that every fact was known at the decision time and is a number that can be shown.
    ///
    /// # Errors
    /// [`DatasetError::NotYetKnown`] for a fact from after the decision time,
    /// [`DatasetError::BadFact`] for one that is not finite or out of its range.
    pub fn verify(&self) -> Result<(), DatasetError> {
        for (name, available_at) in self.times() {
            if available_at > self.decision_time {
                return Err(DatasetError::NotYetKnown {
                    fact: name,
                    instrument: self.instrument.clone(),
                    available_at,
                    decision_time: self.decision_time,
                });
            }
        }
        let finite = "a finite number";
        let positive = "a positive number";
        self.check("price", self.price.value, positive, |x| x > 0.0)?;
        self.check("change_24h", self.change_24h.value, "above -1", |x| {
            x > -1.0
        })?;
        self.check("rsi", self.rsi.value, "0 to 100", percentage)?;
        self.check("macd", self.macd.value, finite, |_| true)?;
        self.check("macd_signal", self.macd_signal.value, finite, |_| true)?;
        self.check("macd_histogram", self.macd_histogram.value, finite, |_| {
            true
        })?;
        for ema in &self.ema {
            self.check("ema", ema.value, positive, |x| x > 0.0)?;
        }
        self.check("percent_b", self.percent_b.value, finite, |_| true)?;
        self.check("atr", self.atr.value, "0 or more", |x| x >= 0.0)?;
        self.check("volatility", self.volatility.value, "0 or more", |x| {
            x >= 0.0
        })?;
        if let Some(typical) = self.typical_move {
            self.check("typical_move", typical.value, "0 or more", |x| x >= 0.0)?;
        }
        if let Some(reading) = self.fear_greed {
            self.check("fear_greed", reading.value, "0 to 100", percentage)?;
        }
        if let Some(funding) = self.funding {
            self.check("funding", funding.value, "-1 to 1", |x| x.abs() <= 1.0)?;
        }
        for state in self.frames.iter().filter_map(|frame| frame.state) {
            self.check("frame rsi", state.value.rsi, "0 to 100", percentage)?;
        }
        Ok(())
    }

    fn check(
        &self,
        fact: &'static str,
        value: f64,
        expected: &'static str,
        fits: impl Fn(f64) -> bool,
    ) -> Result<(), DatasetError> {
        if value.is_finite() && fits(value) {
            return Ok(());
        }
        Err(DatasetError::BadFact {
            fact,
            instrument: self.instrument.clone(),
            decision_time: self.decision_time,
            value,
            expected,
        })
    }

    /// Lists every fact with the instant from which it is known.
    fn times(&self) -> Vec<(String, Timestamp)> {
        let mut times: Vec<(String, Timestamp)> = [
            ("price", &self.price),
            ("change_24h", &self.change_24h),
            ("rsi", &self.rsi),
            ("macd", &self.macd),
            ("macd_signal", &self.macd_signal),
            ("macd_histogram", &self.macd_histogram),
            ("percent_b", &self.percent_b),
            ("atr", &self.atr),
            ("volatility", &self.volatility),
        ]
        .into_iter()
        .chain(self.ema.iter().map(|ema| ("ema", ema)))
        .chain(
            self.typical_move
                .iter()
                .map(|known| ("typical_move", known)),
        )
        .chain(self.fear_greed.iter().map(|known| ("fear_greed", known)))
        .chain(self.funding.iter().map(|known| ("funding", known)))
        .map(|(name, known)| (name.to_owned(), known.available_at))
        .collect();
        for frame in &self.frames {
            if let Some(state) = frame.state {
                times.push((format!("trend_{}", frame.timeframe), state.available_at));
            }
        }
        for headline in &self.headlines {
            times.push(("headlines".to_owned(), headline.available_at));
        }
        times
    }

    /// Returns the numbers of the view free of the price's scale, for the baselines that learn
    /// from numbers. The keys are the same for every view with the same timeframes: a missing
    /// reading is a neutral value beside a `_known` flag of 0.
    pub fn features(&self) -> BTreeMap<String, f64> {
        let price = self.price.value;
        let mut features: BTreeMap<String, f64> = [
            ("change_24h", self.change_24h.value),
            ("rsi", self.rsi.value),
            ("macd_over_price", self.macd.value / price),
            (
                "macd_histogram_over_price",
                self.macd_histogram.value / price,
            ),
            ("percent_b", self.percent_b.value),
            ("atr_over_price", self.atr.value / price),
            ("volatility", self.volatility.value),
            (
                "fear_greed",
                self.fear_greed.map_or(50.0, |known| known.value),
            ),
            ("funding", self.funding.map_or(0.0, |known| known.value)),
            ("funding_known", f64::from(u8::from(self.funding.is_some()))),
            (
                "fear_greed_known",
                f64::from(u8::from(self.fear_greed.is_some())),
            ),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
        for (period, ema) in EMA_PERIODS.into_iter().zip(&self.ema) {
            features.insert(format!("price_over_ema_{period}"), price / ema.value - 1.0);
        }
        for frame in &self.frames {
            let state = frame.state.map(|known| known.value);
            let name = |what: &str| format!("{what}_{}", frame.timeframe);
            features.insert(name("trend"), state.map_or(0.0, |state| sign(state.trend)));
            // The base timeframe's RSI is `rsi` already.
            if frame.timeframe != self.timeframe {
                features.insert(name("rsi"), state.map_or(50.0, |state| state.rsi));
                let known = f64::from(u8::from(state.is_some()));
                features.insert(format!("{}_known", name("trend")), known);
            }
        }
        features
    }
}

fn sign(trend: Trend) -> f64 {
    match trend {
        Trend::Up => 1.0,
        Trend::Down => -1.0,
        Trend::Flat => 0.0,
    }
}

fn percentage(value: f64) -> bool {
    (0.0..=100.0).contains(&value)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A view in which the RSI is oversold and the MACD bearish.
    pub(crate) fn view() -> AsOf {
        let now: Timestamp = "2019-03-01T12:00:00Z".parse().unwrap();
        let known = |value: f64| Known::new(value, now);
        AsOf {
            instrument: Instrument::new("BTC/USDT:USDT").unwrap(),
            timeframe: Timeframe::HOUR,
            decision_time: now,
            price: known(9412.5),
            change_24h: known(-0.031),
            rsi: known(28.34),
            macd: known(-40.0),
            macd_signal: known(-28.4),
            macd_histogram: known(-11.6),
            ema: [9420.0, 9450.0, 9300.0, 9100.0].map(known),
            percent_b: known(0.052),
            atr: known(80.0),
            volatility: known(0.006),
            typical_move: None,
            fear_greed: Some(Known::new(25.0, Timestamp(now.0 - 3_600_000))),
            funding: None,
            frames: vec![
                FrameView {
                    timeframe: Timeframe::HOUR,
                    state: Some(Known::new(
                        FrameState {
                            trend: Trend::Down,
                            rsi: 28.34,
                        },
                        now,
                    )),
                },
                FrameView {
                    timeframe: Timeframe::DAY,
                    state: None,
                },
            ],
            headlines: Vec::new(),
        }
    }

    #[test]
    fn a_sound_view_passes_and_round_trips() {
        let view = view();
        view.verify().unwrap();
        let json = serde_json::to_string(&view).unwrap();
        assert_eq!(serde_json::from_str::<AsOf>(&json).unwrap(), view);
    }

    #[test]
    fn every_fact_from_the_future_is_refused() {
        type Change = fn(&mut AsOf, Timestamp);
        let later = Timestamp(view().decision_time.0 + 1);
        let changes: [(&str, Change); 9] = [
            ("price", |v, t| v.price.available_at = t),
            ("rsi", |v, t| v.rsi.available_at = t),
            ("macd_signal", |v, t| v.macd_signal.available_at = t),
            ("ema", |v, t| v.ema[3].available_at = t),
            ("atr", |v, t| v.atr.available_at = t),
            ("typical_move", |v, t| {
                v.typical_move = Some(Known::new(0.1, t));
            }),
            ("fear_greed", |v, t| {
                v.fear_greed = Some(Known::new(1.0, t));
            }),
            ("trend_1h", |v, t| {
                let state = v.frames[0].state.as_mut().unwrap();
                state.available_at = t;
            }),
            ("headlines", |v, t| {
                v.headlines.push(Known::new(String::new(), t));
            }),
        ];
        for (name, change) in changes {
            let mut view = view();
            change(&mut view, later);
            match view.verify().unwrap_err() {
                DatasetError::NotYetKnown { fact, .. } => assert_eq!(fact, name),
                other => panic!("{name}: {other}"),
            }
        }
    }

    #[test]
    fn numbers_that_cannot_be_shown_are_refused() {
        type Change = fn(&mut AsOf);
        let changes: [(&str, Change); 5] = [
            ("price", |v| v.price.value = 0.0),
            ("rsi", |v| v.rsi.value = 100.5),
            ("ema", |v| v.ema[0].value = f64::NAN),
            ("percent_b", |v| v.percent_b.value = f64::INFINITY),
            ("frame rsi", |v| {
                v.frames[0].state.as_mut().unwrap().value.rsi = -1.0;
            }),
        ];
        for (name, change) in changes {
            let mut view = view();
            change(&mut view);
            match view.verify().unwrap_err() {
                DatasetError::BadFact { fact, .. } => assert_eq!(fact, name),
                other => panic!("{name}: {other}"),
            }
        }
    }

    #[test]
    fn features_are_free_of_the_price_scale() {
        let view = view();
        let mut scaled = view.clone();
        for known in [
            &mut scaled.price,
            &mut scaled.macd,
            &mut scaled.macd_signal,
            &mut scaled.macd_histogram,
            &mut scaled.atr,
        ] {
            known.value *= 8.0;
        }
        for ema in &mut scaled.ema {
            ema.value *= 8.0;
        }
        assert_eq!(view.features(), scaled.features());
        assert_eq!(view.features()["trend_1d_known"], 0.0);
        assert_eq!(view.features()["trend_1h"], -1.0);
    }
}
