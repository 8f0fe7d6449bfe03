//! The shadow service: champion and challengers decide on the same bars, all is logged, the
//! champion's word alone is served.
//!
//! * [`record`] are the lines of `ab_test_log.jsonl`, described in `docs/shadow-log.md`.
//! * [`log`] writes them: durable, one service at a time, a file a day.
//! * [`history`] reads a log back, with everything that is odd about it.
//! * [`service`] is the one path from bars to decisions, live and in a replay.
//! * [`board`] is what the service shows to those who ask over HTTP.
//! * [`feed`] brings bars, from files or from an exchange.
//! * [`routes`] answers over HTTP, [`desk`] takes questions to the model, [`summary`] and the
//!   dashboard show what the log says.
//! * [`judge`] is what decides, as the service sees it.
//! * [`signals`] writes a log's decisions for a backtest elsewhere.
//! * [`preregistration`] is what is laid down before the first decision.

pub mod board;
mod dashboard;
pub mod desk;
pub mod feed;
pub mod history;
pub mod judge;
pub mod log;
pub mod preregistration;
pub mod record;
pub mod routes;
pub mod service;
pub mod signals;
pub mod summary;

pub use board::Board;
pub use history::History;
pub use judge::{Answer, Judge, Judged};
pub use log::ShadowLog;
pub use preregistration::{Metric, Preregistration};
pub use record::{ArmSheet, Decision, Entry, Event, EventKind, Mode, Outcome, Role, SCHEMA};
pub use service::{Ready, Service, Setup};
