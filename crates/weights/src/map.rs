//! A file's bytes as a read-only memory map.

use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};

use memmap2::Mmap;
#[cfg(unix)]
use memmap2::UncheckedAdvice;
use sha2::{Digest, Sha256};

use crate::WeightsError;

/// Bytes to which released ranges are cut: the largest page in use on Linux and macOS.
#[cfg(unix)]
const PAGE: usize = 1 << 16;

/// Bytes digested before their pages are given back.
const DIGESTED: usize = 64 << 20;

/// A mapped file.
pub(crate) struct FileMap {
    path: PathBuf,
    map: Mmap,
}

impl FileMap {
    /// Maps the regular file at `path`.
    pub(crate) fn open(path: &Path) -> Result<Self, WeightsError> {
        let file = File::open(path).map_err(WeightsError::io("open", path))?;
        let metadata = file.metadata().map_err(WeightsError::io("open", path))?;
        if !metadata.is_file() {
            return Err(WeightsError::NotAModel {
                path: path.to_owned(),
                message: "it is not a regular file".into(),
            });
        }
        #[expect(
            unsafe_code,
            reason = "mapping a file is unsafe because another process could change it under \
                      the map. The map is private to this type, is only ever read as bytes for \
                      which every bit pattern is valid, and no reference derived from it is kept \
                      as text or as a length: headers are parsed once into owned values and all \
                      later accesses are bounds-checked against the mapped length. A file that is \
                      overwritten in place gives wrong numbers; one that is truncated in place \
                      ends the process with a bus error, as with every mapped model loader; \
                      replacing by rename, as this project does, affects neither"
        )]
        // SAFETY: see the reason above.
        let map = unsafe { Mmap::map(&file) }.map_err(WeightsError::io("map", path))?;
        Ok(Self {
            path: path.to_owned(),
            map,
        })
    }

    /// Returns the whole file.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.map
    }

    /// Gives the pages that lie wholly inside `range` back to the system. Their bytes are read
    /// from the file again when asked for. Does nothing where there is no such call.
    pub(crate) fn release(&self, range: Range<usize>) {
        #[cfg(unix)]
        {
            let first = range.start.next_multiple_of(PAGE);
            let last = range.end.min(self.map.len()) / PAGE * PAGE;
            if first >= last {
                return;
            }
            #[expect(
                unsafe_code,
                reason = "dropping pages is unsafe for maps whose memory may hold changes; this \
                          one is read-only and backed by its file, from which the same bytes come \
                          back"
            )]
            // SAFETY: see the reason above. A refusal only means that the memory is kept.
            let _ = unsafe {
                self.map
                    .unchecked_advise_range(UncheckedAdvice::DontNeed, first, last - first)
            };
        }
        #[cfg(not(unix))]
        let _ = range;
    }

    /// Returns the path it was opened by.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the sha256 of the bytes, lower-case hexadecimal. Reads a piece at a time, so that
    /// a file larger than the memory does not fill it.
    pub(crate) fn sha256(&self) -> String {
        let mut hasher = Sha256::new();
        for start in (0..self.map.len()).step_by(DIGESTED) {
            let range = start..self.map.len().min(start + DIGESTED);
            hasher.update(&self.map[range.clone()]);
            self.release(range);
        }
        hexadecimal(&hasher.finalize())
    }
}

/// Returns the sha256 of a file's bytes, read as a stream.
pub(crate) fn sha256_of_file(path: &Path) -> Result<String, WeightsError> {
    let mut file = File::open(path).map_err(WeightsError::io("open", path))?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        let read =
            std::io::Read::read(&mut file, &mut buffer).map_err(WeightsError::io("read", path))?;
        if read == 0 {
            return Ok(hexadecimal(&hasher.finalize()));
        }
        hasher.update(&buffer[..read]);
    }
}

/// Returns bytes as lower-case hexadecimal.
pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
