//! Writing whole files: under a temporary name in the same folder, synced, then
//! renamed, so that a reader sees the old file or the new one and never half.

use std::fs;
use std::io::Write;
use std::path::Path;

use anyhow::Context;
use serde::Serialize;

/// Creates a directory and those above it.
///
/// # Errors
/// With the path, when that fails.
pub(crate) fn create_directory(path: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(path)
        .with_context(|| format!("cannot create directory `{}`", path.display()))
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
    fn a_failure_names_the_path() {
        let folder = tempfile::tempdir().unwrap();
        let blocker = folder.path().join("blocker");
        fs::write(&blocker, b"").unwrap();
        let error = write(&blocker.join("file"), b"x").unwrap_err();
        assert!(format!("{error:#}").contains("blocker"));
    }
}
