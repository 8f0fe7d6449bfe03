//! Files that exist completely or not at all: written under a temporary name in the same folder,
//! synced, renamed.

use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::MarketError;

/// Makes the folder of `path` if need be, and a temporary file in it with the permissions that a
/// plain new file would have. Dropped without [`persist`] it disappears.
pub(crate) fn begin(path: &Path) -> Result<NamedTempFile, MarketError> {
    let folder = parent(path);
    std::fs::create_dir_all(&folder).map_err(fail(path, "make the folder of"))?;
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    builder
        .prefix(".partial-")
        .suffix(".tmp")
        .tempfile_in(&folder)
        .map_err(fail(path, "write"))
}

/// Syncs a temporary file and gives it its final name.
pub(crate) fn persist(file: NamedTempFile, path: &Path) -> Result<(), MarketError> {
    file.as_file().sync_all().map_err(fail(path, "write"))?;
    file.persist(path)
        .map_err(|error| fail(path, "write")(error.error))?;
    // The new name is made durable where the system can; a failure loses nothing written.
    #[cfg(unix)]
    if let Ok(folder) = std::fs::File::open(parent(path)) {
        let _ = folder.sync_all();
    }
    Ok(())
}

fn parent(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}

/// An error of the operating system at a path.
pub(crate) fn fail<'a>(
    path: &'a Path,
    action: &'static str,
) -> impl Fn(std::io::Error) -> MarketError + 'a {
    move |source| MarketError::Io {
        path: path.to_owned(),
        action,
        source,
    }
}
