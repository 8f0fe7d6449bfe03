//! Time and money: arithmetic of the whole training at a measured or a stated rate.

use model::ModelConfig;
use serde::Serialize;
use train::estimate::{Plan, operations};

use super::calibration::Rate;
use super::estimate::Lengths;
use crate::settings::Settings;

/// Examples when neither flag nor settings name a number.
const EXAMPLES: usize = 1000;
/// A validation is a forward pass: about half the arithmetic of a training pass.
const FORWARD_SHARE: f64 = 0.5;
/// What the slowest and the fastest timed pass leave open: optimiser, log, checkpoints, a machine
/// that is busier or quieter later on.
const MARGIN: f64 = 0.15;
/// The share of a card's dense bf16 peak that a training is taken to reach, and the range around
/// it: a rule of thumb, not a measurement.
const GPU_SHARE: [f64; 3] = [0.15, 0.3, 0.45];

/// How much there is to do.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Work {
    /// Examples seen, repetitions counted.
    pub(crate) examples: usize,
    /// Their tokens.
    pub(crate) tokens: usize,
    /// Optimiser steps.
    pub(crate) steps: usize,
    /// Floating-point operations, validations included.
    pub(crate) operations: f64,
}

impl Work {
    /// Counts the work of a training.
    pub(crate) fn of(
        settings: &Settings,
        examples: Option<usize>,
        config: &ModelConfig,
        plan: &Plan,
        lengths: Lengths,
    ) -> Self {
        let train = &settings.train;
        let limit = (train.max_examples > 0).then_some(train.max_examples);
        let distinct = examples.or(limit).unwrap_or(EXAMPLES);
        let seen = (train.epochs * distinct as f64).ceil() as usize;
        let steps = seen.div_ceil(train.batch_size.max(1));
        let (tokens, supervised) = (lengths.longest as f64, lengths.supervised as f64);
        let each = operations(config, plan, (tokens, tokens, supervised));
        let validations = steps.checked_div(train.validate_every).unwrap_or(0);
        let validated = (validations * train.validation_examples) as f64 * FORWARD_SHARE;
        Self {
            examples: seen,
            tokens: seen * lengths.longest,
            steps,
            operations: each * (seen as f64 + validated),
        }
    }
}

/// What is known of a rented GPU.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Rented {
    /// Its training speed in tokens per second.
    Speed(f64),
    /// Its dense bf16 peak in TFLOP/s.
    Peak(f64),
}

/// One way to get the training done.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Time {
    /// Where, in a word: `here` or `rented`.
    pub(crate) place: &'static str,
    /// Where the figure comes from, in words.
    pub(crate) basis: String,
    /// Whether it was measured.
    pub(crate) measured: bool,
    /// Seconds: least, expected, most.
    pub(crate) seconds: [f64; 3],
    /// Tokens per second at the expected time.
    pub(crate) tokens_per_second: f64,
    /// Price at the hourly rate: least, expected, most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cost: Option<[f64; 3]>,
}

/// Returns the times that can be told, and what they cost at `price` an hour.
pub(crate) fn times(
    work: &Work,
    rate: Option<&Rate>,
    rented: Option<Rented>,
    price: Option<f64>,
) -> Vec<Time> {
    let time = |place, basis, measured, seconds: [f64; 3]| Time {
        place,
        basis,
        measured,
        seconds,
        tokens_per_second: work.tokens as f64 / seconds[1],
        cost: price.map(|price| seconds.map(|seconds| seconds / 3600.0 * price)),
    };
    let here = rate.map(|rate| {
        let [slow, middle, fast] = rate.operations_per_second;
        let seconds = [
            work.operations / fast * (1.0 - MARGIN),
            work.operations / middle,
            work.operations / slow * (1.0 + MARGIN),
        ];
        time("here", format!("measured: {}", rate.how), true, seconds)
    });
    let there = rented.map(|rented| match rented {
        Rented::Speed(speed) => {
            let seconds = work.tokens as f64 / speed;
            let basis = format!("estimate from the {speed} tokens/s you gave");
            time("rented", basis, false, [seconds; 3])
        }
        Rented::Peak(tflops) => {
            let at = |share: f64| work.operations / (tflops * 1e12 * share);
            let [low, middle, high] = GPU_SHARE;
            let basis = format!(
                "estimate by a rule of thumb: {:.0} % of {tflops} TFLOP/s, {:.0} to {:.0} %",
                middle * 100.0,
                low * 100.0,
                high * 100.0
            );
            time("rented", basis, false, [at(high), at(middle), at(low)])
        }
    });
    here.into_iter().chain(there).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORK: Work = Work {
        examples: 100,
        tokens: 36_000,
        steps: 25,
        operations: 7.2e15,
    };

    #[test]
    fn a_measured_rate_gives_a_range_and_its_price() {
        let rate = Rate {
            how: "x".to_owned(),
            rows: 8,
            operations_per_second: [1e12, 2e12, 4e12],
        };
        let times = times(&WORK, Some(&rate), None, Some(2.0));
        let [time] = &times[..] else {
            panic!("{times:?}")
        };
        assert!(time.measured);
        let expected = [1800.0 * 0.85, 3600.0, 7200.0 * 1.15];
        for (found, expected) in time.seconds.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-6, "{:?}", time.seconds);
        }
        assert_eq!(time.tokens_per_second, 10.0);
        assert_eq!(time.cost.map(|cost| cost[1]), Some(2.0));
    }

    #[test]
    fn a_rented_card_is_an_estimate_and_says_so() {
        let by_rule = times(&WORK, None, Some(Rented::Peak(20.0)), None);
        assert_eq!(by_rule[0].seconds[1], 1200.0);
        assert!(!by_rule[0].measured && by_rule[0].basis.contains("rule of thumb"));
        assert_eq!(by_rule[0].cost, None);
        let given = times(&WORK, None, Some(Rented::Speed(3600.0)), Some(6.0));
        assert_eq!(given[0].seconds, [10.0; 3]);
        assert!(given[0].basis.starts_with("estimate"));
        assert!(times(&WORK, None, None, Some(1.0)).is_empty());
    }
}
