//! A data set as a directory: written whole or not at all, read with every line checked.
//!
//! ```text
//! examples.jsonl      the training part, and nothing else
//! validation.jsonl    test.jsonl
//! datasheet.json      datasheet.md
//! templates/          the templates it was made with
//! audit.json          audit.html, where it was audited
//! manifest.json       schema, settings, sha256 of inputs and of every other file
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{BufRead, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::audit::AuditReport;
use crate::datasheet::{FileSheet, SCHEMA};
use crate::{Dataset, DatasetError, DatasetSettings, Datasheet, Example, Split, Templates, hex};

const MANIFEST: &str = "manifest.json";
const DATASHEET: &str = "datasheet.json";
const DATASHEET_PAGE: &str = "datasheet.md";
const PROMPT: &str = "templates/prompt.jinja";
const COMPLETIONS: &str = "templates/completions.toml";
pub(crate) const AUDIT: &str = "audit.json";
pub(crate) const AUDIT_PAGE: &str = "audit.html";
/// What a manifest of this kind says it is.
const KIND: &str = "foretune-dataset";
/// An example longer than this is not one, bytes.
const LONGEST_LINE: u64 = 1 << 20;
/// A manifest, datasheet or template longer than this is not one, bytes.
const LARGEST_DOCUMENT: u64 = 16 << 20;

/// What a written data set consists of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// `foretune-dataset`.
    pub kind: String,
    /// The version of the layout.
    pub schema: u32,
    /// The version of foretune that wrote it.
    pub version: String,
    /// The settings; template paths are left out, for the templates are among the files.
    pub settings: DatasetSettings,
    /// SHA-256 of the bars of each instrument.
    pub inputs: BTreeMap<String, String>,
    /// Every other file by its path in the directory.
    pub files: BTreeMap<String, FileSheet>,
    /// What the leak audit said, as in [`Datasheet::audit`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audit: Option<String>,
}

/// Whether a data set that is written was audited.
#[derive(Debug, Clone, Copy)]
pub enum Audited<'a> {
    /// Nothing is said about it: for parts of a library that write data sets on the way.
    Unsaid,
    /// It was left out on purpose, which the data set says of itself.
    Skipped,
    /// It was made; no check is red.
    Made {
        /// The report; its times are left out.
        report: &'a AuditReport,
        /// The report as a page.
        page: &'a str,
    },
}

impl Audited<'_> {
    /// Returns what the datasheet and the manifest say.
    pub(crate) fn words(&self) -> Option<String> {
        match self {
            Self::Unsaid => None,
            Self::Skipped => Some("skipped".to_owned()),
            Self::Made { report, .. } => Some(report.summary()),
        }
    }
}

impl Dataset {
    /// Writes the data set as a directory and returns its manifest.
    ///
    /// Files are written to a new directory beside it, synced, and renamed into place. A data set
    /// that is there already is replaced, an empty directory is filled.
    ///
    /// # Errors
    /// [`DatasetError::NotADataset`] if something else is there, [`DatasetError::Io`] if the disk
    /// fails or is full; then nothing new is left behind.
    pub fn write(&self, directory: &Path) -> Result<Manifest, DatasetError> {
        self.write_audited(directory, Audited::Unsaid)
    }

    /// Does what [`Dataset::write`] does, and adds what the audit said: `audit.json` and
    /// `audit.html`, or that it was skipped.
    ///
    /// # Errors
    /// As [`Dataset::write`]; [`DatasetError::LeakFound`] for a report with a red check, of which
    /// nothing is written.
    pub fn write_audited(
        &self,
        directory: &Path,
        audited: Audited<'_>,
    ) -> Result<Manifest, DatasetError> {
        if let Audited::Made { report, .. } = audited {
            report.refuse_red()?;
        }
        let previous = check_target(directory, |at| read_manifest(at).is_ok())?;
        let parent = match directory.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        fs::create_dir_all(parent).map_err(DatasetError::io("create", parent))?;
        let staging = tempfile::Builder::new()
            .prefix(".dataset-")
            .tempdir_in(parent)
            .map_err(DatasetError::io("create a directory in", parent))?;
        let fresh = staging.path().join("new");
        let manifest = self.write_files(&fresh, audited)?;
        sync_directory(&fresh)?;
        put_in_place(staging, &fresh, directory, previous)?;
        sync_directory(parent)?;
        Ok(manifest)
    }

    fn write_files(
        &self,
        directory: &Path,
        audited: Audited<'_>,
    ) -> Result<Manifest, DatasetError> {
        let templates = directory.join("templates");
        fs::create_dir_all(&templates).map_err(DatasetError::io("create", &templates))?;
        let mut files = BTreeMap::new();
        for split in Split::ALL {
            let path = directory.join(split.file_name());
            let sheet = write_lines(&path, self.split(split))?;
            files.insert(split.file_name().to_owned(), sheet);
        }
        let mut document = |name: &str, text: &str| {
            let sheet = write_document(&directory.join(name), text)?;
            files.insert(name.to_owned(), sheet);
            Ok::<_, DatasetError>(())
        };
        document(PROMPT, self.templates.prompt_source())?;
        document(COMPLETIONS, self.templates.completion_source())?;
        sync_directory(&templates)?;

        let datasheet = Datasheet {
            files: files.clone(),
            audit: audited.words(),
            ..self.datasheet.clone()
        };
        let mut document = |name: &str, text: &str| {
            let sheet = write_document(&directory.join(name), text)?;
            files.insert(name.to_owned(), sheet);
            Ok::<_, DatasetError>(())
        };
        document(DATASHEET, &json(&directory.join(DATASHEET), &datasheet)?)?;
        document(DATASHEET_PAGE, &datasheet.markdown())?;
        if let Audited::Made { report, page } = audited {
            let path = directory.join(AUDIT);
            document(AUDIT, &json(&path, &report.without_times())?)?;
            document(AUDIT_PAGE, page)?;
        }

        let inputs = datasheet
            .instruments
            .iter()
            .map(|(instrument, sheet)| (instrument.to_string(), sheet.bars_sha256.clone()));
        let manifest = Manifest {
            kind: KIND.to_owned(),
            schema: SCHEMA,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            settings: self.settings.clone(),
            inputs: inputs.collect(),
            files,
            audit: datasheet.audit,
        };
        let path = directory.join(MANIFEST);
        write_document(&path, &json(&path, &manifest)?)?;
        Ok(manifest)
    }

    /// Reads a data set directory and checks every line, then every digest.
    ///
    /// # Errors
    /// [`DatasetError::Io`] for a file that is missing or cannot be read,
    /// [`DatasetError::Manifest`] for a manifest or datasheet that cannot be used,
    /// [`DatasetError::Line`] for a line that is no example of its part,
    /// [`DatasetError::Altered`] for a file that is not the one the manifest describes.
    pub fn read(directory: &Path) -> Result<Self, DatasetError> {
        let manifest = read_manifest(directory)?;
        let expect = |name: &str, found: &str| {
            let path = directory.join(name);
            match manifest.files.get(name) {
                Some(sheet) if sheet.sha256 == found => Ok(()),
                Some(sheet) => Err(DatasetError::Altered {
                    path,
                    found: found.to_owned(),
                    expected: sheet.sha256.clone(),
                }),
                None => Err(DatasetError::Manifest {
                    path: directory.join(MANIFEST),
                    message: format!("`{name}` is not listed, expected it among `files`"),
                }),
            }
        };
        let document = |name: &str| {
            let text = read_document(&directory.join(name))?;
            expect(name, &hex(&Sha256::digest(&text)))?;
            Ok::<_, DatasetError>(text)
        };
        let prompt = document(PROMPT)?;
        let completions = document(COMPLETIONS)?;
        let templates = Templates::parse(PROMPT, prompt.into(), COMPLETIONS, completions.into())?;
        let mut ids = BTreeSet::new();
        let mut read = |split: Split| {
            let (examples, sha256) =
                read_lines(&directory.join(split.file_name()), split, &mut ids)?;
            expect(split.file_name(), &sha256)?;
            Ok::<_, DatasetError>(examples)
        };
        let (train, validation, test) = (
            read(Split::Train)?,
            read(Split::Validation)?,
            read(Split::Test)?,
        );
        document(DATASHEET_PAGE)?;
        let datasheet: Datasheet =
            serde_json::from_str(&document(DATASHEET)?).map_err(|error| {
                DatasetError::Manifest {
                    path: directory.join(DATASHEET),
                    message: error.to_string(),
                }
            })?;
        Ok(Self {
            settings: manifest.settings,
            templates,
            train,
            validation,
            test,
            datasheet,
        })
    }
}

/// The fields that say whether the rest can be understood.
#[derive(Deserialize)]
struct Head {
    kind: String,
    schema: u32,
}

/// Reads and checks the manifest of a data set directory, and nothing else.
///
/// # Errors
/// [`DatasetError::Io`] if it cannot be read, [`DatasetError::Manifest`] if it is not one of a data
/// set of this schema.
pub fn read_manifest(directory: &Path) -> Result<Manifest, DatasetError> {
    let path = directory.join(MANIFEST);
    let text = read_document(&path)?;
    let refuse = |message: String| DatasetError::Manifest {
        path: path.clone(),
        message,
    };
    let head: Head = serde_json::from_str(&text).map_err(|error| refuse(error.to_string()))?;
    if head.kind != KIND {
        return Err(refuse(format!(
            "`kind` is `{}`, expected `{KIND}`",
            head.kind
        )));
    }
    if head.schema != SCHEMA {
        return Err(refuse(format!(
            "`schema` is {}, expected {SCHEMA}",
            head.schema
        )));
    }
    let manifest: Manifest =
        serde_json::from_str(&text).map_err(|error| refuse(error.to_string()))?;
    manifest.settings.validate()?;
    Ok(manifest)
}

/// Reports whether a data set is there to be replaced; refuses anything else that is not empty.
pub(crate) fn check_target(
    directory: &Path,
    is_one: fn(&Path) -> bool,
) -> Result<bool, DatasetError> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(DatasetError::io("look into", directory)(error)),
    };
    if entries.count() == 0 || is_one(directory) {
        return Ok(true);
    }
    Err(DatasetError::NotADataset {
        path: directory.to_owned(),
    })
}

/// Counts and digests what passes through to a file.
struct Counted {
    file: BufWriter<File>,
    digest: Sha256,
    sheet: FileSheet,
}

impl Counted {
    fn create(path: &Path) -> Result<Self, DatasetError> {
        let file = File::create_new(path).map_err(DatasetError::io("create", path))?;
        Ok(Self {
            file: BufWriter::new(file),
            digest: Sha256::new(),
            sheet: FileSheet {
                bytes: 0,
                lines: 0,
                sha256: String::new(),
            },
        })
    }

    fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.digest.update(bytes);
        self.sheet.bytes += bytes.len() as u64;
        self.sheet.lines += bytes.split(|byte| *byte == b'\n').count() - 1;
        self.file.write_all(bytes)
    }

    fn finish(mut self) -> std::io::Result<FileSheet> {
        self.file.flush()?;
        self.file.get_ref().sync_all()?;
        self.sheet.sha256 = hex(&self.digest.finalize());
        Ok(self.sheet)
    }
}

pub(crate) fn write_lines<T: Serialize>(
    path: &Path,
    examples: &[T],
) -> Result<FileSheet, DatasetError> {
    let mut file = Counted::create(path)?;
    for example in examples {
        let mut line = serde_json::to_vec(example)
            .map_err(std::io::Error::from)
            .map_err(DatasetError::io("write", path))?;
        line.push(b'\n');
        file.write(&line).map_err(DatasetError::io("write", path))?;
    }
    file.finish().map_err(DatasetError::io("write", path))
}

/// Returns the sha256 of bytes in hexadecimal digits.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

pub(crate) fn write_document(path: &Path, text: &str) -> Result<FileSheet, DatasetError> {
    let mut file = Counted::create(path)?;
    file.write(text.as_bytes())
        .and_then(|()| file.finish())
        .map_err(DatasetError::io("write", path))
}

fn json(path: &Path, value: &impl Serialize) -> Result<String, DatasetError> {
    let mut text = serde_json::to_string_pretty(value)
        .map_err(std::io::Error::from)
        .map_err(DatasetError::io("write", path))?;
    text.push('\n');
    Ok(text)
}

/// Gives a directory made in `staging` its name; what stood there before goes, but never before the
/// new one can take its place.
pub(crate) fn put_in_place(
    staging: tempfile::TempDir,
    fresh: &Path,
    directory: &Path,
    previous: bool,
) -> Result<(), DatasetError> {
    if !previous {
        return fs::rename(fresh, directory)
            .map_err(DatasetError::io("rename a directory to", directory));
    }
    let old = staging.path().join("old");
    fs::rename(directory, &old).map_err(DatasetError::io("replace", directory))?;
    if let Err(source) = fs::rename(fresh, directory) {
        // Put back what was there; if even that fails, keep it where it is.
        if fs::rename(&old, directory).is_err() {
            let _ = staging.keep();
        }
        return Err(DatasetError::io("rename a directory to", directory)(source));
    }
    Ok(())
}

/// Makes a directory's entries durable.
pub(crate) fn sync_directory(directory: &Path) -> Result<(), DatasetError> {
    // Windows has no handle on a directory to sync.
    if cfg!(unix) {
        File::open(directory)
            .and_then(|file| file.sync_all())
            .map_err(DatasetError::io("sync", directory))?;
    }
    Ok(())
}

fn read_document(path: &Path) -> Result<String, DatasetError> {
    let file = File::open(path).map_err(DatasetError::io("read", path))?;
    let mut text = String::new();
    file.take(LARGEST_DOCUMENT + 1)
        .read_to_string(&mut text)
        .map_err(DatasetError::io("read", path))?;
    if text.len() as u64 > LARGEST_DOCUMENT {
        return Err(DatasetError::Manifest {
            path: path.to_owned(),
            message: format!("longer than the expected {LARGEST_DOCUMENT} bytes"),
        });
    }
    Ok(text)
}

/// Reads the examples of one part and the digest of the file.
fn read_lines(
    path: &Path,
    split: Split,
    ids: &mut BTreeSet<String>,
) -> Result<(Vec<Example>, String), DatasetError> {
    let file = File::open(path).map_err(DatasetError::io("read", path))?;
    let mut reader = BufReader::new(file);
    let mut digest = Sha256::new();
    let mut examples = Vec::new();
    let mut line = Vec::new();
    for number in 1.. {
        line.clear();
        let read = reader
            .by_ref()
            .take(LONGEST_LINE + 1)
            .read_until(b'\n', &mut line)
            .map_err(DatasetError::io("read", path))?;
        if read == 0 {
            break;
        }
        digest.update(&line);
        let refuse = |message: String| DatasetError::Line {
            path: PathBuf::from(path),
            line: number,
            message,
        };
        if line.pop() != Some(b'\n') {
            return Err(refuse(if read as u64 > LONGEST_LINE {
                format!("longer than the expected {LONGEST_LINE} bytes")
            } else {
                "ends without a line feed, the file is cut short".to_owned()
            }));
        }
        let example: Example =
            serde_json::from_slice(&line).map_err(|error| refuse(error.to_string()))?;
        if let Some(fault) = example.fault(split, ids) {
            return Err(refuse(fault));
        }
        ids.insert(example.id.clone());
        examples.push(example);
    }
    Ok((examples, hex(&digest.finalize())))
}
