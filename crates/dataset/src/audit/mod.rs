//! The leak audit: does anything from after a decision reach what the model reads or is taught?
//!
//! | check | asks |
//! | --- | --- |
//! | 1 `truncation` | bars cut at the decision give the same features, facts and prompt bytes |
//! | 2 `future_poisoning` | NaN, a thousandfold and noise after it change nothing |
//! | 3 `label_swap` | the opposite outcome leaves the prompt's bytes alone |
//! | 4 `available_at` | every fact was known |
//! | 5 `upstream_predictions` | other models were trained before, or out of fold |
//! | 6 `null_worlds` | worlds without anything to know score chance through the whole pipeline |
//! | 7 `planted_leak` | leaks that the audit plants itself are found, or it does not work |
//! | 8 `leak_probe` | words and numbers of the prompt do not tell the outcome |
//! | 9 `claims` | every number of an answer has a source |
//! | 10 `splits` | parts are in order, apart in time and purged |
//! | 11 `duplicates` | no prompt stands in two parts (files of others) |
//! | 12 `future_values` | no number of a prompt is a later bar's (files of others) |
//!
//! Whatever can be told as an [`AuditRecord`] can be audited; what can be rendered again from
//! changed inputs ([`Rerender`]) gets checks 1 to 3 as well. A check that cannot be made says so and
//! is never green. This module reads no clock and writes nothing.

mod duplicates;
mod foreign;
mod fourier;
mod future;
mod invariance;
mod known;
mod label_words;
mod null;
mod numbers;
mod planted;
mod probe;
mod record;
mod report;
mod rerender;
mod run;
mod score;
mod series;
mod settings;
mod split;
mod surrogate;
mod words;

pub use foreign::{Fields, read_records};
pub use null::{NullWorlds, Pipeline};
pub use record::{AuditRecord, ClaimRule, Place, Upstream};
pub use report::{
    AuditReport, Check, Finding, KIND, Kind, MOST_FINDINGS, Measured, SCHEMA, Status,
};
pub use rerender::{Change, Future, Rendered, Rerender, changed_bars};
pub use run::{Subject, audit};
pub use series::{bars_of, run};
pub use settings::{AuditSettings, Progress, Step};
