//! The lines of `ab_test_log.jsonl`.
//!
//! Every line is one JSON object that begins `{"schema":2,"kind":"..."`. Schema 1 is the flat
//! record of an evaluation ([`crate::log`]). Three kinds exist: a *decision* of one arm, the
//! *outcome* of a decision time, which all arms share, and an *event* in the service's life.
//! Names are not abbreviated, times are RFC 3339 in UTC, probabilities are in the order BUY, SELL,
//! HOLD. A field that is not known is `null`, never left out. A reader ignores fields it does not
//! know; a change of meaning is a new schema.

use market::{Instrument, Timeframe, Timestamp};
use serde::{Deserialize, Serialize};

use crate::class;
use crate::lines::MAX_LINE;
use crate::log::probability_fault;

/// Version of the record layout this code writes and reads.
pub const SCHEMA: u32 = 2;

/// The part an arm plays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Its decision is served.
    Champion,
    /// It decides in the shadow; nobody acts on it.
    Challenger,
}

impl Role {
    /// Returns `champion` or `challenger`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Champion => "champion",
            Self::Challenger => "challenger",
        }
    }
}

/// Where the bars come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// As they close.
    Live,
    /// History at speed; times are those of the history.
    Replay,
}

/// One decision of one arm.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Decision {
    /// SHA-256 of the pre-registration in force, lower-case hexadecimal.
    pub preregistration: String,
    /// Which decision: `instrument@timeframe@decision_time`. All arms' decisions and their outcome
    /// share it.
    pub id: String,
    /// What was decided about.
    pub instrument: Instrument,
    /// The timeframe of the bars.
    pub timeframe: Timeframe,
    /// The close of the bar on which the arm was asked.
    pub decision_time: Timestamp,
    /// When the decision was there. In a replay: `decision_time`.
    pub decided_at: Timestamp,
    /// Decided so long after the bar's close that nobody could have acted on it. Never to be
    /// counted as timely.
    pub late: bool,
    /// The arm's name; it keeps its name when its role changes.
    pub arm: String,
    /// The arm's role when it decided.
    pub role: Role,
    /// Class with the largest calibrated probability: `"BUY"`, `"SELL"` or `"HOLD"`.
    #[serde(with = "class")]
    pub decision: usize,
    /// Calibrated probabilities of BUY, SELL, HOLD; they sum to one.
    pub probabilities: [f64; class::COUNT],
    /// Probabilities before calibration, from the label tokens' logits.
    pub raw_probabilities: [f64; class::COUNT],
    /// Last close, in the quote currency.
    pub price: f64,
    /// SHA-256 of the base model's file.
    pub model_sha256: String,
    /// SHA-256 of the adapter's weights; none for the base model itself.
    pub adapter_sha256: Option<String>,
    /// SHA-256 of the prompt template and the settings it is rendered with.
    pub template_sha256: String,
    /// SHA-256 of the rendered prompt, the same for all arms of a decision.
    pub prompt_sha256: String,
    /// Tokens of the prompt with the chat template around it.
    pub prompt_tokens: usize,
    /// Time the arms of this bar took together, milliseconds; none in a replay, whose log does not
    /// depend on the machine.
    pub latency_ms: Option<f64>,
}

/// What happened after a decision time, for all arms.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// The decision's id.
    pub id: String,
    /// What was decided about.
    pub instrument: Instrument,
    /// The timeframe of the bars.
    pub timeframe: Timeframe,
    /// The start of the horizon.
    pub decision_time: Timestamp,
    /// The end of the horizon, even where a barrier was touched before: decisions of all outcomes
    /// are compared over blocks of one length.
    pub matured_at: Timestamp,
    /// When it was written down. In a replay: the close of the bar that ended the horizon.
    pub recorded_at: Timestamp,
    /// The right class by the label rule; none where there is no outcome.
    pub label: Option<Class>,
    /// Relative change of the price over the horizon, or until a barrier was touched: 0.02 is +2 %;
    /// none where there is no outcome.
    #[serde(rename = "return")]
    pub outcome_return: Option<f64>,
    /// Why there is no outcome and will be none: `gap` for bars missing within the horizon.
    pub void: Option<String>,
}

/// A class index that is written as its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Class(#[serde(with = "class")] pub usize);

/// What an event is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// The service began to decide with these arms. A replay writes it once, however often it is
    /// taken up again.
    Start,
    /// The service ended in order. After a crash there is none.
    Stop,
    /// Another arm became champion.
    Promotion,
    /// The champion before became champion again.
    Rollback,
    /// Something a reader of the figures should know, such as bars that were revised.
    Notice,
}

/// Something in the service's life.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// What it is about.
    pub event: EventKind,
    /// When. In a replay: the time of the history.
    pub at: Timestamp,
    /// Where the bars come from.
    pub mode: Mode,
    /// SHA-256 of the pre-registration in force.
    pub preregistration: String,
    /// The arms from now on, the champion first.
    pub arms: Vec<ArmSheet>,
    /// More in words, such as the reason of a promotion.
    pub text: Option<String>,
}

/// An arm as an event lists it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ArmSheet {
    /// The arm's name.
    pub name: String,
    /// Its role.
    pub role: Role,
    /// SHA-256 of the adapter's weights; none for the base model itself.
    pub adapter_sha256: Option<String>,
    /// What its logits are divided by.
    pub temperature: f64,
    /// What is added to the logits of BUY, SELL and HOLD afterwards.
    pub bias: [f64; class::COUNT],
}

/// A line of the log.
#[derive(Debug, Clone, PartialEq)]
pub enum Entry {
    /// A decision of one arm.
    Decision(Decision),
    /// What happened after a decision time.
    Outcome(Outcome),
    /// Something in the service's life.
    Event(Event),
}

/// A line as written: schema and kind first.
#[derive(Serialize)]
struct Line<'a, T> {
    schema: u32,
    kind: &'static str,
    #[serde(flatten)]
    body: &'a T,
}

/// What is read of a line before anything else.
#[derive(Deserialize)]
struct Probe {
    schema: u32,
    kind: Option<String>,
}

/// Returns the id of a decision.
pub fn decision_id(instrument: &Instrument, timeframe: Timeframe, time: Timestamp) -> String {
    format!("{instrument}@{timeframe}@{time}")
}

impl Entry {
    /// Returns when the entry was written down; what day its file is of.
    pub fn at(&self) -> Timestamp {
        match self {
            Self::Decision(decision) => decision.decided_at,
            Self::Outcome(outcome) => outcome.recorded_at,
            Self::Event(event) => event.at,
        }
    }

    /// Returns the line with its line feed.
    ///
    /// # Errors
    /// What a reader would refuse about it.
    pub fn to_line(&self) -> Result<Vec<u8>, String> {
        if let Some(fault) = self.fault() {
            return Err(fault);
        }
        let schema = SCHEMA;
        let written = match self {
            Self::Decision(body) => serde_json::to_vec(&Line {
                schema,
                kind: "decision",
                body,
            }),
            Self::Outcome(body) => serde_json::to_vec(&Line {
                schema,
                kind: "outcome",
                body,
            }),
            Self::Event(body) => serde_json::to_vec(&Line {
                schema,
                kind: "event",
                body,
            }),
        };
        let mut line = written.map_err(|error| error.to_string())?;
        line.push(b'\n');
        if line.len() > MAX_LINE {
            return Err(format!(
                "{} bytes long, expected at most {MAX_LINE}",
                line.len()
            ));
        }
        Ok(line)
    }

    /// Reads a line; schema and kind are judged before the fields.
    ///
    /// # Errors
    /// What is wrong with it and what was expected.
    pub fn parse(line: &[u8]) -> Result<Self, String> {
        const DECISION: &[u8] = b"{\"schema\":2,\"kind\":\"decision\",";
        let not_a_record = |error: serde_json::Error| format!("not a record: {error}");
        let entry = if line.starts_with(DECISION) {
            // By far the most frequent kind, read in one go.
            Self::Decision(serde_json::from_slice(line).map_err(not_a_record)?)
        } else {
            let probe: Probe = serde_json::from_slice(line).map_err(not_a_record)?;
            if probe.schema != SCHEMA {
                return Err(format!("schema `{}`, expected `{SCHEMA}`", probe.schema));
            }
            match probe.kind.as_deref() {
                Some("decision") => {
                    Self::Decision(serde_json::from_slice(line).map_err(not_a_record)?)
                }
                Some("outcome") => {
                    Self::Outcome(serde_json::from_slice(line).map_err(not_a_record)?)
                }
                Some("event") => Self::Event(serde_json::from_slice(line).map_err(not_a_record)?),
                kind => {
                    return Err(format!(
                        "kind `{}`, expected `decision`, `outcome` or `event`",
                        kind.unwrap_or("none")
                    ));
                }
            }
        };
        match entry.fault() {
            Some(fault) => Err(fault),
            None => Ok(entry),
        }
    }

    fn fault(&self) -> Option<String> {
        match self {
            Self::Decision(decision) => decision.fault(),
            Self::Outcome(outcome) => outcome.fault(),
            Self::Event(_) => None,
        }
    }
}

impl Decision {
    fn fault(&self) -> Option<String> {
        let expect = decision_id(&self.instrument, self.timeframe, self.decision_time);
        if self.id != expect {
            return Some(format!("id `{}`, expected `{expect}`", self.id));
        }
        if self.arm.is_empty() {
            return Some("empty arm, expected a name".to_owned());
        }
        if self.decision >= class::COUNT {
            return Some(format!("decision `{}` is no class index", self.decision));
        }
        if !(self.price > 0.0 && self.price.is_finite()) {
            return Some(format!("price `{}`, expected above 0", self.price));
        }
        probability_fault("probabilities", &self.probabilities)
            .or_else(|| probability_fault("raw_probabilities", &self.raw_probabilities))
    }
}

impl Outcome {
    fn fault(&self) -> Option<String> {
        let expect = decision_id(&self.instrument, self.timeframe, self.decision_time);
        if self.id != expect {
            return Some(format!("id `{}`, expected `{expect}`", self.id));
        }
        if self.matured_at <= self.decision_time {
            return Some("an outcome that matured before its decision".to_owned());
        }
        match (self.label, self.outcome_return, &self.void) {
            (Some(_), Some(value), None) if value.is_finite() && value > -1.0 => None,
            (Some(_), Some(value), None) => Some(format!("return `{value}`, expected above -1")),
            (None, None, Some(_)) => None,
            _ => Some("expected label and return, or the reason why there are none".to_owned()),
        }
    }
}
