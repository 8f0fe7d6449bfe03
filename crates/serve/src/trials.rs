//! The trial ledger on the disk: every adapter that was ever judged on held-out decisions, one
//! JSON object a line, appended and never changed.
//!
//! The best of many trials looks good by luck. [`record`] writes a trial down and says what it is
//! worth beside all others: its Sharpe ratio deflated for their number, and, among trials judged on
//! the same periods, the probability that choosing the best of them is overfitting. Deleting lines
//! is noticed, since they are numbered; deleting the file is not.

use std::path::{Path, PathBuf};

use market::Timestamp;
use serde::{Deserialize, Serialize};
use stats::ledger::{Entry, Ledger, Trial};
use stats::overfitting;
use stats::sharpe::ReturnMoments;

use crate::error::ServeError;
use crate::lines::{self, LineWriter, io_error};
use crate::shadow::preregistration::sha256;

/// Version of the layout of a line.
pub const SCHEMA: u32 = 1;
/// The file's name, beside the runs it is about.
pub const FILE: &str = "trials.jsonl";
/// The most parts a series is cut into to measure overfitting: 12,870 ways to halve it.
const MOST_PARTS: usize = 16;
/// Returns are kept to so many digits behind the point.
const DIGITS: f64 = 1e9;

/// What was tried, and what it returned.
#[derive(Debug, Clone, PartialEq)]
pub struct Tried {
    /// What tells it from everything else, such as a digest of adapter and settings.
    pub configuration: String,
    /// The run, for people.
    pub run: String,
    /// SHA-256 of the data set's manifest.
    pub dataset_sha256: String,
    /// When.
    pub at: Timestamp,
    /// The start of each period, ascending, and its return after costs, a fraction.
    pub returns: Vec<(i64, f64)>,
}

/// A line of the ledger.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Line {
    schema: u32,
    #[serde(flatten)]
    entry: Entry,
    run: String,
    dataset_sha256: String,
    /// SHA-256 of the periods' starts: trials with the same one can be compared period by period.
    periods_sha256: String,
    returns: Vec<f64>,
}

/// What a trial is worth beside all others.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Standing {
    /// The ledger.
    pub ledger: PathBuf,
    /// The trial's number in it, from 0.
    pub number: u64,
    /// Trials in it, this one among them.
    pub trials: usize,
    /// Periods of this trial.
    pub periods: usize,
    /// Its Sharpe ratio per period, after costs; 0 where returns do not vary.
    pub sharpe: f64,
    /// The ratio that the luckiest of so many useless trials is expected to show.
    pub luck: f64,
    /// Deflated Sharpe ratio: the probability that this one is better than luck; none where its
    /// returns do not vary.
    pub deflated_sharpe: Option<f64>,
    /// Trials judged on the same periods, this one among them.
    pub comparable: usize,
    /// Probability of backtest overfitting among those: how often the best of them in one half of
    /// the time is no better than the median in the other; none for a single one or few periods.
    pub overfitting: Option<f64>,
}

/// Writes a trial down, unless the very same one is there already, and says what it is worth.
///
/// # Errors
/// [`ServeError::Line`] for a line that is none or has another number than its place,
/// [`ServeError::Entry`] for returns that are no numbers, [`ServeError::NotALog`],
/// [`ServeError::Io`].
pub fn record(path: &Path, tried: &Tried) -> Result<Standing, ServeError> {
    let returns: Vec<f64> = tried.returns.iter().map(|(_, r)| kept(*r)).collect();
    if let Some(place) = returns.iter().position(|r| !r.is_finite()) {
        let reason = format!("the return of period {place} is no number");
        return Err(ServeError::Entry { reason });
    }
    let moments = ReturnMoments::of(&returns);
    let sharpe = if moments.sharpe.is_finite() {
        moments.sharpe
    } else {
        0.0
    };
    // Whoever comes second waits: two evaluations may end at the same time.
    let mut file = LineWriter::open(path, |file| file.lock().map_err(io_error("lock", path)))?;
    let (mut ledger, mut all) = read(path)?;
    let starts: Vec<i64> = tried.returns.iter().map(|(time, _)| *time).collect();
    let periods_sha256 = digest(&starts);
    let known = all.iter().find(|line| {
        line.entry.trial.configuration == tried.configuration
            && line.periods_sha256 == periods_sha256
            && line.returns == returns
    });
    let number = if let Some(line) = known {
        line.entry.number
    } else {
        let trial = Trial {
            configuration: tried.configuration.clone(),
            tried_at: tried.at.0,
            sharpe,
            periods: returns.len(),
        };
        let entry = ledger.append(trial).map_err(|error| ServeError::Entry {
            reason: error.to_string(),
        })?;
        let line = Line {
            schema: SCHEMA,
            entry: entry.clone(),
            run: tried.run.clone(),
            dataset_sha256: tried.dataset_sha256.clone(),
            periods_sha256: periods_sha256.clone(),
            returns,
        };
        let mut bytes = serde_json::to_vec(&line).map_err(|error| ServeError::Entry {
            reason: error.to_string(),
        })?;
        bytes.push(b'\n');
        file.append(&bytes)?;
        file.sync()?;
        let number = line.entry.number;
        all.push(line);
        number
    };
    let comparable: Vec<&Line> = all
        .iter()
        .filter(|line| line.periods_sha256 == periods_sha256)
        .collect();
    Ok(Standing {
        ledger: path.to_owned(),
        number,
        trials: ledger.entries().len(),
        periods: moments.periods,
        sharpe,
        luck: ledger.luck(),
        deflated_sharpe: Some(ledger.deflated_sharpe(&moments)).filter(|p| p.is_finite()),
        comparable: comparable.len(),
        overfitting: overfitting_of(&comparable),
    })
}

fn read(path: &Path) -> Result<(Ledger, Vec<Line>), ServeError> {
    let (mut all, mut fault) = (Vec::new(), None);
    lines::read(path, |number, bytes| {
        let parsed = bytes.and_then(|bytes| {
            let line: Line = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
            if line.schema != SCHEMA {
                return Err(format!("schema `{}`, expected `{SCHEMA}`", line.schema));
            }
            if line.entry.number != number as u64 - 1 {
                return Err(format!(
                    "trial {} stands where {} should: lines are missing or were moved",
                    line.entry.number,
                    number - 1
                ));
            }
            Ok(line)
        });
        match parsed {
            Ok(line) => all.push(line),
            Err(reason) => fault = fault.take().or(Some((number, reason))),
        }
    })?;
    let refuse = |(line, reason)| ServeError::Line {
        path: path.to_owned(),
        line,
        reason,
    };
    if let Some(fault) = fault {
        return Err(refuse(fault));
    }
    let entries = all.iter().map(|line| line.entry.clone()).collect();
    let ledger = Ledger::from_entries(entries).map_err(|error| refuse((1, error.to_string())))?;
    Ok((ledger, all))
}

/// Probability of backtest overfitting, where there is enough to halve.
fn overfitting_of(lines: &[&Line]) -> Option<f64> {
    let periods = lines.first()?.returns.len();
    let parts = (periods / 2).min(MOST_PARTS) / 2 * 2;
    if lines.len() < 2 || parts < 4 || lines.iter().any(|line| line.returns.len() != periods) {
        return None;
    }
    let rows: Vec<Vec<f64>> = (0..periods)
        .map(|period| lines.iter().map(|line| line.returns[period]).collect())
        .collect();
    let found = overfitting::probability(&rows, parts).ok()?;
    Some(found.probability)
}

fn kept(value: f64) -> f64 {
    (value * DIGITS).round() / DIGITS
}

fn digest(starts: &[i64]) -> String {
    let bytes: Vec<u8> = starts.iter().flat_map(|time| time.to_le_bytes()).collect();
    sha256(&bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns of 60 periods that gain on average `lead`, in a pattern of their own.
    fn tried(name: &str, lead: f64, pattern: i64) -> Tried {
        Tried {
            configuration: format!("of {name}"),
            run: format!("runs/{name}"),
            dataset_sha256: "ab".repeat(32),
            at: Timestamp(1_700_000_000_000),
            returns: (0..60)
                .map(|t| {
                    (
                        t * 100,
                        lead + 0.01 * ((t * pattern % 23) as f64 - 11.0) / 11.0,
                    )
                })
                .collect(),
        }
    }

    fn count(path: &Path) -> usize {
        std::fs::read_to_string(path).unwrap().lines().count()
    }

    #[test]
    fn every_trial_makes_the_others_look_less_good() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        let good = tried("good", 0.005, 5);
        let alone = record(&path, &good).unwrap();
        assert_eq!((alone.number, alone.trials, alone.comparable), (0, 1, 1));
        assert_eq!((alone.luck, alone.overfitting), (0.0, None));
        let moments = ReturnMoments::of(&good.returns.iter().map(|r| r.1).collect::<Vec<_>>());
        let expect = moments.probabilistic(0.0);
        assert!(
            (alone.deflated_sharpe.unwrap() - expect).abs() < 1e-6,
            "{alone:?}"
        );
        for (place, pattern) in [3, 7, 11, 13].into_iter().enumerate() {
            let lead = -0.001 * place as f64;
            record(&path, &tried(&pattern.to_string(), lead, pattern)).unwrap();
        }
        // The same trial again is none; it is told what it is worth now.
        let again = record(&path, &good).unwrap();
        assert_eq!((again.number, again.trials, count(&path)), (0, 5, 5));
        assert!(again.luck > 0.0 && again.deflated_sharpe < alone.deflated_sharpe);
        assert_eq!(again.comparable, 5);
        // One is best in every half: choosing it is no accident.
        assert!(again.overfitting.unwrap() < 0.2, "{again:?}");
        // Judged on other periods it counts, but is not compared period by period.
        let mut other = good.clone();
        other.returns.pop();
        let other = record(&path, &other).unwrap();
        assert_eq!(
            (other.trials, other.comparable, other.overfitting),
            (6, 1, None)
        );
    }

    #[test]
    fn a_trial_that_never_acts_counts_with_a_ratio_of_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        let mut idle = tried("idle", 0.0, 1);
        for (_, value) in &mut idle.returns {
            *value = 0.0;
        }
        let found = record(&path, &idle).unwrap();
        assert_eq!((found.sharpe, found.deflated_sharpe), (0.0, None));
        idle.returns[3].1 = f64::NAN;
        let error = record(&path, &idle).unwrap_err().to_string();
        assert!(error.contains("period 3"), "{error}");
        assert_eq!(count(&path), 1);
    }

    #[test]
    fn what_was_deleted_is_noticed_and_what_was_torn_is_cut() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        for pattern in [3, 5, 7] {
            record(&path, &tried(&pattern.to_string(), 0.0, pattern)).unwrap();
        }
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, format!("{text}{{\"schema\":1,\"num")).unwrap();
        assert_eq!(record(&path, &tried("9", 0.0, 9)).unwrap().number, 3);
        let lines: Vec<&str> = text.lines().collect();
        std::fs::write(&path, format!("{}\n{}\n", lines[0], lines[2])).unwrap();
        let error = record(&path, &tried("9", 0.0, 9)).unwrap_err().to_string();
        assert!(error.contains("trial 2 stands where 1 should"), "{error}");
        std::fs::write(&path, text.replace("\"schema\":1", "\"schema\":9")).unwrap();
        let error = record(&path, &tried("9", 0.0, 9)).unwrap_err().to_string();
        assert!(error.contains("schema `9`, expected `1`"), "{error}");
        std::fs::write(&path, "something else\n").unwrap();
        assert!(record(&path, &tried("9", 0.0, 9)).is_err());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "something else\n");
    }
}
