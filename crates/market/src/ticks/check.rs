//! What quotes and trades must pass, and what is odd about those that do.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Quotes, Trades};
use crate::{MarketError, Timestamp};

/// Nanoseconds in a millisecond.
const MILLISECOND: i64 = 1_000_000;

/// Something odd in ticks that does not make them unusable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[non_exhaustive]
pub enum TickWarning {
    /// Rows are equal to the row before in every column.
    Repeated {
        /// How many.
        count: usize,
        /// The first of them.
        row: usize,
    },
    /// The bid is equal to the ask.
    Locked {
        /// How many.
        count: usize,
        /// The first of them.
        row: usize,
    },
}

impl fmt::Display for TickWarning {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Repeated { count, row } => write!(
                formatter,
                "{count} rows repeat the row before in every column, the first is row {row}"
            ),
            Self::Locked { count, row } => write!(
                formatter,
                "{count} quotes have equal bid and ask, the first is row {row}"
            ),
        }
    }
}

impl Quotes {
    /// Checks every row and returns what is odd but usable. `origin` is named in errors.
    ///
    /// # Errors
    /// The first fault found: no rows, columns of unequal length, a stamp outside the years of
    /// market data or before the one of the row above, a price that is not positive, a size that
    /// is negative or not finite, a bid above the ask ([`MarketError::CrossedQuote`]).
    pub fn validate(&self, origin: &str) -> Result<Vec<TickWarning>, MarketError> {
        let columns = [
            ("bid", &self.bid),
            ("ask", &self.ask),
            ("bid_size", &self.bid_size),
            ("ask_size", &self.ask_size),
        ];
        check_times(&self.time, origin)?;
        for (name, values) in columns {
            check_length(name, values.len(), self.len(), origin)?;
        }
        check_prices("bid", &self.bid, origin)?;
        check_prices("ask", &self.ask, origin)?;
        check_sizes("bid_size", &self.bid_size, origin)?;
        check_sizes("ask_size", &self.ask_size, origin)?;
        if let Some(row) = (0..self.len()).find(|row| self.bid[*row] > self.ask[*row]) {
            return Err(MarketError::CrossedQuote {
                origin: origin.to_owned(),
                row,
                bid: self.bid[row],
                ask: self.ask[row],
            });
        }
        let repeats = |row: usize| {
            self.time[row] == self.time[row - 1]
                && columns
                    .iter()
                    .all(|(_, values)| values[row] == values[row - 1])
        };
        let mut warnings = Vec::new();
        if let Some((count, row)) = count(1..self.len(), repeats) {
            warnings.push(TickWarning::Repeated { count, row });
        }
        if let Some((count, row)) = count(0..self.len(), |row| self.bid[row] == self.ask[row]) {
            warnings.push(TickWarning::Locked { count, row });
        }
        Ok(warnings)
    }
}

impl Trades {
    /// Checks every row and returns what is odd but usable. `origin` is named in errors.
    ///
    /// # Errors
    /// The first fault found: no rows, columns of unequal length, a stamp outside the years of
    /// market data or before the one of the row above, a price that is not positive, a size that
    /// is negative or not finite.
    pub fn validate(&self, origin: &str) -> Result<Vec<TickWarning>, MarketError> {
        check_times(&self.time, origin)?;
        check_length("price", self.price.len(), self.len(), origin)?;
        check_length("size", self.size.len(), self.len(), origin)?;
        check_length(
            "buyer_is_maker",
            self.buyer_is_maker.len(),
            self.len(),
            origin,
        )?;
        check_prices("price", &self.price, origin)?;
        check_sizes("size", &self.size, origin)?;
        let repeats = |row: usize| {
            let row = [row - 1, row].map(|row| {
                (
                    self.time[row],
                    self.price[row],
                    self.size[row],
                    self.buyer_is_maker[row],
                )
            });
            row[0] == row[1]
        };
        let repeated = count(1..self.len(), repeats);
        Ok(repeated
            .map(|(count, row)| TickWarning::Repeated { count, row })
            .into_iter()
            .collect())
    }
}

/// Returns how many rows are so, and the first of them.
fn count(rows: std::ops::Range<usize>, is: impl Fn(usize) -> bool) -> Option<(usize, usize)> {
    let mut found = rows.filter(|row| is(*row));
    let first = found.next()?;
    Some((1 + found.count(), first))
}

fn check_times(times: &[i64], origin: &str) -> Result<(), MarketError> {
    let stamp = |row: usize| Timestamp(times[row].div_euclid(MILLISECOND));
    let origin = || origin.to_owned();
    if times.is_empty() {
        return Err(MarketError::Empty { origin: origin() });
    }
    for row in 0..times.len() {
        if !stamp(row).is_plausible() {
            return Err(MarketError::ImplausibleTime {
                origin: origin(),
                row,
                time: stamp(row),
            });
        }
        if row > 0 && times[row] < times[row - 1] {
            return Err(MarketError::UnsortedTime {
                origin: origin(),
                row,
                time: stamp(row),
                previous: stamp(row - 1),
            });
        }
    }
    Ok(())
}

fn check_length(
    column: &'static str,
    found: usize,
    expected: usize,
    origin: &str,
) -> Result<(), MarketError> {
    if found == expected {
        return Ok(());
    }
    Err(MarketError::Length {
        origin: origin.to_owned(),
        column,
        found,
        expected,
    })
}

fn check_prices(column: &'static str, values: &[f64], origin: &str) -> Result<(), MarketError> {
    let sound = |value: &f64| value.is_finite() && *value > 0.0;
    match values.iter().position(|value| !sound(value)) {
        Some(row) => Err(MarketError::Price {
            origin: origin.to_owned(),
            row,
            column,
            value: values[row],
        }),
        None => Ok(()),
    }
}

fn check_sizes(column: &'static str, values: &[f64], origin: &str) -> Result<(), MarketError> {
    let sound = |value: &f64| value.is_finite() && *value >= 0.0;
    match values.iter().position(|value| !sound(value)) {
        Some(row) => Err(MarketError::Size {
            origin: origin.to_owned(),
            row,
            column,
            value: values[row],
        }),
        None => Ok(()),
    }
}
