//! `foretune evaluate`: did the adapter learn anything that holds out of sample?

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::Args;
use market::Timestamp;
use serve::evaluation::Verdict;
use serve::evaluation::signals::Score;
use serve::report::Report;
use serve::report::signals::{self as page, SignalReport};

use super::{evaluate_log, export};
use crate::arguments::Global;
use crate::exit::{Exit, Stop};
use crate::flow::evaluation::{self, Input};
use crate::flow::llama::Outcome;
use crate::flow::{base, examples, signals};
use crate::output::Printed;
use crate::run::Run;
use crate::settings::{AnswerForm, Settings};

/// Why `--gate` refuses.
const REFUSED: &str = "the edge over the majority class is not above zero";

/// Why `--gate` refuses a judge of signals.
const NO_GAIN: &str = "its probabilities do not say more than the rate alone";

/// Judge the adapter on the held-out span and write the report
///
/// Scores base model, adapter, majority class, persistence and a logistic
/// regression on the same non-overlapping decisions of the test part, with
/// time-block bootstrap intervals. Probabilities come from the logits of the
/// decision's tokens and are calibrated on the validation part.
///
/// A run that was trained on a bridge is judged by the signals of its test part:
/// it reasons about each, its probability of APPROVE is calibrated on the
/// validation part, and base model, the evidence's certainty, the ensemble's
/// confidence and the rate alone are scored beside it, after costs.
///
/// With --log it judges a shadow log instead: promote a challenger, keep the
/// champion or roll back, by the rule laid down before the first decision. The
/// verdict may be asked for every day.
#[derive(Args, Debug)]
#[command(after_help = "\
Writes into the run directory:
  report.html, report.json   the page and its numbers
  decisions.jsonl            every arm's decisions with probabilities and outcomes
and appends to trials.jsonl beside the run directory (setting evaluate.ledger) what was tried: the
best of many trials looks good by luck.

Examples:
  foretune evaluate runs/quickstart
  foretune evaluate runs/quickstart --json | jq '.arms[] | {name, accuracy}'
  foretune evaluate runs/quickstart --gate    exit code 5 unless the edge is real
  foretune evaluate runs/quickstart --temperature 0.7 --top-p 0.9 --answer-form decision
  foretune evaluate --log shadow --knowledge-cutoff 2024-06-01
  foretune evaluate --log shadow --page verdict.html
  foretune evaluate --log shadow --json | jq '{verdict, arm, reasons}'")]
pub(crate) struct Typed {
    /// Run directory
    #[arg(
        value_name = "RUN",
        required_unless_present = "log",
        conflicts_with = "log"
    )]
    run: Option<PathBuf>,
    /// Judge the shadow log in this directory instead of a run
    #[arg(long, value_name = "DIR")]
    log: Option<PathBuf>,
    /// With --log: also score before and after this time, the end of what the base model may have
    /// read (such as 2024-06-01) [default: shadow.knowledge_cutoff]
    #[arg(long, value_name = "TIME", requires = "log")]
    knowledge_cutoff: Option<Timestamp>,
    /// With --log: write the verdict as a self-contained HTML page
    #[arg(long, value_name = "FILE", requires = "log", conflicts_with = "run")]
    page: Option<PathBuf>,
    /// Exit with code 5 unless the interval of the edge over the majority class is above zero; with
    /// --log, unless the verdict is to promote
    #[arg(long)]
    gate: bool,
    #[command(flatten)]
    answers: TypedAnswers,
}

/// How the answers shown on the page are written; the scores do not depend on it.
#[derive(Args, Debug)]
#[command(next_help_heading = "Answers shown on the page")]
struct TypedAnswers {
    /// Draw tokens at this temperature; 0 takes the most probable one [default: answers.temperature]
    #[arg(long, value_name = "T")]
    temperature: Option<f64>,
    /// Draw from so many most probable tokens; 0 for all [default: answers.top_k]
    #[arg(long, value_name = "N")]
    top_k: Option<usize>,
    /// Draw from the most probable tokens up to this probability [default: answers.top_p]
    #[arg(long, value_name = "P")]
    top_p: Option<f64>,
    /// Seed of the draws [default: answers.seed]
    #[arg(long, value_name = "N")]
    answer_seed: Option<u64>,
    /// What an answer must begin with [default: answers.form]
    #[arg(long, value_name = "FORM")]
    answer_form: Option<AnswerForm>,
}

impl TypedAnswers {
    /// Returns the settings that the flags set.
    fn settings(&self) -> Vec<(&'static str, String)> {
        let form = self.answer_form.map(|form| match form {
            AnswerForm::Free => "free".to_owned(),
            AnswerForm::Decision => "decision".to_owned(),
        });
        [
            (
                "answers.temperature",
                self.temperature.map(|t| t.to_string()),
            ),
            ("answers.top_k", self.top_k.map(|k| k.to_string())),
            ("answers.top_p", self.top_p.map(|p| p.to_string())),
            (
                "answers.seed",
                self.answer_seed.map(|seed| seed.to_string()),
            ),
            ("answers.form", form),
        ]
        .into_iter()
        .filter_map(|(key, value)| Some((key, value?)))
        .collect()
    }
}

/// Runs the command.
///
/// # Errors
/// When the run, its data set or its base model cannot be used, or on Ctrl-C.
pub(crate) fn run(typed: &Typed, global: &Global) -> anyhow::Result<Printed> {
    let folder = match (&typed.log, &typed.run) {
        (Some(log), _) => {
            let settings = Settings::resolve(global, &[])?;
            let cutoff = typed.knowledge_cutoff.or(settings.shadow.knowledge_cutoff);
            return evaluate_log::run(log, cutoff, typed.gate, typed.page.as_deref());
        }
        (None, Some(run)) => run,
        (None, None) => return Err(Stop::new(Exit::Usage, "name a run, or a log by --log").into()),
    };
    let settings = Settings::resolve(global, &typed.answers.settings())?;
    let run = Run::open(folder)?;
    if dataset::bridge::is_bridge(&run.dataset()) {
        return judge(&settings, &run, typed.gate);
    }
    let (dataset, world) = examples::read(&run.dataset())?;
    let base = base::load(
        &run.record.model,
        &base::fetch(&run.record.model)?,
        &run.record.settings.model,
    )?;
    export::same_base(&run, &base.sha256)?;
    let adapter = run.adapter(base.decoder.config())?;
    let check = earlier_check(&run)?;
    let warnings: Vec<String> = match &check {
        Some(_) => Vec::new(),
        None => vec!["the adapter was not compared with llama.cpp (`foretune check`)".to_owned()],
    };
    let settings = Settings {
        train: run.record.settings.train.clone(),
        ..settings
    };
    let evaluated = evaluation::evaluate(
        &settings,
        Input {
            run: &run,
            base: &base,
            adapter: &adapter,
            dataset: &dataset,
            world: world.as_ref(),
            check: check.as_ref(),
            warnings: &warnings,
            timings: Vec::new(),
        },
    )?;
    let edge = evaluated.report.evaluation.edge_over_majority_interval;
    let refused = typed.gate && edge.map(Verdict::of) != Some(Verdict::Better);
    let mut text = text(&evaluated.report);
    let stop = refused.then(|| Stop::new(Exit::Refused, REFUSED));
    if refused {
        let _ = writeln!(text, "refused: {REFUSED}");
    }
    let _ = write!(text, "page: {}", evaluated.html.display());
    Ok(Printed {
        data: serde_json::to_value(&evaluated.report)?,
        text,
        stop,
    })
}

/// Judges a run that was trained on a bridge.
fn judge(settings: &Settings, run: &Run, gate: bool) -> anyhow::Result<Printed> {
    let path = base::fetch(&run.record.model)?;
    let base = base::load(&run.record.model, &path, &run.record.settings.model)?;
    export::same_base(run, &base.sha256)?;
    let adapter = run.adapter(base.decoder.config())?;
    let evaluated = signals::evaluate(settings, run, &base, &adapter)?;
    let (sign, finding) = page::finding(&evaluated.report.evaluation);
    let refused = gate && sign <= 0;
    let mut text = signals_text(&evaluated.report);
    let _ = writeln!(text, "- {finding}");
    if refused {
        let _ = writeln!(text, "refused: {NO_GAIN}");
    }
    let _ = write!(text, "page: {}", evaluated.html.display());
    Ok(Printed {
        data: serde_json::to_value(&evaluated.report)?,
        text,
        stop: refused.then(|| Stop::new(Exit::Refused, NO_GAIN)),
    })
}

/// Returns the arms as a table.
fn signals_text(report: &SignalReport) -> String {
    let evaluation = &report.evaluation;
    let mut out = format!(
        "{} signals in {} blocks of time, {} to {}; {:.1} % paid after costs, {:+.1} bp each; {:.0} % intervals\n",
        evaluation.signals,
        evaluation.blocks,
        evaluation.span.0,
        evaluation.span.1,
        evaluation.paid * 100.0,
        evaluation.net_of_all * 1e4,
        evaluation.level * 100.0
    );
    let _ = writeln!(
        out,
        "{:<11} {:>8} {:>22} {:>28} {:>24}",
        "", "approved", "right %", "Brier gain x 1000", "net over all, bp"
    );
    for arm in &evaluation.arms {
        let cell = |score: Score, scale: f64, decimals: usize| {
            format!(
                "{:.decimals$} [{:.decimals$}, {:.decimals$}]",
                score.value * scale,
                score.interval.low * scale,
                score.interval.high * scale
            )
        };
        let _ = writeln!(
            out,
            "{:<11} {:>8} {:>22} {:>28} {:>24}",
            arm.name,
            arm.approved,
            cell(arm.accuracy, 100.0, 1),
            cell(arm.brier_gain, 1e3, 2),
            cell(arm.net_gain, 1e4, 1)
        );
    }
    let answers = &report.answers;
    let _ = writeln!(
        out,
        "- of {} answers {:.0} % have the form, {:.0} % name no number that their prompt does not show",
        answers.read,
        answers.form_rate * 100.0,
        answers.grounded * 100.0
    );
    out
}

fn earlier_check(run: &Run) -> Result<Option<Outcome>, Stop> {
    let path = run.folder.join("check.json");
    let Ok(text) = std::fs::read_to_string(&path) else {
        return Ok(None);
    };
    serde_json::from_str(&text).map(Some).map_err(|error| {
        Stop::new(Exit::Usage, format!("`{}`: {error}", path.display()))
            .hint("run `foretune check` again")
    })
}

/// Returns the arms as a table and the findings as sentences.
pub(crate) fn text(report: &Report) -> String {
    let evaluation = &report.evaluation;
    let percent = (evaluation.evaluation.level * 100.0).round();
    let mut out = format!(
        "{} decisions in {} independent blocks, {} to {}; {percent:.0} % intervals\n",
        evaluation.evaluation.n,
        evaluation.evaluation.effective_n,
        evaluation.evaluation.from,
        evaluation.evaluation.to
    );
    let _ = writeln!(
        out,
        "{:<12} {:>24} {:>24} {:>22}",
        "", "accuracy %", "balanced %", "log loss"
    );
    for arm in &evaluation.arms {
        let share = |value: f64, interval: stats::Interval| {
            format!(
                "{:.1} [{:.1}, {:.1}]",
                value * 100.0,
                interval.low * 100.0,
                interval.high * 100.0
            )
        };
        let loss = match (arm.log_loss, arm.log_loss_interval) {
            (Some(value), Some(interval)) => {
                format!("{value:.3} [{:.3}, {:.3}]", interval.low, interval.high)
            }
            _ => "-".to_owned(),
        };
        let _ = writeln!(
            out,
            "{:<12} {:>24} {:>24} {:>22}",
            arm.name,
            share(arm.accuracy, arm.accuracy_interval),
            share(arm.balanced_accuracy, arm.balanced_accuracy_interval),
            loss
        );
    }
    for finding in &evaluation.findings {
        let _ = writeln!(out, "- {}", finding.text);
    }
    if let Some(standing) = &report.trials {
        let _ = writeln!(out, "- {}", serve::report::trials(standing));
    }
    out
}
