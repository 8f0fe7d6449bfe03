//! Bars of one instrument on one clock, and the holes between them.
//!
//! What a table has to pass is in `validate`; longer bars are made in `resample`.

use std::fmt;
use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::{Instrument, Timeframe, Timestamp};

/// Candles of one instrument, one column per quantity, all of the same length.
///
/// Row `i` covers `[open_time[i], close_time(i))`. Its values are known at its close, never before.
#[derive(Debug, Clone, PartialEq)]
pub struct Bars {
    /// What is traded.
    pub instrument: Instrument,
    /// The span of each bar.
    pub timeframe: Timeframe,
    /// Open times, Unix milliseconds, UTC, ascending.
    pub open_time: Vec<i64>,
    /// First price of each bar, in the quote currency.
    pub open: Vec<f64>,
    /// Highest price of each bar.
    pub high: Vec<f64>,
    /// Lowest price of each bar.
    pub low: Vec<f64>,
    /// Last price of each bar.
    pub close: Vec<f64>,
    /// Volume of each bar, in the source's unit, zero or more.
    pub volume: Vec<f64>,
}

/// A hole in a table of bars: whole bars that are not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// The last row before the hole, from 0.
    pub after_row: usize,
    /// The open time of the first missing bar.
    pub from: Timestamp,
    /// The open time of the first bar after the hole.
    pub to: Timestamp,
    /// How many bars are missing.
    pub missing: usize,
}

impl fmt::Display for Gap {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{} bars missing after row {}, from {} to {}",
            self.missing, self.after_row, self.from, self.to
        )
    }
}

impl Bars {
    /// Returns bars without rows.
    pub fn empty(instrument: Instrument, timeframe: Timeframe) -> Self {
        Self {
            instrument,
            timeframe,
            open_time: Vec::new(),
            open: Vec::new(),
            high: Vec::new(),
            low: Vec::new(),
            close: Vec::new(),
            volume: Vec::new(),
        }
    }

    /// Returns the number of rows.
    pub fn len(&self) -> usize {
        self.open_time.len()
    }

    /// Reports whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.open_time.is_empty()
    }

    /// Returns when bar `row` closes and its values become known, Unix milliseconds.
    ///
    /// # Panics
    /// Where `row` is not a row.
    pub fn close_time(&self, row: usize) -> i64 {
        self.timeframe.next(self.open_time[row])
    }

    /// Returns the open time of the first row and the close time of the last.
    pub fn period(&self) -> Option<(Timestamp, Timestamp)> {
        let (first, last) = (self.open_time.first()?, self.open_time.last()?);
        Some((Timestamp(*first), Timestamp(self.timeframe.next(*last))))
    }

    /// Lists the holes between rows, in time order.
    pub fn gaps(&self) -> Vec<Gap> {
        let mut gaps = Vec::new();
        for (row, pair) in self.open_time.windows(2).enumerate() {
            let (from, to) = (self.timeframe.next(pair[0]), pair[1]);
            if to > from {
                let missing = (to.saturating_sub(from) / self.timeframe.milliseconds()).max(1);
                gaps.push(Gap {
                    after_row: row,
                    from: Timestamp(from),
                    to: Timestamp(to),
                    missing: missing as usize,
                });
            }
        }
        gaps
    }

    /// Returns the rows of a range.
    ///
    /// # Panics
    /// Where the range reaches beyond the rows.
    #[must_use]
    pub fn slice(&self, rows: Range<usize>) -> Self {
        Self {
            instrument: self.instrument.clone(),
            timeframe: self.timeframe,
            open_time: self.open_time[rows.clone()].to_vec(),
            open: self.open[rows.clone()].to_vec(),
            high: self.high[rows.clone()].to_vec(),
            low: self.low[rows.clone()].to_vec(),
            close: self.close[rows.clone()].to_vec(),
            volume: self.volume[rows].to_vec(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_are_listed_in_whole_bars() {
        let hour = 3_600_000;
        let start = 1_551_441_600_000;
        let mut bars = Bars::empty(Instrument::new("BTC/USDT").unwrap(), Timeframe::HOUR);
        assert!(bars.is_empty());
        assert_eq!(bars.period(), None);
        bars.open_time = [0, 1, 4, 5, 7].map(|hours| start + hours * hour).to_vec();
        let gap = |after_row, from, to, missing| Gap {
            after_row,
            from: Timestamp(start + from * hour),
            to: Timestamp(start + to * hour),
            missing,
        };
        assert_eq!(bars.gaps(), [gap(1, 2, 4, 2), gap(3, 6, 7, 1)]);
        assert_eq!(bars.close_time(4), start + 8 * hour);
        assert_eq!(
            bars.period(),
            Some((Timestamp(start), Timestamp(start + 8 * hour)))
        );
        assert_eq!(
            bars.gaps()[1].to_string(),
            "1 bars missing after row 3, from 2019-03-01T18:00:00Z to 2019-03-01T19:00:00Z"
        );
    }

    #[test]
    fn months_have_no_gap_between_them() {
        let mut bars = Bars::empty(Instrument::new("X").unwrap(), "1M".parse().unwrap());
        let time = |text: &str| text.parse::<Timestamp>().unwrap().0;
        bars.open_time = ["2019-01-01", "2019-02-01", "2019-03-01", "2019-05-01"]
            .map(time)
            .to_vec();
        let gaps = bars.gaps();
        assert_eq!(gaps.len(), 1);
        assert_eq!((gaps[0].after_row, gaps[0].missing), (2, 1));
    }

    #[test]
    fn a_slice_keeps_every_column() {
        let mut bars = Bars::empty(Instrument::new("X").unwrap(), Timeframe::HOUR);
        bars.open_time = (0..5).collect();
        for column in [
            &mut bars.open,
            &mut bars.high,
            &mut bars.low,
            &mut bars.close,
            &mut bars.volume,
        ] {
            *column = (0..5).map(f64::from).collect();
        }
        let middle = bars.slice(1..3);
        assert_eq!(middle.open_time, [1, 2]);
        for column in [
            &middle.open,
            &middle.high,
            &middle.low,
            &middle.close,
            &middle.volume,
        ] {
            assert_eq!(*column, [1.0, 2.0]);
        }
    }
}
