//! What is learned from, and when: the order of the rows, and the rows as tokens.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use dataset::bridge::{Conversation, TrainingFiles};
use dataset::{Decision, Example};
use model::{Encoded, Lora};
use serde_json::{Value, json};
use weights::BaseModel;
use weights::peft::{self, PeftConfig};

use super::Inputs;
use crate::flow::corpus::{self, Corpus};
use crate::flow::select;
use crate::flow::shorten::Limit;
use crate::flow::text::Text;

/// Which rows every optimiser step learns from, counted from 0 in their file.
pub(super) struct Order {
    /// Steps of the supervised training, rows of the files of [`Inputs::row_files`].
    pub(super) sft: Vec<Vec<usize>>,
    /// Steps of the training by preference, rows of `pairs.jsonl`.
    pub(super) dpo: Vec<Vec<usize>>,
    /// Rows of `validation.jsonl` that are scored on the way.
    pub(super) validation: Vec<usize>,
}

impl Order {
    /// Draws the order as a native run does.
    pub(super) fn of(inputs: &Inputs<'_>) -> Self {
        let train = &inputs.settings.train;
        let chosen: Vec<usize> = match inputs.corpus {
            Corpus::Decisions(dataset) => {
                let rows = places(&dataset.train);
                select::training(&dataset.train, train.max_examples)
                    .into_iter()
                    .filter_map(|example| rows.get(example.id.as_str()).copied())
                    .collect()
            }
            Corpus::Conversations(files) => corpus::conversation_rows(files, train.max_examples),
        };
        let steps = |len: usize| -> Vec<Vec<usize>> {
            let seen = train::order(len, train.seed, train.examples_seen(len));
            seen.chunks(train.batch_size)
                .map(<[usize]>::to_vec)
                .collect()
        };
        let sft = steps(chosen.len())
            .into_iter()
            .map(|step| step.into_iter().map(|at| chosen[at]).collect())
            .collect();
        Self {
            sft,
            dpo: inputs
                .pairs
                .map_or_else(Vec::new, |pairs| steps(pairs.len())),
            validation: validation(inputs),
        }
    }

    /// Returns the rows of the supervised training, each once.
    fn distinct(&self) -> Vec<usize> {
        let all = self.sft.iter().flatten().copied();
        all.collect::<std::collections::BTreeSet<_>>()
            .into_iter()
            .collect()
    }
}

/// Returns the held-out rows a native run validates on.
fn validation(inputs: &Inputs<'_>) -> Vec<usize> {
    let most = inputs.settings.train.validation_examples;
    if most == 0 || inputs.settings.train.validate_every == 0 {
        return Vec::new();
    }
    let Corpus::Decisions(dataset) = inputs.corpus else {
        return Vec::new();
    };
    let held_out = &dataset.validation;
    let rows = places(held_out);
    let chosen = select::decisions(held_out, dataset.settings.horizon(), most);
    let count = most.min(chosen.len());
    (0..count)
        .filter_map(|at| {
            let example = chosen[at * chosen.len() / count];
            rows.get(example.id.as_str()).copied()
        })
        .collect()
}

fn places(examples: &[Example]) -> BTreeMap<&str, usize> {
    let ids = examples.iter().map(|example| example.id.as_str());
    ids.enumerate().map(|(row, id)| (id, row)).collect()
}

/// Writes steps as lines of numbers.
pub(super) fn text(steps: &[Vec<usize>]) -> String {
    let mut out = String::new();
    for step in steps {
        let numbers: Vec<String> = step.iter().map(ToString::to_string).collect();
        // Writing to a string cannot fail.
        let _ = writeln!(out, "{}", numbers.join(" "));
    }
    out
}

/// Returns the rows as tokens with their masks and the weights that are not 1.
///
/// # Errors
/// With the first example that does not fit the model or the settings.
pub(super) fn tokens(
    inputs: &Inputs<'_>,
    order: &Order,
    text: &Text,
) -> anyhow::Result<Vec<(String, Vec<u8>)>> {
    let mut out = Vec::new();
    match inputs.corpus {
        Corpus::Decisions(dataset) => {
            for (name, part, rows) in [
                ("sft", &dataset.train, order.distinct()),
                ("validation", &dataset.validation, order.validation.clone()),
            ] {
                let examples: Vec<&Example> = rows.iter().map(|row| &part[*row]).collect();
                let content = decisions(inputs, text, &rows, &examples)?;
                out.push((format!("tokens/{name}.jsonl"), content));
            }
        }
        Corpus::Conversations(files) => {
            let content = conversations(inputs, text, &order.distinct(), files)?;
            out.push(("tokens/sft.jsonl".to_owned(), content));
        }
    }
    if let Some(pairs) = inputs.pairs {
        let (encoded, _) = text.pairs(pairs, Limit::from(&inputs.settings.train))?;
        let lines = encoded.iter().map(|pair| {
            let answer = |side: &Encoded| side.tokens[answer_start(side)..].to_vec();
            json!({
                "id": pair.id,
                "prompt_ids": pair.chosen.tokens[..answer_start(&pair.chosen)],
                "chosen_ids": answer(&pair.chosen),
                "rejected_ids": answer(&pair.rejected),
            })
        });
        out.push(("tokens/pairs.jsonl".to_owned(), jsonl(lines)?));
    }
    Ok(out)
}

/// Returns where the last answer begins; an earlier one is the same on both sides of a pair.
fn answer_start(encoded: &Encoded) -> usize {
    let prompt = encoded.supervised.iter().rposition(|on| !on);
    prompt.map_or(0, |at| at + 1)
}

/// Returns rows whose answers begin with a decision.
fn decisions(
    inputs: &Inputs<'_>,
    text: &Text,
    rows: &[usize],
    examples: &[&Example],
) -> anyhow::Result<Vec<u8>> {
    let train = &inputs.settings.train;
    let (encoded, _) = text.conversations(examples, Limit::from(train))?;
    let lines = encoded
        .iter()
        .zip(rows)
        .zip(examples)
        .map(|((encoded, row), example)| {
            let first = encoded.prompt_len + text.decisions.lead.len();
            let label = &text.decisions.labels[example.label.index()];
            let weights: Vec<Value> = if train.decision_weight == 1.0 {
                Vec::new()
            } else {
                (first..first + label.len())
                    .map(|at| json!([at, train.decision_weight]))
                    .collect()
            };
            line(encoded, *row, Some(example.label), &weights)
        });
    jsonl(lines)
}

/// Returns rows of conversations, every token of whose answers weighs the same.
fn conversations(
    inputs: &Inputs<'_>,
    text: &Text,
    rows: &[usize],
    files: &TrainingFiles,
) -> anyhow::Result<Vec<u8>> {
    let chosen: Vec<&Conversation> = rows.iter().map(|row| &files.conversations[*row]).collect();
    let (encoded, _) = text.plain(&chosen, Limit::from(&inputs.settings.train))?;
    let lines = encoded
        .iter()
        .zip(rows)
        .map(|(encoded, row)| line(encoded, *row, None, &[]));
    jsonl(lines)
}

fn line(encoded: &Encoded, row: usize, label: Option<Decision>, weights: &[Value]) -> Value {
    let mask: Vec<u8> = encoded.supervised.iter().map(|on| u8::from(*on)).collect();
    json!({
        "row": row, "id": encoded.id, "label": label, "input_ids": encoded.tokens,
        "completion_mask": mask, "weights": weights,
    })
}

fn jsonl(lines: impl Iterator<Item = Value>) -> anyhow::Result<Vec<u8>> {
    let mut out = Vec::new();
    for line in lines {
        serde_json::to_writer(&mut out, &line)?;
        out.push(b'\n');
    }
    Ok(out)
}

/// Returns the adapter a native run starts from, as PEFT loads it.
///
/// # Errors
/// When the settings of the adapter do not fit the base model.
pub(super) fn start(
    inputs: &Inputs<'_>,
    base: &BaseModel,
) -> anyhow::Result<Vec<(String, Vec<u8>)>> {
    let train = &inputs.settings.train;
    let lora = Lora::new(base.config(), train.lora()?, train.seed)?;
    let folder = tempfile::tempdir()?;
    let config = PeftConfig {
        base_model_name_or_path: inputs.base_name.to_owned(),
    };
    peft::write(folder.path(), &lora.to_tensors(base.config()), &config)?;
    let mut out = Vec::new();
    for name in ["adapter_config.json", "adapter_model.safetensors"] {
        let bytes = std::fs::read(folder.path().join(name))?;
        out.push((format!("start/{name}"), bytes));
    }
    Ok(out)
}
