//! `foretune rollback`: the champion before becomes champion again.

use std::path::PathBuf;

use clap::Args;
use serve::registry::Registry;

use crate::arguments::Global;
use crate::clock;
use crate::output::Printed;

/// Make the champion before champion again
///
/// A running service takes it over without a restart. The reason is recorded.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  foretune rollback --reason \"drawdown on live stakes\"")]
pub(crate) struct Typed {
    /// Adapter registry
    #[arg(long, value_name = "DIR", default_value = "adapters")]
    registry: PathBuf,
    /// Why
    #[arg(long, value_name = "TEXT")]
    reason: String,
}

/// Runs the command.
///
/// # Errors
/// When there was no champion before, or the registry cannot be written.
pub(crate) fn run(typed: &Typed, _: &Global) -> anyhow::Result<Printed> {
    let registry = Registry::new(&typed.registry);
    let change = registry.rollback(clock::now(), Some(typed.reason.clone()))?;
    let text = format!(
        "champion is {} again, {} shadows\nregistry: {}",
        change.to,
        change.from,
        registry.folder().display()
    );
    Ok(Printed::new(serde_json::to_value(&change)?, text))
}
