//! Best quotes and trades, event by event, and what they say about each bar.
//!
//! Stamps are Unix **nanoseconds**, UTC, and may repeat: several events of one stamp stand in the
//! order in which they happened. Prices are in the quote currency, sizes in the source's unit of
//! the base currency. A file does not say which instrument it holds.

mod aggregate;
mod check;
mod read;

pub use aggregate::{TickBars, aggregate};
pub use check::TickWarning;
pub use read::{TickFile, read, read_quotes, read_trades};

pub(crate) use read::kind_of;

/// The best bid and ask after each change, one column per quantity, all of the same length.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Quotes {
    /// When, Unix nanoseconds, UTC, not descending.
    pub time: Vec<i64>,
    /// The best price that buyers offer.
    pub bid: Vec<f64>,
    /// The best price that sellers ask, above the bid or equal to it.
    pub ask: Vec<f64>,
    /// How much buyers offer at the bid.
    pub bid_size: Vec<f64>,
    /// How much sellers ask for at the ask.
    pub ask_size: Vec<f64>,
}

/// Trades, one column per quantity, all of the same length.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Trades {
    /// When, Unix nanoseconds, UTC, not descending.
    pub time: Vec<i64>,
    /// At which price.
    pub price: Vec<f64>,
    /// How much.
    pub size: Vec<f64>,
    /// Whether the buyer's order was resting, so that the **seller** was the aggressor.
    pub buyer_is_maker: Vec<bool>,
}

impl Quotes {
    /// Returns the number of quotes.
    pub fn len(&self) -> usize {
        self.time.len()
    }

    /// Reports whether there is no quote.
    pub fn is_empty(&self) -> bool {
        self.time.is_empty()
    }
}

impl Trades {
    /// Returns the number of trades.
    pub fn len(&self) -> usize {
        self.time.len()
    }

    /// Reports whether there is no trade.
    pub fn is_empty(&self) -> bool {
        self.time.is_empty()
    }
}
