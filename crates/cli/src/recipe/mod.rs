//! A training for somebody else's trainer: the files that make TRL, axolotl, unsloth or
//! LLaMA-Factory train on a GPU what `foretune train` trains here.
//!
//! The scripts are files of `crates/cli/recipes`, the same for every bundle; what differs lies in
//! `recipe/settings.json`, the order of the rows and, with a base model at hand, in rows that are
//! tokenised already and in the adapter's first values. Then order, masks, template and
//! hyperparameters are ours by construction, and nobody's tokenizer has to agree.

mod configs;
mod numbers;
mod readme;
mod rows;
mod yaml;

use std::path::Path;

use clap::ValueEnum;
use dataset::PreferencePair;
use weights::BaseModel;

use crate::exit::{Exit, Stop};
use crate::flow::corpus::Corpus;
use crate::flow::text::Text;
use crate::settings::Settings;

pub(crate) use readme::{Page, bundle as bundle_readme};

/// A trainer that recipes are written for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Recipe {
    /// TRL with PEFT; the one that is tried against the native run
    Trl,
    /// Axolotl
    Axolotl,
    /// Unsloth, on one GPU
    Unsloth,
    /// LLaMA-Factory
    LlamaFactory,
}

impl Recipe {
    /// Returns the name as typed.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Trl => "trl",
            Self::Axolotl => "axolotl",
            Self::Unsloth => "unsloth",
            Self::LlamaFactory => "llama-factory",
        }
    }

    fn launch(self) -> &'static str {
        match self {
            Self::Trl => include_str!("../../recipes/launch-trl.sh"),
            Self::Axolotl => include_str!("../../recipes/launch-axolotl.sh"),
            Self::Unsloth => include_str!("../../recipes/launch-unsloth.sh"),
            Self::LlamaFactory => include_str!("../../recipes/launch-llama-factory.sh"),
        }
    }

    fn requirements(self) -> &'static str {
        match self {
            Self::Trl => include_str!("../../recipes/requirements-trl.txt"),
            Self::Axolotl => include_str!("../../recipes/requirements-axolotl.txt"),
            Self::Unsloth => include_str!("../../recipes/requirements-unsloth.txt"),
            Self::LlamaFactory => include_str!("../../recipes/requirements-llama-factory.txt"),
        }
    }

    /// Reports whether `train.py` does the training, and not the trainer's own program.
    fn is_scripted(self) -> bool {
        matches!(self, Self::Trl | Self::Unsloth)
    }
}

/// What a recipe is made of.
pub(crate) struct Inputs<'a> {
    /// The trainer.
    pub(crate) recipe: Recipe,
    /// The settings a native run would have.
    pub(crate) settings: &'a Settings,
    /// The data set, or the bridge.
    pub(crate) corpus: &'a Corpus,
    /// The sha256 of its manifest.
    pub(crate) dataset_sha256: &'a str,
    /// Preference pairs, if there are any.
    pub(crate) pairs: Option<&'a [PreferencePair]>,
    /// The base model, if it is at hand.
    pub(crate) base: Option<&'a (BaseModel, Text)>,
    /// What the trainer is to load: a hub name or a path.
    pub(crate) base_name: &'a str,
    /// Its revision on the hub.
    pub(crate) base_revision: Option<&'a str>,
}

impl Inputs<'_> {
    /// Returns the files of the data set whose lines are training rows, one after the other.
    fn row_files(&self) -> Vec<&'static str> {
        match self.corpus {
            Corpus::Decisions(_) => vec!["examples.jsonl"],
            Corpus::Conversations(files) => files.names(),
        }
    }

    /// Reports whether answers begin with a decision whose tokens may weigh more, and held-out
    /// decisions are watched on the way; a bridge's give their reasons first.
    fn decides(&self) -> bool {
        matches!(self.corpus, Corpus::Decisions(_))
    }
}

/// A recipe's files, by their path in the bundle, and what the reader should know.
pub(crate) struct Made {
    /// Paths and contents.
    pub(crate) members: Vec<(String, Vec<u8>)>,
    /// What a trainer cannot do as the native run does, one sentence each.
    pub(crate) differences: Vec<String>,
    /// Optimiser steps of the supervised training.
    pub(crate) steps: usize,
}

/// Writes a recipe.
///
/// # Errors
/// When an example does not fit the model or the settings.
pub(crate) fn files(inputs: &Inputs<'_>) -> anyhow::Result<Made> {
    let alpha = inputs.settings.train.alpha;
    if alpha.fract() != 0.0 {
        let message =
            format!("`train.alpha` is {alpha}, expected an integer: trainers take no other");
        return Err(Stop::new(Exit::Usage, message).into());
    }
    let order = rows::Order::of(inputs);
    let numbers = numbers::settings(inputs, &order)?;
    let mut out = Vec::new();
    let mut put = |name: &str, content: Vec<u8>| out.push((format!("recipe/{name}"), content));
    put("settings.json", json(&numbers)?);
    put("sft_order.txt", rows::text(&order.sft).into_bytes());
    if !order.dpo.is_empty() {
        put("dpo_order.txt", rows::text(&order.dpo).into_bytes());
    }
    if let Some((files, text)) = inputs.base {
        for (name, content) in rows::tokens(inputs, &order, text)? {
            put(&name, content);
        }
        for (name, content) in rows::start(inputs, files)? {
            put(&name, content);
        }
    }
    put(
        "bundle.py",
        include_bytes!("../../recipes/bundle.py").to_vec(),
    );
    put("run.sh", include_bytes!("../../recipes/run.sh").to_vec());
    put(
        "preflight.sh",
        include_bytes!("../../recipes/preflight.sh").to_vec(),
    );
    put("launch.sh", inputs.recipe.launch().into());
    put("requirements.txt", inputs.recipe.requirements().into());
    if inputs.recipe.is_scripted() {
        put(
            "train.py",
            include_bytes!("../../recipes/train.py").to_vec(),
        );
    }
    for (name, content) in configs::files(inputs, &order)? {
        put(&name, content.into_bytes());
    }
    let differences = readme::differences(inputs);
    put(
        "README.md",
        readme::recipe(inputs, &order, &differences).into_bytes(),
    );
    Ok(Made {
        members: out,
        differences,
        steps: order.sft.len(),
    })
}

/// Returns a value as indented JSON with a final newline.
fn json(value: &serde_json::Value) -> anyhow::Result<Vec<u8>> {
    let mut text = serde_json::to_vec_pretty(value)?;
    text.push(b'\n');
    Ok(text)
}

/// The name of a base model on the hub and its revision, where the source says so.
pub(crate) fn hub_name(source: &str) -> anyhow::Result<Option<(String, Option<String>)>> {
    use weights::source::{Source, parse};
    Ok(match parse(source)? {
        Source::Hub {
            repo,
            revision,
            file: None,
        } => Some((repo, revision)),
        Source::Local(path) => Some((absolute(&path)?, None)),
        _ => None,
    })
}

fn absolute(path: &Path) -> anyhow::Result<String> {
    Ok(std::path::absolute(path)?.to_string_lossy().into_owned())
}
