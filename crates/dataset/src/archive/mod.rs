//! A bundle in one file: a zstd-compressed tar whose bytes depend on its content alone.
//!
//! ```text
//! manifest.json     what is inside: size and sha256 of every member but these two
//! SHA256SUMS        the same for `sha256sum -c`, the manifest included
//! ...               the members, sorted by name
//! ```
//!
//! [`Bundle`] writes one, [`verify`] checks every member without unpacking, [`unpack`] makes a
//! directory of it. Only what [`Bundle`] writes is read: regular files under plain relative names,
//! each header byte for byte as it would be written. A link, a device, a name that leads elsewhere
//! or a field nobody here sets is a refusal and never a decision. Reading takes constant memory, and
//! no more is decompressed than the manifest states, which is itself bounded by [`Limits`].
//!
//! The tar is the `ustar` of POSIX 1003.1-1988 (pax, "ustar Interchange Format"); any tar program
//! unpacks it.

mod error;
mod header;
mod read;
mod write;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use error::{ArchiveError, Fault};
pub use read::{Verified, unpack, verify};
pub use write::{Bundle, Written};

/// The first member.
pub const MANIFEST: &str = "manifest.json";
/// The second member: digests for `sha256sum -c`.
pub const SUMS: &str = "SHA256SUMS";
/// What a manifest of this kind says it is.
const KIND: &str = "foretune-archive";
/// The version of the layout.
const SCHEMA: u32 = 1;
/// A manifest longer than this is not one, bytes.
const LARGEST_MANIFEST: u64 = 16 << 20;

/// What a bundle consists of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BundleManifest {
    /// `foretune-archive`.
    pub kind: String,
    /// The version of the layout.
    pub schema: u32,
    /// The version of foretune that wrote it.
    pub version: String,
    /// What it is for, in the words of who packed it.
    pub about: serde_json::Value,
    /// Every member but the manifest and [`SUMS`], by name.
    pub members: BTreeMap<String, MemberSheet>,
}

/// One member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MemberSheet {
    /// Its length.
    pub bytes: u64,
    /// Its sha256, lower-case hexadecimal.
    pub sha256: String,
}

/// What a bundle may ask of this machine, whatever its manifest says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of all members together.
    pub bytes: u64,
    /// Members.
    pub members: usize,
}

impl Default for Limits {
    /// 16 GiB in 100,000 members: the largest data set planned for is below 4 GiB.
    fn default() -> Self {
        Self {
            bytes: 16 << 30,
            members: 100_000,
        }
    }
}

impl BundleManifest {
    /// Returns the text of [`SUMS`], given the manifest's own digest.
    fn sums(&self, manifest_sha256: &str) -> String {
        let mut text = format!("{manifest_sha256}  {MANIFEST}\n");
        for (name, sheet) in &self.members {
            text += &format!("{}  {name}\n", sheet.sha256);
        }
        text
    }
}

#[cfg(test)]
mod tests;
