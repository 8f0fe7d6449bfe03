//! Funding rates: what the long side of a perpetual pays the short side, as a fraction of value.
//!
//! freqtrade keeps them in candle files with the rate in `open`. Stamps may be some milliseconds
//! late, and the timeframe in the name need not be the distance of the rows.

use std::path::Path;

use super::read::Table;
use super::{CandleKind, DataFile, parse_file_name};
use crate::validate::{check_times, typical_spacing};
use crate::{Gap, Instrument, MarketError, Timestamp, Warning};

const MINUTE: i64 = 60_000;

/// The funding rates of one instrument, as paid.
#[derive(Debug, Clone, PartialEq)]
pub struct Funding {
    /// What is traded.
    pub instrument: Instrument,
    /// When each rate was paid, Unix milliseconds, UTC, ascending.
    pub funding_time: Vec<i64>,
    /// The rate per funding interval, a fraction; may be negative.
    pub rate: Vec<f64>,
}

impl Funding {
    /// Returns the number of rates.
    pub fn len(&self) -> usize {
        self.funding_time.len()
    }

    /// Reports whether there is no rate.
    pub fn is_empty(&self) -> bool {
        self.funding_time.is_empty()
    }

    /// Returns the most common distance between payments in milliseconds, stamps rounded to the
    /// minute.
    pub fn interval(&self) -> Option<i64> {
        typical_spacing(&self.minutes())
    }

    /// Returns the last rate paid at or before `decision_time`, and when.
    pub fn as_of(&self, decision_time: i64) -> Option<(Timestamp, f64)> {
        let after = self
            .funding_time
            .partition_point(|time| *time <= decision_time);
        let row = after.checked_sub(1)?;
        Some((Timestamp(self.funding_time[row]), self.rate[row]))
    }

    /// Lists the holes against [`Funding::interval`], stamps rounded to the minute.
    pub fn gaps(&self) -> Vec<Gap> {
        let minutes = self.minutes();
        let Some(interval) = typical_spacing(&minutes).filter(|interval| *interval > 0) else {
            return Vec::new();
        };
        let mut gaps = Vec::new();
        for (row, pair) in minutes.windows(2).enumerate() {
            let steps = pair[1].saturating_sub(pair[0]) / interval;
            if steps > 1 {
                gaps.push(Gap {
                    after_row: row,
                    from: Timestamp(pair[0].saturating_add(interval)),
                    to: Timestamp(pair[1]),
                    missing: (steps - 1) as usize,
                });
            }
        }
        gaps
    }

    fn minutes(&self) -> Vec<i64> {
        let round = |time: &i64| time.saturating_add(MINUTE / 2).div_euclid(MINUTE) * MINUTE;
        self.funding_time.iter().map(round).collect()
    }

    /// Checks stamps and rates and returns what is odd but usable.
    pub(crate) fn validate_as(&self, file: &DataFile) -> Result<Vec<Warning>, MarketError> {
        let origin = file.path.display().to_string();
        if self.is_empty() {
            return Err(MarketError::Empty { origin });
        }
        check_times(&self.funding_time, &origin)?;
        if let Some(row) = self.rate.iter().position(|rate| !rate.is_finite()) {
            return Err(MarketError::Rate {
                origin,
                row,
                value: self.rate[row],
            });
        }
        let mut warnings = Vec::new();
        let distance = |(time, minute): (&i64, &i64)| (time - minute).abs();
        let distances: Vec<i64> = self
            .funding_time
            .iter()
            .zip(&self.minutes())
            .map(distance)
            .filter(|d| *d > 0)
            .collect();
        if let Some(largest) = distances.iter().max() {
            warnings.push(Warning::Jitter {
                count: distances.len(),
                largest: *largest,
            });
        }
        let gaps = self.gaps();
        if let Some(largest) = gaps.iter().rev().max_by_key(|gap| gap.missing) {
            warnings.push(Warning::Gaps {
                count: gaps.len(),
                missing: gaps.iter().map(|gap| gap.missing).sum(),
                largest: *largest,
            });
        }
        if let Some(typical) = self.interval()
            && typical != file.timeframe.milliseconds()
        {
            warnings.push(Warning::NamedTimeframe {
                named: file.timeframe,
                typical,
            });
        }
        Ok(warnings)
    }
}

/// Reads a file named `...-funding_rate.feather`.
///
/// # Errors
/// [`MarketError::FileName`] and [`MarketError::WrongKind`] from the name; what is wrong with the
/// bytes or a column; no rows, stamps that are implausible, repeated or out of order, a rate that
/// is not finite.
pub fn read_funding(path: &Path) -> Result<(Funding, Vec<Warning>), MarketError> {
    let file = parse_file_name(path)?;
    let funding = read_funding_unchecked(&file)?;
    let warnings = funding.validate_as(&file)?;
    Ok((funding, warnings))
}

/// Reads funding rates whose rows have not been validated.
pub(crate) fn read_funding_unchecked(file: &DataFile) -> Result<Funding, MarketError> {
    if file.kind != CandleKind::FundingRate {
        return Err(MarketError::WrongKind {
            path: file.path.clone(),
            found: file.kind.to_string(),
            expected: "funding rates",
        });
    }
    let table = Table::read(&file.path, &["date", "open"])?;
    Ok(Funding {
        instrument: file.instrument.clone(),
        funding_time: table.times()?,
        rate: table.numbers("open")?,
    })
}
