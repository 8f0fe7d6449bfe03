//! `foretune init`: settings and templates to edit.

use std::path::{Path, PathBuf};

use clap::Args;
use dataset::{DatasetSettings, Templates};
use serde_json::json;

use crate::arguments::Global;
use crate::exit::{Exit, Stop};
use crate::output::Printed;
use crate::{files, settings};

const PROMPT: &str = "templates/prompt.jinja";
const COMPLETIONS: &str = "templates/completions.toml";

/// Write a commented foretune.toml and the prompt templates for editing
///
/// The settings file states every key with its default and its meaning. The
/// templates are the built-in ones; the settings file names them, so that what
/// you change is what is used.
#[derive(Args, Debug)]
#[command(after_help = "\
Writes:
  foretune.toml                every setting, explained
  templates/prompt.jinja       what the model is asked (minijinja)
  templates/completions.toml   how an answer gives its reason, by decision

Examples:
  foretune init
  foretune init my-project --preset forex-12h
  foretune init --force        replaces the three files")]
pub(crate) struct Typed {
    /// Directory to write into
    #[arg(value_name = "DIR", default_value = ".")]
    directory: PathBuf,
    /// Replace files that are there
    #[arg(long)]
    force: bool,
}

/// Runs the command.
///
/// # Errors
/// When a file is there already and `--force` is not given, or on a failed write.
pub(crate) fn run(typed: &Typed, global: &Global) -> anyhow::Result<Printed> {
    let name = global.preset.as_deref().unwrap_or(settings::PRESETS[0].0);
    let (name, text) = settings::preset(name)?;
    let templates = Templates::load(&DatasetSettings::default())?;
    let documents = [
        (settings::FILE, naming_templates(text)),
        (PROMPT, templates.prompt_source().to_owned()),
        (COMPLETIONS, templates.completion_source().to_owned()),
    ];
    let paths: Vec<PathBuf> = documents
        .iter()
        .map(|(file, _)| typed.directory.join(file))
        .collect();
    if !typed.force {
        refuse_to_replace(&paths)?;
    }
    for (path, (_, text)) in paths.iter().zip(&documents) {
        files::write(path, text.as_bytes())?;
    }
    let lines: Vec<String> = paths
        .iter()
        .map(|path| format!("wrote {}", path.display()))
        .collect();
    Ok(Printed::new(
        json!({"preset": name, "files": paths}),
        format!(
            "{}\nnext: {}foretune quickstart",
            lines.join("\n"),
            enter(&typed.directory)
        ),
    ))
}

/// Returns the command that goes to where the settings file is looked for.
fn enter(directory: &Path) -> String {
    if directory == Path::new(".") {
        return String::new();
    }
    let name = directory.display().to_string();
    let plain = |letter: char| letter.is_alphanumeric() || "/._-~".contains(letter);
    if name.chars().all(plain) {
        format!("cd {name} && ")
    } else {
        format!("cd '{}' && ", name.replace('\'', "'\\''"))
    }
}

fn refuse_to_replace(paths: &[PathBuf]) -> Result<(), Stop> {
    match paths.iter().find(|path| path.exists()) {
        None => Ok(()),
        Some(path) => Err(Stop::new(
            Exit::Usage,
            format!("`{}` is there already", path.display()),
        )
        .hint("`--force` replaces it, another directory keeps it")),
    }
}

/// Turns the preset's commented template keys into real ones.
fn naming_templates(preset: &str) -> String {
    let mut text = String::with_capacity(preset.len());
    for line in preset.lines() {
        let line = match line {
            line if line.starts_with("# prompt_template =") => {
                format!("prompt_template = \"{PROMPT}\"")
            }
            line if line.starts_with("# completion_templates =") => {
                format!("completion_templates = \"{COMPLETIONS}\"")
            }
            line => line.to_owned(),
        };
        text.push_str(&line);
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_preset_names_both_templates_once_written() {
        for (name, text) in settings::PRESETS {
            let text = naming_templates(text);
            for key in ["\nprompt_template = ", "\ncompletion_templates = "] {
                assert_eq!(text.matches(key).count(), 1, "{name} {key}");
            }
        }
    }
}
