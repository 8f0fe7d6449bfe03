//! What can be wrong with a bundle, and where.

use std::path::{Path, PathBuf};

/// Why a bundle could not be written, read or unpacked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArchiveError {
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
    /// The compressed stream is damaged, cut short or followed by something else.
    #[error("`{}` is damaged: {message} (after {offset} bytes of the tar)", path.display())]
    Stream {
        /// The archive.
        path: PathBuf,
        /// Decompressed bytes before the fault.
        offset: u64,
        /// What was found and what was expected.
        message: String,
    },
    /// The tar has something where a member's header should be.
    #[error("`{}`: the header at byte {offset} of the tar {message}", path.display())]
    Header {
        /// The archive.
        path: PathBuf,
        /// Where the header begins in the decompressed tar.
        offset: u64,
        /// What was found and what was expected.
        message: String,
    },
    /// A member is refused.
    #[error("`{}`: member `{member}` at byte {offset} of the tar {fault}", path.display())]
    Member {
        /// The archive.
        path: PathBuf,
        /// The member's name, with what cannot be printed escaped.
        member: String,
        /// Where its header begins in the decompressed tar.
        offset: u64,
        /// Why.
        fault: Fault,
    },
    /// The manifest cannot be used.
    #[error("`{}`: `manifest.json` {message}", path.display())]
    Manifest {
        /// The archive.
        path: PathBuf,
        /// What was found and what was expected.
        message: String,
    },
    /// A member that the manifest lists is not there.
    #[error("`{}`: member `{member}` is missing, the manifest lists it", path.display())]
    Missing {
        /// The archive.
        path: PathBuf,
        /// The member.
        member: String,
    },
    /// The archive asks for more than the limits allow.
    #[error("`{}` states {found} {unit}, at most {limit} are unpacked", path.display())]
    TooLarge {
        /// The archive.
        path: PathBuf,
        /// What the manifest says.
        found: u64,
        /// `bytes` or `members`.
        unit: &'static str,
        /// The limit.
        limit: u64,
    },
    /// A member cannot be packed under its name, or twice.
    #[error("cannot pack a member named `{member}`: it {fault}")]
    Unpackable {
        /// The name.
        member: String,
        /// Why not.
        fault: Fault,
    },
    /// A file is not the one that was to be packed.
    #[error("`{}` has sha256 {found}, expected {expected}: it changed while it was packed", path.display())]
    Changed {
        /// The file.
        path: PathBuf,
        /// The digest of what is there.
        found: String,
        /// The digest it should have.
        expected: String,
    },
    /// Something is where the archive is to be unpacked.
    #[error("`{}` exists and is not an empty directory", path.display())]
    Occupied {
        /// The place.
        path: PathBuf,
    },
    /// The caller asked to stop; nothing is left behind.
    #[error("interrupted, nothing was written")]
    Interrupted,
}

/// Why a member is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// Its name is none that may be unpacked.
    #[error("has a name that {0}")]
    Name(&'static str),
    /// It is no regular file.
    #[error("is a {0}, expected a regular file")]
    Kind(String),
    /// It occurs before, or a name differs from it in case alone, or is a directory of it.
    #[error("collides with `{0}`")]
    Duplicate(String),
    /// The manifest does not know it.
    #[error("is not listed in the manifest")]
    NotListed,
    /// Its length is not the stated one.
    #[error("has {found} bytes, the manifest says {expected}")]
    Size {
        /// Bytes by its header.
        found: u64,
        /// Bytes by the manifest.
        expected: u64,
    },
    /// Its content is not the stated one.
    #[error("is altered: sha256 {found}, the manifest says {expected}")]
    Altered {
        /// The digest of what is there.
        found: String,
        /// The digest in the manifest.
        expected: String,
    },
    /// What fills its last block is not zero.
    #[error("is followed by bytes that belong to nothing")]
    Padding,
    /// It is too large for a tar header.
    #[error("is larger than the 8 GiB that a member can have")]
    TooLong,
}

impl ArchiveError {
    /// Returns what the user can do, where there is something.
    pub fn hint(&self) -> Option<String> {
        let text = match self {
            Self::Stream { .. } | Self::Missing { .. } => {
                "copy the archive again, and compare its sha256 with what `foretune pack` printed"
            }
            Self::Header { .. } | Self::Member { .. } | Self::Manifest { .. } => {
                "do not use it: copy it again from where it was packed, or pack it again"
            }
            Self::TooLarge { .. } => "raise --limit-gib if the archive is your own",
            Self::Changed { .. } => "pack again once nothing writes to the data set any more",
            Self::Occupied { .. } => "name a new directory with --out",
            _ => return None,
        };
        Some(text.to_owned())
    }

    /// Returns a function that wraps an I/O error with what was being done to which file.
    pub(super) fn io(
        action: &'static str,
        path: &Path,
    ) -> impl FnOnce(std::io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self::Io {
            action,
            path,
            source,
        }
    }
}
