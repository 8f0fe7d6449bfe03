//! Longer bars out of shorter ones, without filling anything in.

use crate::{Bars, Timeframe};

impl Bars {
    /// Returns bars of a longer timeframe, labelled by their open time.
    ///
    /// Buckets are aligned to the Unix epoch, weeks start on Monday. A bucket appears only where
    /// every source bar of it is there: one missing bar, the unfinished bucket at the end, and the
    /// half bucket at the start are left out. Where `to` is not a whole number of source bars
    /// ([`Timeframe::divides`]) or the source is not aligned, no bucket is ever complete and the
    /// result has no rows. Rows have to be in ascending order.
    #[must_use]
    pub fn resample(&self, to: Timeframe) -> Self {
        let mut longer = Self::empty(self.instrument.clone(), to);
        if !self.timeframe.divides(to) {
            return longer;
        }
        let mut start = 0;
        while start < self.len() {
            let bucket = to.bucket_start(self.open_time[start]);
            let end = to.next(bucket);
            let inside = self.open_time[start..]
                .iter()
                .take_while(|time| **time < end)
                .count();
            let rows = start..start + inside.max(1);
            if self.fills(rows.clone(), bucket, end) {
                longer.open_time.push(bucket);
                longer.open.push(self.open[rows.start]);
                longer.high.push(
                    self.high[rows.clone()]
                        .iter()
                        .copied()
                        .fold(f64::MIN, f64::max),
                );
                longer.low.push(
                    self.low[rows.clone()]
                        .iter()
                        .copied()
                        .fold(f64::MAX, f64::min),
                );
                longer.close.push(self.close[rows.end - 1]);
                longer.volume.push(self.volume[rows.clone()].iter().sum());
            }
            start = rows.end;
        }
        longer
    }

    /// Reports whether the rows follow each other without a hole from `start` to `end`.
    fn fills(&self, rows: std::ops::Range<usize>, start: i64, end: i64) -> bool {
        let mut expected = start;
        for row in rows {
            if self.open_time[row] != expected {
                return false;
            }
            expected = self.timeframe.next(expected);
        }
        expected == end
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{Instrument, Timestamp};

    const HOUR: i64 = 3_600_000;

    /// Hourly bars at the given hours after a time; prices grow by one, volume is one.
    fn hourly(start: &str, hours: &[i64]) -> Bars {
        let start = start.parse::<Timestamp>().unwrap().0;
        let price = |offset: f64| {
            hours
                .iter()
                .map(move |hour| 100.0 + *hour as f64 + offset)
                .collect()
        };
        Bars {
            instrument: Instrument::new("BTC/USDT").unwrap(),
            timeframe: Timeframe::HOUR,
            open_time: hours.iter().map(|hour| start + hour * HOUR).collect(),
            open: price(0.0),
            high: price(2.0),
            low: price(-1.0),
            close: price(1.0),
            volume: vec![1.0; hours.len()],
        }
    }

    fn stamps(bars: &Bars) -> Vec<String> {
        bars.open_time
            .iter()
            .map(|time| Timestamp(*time).to_string())
            .collect()
    }

    #[test]
    fn whole_buckets_are_summed_and_labelled_by_their_open() {
        let bars = hourly("2019-03-01T02:00:00Z", &(0..11).collect::<Vec<_>>());
        let longer = bars.resample(Timeframe::FOUR_HOURS);
        // 02:00-04:00 lacks its start, 12:00-16:00 its end.
        assert_eq!(
            stamps(&longer),
            ["2019-03-01T04:00:00Z", "2019-03-01T08:00:00Z"]
        );
        assert_eq!(longer.open, [102.0, 106.0]);
        assert_eq!(longer.high, [107.0, 111.0]);
        assert_eq!(longer.low, [101.0, 105.0]);
        assert_eq!(longer.close, [106.0, 110.0]);
        assert_eq!(longer.volume, [4.0, 4.0]);
        assert_eq!(longer.close_time(0), longer.open_time[1]);
        longer.validate().unwrap();
    }

    #[test]
    fn one_missing_bar_drops_its_bucket_only() {
        let hours: Vec<i64> = (0..12).filter(|hour| *hour != 5).collect();
        let longer = hourly("2019-03-01", &hours).resample(Timeframe::FOUR_HOURS);
        assert_eq!(
            stamps(&longer),
            ["2019-03-01T00:00:00Z", "2019-03-01T08:00:00Z"]
        );
        assert_eq!(longer.gaps()[0].missing, 1);
    }

    #[test]
    fn weeks_start_on_monday_and_months_on_the_first() {
        let bars = hourly("2019-02-25", &(0..7 * 24).collect::<Vec<_>>());
        assert_eq!(
            stamps(&bars.resample("1w".parse().unwrap())),
            ["2019-02-25T00:00:00Z"]
        );
        let bars = hourly("2019-02-01", &(0..28 * 24).collect::<Vec<_>>());
        assert_eq!(
            stamps(&bars.resample("1M".parse().unwrap())),
            ["2019-02-01T00:00:00Z"]
        );
        let bars = hourly("2019-02-01", &(0..28 * 24 - 1).collect::<Vec<_>>());
        assert!(bars.resample("1M".parse().unwrap()).is_empty());
    }

    #[test]
    fn what_does_not_fit_gives_no_bars() {
        let bars = hourly("2019-03-01", &(0..48).collect::<Vec<_>>());
        assert!(bars.resample("90m".parse().unwrap()).is_empty());
        assert!(bars.resample("15m".parse().unwrap()).is_empty());
        let shifted = hourly("2019-03-01T00:30:00Z", &(0..48).collect::<Vec<_>>());
        assert!(shifted.resample(Timeframe::FOUR_HOURS).is_empty());
        assert_eq!(bars.resample(Timeframe::HOUR), bars);
    }

    proptest! {
        #[test]
        fn only_whole_buckets_survive(
            present in prop::collection::vec(prop::bool::weighted(0.9), 1..200),
        ) {
            let hours = (0..present.len()).filter(|hour| present[*hour]);
            let hours: Vec<i64> = hours.map(|hour| hour as i64).collect();
            let bars = hourly("2019-03-01", &hours);
            let longer = bars.resample(Timeframe::FOUR_HOURS);
            let whole = present.chunks_exact(4).filter(|hours| !hours.contains(&false)).count();
            prop_assert_eq!(longer.len(), whole);
            prop_assert_eq!(longer.volume.iter().sum::<f64>(), 4.0 * whole as f64);
            for (row, time) in longer.open_time.iter().enumerate() {
                let first = bars.open_time.binary_search(time).unwrap();
                prop_assert_eq!(longer.open[row], bars.open[first]);
                prop_assert_eq!(longer.close[row], bars.close[first + 3]);
            }
        }
    }
}
