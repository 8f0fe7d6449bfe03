//! Models as files: JSON that says what it is, with the digest of the model in it.
//!
//! The digest is of the model's own JSON as this program writes it, so that a file that was
//! formatted anew still fits and one with another number does not. A file is read up to a bound,
//! its lists are checked against each other before the first prediction, and no content of it can
//! make a prediction panic or run on.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{Ensemble, EnsembleError, EnsembleModel};
use crate::store::sync_directory;
use crate::{DatasetError, hex};

/// What a model file says it is.
const KIND: &str = "foretune-ensemble";
/// The version of the layout.
const SCHEMA: u32 = 1;
/// A larger file is no model, bytes.
const LARGEST: u64 = 256 << 20;
/// The live model's file in a directory.
const LIVE: &str = "live.json";
/// The report's file in a directory.
const REPORT: &str = "report.json";

#[derive(Serialize)]
struct Written<'a> {
    kind: &'a str,
    schema: u32,
    version: &'a str,
    sha256: &'a str,
    model: &'a EnsembleModel,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Found {
    #[serde(rename = "kind")]
    _kind: String,
    #[serde(rename = "schema")]
    _schema: u32,
    #[serde(rename = "version")]
    _version: String,
    sha256: String,
    model: EnsembleModel,
}

impl EnsembleModel {
    /// Writes the model; the file appears whole or not at all. Returns the digest of the model.
    ///
    /// # Errors
    /// [`DatasetError::Io`].
    pub fn save(&self, path: &Path) -> Result<String, DatasetError> {
        let sha256 = self.digest();
        let written = Written {
            kind: KIND,
            schema: SCHEMA,
            version: env!("CARGO_PKG_VERSION"),
            sha256: &sha256,
            model: self,
        };
        write(path, &written)?;
        Ok(sha256)
    }

    /// Reads a model that was saved.
    ///
    /// # Errors
    /// [`DatasetError::Io`]; [`EnsembleError::ModelFile`] where it is no model, of another layout,
    /// altered, or would not hold together.
    pub fn load(path: &Path) -> Result<Self, DatasetError> {
        let mut bytes = Vec::new();
        let file = std::fs::File::open(path).map_err(DatasetError::io("open", path))?;
        file.take(LARGEST + 1)
            .read_to_end(&mut bytes)
            .map_err(DatasetError::io("read", path))?;
        let model = Self::parse(&bytes).map_err(|message| EnsembleError::ModelFile {
            path: path.to_owned(),
            message,
        })?;
        Ok(model)
    }

    /// Reads the bytes of a model file.
    ///
    /// # Errors
    /// What is wrong and what was expected.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        if bytes.len() as u64 > LARGEST {
            return Err(format!(
                "it has more than the {LARGEST} bytes that are read"
            ));
        }
        let head: Head = serde_json::from_slice(bytes)
            .map_err(|error| format!("it is no model file: {error}"))?;
        if head.kind != KIND || head.schema != SCHEMA {
            return Err(format!(
                "it is `{}` of layout {}, expected `{KIND}` of layout {SCHEMA}",
                head.kind, head.schema
            ));
        }
        let found: Found = serde_json::from_slice(bytes)
            .map_err(|error| format!("it is no model file: {error}"))?;
        let digest = found.model.digest();
        if digest != found.sha256 {
            return Err(format!(
                "it was altered: its model has sha256 {digest}, the file says {}",
                found.sha256
            ));
        }
        Ok(found.model)
    }

    /// Returns the SHA-256 of the model's JSON, in hexadecimal digits.
    pub fn digest(&self) -> String {
        // Lists of numbers and texts always become JSON.
        let text = serde_json::to_vec(self).unwrap_or_default();
        hex(&Sha256::digest(text))
    }
}

/// What a file says it is, whatever else is in it.
#[derive(Deserialize)]
struct Head {
    kind: String,
    schema: u32,
}

impl Ensemble {
    /// Writes `fold-1.json`, `fold-2.json`, ..., `live.json` and `report.json` into a directory,
    /// each whole or not at all. Returns the paths of the models with their digests, the live one
    /// last.
    ///
    /// # Errors
    /// [`DatasetError::Io`].
    pub fn save(&self, directory: &Path) -> Result<Vec<(PathBuf, String)>, DatasetError> {
        std::fs::create_dir_all(directory).map_err(DatasetError::io("create", directory))?;
        let mut written = Vec::new();
        for model in self.models.iter().chain([&self.live]) {
            let name = match model.fold {
                Some(fold) => format!("fold-{fold}.json"),
                None => LIVE.to_owned(),
            };
            let path = directory.join(name);
            let digest = model.save(&path)?;
            written.push((path, digest));
        }
        write(&directory.join(REPORT), &self.report)?;
        // Of an earlier ensemble with more folds.
        for fold in self.models.len() + 1.. {
            let path = directory.join(format!("fold-{fold}.json"));
            if !path.exists() {
                break;
            }
            std::fs::remove_file(&path).map_err(DatasetError::io("remove", &path))?;
        }
        Ok(written)
    }
}

fn write(path: &Path, value: &impl Serialize) -> Result<(), DatasetError> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let mut file = tempfile::Builder::new()
        .prefix(".partial-")
        .tempfile_in(directory)
        .map_err(DatasetError::io("create a file in", directory))?;
    let mut out = std::io::BufWriter::new(file.as_file_mut());
    serde_json::to_writer(&mut out, value)
        .map_err(std::io::Error::from)
        .and_then(|()| out.write_all(b"\n"))
        .and_then(|()| out.flush())
        .map_err(DatasetError::io("write", path))?;
    drop(out);
    file.as_file()
        .sync_all()
        .map_err(DatasetError::io("write", path))?;
    // Temporary files are private to their owner; an artefact is as public as its directory.
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        file.as_file()
            .set_permissions(std::fs::Permissions::from_mode(0o644))
            .map_err(DatasetError::io("write", path))?;
    }
    file.persist(path)
        .map_err(|error| DatasetError::io("write", path)(error.error))?;
    sync_directory(directory)
}
