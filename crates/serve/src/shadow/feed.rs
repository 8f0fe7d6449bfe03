//! Bars as they come: from a freqtrade data directory, or from an exchange.
//!
//! Whatever comes is merged into what is known: bars still forming are dropped, bars revised after
//! their close are taken over and told, order does not matter. A source that fails is asked again;
//! the bars it gave before stay.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use market::binance::{BinanceError, Client, MOST};
use market::{Bars, Instrument, Timeframe, Timestamp, freqtrade};

/// The most bars kept of an instrument: five years of hours and some.
const KEPT: usize = 50_000;
/// The longest pause between two attempts at a source that fails.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// How far the exchange's clock may be off ours before that is told, milliseconds.
const SKEW: i64 = 2_000;

/// What a source brought.
#[derive(Debug, Default)]
pub struct Fresh {
    /// Bars by instrument, any stretch of them.
    pub bars: Vec<Bars>,
    /// The source's clock, if it has one of its own.
    pub time: Option<Timestamp>,
    /// What the person watching should know.
    pub notes: Vec<String>,
    /// Why some instrument has no new bars.
    pub fault: Option<String>,
}

/// Where bars come from.
pub trait Source {
    /// Returns what is new. A failure is told in [`Fresh::fault`].
    fn poll(&mut self, now: Timestamp) -> Fresh;
}

/// Everything known of the instruments.
#[derive(Debug, Default)]
pub struct Feed {
    bars: BTreeMap<Instrument, Bars>,
}

/// What merging changed.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Merged {
    /// New closed bars.
    pub added: usize,
    /// Bars whose numbers changed after their close.
    pub revised: usize,
}

impl Feed {
    /// Returns the bars by instrument.
    pub fn bars(&self) -> impl Iterator<Item = &Bars> {
        self.bars.values()
    }

    /// Takes over bars that have closed by `now`.
    ///
    /// # Errors
    /// The reason, for bars that cannot be (a high below a low, another timeframe); nothing of them
    /// is taken over.
    pub fn merge(&mut self, fresh: &Bars, now: Timestamp) -> Result<Merged, String> {
        let name = fresh.instrument.clone();
        let mut rows: BTreeMap<i64, [f64; 5]> = BTreeMap::new();
        if let Some(known) = self.bars.get(&name) {
            if known.timeframe != fresh.timeframe {
                let (found, expected) = (fresh.timeframe, known.timeframe);
                return Err(format!("`{name}`: bars of {found}, expected {expected}"));
            }
            rows.extend((0..known.len()).map(|row| (known.open_time[row], numbers(known, row))));
        }
        let mut merged = Merged::default();
        for row in 0..fresh.len() {
            if fresh.close_time(row) > now.0 {
                continue;
            }
            match rows.insert(fresh.open_time[row], numbers(fresh, row)) {
                None => merged.added += 1,
                Some(before) if before != numbers(fresh, row) => merged.revised += 1,
                Some(_) => {}
            }
        }
        if merged == Merged::default() {
            return Ok(merged);
        }
        let skip = rows.len().saturating_sub(KEPT);
        let mut bars = Bars::empty(name.clone(), fresh.timeframe);
        for (time, [open, high, low, close, volume]) in rows.into_iter().skip(skip) {
            bars.open_time.push(time);
            bars.open.push(open);
            bars.high.push(high);
            bars.low.push(low);
            bars.close.push(close);
            bars.volume.push(volume);
        }
        bars.validate().map_err(|error| error.to_string())?;
        self.bars.insert(name, bars);
        Ok(merged)
    }
}

fn numbers(bars: &Bars, row: usize) -> [f64; 5] {
    [
        bars.open[row],
        bars.high[row],
        bars.low[row],
        bars.close[row],
        bars.volume[row],
    ]
}

/// Candle files of a freqtrade data directory, read again when they change.
#[derive(Debug)]
pub struct Directory {
    files: Vec<(PathBuf, Option<(SystemTime, u64)>)>,
}

impl Directory {
    /// Watches these files.
    pub fn new(files: Vec<PathBuf>) -> Self {
        let files = files.into_iter().map(|path| (path, None)).collect();
        Self { files }
    }
}

impl Source for Directory {
    fn poll(&mut self, _: Timestamp) -> Fresh {
        let mut fresh = Fresh::default();
        for (path, seen) in &mut self.files {
            let found =
                std::fs::metadata(&*path).and_then(|found| Ok((found.modified()?, found.len())));
            let stamp = match found {
                Ok(stamp) => stamp,
                Err(error) => {
                    fresh.fault = Some(format!("cannot look at `{}`: {error}", path.display()));
                    continue;
                }
            };
            if *seen == Some(stamp) {
                continue;
            }
            // freqtrade writes in place: a file half written is read again at the next look.
            match freqtrade::read(path) {
                Ok(bars) => {
                    *seen = Some(stamp);
                    fresh.bars.push(bars);
                }
                Err(error) => fresh.fault = Some(error.to_string()),
            }
        }
        fresh
    }
}

/// Klines of an exchange, asked for when a bar should have closed.
#[derive(Debug)]
pub struct Exchange {
    client: Client,
    timeframe: Timeframe,
    warm_up: i64,
    instruments: Vec<(Instrument, Option<i64>)>,
    next: Option<Instant>,
    failures: u32,
    skew: i64,
    told_skew: bool,
}

impl Exchange {
    /// Asks for these instruments, beginning `warm_up` bars ago.
    pub fn new(
        client: Client,
        timeframe: Timeframe,
        instruments: Vec<Instrument>,
        warm_up: usize,
    ) -> Self {
        Self {
            client,
            timeframe,
            warm_up: warm_up as i64,
            instruments: instruments.into_iter().map(|name| (name, None)).collect(),
            next: None,
            failures: 0,
            skew: 0,
            told_skew: false,
        }
    }

    /// Asks for one instrument until its bars are up to date; returns them, and the time from which
    /// to ask the next time.
    fn catch_up(
        &self,
        instrument: &Instrument,
        from: i64,
        now: i64,
    ) -> Result<(Vec<Bars>, i64), BinanceError> {
        let (mut parts, mut from) = (Vec::new(), from);
        loop {
            let bars = self
                .client
                .klines(instrument, self.timeframe, Timestamp(from))?;
            let Some(last) = bars.open_time.last().copied() else {
                return Ok((parts, from));
            };
            let full = bars.len() >= MOST;
            parts.push(bars);
            if !full || self.timeframe.next(last) > now || last < from {
                return Ok((parts, last.max(from)));
            }
            from = last;
        }
    }

    fn failed(&mut self, error: &BinanceError) {
        self.failures += 1;
        let pause = Duration::from_secs(1 << self.failures.min(6)).min(LONGEST_PAUSE);
        self.next = Some(Instant::now() + error.wait().unwrap_or(pause));
    }
}

impl Source for Exchange {
    fn poll(&mut self, now: Timestamp) -> Fresh {
        let mut fresh = Fresh::default();
        if self.next.is_some_and(|next| Instant::now() < next) {
            return fresh;
        }
        match self.client.time() {
            Ok(time) => {
                self.skew = time.0 - now.0;
                if self.skew.abs() > SKEW && !std::mem::replace(&mut self.told_skew, true) {
                    fresh.notes.push(format!(
                        "the exchange's clock is {:.1} s ahead of this machine's; bars count as closed by the earlier of both",
                        self.skew as f64 / 1000.0
                    ));
                }
            }
            Err(error) => {
                self.failed(&error);
                fresh.fault = Some(error.to_string());
                return fresh;
            }
        }
        let time = now.0 + self.skew;
        fresh.time = Some(Timestamp(time));
        let bar = self.timeframe.milliseconds();
        for index in 0..self.instruments.len() {
            let (instrument, seen) = self.instruments[index].clone();
            // Two bars back, so that a revision of the last ones is seen.
            let from = seen.map_or(time - self.warm_up * bar, |last| last - 2 * bar);
            match self.catch_up(&instrument, from, time) {
                Ok((bars, last)) => {
                    fresh.bars.extend(bars);
                    self.instruments[index].1 = Some(last.max(seen.unwrap_or(0)));
                }
                Err(error) => {
                    self.failed(&error);
                    fresh.fault = Some(error.to_string());
                    return fresh;
                }
            }
        }
        self.failures = 0;
        // The next bar closes at a whole multiple of the timeframe; a moment later it can be had.
        let closes = self.timeframe.next(self.timeframe.bucket_start(time));
        let behind = fresh.bars.iter().any(|bars| {
            bars.open_time
                .last()
                .is_some_and(|last| last + bar < time - bar)
        });
        let wait = if behind {
            5_000
        } else {
            (closes - time + 1_500).clamp(1_000, 60_000)
        };
        self.next = Some(Instant::now() + Duration::from_millis(wait as u64));
        fresh
    }
}

#[cfg(test)]
#[path = "feed_tests.rs"]
mod tests;
