//! `foretune report`: the page of one training, from its log.

use std::path::PathBuf;

use clap::Args;

use crate::arguments::Global;
use crate::files;
use crate::flow::training_page;
use crate::output::Printed;
use serve::report::training::{self, Report};

/// The page in a run directory.
const PAGE: &str = "training.html";

/// Draw how a training went: loss, speed, validation, and what to look at twice
///
/// Reads metrics.jsonl of a run directory, finished, interrupted or still running, and writes
/// training.html there: one page without scripts that opens anywhere. Warnings say in plain words
/// what the log shows, such as a validation loss that rises while the training loss falls.
#[derive(Args, Debug)]
#[command(after_help = "\
Writes into the run directory:
  training.html               the page

Examples:
  foretune report runs/first
  foretune report runs/first --json | jq '.warnings'")]
pub(crate) struct Typed {
    /// Run directory
    #[arg(value_name = "RUN")]
    run: PathBuf,
}

/// Runs the command.
///
/// # Errors
/// When the directory has no log, or one that is damaged in its middle, or nothing can be written.
pub(crate) fn run(typed: &Typed, _: &Global) -> anyhow::Result<Printed> {
    let report = training_page::read(&typed.run)?;
    let page = typed.run.join(PAGE);
    files::write(&page, training::html(&report).as_bytes())?;
    let mut text = text(&report);
    text += &format!("page: {}", page.display());
    Ok(Printed::new(serde_json::to_value(&report)?, text))
}

/// Returns the course in a few lines.
fn text(report: &Report) -> String {
    let course = &report.course;
    let mut out = format!("{} of {} steps", course.steps, course.total_steps);
    if let (Some(first), Some(last)) = (course.first_loss, course.last_loss) {
        out += &format!("; loss {first:.3} to {last:.3}");
    }
    if let Some(margin) = course.reward_margin {
        out += &format!("; reward margin {margin:+.3}");
    }
    if let Some(share) = course.reward_accuracy {
        out += &format!("; {:.0} % of the pairs the right way round", share * 100.0);
    }
    if let Some(last) = course.last {
        out += &format!("; validation loss {:.3}", last.loss());
        if let Some(share) = last.validation_decision_accuracy {
            out += &format!(", decisions {:.0} % right", share * 100.0);
        }
    }
    if let Some(speed) = course.tokens_per_second {
        out += &format!("; {speed:.0} tokens/s");
    }
    out.push('\n');
    for warning in &report.warnings {
        out += &format!("- {warning}\n");
    }
    out
}
