//! Bars of many instruments from a directory: freqtrade's feather files, or
//! Parquet and CSV.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use formula::panel::{Alignment, Clock, Panel};
use market::freqtrade::{self, CandleKind};
use market::{Bars, Instrument, Timeframe, ohlcv};

use crate::exit::{Exit, Stop};
use crate::{interrupt, run};

/// The tables of a directory.
#[derive(Debug)]
pub(crate) struct Tables {
    /// One table an instrument, sorted by name.
    pub(crate) bars: Vec<Bars>,
    /// The sha256 of each file by its path.
    pub(crate) digests: BTreeMap<String, String>,
    /// What was left out, and why.
    pub(crate) notes: Vec<String>,
}

/// A candidate file.
struct Found {
    path: PathBuf,
    instrument: Instrument,
    timeframe: Option<Timeframe>,
}

/// Reads the bars of a directory at one timeframe: the one asked for, or the only
/// one there is. `only` are instruments; none means all.
///
/// # Errors
/// On a faulty file, more than one timeframe, nothing to read, or Ctrl-C.
pub(crate) fn load(
    directory: &Path,
    timeframe: Option<Timeframe>,
    only: &[String],
) -> anyhow::Result<Tables> {
    let mut notes = Vec::new();
    let found = choose(find(directory)?, directory, timeframe, only, &mut notes)?;
    let mut bars = Vec::with_capacity(found.len());
    let mut digests = BTreeMap::new();
    for file in found {
        interrupt::check()?;
        bars.push(read(&file.path)?);
        digests.insert(file.path.display().to_string(), run::sha256_of(&file.path)?);
    }
    Ok(Tables {
        bars,
        digests,
        notes,
    })
}

/// Lists candle files; where futures and spot are both there, futures.
fn find(directory: &Path) -> anyhow::Result<Vec<Found>> {
    let of_freqtrade = freqtrade::discover(directory);
    let candles: Vec<_> = of_freqtrade
        .iter()
        .flatten()
        .filter(|file| file.kind.is_candles())
        .collect();
    let futures = candles.iter().any(|file| file.kind == CandleKind::Futures);
    let wanted = if futures {
        CandleKind::Futures
    } else {
        CandleKind::Spot
    };
    let feather: Vec<Found> = candles
        .into_iter()
        .filter(|file| file.kind == wanted)
        .map(|file| Found {
            path: file.path.clone(),
            instrument: file.instrument.clone(),
            timeframe: Some(file.timeframe),
        })
        .collect();
    if !feather.is_empty() {
        return Ok(feather);
    }
    match ohlcv::discover(directory) {
        Ok(files) => Ok(files
            .into_iter()
            .map(|file| Found {
                path: file.path,
                instrument: file.instrument,
                timeframe: file.timeframe,
            })
            .collect()),
        // The directory's own fault, if it has one, says more.
        Err(error) => Err(of_freqtrade.err().unwrap_or(error).into()),
    }
}

/// Keeps one file an instrument at one timeframe.
fn choose(
    found: Vec<Found>,
    directory: &Path,
    timeframe: Option<Timeframe>,
    only: &[String],
    notes: &mut Vec<String>,
) -> anyhow::Result<Vec<Found>> {
    let mut frames: Vec<Timeframe> = found.iter().filter_map(|file| file.timeframe).collect();
    frames.sort_unstable_by_key(|frame| frame.milliseconds());
    frames.dedup();
    let spoken: Vec<String> = frames.iter().map(ToString::to_string).collect();
    let timeframe = match (timeframe, frames.as_slice()) {
        (Some(timeframe), _) => Some(timeframe),
        (None, [one]) => Some(*one),
        (None, []) => None,
        (None, _) => {
            let text = format!(
                "`{}` has bars of {}, expected one timeframe",
                directory.display(),
                spoken.join(", ")
            );
            let hint = format!("choose one, for example `--timeframe {}`", spoken[0]);
            return Err(Stop::new(Exit::Data, text).hint(hint).into());
        }
    };
    let mut chosen = BTreeMap::new();
    let mut left_out = 0;
    for file in found {
        let name = file.instrument.to_string();
        let wanted = only.is_empty() || only.contains(&name);
        if !wanted || (file.timeframe.is_some() && file.timeframe != timeframe) {
            left_out += 1;
            continue;
        }
        chosen.insert(name, file);
    }
    for name in only {
        if !chosen.contains_key(name) {
            let text = format!("`{}` has no bars of `{name}`", directory.display());
            return Err(Stop::new(Exit::Data, text)
                .hint("`foretune data inspect` lists what is there")
                .into());
        }
    }
    if chosen.is_empty() {
        let frame = timeframe.map_or(String::new(), |frame| format!("{frame} "));
        let text = format!("`{}` has no {frame}bars", directory.display());
        return Err(Stop::new(Exit::Data, text)
            .hint(format!("timeframes there: {}", spoken.join(", ")))
            .into());
    }
    if left_out > 0 {
        notes.push(format!(
            "{left_out} files of other instruments or timeframes left out"
        ));
    }
    Ok(chosen.into_values().collect())
}

/// Reads the bars of one file, by its ending.
///
/// # Errors
/// On a faulty file.
pub(crate) fn read(path: &Path) -> anyhow::Result<Bars> {
    let feather = path.extension().is_some_and(|ending| ending == "feather");
    Ok(if feather {
        freqtrade::read(path)?
    } else {
        ohlcv::read(path)?
    })
}

/// Bars of each instrument that questions about formulas are made of.
pub(crate) const RECENT: usize = 3000;

/// Puts the tables onto one clock, at most the last `most` bars of each.
///
/// # Errors
/// As [`Panel::of_bars`].
pub(crate) fn panel(mut tables: Tables, most: usize) -> anyhow::Result<Panel> {
    for table in &mut tables.bars {
        *table = table.slice(table.len().saturating_sub(most)..table.len());
    }
    let clock = if never_close(&tables.bars) {
        Clock::Continuous
    } else {
        Clock::Observed
    };
    let alignment = Alignment {
        clock,
        ..Alignment::default()
    };
    Ok(Panel::of_bars(&tables.bars, alignment)?)
}

/// Reports whether markets are open at weekends: some bar opens on a Saturday in
/// every table.
pub(crate) fn never_close(bars: &[Bars]) -> bool {
    const DAY: i64 = 86_400_000;
    // 1970-01-01 was a Thursday.
    let saturday = |time: &i64| (time.div_euclid(DAY) + 3).rem_euclid(7) == 5;
    bars.iter()
        .all(|table| table.open_time.iter().any(saturday))
}
