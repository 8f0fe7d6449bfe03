//! What every kind of training shares: the adapter with its optimiser, the run directory's log and
//! checkpoint, and the order in which examples are seen.

use crate::adamw::{AdamW, adamw_update, sum_of_squares};
use crate::checkpoint::{self, State};
use crate::{SftSettings, TrainError};
use model::{Adapted, Encoded, Lora};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

/// Name of the log in a run directory, one JSON object a line.
pub const METRICS_NAME: &str = "metrics.jsonl";

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

/// The state of a run together with its files.
pub(crate) struct Run {
    pub(crate) state: State,
    gradients: Lora,
    fingerprint: String,
    directory: Option<PathBuf>,
    log: Option<(PathBuf, File)>,
    /// The log's lines of the steps done before this process.
    earlier: Vec<String>,
}

impl Run {
    /// Starts from `lora`, or goes on from the checkpoint that bears `fingerprint`.
    pub(crate) fn open(
        lora: &Lora,
        fingerprint: &str,
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
            earlier: Vec::new(),
        };
        let Some(files) = files else { return Ok(run) };
        fingerprint.clone_into(&mut run.fingerprint);
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
        let (file, earlier) = open_log(&log_path, run.state.step)?;
        run.log = Some((log_path, file));
        run.earlier = earlier;
        Ok(run)
    }

    /// Sets the gradients to zero, before the passes of a step.
    pub(crate) fn clear_gradients(&mut self) {
        for slice in self.gradients.slices_mut() {
            slice.fill(0.0);
        }
    }

    /// Returns the adapter with the coming step's dropout, and where its gradients are added up.
    pub(crate) fn adapted(&mut self, seed: u64) -> (Adapted<'_>, &mut Lora) {
        let number = self.state.step as u64 + 1;
        let adapted = Adapted {
            lora: &self.state.lora,
            dropout_seed: Some(seed ^ number.rotate_left(32)),
        };
        (adapted, &mut self.gradients)
    }

    /// Clips the gradients, takes the optimiser's step and returns the norm before clipping.
    ///
    /// # Errors
    /// If the loss or the norm is not finite, with the ids of the batch; nothing is changed then.
    pub(crate) fn update(
        &mut self,
        loss: f64,
        settings: &SftSettings,
        rate: f64,
        ids: &dyn Fn() -> String,
    ) -> Result<f64, TrainError> {
        let number = self.state.step + 1;
        let not_finite = |what| TrainError::NotFinite {
            what,
            step: number,
            examples: ids(),
        };
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
        let moments = state
            .first
            .slices_mut()
            .into_iter()
            .zip(state.second.slices_mut());
        let parameters = state
            .lora
            .slices_mut()
            .into_iter()
            .zip(self.gradients.slices_mut());
        for ((p, g), (m, v)) in parameters.zip(moments) {
            if coefficient < 1.0 {
                for x in g.iter_mut() {
                    *x *= coefficient as f32;
                }
            }
            adamw_update(rule, number as u64, p, g, m, v);
        }
        state.step = number;
        Ok(norm)
    }
    /// Returns the log's records of one kind from earlier processes of this run.
    pub(crate) fn logged<T: DeserializeOwned>(&self) -> Vec<T> {
        let parse = |line: &String| serde_json::from_str(line).ok();
        self.earlier.iter().filter_map(parse).collect()
    }

    /// Appends a line to the log.
    pub(crate) fn log(&mut self, record: &impl Serialize) -> Result<(), TrainError> {
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

    /// Writes a checkpoint where one is due, at the end, and before an interruption.
    ///
    /// # Errors
    /// [`TrainError::Interrupted`] if `flow` asks to stop and steps are left.
    pub(crate) fn end_step(
        &self,
        every: usize,
        total_steps: usize,
        flow: ControlFlow<()>,
    ) -> Result<(), TrainError> {
        let step = self.state.step;
        let is_last = step == total_steps;
        if (every > 0 && step.is_multiple_of(every)) || is_last || flow.is_break() {
            self.checkpoint()?;
        }
        if flow.is_break() && !is_last {
            return Err(TrainError::Interrupted { step });
        }
        Ok(())
    }

    /// Writes the checkpoint.
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

/// Opens the log for appending, without the lines of steps that will be done again, and returns
/// those that stay.
fn open_log(path: &Path, step: usize) -> Result<(File, Vec<String>), TrainError> {
    let error = |action| {
        move |source| TrainError::File {
            action,
            path: path.to_path_buf(),
            source,
        }
    };
    let mut kept = Vec::new();
    if step > 0 && path.exists() {
        let reader = BufReader::new(File::open(path).map_err(error("open"))?);
        for line in reader.lines() {
            let line = line.map_err(error("read"))?;
            let of_line = serde_json::from_str::<serde_json::Value>(&line)
                .ok()
                .and_then(|value| value.get("step").and_then(serde_json::Value::as_u64));
            // A torn last line parses as nothing and goes too.
            if of_line.is_some_and(|of_line| of_line <= step as u64) {
                kept.push(line);
            }
        }
    }
    let temporary = path.with_extension("tmp");
    let text = kept
        .iter()
        .fold(String::new(), |text, line| text + line + "\n");
    std::fs::write(&temporary, text).map_err(error("write"))?;
    std::fs::rename(&temporary, path).map_err(error("rename to"))?;
    let file = OpenOptions::new()
        .append(true)
        .open(path)
        .map_err(error("open"))?;
    Ok((file, kept))
}

/// The order in which examples are seen: every epoch a fresh seeded permutation.
pub(crate) struct Order {
    len: usize,
    seed: u64,
    epoch: usize,
    permutation: Vec<usize>,
}

impl Order {
    pub(crate) fn new(len: usize, seed: u64) -> Self {
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
    pub(crate) fn at(&mut self, position: usize) -> usize {
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

/// A digest of what a run is made of: settings, examples, base. A checkpoint is only continued by a
/// run of the same digest.
pub(crate) struct Fingerprint(Sha256);

impl Fingerprint {
    pub(crate) fn new(base_sha256: &str, settings: &str) -> Self {
        let mut hash = Sha256::new();
        hash.update(base_sha256.as_bytes());
        hash.update(settings.as_bytes());
        Self(hash)
    }

    pub(crate) fn example(&mut self, example: &Encoded) {
        self.0.update(example.id.as_bytes());
        self.0.update([0]);
        for (token, on) in example.tokens.iter().zip(&example.supervised) {
            self.0.update(token.to_le_bytes());
            self.0.update([u8::from(*on)]);
        }
    }

    pub(crate) fn adapter(&mut self, lora: &Lora) {
        for slice in lora.slices() {
            for value in slice {
                self.0.update(value.to_le_bytes());
            }
        }
    }

    pub(crate) fn finish(self) -> String {
        self.0
            .finalize()
            .iter()
            .fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
    }
}
