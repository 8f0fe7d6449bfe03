//! Checkpoints: everything a run needs to go on exactly where it was.
//!
//! One safetensors file holds the adapter's factors and AdamW's moments in the adapter's fixed
//! order; its metadata holds the step and a fingerprint of what the run is made of (settings,
//! examples, base). The order of examples and the dropout masks follow from seed and step, so no
//! generator state needs to be kept.

use crate::TrainError;
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
    /// First moments, in the adapter's shape.
    pub first: Lora,
    /// Second moments, in the adapter's shape.
    pub second: Lora,
}

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
    let mut bytes: Vec<(String, Vec<u8>, usize)> = Vec::new();
    for (part, lora) in [
        ("p", &state.lora),
        ("m", &state.first),
        ("v", &state.second),
    ] {
        for (index, slice) in lora.slices().into_iter().enumerate() {
            let data = slice.iter().flat_map(|x| x.to_le_bytes()).collect();
            bytes.push((format!("{part}.{index:05}"), data, slice.len()));
        }
    }
    let mut views = Vec::with_capacity(bytes.len());
    for (name, data, len) in &bytes {
        let view = TensorView::new(Dtype::F32, vec![*len], data).map_err(|error| {
            TrainError::Checkpoint {
                path: path.to_path_buf(),
                reason: error.to_string(),
            }
        })?;
        views.push((name.clone(), view));
    }
    let metadata = HashMap::from([
        ("step".to_owned(), state.step.to_string()),
        ("fingerprint".to_owned(), fingerprint.to_owned()),
    ]);
    let whole =
        safetensors::serialize(views, Some(metadata)).map_err(|error| TrainError::Checkpoint {
            path: path.to_path_buf(),
            reason: error.to_string(),
        })?;
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

/// Reads a state of the shape of `like`, or nothing if there is no checkpoint.
///
/// # Errors
/// If the file is damaged or was written by a run with another fingerprint.
pub fn read(path: &Path, fingerprint: &str, like: &Lora) -> Result<Option<State>, TrainError> {
    let damaged = |reason: String| TrainError::Checkpoint {
        path: path.to_path_buf(),
        reason,
    };
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
    let (_, header) = SafeTensors::read_metadata(&bytes).map_err(|e| damaged(e.to_string()))?;
    let metadata = header.metadata().clone().unwrap_or_default();
    if metadata.get("fingerprint").map(String::as_str) != Some(fingerprint) {
        return Err(TrainError::OtherRun {
            path: path.to_path_buf(),
        });
    }
    let step = metadata
        .get("step")
        .and_then(|step| step.parse().ok())
        .ok_or_else(|| damaged("it does not say which step it holds".into()))?;
    let tensors = SafeTensors::deserialize(&bytes).map_err(|e| damaged(e.to_string()))?;
    let fill = |part: &str| -> Result<Lora, TrainError> {
        let mut lora = like.clone();
        for (index, slice) in lora.slices_mut().into_iter().enumerate() {
            let name = format!("{part}.{index:05}");
            let view = tensors.tensor(&name).map_err(|e| damaged(e.to_string()))?;
            if view.dtype() != Dtype::F32 || view.data().len() != slice.len() * 4 {
                return Err(damaged(format!("tensor `{name}` has another shape")));
            }
            for (value, four) in slice.iter_mut().zip(view.data().chunks_exact(4)) {
                *value = f32::from_le_bytes([four[0], four[1], four[2], four[3]]);
            }
        }
        Ok(lora)
    };
    Ok(Some(State {
        step,
        lora: fill("p")?,
        first: fill("m")?,
        second: fill("v")?,
    }))
}
