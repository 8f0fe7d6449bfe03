//! The log-probabilities of preference training's reference: computed once, kept in a file.

use crate::TrainError;
use crate::dpo::{DpoEvent, Pair, Scores, passes};
use model::{Decoder, Lora};
use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

/// Name of the file with the reference's log-probabilities in a run directory, JSON lines.
pub const REFERENCE_NAME: &str = "reference.jsonl";

/// Pairs packed together at a time: enough to fill passes well, and few enough to be quick.
const WINDOW: usize = 64;

/// One line of the reference file.
#[derive(Serialize, Deserialize)]
struct Line {
    pair: usize,
    #[serde(flatten)]
    scores: Scores,
}

/// Returns the reference's scores of the `needed` pairs, by the pair's index; what the file already
/// holds is not computed again.
pub(crate) fn reference_scores(
    decoder: &Decoder,
    lora: Option<&Lora>,
    pairs: &[Pair],
    needed: &[usize],
    budget: usize,
    cache: Option<(&Path, &str)>,
    events: &mut dyn FnMut(DpoEvent<'_>) -> ControlFlow<()>,
) -> Result<Vec<Option<Scores>>, TrainError> {
    let mut known: Vec<Option<Scores>> = vec![None; pairs.len()];
    let mut file = match cache {
        Some((path, print)) => Some(Cache::open(path, print, &mut known)?),
        None => None,
    };
    let missing: Vec<(&Pair, u64)> = needed
        .iter()
        .filter(|index| known[**index].is_none())
        .map(|index| (&pairs[*index], *index as u64))
        .collect();
    let mut done = needed.len() - missing.len();
    let windows = missing.chunks(WINDOW);
    let passes = windows.flat_map(|window| {
        let passes = passes(window, budget);
        passes.into_iter().map(move |pass| (window, pass))
    });
    for (window, pass) in passes {
        let losses = decoder.losses(lora, &pass.batch, &pass.targets)?;
        let mut lines = Vec::with_capacity(pass.answers.len());
        for (position, scores) in pass.scores(&losses) {
            let pair = window[position].1 as usize;
            known[pair] = Some(scores);
            lines.push(Line { pair, scores });
        }
        if let Some(file) = &mut file {
            file.append(&lines)?;
        }
        done += lines.len();
        let event = DpoEvent::Reference {
            done,
            total: needed.len(),
        };
        if events(event).is_break() {
            return Err(TrainError::Interrupted { step: 0 });
        }
    }
    Ok(known)
}

/// The reference file: a first line with the run's fingerprint, then one line per pair.
struct Cache {
    path: PathBuf,
    file: File,
}

impl Cache {
    /// Opens the file, reads the scores that belong to this run and drops everything else.
    fn open(path: &Path, print: &str, known: &mut [Option<Scores>]) -> Result<Self, TrainError> {
        let error = |action| {
            move |source| TrainError::File {
                action,
                path: path.to_path_buf(),
                source,
            }
        };
        let header = format!("{{\"fingerprint\":\"{print}\"}}\n");
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(missing) if missing.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(source) => return Err(error("read")(source)),
        };
        let mut kept = header.clone();
        if let Some(body) = text.strip_prefix(&header) {
            // A torn last line parses as nothing and goes.
            for line in body
                .split_inclusive('\n')
                .filter(|line| line.ends_with('\n'))
            {
                if let Ok(found) = serde_json::from_str::<Line>(line)
                    && let Some(slot) = known.get_mut(found.pair)
                {
                    *slot = Some(found.scores);
                    kept.push_str(line);
                }
            }
        }
        let temporary = path.with_extension("tmp");
        std::fs::write(&temporary, kept).map_err(error("write"))?;
        std::fs::rename(&temporary, path).map_err(error("rename to"))?;
        let file = OpenOptions::new()
            .append(true)
            .open(path)
            .map_err(error("open"))?;
        Ok(Self {
            path: path.to_path_buf(),
            file,
        })
    }

    fn append(&mut self, lines: &[Line]) -> Result<(), TrainError> {
        let mut text = String::new();
        for line in lines {
            // A pair number and two floats: JSON cannot fail on them but on infinities, which the
            // loss would show.
            text += &serde_json::to_string(line).unwrap_or_default();
            text.push('\n');
        }
        self.file
            .write_all(text.as_bytes())
            .map_err(|source| TrainError::File {
                action: "write",
                path: self.path.clone(),
                source,
            })
    }
}
