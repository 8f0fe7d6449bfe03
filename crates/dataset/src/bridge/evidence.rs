//! What speaks for and against a signal, as of its decision.
//!
//! Evidence, never proof: past cases like this one, how many of the shown features lean the
//! signal's way by their own past, what a trade costs and what a careful size would be. Every
//! number is rounded as it is shown before another is derived from it, so that a reader can do
//! each step again from the text.

use stats::{beta, kelly, stationary};

use super::BridgeSettings;
use super::past::Past;
use super::signal::{Side, Signal};

/// Weights of the raw certainty: the signal's confidence, the analogues' win rate, the share of
/// leaning factors that agree.
pub const CERTAINTY_WEIGHTS: [f64; 3] = [0.5, 0.3, 0.2];

/// The fewest independent analogues that say anything.
const FEWEST_ANALOGUES: usize = 8;
/// Bootstrap replicates of an analogue p-value.
const REPLICATES: usize = 400;
/// A feature leans if it lies in the outer quarters of its past ...
const OUTER: f64 = 0.25;
/// ... and its past correlation is beyond so many standard errors of independent spans.
const LEAN_ERRORS: f64 = 1.0;

/// A shown feature and what its past says of it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Factor {
    /// The value.
    pub(crate) value: Option<f32>,
    /// Its percentile in the pair's own past, whole percent.
    pub(crate) percentile: Option<u8>,
    /// The side it leans to by its past correlation with outcomes; none where it does not.
    pub(crate) leans: Option<Side>,
}

/// Past cases in which the same signal would have been traded.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Cases {
    /// Near rows looked through.
    pub(crate) searched: usize,
    /// Those that do not overlap.
    pub(crate) independent: usize,
    /// Of these, profitable after costs.
    pub(crate) wins: usize,
    /// Mean of the Beta posterior of the win rate (Jeffreys' prior), to a tenth of a percent.
    pub(crate) win_rate: f64,
    /// Its one-sided lower bound, to a tenth of a percent.
    pub(crate) bound: f64,
    /// Mean gain of the winners after costs, to a tenth of a basis point.
    pub(crate) gain: f64,
    /// Mean loss of the losers after costs, positive, to a tenth of a basis point.
    pub(crate) loss: f64,
    /// Gain over loss, to two decimals.
    pub(crate) payoff: f64,
    /// The win rate below which the trade loses, 1 / (1 + payoff), to a tenth of a percent.
    pub(crate) break_even: f64,
    /// P-value of a mean result above 0 (stationary bootstrap), to two decimals; none where it was
    /// not asked for.
    pub(crate) p_value: Option<f64>,
}

/// Everything known about a signal at its decision.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Evidence {
    /// The signal, its confidence to a tenth of a percent.
    pub(crate) signal: Signal,
    /// Shown features, in order.
    pub(crate) factors: Vec<Factor>,
    /// Leaning factors that agree and that do not.
    pub(crate) agree: usize,
    /// Leaning factors on the other side.
    pub(crate) against: usize,
    /// Past cases, if there are enough.
    pub(crate) cases: Option<Cases>,
    /// Standard deviation of past outcomes, to a tenth of a basis point.
    pub(crate) typical_move: f64,
    /// The round-trip cost, to a tenth of a basis point.
    pub(crate) cost: f64,
    /// Half Kelly at the lower bound, within the cap, to a tenth of a percent of equity.
    pub(crate) size: f64,
    /// The raw certainty, to a tenth of a percent.
    pub(crate) raw: f64,
}

/// How much evidence is gathered: looking for past cases goes over a pair's whole past, and a
/// p-value over hundreds of resamples.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Depth {
    /// Features and what their past says of them.
    Features,
    /// Past cases too.
    Cases,
    /// And their p-value, by a bootstrap of this seed.
    Resampled(u64),
}

impl Evidence {
    /// Gathers the evidence of a row; none where too little is known.
    pub(crate) fn gather(
        past: &Past<'_>,
        row: usize,
        columns: usize,
        signal: Signal,
        cost: f64,
        depth: Depth,
        settings: &BridgeSettings,
    ) -> Option<Self> {
        let signal = Signal {
            confidence: tenth_percent(signal.confidence),
            ..signal
        };
        let cost = tenth_point(cost);
        let typical_move = tenth_point(past.typical_move(row)?);
        let factors = factors(past, row, columns, settings);
        let agree = factors
            .iter()
            .filter(|f| f.leans == Some(signal.side))
            .count();
        let against = factors
            .iter()
            .filter(|f| f.leans == Some(signal.side.other()))
            .count();
        let cases = match depth {
            Depth::Features => None,
            Depth::Cases | Depth::Resampled(_) => {
                let found = past.analogues(row, settings.analogues, settings.horizon_bars);
                let outcomes = found.outcomes.iter();
                let results: Vec<f64> = outcomes
                    .map(|outcome| signal.side.sign() * outcome - cost)
                    .collect();
                let resampling = match depth {
                    Depth::Resampled(seed) => Some(seed),
                    _ => None,
                };
                cases(&results, found.searched, resampling, settings)
            }
        };
        let size = cases.as_ref().map_or(0.0, |cases| size(cases, settings));
        let leaning = agree + against;
        let share = if leaning == 0 {
            0.5
        } else {
            tenth_percent(agree as f64 / leaning as f64)
        };
        let rate = cases.as_ref().map_or(0.5, |cases| cases.win_rate);
        let [confidence, win_rate, factor] = CERTAINTY_WEIGHTS;
        let raw = tenth_percent(confidence * signal.confidence + win_rate * rate + factor * share);
        Some(Self {
            signal,
            factors,
            agree,
            against,
            cases,
            typical_move,
            cost,
            size,
            raw,
        })
    }

    /// Returns the share of leaning factors that agree, to a tenth of a percent; a half where none
    /// leans.
    pub(crate) fn agreement(&self) -> f64 {
        match self.agree + self.against {
            0 => 0.5,
            leaning => tenth_percent(self.agree as f64 / leaning as f64),
        }
    }

    /// Returns the analogues' win rate, a half where there are too few.
    pub(crate) fn win_rate(&self) -> f64 {
        self.cases.as_ref().map_or(0.5, |cases| cases.win_rate)
    }
}

fn factors(past: &Past<'_>, row: usize, columns: usize, settings: &BridgeSettings) -> Vec<Factor> {
    (0..columns)
        .map(|column| {
            let share = past.percentile(column, row, settings.past_rows / 2);
            let percentile = share.map(|share| (share * 100.0).round() as u8);
            let leans = share
                .filter(|share| (share - 0.5).abs() >= OUTER)
                .zip(past.correlation(column, row))
                .and_then(|(share, (correlation, n))| {
                    let independent = n / settings.horizon_bars as f64;
                    if correlation.abs() * independent.sqrt() < LEAN_ERRORS {
                        return None;
                    }
                    let up = (correlation > 0.0) == (share > 0.5);
                    Some(if up { Side::Buy } else { Side::Sell })
                });
            Factor {
                value: past.value(column, row),
                percentile,
                leans,
            }
        })
        .collect()
}

fn cases(
    results: &[f64],
    searched: usize,
    resampling: Option<u64>,
    settings: &BridgeSettings,
) -> Option<Cases> {
    let independent = results.len();
    if independent < FEWEST_ANALOGUES {
        return None;
    }
    let mean = |keep: fn(&f64) -> bool| {
        let kept: Vec<f64> = results.iter().copied().filter(keep).collect();
        (!kept.is_empty()).then(|| tenth_point(kept.iter().sum::<f64>() / kept.len() as f64))
    };
    // Without a winner or a loser there is no payoff to speak of.
    let (gain, loss) = (mean(|r| *r > 0.0)?, -mean(|r| *r <= 0.0)?);
    if gain <= 0.0 || loss <= 0.0 {
        return None;
    }
    let wins = results.iter().filter(|r| **r > 0.0).count();
    let (a, b) = (wins as f64 + 0.5, (independent - wins) as f64 + 0.5);
    let payoff = hundredth(gain / loss).max(0.01);
    Some(Cases {
        searched,
        independent,
        wins,
        win_rate: tenth_percent(a / (a + b)),
        bound: tenth_percent(beta::beta_quantile(1.0 - settings.bound_level, a, b)),
        gain,
        loss,
        payoff,
        break_even: tenth_percent(1.0 / (1.0 + payoff)),
        p_value: resampling.map(|seed| {
            hundredth(stationary::mean_above(results, 0.0, None, REPLICATES, seed).p_value)
        }),
    })
}

/// Half Kelly at the lower bound of the win rate, 0 at or below break-even, at most the cap.
fn size(cases: &Cases, settings: &BridgeSettings) -> f64 {
    if cases.bound <= cases.break_even {
        return 0.0;
    }
    let half = tenth_percent(kelly::fraction(cases.bound, cases.payoff)) / 2.0;
    tenth_percent(half.clamp(0.0, settings.largest_size))
}

/// Rounds a fraction to a tenth of a percent.
pub(crate) fn tenth_percent(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

/// Rounds a relative change to a tenth of a basis point.
pub(crate) fn tenth_point(value: f64) -> f64 {
    (value * 1e5).round() / 1e5
}

fn hundredth(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}
