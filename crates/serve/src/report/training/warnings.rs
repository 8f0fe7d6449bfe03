//! What a reader of the page should look at twice, computed from the log and said plainly.
//!
//! Each rule is a function of its own with named limits. Limits are chosen so that the noise of
//! single batches does not set them off; none of them is a test of significance.

use super::{Course, Facts, Log, Step, Validation, mean, window};
use crate::chart::ticks::plain;
use crate::report::prose::{count, percent};

/// A mean counts as risen when it lies this share above the other one.
const RISEN: f64 = 0.05;
/// A validation loss counts as risen from this share on: it is a mean over the same examples.
const VALIDATION_RISEN: f64 = 0.02;
/// A loss counts as fallen when it ends below this share of where it began.
const FALLEN: f64 = 0.98;
/// A gradient norm this many times the median is a spike.
const SPIKE: f64 = 5.0;
/// Clipping is worth a word when this share of the steps was clipped.
const MOSTLY: f64 = 0.5;
/// Fewer steps than this say nothing about a course.
const FEW_STEPS: usize = 10;
/// An accuracy this near to the majority's share is that share: half an example of fifty.
const SAME: f64 = 0.01;

/// Returns the warnings in the order of their weight.
pub(super) fn find(log: &Log, facts: &Facts, course: &Course) -> Vec<String> {
    let all = [
        unfinished(facts, course),
        not_finite(log),
        loss_did_not_fall(log, course),
        loss_rises_at_the_end(log),
        overfitting(log, facts),
        never_above_majority(log, facts),
        one_answer(log, facts),
        preference(log, course),
        spikes(log),
        clipped(log, facts),
        speed(log),
        shortened(facts),
        damaged(log),
    ];
    all.into_iter().flatten().collect()
}

fn unfinished(facts: &Facts, course: &Course) -> Option<String> {
    if course.steps == 0 {
        return Some("No step is logged yet: there is nothing to see.".to_owned());
    }
    if facts.finished {
        return None;
    }
    let go_on = "the same command with --resume goes on from the last checkpoint";
    Some(if course.steps < course.total_steps {
        format!(
            "The training is unfinished: {} of {} steps are logged. If it is not running any more, {go_on}.",
            plain(course.steps as f64, 0),
            plain(course.total_steps as f64, 0)
        )
    } else {
        format!(
            "All steps are done but the run has no manifest: it was stopped before it wrote its adapter; {go_on}."
        )
    })
}

fn not_finite(log: &Log) -> Option<String> {
    let step = log.steps.iter().find(|step| step.loss.is_none())?;
    Some(format!(
        "The loss of step {} is not a number: an example, the learning rate or the weights are at fault.",
        step.step
    ))
}

fn loss_did_not_fall(log: &Log, course: &Course) -> Option<String> {
    let (first, last) = (course.first_loss?, course.last_loss?);
    if log.steps.len() < 2 * FEW_STEPS || last <= first * FALLEN {
        return None;
    }
    Some(format!(
        "The training loss did not fall: {} over the first {} steps, {} over the last. The learning rate may be too small or too large.",
        plain(first, 3),
        course.mean_of_steps,
        plain(last, 3)
    ))
}

/// Compares the mean of the last steps with the lowest mean of as many steps before them.
fn loss_rises_at_the_end(log: &Log) -> Option<String> {
    let points: Vec<(u64, f64)> = log
        .steps
        .iter()
        .filter_map(|step| Some((step.step, step.loss?)))
        .collect();
    let n = window(points.len());
    if points.len() < 2 * FEW_STEPS || points.len() < 2 * n {
        return None;
    }
    let values: Vec<f64> = points.iter().map(|point| point.1).collect();
    let last = &values[values.len() - n..];
    let last_mean = mean(last)?;
    let earlier = &values[..values.len() - n];
    let (start, lowest) = earlier
        .windows(n)
        .map(|w| mean(w).unwrap_or(f64::INFINITY))
        .enumerate()
        .min_by(|a, b| a.1.total_cmp(&b.1))?;
    // The mean of noisy losses wanders by itself: two standard errors of it must be exceeded too.
    let variance = last.iter().map(|x| (x - last_mean).powi(2)).sum::<f64>() / n as f64;
    let error = (variance / n as f64).sqrt();
    if last_mean <= lowest * (1.0 + RISEN) || last_mean <= lowest + 2.0 * error {
        return None;
    }
    Some(format!(
        "The training loss rises at the end: {} over the last {n} steps, {} around step {}.",
        plain(last_mean, 3),
        plain(lowest, 3),
        points[start + n / 2].0
    ))
}

fn overfitting(log: &Log, facts: &Facts) -> Option<String> {
    let by_loss = |a: &&Validation, b: &&Validation| a.loss().total_cmp(&b.loss());
    let best = log.validations.iter().min_by(by_loss)?;
    let last = log.validations.last()?;
    let (lowest, now) = (best.validation_loss?, last.validation_loss?);
    if now <= lowest * (1.0 + VALIDATION_RISEN) {
        return None;
    }
    let around = |step: u64| {
        let reach = window(log.steps.len()) as u64;
        let near = |s: &&Step| s.step + reach > step && s.step <= step;
        let losses: Vec<f64> = log
            .steps
            .iter()
            .filter(near)
            .filter_map(|s| s.loss)
            .collect();
        mean(&losses)
    };
    let trained = around(best.step).zip(around(last.step));
    let course = format!(
        "The validation loss was lowest at step {} ({}) and is {} at step {}",
        best.step,
        plain(lowest, 3),
        plain(now, 3),
        last.step
    );
    Some(match trained {
        Some((then, at_end)) if at_end < then => format!(
            "{course}, while the training loss went on falling from {} to {}: overfitting. Fewer epochs, more examples or more dropout help; the adapter of step {} {}.",
            plain(then, 3),
            plain(at_end, 3),
            best.step,
            if facts.kept_step == Some(best.step) {
                "was kept"
            } else {
                "was better"
            }
        ),
        _ => format!("{course}: later steps made it worse."),
    })
}

fn never_above_majority(log: &Log, facts: &Facts) -> Option<String> {
    let majority = facts.majority.as_ref()?;
    let accuracies: Vec<f64> = log
        .validations
        .iter()
        .filter_map(|v| v.validation_decision_accuracy)
        .collect();
    let best = accuracies.iter().copied().reduce(f64::max)?;
    if best > majority.share + SAME {
        return None;
    }
    Some(format!(
        "The decisions were never better than always answering {} ({}): the best validation has {} right. A falling loss alone means that the sentence was learned, not the decision.",
        majority.class,
        percent(majority.share),
        percent(best)
    ))
}

fn one_answer(log: &Log, facts: &Facts) -> Option<String> {
    let classes = facts.majority.as_ref().map_or(3, |m| m.classes);
    let last = log.validations.last()?;
    let balanced = last.validation_balanced_accuracy?;
    if classes < 2 || (balanced - 1.0 / classes as f64).abs() > 1e-9 {
        return None;
    }
    Some(format!(
        "In the last validation every class counted alike gives exactly 1 in {classes}: the model most likely gives one and the same answer to everything."
    ))
}

fn preference(log: &Log, course: &Course) -> Option<String> {
    let accuracy = course.reward_accuracy?;
    let n = window(log.steps.len());
    let end = |value: fn(&Step) -> Option<f64>| {
        let values: Vec<f64> = log.steps.iter().rev().take(n).filter_map(value).collect();
        mean(&values)
    };
    if accuracy <= 0.5 {
        return Some(format!(
            "Over the last {n} steps {} of the pairs are the right way round, no better than a coin.",
            percent(accuracy)
        ));
    }
    let (chosen, margin) = (end(|s| s.reward_chosen)?, end(|s| s.reward_margin)?);
    (chosen < 0.0 && margin > 0.0 && -chosen > margin).then(|| {
        format!(
            "The chosen answers have become less likely too (reward {}): the margin comes from the rejected ones falling faster. A smaller learning rate or a larger beta keeps the model nearer to where it began.",
            plain(chosen, 3)
        )
    })
}

fn norms(log: &Log) -> Vec<(u64, f64)> {
    let norm = |step: &Step| Some((step.step, step.gradient_norm?));
    log.steps.iter().filter_map(norm).collect()
}

fn spikes(log: &Log) -> Option<String> {
    let norms = norms(log);
    let mut sorted: Vec<f64> = norms.iter().map(|n| n.1).collect();
    if sorted.len() < FEW_STEPS {
        return None;
    }
    sorted.sort_by(f64::total_cmp);
    let median = sorted[sorted.len() / 2];
    let spikes: Vec<(u64, f64)> = norms
        .into_iter()
        .filter(|(_, norm)| *norm > SPIKE * median)
        .collect();
    let (step, largest) = *spikes.iter().max_by(|a, b| a.1.total_cmp(&b.1))?;
    let steps = if spikes.len() == 1 { "step" } else { "steps" };
    Some(format!(
        "{} {steps} with a gradient more than {SPIKE} times the usual norm of {}; the largest, {}, at step {step}. Look at the examples of these steps.",
        count(spikes.len()),
        plain(median, 2),
        plain(largest, 2)
    ))
}

fn clipped(log: &Log, facts: &Facts) -> Option<String> {
    let limit = facts.settings.get("max_gradient_norm")?.as_f64()?;
    let norms = norms(log);
    if limit <= 0.0 || norms.len() < FEW_STEPS {
        return None;
    }
    let share = norms.iter().filter(|n| n.1 > limit).count() as f64 / norms.len() as f64;
    (share >= MOSTLY).then(|| {
        format!(
            "{} of the steps were clipped to a gradient norm of {}: the step size is set by the clipping more than by the learning rate.",
            percent(share),
            plain(limit, 2)
        )
    })
}

/// Compares the speed of the last steps with that of the steps before them.
fn speed(log: &Log) -> Option<String> {
    let speeds = super::log::speeds(&log.steps);
    let n = window(speeds.len());
    if speeds.len() < 2 * FEW_STEPS {
        return None;
    }
    let of = |part: &[(f64, f64)]| mean(&part.iter().map(|p| p.1).collect::<Vec<_>>());
    let (before, after) = speeds.split_at(speeds.len() - n);
    let (before, after) = (of(before)?, of(after)?);
    (after < before / 2.0).then(|| {
        format!(
            "The last {n} steps ran at {} tokens/s, those before at {}: the machine was busy or ran out of memory.",
            plain(after, 0),
            plain(before, 0)
        )
    })
}

fn shortened(facts: &Facts) -> Option<String> {
    let cut = facts.examples_cut.filter(|cut| *cut > 0)?;
    Some(format!(
        "{} examples were longer than `train.max_tokens` and lost part of their prompt.",
        plain(cut as f64, 0)
    ))
}

fn damaged(log: &Log) -> Option<String> {
    let torn = log
        .torn
        .then(|| "the last line was cut off and is left out".to_owned());
    let repeated = (log.repeated > 0).then(|| {
        format!(
            "{} lines were logged twice, the later ones count",
            count(log.repeated)
        )
    });
    let parts: Vec<String> = torn.into_iter().chain(repeated).collect();
    (!parts.is_empty()).then(|| format!("The log is damaged: {}.", parts.join("; ")))
}
