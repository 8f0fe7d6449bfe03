//! Which of two barriers the price touches first within a horizon.
//!
//! A bar tells its open, its high and its low, and not in which order the last two were there. So
//! where one bar reaches both barriers, its open decides if it already lies beyond one of them;
//! else nobody can know which came first, and neither side is claimed.

use market::Bars;

use crate::Decision;

/// How the wait for a barrier ended.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Touch {
    /// BUY for the upper barrier, SELL for the lower one, HOLD for neither or both at once.
    pub(crate) label: Decision,
    /// The bar of the touch, or the last one of the horizon.
    pub(crate) row: usize,
    /// The price a waiting order would have got: the barrier, the open of a bar that begins
    /// beyond it, and the bar's close where no single barrier was touched.
    pub(crate) exit: f64,
}

/// Returns the first touch after the close of `row`, in the bars up to and with `end`.
///
/// A barrier is touched by a high or a low that reaches it; the bar of the decision itself is over
/// and does not count. `upper` and `lower` are prices.
pub(crate) fn first_touch(bars: &Bars, row: usize, end: usize, upper: f64, lower: f64) -> Touch {
    for bar in row + 1..=end {
        let open = bars.open[bar];
        let touch = |label, exit| Touch {
            label,
            row: bar,
            exit,
        };
        match (open >= upper, open <= lower) {
            (true, false) => return touch(Decision::Buy, open),
            (false, true) => return touch(Decision::Sell, open),
            // Barriers without a distance: of a price that did not move.
            (true, true) => return touch(Decision::Hold, bars.close[bar]),
            (false, false) => {}
        }
        match (bars.high[bar] >= upper, bars.low[bar] <= lower) {
            (true, true) => return touch(Decision::Hold, bars.close[bar]),
            (true, false) => return touch(Decision::Buy, upper),
            (false, true) => return touch(Decision::Sell, lower),
            (false, false) => {}
        }
    }
    Touch {
        label: Decision::Hold,
        row: end,
        exit: bars.close[end],
    }
}

#[cfg(test)]
mod tests {
    use market::{Instrument, Timeframe};

    use super::*;

    /// A decision at 100, then these bars: open, high, low, close.
    fn check(rows: &[[f64; 4]], expect: (Decision, usize, f64)) {
        let mut bars = Bars::empty(Instrument::new("A/B").unwrap(), Timeframe::HOUR);
        // The decision's own bar reaches both barriers, which does not count.
        let all = [[100.0, 200.0, 1.0, 100.0]]
            .into_iter()
            .chain(rows.iter().copied());
        for (row, [open, high, low, close]) in all.enumerate() {
            bars.open_time.push(row as i64 * 3_600_000);
            bars.open.push(open);
            bars.high.push(high);
            bars.low.push(low);
            bars.close.push(close);
            bars.volume.push(1.0);
        }
        let touch = first_touch(&bars, 0, rows.len(), 103.0, 98.0);
        assert_eq!((touch.label, touch.row, touch.exit), expect, "{rows:?}");
    }

    const QUIET: [f64; 4] = [100.0, 102.9, 98.1, 101.0];

    #[test]
    fn the_first_barrier_decides() {
        let up = [101.0, 103.0, 100.0, 100.5];
        let down = [101.0, 101.5, 98.0, 100.5];
        check(&[QUIET, up, down], (Decision::Buy, 2, 103.0));
        check(&[QUIET, down, up], (Decision::Sell, 2, 98.0));
        check(&[QUIET, QUIET], (Decision::Hold, 2, 101.0));
    }

    #[test]
    fn a_bar_that_reaches_both_is_claimed_for_neither() {
        let both = [100.0, 104.0, 97.0, 103.5];
        check(&[both, QUIET], (Decision::Hold, 1, 103.5));
        // Unless its open tells: it lies beyond one of them before anything else can happen.
        check(&[[103.2, 104.0, 97.0, 97.5]], (Decision::Buy, 1, 103.2));
        check(&[[97.0, 104.0, 96.0, 103.5]], (Decision::Sell, 1, 97.0));
    }

    #[test]
    fn barriers_without_a_distance_are_touched_at_once_and_tell_nothing() {
        let bars = Bars {
            instrument: Instrument::new("A/B").unwrap(),
            timeframe: Timeframe::HOUR,
            open_time: vec![0, 3_600_000],
            open: vec![5.0; 2],
            high: vec![5.0; 2],
            low: vec![5.0; 2],
            close: vec![5.0; 2],
            volume: vec![1.0; 2],
        };
        let touch = first_touch(&bars, 0, 1, 5.0, 5.0);
        assert_eq!((touch.label, touch.row), (Decision::Hold, 1));
    }
}
