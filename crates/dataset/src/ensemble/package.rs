//! A package of wide tables as rows and columns of the ensemble.
//!
//! Rows are those of all tables of all pairs, pair by pair in the order of time. A row is decided
//! when its bar closes. When a label ends is not written in such tables, so it is taken from the
//! stamps: the close of the bar `horizon` rows later, as weekends and holidays stretch it. Where
//! that row is in no table (the rows before a cut were purged) the first stamp after the cut bounds
//! it, and behind the last row the longest gap of the pair is added. Too long a span costs a few
//! rows of purge; too short a one would leak.

use std::ops::Range;
use std::path::Path;

use market::Timeframe;
use market::table::{Package, PackagePair, WideReader, matches};
use rayon::prelude::*;

use super::{ColumnSource, EnsembleError, Row, Target, named_like_an_outcome};
use crate::DatasetError;

/// The most bars that an outcome may look ahead.
const LONGEST_HORIZON: usize = 1_000_000;

/// Which column of a package is the outcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackageTarget {
    /// Its name, such as `target_return_20`.
    pub column: String,
    /// What it holds.
    pub kind: Target,
    /// The bars it looks ahead.
    pub horizon: usize,
}

impl PackageTarget {
    /// Returns the forward return over `horizon` bars, as `foretune features` names it.
    pub fn return_over(horizon: usize) -> Self {
        Self {
            column: format!("target_return_{horizon}"),
            kind: Target::Return,
            horizon,
        }
    }
}

/// A package, its rows in memory and its columns on disk.
#[derive(Debug)]
pub struct PackageSource<'a> {
    tables: Vec<Table<'a>>,
    rows: Vec<Row>,
    kind: Target,
    names: Vec<String>,
    left_out: Vec<String>,
    pairs: Vec<String>,
}

/// A table, and where its rows are.
#[derive(Debug)]
struct Table<'a> {
    reader: &'a WideReader,
    rows: Range<usize>,
    /// The rows of each row group, counted within the source, and its first decision.
    groups: Vec<(Range<usize>, i64)>,
    /// The place of each feature in the table.
    places: Vec<usize>,
}

impl<'a> PackageSource<'a> {
    /// Reads the stamps and outcomes of a package.
    ///
    /// `features` are names and patterns with `*` and `?`, those after `!` taken away again; with
    /// none, every column of numbers. The time column is no feature, nor are columns named
    /// `target_*`, which packages are known to hold; any other column named like an outcome is
    /// refused by [`super::fit`]. A feature that some table lacks is left out and listed.
    ///
    /// `timeframe` is that of the bars; by default what `metadata.json` says.
    ///
    /// # Errors
    /// [`EnsembleError::Table`] for a table without stamps or outcomes, for stamps that do not
    /// ascend, or where the timeframe is not known; [`DatasetError::Market`].
    pub fn open(
        package: &'a Package,
        target: &PackageTarget,
        features: &[String],
        timeframe: Option<Timeframe>,
    ) -> Result<Self, DatasetError> {
        if !(1..=LONGEST_HORIZON).contains(&target.horizon) {
            return Err(DatasetError::Setting {
                name: "ensemble.horizon",
                value: target.horizon.to_string(),
                expected: format!("1 to {LONGEST_HORIZON} bars"),
            });
        }
        let bar = match timeframe.or_else(|| said(package)) {
            Some(timeframe) => timeframe.milliseconds(),
            None => {
                return Err(table_error(
                    &package.directory,
                    "its metadata name no timeframe; say which the bars are of".to_owned(),
                ));
            }
        };
        let (names, left_out) = names(package, features);
        if let Some(text) = matching_nothing(package, features) {
            return Err(table_error(
                &package.directory,
                format!("no column of its tables matches the feature `{text}`"),
            ));
        }
        if names.is_empty() {
            return Err(table_error(
                &package.directory,
                "no column of numbers in all its tables is among the features".to_owned(),
            ));
        }
        let read: Vec<PairRows<'a>> = package
            .pairs
            .par_iter()
            .map(|pair| PairRows::read(pair, target, bar, &names))
            .collect::<Result<_, _>>()?;
        let mut source = Self {
            tables: Vec::new(),
            rows: Vec::new(),
            kind: target.kind,
            names,
            left_out,
            pairs: package.pairs.iter().map(|pair| pair.name.clone()).collect(),
        };
        for (instrument, pair) in read.into_iter().enumerate() {
            source.append(instrument as u32, pair);
        }
        Ok(source)
    }

    /// Returns the names of the instruments, by their numbers.
    pub fn instruments(&self) -> &[String] {
        &self.pairs
    }

    /// Returns the columns that some table lacks.
    pub fn left_out(&self) -> &[String] {
        &self.left_out
    }

    /// Returns the rows of each table: the pair's number, the table's path, and its rows' places
    /// in [`ColumnSource::rows`].
    pub fn tables(&self) -> impl Iterator<Item = (u32, &Path, Range<usize>)> {
        self.tables.iter().map(|table| {
            let instrument = self
                .rows
                .get(table.rows.start)
                .map_or(0, |row| row.instrument);
            (instrument, table.reader.path(), table.rows.clone())
        })
    }

    fn append(&mut self, instrument: u32, pair: PairRows<'a>) {
        let base = self.rows.len();
        self.rows
            .extend(pair.rows.into_iter().map(|row| Row { instrument, ..row }));
        for mut table in pair.tables {
            table.rows = table.rows.start + base..table.rows.end + base;
            for (rows, _) in &mut table.groups {
                *rows = rows.start + base..rows.end + base;
            }
            self.tables.push(table);
        }
    }
}

impl ColumnSource for PackageSource<'_> {
    fn rows(&self) -> &[Row] {
        &self.rows
    }

    fn target(&self) -> Target {
        self.kind
    }

    fn features(&self) -> &[String] {
        &self.names
    }

    fn read(
        &self,
        feature: usize,
        before: Option<i64>,
        out: &mut [f32],
    ) -> Result<(), DatasetError> {
        let mut parts = Vec::with_capacity(self.tables.len());
        let mut rest = out;
        for table in &self.tables {
            let (part, after) = rest.split_at_mut(table.rows.len());
            parts.push((table, part));
            rest = after;
        }
        parts.into_par_iter().try_for_each(|(table, out)| {
            let mut rest = out;
            for (group, (rows, first)) in table.groups.iter().enumerate() {
                let (part, after) = rest.split_at_mut(rows.len());
                rest = after;
                if before.is_some_and(|before| *first >= before) {
                    part.fill(f32::NAN);
                } else {
                    let values = table.reader.floats(group, table.places[feature])?;
                    if values.len() != part.len() {
                        return Err(table_error(
                            table.reader.path(),
                            format!(
                                "row group {group} has {} values of `{}`, expected {}",
                                values.len(),
                                self.names[feature],
                                part.len()
                            ),
                        ));
                    }
                    part.copy_from_slice(&values);
                }
            }
            Ok(())
        })
    }
}

/// The rows of one pair, counted from 0.
struct PairRows<'a> {
    rows: Vec<Row>,
    tables: Vec<Table<'a>>,
}

impl<'a> PairRows<'a> {
    fn read(
        pair: &'a PackagePair,
        target: &PackageTarget,
        bar: i64,
        names: &[String],
    ) -> Result<Self, DatasetError> {
        let mut opens: Vec<i64> = Vec::new();
        let mut outcomes: Vec<f32> = Vec::new();
        let mut tables = Vec::new();
        for (_, reader) in &pair.tables {
            let start = opens.len();
            let mut groups = Vec::with_capacity(reader.groups());
            let outcome = reader.column(&target.column).ok_or_else(|| {
                table_error(
                    reader.path(),
                    format!("it has no column `{}` for the outcome", target.column),
                )
            })?;
            for group in 0..reader.groups() {
                let from = opens.len();
                let times = reader.times(group)?;
                outcomes.extend(reader.floats(group, outcome)?);
                opens.extend(times);
                if outcomes.len() != opens.len() {
                    return Err(table_error(
                        reader.path(),
                        format!(
                            "row group {group} has {} stamps and {} outcomes",
                            opens.len() - from,
                            outcomes.len() - from
                        ),
                    ));
                }
                let first = opens
                    .get(from)
                    .map_or(i64::MIN, |open| open.saturating_add(bar));
                groups.push((from..opens.len(), first));
            }
            let place = |name: &String| reader.column(name).unwrap_or(usize::MAX);
            tables.push(Table {
                reader,
                rows: start..opens.len(),
                groups,
                places: names.iter().map(place).collect(),
            });
        }
        ascending(&tables, &opens)?;
        let ends = ends(&tables, &opens, target.horizon, bar);
        let row = |((open, end), target): ((&i64, i64), f32)| Row {
            instrument: 0,
            decision: open.saturating_add(bar),
            end,
            target,
            weight: 1.0,
        };
        let rows = opens.iter().zip(ends).zip(outcomes).map(row).collect();
        Ok(Self { rows, tables })
    }
}

fn ascending(tables: &[Table<'_>], opens: &[i64]) -> Result<(), EnsembleError> {
    let Some(place) = opens.windows(2).position(|pair| pair[0] >= pair[1]) else {
        return Ok(());
    };
    let row = place + 1;
    let mut tables = tables.iter();
    let Some(table) = tables.find(|table| table.rows.contains(&row)) else {
        return Ok(());
    };
    Err(EnsembleError::Table {
        path: table.reader.path().to_owned(),
        message: format!(
            "row {} is stamped {}, not after the {} before it",
            row - table.rows.start,
            opens[row],
            opens[place]
        ),
    })
}

/// Returns when the label of each row is over at the latest; see the head of this file.
fn ends(tables: &[Table<'_>], opens: &[i64], horizon: usize, bar: i64) -> Vec<i64> {
    let gap = opens
        .windows(2)
        .map(|pair| pair[1].saturating_sub(pair[0]))
        .max()
        .unwrap_or(0);
    let mut ends = Vec::with_capacity(opens.len());
    for table in tables {
        for row in table.rows.clone() {
            let later = row + horizon;
            let end = if later < table.rows.end {
                opens[later].saturating_add(bar)
            } else if let Some(next) = opens.get(table.rows.end) {
                next.saturating_add(bar)
            } else {
                let last = opens[table.rows.end - 1].saturating_add(bar);
                let beyond = (later + 1 - table.rows.end) as i64;
                last.saturating_add(beyond.saturating_mul(bar))
                    .saturating_add(gap)
            };
            ends.push(end);
        }
    }
    ends
}

/// Returns the timeframe that a package says it is of.
fn said(package: &Package) -> Option<Timeframe> {
    let metadata = package.metadata.as_ref()?;
    metadata.get("timeframe")?.as_str()?.parse().ok()
}

/// Returns the features, and the columns that some table lacks.
fn names(package: &Package, wanted: &[String]) -> (Vec<String>, Vec<String>) {
    let mut readers = package.pairs.iter().flat_map(|pair| &pair.tables);
    let Some((_, first)) = readers.next() else {
        return (Vec::new(), Vec::new());
    };
    let numbers = |reader: &WideReader| -> std::collections::BTreeSet<String> {
        let columns = reader.columns().iter();
        let numbers = columns.filter(|column| column.column_type.is_number());
        numbers.map(|column| column.name.clone()).collect()
    };
    let rest: Vec<_> = readers.map(|(_, reader)| numbers(reader)).collect();
    let (mut names, mut left_out) = (Vec::new(), Vec::new());
    for (place, column) in first.columns().iter().enumerate() {
        let name = &column.name;
        let known_target = named_like_an_outcome(name) == Some("target");
        let number = column.column_type.is_number();
        if Some(place) == first.time_column() || !number || known_target || !picked(wanted, name) {
            continue;
        }
        if rest.iter().all(|columns| columns.contains(name)) {
            names.push(name.clone());
        } else {
            left_out.push(name.clone());
        }
    }
    (names, left_out)
}

/// Returns the first name or pattern asked for that no column of the first table matches.
fn matching_nothing<'a>(package: &Package, wanted: &'a [String]) -> Option<&'a str> {
    let mut readers = package.pairs.iter().flat_map(|pair| &pair.tables);
    let (_, first) = readers.next()?;
    let asked = wanted.iter().filter(|text| !text.starts_with('!'));
    asked.map(String::as_str).find(|text| {
        let mut columns = first.columns().iter();
        !columns.any(|column| matches(text, &column.name))
    })
}

/// Returns whether a list of names and patterns picks a column: the last one that matches says.
fn picked(wanted: &[String], name: &str) -> bool {
    let only_taken_away = wanted.iter().all(|text| text.starts_with('!'));
    let mut picked = only_taken_away;
    for text in wanted {
        match text.strip_prefix('!') {
            Some(pattern) if matches(pattern, name) => picked = false,
            None if matches(text, name) => picked = true,
            _ => {}
        }
    }
    picked
}

fn table_error(path: &Path, message: String) -> DatasetError {
    DatasetError::Ensemble(EnsembleError::Table {
        path: path.to_owned(),
        message,
    })
}
