//! What longer timeframes said at an instant, each bar only once it had closed.

use market::{Bars, Timeframe, Timestamp};
use serde::{Deserialize, Serialize};

use crate::zones::{Trend, trend};
use crate::{FormulaError, Gaps, Indicators};

/// The last closed bar of one timeframe, and what its indicators said.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct FrameState {
    /// The timeframe of the bar.
    pub timeframe: Timeframe,
    /// When the bar closed, at or before the decision time.
    pub close_time: Timestamp,
    /// Its close.
    pub close: f64,
    /// EMA(21) of the close.
    pub ema_21: f64,
    /// RSI(14), Wilder.
    pub rsi: f64,
    /// ATR(14), Wilder.
    pub atr: f64,
    /// The close relative to EMA(21), see [`trend`].
    pub trend: Trend,
}

/// Several timeframes of one instrument, ready to be asked for any instant.
#[derive(Debug, Clone)]
pub struct MultiTimeframe {
    frames: Vec<Frame>,
    bridged: i64,
}

#[derive(Debug, Clone)]
struct Frame {
    timeframe: Timeframe,
    close_time: Vec<i64>,
    close: Vec<f64>,
    ema_21: Vec<f64>,
    rsi: Vec<f64>,
    atr: Vec<f64>,
}

impl MultiTimeframe {
    /// Returns the view of `bars`, whose rows ascend, in each of `frames`. A
    /// longer bar exists only where all of its parts do; after a gap indicators
    /// start again.
    ///
    /// # Errors
    /// [`FormulaError::Frame`] for a timeframe that is not a whole number of
    /// `bars`.
    pub fn compute(bars: &Bars, frames: &[Timeframe]) -> Result<Self, FormulaError> {
        Self::compute_with(bars, frames, Gaps::Restart)
    }

    /// Returns the view with a choice of what a gap means.
    ///
    /// # Errors
    /// See [`MultiTimeframe::compute`].
    pub fn compute_with(
        bars: &Bars,
        frames: &[Timeframe],
        gaps: Gaps,
    ) -> Result<Self, FormulaError> {
        let frames: Result<Vec<Frame>, FormulaError> = frames
            .iter()
            .map(|&timeframe| {
                if timeframe == bars.timeframe {
                    Ok(Frame::of(bars, gaps))
                } else if bars.timeframe.divides(timeframe) {
                    Ok(Frame::of(&bars.resample(timeframe), gaps))
                } else {
                    Err(FormulaError::Frame {
                        frame: timeframe,
                        bars: bars.timeframe,
                    })
                }
            })
            .collect();
        Ok(Self {
            frames: frames?,
            bridged: gaps.bridged(),
        })
    }

    /// Returns, for each timeframe in the order given, its last bar with
    /// `close_time <= decision_time` (Unix milliseconds). `None` while the
    /// indicators warm up, and where the bar that should have closed last is
    /// missing: an old bar is never passed off as the current one. Takes
    /// `O(log n)` per timeframe.
    pub fn as_of(&self, decision_time: i64) -> Vec<Option<FrameState>> {
        let state = |frame: &Frame| frame.as_of(decision_time, self.bridged);
        self.frames.iter().map(state).collect()
    }
}

impl Frame {
    fn of(bars: &Bars, gaps: Gaps) -> Self {
        let indicators = Indicators::compute_with(bars, gaps);
        Self {
            timeframe: bars.timeframe,
            close_time: (0..bars.len()).map(|row| bars.close_time(row)).collect(),
            close: bars.close.clone(),
            ema_21: indicators.ema_21,
            rsi: indicators.rsi,
            atr: indicators.atr,
        }
    }

    fn as_of(&self, decision_time: i64, bridged: i64) -> Option<FrameState> {
        let closed = self.close_time.partition_point(|&t| t <= decision_time);
        let row = closed.checked_sub(1)?;
        let next_close = self.timeframe.next(self.close_time[row]);
        if next_close.saturating_add(bridged) <= decision_time {
            return None;
        }
        let (close, ema_21) = (self.close[row], self.ema_21[row]);
        let (rsi, atr) = (self.rsi[row], self.atr[row]);
        if rsi.is_nan() {
            return None;
        }
        Some(FrameState {
            timeframe: self.timeframe,
            close_time: Timestamp(self.close_time[row]),
            close,
            ema_21,
            rsi,
            atr,
            trend: trend(close, ema_21, atr)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use market::Instrument;

    const HOUR: i64 = 3_600_000;
    const FRAMES: [Timeframe; 3] = [Timeframe::HOUR, Timeframe::FOUR_HOURS, Timeframe::DAY];

    fn bars(hours: impl Iterator<Item = i64>, close: impl Fn(i64) -> f64) -> Bars {
        let mut bars = Bars::empty(Instrument::new("BTC/USD").unwrap(), Timeframe::HOUR);
        for hour in hours {
            let close = close(hour);
            bars.open_time.push(hour * HOUR);
            bars.open.push(close);
            bars.high.push(close * 1.001);
            bars.low.push(close * 0.999);
            bars.close.push(close);
            bars.volume.push(1.0);
        }
        bars
    }

    #[test]
    fn only_closed_bars_are_seen() {
        let bars = bars(0..24 * 40, |hour| 100.0 + hour as f64);
        let view = MultiTimeframe::compute(&bars, &FRAMES).unwrap();
        // At 30 days and 7 hours: hour 6 has closed, so has the block 0-4, and
        // the day before.
        let decision = (30 * 24 + 7) * HOUR;
        let states = view.as_of(decision);
        let closes: Vec<i64> = states
            .iter()
            .map(|s| s.unwrap().close_time.0 / HOUR - 30 * 24)
            .collect();
        assert_eq!(closes, [7, 4, 0]);
        assert_eq!(states[2].unwrap().close, 100.0 + (30 * 24 - 1) as f64);
        // A millisecond before its close the hour is not there yet.
        let states = view.as_of(decision - 1);
        assert_eq!(states[0].unwrap().close_time.0 / HOUR - 30 * 24, 6);
    }

    #[test]
    fn unknown_before_the_warm_up_and_before_the_first_bar() {
        let bars = bars(0..24 * 40, |hour| 100.0 + hour as f64);
        let view = MultiTimeframe::compute(&bars, &FRAMES).unwrap();
        assert_eq!(view.as_of(0), [None; 3]);
        assert_eq!(view.as_of(i64::MIN), [None; 3]);
        let warm = |t: i64| view.as_of(t * HOUR).map_known();
        assert_eq!(warm(20), [false, false, false]);
        assert_eq!(warm(21), [true, false, false]);
        assert_eq!(warm(84), [true, true, false]);
        assert_eq!(warm(21 * 24), [true, true, true]);
    }

    trait MapKnown {
        fn map_known(self) -> Vec<bool>;
    }
    impl MapKnown for Vec<Option<FrameState>> {
        fn map_known(self) -> Vec<bool> {
            self.into_iter().map(|s| s.is_some()).collect()
        }
    }

    #[test]
    fn a_missing_bar_is_not_papered_over() {
        let missing = 30 * 24 + 2;
        let hours = (0..24 * 60).filter(|&hour| hour != missing);
        let bars = bars(hours, |hour| 100.0 + hour as f64);
        let view = MultiTimeframe::compute(&bars, &FRAMES).unwrap();
        // The hour after it, its block of four and its day never close.
        let known = |hour: i64| view.as_of((30 * 24 + hour) * HOUR).map_known();
        assert_eq!(known(2), [true, true, true]);
        assert_eq!(known(3), [false, true, true]);
        assert_eq!(known(4), [false, false, true]);
        assert_eq!(known(24), [true, false, false]);
        // Past the end of the data nothing is current.
        assert_eq!(view.as_of(24 * 60 * HOUR).map_known(), [true, true, true]);
        assert_eq!(view.as_of(24 * 70 * HOUR).map_known(), [false; 3]);
    }

    #[test]
    fn a_closed_market_keeps_its_last_bars() {
        let week = |hour: &i64| hour % 168 < 120;
        let bars = bars((0..168 * 8).filter(week), |hour| 100.0 + hour as f64);
        let gaps = Gaps::ClosedUpTo(48 * HOUR);
        let view = MultiTimeframe::compute_with(&bars, &FRAMES, gaps).unwrap();
        let monday = (7 * 168 + 1) * HOUR;
        let states = view.as_of(monday);
        assert_eq!(states[2].unwrap().close_time.0, (7 * 168 - 48) * HOUR);
        let restarted = MultiTimeframe::compute(&bars, &FRAMES).unwrap();
        assert_eq!(restarted.as_of(monday), [None; 3]);
    }

    #[test]
    fn frames_have_to_nest() {
        let mut bars = bars(0..10, |_| 1.0);
        bars.timeframe = Timeframe::FOUR_HOURS;
        let error = MultiTimeframe::compute(&bars, &[Timeframe::HOUR]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "timeframe `1h` cannot be made of `4h` bars, expected a whole number of them"
        );
        assert!(error.hint().is_some());
    }
}
