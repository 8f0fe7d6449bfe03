//! Everything that can go wrong in this room, and what to do about it.

use std::path::{Path, PathBuf};

use formula::FormulaError;
use market::{Instrument, MarketError, Timeframe, Timestamp};
use stats::StatsError;

/// An error of the `dataset` room.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DatasetError {
    /// A package, or a file that goes into a bridge, cannot be used.
    #[error("`{}` {message}", path.display())]
    Bridge {
        /// The directory or file.
        path: PathBuf,
        /// What is wrong and what was expected.
        message: String,
    },
    /// A setting has a value that cannot be used.
    #[error("setting `{name}` is `{value}`, expected {expected}")]
    Setting {
        /// The key, as in the settings file.
        name: &'static str,
        /// The value found.
        value: String,
        /// What would be accepted.
        expected: String,
    },
    /// There is nothing to build from.
    #[error("no bars were given, expected at least one instrument")]
    NoInput,
    /// Two tables of bars are of the same instrument.
    #[error("two inputs are bars of `{instrument}`, expected one each")]
    DuplicateInstrument {
        /// The instrument found twice.
        instrument: Instrument,
    },
    /// The bars are not of the timeframe on which decisions are made.
    #[error(
        "bars of `{instrument}` are `{found}`, expected `{expected}`, the first of `timeframes`"
    )]
    Timeframe {
        /// Whose bars.
        instrument: Instrument,
        /// Their timeframe.
        found: Timeframe,
        /// The timeframe of the settings.
        expected: Timeframe,
    },
    /// Not one row could be labelled.
    #[error("no row has both warm indicators and an outcome; {detail}")]
    NothingLabelled {
        /// Rows by reason for leaving them out.
        detail: String,
    },
    /// A class has no example to train on.
    #[error("class `{class}` has no training example (BUY {buy}, SELL {sell}, HOLD {hold})")]
    EmptyClass {
        /// The class that is missing.
        class: crate::Decision,
        /// Training examples labelled BUY.
        buy: usize,
        /// Training examples labelled SELL.
        sell: usize,
        /// Training examples labelled HOLD.
        hold: usize,
    },
    /// A part of the split holds nothing.
    #[error("the {split} part has no example")]
    EmptySplit {
        /// `validation` or `test`.
        split: crate::Split,
    },
    /// A fact was not yet known at the decision time.
    #[error(
        "fact `{fact}` of `{instrument}` becomes known at {available_at}, after the decision at {decision_time}"
    )]
    NotYetKnown {
        /// The fact.
        fact: String,
        /// Whose.
        instrument: Instrument,
        /// When it becomes known.
        available_at: Timestamp,
        /// When the model is asked.
        decision_time: Timestamp,
    },
    /// A fact is not a number that can be shown.
    #[error("fact `{fact}` of `{instrument}` at {decision_time} is `{value}`, expected {expected}")]
    BadFact {
        /// The fact.
        fact: &'static str,
        /// Whose.
        instrument: Instrument,
        /// When the model is asked.
        decision_time: Timestamp,
        /// What was found.
        value: f64,
        /// What would be accepted.
        expected: &'static str,
    },
    /// A template does not parse or refers to something that is not there.
    #[error("template `{name}`: {message}")]
    Template {
        /// The file or template.
        name: String,
        /// What the template engine says, with its line.
        message: String,
    },
    /// A completion is not of the form `DECISION: BUY|SELL|HOLD - reason` on one line.
    #[error(
        "template `{template}` made `{text}`, expected one line `DECISION: {decision} - reason`"
    )]
    Form {
        /// The completion template.
        template: String,
        /// What it made.
        text: String,
        /// The decision it should state.
        decision: crate::Decision,
    },
    /// The prompt shows nothing that an answer could argue with.
    #[error("example `{id}`: its prompt shows no fact that speaks for or against a decision")]
    NoArgument {
        /// The example.
        id: String,
    },
    /// A completion states a number that the prompt does not show.
    #[error("example `{id}`: the answer states `{number}`, which its prompt does not show")]
    UnknownNumber {
        /// The example.
        id: String,
        /// The number, as written.
        number: String,
    },
    /// The caller asked to stop.
    #[error("interrupted, nothing was written")]
    Interrupted,
    /// A file operation failed.
    #[error("cannot {action} `{}`: {source}", path.display())]
    Io {
        /// What was being done, such as `read`.
        action: &'static str,
        /// To which file.
        path: PathBuf,
        /// Why it failed.
        source: std::io::Error,
    },
    /// A directory to be replaced is not a data set.
    #[error("`{}` exists and is not a data set directory", path.display())]
    NotADataset {
        /// The directory.
        path: PathBuf,
    },
    /// A manifest cannot be used.
    #[error("`{}`: {message}", path.display())]
    Manifest {
        /// The manifest.
        path: PathBuf,
        /// What is wrong, and what was expected.
        message: String,
    },
    /// A line of an examples file cannot be used.
    #[error("`{}` line {line}: {message}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong, and what was expected.
        message: String,
    },
    /// A file is not the one that the manifest describes.
    #[error("`{}` has sha256 {found}, the manifest says {expected}", path.display())]
    Altered {
        /// The file.
        path: PathBuf,
        /// The digest of what is there.
        found: String,
        /// The digest in the manifest.
        expected: String,
    },
    /// A feature set cannot be used.
    #[error("feature set `{file}`: {reason}")]
    FeatureSet {
        /// The set or its file.
        file: String,
        /// What is wrong.
        reason: String,
    },
    /// A directory that is neither empty nor a package of features.
    #[error("`{}` holds something else than a package of features", path.display())]
    NotAPackage {
        /// The directory.
        path: PathBuf,
    },
    /// An instrument has no row left after warm-up and targets.
    #[error(
        "`{instrument}` has {bars} bars, which leaves no training row after {warm_up} bars of \
         warm-up and {horizon} of targets"
    )]
    TooFewBars {
        /// The instrument.
        instrument: String,
        /// Its bars.
        bars: usize,
        /// The longest warm-up of the features.
        warm_up: usize,
        /// The longest horizon of the targets.
        horizon: usize,
    },
    /// The audit found that something from after a decision reaches what is read or taught.
    #[error("the audit found a fault: {found}; nothing was written")]
    LeakFound {
        /// The red checks, each with its first finding.
        found: String,
    },
    /// Bars do not fit the records that are to be audited.
    #[error("bars of `{instrument}`: {reason}")]
    AuditBars {
        /// The instrument.
        instrument: String,
        /// What is wrong.
        reason: String,
    },
    /// The work was stopped from outside; nothing was written.
    #[error("stopped; nothing was written")]
    Stopped,
    /// A bundle is not usable.
    #[error(transparent)]
    Archive(#[from] crate::archive::ArchiveError),
    /// The bars are not usable.
    #[error(transparent)]
    Market(#[from] MarketError),
    /// The indicators cannot be computed.
    #[error(transparent)]
    Formula(#[from] FormulaError),
    /// The split cannot be made.
    #[error(transparent)]
    Stats(#[from] StatsError),
    /// The ensemble cannot be trained or used.
    #[error(transparent)]
    Ensemble(#[from] crate::ensemble::EnsembleError),
}

impl DatasetError {
    /// Returns what the user can do, where there is something.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Timeframe { found, .. } => {
                format!("put `{found}` first in `timeframes`, or give bars of the expected one")
            }
            Self::DuplicateInstrument { .. } => {
                "keep one file of each pair and timeframe in the data directory".to_owned()
            }
            Self::NothingLabelled { .. } => {
                "give a longer history, or shorten `horizon_hours` or `timeframes`; bars that do not \
                 begin on the timeframe's clock (at the full hour for 1h) are off stride"
                    .to_owned()
            }
            Self::EmptyClass { class, .. } => match class {
                crate::Decision::Buy => {
                    "lower `label.buy_above`, use a volatility-scaled label, or give more history"
                }
                crate::Decision::Sell => {
                    "raise `label.sell_below`, use a volatility-scaled label, or give more history"
                }
                crate::Decision::Hold => "widen the label's thresholds, or shorten `horizon_hours`",
            }
            .to_owned(),
            Self::EmptySplit { .. } => {
                "give a longer history, or a larger fraction of it in `split`".to_owned()
            }
            Self::UnknownNumber { .. } => {
                "completion templates may only use numbers that the prompt template shows, such as \
                 `{{ rsi.text }}` or the 50 of `EMA(50)`"
                    .to_owned()
            }
            Self::NoArgument { .. } => {
                "the prompt template has to show some facts with their words, such as \
                 `{{ rsi.text }} ({{ rsi.zone }})`"
                    .to_owned()
            }
            Self::LeakFound { .. } => {
                "docs/audit.md explains each check; what it found is told above for a bridge, and for \
                 a data set of decisions by building it with --no-audit (which it then says of \
                 itself) and `foretune audit DIR --html audit.html`"
                    .to_owned()
            }
            Self::AuditBars { .. } => {
                "name the candles that the records were made from with --data or --bars".to_owned()
            }
            Self::TooFewBars { .. } => {
                "give a longer history, fewer horizons, or features with shorter windows".to_owned()
            }
            Self::NotAPackage { .. } | Self::NotADataset { .. } => "name a new directory, or empty this one".to_owned(),
            Self::Altered { .. } | Self::Manifest { .. } | Self::Line { .. } => {
                "build it again with `foretune dataset build`".to_owned()
            }
            Self::Archive(error) => return error.hint(),
            Self::Market(error) => return error.hint(),
            Self::Formula(error) => return error.hint(),
            Self::Stats(error) => return error.hint(),
            Self::Ensemble(error) => return error.hint(),
            _ => return None,
        };
        Some(hint)
    }

    /// Returns a function that wraps an I/O error with what was being done to which file.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io {
            action,
            path,
            source,
        }
    }
}
