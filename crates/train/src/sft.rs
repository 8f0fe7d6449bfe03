//! The supervised fine-tuning loop.
//!
//! One optimiser step sees `batch_size` examples, cut into forward passes; the loss is the sum over
//! all supervised tokens of the batch divided by their (weighted) number, so the cut changes
//! nothing. Examples come in a seeded order, reshuffled every epoch.

use crate::adamw::{AdamW, adamw_update, sum_of_squares};
use crate::checkpoint::{self, State};
use crate::micro_batch::{DecisionWeight, cut};
use crate::schedule::cosine_with_warmup;
use crate::{SftSettings, TrainError, Validation, ValidationRecord};
use model::{Adapted, Decoder, Encoded, Lora};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Name of the log in a run directory, one JSON object a line.
pub const METRICS_NAME: &str = "metrics.jsonl";

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
    /// Tokens per second since the start of this process.
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
    /// Seconds spent training, validation included, in this process.
    pub wall_seconds: f64,
    /// Tokens per second of training alone.
    pub tokens_per_second: f64,
    /// Every step of this process.
    pub history: Vec<StepRecord>,
    /// Every validation of this process.
    pub validations: Vec<ValidationRecord>,
}

/// Where a run keeps its files and what it continues.
#[derive(Clone, Copy, Debug)]
pub struct RunFiles<'a> {
    /// The run directory; must exist.
    pub directory: &'a Path,
    /// Continue from the directory's checkpoint if there is one.
    pub resume: bool,
    /// sha256 of the base model, part of the run's fingerprint.
    pub base_sha256: &'a str,
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
    let mut run = Run::open(lora, examples, settings, files)?;
    let start = Instant::now();
    let mut training_seconds = 0.0;
    let mut process_tokens = 0usize;
    let mut summary = Summary {
        steps: run.state.step,
        examples: 0,
        tokens: 0,
        rows: 0,
        supervised_tokens: 0,
        wall_seconds: 0.0,
        tokens_per_second: 0.0,
        history: Vec::new(),
        validations: Vec::new(),
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
        let rate =
            settings.learning_rate * cosine_with_warmup(step, total_steps, settings.warmup_ratio);
        let outcome = run.step(decoder, &batch, decision, settings, rate)?;
        training_seconds += began.elapsed().as_secs_f64();
        process_tokens += batch.iter().map(|(e, _)| e.tokens.len()).sum::<usize>();
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
            tokens_per_second: process_tokens as f64 / training_seconds.max(1e-9),
        };
        run.log(&record)?;
        summary.history.push(record);
        let mut flow = events(Event::Step(&record));
        let is_last = step + 1 == total_steps;
        let due = |every: usize| every > 0 && (step + 1).is_multiple_of(every);
        if let Some(validation) = &validation
            && !validation.labels.is_empty()
            && (due(settings.validate_every) || (is_last && settings.validate_every > 0))
        {
            let record = validation.run(decoder, &run.state.lora, step + 1)?;
            run.log(&record)?;
            summary.validations.push(record);
            if events(Event::Validated(&record)).is_break() {
                flow = ControlFlow::Break(());
            }
        }
        if due(settings.checkpoint_every) || is_last || flow.is_break() {
            run.checkpoint()?;
        }
        if flow.is_break() && !is_last {
            return Err(TrainError::Interrupted { step: step + 1 });
        }
    }
    lora.clone_from(&run.state.lora);
    summary.wall_seconds = start.elapsed().as_secs_f64();
    summary.tokens_per_second = process_tokens as f64 / training_seconds.max(1e-9);
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

/// The state of a run together with its files.
struct Run {
    state: State,
    gradients: Lora,
    fingerprint: String,
    directory: Option<PathBuf>,
    log: Option<(PathBuf, File)>,
}

impl Run {
    fn open(
        lora: &Lora,
        examples: &[Encoded],
        settings: &SftSettings,
        files: Option<RunFiles<'_>>,
    ) -> Result<Self, TrainError> {
        let zeros = lora.zeros_like();
        let mut state = State {
            step: 0,
            lora: lora.clone(),
            first: zeros.clone(),
            second: zeros.clone(),
        };
        let mut run = Self {
            state: state.clone(),
            gradients: zeros,
            fingerprint: String::new(),
            directory: None,
            log: None,
        };
        let Some(files) = files else { return Ok(run) };
        run.fingerprint = fingerprint(examples, settings, files.base_sha256);
        let path = files.directory.join(checkpoint::FILE_NAME);
        if files.resume {
            if let Some(found) = checkpoint::read(&path, &run.fingerprint, lora)? {
                state = found;
            }
        } else if let Err(source) = std::fs::remove_file(&path)
            && source.kind() != std::io::ErrorKind::NotFound
        {
            return Err(TrainError::File {
                action: "remove",
                path,
                source,
            });
        }
        run.state = state;
        run.directory = Some(files.directory.to_path_buf());
        let log_path = files.directory.join(METRICS_NAME);
        let file = open_log(&log_path, run.state.step)?;
        run.log = Some((log_path, file));
        Ok(run)
    }

    fn step(
        &mut self,
        decoder: &Decoder,
        batch: &[(&Encoded, u64)],
        decision: DecisionWeight<'_>,
        settings: &SftSettings,
        rate: f64,
    ) -> Result<Outcome, TrainError> {
        let number = self.state.step + 1;
        let not_finite = |what| TrainError::NotFinite {
            what,
            step: number,
            examples: batch
                .iter()
                .map(|(e, _)| e.id.as_str())
                .collect::<Vec<_>>()
                .join(", "),
        };
        for slice in self.gradients.slices_mut() {
            slice.fill(0.0);
        }
        let passes = cut(batch, settings.micro_batch_tokens, decision);
        let total: f64 = passes
            .iter()
            .flat_map(|p| &p.targets)
            .map(|t| f64::from(t.weight))
            .sum();
        let adapted = Adapted {
            lora: &self.state.lora,
            dropout_seed: Some(settings.seed ^ (number as u64).rotate_left(32)),
        };
        let (mut sum, mut count, mut rows) = (0.0f64, 0usize, 0usize);
        for mut pass in passes {
            for target in &mut pass.targets {
                target.weight = (f64::from(target.weight) / total) as f32;
            }
            let losses = decoder.loss_and_gradients(
                adapted,
                &pass.batch,
                &pass.targets,
                &mut self.gradients,
            )?;
            sum += losses.iter().map(|l| f64::from(*l)).sum::<f64>();
            count += losses.len();
            rows += pass.batch.len();
        }
        let loss = sum / count as f64;
        if !loss.is_finite() {
            return Err(not_finite("loss"));
        }
        let norm = self
            .gradients
            .slices()
            .iter()
            .map(|g| sum_of_squares(g))
            .sum::<f64>()
            .sqrt();
        if !norm.is_finite() {
            return Err(not_finite("gradient"));
        }
        let limit = settings.max_gradient_norm;
        // PyTorch's clip_grad_norm_ divides by the norm plus 1e-6.
        let coefficient = if limit > 0.0 {
            (limit / (norm + 1e-6)).min(1.0)
        } else {
            1.0
        };
        let rule = AdamW {
            learning_rate: rate as f32,
            beta1: settings.beta1 as f32,
            beta2: settings.beta2 as f32,
            eps: settings.eps as f32,
            weight_decay: settings.weight_decay as f32,
        };
        let state = &mut self.state;
        let parts = state
            .lora
            .slices_mut()
            .into_iter()
            .zip(self.gradients.slices_mut())
            .zip(
                state
                    .first
                    .slices_mut()
                    .into_iter()
                    .zip(state.second.slices_mut()),
            );
        for ((p, g), (m, v)) in parts {
            if coefficient < 1.0 {
                for x in g.iter_mut() {
                    *x *= coefficient as f32;
                }
            }
            adamw_update(rule, number as u64, p, g, m, v);
        }
        state.step = number;
        Ok(Outcome {
            loss,
            gradient_norm: norm,
            rows,
        })
    }

    fn log(&mut self, record: &impl Serialize) -> Result<(), TrainError> {
        let Some((path, file)) = &mut self.log else {
            return Ok(());
        };
        let mut line = serde_json::to_string(record).map_err(|error| TrainError::File {
            action: "encode a line of",
            path: path.clone(),
            source: error.into(),
        })?;
        line.push('\n');
        file.write_all(line.as_bytes())
            .map_err(|source| TrainError::File {
                action: "write",
                path: path.clone(),
                source,
            })
    }

    fn checkpoint(&self) -> Result<(), TrainError> {
        match &self.directory {
            Some(directory) => checkpoint::write(
                &directory.join(checkpoint::FILE_NAME),
                &self.fingerprint,
                &self.state,
            ),
            None => Ok(()),
        }
    }
}

/// Opens the log for appending, without the lines of steps that will be done again.
fn open_log(path: &Path, step: usize) -> Result<File, TrainError> {
    let error = |action| {
        move |source| TrainError::File {
            action,
            path: path.to_path_buf(),
            source,
        }
    };
    let mut kept = String::new();
    if step > 0 && path.exists() {
        let reader = BufReader::new(File::open(path).map_err(error("open"))?);
        for line in reader.lines() {
            let line = line.map_err(error("read"))?;
            let of_line = serde_json::from_str::<serde_json::Value>(&line)
                .ok()
                .and_then(|value| value.get("step").and_then(serde_json::Value::as_u64));
            // A torn last line parses as nothing and goes too.
            if of_line.is_some_and(|of_line| of_line <= step as u64) {
                kept.push_str(&line);
                kept.push('\n');
            }
        }
    }
    let temporary = path.with_extension("tmp");
    std::fs::write(&temporary, kept).map_err(error("write"))?;
    std::fs::rename(&temporary, path).map_err(error("rename to"))?;
    OpenOptions::new()
        .append(true)
        .open(path)
        .map_err(error("open"))
}

fn fingerprint(examples: &[Encoded], settings: &SftSettings, base_sha256: &str) -> String {
    let mut hash = Sha256::new();
    hash.update(base_sha256.as_bytes());
    hash.update(format!("{settings:?}").as_bytes());
    for example in examples {
        hash.update(example.id.as_bytes());
        hash.update([0]);
        for (token, on) in example.tokens.iter().zip(&example.supervised) {
            hash.update(token.to_le_bytes());
            hash.update([u8::from(*on)]);
        }
    }
    hash.finalize()
        .iter()
        .fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

/// The order in which examples are seen: every epoch a fresh seeded permutation.
struct Order {
    len: usize,
    seed: u64,
    epoch: usize,
    permutation: Vec<usize>,
}

impl Order {
    fn new(len: usize, seed: u64) -> Self {
        let mut order = Self {
            len,
            seed,
            epoch: 0,
            permutation: Vec::new(),
        };
        order.shuffle(0);
        order
    }

    /// Returns the example at `position`, counted over all epochs; positions must not decrease.
    fn at(&mut self, position: usize) -> usize {
        let epoch = position / self.len;
        if epoch != self.epoch {
            self.shuffle(epoch);
        }
        self.permutation[position % self.len]
    }

    /// Draws the permutation of an epoch (Fisher-Yates).
    fn shuffle(&mut self, epoch: usize) {
        self.epoch = epoch;
        self.permutation = (0..self.len).collect();
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        rng.set_stream(epoch as u64 + 1);
        for i in (1..self.len).rev() {
            let bound = i as u64 + 1;
            // A 64-bit draw modulo a small bound: the bias is below 2^-40.
            let j = (rng.next_u64() % bound) as usize;
            self.permutation.swap(i, j);
        }
    }
}
