//! Simulated markets in which the truth is known: prices that walk at random
//! and arms that decide at every bar about overlapping horizons.
//!
//! Tests, examples and verdicts draw many such worlds to measure how often a
//! rule promotes an arm that is no better. Nothing here resembles a forecast.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

/// The class of a rise of at least the threshold, and of the decision for it.
pub const BUY: usize = 0;
/// The class of a fall of at least the threshold, and of the decision for it.
pub const SELL: usize = 1;
/// The class of a smaller move, and of the decision for it.
pub const HOLD: usize = 2;

/// What a world is made of.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct World {
    /// The number of bars decided.
    pub bars: usize,
    /// The number of bars after which a decision's outcome is known.
    pub horizon: usize,
    /// The probability that an arm changes its decision from one bar to the next.
    pub flip: f64,
    /// 2 for arms that buy or sell, 3 for arms that may also hold.
    pub classes: usize,
    /// The standard deviation of the log return of a bar.
    pub volatility: f64,
    /// A move of at least this size is BUY or SELL, a smaller one HOLD. With 2
    /// classes use 0.
    pub threshold: f64,
    /// The probability that the challenger, when it changes its mind, takes the
    /// answer that will turn out right. 0: both arms are equally useless.
    pub skill: f64,
}

/// One draw of a world.
#[derive(Debug, Clone, PartialEq)]
pub struct Draw {
    /// The right class of each bar, known `horizon` bars later.
    pub truth: Vec<usize>,
    /// The champion's decisions.
    pub champion: Vec<usize>,
    /// The challenger's decisions.
    pub challenger: Vec<usize>,
}

impl World {
    /// Returns the world of the project's evidence: hourly decisions about the
    /// sign of the next 12 hours over so many days, flips with probability 0.05.
    pub fn hourly(days: usize) -> Self {
        Self {
            bars: 24 * days,
            horizon: 12,
            flip: 0.05,
            classes: 2,
            volatility: 0.006,
            threshold: 0.0,
            skill: 0.0,
        }
    }

    /// Returns the draw of this world that belongs to `seed`.
    ///
    /// # Panics
    /// If `classes` is neither 2 nor 3 or a probability outside `[0, 1]`.
    pub fn draw(&self, seed: u64) -> Draw {
        assert!(
            self.classes == 2 || self.classes == 3,
            "{} classes",
            self.classes
        );
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let truth = self.truth(&mut random);
        let champion = self.decisions(&truth, 0.0, &mut random);
        let challenger = self.decisions(&truth, self.skill, &mut random);
        Draw {
            truth,
            champion,
            challenger,
        }
    }

    fn truth(&self, random: &mut ChaCha8Rng) -> Vec<usize> {
        // Sums of uniform steps are as good as normal over a horizon.
        let half_width = self.volatility * 3.0_f64.sqrt();
        let mut log_price = vec![0.0; self.bars + self.horizon + 1];
        for bar in 1..log_price.len() {
            log_price[bar] = log_price[bar - 1] + half_width * random.random_range(-1.0..1.0);
        }
        (0..self.bars)
            .map(|bar| {
                let gain = log_price[bar + self.horizon] - log_price[bar];
                match gain {
                    gain if gain >= self.threshold => BUY,
                    gain if gain <= -self.threshold => SELL,
                    _ => HOLD,
                }
            })
            .collect()
    }

    fn decisions(&self, truth: &[usize], skill: f64, random: &mut ChaCha8Rng) -> Vec<usize> {
        let classes = self.classes as u64;
        let mut decision = random.random_range(0..classes) as usize;
        let step = |&right: &usize| {
            if random.random_bool(self.flip) {
                let other = random.random_range(1..classes) as usize;
                decision = (decision + other) % self.classes;
                if random.random_bool(skill) {
                    decision = right;
                }
            }
            decision
        };
        truth.iter().map(step).collect()
    }
}

impl Draw {
    /// Returns for each bar how much more the challenger is right than the
    /// champion: -1, 0 or 1.
    pub fn leads(&self) -> Vec<f64> {
        let right = |decision: usize, truth: usize| f64::from(u8::from(decision == truth));
        (0..self.truth.len())
            .map(|bar| {
                right(self.challenger[bar], self.truth[bar])
                    - right(self.champion[bar], self.truth[bar])
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{accuracy, flip_rate};

    #[test]
    fn a_world_is_as_described() {
        let world = World {
            classes: 3,
            threshold: 0.01,
            ..World::hourly(2_000)
        };
        let draw = world.draw(1);
        assert_eq!(draw.truth.len(), 48_000);
        for arm in [&draw.champion, &draw.challenger] {
            assert!((flip_rate(arm) - 0.05).abs() < 0.005);
            assert!((accuracy(&draw.truth, arm) - 1.0 / 3.0).abs() < 0.03);
        }
        // A normal move with deviation 0.006 sqrt(12) is below 1 % in 37 %.
        let small = draw.truth.iter().filter(|&&class| class == HOLD).count();
        assert!((small as f64 / 48_000.0 - 0.37).abs() < 0.03);
        assert_eq!(draw, world.draw(1));
        assert_ne!(draw, world.draw(2));
    }

    #[test]
    fn skill_leads() {
        let world = World {
            skill: 0.5,
            ..World::hourly(1_000)
        };
        let leads = world.draw(3).leads();
        let mean = leads.iter().sum::<f64>() / leads.len() as f64;
        assert!(mean > 0.03, "{mean}");
    }
}
