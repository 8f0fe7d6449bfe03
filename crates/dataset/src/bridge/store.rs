//! A bridge as a directory: written whole or not at all.
//!
//! ```text
//! real_feature_examples.jsonl          real_trade_scenarios.jsonl
//! real_certainty_calculations.jsonl    real_dpo_pairs.jsonl
//! formula_samples.jsonl                joined_samples.jsonl  joined_pairs.jsonl
//! validation.jsonl  test.jsonl         held-out scenarios
//! ensemble/                            models by fold, the live one, the report
//! templates/forex-bridge.toml          datasheet.json  audit.json  audit.html
//! manifest.json                        settings, sha256 of inputs and of every other file
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::json;
use sha2::{Digest, Sha256};

use super::sheet::{BridgeSheet, SCHEMA};
use super::sources::{self, Joined};
use super::table::Table;
use super::words::FILE as TEMPLATES;
use super::{Bridge, BridgeSettings, Kind};
use crate::datasheet::FileSheet;
use crate::knowledge::{KnowledgeExample, near_duplicate_rate};
use crate::store::{
    AUDIT, AUDIT_PAGE, Audited, check_target, put_in_place, sync_directory, write_document,
    write_lines,
};
use crate::{DatasetError, hex};

/// What a manifest of this kind says it is.
pub const KIND: &str = "foretune-bridge";
/// Questions about formulas.
pub const FORMULAS: &str = "formula_samples.jsonl";
/// Conversations of further sources.
pub const JOINED: &str = "joined_samples.jsonl";
/// Preference pairs of further sources.
pub const JOINED_PAIRS: &str = "joined_pairs.jsonl";
const MANIFEST: &str = "manifest.json";
const DATASHEET: &str = "datasheet.json";
/// A manifest or datasheet longer than this is not one, bytes.
const LARGEST_DOCUMENT: u64 = 64 << 20;

/// What a written bridge consists of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BridgeManifest {
    /// [`KIND`].
    pub kind: String,
    /// The version of the layout.
    pub schema: u32,
    /// The version of foretune that wrote it.
    pub version: String,
    /// The settings.
    pub settings: BridgeSettings,
    /// SHA-256 of the package's files by name, and of further sources. Where the signal is the
    /// package's own, few of its columns are read, and it is that of the columns read of each pair
    /// (`columns:` before it).
    pub inputs: BTreeMap<String, String>,
    /// Every other file by its path in the directory.
    pub files: BTreeMap<String, FileSheet>,
}

/// Writes a bridge as a directory and returns its manifest and datasheet.
///
/// `formulas` are questions about formulas to go with it. Further sources of the settings are
/// read, checked and joined. A bridge that is there already is replaced, an empty directory is
/// filled.
///
/// # Errors
/// [`DatasetError::NotADataset`] if something else is there, [`DatasetError::Line`] for a further
/// source with a line that is no example, [`DatasetError::LeakFound`] for a report with a red
/// check, [`DatasetError::Io`] if the disk fails; then nothing new
/// is left behind.
pub fn write(
    bridge: &Bridge,
    package: &Path,
    formulas: &[KnowledgeExample],
    audited: Audited<'_>,
    directory: &Path,
) -> Result<(BridgeManifest, BridgeSheet), DatasetError> {
    if let Audited::Made { report, .. } = audited {
        report.refuse_red()?;
    }
    let previous = check_target(directory, is_bridge)?;
    let parent = match directory.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    fs::create_dir_all(parent).map_err(DatasetError::io("create", parent))?;
    let staging = tempfile::Builder::new()
        .prefix(".bridge-")
        .tempdir_in(parent)
        .map_err(DatasetError::io("create a directory in", parent))?;
    let fresh = staging.path().join("new");
    fs::create_dir_all(fresh.join("templates")).map_err(DatasetError::io("create", &fresh))?;
    let written = write_files(bridge, package, formulas, audited, &fresh)?;
    sync_directory(&fresh)?;
    put_in_place(staging, &fresh, directory, previous)?;
    sync_directory(parent)?;
    Ok(written)
}

fn write_files(
    bridge: &Bridge,
    package: &Path,
    formulas: &[KnowledgeExample],
    audited: Audited<'_>,
    directory: &Path,
) -> Result<(BridgeManifest, BridgeSheet), DatasetError> {
    let mut files = BTreeMap::new();
    let mut sheet = bridge.sheet.clone();
    let mut seen: BTreeSet<[u8; 32]> = BTreeSet::new();
    for kind in Kind::ALL {
        let path = directory.join(kind.file());
        let written = if kind == Kind::Preference {
            for pair in &bridge.pairs {
                seen.insert(sources::digest(&json!([
                    pair.prompt,
                    pair.chosen,
                    pair.rejected
                ])));
            }
            let answers = bridge.pairs.iter().map(|pair| pair.chosen.as_str());
            sheet
                .near_duplicates
                .insert(kind.file().to_owned(), near_duplicate_rate(answers));
            write_lines(&path, &bridge.pairs)?
        } else {
            let examples = bridge.examples.get(&kind).map_or(&[][..], Vec::as_slice);
            for example in examples {
                seen.insert(conversation(&example.messages));
            }
            let answers = examples.iter().map(|e| e.messages[1].content.as_str());
            sheet
                .near_duplicates
                .insert(kind.file().to_owned(), near_duplicate_rate(answers));
            write_lines(&path, examples)?
        };
        files.insert(kind.file().to_owned(), written);
    }
    for (name, examples) in ["validation.jsonl", "test.jsonl"]
        .into_iter()
        .zip(&bridge.held_out)
    {
        files.insert(
            name.to_owned(),
            write_lines(&directory.join(name), examples)?,
        );
    }
    if !formulas.is_empty() {
        for example in formulas {
            seen.insert(conversation(&example.messages));
        }
        files.insert(
            FORMULAS.to_owned(),
            write_lines(&directory.join(FORMULAS), formulas)?,
        );
        sheet.formulas = formulas.len();
    }
    let joined = Joined::read(&bridge.settings.sources, &mut seen)?;
    for (name, values) in [
        (JOINED, &joined.conversations),
        (JOINED_PAIRS, &joined.pairs),
    ] {
        if !values.is_empty() {
            files.insert(name.to_owned(), write_lines(&directory.join(name), values)?);
        }
    }
    sheet.sources = joined.sources;
    sheet.audit = audited.words();
    let mut document = |name: &str, text: &str| {
        let sheet = write_document(&directory.join(name), text)?;
        files.insert(name.to_owned(), sheet);
        Ok::<_, DatasetError>(())
    };
    document(TEMPLATES, &bridge.inputs.words.source)?;
    let as_text = |value: &BridgeSheet| {
        serde_json::to_string_pretty(value)
            .map_err(std::io::Error::from)
            .map_err(DatasetError::io("write", &directory.join(DATASHEET)))
    };
    document(DATASHEET, &(as_text(&sheet)? + "\n"))?;
    if let Audited::Made { report, page } = audited {
        let path = directory.join(AUDIT);
        let text = serde_json::to_string_pretty(&report.without_times())
            .map_err(std::io::Error::from)
            .map_err(DatasetError::io("write", &path))?;
        document(AUDIT, &(text + "\n"))?;
        document(AUDIT_PAGE, page)?;
    }
    if let Some(ensemble) = &bridge.ensemble {
        let folder = directory.join("ensemble");
        ensemble.save(&folder)?;
        for entry in fs::read_dir(&folder).map_err(DatasetError::io("list", &folder))? {
            let path = entry.map_err(DatasetError::io("list", &folder))?.path();
            if let Some(name) = path.file_name().and_then(|name| name.to_str()) {
                files.insert(format!("ensemble/{name}"), digest(&path)?);
            }
        }
    }
    let mut inputs = if bridge.inputs.source.by_columns {
        bridge.column_digests()
    } else {
        digests(package)?
    };
    for source in &sheet.sources {
        inputs.insert(source.name.clone(), source.sha256.clone());
    }
    let manifest = BridgeManifest {
        kind: KIND.to_owned(),
        schema: SCHEMA,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        settings: bridge.settings.clone(),
        inputs,
        files,
    };
    let path = directory.join(MANIFEST);
    let text = serde_json::to_string_pretty(&manifest)
        .map_err(std::io::Error::from)
        .map_err(DatasetError::io("write", &path))?;
    write_document(
        &path,
        &(text
            + "
"),
    )?;
    Ok((manifest, sheet))
}

fn conversation(messages: &[crate::Message]) -> [u8; 32] {
    let turns: Vec<serde_json::Value> = messages
        .iter()
        .map(|message| json!({"role": message.role, "content": message.content}))
        .collect();
    sources::digest(&serde_json::Value::Array(turns))
}

impl Bridge {
    /// Returns the digests of what was read of each pair.
    fn column_digests(&self) -> BTreeMap<String, String> {
        let inputs = &self.inputs;
        let of_table = |table: &Table| {
            let mut digest = Sha256::new();
            digest.update(table.instrument.as_str());
            for time in &table.decided {
                digest.update(time.to_le_bytes());
            }
            let names = inputs.source.keys.iter().map(|key| key.column.as_str());
            let shown = names.zip(&table.shown);
            let upstream = table.upstream.iter();
            let confidence = upstream.map(|(_, confidence)| ("confidence", confidence));
            for (name, values) in [("outcome", &table.outcomes)]
                .into_iter()
                .chain(shown)
                .chain(confidence)
            {
                digest.update([0]);
                digest.update(name);
                for value in values {
                    digest.update(value.to_bits().to_le_bytes());
                }
            }
            if let Some((sides, _)) = &table.upstream {
                for side in sides {
                    digest.update(side.to_le_bytes());
                }
            }
            let name = table.instrument.to_string();
            (name, format!("columns:{}", hex(&digest.finalize())))
        };
        inputs.tables.par_iter().map(of_table).collect()
    }
}

/// Returns the digests of a package's tables, by `PAIR/train.parquet`.
fn digests(package: &Path) -> Result<BTreeMap<String, String>, DatasetError> {
    let mut paths: Vec<PathBuf> = Vec::new();
    for entry in fs::read_dir(package).map_err(DatasetError::io("list", package))? {
        let folder = entry.map_err(DatasetError::io("list", package))?.path();
        if !folder.is_dir() {
            continue;
        }
        for entry in fs::read_dir(&folder).map_err(DatasetError::io("list", &folder))? {
            let path = entry.map_err(DatasetError::io("list", &folder))?.path();
            if path.extension().is_some_and(|end| end == "parquet") {
                paths.push(path);
            }
        }
    }
    paths
        .par_iter()
        .map(|path| {
            let name = path.strip_prefix(package).unwrap_or(path);
            let name = name.to_string_lossy().replace('\\', "/");
            Ok((name, hex(&sha256_of(path)?)))
        })
        .collect()
}

/// Returns the digest of a file of which lines mean nothing.
fn sha256_of(path: &Path) -> Result<Vec<u8>, DatasetError> {
    let mut digest = Sha256::new();
    blocks(path, &mut |block| digest.update(block))?;
    Ok(digest.finalize().to_vec())
}

/// Returns size, lines and digest of a file.
pub(crate) fn digest(path: &Path) -> Result<FileSheet, DatasetError> {
    let mut digest = Sha256::new();
    let (mut bytes, mut lines) = (0, 0);
    blocks(path, &mut |block| {
        digest.update(block);
        bytes += block.len() as u64;
        lines += block.split(|byte| *byte == b'\n').count() - 1;
    })?;
    Ok(FileSheet {
        bytes,
        lines,
        sha256: hex(&digest.finalize()),
    })
}

/// Reads a file block by block.
fn blocks(path: &Path, take: &mut dyn FnMut(&[u8])) -> Result<(), DatasetError> {
    let mut file = File::open(path).map_err(DatasetError::io("read", path))?;
    let mut buffer = vec![0; 1 << 18];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(n) => take(&buffer[..n]),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(DatasetError::io("read", path)(error)),
        }
    }
}

/// Reports whether a directory says that it is a bridge.
pub fn is_bridge(directory: &Path) -> bool {
    #[derive(Deserialize)]
    struct Head {
        kind: String,
    }
    let Ok(file) = File::open(directory.join(MANIFEST)) else {
        return false;
    };
    let mut text = Vec::new();
    file.take(LARGEST_DOCUMENT).read_to_end(&mut text).is_ok()
        && serde_json::from_slice::<Head>(&text).is_ok_and(|head| head.kind == KIND)
}

/// Reads and checks the manifest of a bridge, and nothing else.
///
/// # Errors
/// [`DatasetError::Io`] if it cannot be read, [`DatasetError::Manifest`] if it is not one of a
/// bridge of this schema.
pub fn read_bridge_manifest(directory: &Path) -> Result<BridgeManifest, DatasetError> {
    let path = directory.join(MANIFEST);
    let manifest: BridgeManifest = document(&path)?;
    let refuse = |message: String| DatasetError::Manifest {
        path: path.clone(),
        message,
    };
    if manifest.kind != KIND || manifest.schema != SCHEMA {
        return Err(refuse(format!(
            "is `{}` of schema {}, expected `{KIND}` of schema {SCHEMA}",
            manifest.kind, manifest.schema
        )));
    }
    if let Some(name) = manifest.files.keys().find(|name| !is_inside(name)) {
        return Err(refuse(format!("`{name}` is no path inside the data set")));
    }
    Ok(manifest)
}

/// Reads the datasheet of a bridge.
///
/// # Errors
/// [`DatasetError::Io`], [`DatasetError::Manifest`].
pub(crate) fn read_sheet(directory: &Path) -> Result<BridgeSheet, DatasetError> {
    document(&directory.join(DATASHEET))
}

fn document<T: for<'de> Deserialize<'de>>(path: &Path) -> Result<T, DatasetError> {
    let mut text = Vec::new();
    File::open(path)
        .and_then(|file| file.take(LARGEST_DOCUMENT).read_to_end(&mut text))
        .map_err(DatasetError::io("read", path))?;
    serde_json::from_slice(&text).map_err(|error| DatasetError::Manifest {
        path: path.to_owned(),
        message: error.to_string(),
    })
}

/// Reports whether a name stays inside a directory.
fn is_inside(name: &str) -> bool {
    !name.is_empty()
        && !name.contains('\\')
        && Path::new(name)
            .components()
            .all(|part| matches!(part, std::path::Component::Normal(_)))
}
