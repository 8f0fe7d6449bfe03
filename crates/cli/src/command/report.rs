//! `foretune report`: the page of one training, from its log, or of one data set, from its files.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::Args;
use dataset::bridge::is_bridge;
use serde_json::json;
use serve::report::dataset::Page;
use serve::report::training::{self, Report};

use crate::arguments::Global;
use crate::exit::{Exit, Stop};
use crate::flow::dataset_page::Counting;
use crate::flow::training_page;
use crate::output::Printed;
use crate::settings::Settings;
use crate::{files, run};

/// The page in a run directory.
const PAGE: &str = "training.html";

/// Draw how a training went, or what a data set holds, and what to look at twice
///
/// Of a run directory, finished, interrupted or still running, it reads metrics.jsonl and writes
/// training.html there: one page without scripts that opens anywhere. Warnings say in plain words
/// what the log shows, such as a validation loss that rises while the training loss falls.
///
/// Of a data set or a bridge it reads every line and writes page.html there: classes over time,
/// spans and purges, drift of what prompts show, whether stated evidence came true, lengths,
/// examples to read. It counts from the files alone, so the page can be made again anywhere.
#[derive(Args, Debug)]
#[command(after_help = "\
Writes into the directory:
  training.html               the page of a run
  page.html                   the page of a data set

Examples:
  foretune report runs/first
  foretune report runs/first --json | jq '.warnings'
  foretune report dataset --base models/SmolLM2-135M-Instruct.gguf
  foretune report forex_integrated --json | jq '.drift.features[0]'")]
pub(crate) struct Typed {
    /// Run directory, or directory of a data set
    #[arg(value_name = "DIR")]
    directory: PathBuf,
    /// Base model whose tokens the page of a data set counts; characters without it
    #[arg(long, value_name = "SOURCE")]
    base: Option<String>,
}

/// Runs the command.
///
/// # Errors
/// When the directory is neither, a file of it is damaged, or nothing can be written.
pub(crate) fn run(typed: &Typed, global: &Global) -> anyhow::Result<Printed> {
    if run::is_dataset(&typed.directory) || is_bridge(&typed.directory) {
        return of_dataset(typed, global);
    }
    if typed.base.is_some() {
        let message = format!("`{}` is no data set", typed.directory.display());
        return Err(Stop::new(Exit::Usage, message)
            .hint("`--base` counts the tokens of a data set's examples; a run has its own model")
            .into());
    }
    let report = training_page::read(&typed.directory)?;
    let page = typed.directory.join(PAGE);
    files::write(&page, training::html(&report).as_bytes())?;
    let mut text = text(&report);
    text += &format!("page: {}", page.display());
    Ok(Printed::new(serde_json::to_value(&report)?, text))
}

fn of_dataset(typed: &Typed, global: &Global) -> anyhow::Result<Printed> {
    let settings = Settings::resolve(global, &[])?;
    let counting = Counting::open(typed.base.as_deref(), &settings.model)?;
    let (found, page) = counting.write(&typed.directory)?;
    let mut data = serde_json::to_value(&found)?;
    data["page"] = json!(page);
    let text = format!("{}page: {}", contents(&found), page.display());
    Ok(Printed::new(data, text))
}

/// Returns what a data set holds in a few lines.
fn contents(page: &Page) -> String {
    let mut out = String::new();
    for part in &page.parts {
        let classes: Vec<String> = part
            .classes
            .iter()
            .map(|(class, n)| format!("{class} {n}"))
            .collect();
        let _ = writeln!(
            out,
            "{:<10} {:>6} lines (effective {:.0}): {}; {} to {}",
            part.part,
            part.n,
            part.effective_n,
            classes.join(", "),
            part.first,
            part.last
        );
    }
    if page.spans.touching > 0 {
        let _ = writeln!(
            out,
            "- {} outcomes reach into a later part",
            page.spans.touching
        );
    }
    for feature in page
        .drift
        .features
        .iter()
        .filter(|feature| feature.verdict == "large")
    {
        let index = feature.index.unwrap_or(f64::NAN);
        let _ = writeln!(
            out,
            "- `{}` moved between training and test part: index {index:.2}",
            feature.title
        );
    }
    out
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
