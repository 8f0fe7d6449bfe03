//! `foretune rollback`: the champion before becomes champion again.

use std::path::PathBuf;

use clap::Args;
use serve::registry::BASE;

use crate::arguments::Global;
use crate::clock;
use crate::exit::{Exit, Stop};
use crate::flow::package::{Named, Package};
use crate::flow::registry::{judged, registry};
use crate::output::Printed;

/// Make the champion before champion again
///
/// A former champion goes on in the shadow, and its e-process says when it is shown to be better
/// than the one in its place: with --log, the verdict on that log is the reason. Without, a reason
/// must be given, which is recorded: who sees harm need not wait for a proof. A running service
/// takes the change over without a restart.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  foretune rollback --log shadow                           the verdict must say `roll back`
  foretune rollback --reason \"drawdown on live stakes\"    without a verdict")]
pub(crate) struct Typed {
    /// Adapter registry [default: shadow.registry]
    #[arg(long, value_name = "DIR")]
    registry: Option<PathBuf>,
    /// Shadow log whose verdict counts
    #[arg(long, value_name = "DIR")]
    log: Option<PathBuf>,
    /// Why; needed unless the verdict says so
    #[arg(long, value_name = "TEXT", required_unless_present = "log")]
    reason: Option<String>,
}

/// Runs the command.
///
/// # Errors
/// With exit code 5 when the verdict does not say so and no reason is given; when there was no
/// champion before, its weights are not those of its manifest, or registry or log cannot be used.
pub(crate) fn run(typed: &Typed, global: &Global) -> anyhow::Result<Printed> {
    let registry = registry(typed.registry.as_deref(), global)?;
    let before = registry
        .state()?
        .and_then(|state| state.before.last().cloned());
    if let Some(name) = before.as_deref().filter(|name| *name != BASE) {
        Package::in_registry(&registry, name)?.unaltered()?;
    }
    let verdict = match (&typed.log, &before) {
        (Some(log), Some(name)) => {
            let sha256 = Named::find(name, &registry)?.adapter_sha256()?;
            Some(judged(log, sha256.as_deref(), name)?)
        }
        _ => None,
    };
    if let Some(verdict) = &verdict
        && !verdict.allows
        && typed.reason.is_none()
    {
        let message = format!("the verdict is not to roll back: {}", verdict.says);
        return Err(Stop::new(Exit::Refused, message)
            .hint("--reason TEXT rolls back all the same and records why")
            .into());
    }
    let verdict = verdict.map(|verdict| (verdict.value, verdict.sha256));
    let change = registry.rollback(clock::now(), verdict, typed.reason.clone())?;
    let text = format!(
        "champion is {} again, {} shadows\nregistry: {}",
        change.to,
        change.from,
        registry.folder().display()
    );
    Ok(Printed::new(serde_json::to_value(&change)?, text))
}
