//! Append-only files of JSON lines: how they are opened, written and read.
//!
//! What is written is durable after [`LineWriter::sync`]. A line without its line feed is a write
//! that was cut off; opening the file drops it. What a line means is the caller's business: the
//! decision log of an evaluation ([`crate::log`]) and the log of the shadow service
//! ([`crate::shadow`]) are both made of this.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use crate::error::ServeError;

/// Longest line that is read, in bytes; a longer one is malformed.
pub const MAX_LINE: usize = 1 << 20;
/// The bytes every log starts with.
pub(crate) const FIRST_BYTES: &str = "{\"schema\":";

/// One file open for appending. The caller sees to it that there is one writer at a time.
#[derive(Debug)]
pub(crate) struct LineWriter {
    file: File,
    path: PathBuf,
    length: u64,
    dropped_bytes: u64,
}

impl LineWriter {
    /// Opens or creates a file, having `lock` look at the open file before anything is changed,
    /// and cuts off a torn tail.
    ///
    /// # Errors
    /// What `lock` returns, [`ServeError::NotALog`] when the file holds something else (it is left
    /// alone), [`ServeError::Io`] for what the operating system refuses.
    pub(crate) fn open(
        path: &Path,
        lock: impl FnOnce(&File) -> Result<(), ServeError>,
    ) -> Result<Self, ServeError> {
        let io = |action| io_error(action, path);
        let is_new = !path.exists();
        let mut file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .open(path)
            .map_err(io("open"))?;
        lock(&file)?;
        if is_new {
            sync_directory(path).map_err(io("sync the directory of"))?;
        }
        let found = file.metadata().map_err(io("inspect"))?.len();
        if !starts_like_a_log(&mut file).map_err(io("read"))? {
            return Err(ServeError::NotALog {
                path: path.to_owned(),
                expected: FIRST_BYTES,
            });
        }
        let length = whole_lines_length(&mut file, found).map_err(io("read"))?;
        if length < found {
            file.set_len(length).map_err(io("cut the torn tail of"))?;
            file.sync_all().map_err(io("sync"))?;
        }
        Ok(Self {
            file,
            path: path.to_owned(),
            length,
            dropped_bytes: found - length,
        })
    }

    /// Returns how many bytes of a torn tail were cut off on opening.
    pub(crate) fn dropped_bytes(&self) -> u64 {
        self.dropped_bytes
    }

    /// Returns the file's path.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Appends whole lines, each with its line feed. They are durable after [`Self::sync`].
    ///
    /// # Errors
    /// [`ServeError::Io`] when the write fails; what was half written is taken back, so the file
    /// stays whole.
    pub(crate) fn append(&mut self, lines: &[u8]) -> Result<(), ServeError> {
        if let Err(source) = self.file.write_all(lines) {
            // When even this fails, the tail is repaired by the next `open`.
            let _ = self.file.set_len(self.length);
            return Err(io_error("append to", &self.path)(source));
        }
        self.length += lines.len() as u64;
        Ok(())
    }

    /// Waits until everything appended so far is on the disk.
    ///
    /// # Errors
    /// [`ServeError::Io`] when the operating system cannot promise that.
    pub(crate) fn sync(&mut self) -> Result<(), ServeError> {
        self.file.sync_data().map_err(io_error("sync", &self.path))
    }
}

/// Hands every complete line to `each` with its number from 1; an overlong line comes as an error.
/// Returns the bytes after the last line feed: a write that was cut off.
///
/// # Errors
/// [`ServeError::Io`] when the file cannot be read.
pub(crate) fn read(
    path: &Path,
    mut each: impl FnMut(usize, Result<&[u8], String>),
) -> Result<u64, ServeError> {
    let io = |action| io_error(action, path);
    let mut reader = BufReader::new(File::open(path).map_err(io("open"))?);
    let mut line = 0;
    let mut bytes = Vec::new();
    loop {
        bytes.clear();
        let taken = (&mut reader)
            .take(MAX_LINE as u64)
            .read_until(b'\n', &mut bytes)
            .map_err(io("read"))?;
        if taken == 0 {
            return Ok(0);
        }
        line += 1;
        if bytes.last() == Some(&b'\n') {
            each(line, Ok(&bytes));
            continue;
        }
        let (skipped, ended) = skip_line(&mut reader).map_err(io("read"))?;
        if !ended {
            return Ok(taken as u64 + skipped);
        }
        each(line, Err(format!("longer than {MAX_LINE} bytes")));
    }
}

/// Skips to behind the next line feed; returns the bytes skipped and whether there was one.
fn skip_line(reader: &mut impl BufRead) -> std::io::Result<(u64, bool)> {
    let mut skipped = 0;
    loop {
        let buffer = reader.fill_buf()?;
        if buffer.is_empty() {
            return Ok((skipped, false));
        }
        let feed = buffer.iter().position(|&byte| byte == b'\n');
        let used = feed.map_or(buffer.len(), |at| at + 1);
        reader.consume(used);
        skipped += used as u64;
        if feed.is_some() {
            return Ok((skipped, true));
        }
    }
}

/// Whether the file is empty, or its first bytes are those of a (cut off) record.
fn starts_like_a_log(file: &mut File) -> std::io::Result<bool> {
    let mut head = Vec::new();
    file.seek(SeekFrom::Start(0))?;
    file.take(FIRST_BYTES.len() as u64).read_to_end(&mut head)?;
    Ok(FIRST_BYTES.as_bytes().starts_with(&head))
}

/// Returns the length up to and including the last line feed.
fn whole_lines_length(file: &mut File, length: u64) -> std::io::Result<u64> {
    const CHUNK: u64 = 64 * 1024;
    let mut chunk = Vec::new();
    let mut end = length;
    while end > 0 {
        let start = end.saturating_sub(CHUNK);
        file.seek(SeekFrom::Start(start))?;
        chunk.clear();
        (&mut *file).take(end - start).read_to_end(&mut chunk)?;
        if let Some(at) = chunk.iter().rposition(|&byte| byte == b'\n') {
            return Ok(start + at as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}

/// Makes a new file's name durable.
pub(crate) fn sync_directory(path: &Path) -> std::io::Result<()> {
    if cfg!(unix) {
        let parent = path.parent().filter(|p| !p.as_os_str().is_empty());
        File::open(parent.unwrap_or(Path::new(".")))?.sync_all()?;
    }
    Ok(())
}

/// Takes the file's advisory lock, which lasts until the file is closed.
///
/// # Errors
/// [`ServeError::Locked`] when another process has it.
pub(crate) fn lock(file: &File, path: &Path) -> Result<(), ServeError> {
    match file.try_lock() {
        Ok(()) => Ok(()),
        Err(std::fs::TryLockError::WouldBlock) => Err(ServeError::Locked {
            path: path.to_owned(),
        }),
        Err(std::fs::TryLockError::Error(source)) => Err(io_error("lock", path)(source)),
    }
}

/// Makes an error of what the operating system said.
pub(crate) fn io_error(
    action: &'static str,
    path: &Path,
) -> impl FnOnce(std::io::Error) -> ServeError {
    let path = path.to_owned();
    move |source| ServeError::Io {
        action,
        path,
        source,
    }
}
