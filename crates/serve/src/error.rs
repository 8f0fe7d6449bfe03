//! What can go wrong in this room, and what to do about it.

use std::path::PathBuf;

/// An error of the decision log or of the evaluation.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The operating system refused a file operation.
    #[error("cannot {action} `{}`: {source}", path.display())]
    Io {
        /// What was attempted, as a verb.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// Another writer holds the log.
    #[error("`{}` is already being written by another process", path.display())]
    Locked {
        /// The log.
        path: PathBuf,
    },
    /// The file to append to is something other than a decision log.
    #[error("`{}` is not a decision log: expected it to start with `{expected}`", path.display())]
    NotALog {
        /// The file.
        path: PathBuf,
        /// The first bytes of every log.
        expected: &'static str,
    },
    /// A line of the log cannot be used.
    #[error("`{}` line {line}: {reason}", path.display())]
    Line {
        /// The log.
        path: PathBuf,
        /// Line number, from 1.
        line: usize,
        /// What is wrong with it and what was expected.
        reason: String,
    },
    /// A record that must not enter the log.
    #[error("record of arm `{arm}` for `{instrument}` at `{decision_time}`: {reason}")]
    Record {
        /// The record's arm.
        arm: String,
        /// The record's instrument.
        instrument: String,
        /// The record's decision time.
        decision_time: String,
        /// What is wrong with it and what was expected.
        reason: String,
    },
    /// An entry that must not enter the shadow log.
    #[error("an entry does not fit the log: {reason}")]
    Entry {
        /// What is wrong with it and what was expected.
        reason: String,
    },
    /// A directory without a pre-registration is no shadow log.
    #[error("there is no shadow log in `{}`: it has no `preregistration.json`", folder.display())]
    NoShadowLog {
        /// The directory.
        folder: PathBuf,
    },
    /// The log was begun under another pre-registration.
    #[error("`{}` states something else: {difference}", path.display())]
    Preregistered {
        /// The file.
        path: PathBuf,
        /// The first difference.
        difference: String,
    },
    /// A market cannot be shown to the arms.
    #[error(transparent)]
    View(Box<dataset::DatasetError>),
    /// The arms cannot answer.
    #[error("the arms cannot answer at {time}: {source}")]
    Judge {
        /// The decision time.
        time: market::Timestamp,
        /// Why not.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The service cannot listen.
    #[error("cannot listen on {address}: {reason}")]
    Listen {
        /// Where.
        address: std::net::SocketAddr,
        /// Why not.
        reason: String,
    },
    /// The adapter registry cannot do what was asked.
    #[error("registry `{}`, `{name}`: {reason}", folder.display())]
    Registry {
        /// Its directory.
        folder: PathBuf,
        /// The adapter.
        name: String,
        /// What is wrong and what was expected.
        reason: String,
    },
    /// An arm's decisions do not fit the rows.
    #[error("arm `{arm}`: {reason}")]
    Arm {
        /// The arm's name.
        arm: String,
        /// What is wrong and what was expected.
        reason: String,
    },
    /// A row to be scored is unusable.
    #[error("row {row}: {reason}")]
    Row {
        /// Row number, from 0.
        row: usize,
        /// What is wrong and what was expected.
        reason: String,
    },
    /// An evaluation setting is out of range.
    #[error("setting `{name}`: {reason}")]
    Setting {
        /// The setting.
        name: &'static str,
        /// What is wrong and what was expected.
        reason: String,
    },
}

impl ServeError {
    /// Returns what a person can do about the error, when there is something.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Io { source, .. } if source.kind() == std::io::ErrorKind::StorageFull => {
                Some("free some disk space; no complete record was lost".to_owned())
            }
            Self::Locked { .. } => Some("stop the other process, or choose another log".to_owned()),
            Self::NotALog { .. } => Some("choose a new file name for the log".to_owned()),
            Self::Line { .. } => {
                Some("move the line to another file and look at it there".to_owned())
            }
            Self::NoShadowLog { .. } => Some(
                "`foretune shadow --replay --log DIR` makes one; name it with --log DIR".to_owned(),
            ),
            Self::Preregistered { .. } => Some(
                "what was laid down is not changed on the way: name another directory with --log, \
                 or go on as it says"
                    .to_owned(),
            ),
            Self::Listen { .. } => Some(
                "choose another address with --listen; beyond loopback name a file with a token of \
                 16 characters or more with --token-file"
                    .to_owned(),
            ),
            Self::Io { .. }
            | Self::Record { .. }
            | Self::Entry { .. }
            | Self::View(_)
            | Self::Judge { .. }
            | Self::Registry { .. }
            | Self::Arm { .. }
            | Self::Row { .. }
            | Self::Setting { .. } => None,
        }
    }
}
