//! The signal that is judged: a side and how sure its model was.

use market::Timestamp;
use serde::{Deserialize, Serialize};

use super::table::Table;
use crate::Decision;

/// A side of the market.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Side {
    /// Profits from a rise.
    Buy,
    /// Profits from a fall.
    Sell,
}

impl Side {
    /// Returns the opposite side.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::Buy => Self::Sell,
            Self::Sell => Self::Buy,
        }
    }

    /// Returns 1 for BUY, -1 for SELL.
    pub fn sign(self) -> f64 {
        match self {
            Self::Buy => 1.0,
            Self::Sell => -1.0,
        }
    }

    /// Returns it as a decision.
    pub fn decision(self) -> Decision {
        match self {
            Self::Buy => Decision::Buy,
            Self::Sell => Decision::Sell,
        }
    }

    /// Returns `BUY` or `SELL`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Buy => "BUY",
            Self::Sell => "SELL",
        }
    }
}

/// A signal and where it came from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Signal {
    /// The side.
    pub(crate) side: Side,
    /// The calibrated probability that the side is right, or the upstream model's confidence.
    pub(crate) confidence: f64,
    /// The fold of the ensemble.
    pub(crate) fold: Option<u32>,
    /// The end of the last outcome its model had seen.
    pub(crate) trained_through: Option<Timestamp>,
}

/// Returns the signals of the package's own columns, where they are used.
pub(crate) fn of_columns(table: &Table) -> Option<Vec<Option<Signal>>> {
    let (sides, confidence) = table.upstream.as_ref()?;
    let signals = sides.iter().zip(confidence).map(|(side, confidence)| {
        let side = match side {
            1 => Side::Buy,
            -1 => Side::Sell,
            _ => return None,
        };
        confidence.is_finite().then(|| Signal {
            side,
            confidence: f64::from(*confidence),
            fold: None,
            trained_through: None,
        })
    });
    Some(signals.collect())
}
