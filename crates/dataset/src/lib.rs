#![forbid(unsafe_code)]
//! From bars to leak-free examples for a language model that judges trades.
//!
//! [`build()`] labels the bars, cuts them in time, balances the training part and renders prompts and
//! answers; [`Dataset::write`] makes a directory of it. A live prompt comes from the same
//! [`render_prompt`] and the same template files. What a prompt may use is an [`AsOf`] view, whose
//! facts all carry the instant from which they are known.
//!
//! This room trains nothing, fetches nothing and reads no clock. It does not judge whether a label
//! can be predicted; `stats` and `serve` do.

pub mod archive;
mod as_of;
pub mod audit;
mod balance;
mod barriers;
pub mod bridge;
mod build;
pub mod claims;
mod completion;
mod datasheet;
mod decision;
pub mod ensemble;
mod error;
mod example;
mod facts;
pub mod knowledge;
mod label_rule;
mod labels;
pub mod package;
mod pairs;
mod prompt;
mod seed;
mod series;
mod settings;
mod store;
mod templates;
pub mod world;

pub use as_of::{AsOf, EMA_PERIODS, FrameState, FrameView, Known};
pub use build::{Progress, Stage, build};
pub use completion::{Completion, compose};
pub use datasheet::{
    BalanceSheet, Boundaries, ClassCounts, Counts, Datasheet, FileSheet, InstrumentSheet, SCHEMA,
    SplitSheet,
};
pub use decision::{ANSWER_PREFIX, Decision, REASON_SEPARATOR, Split, parse_answer};
pub use error::DatasetError;
pub use example::{Example, Message};
pub use facts::{Fact, Facts, facts};
pub use formula::zones::Trend;
pub use label_rule::LabelRule;
pub use labels::{Outcome, Outcomes, Unlabelled, outcomes};
pub use pairs::{PreferencePair, read_pairs};
pub use prompt::render_prompt;
pub use series::Series;
pub use settings::{DatasetSettings, SplitFractions};
pub use store::{Audited, Manifest, read_manifest};
pub use templates::Templates;

/// Examples in three parts, with what they were made by.
#[derive(Debug, Clone)]
pub struct Dataset {
    /// The settings; the template paths are replaced by [`Dataset::templates`].
    pub settings: DatasetSettings,
    /// The templates.
    pub templates: Templates,
    /// The part that is learned from, balanced, in time order.
    pub train: Vec<Example>,
    /// The part on which choices are made, in its natural mix.
    pub validation: Vec<Example>,
    /// The part that is scored, in its natural mix.
    pub test: Vec<Example>,
    /// What it holds and what was left out.
    pub datasheet: Datasheet,
}

impl Dataset {
    /// Returns the examples of one part, in time order.
    pub fn split(&self, split: Split) -> &[Example] {
        match split {
            Split::Train => &self.train,
            Split::Validation => &self.validation,
            Split::Test => &self.test,
        }
    }
}

/// Writes bytes as lower-case hexadecimal digits.
fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
