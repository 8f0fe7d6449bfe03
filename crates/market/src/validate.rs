//! The checks that a table of bars must pass, and what is odd about one that does.
//!
//! Nothing is repaired: what is wrong is an error with its row, what is odd is a [`Warning`], and
//! a hole is a [`Gap`].

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::error::span;
use crate::{Bars, Gap, MarketError, Timeframe, Timestamp};

/// How far open and close may lie outside `[low, high]`, relative to the price: exchanges and
/// resamplers round the four prices separately, to eight digits or so.
const RANGE_TOLERANCE: f64 = 1e-6;
/// A close-to-close move beyond this factor is worth a look: a split, a wrong unit, a bad tick.
const JUMP_FACTOR: f64 = 2.0;

/// Something odd in a table of bars that does not make it unusable.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Warning {
    /// Bars are missing. They are left missing.
    Gaps {
        /// The number of holes.
        count: usize,
        /// The number of bars missing in all of them.
        missing: usize,
        /// The largest hole, the first of them where several are equal.
        largest: Gap,
    },
    /// Open times are not multiples of the timeframe since the epoch, so that
    /// [`Bars::resample`] finds no complete bucket.
    Misaligned {
        /// The first such row.
        row: usize,
        /// Its open time.
        time: Timestamp,
    },
    /// The close moved by more than a factor of two from one row to the next.
    Jump {
        /// The number of such rows.
        count: usize,
        /// The first of them.
        row: usize,
        /// Its close over the close before.
        ratio: f64,
    },
    /// Some bars traded nothing although others did.
    ZeroVolume {
        /// The number of bars without volume.
        count: usize,
        /// The first of them.
        row: usize,
    },
    /// Null volumes were read as zero.
    NullVolume {
        /// How many.
        count: usize,
    },
    /// A row beside the main grid, such as funding stamped some milliseconds late.
    Jitter {
        /// The number of rows that are not on a whole minute.
        count: usize,
        /// The largest distance to a whole minute, milliseconds.
        largest: i64,
    },
    /// The file's name says another spacing than its rows have, which is usual for funding files.
    NamedTimeframe {
        /// What the name says.
        named: Timeframe,
        /// The most common spacing, milliseconds.
        typical: i64,
    },
}

impl fmt::Display for Warning {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gaps {
                count,
                missing,
                largest,
            } => write!(
                formatter,
                "{count} gaps, {missing} bars missing; the largest: {largest}"
            ),
            Self::Misaligned { row, time } => write!(
                formatter,
                "row {row}: open time {time} is not a multiple of the timeframe"
            ),
            Self::Jump { count, row, ratio } => write!(
                formatter,
                "{count} closes moved by more than a factor of two; first row {row}, times {ratio:.3}"
            ),
            Self::ZeroVolume { count, row } => {
                write!(
                    formatter,
                    "{count} bars without volume, the first is row {row}"
                )
            }
            Self::NullVolume { count } => {
                write!(formatter, "{count} null volumes read as zero")
            }
            Self::Jitter { count, largest } => write!(
                formatter,
                "{count} rows are up to {largest} ms off a whole minute"
            ),
            Self::NamedTimeframe { named, typical } => write!(
                formatter,
                "named {named}, but its rows are typically {} apart",
                span(*typical)
            ),
        }
    }
}

impl Bars {
    /// Checks every row and returns what is odd but usable.
    ///
    /// # Errors
    /// The first fault found: no rows, columns of unequal length, a stamp that is implausible,
    /// repeated or out of order, a price that is not positive and finite, a high below its low, an
    /// open or close outside `[low, high]` by more than a millionth, a volume that is negative or
    /// not finite, a typical spacing that is not the timeframe, a spacing that is not a multiple
    /// of it. Names the instrument and the row; [`crate::freqtrade::read`] names the file.
    pub fn validate(&self) -> Result<Vec<Warning>, MarketError> {
        self.validate_as(&format!("{} {}", self.instrument, self.timeframe))
    }

    /// [`Bars::validate`] with the place named in errors.
    pub(crate) fn validate_as(&self, origin: &str) -> Result<Vec<Warning>, MarketError> {
        self.check_lengths(origin)?;
        check_times(&self.open_time, origin)?;
        for row in 0..self.len() {
            self.check_row(row, origin)?;
        }
        self.check_spacing(origin)?;
        Ok(self.warnings())
    }

    fn check_lengths(&self, origin: &str) -> Result<(), MarketError> {
        if self.is_empty() {
            return Err(MarketError::Empty {
                origin: origin.to_owned(),
            });
        }
        let columns = [
            ("open", &self.open),
            ("high", &self.high),
            ("low", &self.low),
            ("close", &self.close),
            ("volume", &self.volume),
        ];
        match columns
            .into_iter()
            .find(|(_, values)| values.len() != self.len())
        {
            Some((column, values)) => Err(MarketError::Length {
                origin: origin.to_owned(),
                column,
                found: values.len(),
                expected: self.len(),
            }),
            None => Ok(()),
        }
    }

    fn check_row(&self, row: usize, origin: &str) -> Result<(), MarketError> {
        let origin = || origin.to_owned();
        let (low, high) = (self.low[row], self.high[row]);
        let prices = [
            ("open", self.open[row]),
            ("high", high),
            ("low", low),
            ("close", self.close[row]),
        ];
        for (column, value) in prices {
            if !(value.is_finite() && value > 0.0) {
                return Err(MarketError::Price {
                    origin: origin(),
                    row,
                    column,
                    value,
                });
            }
        }
        if high < low {
            return Err(MarketError::HighBelowLow {
                origin: origin(),
                row,
                high,
                low,
            });
        }
        let slack = RANGE_TOLERANCE * high;
        for (column, value) in [("open", self.open[row]), ("close", self.close[row])] {
            if value < low - slack || value > high + slack {
                return Err(MarketError::OutsideRange {
                    origin: origin(),
                    row,
                    column,
                    value,
                    low,
                    high,
                });
            }
        }
        let value = self.volume[row];
        if !(value.is_finite() && value >= 0.0) {
            return Err(MarketError::Volume {
                origin: origin(),
                row,
                value,
            });
        }
        Ok(())
    }

    fn check_spacing(&self, origin: &str) -> Result<(), MarketError> {
        let Some(typical) = typical_spacing(&self.open_time) else {
            return Ok(());
        };
        if self.timeframe.is_calendar() {
            return self.check_calendar_spacing(origin, typical);
        }
        let step = self.timeframe.milliseconds();
        if typical != step {
            return Err(MarketError::TimeframeMismatch {
                origin: origin.to_owned(),
                timeframe: self.timeframe,
                typical,
            });
        }
        for (row, pair) in self.open_time.windows(2).enumerate() {
            let spacing = pair[1] - pair[0];
            if spacing % step != 0 {
                return Err(MarketError::Spacing {
                    origin: origin.to_owned(),
                    row: row + 1,
                    timeframe: self.timeframe,
                    spacing,
                });
            }
        }
        Ok(())
    }

    /// Months differ in length: every row has to open on the first instant of one.
    fn check_calendar_spacing(&self, origin: &str, typical: i64) -> Result<(), MarketError> {
        let stray = |time: i64| self.timeframe.bucket_start(time) != time;
        let strays = self.open_time.iter().filter(|time| stray(**time)).count();
        if 2 * strays > self.len() {
            return Err(MarketError::TimeframeMismatch {
                origin: origin.to_owned(),
                timeframe: self.timeframe,
                typical,
            });
        }
        match self.open_time.iter().position(|time| stray(*time)) {
            Some(row) => Err(MarketError::Spacing {
                origin: origin.to_owned(),
                row,
                timeframe: self.timeframe,
                spacing: self.open_time[row] - self.open_time[row.saturating_sub(1)],
            }),
            None => Ok(()),
        }
    }

    fn warnings(&self) -> Vec<Warning> {
        let mut warnings = Vec::new();
        let gaps = self.gaps();
        let larger = |largest: Gap, gap: &Gap| {
            if gap.missing > largest.missing {
                *gap
            } else {
                largest
            }
        };
        if let Some(first) = gaps.first() {
            warnings.push(Warning::Gaps {
                count: gaps.len(),
                missing: gaps.iter().map(|gap| gap.missing).sum(),
                largest: gaps.iter().fold(*first, larger),
            });
        }
        let misaligned = |time: &i64| self.timeframe.bucket_start(*time) != *time;
        if let Some(row) = self.open_time.iter().position(misaligned) {
            let time = Timestamp(self.open_time[row]);
            warnings.push(Warning::Misaligned { row, time });
        }
        let ratio = |row: &usize| self.close[*row] / self.close[*row - 1];
        let jumps = |row: &usize| !(1.0 / JUMP_FACTOR..=JUMP_FACTOR).contains(&ratio(row));
        if let Some(row) = (1..self.len()).find(jumps) {
            let count = (1..self.len()).filter(jumps).count();
            warnings.push(Warning::Jump {
                count,
                row,
                ratio: ratio(&row),
            });
        }
        let count = self.volume.iter().filter(|volume| **volume == 0.0).count();
        if count < self.len()
            && let Some(row) = self.volume.iter().position(|volume| *volume == 0.0)
        {
            warnings.push(Warning::ZeroVolume { count, row });
        }
        warnings
    }
}

/// Checks that stamps are plausible and strictly ascending.
pub(crate) fn check_times(times: &[i64], origin: &str) -> Result<(), MarketError> {
    for (row, &time) in times.iter().enumerate() {
        let origin = || origin.to_owned();
        let stamp = Timestamp(time);
        if !stamp.is_plausible() {
            return Err(MarketError::ImplausibleTime {
                origin: origin(),
                row,
                time: stamp,
            });
        }
        let Some(previous) = row.checked_sub(1).map(|before| times[before]) else {
            continue;
        };
        if time == previous {
            return Err(MarketError::DuplicateTime {
                origin: origin(),
                row,
                time: stamp,
            });
        }
        if time < previous {
            let previous = Timestamp(previous);
            return Err(MarketError::UnsortedTime {
                origin: origin(),
                row,
                time: stamp,
                previous,
            });
        }
    }
    Ok(())
}

/// Returns the most common distance between neighbouring stamps, the smallest of them where
/// several are equally common; `None` for fewer than two rows.
pub(crate) fn typical_spacing(times: &[i64]) -> Option<i64> {
    let mut counts = BTreeMap::new();
    for pair in times.windows(2) {
        *counts
            .entry(pair[1].saturating_sub(pair[0]))
            .or_insert(0_usize) += 1;
    }
    let most = *counts.values().max()?;
    counts
        .into_iter()
        .find(|(_, count)| *count == most)
        .map(|(spacing, _)| spacing)
}
