//! Our greedy answers beside those of llama.cpp, which loads the base model's
//! GGUF and the exported adapter as any user would.
//!
//! Two passes. The strict one runs llama.cpp on an f32 copy of the base, where
//! two correct engines agree closely: it judges our arithmetic and the adapter
//! file. The served one runs it on the base as shipped; llama.cpp rounds
//! activations to 8 bits before a product with block-quantised weights, so its
//! answers may drift from the exact ones: it judges what a user will get.

use std::path::Path;

use anyhow::Context;
use model::{Lora, generate};
use serde::{Deserialize, Serialize};

use super::base::Base;
use super::client::{self, Prompt, Query};
use super::compare::{self, Comparison, Step, Verdict};
use super::gate::Gate;
use super::question::{Question, Task};
use crate::interrupt;
use crate::progress::Progress;
use crate::settings::Check;

/// Alternatives kept of each step, on both sides.
const ALTERNATIVES: usize = 10;

/// The rule, as the report states it.
pub(crate) const RULE: &str = "Greedy token ids are equal up to the first position where they differ; \
there, each engine gives the other's token a log-probability at most `tie` nats below its own \
(a numerical tie). Nothing after a tie is compared. Everything else is a mismatch, and so is a \
log-probability of an equal token that drifts by more than `drift` nats. Compared on an f32 copy of \
the base; the base as shipped is judged by form and by equal decisions.";

/// The outcome of a check.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Outcome {
    /// Whether no answer is a mismatch and enough have the form.
    pub(crate) passed: bool,
    /// [`RULE`].
    pub(crate) rule: String,
    /// The tolerance of a tie, nats.
    pub(crate) tie: f64,
    /// The client: package and version.
    pub(crate) client: String,
    /// Prompts compared.
    pub(crate) prompts: usize,
    /// Answers equal to the end.
    pub(crate) exact: usize,
    /// Answers equal up to a numerical tie.
    pub(crate) ties: usize,
    /// Answers that differ otherwise.
    pub(crate) mismatches: usize,
    /// Largest drift in log-probability of an equal token that is allowed, nats.
    pub(crate) drift: f64,
    /// Share of decisions that llama.cpp makes as we do on the base as shipped.
    pub(crate) served_agreement: f64,
    /// Share of llama.cpp's answers on the base as shipped that have the form, such as
    /// `DECISION: BUY|SELL|HOLD - ...`.
    pub(crate) form_rate: f64,
    /// The share wanted.
    pub(crate) form_rate_wanted: f64,
    /// Largest difference in log-probability over all equal tokens, nats.
    pub(crate) largest_drift: f64,
    /// Prompt by prompt.
    pub(crate) answers: Vec<Answer>,
    /// How far decisions drift in what a user may load, where that was compared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) gate: Option<Box<Gate>>,
}

/// One prompt's answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Answer {
    /// The example.
    pub(crate) id: String,
    /// What foretune wrote.
    pub(crate) ours: String,
    /// What llama.cpp wrote on the f32 copy of the base.
    pub(crate) theirs: String,
    /// What llama.cpp wrote on the base as shipped.
    pub(crate) served: String,
    /// How they compare.
    #[serde(flatten)]
    pub(crate) comparison: Comparison,
}

/// What both engines are asked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked<'a> {
    /// What an answer decides.
    pub(crate) task: Task,
    /// The questions.
    pub(crate) questions: &'a [&'a Question],
    /// Tokens of an answer at most.
    pub(crate) room: usize,
}

/// Answers questions with both engines and compares.
///
/// # Errors
/// When the environment or the client fails, or on Ctrl-C. A mismatch is not an
/// error but an [`Outcome`].
pub(crate) fn check(
    base: &Base,
    gguf: &Path,
    adapter: &Lora,
    adapter_gguf: &Path,
    asked: &Asked<'_>,
    settings: &Check,
) -> anyhow::Result<Outcome> {
    let environment = client::environment()?;
    let prompts: anyhow::Result<Vec<Vec<u32>>> = asked
        .questions
        .iter()
        .map(|question| base.text.prompt(&question.prompt))
        .collect();
    let prompts = prompts?;
    let mut bar = Progress::start("answer", "prompts", Some(prompts.len() as u64));
    let ours = generate::greedy(
        &base.decoder,
        Some(adapter),
        &prompts,
        asked.room,
        &base.text.stop,
        ALTERNATIVES,
        &mut |done, _| {
            bar.set(done as u64);
            interrupt::flow()
        },
    );
    bar.finish();
    let ours = ours?;
    let queries: Vec<Prompt> = prompts
        .iter()
        .map(|tokens| Prompt {
            tokens: tokens.clone(),
            max_tokens: asked.room,
            alternatives: ALTERNATIVES,
        })
        .collect();
    let query = Query {
        title: "llama.cpp on the base as shipped",
        model: gguf,
        adapter: Some(adapter_gguf),
        exact_cache: false,
        stop: &base.text.stop,
        prompts: &queries,
    };
    let served = client::ask(&environment, &query)?;
    let folder = tempfile::Builder::new()
        .prefix("foretune-f32-")
        .tempdir()
        .context("cannot create a temporary directory")?;
    let exact = folder.path().join("base-f32.gguf");
    weights::gguf::write_full_precision(&weights::gguf::Gguf::open(gguf)?, &exact)?;
    interrupt::check()?;
    let query = Query {
        title: "llama.cpp on an f32 copy",
        model: &exact,
        exact_cache: true,
        ..query
    };
    let response = client::ask(&environment, &query)?;
    let mut answers = Vec::with_capacity(queries.len());
    for (((question, generated), reply), served) in asked
        .questions
        .iter()
        .zip(&ours)
        .zip(&response.results)
        .zip(&served.results)
    {
        let mut our_steps: Vec<Step> = generated.steps.iter().map(our_step).collect();
        let their_steps = reply.steps();
        if reply.is_cut_short() {
            our_steps.truncate(their_steps.len());
        }
        let ended = generated.stopped || reply.ended();
        answers.push(Answer {
            id: question.id.clone(),
            ours: base.text.tokenizer.decode_plain(&generated.tokens())?,
            theirs: reply.text.clone(),
            served: served.text.clone(),
            comparison: compare::compare(&our_steps, &their_steps, ended, settings.tie),
        });
    }
    Ok(outcome(asked.task, answers, response.client(), settings))
}

fn outcome(task: Task, answers: Vec<Answer>, client: String, settings: &Check) -> Outcome {
    let count = |verdict: Verdict| {
        let of = |answer: &&Answer| answer.comparison.verdict == verdict;
        answers.iter().filter(of).count()
    };
    let share = |test: &dyn Fn(&Answer) -> bool| {
        answers.iter().filter(|answer| test(answer)).count() as f64 / answers.len().max(1) as f64
    };
    let decision = |text: &str| task.decided(text);
    let form_rate = share(&|answer| decision(&answer.served).is_some());
    let served_agreement = share(&|answer| decision(&answer.served) == decision(&answer.ours));
    let drifted = |answer: &&Answer| {
        answer.comparison.verdict != Verdict::Mismatch
            && answer.comparison.largest_drift > settings.drift
    };
    let mismatches = count(Verdict::Mismatch) + answers.iter().filter(drifted).count();
    Outcome {
        passed: mismatches == 0 && form_rate >= settings.form_rate,
        rule: RULE.to_owned(),
        tie: settings.tie,
        drift: settings.drift,
        served_agreement,
        client,
        prompts: answers.len(),
        exact: count(Verdict::Exact),
        ties: count(Verdict::Tie),
        mismatches,
        form_rate,
        form_rate_wanted: settings.form_rate,
        largest_drift: answers
            .iter()
            .map(|answer| answer.comparison.largest_drift)
            .fold(0.0, f64::max),
        answers,
        gate: None,
    }
}

fn our_step(step: &generate::Step) -> Step {
    let chosen = step.top.iter().find(|(token, _)| *token == step.token);
    Step {
        token: step.token,
        log_probability: chosen.map_or(f64::NAN, |(_, value)| f64::from(*value)),
        others: step
            .top
            .iter()
            .map(|(token, value)| (*token, f64::from(*value)))
            .collect(),
    }
}
