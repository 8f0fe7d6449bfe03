//! Does a judge of signals know which of them pay?
//!
//! Every arm gives each held-out signal a probability of paying after costs; above a half it is
//! traded. Arms are scored on the same signals: how often the verdict was right, the Brier score
//! of the probability, and the net result per signal offered (a vetoed one gives nothing).
//! Intervals come from a bootstrap of whole blocks of time, all instruments of a block together,
//! since currencies move together.

use market::{Instrument, Timestamp};
use serde::{Deserialize, Serialize};
use stats::bootstrap::{block_bootstrap, time_blocks};
use stats::{Interval, metrics};

use crate::ServeError;

/// The arm whose model was trained.
pub const JUDGE: &str = "judge";
/// The share of signals that paid on the validation part, for every signal.
pub const RATE: &str = "rate";
/// Probability below which nothing is certain, so that a logarithm stays finite.
const LEAST: f64 = 1e-6;
/// Groups of the reliability diagram.
const BINS: usize = 8;

/// One held-out signal and what became of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Signal {
    /// What was traded.
    pub instrument: Instrument,
    /// When.
    pub decision_time: Timestamp,
    /// What the signal's side gained after costs, a fraction of the position.
    pub net_return: f64,
}

/// One arm's probabilities that each signal pays.
#[derive(Debug, Clone, PartialEq)]
pub struct Forecasts {
    /// The arm.
    pub name: String,
    /// One for each signal, 0 to 1.
    pub probabilities: Vec<f64>,
}

/// How to score.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct How {
    /// Length of a block of time, milliseconds; at least twice the horizon.
    pub block: i64,
    /// Bootstrap replicates.
    pub replicates: usize,
    /// Level of the intervals, such as 0.95.
    pub level: f64,
    /// Seed of the bootstrap.
    pub seed: u64,
}

/// A number with its interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Score {
    /// The number.
    pub value: f64,
    /// Its interval.
    pub interval: Interval,
}

/// The scores of one arm.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Arm {
    /// Its name.
    pub name: String,
    /// Signals it traded.
    pub approved: usize,
    /// Share of right verdicts.
    pub accuracy: Score,
    /// The same less that of the more frequent verdict.
    pub accuracy_edge: Score,
    /// Mean squared error of its probability.
    pub brier: Score,
    /// Brier score of [`RATE`] less its own: above 0 is better.
    pub brier_gain: Score,
    /// Mean negative log-likelihood, nats.
    pub log_loss: Score,
    /// Mean net result per signal offered, a fraction of the position.
    pub net: Score,
    /// The same less that of trading every signal.
    pub net_gain: Score,
    /// How often signals of like probability paid, in ascending order.
    pub reliability: Vec<Group>,
}

/// Signals of like probability.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Group {
    /// Their mean probability.
    pub stated: f64,
    /// Share that paid.
    pub paid: f64,
    /// How many they are.
    pub count: usize,
}

/// All arms on the same signals.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SignalEvaluation {
    /// Signals.
    pub signals: usize,
    /// Blocks of time they fall into.
    pub blocks: usize,
    /// The first and the last decision.
    pub span: (Timestamp, Timestamp),
    /// Share that paid after costs.
    pub paid: f64,
    /// Mean net result of trading every one of them.
    pub net_of_all: f64,
    /// Level of the intervals.
    pub level: f64,
    /// The arms, in the order given.
    pub arms: Vec<Arm>,
}

impl SignalEvaluation {
    /// Returns an arm by name.
    pub fn arm(&self, name: &str) -> Option<&Arm> {
        self.arms.iter().find(|arm| arm.name == name)
    }
}

/// Scores every arm. `rate` is the share of signals that paid before the span that is scored.
///
/// # Errors
/// [`ServeError::Row`] for no signal, [`ServeError::Arm`] for an arm with another number of
/// forecasts, or one outside 0 to 1.
pub fn evaluate(
    signals: &[Signal],
    forecasts: &[Forecasts],
    rate: f64,
    how: &How,
) -> Result<SignalEvaluation, ServeError> {
    let refuse = |arm: &str, reason: String| {
        Err(ServeError::Arm {
            arm: arm.to_owned(),
            reason,
        })
    };
    let (Some(first), Some(last)) = (
        signals.iter().map(|signal| signal.decision_time).min(),
        signals.iter().map(|signal| signal.decision_time).max(),
    ) else {
        return Err(ServeError::Row {
            row: 0,
            reason: "there is no signal to score".to_owned(),
        });
    };
    for arm in forecasts {
        let (found, wanted) = (arm.probabilities.len(), signals.len());
        if found != wanted {
            let reason = format!("has {found} forecasts for {wanted} signals");
            return refuse(&arm.name, reason);
        }
        if let Some(wrong) = arm.probabilities.iter().find(|p| !(0.0..=1.0).contains(*p)) {
            let reason = format!("gives a probability of {wrong}, expected 0 to 1");
            return refuse(&arm.name, reason);
        }
    }
    let times: Vec<i64> = signals
        .iter()
        .map(|signal| signal.decision_time.0)
        .collect();
    let blocks = time_blocks(&times, how.block);
    let paid: Vec<bool> = signals
        .iter()
        .map(|signal| signal.net_return > 0.0)
        .collect();
    let nets: Vec<f64> = signals.iter().map(|signal| signal.net_return).collect();
    let all: Vec<usize> = (0..signals.len()).collect();
    let score = |statistic: &dyn Fn(&[usize]) -> f64| Score {
        value: statistic(&all),
        interval: block_bootstrap(&blocks, how.replicates, how.seed, how.level, statistic),
    };
    let mean = |rows: &[usize], value: &dyn Fn(usize) -> f64| {
        rows.iter().map(|row| value(*row)).sum::<f64>() / rows.len() as f64
    };
    let happened = |row: usize| f64::from(u8::from(paid[row]));
    let arm = |forecasts: &Forecasts| {
        let p = &forecasts.probabilities;
        let traded = |row: usize| p[row] > 0.5;
        let right = |row: usize| f64::from(u8::from(traded(row) == paid[row]));
        let squared = |row: usize| (p[row] - happened(row)).powi(2);
        let by_rate = |row: usize| (rate - happened(row)).powi(2);
        let surprise = |row: usize| {
            let of_outcome = if paid[row] { p[row] } else { 1.0 - p[row] };
            -of_outcome.max(LEAST).ln()
        };
        let net = |row: usize| if traded(row) { nets[row] } else { 0.0 };
        let more_frequent = |rows: &[usize]| {
            let share = mean(rows, &happened);
            share.max(1.0 - share)
        };
        Arm {
            name: forecasts.name.clone(),
            approved: all.iter().filter(|row| traded(**row)).count(),
            accuracy: score(&|rows| mean(rows, &right)),
            accuracy_edge: score(&|rows| mean(rows, &right) - more_frequent(rows)),
            brier: score(&|rows| mean(rows, &squared)),
            brier_gain: score(&|rows| mean(rows, &|row| by_rate(row) - squared(row))),
            log_loss: score(&|rows| mean(rows, &surprise)),
            net: score(&|rows| mean(rows, &net)),
            net_gain: score(&|rows| mean(rows, &|row| net(row) - nets[row])),
            reliability: metrics::reliability(p, &paid, BINS)
                .into_iter()
                .map(|bin| Group {
                    stated: bin.mean_predicted,
                    paid: bin.observed,
                    count: bin.count,
                })
                .collect(),
        }
    };
    Ok(SignalEvaluation {
        signals: signals.len(),
        blocks: blocks.iter().max().map_or(0, |last| last + 1),
        span: (first, last),
        paid: mean(&all, &happened),
        net_of_all: mean(&all, &|row| nets[row]),
        level: how.level,
        arms: forecasts.iter().map(arm).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000;
    const HOW: How = How {
        block: 24 * HOUR,
        replicates: 400,
        level: 0.95,
        seed: 1,
    };

    fn signals(nets: &[f64]) -> Vec<Signal> {
        nets.iter()
            .enumerate()
            .map(|(at, net)| Signal {
                instrument: "EUR/USD".parse().unwrap(),
                decision_time: Timestamp(at as i64 * 12 * HOUR),
                net_return: *net,
            })
            .collect()
    }

    fn arm(name: &str, probabilities: &[f64]) -> Forecasts {
        Forecasts {
            name: name.to_owned(),
            probabilities: probabilities.to_vec(),
        }
    }

    /// By hand: verdicts trade, veto, trade, veto on +2, -1, -1, +1: two of four right; net
    /// (2 - 1) / 4 against (2 - 1 - 1 + 1) / 4; Brier (0.04 + 0.04 + 0.36 + 0.64) / 4.
    #[test]
    fn scores_are_those_worked_out_by_hand() {
        let found = evaluate(
            &signals(&[2.0, -1.0, -1.0, 1.0]),
            &[arm("judge", &[0.8, 0.2, 0.6, 0.2])],
            0.5,
            &HOW,
        )
        .unwrap();
        let judge = found.arm("judge").unwrap();
        assert_eq!((found.signals, found.blocks, found.paid), (4, 2, 0.5));
        assert_eq!((judge.approved, judge.accuracy.value), (2, 0.5));
        assert_eq!(judge.accuracy_edge.value, 0.0);
        assert!((judge.brier.value - 0.27).abs() < 1e-12);
        assert!((judge.brier_gain.value + 0.02).abs() < 1e-12);
        let surprise = -(0.8f64.ln() + 0.8f64.ln() + 0.4f64.ln() + 0.2f64.ln()) / 4.0;
        assert!((judge.log_loss.value - surprise).abs() < 1e-12);
        assert_eq!((judge.net.value, judge.net_gain.value), (0.25, 0.0));
        let grouped: usize = judge.reliability.iter().map(|group| group.count).sum();
        assert_eq!(grouped, 4);
    }

    #[test]
    fn who_knows_is_told_from_who_does_not() {
        let nets: Vec<f64> = (0..200)
            .map(|at| if at % 3 == 0 { 1.0 } else { -1.0 })
            .collect();
        let knowing: Vec<f64> = nets
            .iter()
            .map(|net| if *net > 0.0 { 0.9 } else { 0.1 })
            .collect();
        let found = evaluate(
            &signals(&nets),
            &[arm("knowing", &knowing), arm("rate", &[1.0 / 3.0; 200])],
            1.0 / 3.0,
            &HOW,
        )
        .unwrap();
        let knowing = found.arm("knowing").unwrap();
        assert_eq!(knowing.accuracy.value, 1.0);
        assert!(knowing.brier_gain.interval.low > 0.0 && knowing.net_gain.interval.low > 0.0);
        let rate = found.arm("rate").unwrap();
        assert_eq!((rate.approved, rate.brier_gain.value), (0, 0.0));
        assert!(rate.brier_gain.interval.contains(0.0));
    }

    #[test]
    fn what_cannot_be_scored_is_refused() {
        let refused = |signals: &[Signal], arm: Forecasts| {
            evaluate(signals, &[arm], 0.5, &HOW)
                .unwrap_err()
                .to_string()
        };
        assert!(refused(&[], arm("a", &[])).contains("no signal"));
        let one = signals(&[1.0]);
        assert!(refused(&one, arm("a", &[])).contains("0 forecasts for 1"));
        assert!(refused(&one, arm("a", &[f64::NAN])).contains("probability of NaN"));
    }
}
