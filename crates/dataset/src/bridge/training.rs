//! What a bridge's directory gives a training: every conversation, each file compared with the
//! manifest first.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use serde::Deserialize;

use super::store::{digest, read_bridge_manifest};
use super::{BridgeExample, BridgeManifest, FORMULAS, JOINED, Kind, Verdict};
use crate::{DatasetError, Message, Split};

/// A line longer than this is no example, bytes.
const LONGEST_LINE: u64 = 4 << 20;

/// One conversation to learn from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conversation {
    /// Unique in the data set.
    pub id: String,
    /// Its turns, the last one the answer.
    pub messages: Vec<Message>,
}

/// The conversations of a bridge.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainingFiles {
    /// What the directory says it holds.
    pub manifest: BridgeManifest,
    /// Market examples first, then formulas, then further sources.
    pub conversations: Vec<Conversation>,
    /// How many of them come from market data.
    pub from_market: usize,
}

impl TrainingFiles {
    /// The files of examples from market data, then the others, in the order they are read.
    const MARKET: [Kind; 3] = [Kind::Reading, Kind::Scenario, Kind::Calculation];
    const OTHERS: [&'static str; 2] = [FORMULAS, JOINED];

    /// Returns the files that the conversations were read from, in their order.
    pub fn names(&self) -> Vec<&'static str> {
        let names = Self::MARKET.iter().map(|kind| kind.file());
        names
            .chain(Self::OTHERS)
            .filter(|name| self.manifest.files.contains_key(*name))
            .collect()
    }
}

#[derive(Deserialize)]
struct Line {
    id: String,
    messages: Vec<Message>,
}

/// Reads the conversations of a bridge.
///
/// # Errors
/// [`DatasetError::Io`] for a file that is missing, [`DatasetError::Altered`] for one that is not
/// what the manifest describes, [`DatasetError::Line`] for a line that is no conversation,
/// [`DatasetError::Bridge`] for a directory without a single example from market data.
pub fn read_training(directory: &Path) -> Result<TrainingFiles, DatasetError> {
    let manifest = read_bridge_manifest(directory)?;
    for name in manifest.files.keys() {
        unaltered(directory, &manifest, name)?;
    }
    let mut conversations = Vec::new();
    for kind in TrainingFiles::MARKET {
        if manifest.files.contains_key(kind.file()) {
            read(&directory.join(kind.file()), &mut conversations)?;
        }
    }
    let from_market = conversations.len();
    if from_market == 0 {
        return Err(DatasetError::Bridge {
            path: directory.to_owned(),
            message: "holds no example from market data, and a model that has seen none has \
                      nothing to say about a market"
                .to_owned(),
        });
    }
    for name in TrainingFiles::OTHERS {
        if manifest.files.contains_key(name) {
            read(&directory.join(name), &mut conversations)?;
        }
    }
    Ok(TrainingFiles {
        manifest,
        conversations,
        from_market,
    })
}

/// Reads the held-out scenarios of a part, in time order.
///
/// # Errors
/// As [`read_training`]; [`DatasetError::Bridge`] if the part has none, as the training part has
/// not.
pub fn read_held_out(directory: &Path, split: Split) -> Result<Vec<BridgeExample>, DatasetError> {
    let manifest = read_bridge_manifest(directory)?;
    let name = format!("{split}.jsonl");
    let refuse = |message: String| DatasetError::Bridge {
        path: directory.to_owned(),
        message,
    };
    if !manifest.files.contains_key(&name) {
        return Err(refuse(format!("has no held-out scenarios `{name}`")));
    }
    unaltered(directory, &manifest, &name)?;
    let path = directory.join(&name);
    let mut scenarios: Vec<BridgeExample> = Vec::new();
    lines(&path, &mut |number, line| {
        let refuse = |message: String| DatasetError::Line {
            path: path.clone(),
            line: number,
            message,
        };
        let read: BridgeExample =
            serde_json::from_slice(line).map_err(|e| refuse(e.to_string()))?;
        let judged = Verdict::ALL
            .iter()
            .any(|verdict| read.about.label.as_deref() == Some(verdict.as_str()));
        let shaped = matches!(&read.messages[..], [prompt, answer]
            if prompt.role == "user" && answer.role == "assistant");
        if !judged || !shaped || read.about.split != split {
            let expected = "is no held-out scenario: expected a prompt, an answer, the label \
                            APPROVE or VETO, and this part's name";
            return Err(refuse(expected.to_owned()));
        }
        scenarios.push(read);
        Ok(())
    })?;
    if scenarios.is_empty() {
        return Err(refuse(format!("has no held-out scenario in `{name}`")));
    }
    Ok(scenarios)
}

/// Compares a file with the manifest.
fn unaltered(directory: &Path, manifest: &BridgeManifest, name: &str) -> Result<(), DatasetError> {
    let path = directory.join(name);
    let found = digest(&path)?;
    match manifest.files.get(name) {
        Some(expected) if found.sha256 != expected.sha256 => Err(DatasetError::Altered {
            path,
            found: found.sha256,
            expected: expected.sha256.clone(),
        }),
        _ => Ok(()),
    }
}

fn read(path: &Path, conversations: &mut Vec<Conversation>) -> Result<(), DatasetError> {
    lines(path, &mut |number, line| {
        let refuse = |message: String| DatasetError::Line {
            path: path.to_owned(),
            line: number,
            message,
        };
        let read: Line = serde_json::from_slice(line).map_err(|e| refuse(e.to_string()))?;
        let answered = read
            .messages
            .last()
            .is_some_and(|turn| turn.role == "assistant" && !turn.content.trim().is_empty());
        if !answered {
            return Err(refuse(
                "does not end with an answer of the assistant".to_owned(),
            ));
        }
        conversations.push(Conversation {
            id: read.id,
            messages: read.messages,
        });
        Ok(())
    })
}

/// Takes a line with its number.
type Take<'a> = dyn FnMut(usize, &[u8]) -> Result<(), DatasetError> + 'a;

/// Hands out the lines of a file with their numbers, from 1.
fn lines(path: &Path, take: &mut Take<'_>) -> Result<(), DatasetError> {
    let io = |error| DatasetError::io("read", path)(error);
    let mut reader = BufReader::new(File::open(path).map_err(io)?);
    let mut line = Vec::new();
    for number in 1.. {
        line.clear();
        reader
            .by_ref()
            .take(LONGEST_LINE)
            .read_until(b'\n', &mut line)
            .map_err(io)?;
        if line.is_empty() {
            break;
        }
        take(number, &line)?;
    }
    Ok(())
}
