//! The supervised fine-tuning loop.
//!
//! One optimiser step sees `batch_size` examples, cut into forward passes; the loss is the sum over
//! all supervised tokens of the batch divided by their (weighted) number, so the cut changes
//! nothing. Examples come in a seeded order, reshuffled every epoch.

mod record;

pub use record::{Event, StepRecord, Summary};

use crate::checkpoint::Best;
use crate::fingerprint::Fingerprint;
use crate::micro_batch::{DecisionWeight, MicroBatch, build, cut};
use crate::order::Order;
use crate::run::{Run, RunFiles};
use crate::settings::Keep;
use crate::{SftSettings, TrainError, Validation, ValidationRecord};
use model::{Decoder, Encoded, Lora};
use std::ops::ControlFlow;
use std::time::Instant;

/// Trains `lora` on `examples`, in place; it ends as the last step left it, or with
/// [`Keep::Best`] as it was at the validation with the lowest loss.
///
/// # Errors
/// If a setting is out of range, there is nothing to train on, the decoder refuses an example, a
/// loss or gradient is not finite, a file cannot be written, or `events` asks to stop.
pub fn sft(
    decoder: &Decoder,
    lora: &mut Lora,
    examples: &[Encoded],
    validation: Option<&Validation>,
    settings: &SftSettings,
    files: Option<RunFiles<'_>>,
    events: &mut dyn FnMut(Event<'_>) -> ControlFlow<()>,
) -> Result<Summary, TrainError> {
    settings.validate()?;
    if examples.is_empty() {
        return Err(TrainError::NoExamples);
    }
    let validation = validation
        .map(|validation| validation.thinned(settings.validation_examples))
        .filter(|validation| !validation.labels.is_empty());
    if validation.is_none() {
        settings.refuse_without_validation("there are no validation examples")?;
    }
    let seen_in_all = settings.examples_seen(examples.len());
    let total_steps = seen_in_all.div_ceil(settings.batch_size);
    let base = files.map_or("", |files| files.base_sha256);
    let mut run = Run::open(
        lora,
        settings,
        &fingerprint(examples, settings, base),
        files,
    )?;
    let start = Instant::now();
    let history: Vec<StepRecord> = run.logged();
    let earlier = history
        .last()
        .map_or((0.0, 0), |last| (last.seconds, last.rows));
    let mut seconds = earlier.0;
    let mut summary = Summary {
        steps: run.state.step,
        examples: 0,
        tokens: 0,
        rows: earlier.1,
        supervised_tokens: 0,
        wall_seconds: 0.0,
        tokens_per_second: 0.0,
        history,
        validations: run.logged(),
        kept_step: 0,
        stopped_early: false,
    };
    let decision_span = |example: &Encoded| decision_span(validation.as_ref(), example);
    let decision = DecisionWeight {
        weight: settings.decision_weight,
        span: &decision_span,
    };
    let mut order = Order::new(examples.len(), settings.seed);
    for step in 0..total_steps {
        if step >= run.state.step && out_of_patience(&run, settings) {
            break;
        }
        let first = step * settings.batch_size;
        let last = (first + settings.batch_size).min(seen_in_all);
        let picked: Vec<usize> = (first..last).map(|position| order.at(position)).collect();
        summary.examples += picked.len();
        summary.tokens += picked
            .iter()
            .map(|i| examples[*i].tokens.len())
            .sum::<usize>();
        summary.supervised_tokens += picked
            .iter()
            .map(|i| examples[*i].supervised_len())
            .sum::<usize>();
        if step < run.state.step {
            continue;
        }
        let began = Instant::now();
        let batch: Vec<(&Encoded, u64)> =
            picked.iter().map(|i| (&examples[*i], *i as u64)).collect();
        let rate = settings.learning_rate
            * settings
                .schedule
                .factor(step, total_steps, settings.warmup_ratio);
        let outcome = optimise(&mut run, decoder, &batch, decision, settings, rate)?;
        seconds += began.elapsed().as_secs_f64();
        summary.rows += outcome.rows;
        summary.steps = step + 1;
        let record = StepRecord {
            step: step + 1,
            total_steps,
            examples: summary.examples,
            loss: outcome.loss,
            learning_rate: rate,
            gradient_norm: outcome.gradient_norm,
            tokens: summary.tokens,
            rows: summary.rows,
            seconds,
            tokens_per_second: summary.tokens as f64 / seconds.max(1e-9),
        };
        run.log(&record)?;
        summary.history.push(record);
        let mut flow = events(Event::Step(&record));
        let mut is_last = step + 1 == total_steps;
        let mut improved = false;
        if let Some(validation) = &validation
            && settings.validate_every > 0
            && (is_last || (step + 1).is_multiple_of(settings.validate_every))
        {
            // Its passes have other sizes; both at once would be the run's peak.
            decoder.free_buffers();
            let mut record = validation.run(decoder, &run.state.lora, step + 1)?;
            decoder.free_buffers();
            improved = compare(&mut run, &record, settings.keep);
            record.best_step = run.state.best.as_ref().map(|best| best.step);
            run.log(&record)?;
            summary.validations.push(record);
            if events(Event::Validated(&record)).is_break() {
                flow = ControlFlow::Break(());
            }
            is_last |= out_of_patience(&run, settings);
        }
        // The adapter to keep is on the disk from the moment it is known to be the best.
        let is_due = settings.checkpoint_due(step + 1) || (improved && settings.keep == Keep::Best);
        run.end_step(is_due, is_last, flow)?;
    }
    summary.stopped_early = run.state.step < total_steps;
    summary.kept_step = run.state.step;
    lora.clone_from(&run.state.lora);
    if let Some(best) = &run.state.best
        && let Some(kept) = &best.lora
    {
        summary.kept_step = best.step;
        lora.clone_from(kept);
    }
    summary.wall_seconds = earlier.0 + start.elapsed().as_secs_f64();
    summary.tokens_per_second = summary.tokens as f64 / seconds.max(1e-9);
    Ok(summary)
}

/// Notes whether a validation is the best so far, and returns that.
fn compare(run: &mut Run, record: &ValidationRecord, keep: Keep) -> bool {
    let loss = record.validation_loss;
    let improved = match &run.state.best {
        Some(best) => loss < best.loss,
        None => loss.is_finite(),
    };
    if improved {
        run.state.stale = 0;
        run.state.best = Some(Best {
            step: record.step,
            loss,
            lora: (keep == Keep::Best).then(|| run.state.lora.clone()),
        });
    } else {
        run.state.stale += 1;
    }
    improved
}

/// Returns whether the validation loss has not fallen for too long.
fn out_of_patience(run: &Run, settings: &SftSettings) -> bool {
    settings.early_stopping > 0 && run.state.stale >= settings.early_stopping
}

/// Returns the positions of the decision's own tokens in an example, empty if unknown.
fn decision_span(validation: Option<&Validation>, example: &Encoded) -> std::ops::Range<usize> {
    let Some(validation) = validation else {
        return 0..0;
    };
    let first = example.prompt_len + validation.tokens.lead.len();
    let rest = example.tokens.get(first..).unwrap_or(&[]);
    let label = validation
        .tokens
        .labels
        .iter()
        .find(|label| rest.starts_with(label));
    first..first + label.map_or(0, Vec::len)
}

struct Outcome {
    loss: f64,
    gradient_norm: f64,
    rows: usize,
}

/// Takes one optimiser step on a batch.
fn optimise(
    run: &mut Run,
    decoder: &Decoder,
    batch: &[(&Encoded, u64)],
    decision: DecisionWeight<'_>,
    settings: &SftSettings,
    rate: f64,
) -> Result<Outcome, TrainError> {
    run.clear_gradients();
    let passes = cut(batch, settings.micro_batch_tokens, decision);
    let rows = passes.iter().map(|pass| pass.batch.len()).sum();
    let loss = differentiate(run, decoder, passes, settings)?;
    let gradient_norm = run.update(loss, settings, rate).map_err(|what| {
        let ids: Vec<&str> = batch.iter().map(|(e, _)| e.id.as_str()).collect();
        run.not_finite(what, &ids, &mut |run, index| {
            let pass = build(&batch[index..=index], decision);
            differentiate(run, decoder, vec![pass], settings)
        })
    })?;
    Ok(Outcome {
        loss,
        gradient_norm,
        rows,
    })
}

/// Adds the gradients of the mean loss over all passes' targets, and returns the loss.
fn differentiate(
    run: &mut Run,
    decoder: &Decoder,
    passes: Vec<MicroBatch>,
    settings: &SftSettings,
) -> Result<f64, TrainError> {
    let total: f64 = passes
        .iter()
        .flat_map(|p| &p.targets)
        .map(|t| f64::from(t.weight))
        .sum();
    let (mut sum, mut count) = (0.0f64, 0usize);
    for mut pass in passes {
        for target in &mut pass.targets {
            target.weight = (f64::from(target.weight) / total) as f32;
        }
        let (adapted, gradients) = run.adapted(settings.seed);
        let losses = decoder.loss_and_gradients(adapted, &pass.batch, &pass.targets, gradients)?;
        sum += losses.iter().map(|l| f64::from(*l)).sum::<f64>();
        count += losses.len();
    }
    Ok(sum / count as f64)
}

/// Returns the digest of what a run is made of.
fn fingerprint(examples: &[Encoded], settings: &SftSettings, base_sha256: &str) -> String {
    let mut print = Fingerprint::new(base_sha256, &format!("{settings:?}"));
    for example in examples {
        print.example(example);
    }
    print.finish()
}
