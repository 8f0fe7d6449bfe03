//! Candles for a command: found in a directory, chosen by the settings, read
//! and checked. Every choice that was made for the user is told as a note.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use dataset::DatasetSettings;
use market::freqtrade::{self, CandleKind, DataFile};
use market::{Bars, Instrument, Surroundings};
use market::{headlines, sentiment};

use crate::exit::{Exit, Stop};
use crate::settings::{Market, Settings};
use crate::{bundled, interrupt};

/// The smallest share of decisions each class must have for the fixed
/// thresholds to fit an instrument. BTC has about a tenth in BUY and SELL, a
/// major currency well under a thousandth.
const LEAST_CLASS_SHARE: f64 = 0.01;

/// The candles of a command.
#[derive(Debug)]
pub(crate) struct Candles {
    /// One table per instrument.
    pub(crate) bars: Vec<Bars>,
    /// What is known besides bars, if anything.
    pub(crate) sentiment: Option<Surroundings>,
    /// What was left out or chosen, and why.
    pub(crate) notes: Vec<String>,
}

/// Returns the data directory: the one of the settings, else the bundled one.
///
/// # Errors
/// When the bundled candles cannot be put into the cache directory.
pub(crate) fn directory(settings: &Settings) -> anyhow::Result<PathBuf> {
    match &settings.data.directory {
        Some(directory) => Ok(directory.clone()),
        None => bundled::candles(),
    }
}

/// Reads the candles that the settings choose.
///
/// # Errors
/// On a faulty file, when nothing fits, or on Ctrl-C.
pub(crate) fn load(settings: &Settings) -> anyhow::Result<Candles> {
    let directory = directory(settings)?;
    let mut notes = Vec::new();
    let files = choose(
        settings,
        &directory,
        freqtrade::discover(&directory)?,
        &mut notes,
    )?;
    let mut bars = Vec::with_capacity(files.len());
    for file in files {
        interrupt::check()?;
        // What is odd about a file used is told by the data set's own warnings.
        let table = freqtrade::read(&file.path)?;
        if settings.data.instruments.is_empty()
            && let Some(reason) = misfit(&table, &settings.dataset)
        {
            notes.push(format!("{} left out: {reason}", table.instrument));
            continue;
        }
        bars.push(table);
    }
    if bars.is_empty() {
        return Err(Stop::new(
            Exit::Data,
            format!("no instrument in `{}` fits the settings: {}", directory.display(), notes.join("; ")),
        )
        .hint("try `--preset forex-12h`, whose label scales with volatility, or name `data.instruments`")
        .into());
    }
    let instruments: Vec<&Instrument> = bars.iter().map(|table| &table.instrument).collect();
    let sentiment = surroundings(settings, &directory, &instruments)?;
    let funded = sentiment.as_ref().map_or(0, |found| found.funding.len());
    if funded > 0 {
        notes.push(format!(
            "funding rates of {funded} instruments are shown (see `data.funding`)"
        ));
    }
    Ok(Candles {
        bars,
        sentiment,
        notes,
    })
}

/// Reads what is known besides bars: the index and the headlines that the settings name, and the
/// funding rates that lie beside the candles of perpetuals.
///
/// # Errors
/// On a faulty file.
pub(crate) fn surroundings(
    settings: &Settings,
    directory: &Path,
    instruments: &[&Instrument],
) -> anyhow::Result<Option<Surroundings>> {
    let mut found = Surroundings::default();
    if let Some(path) = &settings.data.fear_greed {
        found.fear_greed = Some(sentiment::read(path)?);
    }
    if let Some(path) = &settings.data.headlines {
        found.headlines = Some(headlines::read(path)?);
    }
    if settings.data.funding {
        for file in freqtrade::discover(directory)? {
            let wanted =
                file.kind == CandleKind::FundingRate && instruments.contains(&&file.instrument);
            if wanted && !found.funding.contains_key(&file.instrument) {
                let (funding, _) = freqtrade::read_funding(&file.path)?;
                found.funding.insert(file.instrument, funding);
            }
        }
    }
    Ok((!found.is_empty()).then_some(found))
}

/// Picks one candle file per instrument at the base timeframe.
fn choose(
    settings: &Settings,
    directory: &Path,
    found: Vec<DataFile>,
    notes: &mut Vec<String>,
) -> anyhow::Result<Vec<DataFile>> {
    let timeframe = settings.dataset.base_timeframe();
    let at_timeframe: Vec<DataFile> = found
        .into_iter()
        .filter(|file| file.kind.is_candles() && file.timeframe == timeframe)
        .collect();
    let futures = at_timeframe
        .iter()
        .any(|file| file.kind == CandleKind::Futures);
    let kind = match settings.data.market {
        Market::Futures => CandleKind::Futures,
        Market::Auto if futures => CandleKind::Futures,
        Market::Spot | Market::Auto => CandleKind::Spot,
    };
    let mut chosen = BTreeMap::new();
    let mut other = Vec::new();
    for file in at_timeframe {
        if file.kind == kind {
            chosen.insert(file.instrument.clone(), file);
        } else {
            other.push(file.instrument.to_string());
        }
    }
    if !other.is_empty() && !chosen.is_empty() {
        notes.push(format!(
            "futures and spot candles are both there: {} left out (see `data.market`)",
            other.join(", ")
        ));
    }
    if !settings.data.instruments.is_empty() {
        let known: Vec<String> = chosen.keys().map(ToString::to_string).collect();
        for name in &settings.data.instruments {
            if !known.contains(name) {
                return Err(Stop::new(
                    Exit::Data,
                    format!(
                        "`{}` has no {timeframe} candles of `{name}`",
                        directory.display()
                    ),
                )
                .hint(format!("instruments there: {}", known.join(", ")))
                .into());
            }
        }
        chosen.retain(|instrument, _| {
            let name = instrument.to_string();
            settings.data.instruments.contains(&name)
        });
    }
    if chosen.is_empty() {
        return Err(Stop::new(
            Exit::Data,
            format!("`{}` has no {timeframe} candles", directory.display()),
        )
        .hint("`foretune data inspect` lists what is there; the first of `dataset.timeframes` is what is looked for")
        .into());
    }
    Ok(chosen.into_values().collect())
}

/// Says why fixed thresholds do not fit an instrument, if they do not. Looks
/// only at the part of the history that is trained on.
fn misfit(bars: &Bars, settings: &DatasetSettings) -> Option<String> {
    if settings.label.window_bars().is_some() {
        return None;
    }
    let rows = (bars.len() as f64 * settings.split.train) as usize;
    let mut counts = [0_usize; 3];
    for outcome in dataset::outcomes(&bars.slice(0..rows), settings)
        .rows
        .iter()
        .flatten()
    {
        counts[outcome.label.index()] += 1;
    }
    let total: usize = counts.iter().sum();
    if total == 0 {
        return None;
    }
    let (class, count) = dataset::Decision::ALL
        .into_iter()
        .zip(counts)
        .min_by_key(|(_, count)| *count)?;
    let share = count as f64 / total as f64;
    (share < LEAST_CLASS_SHARE).then(|| {
        format!(
            "its {}-hour moves seldom reach the label's thresholds ({class} in {:.2} % of {total} bars)",
            settings.horizon_hours,
            share * 100.0
        )
    })
}
