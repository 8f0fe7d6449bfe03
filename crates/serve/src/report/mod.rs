//! `report.json` and the page made from it.
//!
//! [`Report`] is everything a run has to say about itself, with stable keys;
//! [`PageData`] is what only the page needs: prices to draw and answers to
//! read. [`html`] turns both into one self-contained page. Nothing here
//! computes a score: scores come from [`crate::evaluation`].

pub mod audit;
pub mod dataset;
mod figures;
mod page;
mod prose;
pub mod signals;
mod table;
mod tables;
pub mod training;
pub mod verdict;

use std::collections::BTreeMap;

use market::{Instrument, Timeframe, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::class::ByClass;
use crate::evaluation::{Evaluation, Row};
use crate::trials::Standing;

pub use page::html;

/// Says in a sentence or two what an adapter is worth beside everything that was tried.
pub fn trials(standing: &Standing) -> String {
    prose::trials(standing)
}

/// Version of the layout of `report.json`.
pub const SCHEMA: u32 = 1;

/// Everything a run says about itself: the content of `report.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Layout version, [`SCHEMA`].
    pub schema: u32,
    /// The command that made the report.
    pub command: String,
    /// When it was made.
    pub created: Option<Timestamp>,
    /// The market data read.
    pub data: Data,
    /// The examples made from it.
    pub dataset: Dataset,
    /// The training, when the command trained.
    pub train: Option<Train>,
    /// The made-up world, when the data is not real.
    pub world: Option<World>,
    /// The comparison with llama.cpp, when it was made.
    pub check: Option<Check>,
    /// Scores, edges and findings; its keys stand at the top level.
    #[serde(flatten)]
    pub evaluation: Evaluation,
    /// What the adapter is worth beside everything that was ever tried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trials: Option<Standing>,
    /// What the reader should know before believing anything.
    pub warnings: Vec<String>,
    /// The files written.
    pub files: Vec<FileEntry>,
    /// Where the time went, in order.
    pub timings: Vec<Timing>,
    /// Versions of what was involved, by name.
    pub versions: BTreeMap<String, String>,
}

/// The market data a run read.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Data {
    /// One entry per instrument and timeframe.
    pub instruments: Vec<DataSpan>,
}

/// The candles of one instrument.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DataSpan {
    /// The instrument.
    pub instrument: Instrument,
    /// The candles' timeframe.
    pub timeframe: Timeframe,
    /// Number of candles.
    pub bars: usize,
    /// Open time of the first candle.
    pub from: Timestamp,
    /// Close time of the last candle.
    pub to: Timestamp,
    /// Candles missing in between.
    pub missing_bars: usize,
    /// Where the candles come from, in words.
    pub source: Option<String>,
    /// Hash of the file.
    pub sha256: Option<String>,
}

/// The examples of a run.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Dataset {
    /// Examples by split and class.
    pub counts: Splits<ByClass<usize>>,
    /// Effective number of examples by split: the sum of their uniqueness weights.
    pub effective_n: Splits<f64>,
    /// First and last decision of each split.
    pub spans: Splits<Option<[Timestamp; 2]>>,
    /// The label rule in words.
    pub label_rule: String,
    /// Everything else worth stating, such as horizon and embargo.
    pub settings: BTreeMap<String, Value>,
}

/// One value per split.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Splits<T> {
    /// The value of the training split.
    pub train: T,
    /// The value of the validation split.
    pub validation: T,
    /// The value of the test split.
    pub test: T,
}

/// One training.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Train {
    /// Tokens trained on per second of training.
    pub tokens_per_second: f64,
    /// Largest resident memory of the process.
    pub peak_memory_bytes: u64,
    /// Duration.
    pub wall_seconds: f64,
    /// Distinct examples trained on, out of those of the training split; none
    /// when that is not known.
    #[serde(default)]
    pub examples_used: Option<usize>,
    /// The course of the training.
    pub history: Vec<HistoryPoint>,
    /// Base model, rank, learning rate and all other settings.
    pub settings: BTreeMap<String, Value>,
}

/// One step of a training; what was not measured at that step is none.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct HistoryPoint {
    /// Optimiser steps so far.
    pub step: u64,
    /// Mean training loss per supervised token, nats.
    pub loss: Option<f64>,
    /// Learning rate of the step.
    pub learning_rate: Option<f64>,
    /// Mean validation loss per supervised token, nats.
    pub validation_loss: Option<f64>,
    /// Share of validation examples decided right.
    pub validation_decision_accuracy: Option<f64>,
}

/// A made-up world.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct World {
    /// `planted`, `planted_digits` or `null`.
    pub name: String,
    /// The planted rule in words.
    pub rule: Option<String>,
    /// Best accuracy any method can reach on average.
    pub bayes_accuracy: Option<f64>,
}

/// The comparison of this engine with llama.cpp on the same prompts.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Check {
    /// Prompts compared.
    pub prompts: usize,
    /// Answers equal token by token.
    pub exact: usize,
    /// Answers that part at a numerical tie.
    pub tie: usize,
    /// Answers that part elsewhere.
    pub mismatch: usize,
    /// The rule that tells them apart, in words.
    pub rule: String,
    /// Share of answers in the required form.
    pub form_rate: f64,
    /// Client and version.
    pub client: String,
}

/// A file a run wrote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    /// Path relative to the report.
    pub path: String,
    /// What it is, in words.
    pub what: String,
    /// Size.
    pub bytes: u64,
    /// Hash.
    pub sha256: Option<String>,
}

/// How long a stage took.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Timing {
    /// The stage, in words.
    pub stage: String,
    /// Its duration.
    pub seconds: f64,
}

/// What only the page needs.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct PageData {
    /// A line above everything else, such as a mark that the numbers are made up.
    pub banner: Option<String>,
    /// Prices over the test span, one series per instrument.
    pub prices: Vec<PriceSeries>,
    /// The rows scored.
    pub rows: Vec<Row>,
    /// Decisions on those rows, by arm, as they were scored.
    pub decisions: BTreeMap<String, Vec<usize>>,
    /// Held-out prompts to read, with the answers.
    pub samples: Vec<Sample>,
}

/// Close prices of one instrument.
#[derive(Debug, Clone, PartialEq)]
pub struct PriceSeries {
    /// The instrument.
    pub instrument: Instrument,
    /// Close times, Unix milliseconds, ascending.
    pub times: Vec<i64>,
    /// Close prices.
    pub close: Vec<f64>,
}

/// A held-out prompt with what the models made of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    /// The instrument asked about.
    pub instrument: Instrument,
    /// When.
    pub decision_time: Timestamp,
    /// The prompt.
    pub prompt: String,
    /// The right class index.
    pub label: usize,
    /// The base model's answer.
    pub base: Option<String>,
    /// The adapter's answer.
    pub adapter: Option<String>,
}

impl<T> Splits<T> {
    /// Returns the values with the splits' names, in order of time.
    pub fn named(&self) -> [(&'static str, &T); 3] {
        [
            ("train", &self.train),
            ("validation", &self.validation),
            ("test", &self.test),
        ]
    }
}
