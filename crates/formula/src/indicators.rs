//! The standard set of indicators for the bars of one instrument.

use std::ops::Range;

use market::{Bars, Timeframe};

use crate::{atr, bollinger, ema, macd, percent_b, rsi, volatility};

/// The returns in [`Indicators::volatility`]: three days of hourly bars, so that
/// each hour of the day counts alike.
pub const VOLATILITY_BARS: usize = 72;

const DAY: i64 = 24 * 60 * 60 * 1000;

/// What a hole in the bars means to an indicator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gaps {
    /// Data are missing: indicators start again after the hole.
    Restart,
    /// The market was closed if the hole is at most this long (milliseconds from
    /// the close before it to the open after it): the bar after follows the one
    /// before. Longer holes restart. For foreign exchange, whose indicators
    /// would otherwise never see more than one week.
    ClosedUpTo(i64),
}

impl Gaps {
    /// Returns the longest hole that does not restart, in milliseconds.
    pub(crate) fn bridged(self) -> i64 {
        match self {
            Self::Restart => 0,
            Self::ClosedUpTo(longest) => longest.max(0),
        }
    }

    /// Returns the runs of rows that indicators may cross. Rows that do not
    /// ascend start a new run as well.
    pub(crate) fn runs(self, bars: &Bars) -> Vec<Range<usize>> {
        let mut runs = Vec::new();
        let mut start = 0;
        for row in 1..bars.len() {
            let hole = bars.open_time[row].saturating_sub(bars.close_time(row - 1));
            if !(0..=self.bridged()).contains(&hole) {
                runs.push(start..row);
                start = row;
            }
        }
        if start < bars.len() {
            runs.push(start..bars.len());
        }
        runs
    }
}

/// The standard indicators, one value per bar, NaN where unknown. Row `t` is
/// known at the close of bar `t`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Indicators {
    /// RSI(14), Wilder, in `[0, 100]`.
    pub rsi: Vec<f64>,
    /// MACD(12, 26, 9), in units of price.
    pub macd: Vec<f64>,
    /// The signal line of the MACD.
    pub macd_signal: Vec<f64>,
    /// MACD minus its signal.
    pub macd_histogram: Vec<f64>,
    /// EMA(9) of the close.
    pub ema_9: Vec<f64>,
    /// EMA(21) of the close.
    pub ema_21: Vec<f64>,
    /// EMA(50) of the close.
    pub ema_50: Vec<f64>,
    /// EMA(200) of the close.
    pub ema_200: Vec<f64>,
    /// The upper Bollinger band (20, 2).
    pub bollinger_upper: Vec<f64>,
    /// The middle Bollinger band.
    pub bollinger_middle: Vec<f64>,
    /// The lower Bollinger band.
    pub bollinger_lower: Vec<f64>,
    /// Where the close stands between the bands; NaN also if they have no width.
    pub percent_b: Vec<f64>,
    /// ATR(14), Wilder, in units of price.
    pub atr: Vec<f64>,
    /// The change against the last close at least 24 hours ago, a fraction. NaN
    /// for bars longer than a day.
    pub change_24h: Vec<f64>,
    /// The sample deviation of the last [`VOLATILITY_BARS`] log returns, per bar.
    pub volatility: Vec<f64>,
}

impl Indicators {
    /// Returns the indicators of `bars`, whose rows ascend. After a gap they
    /// start again: nothing is computed across missing data.
    pub fn compute(bars: &Bars) -> Self {
        Self::compute_with(bars, Gaps::Restart)
    }

    /// Returns the indicators of `bars` with a choice of what a gap means.
    pub fn compute_with(bars: &Bars, gaps: Gaps) -> Self {
        let mut all = Self::default();
        for rows in gaps.runs(bars) {
            all.extend(Self::of_run(bars, rows));
        }
        all
    }

    /// Returns the number of rows.
    pub fn len(&self) -> usize {
        self.rsi.len()
    }

    /// Returns whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.rsi.is_empty()
    }

    fn of_run(bars: &Bars, rows: Range<usize>) -> Self {
        let close = &bars.close[rows.clone()];
        let lines = macd(close, 12, 26, 9);
        let bands = bollinger(close, 20, 2.0);
        Self {
            rsi: rsi(close, 14),
            macd: lines.macd,
            macd_signal: lines.signal,
            macd_histogram: lines.histogram,
            ema_9: ema(close, 9),
            ema_21: ema(close, 21),
            ema_50: ema(close, 50),
            ema_200: ema(close, 200),
            percent_b: percent_b(close, &bands),
            bollinger_upper: bands.upper,
            bollinger_middle: bands.middle,
            bollinger_lower: bands.lower,
            atr: atr(&bars.high[rows.clone()], &bars.low[rows.clone()], close, 14),
            change_24h: change_24h(&bars.open_time[rows], close, bars.timeframe),
            volatility: volatility(close, VOLATILITY_BARS),
        }
    }

    fn extend(&mut self, run: Self) {
        self.rsi.extend(run.rsi);
        self.macd.extend(run.macd);
        self.macd_signal.extend(run.macd_signal);
        self.macd_histogram.extend(run.macd_histogram);
        self.ema_9.extend(run.ema_9);
        self.ema_21.extend(run.ema_21);
        self.ema_50.extend(run.ema_50);
        self.ema_200.extend(run.ema_200);
        self.bollinger_upper.extend(run.bollinger_upper);
        self.bollinger_middle.extend(run.bollinger_middle);
        self.bollinger_lower.extend(run.bollinger_lower);
        self.percent_b.extend(run.percent_b);
        self.atr.extend(run.atr);
        self.change_24h.extend(run.change_24h);
        self.volatility.extend(run.volatility);
    }
}

/// Returns the change against the last bar of the run that opened, and so
/// closed, at least a day earlier. In an unbroken run of bars that divide the
/// day this is the change over `24 h / timeframe` bars.
fn change_24h(open_time: &[i64], close: &[f64], timeframe: Timeframe) -> Vec<f64> {
    if timeframe.milliseconds() > DAY {
        return vec![f64::NAN; close.len()];
    }
    let mut before = 0;
    (0..close.len())
        .map(|row| {
            let latest = open_time[row].saturating_sub(DAY);
            while open_time[before] <= latest {
                before += 1;
            }
            match before.checked_sub(1) {
                Some(then) => close[row] / close[then] - 1.0,
                None => f64::NAN,
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::change;
    use market::Instrument;

    const HOUR: i64 = 3_600_000;

    /// Hourly bars at the given hours, each close a function of its hour.
    fn bars(hours: &[i64]) -> Bars {
        let mut bars = Bars::empty(Instrument::new("BTC/USD").unwrap(), Timeframe::HOUR);
        for &hour in hours {
            let close = 100.0 + 7.0 * (hour as f64 * 0.37).sin() + (hour % 5) as f64;
            bars.open_time.push(hour * HOUR);
            bars.open.push(close);
            bars.high.push(close + 1.0);
            bars.low.push(close - 1.0);
            bars.close.push(close);
            bars.volume.push(1.0);
        }
        bars
    }

    fn columns(i: &Indicators) -> [&Vec<f64>; 15] {
        [
            &i.rsi,
            &i.macd,
            &i.macd_signal,
            &i.macd_histogram,
            &i.ema_9,
            &i.ema_21,
            &i.ema_50,
            &i.ema_200,
            &i.bollinger_upper,
            &i.bollinger_middle,
            &i.bollinger_lower,
            &i.percent_b,
            &i.atr,
            &i.change_24h,
            &i.volatility,
        ]
    }

    #[track_caller]
    fn check_equal(a: &[f64], b: &[f64]) {
        let bits = |x: &[f64]| x.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(a), bits(b));
    }

    #[test]
    fn warm_up_ends_where_it_should() {
        let hours: Vec<i64> = (0..300).collect();
        let all = Indicators::compute(&bars(&hours));
        let first = columns(&all).map(|c| c.iter().position(|v| !v.is_nan()).unwrap());
        let expected = [
            14,
            33,
            33,
            33,
            8,
            20,
            49,
            199,
            19,
            19,
            19,
            19,
            14,
            24,
            VOLATILITY_BARS,
        ];
        assert_eq!(first, expected);
        assert_eq!((all.len(), all.is_empty()), (300, false));
    }

    #[test]
    fn indicators_start_again_after_a_gap() {
        let hours: Vec<i64> = (0..250).chain(251..600).collect();
        let all = Indicators::compute(&bars(&hours));
        let second: Vec<i64> = (251..600).collect();
        let alone = Indicators::compute(&bars(&second));
        for (column, expected) in columns(&all).iter().zip(columns(&alone)) {
            assert_eq!(column.len(), hours.len());
            check_equal(&column[250..], expected);
        }
    }

    #[test]
    fn a_closed_market_can_be_bridged_and_a_longer_hole_is_not() {
        let hours: Vec<i64> = (0..250).chain(298..500).chain(700..720).collect();
        let bars = bars(&hours);
        let all = Indicators::compute_with(&bars, Gaps::ClosedUpTo(48 * HOUR));
        check_equal(&all.ema_9[..452], &ema(&bars.close[..452], 9));
        assert!(all.ema_9[452].is_nan());
        // 24 hours before hour 300 the market was closed: hour 249 is the last.
        let expected = bars.close[252] / bars.close[249] - 1.0;
        assert_eq!(all.change_24h[252], expected);
        let shorter = Indicators::compute_with(&bars, Gaps::ClosedUpTo(47 * HOUR));
        assert!(shorter.ema_9[250].is_nan());
    }

    #[test]
    fn change_24h_is_24_hourly_bars_and_nothing_for_weeks() {
        let hours: Vec<i64> = (0..100).collect();
        let mut bars = bars(&hours);
        check_equal(
            &Indicators::compute(&bars).change_24h,
            &change(&bars.close, 24),
        );
        bars.timeframe = "1w".parse().unwrap();
        assert!(
            Indicators::compute(&bars)
                .change_24h
                .iter()
                .all(|v| v.is_nan())
        );
    }

    #[test]
    fn no_bars_give_no_rows() {
        assert!(Indicators::compute(&bars(&[])).is_empty());
    }

    #[test]
    fn rows_that_do_not_ascend_are_not_crossed() {
        let runs = Gaps::ClosedUpTo(i64::MAX).runs(&bars(&[0, 1, 1, 2, 0]));
        assert_eq!(runs, [0..2, 2..4, 4..5]);
    }
}
