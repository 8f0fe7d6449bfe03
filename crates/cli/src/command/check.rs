//! `foretune check`: does a real client give the answers we gave?

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use model::{Keeping, Lora, generate};
use weights::convert::{self, FileType, Job};
use weights::gguf::TensorType;
use weights::{BaseModel, WeightsError};

use super::export;
use crate::arguments::Global;
use crate::exit::{Exit, Stop};
use crate::flow::base::Base;
use crate::flow::gate::{self, Artefact, Gate, Reference};
use crate::flow::llama::{self, Asked, Outcome};
use crate::flow::question::{self, Question, Task};
use crate::flow::reasoned::{self, Reasoned};
use crate::flow::{base, client, select, sheet};
use crate::output::Printed;
use crate::progress::Progress;
use crate::run::Run;
use crate::settings::{Check, Model, Precision, Settings};
use crate::{files, interrupt, output};

/// Compare the adapter's answers with those of llama.cpp and PEFT
///
/// Makes a Python environment of its own in the cache directory on first use,
/// with llama.cpp as a prebuilt wheel, and lets it answer held-out prompts with
/// base and adapter: once on an f32 copy of the base, where two correct engines
/// agree closely, and once on the base as shipped, which a user will serve. Then
/// it compares decisions: of the LoRA GGUF, of a merged GGUF, and of PEFT where
/// it has answered. Exit code 5 when answers do not agree or do not have the form
/// `DECISION: BUY|SELL|HOLD - reason`, when the decisions of a file drift, or when
/// the model always decides alike.
#[derive(Args, Debug)]
#[command(after_help = "\
The rule, on the f32 copy:
  Answers are equal token by token up to the first position where they differ.
  There, each engine must give the other's token a log-probability at most
  `check.tie` below its own (a numerical tie); nothing after it is compared. An
  equal token's log-probabilities must not differ by more than `check.drift`.
  Everything else is a mismatch, and one mismatch fails the check.
On the base as shipped, `check.form_rate` of the answers must have the form.
Of every file, at least `check.agreement` of the decisions on `check.review` prompts
must equal the trained model's, and its probabilities of the classes may lie
`check.distance` from the trained model's on average.
Of the trained model's own answers to them, `check.form_rate` must have the form, and
`check.grounded` name a value of their prompt and no number that it does not show. Where
a bridge says what the evidence alone speaks for, its decisions may not go against it
more often than the outcomes do, beyond chance.

Written into the run directory:
  check.json           everything compared
  check/answers.csv    answers to review, with empty columns for your verdict
  check/answers.html   the same with the prompts, to read or to print
  check/request.json   what python/interop/peft_check.py answers with PEFT

Examples:
  foretune check runs/quickstart
  foretune check runs/quickstart --merged q4_k_m
  foretune check runs/quickstart --artefact signal.gguf
  foretune check runs/quickstart --prompts 32 --json")]
pub(crate) struct Typed {
    /// Run directory
    #[arg(value_name = "RUN")]
    run: PathBuf,
    /// Held-out prompts to compare word by word [default: check.prompts of the settings]
    #[arg(long, value_name = "N")]
    prompts: Option<usize>,
    /// Type of the merged model to compare: f16, bf16, q8_0, q4_k_m, or none
    #[arg(long, value_name = "TYPE", default_value = "q8_0", value_parser = merged_type)]
    merged: Merged,
    /// A merged GGUF file to compare, instead of one made for it
    #[arg(long, value_name = "FILE", conflicts_with = "merged")]
    artefact: Option<PathBuf>,
}

/// Which merged model to compare.
#[derive(Clone, Copy, Debug)]
enum Merged {
    Of(FileType),
    None,
}

fn merged_type(text: &str) -> Result<Merged, String> {
    match text {
        "none" => Ok(Merged::None),
        _ => text.parse().map(Merged::Of),
    }
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
    let path = base::fetch(&run.record.model)?;
    let base = base::load(
        &run.record.model,
        &path,
        &unrounded(&run.record.settings.model),
    )?;
    export::same_base(&run, &base.sha256)?;
    let scratch = tempfile::Builder::new()
        .prefix("foretune-check-")
        .tempdir()
        .context("cannot create a temporary directory")?;
    let files = BaseModel::open(&path)?;
    let gguf = match &base.gguf {
        Some(gguf) => gguf.clone(),
        None => converted(&files, scratch.path())?,
    };
    let outcome = Full {
        run: &run,
        base: &base,
        files: &files,
        gguf: &gguf,
        scratch: scratch.path(),
        settings: &settings.check,
    }
    .check(typed)?;
    Ok(Printed {
        data: serde_json::to_value(&outcome)?,
        text: text(&outcome),
        stop: refusal(&outcome),
    })
}

/// Converts a directory to the GGUF file that llama.cpp needs, its values kept.
fn converted(base: &BaseModel, scratch: &Path) -> anyhow::Result<PathBuf> {
    let stored = base.raw("model.embed_tokens.weight");
    let file_type = match stored.map(|raw| raw.tensor_type) {
        Some(TensorType::F16) => FileType::F16,
        Some(TensorType::BF16) => FileType::BF16,
        _ => FileType::F32,
    };
    let path = scratch.join("base.gguf");
    let job = Job {
        base,
        adapter: None,
        file_type,
        name: "base",
    };
    let mut bar = Progress::start("convert the base model", "values", None);
    let written = convert::write(&path, job, &mut |done, total| {
        bar.set_total(total);
        bar.set(done);
        interrupt::flow()
    });
    bar.finish();
    match written {
        Err(WeightsError::Interrupted) => return Err(interrupt::stopped().into()),
        written => written?,
    };
    Ok(path)
}

/// What the whole check works on.
struct Full<'a> {
    run: &'a Run,
    base: &'a Base,
    files: &'a BaseModel,
    /// The base model as llama.cpp loads it.
    gguf: &'a Path,
    scratch: &'a Path,
    settings: &'a Check,
}

impl Full<'_> {
    fn check(&self, typed: &Typed) -> anyhow::Result<Outcome> {
        let (run, base, settings) = (self.run, self.base, self.settings);
        let (task, held) = question::held_out(&run.dataset())?;
        let held: Vec<&Question> = held.iter().collect();
        let review: Vec<&Question> =
            select::evenly(&held, settings.review.max(settings.prompts)).collect();
        let chosen: Vec<&Question> = select::evenly(&review, settings.prompts).collect();
        let asked = Asked {
            task,
            questions: &chosen,
            room: reasoned::room(&base.text, &review, settings.max_new_tokens)?,
        };
        let mut outcome = compare(run, base, self.gguf, &asked, settings)?;
        let adapter = run.adapter(base.decoder.config())?;
        let reasons = match task {
            Task::Trade => None,
            Task::Signal => Some(reasoned::answers(
                base,
                Some(&adapter),
                &review,
                asked.room,
            )?),
        };
        let reference = Reference::compute(base, &adapter, review, reasons.as_deref())?;
        let answers = self.answers(&reference, &adapter, &outcome, reasons.as_deref())?;
        let judgement = gate::judgement(
            task,
            &reference.questions,
            &answers,
            &reference.decided(),
            settings,
        );
        let mut artefacts = vec![self.lora(&reference, &outcome)?];
        let mut served = Vec::new();
        if let Some((artefact, answers)) = self.merged(typed, &reference, &asked)? {
            artefacts.push(artefact);
            served = chosen.iter().map(|q| q.id.clone()).zip(answers).collect();
        }
        let folder = run.folder.join("check");
        match gate::peft(&reference, base, &folder, settings)? {
            Ok(artefact) => artefacts.push(artefact),
            Err(request) => output::note(&format!(
                "  PEFT is not compared: python/interop/peft_check.py answers {}",
                request.display()
            )),
        }
        let gate = gate::gate(&reference, artefacts, judgement, settings);
        if let Some(reason) = &gate.one_class {
            output::warn(reason);
        }
        outcome.gate = Some(Box::new(gate));
        files::write_json(&run.folder.join("check.json"), &outcome)?;
        write_sheet(&folder, &reference, &answers, &served)?;
        Ok(outcome)
    }

    /// Compares the adapter beside the base as shipped.
    fn lora(&self, reference: &Reference<'_>, outcome: &Outcome) -> anyhow::Result<Artefact> {
        let adapter = self.run.gguf();
        let named = ("lora-gguf", self.gguf, Some(adapter.as_path()));
        let environment = client::environment()?;
        let form = Some(outcome.form_rate);
        let (artefact, _) = gate::llama(
            &environment,
            reference,
            self.base,
            named,
            (&[], 0, form),
            self.settings,
        )?;
        Ok(artefact)
    }

    /// Compares a merged model, made for it or given.
    fn merged(
        &self,
        typed: &Typed,
        reference: &Reference<'_>,
        asked: &Asked<'_>,
    ) -> anyhow::Result<Option<(Artefact, Vec<String>)>> {
        let made = self.scratch.join("merged.gguf");
        let (name, path) = match (&typed.artefact, typed.merged) {
            (Some(given), _) => {
                // What is no model of this base's kind is told apart before llama.cpp sees it.
                let found = BaseModel::open(given)?;
                same_shape(given, &found, self.files)?;
                let name = given.file_name().unwrap_or_default().to_string_lossy();
                (format!("gguf {name}"), given.as_path())
            }
            (None, Merged::Of(kind)) => {
                export::write_merged(self.run, self.files, kind, &made)?;
                (format!("gguf {kind}"), made.as_path())
            }
            (None, Merged::None) => return Ok(None),
        };
        let prompts: anyhow::Result<Vec<Vec<u32>>> = asked
            .questions
            .iter()
            .map(|question| self.base.text.prompt(&question.prompt))
            .collect();
        let found = gate::llama(
            &client::environment()?,
            reference,
            self.base,
            (&name, path, None),
            (&prompts?, asked.room, None),
            self.settings,
        )?;
        Ok(Some(found))
    }

    /// Returns the model's answer to every question; those that are not there yet are written.
    fn answers(
        &self,
        reference: &Reference<'_>,
        adapter: &Lora,
        outcome: &Outcome,
        reasons: Option<&[Reasoned]>,
    ) -> anyhow::Result<Vec<String>> {
        if let Some(reasons) = reasons {
            return Ok(reasons.iter().map(|answer| answer.text.clone()).collect());
        }
        let mut answers: BTreeMap<&str, String> = outcome
            .answers
            .iter()
            .map(|answer| (answer.id.as_str(), answer.ours.clone()))
            .collect();
        let missing: Vec<&Question> = reference
            .questions
            .iter()
            .copied()
            .filter(|question| !answers.contains_key(question.id.as_str()))
            .collect();
        let text = &self.base.text;
        let prompts: anyhow::Result<Vec<Vec<u32>>> = missing
            .iter()
            .map(|question| text.prompt(&question.prompt))
            .collect();
        let prompts = prompts?;
        let mut bar = Progress::start("answer for review", "prompts", Some(prompts.len() as u64));
        let generated = generate::greedy(
            &self.base.decoder,
            Some(adapter),
            &prompts,
            self.settings.max_new_tokens,
            &text.stop,
            1,
            &mut |done, _| {
                bar.set(done as u64);
                interrupt::flow()
            },
        );
        bar.finish();
        for (question, answer) in missing.iter().zip(&generated?) {
            let written = text.tokenizer.decode_plain(&answer.tokens())?;
            answers.insert(question.id.as_str(), written);
        }
        let of = |question: &&Question| answers.get(question.id.as_str()).cloned();
        Ok(reference
            .questions
            .iter()
            .map(|question| of(question).unwrap_or_default())
            .collect())
    }
}

/// Writes the sheet for a person's review.
fn write_sheet(
    folder: &Path,
    reference: &Reference<'_>,
    answers: &[String],
    served: &[(String, String)],
) -> anyhow::Result<()> {
    let pairs = reference.questions.iter().zip(answers);
    let rows: Vec<sheet::Row> = pairs
        .map(|(question, answer)| sheet::Row {
            id: question.id.clone(),
            prompt: question.prompt.clone(),
            answer: answer.clone(),
            served: served
                .iter()
                .find(|(id, _)| *id == question.id)
                .map(|(_, text)| text.clone()),
        })
        .collect();
    let [csv, _] = sheet::write(folder, &reference.task.form(), &rows)?;
    output::note(&format!("  answers to review: {}", csv.display()));
    Ok(())
}

/// Refuses a file that cannot be this base model with an adapter merged in.
fn same_shape(path: &Path, found: &BaseModel, base: &BaseModel) -> Result<(), Stop> {
    let shapes = |model: &BaseModel| -> Vec<(String, Vec<usize>)> {
        model
            .tensor_names()
            .filter(|name| *name != "lm_head.weight")
            .map(|name| (name.to_owned(), model.shape(name).unwrap_or(&[]).to_vec()))
            .collect()
    };
    if shapes(found) == shapes(base) {
        return Ok(());
    }
    let message = format!(
        "`{}` has other tensors than the base model `{}`",
        path.display(),
        base.path().display()
    );
    let hint = "name a file that `foretune export gguf` wrote for this run";
    Err(Stop::new(Exit::Model, message).hint(hint))
}

/// Returns the error of a check that was not passed.
pub(crate) fn refusal(outcome: &Outcome) -> Option<Stop> {
    if !outcome.passed {
        let message = format!(
            "the check was not passed: {} of {} answers differ from those of {}, {:.0} % have the form",
            outcome.mismatches,
            outcome.prompts,
            outcome.client,
            outcome.form_rate * 100.0
        );
        return Some(Stop::new(Exit::Refused, message));
    }
    let artefacts = outcome.gate.iter().flat_map(|gate| &gate.artefacts);
    let refused: Vec<String> = artefacts
        .filter(|artefact| !artefact.blessed)
        .map(|artefact| format!("{}: {}", artefact.name, artefact.reasons.join("; ")))
        .collect();
    (!refused.is_empty()).then(|| {
        let message = format!("not blessed: {}", refused.join(". "));
        Stop::new(Exit::Refused, message).hint(
            "serve another form of the adapter (`foretune export gguf --type f16`), train longer, or \
             say with `check.agreement`, `check.distance` and `check.one_class` what you accept",
        )
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
    let (task, held) = question::held_out(&run.dataset())?;
    let held: Vec<&Question> = held.iter().collect();
    let chosen: Vec<&Question> = select::evenly(&held, settings.prompts).collect();
    let asked = Asked {
        task,
        questions: &chosen,
        room: reasoned::room(&base.text, &chosen, settings.max_new_tokens)?,
    };
    let outcome = compare(run, base, gguf, &asked, settings)?;
    files::write_json(&run.folder.join("check.json"), &outcome)?;
    Ok(Some(outcome))
}

/// Compares answers word by word with llama.cpp on `gguf`, the base model.
fn compare(
    run: &Run,
    base: &Base,
    gguf: &Path,
    asked: &Asked<'_>,
    settings: &Check,
) -> anyhow::Result<Outcome> {
    if !run.gguf().exists() {
        export::gguf(run, base.decoder.config(), &run.gguf())?;
    }
    let count = asked.questions.len();
    if count < settings.prompts {
        output::warn(&format!("only {count} held-out prompts are there"));
    }
    let adapter = run.adapter(base.decoder.config())?;
    llama::check(base, gguf, &adapter, &run.gguf(), asked, settings)
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
    if let Some(gate) = &outcome.gate {
        gate_text(&mut out, gate);
    }
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

/// Tells how far decisions drift, an artefact a line.
fn gate_text(out: &mut String, gate: &Gate) {
    let counts: Vec<String> = gate
        .counts
        .iter()
        .zip(&gate.classes)
        .map(|(count, class)| format!("{count} {class}"))
        .collect();
    let _ = writeln!(out, "{} decisions: {}", gate.decisions, counts.join(", "));
    if let Some(judgement) = &gate.judgement {
        let _ = write!(
            out,
            "{} own answers: {:.0} % have the form, {:.0} % name values of their prompt, {:.0} % no other number",
            judgement.answers,
            judgement.form_rate * 100.0,
            judgement.uses_values * 100.0,
            judgement.grounded * 100.0
        );
        if let Some(evidence) = judgement.evidence {
            let _ = write!(
                out,
                "; {:.0} % decide as the evidence speaks ({:.0} % of the outcomes did)",
                evidence.agreement * 100.0,
                evidence.outcomes * 100.0
            );
        }
        out.push('\n');
    }
    for artefact in &gate.artefacts {
        let _ = writeln!(
            out,
            "  {:<14} {}  {:.0} % decide alike, probabilities {:.4} apart, log-probabilities {:.4} nats",
            artefact.name,
            if artefact.blessed {
                "blessed"
            } else {
                "refused"
            },
            artefact.agreement * 100.0,
            artefact.probability_distance,
            artefact.log_probability_distance
        );
        for reason in &artefact.reasons {
            let _ = writeln!(out, "    {reason}");
        }
    }
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
