//! How fast this machine trains a model: a few rows forward and backward, timed.
//!
//! With a model its own weights are used. With a configuration alone, one or two layers of its
//! shape are made of zeros, which take as long as any other numbers; the arithmetic of the whole
//! is then scaled by the rate that they reach.

use std::fs::File;
use std::io::Write;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::Instant;

use anyhow::Context;
use model::{Adapted, Batch, Decoder, Lora, ModelConfig, Target};
use serde::Serialize;
use serde_json::{Map, Value, json};
use train::estimate::{Plan, operations};
use weights::BaseModel;

use super::estimate::Choices;
use crate::interrupt;
use crate::settings::Settings;

/// Rows of a timed pass at most.
const ROWS: usize = 256;
/// Timed passes, after one that warms caches and allocator up.
const PASSES: usize = 3;
/// Vocabulary of a made-up slice: its head is left out of the timing by its size.
const VOCABULARY: usize = 2048;
/// Two layers are made up to this many bytes of f32 weights, else one.
const LARGE: u64 = 1 << 30;

/// What was measured.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Rate {
    /// What ran, in words.
    pub(crate) how: String,
    /// Rows of each pass.
    pub(crate) rows: usize,
    /// Floating-point operations per second of the slowest, the middle and the fastest pass.
    pub(crate) operations_per_second: [f64; 3],
}

/// Times a model that is loaded.
///
/// # Errors
/// When the decoder refuses the rows, or on Ctrl-C.
pub(crate) fn of_model(decoder: Decoder, plan: &Plan, settings: &Settings) -> anyhow::Result<Rate> {
    let how = "rows of a training step on this machine, forward and backward".to_owned();
    measure(decoder, plan, settings, how)
}

/// Times one or two layers of the shape that a `config.json` describes.
///
/// # Errors
/// When the layers cannot be written to the temporary directory, or as [`of_model`].
pub(crate) fn of_shape(
    path: &Path,
    config: &ModelConfig,
    plan: &Plan,
    choices: Choices,
    settings: &Settings,
) -> anyhow::Result<Rate> {
    let folder = tempfile::tempdir().context("cannot make a temporary directory")?;
    let one = ModelConfig {
        num_layers: 1,
        ..config.clone()
    };
    let shapes = one.tensors();
    let linear =
        |(name, shape): &&(String, Vec<usize>)| name.contains(".layers.") && shape.len() == 2;
    let elements: usize = shapes
        .iter()
        .filter(linear)
        .map(|(_, s)| s.iter().product::<usize>())
        .sum();
    let layers = if 2 * 4 * elements as u64 > LARGE {
        1
    } else {
        2
    };
    write_slice(path, folder.path(), layers)?;
    let base = BaseModel::open(folder.path())?;
    let decoder = Decoder::load_as(&base, choices.keeping(), &mut |_, _| interrupt::flow())?;
    let how = format!(
        "{layers} of {} layers of this shape, made of zeros, on this machine",
        config.num_layers
    );
    measure(decoder, plan, settings, how)
}

fn measure(
    mut decoder: Decoder,
    plan: &Plan,
    settings: &Settings,
    how: String,
) -> anyhow::Result<Rate> {
    decoder.recompute(plan.recompute);
    decoder.precision(settings.model.precision.resolve());
    let config = decoder.config();
    let rows = plan.rows.min(ROWS).min(decoder.max_positions());
    let supervised = (plan.supervised * rows / plan.rows.max(1)).clamp(1, rows);
    let tokens: Vec<u32> = (0..rows)
        .map(|i| (i * 7919 % config.vocab_size) as u32)
        .collect();
    let mut batch = Batch::default();
    batch.push(&tokens, 0, Vec::new(), 1);
    let targets: Vec<Target> = (rows - supervised..rows)
        .map(|row| Target {
            row,
            token: tokens[row],
            weight: 1.0 / supervised as f32,
        })
        .collect();
    let lora = Lora::new(config, plan.lora.clone(), 1)?;
    let mut gradients = lora.zeros_like();
    let adapted = Adapted {
        lora: &lora,
        dropout_seed: Some(1),
    };
    let work = operations(config, plan, (rows as f64, rows as f64, supervised as f64));
    let mut rates = Vec::with_capacity(PASSES);
    for pass in 0..=PASSES {
        let began = Instant::now();
        decoder.loss_and_gradients(adapted, &batch, &targets, &mut gradients)?;
        if pass > 0 {
            rates.push(work / began.elapsed().as_secs_f64().max(1e-9));
        }
        if let ControlFlow::Break(()) = interrupt::flow() {
            interrupt::check()?;
        }
    }
    rates.sort_by(f64::total_cmp);
    Ok(Rate {
        how,
        rows,
        operations_per_second: [rates[0], rates[PASSES / 2], rates[PASSES - 1]],
    })
}

/// Writes a model of a few layers of zeros: a sparse file that takes no room on most disks.
fn write_slice(config: &Path, folder: &Path, layers: usize) -> anyhow::Result<()> {
    let text = std::fs::read_to_string(config)
        .with_context(|| format!("cannot read `{}`", config.display()))?;
    let mut value: Value = serde_json::from_str(&text)?;
    if let Some(object) = value.as_object_mut() {
        object.insert("num_hidden_layers".to_owned(), json!(layers));
        object.insert("vocab_size".to_owned(), json!(VOCABULARY));
        object.insert("tie_word_embeddings".to_owned(), json!(true));
        // Lists by layer, whose length would not fit.
        object.remove("layer_types");
        for token in ["bos_token_id", "eos_token_id", "pad_token_id"] {
            object.remove(token);
        }
    }
    let path = folder.join("config.json");
    std::fs::write(&path, value.to_string())
        .with_context(|| format!("cannot write `{}`", path.display()))?;
    let slice = ModelConfig::from_file(&path)?;
    let mut header = Map::new();
    let mut end = 0u64;
    for (name, shape) in slice.tensors() {
        let start = end;
        end += 2 * shape.iter().map(|n| *n as u64).product::<u64>();
        let entry = json!({"dtype": "BF16", "shape": shape, "data_offsets": [start, end]});
        header.insert(name, entry);
    }
    let header = Value::Object(header).to_string();
    let path = folder.join("model.safetensors");
    let written = || -> std::io::Result<()> {
        let mut file = File::create(&path)?;
        file.write_all(&(header.len() as u64).to_le_bytes())?;
        file.write_all(header.as_bytes())?;
        file.set_len(8 + header.len() as u64 + end)
    };
    written().with_context(|| format!("cannot write `{}`", path.display()))
}
