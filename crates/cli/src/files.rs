//! Writing whole files: under a temporary name in the same folder, synced, then
//! renamed, so that a reader sees the old file or the new one and never half.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::path::Path;

use anyhow::Context;
use serde::Serialize;

use crate::exit::{Exit, Stop};

/// Creates a directory and those above it.
///
/// # Errors
/// With the path, when that fails.
pub(crate) fn create_directory(path: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(path)
        .with_context(|| format!("cannot create directory `{}`", path.display()))
}

/// Finds out, before long work, whether a directory can be made and written: its
/// nearest ancestor that exists is asked.
///
/// # Errors
/// When a file is in the way, or nothing can be written there.
pub(crate) fn check_directory(path: &Path) -> anyhow::Result<()> {
    for ancestor in path.ancestors() {
        let ancestor = if ancestor == Path::new("") {
            Path::new(".")
        } else {
            ancestor
        };
        match fs::metadata(ancestor) {
            Ok(found) if found.is_dir() => {
                return tempfile::tempfile_in(ancestor)
                    .map(drop)
                    .with_context(|| format!("cannot write into `{}`", ancestor.display()));
            }
            Ok(_) => {
                let message = format!("`{}` is a file, expected a directory", ancestor.display());
                return Err(Stop::new(Exit::Usage, message)
                    .hint("name a directory with --out")
                    .into());
            }
            Err(error)
                if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {}
            Err(error) => {
                return Err(error)
                    .with_context(|| format!("cannot write into `{}`", ancestor.display()));
            }
        }
    }
    Ok(())
}

/// Returns the error of doing something with a file.
pub(crate) fn fail(action: &str, path: &Path, error: std::io::Error) -> anyhow::Error {
    anyhow::Error::new(error).context(format!("cannot {action} `{}`", path.display()))
}

/// Refuses to replace a file that does not begin as what is to be written does, letters of either
/// case. `is` says what such a file is not.
///
/// # Errors
/// With the path, when another file or a directory is there.
pub(crate) fn refuse_other(path: &Path, start: &[u8], is: &str) -> Result<(), Stop> {
    let Ok(found) = fs::metadata(path) else {
        return Ok(());
    };
    let mut bytes = Vec::new();
    let read = found.is_file()
        && fs::File::open(path)
            .and_then(|file| file.take(start.len() as u64).read_to_end(&mut bytes))
            .is_ok();
    if read && bytes.eq_ignore_ascii_case(start) {
        return Ok(());
    }
    let message = format!("`{}` exists and {is}", path.display());
    Err(Stop::new(Exit::Usage, message).hint("name another place, or remove what is there"))
}

/// Writes a file in one step.
///
/// # Errors
/// With the path, when a step fails; the temporary file is removed.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let folder = match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    create_directory(folder)?;
    let fail = || format!("cannot write `{}`", path.display());
    let mut file = tempfile::Builder::new()
        .prefix(".foretune-")
        .tempfile_in(folder)
        .with_context(fail)?;
    file.write_all(bytes).with_context(fail)?;
    file.as_file().sync_all().with_context(fail)?;
    file.persist(path)
        .map_err(|error| error.error)
        .with_context(fail)?;
    readable(path)
}

/// Writes a value as indented JSON with a final newline.
///
/// # Errors
/// As [`write`].
pub(crate) fn write_json(path: &Path, value: &impl Serialize) -> anyhow::Result<()> {
    let mut text = serde_json::to_string_pretty(value)?;
    text.push('\n');
    write(path, text.as_bytes())
}

/// Temporary files are private; artefacts get the usual permissions.
#[cfg(unix)]
fn readable(path: &Path) -> anyhow::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(0o644))
        .with_context(|| format!("cannot set permissions of `{}`", path.display()))
}

#[cfg(not(unix))]
fn readable(_: &Path) -> anyhow::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaces_a_file_and_leaves_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/file.txt");
        write(&path, b"one").unwrap();
        write(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn a_directory_is_checked_before_it_is_made() {
        let folder = tempfile::tempdir().unwrap();
        check_directory(&folder.path().join("not/yet/there")).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        let file = folder.path().join("file");
        fs::write(&file, b"").unwrap();
        for path in [file.clone(), file.join("below")] {
            let error = check_directory(&path).unwrap_err().to_string();
            assert!(error.contains("file` is a file"), "{error}");
        }
    }

    #[test]
    fn a_failure_names_the_path() {
        let folder = tempfile::tempdir().unwrap();
        let blocker = folder.path().join("blocker");
        fs::write(&blocker, b"").unwrap();
        let error = write(&blocker.join("file"), b"x").unwrap_err();
        assert!(format!("{error:#}").contains("blocker"));
    }
}
