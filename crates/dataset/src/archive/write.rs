//! Writing a bundle: the same members give the same bytes, on any machine.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Read, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use serde_json::Value;
use sha2::{Digest, Sha256};

use super::header::{BLOCK, check_name, header};
use super::{ArchiveError, BundleManifest, Fault, KIND, MANIFEST, MemberSheet, SCHEMA, SUMS};
use crate::hex;

/// Strong enough for text, at some ten megabytes a second. One thread, so that the frame does not
/// depend on their number.
const LEVEL: i32 = 12;
const CHUNK: usize = 64 << 10;

/// Members to be packed.
#[derive(Debug, Default)]
pub struct Bundle {
    about: Value,
    members: BTreeMap<String, Content>,
}

#[derive(Debug)]
enum Content {
    Bytes(Vec<u8>),
    File {
        path: PathBuf,
        sha256: Option<String>,
    },
}

/// A bundle that was written.
#[derive(Debug, Clone, PartialEq)]
pub struct Written {
    /// Length of the archive.
    pub bytes: u64,
    /// Its sha256.
    pub sha256: String,
    /// What it holds.
    pub manifest: BundleManifest,
}

impl Bundle {
    /// Starts an empty bundle; `about` goes into its manifest.
    pub fn new(about: Value) -> Self {
        Self {
            about,
            members: BTreeMap::new(),
        }
    }

    /// Says in the manifest what the bundle is for.
    pub fn about(&mut self, about: Value) {
        self.about = about;
    }

    /// Adds a member with this content. One whose name ends with `.sh` may be executed.
    ///
    /// # Errors
    /// [`ArchiveError::Unpackable`] for a name that could not be unpacked everywhere, or one that
    /// is taken.
    pub fn add(&mut self, name: &str, bytes: impl Into<Vec<u8>>) -> Result<(), ArchiveError> {
        self.put(name, Content::Bytes(bytes.into()))
    }

    /// Adds a file as a member; with a digest it has to be that file when it is packed.
    ///
    /// # Errors
    /// As [`Bundle::add`].
    pub fn add_file(
        &mut self,
        name: &str,
        path: &Path,
        sha256: Option<&str>,
    ) -> Result<(), ArchiveError> {
        let content = Content::File {
            path: path.to_owned(),
            sha256: sha256.map(str::to_owned),
        };
        self.put(name, content)
    }

    fn put(&mut self, name: &str, content: Content) -> Result<(), ArchiveError> {
        let refuse = |fault| ArchiveError::Unpackable {
            member: name.to_owned(),
            fault,
        };
        check_name(name).map_err(refuse)?;
        let mut taken = self.members.keys().map(String::as_str);
        if let Some(other) = taken.find(|other| collide(name, other)) {
            return Err(refuse(Fault::Duplicate(other.to_owned())));
        }
        if [MANIFEST, SUMS].iter().any(|own| collide(name, own)) {
            return Err(refuse(Fault::Duplicate(name.to_owned())));
        }
        self.members.insert(name.to_owned(), content);
        Ok(())
    }

    /// Writes the archive under a temporary name, syncs it and gives it its own. `progress` is told
    /// bytes done and in all, and may stop the work.
    ///
    /// # Errors
    /// [`ArchiveError::Io`], [`ArchiveError::Changed`] for a file that is not what it should be,
    /// [`ArchiveError::Unpackable`] for one that is too large, [`ArchiveError::Interrupted`].
    pub fn write(
        &self,
        path: &Path,
        progress: &mut dyn FnMut(u64, u64) -> ControlFlow<()>,
    ) -> Result<Written, ArchiveError> {
        let manifest = self.manifest()?;
        let mut text = serde_json::to_vec_pretty(&manifest)
            .map_err(std::io::Error::from)
            .map_err(ArchiveError::io("write", path))?;
        text.push(b'\n');
        let sums = manifest.sums(&hex(&Sha256::digest(&text)));

        let parent = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        std::fs::create_dir_all(parent).map_err(ArchiveError::io("create", parent))?;
        let mut file = tempfile::Builder::new()
            .prefix(".partial-")
            .tempfile_in(parent)
            .map_err(ArchiveError::io("create a file in", parent))?;
        let io = || ArchiveError::io("write", path);
        let counted = Counted {
            out: std::io::BufWriter::new(file.as_file_mut()),
            digest: Sha256::new(),
            bytes: 0,
        };
        let mut tar = zstd::Encoder::new(counted, LEVEL).map_err(io())?;
        tar.include_checksum(true).map_err(io())?;
        member(&mut tar, path, MANIFEST, text.len() as u64, &mut &text[..])?;
        member(
            &mut tar,
            path,
            SUMS,
            sums.len() as u64,
            &mut sums.as_bytes(),
        )?;
        let total: u64 = manifest.members.values().map(|sheet| sheet.bytes).sum();
        let mut done = 0;
        for (name, sheet) in &manifest.members {
            if progress(done, total).is_break() {
                return Err(ArchiveError::Interrupted);
            }
            match self.members.get(name) {
                Some(Content::Bytes(bytes)) => {
                    member(&mut tar, path, name, sheet.bytes, &mut &bytes[..])?;
                }
                Some(Content::File { path: source, .. }) => {
                    stream(&mut tar, path, name, sheet, source)?;
                }
                None => {}
            }
            done += sheet.bytes;
        }
        tar.write_all(&[0; 2 * BLOCK]).map_err(io())?;
        let Counted {
            mut out,
            digest,
            bytes,
        } = tar.finish().map_err(io())?;
        out.flush().map_err(io())?;
        drop(out);
        let sha256 = hex(&digest.finalize());
        persist(file, path, parent)?;
        let _ = progress(total, total);
        Ok(Written {
            bytes,
            sha256,
            manifest,
        })
    }

    fn manifest(&self) -> Result<BundleManifest, ArchiveError> {
        let mut members = BTreeMap::new();
        for (name, content) in &self.members {
            let sheet = match content {
                Content::Bytes(bytes) => MemberSheet {
                    bytes: bytes.len() as u64,
                    sha256: hex(&Sha256::digest(bytes)),
                },
                Content::File { path, sha256 } => {
                    let found = digest(path)?;
                    unchanged(path, &found, sha256.as_deref().unwrap_or(&found.sha256))?;
                    found
                }
            };
            header(name, sheet.bytes).map_err(|fault| ArchiveError::Unpackable {
                member: name.clone(),
                fault,
            })?;
            members.insert(name.clone(), sheet);
        }
        Ok(BundleManifest {
            kind: KIND.to_owned(),
            schema: SCHEMA,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            about: self.about.clone(),
            members,
        })
    }
}

/// Reports whether two members cannot lie in one directory: equal but for case, or one inside the
/// other.
pub(super) fn collide(left: &str, right: &str) -> bool {
    let (left, right) = (left.to_ascii_lowercase(), right.to_ascii_lowercase());
    let inside = |outer: &str, inner: &str| {
        inner
            .strip_prefix(outer)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    inside(&left, &right) || inside(&right, &left)
}

fn digest(path: &Path) -> Result<MemberSheet, ArchiveError> {
    let file = File::open(path).map_err(ArchiveError::io("read", path))?;
    let mut counted = Counted {
        out: std::io::sink(),
        digest: Sha256::new(),
        bytes: 0,
    };
    std::io::copy(&mut BufReader::with_capacity(CHUNK, file), &mut counted)
        .map_err(ArchiveError::io("read", path))?;
    Ok(MemberSheet {
        bytes: counted.bytes,
        sha256: hex(&counted.digest.finalize()),
    })
}

fn unchanged(path: &Path, found: &MemberSheet, expected: &str) -> Result<(), ArchiveError> {
    if found.sha256 == expected {
        return Ok(());
    }
    Err(ArchiveError::Changed {
        path: path.to_owned(),
        found: found.sha256.clone(),
        expected: expected.to_owned(),
    })
}

/// Writes a member from memory.
fn member(
    tar: &mut impl Write,
    archive: &Path,
    name: &str,
    bytes: u64,
    content: &mut dyn Read,
) -> Result<(), ArchiveError> {
    let block = header(name, bytes).map_err(|fault| ArchiveError::Unpackable {
        member: name.to_owned(),
        fault,
    })?;
    let padding = (BLOCK - (bytes % BLOCK as u64) as usize) % BLOCK;
    tar.write_all(&block)
        .and_then(|()| std::io::copy(content, tar))
        .and_then(|_| tar.write_all(&[0; BLOCK][..padding]))
        .map_err(ArchiveError::io("write", archive))
}

/// Writes a member from a file, which has to be the one that the manifest was made of.
fn stream(
    tar: &mut impl Write,
    archive: &Path,
    name: &str,
    sheet: &MemberSheet,
    source: &Path,
) -> Result<(), ArchiveError> {
    let file = File::open(source).map_err(ArchiveError::io("read", source))?;
    let mut read = Digested {
        inner: BufReader::with_capacity(CHUNK, file).take(sheet.bytes),
        digest: Sha256::new(),
        bytes: 0,
    };
    member(tar, archive, name, sheet.bytes, &mut read)?;
    let found = MemberSheet {
        bytes: read.bytes,
        sha256: hex(&read.digest.finalize()),
    };
    unchanged(source, &found, &sheet.sha256)
}

fn persist(file: tempfile::NamedTempFile, path: &Path, parent: &Path) -> Result<(), ArchiveError> {
    let io = || ArchiveError::io("write", path);
    file.as_file().sync_all().map_err(io())?;
    // Temporary files are private to their owner; an artefact is as public as its directory.
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        file.as_file()
            .set_permissions(std::fs::Permissions::from_mode(0o644))
            .map_err(io())?;
    }
    file.persist(path).map_err(|error| io()(error.error))?;
    if cfg!(unix) {
        File::open(parent)
            .and_then(|directory| directory.sync_all())
            .map_err(ArchiveError::io("sync", parent))?;
    }
    Ok(())
}

/// Counts and digests what passes through.
struct Counted<W> {
    out: W,
    digest: Sha256,
    bytes: u64,
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.digest.update(&bytes[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.out.flush()
    }
}

/// Counts and digests what is read.
struct Digested<R> {
    inner: R,
    digest: Sha256,
    bytes: u64,
}

impl<R: Read> Read for Digested<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.digest.update(&buffer[..read]);
        self.bytes += read as u64;
        Ok(read)
    }
}
