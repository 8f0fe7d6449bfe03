//! Many instruments on one clock: the table that formulas are evaluated on.
//!
//! A row is one time, a column of a row one quantity for all instruments, padded
//! to a multiple of 8 lanes. All instruments share the clock, so that row `t`
//! means the same instant in each; an instrument without a bar at that instant
//! either carries its last price without volume, for a stated number of bars, or
//! is unknown.

use std::collections::BTreeMap;

use market::{Bars, Instrument, Timeframe};

use crate::FormulaError;
use crate::currency;

/// Lanes are padded to a multiple of this.
pub const LANE_BLOCK: usize = 8;

/// Which instants are rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clock {
    /// Every instant at which some instrument has a bar: markets that close.
    Observed,
    /// Every step of the timeframe from the first bar to the last: markets that
    /// never close.
    Continuous,
}

/// How bars become a panel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Alignment {
    /// Which instants are rows.
    pub clock: Clock,
    /// For how many rows in a row an instrument without a bar keeps its last
    /// price, with volume 0. Beyond that it is unknown and averages start anew.
    pub carry: usize,
}

impl Default for Alignment {
    /// Observed instants; a price is carried for at most 4 bars.
    fn default() -> Self {
        Self {
            clock: Clock::Observed,
            carry: 4,
        }
    }
}

/// One bar's numbers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bar {
    /// First price.
    pub open: f64,
    /// Highest price.
    pub high: f64,
    /// Lowest price.
    pub low: f64,
    /// Last price.
    pub close: f64,
    /// Units traded.
    pub volume: f64,
}

/// Instruments x time.
#[derive(Debug, Clone)]
pub struct Panel {
    timeframe: Timeframe,
    instruments: Vec<String>,
    lanes: usize,
    carry: usize,
    open_time: Vec<i64>,
    columns: BTreeMap<String, Vec<f64>>,
    groups: BTreeMap<String, Vec<f64>>,
    /// The panel's row of each bar that an instrument really has.
    rows: Vec<Vec<u32>>,
    /// Rows since each lane's last bar, `usize::MAX` before the first.
    silent: Vec<usize>,
}

const BAR_COLUMNS: [&str; 5] = ["open", "high", "low", "close", "volume"];

impl Panel {
    /// Returns a panel without rows for instruments of one timeframe. In foreign
    /// exchange the groups are currencies: see [`crate::fields`].
    ///
    /// # Errors
    /// [`FormulaError::NoInstruments`], [`FormulaError::Twice`].
    pub fn new(
        instruments: &[Instrument],
        timeframe: Timeframe,
        carry: usize,
    ) -> Result<Self, FormulaError> {
        if instruments.is_empty() {
            return Err(FormulaError::NoInstruments);
        }
        for (index, instrument) in instruments.iter().enumerate() {
            if instruments[..index].contains(instrument) {
                return Err(FormulaError::Twice {
                    instrument: instrument.to_string(),
                });
            }
        }
        let lanes = instruments.len().next_multiple_of(LANE_BLOCK);
        let mut groups = BTreeMap::new();
        for (name, codes) in currency::groups(instruments) {
            let mut codes = codes;
            codes.resize(lanes, f64::NAN);
            groups.insert(name.to_owned(), codes);
        }
        Ok(Self {
            timeframe,
            instruments: instruments.iter().map(ToString::to_string).collect(),
            lanes,
            carry,
            open_time: Vec::new(),
            columns: BAR_COLUMNS.map(|name| (name.to_owned(), Vec::new())).into(),
            groups,
            rows: vec![Vec::new(); instruments.len()],
            silent: vec![usize::MAX; instruments.len()],
        })
    }

    /// Returns the panel of tables of bars, one an instrument.
    ///
    /// # Errors
    /// Where there is no table, an instrument comes twice, timeframes differ, a
    /// table is empty or does not ascend, or clocks are shifted against each other.
    pub fn of_bars(tables: &[Bars], alignment: Alignment) -> Result<Self, FormulaError> {
        let instruments: Vec<Instrument> =
            tables.iter().map(|bars| bars.instrument.clone()).collect();
        let timeframe = tables.first().ok_or(FormulaError::NoInstruments)?.timeframe;
        check_tables(tables, timeframe)?;
        let mut panel = Self::new(&instruments, timeframe, alignment.carry)?;
        let mut next = vec![0; tables.len()];
        let mut row: Vec<Option<Bar>> = vec![None; tables.len()];
        let mut time = earliest(tables, &next);
        while let Some(open_time) = time {
            for ((bars, next), bar) in tables.iter().zip(&mut next).zip(&mut row) {
                let here = bars.open_time.get(*next) == Some(&open_time);
                *bar = here.then(|| bar_of(bars, *next));
                *next += usize::from(here);
            }
            panel.push(open_time, &row)?;
            time = earliest(tables, &next).map(|observed| match alignment.clock {
                Clock::Observed => observed,
                Clock::Continuous => timeframe.next(open_time).min(observed),
            });
        }
        Ok(panel)
    }

    /// Appends one row: a bar or nothing for each instrument.
    ///
    /// # Errors
    /// [`FormulaError::NotAscending`] where the row is not after the last one,
    /// [`FormulaError::Width`] where there is not one entry an instrument.
    pub fn push(&mut self, open_time: i64, bars: &[Option<Bar>]) -> Result<(), FormulaError> {
        if bars.len() != self.instruments.len() {
            return Err(FormulaError::Width {
                found: bars.len(),
                expected: self.instruments.len(),
            });
        }
        if self.open_time.last().is_some_and(|&last| last >= open_time) {
            return Err(FormulaError::NotAscending {
                instrument: "the panel".to_owned(),
                row: self.open_time.len(),
            });
        }
        let at = self.open_time.len();
        self.open_time.push(open_time);
        let before = self.columns["close"].len().saturating_sub(self.lanes);
        let last_close: Vec<f64> = self.columns["close"][before..].to_vec();
        let filled: Vec<Bar> = (0..self.lanes)
            .map(|lane| self.bar(lane, at, bars, &last_close))
            .collect();
        for (name, value) in [
            ("open", (|bar: &Bar| bar.open) as fn(&Bar) -> f64),
            ("high", |bar| bar.high),
            ("low", |bar| bar.low),
            ("close", |bar| bar.close),
            ("volume", |bar| bar.volume),
        ] {
            if let Some(column) = self.columns.get_mut(name) {
                column.extend(filled.iter().map(value));
            }
        }
        Ok(())
    }

    /// Adds a column, or replaces one: `rows * instruments` values, row after row,
    /// NaN where unknown.
    ///
    /// # Errors
    /// [`FormulaError::Width`] where the number of values is another.
    pub fn insert(&mut self, name: &str, values: &[f64]) -> Result<(), FormulaError> {
        let width = self.instruments.len();
        if values.len() != self.rows() * width {
            return Err(FormulaError::Width {
                found: values.len(),
                expected: self.rows() * width,
            });
        }
        let mut column = vec![f64::NAN; self.rows() * self.lanes];
        for (row, values) in column
            .chunks_exact_mut(self.lanes)
            .zip(values.chunks(width))
        {
            row[..width].copy_from_slice(values);
        }
        self.columns.insert(name.to_owned(), column);
        Ok(())
    }

    /// Puts the instruments into groups, one name an instrument.
    ///
    /// # Errors
    /// [`FormulaError::Width`] where there is not one name an instrument.
    pub fn group(&mut self, name: &str, names: &[&str]) -> Result<(), FormulaError> {
        if names.len() != self.instruments.len() {
            return Err(FormulaError::Width {
                found: names.len(),
                expected: self.instruments.len(),
            });
        }
        let mut codes = currency::codes(names);
        codes.resize(self.lanes, f64::NAN);
        self.groups.insert(name.to_owned(), codes);
        Ok(())
    }

    /// Returns the panel of the last `rows` rows.
    #[must_use]
    pub fn tail(&self, rows: usize) -> Self {
        let start = self.rows().saturating_sub(rows);
        let mut tail = self.clone();
        tail.open_time.drain(..start);
        for column in tail.columns.values_mut() {
            column.drain(..start * self.lanes);
        }
        for bars in &mut tail.rows {
            bars.retain(|&row| row as usize >= start);
            for row in bars {
                *row -= start as u32;
            }
        }
        tail
    }

    /// Returns the number of rows.
    pub fn rows(&self) -> usize {
        self.open_time.len()
    }

    /// Returns the number of values in a row, padding included.
    pub fn lanes(&self) -> usize {
        self.lanes
    }

    /// Returns the instruments' names, lane by lane.
    pub fn instruments(&self) -> &[String] {
        &self.instruments
    }

    /// Returns the span of a bar.
    pub fn timeframe(&self) -> Timeframe {
        self.timeframe
    }

    /// Returns the open times of the rows, Unix milliseconds.
    pub fn open_time(&self) -> &[i64] {
        &self.open_time
    }

    /// Returns the panel's row of each bar that instrument `lane` really has.
    pub fn bars_of(&self, lane: usize) -> &[u32] {
        &self.rows[lane]
    }

    /// Returns a column, `rows * lanes` values.
    pub fn column(&self, name: &str) -> Option<&[f64]> {
        self.columns.get(name).map(Vec::as_slice)
    }

    /// Returns which group each lane belongs to.
    pub(crate) fn groups(&self, name: &str) -> Option<&[f64]> {
        self.groups.get(name).map(Vec::as_slice)
    }

    /// Returns what instrument `lane` shows in row `at`, and remembers it.
    fn bar(&mut self, lane: usize, at: usize, bars: &[Option<Bar>], last_close: &[f64]) -> Bar {
        let unknown = Bar {
            open: f64::NAN,
            high: f64::NAN,
            low: f64::NAN,
            close: f64::NAN,
            volume: f64::NAN,
        };
        let Some(given) = bars.get(lane) else {
            return unknown;
        };
        if let Some(bar) = given {
            self.silent[lane] = 0;
            self.rows[lane].push(at as u32);
            return *bar;
        }
        self.silent[lane] = self.silent[lane].saturating_add(1);
        if self.silent[lane] > self.carry {
            return unknown;
        }
        let price = last_close[lane];
        Bar {
            open: price,
            high: price,
            low: price,
            close: price,
            volume: 0.0,
        }
    }
}

fn bar_of(bars: &Bars, row: usize) -> Bar {
    Bar {
        open: bars.open[row],
        high: bars.high[row],
        low: bars.low[row],
        close: bars.close[row],
        volume: bars.volume[row],
    }
}

fn earliest(tables: &[Bars], next: &[usize]) -> Option<i64> {
    let times = tables.iter().zip(next);
    times
        .filter_map(|(bars, &row)| bars.open_time.get(row).copied())
        .min()
}

fn check_tables(tables: &[Bars], timeframe: Timeframe) -> Result<(), FormulaError> {
    let phase = |time: i64| time - timeframe.bucket_start(time);
    let first = tables.first().and_then(|bars| bars.open_time.first());
    for bars in tables {
        let instrument = || bars.instrument.to_string();
        if bars.timeframe != timeframe {
            return Err(FormulaError::Timeframes {
                instrument: instrument(),
                found: bars.timeframe,
                expected: timeframe,
            });
        }
        let (Some(&start), Some(&reference)) = (bars.open_time.first(), first) else {
            return Err(FormulaError::NoBars {
                instrument: instrument(),
            });
        };
        if let Some(row) = bars
            .open_time
            .windows(2)
            .position(|pair| pair[0] >= pair[1])
        {
            return Err(FormulaError::NotAscending {
                instrument: instrument(),
                row: row + 1,
            });
        }
        let shifted = |time: &&i64| phase(**time) != phase(reference);
        if let Some(time) = bars.open_time.iter().find(shifted) {
            return Err(FormulaError::Misaligned {
                instrument: instrument(),
                shift: phase(*time) - phase(reference),
                reference: tables[0].instrument.to_string(),
                since: start,
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: i64 = 60_000;

    fn bars(name: &str, minutes: &[i64]) -> Bars {
        let mut bars = Bars::empty(Instrument::new(name).unwrap(), "15m".parse().unwrap());
        for &minute in minutes {
            let price = 100.0 + minute as f64;
            bars.open_time.push(minute * MINUTE);
            bars.open.push(price);
            bars.high.push(price + 1.0);
            bars.low.push(price - 1.0);
            bars.close.push(price + 0.5);
            bars.volume.push(7.0);
        }
        bars
    }

    #[test]
    fn instruments_share_the_clock_and_prices_are_carried_for_a_while() {
        let tables = [
            bars("EUR/USD", &[0, 15, 30, 45, 60, 75]),
            bars("GBP/USD", &[15, 75]),
        ];
        let alignment = Alignment {
            clock: Clock::Observed,
            carry: 2,
        };
        let panel = Panel::of_bars(&tables, alignment).unwrap();
        assert_eq!((panel.rows(), panel.lanes()), (6, 8));
        let lane = |column: &str, lane: usize| -> Vec<f64> {
            let column = panel.column(column).unwrap();
            column.chunks(8).map(|row| row[lane]).collect()
        };
        assert_eq!(lane("open", 0), [100.0, 115.0, 130.0, 145.0, 160.0, 175.0]);
        let second = lane("open", 1);
        assert!(second[0].is_nan() && second[4].is_nan());
        assert_eq!(
            (second[1], second[2], second[3], second[5]),
            (115.0, 115.5, 115.5, 175.0)
        );
        assert_eq!(lane("volume", 1)[2], 0.0);
        assert_eq!(panel.bars_of(1), [1, 5]);
        assert!(lane("close", 7).iter().all(|value| value.is_nan()));
    }

    #[test]
    fn a_continuous_clock_has_every_step() {
        let tables = [bars("BTC/USDT", &[0, 15, 60])];
        let alignment = Alignment {
            clock: Clock::Continuous,
            carry: 1,
        };
        let panel = Panel::of_bars(&tables, alignment).unwrap();
        assert_eq!(panel.open_time(), [0, 15, 30, 45, 60].map(|m| m * MINUTE));
        let close = panel.column("close").unwrap();
        assert_eq!(close[16], 115.5);
        assert!(close[24].is_nan());
    }

    #[test]
    fn a_tail_is_the_panel_without_its_beginning() {
        let tables = [bars("A/B", &[0, 15, 30, 45]), bars("C/D", &[0, 30])];
        let panel = Panel::of_bars(&tables, Alignment::default()).unwrap();
        let tail = panel.tail(3);
        assert_eq!(tail.open_time(), [15, 30, 45].map(|m| m * MINUTE));
        assert_eq!(
            (tail.bars_of(0), tail.bars_of(1)),
            (&[0, 1, 2][..], &[1][..])
        );
        let bits = |values: &[f64]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
        let whole = panel.column("close").unwrap();
        assert_eq!(bits(tail.column("close").unwrap()), bits(&whole[8..]));
        assert_eq!(panel.tail(9).rows(), 4);
    }

    #[test]
    fn tables_that_do_not_fit_are_refused() {
        let check = |tables: &[Bars], expected: &str| {
            let error = Panel::of_bars(tables, Alignment::default()).unwrap_err();
            assert!(error.to_string().contains(expected), "{error}");
        };
        check(&[], "no instruments");
        check(
            &[bars("A/B", &[0]), bars("A/B", &[0])],
            "`A/B` is there twice",
        );
        check(&[bars("A/B", &[0]), bars("C/D", &[])], "`C/D` has no bars");
        check(&[bars("A/B", &[0, 15, 15])], "row 2 of `A/B`");
        check(&[bars("A/B", &[0]), bars("C/D", &[1])], "clock of `C/D`");
        let mut hourly = bars("C/D", &[0]);
        hourly.timeframe = Timeframe::HOUR;
        check(&[bars("A/B", &[0]), hourly], "`C/D` has `1h` bars");
    }
}
