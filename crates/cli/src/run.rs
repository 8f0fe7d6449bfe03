//! A run: one training, one directory.
//!
//! ```text
//! manifest.json                     what was trained on what, with digests (this module)
//! settings.toml  metrics.jsonl      settings and progress of the training
//! events.out.tfevents.*             the same progress for TensorBoard
//! checkpoint.safetensors  adapter/  to resume from, and the adapter as PEFT has it
//! adapter.gguf                      the adapter for llama.cpp (`export`)
//! export/                           merged models, bundles for ollama (`export`)
//! check.json  check/                the comparison with llama.cpp and PEFT (`check`)
//! decisions.jsonl                   every arm's test decisions (`evaluate`)
//! report.json  report.html          the evaluation and its page (`evaluate`)
//! training.html                     the page of the training (`report`)
//! dataset/                          the examples, for a quickstart
//! ```

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use model::Lora;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use train::{DpoRecord, StepRecord, ValidationRecord};
use weights::{ModelConfig, peft};

use crate::exit::{Exit, Stop};
use crate::settings::Settings;
use crate::{files, output};

/// The layout of [`Record`].
const SCHEMA: u32 = 1;
const RECORD: &str = "manifest.json";
/// What the manifest of a data set says it is.
const DATASET_KINDS: [&str; 2] = ["foretune-dataset", dataset::bridge::KIND];
/// What a training writes.
const FILES: [&str; 4] = [
    "settings.toml",
    "metrics.jsonl",
    "adapter/adapter_config.json",
    "adapter/adapter_model.safetensors",
];

/// What rests on a training and is void once another one begins.
const RESULTS: [&str; 10] = [
    RECORD,
    "adapter",
    "adapter.gguf",
    "export",
    "check.json",
    "check",
    "decisions.jsonl",
    "report.json",
    "report.html",
    "training.html",
];

/// What a run directory holds, as shown in `--help`.
pub(crate) const LAYOUT: &str = "\
A run directory:
  manifest.json               what was trained on what, with digests
  settings.toml               the settings it was trained with
  metrics.jsonl               loss and speed by step
  events.out.tfevents.*       the same for TensorBoard
  adapter/                    the adapter as PEFT loads it
  adapter.gguf                the adapter as llama.cpp loads it (export)
  export/                     merged models, bundles for ollama (export)
  check.json, check/          the comparison with llama.cpp and PEFT (check)
  decisions.jsonl             every arm's decisions on the test span (evaluate)
  report.json, report.html    the evaluation and its page (evaluate)
  training.html               the page of the training (report)
  dataset/                    the examples (quickstart)";

/// A run directory.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    /// Where it is.
    pub(crate) folder: PathBuf,
    /// What it says about itself.
    pub(crate) record: Record,
}

/// What was trained on what.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Record {
    schema: u32,
    /// The version of foretune that trained.
    pub(crate) version: String,
    /// The base model's source.
    pub(crate) model: String,
    /// The base model's digest.
    pub(crate) model_sha256: String,
    /// The data set, relative to the run directory if it lies inside.
    pub(crate) dataset: PathBuf,
    /// The digest of the data set's manifest.
    pub(crate) dataset_sha256: String,
    /// How the training went.
    pub(crate) training: Training,
    /// Where the preferences came from, for a training by preference.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) preference: Option<Preference>,
    /// The settings in force.
    pub(crate) settings: Settings,
    /// Digests of the files the training wrote, by their path in the directory.
    pub(crate) files: BTreeMap<String, String>,
}

/// What a training by preference was made of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Preference {
    /// The file of pairs.
    pub(crate) pairs: PathBuf,
    /// Its digest.
    pub(crate) pairs_sha256: String,
    /// The run whose adapter it started from, if not from a fresh one.
    pub(crate) from: Option<PathBuf>,
    /// Every step, with its rewards.
    pub(crate) history: Vec<DpoRecord>,
}

/// How a training went.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Training {
    /// Training examples in the data set.
    pub(crate) examples_available: usize,
    /// Training examples seen, repetitions counted.
    pub(crate) examples: usize,
    /// Optimiser steps.
    pub(crate) steps: usize,
    /// Tokens of the examples seen, prompts and answers in full.
    pub(crate) tokens: usize,
    /// Tokens that carried loss.
    pub(crate) supervised_tokens: usize,
    /// Tokens per second of training, validation left out.
    pub(crate) tokens_per_second: f64,
    /// Time spent training, validation included.
    pub(crate) wall_seconds: f64,
    /// Peak memory of the process at the end of training, if the system tells.
    pub(crate) peak_memory_bytes: Option<u64>,
    /// Trained parameters.
    pub(crate) parameters: usize,
    /// Examples or pairs whose prompt was cut to fit the limit.
    #[serde(default)]
    pub(crate) examples_cut: usize,
    /// Steps done when the adapter was as it was kept.
    #[serde(default)]
    pub(crate) kept_step: usize,
    /// Whether training ended because the validation loss no longer fell.
    #[serde(default)]
    pub(crate) stopped_early: bool,
    /// Every step.
    pub(crate) history: Vec<StepRecord>,
    /// Every validation.
    pub(crate) validations: Vec<ValidationRecord>,
}

/// Makes room for a new run in `folder`: a run or a checkpoint that is there is
/// moved aside, to the first free of `FOLDER.1`, `FOLDER.2`, ... With `resume` the
/// directory stays where it is, if it has a checkpoint to go on from.
///
/// # Errors
/// When it cannot be moved.
pub(crate) fn make_room(folder: &Path, resume: bool) -> anyhow::Result<()> {
    use anyhow::Context;
    let checkpoint = has_checkpoint(folder);
    if resume && checkpoint {
        return Ok(());
    }
    if resume {
        output::warn(&format!(
            "no checkpoint in `{}`: starting from the beginning",
            folder.display()
        ));
    }
    if !checkpoint && !folder.join(RECORD).exists() {
        return Ok(());
    }
    let aside = free_name(folder)?;
    std::fs::rename(folder, &aside).with_context(|| {
        format!(
            "cannot move the run `{}` to `{}`",
            folder.display(),
            aside.display()
        )
    })?;
    output::note(&format!(
        "the run that was there is now {}",
        aside.display()
    ));
    Ok(())
}

fn has_checkpoint(folder: &Path) -> bool {
    folder.join(train::checkpoint::FILE_NAME).exists()
}

fn free_name(folder: &Path) -> Result<PathBuf, Stop> {
    let numbered = |number: u32| {
        let mut name = folder.file_name()?.to_owned();
        name.push(format!(".{number}"));
        Some(folder.with_file_name(name))
    };
    (1..=u32::MAX)
        .map_while(numbered)
        .find(|path| std::fs::symlink_metadata(path).is_err())
        .ok_or_else(|| {
            let message = format!("the run in `{}` cannot be moved aside", folder.display());
            Stop::new(Exit::Usage, message).hint("name another run directory with --out")
        })
}

/// Refuses to start a run from something that lies in its own directory, which
/// [`make_room`] would move away. Nothing is moved with a checkpoint to resume from.
///
/// # Errors
/// With the first of `inputs` that lies there.
pub(crate) fn refuse_own_input(folder: &Path, resume: bool, inputs: &[&Path]) -> Result<(), Stop> {
    let Ok(place) = folder.canonicalize() else {
        return Ok(());
    };
    if resume && has_checkpoint(folder) {
        return Ok(());
    }
    let inside = |path: &&&Path| {
        path.canonicalize()
            .is_ok_and(|path| path.starts_with(&place))
    };
    match inputs.iter().find(inside) {
        None => Ok(()),
        Some(input) => Err(Stop::new(
            Exit::Usage,
            format!(
                "`{}` lies in the run directory `{}`, which the new run takes",
                input.display(),
                folder.display()
            ),
        )
        .hint("name another run directory with --out")),
    }
}

/// Reports whether a directory is a data set or a bridge by its manifest.
pub(crate) fn is_dataset(folder: &Path) -> bool {
    let manifest = std::fs::read(folder.join(RECORD)).ok();
    let manifest: Option<serde_json::Value> =
        manifest.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    manifest.is_some_and(|manifest| DATASET_KINDS.iter().any(|kind| manifest["kind"] == *kind))
}

/// Refuses to write a file into a data set or a bridge, whose manifest lists all that is in it.
///
/// # Errors
/// With the directory.
pub(crate) fn refuse_in_dataset(out: &Path) -> Result<(), Stop> {
    let Ok(place) = std::path::absolute(out) else {
        return Ok(());
    };
    // Links are followed as far as there is something.
    let above = place
        .ancestors()
        .skip(1)
        .find_map(|p| p.canonicalize().ok());
    let own = above.iter().flat_map(|path| path.ancestors());
    match own.into_iter().find(|folder| is_dataset(folder)) {
        None => Ok(()),
        Some(folder) => Err(Stop::new(
            Exit::Usage,
            format!(
                "`{}` lies in the data set `{}`, whose files are those of its manifest",
                out.display(),
                folder.display()
            ),
        )
        .hint("name another place")),
    }
}

/// Removes what an earlier training and what rests on it left in a run directory,
/// its checkpoint excepted; called when the new one is done.
///
/// # Errors
/// With the path, when that fails.
pub(crate) fn begin(folder: &Path) -> anyhow::Result<()> {
    use anyhow::Context;
    files::create_directory(folder)?;
    for name in RESULTS {
        let path = folder.join(name);
        let removed = match std::fs::symlink_metadata(&path) {
            Ok(found) if found.is_dir() => std::fs::remove_dir_all(&path),
            Ok(_) => std::fs::remove_file(&path),
            Err(_) => continue,
        };
        removed.with_context(|| format!("cannot remove `{}`", path.display()))?;
    }
    Ok(())
}

impl Run {
    /// Writes a new run's record.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn write(folder: &Path, mut record: Record) -> anyhow::Result<Self> {
        if let Ok(inside) = record.dataset.strip_prefix(folder) {
            record.dataset = inside.to_owned();
        } else {
            record.dataset = std::path::absolute(&record.dataset)?;
        }
        for name in FILES {
            record
                .files
                .insert(name.to_owned(), sha256_of(&folder.join(name))?);
        }
        files::write_json(&folder.join(RECORD), &record)?;
        Ok(Self {
            folder: folder.to_owned(),
            record,
        })
    }

    /// Opens a run directory.
    ///
    /// # Errors
    /// When the directory is no run, or one of another layout.
    pub(crate) fn open(folder: &Path) -> Result<Self, Stop> {
        let path = folder.join(RECORD);
        let refuse = |message: String| {
            Stop::new(Exit::Usage, format!("`{}`: {message}", path.display())).hint(
                "name a directory that `foretune train sft` or `foretune quickstart` has written",
            )
        };
        let text = std::fs::read_to_string(&path)
            .map_err(|error| refuse(format!("not a run: {error}")))?;
        if is_dataset(folder) {
            return Err(refuse("not a run but a data set".to_owned()));
        }
        let record: Record =
            serde_json::from_str(&text).map_err(|error| refuse(format!("not a run: {error}")))?;
        if record.schema != SCHEMA {
            return Err(refuse(format!(
                "layout {}, expected {SCHEMA}",
                record.schema
            )));
        }
        Ok(Self {
            folder: folder.to_owned(),
            record,
        })
    }

    /// Returns the path of the data set.
    pub(crate) fn dataset(&self) -> PathBuf {
        self.folder.join(&self.record.dataset)
    }

    /// Returns the PEFT directory.
    pub(crate) fn peft(&self) -> PathBuf {
        self.folder.join("adapter")
    }

    /// Returns the path of the adapter for llama.cpp.
    pub(crate) fn gguf(&self) -> PathBuf {
        self.folder.join("adapter.gguf")
    }

    /// Returns the directory of what is exported beside the adapter.
    pub(crate) fn export(&self) -> PathBuf {
        self.folder.join("export")
    }

    /// Returns the directory's name, for files made from the run.
    pub(crate) fn name(&self) -> String {
        let name = self.folder.file_name();
        name.map_or_else(
            || "adapter".into(),
            |name| name.to_string_lossy().into_owned(),
        )
    }

    /// Reads the adapter.
    ///
    /// # Errors
    /// When it is missing, malformed, or does not fit the base model.
    pub(crate) fn adapter(&self, base: &ModelConfig) -> anyhow::Result<Lora> {
        let (tensors, _) = peft::read(&self.peft())?;
        Ok(Lora::from_tensors(base, &tensors)?)
    }

    /// Returns the digest of the adapter's weights.
    ///
    /// # Errors
    /// When they cannot be read.
    pub(crate) fn adapter_sha256(&self) -> anyhow::Result<String> {
        sha256_of(&self.peft().join("adapter_model.safetensors"))
    }
}

impl Record {
    /// Makes the record of a training.
    ///
    /// # Errors
    /// When the data set's manifest cannot be read.
    pub(crate) fn new(
        settings: &Settings,
        model_sha256: &str,
        dataset: &Path,
        training: Training,
    ) -> anyhow::Result<Self> {
        Ok(Self {
            schema: SCHEMA,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            model: settings.model.source.clone(),
            model_sha256: model_sha256.to_owned(),
            dataset: dataset.to_owned(),
            dataset_sha256: sha256_of(&dataset.join("manifest.json"))?,
            training,
            preference: None,
            settings: settings.clone(),
            files: BTreeMap::new(),
        })
    }
}

/// Returns the lower-case hexadecimal SHA-256 of a file.
///
/// # Errors
/// With the path, when it cannot be read.
pub(crate) fn sha256_of(path: &Path) -> anyhow::Result<String> {
    use anyhow::Context;
    let read = || -> std::io::Result<String> {
        let mut file = std::fs::File::open(path)?;
        let mut hasher = Sha256::new();
        let mut buffer = vec![0; 1 << 20];
        loop {
            let count = std::io::Read::read(&mut file, &mut buffer)?;
            if count == 0 {
                return Ok(hexadecimal(&hasher.finalize()));
            }
            hasher.update(&buffer[..count]);
        }
    };
    read().with_context(|| format!("cannot read `{}`", path.display()))
}

/// Returns the lower-case hexadecimal SHA-256 of bytes.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    hexadecimal(&Sha256::digest(bytes))
}

fn hexadecimal(digest: &[u8]) -> String {
    use std::fmt::Write as _;
    digest
        .iter()
        .fold(String::with_capacity(64), |mut text, byte| {
            // Writing to a string cannot fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
}
