//! Adaptive conformal inference: sets of answers that miss the truth as often
//! as promised, even while the market changes.
//!
//! Gibbs and Candes (2021), "Adaptive conformal inference under distribution
//! shift": the level moves by `a' = a + step (target - miss)`. The average miss
//! rate then tends to the target whatever the data do. Outcomes of market
//! decisions are known only after their horizon, so the level moves when a
//! label *matures*: each decision takes a [`Ticket`] that says by which
//! threshold it was made, and gives it back with its score later.
//!
//! A score says how badly the forecast fits an answer, usually
//! `1 - probability`. A decision acts only where the set holds one answer, see
//! [`only_answer`].

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::StatsError;

/// The state of one adaptive conformal predictor. It can be written and read
/// back between runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AdaptiveConformal {
    target: f64,
    step: f64,
    level: f64,
    window: usize,
    scores: VecDeque<f64>,
    settled: u64,
    missed: u64,
}

/// What a decision was made by; given back when its outcome is known.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Ticket {
    /// Answers whose score is at most this are in the set: infinite when every
    /// answer is, minus infinity when none is, written `"all"` and `"none"`.
    #[serde(with = "infinite_as_text")]
    pub threshold: f64,
    /// The miss rate aimed at when the decision was made.
    pub level: f64,
    /// The instant from which the outcome may be used.
    pub matures_at: i64,
}

impl Ticket {
    /// Returns whether an answer with this score is in the set.
    pub fn holds(&self, score: f64) -> bool {
        score <= self.threshold
    }
}

impl AdaptiveConformal {
    /// Returns a predictor that aims at missing the truth with frequency
    /// `target`, moves its level by `step` (0.005 to 0.05 is customary) and
    /// compares with the last `window` matured scores.
    ///
    /// # Errors
    /// [`StatsError::InvalidSetting`] for a target outside (0, 1), a step that
    /// is not positive and finite, or an empty window.
    pub fn new(target: f64, step: f64, window: usize) -> Result<Self, StatsError> {
        if !(target > 0.0 && target < 1.0) {
            return Err(invalid("target", target, "a miss rate between 0 and 1"));
        }
        if !(step > 0.0 && step.is_finite()) {
            return Err(invalid("step", step, "a finite step above 0"));
        }
        if window == 0 {
            return Err(invalid("window", 0.0, "at least one score"));
        }
        Ok(Self {
            target,
            step,
            level: target,
            window,
            scores: VecDeque::new(),
            settled: 0,
            missed: 0,
        })
    }

    /// Returns the level now in force. It may leave `[0, 1]` for a while: below
    /// 0 sets hold every answer, above 1 none.
    pub fn level(&self) -> f64 {
        self.level
    }

    /// Returns the fraction of settled decisions that missed; NaN before any.
    pub fn miss_rate(&self) -> f64 {
        self.missed as f64 / self.settled as f64
    }

    /// Returns the ticket of a decision made now whose outcome will be known at
    /// `matures_at`. The threshold is the `ceil((1 - level)(n + 1))`-th smallest
    /// of the n scores kept, infinite if that is more than n.
    pub fn issue(&self, matures_at: i64) -> Ticket {
        Ticket {
            threshold: self.threshold(),
            level: self.level,
            matures_at,
        }
    }

    fn threshold(&self) -> f64 {
        let n = self.scores.len();
        let rank = ((1.0 - self.level) * (n + 1) as f64).ceil();
        if rank < 1.0 {
            return f64::NEG_INFINITY;
        }
        if rank > n as f64 {
            return f64::INFINITY;
        }
        let mut ascending: Vec<f64> = self.scores.iter().copied().collect();
        ascending.sort_by(f64::total_cmp);
        ascending[rank as usize - 1]
    }

    /// Takes the matured score of a decision, moves the level and returns
    /// whether the set had missed the truth. Settle decisions in the order in
    /// which they mature.
    ///
    /// # Errors
    /// [`StatsError::NotMature`] if `now` is before the label matures,
    /// [`StatsError::NotFinite`] for a score that is NaN or infinite. Neither
    /// changes the state.
    pub fn settle(&mut self, now: i64, ticket: &Ticket, score: f64) -> Result<bool, StatsError> {
        if now < ticket.matures_at {
            return Err(StatsError::NotMature {
                now,
                matures_at: ticket.matures_at,
            });
        }
        if !score.is_finite() {
            return Err(StatsError::NotFinite {
                what: "score",
                row: 0,
                column: 0,
                value: score,
            });
        }
        let miss = !ticket.holds(score);
        self.level += self.step * (self.target - f64::from(u8::from(miss)));
        self.settled += 1;
        self.missed += u64::from(miss);
        if self.scores.len() == self.window {
            self.scores.pop_front();
        }
        self.scores.push_back(score);
        Ok(miss)
    }
}

/// Returns the answers whose score `1 - probability` the ticket holds, in
/// ascending order.
pub fn prediction_set(probabilities: &[f64], ticket: &Ticket) -> Vec<usize> {
    (0..probabilities.len())
        .filter(|&k| ticket.holds(1.0 - probabilities[k]))
        .collect()
}

/// Returns the one answer the set holds, or `None` where it holds none or
/// several and the decision should be left alone.
pub fn only_answer(probabilities: &[f64], ticket: &Ticket) -> Option<usize> {
    match prediction_set(probabilities, ticket)[..] {
        [answer] => Some(answer),
        _ => None,
    }
}

fn invalid(name: &'static str, value: f64, expected: &'static str) -> StatsError {
    StatsError::InvalidSetting {
        name,
        value: value.to_string(),
        expected,
    }
}

/// JSON has no infinity: thresholds are numbers, `"all"` or `"none"`.
mod infinite_as_text {
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

    #[derive(Serialize, Deserialize)]
    #[serde(untagged)]
    enum Written {
        Number(f64),
        Text(String),
    }

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
    pub(super) fn serialize<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
        let written = if value.is_finite() {
            Written::Number(*value)
        } else if *value > 0.0 {
            Written::Text("all".to_owned())
        } else {
            Written::Text("none".to_owned())
        };
        written.serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
        match Written::deserialize(deserializer)? {
            Written::Number(number) => Ok(number),
            Written::Text(text) if text == "all" => Ok(f64::INFINITY),
            Written::Text(text) if text == "none" => Ok(f64::NEG_INFINITY),
            Written::Text(text) => Err(D::Error::custom(format!(
                "threshold `{text}`, expected a number, `all` or `none`"
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    /// Runs `scores` through the predictor, each known `delay` steps later.
    fn run(target: f64, step: f64, delay: usize, scores: &[f64]) -> AdaptiveConformal {
        let mut conformal = AdaptiveConformal::new(target, step, 10_000).unwrap();
        let mut open = VecDeque::new();
        for (now, &score) in scores.iter().enumerate() {
            open.push_back((conformal.issue((now + delay) as i64), score));
            while let Some((ticket, score)) = open.front().copied() {
                if ticket.matures_at > now as i64 {
                    break;
                }
                conformal.settle(now as i64, &ticket, score).unwrap();
                open.pop_front();
            }
        }
        conformal
    }

    #[test]
    fn the_miss_rate_is_kept_through_a_shift_and_a_delay() {
        let mut random = ChaCha8Rng::seed_from_u64(1);
        let scores: Vec<f64> = (0..6_000)
            .map(|t| random.random::<f64>() * if t < 3_000 { 0.4 } else { 0.9 })
            .collect();
        let conformal = run(0.1, 0.02, 12, &scores);
        assert!(
            (conformal.miss_rate() - 0.1).abs() < 0.01,
            "{}",
            conformal.miss_rate()
        );
        // A level that never moves misses far more often after the shift.
        let stuck = run(0.1, 1e-9, 12, &scores);
        assert!(stuck.miss_rate() > 0.15, "{}", stuck.miss_rate());
    }

    #[test]
    fn an_outcome_is_not_taken_before_its_time() {
        let mut conformal = AdaptiveConformal::new(0.2, 0.05, 10).unwrap();
        let before = conformal.clone();
        let ticket = conformal.issue(100);
        let early = conformal.settle(99, &ticket, 0.5);
        assert_eq!(
            early,
            Err(StatsError::NotMature {
                now: 99,
                matures_at: 100
            })
        );
        assert!(conformal.settle(100, &ticket, f64::NAN).is_err());
        assert_eq!(conformal, before);
        assert_eq!(conformal.settle(100, &ticket, 0.5), Ok(false));
        assert!((conformal.level() - 0.21).abs() < 1e-12);
    }

    #[test]
    fn sets_follow_the_threshold() {
        let ticket = |threshold| Ticket {
            threshold,
            level: 0.1,
            matures_at: 0,
        };
        let p = [0.7, 0.2, 0.1];
        assert_eq!(only_answer(&p, &ticket(0.5)), Some(0));
        assert_eq!(prediction_set(&p, &ticket(0.85)), vec![0, 1]);
        assert_eq!(only_answer(&p, &ticket(0.85)), None);
        assert_eq!(only_answer(&p, &ticket(f64::NEG_INFINITY)), None);
        assert_eq!(prediction_set(&p, &ticket(f64::INFINITY)).len(), 3);
    }

    #[test]
    fn the_state_survives_being_written() {
        let conformal = run(0.1, 0.02, 3, &[0.1, 0.9, 0.4, 0.7, 0.2]);
        let text = serde_json::to_string(&conformal).unwrap();
        let back: AdaptiveConformal = serde_json::from_str(&text).unwrap();
        assert_eq!(back, conformal);
        for threshold in [0.5, f64::INFINITY, f64::NEG_INFINITY] {
            let ticket = Ticket {
                threshold,
                level: 0.1,
                matures_at: 7,
            };
            let text = serde_json::to_string(&ticket).unwrap();
            assert_eq!(serde_json::from_str::<Ticket>(&text).unwrap(), ticket);
        }
        let foreign = r#"{"threshold":"most","level":0.1,"matures_at":7}"#;
        assert!(serde_json::from_str::<Ticket>(foreign).is_err());
    }

    #[test]
    fn bad_settings_are_named() {
        for (target, step, window, expected) in [
            (0.0, 0.1, 5, "target"),
            (1.0, 0.1, 5, "target"),
            (0.1, f64::NAN, 5, "step"),
            (0.1, 0.1, 0, "window"),
        ] {
            match AdaptiveConformal::new(target, step, window) {
                Err(StatsError::InvalidSetting { name, .. }) => assert_eq!(name, expected),
                other => panic!("{other:?}"),
            }
        }
    }

    proptest! {
        /// Proposition 4.1 of Gibbs and Candes, for labels known at once, and
        /// for any scores at all: the level cannot run away, so the miss rate
        /// cannot either. A delay of d lets it run d steps further.
        #[test]
        fn the_miss_rate_is_bounded_for_any_scores(
            scores in prop::collection::vec(0.0f64..1.0, 1..400),
            target in 0.05f64..0.5,
            step in 0.01f64..0.2,
            delay in 0usize..12,
        ) {
            let conformal = run(target, step, delay, &scores);
            let settled = scores.len().saturating_sub(delay);
            prop_assume!(settled > 0);
            let run_away = step * (delay + 1) as f64;
            let bound = (target.max(1.0 - target) + run_away) / (step * settled as f64);
            prop_assert!((conformal.miss_rate() - target).abs() <= bound + 1e-9);
        }
    }
}
