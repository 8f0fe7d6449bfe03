//! The page of a data set: what is in it, how its parts lie in time, and what to look at twice.
//!
//! [`read`] goes through the files of a data set or a bridge, line by line, and counts; [`html`]
//! makes one self-contained page of the counts. All numbers come from the files, so the page can
//! be made again wherever they are, and the same files give the same page. What only a builder
//! knows (purged rows, warnings, what the audit said) is taken from the datasheet.

mod drift;
mod evidence;
mod lengths;
mod line;
mod mix;
mod page;
mod read;
mod samples;
mod spans;

use std::collections::BTreeMap;

use dataset::{Message, Split};
use market::Timestamp;
use serde::Serialize;

pub use drift::{Drift, Feature};
pub use evidence::{Bin, Evidence, OfPart};
pub use lengths::{FileLengths, Histogram, Lengths};
pub use mix::{Mix, Period};
pub use page::html;
pub use read::read;
pub use samples::Sample;
pub use spans::{Boundary, Row, Spans};

/// How long a conversation is, in which unit: given by the caller, who may have a tokenizer.
pub struct Ruler<'a> {
    /// `tokens` or `characters`.
    pub unit: &'static str,
    /// Whose tokens, or why they are not counted; a sentence.
    pub note: String,
    /// The length of a conversation, or what is wrong with it.
    pub measure: &'a mut dyn FnMut(&[Message]) -> Result<usize, String>,
}

/// What a page shows, as numbers.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Page {
    /// `foretune-dataset` or `foretune-bridge`.
    pub kind: String,
    /// The version of foretune that wrote the data set.
    pub version: String,
    /// What the labels mean, in words.
    pub rule: String,
    /// What the leak audit said; none where there was none.
    pub audit: Option<String>,
    /// What the builder warned of.
    pub warnings: Vec<String>,
    /// Lines by file.
    pub files: BTreeMap<String, usize>,
    /// The parts, in order of time.
    pub parts: Vec<Part>,
    /// Which class comes how often, over time; one for each family of classes.
    pub mixes: Vec<Mix>,
    /// How the parts lie in time.
    pub spans: Spans,
    /// How far what prompts show moved between the parts.
    pub drift: Drift,
    /// Whether stated probabilities came true; empty for a data set that states none.
    pub evidence: Vec<Evidence>,
    /// How long the examples are.
    pub lengths: Lengths,
    /// A few to read.
    pub samples: Vec<Sample>,
}

/// One part: lines with a decision time.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Part {
    /// Which.
    pub part: Split,
    /// Lines.
    pub n: usize,
    /// The sum of their uniqueness within file and instrument.
    pub effective_n: f64,
    /// Lines by class; `none` for those without one.
    pub classes: BTreeMap<String, usize>,
    /// The first decision.
    pub first: Timestamp,
    /// The end of the last outcome.
    pub last: Timestamp,
}

/// What is kept of a line with a decision time.
#[derive(Debug, Clone, PartialEq)]
struct Record {
    part: Split,
    /// Place of the file among those read.
    file: usize,
    instrument: String,
    /// Decision and end of the outcome, Unix milliseconds.
    span: (i64, i64),
    label: Option<String>,
    /// How much of its span is its own among those of its file, part and instrument.
    uniqueness: f64,
}

/// The classes whose colours a page knows, by family: [buy, sell, hold].
const FAMILIES: [(&str, &[&str]); 3] = [
    ("Decisions", &["BUY", "SELL", "HOLD"]),
    ("Verdicts on signals", &["APPROVE", "VETO"]),
    ("Readings of values", &["BULLISH", "BEARISH", "NEUTRAL"]),
];

/// The style class of a class by its place in its family.
fn style(place: usize) -> &'static str {
    ["c-buy", "c-sell", "c-hold"]
        .get(place)
        .copied()
        .unwrap_or("c-hold")
}

/// The style class of a part.
fn part_style(part: Split) -> &'static str {
    match part {
        Split::Train => "p-train",
        Split::Validation => "p-validation",
        Split::Test => "p-test",
    }
}

/// Names with a square of their colour.
fn legend(entries: &[(&str, &str)]) -> String {
    use std::fmt::Write;
    let mut html = String::from("<ul class=\"legend\">");
    for (name, class) in entries {
        let _ = write!(
            html,
            "<li><svg viewBox=\"0 0 14 14\" aria-hidden=\"true\"><path class=\"{class}\" d=\"M1 2H13V12H1Z\"/></svg>{}</li>",
            crate::chart::svg::escape(name)
        );
    }
    html.push_str("</ul>");
    html
}
