//! The adapter registry: what was trained, from what, and which of it is champion.
//!
//! ```text
//! adapters/
//!   registry.json     who is champion, who shadows; replaced in one step
//!   history.jsonl     every promotion and rollback, append-only
//!   <name>/           an adapter: manifest.json, adapter/ (PEFT), prompt.jinja, completions.toml
//! ```
//!
//! A running service looks at `registry.json` between two bars; since the file is replaced by a
//! rename it sees the old state or the new one. Nothing in an adapter's directory is ever changed.

use std::io::Write;
use std::path::{Path, PathBuf};

use market::Timestamp;
use serde::{Deserialize, Serialize};

use crate::class;
use crate::error::ServeError;
use crate::lines::{self, LineWriter, io_error, sync_directory};

/// Layout of `registry.json` and the manifests.
pub const SCHEMA: u32 = 1;
/// The name of the base model as an arm.
pub const BASE: &str = "base";

const STATE: &str = "registry.json";
const HISTORY: &str = "history.jsonl";
const MANIFEST: &str = "manifest.json";
/// The longest name of an adapter, in characters.
const LONGEST: usize = 64;

/// How an arm's logits become probabilities.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Calibration {
    /// What logits are divided by.
    pub temperature: f64,
    /// What is added to the logits of BUY, SELL and HOLD afterwards.
    pub bias: [f64; class::COUNT],
    /// Validation decisions it was fitted on.
    pub decisions: usize,
}

/// An adapter and where it comes from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Layout version, [`SCHEMA`].
    pub schema: u32,
    /// The adapter's name; its directory.
    pub name: String,
    /// When it was registered.
    pub registered_at: Timestamp,
    /// The version of foretune that trained it.
    pub version: String,
    /// The run directory it was copied from.
    pub run: PathBuf,
    /// The base model's source and SHA-256.
    pub model: String,
    /// See `model`.
    pub model_sha256: String,
    /// SHA-256 of the adapter's weights.
    pub adapter_sha256: String,
    /// The data set it was trained on, and the SHA-256 of that one's manifest.
    pub dataset: PathBuf,
    /// See `dataset`.
    pub dataset_sha256: String,
    /// SHA-256 of the prompt template and the settings it is rendered with.
    pub template_sha256: String,
    /// How its logits become probabilities.
    pub calibration: Calibration,
    /// The same for the base model without it, on the same decisions.
    pub base_calibration: Calibration,
    /// The settings it was trained with.
    pub settings: serde_json::Value,
    /// What its training measured, and the evaluation if there was one.
    pub metrics: serde_json::Value,
}

/// Who acts and who shadows.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    /// Layout version, [`SCHEMA`].
    pub schema: u32,
    /// Counts the changes.
    pub revision: u64,
    /// The champion: an adapter's name, or `base`.
    pub champion: String,
    /// The champions before it, the last one last.
    pub before: Vec<String>,
    /// Those who shadow.
    pub challengers: Vec<String>,
}

/// A change of champion.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// Layout version, [`SCHEMA`].
    pub schema: u32,
    /// `promotion` or `rollback`.
    pub change: ChangeKind,
    /// When.
    pub at: Timestamp,
    /// The revision it made.
    pub revision: u64,
    /// The champion before and after.
    pub from: String,
    /// See `from`.
    pub to: String,
    /// The verdict it rests on, with its SHA-256; none without one.
    pub verdict: Option<serde_json::Value>,
    /// See `verdict`.
    pub verdict_sha256: Option<String>,
    /// Why it was done against the verdict, or without one.
    pub reason: Option<String>,
}

/// Kinds of change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeKind {
    /// Another arm became champion.
    Promotion,
    /// The champion before became champion again.
    Rollback,
}

/// A registry in a directory.
#[derive(Debug, Clone)]
pub struct Registry {
    folder: PathBuf,
}

impl Registry {
    /// Names the registry in `folder`, which need not exist yet.
    pub fn new(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
        }
    }

    /// Returns its directory.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Returns the directory of an adapter.
    ///
    /// # Errors
    /// [`ServeError::Registry`] for a name that is none, such as one with a `/`.
    pub fn adapter(&self, name: &str) -> Result<PathBuf, ServeError> {
        check_name(name).map_err(|reason| self.refuse(name, &reason))?;
        Ok(self.folder.join(name))
    }

    /// Returns an adapter's manifest; none if there is no such adapter.
    ///
    /// # Errors
    /// [`ServeError::Registry`] for a name that is none or a manifest that cannot be used.
    pub fn manifest(&self, name: &str) -> Result<Option<Manifest>, ServeError> {
        let path = self.adapter(name)?.join(MANIFEST);
        let manifest: Option<Manifest> = read_json(&path)?;
        match manifest {
            Some(found) if found.schema != SCHEMA || found.name != name => Err(self.refuse(
                name,
                &format!(
                    "its manifest is of schema {} and names `{}`",
                    found.schema, found.name
                ),
            )),
            found => Ok(found),
        }
    }

    /// Lists the adapters by name.
    ///
    /// # Errors
    /// [`ServeError::Io`] when the directory cannot be read.
    pub fn names(&self) -> Result<Vec<String>, ServeError> {
        let mut names = Vec::new();
        let entries = match std::fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(names),
            Err(error) => return Err(io_error("read", &self.folder)(error)),
        };
        for entry in entries {
            let path = entry.map_err(io_error("read", &self.folder))?.path();
            let name = path.file_name().and_then(|name| name.to_str());
            if let Some(name) = name
                && path.join(MANIFEST).exists()
                && check_name(name).is_ok()
            {
                names.push(name.to_owned());
            }
        }
        names.sort();
        Ok(names)
    }

    /// Puts an adapter into the registry: the manifest and the files, by their path in its
    /// directory. One that is there already with the same weights is left as it is.
    ///
    /// # Errors
    /// [`ServeError::Registry`] when the name is taken by other weights, [`ServeError::Io`].
    pub fn add(&self, manifest: &Manifest, files: &[(String, Vec<u8>)]) -> Result<(), ServeError> {
        let name = manifest.name.as_str();
        if let Some(found) = self.manifest(name)? {
            if found.adapter_sha256 == manifest.adapter_sha256 {
                return Ok(());
            }
            return Err(self.refuse(name, "the name is taken by other weights"));
        }
        let place = self.adapter(name)?;
        let temporary = self.folder.join(format!(".{name}.new"));
        let write = || -> std::io::Result<()> {
            if temporary.exists() {
                std::fs::remove_dir_all(&temporary)?;
            }
            std::fs::create_dir_all(&temporary)?;
            let mut text = serde_json::to_vec_pretty(manifest)?;
            text.push(b'\n');
            let manifest = (MANIFEST.to_owned(), text);
            for (path, bytes) in files.iter().chain([&manifest]) {
                let path = temporary.join(path);
                if let Some(parent) = path.parent() {
                    std::fs::create_dir_all(parent)?;
                }
                let mut file = std::fs::File::create(&path)?;
                file.write_all(bytes)?;
                file.sync_all()?;
            }
            std::fs::rename(&temporary, &place)?;
            sync_directory(&place)
        };
        write().map_err(io_error("write", &place))
    }

    /// Returns who is champion; none before the first promotion.
    ///
    /// # Errors
    /// [`ServeError::Io`] or [`ServeError::Line`] when the file cannot be used.
    pub fn state(&self) -> Result<Option<State>, ServeError> {
        read_json(&self.folder.join(STATE))
    }

    /// Makes `name` champion; the one before goes on in the shadow.
    ///
    /// # Errors
    /// [`ServeError::Registry`] when it is champion already, [`ServeError::Io`].
    pub fn promote(
        &self,
        name: &str,
        at: Timestamp,
        verdict: Option<(serde_json::Value, String)>,
        reason: Option<String>,
    ) -> Result<Change, ServeError> {
        let _lock = self.lock()?;
        let mut state = self.state()?.unwrap_or_else(|| State {
            schema: SCHEMA,
            champion: BASE.to_owned(),
            ..State::default()
        });
        if state.champion == name {
            return Err(self.refuse(name, "it is champion already"));
        }
        let from = std::mem::replace(&mut state.champion, name.to_owned());
        state.challengers.retain(|other| other != name);
        state.challengers.insert(0, from.clone());
        state.before.push(from.clone());
        let (verdict, verdict_sha256) = verdict.unzip();
        self.change(state, |revision| Change {
            schema: SCHEMA,
            change: ChangeKind::Promotion,
            at,
            revision,
            from,
            to: name.to_owned(),
            verdict,
            verdict_sha256,
            reason,
        })
    }

    /// Makes the champion before champion again.
    ///
    /// # Errors
    /// [`ServeError::Registry`] when there was none, [`ServeError::Io`].
    pub fn rollback(
        &self,
        at: Timestamp,
        verdict: Option<(serde_json::Value, String)>,
        reason: Option<String>,
    ) -> Result<Change, ServeError> {
        let _lock = self.lock()?;
        let mut state = self.state()?.unwrap_or_default();
        let Some(to) = state.before.pop() else {
            return Err(self.refuse("registry", "there was no champion before this one"));
        };
        let from = std::mem::replace(&mut state.champion, to.clone());
        state.challengers.retain(|other| *other != to);
        state.challengers.insert(0, from.clone());
        let (verdict, verdict_sha256) = verdict.unzip();
        self.change(state, |revision| Change {
            schema: SCHEMA,
            change: ChangeKind::Rollback,
            at,
            revision,
            from,
            to,
            verdict,
            verdict_sha256,
            reason,
        })
    }

    /// Returns every change, oldest first.
    ///
    /// # Errors
    /// [`ServeError::Line`] for a line that is none, [`ServeError::Io`].
    pub fn history(&self) -> Result<Vec<Change>, ServeError> {
        let path = self.folder.join(HISTORY);
        if !path.exists() {
            return Ok(Vec::new());
        }
        let (mut changes, mut fault) = (Vec::new(), None);
        lines::read(&path, |line, bytes| {
            let parsed = bytes.and_then(|bytes| {
                serde_json::from_slice::<Change>(bytes).map_err(|error| error.to_string())
            });
            match parsed {
                Ok(change) => changes.push(change),
                Err(reason) => fault = fault.take().or(Some((line, reason))),
            }
        })?;
        match fault {
            Some((line, reason)) => Err(ServeError::Line { path, line, reason }),
            None => Ok(changes),
        }
    }

    /// Writes the history first: a state without its line would be a change nobody can explain.
    fn change(
        &self,
        mut state: State,
        change: impl FnOnce(u64) -> Change,
    ) -> Result<Change, ServeError> {
        state.schema = SCHEMA;
        state.revision += 1;
        let change = change(state.revision);
        let encode = |error: serde_json::Error| ServeError::Entry {
            reason: error.to_string(),
        };
        let mut line = serde_json::to_vec(&change).map_err(encode)?;
        line.push(b'\n');
        let mut history = LineWriter::open(&self.folder.join(HISTORY), |_| Ok(()))?;
        history.append(&line)?;
        history.sync()?;
        let mut text = serde_json::to_vec_pretty(&state).map_err(encode)?;
        text.push(b'\n');
        let (path, temporary) = (
            self.folder.join(STATE),
            self.folder.join(format!(".{STATE}.new")),
        );
        let write = || -> std::io::Result<()> {
            let mut file = std::fs::File::create(&temporary)?;
            file.write_all(&text)?;
            file.sync_all()?;
            std::fs::rename(&temporary, &path)?;
            sync_directory(&path)
        };
        write().map_err(io_error("write", &path))?;
        Ok(change)
    }

    /// Two promotions at once would lose one.
    fn lock(&self) -> Result<std::fs::File, ServeError> {
        std::fs::create_dir_all(&self.folder)
            .map_err(io_error("create the directory", &self.folder))?;
        let path = self.folder.join(".lock");
        let file = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)
            .map_err(io_error("open", &path))?;
        lines::lock(&file, &path)?;
        Ok(file)
    }

    fn refuse(&self, name: &str, reason: &str) -> ServeError {
        ServeError::Registry {
            folder: self.folder.clone(),
            name: name.chars().take(LONGEST).collect(),
            reason: reason.to_owned(),
        }
    }
}

/// Says what keeps a text from being an adapter's name, if anything does.
///
/// # Errors
/// With the reason.
pub fn check_name(name: &str) -> Result<(), String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let starts = name.starts_with(|c: char| c.is_ascii_alphanumeric());
    if name.is_empty() || name.len() > LONGEST || !starts || !name.chars().all(fits) {
        return Err(format!(
            "a name has 1 to {LONGEST} letters, digits and `-_.` and starts with a letter or digit"
        ));
    }
    if name == BASE {
        return Err("`base` stands for the base model itself".to_owned());
    }
    Ok(())
}

fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<Option<T>, ServeError> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io_error("read", path)(error)),
    };
    serde_json::from_slice(&bytes)
        .map(Some)
        .map_err(|error| ServeError::Line {
            path: path.to_owned(),
            line: error.line(),
            reason: error.to_string(),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_704_067_200_000);

    fn manifest(name: &str, sha256: &str) -> Manifest {
        Manifest {
            schema: SCHEMA,
            name: name.to_owned(),
            registered_at: NOW,
            version: "0.1.0".to_owned(),
            run: "runs/x".into(),
            model: "model".to_owned(),
            model_sha256: "ab".to_owned(),
            adapter_sha256: sha256.to_owned(),
            dataset: "data".into(),
            dataset_sha256: "cd".to_owned(),
            template_sha256: "ef".to_owned(),
            calibration: Calibration {
                temperature: 1.5,
                bias: [0.1, -0.1, 0.0],
                decisions: 60,
            },
            base_calibration: Calibration {
                temperature: 1.0,
                bias: [0.0; 3],
                decisions: 60,
            },
            settings: serde_json::Value::Null,
            metrics: serde_json::Value::Null,
        }
    }

    #[test]
    fn promotions_and_rollbacks_are_states_and_lines() {
        let folder = tempfile::tempdir().unwrap();
        let registry = Registry::new(folder.path());
        assert_eq!(registry.state().unwrap(), None);
        assert!(registry.rollback(NOW, None, None).is_err());
        registry
            .promote("a", NOW, None, Some("first".to_owned()))
            .unwrap();
        registry
            .promote("b", NOW, None, Some("better".to_owned()))
            .unwrap();
        let state = registry.state().unwrap().unwrap();
        assert_eq!((state.champion.as_str(), state.revision), ("b", 2));
        assert_eq!(state.challengers, ["a", "base"]);
        let error = registry.promote("b", NOW, None, None).unwrap_err();
        assert!(error.to_string().contains("champion already"), "{error}");
        let back = registry
            .rollback(NOW, None, Some("worse".to_owned()))
            .unwrap();
        assert_eq!((back.from.as_str(), back.to.as_str()), ("b", "a"));
        let state = registry.state().unwrap().unwrap();
        assert_eq!((state.champion.as_str(), state.revision), ("a", 3));
        assert_eq!(state.challengers, ["b", "base"]);
        assert_eq!(state.before, ["base"]);
        let history = registry.history().unwrap();
        let reasons: Vec<&str> = history.iter().filter_map(|c| c.reason.as_deref()).collect();
        assert_eq!(reasons, ["first", "better", "worse"]);
        assert_eq!(history[2], back);
    }

    #[test]
    fn an_adapter_is_added_once_under_a_name_of_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let registry = Registry::new(folder.path());
        let files = [("adapter/x.bin".to_owned(), b"weights".to_vec())];
        registry.add(&manifest("a", "11"), &files).unwrap();
        registry.add(&manifest("a", "11"), &files).unwrap();
        let error = registry.add(&manifest("a", "22"), &files).unwrap_err();
        assert!(error.to_string().contains("other weights"), "{error}");
        assert_eq!(registry.names().unwrap(), ["a"]);
        assert_eq!(registry.manifest("a").unwrap(), Some(manifest("a", "11")));
        assert_eq!(registry.manifest("b").unwrap(), None);
        assert_eq!(
            std::fs::read(folder.path().join("a/adapter/x.bin")).unwrap(),
            b"weights"
        );
        for name in ["", "../x", "a/b", "base", ".hidden", &"x".repeat(65)] {
            assert!(
                registry.add(&manifest(name, "33"), &files).is_err(),
                "{name}"
            );
        }
    }

    #[test]
    fn a_reader_sees_the_old_state_or_the_new_one() {
        let folder = tempfile::tempdir().unwrap();
        let registry = Registry::new(folder.path());
        registry.promote("a0", NOW, None, None).unwrap();
        std::thread::scope(|scope| {
            let reader = scope.spawn(|| {
                let mut last = 0;
                while last < 40 {
                    let state = registry.state().unwrap().unwrap();
                    assert!(state.revision >= last);
                    assert_eq!(state.champion, format!("a{}", state.revision - 1));
                    last = state.revision;
                }
            });
            for n in 1..40 {
                registry.promote(&format!("a{n}"), NOW, None, None).unwrap();
            }
            reader.join().unwrap();
        });
    }
}
