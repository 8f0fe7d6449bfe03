//! Bets against a mean: evidence that may be looked at every day.
//!
//! Waudby-Smith and Ramdas (2024), "Estimating means of bounded random variables
//! by betting" (arXiv 2010.09686). Whoever bets on values in `[0, 1]` against
//! "the mean is m" multiplies the stake by `1 + bet (x - m)`; if m is the mean,
//! no betting that looks at the past only can win on average, so capital above
//! `1 / alpha` happens with probability of at most alpha *at any time*. Peeking
//! is free.
//!
//! Scores must come one per non-overlapping block of the label horizon. Feeding
//! every overlapping decision breaks the guarantee (see `tests/null_world.rs`).

use serde::{Deserialize, Serialize};

use crate::Interval;

/// The largest part of the admissible bet that is staked. All of it would lose
/// everything on one extreme value.
const BOLDNESS: f64 = 0.5;

/// What the past says about the next value, with one imagined value at 1/2 and
/// of variance 1/4 before the first.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Forecast {
    count: f64,
    sum: f64,
    squares: f64,
}

impl Forecast {
    const START: Self = Self {
        count: 1.0,
        sum: 0.5,
        squares: 0.25,
    };

    fn mean(&self) -> f64 {
        self.sum / self.count
    }

    fn variance(&self) -> f64 {
        self.squares / self.count
    }

    fn update(&mut self, x: f64) {
        self.count += 1.0;
        self.sum += x;
        let mean = self.mean().min(1.0);
        self.squares += (x - mean).powi(2);
    }

    /// The number of the value about to come, from 1.
    fn next(&self) -> f64 {
        self.count
    }
}

/// An e-process for "the mean score is at most 0", over scores clipped to
/// `[-clip, clip]`: its capital. It can be written and read back.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct EProcess {
    clip: f64,
    forecast: Forecast,
    log_capital: f64,
    log_peak: f64,
}

impl EProcess {
    /// Returns the process before any score. `clip` is the largest absolute
    /// score that counts; choose it once, close to the largest score that is
    /// plausible: far larger ones make bets timid.
    ///
    /// # Panics
    /// Unless `clip` is positive and finite.
    pub fn new(clip: f64) -> Self {
        assert!(
            clip > 0.0 && clip.is_finite(),
            "clip `{clip}`, expected above 0"
        );
        Self {
            clip,
            forecast: Forecast::START,
            log_capital: 0.0,
            log_peak: 0.0,
        }
    }

    /// Takes the score of the next block. The bet is the approximate Kelly bet
    /// on what the past promises, `(mean - m) / (variance + (mean - m)^2)`, never
    /// below 0 and never above half of what could be lost.
    ///
    /// # Panics
    /// If the score is NaN: a block without a score must be left out, not fed.
    pub fn update(&mut self, score: f64) {
        assert!(!score.is_nan(), "a score is NaN");
        let x = 0.5 + 0.5 * score.clamp(-self.clip, self.clip) / self.clip;
        let lead = self.forecast.mean() - 0.5;
        let kelly = lead / (self.forecast.variance() + lead * lead);
        let bet = kelly.clamp(0.0, BOLDNESS / 0.5);
        self.log_capital += (bet * (x - 0.5)).ln_1p();
        self.log_peak = self.log_peak.max(self.log_capital);
        self.forecast.update(x);
    }

    /// Returns the natural logarithm of the e-value now.
    pub fn log_e(&self) -> f64 {
        self.log_capital
    }

    /// Returns the largest `log_e` so far. Its inverse as `exp(-peak)` is a
    /// p-value at any time.
    pub fn log_peak(&self) -> f64 {
        self.log_peak
    }

    /// Returns whether the e-value ever reached `1 / alpha`.
    pub fn decided(&self, alpha: f64) -> bool {
        self.log_peak >= -alpha.ln()
    }

    /// Returns how many scores were taken.
    pub fn blocks(&self) -> usize {
        self.forecast.count as usize - 1
    }

    /// Returns the process after all `scores`.
    ///
    /// # Panics
    /// As [`EProcess::new`] and [`EProcess::update`].
    pub fn over(scores: &[f64], clip: f64) -> Self {
        let mut process = Self::new(clip);
        for &score in scores {
            process.update(score);
        }
        process
    }
}

/// The hedged capital against one candidate mean `m`: half of it bets that the
/// mean is higher, half that it is lower.
#[derive(Debug, Clone, Copy)]
struct Hedged {
    m: f64,
    log_up: f64,
    log_down: f64,
}

impl Hedged {
    fn update(&mut self, x: f64, bet: f64) {
        let grow = |log: f64, limit: f64, gain: f64| {
            let bet = bet.min(BOLDNESS / limit);
            // An unlimited bet on nothing gained leaves the capital as it is.
            if gain == 0.0 {
                log
            } else {
                log + (bet * gain).ln_1p()
            }
        };
        self.log_up = grow(self.log_up, self.m, x - self.m);
        self.log_down = grow(self.log_down, 1.0 - self.m, self.m - x);
    }

    fn log_capital(&self) -> f64 {
        self.log_up.max(self.log_down) - std::f64::consts::LN_2
    }
}

/// A confidence sequence for the mean of values in `[low, high]`: one interval
/// per value, such that with probability `1 - alpha` *all* of them hold the mean.
#[derive(Debug, Clone)]
pub struct ConfidenceSequence {
    low: f64,
    high: f64,
    alpha: f64,
    forecast: Forecast,
    candidates: Vec<Hedged>,
    interval: Interval,
}

impl ConfidenceSequence {
    /// Returns the sequence before any value. Candidate means lie on a grid of
    /// `cells` equal steps; ends are rounded outwards to it.
    ///
    /// # Panics
    /// Unless `low < high`, `0 < alpha < 1` and there is a cell.
    pub fn new(low: f64, high: f64, alpha: f64, cells: usize) -> Self {
        assert!(low < high, "values between {low} and {high}");
        assert!(alpha > 0.0 && alpha < 1.0, "alpha {alpha} outside (0, 1)");
        assert!(cells > 0, "a grid needs at least one cell");
        let candidate = |index: usize| Hedged {
            m: index as f64 / cells as f64,
            log_up: 0.0,
            log_down: 0.0,
        };
        Self {
            low,
            high,
            alpha,
            forecast: Forecast::START,
            candidates: (0..=cells).map(candidate).collect(),
            interval: Interval { low, high },
        }
    }

    /// Takes a value, clipped to `[low, high]`, and returns the intersection of
    /// all intervals so far. Bets are the predictable plug-in of section 4.1.
    ///
    /// # Panics
    /// If the value is NaN.
    pub fn update(&mut self, value: f64) -> Interval {
        assert!(!value.is_nan(), "a value is NaN");
        let width = self.high - self.low;
        let x = ((value - self.low) / width).clamp(0.0, 1.0);
        let t = self.forecast.next();
        let spread = self.forecast.variance() * t * (1.0 + t).ln();
        let bet = (2.0 * (2.0 / self.alpha).ln() / spread).sqrt();
        for candidate in &mut self.candidates {
            candidate.update(x, bet);
        }
        self.forecast.update(x);

        let threshold = -self.alpha.ln();
        let inside = |c: &&Hedged| c.log_capital() <= threshold;
        let cells = (self.candidates.len() - 1) as f64;
        let first = self.candidates.iter().find(inside);
        let last = self.candidates.iter().rev().find(inside);
        if let (Some(first), Some(last)) = (first, last) {
            let low = self.low + width * (first.m - 1.0 / cells).max(0.0);
            let high = self.low + width * (last.m + 1.0 / cells).min(1.0);
            self.interval.low = self.interval.low.max(low);
            self.interval.high = self.interval.high.min(high);
        }
        self.interval
    }

    /// Returns the intersection of all intervals so far.
    pub fn interval(&self) -> Interval {
        self.interval
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    fn scores(n: usize, lead: f64, seed: u64) -> Vec<f64> {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        (0..n)
            .map(|_| lead + random.random_range(-0.5..0.5))
            .collect()
    }

    #[test]
    fn a_lead_is_found_and_no_lead_is_not() {
        let found = EProcess::over(&scores(300, 0.1, 1), 1.0);
        assert!(found.decided(0.05) && found.log_e() > 4.0, "{found:?}");
        assert_eq!(found.blocks(), 300);
        let crossed = (0..200)
            .filter(|&seed| EProcess::over(&scores(300, 0.0, seed), 1.0).decided(0.05))
            .count();
        // At most 5 % may cross; 200 worlds: three standard errors above is 19.
        assert!(crossed <= 19, "{crossed}");
        // Behind, it never bets: at most the start's luck.
        assert!(EProcess::over(&scores(300, -0.1, 2), 1.0).log_peak() < 1.0);
    }

    #[test]
    fn the_sequence_holds_the_mean_and_narrows() {
        let mut covered = 0;
        for seed in 0..60 {
            let mut sequence = ConfidenceSequence::new(-1.0, 1.0, 0.1, 200);
            let interval = scores(400, 0.1, seed)
                .into_iter()
                .map(|score| sequence.update(score))
                .last()
                .unwrap();
            assert!(interval.high - interval.low < 0.3, "{interval:?}");
            assert_eq!(interval, sequence.interval());
            covered += u32::from(interval.contains(0.1));
        }
        // At least 90 % of 60, less three standard errors.
        assert!(covered >= 47, "{covered}");
    }

    #[test]
    fn the_process_survives_being_written() {
        let process = EProcess::over(&scores(20, 0.05, 3), 1.0);
        let text = serde_json::to_string(&process).unwrap();
        let mut back: EProcess = serde_json::from_str(&text).unwrap();
        assert_eq!(back, process);
        back.update(0.3);
        let mut rest = process;
        rest.update(0.3);
        assert_eq!(back, rest);
    }

    #[test]
    #[should_panic(expected = "a score is NaN")]
    fn nan_is_not_a_score() {
        EProcess::new(1.0).update(f64::NAN);
    }

    proptest! {
        /// Capital stays positive whatever comes, and clipping is all that a
        /// wild score does.
        #[test]
        fn capital_never_vanishes(scores in prop::collection::vec(-9.0f64..9.0, 1..60)) {
            let process = EProcess::over(&scores, 1.0);
            prop_assert!(process.log_e().is_finite());
            let clipped: Vec<f64> = scores.iter().map(|s| s.clamp(-1.0, 1.0)).collect();
            prop_assert_eq!(process, EProcess::over(&clipped, 1.0));
        }

        #[test]
        fn intervals_only_shrink(values in prop::collection::vec(0.0f64..1.0, 1..40)) {
            let mut sequence = ConfidenceSequence::new(0.0, 1.0, 0.05, 50);
            let mut before = sequence.interval();
            for value in values {
                let now = sequence.update(value);
                prop_assert!(now.low >= before.low && now.high <= before.high);
                before = now;
            }
        }
    }
}
