//! Ticks gathered into bars, with the true side of every trade.
//!
//! Bars stand on the grid of their timeframe without holes, from the bar of the first event to the
//! bar of the last. An event at the instant at which a bar opens belongs to that bar. What a bar
//! says is known at its close, and never uses an event at or after it.

use super::{Quotes, Trades};
use crate::ohlcv::LARGEST_TABLE;
use crate::{MarketError, Timeframe};

/// Nanoseconds in a millisecond.
const MILLISECOND: i64 = 1_000_000;

/// Bars made of ticks, one column per quantity, all of the same length. Without trades there are no
/// trade columns, without quotes no quote columns: they are empty.
#[derive(Debug, Clone, PartialEq)]
pub struct TickBars {
    /// The span of each bar.
    pub timeframe: Timeframe,
    /// Open times, Unix milliseconds, UTC, without holes.
    pub open_time: Vec<i64>,
    /// Whether each bar lies within the time that the ticks cover, which the first and the last
    /// may not.
    pub complete: Vec<bool>,
    /// Price of the first trade; NaN in a bar without trades, as `high`, `low`, `close`, `vwap`.
    pub open: Vec<f64>,
    /// Highest price traded.
    pub high: Vec<f64>,
    /// Lowest price traded.
    pub low: Vec<f64>,
    /// Price of the last trade.
    pub close: Vec<f64>,
    /// Sum of the sizes traded.
    pub volume: Vec<f64>,
    /// Price weighted by size; the mean price where all sizes are zero.
    pub vwap: Vec<f64>,
    /// Number of trades.
    pub trades: Vec<f64>,
    /// Sum of the sizes of trades whose buyer was the aggressor.
    pub buy_volume: Vec<f64>,
    /// Sum of the sizes of trades whose seller was the aggressor.
    pub sell_volume: Vec<f64>,
    /// `buy_volume` less `sell_volume`.
    pub signed_volume: Vec<f64>,
    /// Best bid as it stands at the close; NaN before the first quote, as the other quote columns.
    pub bid: Vec<f64>,
    /// Best ask as it stands at the close.
    pub ask: Vec<f64>,
    /// Size at the bid as it stands at the close.
    pub bid_size: Vec<f64>,
    /// Size at the ask as it stands at the close.
    pub ask_size: Vec<f64>,
    /// Ask less bid, averaged over the time of the bar in which there is a quote.
    pub spread: Vec<f64>,
    /// Order flow imbalance: the sum of the contributions e of the bar's quotes after Cont,
    /// Kukanov and Stoikov, "The Price Impact of Order Book Events" (2014), section 2; in the unit
    /// of sizes, positive for buying pressure. Zero in a bar without quotes.
    pub ofi: Vec<f64>,
    /// At the close, bid and ask each weighted by the size on the **other** side; the mid price
    /// where both sizes are zero.
    pub microprice: Vec<f64>,
}

impl TickBars {
    /// Returns the number of bars.
    pub fn len(&self) -> usize {
        self.open_time.len()
    }

    /// Reports whether there is no bar.
    pub fn is_empty(&self) -> bool {
        self.open_time.is_empty()
    }

    /// Returns the columns that there are under the names by which formulas know them.
    pub fn fields(&self) -> Vec<(&'static str, &[f64])> {
        let all: [(&'static str, &[f64]); 17] = [
            ("open", &self.open),
            ("high", &self.high),
            ("low", &self.low),
            ("close", &self.close),
            ("volume", &self.volume),
            ("vwap", &self.vwap),
            ("trades", &self.trades),
            ("signed_volume", &self.signed_volume),
            ("buy_volume", &self.buy_volume),
            ("sell_volume", &self.sell_volume),
            ("bid", &self.bid),
            ("ask", &self.ask),
            ("bid_size", &self.bid_size),
            ("ask_size", &self.ask_size),
            ("spread", &self.spread),
            ("ofi", &self.ofi),
            ("microprice", &self.microprice),
        ];
        all.into_iter()
            .filter(|(_, values)| !values.is_empty())
            .collect()
    }
}

/// Gathers checked ticks into bars. For bars of N seconds the timeframe is `Ns`.
///
/// # Errors
/// [`MarketError::Empty`] without any event, [`MarketError::TooManyBars`] where the span holds more
/// bars than are made.
pub fn aggregate(
    trades: Option<&Trades>,
    quotes: Option<&Quotes>,
    timeframe: Timeframe,
) -> Result<TickBars, MarketError> {
    let grid = Grid::new(trades, quotes, timeframe)?;
    let mut bars = grid.empty_bars();
    if let Some(trades) = trades.filter(|trades| !trades.is_empty()) {
        grid.add_trades(trades, &mut bars);
    }
    if let Some(quotes) = quotes.filter(|quotes| !quotes.is_empty()) {
        grid.add_quotes(quotes, &mut bars);
    }
    Ok(bars)
}

/// The bars' open times, and the span that the ticks cover.
struct Grid {
    timeframe: Timeframe,
    open_time: Vec<i64>,
    first: i64,
    last: i64,
}

impl Grid {
    fn new(
        trades: Option<&Trades>,
        quotes: Option<&Quotes>,
        timeframe: Timeframe,
    ) -> Result<Self, MarketError> {
        let times = [
            trades.map(|trades| &trades.time),
            quotes.map(|quotes| &quotes.time),
        ];
        let times = times
            .into_iter()
            .flatten()
            .filter(|times| !times.is_empty());
        let first = times.clone().filter_map(|times| times.first()).min();
        let last = times.filter_map(|times| times.last()).max();
        let Some((&first, &last)) = first.zip(last) else {
            return Err(MarketError::Empty {
                origin: "the ticks".to_owned(),
            });
        };
        let start = timeframe.bucket_start(first.div_euclid(MILLISECOND));
        let end = last.div_euclid(MILLISECOND);
        let bars = end.saturating_sub(start) / timeframe.milliseconds();
        if bars as u64 >= LARGEST_TABLE {
            return Err(MarketError::TooManyBars {
                timeframe,
                bars: bars as u64 + 1,
                limit: LARGEST_TABLE,
            });
        }
        let mut open_time = vec![start];
        let mut next = timeframe.next(start);
        while next <= end {
            open_time.push(next);
            next = timeframe.next(next);
        }
        Ok(Self {
            timeframe,
            open_time,
            first,
            last,
        })
    }

    /// Returns when a bar opens and closes, nanoseconds.
    fn span(&self, bar: usize) -> (i64, i64) {
        let open = self.open_time[bar];
        let nanoseconds = |time: i64| time.saturating_mul(MILLISECOND);
        (nanoseconds(open), nanoseconds(self.timeframe.next(open)))
    }

    fn empty_bars(&self) -> TickBars {
        let complete = |bar: usize| {
            let (open, close) = self.span(bar);
            open >= self.first && close <= self.last
        };
        TickBars {
            timeframe: self.timeframe,
            open_time: self.open_time.clone(),
            complete: (0..self.open_time.len()).map(complete).collect(),
            open: Vec::new(),
            high: Vec::new(),
            low: Vec::new(),
            close: Vec::new(),
            volume: Vec::new(),
            vwap: Vec::new(),
            trades: Vec::new(),
            buy_volume: Vec::new(),
            sell_volume: Vec::new(),
            signed_volume: Vec::new(),
            bid: Vec::new(),
            ask: Vec::new(),
            bid_size: Vec::new(),
            ask_size: Vec::new(),
            spread: Vec::new(),
            ofi: Vec::new(),
            microprice: Vec::new(),
        }
    }

    fn add_trades(&self, trades: &Trades, bars: &mut TickBars) {
        let mut next = 0;
        for bar in 0..self.open_time.len() {
            let (_, close) = self.span(bar);
            let start = next;
            while next < trades.len() && trades.time[next] < close {
                next += 1;
            }
            let prices = &trades.price[start..next];
            let sizes = &trades.size[start..next];
            let (mut buys, mut sells, mut paid) = (0.0, 0.0, 0.0);
            for row in start..next {
                let size = trades.size[row];
                if trades.buyer_is_maker[row] {
                    sells += size;
                } else {
                    buys += size;
                }
                paid += trades.price[row] * size;
            }
            let volume: f64 = sizes.iter().sum();
            let vwap = if volume > 0.0 {
                paid / volume
            } else {
                // Without trades this is 0 / 0, which is NaN.
                prices.iter().sum::<f64>() / prices.len() as f64
            };
            // The other operand wins against NaN.
            bars.open.push(prices.first().copied().unwrap_or(f64::NAN));
            bars.high
                .push(prices.iter().copied().fold(f64::NAN, f64::max));
            bars.low
                .push(prices.iter().copied().fold(f64::NAN, f64::min));
            bars.close.push(prices.last().copied().unwrap_or(f64::NAN));
            bars.volume.push(volume);
            bars.vwap.push(vwap);
            bars.trades.push(prices.len() as f64);
            bars.buy_volume.push(buys);
            bars.sell_volume.push(sells);
            bars.signed_volume.push(buys - sells);
        }
    }

    fn add_quotes(&self, quotes: &Quotes, bars: &mut TickBars) {
        let mut next = 0;
        for bar in 0..self.open_time.len() {
            let (open, close) = self.span(bar);
            let mut flow = 0.0;
            let (mut weighted, mut covered) = (0.0, 0.0);
            // The quote that stands, and since when in this bar.
            let mut since = open;
            let mut pass = |quote: Option<usize>, since: i64, until: i64| {
                if let Some(quote) = quote {
                    let time = (until - since) as f64;
                    weighted += (quotes.ask[quote] - quotes.bid[quote]) * time;
                    covered += time;
                }
            };
            while next < quotes.len() && quotes.time[next] < close {
                let before = next.checked_sub(1);
                pass(before, since, quotes.time[next]);
                since = quotes.time[next];
                if let Some(before) = before {
                    flow += contribution(quotes, before, next);
                }
                next += 1;
            }
            let standing = next.checked_sub(1);
            pass(standing, since, close);
            let at = |values: &[f64]| standing.map_or(f64::NAN, |quote| values[quote]);
            let (bid, ask) = (at(&quotes.bid), at(&quotes.ask));
            let (bid_size, ask_size) = (at(&quotes.bid_size), at(&quotes.ask_size));
            bars.bid.push(bid);
            bars.ask.push(ask);
            bars.bid_size.push(bid_size);
            bars.ask_size.push(ask_size);
            bars.spread.push(weighted / covered);
            bars.ofi.push(flow);
            bars.microprice.push(if bid_size + ask_size == 0.0 {
                f64::midpoint(bid, ask)
            } else {
                (ask * bid_size + bid * ask_size) / (bid_size + ask_size)
            });
        }
    }
}

/// Returns what a quote adds to the order flow imbalance: the change of demand at the bid less the
/// change of supply at the ask.
fn contribution(quotes: &Quotes, before: usize, now: usize) -> f64 {
    let mut flow = 0.0;
    if quotes.bid[now] >= quotes.bid[before] {
        flow += quotes.bid_size[now];
    }
    if quotes.bid[now] <= quotes.bid[before] {
        flow -= quotes.bid_size[before];
    }
    if quotes.ask[now] <= quotes.ask[before] {
        flow -= quotes.ask_size[now];
    }
    if quotes.ask[now] >= quotes.ask[before] {
        flow += quotes.ask_size[before];
    }
    flow
}
