#![forbid(unsafe_code)]
//! Market data: instruments, timeframes, bars on one clock, and the files they come from.
//!
//! A [`Bars`] table holds candles stamped with their **open** time in Unix milliseconds, UTC, as
//! freqtrade does; the close time is derived. Readers treat every file as untrusted bytes: they
//! never panic, they bound what they allocate, and each error names the file and the row or byte.
//! A hole in the data is reported, never filled.
//!
//! This crate computes no indicator and makes no label; see `formula` and `dataset`.

mod atomic;
mod bars;
pub mod binance;
mod error;
pub mod freqtrade;
pub mod headlines;
pub mod inspect;
mod instrument;
pub mod ohlcv;
mod parquet;
mod resample;
pub mod sentiment;
mod surroundings;
pub mod table;
pub mod ticks;
mod time;
mod timeframe;
mod validate;

pub use bars::{Bars, Gap};
pub use error::MarketError;
pub use instrument::Instrument;
pub use surroundings::{Lags, Surroundings};
pub use time::{EpochUnit, Timestamp};
pub use timeframe::Timeframe;
pub use validate::Warning;
