//! The page's sentences that depend on the numbers.

use std::fmt::Write;

use super::Report;
use crate::chart::ticks::plain;
use crate::class;
use crate::evaluation::{
    ADAPTER, ArmEvaluation, BASE, LOGISTIC, MAJORITY, PERSISTENCE, Verdict, display_name,
    reweighting,
};
use crate::trials::Standing;

/// The page's first lines.
pub(super) struct Headline {
    /// What the result says about the majority class.
    pub(super) verdict: Verdict,
    /// One line.
    pub(super) title: String,
    /// Two or three sentences with the numbers behind it.
    pub(super) lead: String,
}

/// Words the verdict; a beaten majority class is qualified by what was not beaten.
pub(super) fn headline(report: &Report) -> Headline {
    let verdict_on = |arm: &str| {
        let comparisons = &report.evaluation.comparisons;
        let found = comparisons
            .iter()
            .find(|c| c.against == arm && c.metric == "accuracy");
        found.map(|c| c.verdict)
    };
    let verdict = verdict_on(MAJORITY).unwrap_or(Verdict::Note);
    let title = match verdict {
        Verdict::Better => {
            let not_shown: Vec<&str> = [BASE, LOGISTIC, PERSISTENCE]
                .into_iter()
                .filter(|arm| verdict_on(arm).is_some_and(|v| v != Verdict::Better))
                .map(display_name)
                .collect();
            if not_shown.is_empty() {
                "The adapter beats the majority class".to_owned()
            } else {
                format!(
                    "The adapter beats the majority class, but is not shown to beat {}",
                    join(&not_shown, "or")
                )
            }
        }
        Verdict::NoEvidence => "No evidence that the adapter beats the majority class".to_owned(),
        Verdict::Worse => "The adapter is less accurate than the majority class".to_owned(),
        Verdict::Note => "Scores without a comparison of adapter and majority class".to_owned(),
    };
    Headline {
        verdict,
        title,
        lead: lead(report),
    }
}

/// Says what the adapter is worth beside everything that was tried.
pub(super) fn trials(standing: &Standing) -> String {
    let others = standing.trials - 1;
    let mut text = format!(
        "Trial {} of {} in the ledger; its net return is {} standard deviations a period over {} periods",
        standing.number + 1,
        standing.trials,
        plain(standing.sharpe, 3),
        count(standing.periods)
    );
    text += &match standing.deflated_sharpe {
        Some(_) if others == 0 => {
            ". Nothing else was tried, so far as the ledger knows.".to_owned()
        }
        Some(better) => format!(
            ", and the luckiest of so many useless trials would show {}: it is better than luck with probability {}.",
            plain(standing.luck, 3),
            percent(better)
        ),
        None => ": it never acts, or always with the same result.".to_owned(),
    };
    if let Some(overfitting) = standing.overfitting {
        text += &format!(
            " Choosing the best of the {} trials judged on the same periods is overfitting with probability {}.",
            standing.comparable,
            percent(overfitting)
        );
    }
    text
}

fn lead(report: &Report) -> String {
    let basis = &report.evaluation.evaluation;
    let mut text = format!(
        "On {} decisions from {} to {}, a span of time kept out of training",
        count(basis.n),
        day(&basis.from.to_string()),
        day(&basis.to.to_string()),
    );
    match (arm(report, ADAPTER), arm(report, MAJORITY)) {
        (Some(adapter), majority) => {
            let _ = write!(
                text,
                ", the adapter was right {} of the time",
                percent(adapter.accuracy)
            );
            if adapter.is_reweighted() {
                let _ = write!(
                    text,
                    " after its answers were {}; as it answers by itself, it was right {} of the time",
                    reweighting(basis),
                    percent(adapter.accuracy_as_answered)
                );
            }
            text.push('.');
            if let Some(majority) = majority {
                let answer = class::name(stats::argmax(&majority.class_mix.to_array()));
                let _ = write!(
                    text,
                    " Always answering {answer} was right {} of the time.",
                    percent(majority.accuracy)
                );
            }
        }
        (None, _) => {
            let _ = write!(text, ", {} arms were scored.", report.evaluation.arms.len());
        }
    }
    text
}

/// Returns ` after re-weighting`, to be put into captions, or nothing when no
/// arm was re-weighted.
pub(super) fn after_reweighting(report: &Report) -> &'static str {
    if is_reweighted(report) {
        " after re-weighting"
    } else {
        ""
    }
}

/// Returns whether any arm's figures are those after re-weighting.
pub(super) fn is_reweighted(report: &Report) -> bool {
    let mut arms = report.evaluation.arms.iter();
    arms.any(ArmEvaluation::is_reweighted)
}

/// Says beside the equity curve which part of the span was not decided on.
pub(super) fn coverage(report: &Report) -> Option<String> {
    let basis = &report.evaluation.evaluation;
    basis.coverage.is_partial().then(|| {
        format!(
            "The decisions open {} of the {} horizons of {} in the span: they are a sample, or the data has gaps. Between them every arm is out of the market, while buy and hold stays in it.",
            count(basis.coverage.decided),
            count(basis.coverage.horizons),
            duration(basis.horizon_ms as f64 / 1000.0)
        )
    })
}

/// Says what a made-up world means for the reading of the page.
pub(super) fn world(report: &Report) -> Option<String> {
    let world = report.world.as_ref()?;
    let mut text = if world.name.starts_with("planted") {
        "These candles are made up, with a rule planted in them, to see whether the machine can learn. The result says nothing about any market.".to_owned()
    } else if world.name == "null" {
        "These candles are a random walk: there is nothing to learn, and a result that beats the majority class would be a fault of the machine.".to_owned()
    } else {
        format!("These candles are made up (world `{}`).", world.name)
    };
    if let Some(rule) = &world.rule {
        let _ = write!(text, " The rule: {}", sentence(rule));
    }
    if let Some(best) = world.bayes_accuracy {
        let _ = write!(
            text,
            " Knowing the rule, one would be right {} of the time.",
            percent(best)
        );
    }
    Some(text)
}

/// Returns the steps of the run: a name and what it did, in numbers.
pub(super) fn flow(report: &Report) -> Vec<(&'static str, String)> {
    let mut steps = Vec::new();
    let instruments = &report.data.instruments;
    if !instruments.is_empty() {
        let bars: usize = instruments.iter().map(|span| span.bars).sum();
        let mut names: Vec<&str> = instruments.iter().map(|s| s.instrument.as_str()).collect();
        names.dedup();
        let named = if names.len() > 3 {
            format!("{} instruments", names.len())
        } else {
            join(&names, "and")
        };
        steps.push(("Candles", format!("{} candles of {named}.", count(bars))));
    }
    let counts = report
        .dataset
        .counts
        .named()
        .map(|(_, by_class)| by_class.total());
    if counts.iter().sum::<usize>() > 0 {
        let used = report.train.as_ref().and_then(|train| train.examples_used);
        let learnt = match used {
            Some(used) if used < counts[0] => {
                format!("trained on {} of {}", count(used), count(counts[0]))
            }
            Some(_) => format!("all {} trained on", count(counts[0])),
            None => format!("{} to learn from", count(counts[0])),
        };
        let text = format!(
            "Questions with answers: {learnt}, {} to tune on, {} kept aside. Split by time.",
            count(counts[1]),
            count(counts[2])
        );
        steps.push(("Examples", text));
    }
    if let Some(train) = &report.train {
        let text = format!(
            "A small add-on to the language model, trained in {} at {} tokens per second.",
            duration(train.wall_seconds),
            plain(train.tokens_per_second, 0)
        );
        steps.push(("Training", text));
    }
    if let Some(check) = &report.check {
        let text = format!(
            "llama.cpp loads the result: {} of {} answers equal ours, {} part at a numerical tie, {} differ.",
            check.exact, check.prompts, check.tie, check.mismatch
        );
        steps.push(("Check", text));
    }
    let basis = &report.evaluation.evaluation;
    let text = format!(
        "{} decisions on unseen time, worth {} independent looks.",
        count(basis.n),
        count(basis.effective_n)
    );
    steps.push(("Test", text));
    steps
}

/// Terms of the page in plain words.
pub(super) const TERMS: [(&str, &str); 12] = [
    (
        "Adapter",
        "The small set of trained numbers that is added to the language model. The base model is the same model without it.",
    ),
    (
        "Majority class",
        "The simplest opponent: always give the answer that was most frequent in the training span, before the examples were balanced. In quiet markets that is HOLD, and it is right surprisingly often. Its probabilities are that natural class mix.",
    ),
    (
        "Re-weighting",
        "The model learns from as many BUY as SELL as HOLD, so by itself it answers the rare ones too often. To judge it, its probabilities are scaled by four numbers fitted on validation decisions, which puts the natural class mix back. The adapter that is written, and that llama.cpp serves, answers without it: \u{201c}by itself\u{201d}.",
    ),
    (
        "Persistence",
        "A second simple opponent: what the last known horizon called for is right again. Its accuracy judges that. Its log loss and Brier score judge something else: how often each answer followed that one in the validation part, which may favour another answer than the repeated one.",
    ),
    (
        "Logistic regression",
        "A classic statistical model on the same indicators. If it does as well, the language model adds nothing but cost.",
    ),
    (
        "Edge",
        "Accuracy of the adapter minus accuracy of an opponent, on the same decisions, in percentage points (pp).",
    ),
    (
        "Interval",
        "The range of values that fits what was seen. An edge whose interval includes zero may be nothing. A 95 % interval misses the truth one time in twenty, and more often if many variants were tried on the same data.",
    ),
    (
        "Independent blocks",
        "Neighbouring decisions share most of their outcome, so a thousand hourly decisions are far fewer than a thousand looks. Intervals are computed from blocks of two horizons.",
    ),
    (
        "Balanced accuracy",
        "Accuracy averaged over BUY, SELL and HOLD, each counting the same. Always giving one answer scores a third.",
    ),
    (
        "Log loss, Brier score",
        "How good the stated probabilities were; lower is better. Being sure and wrong costs most.",
    ),
    (
        "Flip rate, agreement",
        "How often the decision changed from one time to the next, and how often it equals the base model's.",
    ),
    (
        "Calibration",
        "Whether things said to be 60 % sure happen 60 % of the time.",
    ),
];

/// Finds an arm by name.
pub(super) fn arm<'a>(report: &'a Report, name: &str) -> Option<&'a ArmEvaluation> {
    report.evaluation.arms.iter().find(|arm| arm.name == name)
}

/// Writes a share as `41.2 %`.
pub(super) fn percent(share: f64) -> String {
    format!("{} %", plain(share * 100.0, 1))
}

/// Writes a count with thousands separated.
pub(super) fn count(n: usize) -> String {
    plain(n as f64, 0)
}

/// Writes the date of an RFC 3339 time.
pub(super) fn day(time: &str) -> &str {
    time.split('T').next().unwrap_or(time)
}

/// Writes a duration in the unit that suits it.
pub(super) fn duration(seconds: f64) -> String {
    if seconds < 0.95 {
        format!("{} ms", plain(seconds * 1000.0, 0))
    } else if seconds < 90.0 {
        format!("{} s", plain(seconds, usize::from(seconds < 10.0)))
    } else if seconds < 5400.0 {
        format!("{} min", plain(seconds / 60.0, 1))
    } else {
        let hours = seconds / 3600.0;
        format!("{} h", plain(hours, usize::from(hours.fract() > 0.05)))
    }
}

/// Writes a size in bytes in the unit that suits it.
pub(super) fn bytes(size: u64) -> String {
    const UNITS: [&str; 4] = ["B", "kB", "MB", "GB"];
    let mut value = size as f64;
    let mut unit = 0;
    while value >= 1000.0 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    format!(
        "{} {}",
        plain(value, usize::from(unit > 0 && value < 100.0)),
        UNITS[unit]
    )
}

/// Joins names as `a, b and c`.
pub(super) fn join(names: &[&str], last: &str) -> String {
    match names {
        [] => String::new(),
        [one] => (*one).to_owned(),
        [first @ .., end] => format!("{} {last} {end}", first.join(", ")),
    }
}

/// Gives a text a full stop.
fn sentence(text: &str) -> String {
    let text = text.trim();
    if text.ends_with(['.', '!', '?']) {
        text.to_owned()
    } else {
        format!("{text}.")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_read_well() {
        assert_eq!(duration(0.25), "250 ms");
        assert_eq!(duration(4.26), "4.3 s");
        assert_eq!(duration(75.0), "75 s");
        assert_eq!(duration(600.0), "10.0 min");
        assert_eq!(duration(86_400.0), "24 h");
        assert_eq!(duration(9_000.0), "2.5 h");
        assert_eq!(bytes(999), "999 B");
        assert_eq!(bytes(1_240_000_000), "1.2 GB");
        assert_eq!(join(&["a", "b", "c"], "and"), "a, b and c");
        assert_eq!(day("2019-03-01T12:00:00Z"), "2019-03-01");
        assert_eq!(sentence("buy low"), "buy low.");
    }
}
