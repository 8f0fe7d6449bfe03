//! The plan's own promotion rule, and how often it promotes an arm that is no
//! better.
//!
//! The rule: accuracy higher by 5 percentage points, flip rate higher by at most
//! 10, never one class only. It knows nothing of chance, so it is reported
//! beside the sequential test together with its simulated false-promotion rate,
//! and decides nothing.

use serde::{Deserialize, Serialize};

use crate::metrics::{accuracy, flip_rate_by};
use crate::world::{Draw, World};

/// The thresholds of the rule.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct PlanRule {
    /// How much more accurate the challenger has to be, as a fraction.
    pub accuracy_lead: f64,
    /// How much more often it may change its decision, as a fraction.
    pub flip_excess: f64,
}

impl Default for PlanRule {
    fn default() -> Self {
        Self {
            accuracy_lead: 0.05,
            flip_excess: 0.10,
        }
    }
}

/// What the rule looks at, and what it says.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct PlanVerdict {
    /// The challenger's accuracy less the champion's.
    pub accuracy_lead: f64,
    /// The challenger's flip rate less the champion's.
    pub flip_excess: f64,
    /// Whether the challenger decided the same every time.
    pub one_class_only: bool,
    /// Whether the rule would promote it.
    pub promotes: bool,
}

/// How often the rule promotes an arm without any lead.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct FalsePromotion {
    /// The fraction of worlds in which it did at the last look.
    pub at_the_end: f64,
    /// The fraction in which it did at any look.
    pub at_any_look: f64,
    /// The number of worlds.
    pub worlds: usize,
}

impl PlanRule {
    /// Applies the rule to decisions in time order; `groups` are the instruments.
    ///
    /// # Panics
    /// If the lengths differ.
    pub fn apply(
        &self,
        groups: &[usize],
        truth: &[usize],
        champion: &[usize],
        challenger: &[usize],
    ) -> PlanVerdict {
        let accuracy_lead = accuracy(truth, challenger) - accuracy(truth, champion);
        let flips = |arm: &[usize]| flip_rate_by(groups, arm);
        let flip_excess = flips(challenger) - flips(champion);
        let one_class_only = challenger.windows(2).all(|pair| pair[0] == pair[1]);
        PlanVerdict {
            accuracy_lead,
            flip_excess,
            one_class_only,
            promotes: accuracy_lead >= self.accuracy_lead
                && flip_excess <= self.flip_excess
                && !one_class_only,
        }
    }

    /// Returns how often the rule promotes in `worlds` draws of a world whose
    /// challenger has no skill, looked at every `look_every` bars from
    /// `first_look` on and at the end.
    ///
    /// # Panics
    /// If `look_every` is 0 or the world's challenger has skill.
    pub fn false_promotion(
        &self,
        world: &World,
        first_look: usize,
        look_every: usize,
        worlds: usize,
        seed: u64,
    ) -> FalsePromotion {
        assert!(look_every > 0, "looks need a distance");
        assert!(
            world.skill == 0.0,
            "a false promotion needs a useless challenger"
        );
        let (mut at_the_end, mut at_any_look) = (0_usize, 0_usize);
        for number in 0..worlds as u64 {
            let draw = world.draw(seed.wrapping_add(number));
            let is_look = |bars: usize| {
                bars == world.bars
                    || (bars >= first_look && (bars - first_look).is_multiple_of(look_every))
            };
            let (last, any) = self.watch(&draw, is_look);
            at_the_end += usize::from(last);
            at_any_look += usize::from(any);
        }
        FalsePromotion {
            at_the_end: at_the_end as f64 / worlds as f64,
            at_any_look: at_any_look as f64 / worlds as f64,
            worlds,
        }
    }

    /// Returns whether the rule promotes after the last bar, and whether at any look, counting
    /// along instead of applying it to every prefix.
    fn watch(&self, draw: &Draw, is_look: impl Fn(usize) -> bool) -> (bool, bool) {
        let arms = [&draw.champion, &draw.challenger];
        let (mut right, mut flips) = ([0.0; 2], [0.0; 2]);
        let (mut last, mut any) = (false, false);
        for bar in 0..draw.truth.len() {
            for (own, arm) in arms.iter().enumerate() {
                right[own] += f64::from(u8::from(arm[bar] == draw.truth[bar]));
                flips[own] += f64::from(u8::from(bar > 0 && arm[bar] != arm[bar - 1]));
            }
            let bars = bar + 1;
            if is_look(bars) {
                // The same operations as in [`Self::apply`]: a lead right on the limit stays there.
                let lead = right[1] / bars as f64 - right[0] / bars as f64;
                let excess = flips[1] / bar as f64 - flips[0] / bar as f64;
                last = lead >= self.accuracy_lead && excess <= self.flip_excess && flips[1] > 0.0;
                any |= last;
            }
        }
        (last, any)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_condition_can_refuse() {
        let rule = PlanRule::default();
        let groups = [0; 8];
        let truth = [0, 0, 1, 1, 0, 0, 1, 1];
        let champion = [1, 1, 1, 1, 1, 1, 1, 0];
        let good = rule.apply(&groups, &truth, &champion, &[0, 0, 1, 1, 1, 1, 1, 1]);
        assert!(good.promotes && !good.one_class_only, "{good:?}");
        // As right, but it changes its mind all the time.
        let nervous = rule.apply(&groups, &truth, &champion, &[0, 1, 1, 0, 0, 0, 1, 0]);
        assert!(
            nervous.accuracy_lead >= 0.05 && !nervous.promotes,
            "{nervous:?}"
        );
        let stubborn = rule.apply(&groups, &truth, &champion, &[1; 8]);
        assert!(stubborn.one_class_only && !stubborn.promotes);
        let worse = rule.apply(&groups, &truth, &champion, &[1, 1, 0, 0, 1, 1, 0, 0]);
        assert!(!worse.promotes);
    }

    #[test]
    fn counting_along_is_applying_the_rule() {
        let rule = PlanRule::default();
        for seed in 0..60 {
            let draw = World::hourly(5).draw(seed);
            let (last, _) = rule.watch(&draw, |bars| bars == 120);
            let groups = [0; 120];
            let whole = rule.apply(&groups, &draw.truth, &draw.champion, &draw.challenger);
            assert_eq!(last, whole.promotes, "{seed}");
        }
    }

    #[test]
    fn a_week_of_hourly_decisions_promotes_by_luck() {
        let world = World {
            classes: 3,
            threshold: 0.01,
            ..World::hourly(7)
        };
        let found = PlanRule::default().false_promotion(&world, 24, 24, 200, 1);
        // A third of all weeks, and more if one may stop on any good day.
        assert!(
            found.at_the_end > 0.2 && found.at_the_end < 0.5,
            "{found:?}"
        );
        assert!(found.at_any_look > found.at_the_end + 0.1, "{found:?}");
    }
}
