//! Going through the files of a data set once.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use dataset::bridge::KIND as BRIDGE;
use dataset::{LabelRule, Split};
use market::Timestamp;
use serde_json::Value;

use super::line::Line;
use super::{Page, Part, Record, Ruler, drift, evidence, lengths, mix, samples, spans};
use crate::error::ServeError;

/// A manifest, a datasheet or a line longer than this is not one, bytes.
const LARGEST_DOCUMENT: u64 = 64 << 20;
const LONGEST_LINE: u64 = 4 << 20;

/// Reads a data set or a bridge and counts.
///
/// # Errors
/// [`ServeError::Io`] for a file that is missing or cannot be read, [`ServeError::Line`] for a
/// manifest, datasheet or line that is not one, or whose length `ruler` cannot tell.
pub fn read(directory: &Path, ruler: &mut Ruler<'_>) -> Result<Page, ServeError> {
    let manifest_path = directory.join("manifest.json");
    let manifest = document(&manifest_path)?;
    let kind = text(&manifest["kind"]);
    if ![BRIDGE, "foretune-dataset"].contains(&kind.as_str()) {
        let reason = format!("`kind` is `{kind}`, expected `foretune-dataset` or `{BRIDGE}`");
        return Err(fault(&manifest_path, 1, reason));
    }
    let is_bridge = kind == BRIDGE;
    let sheet = document(&directory.join("datasheet.json"))?;
    let mut found = Found::new(is_bridge, &sheet);
    let files = files(&manifest, &manifest_path)?;
    for (place, (name, lines)) in files.iter().enumerate() {
        let mut lengths = lengths::Counter::new(name, *lines);
        each_line(&directory.join(name), &mut |line, path, number| {
            found.take(place, name, &line);
            lengths
                .take(&line, ruler)
                .map_err(|reason| fault(path, number, reason))
        })?;
        found.lengths.push(lengths);
    }
    found.unique();
    let records = &found.records;
    Ok(Page {
        version: text(&manifest["version"]),
        rule: rule(is_bridge, &sheet),
        audit: sheet["audit"].as_str().map(str::to_owned),
        warnings: strings(&sheet[if is_bridge { "notes" } else { "warnings" }]),
        files: files.into_iter().collect(),
        parts: parts(records),
        mixes: mix::mixes(records),
        spans: spans::spans(records, &sheet),
        drift: found.drift.finish(records),
        evidence: found.evidence.finish(),
        lengths: lengths::finish(found.lengths, ruler),
        samples: found.samples.finish(),
        kind,
    })
}

/// What is gathered line by line.
struct Found {
    is_bridge: bool,
    records: Vec<Record>,
    drift: drift::Columns,
    evidence: evidence::Rows,
    samples: samples::Chosen,
    lengths: Vec<lengths::Counter>,
}

impl Found {
    fn new(is_bridge: bool, sheet: &Value) -> Self {
        Self {
            is_bridge,
            records: Vec::new(),
            drift: drift::Columns::new(is_bridge, &sheet["shown"]),
            evidence: evidence::Rows::default(),
            samples: samples::Chosen::new(is_bridge),
            lengths: Vec::new(),
        }
    }

    fn take(&mut self, file: usize, name: &str, line: &Line) {
        self.samples.take(name, line);
        let (Some(split), Some((from, to))) = (line.split, line.span) else {
            return;
        };
        let is_scenario = line.kind.as_deref() == Some("scenario");
        if is_scenario {
            self.evidence.take(split, (from.0, to.0), line);
        }
        if is_scenario || !self.is_bridge {
            self.drift.take(self.records.len(), split, line);
        }
        self.records.push(Record {
            part: split,
            file,
            instrument: line.instrument.clone().unwrap_or_default(),
            span: (from.0, to.0.max(from.0)),
            label: line.label.clone(),
            uniqueness: 0.0,
        });
    }

    /// Computes how much of each span is its own.
    fn unique(&mut self) {
        let mut groups: BTreeMap<(usize, Split, &str), Vec<usize>> = BTreeMap::new();
        for (row, record) in self.records.iter().enumerate() {
            let key = (record.file, record.part, record.instrument.as_str());
            groups.entry(key).or_default().push(row);
        }
        let mut weights = vec![0.0; self.records.len()];
        for rows in groups.into_values() {
            let spans: Vec<(i64, i64)> = rows.iter().map(|&row| self.records[row].span).collect();
            for (row, weight) in rows.into_iter().zip(stats::uniqueness::weights(&spans)) {
                weights[row] = weight;
            }
        }
        for (record, weight) in self.records.iter_mut().zip(weights) {
            record.uniqueness = weight;
        }
    }
}

fn parts(records: &[Record]) -> Vec<Part> {
    let of = |part: Split| {
        let own: Vec<&Record> = records.iter().filter(|r| r.part == part).collect();
        let mut classes: BTreeMap<String, usize> = BTreeMap::new();
        for record in &own {
            let class = record.label.as_deref().unwrap_or("none");
            *classes.entry(class.to_owned()).or_default() += 1;
        }
        Some(Part {
            part,
            n: own.len(),
            effective_n: own.iter().map(|record| record.uniqueness).sum(),
            classes,
            first: Timestamp(own.iter().map(|record| record.span.0).min()?),
            last: Timestamp(own.iter().map(|record| record.span.1).max()?),
        })
    };
    Split::ALL.into_iter().filter_map(of).collect()
}

/// The files of examples with their lines, training ones first.
fn files(manifest: &Value, path: &Path) -> Result<Vec<(String, usize)>, ServeError> {
    let Some(all) = manifest["files"].as_object() else {
        let reason = "has no `files`, expected those of a data set".to_owned();
        return Err(fault(path, 1, reason));
    };
    // A name with a folder in it is not one of examples, and never one outside.
    let is_lines = |name: &str| {
        Path::new(name)
            .extension()
            .is_some_and(|end| end == "jsonl")
            && !name.contains(['/', '\\'])
    };
    let mut files: Vec<(String, usize)> = all
        .iter()
        .filter(|(name, _)| is_lines(name))
        .map(|(name, file)| {
            let lines = file["lines"].as_u64().unwrap_or(0);
            (name.clone(), usize::try_from(lines).unwrap_or(0))
        })
        .collect();
    let order = |name: &str| {
        ["validation.jsonl", "test.jsonl"]
            .iter()
            .position(|n| *n == name)
    };
    files.sort_by_key(|(name, _)| (order(name).map_or(0, |place| place + 1), name.clone()));
    Ok(files)
}

/// What the labels mean.
fn rule(is_bridge: bool, sheet: &Value) -> String {
    if is_bridge {
        let bars = &sheet["horizon_bars"];
        return format!(
            "APPROVE if the signal's own side paid after costs over {bars} bars, else VETO; BULLISH \
             and BEARISH if the price moved that way by more than costs, else NEUTRAL"
        );
    }
    let hours = sheet["horizon_hours"]
        .as_u64()
        .and_then(|hours| u32::try_from(hours).ok());
    let rule = serde_json::from_value::<LabelRule>(sheet["label"].clone()).ok();
    match (rule, hours) {
        (Some(rule), Some(hours)) => rule.words(hours),
        _ => "stated by a rule that this version does not know".to_owned(),
    }
}

fn each_line(
    path: &Path,
    take: &mut dyn FnMut(Line, &Path, usize) -> Result<(), ServeError>,
) -> Result<(), ServeError> {
    let mut reader = BufReader::new(File::open(path).map_err(io("open", path))?);
    let mut bytes = Vec::new();
    for number in 1.. {
        bytes.clear();
        let read = reader
            .by_ref()
            .take(LONGEST_LINE)
            .read_until(b'\n', &mut bytes);
        if read.map_err(io("read", path))? == 0 {
            break;
        }
        let line: Line = serde_json::from_slice(&bytes).map_err(|error| {
            let reason = format!("{error}, expected an example of at most {LONGEST_LINE} bytes");
            fault(path, number, reason)
        })?;
        take(line, path, number)?;
    }
    Ok(())
}

fn document(path: &Path) -> Result<Value, ServeError> {
    let mut text = Vec::new();
    File::open(path)
        .and_then(|file| file.take(LARGEST_DOCUMENT).read_to_end(&mut text))
        .map_err(io("read", path))?;
    serde_json::from_slice(&text).map_err(|error| fault(path, error.line(), error.to_string()))
}

fn io<'a>(action: &'static str, path: &'a Path) -> impl Fn(std::io::Error) -> ServeError + 'a {
    move |source| ServeError::Io {
        action,
        path: path.to_owned(),
        source,
    }
}

fn fault(path: &Path, line: usize, reason: String) -> ServeError {
    let path: PathBuf = path.to_owned();
    ServeError::Line { path, line, reason }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn strings(value: &Value) -> Vec<String> {
    let all = value.as_array().into_iter().flatten();
    all.filter_map(|value| value.as_str().map(str::to_owned))
        .collect()
}
