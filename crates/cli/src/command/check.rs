//! `foretune check`: does a real client give the answers we gave?

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::Args;

use super::export;
use crate::arguments::Global;
use crate::exit::{Exit, Stop};
use crate::flow::base::Base;
use crate::flow::llama::{self, Outcome};
use crate::flow::{base, examples, select};
use crate::output::Printed;
use crate::run::Run;
use model::Keeping;

use crate::settings::{Check, Model, Precision, Settings};
use crate::{files, output};

/// Compare the adapter's answers with those of llama.cpp
///
/// Makes a Python environment of its own in the cache directory on first use,
/// with llama.cpp as a prebuilt wheel, and lets it answer held-out prompts with
/// base and adapter: once on an f32 copy of the base, where two correct engines
/// agree closely, and once on the base as shipped, which a user will serve.
/// Exit code 5 when the answers do not agree or do not have the form
/// `DECISION: BUY|SELL|HOLD - reason`.
#[derive(Args, Debug)]
#[command(after_help = "\
The rule, on the f32 copy:
  Answers are equal token by token up to the first position where they differ.
  There, each engine must give the other's token a log-probability at most
  `check.tie` below its own (a numerical tie); nothing after it is compared. An
  equal token's log-probabilities must not differ by more than `check.drift`.
  Everything else is a mismatch, and one mismatch fails the check.
On the base as shipped, `check.form_rate` of the answers must have the form.

Examples:
  foretune check runs/quickstart
  foretune check runs/quickstart --prompts 32 --json")]
pub(crate) struct Typed {
    /// Run directory
    #[arg(value_name = "RUN")]
    run: PathBuf,
    /// Held-out prompts to compare [default: check.prompts of the settings]
    #[arg(long, value_name = "N")]
    prompts: Option<usize>,
}

/// Runs the command.
///
/// # Errors
/// When the run or its base model cannot be used, or Python, pip or the network
/// are missing.
pub(crate) fn run(typed: &Typed, global: &Global) -> anyhow::Result<Printed> {
    let flags: Vec<_> = typed
        .prompts
        .iter()
        .map(|prompts| ("check.prompts", prompts.to_string()))
        .collect();
    let settings = Settings::resolve(global, &flags)?;
    let run = Run::open(&typed.run)?;
    let base = base::load(
        &run.record.model,
        &base::fetch(&run.record.model)?,
        &unrounded(&run.record.settings.model),
    )?;
    export::same_base(&run, &base.sha256)?;
    let outcome = check(&run, &base, &settings.check)?.ok_or_else(|| {
        Stop::new(
            Exit::Model,
            format!(
                "llama.cpp needs the base model as GGUF, `{}` is a directory",
                run.record.model
            ),
        )
        .hint("train on the GGUF form of the model to check it with llama.cpp")
    })?;
    Ok(Printed {
        data: serde_json::to_value(&outcome)?,
        text: text(&outcome),
        stop: refusal(&outcome),
    })
}

/// Returns the error of a check that was not passed.
pub(crate) fn refusal(outcome: &Outcome) -> Option<Stop> {
    (!outcome.passed).then(|| {
        let message = format!(
            "the check was not passed: {} of {} answers differ from those of {}, {:.0} % have the form",
            outcome.mismatches,
            outcome.prompts,
            outcome.client,
            outcome.form_rate * 100.0
        );
        Stop::new(Exit::Refused, message)
    })
}

/// Checks a run and writes `check.json`; nothing to do for a base model that
/// llama.cpp cannot load.
///
/// # Errors
/// As [`llama::check`].
pub(crate) fn check(run: &Run, base: &Base, settings: &Check) -> anyhow::Result<Option<Outcome>> {
    let Some(gguf) = &base.gguf else {
        return Ok(None);
    };
    if !run.gguf().exists() {
        export::gguf(run, base.decoder.config(), &run.gguf())?;
    }
    let (dataset, _) = examples::read(&run.dataset())?;
    let apart = select::decisions(&dataset.test, dataset.settings.horizon(), 0);
    let chosen: Vec<_> = select::evenly(&apart, settings.prompts).collect();
    if chosen.len() < settings.prompts {
        output::warn(&format!("only {} held-out prompts are there", chosen.len()));
    }
    let adapter = run.adapter(base.decoder.config())?;
    let outcome = llama::check(base, gguf, &adapter, &run.gguf(), &chosen, settings)?;
    files::write_json(&run.folder.join("check.json"), &outcome)?;
    Ok(Some(outcome))
}

/// Returns the outcome in plain words.
pub(crate) fn text(outcome: &Outcome) -> String {
    let mut out = format!(
        "{}: {} of {} answers of {} equal ours to the end, {} up to a numerical tie, {} differ (f32); as shipped {:.0} % have the form and {:.0} % decide as we do\n",
        if outcome.passed { "passed" } else { "failed" },
        outcome.exact,
        outcome.prompts,
        outcome.client,
        outcome.ties,
        outcome.mismatches,
        outcome.form_rate * 100.0,
        outcome.served_agreement * 100.0
    );
    for answer in &outcome.answers {
        if let (llama_verdict, Some(difference)) =
            (answer.comparison.verdict, &answer.comparison.difference)
            && llama_verdict == crate::flow::compare::Verdict::Mismatch
        {
            let _ = writeln!(
                out,
                "{}: differs at token {}\n  ours:   {}\n  theirs: {}",
                answer.id, difference.position, answer.ours, answer.theirs
            );
        }
    }
    out
}

/// llama.cpp computes in f32 on the base as its file has it; so must we, to be compared.
fn unrounded(settings: &Model) -> Model {
    Model {
        keep: match settings.keep {
            Keeping::Nf4 => Keeping::Stored,
            other => other,
        },
        precision: Precision::F32,
        ..settings.clone()
    }
}
