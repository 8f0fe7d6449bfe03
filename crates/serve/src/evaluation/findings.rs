//! The result in sentences, made from the numbers by fixed rules.
//!
//! An interval that includes zero is "no evidence", never "a small edge". The
//! equity curve is not worded at all.

use serde::{Deserialize, Serialize};
use stats::Interval;

use super::{ADAPTER, ArmEvaluation, BASE, Basis, Comparison, LOGISTIC, MAJORITY, PERSISTENCE};
use crate::chart::ticks::{plain, signed};
use crate::class;

/// What an interval of a difference allows to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The whole interval is above zero.
    Better,
    /// The interval includes zero, or is unknown.
    NoEvidence,
    /// The whole interval is below zero.
    Worse,
    /// A remark that judges nothing.
    Note,
}

impl Verdict {
    /// Judges the interval of a difference.
    pub fn of(interval: Interval) -> Self {
        if interval.low > 0.0 {
            Self::Better
        } else if interval.high < 0.0 {
            Self::Worse
        } else {
            Self::NoEvidence
        }
    }
}

/// One sentence of the result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// What the sentence says, for machines.
    pub verdict: Verdict,
    /// What it is about: `accuracy/majority`, `log_loss/majority`, `blocks`, ...
    pub about: String,
    /// The sentence.
    pub text: String,
}

/// Below this number of blocks, a percentile interval is called rough.
const FEW_BLOCKS: usize = 30;
/// An arm that gives one answer this often hardly decides.
const ONE_ANSWER: f64 = 0.98;

/// Returns how an arm is called in a sentence.
pub fn display_name(arm: &str) -> &str {
    match arm {
        ADAPTER => "the adapter",
        BASE => "the base model",
        MAJORITY => "the majority class",
        PERSISTENCE => "persistence",
        LOGISTIC => "plain logistic regression",
        other => other,
    }
}

/// Words the whole evaluation, most important first.
pub(super) fn all(
    basis: &Basis,
    arms: &[ArmEvaluation],
    comparisons: &[Comparison],
    bayes_accuracy: Option<f64>,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    let find = |against: &str, metric: &str| {
        comparisons
            .iter()
            .find(|c| c.against == against && c.metric == metric)
    };
    let known = [MAJORITY, BASE, LOGISTIC, PERSISTENCE];
    for against in known {
        findings.extend(find(against, "accuracy").map(|c| accuracy(c, basis.level)));
        if against == MAJORITY {
            findings.extend(as_answered(basis, arms));
        }
    }
    let others = comparisons
        .iter()
        .filter(|c| c.metric == "accuracy" && !known.contains(&c.against.as_str()));
    findings.extend(others.map(|c| accuracy(c, basis.level)));
    findings.extend(find(MAJORITY, "log_loss").map(|c| log_loss(c, basis.level)));
    let adapter = arms.iter().find(|arm| arm.name == ADAPTER);
    if let Some(adapter) = adapter {
        findings.extend(bayes_accuracy.and_then(|best| bayes(adapter, best)));
        findings.extend(one_answer(adapter));
    }
    findings.extend(blocks(basis));
    findings
}

fn accuracy(comparison: &Comparison, level: f64) -> Finding {
    let name = display_name(&comparison.against);
    let numbers = format!(
        "edge {} pp, {}",
        signed(comparison.difference * 100.0, 1),
        interval_text(comparison.difference_interval, 100.0, 1, level)
    );
    let text = match comparison.verdict {
        Verdict::Better => format!("The adapter beats {name}: {numbers}."),
        Verdict::Worse => format!("The adapter is less accurate than {name}: {numbers}."),
        Verdict::NoEvidence | Verdict::Note => {
            format!("No evidence that the adapter beats {name}: {numbers}.")
        }
    };
    Finding {
        verdict: comparison.verdict,
        about: format!("accuracy/{}", comparison.against),
        text,
    }
}

fn log_loss(comparison: &Comparison, level: f64) -> Finding {
    let numbers = format!(
        "log-loss gain {} nats, {}",
        signed(comparison.difference, 3),
        interval_text(comparison.difference_interval, 1.0, 3, level)
    );
    let text = match comparison.verdict {
        Verdict::Better => format!(
            "Its probabilities say more than the natural class mix of the training span, before balancing: {numbers}."
        ),
        Verdict::Worse => format!(
            "Its probabilities are worse than the natural class mix of the training span, before balancing: {numbers}."
        ),
        Verdict::NoEvidence | Verdict::Note => format!(
            "No evidence that its probabilities say more than the natural class mix of the training span, before balancing: {numbers}."
        ),
    };
    Finding {
        verdict: comparison.verdict,
        about: format!("log_loss/{}", comparison.against),
        text,
    }
}

/// What the adapter does without re-weighting, which is what is served.
fn as_answered(basis: &Basis, arms: &[ArmEvaluation]) -> Option<Finding> {
    let reweighted = |name: &str| {
        let arm = arms.iter().find(|arm| arm.name == name)?;
        arm.is_reweighted().then_some(arm)
    };
    let right = |arm: &ArmEvaluation| {
        format!(
            "{} % of the time ({})",
            plain(arm.accuracy_as_answered * 100.0, 1),
            share_interval(arm.accuracy_as_answered_interval, basis.level)
        )
    };
    let adapter = reweighted(ADAPTER)?;
    let mut text = format!(
        "Answering by itself, as llama.cpp serves it, the adapter is right {}",
        right(adapter)
    );
    let mut verdict = Verdict::Note;
    if let (Some(edge), Some(interval)) = (
        adapter.edge_over_majority_as_answered,
        adapter.edge_over_majority_as_answered_interval,
    ) {
        verdict = Verdict::of(interval);
        text += &format!(
            "; edge over the majority class {} pp, {}",
            signed(edge * 100.0, 1),
            interval_text(interval, 100.0, 1, basis.level)
        );
    }
    text += ".";
    if let Some(base) = reweighted(BASE) {
        text += &format!(" The base model by itself is right {}.", right(base));
    }
    text += &format!(
        " All other figures of the two are after their answers were {}.",
        reweighting(basis)
    );
    Some(Finding {
        verdict,
        about: "as_answered".to_owned(),
        text,
    })
}

/// Says to what answers were re-weighted.
pub(crate) fn reweighting(basis: &Basis) -> String {
    match basis.calibration_decisions {
        0 => "re-weighted to the class mix of validation decisions".to_owned(),
        n => format!(
            "re-weighted to the class mix of {} validation decisions",
            plain(n as f64, 0)
        ),
    }
}

fn bayes(adapter: &ArmEvaluation, best: f64) -> Option<Finding> {
    if !(best > 0.0 && best <= 1.0) {
        return None;
    }
    let mut text = format!(
        "In this made-up world no method can be right more than {} % of the time on average; {}the adapter is right {} % of the time, {} % of that.",
        plain(best * 100.0, 1),
        if adapter.is_reweighted() {
            "after re-weighting, "
        } else {
            ""
        },
        plain(adapter.accuracy * 100.0, 1),
        plain(adapter.accuracy / best * 100.0, 1)
    );
    if adapter.is_reweighted() {
        text += &format!(
            " By itself: {} %, {} % of that.",
            plain(adapter.accuracy_as_answered * 100.0, 1),
            plain(adapter.accuracy_as_answered / best * 100.0, 1)
        );
    }
    Some(note("bayes_accuracy", text))
}

fn one_answer(adapter: &ArmEvaluation) -> Option<Finding> {
    let favourite = |mix: [f64; class::COUNT]| {
        let class = stats::argmax(&mix);
        (class, mix[class])
    };
    let percent = |share: f64| plain(share * 100.0, 1);
    let (chosen, share) = favourite(adapter.class_mix.to_array());
    let own = adapter.class_mix_as_answered.to_array();
    let (own_chosen, own_share) = favourite(own);
    let text = match (
        adapter.is_reweighted(),
        share >= ONE_ANSWER,
        own_share >= ONE_ANSWER,
    ) {
        (false, true, _) => format!(
            "The adapter answers {} on {} % of the rows: it hardly decides anything.",
            class::name(chosen),
            percent(share)
        ),
        (true, true, _) => {
            let most_often = if own_chosen == chosen {
                String::new()
            } else {
                format!(
                    ", and {} most often, on {} %",
                    class::name(own_chosen),
                    percent(own_share)
                )
            };
            format!(
                "After re-weighting, the adapter chooses {0} on {1} % of the rows: it hardly decides anything. By itself it chooses {0} on {2} % of them{most_often}.",
                class::name(chosen),
                percent(share),
                percent(own[chosen])
            )
        }
        (true, false, true) => format!(
            "By itself, the adapter chooses {} on {} % of the rows: it hardly decides anything.",
            class::name(own_chosen),
            percent(own_share)
        ),
        (_, false, _) => return None,
    };
    Some(note("class_mix", text))
}

fn blocks(basis: &Basis) -> Option<Finding> {
    let count = basis.effective_n;
    (count < FEW_BLOCKS).then(|| {
        let text = if count < 2 {
            "All decisions fall into one block of time: no interval can be given.".to_owned()
        } else {
            format!("Only {count} independent blocks of time: the intervals themselves are rough.")
        };
        note("blocks", text)
    })
}

fn note(about: &str, text: String) -> Finding {
    Finding {
        verdict: Verdict::Note,
        about: about.to_owned(),
        text,
    }
}

/// Writes `95 % interval [-3.1, +2.2]`.
fn interval_text(interval: Interval, factor: f64, decimals: usize, level: f64) -> String {
    if !interval.is_known() {
        return "interval unknown".to_owned();
    }
    format!(
        "{} % interval [{}, {}]",
        trim(level * 100.0),
        signed(interval.low * factor, decimals),
        signed(interval.high * factor, decimals)
    )
}

/// Writes `95 % interval 28.0 to 42.0 %` of a share.
fn share_interval(interval: Interval, level: f64) -> String {
    if !interval.is_known() {
        return "interval unknown".to_owned();
    }
    format!(
        "{} % interval {} to {} %",
        trim(level * 100.0),
        plain(interval.low * 100.0, 1),
        plain(interval.high * 100.0, 1)
    )
}

fn trim(value: f64) -> String {
    let text = format!("{value:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn comparison(low: f64, value: f64, high: f64) -> Comparison {
        let difference_interval = Interval { low, high };
        Comparison {
            against: MAJORITY.to_owned(),
            metric: "accuracy".to_owned(),
            difference: value,
            difference_interval,
            verdict: Verdict::of(difference_interval),
        }
    }

    #[test]
    fn an_interval_that_includes_zero_is_no_evidence() {
        let finding = accuracy(&comparison(-0.031, -0.004, 0.022), 0.95);
        assert_eq!(
            finding.text,
            "No evidence that the adapter beats the majority class: \
             edge \u{2212}0.4 pp, 95 % interval [\u{2212}3.1, +2.2]."
        );
        for (low, high) in [(0.0, 0.1), (-0.1, 0.0), (0.0, 0.0), (f64::NAN, f64::NAN)] {
            assert_eq!(Verdict::of(Interval { low, high }), Verdict::NoEvidence);
        }
    }

    #[test]
    fn a_clear_difference_is_named() {
        let finding = accuracy(&comparison(0.012, 0.05, 0.0889), 0.9);
        assert_eq!(
            finding.text,
            "The adapter beats the majority class: edge +5.0 pp, 90 % interval [+1.2, +8.9]."
        );
        let finding = accuracy(&comparison(-0.08, -0.05, -0.01), 0.95);
        assert!(
            finding
                .text
                .starts_with("The adapter is less accurate than")
        );
    }

    #[test]
    fn ends_are_rounded_and_zero_has_no_sign() {
        let text = interval_text(
            Interval {
                low: -0.0004,
                high: 0.02,
            },
            100.0,
            1,
            0.95,
        );
        assert_eq!(text, "95 % interval [0.0, +2.0]");
        assert_eq!(
            interval_text(Interval::unknown(), 1.0, 1, 0.95),
            "interval unknown"
        );
    }
}
