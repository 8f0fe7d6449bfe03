//! Everything that was tried: an append-only list of trials.
//!
//! The best of many trials looks good by luck, and how good depends on how many
//! there were, including those nobody remembers. The ledger counts them, so
//! that [`crate::sharpe`] can deflate. Entries are numbered; a list with a hole
//! or a changed order is refused, so what was deleted is noticed. Reading and
//! writing files is the caller's business.

use serde::{Deserialize, Serialize};

use crate::StatsError;
use crate::sharpe::{ReturnMoments, expected_maximum};

/// One configuration that was tried.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Trial {
    /// What was tried, such as the digest of its settings.
    pub configuration: String,
    /// When, in Unix milliseconds.
    pub tried_at: i64,
    /// Its Sharpe ratio per period, after costs.
    pub sharpe: f64,
    /// The number of periods behind the ratio.
    pub periods: usize,
}

/// A numbered trial, as it is written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// The position in the ledger, from 0.
    pub number: u64,
    /// What was tried.
    #[serde(flatten)]
    pub trial: Trial,
}

/// All trials, in the order in which they were made.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Ledger {
    entries: Vec<Entry>,
}

impl Ledger {
    /// Returns the ledger made of entries read back.
    ///
    /// # Errors
    /// [`StatsError::InvalidSetting`] naming the first entry whose number is not
    /// its position; [`StatsError::NotFinite`] for a ratio that is not a number.
    pub fn from_entries(entries: Vec<Entry>) -> Result<Self, StatsError> {
        for (position, entry) in entries.iter().enumerate() {
            if entry.number != position as u64 {
                return Err(StatsError::InvalidSetting {
                    name: "number of a trial",
                    value: format!("{} at position {position}", entry.number),
                    expected: "its position: the ledger is append-only and has no holes",
                });
            }
            check(position, &entry.trial)?;
        }
        Ok(Self { entries })
    }

    /// Appends a trial and returns the entry to write.
    ///
    /// # Errors
    /// [`StatsError::NotFinite`] for a ratio that is not a number.
    pub fn append(&mut self, trial: Trial) -> Result<&Entry, StatsError> {
        let position = self.entries.len();
        check(position, &trial)?;
        self.entries.push(Entry {
            number: position as u64,
            trial,
        });
        Ok(&self.entries[position])
    }

    /// Returns the entries in order.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Returns the variance of the ratios of all trials, with `n - 1`; 0 for
    /// fewer than two.
    pub fn variance(&self) -> f64 {
        let n = self.entries.len();
        if n < 2 {
            return 0.0;
        }
        let ratios = || self.entries.iter().map(|entry| entry.trial.sharpe);
        let mean = ratios().sum::<f64>() / n as f64;
        ratios().map(|ratio| (ratio - mean).powi(2)).sum::<f64>() / (n - 1) as f64
    }

    /// Returns the ratio that the luckiest of all trials would show without any
    /// skill.
    pub fn luck(&self) -> f64 {
        expected_maximum(self.variance(), self.entries.len())
    }

    /// Returns the deflated Sharpe ratio of returns chosen from this ledger:
    /// the probability that they are better than luck. Every entry counts,
    /// repeated configurations too, which errs on the side of doubt.
    pub fn deflated_sharpe(&self, returns: &ReturnMoments) -> f64 {
        returns.deflated(self.variance(), self.entries.len())
    }
}

fn check(row: usize, trial: &Trial) -> Result<(), StatsError> {
    if trial.sharpe.is_finite() {
        return Ok(());
    }
    Err(StatsError::NotFinite {
        what: "sharpe of a trial",
        row,
        column: 0,
        value: trial.sharpe,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trial(sharpe: f64) -> Trial {
        Trial {
            configuration: format!("rank 8, ratio {sharpe}"),
            tried_at: 1_700_000_000_000,
            sharpe,
            periods: 200,
        }
    }

    #[test]
    fn trials_are_numbered_and_deflate() {
        let mut ledger = Ledger::default();
        let returns: Vec<f64> = (0..200_i32)
            .map(|t| 0.01 * f64::from(t * 37 % 101 - 40))
            .collect();
        let moments = ReturnMoments::of(&returns);
        let before = ledger.deflated_sharpe(&moments);
        for ratio in [0.1, -0.05, 0.2, 0.0] {
            ledger.append(trial(ratio)).unwrap();
        }
        assert_eq!(ledger.entries()[3].number, 3);
        assert!(
            (ledger.variance() - 0.0122916666).abs() < 1e-9,
            "{}",
            ledger.variance()
        );
        assert!(ledger.luck() > 0.0 && ledger.deflated_sharpe(&moments) < before);
    }

    #[test]
    fn what_was_written_reads_back_and_a_hole_is_noticed() {
        let mut ledger = Ledger::default();
        let mut lines = Vec::new();
        for ratio in [0.1, 0.3, 0.2] {
            let entry = ledger.append(trial(ratio)).unwrap();
            lines.push(serde_json::to_string(entry).unwrap());
        }
        assert!(
            lines[1].starts_with(r#"{"number":1,"configuration":"#),
            "{}",
            lines[1]
        );
        let read = |lines: &[String]| {
            let entries = lines.iter().map(|line| serde_json::from_str(line).unwrap());
            Ledger::from_entries(entries.collect())
        };
        assert_eq!(read(&lines), Ok(ledger));
        lines.remove(1);
        assert!(matches!(
            read(&lines),
            Err(StatsError::InvalidSetting { .. })
        ));
    }

    #[test]
    fn a_ratio_must_be_a_number() {
        let mut ledger = Ledger::default();
        assert!(ledger.append(trial(f64::NAN)).is_err());
        assert!(ledger.entries().is_empty());
    }
}
