//! Gate 4: do the files a user may load decide as the trained model does?
//!
//! Every engine gets the same held-out prompts with the answer up to `DECISION:` already written
//! (its reasons too, where they come first, as our engine writes them), and is asked for the
//! log-probabilities of what comes next. The decision is the most probable class there. Our engine, which computes in f32 on the base's own
//! values, is the reference; an artefact whose decisions differ from it more often, or whose
//! probabilities lie further away, than the settings allow is not blessed.

use std::path::{Path, PathBuf};

use model::Lora;
use model::score::DecisionTokens;
use serde::{Deserialize, Serialize};
use serde_json::json;
use stats::{argmax, softmax};

use super::base::Base;
use super::client::{self, Prompt, Query, Reply};
use super::question::{Question, Task};
use super::reasoned::{self, Reasoned};
use crate::exit::{Exit, Stop};
use crate::files;
use crate::python::Environment;
use crate::run::sha256_of;
use crate::settings::{Check, OneClass};

pub(crate) use judgement::{Judgement, judgement};

/// Most probable tokens asked for at a decision; a label below them counts as the last of them.
const TOLD: usize = 512;
/// Decisions below which a single class says nothing.
const ENOUGH: usize = 12;

/// How far decisions drift.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Gate {
    /// Decisions compared.
    pub(crate) decisions: usize,
    /// The classes.
    #[serde(default = "trade")]
    pub(crate) classes: Vec<String>,
    /// Of our engine's decisions, by class.
    pub(crate) counts: Vec<usize>,
    /// Of the outcomes, by class.
    pub(crate) outcomes: Vec<usize>,
    /// Least share of equal decisions.
    pub(crate) agreement_wanted: f64,
    /// Largest mean distance of the probabilities.
    pub(crate) distance_allowed: f64,
    /// The artefacts compared.
    pub(crate) artefacts: Vec<Artefact>,
    /// Why no artefact of this adapter is blessed, if so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) one_class: Option<String>,
    /// What the model's own answers are worth.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) judgement: Option<Judgement>,
}

fn trade() -> Vec<String> {
    Task::Trade.classes()
}

/// What one engine makes of one set of files.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Artefact {
    /// `lora-gguf`, `gguf q8_0`, `peft`.
    pub(crate) name: String,
    /// The engine: package and version.
    pub(crate) engine: String,
    /// Digests of the files that carry the adapter.
    pub(crate) sha256: Vec<String>,
    /// Share of decisions equal to ours.
    pub(crate) agreement: f64,
    /// Of its decisions, by class.
    pub(crate) counts: Vec<usize>,
    /// Mean of half the sum of differences between its probabilities of the classes and ours.
    pub(crate) probability_distance: f64,
    /// Mean difference, in nats, between its log-probability of the decision we take and ours.
    pub(crate) log_probability_distance: f64,
    /// The largest such difference.
    pub(crate) largest_log_probability_distance: f64,
    /// Share of its answers that have the form, if it wrote any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) form_rate: Option<f64>,
    /// Whether it may be used.
    pub(crate) blessed: bool,
    /// Why not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) reasons: Vec<String>,
}

/// The decisions to compare, with what our engine says.
#[derive(Debug)]
pub(crate) struct Reference<'a> {
    /// What is decided.
    pub(crate) task: Task,
    /// The questions, in time order.
    pub(crate) questions: Vec<&'a Question>,
    /// Prompt tokens with those of the answer up to the decision.
    prompts: Vec<Vec<u32>>,
    /// How many of them belong to the answer.
    leads: Vec<usize>,
    /// The token of each class that follows.
    labels: Vec<u32>,
    /// Our log-probabilities of the classes.
    ours: Vec<Vec<f64>>,
}

impl<'a> Reference<'a> {
    /// Computes what our engine says; `reasons` are its answers where reasons come first.
    ///
    /// # Errors
    /// When the tokenizer does not tell the classes apart by their first token, or on Ctrl-C.
    pub(crate) fn compute(
        base: &Base,
        adapter: &Lora,
        questions: Vec<&'a Question>,
        reasons: Option<&[Reasoned]>,
    ) -> anyhow::Result<Self> {
        let (task, lead, classes) = if reasons.is_some() {
            let verdicts = reasoned::verdict_tokens(&base.text)?;
            (Task::Signal, Vec::new(), verdicts.labels)
        } else {
            let DecisionTokens { lead, labels } = base.text.decisions.clone();
            (Task::Trade, lead, labels)
        };
        let labels = first_tokens(task, &classes)?;
        let mut prompts = Vec::with_capacity(questions.len());
        let mut leads = Vec::with_capacity(questions.len());
        for (at, question) in questions.iter().enumerate() {
            let asked = base.text.prompt(&question.prompt)?;
            let full = match reasons {
                Some(reasons) => reasons[at].point.clone(),
                None => [&asked[..], &lead[..]].concat(),
            };
            leads.push(full.len() - asked.len());
            prompts.push(full);
        }
        let tokens = DecisionTokens {
            lead: Vec::new(),
            labels: labels.iter().map(|label| vec![*label]).collect(),
        };
        Ok(Self {
            ours: reasoned::scores(base, Some(adapter), &prompts, &tokens)?,
            task,
            questions,
            prompts,
            leads,
            labels,
        })
    }

    /// Returns our decisions, by class.
    pub(crate) fn decided(&self) -> Vec<usize> {
        self.ours.iter().map(|row| argmax(row)).collect()
    }

    /// Returns what another engine needs to be compared, as a JSON document.
    fn request(&self, base: &Base) -> serde_json::Value {
        let prompts: Vec<_> = self
            .questions
            .iter()
            .zip(self.prompts.iter().zip(&self.leads))
            .map(|(question, (tokens, lead))| {
                json!({"id": question.id, "tokens": tokens, "lead": lead})
            })
            .collect();
        json!({"schema": 2, "model": base.source, "model_sha256": base.sha256,
               "labels": self.labels, "stop": base.text.stop, "prompts": prompts})
    }
}

/// Returns the first token of each class, where no two are the same.
fn first_tokens(task: Task, classes: &[Vec<u32>]) -> Result<Vec<u32>, Stop> {
    let first: Vec<u32> = classes.iter().map(|tokens| tokens[0]).collect();
    let apart = first
        .iter()
        .enumerate()
        .all(|(at, token)| !first[..at].contains(token));
    if apart {
        return Ok(first);
    }
    let message = format!(
        "two of {} begin with the same token in this model",
        task.classes().join(", ")
    );
    Err(Stop::new(Exit::Model, message))
}

/// Asks llama.cpp to decide, and to answer the prompts of `answers` in full; returns the artefact
/// and its answers. `form_rate` is that of answers it has given before, if any.
///
/// # Errors
/// As [`client::ask`].
pub(crate) fn llama(
    environment: &Environment,
    reference: &Reference<'_>,
    base: &Base,
    (name, model, adapter): (&str, &Path, Option<&Path>),
    (answers, room, form_rate): (&[Vec<u32>], usize, Option<f64>),
    settings: &Check,
) -> anyhow::Result<(Artefact, Vec<String>)> {
    let decide = reference.prompts.iter().map(|tokens| Prompt {
        tokens: tokens.clone(),
        max_tokens: 1,
        alternatives: TOLD,
    });
    let answer = answers.iter().map(|tokens| Prompt {
        tokens: tokens.clone(),
        max_tokens: room,
        alternatives: 1,
    });
    let prompts: Vec<Prompt> = decide.chain(answer).collect();
    let title = format!("llama.cpp with {name}");
    let query = Query {
        title: &title,
        model,
        adapter,
        exact_cache: false,
        stop: &base.text.stop,
        prompts: &prompts,
    };
    let response = client::ask(environment, &query)?;
    let (decided, answered) = response.results.split_at(reference.prompts.len());
    let theirs: Option<Vec<Vec<f64>>> = decided
        .iter()
        .map(|reply| told(reply, &reference.labels))
        .collect();
    let theirs = theirs.ok_or_else(|| {
        let message = "llama.cpp tells no probabilities where the decision should stand";
        let hint = "the adapter writes halves of characters there: train it longer";
        Stop::new(Exit::Refused, message).hint(hint)
    })?;
    let texts: Vec<String> = answered.iter().map(|reply| reply.text.clone()).collect();
    let well = |text: &&String| reference.task.decided(text).is_some();
    let own_rate = || texts.iter().filter(well).count() as f64 / texts.len() as f64;
    let form_rate = if texts.is_empty() {
        form_rate
    } else {
        Some(own_rate())
    };
    let files = adapter.map_or([model], |adapter| [adapter]);
    let digests: anyhow::Result<Vec<String>> = files.into_iter().map(sha256_of).collect();
    let artefact = judge(
        (name, response.client()),
        digests?,
        (reference, &theirs),
        form_rate,
        settings,
    );
    Ok((artefact, texts))
}

/// Returns the log-probabilities of the labels at a reply's first token, if they are told.
fn told(reply: &Reply, labels: &[u32]) -> Option<Vec<f64>> {
    let steps = reply.steps();
    let others = &steps.first()?.others;
    let least = others.iter().map(|(_, value)| *value).fold(0.0, f64::min);
    let value = |label: &u32| {
        let found = others.iter().find(|(token, _)| token == label);
        found.map_or(least, |(_, value)| *value)
    };
    Some(labels.iter().map(value).collect())
}

/// Compares an engine's log-probabilities with ours.
fn judge(
    (name, engine): (&str, String),
    sha256: Vec<String>,
    (reference, theirs): (&Reference<'_>, &[Vec<f64>]),
    form_rate: Option<f64>,
    settings: &Check,
) -> Artefact {
    let count = reference.ours.len().max(1) as f64;
    let (mut equal, mut apart, mut drift, mut largest) = (0, 0.0, 0.0, 0.0f64);
    let mut counts = vec![0; reference.labels.len()];
    for (ours, theirs) in reference.ours.iter().zip(theirs) {
        let (mine, other) = (argmax(ours), argmax(theirs));
        counts[other] += 1;
        equal += usize::from(mine == other);
        let (p, q) = (softmax(ours), softmax(theirs));
        apart += p.iter().zip(&q).map(|(p, q)| (p - q).abs()).sum::<f64>() / 2.0;
        let difference = (ours[mine] - theirs[mine]).abs();
        drift += difference;
        largest = largest.max(difference);
    }
    let (agreement, distance) = (equal as f64 / count, apart / count);
    let mut reasons = Vec::new();
    if agreement < settings.agreement {
        reasons.push(format!(
            "{:.0} % of its decisions equal ours, at least {:.0} % must",
            agreement * 100.0,
            settings.agreement * 100.0
        ));
    }
    if distance > settings.distance {
        reasons.push(format!(
            "its probabilities are {distance:.3} away from ours on average, at most {} may be",
            settings.distance
        ));
    }
    if let Some(rate) = form_rate.filter(|rate| *rate < settings.form_rate) {
        reasons.push(format!(
            "{:.0} % of its answers have the form, at least {:.0} % must",
            rate * 100.0,
            settings.form_rate * 100.0
        ));
    }
    Artefact {
        name: name.to_owned(),
        engine,
        sha256,
        agreement,
        counts,
        probability_distance: distance,
        log_probability_distance: drift / count,
        largest_log_probability_distance: largest,
        form_rate,
        blessed: reasons.is_empty(),
        reasons,
    }
}

/// What `python/interop/peft_check.py` writes.
#[derive(Deserialize)]
struct Peft {
    request_sha256: String,
    engine: String,
    adapter_sha256: String,
    log_probabilities: Vec<Vec<f64>>,
    answers: Vec<String>,
}

/// Writes the request for other engines into the run directory and, when PEFT has answered this
/// very request, returns its artefact; else what to do to have it.
///
/// # Errors
/// When the request cannot be written, or the answer is no answer to it.
pub(crate) fn peft(
    reference: &Reference<'_>,
    base: &Base,
    folder: &Path,
    settings: &Check,
) -> anyhow::Result<Result<Artefact, PathBuf>> {
    let request = folder.join("request.json");
    files::write_json(&request, &reference.request(base))?;
    let Ok(bytes) = std::fs::read(folder.join("peft.json")) else {
        return Ok(Err(request));
    };
    let unfit = |message: String| {
        let path = folder.join("peft.json");
        let hint = "write it again with python/interop/peft_check.py, or remove it";
        Stop::new(Exit::Usage, format!("`{}`: {message}", path.display())).hint(hint)
    };
    let found: Peft = serde_json::from_slice(&bytes).map_err(|error| unfit(error.to_string()))?;
    if found.request_sha256 != sha256_of(&request)? {
        return Ok(Err(request));
    }
    if found.log_probabilities.len() != reference.ours.len() {
        let (found, wanted) = (found.log_probabilities.len(), reference.ours.len());
        return Err(unfit(format!("it answers {found} of {wanted} prompts")).into());
    }
    let classes = reference.labels.len();
    if let Some(at) = found
        .log_probabilities
        .iter()
        .position(|row| row.len() != classes)
    {
        return Err(unfit(format!("answer {}: expected {classes} values", at + 1)).into());
    }
    let well = |text: &&String| reference.task.decided(text).is_some();
    let answers = &found.answers;
    let rate = answers.iter().filter(well).count() as f64 / answers.len().max(1) as f64;
    Ok(Ok(judge(
        ("peft", found.engine),
        vec![found.adapter_sha256],
        (reference, &found.log_probabilities),
        (!answers.is_empty()).then_some(rate),
        settings,
    )))
}

/// Puts the artefacts together and looks at the reference itself.
pub(crate) fn gate(
    reference: &Reference<'_>,
    mut artefacts: Vec<Artefact>,
    judgement: Judgement,
    settings: &Check,
) -> Gate {
    let classes = reference.task.classes();
    let (mut counts, mut outcomes) = (vec![0; classes.len()], vec![0; classes.len()]);
    for (decided, question) in reference.decided().into_iter().zip(&reference.questions) {
        counts[decided] += 1;
        outcomes[question.label] += 1;
    }
    let one_class = one_class(&classes, &counts, &outcomes);
    let alone = one_class
        .iter()
        .filter(|_| settings.one_class == OneClass::Refuse);
    for reason in judgement.reasons.iter().chain(alone) {
        for artefact in &mut artefacts {
            artefact.blessed = false;
            if !artefact.reasons.contains(reason) {
                artefact.reasons.push(reason.clone());
            }
        }
    }
    Gate {
        decisions: reference.questions.len(),
        classes,
        counts,
        outcomes,
        agreement_wanted: settings.agreement,
        distance_allowed: settings.distance,
        artefacts,
        one_class,
        judgement: Some(judgement),
    }
}

/// Returns what is wrong with a model that always decides alike where outcomes differ.
fn one_class(classes: &[String], counts: &[usize], outcomes: &[usize]) -> Option<String> {
    let all: usize = counts.iter().sum();
    let used = |counts: &[usize]| counts.iter().filter(|count| **count > 0).count();
    if all < ENOUGH || used(counts) != 1 || used(outcomes) < 2 {
        return None;
    }
    let only = counts.iter().position(|count| *count > 0)?;
    Some(format!(
        "all {all} decisions are {}: the adapter does not tell the prompts apart",
        classes.get(only)?
    ))
}

mod judgement;
#[cfg(test)]
mod tests;
