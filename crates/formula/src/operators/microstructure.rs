//! What estimators of spreads and order flow need beyond sums and products: the
//! efficient spread from open, high, low and close, and the volume clock.

use super::{Axis, Computation, Kind, Operator, no_convention, takes};
use crate::engine::{ByLane, by_lane, known};

use Kind::{Values, Window};

/// What one bar and the one before it say about the spread: five returns between
/// opens, mid prices and closes, and four marks.
#[derive(Clone, Copy, Default)]
struct Touch {
    /// Mid minus open, open minus last mid, mid minus last close, last close minus
    /// last mid, open minus last close; all of logarithms.
    returns: [f64; 5],
    /// 1 unless neither the price moved in the bar nor since the last close.
    moved: f64,
    /// In how many of two ways (high, low) the open is not an extreme of its bar.
    open_inside: f64,
    /// The same for the last close in the last bar.
    close_inside: f64,
}

/// Open, high, low and close, as logarithms.
type Logs = [f64; 4];

impl Touch {
    fn new(now: Logs, last: Logs) -> Self {
        let [open, high, low, _] = now;
        let [_, last_high, last_low, last_close] = last;
        let mid = (high + low) / 2.0;
        let last_mid = (last_high + last_low) / 2.0;
        let mark = |is: bool| f64::from(u8::from(is));
        let moved = mark(high != low || low != last_close);
        Self {
            returns: [
                mid - open,
                open - last_mid,
                mid - last_close,
                last_close - last_mid,
                open - last_close,
            ],
            moved,
            open_inside: moved * (mark(open != high) + mark(open != low)),
            close_inside: moved * (mark(last_close != last_high) + mark(last_close != last_low)),
        }
    }
}

/// The efficient estimator of the spread (Ardia, Guidotti and Kroencke 2024,
/// "Efficient Estimation of Bid-Ask Spreads from Open, High, Low, and Close
/// Prices", Journal of Financial Economics 161).
#[derive(Clone)]
struct Edge {
    last: Option<Logs>,
    touches: Vec<Touch>,
    at: usize,
    filled: usize,
}

impl Edge {
    fn new(window: usize) -> Self {
        Self {
            last: None,
            touches: vec![Touch::default(); window.saturating_sub(1)],
            at: 0,
            filled: 0,
        }
    }

    fn mean(&self, of: impl Fn(&Touch) -> f64) -> f64 {
        self.touches.iter().map(of).sum::<f64>() / self.touches.len() as f64
    }

    /// Returns the signed spread as a fraction of the price.
    fn spread(&self) -> f64 {
        let moved = self.mean(|touch| touch.moved);
        let open_inside = self.mean(|touch| touch.open_inside);
        let close_inside = self.mean(|touch| touch.close_inside);
        let enough = moved * self.touches.len() as f64 > 1.5;
        if !enough || open_inside == 0.0 || close_inside == 0.0 {
            return f64::NAN;
        }
        // Returns less their mean while the price moves.
        let drift = |which: usize| self.mean(|touch| touch.returns[which]) / moved;
        let drifts = [drift(0), drift(2), drift(4)];
        let moments = |touch: &Touch| {
            let [one, two, three, four, five] = touch.returns;
            let one = one - drifts[0] * touch.moved;
            let three = three - drifts[1] * touch.moved;
            let from_close = five - drifts[2] * touch.moved;
            let by_mid = -4.0 / open_inside * one * two - 4.0 / close_inside * three * four;
            let by_close = -4.0 / open_inside * one * five - 4.0 / close_inside * from_close * four;
            [by_mid, by_close]
        };
        let means = [0, 1].map(|which| self.mean(|touch| moments(touch)[which]));
        let variances = [0, 1]
            .map(|which| self.mean(|touch| moments(touch)[which].powi(2)) - means[which].powi(2));
        let total = variances[0] + variances[1];
        // Each moment counts by how steady the other is not.
        let square = if total > 0.0 {
            (variances[1] * means[0] + variances[0] * means[1]) / total
        } else {
            (means[0] + means[1]) / 2.0
        };
        square.abs().sqrt() * if square < 0.0 { -1.0 } else { 1.0 }
    }
}

impl ByLane<4> for Edge {
    fn next(&mut self, prices: [f64; 4]) -> f64 {
        let now = prices.map(|price| known(price.ln()));
        if now.iter().any(|price| price.is_nan()) {
            self.last = None;
            self.filled = 0;
            return f64::NAN;
        }
        let Some(last) = self.last.replace(now) else {
            return f64::NAN;
        };
        let size = self.touches.len();
        if size < 2 {
            return f64::NAN;
        }
        self.touches[self.at] = Touch::new(now, last);
        self.at = (self.at + 1) % size;
        self.filled = (self.filled + 1).min(size);
        if self.filled < size {
            return f64::NAN;
        }
        self.spread()
    }
}

/// Bought and sold volume in buckets of equal volume (Easley, Lopez de Prado and
/// O'Hara 2012, "Flow Toxicity and Liquidity in a High-frequency World").
#[derive(Clone)]
struct VolumeClock {
    /// Volumes of the last bars; their mean is the size of a new bucket.
    volumes: Vec<f64>,
    bars: usize,
    /// Imbalance and size of the last full buckets.
    full: Vec<[f64; 2]>,
    buckets: usize,
    /// Bought minus sold, filled and whole size of the open bucket.
    imbalance: f64,
    filled: f64,
    size: f64,
}

impl VolumeClock {
    fn new(window: usize, buckets: usize) -> Self {
        Self {
            volumes: vec![0.0; window],
            bars: 0,
            full: vec![[0.0; 2]; buckets],
            buckets: 0,
            imbalance: 0.0,
            filled: 0.0,
            size: 0.0,
        }
    }

    /// Pours one bar into buckets, its purchases and sales evenly mixed.
    fn pour(&mut self, imbalance: f64, volume: f64) {
        let next_size = self.volumes.iter().sum::<f64>() / self.volumes.len() as f64;
        let mut rest = volume;
        while rest > 0.0 {
            if self.size == 0.0 {
                self.size = next_size;
            }
            let part = rest.min(self.size - self.filled);
            self.imbalance += imbalance * part / volume;
            rest -= part;
            self.filled += part;
            if self.filled >= self.size {
                let place = self.buckets % self.full.len();
                self.full[place] = [self.imbalance.abs(), self.size];
                self.buckets += 1;
                (self.imbalance, self.filled, self.size) = (0.0, 0.0, 0.0);
            }
        }
    }

    fn toxicity(&self) -> f64 {
        if self.buckets < self.full.len() {
            return f64::NAN;
        }
        let sums = self.full.iter().fold([0.0; 2], |sum, bucket| {
            [sum[0] + bucket[0], sum[1] + bucket[1]]
        });
        sums[0] / sums[1]
    }
}

impl ByLane<2> for VolumeClock {
    fn next(&mut self, [buy, sell]: [f64; 2]) -> f64 {
        let volume = buy + sell;
        if volume.is_nan() || buy < 0.0 || sell < 0.0 {
            *self = Self::new(self.volumes.len(), self.full.len());
            return f64::NAN;
        }
        let place = self.bars % self.volumes.len();
        self.volumes[place] = volume;
        self.bars += 1;
        if self.bars < self.volumes.len() {
            return f64::NAN;
        }
        self.pour(buy - sell, volume);
        self.toxicity()
    }
}

pub(super) static OPERATORS: &[Operator] = &[
    Operator {
        name: "ts_edge",
        axis: Axis::Time,
        parameters: &[
            takes("open", Values),
            takes("high", Values),
            takes("low", Values),
            takes("close", Values),
            takes("window", Window),
        ],
        gives: Values,
        meaning: "the signed EDGE estimate of the spread from {open}, {high}, {low} and {close} of the last {window} bars, a fraction of the price",
        computation: Computation::Kernel {
            make: |call| by_lane::<4, _>(call.lanes, Edge::new(call.window(0))),
            warm_up: |call| call.window(0) - 1,
            convention: no_convention,
        },
    },
    Operator {
        name: "ts_vpin",
        axis: Axis::Time,
        parameters: &[
            takes("buy", Values),
            takes("sell", Values),
            takes("window", Window),
            takes("buckets", Window),
        ],
        gives: Values,
        meaning: "the imbalance of {buy} and {sell} as a share of volume over the last {buckets} buckets, each as large as a mean bar of the last {window}",
        computation: Computation::Kernel {
            make: |call| {
                by_lane::<2, _>(call.lanes, VolumeClock::new(call.window(0), call.window(1)))
            },
            warm_up: |call| call.window(0) - 1,
            convention: no_convention,
        },
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    /// Bars that move and have inner opens and closes.
    fn bar(row: usize) -> [f64; 4] {
        let close = 100.0 + (row * 7 % 13) as f64;
        [close - 0.4, close + 1.0, close - 1.5, close + 0.3]
    }

    #[test]
    fn edge_begins_anew_after_a_hole() {
        let mut whole = Edge::new(4);
        let values: Vec<f64> = (0..6).map(|row| whole.next(bar(row))).collect();
        let known: Vec<bool> = values.iter().map(|value| !value.is_nan()).collect();
        assert_eq!(known, [false, false, false, true, true, true]);
        let mut holed = Edge::new(4);
        for row in 0..9 {
            holed.next(bar(row + 50));
        }
        assert!(holed.next([f64::NAN, 1.0, 1.0, 1.0]).is_nan());
        let again: Vec<f64> = (0..6).map(|row| holed.next(bar(row))).collect();
        assert_eq!(again[3..], values[3..]);
        assert!(again[..3].iter().all(|value| value.is_nan()));
    }

    #[test]
    fn edge_of_still_prices_is_unknown() {
        let mut edge = Edge::new(3);
        let last = (0..9).map(|_| edge.next([5.0; 4])).last();
        assert!(last.is_some_and(f64::is_nan));
        let mut single = Edge::new(2);
        assert!((0..9).all(|row| single.next(bar(row)).is_nan()));
    }

    #[test]
    fn buckets_are_filled_across_bars() {
        // Bars of 10; a bucket is 10 as well. Whole buckets hold one bar each.
        let mut clock = VolumeClock::new(1, 2);
        assert!(clock.next([10.0, 0.0]).is_nan());
        assert_eq!(clock.next([5.0, 5.0]), 0.5);
        assert_eq!(clock.next([0.0, 10.0]), 0.5);
        assert_eq!(clock.next([0.0, 10.0]), 1.0);
        // A bar without volume changes nothing.
        assert_eq!(clock.next([0.0, 0.0]), 1.0);
        // Half a bucket is not counted before it is full.
        let mut mixed = VolumeClock::new(2, 1);
        assert!(mixed.next([4.0, 4.0]).is_nan());
        assert!(mixed.next([4.0, 0.0]).is_nan());
        // The open bucket holds 4 of 6: two more come from this bar of sales only.
        assert_eq!(mixed.next([0.0, 4.0]), 2.0 / 6.0);
        assert!(mixed.next([f64::NAN, 4.0]).is_nan());
        assert!(mixed.next([4.0, 4.0]).is_nan());
    }
}
