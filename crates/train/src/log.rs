//! The run directory's records: a JSON object a line, and the same scalars as TensorBoard events.

use crate::TrainError;
use crate::tensorboard::{Event, EventFile};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// Name of the log in a run directory, one JSON object a line.
pub const METRICS_NAME: &str = "metrics.jsonl";

/// A record of one step or validation.
pub(crate) trait Logged: Serialize {
    /// Returns the steps done.
    fn step(&self) -> usize;
    /// Returns TensorBoard's names and values; the names are those of TRL where it has the same.
    fn scalars(&self) -> Vec<(&'static str, f64)>;
}

/// Both files, open for appending.
pub(crate) struct Log {
    path: PathBuf,
    metrics: File,
    events: EventFile,
    /// The lines of the steps done before this process.
    earlier: Vec<String>,
}

impl Log {
    /// Opens the files of a run that has done `step` steps; records of later ones go.
    pub(crate) fn open(directory: &Path, step: usize) -> Result<Self, TrainError> {
        let path = directory.join(METRICS_NAME);
        let (metrics, earlier) = open_metrics(&path, step)?;
        Ok(Self {
            path,
            metrics,
            events: EventFile::open(directory, step as u64, now())?,
            earlier,
        })
    }

    /// Returns the records of one kind from earlier processes of this run.
    pub(crate) fn earlier<T: DeserializeOwned>(&self) -> Vec<T> {
        let parse = |line: &String| serde_json::from_str(line).ok();
        self.earlier.iter().filter_map(parse).collect()
    }

    /// Appends a record to both.
    pub(crate) fn write(&mut self, record: &impl Logged) -> Result<(), TrainError> {
        let error = |action| {
            let path = self.path.clone();
            move |source| TrainError::File {
                action,
                path,
                source,
            }
        };
        let mut line = serde_json::to_string(record)
            .map_err(|unfit| error("encode a line of")(unfit.into()))?;
        line.push('\n');
        self.metrics
            .write_all(line.as_bytes())
            .map_err(error("write"))?;
        let scalars = record.scalars().into_iter();
        self.events.append(&Event {
            wall_time: now(),
            step: record.step() as u64,
            scalars: scalars
                .map(|(name, value)| (name.to_owned(), value as f32))
                .collect(),
        })
    }
}

/// Returns seconds since 1970: the only place where training reads the calendar.
fn now() -> f64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0.0, |since| since.as_secs_f64())
}

/// Opens the log for appending, without the lines of steps that will be done again, and returns
/// those that stay.
fn open_metrics(path: &Path, step: usize) -> Result<(File, Vec<String>), TrainError> {
    let error = |action| {
        move |source| TrainError::File {
            action,
            path: path.to_path_buf(),
            source,
        }
    };
    let mut kept = Vec::new();
    if step > 0 && path.exists() {
        let reader = BufReader::new(File::open(path).map_err(error("open"))?);
        for line in reader.lines() {
            let line = line.map_err(error("read"))?;
            let of_line = serde_json::from_str::<serde_json::Value>(&line)
                .ok()
                .and_then(|value| value.get("step").and_then(serde_json::Value::as_u64));
            // A torn last line parses as nothing and goes too.
            if of_line.is_some_and(|of_line| of_line <= step as u64) {
                kept.push(line);
            }
        }
    }
    let temporary = path.with_extension("tmp");
    let text = kept
        .iter()
        .fold(String::new(), |text, line| text + line + "\n");
    std::fs::write(&temporary, text).map_err(error("write"))?;
    std::fs::rename(&temporary, path).map_err(error("rename to"))?;
    let file = OpenOptions::new()
        .append(true)
        .open(path)
        .map_err(error("open"))?;
    Ok((file, kept))
}
