//! Reading a bundle that somebody else may have made: checked member by member as it streams by.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{BufReader, BufWriter, Read, Write};
use std::ops::ControlFlow;
use std::path::Path;

use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::header::{BLOCK, Parsed, check_name, parse};
use super::write::collide;
use super::{
    ArchiveError, BundleManifest, Fault, KIND, LARGEST_MANIFEST, Limits, MANIFEST, MemberSheet,
    SCHEMA, SUMS,
};
use crate::hex;

const CHUNK: usize = 64 << 10;
/// The largest window a frame may ask for: 128 MiB, zstd's own default.
const WINDOW_LOG: u32 = 27;

/// A bundle in which every member is as its manifest says.
#[derive(Debug, Clone, PartialEq)]
pub struct Verified {
    /// What it holds.
    pub manifest: BundleManifest,
    /// Bytes of all members together, manifest and sums left out.
    pub bytes: u64,
}

/// Told bytes checked and in all; may stop the work.
type Report<'a> = &'a mut dyn FnMut(u64, u64) -> ControlFlow<()>;

/// Checks every member of an archive against its manifest. Nothing is written.
///
/// # Errors
/// Every [`ArchiveError`] that reading has, naming member and offset.
pub fn verify(
    archive: &Path,
    limits: Limits,
    progress: Report<'_>,
) -> Result<Verified, ArchiveError> {
    walk(archive, limits, None, progress)
}

/// Unpacks an archive into `directory`, which must not exist or be empty. Members are checked on
/// the way; a directory appears only when all of them are sound.
///
/// # Errors
/// As [`verify`]; [`ArchiveError::Occupied`], and [`ArchiveError::Io`] if the disk fails. Then
/// nothing is left behind.
pub fn unpack(
    archive: &Path,
    directory: &Path,
    limits: Limits,
    progress: Report<'_>,
) -> Result<Verified, ArchiveError> {
    let is_free = match fs::read_dir(directory) {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) => error.kind() == std::io::ErrorKind::NotFound,
    };
    if !is_free {
        return Err(ArchiveError::Occupied {
            path: directory.to_owned(),
        });
    }
    let parent = match directory.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    fs::create_dir_all(parent).map_err(ArchiveError::io("create", parent))?;
    let staging = tempfile::Builder::new()
        .prefix(".unpack-")
        .tempdir_in(parent)
        .map_err(ArchiveError::io("create a directory in", parent))?;
    let fresh = staging.path().join("new");
    fs::create_dir(&fresh).map_err(ArchiveError::io("create", &fresh))?;
    let verified = walk(archive, limits, Some(&fresh), progress)?;
    // An empty directory gives way to the new one.
    let _ = fs::remove_dir(directory);
    fs::rename(&fresh, directory).map_err(ArchiveError::io("rename a directory to", directory))?;
    if cfg!(unix) {
        File::open(parent)
            .and_then(|parent| parent.sync_all())
            .map_err(ArchiveError::io("sync", parent))?;
    }
    Ok(verified)
}

/// Reads the whole archive, writing members below `target` if there is one.
fn walk(
    archive: &Path,
    limits: Limits,
    target: Option<&Path>,
    progress: Report<'_>,
) -> Result<Verified, ArchiveError> {
    let mut tar = Tar::open(archive)?;
    let (manifest, manifest_sha256) = tar.manifest(limits, target)?;
    let sums = manifest.sums(&manifest_sha256);
    let own = MemberSheet {
        bytes: sums.len() as u64,
        sha256: hex(&Sha256::digest(&sums)),
    };
    let total: u64 = manifest.members.values().map(|sheet| sheet.bytes).sum();
    let mut seen: BTreeSet<String> = BTreeSet::new();
    let mut done = 0;
    while let Some(member) = tar.next_member()? {
        let refuse = |fault| tar.refuse(&member, fault);
        if seen.contains(&member.name) || member.name == MANIFEST {
            return Err(refuse(Fault::Duplicate(member.name.clone())));
        }
        let sheet = match manifest.members.get(&member.name) {
            Some(sheet) => sheet,
            None if member.name == SUMS => &own,
            None => return Err(refuse(Fault::NotListed)),
        };
        if member.bytes != sheet.bytes {
            return Err(refuse(Fault::Size {
                found: member.bytes,
                expected: sheet.bytes,
            }));
        }
        let found = tar.content(&member, target, &mut |read| {
            progress(done + read, total.max(done + read))
        })?;
        if found != sheet.sha256 {
            return Err(tar.refuse(
                &member,
                Fault::Altered {
                    found,
                    expected: sheet.sha256.clone(),
                },
            ));
        }
        if member.name != SUMS {
            done += member.bytes;
        }
        seen.insert(member.name);
    }
    let listed = manifest.members.keys().map(String::as_str);
    if let Some(missing) = listed.chain([SUMS]).find(|name| !seen.contains(*name)) {
        return Err(ArchiveError::Missing {
            path: archive.to_owned(),
            member: missing.to_owned(),
        });
    }
    tar.end()?;
    Ok(Verified {
        manifest,
        bytes: total,
    })
}

/// A member whose header was read and whose content comes next.
struct Member {
    name: String,
    bytes: u64,
    /// Where its header began.
    offset: u64,
}

/// The decompressed tar, with its position.
struct Tar<'a> {
    path: &'a Path,
    stream: zstd::Decoder<'static, BufReader<File>>,
    offset: u64,
}

impl<'a> Tar<'a> {
    fn open(path: &'a Path) -> Result<Self, ArchiveError> {
        let file = File::open(path).map_err(ArchiveError::io("read", path))?;
        let reader = BufReader::with_capacity(CHUNK, file);
        let mut stream = zstd::Decoder::with_buffer(reader)
            .map_err(ArchiveError::io("read", path))?
            .single_frame();
        stream
            .window_log_max(WINDOW_LOG)
            .map_err(ArchiveError::io("read", path))?;
        Ok(Self {
            path,
            stream,
            offset: 0,
        })
    }

    fn damaged(&self, message: impl Into<String>) -> ArchiveError {
        ArchiveError::Stream {
            path: self.path.to_owned(),
            offset: self.offset,
            message: message.into(),
        }
    }

    fn refuse(&self, member: &Member, fault: Fault) -> ArchiveError {
        ArchiveError::Member {
            path: self.path.to_owned(),
            member: member.name.clone(),
            offset: member.offset,
            fault,
        }
    }

    /// Fills a buffer.
    fn fill(&mut self, mut buffer: &mut [u8]) -> Result<(), ArchiveError> {
        while !buffer.is_empty() {
            match self.stream.read(buffer) {
                Ok(0) => return Err(self.damaged("it ends too early")),
                Ok(read) => {
                    self.offset += read as u64;
                    buffer = &mut buffer[read..];
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) if error.raw_os_error().is_some() => {
                    return Err(ArchiveError::io("read", self.path)(error));
                }
                Err(error) => return Err(self.damaged(error.to_string())),
            }
        }
        Ok(())
    }

    /// Reads the next header, or nothing at the two zero blocks that end a tar.
    fn next_member(&mut self) -> Result<Option<Member>, ArchiveError> {
        let offset = self.offset;
        let mut block = [0; BLOCK];
        self.fill(&mut block)?;
        let malformed = |message: String| ArchiveError::Header {
            path: self.path.to_owned(),
            offset,
            message,
        };
        if block == [0; BLOCK] {
            self.fill(&mut block)?;
            if block != [0; BLOCK] {
                return Err(malformed("is zero and not the end".to_owned()));
            }
            return Ok(None);
        }
        match parse(&block) {
            Parsed::Member { name, bytes } => Ok(Some(Member {
                name,
                bytes,
                offset,
            })),
            Parsed::Refused { name, fault } => Err(ArchiveError::Member {
                path: self.path.to_owned(),
                member: name,
                offset,
                fault,
            }),
            Parsed::Malformed(message) => Err(malformed(message)),
        }
    }

    /// Reads and checks the manifest, which comes first, and its limits.
    fn manifest(
        &mut self,
        limits: Limits,
        target: Option<&Path>,
    ) -> Result<(BundleManifest, String), ArchiveError> {
        let refuse = |message: String| ArchiveError::Manifest {
            path: self.path.to_owned(),
            message,
        };
        let first = self.next_member()?;
        let Some(member) = first.filter(|member| member.name == MANIFEST) else {
            return Err(refuse("is not the first member".to_owned()));
        };
        if member.bytes > LARGEST_MANIFEST {
            let found = member.bytes;
            return Err(refuse(format!(
                "has {found} bytes, expected at most {LARGEST_MANIFEST}"
            )));
        }
        let mut text = vec![0; member.bytes as usize];
        self.fill(&mut text)?;
        self.padding(&member)?;
        let head: Head =
            serde_json::from_slice(&text).map_err(|error| refuse(error.to_string()))?;
        if head.kind != KIND || head.schema != SCHEMA {
            return Err(refuse(format!(
                "is of kind `{}`, schema {}, expected `{KIND}`, {SCHEMA}",
                head.kind.escape_debug(),
                head.schema
            )));
        }
        let manifest: BundleManifest =
            serde_json::from_slice(&text).map_err(|error| refuse(error.to_string()))?;
        self.check_manifest(&manifest, limits)?;
        if let Some(target) = target {
            let path = target.join(MANIFEST);
            let mut file = create(&path)?;
            file.write_all(&text)
                .and_then(|()| finish(file))
                .map_err(ArchiveError::io("write", &path))?;
        }
        Ok((manifest, hex(&Sha256::digest(&text))))
    }

    fn check_manifest(
        &self,
        manifest: &BundleManifest,
        limits: Limits,
    ) -> Result<(), ArchiveError> {
        let refuse = |message: String| ArchiveError::Manifest {
            path: self.path.to_owned(),
            message,
        };
        let too_large = |found, unit, limit| ArchiveError::TooLarge {
            path: self.path.to_owned(),
            found,
            unit,
            limit,
        };
        let count = manifest.members.len();
        if count > limits.members {
            return Err(too_large(count as u64, "members", limits.members as u64));
        }
        let sizes = manifest.members.values().map(|sheet| sheet.bytes);
        let total = sizes.fold(0, u64::saturating_add);
        if total > limits.bytes {
            return Err(too_large(total, "bytes", limits.bytes));
        }
        let mut folded: BTreeMap<String, &str> = BTreeMap::new();
        for (name, sheet) in &manifest.members {
            let shown = name.escape_debug();
            check_name(name).map_err(|fault| refuse(format!("lists `{shown}`, which {fault}")))?;
            if [MANIFEST, SUMS].iter().any(|own| collide(name, own)) {
                return Err(refuse(format!(
                    "lists `{shown}`, which is not to be listed"
                )));
            }
            let is_digest = sheet.sha256.len() == 64
                && sheet
                    .sha256
                    .bytes()
                    .all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
            if !is_digest {
                return Err(refuse(format!("has no sha256 of `{shown}`")));
            }
            folded.insert(name.to_ascii_lowercase(), name);
        }
        if folded.len() < count {
            return Err(refuse("lists names that differ in case alone".to_owned()));
        }
        // A file cannot be a directory of another: every proper beginning has to be free.
        for (lower, name) in &folded {
            let taken = lower
                .match_indices('/')
                .find_map(|(at, _)| folded.get(&lower[..at]));
            if let Some(file) = taken {
                return Err(refuse(format!("lists `{file}` and `{name}` below it")));
            }
        }
        Ok(())
    }

    /// Reads a member's content, writes it below `target` if there is one, and returns its digest.
    fn content(
        &mut self,
        member: &Member,
        target: Option<&Path>,
        report: &mut dyn FnMut(u64) -> ControlFlow<()>,
    ) -> Result<String, ArchiveError> {
        let path = target.map(|target| target.join(&member.name));
        let mut file = path.as_deref().map(create).transpose()?;
        let mut digest = Sha256::new();
        let mut buffer = vec![0; CHUNK];
        let mut rest = member.bytes;
        while rest > 0 {
            if report(member.bytes - rest).is_break() {
                return Err(ArchiveError::Interrupted);
            }
            let take = rest.min(CHUNK as u64) as usize;
            self.fill(&mut buffer[..take])?;
            digest.update(&buffer[..take]);
            if let (Some(file), Some(path)) = (&mut file, &path) {
                file.write_all(&buffer[..take])
                    .map_err(ArchiveError::io("write", path))?;
            }
            rest -= take as u64;
        }
        self.padding(member)?;
        if let (Some(file), Some(path)) = (file, &path) {
            finish(file).map_err(ArchiveError::io("write", path))?;
            executable(path, &member.name)?;
        }
        Ok(hex(&digest.finalize()))
    }

    /// Reads what fills a member's last block.
    fn padding(&mut self, member: &Member) -> Result<(), ArchiveError> {
        let length = (BLOCK - (member.bytes % BLOCK as u64) as usize) % BLOCK;
        let mut block = [0; BLOCK];
        self.fill(&mut block[..length])?;
        if block == [0; BLOCK] {
            return Ok(());
        }
        Err(self.refuse(member, Fault::Padding))
    }

    /// Checks that nothing follows, in the tar or behind its frame.
    fn end(mut self) -> Result<(), ArchiveError> {
        let mut one = [0];
        match self.stream.read(&mut one) {
            Ok(0) => {}
            Ok(_) => return Err(self.damaged("the tar goes on behind its end")),
            Err(error) => return Err(self.damaged(error.to_string())),
        }
        let (path, offset) = (self.path, self.offset);
        let mut file = self.stream.finish();
        match file.read(&mut one) {
            Ok(0) => Ok(()),
            Ok(_) => Err(ArchiveError::Stream {
                path: path.to_owned(),
                offset,
                message: "bytes follow the compressed frame".to_owned(),
            }),
            Err(error) => Err(ArchiveError::io("read", path)(error)),
        }
    }
}

/// The fields that say whether the rest can be understood.
#[derive(Deserialize)]
struct Head {
    kind: String,
    schema: u32,
}

/// Makes a file and the directories above it, which is never one that exists.
fn create(path: &Path) -> Result<BufWriter<File>, ArchiveError> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(ArchiveError::io("create", folder))?;
    }
    let file = File::create_new(path).map_err(ArchiveError::io("create", path))?;
    Ok(BufWriter::new(file))
}

fn finish(mut file: BufWriter<File>) -> std::io::Result<()> {
    file.flush()?;
    file.get_ref().sync_all()
}

/// Lets a script be executed.
fn executable(path: &Path, name: &str) -> Result<(), ArchiveError> {
    #[cfg(unix)]
    if super::header::is_script(name) {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(path, fs::Permissions::from_mode(0o755))
            .map_err(ArchiveError::io("write", path))?;
    }
    #[cfg(not(unix))]
    let _ = (path, name);
    Ok(())
}
