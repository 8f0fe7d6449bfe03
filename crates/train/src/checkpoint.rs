//! Checkpoints: everything a run needs to go on exactly where it was.
//!
//! One safetensors file holds the adapter's factors and the optimiser's moments in the adapter's
//! fixed order, and the best adapter so far where that one is kept; its metadata holds the step, the
//! course of the validations and a fingerprint of what the run is made of (settings, examples,
//! base). The order of examples and the dropout masks follow from seed and step, so no generator
//! state needs to be kept. Being one file that is renamed into place, it is whole whenever the
//! process dies.
//!
//! Tensors: `p.N` parameters, `b.N` the best adapter's, and per moment (`m`, `v`) either `m.N`, or
//! `m.N.codes` and `m.N.absmax` where it is quantised.

use crate::TrainError;
use crate::adamw_8bit::Blocks;
use crate::optimizer::Moments;
use model::Lora;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use std::collections::HashMap;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;

/// Name of the checkpoint in a run directory.
pub const FILE_NAME: &str = "checkpoint.safetensors";

/// The state of a run after a whole number of steps.
#[derive(Clone, Debug, PartialEq)]
pub struct State {
    /// Steps done.
    pub step: usize,
    /// The adapter.
    pub lora: Lora,
    /// The optimiser's moments of each of the adapter's factors, in their order.
    pub moments: Vec<Moments>,
    /// The best validation so far.
    pub best: Option<Best>,
    /// Validations since then.
    pub stale: usize,
}

/// The best validation of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Best {
    /// The step after which it was done.
    pub step: usize,
    /// Its loss, in nats.
    pub loss: f64,
    /// The adapter it judged, if that one is kept.
    pub lora: Option<Lora>,
}

/// A tensor's name, type and bytes.
type Entry = (String, Dtype, Vec<u8>);

/// Writes the state to `path`: temporary name, sync, rename.
///
/// # Errors
/// If a file cannot be written.
pub fn write(path: &Path, fingerprint: &str, state: &State) -> Result<(), TrainError> {
    let file_error = |action| {
        move |source| TrainError::File {
            action,
            path: path.to_path_buf(),
            source,
        }
    };
    let unfit = |error: safetensors::SafeTensorError| TrainError::Checkpoint {
        path: path.to_path_buf(),
        reason: error.to_string(),
    };
    let entries = entries(state);
    let mut views = Vec::with_capacity(entries.len());
    for (name, kind, data) in &entries {
        let len = data.len() / (kind.bitsize() / 8);
        let view = TensorView::new(*kind, vec![len], data).map_err(unfit)?;
        views.push((name.clone(), view));
    }
    let mut metadata = HashMap::from([
        ("step".to_owned(), state.step.to_string()),
        ("stale".to_owned(), state.stale.to_string()),
        ("fingerprint".to_owned(), fingerprint.to_owned()),
    ]);
    if let Some(best) = &state.best {
        metadata.insert("best_step".to_owned(), best.step.to_string());
        metadata.insert("best_loss".to_owned(), best.loss.to_string());
    }
    let whole = safetensors::serialize(views, Some(metadata)).map_err(unfit)?;
    let temporary = path.with_extension("tmp");
    let written = || -> Result<(), TrainError> {
        let mut file = File::create(&temporary).map_err(file_error("create"))?;
        file.write_all(&whole).map_err(file_error("write"))?;
        file.sync_all().map_err(file_error("sync"))?;
        std::fs::rename(&temporary, path).map_err(file_error("rename to"))
    };
    written().inspect_err(|_| {
        // A full disk is not helped by half a checkpoint; the error to report is the first one.
        let _ = std::fs::remove_file(&temporary);
    })
}

fn entries(state: &State) -> Vec<Entry> {
    let bytes = |values: &[f32]| values.iter().flat_map(|x| x.to_le_bytes()).collect();
    let mut entries: Vec<Entry> = Vec::new();
    let best = state.best.as_ref().and_then(|best| best.lora.as_ref());
    for (part, lora) in [("p", Some(&state.lora)), ("b", best)] {
        for (index, slice) in lora.iter().flat_map(|lora| lora.slices()).enumerate() {
            entries.push((format!("{part}.{index:05}"), Dtype::F32, bytes(slice)));
        }
    }
    for (index, moments) in state.moments.iter().enumerate() {
        match moments {
            Moments::Full { first, second } => {
                for (part, values) in [("m", first), ("v", second)] {
                    entries.push((format!("{part}.{index:05}"), Dtype::F32, bytes(values)));
                }
            }
            Moments::Blocks { first, second } => {
                for (part, blocks) in [("m", first), ("v", second)] {
                    let name = format!("{part}.{index:05}");
                    entries.push((format!("{name}.codes"), Dtype::U8, blocks.codes.clone()));
                    let scales = bytes(&blocks.absmax);
                    entries.push((format!("{name}.absmax"), Dtype::F32, scales));
                }
            }
        }
    }
    entries
}

/// Reads a state of the shape of `like`, or nothing if there is no checkpoint.
///
/// # Errors
/// If the file is damaged or was written by a run with another fingerprint.
pub fn read(path: &Path, fingerprint: &str, like: &State) -> Result<Option<State>, TrainError> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(source) => {
            return Err(TrainError::File {
                action: "read",
                path: path.to_path_buf(),
                source,
            });
        }
    };
    let damaged = |reason: String| TrainError::Checkpoint {
        path: path.to_path_buf(),
        reason,
    };
    let (_, header) = SafeTensors::read_metadata(&bytes).map_err(|e| damaged(e.to_string()))?;
    let metadata = header.metadata().clone().unwrap_or_default();
    if metadata.get("fingerprint").map(String::as_str) != Some(fingerprint) {
        return Err(TrainError::OtherRun {
            path: path.to_path_buf(),
        });
    }
    let stored = Stored {
        tensors: SafeTensors::deserialize(&bytes).map_err(|e| damaged(e.to_string()))?,
        metadata,
    };
    stored.state(like).map(Some).map_err(damaged)
}

/// A checkpoint's content; every function returns what is wrong with it in words.
struct Stored<'a> {
    tensors: SafeTensors<'a>,
    metadata: HashMap<String, String>,
}

impl Stored<'_> {
    fn state(&self, like: &State) -> Result<State, String> {
        let mut state = State {
            step: self.number("step")?,
            lora: self.lora("p", &like.lora)?,
            moments: like.moments.clone(),
            best: None,
            stale: self.number("stale")?,
        };
        for (index, moments) in state.moments.iter_mut().enumerate() {
            self.moments(index, moments)?;
        }
        if self.metadata.contains_key("best_step") {
            let kept = self.tensors.tensor("b.00000").is_ok();
            state.best = Some(Best {
                step: self.number("best_step")?,
                loss: self.number("best_loss")?,
                lora: kept.then(|| self.lora("b", &like.lora)).transpose()?,
            });
        }
        Ok(state)
    }

    fn number<T: std::str::FromStr>(&self, key: &str) -> Result<T, String> {
        let text = self.metadata.get(key);
        text.and_then(|text| text.parse().ok())
            .ok_or_else(|| format!("its `{key}` is missing or no number"))
    }

    fn lora(&self, part: &str, like: &Lora) -> Result<Lora, String> {
        let mut lora = like.clone();
        for (index, slice) in lora.slices_mut().into_iter().enumerate() {
            self.floats(&format!("{part}.{index:05}"), slice)?;
        }
        Ok(lora)
    }

    fn moments(&self, index: usize, into: &mut Moments) -> Result<(), String> {
        match into {
            Moments::Full { first, second } => {
                for (part, values) in [("m", first), ("v", second)] {
                    self.floats(&format!("{part}.{index:05}"), values)?;
                }
            }
            Moments::Blocks { first, second } => {
                for (part, Blocks { codes, absmax }) in [("m", first), ("v", second)] {
                    let name = format!("{part}.{index:05}");
                    let stored = self.bytes(&format!("{name}.codes"), Dtype::U8, codes.len())?;
                    codes.copy_from_slice(stored);
                    self.floats(&format!("{name}.absmax"), absmax)?;
                }
            }
        }
        Ok(())
    }

    fn floats(&self, name: &str, into: &mut [f32]) -> Result<(), String> {
        let bytes = self.bytes(name, Dtype::F32, into.len() * 4)?;
        for (value, four) in into.iter_mut().zip(bytes.chunks_exact(4)) {
            *value = f32::from_le_bytes([four[0], four[1], four[2], four[3]]);
        }
        Ok(())
    }

    fn bytes(&self, name: &str, kind: Dtype, len: usize) -> Result<&[u8], String> {
        let view = self.tensors.tensor(name).map_err(|e| e.to_string())?;
        if view.dtype() != kind || view.data().len() != len {
            return Err(format!("tensor `{name}` has another type or shape"));
        }
        Ok(view.data())
    }
}
