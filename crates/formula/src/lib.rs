#![forbid(unsafe_code)]
//! Technical indicators over closed bars: what the market looked like, computed
//! only from what was known.
//!
//! The plain functions follow the conventions of TA-Lib and agree with it to
//! rounding; the output has the length of the input and is NaN in the warm-up.
//! Row `t` of an output depends on rows `0..=t` only: computing on a prefix
//! gives the prefix of computing. All take time linear in the input, whatever
//! the period. Inputs are finite; a NaN goes on into every later row that
//! depends on it.
//!
//! [`Indicators`] applies them to the bars of one instrument and starts again
//! after a gap, [`MultiTimeframe`] answers what longer timeframes said at an
//! instant, and [`zones`] puts values into words.
//!
//! This crate deliberately makes no label and sees no future: nothing here takes
//! a horizon.

mod averages;
pub mod catalogue;
mod currency;
mod dispersion;
pub mod engine;
mod error;
pub mod fields;
mod indicators;
pub mod language;
mod momentum;
mod multi;
mod normal;
pub mod operators;
pub mod panel;
pub mod profile;
mod statistics;
pub mod zones;

pub use averages::{Macd, ema, macd};
pub use catalogue::Catalogue;
pub use dispersion::{Bollinger, atr, bollinger, percent_b, volatility};
pub use error::FormulaError;
pub use indicators::{Gaps, Indicators, VOLATILITY_BARS};
pub use momentum::{change, rsi};
pub use multi::{FrameState, MultiTimeframe};
pub use profile::Profile;
