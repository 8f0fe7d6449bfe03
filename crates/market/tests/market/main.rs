//! Tests of the market crate from outside.

#[cfg(test)]
mod common;
#[cfg(test)]
mod files;
#[cfg(test)]
mod freqtrade;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod hostile_parquet;
#[cfg(test)]
mod inspect;
#[cfg(test)]
mod ohlcv;
#[cfg(test)]
mod table;
#[cfg(test)]
mod ticks;
#[cfg(test)]
mod validate;
#[cfg(test)]
mod wide;
