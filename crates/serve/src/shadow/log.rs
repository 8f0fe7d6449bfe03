//! Writing `ab_test_log.jsonl`: one service at a time, durable line by line, a file a day.
//!
//! A log is a directory. The current file is `ab_test_log.jsonl`; once an entry of a later day
//! (UTC) is to be written it is renamed to `ab_test_log-2024-03-01.jsonl` after the day of its
//! first entry. Days never go backwards: an entry of an earlier day goes into the current file.
//! Whatever kills the process, the next [`ShadowLog::open`] finds every complete line.
//!
//! When an entry cannot be written, for example because the disk is full, it is kept in memory and
//! tried again first; see [`ShadowLog::flush`]. Whoever decides asks [`ShadowLog::is_whole`] before.

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};

use market::Timestamp;

use super::record::{Entry, SCHEMA};
use crate::error::ServeError;
use crate::lines::{self, LineWriter, io_error};

/// The current file of a log.
pub const FILE: &str = "ab_test_log.jsonl";
/// What the files of days gone by begin with.
pub const ROTATED: &str = "ab_test_log-";
/// The file whose lock says that a service runs.
pub const LOCK: &str = "ab_test_log.lock";

const DAY: i64 = 86_400_000;

/// The one writer of a log; holds its lock until dropped.
#[derive(Debug)]
pub struct ShadowLog {
    folder: PathBuf,
    file: LineWriter,
    /// The day, since 1970, of the current file's first entry.
    day: Option<i64>,
    pending: Vec<Entry>,
    dropped_bytes: u64,
    _lock: File,
}

impl ShadowLog {
    /// Opens or creates the log in `folder` for appending; a torn tail is cut off.
    ///
    /// # Errors
    /// [`ServeError::Locked`] when another service has it, [`ServeError::NotALog`] when the file is
    /// something else, [`ServeError::Line`] for a first line of another schema, [`ServeError::Io`].
    pub fn open(folder: &Path) -> Result<Self, ServeError> {
        std::fs::create_dir_all(folder).map_err(io_error("create the directory", folder))?;
        let place = folder.join(LOCK);
        let lock = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&place)
            .map_err(io_error("open", &place))?;
        lines::lock(&lock, &place)?;
        let path = folder.join(FILE);
        let file = LineWriter::open(&path, |_| Ok(()))?;
        let day = first_day(&path)?;
        Ok(Self {
            folder: folder.to_owned(),
            dropped_bytes: file.dropped_bytes(),
            file,
            day,
            pending: Vec::new(),
            _lock: lock,
        })
    }

    /// Returns how many bytes of a torn tail were cut off on opening.
    pub fn dropped_bytes(&self) -> u64 {
        self.dropped_bytes
    }

    /// Returns the log's directory.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Reports whether everything appended is on the disk.
    pub fn is_whole(&self) -> bool {
        self.pending.is_empty()
    }

    /// Appends entries and waits until they are on the disk. What cannot be written is kept and
    /// comes first the next time, so no entry is lost while the process lives.
    ///
    /// # Errors
    /// [`ServeError::Entry`] for an entry a reader would refuse (nothing of this call is kept),
    /// [`ServeError::Io`] when a write fails.
    pub fn append(&mut self, entries: &[Entry]) -> Result<(), ServeError> {
        for entry in entries {
            if let Err(reason) = entry.to_line() {
                return Err(ServeError::Entry { reason });
            }
        }
        self.pending.extend_from_slice(entries);
        self.flush()
    }

    /// Writes what is waiting, in order, and waits until it is on the disk.
    ///
    /// # Errors
    /// [`ServeError::Io`] when that fails; the rest goes on waiting.
    pub fn flush(&mut self) -> Result<(), ServeError> {
        while !self.pending.is_empty() {
            let day = self.pending[0].at().0.div_euclid(DAY);
            if self.day.is_some_and(|current| day > current) {
                self.rotate()?;
            }
            let of_file = self.day.unwrap_or(day);
            // All that belongs into this file goes in one write.
            let count = self
                .pending
                .iter()
                .take_while(|entry| entry.at().0.div_euclid(DAY) <= of_file)
                .count();
            let mut bytes = Vec::new();
            for entry in &self.pending[..count] {
                let line = entry.to_line();
                bytes.extend(line.map_err(|reason| ServeError::Entry { reason })?);
            }
            self.file.append(&bytes)?;
            self.file.sync()?;
            self.day = Some(of_file);
            self.pending.drain(..count);
        }
        Ok(())
    }

    fn rotate(&mut self) -> Result<(), ServeError> {
        let Some(day) = self.day else { return Ok(()) };
        let path = self.folder.join(FILE);
        let aside = self.folder.join(rotated_name(day));
        if aside.exists() {
            let reason = std::io::Error::from(std::io::ErrorKind::AlreadyExists);
            return Err(io_error("rotate the log to", &aside)(reason));
        }
        std::fs::rename(&path, &aside).map_err(io_error("rename", &path))?;
        lines::sync_directory(&path).map_err(io_error("sync the directory of", &path))?;
        self.file = LineWriter::open(&path, |_| Ok(()))?;
        self.day = None;
        Ok(())
    }
}

/// Returns the name of a day's file, `ab_test_log-2024-03-01.jsonl`.
fn rotated_name(day: i64) -> String {
    let midnight = Timestamp(day * DAY).to_string();
    format!("{ROTATED}{}.jsonl", midnight.get(..10).unwrap_or(&midnight))
}

/// Returns the files of a log that exist, oldest first.
///
/// # Errors
/// [`ServeError::Io`] when the directory cannot be read.
pub fn files(folder: &Path) -> Result<Vec<PathBuf>, ServeError> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(io_error("read", folder))? {
        let path = entry.map_err(io_error("read", folder))?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        let rotated = name.is_some_and(|name| name.starts_with(ROTATED));
        if rotated && path.extension().is_some_and(|ending| ending == "jsonl") {
            found.push(path);
        }
    }
    found.sort();
    let current = folder.join(FILE);
    if current.exists() {
        found.push(current);
    }
    Ok(found)
}

/// Returns the day of a file's first entry, none for an empty file.
fn first_day(path: &Path) -> Result<Option<i64>, ServeError> {
    use std::io::{BufRead, BufReader, Read};
    let file = File::open(path).map_err(io_error("open", path))?;
    let mut line = Vec::new();
    BufReader::new(file)
        .take(lines::MAX_LINE as u64)
        .read_until(b'\n', &mut line)
        .map_err(io_error("read", path))?;
    if line.is_empty() {
        return Ok(None);
    }
    match Entry::parse(&line) {
        Ok(entry) => Ok(Some(entry.at().0.div_euclid(DAY))),
        Err(reason) => Err(ServeError::Line {
            path: path.to_owned(),
            line: 1,
            reason: format!("{reason} (this is no shadow log of schema {SCHEMA})"),
        }),
    }
}
