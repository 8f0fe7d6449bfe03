//! Scores of non-overlapping blocks and what they prove.
//!
//! A block starts at the first decision time that is a full horizon after the one before, so no
//! two blocks' outcomes overlap. Its score is that of the decisions at its start, averaged over the
//! instruments; which times these are does not depend on any outcome. Everything between is left
//! to the diagnostics.

use market::Timestamp;
use serde::Serialize;
use stats::Interval;
use stats::betting::{ConfidenceSequence, EProcess};
use stats::comparison::Mixture;
use stats::e_value::blocks_to_decision;

use super::pairs::Pair;
use super::reader::{Choice, Happened};
use crate::class;
use crate::shadow::{Metric, Preregistration};

/// Steps of the grid of candidate means.
const CELLS: usize = 400;
/// The most points of the evidence curve that are kept.
const CURVE: usize = 400;

/// One block: what the decisions at its start were worth.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Block {
    pub(super) time: i64,
    /// Challenger less champion, positive where it is better.
    pub(super) score: f64,
    /// The challenger's mean net return.
    pub(super) challenger_return: f64,
}

/// The evidence that a challenger is better.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Evidence {
    /// Blocks scored.
    pub blocks: usize,
    /// Mean score of a block.
    pub mean: f64,
    /// Standard deviation of the scores.
    pub deviation: f64,
    /// e-value now: how often a stake against "no better" has been multiplied.
    pub e_value: f64,
    /// Its natural logarithm.
    pub log_e: f64,
    /// The largest natural logarithm so far.
    pub log_e_peak: f64,
    /// What the e-value has to reach, `1 / alpha`.
    pub threshold: f64,
    /// alpha of this challenger: the registered one, split among the challengers.
    pub alpha: f64,
    /// Interval of the mean score that holds at all times at once.
    pub confidence_sequence: Interval,
    /// Interval of the mean score so far, which may drift; at all times at once.
    pub drifting_interval: Interval,
    /// Blocks a decision takes from the start, at this mean and deviation; none without a lead.
    pub expected_blocks: Option<f64>,
    /// Days that are still to come of them; none without a lead.
    pub days_to_decision: Option<f64>,
    /// How the evidence grew; thinned.
    pub curve: Vec<Point>,
}

/// A point of the evidence curve.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Point {
    /// The start of the block.
    pub time: Timestamp,
    /// Natural logarithm of the e-value.
    pub log_e: f64,
    /// Interval of the mean score.
    pub interval: Interval,
}

/// Returns the net return of acting on a decision: the change for BUY, its opposite for SELL, less
/// the cost of opening and closing; 0 for HOLD.
pub(super) fn net_return(decision: usize, change: f64, cost_per_side: f64) -> f64 {
    match decision {
        class::BUY => change - 2.0 * cost_per_side,
        class::SELL => -change - 2.0 * cost_per_side,
        _ => 0.0,
    }
}

/// Returns the Brier score of one forecast, from 0 to 2.
pub(super) fn brier(choice: &Choice, label: usize) -> f64 {
    stats::metrics::brier(&[label], &[choice.probabilities])
}

/// Returns by how much the challenger is better on one decision.
fn lead(pair: &Pair, happened: Happened, rule: &Preregistration) -> f64 {
    match rule.metric {
        Metric::Brier => {
            brier(&pair.champion, happened.label) - brier(&pair.challenger, happened.label)
        }
        Metric::NetUtility => {
            let worth =
                |choice: &Choice| net_return(choice.decision, happened.change, rule.cost_per_side);
            worth(&pair.challenger) - worth(&pair.champion)
        }
    }
}

/// Returns the blocks of pairs in order of time. Those whose outcome will never be known are left
/// out, and the first that is still open ends the list: what matures later must not be judged
/// before it.
pub(super) fn blocks(pairs: &[Pair], rule: &Preregistration, horizon: i64) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut next = i64::MIN;
    for group in pairs.chunk_by(|a, b| a.time == b.time) {
        let time = group[0].time;
        if time < next {
            continue;
        }
        next = time.saturating_add(horizon);
        if group.iter().any(|pair| !pair.settled) {
            break;
        }
        let (mut count, mut score, mut challenger_return) = (0.0, 0.0, 0.0);
        for (pair, happened) in group.iter().filter_map(|p| p.happened.map(|h| (p, h))) {
            count += 1.0;
            score += lead(pair, happened, rule);
            let decision = pair.challenger.decision;
            challenger_return += net_return(decision, happened.change, rule.cost_per_side);
        }
        if count > 0.0 {
            blocks.push(Block {
                time,
                score: score / count,
                challenger_return: challenger_return / count,
            });
        }
    }
    blocks
}

/// Weighs the blocks at this challenger's share of alpha.
pub(super) fn weigh(blocks: &[Block], rule: &Preregistration, alpha: f64) -> Evidence {
    let clip = rule.clip;
    let n = blocks.len();
    let mut process = EProcess::new(clip);
    let mut sequence = ConfidenceSequence::new(-clip, clip, alpha, CELLS);
    // Tightest at the earliest decision, should scores spread over half of the clip.
    let planned = rule.minimum_blocks.max(1) as f64 * (clip / 2.0).powi(2);
    let mixture = Mixture::new(planned, 2.0 * clip, alpha / 2.0);
    let (mut sum, mut squares, mut surprises) = (0.0, 0.0, 0.0);
    let mut curve = Vec::new();
    let every = n.div_ceil(CURVE).max(1);
    for (index, block) in blocks.iter().enumerate() {
        let score = block.score.clamp(-clip, clip);
        let expected = if index == 0 { 0.0 } else { sum / index as f64 };
        surprises += (score - expected).powi(2);
        sum += score;
        squares += score * score;
        process.update(score);
        let interval = sequence.update(score);
        if (index + 1) % every == 0 || index + 1 == n {
            curve.push(Point {
                time: Timestamp(block.time),
                log_e: process.log_e(),
                interval,
            });
        }
    }
    let count = n as f64;
    let mean = sum / count;
    let deviation = ((squares - count * mean * mean).max(0.0) / (count - 1.0)).sqrt();
    let drifting_interval = if n == 0 {
        Interval::unknown()
    } else {
        let radius = mixture.boundary(surprises.max(f64::MIN_POSITIVE), alpha / 2.0) / count;
        Interval {
            low: (mean - radius).max(-clip),
            high: (mean + radius).min(clip),
        }
    };
    let expected_blocks =
        Some(blocks_to_decision(alpha, deviation, mean)).filter(|b| b.is_finite());
    Evidence {
        blocks: n,
        mean,
        deviation,
        e_value: process.log_e().exp(),
        log_e: process.log_e(),
        log_e_peak: process.log_peak(),
        threshold: 1.0 / alpha,
        alpha,
        confidence_sequence: sequence.interval(),
        drifting_interval,
        expected_blocks,
        days_to_decision: expected_blocks.and_then(|all| days_left(blocks, all)),
        curve,
    }
}

/// Returns how many days the blocks still missing take at the pace of those seen.
fn days_left(blocks: &[Block], expected: f64) -> Option<f64> {
    let (first, last) = (blocks.first()?.time, blocks.last()?.time);
    if blocks.len() < 2 {
        return None;
    }
    let days_per_block = (last - first) as f64 / 86_400_000.0 / (blocks.len() - 1) as f64;
    Some((expected - blocks.len() as f64).max(0.0) * days_per_block)
}

/// Returns the largest fall from a high of the wealth made of block returns, as a fraction.
pub(super) fn drawdown(blocks: &[Block]) -> f64 {
    let (mut wealth, mut high, mut worst) = (1.0_f64, 1.0_f64, 0.0_f64);
    for block in blocks {
        wealth = (wealth * (1.0 + block.challenger_return)).max(0.0);
        high = high.max(wealth);
        worst = worst.max(1.0 - wealth / high);
    }
    worst
}
