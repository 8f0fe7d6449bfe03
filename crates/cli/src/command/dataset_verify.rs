//! `foretune dataset verify`: whether a data set is fit to train on.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::Args;
use dataset::bridge;

use crate::arguments::Global;
use crate::exit::{Exit, Stop};
use crate::flow::examples;
use crate::output::Printed;

/// Check that a data set is complete, unaltered and audited
///
/// Goes by the files and the manifest alone, so it works as well after an upload (Gate 2) as after
/// a build (Gate 1). Prints a checklist that ends with READY or NOT READY.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  foretune dataset verify dataset
  foretune dataset verify forex_integrated --json")]
pub(crate) struct Typed {
    /// Directory of the data set
    #[arg(value_name = "DIR", default_value = "dataset")]
    directory: PathBuf,
}

/// Runs the command.
///
/// # Errors
/// When there is no readable manifest.
pub(crate) fn run(typed: &Typed, _global: &Global) -> anyhow::Result<Printed> {
    examples::require(&typed.directory)?;
    let found = bridge::verify(&typed.directory)?;
    let mut text = String::new();
    for item in &found.items {
        let mark = if item.ok { "ok  " } else { "MISS" };
        let _ = writeln!(text, "{mark}  {:<40} {}", item.name, item.found);
    }
    text.push_str(if found.ready { "READY" } else { "NOT READY" });
    let printed = Printed::new(serde_json::to_value(&found)?, text);
    let stop = (!found.ready).then(|| {
        let missed = found.items.iter().filter(|item| !item.ok).count();
        let message = format!(
            "`{}` is not ready: {missed} of {} items missed",
            typed.directory.display(),
            found.items.len()
        );
        Stop::new(Exit::Refused, message)
            .hint("build it again with `foretune dataset build`, or copy it again")
    });
    Ok(Printed { stop, ..printed })
}
