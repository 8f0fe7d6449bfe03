//! llama.cpp as a client of ours: a Python script in an environment of foretune's own, asked
//! through files.

use std::path::Path;

use anyhow::Context;
use serde::Deserialize;
use serde_json::json;

use super::compare::Step;
use crate::exit::{Exit, Stop};
use crate::progress::Progress;
use crate::python::Environment;
use crate::{bundled, files, output};

/// One prompt for the client.
#[derive(Clone, Debug)]
pub(crate) struct Prompt {
    /// Token ids, as they go in.
    pub(crate) tokens: Vec<u32>,
    /// Tokens of the answer at most.
    pub(crate) max_tokens: usize,
    /// Most probable tokens told of every step.
    pub(crate) alternatives: usize,
}

/// What to load, and what to ask.
#[derive(Clone, Debug)]
pub(crate) struct Query<'a> {
    /// What the person watching reads.
    pub(crate) title: &'a str,
    /// The model's GGUF file.
    pub(crate) model: &'a Path,
    /// The adapter's GGUF file, if one is to be applied.
    pub(crate) adapter: Option<&'a Path>,
    /// Whether keys and values are cached in f32 and not in f16, llama.cpp's default.
    pub(crate) exact_cache: bool,
    /// Tokens that end an answer.
    pub(crate) stop: &'a [u32],
    /// The prompts.
    pub(crate) prompts: &'a [Prompt],
}

/// What the client answers.
#[derive(Debug, Deserialize)]
pub(crate) struct Response {
    #[serde(default)]
    error: Option<String>,
    #[serde(default)]
    log: Vec<String>,
    #[serde(default)]
    library: String,
    #[serde(default)]
    version: String,
    /// One answer to each prompt.
    #[serde(default)]
    pub(crate) results: Vec<Reply>,
}

impl Response {
    /// Returns package and version.
    pub(crate) fn client(&self) -> String {
        format!("{} {}", self.library, self.version)
    }
}

/// The answer to one prompt.
#[derive(Debug, Deserialize)]
pub(crate) struct Reply {
    /// Without the token that ended it.
    pub(crate) text: String,
    finish: String,
    #[serde(default)]
    held_back: usize,
    positions: Vec<Position>,
}

impl Reply {
    /// Returns whether it ended by itself.
    pub(crate) fn ended(&self) -> bool {
        self.finish != "length"
    }

    /// Returns whether its last tokens, from a character of several tokens on, are not told.
    pub(crate) fn is_cut_short(&self) -> bool {
        self.held_back > 0
    }

    /// Returns its steps.
    pub(crate) fn steps(&self) -> Vec<Step> {
        self.positions.iter().map(step).collect()
    }
}

#[derive(Debug, Deserialize)]
struct Position {
    id: u32,
    logprob: f64,
    top: Vec<Candidate>,
}

#[derive(Debug, Deserialize)]
struct Candidate {
    id: u32,
    logprob: f64,
}

fn step(position: &Position) -> Step {
    let others = position.top.iter();
    Step {
        token: position.id,
        log_probability: position.logprob,
        others: others.map(|other| (other.id, other.logprob)).collect(),
    }
}

/// Returns the Python environment of the client, making it on first use.
///
/// # Errors
/// As [`Environment::prepare`].
pub(crate) fn environment() -> anyhow::Result<Environment> {
    let cache = weights::source::default_cache_dir()?;
    output::note("  client: llama.cpp from PyPI, in an environment of foretune's own");
    Environment::prepare(&cache, "llama-cpp", bundled::LLAMA_REQUIREMENTS)
}

/// Asks the client and waits for its answers.
///
/// # Errors
/// When it fails or refuses a file, or on Ctrl-C.
pub(crate) fn ask(environment: &Environment, query: &Query<'_>) -> anyhow::Result<Response> {
    let folder = tempfile::Builder::new()
        .prefix("foretune-check-")
        .tempdir()
        .context("cannot create a temporary directory")?;
    let script = folder.path().join("llama_client.py");
    let request_path = folder.path().join("request.json");
    let response_path = folder.path().join("response.json");
    let progress_path = folder.path().join("progress.txt");
    files::write(&script, bundled::LLAMA_CLIENT.as_bytes())?;
    let prompts: Vec<_> = query
        .prompts
        .iter()
        .enumerate()
        .map(|(id, prompt)| {
            json!({"id": id, "tokens": prompt.tokens, "max_tokens": prompt.max_tokens,
                   "n_probs": prompt.alternatives})
        })
        .collect();
    let absolute = |path: &Path| {
        std::path::absolute(path).with_context(|| format!("cannot resolve `{}`", path.display()))
    };
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let request = json!({
        "model": absolute(query.model)?,
        "adapter": query.adapter.map(absolute).transpose()?,
        "prompts": prompts,
        "threads": threads,
        "cache_type": if query.exact_cache { "f32" } else { "f16" },
        "stop_tokens": query.stop,
        "progress": &progress_path,
    });
    files::write_json(&request_path, &request)?;
    let mut bar = Progress::start(query.title, "prompts", Some(query.prompts.len() as u64));
    let mut tick = || {
        // The file appears with the first answer.
        let answered = std::fs::read_to_string(&progress_path).unwrap_or_default();
        bar.set(answered.lines().count() as u64);
    };
    let ran = environment.run(&script, &[&request_path, &response_path], &mut tick);
    bar.finish();
    let (_, complaint) = ran?;
    read(&response_path, &complaint, query.prompts.len())
}

fn read(path: &Path, complaint: &str, prompts: usize) -> anyhow::Result<Response> {
    let failed = |message: String| Stop::new(Exit::Environment, message);
    let bytes = std::fs::read(path)
        .map_err(|_| failed(format!("the llama.cpp client gave no answer: {complaint}")))?;
    let response: Response = serde_json::from_slice(&bytes).map_err(|error| {
        failed("the llama.cpp client's answer cannot be read".to_owned()).caused_by(error)
    })?;
    if let Some(error) = response.error {
        let mut message = format!("llama.cpp: {error}");
        if !response.log.is_empty() {
            message += &format!(" ({})", response.log.join(" / "));
        }
        return Err(failed(message).into());
    }
    if response.results.len() != prompts {
        let message = format!(
            "the llama.cpp client answered {} of {prompts} prompts",
            response.results.len()
        );
        return Err(failed(message).into());
    }
    Ok(response)
}
