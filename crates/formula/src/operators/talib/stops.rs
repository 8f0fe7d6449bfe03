//! Stops that follow the price and change sides: Wilder's parabolic system and
//! the SuperTrend.

use crate::engine::ByLane;

/// How the parabolic stop of one side speeds up.
#[derive(Debug, Clone, Copy)]
pub(super) struct Acceleration {
    first: f64,
    step: f64,
    maximum: f64,
}

impl Acceleration {
    /// The first factor and the step are held to the maximum.
    pub(super) fn new(first: f64, step: f64, maximum: f64) -> Self {
        Self {
            first: first.min(maximum),
            step: step.min(maximum),
            maximum,
        }
    }
}

/// Wilder's parabolic stop and reverse.
#[derive(Clone)]
pub(super) struct Parabolic {
    start: f64,
    offset: f64,
    /// Long, short.
    sides: [Acceleration; 2],
    signed: bool,
    known: bool,
    /// The last bar, if there was one.
    before: Option<[f64; 2]>,
    trade: Option<Trade>,
}

#[derive(Clone, Copy)]
struct Trade {
    long: bool,
    stop: f64,
    extreme: f64,
    factor: f64,
}

impl Parabolic {
    /// `start` above 0 begins long with this stop, below 0 short, 0 with the side
    /// of the first move; a reversal moves the new stop away by the fraction
    /// `offset`.
    pub(super) fn new(start: f64, offset: f64, sides: [Acceleration; 2]) -> Self {
        Self {
            start,
            offset,
            sides,
            signed: true,
            known: true,
            before: None,
            trade: None,
        }
    }

    /// The stop without the sign that tells the side.
    pub(super) fn unsigned(self) -> Self {
        Self {
            signed: false,
            ..self
        }
    }

    /// Knows no stop, ever: for constants that do not make a system.
    pub(super) fn unknown() -> Self {
        let side = Acceleration::new(0.0, 0.0, 0.0);
        Self {
            known: false,
            ..Self::new(0.0, 0.0, [side, side])
        }
    }

    /// The trade that the first two bars suggest.
    fn first(&self, [high_before, low_before]: [f64; 2], [high, low]: [f64; 2]) -> Trade {
        let (up, down) = (high - high_before, low_before - low);
        let long = if self.start == 0.0 {
            !(down > 0.0 && down > up)
        } else {
            self.start > 0.0
        };
        let (extreme, stop) = if long {
            (high, low_before)
        } else {
            (low, high_before)
        };
        Trade {
            long,
            stop: if self.start == 0.0 {
                stop
            } else {
                self.start.abs()
            },
            extreme,
            factor: self.sides[usize::from(!long)].first,
        }
    }

    /// Moves the trade past one bar; returns the stop that was valid in it.
    fn step(&self, trade: &mut Trade, before: [f64; 2], bar: [f64; 2]) -> f64 {
        let ([high, low], [high_before, low_before]) = (bar, before);
        let touched = if trade.long {
            low <= trade.stop
        } else {
            high >= trade.stop
        };
        // No stop lies within the last two bars.
        let outside = |stop: f64, long: bool| {
            if long {
                stop.min(low_before).min(low)
            } else {
                stop.max(high_before).max(high)
            }
        };
        let shown;
        if touched {
            trade.long = !trade.long;
            let stop = outside(trade.extreme, trade.long);
            let away = stop * self.offset;
            trade.stop = if trade.long { stop - away } else { stop + away };
            shown = self.told(trade.long, trade.stop);
            trade.factor = self.sides[usize::from(!trade.long)].first;
            trade.extreme = if trade.long { high } else { low };
        } else {
            shown = self.told(trade.long, trade.stop);
            let side = self.sides[usize::from(!trade.long)];
            let (beyond, extreme) = if trade.long {
                (high > trade.extreme, high)
            } else {
                (low < trade.extreme, low)
            };
            if beyond {
                trade.extreme = extreme;
                trade.factor = (trade.factor + side.step).min(side.maximum);
            }
        }
        let next = trade.stop + trade.factor * (trade.extreme - trade.stop);
        trade.stop = outside(next, trade.long);
        shown
    }

    fn told(&self, long: bool, stop: f64) -> f64 {
        if self.signed && !long { -stop } else { stop }
    }
}

impl ByLane<2> for Parabolic {
    fn next(&mut self, bar: [f64; 2]) -> f64 {
        if bar.iter().any(|value| value.is_nan()) || !self.known {
            (self.before, self.trade) = (None, None);
            return f64::NAN;
        }
        let Some(before) = self.before.replace(bar) else {
            return f64::NAN;
        };
        let (mut trade, before) = match self.trade {
            Some(trade) => (trade, before),
            // The first stop looks at its own bar only.
            None => (self.first(before, bar), bar),
        };
        let shown = self.step(&mut trade, before, bar);
        self.trade = Some(trade);
        shown
    }
}

/// A band above and one below that only move towards the price, until a close
/// beyond one releases it.
#[derive(Clone)]
pub(super) struct SuperTrend {
    side: bool,
    state: Option<Bands>,
}

#[derive(Clone, Copy)]
struct Bands {
    close: f64,
    upper: f64,
    lower: f64,
    rising: bool,
}

impl SuperTrend {
    /// Tells the side instead of the stop if `side` is set.
    pub(super) fn new(side: bool) -> Self {
        Self { side, state: None }
    }
}

impl Bands {
    fn next(self, close: f64, upper: f64, lower: f64) -> Self {
        let lowered = upper < self.upper || self.close > self.upper;
        let raised = lower > self.lower || self.close < self.lower;
        let upper = if lowered { upper } else { self.upper };
        let lower = if raised { lower } else { self.lower };
        let rising = if self.rising {
            close >= lower
        } else {
            close > upper
        };
        Self {
            close,
            upper,
            lower,
            rising,
        }
    }
}

impl ByLane<3> for SuperTrend {
    fn next(&mut self, [close, upper, lower]: [f64; 3]) -> f64 {
        if close.is_nan() || upper.is_nan() || lower.is_nan() {
            self.state = None;
            return f64::NAN;
        }
        let bands = match self.state {
            Some(bands) => bands.next(close, upper, lower),
            None => Bands {
                close,
                upper,
                lower,
                rising: true,
            },
        };
        self.state = Some(bands);
        match (self.side, bands.rising) {
            (true, rising) => {
                if rising {
                    1.0
                } else {
                    -1.0
                }
            }
            (false, true) => bands.lower,
            (false, false) => bands.upper,
        }
    }
}
