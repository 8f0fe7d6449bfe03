//! Exit codes and the error they come from: the one place that says what the
//! process returns and why.
//!
//! | code | meaning |
//! | --- | --- |
//! | 0 | done |
//! | 1 | unexpected failure: a fault of foretune, please report it |
//! | 2 | wrong arguments or settings |
//! | 3 | input data missing or not fit for use |
//! | 4 | base model, tokenizer, chat template or adapter not fit for use |
//! | 5 | refused: a check or an evaluation did not meet its gate, or memory will not do |
//! | 6 | a tool or the network is missing (python3, pip, download) |
//! | 7 | storage: cannot read or write, disk full, no permission |
//! | 130 | interrupted (Ctrl-C) |
//!
//! Library errors are classified here and nowhere else.

use std::error::Error;
use std::io;
use std::process::ExitCode;

use dataset::DatasetError;
use dataset::archive::ArchiveError;
use formula::FormulaError;
use market::MarketError;
use model::{ModelError, TextError};
use serve::ServeError;
use stats::StatsError;
use train::TrainError;
use weights::WeightsError;

/// The table above as shown in `foretune --help`.
pub(crate) const HELP: &str = "\
Exit codes:
  0    done
  1    unexpected failure: a fault of foretune, please report it
  2    wrong arguments or settings
  3    input data missing or not fit for use
  4    base model, tokenizer, chat template or adapter not fit for use
  5    refused: a check or an evaluation did not meet its gate, or memory will not do
  6    a tool or the network is missing (python3, pip, download)
  7    storage: cannot read or write, disk full, no permission
  130  interrupted (Ctrl-C)

Data goes to standard output (as JSON with --json), everything else to standard
error. With --json an error is one line of JSON on standard error:
  {\"error\":{\"code\":3,\"kind\":\"data\",\"message\":\"...\",\"causes\":[],\"hints\":[]}}";

/// What the process returns to its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    /// Everything asked for was done.
    Success = 0,
    /// A failure nobody foresaw.
    Failure = 1,
    /// Wrong arguments or settings.
    Usage = 2,
    /// Input data missing or not fit for use.
    Data = 3,
    /// Base model, tokenizer, template or adapter not fit for use.
    Model = 4,
    /// A gate was not met.
    Refused = 5,
    /// A tool or the network is missing.
    Environment = 6,
    /// Cannot read or write.
    Storage = 7,
    /// Ctrl-C.
    Interrupted = 130,
}

impl Exit {
    /// Returns the number given to the operating system.
    pub(crate) fn code(self) -> u8 {
        self as u8
    }

    /// Returns the word used for the code in JSON.
    pub(crate) fn kind(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Failure => "failure",
            Self::Usage => "usage",
            Self::Data => "data",
            Self::Model => "model",
            Self::Refused => "refused",
            Self::Environment => "environment",
            Self::Storage => "storage",
            Self::Interrupted => "interrupted",
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// An error raised by a command itself, with the code and the hint it wants.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Stop {
    exit: Exit,
    message: String,
    hint: Option<String>,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl Stop {
    /// Builds an error that leaves with `exit`.
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self {
            exit,
            message: message.into(),
            hint: None,
            source: None,
        }
    }

    /// Returns what the process returns for it.
    pub(crate) fn exit(&self) -> Exit {
        self.exit
    }

    /// Adds what the reader should do about it.
    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds the error behind this one.
    #[must_use]
    pub(crate) fn caused_by(mut self, source: impl Error + Send + Sync + 'static) -> Self {
        self.source = Some(Box::new(source));
        self
    }
}

/// An error made ready for the reader: code, message, causes and hints.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Report {
    /// What the process returns.
    pub(crate) exit: Exit,
    /// The outermost message.
    pub(crate) message: String,
    /// The errors behind it, outermost first, without repetitions.
    pub(crate) causes: Vec<String>,
    /// What to do, in the order of the causes.
    pub(crate) hints: Vec<String>,
}

impl Report {
    /// Reads code, message, causes and hints from an error and those behind it.
    pub(crate) fn of(error: &anyhow::Error) -> Self {
        let mut messages: Vec<String> = Vec::new();
        let mut hints: Vec<String> = Vec::new();
        for cause in error.chain() {
            let message = cause.to_string();
            if messages.last().is_none_or(|last| !last.contains(&message)) {
                messages.push(message);
            }
            if let Some(hint) = hint_of(cause)
                && !hints.contains(&hint)
            {
                hints.push(hint);
            }
        }
        let message = messages.remove(0);
        Self {
            exit: classify(error),
            message,
            causes: messages,
            hints,
        }
    }
}

fn classify(error: &anyhow::Error) -> Exit {
    // A full disk or a missing permission outranks the room it was met in.
    let storage = error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(is_storage);
    if storage {
        return Exit::Storage;
    }
    error.chain().find_map(exit_of).unwrap_or(Exit::Failure)
}

fn is_storage(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull
            | io::ErrorKind::QuotaExceeded
            | io::ErrorKind::FileTooLarge
            | io::ErrorKind::PermissionDenied
            | io::ErrorKind::ReadOnlyFilesystem
            | io::ErrorKind::WriteZero
    )
}

fn exit_of(cause: &(dyn Error + 'static)) -> Option<Exit> {
    if let Some(stop) = cause.downcast_ref::<Stop>() {
        return Some(stop.exit);
    }
    if let Some(error) = cause.downcast_ref::<DatasetError>() {
        return Some(of_dataset(error));
    }
    if cause.is::<MarketError>() || cause.is::<FormulaError>() || cause.is::<StatsError>() {
        return Some(Exit::Data);
    }
    if let Some(error) = cause.downcast_ref::<WeightsError>() {
        return Some(of_weights(error));
    }
    if let Some(error) = cause.downcast_ref::<ModelError>() {
        return Some(of_model(error));
    }
    if cause.is::<TextError>() {
        return Some(Exit::Model);
    }
    if let Some(error) = cause.downcast_ref::<ServeError>() {
        return Some(match error {
            ServeError::Io { .. } | ServeError::Locked { .. } => Exit::Storage,
            ServeError::Setting { .. }
            | ServeError::Preregistered { .. }
            | ServeError::Registry { .. }
            | ServeError::Listen { .. } => Exit::Usage,
            ServeError::View(error) => of_dataset(error),
            ServeError::Judge { .. } => Exit::Model,
            _ => Exit::Data,
        });
    }
    if let Some(error) = cause.downcast_ref::<TrainError>() {
        return Some(match error {
            TrainError::Setting { .. }
            | TrainError::NeedsValidation { .. }
            | TrainError::OtherRun { .. } => Exit::Usage,
            TrainError::Checkpoint { .. } | TrainError::NoExamples => Exit::Data,
            TrainError::NotFinite { .. } => Exit::Refused,
            TrainError::File { .. } => Exit::Storage,
            TrainError::Interrupted { .. } => Exit::Interrupted,
            TrainError::Model(error) => of_model(error),
        });
    }
    cause.downcast_ref::<io::Error>().map(|_| Exit::Storage)
}

fn of_dataset(error: &DatasetError) -> Exit {
    match error {
        DatasetError::Setting { .. }
        | DatasetError::Template { .. }
        | DatasetError::NotADataset { .. } => Exit::Usage,
        DatasetError::Interrupted => Exit::Interrupted,
        DatasetError::LeakFound { .. } => Exit::Refused,
        DatasetError::Io { action, .. } if writes(action) => Exit::Storage,
        DatasetError::Archive(error) => of_archive(error),
        _ => Exit::Data,
    }
}

fn of_archive(error: &ArchiveError) -> Exit {
    match error {
        ArchiveError::Occupied { .. } => Exit::Usage,
        ArchiveError::Interrupted => Exit::Interrupted,
        ArchiveError::Io { action, .. } if writes(action) => Exit::Storage,
        _ => Exit::Data,
    }
}

fn of_model(error: &ModelError) -> Exit {
    match error {
        ModelError::Interrupted => Exit::Interrupted,
        ModelError::Weights(error) => of_weights(error),
        ModelError::Rank { .. } | ModelError::Form { .. } | ModelError::Sampling { .. } => {
            Exit::Usage
        }
        _ => Exit::Model,
    }
}

fn of_weights(error: &WeightsError) -> Exit {
    match error {
        WeightsError::Source { .. } => Exit::Usage,
        WeightsError::Python { .. } | WeightsError::Pip { .. } | WeightsError::Hub { .. } => {
            Exit::Environment
        }
        WeightsError::NoCacheDirectory { .. } => Exit::Storage,
        WeightsError::Interrupted => Exit::Interrupted,
        WeightsError::Io { action, .. } if writes(action) => Exit::Storage,
        _ => Exit::Model,
    }
}

/// Reports whether a file operation, by its words in the error, was to change the disk.
fn writes(action: &str) -> bool {
    ["create", "write", "replace", "rename", "sync", "download"]
        .iter()
        .any(|verb| action.starts_with(verb))
}

fn hint_of(cause: &(dyn Error + 'static)) -> Option<String> {
    if let Some(stop) = cause.downcast_ref::<Stop>() {
        return stop.hint.clone();
    }
    None.or_else(|| cause.downcast_ref().and_then(DatasetError::hint))
        .or_else(|| cause.downcast_ref().and_then(MarketError::hint))
        .or_else(|| cause.downcast_ref().and_then(FormulaError::hint))
        .or_else(|| cause.downcast_ref().and_then(StatsError::hint))
        .or_else(|| cause.downcast_ref().and_then(WeightsError::hint))
        .or_else(|| cause.downcast_ref().and_then(ModelError::hint))
        .or_else(|| cause.downcast_ref().and_then(TextError::hint))
        .or_else(|| cause.downcast_ref().and_then(TrainError::hint))
        .or_else(|| cause.downcast_ref().and_then(ServeError::hint))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(error: impl Into<anyhow::Error>, exit: Exit) -> Report {
        let report = Report::of(&error.into());
        assert_eq!(report.exit, exit, "{report:?}");
        report
    }

    #[test]
    fn the_help_lists_every_code_once() {
        let all = [
            Exit::Success,
            Exit::Failure,
            Exit::Usage,
            Exit::Data,
            Exit::Model,
            Exit::Refused,
            Exit::Environment,
            Exit::Storage,
            Exit::Interrupted,
        ];
        for exit in all {
            let start = format!("  {:<4} ", exit.code());
            let lines = HELP.lines().filter(|line| line.starts_with(&start)).count();
            assert_eq!(lines, 1, "{exit:?}");
        }
    }

    #[test]
    fn a_leak_is_a_gate_that_was_not_met() {
        let found = "check 3 `label_swap`".to_owned();
        let report = check(DatasetError::LeakFound { found }, Exit::Refused);
        assert_eq!(report.hints.len(), 1);
    }

    #[test]
    fn a_full_disk_outranks_the_room() {
        let source = || io::Error::from(io::ErrorKind::StorageFull);
        let path = std::path::PathBuf::from("x");
        let error = WeightsError::Io {
            action: "write",
            path: path.clone(),
            source: source(),
        };
        let report = check(error, Exit::Storage);
        assert_eq!(report.hints.len(), 1);
        let error = DatasetError::Io {
            action: "write",
            path,
            source: source(),
        };
        check(error, Exit::Storage);
    }

    #[test]
    fn a_missing_file_is_the_rooms_fault() {
        let error = MarketError::NoCandleFiles {
            path: "x".into(),
            nested: Vec::new(),
        };
        let report = check(DatasetError::Market(error), Exit::Data);
        assert_eq!(report.causes, Vec::<String>::new());
        assert_eq!(report.hints.len(), 1);
    }

    #[test]
    fn reading_is_the_rooms_fault_and_writing_is_storage() {
        let of = |action: &'static str| WeightsError::Io {
            action,
            path: "x".into(),
            source: io::ErrorKind::NotADirectory.into(),
        };
        check(of("read"), Exit::Model);
        check(of("create a file in"), Exit::Storage);
        let of = |action: &'static str| DatasetError::Io {
            action,
            path: "x".into(),
            source: io::ErrorKind::NotADirectory.into(),
        };
        check(of("read"), Exit::Data);
        check(of("rename a directory to"), Exit::Storage);
        let homeless = WeightsError::NoCacheDirectory { variables: "HOME" };
        check(homeless, Exit::Storage);
    }

    #[test]
    fn interruption_is_seen_through_every_room() {
        check(DatasetError::Interrupted, Exit::Interrupted);
        check(ModelError::Interrupted, Exit::Interrupted);
        check(
            TrainError::Model(ModelError::Interrupted),
            Exit::Interrupted,
        );
        check(crate::interrupt::stopped(), Exit::Interrupted);
    }

    #[test]
    fn causes_are_told_once() {
        let inner = io::Error::other("the reason");
        let error = Stop::new(Exit::Model, "cannot do it: the reason").caused_by(inner);
        let report = check(error, Exit::Model);
        assert_eq!(report.causes, Vec::<String>::new());
        let error = anyhow::Error::from(Stop::new(Exit::Data, "inner")).context("outer");
        let report = check(error, Exit::Data);
        assert_eq!(
            (report.message.as_str(), report.causes),
            ("outer", vec!["inner".to_owned()])
        );
    }
}
