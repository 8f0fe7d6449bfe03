//! Computes features some thousand rows at a time and writes them as they come.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::ops::{ControlFlow, Range};
use std::path::Path;

use formula::engine::{Evaluator, Plan, Request};
use formula::panel::Panel;
use market::Timestamp;
use market::table::{WideColumn, WideOptions, WideValues, WideWriter, Written};
use rayon::prelude::*;
use sha2::{Digest, Sha256};

use super::report::{FeatureReport, PackageSheet, PairSheet, PartSheet, SCHEMA, Tally};
use super::rows::{PARTS, bounds, rows_of, targets};
use super::{Feature, PackageSettings};
use crate::DatasetError;
use crate::store::{put_in_place, sync_directory};

/// How far a package has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PackageProgress {
    /// Rows of all instruments computed so far.
    pub rows: u64,
    /// Rows to compute.
    pub total: u64,
}

/// What a package is made of.
struct Work<'a> {
    panel: &'a Panel,
    set: &'a str,
    features: &'a [Feature],
    settings: &'a PackageSettings,
    plan: Plan,
    warm_up: usize,
    bounds: [usize; 4],
    folders: Vec<String>,
    /// Each instrument's own closes, for the targets.
    closes: Vec<Vec<f64>>,
}

/// Writes a package of `features` of all instruments of a panel into a directory,
/// which is replaced if it is an older package and refused if it is anything else.
/// `inputs` are the digests of the files that the panel was made of. `report` is
/// called after each group of rows and may stop the work; nothing is left behind
/// then.
///
/// # Errors
/// [`DatasetError::Formula`] where a formula needs what the panel does not have,
/// [`DatasetError::Stopped`] where `report` says so, and what the disk refuses.
pub fn write_package(
    panel: &Panel,
    set: &str,
    features: &[Feature],
    settings: &PackageSettings,
    inputs: BTreeMap<String, String>,
    directory: &Path,
    report: &mut dyn FnMut(PackageProgress) -> ControlFlow<()>,
) -> Result<PackageSheet, DatasetError> {
    settings.validate()?;
    let work = Work::new(panel, set, features, settings)?;
    let replaces = check_directory(directory)?;
    let parent = match directory.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    fs::create_dir_all(parent).map_err(DatasetError::io("create", parent))?;
    let staging = tempfile::Builder::new()
        .prefix(".package-")
        .tempdir_in(parent)
        .map_err(DatasetError::io("create a directory in", parent))?;
    let fresh = staging.path().join("new");
    let sheet = work.write(&fresh, inputs, report)?;
    put_in_place(staging, &fresh, directory, replaces)?;
    sync_directory(parent)?;
    Ok(sheet)
}

/// Reports whether an older package is there; refuses anything else.
fn check_directory(directory: &Path) -> Result<bool, DatasetError> {
    let Ok(mut entries) = fs::read_dir(directory) else {
        return Ok(false);
    };
    if entries.next().is_none() || directory.join("metadata.json").is_file() {
        return Ok(true);
    }
    Err(DatasetError::NotAPackage {
        path: directory.to_owned(),
    })
}

impl<'a> Work<'a> {
    fn new(
        panel: &'a Panel,
        set: &'a str,
        features: &'a [Feature],
        settings: &'a PackageSettings,
    ) -> Result<Self, DatasetError> {
        let requests: Vec<Request<'_>> = features
            .iter()
            .map(|feature| Request {
                name: &feature.name,
                expression: &feature.expression,
                profile: feature.profile,
            })
            .collect();
        let plan = Plan::new(&requests, panel)?;
        let warm_up = (0..plan.formulas()).map(|index| plan.warm_up(index)).max();
        let lanes = panel.lanes();
        let close = panel.column("close").unwrap_or(&[]);
        let instruments = panel.instruments();
        let closes = (0..instruments.len())
            .map(|lane| {
                let rows = panel.bars_of(lane).iter();
                rows.map(|&row| close[row as usize * lanes + lane])
                    .collect()
            })
            .collect();
        let work = Self {
            panel,
            set,
            features,
            settings,
            plan,
            warm_up: warm_up.unwrap_or(0),
            bounds: bounds(panel, settings),
            folders: instruments.iter().map(|name| folder(name)).collect(),
            closes,
        };
        for (lane, instrument) in instruments.iter().enumerate() {
            if work.rows(lane, 0).is_empty() {
                return Err(DatasetError::TooFewBars {
                    instrument: instrument.clone(),
                    bars: panel.bars_of(lane).len(),
                    warm_up: work.warm_up,
                    horizon: settings.longest(),
                });
            }
        }
        Ok(work)
    }

    fn rows(&self, lane: usize, part: usize) -> Range<usize> {
        rows_of(
            self.panel,
            self.settings,
            self.bounds,
            self.warm_up,
            lane,
            part,
        )
    }

    fn write(
        &self,
        directory: &Path,
        inputs: BTreeMap<String, String>,
        report: &mut dyn FnMut(PackageProgress) -> ControlFlow<()>,
    ) -> Result<PackageSheet, DatasetError> {
        let pairs = self.folders.len();
        let mut tallies = vec![Tally::default(); self.features.len()];
        let mut evaluators = self.evaluators();
        let mut columns = vec![0.0_f32; self.features.len() * pairs * self.settings.group_rows];
        let mut sheets: Vec<BTreeMap<String, PartSheet>> = vec![BTreeMap::new(); pairs];
        let mut done = 0;
        let total = (0..pairs)
            .map(|lane| self.panel.bars_of(lane).len() as u64)
            .sum();
        for (part, name) in PARTS.iter().enumerate() {
            let mut writers: Vec<Option<WideWriter>> = (0..pairs)
                .map(|lane| self.writer(directory, lane, part))
                .collect::<Result<_, _>>()?;
            let mut start = self.bounds[part];
            while start < self.bounds[part + 1] {
                let end = (start + self.settings.group_rows).min(self.bounds[part + 1]);
                let group = Group::new(self, part, start..end);
                self.compute(&mut evaluators, &group, &mut columns);
                self.tally(&group, &columns, &mut tallies);
                for (lane, writer) in writers.iter_mut().enumerate() {
                    if let Some(writer) = writer {
                        self.write_group(writer, &group, lane, &columns)?;
                    }
                }
                done += group.bars;
                start = end;
                if report(PackageProgress { rows: done, total }).is_break() {
                    return Err(DatasetError::Stopped);
                }
            }
            for (lane, writer) in writers.into_iter().enumerate() {
                if let Some(writer) = writer {
                    let written = writer.finish()?;
                    let sheet = self.part_sheet(directory, lane, part, written)?;
                    sheets[lane].insert((*name).to_owned(), sheet);
                }
            }
        }
        self.finish(directory, inputs, sheets, &tallies)
    }

    /// One evaluator a thread, each with its share of the formulas.
    fn evaluators(&self) -> Vec<(Range<usize>, Evaluator)> {
        let threads = rayon::current_num_threads().min(self.features.len());
        self.plan
            .shares(threads)
            .into_iter()
            .map(|formulas| {
                let evaluator = Evaluator::of_formulas(&self.plan, self.panel, formulas.clone());
                (formulas, evaluator)
            })
            .collect()
    }

    fn writer(
        &self,
        directory: &Path,
        lane: usize,
        part: usize,
    ) -> Result<Option<WideWriter>, DatasetError> {
        if self.rows(lane, part).is_empty() {
            return Ok(None);
        }
        let folder = directory.join(&self.folders[lane]);
        fs::create_dir_all(&folder).map_err(DatasetError::io("create", &folder))?;
        let features = self.features.iter();
        let mut columns: Vec<(String, WideColumn)> = features
            .map(|feature| (feature.name.clone(), WideColumn::F32))
            .collect();
        for &horizon in &self.settings.horizons {
            columns.push((format!("target_return_{horizon}"), WideColumn::F32));
        }
        for &horizon in &self.settings.horizons {
            columns.push((format!("target_direction_{horizon}"), WideColumn::I8));
        }
        let options = WideOptions {
            level: self.settings.level,
            ..WideOptions::default()
        };
        let path = folder.join(format!("{}.parquet", PARTS[part]));
        Ok(Some(WideWriter::create(
            &path,
            "timestamp",
            &columns,
            &options,
        )?))
    }

    /// Fills the columns of one group of rows: feature by feature, instrument by
    /// instrument, `group_rows` places each.
    fn compute(
        &self,
        evaluators: &mut [(Range<usize>, Evaluator)],
        group: &Group,
        columns: &mut [f32],
    ) {
        let pairs = self.folders.len();
        let (capacity, lanes) = (self.settings.group_rows, self.panel.lanes());
        let mut rest = columns;
        let mut shares = Vec::new();
        for (formulas, _) in evaluators.iter() {
            let (share, after) = rest.split_at_mut(formulas.len() * pairs * capacity);
            shares.push(share);
            rest = after;
        }
        let work = evaluators.par_iter_mut().zip(shares);
        work.for_each(|((formulas, evaluator), share)| {
            evaluator.advance_to(self.panel, group.panel.end, |formula, first, values| {
                let at = (formula - formulas.start) * pairs * capacity;
                let columns = &mut share[at..at + pairs * capacity];
                let from = first - group.panel.start;
                let rows = values.len() / lanes;
                for (lane, column) in columns.chunks_exact_mut(capacity).enumerate() {
                    let places = &group.places[lane][from..from + rows];
                    for (row, &place) in places.iter().enumerate() {
                        if place != Group::NOWHERE {
                            column[place as usize] = narrow(values[row * lanes + lane]);
                        }
                    }
                }
            });
        });
    }

    fn tally(&self, group: &Group, columns: &[f32], tallies: &mut [Tally]) {
        let pairs = self.folders.len();
        let capacity = self.settings.group_rows;
        let columns = columns.par_chunks_exact(pairs * capacity);
        tallies
            .par_iter_mut()
            .zip(columns)
            .for_each(|(tally, columns)| {
                for (lane, column) in columns.chunks_exact(capacity).enumerate() {
                    tally.take(&column[..group.rows[lane].len()]);
                }
            });
    }

    fn write_group(
        &self,
        writer: &mut WideWriter,
        group: &Group,
        lane: usize,
        columns: &[f32],
    ) -> Result<(), DatasetError> {
        let rows = group.rows[lane].clone();
        if rows.is_empty() {
            return Ok(());
        }
        let (pairs, capacity) = (self.folders.len(), self.settings.group_rows);
        let bars = &self.panel.bars_of(lane)[rows.clone()];
        let open_time = self.panel.open_time();
        let times: Vec<i64> = bars.iter().map(|&row| open_time[row as usize]).collect();
        let returns: Vec<Vec<f32>> = self
            .settings
            .horizons
            .iter()
            .map(|&horizon| targets(&self.closes[lane], rows.clone(), horizon))
            .collect();
        let directions: Vec<Vec<i8>> = returns
            .iter()
            .map(|returns| {
                returns
                    .iter()
                    .map(|&change| i8::from(change > 0.0))
                    .collect()
            })
            .collect();
        let mut values: Vec<WideValues<'_>> = (0..self.features.len())
            .map(|feature| {
                let at = (feature * pairs + lane) * capacity;
                WideValues::F32(&columns[at..at + rows.len()])
            })
            .collect();
        values.extend(returns.iter().map(|column| WideValues::F32(column)));
        values.extend(directions.iter().map(|column| WideValues::I8(column)));
        writer.write_group(&times, &values)?;
        Ok(())
    }

    fn part_sheet(
        &self,
        directory: &Path,
        lane: usize,
        part: usize,
        written: Written,
    ) -> Result<PartSheet, DatasetError> {
        let rows = self.rows(lane, part);
        let bars = self.panel.bars_of(lane);
        let time = |row: usize| Timestamp(self.panel.open_time()[bars[row] as usize]);
        let path = directory
            .join(&self.folders[lane])
            .join(format!("{}.parquet", PARTS[part]));
        Ok(PartSheet {
            rows: written.rows,
            first: time(rows.start),
            last: time(rows.end - 1),
            bytes: written.bytes,
            sha256: digest(&path)?,
        })
    }

    fn finish(
        &self,
        directory: &Path,
        inputs: BTreeMap<String, String>,
        sheets: Vec<BTreeMap<String, PartSheet>>,
        tallies: &[Tally],
    ) -> Result<PackageSheet, DatasetError> {
        let open_time = self.panel.open_time();
        let cut = |row: usize| open_time.get(row).map(|&time| Timestamp(time));
        let pairs: BTreeMap<String, PairSheet> = self
            .folders
            .iter()
            .zip(self.panel.instruments())
            .zip(sheets)
            .map(|((folder, instrument), parts)| {
                let sheet = PairSheet {
                    instrument: instrument.clone(),
                    parts,
                };
                (folder.clone(), sheet)
            })
            .collect();
        let rows = pairs.values().flat_map(|pair| pair.parts.values());
        let sheet = PackageSheet {
            schema: SCHEMA,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            set: self.set.to_owned(),
            timeframe: self.panel.timeframe(),
            timestamp: "the bar's open time, UTC; its values are known one bar later".to_owned(),
            horizons: self.settings.horizons.clone(),
            targets: "target_return_k is close[k bars later] / close - 1 in the instrument's own \
                      bars; target_direction_k is 1 where that is above 0, else 0"
                .to_owned(),
            warm_up_bars: self.warm_up,
            embargo_bars: self.settings.embargo(),
            cuts: self.bounds[1..3]
                .iter()
                .filter_map(|&row| cut(row))
                .collect(),
            rows: rows.map(|part| part.rows).sum(),
            inputs,
            features: self.feature_reports(tallies),
            pairs,
        };
        for (folder, pair) in &sheet.pairs {
            write_json(&directory.join(folder).join("metadata.json"), pair)?;
        }
        write_json(&directory.join("metadata.json"), &sheet)?;
        Ok(sheet)
    }

    fn feature_reports(&self, tallies: &[Tally]) -> Vec<FeatureReport> {
        let features = self.features.iter().zip(tallies).enumerate();
        features
            .map(|(index, (feature, tally))| FeatureReport {
                name: feature.name.clone(),
                id: feature.id.clone(),
                formula: feature.expression.to_string(),
                profile: feature.profile.name.to_owned(),
                warm_up_bars: self.plan.warm_up(index),
                missing: tally.missing(),
                unchanged: tally.unchanged(),
                smallest: tally.range().map(|range| range.0),
                largest: tally.range().map(|range| range.1),
                degenerate: tally.degenerate(),
            })
            .collect()
    }
}

/// Some rows of the panel that are computed and written together.
struct Group {
    panel: Range<usize>,
    /// The bars of each instrument that are written.
    rows: Vec<Range<usize>>,
    /// For each instrument and row: the place in its column.
    places: Vec<Vec<u32>>,
    /// Bars of all instruments, written or not.
    bars: u64,
}

impl Group {
    const NOWHERE: u32 = u32::MAX;

    fn new(work: &Work<'_>, part: usize, panel: Range<usize>) -> Self {
        let mut group = Self {
            panel: panel.clone(),
            rows: Vec::new(),
            places: Vec::new(),
            bars: 0,
        };
        for lane in 0..work.folders.len() {
            let bars = work.panel.bars_of(lane);
            let first = bars.partition_point(|&row| (row as usize) < panel.start);
            let last = bars.partition_point(|&row| (row as usize) < panel.end);
            let wanted = work.rows(lane, part);
            let start = wanted.start.clamp(first, last);
            let rows = start..wanted.end.clamp(start, last);
            let mut places = vec![Self::NOWHERE; panel.len()];
            for (place, &row) in bars[rows.clone()].iter().enumerate() {
                places[row as usize - panel.start] = place as u32;
            }
            group.bars += (last - first) as u64;
            group.rows.push(rows);
            group.places.push(places);
        }
        group
    }
}

/// Returns the value as it is stored; what `f32` cannot hold is unknown.
fn narrow(value: f64) -> f32 {
    let narrowed = value as f32;
    if narrowed.is_finite() {
        narrowed
    } else {
        f32::NAN
    }
}

/// Returns the folder of an instrument: `EURUSD` of `EUR/USD`.
fn folder(instrument: &str) -> String {
    instrument
        .chars()
        .filter(|letter| *letter != '/')
        .map(|letter| if letter == ':' { '_' } else { letter })
        .collect()
}

fn digest(path: &Path) -> Result<String, DatasetError> {
    let mut hasher = Sha256::new();
    let mut file = File::open(path).map_err(DatasetError::io("read", path))?;
    let mut buffer = vec![0; 1 << 20];
    loop {
        let read = file
            .read(&mut buffer)
            .map_err(DatasetError::io("read", path))?;
        if read == 0 {
            break;
        }
        hasher.update(&buffer[..read]);
    }
    Ok(crate::hex(&hasher.finalize()))
}

fn write_json(path: &Path, value: &impl serde::Serialize) -> Result<(), DatasetError> {
    let mut text = serde_json::to_string_pretty(value)
        .map_err(std::io::Error::from)
        .map_err(DatasetError::io("write", path))?;
    text.push('\n');
    fs::write(path, text)
        .and_then(|()| File::open(path)?.sync_all())
        .map_err(DatasetError::io("write", path))
}
