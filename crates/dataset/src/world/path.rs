//! A synthetic price, moved bar by bar, with Wilder's RSI kept beside it.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Where every path starts, in the quote currency.
const START: f64 = 10_000.0;
/// The hourly volatility of wandering and of bridges.
const VOLATILITY: f64 = 0.004;
/// Wilder's period.
const PERIOD: f64 = 14.0;
/// How far, in RSI points, a steered path strays from the straight way to its target.
const STRAY: f64 = 6.0;
/// The distance from the start, as a log price, at which the pull back is at its full strength.
const FULL_PULL: f64 = 0.3;

/// Columns of candles: open, high, low, close, volume.
type Candles = (Vec<f64>, Vec<f64>, Vec<f64>, Vec<f64>, Vec<f64>);

/// A price path under construction.
pub(super) struct Path {
    rng: ChaCha8Rng,
    close: Vec<f64>,
    /// Wilder's average gain and loss; running sums until the first period is full.
    gain: f64,
    loss: f64,
}

impl Path {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            rng: ChaCha8Rng::seed_from_u64(seed),
            close: Vec::new(),
            gain: 0.0,
            loss: 0.0,
        }
    }

    /// Returns the last close.
    pub(super) fn last(&self) -> f64 {
        self.close.last().copied().unwrap_or(START)
    }

    /// Returns the close so many bars before the last.
    pub(super) fn ago(&self, bars: usize) -> f64 {
        let row = self.close.len().checked_sub(bars + 1);
        row.map_or(START, |row| self.close[row])
    }

    pub(super) fn uniform(&mut self, (low, high): (f64, f64)) -> f64 {
        low + (high - low) * self.rng.random::<f64>()
    }

    pub(super) fn chance(&mut self, probability: f64) -> bool {
        self.rng.random::<f64>() < probability
    }

    /// Returns 0, 1 or 2.
    pub(super) fn third(&mut self) -> usize {
        self.rng.random_range(0..3)
    }

    /// Draws a size from a range: a small one if moving in this direction leads further away from
    /// the start, a large one if it leads back.
    pub(super) fn sized(&mut self, (low, high): (f64, f64), direction: f64) -> f64 {
        let away = self.pull() * direction;
        let share = self.rng.random::<f64>().powf((1.5 * away).exp());
        low + (high - low) * share
    }

    /// Draws a direction, rather the one that leads back to the start.
    pub(super) fn towards_start(&mut self) -> f64 {
        let down = 0.5 + 0.4 * self.pull();
        if self.chance(down) { -1.0 } else { 1.0 }
    }

    /// How far above the start, -1 to 1.
    fn pull(&self) -> f64 {
        ((self.last() / START).ln() / FULL_PULL).clamp(-1.0, 1.0)
    }

    /// Adds bars of a random walk held near the start, for a warm-up.
    pub(super) fn wander(&mut self, bars: usize) {
        for _ in 0..bars {
            let back = -0.02 * (self.last() / START).ln();
            let step = back + VOLATILITY * self.normal();
            self.push(self.last() * step.exp());
        }
    }

    /// Adds bars of a geometric random walk without drift in the log price.
    pub(super) fn walk(&mut self, bars: usize, volatility: f64) {
        for _ in 0..bars {
            let step = volatility * self.normal();
            self.push(self.last() * step.exp());
        }
    }

    /// Adds bars of a random path that ends at a price.
    pub(super) fn bridge(&mut self, bars: usize, end: f64) {
        let start = self.last();
        let noise: Vec<f64> = (0..bars).map(|_| VOLATILITY * self.normal()).collect();
        let mean = noise.iter().sum::<f64>() / bars as f64;
        let drift = (end / start).ln() / bars as f64;
        let mut log = start.ln();
        for step in &noise[..bars - 1] {
            log += drift + step - mean;
            self.push(log.exp());
        }
        self.push(end);
    }

    /// Adds bars at whose end the RSI is the target.
    ///
    /// Each bar's change is solved for: with average gain `G` and loss `L` before it, a rise `d`
    /// makes the RSI `(13 G + d) / (13 G + 13 L + d)`, a fall `13 G / (13 G + 13 L + d)`.
    pub(super) fn steer_rsi(&mut self, bars: usize, target: f64) {
        for bar in 0..bars {
            let left = (bars - bar) as f64;
            let now = self.rsi();
            let straight = now + (target - now) / left;
            let wanted = if bar + 1 == bars {
                target
            } else {
                (straight + self.uniform((-STRAY, STRAY))).clamp(8.0, 92.0)
            } / 100.0;
            let gain = (PERIOD - 1.0) * self.gain;
            let all = gain + (PERIOD - 1.0) * self.loss;
            let change = if wanted * all >= gain {
                (wanted * all - gain) / (1.0 - wanted)
            } else {
                all - gain / wanted
            };
            self.push(self.last() + change);
        }
    }

    /// Wilder's RSI at the last bar, 0 to 100.
    fn rsi(&self) -> f64 {
        100.0 * self.gain / (self.gain + self.loss)
    }

    fn push(&mut self, close: f64) {
        if let Some(last) = self.close.last() {
            let change = close - last;
            let (gain, loss) = (change.max(0.0), (-change).max(0.0));
            let changes = self.close.len() as f64;
            if changes <= PERIOD {
                // The first average is the plain mean of the first period.
                self.gain += gain / PERIOD;
                self.loss += loss / PERIOD;
            } else {
                self.gain = (self.gain * (PERIOD - 1.0) + gain) / PERIOD;
                self.loss = (self.loss * (PERIOD - 1.0) + loss) / PERIOD;
            }
        }
        self.close.push(close);
    }

    /// A draw from the standard normal distribution (Box and Muller, 1958).
    fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.rng.random::<f64>()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.rng.random::<f64>()).cos()
    }

    /// Dresses the closes up as candles: each opens at the close before, with wicks of up to 0.2 %
    /// and a positive volume, none of which knows a label.
    pub(super) fn candles(&mut self) -> Candles {
        let close = std::mem::take(&mut self.close);
        let open: Vec<f64> = std::iter::once(START)
            .chain(close.iter().copied())
            .take(close.len())
            .collect();
        let mut high = Vec::with_capacity(close.len());
        let mut low = Vec::with_capacity(close.len());
        let mut volume = Vec::with_capacity(close.len());
        for (open, close) in open.iter().zip(&close) {
            high.push(open.max(*close) * (1.0 + self.uniform((0.0, 0.002))));
            low.push(open.min(*close) * (1.0 - self.uniform((0.0, 0.002))));
            volume.push(100.0 * (0.4 * self.normal()).exp());
        }
        (open, high, low, close, volume)
    }
}
