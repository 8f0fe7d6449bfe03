//! The supervised fine-tuning loop.
//!
//! One optimiser step sees `batch_size` examples, cut into forward passes; the loss is the sum over
//! all supervised tokens of the batch divided by their (weighted) number, so the cut changes
//! nothing. Examples come in a seeded order, reshuffled every epoch.

use crate::micro_batch::{DecisionWeight, cut};
use crate::run::{Fingerprint, Order, Run, RunFiles};
use crate::{SftSettings, TrainError, Validation, ValidationRecord};
use model::{Decoder, Encoded, Lora};
use serde::{Deserialize, Serialize};
use std::ops::ControlFlow;
use std::time::Instant;

/// One optimiser step.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepRecord {
    /// Steps done, counted from 1.
    pub step: usize,
    /// Steps in all.
    pub total_steps: usize,
    /// Examples seen so far.
    pub examples: usize,
    /// Mean cross-entropy of the batch's supervised tokens, in nats.
    pub loss: f64,
    /// Step size of this step.
    pub learning_rate: f64,
    /// Global gradient norm before clipping.
    pub gradient_norm: f64,
    /// Tokens of the examples seen so far, as the user counts them: prompts and answers in full.
    pub tokens: usize,
    /// Rows computed so far; fewer than `tokens` where a shared prompt prefix was computed once.
    pub rows: usize,
    /// Seconds spent on steps so far, in all processes of the run; validation is left out.
    #[serde(default)]
    pub seconds: f64,
    /// Tokens per second of all steps so far.
    pub tokens_per_second: f64,
}

/// What a run reports on the way.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// A step is done.
    Step(&'a StepRecord),
    /// A validation is done.
    Validated(&'a ValidationRecord),
}

/// What a run ends with.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// Steps done.
    pub steps: usize,
    /// Examples seen.
    pub examples: usize,
    /// Tokens of those examples.
    pub tokens: usize,
    /// Rows computed.
    pub rows: usize,
    /// Supervised tokens among them.
    pub supervised_tokens: usize,
    /// Seconds spent training: in this process validation included, in earlier ones their steps.
    pub wall_seconds: f64,
    /// Tokens per second of training alone.
    pub tokens_per_second: f64,
    /// Every step, those of earlier processes as the log has them.
    pub history: Vec<StepRecord>,
    /// Every validation, likewise.
    pub validations: Vec<ValidationRecord>,
}

/// Trains `lora` on `examples`, in place.
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
    let validation = validation.map(|v| v.thinned(settings.validation_examples));
    let seen_in_all = settings.examples_seen(examples.len());
    let total_steps = seen_in_all.div_ceil(settings.batch_size);
    let base = files.map_or("", |files| files.base_sha256);
    let mut run = Run::open(lora, &fingerprint(examples, settings, base), files)?;
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
    };
    let decision_span = |example: &Encoded| decision_span(validation.as_ref(), example);
    let decision = DecisionWeight {
        weight: settings.decision_weight,
        span: &decision_span,
    };
    let mut order = Order::new(examples.len(), settings.seed);
    for step in 0..total_steps {
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
        let is_last = step + 1 == total_steps;
        if let Some(validation) = &validation
            && !validation.labels.is_empty()
            && settings.validate_every > 0
            && (is_last || (step + 1).is_multiple_of(settings.validate_every))
        {
            // Its passes have other sizes; both at once would be the run's peak.
            decoder.free_buffers();
            let record = validation.run(decoder, &run.state.lora, step + 1)?;
            run.log(&record)?;
            summary.validations.push(record);
            if events(Event::Validated(&record)).is_break() {
                flow = ControlFlow::Break(());
            }
        }
        run.end_step(settings.checkpoint_every, total_steps, flow)?;
    }
    lora.clone_from(&run.state.lora);
    summary.wall_seconds = earlier.0 + start.elapsed().as_secs_f64();
    summary.tokens_per_second = summary.tokens as f64 / seconds.max(1e-9);
    Ok(summary)
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
    let ids = || {
        let ids: Vec<&str> = batch.iter().map(|(e, _)| e.id.as_str()).collect();
        ids.join(", ")
    };
    run.clear_gradients();
    let passes = cut(batch, settings.micro_batch_tokens, decision);
    let total: f64 = passes
        .iter()
        .flat_map(|p| &p.targets)
        .map(|t| f64::from(t.weight))
        .sum();
    let (mut sum, mut count, mut rows) = (0.0f64, 0usize, 0usize);
    for mut pass in passes {
        for target in &mut pass.targets {
            target.weight = (f64::from(target.weight) / total) as f32;
        }
        let (adapted, gradients) = run.adapted(settings.seed);
        let losses = decoder.loss_and_gradients(adapted, &pass.batch, &pass.targets, gradients)?;
        sum += losses.iter().map(|l| f64::from(*l)).sum::<f64>();
        count += losses.len();
        rows += pass.batch.len();
    }
    let loss = sum / count as f64;
    let gradient_norm = run.update(loss, settings, rate, &ids)?;
    Ok(Outcome {
        loss,
        gradient_norm,
        rows,
    })
}

/// Returns the digest of what a run is made of.
fn fingerprint(examples: &[Encoded], settings: &SftSettings, base_sha256: &str) -> String {
    let mut print = Fingerprint::new(base_sha256, &format!("{settings:?}"));
    for example in examples {
        print.example(example);
    }
    print.finish()
}
