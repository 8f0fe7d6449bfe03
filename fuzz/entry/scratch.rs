//! A directory per thread for readers that want a path.

use std::path::Path;

thread_local! {
    static DIRECTORY: tempfile::TempDir = tempfile::tempdir().unwrap();
}

/// Writes files into the thread's directory, hands it over, and removes them again.
pub(crate) fn with_files(files: &[(&str, &[u8])], read: impl FnOnce(&Path)) {
    DIRECTORY.with(|directory| {
        let path = directory.path();
        for (name, bytes) in files {
            std::fs::write(path.join(name), bytes).unwrap();
        }
        read(path);
        for (name, _) in files {
            std::fs::remove_file(path.join(name)).unwrap();
        }
    });
}
