//! `foretune promote`: another arm becomes champion.

use std::path::PathBuf;

use clap::Args;
use serve::registry::BASE;

use crate::arguments::Global;
use crate::clock;
use crate::exit::{Exit, Stop};
use crate::flow::package::{self, Named, Package};
use crate::flow::registry::{judged, registry};
use crate::output::Printed;

/// Make an adapter champion, as the verdict on a shadow log says
///
/// Copies the adapter with its lineage into the registry and makes it champion in one step; a
/// running service takes it over without a restart and keeps the one before in the shadow.
/// Against the verdict, or without one, a reason must be given, which is recorded.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  foretune promote runs/b --log shadow                   the verdict must say so
  foretune promote runs/a --override \"first champion\"    without a verdict
  foretune promote base --override \"retired\"             the base model itself")]
pub(crate) struct Typed {
    /// Adapter of the registry, run directory, or `base`
    #[arg(value_name = "NAME|RUN")]
    adapter: String,
    /// Name in the registry [default: the run directory's]
    #[arg(long = "as", value_name = "NAME")]
    name: Option<String>,
    /// Adapter registry [default: shadow.registry]
    #[arg(long, value_name = "DIR")]
    registry: Option<PathBuf>,
    /// Shadow log whose verdict counts
    #[arg(long, value_name = "DIR")]
    log: Option<PathBuf>,
    /// Promote against the verdict, or without one, for this reason
    #[arg(long = "override", value_name = "REASON")]
    reason: Option<String>,
}

/// Runs the command.
///
/// # Errors
/// With exit code 5 when the verdict does not say so and no reason is given; when adapter, log or
/// registry cannot be used.
pub(crate) fn run(typed: &Typed, global: &Global) -> anyhow::Result<Printed> {
    let registry = registry(typed.registry.as_deref(), global)?;
    let named = Named::find(&typed.adapter, &registry)?;
    let package = match named {
        Named::Base => None,
        Named::Package(package) => Some(*package),
        Named::Run(ref own) => {
            let base = package::load_base(std::slice::from_ref(&named))?;
            Some(Package::of_run(own, &base)?)
        }
    };
    let name = match (&package, &typed.name) {
        (None, _) => BASE.to_owned(),
        (Some(_), Some(name)) => name.clone(),
        (Some(package), None) => package.manifest.name.clone(),
    };
    let verdict = typed.log.as_deref().map(|log| {
        let sha256 = package
            .as_ref()
            .map(|package| package.manifest.adapter_sha256.as_str());
        judged(log, sha256, &name)
    });
    let verdict = verdict.transpose()?;
    let allowed = verdict.as_ref().is_some_and(|verdict| verdict.allows);
    if typed
        .reason
        .as_ref()
        .is_some_and(|reason| reason.trim().is_empty())
    {
        return Err(Stop::new(Exit::Usage, "`--override` wants a reason in words").into());
    }
    if !allowed && typed.reason.is_none() {
        let message = match &verdict {
            Some(verdict) => format!("the verdict is against it: {}", verdict.says),
            None => "there is no verdict: no shadow log is named".to_owned(),
        };
        return Err(Stop::new(Exit::Refused, message)
            .hint(
                "name the log with --log; --override REASON promotes all the same and records why",
            )
            .into());
    }
    if let Some(package) = &package {
        package.copy_to(&registry, &name)?;
    }
    let verdict = verdict.map(|verdict| (verdict.value, verdict.sha256));
    let change = registry.promote(&name, clock::now(), verdict, typed.reason.clone())?;
    let text = format!(
        "champion is now {}, {} shadows\nregistry: {}",
        change.to,
        change.from,
        registry.folder().display()
    );
    Ok(Printed::new(serde_json::to_value(&change)?, text))
}
