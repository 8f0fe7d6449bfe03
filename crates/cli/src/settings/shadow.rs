//! The section `[shadow]`: who decides in the shadow, by which rule they are compared, and what is
//! served. What the flags of `foretune shadow` say lies above it.

use std::net::SocketAddr;
use std::path::PathBuf;

use market::Timestamp;
use serde::{Deserialize, Serialize};
use serve::shadow::Metric;

use super::sections::{at_least, within};
use crate::exit::Stop;

/// The shadow service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Shadow {
    /// Adapter of the registry, run directory or `base`; the registry's champion when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) champion: Option<String>,
    /// Who decides in the shadow; empty for the registry's challengers.
    pub(crate) challengers: Vec<String>,
    /// The adapter registry, also of `predict`, `promote` and `rollback`.
    pub(crate) registry: PathBuf,
    /// The directory of the log.
    pub(crate) log: PathBuf,
    /// Address of an exchange whose klines are polled; files are watched when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) binance: Option<String>,
    /// Bars asked for before the present.
    pub(crate) warm_up_bars: usize,
    /// Seconds after a bar's close from which a decision counts as late.
    pub(crate) late_after: u32,
    /// Address the live service listens on.
    pub(crate) listen: SocketAddr,
    /// File with the bearer token that clients must send.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) token_file: Option<PathBuf>,
    /// Requests of one client a second.
    pub(crate) requests_per_second: u32,
    /// What arms are scored by.
    pub(crate) metric: Metric,
    /// Probability of promoting a challenger that is no better.
    pub(crate) alpha: f64,
    /// Blocks before which nothing is decided.
    pub(crate) minimum_blocks: usize,
    /// Score differences are clipped to plus and minus this.
    pub(crate) clip: f64,
    /// Largest drawdown of the challenger that allows a promotion.
    pub(crate) max_drawdown: f64,
    /// Trading cost per side; `evaluate.cost_per_side` when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cost_per_side: Option<f64>,
    /// The end of what the base model may have read, at which figures are split.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) knowledge_cutoff: Option<Timestamp>,
}

impl Default for Shadow {
    fn default() -> Self {
        Self {
            champion: None,
            challengers: Vec::new(),
            registry: "adapters".into(),
            log: "shadow".into(),
            binance: None,
            warm_up_bars: 2000,
            late_after: 300,
            listen: SocketAddr::from(([127, 0, 0, 1], 8787)),
            token_file: None,
            requests_per_second: 500,
            metric: Metric::Brier,
            alpha: 0.05,
            minimum_blocks: 60,
            clip: 1.0,
            max_drawdown: 0.25,
            cost_per_side: None,
            knowledge_cutoff: None,
        }
    }
}

impl Shadow {
    /// Checks what the types cannot.
    ///
    /// # Errors
    /// With the key of the first value out of its range.
    pub(super) fn check_ranges(&self) -> Result<(), Stop> {
        at_least("shadow.warm_up_bars", self.warm_up_bars, 1)?;
        at_least(
            "shadow.requests_per_second",
            self.requests_per_second as usize,
            1,
        )?;
        at_least("shadow.minimum_blocks", self.minimum_blocks, 1)?;
        within("shadow.alpha", self.alpha, 1e-9..=0.49)?;
        within("shadow.clip", self.clip, 1e-9..=2.0)?;
        within("shadow.max_drawdown", self.max_drawdown, 1e-9..=1.0)?;
        let cost = self.cost_per_side.unwrap_or_default();
        within("shadow.cost_per_side", cost, 0.0..=0.1)
    }
}
