//! The columns that the bridge needs of one pair, read from its wide table.
//!
//! Of some six hundred columns two dozen are read; of the rest not a byte.

use std::path::Path;

use market::table::{Package, PackageFaultKind, Split, WideReader};
use market::{Instrument, Timeframe};
use rayon::prelude::*;

use super::key::{self, Key};
use super::{BridgeSettings, SignalSource, Stamp};
use crate::DatasetError;

/// Pieces of a table whose timeframe is looked at, and the fewest stamps of one.
const PIECES: usize = 16;
const FEWEST_STAMPS: usize = 64;
/// Faults of a package that are named in an error, at most.
const NAMED_FAULTS: usize = 5;

/// The rows of one pair in the order of time.
#[derive(Debug, Clone)]
pub(crate) struct Table {
    /// What is traded.
    pub(crate) instrument: Instrument,
    /// When the row's values are known, Unix milliseconds.
    pub(crate) decided: Vec<i64>,
    /// The end of each row's outcome; none where the table ends before.
    pub(crate) ends: Vec<Option<i64>>,
    /// The relative change over the horizon; NaN where unknown.
    pub(crate) outcomes: Vec<f32>,
    /// The columns shown, NaN where unknown.
    pub(crate) shown: Vec<Vec<f32>>,
    /// How many rows from the start had an outcome that was known at each row's decision.
    pub(crate) matured: Vec<usize>,
    /// Where training, validation and test rows end.
    pub(crate) parts: Vec<usize>,
    /// The upstream model's side (1, -1, or 0 where unknown) and confidence, where they are used.
    pub(crate) upstream: Option<(Vec<i8>, Vec<f32>)>,
    /// Infinite values, taken as unknown.
    pub(crate) infinite: u64,
}

/// A package opened and checked.
#[derive(Debug)]
pub(crate) struct Source {
    /// The package.
    pub(crate) package: Package,
    /// The columns shown.
    pub(crate) keys: Vec<Key>,
    /// The names of all features.
    pub(crate) features: Vec<String>,
    /// The span of a bar.
    pub(crate) timeframe: Timeframe,
    /// Whether the package's own columns are the signal.
    pub(crate) by_columns: bool,
    /// What was noted.
    pub(crate) notes: Vec<String>,
}

impl Source {
    /// Opens a package and checks everything that can be checked before rows are read.
    ///
    /// # Errors
    /// [`DatasetError::Bridge`] with the first faults of the package; what the files refuse.
    pub(crate) fn open(directory: &Path, settings: &BridgeSettings) -> Result<Self, DatasetError> {
        let package = Package::open(directory)?;
        refuse_faults(&package, settings)?;
        let Some(first) = package
            .pairs
            .iter()
            .find_map(|pair| pair.table(Split::Train))
        else {
            return Err(fault(directory, "has no `train.parquet`".to_owned()));
        };
        if settings.pairs > 0 && package.pairs.len() != settings.pairs {
            let found = package.pairs.len();
            let message = format!("has {found} pairs, expected {}", settings.pairs);
            return Err(fault(directory, message));
        }
        let features = key::features(first, settings);
        if settings.features > 0 && features.len() != settings.features {
            let message = format!(
                "has {} features, expected {}",
                features.len(),
                settings.features
            );
            return Err(fault(first.path(), message));
        }
        let keys = key::choose(first, settings)?;
        let mut notes = Vec::new();
        notes.extend(key::left_out(first));
        let by_columns = by_columns(first, settings, &mut notes)?;
        let timeframe = timeframe(&package, first, settings)?;
        Ok(Self {
            package,
            keys,
            features,
            timeframe,
            by_columns,
            notes,
        })
    }

    /// Reads a part of a pair.
    ///
    /// # Errors
    /// What the file refuses; [`DatasetError::Bridge`] for a missing target.
    pub(crate) fn read(
        &self,
        pair: usize,
        part: Split,
        settings: &BridgeSettings,
    ) -> Result<Option<Table>, DatasetError> {
        let pair = &self.package.pairs[pair];
        let Some(reader) = pair.table(part) else {
            return Ok(None);
        };
        let span = self.timeframe.milliseconds();
        let mut decided = Vec::with_capacity(reader.rows() as usize);
        if reader.time_column().is_some() {
            let shift = match settings.stamp {
                Stamp::Open => span,
                Stamp::Close => 0,
            };
            for group in 0..reader.groups() {
                decided.extend(reader.times(group)?.iter().map(|time| time + shift));
            }
            // Piece by piece, so that a file of two timeframes is seen too.
            let piece = decided.len().div_ceil(PIECES).max(FEWEST_STAMPS);
            let odd = decided
                .chunks(piece)
                .filter(|stamps| stamps.len() >= FEWEST_STAMPS.min(decided.len()))
                .filter_map(most_frequent)
                .find(|found| *found != span);
            if let Some(found) = odd {
                let message = format!(
                    "has a bar every {} minutes where the package has one every {}: expected one \
                     timeframe for all pairs; leave this one out or make it again",
                    found / 60_000,
                    span / 60_000
                );
                return Err(fault(reader.path(), message));
            }
        } else {
            // Declared: the row's number is its time.
            decided.extend((1..=reader.rows() as i64).map(|row| row * span));
        }
        let (outcomes, mut infinite) = target(reader, settings.horizon_bars)?;
        let mut shown = Vec::with_capacity(self.keys.len());
        for key in &self.keys {
            let (values, not_finite) = column(reader, &key.column)?;
            infinite += not_finite;
            shown.push(values);
        }
        let upstream = if self.by_columns {
            let (sides, confidence) = upstream(reader, settings)?;
            Some((sides, confidence))
        } else {
            None
        };
        let rows = decided.len();
        let horizon = settings.horizon_bars;
        let ends = (0..rows)
            .map(|row| decided.get(row + horizon).copied())
            .collect();
        Ok(Some(Table {
            instrument: pair.instrument.clone(),
            matured: Vec::new(),
            parts: vec![rows],
            decided,
            ends,
            outcomes,
            shown,
            upstream,
            infinite,
        }))
    }

    /// Reads all parts of every pair, one after another: what is shown of a later part is seen
    /// against the whole past.
    ///
    /// # Errors
    /// As [`Source::read`].
    pub(crate) fn tables(&self, settings: &BridgeSettings) -> Result<Vec<Table>, DatasetError> {
        let tables: Vec<Result<Table, DatasetError>> = (0..self.package.pairs.len())
            .into_par_iter()
            .map(|pair| {
                let folder = self.package.directory.join(&self.package.pairs[pair].name);
                let first = self.read(pair, Split::Train, settings)?;
                let mut table =
                    first.ok_or_else(|| fault(&folder, "has no `train.parquet`".to_owned()))?;
                for part in [Split::Val, Split::Test] {
                    if let Some(next) = self.read(pair, part, settings)? {
                        table.append(next);
                    }
                    table.parts.push(table.decided.len());
                }
                table.mature();
                Ok(table)
            })
            .collect();
        tables.into_iter().collect()
    }
}

impl Table {
    fn append(&mut self, next: Self) {
        self.decided.extend(next.decided);
        self.ends.extend(next.ends);
        self.outcomes.extend(next.outcomes);
        for (column, values) in self.shown.iter_mut().zip(next.shown) {
            column.extend(values);
        }
        if let (Some((sides, confidence)), Some((later, later_confidence))) =
            (&mut self.upstream, next.upstream)
        {
            sides.extend(later);
            confidence.extend(later_confidence);
        }
        self.infinite += next.infinite;
    }

    /// Counts how many rows from the start had an outcome that was known at each row's decision.
    pub(crate) fn mature(&mut self) {
        for (end, outcome) in self.ends.iter().zip(&mut self.outcomes) {
            if end.is_none() {
                *outcome = f32::NAN;
            }
        }
        let mut known = 0;
        self.matured = self
            .decided
            .iter()
            .map(|now| {
                // A row without an end never gets an outcome and holds up nothing.
                while self
                    .ends
                    .get(known)
                    .is_some_and(|end| end.is_none_or(|end| end <= *now))
                {
                    known += 1;
                }
                known
            })
            .collect();
        for (row, known) in self.matured.iter_mut().enumerate() {
            *known = (*known).min(row);
        }
    }

    /// Forgets all rows from `rows` on.
    pub(crate) fn truncate(&mut self, rows: usize) {
        self.decided.truncate(rows);
        self.ends.truncate(rows);
        self.outcomes.truncate(rows);
        self.matured.truncate(rows);
        for column in &mut self.shown {
            column.truncate(rows);
        }
        for part in &mut self.parts {
            *part = (*part).min(rows);
        }
        if let Some((sides, confidence)) = &mut self.upstream {
            sides.truncate(rows);
            confidence.truncate(rows);
        }
    }

    /// Returns the rows of a part: 0 training, 1 validation, 2 test.
    pub(crate) fn part(&self, part: usize) -> std::ops::Range<usize> {
        let begin = part.checked_sub(1).map_or(0, |before| self.parts[before]);
        begin..self.parts[part]
    }
}

fn fault(path: &Path, message: String) -> DatasetError {
    DatasetError::Bridge {
        path: path.to_owned(),
        message,
    }
}

fn refuse_faults(package: &Package, settings: &BridgeSettings) -> Result<(), DatasetError> {
    let found: Vec<String> = package
        .check(settings.index_order)
        .into_iter()
        // Held-out parts are welcome, not needed.
        .filter(|fault| {
            !(fault.kind == PackageFaultKind::MissingSplit && fault.split != Some(Split::Train))
        })
        .map(|fault| {
            let mut place = fault.pair.clone();
            if let Some(split) = fault.split {
                place += &format!("/{split}");
            }
            format!("{place}: {}", fault.message)
        })
        .collect();
    if found.is_empty() {
        return Ok(());
    }
    let named: Vec<&str> = found
        .iter()
        .take(NAMED_FAULTS)
        .map(String::as_str)
        .collect();
    let more = match found.len().saturating_sub(NAMED_FAULTS) {
        0 => String::new(),
        more => format!("; and {more} more"),
    };
    Err(fault(
        &package.directory,
        format!("has {} faults: {}{more}", found.len(), named.join("; ")),
    ))
}

/// Decides whose signal is used.
fn by_columns(
    reader: &WideReader,
    settings: &BridgeSettings,
    notes: &mut Vec<String>,
) -> Result<bool, DatasetError> {
    let names = [&settings.confidence_column, &settings.prediction_column];
    let missing: Vec<&&String> = names
        .iter()
        .filter(|name| reader.column(name).is_none())
        .collect();
    let declared = settings.columns_are_out_of_fold;
    match settings.signal {
        SignalSource::Ensemble => Ok(false),
        SignalSource::Columns if !missing.is_empty() => Err(fault(
            reader.path(),
            format!(
                "has no column `{}`, which `bridge.signal` asks for",
                missing[0]
            ),
        )),
        SignalSource::Columns if !declared => Err(DatasetError::Setting {
            name: "bridge.columns_are_out_of_fold",
            value: "false".to_owned(),
            expected: "true where predictions were made without the row itself; a model's answers \
                       on its own training rows know the outcome"
                .to_owned(),
        }),
        SignalSource::Columns => Ok(true),
        SignalSource::Auto => {
            if missing.is_empty() && !declared {
                notes.push(format!(
                    "columns `{}` and `{}` are not used: set `bridge.columns_are_out_of_fold` if \
                     they were predicted by models that had not seen the row",
                    names[0], names[1]
                ));
            }
            Ok(missing.is_empty() && declared)
        }
    }
}

/// Returns the span of a bar: of the settings, the package, or the most frequent distance.
fn timeframe(
    package: &Package,
    reader: &WideReader,
    settings: &BridgeSettings,
) -> Result<Timeframe, DatasetError> {
    if let Some(timeframe) = settings.timeframe {
        return Ok(timeframe);
    }
    let stated = package.metadata.as_ref().and_then(|metadata| {
        let text = metadata.get("timeframe")?.as_str()?;
        text.parse().ok()
    });
    if let Some(timeframe) = stated {
        return Ok(timeframe);
    }
    let measured = (reader.time_column().is_some() && reader.groups() > 0)
        .then(|| reader.times(0))
        .transpose()?
        .and_then(|times| most_frequent(&times));
    measured
        .and_then(|span| {
            let minutes = span / 60_000;
            format!("{minutes}m").parse().ok()
        })
        .ok_or_else(|| DatasetError::Setting {
            name: "bridge.timeframe",
            value: "none".to_owned(),
            expected:
                "the span of a bar, such as `15m`: the package has no `metadata.json` and no \
                       stamps that tell"
                    .to_owned(),
        })
}

fn most_frequent(times: &[i64]) -> Option<i64> {
    let mut gaps: Vec<i64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    gaps.sort_unstable();
    gaps.chunk_by(|a, b| a == b)
        .max_by_key(|run| run.len())
        .map(|run| run[0])
}

fn target(reader: &WideReader, horizon: usize) -> Result<(Vec<f32>, u64), DatasetError> {
    let name = format!("target_return_{horizon}");
    if reader.column(&name).is_none() {
        let there: Vec<&str> = reader
            .columns()
            .iter()
            .filter(|column| column.name.starts_with("target_return_"))
            .map(|column| column.name.as_str())
            .collect();
        let message = format!(
            "has no column `{name}`; targets there: {}",
            if there.is_empty() {
                "none".to_owned()
            } else {
                there.join(", ")
            }
        );
        return Err(fault(reader.path(), message));
    }
    let (values, infinite) = column(reader, &name)?;
    if let Some(row) = values.iter().position(|value| *value <= -1.0) {
        let message = format!(
            "column `{name}`, row {row}: {}, expected a relative change above -1 (0.01 is 1 %)",
            values[row]
        );
        return Err(fault(reader.path(), message));
    }
    Ok((values, infinite))
}

/// Reads a column; infinities become NaN and are counted.
fn column(reader: &WideReader, name: &str) -> Result<(Vec<f32>, u64), DatasetError> {
    let Some(place) = reader.column(name) else {
        return Err(fault(reader.path(), format!("has no column `{name}`")));
    };
    let mut values = Vec::with_capacity(reader.rows() as usize);
    for group in 0..reader.groups() {
        values.extend(reader.floats(group, place)?);
    }
    let mut infinite = 0;
    for value in &mut values {
        if value.is_infinite() {
            *value = f32::NAN;
            infinite += 1;
        }
    }
    Ok((values, infinite))
}

fn upstream(
    reader: &WideReader,
    settings: &BridgeSettings,
) -> Result<(Vec<i8>, Vec<f32>), DatasetError> {
    let (confidence, _) = column(reader, &settings.confidence_column)?;
    let (prediction, _) = column(reader, &settings.prediction_column)?;
    if let Some(row) = confidence
        .iter()
        .position(|c| !(c.is_nan() || (0.0..=1.0).contains(c)))
    {
        let message = format!(
            "column `{}`, row {row}: {}, expected a confidence from 0 to 1",
            settings.confidence_column, confidence[row]
        );
        return Err(fault(reader.path(), message));
    }
    // Classes beyond two sides have no meaning that could be guessed.
    let whole = prediction.iter().all(|v| v.is_nan() || v.fract() == 0.0);
    if let Some(row) = prediction
        .iter()
        .position(|value| whole && value.abs() > 1.0)
    {
        let message = format!(
            "column `{}`, row {row}: class {}, expected 0 and 1 (SELL, BUY), -1 to 1, or a \
             predicted return",
            settings.prediction_column, prediction[row]
        );
        return Err(fault(reader.path(), message));
    }
    // 0 and 1 are the two sides unless some prediction is negative: then the sign is.
    let signed = prediction.iter().any(|value| *value < 0.0);
    let sides = prediction
        .iter()
        .map(|value| match value {
            value if value.is_nan() => 0,
            value if *value > 0.0 => 1,
            value if *value < 0.0 => -1,
            _ if signed => 0,
            _ => -1,
        })
        .collect();
    Ok((sides, confidence))
}
