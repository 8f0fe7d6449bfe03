//! The rule by which two engines' greedy answers count as the same.
//!
//! Answers must be equal token by token up to the first position where they
//! differ. That position must be a numerical tie: each engine itself gives the
//! other's token a log-probability at most a stated tolerance below its own.
//! After a tie the contexts differ, so nothing later is compared. Everything
//! else is a mismatch.

use serde::{Deserialize, Serialize};

/// One greedy step of one engine.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Step {
    /// The chosen token.
    pub(crate) token: u32,
    /// Its log-probability over the whole vocabulary, in nats.
    pub(crate) log_probability: f64,
    /// Other likely tokens with their log-probabilities, in any order.
    pub(crate) others: Vec<(u32, f64)>,
}

impl Step {
    /// Returns how far below the chosen token another lies, if the engine told.
    fn gap_to(&self, token: u32) -> Option<f64> {
        let told = self.others.iter().find(|(other, _)| *other == token);
        told.map(|(_, log_probability)| self.log_probability - log_probability)
    }
}

/// How two answers to one prompt compare.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Comparison {
    /// `exact`, `tie` or `mismatch`.
    pub(crate) verdict: Verdict,
    /// Tokens that are equal, from the start.
    pub(crate) equal_tokens: usize,
    /// The first difference, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) difference: Option<Difference>,
    /// Largest difference in log-probability over the equal tokens, in nats.
    pub(crate) largest_drift: f64,
}

/// The three outcomes of a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Verdict {
    /// Equal to the end.
    Exact,
    /// Equal up to a numerical tie.
    Tie,
    /// Different where neither engine was undecided.
    Mismatch,
}

/// The position where two answers part.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Difference {
    /// Token number in the answer, from 0.
    pub(crate) position: usize,
    /// Our token, unless our answer had ended.
    pub(crate) ours: Option<u32>,
    /// Their token, unless their answer had ended.
    pub(crate) theirs: Option<u32>,
    /// How far below our token we put theirs, in nats, if we know.
    pub(crate) our_gap: Option<f64>,
    /// How far below their token they put ours, in nats, if they told.
    pub(crate) their_gap: Option<f64>,
}

/// Compares two answers. `ended` says that the last step of an answer ended it;
/// the other engine may not take the same token for an end.
pub(crate) fn compare(ours: &[Step], theirs: &[Step], ended: bool, tolerance: f64) -> Comparison {
    let equal = ours
        .iter()
        .zip(theirs)
        .take_while(|(left, right)| left.token == right.token)
        .count();
    let largest_drift = ours
        .iter()
        .zip(theirs)
        .take(equal)
        .map(|(left, right)| (left.log_probability - right.log_probability).abs())
        .fold(0.0, f64::max);
    let (left, right) = (ours.get(equal), theirs.get(equal));
    let over = equal > 0 && (left.is_none() || right.is_none());
    if (left.is_none() && right.is_none()) || (over && ended) {
        return Comparison {
            verdict: Verdict::Exact,
            equal_tokens: equal,
            difference: None,
            largest_drift,
        };
    }
    let gap = |from: Option<&Step>, to: Option<&Step>| from?.gap_to(to?.token);
    let (our_gap, their_gap) = (gap(left, right), gap(right, left));
    let tied = |gap: Option<f64>| gap.is_some_and(|gap| gap <= tolerance);
    Comparison {
        verdict: if tied(our_gap) && tied(their_gap) {
            Verdict::Tie
        } else {
            Verdict::Mismatch
        },
        equal_tokens: equal,
        difference: Some(Difference {
            position: equal,
            ours: left.map(|step| step.token),
            theirs: right.map(|step| step.token),
            our_gap,
            their_gap,
        }),
        largest_drift,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOLERANCE: f64 = 0.05;

    fn step(token: u32, log_probability: f64, others: &[(u32, f64)]) -> Step {
        Step {
            token,
            log_probability,
            others: others.to_vec(),
        }
    }

    fn check(ours: &[Step], theirs: &[Step], ended: bool, expect: Verdict) -> Comparison {
        let comparison = compare(ours, theirs, ended, TOLERANCE);
        assert_eq!(comparison.verdict, expect, "{comparison:?}");
        comparison
    }

    #[test]
    fn equal_answers_are_exact() {
        let ours = [step(1, -0.1, &[]), step(2, -0.2, &[])];
        let theirs = [step(1, -0.13, &[]), step(2, -0.2, &[])];
        let comparison = check(&ours, &theirs, true, Verdict::Exact);
        assert!((comparison.largest_drift - 0.03).abs() < 1e-12);
        assert_eq!(comparison.equal_tokens, 2);
    }

    #[test]
    fn a_close_call_in_both_engines_is_a_tie() {
        let ours = [step(1, -0.1, &[]), step(2, -0.70, &[(3, -0.72)])];
        let theirs = [
            step(1, -0.1, &[]),
            step(3, -0.69, &[(2, -0.71)]),
            step(9, 0.0, &[]),
        ];
        let comparison = check(&ours, &theirs, true, Verdict::Tie);
        assert_eq!(comparison.difference.unwrap().position, 1);
    }

    #[test]
    fn a_close_call_in_one_engine_is_a_mismatch() {
        let ours = [step(2, -0.70, &[(3, -0.72)])];
        let theirs = [step(3, -0.10, &[(2, -2.5)])];
        check(&ours, &theirs, true, Verdict::Mismatch);
        check(&theirs, &ours, true, Verdict::Mismatch);
    }

    #[test]
    fn an_unknown_gap_is_a_mismatch() {
        let ours = [step(2, -0.70, &[(4, -0.72)])];
        let theirs = [step(3, -0.69, &[(2, -0.71)])];
        check(&ours, &theirs, true, Verdict::Mismatch);
    }

    #[test]
    fn an_end_only_one_engine_knows_is_no_difference() {
        let ours = [step(1, -0.1, &[]), step(2, -0.2, &[])];
        check(&ours, &ours[..1], true, Verdict::Exact);
        check(&ours, &ours[..1], false, Verdict::Mismatch);
        check(&ours, &[], true, Verdict::Mismatch);
    }
}
