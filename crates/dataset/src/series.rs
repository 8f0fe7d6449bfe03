//! One instrument made ready: its indicators, longer timeframes and outcomes, and the view at any
//! of its bars.
//!
//! The view at a bar is built from values at that bar or before it. Indicators are recursive
//! forward in time, so those of a longer history agree bit for bit with those of a history cut off
//! at the bar; a property test holds that.

use formula::{Indicators, MultiTimeframe};
use market::{Bars, Surroundings, Timestamp};

use crate::as_of::{FrameState, FrameView};
use crate::facts::MOST_HEADLINES;
use crate::labels::{Outcomes, outcomes};
use crate::{AsOf, DatasetError, DatasetSettings, Known};

/// A funding rate older than this is no longer the current one: a day.
const OLDEST_FUNDING: i64 = 86_400_000;

/// One instrument made ready for decisions.
pub struct Series<'a> {
    bars: &'a Bars,
    surroundings: Option<&'a Surroundings>,
    settings: &'a DatasetSettings,
    indicators: Indicators,
    frames: MultiTimeframe,
    outcomes: Outcomes,
}

impl<'a> Series<'a> {
    /// Computes everything that views of these bars need. The bars have passed
    /// [`Bars::validate`], the settings [`DatasetSettings::validate`].
    ///
    /// # Errors
    /// [`DatasetError::Formula`] for a timeframe that is not a whole number of these bars.
    pub fn new(
        bars: &'a Bars,
        surroundings: Option<&'a Surroundings>,
        settings: &'a DatasetSettings,
    ) -> Result<Self, DatasetError> {
        let gaps = settings.gaps();
        Ok(Self {
            bars,
            surroundings,
            settings,
            indicators: Indicators::compute_with(bars, gaps),
            frames: MultiTimeframe::compute_with(bars, &settings.timeframes, gaps)?,
            outcomes: outcomes(bars, settings),
        })
    }

    /// Returns what happened after each bar.
    pub fn outcomes(&self) -> &Outcomes {
        &self.outcomes
    }

    /// Returns the market as it could be seen at the close of a bar; none while an indicator is
    /// warming up, at the start and after each gap.
    pub fn view(&self, row: usize) -> Option<AsOf> {
        let decision_time = Timestamp(self.bars.close_time(row));
        // A NaN is a warm-up. Whatever is known at this bar became known at its close.
        let known = |column: &[f64]| {
            let value = column[row];
            value.is_finite().then(|| Known::new(value, decision_time))
        };
        let indicators = &self.indicators;
        let typical_move = match self.settings.label.window_bars() {
            None => None,
            Some(_) => Some(Known::new(self.outcomes.typical_move(row)?, decision_time)),
        };
        Some(AsOf {
            instrument: self.bars.instrument.clone(),
            timeframe: self.bars.timeframe,
            decision_time,
            price: known(&self.bars.close)?,
            change_24h: known(&indicators.change_24h)?,
            rsi: known(&indicators.rsi)?,
            macd: known(&indicators.macd)?,
            macd_signal: known(&indicators.macd_signal)?,
            macd_histogram: known(&indicators.macd_histogram)?,
            ema: [
                known(&indicators.ema_9)?,
                known(&indicators.ema_21)?,
                known(&indicators.ema_50)?,
                known(&indicators.ema_200)?,
            ],
            percent_b: known(&indicators.percent_b)?,
            atr: known(&indicators.atr)?,
            volatility: known(&indicators.volatility)?,
            typical_move,
            fear_greed: self.fear_greed(decision_time),
            funding: self.funding(decision_time),
            frames: self.frames(decision_time),
            headlines: self.headlines(decision_time),
        })
    }

    /// The last published reading, unless it is too old to say anything.
    fn fear_greed(&self, decision_time: Timestamp) -> Option<Known<f64>> {
        let lag = self.settings.fear_greed_lag();
        let index = self.surroundings?.fear_greed.as_ref()?;
        let reading = index.as_of(decision_time.0, lag)?;
        let age = decision_time.0 - reading.available_at.0;
        (age <= self.settings.fear_greed_max_age())
            .then(|| Known::new(f64::from(reading.value), reading.available_at))
    }

    /// The last funding rate paid, unless payments have stopped.
    fn funding(&self, decision_time: Timestamp) -> Option<Known<f64>> {
        let (paid, rate) = self
            .surroundings?
            .funding(&self.bars.instrument, decision_time.0)?;
        (decision_time.0 - paid.0 <= OLDEST_FUNDING).then(|| Known::new(rate, paid))
    }

    /// The newest headlines about this market.
    fn headlines(&self, decision_time: Timestamp) -> Vec<Known<String>> {
        let Some(all) = self.surroundings.and_then(|s| s.headlines.as_ref()) else {
            return Vec::new();
        };
        let found = all.as_of(
            decision_time.0,
            self.settings.headlines_lag(),
            self.settings.headlines_max_age(),
            &self.bars.instrument,
            MOST_HEADLINES,
        );
        found
            .into_iter()
            .map(|(available_at, text)| Known::new(text.to_owned(), available_at))
            .collect()
    }

    /// The state of each timeframe's last closed bar, where it is the current one.
    fn frames(&self, decision_time: Timestamp) -> Vec<FrameView> {
        let states = self.frames.as_of(decision_time.0);
        let view = |(&timeframe, state): (_, Option<formula::FrameState>)| FrameView {
            timeframe,
            state: state.map(|state| {
                let shown = FrameState {
                    trend: state.trend,
                    rsi: state.rsi,
                };
                Known::new(shown, state.close_time)
            }),
        };
        let timeframes = &self.settings.timeframes;
        timeframes.iter().zip(states).map(view).collect()
    }
}
