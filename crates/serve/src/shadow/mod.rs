//! The shadow service: champion and challengers decide on the same bars, all is logged, the
//! champion's word alone is served.
//!
//! * [`record`] are the lines of `ab_test_log.jsonl`, described in `docs/shadow-log.md`.
//! * [`log`] writes them: durable, one service at a time, a file a day.
//! * [`history`] reads a log back, with everything that is odd about it.
//! * [`preregistration`] is what is laid down before the first decision.

pub mod history;
pub mod log;
pub mod preregistration;
pub mod record;

pub use history::History;
pub use log::ShadowLog;
pub use preregistration::{Metric, Preregistration};
pub use record::{ArmSheet, Decision, Entry, Event, EventKind, Mode, Outcome, Role, SCHEMA};
