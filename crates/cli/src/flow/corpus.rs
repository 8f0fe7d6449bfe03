//! What a training learns from: a data set of decisions, or a bridge of conversations.

use std::path::Path;

use dataset::bridge::{self, TrainingFiles};
use dataset::{Dataset, Example};
use model::Encoded;
use train::Validation;

use super::base::Base;
use super::shorten::Limit;
use super::{examples, select};
use crate::output;
use crate::settings::Settings;

/// What a training learns from.
#[derive(Debug)]
pub(crate) enum Corpus {
    /// Decisions, with held-out ones to watch.
    Decisions(Box<Dataset>),
    /// Conversations of a bridge.
    Conversations(Box<TrainingFiles>),
}

/// A corpus as tokens.
pub(crate) struct Tokens {
    /// The training examples.
    pub(crate) examples: Vec<Encoded>,
    /// How many of them lost a part of their prompt.
    pub(crate) cut: usize,
    /// Held-out examples to watch while training; none for a bridge, whose answers give their
    /// reasons before the decision.
    pub(crate) validation: Option<Validation>,
}

impl Corpus {
    /// Reads a directory as [`Self::open`], and says how much it gives a training.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub(crate) fn read(directory: &Path) -> anyhow::Result<Self> {
        let corpus = Self::open(directory)?;
        let from_market = match &corpus {
            Self::Decisions(dataset) => dataset.train.len(),
            Self::Conversations(files) => files.from_market,
        };
        output::note(&format!(
            "loaded {} samples ({from_market} from your market data)",
            corpus.available()
        ));
        Ok(corpus)
    }

    /// Reads a directory; every file is compared with the manifest (Gate 3).
    ///
    /// # Errors
    /// When it holds neither, or something altered or missing.
    pub(crate) fn open(directory: &Path) -> anyhow::Result<Self> {
        if bridge::is_bridge(directory) {
            let files = bridge::read_training(directory)?;
            return Ok(Self::Conversations(Box::new(files)));
        }
        let (dataset, _) = examples::read(directory)?;
        Ok(Self::Decisions(Box::new(dataset)))
    }

    /// Returns the number of training examples there are.
    pub(crate) fn available(&self) -> usize {
        match self {
            Self::Decisions(dataset) => dataset.train.len(),
            Self::Conversations(files) => files.conversations.len(),
        }
    }

    /// Returns the texts of each example that training would use, and its answer.
    pub(crate) fn texts(&self, most: usize) -> Vec<(Vec<&str>, &str)> {
        match self {
            Self::Decisions(dataset) => select::training(&dataset.train, most)
                .into_iter()
                .map(|example| parts(&example.messages))
                .collect(),
            Self::Conversations(files) => chosen(files, most)
                .map(|conversation| parts(&conversation.messages))
                .collect(),
        }
    }

    /// Turns it into tokens.
    ///
    /// # Errors
    /// With the id of the first example that does not fit the limit or the model.
    pub(crate) fn encode(&self, settings: &Settings, base: &Base) -> anyhow::Result<Tokens> {
        let limit = Limit::from(&settings.train);
        let most = settings.train.max_examples;
        match self {
            Self::Decisions(dataset) => {
                let chosen = select::training(&dataset.train, most);
                let (examples, cut) = base.text.conversations(&chosen, limit)?;
                Ok(Tokens {
                    examples,
                    cut,
                    validation: Some(validation(settings, dataset, base)?),
                })
            }
            Self::Conversations(files) => {
                let chosen: Vec<_> = chosen(files, most).collect();
                let (examples, cut) = base.text.plain(&chosen, limit)?;
                Ok(Tokens {
                    examples,
                    cut,
                    validation: None,
                })
            }
        }
    }
}

fn parts(messages: &[dataset::Message]) -> (Vec<&str>, &str) {
    let parts = messages.iter().map(|m| m.content.as_str()).collect();
    let answer = messages.last().map_or("", |m| m.content.as_str());
    (parts, answer)
}

/// Returns at most `most` conversations, evenly over the files; all of them for 0.
fn chosen(
    files: &TrainingFiles,
    most: usize,
) -> impl Iterator<Item = &dataset::bridge::Conversation> {
    let rows = conversation_rows(files, most).into_iter();
    rows.map(|row| &files.conversations[row])
}

/// Returns which conversations a training uses, counted from 0 in the order of the files.
pub(crate) fn conversation_rows(files: &TrainingFiles, most: usize) -> Vec<usize> {
    let all: Vec<usize> = (0..files.conversations.len()).collect();
    let most = if most == 0 { all.len() } else { most };
    select::evenly(&all, most).collect()
}

/// Returns held-out examples to watch while training.
fn validation(settings: &Settings, dataset: &Dataset, base: &Base) -> anyhow::Result<Validation> {
    let most = settings.train.validation_examples;
    let chosen: Vec<&Example> = if most == 0 {
        Vec::new()
    } else {
        select::decisions(&dataset.validation, dataset.settings.horizon(), most)
    };
    if chosen.is_empty() {
        output::warn("no validation during training: `train.validation_examples` is 0");
    }
    Ok(Validation {
        examples: base
            .text
            .conversations(&chosen, Limit::from(&settings.train))?
            .0,
        labels: chosen.iter().map(|example| example.label.index()).collect(),
        tokens: base.text.decisions.clone(),
    })
}
