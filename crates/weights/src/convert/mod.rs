//! A base model as one GGUF file, with an adapter merged in or without.
//!
//! The base may be a safetensors directory, whose configuration and tokenizer are then written as
//! metadata, or a GGUF file, whose metadata is copied. A merged weight is
//! `W + scale * (B A)`, computed in f32 from the values the base's file stores, and only then
//! rounded to the type of the new file. Matrices go through the memory some rows at a time.

mod merge;
mod metadata;
mod mixture;
mod tokenizer;

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;

use crate::gguf::{Place, TensorType, Value, write_streamed};
use crate::{BaseModel, LoraTensors, WeightsError};

pub use mixture::FileType;

/// What to write.
#[derive(Clone, Copy)]
pub struct Job<'a> {
    /// The base model.
    pub base: &'a BaseModel,
    /// The adapter to merge, if any.
    pub adapter: Option<&'a LoraTensors>,
    /// How the matrices are stored.
    pub file_type: FileType,
    /// `general.name` of a file made from a directory; a GGUF base keeps its own.
    pub name: &'a str,
}

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Written {
    /// Tensors by their type's name.
    pub types: BTreeMap<&'static str, usize>,
    /// Tensors whose rows are no whole number of blocks of the type wanted: name, type wanted,
    /// type used.
    pub fallbacks: Vec<(String, TensorType, TensorType)>,
    /// Matrices the adapter changed.
    pub merged: usize,
    /// Matrices that were stored in blocks and were rounded to blocks a second time, of another
    /// type or because the adapter changed them.
    pub rounded_again: usize,
    /// What the file cannot say or says otherwise than the base, in sentences.
    pub notes: Vec<String>,
}

/// One tensor of the file to come.
struct Item {
    place: Place,
    source: Source,
}

/// Where a tensor's values come from.
enum Source {
    /// A tensor of the base, by Hugging Face's name, and the module whose adapter changes it.
    Base {
        name: String,
        module: Option<String>,
    },
    /// The divisors of the rotary frequencies.
    Divisors(Vec<f32>),
}

/// Writes the file, atomically. `progress` receives (values done, values in all).
///
/// # Errors
/// [`WeightsError::Adapter`] when the adapter does not fit the base, [`WeightsError::Unsupported`]
/// or [`WeightsError::Key`] for a tokenizer that GGUF cannot hold, [`WeightsError::Tensor`] for
/// values that are not finite or too large for the type, [`WeightsError::Interrupted`] when
/// `progress` asks to stop, [`WeightsError::Io`].
pub fn write(
    path: &Path,
    job: Job<'_>,
    progress: &mut dyn FnMut(u64, u64) -> ControlFlow<()>,
) -> Result<Written, WeightsError> {
    if let Some(adapter) = job.adapter {
        adapter.validate()?;
        merge::check(adapter, job.base.config())?;
    }
    let mut written = Written::default();
    let metadata = metadata::of(job, &mut written.notes)?;
    let items = items(job, &mut written);
    let total = items.iter().map(|item| values(&item.place)).sum();
    let places: Vec<Place> = items.iter().map(|item| item.place.clone()).collect();
    let mut done = 0;
    let mut tick = |values: u64| {
        done += values;
        match progress(done, total) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(WeightsError::Interrupted),
        }
    };
    write_streamed(path, &metadata, &places, &mut |at, out| {
        merge::fill(job, &items[at].source, &places[at], out, &mut tick)
    })?;
    Ok(written)
}

/// Returns the bytes of the file that [`write`] would make, without its metadata.
pub fn tensor_bytes(job: Job<'_>) -> u64 {
    let items = items(job, &mut Written::default());
    let bytes = |item: &Item| {
        let place = &item.place;
        place.tensor_type.bytes_of(&place.shape).unwrap_or(0) as u64
    };
    items.iter().map(bytes).sum()
}

fn values(place: &Place) -> u64 {
    place.shape.iter().map(|&extent| extent as u64).product()
}

/// Returns the tensors in the order of the file: embedding, layers, norm, head.
fn items(job: Job<'_>, written: &mut Written) -> Vec<Item> {
    let config = job.base.config();
    let adapts = |module: &str| {
        job.adapter
            .is_some_and(|adapter| adapter.tensors.contains_key(module))
    };
    // An adapted head is no longer the embedding.
    let untied = config.tie_embeddings && adapts("lm_head");
    let model = mixture::Model {
        architecture: config.architecture,
        layers: config.num_layers,
        tied: config.tie_embeddings && !untied,
    };
    let mut items = Vec::new();
    let mut push = |gguf: String, name: &str, module: Option<String>| {
        let Some(shape) = job.base.shape(name) else {
            return;
        };
        let stored = job.base.raw(name).map(|raw| raw.tensor_type);
        let tensor_type = if let [_, width] = *shape {
            let choice = mixture::choose(job.file_type, model, &gguf, width);
            if choice.used != choice.wanted {
                written
                    .fallbacks
                    .push((gguf.clone(), choice.wanted, choice.used));
            }
            let again = module.is_some() || stored != Some(choice.used);
            let blocks = |kind: TensorType| kind.block().0 > 1;
            let twice = again && stored.is_some_and(blocks) && blocks(choice.used);
            written.rounded_again += usize::from(twice);
            choice.used
        } else {
            TensorType::F32
        };
        written.merged += usize::from(module.is_some());
        *written.types.entry(tensor_type.name()).or_default() += 1;
        items.push(Item {
            place: Place {
                name: gguf,
                shape: shape.to_vec(),
                tensor_type,
            },
            source: Source::Base {
                name: name.to_owned(),
                module,
            },
        });
    };
    push(
        "token_embd.weight".into(),
        "model.embed_tokens.weight",
        None,
    );
    for layer in 0..config.num_layers {
        for (gguf, part) in crate::base::LAYER_PARTS {
            let module = format!("model.layers.{layer}.{part}");
            for kind in ["weight", "bias"] {
                let adapted = (kind == "weight" && adapts(&module)).then(|| module.clone());
                push(
                    format!("blk.{layer}.{gguf}.{kind}"),
                    &format!("{module}.{kind}"),
                    adapted,
                );
            }
        }
    }
    push("output_norm.weight".into(), "model.norm.weight", None);
    let head = adapts("lm_head").then(|| "lm_head".to_owned());
    if untied {
        push("output.weight".into(), "model.embed_tokens.weight", head);
    } else {
        push("output.weight".into(), "lm_head.weight", head);
    }
    if let Some(divisors) = metadata::divisors(config) {
        *written.types.entry(TensorType::F32.name()).or_default() += 1;
        items.push(Item {
            place: Place {
                name: "rope_freqs.weight".into(),
                shape: vec![divisors.len()],
                tensor_type: TensorType::F32,
            },
            source: Source::Divisors(divisors),
        });
    }
    items
}

/// Metadata by key.
type Metadata = BTreeMap<String, Value>;
