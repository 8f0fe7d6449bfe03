//! What every kind of training shares: the adapter with its optimiser, and the run directory with
//! its log and checkpoint.

use crate::adamw::{AdamW, sum_of_squares};
use crate::checkpoint::{self, State};
use crate::log::{Log, Logged};
use crate::{SftSettings, TrainError};
use model::{Adapted, Lora};
use serde::de::DeserializeOwned;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

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
    log: Option<Log>,
}

impl Run {
    /// Starts from `lora`, or goes on from the checkpoint that bears `fingerprint`.
    pub(crate) fn open(
        lora: &Lora,
        settings: &SftSettings,
        fingerprint: &str,
        files: Option<RunFiles<'_>>,
    ) -> Result<Self, TrainError> {
        let lengths = lora.slices().into_iter().map(<[f32]>::len);
        let mut run = Self {
            state: State {
                step: 0,
                lora: lora.clone(),
                moments: lengths.map(|len| settings.optimizer.moments(len)).collect(),
                best: None,
                stale: 0,
            },
            gradients: lora.zeros_like(),
            fingerprint: fingerprint.to_owned(),
            directory: None,
            log: None,
        };
        let Some(files) = files else { return Ok(run) };
        let path = files.directory.join(checkpoint::FILE_NAME);
        if files.resume {
            if let Some(found) = checkpoint::read(&path, &run.fingerprint, &run.state)? {
                run.state = found;
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
        run.directory = Some(files.directory.to_path_buf());
        run.log = Some(Log::open(files.directory, run.state.step)?);
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

    /// Returns the global norm of the gradients.
    pub(crate) fn gradient_norm(&self) -> f64 {
        let slices = self.gradients.slices();
        let squares: f64 = slices.iter().map(|g| sum_of_squares(g)).sum();
        squares.sqrt()
    }

    /// Clips the gradients, takes the optimiser's step and returns the norm before clipping.
    ///
    /// # Errors
    /// What is not finite, if the loss or the norm is not; nothing is changed then.
    pub(crate) fn update(
        &mut self,
        loss: f64,
        settings: &SftSettings,
        rate: f64,
    ) -> Result<f64, &'static str> {
        if !loss.is_finite() {
            return Err("loss");
        }
        let norm = self.gradient_norm();
        if !norm.is_finite() {
            return Err("gradient");
        }
        let limit = settings.max_gradient_norm;
        // PyTorch's clip_grad_norm_ divides by the norm plus 1e-6.
        let coefficient = if limit > 0.0 {
            (limit / (norm + 1e-6)).min(1.0)
        } else {
            1.0
        };
        let state = &mut self.state;
        state.step += 1;
        let gradients = self.gradients.slices_mut().into_iter();
        let parameters = state.lora.slices_mut().into_iter().zip(gradients);
        for (index, ((p, g), moments)) in parameters.zip(&mut state.moments).enumerate() {
            if coefficient < 1.0 {
                for x in g.iter_mut() {
                    *x *= coefficient as f32;
                }
            }
            // The factors come as A, B, A, B, ...
            let ratio = if index % 2 == 1 {
                settings.loraplus_ratio
            } else {
                1.0
            };
            let rule = AdamW {
                learning_rate: rate * ratio,
                beta1: settings.beta1,
                beta2: settings.beta2,
                eps: settings.eps,
                weight_decay: settings.weight_decay,
            };
            settings
                .optimizer
                .update(rule, state.step as u64, p, g, moments);
        }
        Ok(norm)
    }

    /// Names the examples of a batch of which something is not finite: those for which it is not
    /// when each is computed by itself, as `alone` reports for an index.
    pub(crate) fn not_finite(
        &mut self,
        what: &'static str,
        ids: &[&str],
        alone: &mut dyn FnMut(&mut Self, usize) -> Result<f64, TrainError>,
    ) -> TrainError {
        let mut examples = Vec::new();
        for (index, id) in ids.iter().enumerate() {
            self.clear_gradients();
            match alone(self, index) {
                Ok(loss) if loss.is_finite() && self.gradient_norm().is_finite() => {}
                Ok(_) => examples.push((*id).to_owned()),
                Err(error) => return error,
            }
        }
        TrainError::NotFinite {
            what,
            step: self.state.step + 1,
            examples,
            batch: ids.len(),
        }
    }

    /// Returns the log's records of one kind from earlier processes of this run.
    pub(crate) fn logged<T: DeserializeOwned>(&self) -> Vec<T> {
        self.log.as_ref().map_or(Vec::new(), Log::earlier)
    }

    /// Appends a record to the log.
    pub(crate) fn log(&mut self, record: &impl Logged) -> Result<(), TrainError> {
        match &mut self.log {
            Some(log) => log.write(record),
            None => Ok(()),
        }
    }

    /// Writes a checkpoint where one is due, at the end (`is_last`), and before an interruption.
    ///
    /// # Errors
    /// [`TrainError::Interrupted`] if `flow` asks to stop and this is not the end.
    pub(crate) fn end_step(
        &self,
        is_due: bool,
        is_last: bool,
        flow: ControlFlow<()>,
    ) -> Result<(), TrainError> {
        if is_due || is_last || flow.is_break() {
            self.checkpoint()?;
        }
        if flow.is_break() && !is_last {
            return Err(TrainError::Interrupted {
                step: self.state.step,
            });
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

impl SftSettings {
    /// Returns whether a checkpoint is due after `step` steps.
    pub(crate) fn checkpoint_due(&self, step: usize) -> bool {
        self.checkpoint_every > 0 && step.is_multiple_of(self.checkpoint_every)
    }
}
