//! Diagnostics over all timely, matured decisions: they explain, they do not decide.
//!
//! Neighbouring decisions share most of their outcome, so intervals come from resampling blocks of
//! at least two horizons, all instruments together; of longer ones in a long log, where a few hundred
//! blocks say all there is to say.

use serde::Serialize;
use stats::bootstrap::block_bootstrap;
use stats::reliability::{BrierParts, bands, brier_parts, debiased_ece};
use stats::{Interval, metrics};

use super::evidence::{brier, net_return};
use super::pairs::Pair;
use super::reader::{Choice, Happened};
use crate::class::{self, ByClass};

/// The move that makes BUY or SELL right by the plan's definition, HOLD within it.
pub const PLAN_MOVE: f64 = 0.01;
/// Resamples behind an interval.
const REPLICATES: usize = 400;
/// Seed of the resamples.
const SEED: u64 = 6;
/// Confidence level of the intervals.
pub const LEVEL: f64 = 0.95;
/// About the most blocks that are resampled.
const BLOCKS: i64 = 500;
/// Bins of a reliability diagram.
const BINS: usize = 10;

/// What one arm did on a group of decisions.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct ArmFigures {
    /// Share of decisions that hit the label.
    pub accuracy: f64,
    /// Share that is right as the plan defines it: BUY at +1 %, SELL at -1 %, HOLD within.
    pub plan_accuracy: f64,
    /// Mean return of a decision after costs.
    pub net_return: f64,
    /// Mean Brier score, 0 to 2.
    pub brier: f64,
    /// Mean of `-ln p(label)`, nats.
    pub log_loss: f64,
    /// Share of decisions that differ from the one before on the same instrument; NaN for none.
    pub flip_rate: f64,
    /// Shares of the decided classes.
    pub class_mix: ByClass<f64>,
}

/// Both arms on a group of decisions. Leads are challenger less champion (Brier: champion less
/// challenger), so positive is better.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Figures {
    /// Decisions of both arms.
    pub n: usize,
    /// Time blocks of at least two horizons among them.
    pub blocks: usize,
    /// The champion.
    pub champion: ArmFigures,
    /// The challenger.
    pub challenger: ArmFigures,
    /// Share of decisions on which both agree.
    pub agreement: f64,
    /// Lead in accuracy and its interval.
    pub accuracy_lead: Lead,
    /// Lead in accuracy by the plan's definition.
    pub plan_accuracy_lead: Lead,
    /// Lead in mean net return.
    pub net_return_lead: Lead,
    /// Lead in Brier score.
    pub brier_lead: Lead,
}

/// A lead and its interval at 95 %.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Lead {
    /// The mean.
    pub value: f64,
    /// From time blocks.
    pub interval: Interval,
}

/// How far an arm's confidence in its decision can be believed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Calibration {
    /// Binned calibration error; above 0 even for a perfect forecaster.
    pub ece: f64,
    /// The same without that bias, at least 0.
    pub debiased_ece: f64,
    /// The Brier score of "the decision is right", taken apart.
    pub brier: BrierParts,
    /// The reliability diagram with its bands at 95 %.
    pub bins: Vec<Bin>,
}

/// A bin of the reliability diagram.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Bin {
    /// Mean confidence.
    pub confidence: f64,
    /// Share that was right.
    pub right: f64,
    /// Its band.
    pub band: Interval,
    /// Decisions.
    pub count: usize,
}

/// Returns the right class by the plan's definition.
pub(super) fn plan_class(change: f64) -> usize {
    if change >= PLAN_MOVE {
        class::BUY
    } else if change <= -PLAN_MOVE {
        class::SELL
    } else {
        class::HOLD
    }
}

/// Returns the pairs whose outcome is known, with it.
pub(super) fn matured(pairs: &[Pair]) -> Vec<(Pair, Happened)> {
    let known = |pair: &Pair| pair.happened.map(|happened| (*pair, happened));
    pairs.iter().filter_map(known).collect()
}

/// Returns the figures of a group in order of time; none for an empty one.
pub(super) fn figures(rows: &[(Pair, Happened)], cost: f64, horizon: i64) -> Option<Figures> {
    let n = rows.len();
    if n == 0 {
        return None;
    }
    let champion = arm(rows, cost, |pair| &pair.champion);
    let challenger = arm(rows, cost, |pair| &pair.challenger);
    let of_block = block_ids(rows, horizon);
    let lead = |of: &dyn Fn(&Choice, &Happened) -> f64| {
        let difference = |(pair, happened): &(Pair, Happened)| {
            of(&pair.challenger, happened) - of(&pair.champion, happened)
        };
        let sums = block_sums(rows, &of_block, &difference);
        interval_of(&sums)
    };
    let one = |right: bool| f64::from(u8::from(right));
    let agree = rows
        .iter()
        .filter(|(p, _)| p.champion.decision == p.challenger.decision);
    Some(Figures {
        n,
        blocks: of_block.last().map_or(0, |last| last + 1),
        champion,
        challenger,
        agreement: agree.count() as f64 / n as f64,
        accuracy_lead: lead(&|c, h| one(c.decision == h.label)),
        plan_accuracy_lead: lead(&|c, h| one(c.decision == plan_class(h.change))),
        net_return_lead: lead(&|c, h| net_return(c.decision, h.change, cost)),
        brier_lead: lead(&|c, h| -brier(c, h.label)),
    })
}

fn arm(rows: &[(Pair, Happened)], cost: f64, of: impl Fn(&Pair) -> &Choice) -> ArmFigures {
    let mean = |value: &dyn Fn(&Choice, &Happened) -> f64| {
        rows.iter().map(|(pair, h)| value(of(pair), h)).sum::<f64>() / rows.len() as f64
    };
    let one = |right: bool| f64::from(u8::from(right));
    let series: Vec<usize> = rows.iter().map(|(pair, _)| pair.series as usize).collect();
    let decisions: Vec<usize> = rows.iter().map(|(pair, _)| of(pair).decision).collect();
    ArmFigures {
        accuracy: mean(&|c, h| one(c.decision == h.label)),
        plan_accuracy: mean(&|c, h| one(c.decision == plan_class(h.change))),
        net_return: mean(&|c, h| net_return(c.decision, h.change, cost)),
        brier: mean(&|c, h| brier(c, h.label)),
        log_loss: mean(&|c, h| {
            -c.probabilities[h.label]
                .max(metrics::PROBABILITY_FLOOR)
                .ln()
        }),
        flip_rate: metrics::flip_rate_by(&series, &decisions),
        class_mix: ByClass::count(&decisions).shares(),
    }
}

/// Numbers the time blocks of rows in order of time, from 0.
fn block_ids(rows: &[(Pair, Happened)], horizon: i64) -> Vec<usize> {
    let least = horizon.saturating_mul(2).max(1);
    let span = match (rows.first(), rows.last()) {
        (Some((first, _)), Some((last, _))) => last.time.saturating_sub(first.time),
        _ => 0,
    };
    // A whole number of the shortest, so that a longer log has the same cuts, fewer of them.
    let length = least.saturating_mul((span / least / BLOCKS).max(1));
    let mut ids = Vec::with_capacity(rows.len());
    let (mut block, mut number) = (None, 0);
    for (pair, _) in rows {
        let own = pair.time.div_euclid(length);
        if block.is_some_and(|last| last != own) {
            number += 1;
        }
        block = Some(own);
        ids.push(number);
    }
    ids
}

/// Sum and count of each block.
fn block_sums<T>(rows: &[T], ids: &[usize], value: &dyn Fn(&T) -> f64) -> Vec<(f64, f64)> {
    let mut sums = vec![(0.0, 0.0); ids.last().map_or(0, |last| last + 1)];
    for (row, &id) in rows.iter().zip(ids) {
        sums[id].0 += value(row);
        sums[id].1 += 1.0;
    }
    sums
}

fn interval_of(sums: &[(f64, f64)]) -> Lead {
    let mean = |blocks: &[usize]| {
        let total = blocks.iter().fold((0.0, 0.0), |total, &block| {
            (total.0 + sums[block].0, total.1 + sums[block].1)
        });
        total.0 / total.1
    };
    let ids: Vec<usize> = (0..sums.len()).collect();
    Lead {
        value: mean(&ids),
        interval: block_bootstrap(&ids, REPLICATES, SEED, LEVEL, &mean),
    }
}

/// Returns how well an arm's confidence in its decision is calibrated.
pub(super) fn calibration(
    rows: &[(Pair, Happened)],
    horizon: i64,
    of: impl Fn(&Pair) -> &Choice,
) -> Calibration {
    let confidence = |pair: &Pair| of(pair).probabilities[of(pair).decision];
    let forecast: Vec<f64> = rows.iter().map(|(pair, _)| confidence(pair)).collect();
    let right = |(pair, h): &(Pair, Happened)| of(pair).decision == h.label;
    let happened: Vec<bool> = rows.iter().map(right).collect();
    let bins = metrics::reliability(&forecast, &happened, BINS);
    let ids = block_ids(rows, horizon);
    let bands = bands(&forecast, &happened, &bins, &ids, REPLICATES, SEED, LEVEL);
    Calibration {
        ece: metrics::ece(&bins),
        debiased_ece: debiased_ece(&bins),
        brier: brier_parts(&forecast, &happened, BINS),
        bins: bins
            .iter()
            .zip(bands)
            .map(|(bin, band)| Bin {
                confidence: bin.mean_predicted,
                right: bin.observed,
                band,
                count: bin.count,
            })
            .collect(),
    }
}
