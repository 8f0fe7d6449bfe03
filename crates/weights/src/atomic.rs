//! Files that exist completely or not at all: written under a temporary name in the same
//! directory, synced, renamed.

use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use crate::WeightsError;

/// Creates or replaces `path` with what `fill` writes; on error nothing is left behind.
pub(crate) fn write_file(
    path: &Path,
    fill: impl FnOnce(&mut dyn Write) -> std::io::Result<()>,
) -> Result<(), WeightsError> {
    let directory = parent(path);
    std::fs::create_dir_all(&directory).map_err(WeightsError::io("create", &directory))?;
    let mut file = tempfile::Builder::new()
        .prefix(".partial-")
        .tempfile_in(&directory)
        .map_err(WeightsError::io("create a file in", &directory))?;
    let mut writer = BufWriter::new(file.as_file_mut());
    fill(&mut writer)
        .and_then(|()| writer.flush())
        .map_err(WeightsError::io("write", path))?;
    drop(writer);
    persist(file, path)
}

/// Syncs a temporary file and gives it its final name, readable as other files are.
pub(crate) fn persist(file: tempfile::NamedTempFile, path: &Path) -> Result<(), WeightsError> {
    file.as_file()
        .sync_all()
        .map_err(WeightsError::io("write", path))?;
    // Temporary files are private to their owner; an artefact is as public as its directory.
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        file.as_file()
            .set_permissions(std::fs::Permissions::from_mode(0o644))
            .map_err(WeightsError::io("write", path))?;
    }
    file.persist(path)
        .map_err(|error| WeightsError::io("write", path)(error.error))?;
    sync_directory(&parent(path));
    Ok(())
}

fn parent(path: &Path) -> PathBuf {
    match path.parent() {
        Some(directory) if !directory.as_os_str().is_empty() => directory.to_owned(),
        _ => PathBuf::from("."),
    }
}

/// Makes the new name durable where the system can; a failure loses nothing written.
fn sync_directory(directory: &Path) {
    #[cfg(unix)]
    if let Ok(handle) = std::fs::File::open(directory) {
        let _ = handle.sync_all();
    }
    #[cfg(not(unix))]
    let _ = directory;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_write_leaves_the_old_file_and_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.txt");
        write_file(&path, |out| out.write_all(b"old")).unwrap();
        let error = write_file(&path, |out| {
            out.write_all(b"half")?;
            Err(std::io::Error::from(std::io::ErrorKind::StorageFull))
        })
        .unwrap_err();
        assert!(error.to_string().starts_with("cannot write `"), "{error}");
        assert!(error.hint().unwrap().contains("disk space"));
        assert_eq!(std::fs::read(&path).unwrap(), b"old");
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_directory_in_the_way_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("taken");
        std::fs::create_dir(&path).unwrap();
        std::fs::write(path.join("inside"), b"x").unwrap();
        assert!(write_file(&path, |out| out.write_all(b"x")).is_err());
    }
}
