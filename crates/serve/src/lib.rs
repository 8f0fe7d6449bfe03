#![forbid(unsafe_code)]
//! The decision log, the comparison of arms and the page that shows it.
//!
//! * [`log`] keeps what every arm decided: append-only JSON lines that survive
//!   a power cut.
//! * [`evaluation`] scores the arms on the same rows, with time-block bootstrap
//!   intervals, and words the result without claiming more than it shows.
//! * [`report`] is `report.json` and the self-contained page made from it.
//! * [`chart`] holds the small pure functions that draw the page's figures.
//! * [`http`] is a small server, bounded in every way.
//! * [`request`] is one market in one JSON object; [`registry`] holds adapters and their champion.
//! * [`shadow`] is the service that lets a challenger decide beside the champion, live or on
//!   history, and the log it keeps.
//! * [`trials`] keeps count of everything that was ever judged.
//! * [`verdict`] judges that log: promote, keep or roll back.
//!
//! The room does not train and does not run a model: it is handed something that decides.

pub mod chart;
pub mod class;
mod error;
pub mod evaluation;
pub mod http;
mod lines;
pub mod log;
pub mod registry;
pub mod report;
pub mod request;
pub mod shadow;
pub mod trials;
pub mod verdict;

pub use error::ServeError;
