//! Gate 4: do the files a user may load decide as the trained model does?
//!
//! Every engine gets the same held-out prompts with the answer's first tokens (`DECISION:`)
//! already written, and is asked for the log-probabilities of what comes next. The decision is the
//! most probable of BUY, SELL and HOLD there. Our engine, which computes in f32 on the base's own
//! values, is the reference; an artefact whose decisions differ from it more often, or whose
//! probabilities lie further away, than the settings allow is not blessed.

use std::path::{Path, PathBuf};

use dataset::{Decision, Example};
use model::{Lora, score};
use serde::{Deserialize, Serialize};
use serde_json::json;
use stats::{argmax, softmax};

use super::base::Base;
use super::client::{self, Prompt, Query, Reply};
use crate::exit::{Exit, Stop};
use crate::progress::Progress;
use crate::python::Environment;
use crate::run::sha256_of;
use crate::settings::{Check, OneClass};
use crate::{files, interrupt};

/// Most probable tokens asked for at a decision; a label below them counts as the last of them.
const TOLD: usize = 512;
/// Decisions below which a single class says nothing.
const ENOUGH: usize = 12;

/// How far decisions drift.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Gate {
    /// Decisions compared.
    pub(crate) decisions: usize,
    /// Of our engine's: BUY, SELL, HOLD.
    pub(crate) counts: [usize; 3],
    /// Of the outcomes, in the same order.
    pub(crate) outcomes: [usize; 3],
    /// Least share of equal decisions.
    pub(crate) agreement_wanted: f64,
    /// Largest mean distance of the probabilities.
    pub(crate) distance_allowed: f64,
    /// The artefacts compared.
    pub(crate) artefacts: Vec<Artefact>,
    /// Why no artefact of this adapter is blessed, if so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) one_class: Option<String>,
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
    /// Of its decisions: BUY, SELL, HOLD.
    pub(crate) counts: [usize; 3],
    /// Mean of half the sum of differences between its three probabilities and ours.
    pub(crate) probability_distance: f64,
    /// Mean difference, in nats, between its log-probability of the decision we take and ours.
    pub(crate) log_probability_distance: f64,
    /// The largest such difference.
    pub(crate) largest_log_probability_distance: f64,
    /// Share of its answers of the form `DECISION: BUY|SELL|HOLD - ...`, if it wrote any.
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
    /// The examples, in time order.
    pub(crate) examples: Vec<&'a Example>,
    /// Prompt tokens with the answer's first tokens.
    prompts: Vec<Vec<u32>>,
    /// The token of each label that follows.
    labels: [u32; 3],
    /// Our log-probabilities of the three.
    ours: Vec<[f64; 3]>,
}

impl<'a> Reference<'a> {
    /// Computes what our engine says.
    ///
    /// # Errors
    /// When the tokenizer does not tell the labels apart by their first token, or on Ctrl-C.
    pub(crate) fn compute(
        base: &Base,
        adapter: &Lora,
        examples: Vec<&'a Example>,
    ) -> anyhow::Result<Self> {
        let decisions = &base.text.decisions;
        let first: Vec<u32> = decisions.labels.iter().map(|label| label[0]).collect();
        let labels = match first[..] {
            [buy, sell, hold] if buy != sell && sell != hold && buy != hold => [buy, sell, hold],
            _ => {
                let message = "BUY, SELL and HOLD begin with the same token in this model";
                return Err(Stop::new(Exit::Model, message).into());
            }
        };
        let asked = base.text.prompts(&examples)?;
        let tokens = score::DecisionTokens {
            lead: decisions.lead.clone(),
            labels: labels.iter().map(|label| vec![*label]).collect(),
        };
        let mut bar = Progress::start("decide", "prompts", Some(asked.len() as u64));
        let scores = score::decisions(
            &base.decoder,
            Some(adapter),
            &asked,
            &tokens,
            &mut |done, _| {
                bar.set(done as u64);
                interrupt::flow()
            },
        );
        bar.finish();
        let three = |scores: Vec<f64>| -> [f64; 3] { std::array::from_fn(|at| scores[at]) };
        Ok(Self {
            prompts: asked
                .into_iter()
                .map(|prompt| [&prompt[..], &tokens.lead[..]].concat())
                .collect(),
            ours: scores?.into_iter().map(three).collect(),
            labels,
            examples,
        })
    }

    /// Returns our decision on an example.
    pub(crate) fn decision(&self, at: usize) -> Decision {
        Decision::ALL[argmax(&self.ours[at])]
    }

    /// Returns what another engine needs to be compared, as a JSON document.
    fn request(&self, base: &Base) -> serde_json::Value {
        let prompts: Vec<_> = self
            .examples
            .iter()
            .zip(&self.prompts)
            .map(|(example, tokens)| json!({"id": example.id, "tokens": tokens}))
            .collect();
        json!({"schema": 1, "model": base.source, "model_sha256": base.sha256,
               "labels": self.labels, "lead": base.text.decisions.lead.len(),
               "stop": base.text.stop, "prompts": prompts})
    }
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
    (answers, form_rate): (&[Vec<u32>], Option<f64>),
    settings: &Check,
) -> anyhow::Result<(Artefact, Vec<String>)> {
    let decide = reference.prompts.iter().map(|tokens| Prompt {
        tokens: tokens.clone(),
        max_tokens: 1,
        alternatives: TOLD,
    });
    let answer = answers.iter().map(|tokens| Prompt {
        tokens: tokens.clone(),
        max_tokens: settings.max_new_tokens,
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
    let theirs: Option<Vec<[f64; 3]>> = decided
        .iter()
        .map(|reply| told(reply, reference.labels))
        .collect();
    let theirs = theirs.ok_or_else(|| {
        let message = "llama.cpp tells no probabilities where BUY, SELL or HOLD should stand";
        let hint = "the adapter writes halves of characters there: train it longer";
        Stop::new(Exit::Refused, message).hint(hint)
    })?;
    let texts: Vec<String> = answered.iter().map(|reply| reply.text.clone()).collect();
    let well = |text: &&String| dataset::parse_answer(text.trim()).is_some();
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
fn told(reply: &Reply, labels: [u32; 3]) -> Option<[f64; 3]> {
    let steps = reply.steps();
    let others = &steps.first()?.others;
    let least = others.iter().map(|(_, value)| *value).fold(0.0, f64::min);
    Some(labels.map(|label| {
        let found = others.iter().find(|(token, _)| *token == label);
        found.map_or(least, |(_, value)| *value)
    }))
}

/// Compares an engine's log-probabilities with ours.
fn judge(
    (name, engine): (&str, String),
    sha256: Vec<String>,
    (reference, theirs): (&Reference<'_>, &[[f64; 3]]),
    form_rate: Option<f64>,
    settings: &Check,
) -> Artefact {
    let count = reference.ours.len().max(1) as f64;
    let (mut equal, mut apart, mut drift, mut largest) = (0, 0.0, 0.0, 0.0f64);
    let mut counts = [0; 3];
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
    log_probabilities: Vec<[f64; 3]>,
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
    let well = |text: &&String| dataset::parse_answer(text.trim()).is_some();
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
    settings: &Check,
) -> Gate {
    let (mut counts, mut outcomes) = ([0; 3], [0; 3]);
    for (at, example) in reference.examples.iter().enumerate() {
        counts[reference.decision(at).index()] += 1;
        outcomes[example.label.index()] += 1;
    }
    let one_class = one_class(counts, outcomes);
    if settings.one_class == OneClass::Refuse
        && let Some(reason) = &one_class
    {
        for artefact in &mut artefacts {
            artefact.blessed = false;
            artefact.reasons.push(reason.clone());
        }
    }
    Gate {
        decisions: reference.examples.len(),
        counts,
        outcomes,
        agreement_wanted: settings.agreement,
        distance_allowed: settings.distance,
        artefacts,
        one_class,
    }
}

/// Returns what is wrong with a model that always decides alike where outcomes differ.
fn one_class(counts: [usize; 3], outcomes: [usize; 3]) -> Option<String> {
    let all: usize = counts.iter().sum();
    let classes = |counts: [usize; 3]| counts.iter().filter(|count| **count > 0).count();
    if all < ENOUGH || classes(counts) != 1 || classes(outcomes) < 2 {
        return None;
    }
    Some(format!(
        "all {all} decisions are {}: the adapter does not tell the prompts apart",
        Decision::ALL[argmax(&counts.map(|count| count as f64))]
    ))
}

#[cfg(test)]
mod tests;
