//! The registry that a command means, and what a shadow log says about a change of champion.

use std::path::Path;

use serde_json::{Value, json};
use serve::registry::Registry;
use serve::shadow::Preregistration;
use serve::verdict::{self, Ruling};

use crate::arguments::Global;
use crate::exit::{Exit, Stop};
use crate::settings::Settings;
use crate::{clock, run};

/// Returns the registry named by a flag, else by the settings.
///
/// # Errors
/// When the settings do not fit.
pub(crate) fn registry(typed: Option<&Path>, global: &Global) -> Result<Registry, Stop> {
    Ok(match typed {
        Some(folder) => Registry::new(folder),
        None => Registry::new(&Settings::resolve(global, &[])?.shadow.registry),
    })
}

/// What a log says about making an arm champion.
pub(crate) struct Judged {
    /// Whether the verdict is for it.
    pub(crate) allows: bool,
    /// What it says instead, in words.
    pub(crate) says: String,
    /// The parts of the verdict that the registry's history keeps.
    pub(crate) value: Value,
    /// SHA-256 of the whole verdict.
    pub(crate) sha256: String,
}

/// Judges a log, and whether it speaks for the adapter with these weights (none: the base model).
///
/// # Errors
/// When log or pre-registration cannot be read, or the log is about other arms.
pub(crate) fn judged(log: &Path, sha256: Option<&str>, name: &str) -> anyhow::Result<Judged> {
    let settings = verdict::Settings {
        now: clock::now(),
        knowledge_cutoff: None,
    };
    let found = verdict::judge(log, &settings)?;
    let (rule, _) = Preregistration::read(log)?;
    let arm = rule
        .arms
        .iter()
        .find(|arm| arm.adapter_sha256.as_deref() == sha256);
    let Some(arm) = arm else {
        let message = format!("the log `{}` is not about `{name}`", log.display());
        let known: Vec<&str> = rule.arms.iter().map(|arm| arm.name.as_str()).collect();
        return Err(Stop::new(Exit::Data, message)
            .hint(format!("its arms are {}", known.join(", ")))
            .into());
    };
    let value = serde_json::to_value(&found)?;
    let ruling = &value["verdict"];
    let says = match (&found.verdict, &found.arm) {
        (Ruling::Promote | Ruling::RollBack, Some(other)) => format!("it says {ruling} `{other}`"),
        _ => found
            .reasons
            .first()
            .cloned()
            .unwrap_or_else(|| "keep the champion".to_owned()),
    };
    let sha256 = run::sha256(value.to_string().as_bytes());
    let summary = json!({
        "verdict": value["verdict"],
        "arm": value["arm"],
        "champion": value["champion"],
        "reasons": value["reasons"],
        "registered": value["registered"],
        "log": std::path::absolute(log)?,
    });
    Ok(Judged {
        allows: found.verdict != Ruling::Keep && found.arm.as_deref() == Some(arm.name.as_str()),
        says,
        value: summary,
        sha256,
    })
}
