//! Quotes and trades from Parquet files.
//!
//! Columns are found by their usual names without regard to case. Where a file has both the
//! exchange's time and the time of arrival, the exchange's is taken: it is the clock of the bars.
//! The side of a trade is a truth value (`buyer_is_maker`), or a text or number that names the
//! **aggressor** (`side`: `buy`, `b`, `bid` or 1; `sell`, `s`, `a`, `ask` or -1).

use std::path::Path;

use super::{Quotes, TickWarning, Trades};
use crate::MarketError;
use crate::ohlcv::{Names, check_rows, numbers, times};
use crate::parquet::{ColumnType, ParquetFile};
use crate::time::EpochUnit;

const TIME: &[&str] = &[
    "exchange_time",
    "exchange_ns",
    "exchange_us",
    "exchange_ms",
    "transact_time",
    "transaction_time",
    "event_time",
    "time",
    "timestamp",
    "ts",
    "datetime",
    "date",
    "local_ns",
    "local_time",
    "local_timestamp",
    "__index_level_0__",
];
const BID: &[&str] = &["bid", "bid_price", "best_bid", "best_bid_price", "bidprice"];
const ASK: &[&str] = &[
    "ask",
    "ask_price",
    "best_ask",
    "best_ask_price",
    "askprice",
    "offer",
];
const BID_SIZE: &[&str] = &[
    "bid_size",
    "bid_qty",
    "bid_quantity",
    "bid_volume",
    "best_bid_size",
    "best_bid_qty",
    "bid_amount",
    "bidsize",
    "bidvolume",
];
const ASK_SIZE: &[&str] = &[
    "ask_size",
    "ask_qty",
    "ask_quantity",
    "ask_volume",
    "best_ask_size",
    "best_ask_qty",
    "ask_amount",
    "asksize",
    "askvolume",
];
const PRICE: &[&str] = &["price", "trade_price", "px", "p"];
const SIZE: &[&str] = &["size", "quantity", "qty", "amount", "volume", "q", "v"];
const MAKER: &[&str] = &["buyer_is_maker", "is_buyer_maker", "isbuyermaker", "m"];
const SIDE: &[&str] = &["side", "aggressor", "aggressor_side", "taker_side"];

/// What a file of ticks holds.
#[derive(Debug, Clone, PartialEq)]
pub enum TickFile {
    /// Best quotes.
    Quotes(Quotes, Vec<TickWarning>),
    /// Trades.
    Trades(Trades, Vec<TickWarning>),
}

/// Reads a file that has either a bid and an ask or a price and a size.
///
/// # Errors
/// As [`read_quotes`] and [`read_trades`].
pub fn read(path: &Path) -> Result<TickFile, MarketError> {
    let file = ParquetFile::open(path)?;
    let names = Names::of(&file);
    if names.all(BID)?.is_empty() {
        return trades(&file).map(|(trades, warnings)| TickFile::Trades(trades, warnings));
    }
    quotes(&file).map(|(quotes, warnings)| TickFile::Quotes(quotes, warnings))
}

/// Says what the columns of a file are those of, if of ticks at all.
pub(crate) fn kind_of(file: &ParquetFile) -> Result<Option<&'static str>, MarketError> {
    let names = Names::of(file);
    let has = |role: &[&str]| names.all(role).map(|found| !found.is_empty());
    Ok(if has(BID)? && has(ASK)? {
        Some("quotes")
    } else if has(PRICE)? && has(SIZE)? && (has(MAKER)? || has(SIDE)?) {
        Some("trades")
    } else {
        None
    })
}

/// Reads best quotes, checked.
///
/// # Errors
/// What is wrong with the bytes, with its offset; [`MarketError::NoColumnFor`],
/// [`MarketError::ColumnType`], [`MarketError::Null`] with the row; what [`Quotes::validate`] finds.
pub fn read_quotes(path: &Path) -> Result<(Quotes, Vec<TickWarning>), MarketError> {
    quotes(&ParquetFile::open(path)?)
}

/// Reads trades, checked.
///
/// # Errors
/// As [`read_quotes`], with [`Trades::validate`].
pub fn read_trades(path: &Path) -> Result<(Trades, Vec<TickWarning>), MarketError> {
    trades(&ParquetFile::open(path)?)
}

fn quotes(file: &ParquetFile) -> Result<(Quotes, Vec<TickWarning>), MarketError> {
    check_rows(file)?;
    let names = Names::of(file);
    let quotes = Quotes {
        bid: numbers(file, names.one("best bid", BID)?, "bid")?,
        ask: numbers(file, names.one("best ask", ASK)?, "ask")?,
        bid_size: numbers(file, names.one("size at the bid", BID_SIZE)?, "bid_size")?,
        ask_size: numbers(file, names.one("size at the ask", ASK_SIZE)?, "ask_size")?,
        time: read_times(file, &names)?,
    };
    let warnings = quotes.validate(&file.path().display().to_string())?;
    Ok((quotes, warnings))
}

fn trades(file: &ParquetFile) -> Result<(Trades, Vec<TickWarning>), MarketError> {
    check_rows(file)?;
    let names = Names::of(file);
    let trades = Trades {
        price: numbers(file, names.one("price", PRICE)?, "price")?,
        size: numbers(file, names.one("size", SIZE)?, "size")?,
        buyer_is_maker: read_makers(file, &names)?,
        time: read_times(file, &names)?,
    };
    let warnings = trades.validate(&file.path().display().to_string())?;
    Ok((trades, warnings))
}

fn read_times(file: &ParquetFile, names: &Names<'_>) -> Result<Vec<i64>, MarketError> {
    let candidates = names.all(TIME)?;
    let fits = |column: &&usize| {
        let column_type = &file.columns()[**column].column_type;
        column_type.is_time() || *column_type == ColumnType::Int64
    };
    match (candidates.iter().find(fits), candidates.first()) {
        (Some(column), _) => times(file, *column, EpochUnit::nanoseconds),
        (None, Some(column)) => Err(file.column_type(*column, "a timestamp or int64")),
        (None, None) => Err(names.none("time", TIME)),
    }
}

/// Reads whether each trade's buyer was the maker.
fn read_makers(file: &ParquetFile, names: &Names<'_>) -> Result<Vec<bool>, MarketError> {
    if let Some(column) = names.all(MAKER)?.first() {
        let values = numbers(file, *column, "buyer_is_maker")?;
        return sides(file, &values, |value| match value {
            0.0 => Some(false),
            1.0 => Some(true),
            _ => None,
        });
    }
    let column = names.one("side", &SIDES)?;
    let values = if file.columns()[column].column_type == ColumnType::Text {
        file.all_words(column, side_of)?
    } else {
        numbers(file, column, "side")?
    };
    sides(file, &values, |value| match value {
        1.0 => Some(false),
        -1.0 => Some(true),
        _ => None,
    })
}

/// Every name under which the side is looked for, for the message where none is there.
const SIDES: [&str; 8] = [
    SIDE[0], SIDE[1], SIDE[2], SIDE[3], MAKER[0], MAKER[1], MAKER[2], MAKER[3],
];

/// Returns 1 for a buyer, -1 for a seller, and NaN for any other text.
fn side_of(text: &[u8]) -> f64 {
    match text.to_ascii_lowercase().as_slice() {
        b"buy" | b"b" | b"bid" | b"buyer" => 1.0,
        b"sell" | b"s" | b"a" | b"ask" | b"seller" => -1.0,
        _ => f64::NAN,
    }
}

fn sides(
    file: &ParquetFile,
    values: &[f64],
    side: impl Fn(f64) -> Option<bool>,
) -> Result<Vec<bool>, MarketError> {
    let read = values.iter().enumerate().map(|(row, value)| {
        side(*value).ok_or_else(|| MarketError::Side {
            origin: file.path().display().to_string(),
            row,
        })
    });
    read.collect()
}
