//! What a training needs before it starts: memory by component, and arithmetic.
//!
//! Pure functions over a model's shape and the settings; nothing here allocates, measures or
//! prints. Every term names the allocation it stands for, so that a change of `model` or `train`
//! has one place to be followed up in. All sizes are bytes unless a name says otherwise.
//!
//! Dimensions: T rows of the largest forward pass, C hidden, F feed-forward, H query heads,
//! G key/value heads, D head width, Q = H D, K = G D, V vocabulary, L layers, R rank.

mod buffers;
mod operations;

use crate::adamw_8bit::SMALLEST;
use crate::optimizer::Optimizer;
use buffers::{is_kept, saved_widths, scoring, working};
use model::decoder::MAX_POSITIONS;
use model::{LoraSettings, ModelConfig};
use serde::Serialize;

pub use operations::operations;

/// Bytes of an f32.
const F32: u64 = 4;

/// 8-bit moments that share a scale.
const MOMENTS_PER_SCALE: u64 = 256;

/// Prompts that are decoded or scored side by side (`PROMPTS_PER_PASS` in `model`).
const PROMPTS_PER_PASS: u64 = 16;

/// Share of the saved activations that is resident twice when passes have different numbers of
/// rows, as far as their buffers are small enough for the allocator to keep. A layer's buffer that
/// meets a longer pass moves to a larger place (`Vec::resize`), once, because it then has room for
/// twice the rows; what it leaves is used again only in part. Measured on SmolLM2-135M with real
/// examples at 0.27 to 0.5.
const OUTGROWN: f64 = 0.4;

/// The process without a model: program code that was touched, thread stacks, the packing buffers
/// of the matrix products. Measured at 8 to 25 MB with two threads.
const PROCESS: u64 = 12_000_000;

/// Another thread: its stack, its packing buffers, its corner of the allocator.
const PER_THREAD: u64 = 1_000_000;

/// How a frozen matrix is held in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    /// 32-bit floats.
    F32,
    /// 16-bit brain floats.
    Bf16,
    /// 4-bit normal floats with double quantisation; embedding and head as the file stores them,
    /// bf16 where there is no file.
    Nf4,
    /// GGUF's `Q8_0`: 34 bytes for 32 weights.
    #[serde(rename = "q8_0")]
    Q8_0,
    /// GGUF's `Q4_K`: 144 bytes for 256 weights.
    #[serde(rename = "q4_k")]
    Q4K,
    /// As the file stores it, in the mapped file.
    Stored,
}

impl Precision {
    /// All of them, in the order they are listed to people.
    pub const ALL: [Self; 6] = [
        Self::F32,
        Self::Bf16,
        Self::Nf4,
        Self::Q8_0,
        Self::Q4K,
        Self::Stored,
    ];

    /// What [`model::Keeping`] has; the others say what they would take.
    pub const SUPPORTED: &[Self] = &[Self::F32, Self::Nf4, Self::Stored];

    /// Returns the name used on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
            Self::Nf4 => "nf4",
            Self::Q8_0 => "q8_0",
            Self::Q4K => "q4_k",
            Self::Stored => "stored",
        }
    }

    /// Returns bits per weight of a linear layer, scales included; none for [`Self::Stored`].
    ///
    /// NF4: 4 bits, an 8-bit scale for 64 weights, a 32-bit scale for 256 of those scales.
    fn linear_bits(self) -> Option<f64> {
        match self {
            Self::F32 => Some(32.0),
            Self::Bf16 => Some(16.0),
            Self::Nf4 => Some(4.0 + 8.0 / 64.0 + 32.0 / (64.0 * 256.0)),
            Self::Q8_0 => Some(34.0 * 8.0 / 32.0),
            Self::Q4K => Some(144.0 * 8.0 / 256.0),
            Self::Stored => None,
        }
    }

    /// Returns bits per weight of embedding and head.
    fn embedding_bits(self) -> Option<f64> {
        match self {
            Self::Nf4 => Some(16.0),
            other => other.linear_bits(),
        }
    }
}

/// Bytes of a model's matrices, one part beside the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Frozen {
    /// Linear layers, their biases and all norms.
    pub layers: u64,
    /// Embedding, and the head where it is another matrix.
    pub embedding: u64,
}

impl Frozen {
    /// Counts the bytes of `config` at `precision`; `stored` says how many a tensor takes in its
    /// file; it is asked for [`Precision::Stored`], and for what is outside the layers for
    /// [`Precision::Nf4`]. Vectors are f32 whatever the precision.
    ///
    /// Returns nothing if a size is needed that `stored` does not know.
    pub fn new(
        config: &ModelConfig,
        precision: Precision,
        stored: &dyn Fn(&str) -> Option<u64>,
    ) -> Option<Self> {
        let mut frozen = Self::default();
        for (name, shape) in config.tensors() {
            let elements: u64 = shape.iter().map(|n| *n as u64).product();
            let is_embedding = name == "model.embed_tokens.weight" || name == "lm_head.weight";
            let bits = if is_embedding {
                precision.embedding_bits()
            } else {
                precision.linear_bits()
            };
            let outside = is_embedding && precision == Precision::Nf4;
            let bytes = match bits {
                _ if shape.len() == 1 => elements * F32,
                _ if outside && let Some(bytes) = stored(&name) => bytes,
                Some(bits) => (elements as f64 * bits / 8.0).ceil() as u64,
                None => stored(&name)?,
            };
            *if is_embedding {
                &mut frozen.embedding
            } else {
                &mut frozen.layers
            } += bytes;
        }
        Some(frozen)
    }
}

/// What is to be trained, as far as memory and arithmetic depend on it.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The adapter.
    pub lora: LoraSettings,
    /// Rows of the largest forward pass, T.
    pub rows: usize,
    /// Tokens of the longest sequence: the keys that its last row sees.
    pub longest: usize,
    /// Supervised rows of the largest pass.
    pub supervised: usize,
    /// Whether passes differ in their number of rows, as they do on real examples.
    pub uneven: bool,
    /// Whether only the residual stream of each layer is kept and the rest computed again.
    pub recompute: bool,
    /// Whether products round their operands to bf16.
    pub bf16: bool,
    /// The optimiser.
    pub optimizer: Optimizer,
    /// Copies of the adapter: the caller's, the one being trained, the best one if it is kept.
    pub adapters: u64,
    /// Threads that compute.
    pub threads: usize,
    /// Rows of the largest validation pass and logits that exist at the same time in it; zeros
    /// without validation.
    pub validation: (usize, usize),
    /// Bytes of the model's file that are mapped beside the weights while its digest is taken; 0
    /// where the weights stay in the mapped file.
    pub file: u64,
    /// Bytes held beside the training itself: tokenizer, examples.
    pub beside: u64,
}

/// One component of the memory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Component {
    /// Stable name.
    pub name: &'static str,
    /// What it is, in words.
    pub what: &'static str,
    /// Its size.
    pub bytes: u64,
}

/// The memory a training takes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Memory {
    /// What is resident at the peak of a training step; the sum is [`Self::step`].
    pub components: Vec<Component>,
    /// Resident while the model is read: weights and the mapped file, whose pages the system can
    /// take back.
    pub loading: u64,
    /// Resident at the peak of a training step.
    pub step: u64,
    /// Resident while a checkpoint is written.
    pub checkpoint: u64,
    /// Resident during a validation.
    pub validation: u64,
    /// The largest of all: what the system will report as the process's peak.
    pub peak: u64,
    /// What has to be available: the peak without file pages that can be taken back.
    pub needed: u64,
    /// One token's keys and values in a cache, for generation and scoring after the training.
    pub cache_per_token: u64,
    /// The cache of one pass of prompts as long as the longest sequence.
    pub cache: u64,
}

/// Estimates the memory of training an adapter on `config`, its matrices taking `frozen`.
pub fn memory(config: &ModelConfig, frozen: Frozen, plan: &Plan) -> Memory {
    let t = plan.rows as u64;
    let parameters = adapter_parameters(config, &plan.lora);
    let buffers = saved_widths(config, plan).into_iter().map(|w| t * w * F32);
    let per_layer: u64 = buffers.clone().sum();
    // Larger ones are moved by the system's page table and leave nothing behind.
    let per_layer_kept: u64 = buffers.filter(|bytes| is_kept(*bytes)).sum();
    let residual = t * config.hidden_size as u64 * F32;
    let layers = config.num_layers as u64;
    // Recompute keeps the stream on entry of each layer and everything of one layer at a time.
    let (saved, saved_kept) = if plan.recompute {
        // The inputs are allocated for each pass; only the one layer's buffers outlive it.
        (layers * residual + per_layer, per_layer_kept)
    } else {
        (layers * per_layer, layers * per_layer_kept)
    };
    let outgrown = if plan.uneven {
        (saved_kept as f64 * OUTGROWN) as u64
    } else {
        0
    };
    let half = config.head_dim as u64 / 2;
    // Cosines and sines of every position the table covers.
    let rotary = 2 * half * config.max_position.clamp(1, MAX_POSITIONS) as u64 * F32;
    let head_rows = head_rows(config, plan);
    let logits = head_rows * config.vocab_size as u64 * F32;
    let optimizer: u64 = tensors(config, &plan.lora)
        .map(|elements| moments(plan.optimizer, elements))
        .sum();
    let components = vec![
        component(
            "frozen_weights",
            "frozen weights of the layers",
            frozen.layers,
        ),
        component("embedding", "embedding and output head", frozen.embedding),
        component("rotary", "rotary tables", rotary),
        component(
            "adapter",
            "adapter, trained and handed in",
            parameters * F32 * plan.adapters,
        ),
        component("gradients", "gradients of the adapter", parameters * F32),
        component("optimizer", "optimiser's moments", optimizer),
        component("activations", "saved activations", saved),
        component("outgrown", "buffers outgrown by longer passes", outgrown),
        component("working", "working buffers", working(config, plan)),
        component("logits", "logits of one chunk", logits),
        component(
            "process",
            "process, tokenizer, examples",
            PROCESS + plan.threads as u64 * PER_THREAD + plan.beside,
        ),
    ];
    let of = |name: &str| -> u64 {
        let found = components.iter().find(|c| c.name == name);
        found.map_or(0, |c| c.bytes)
    };
    let weights = frozen.layers + frozen.embedding + rotary;
    let standing = weights + of("adapter") + of("gradients") + of("optimizer") + of("process");
    let step: u64 = components.iter().map(|c| c.bytes).sum();
    // A checkpoint is put together in memory: its tensors first, then the whole file.
    let adapters = parameters * F32 * plan.adapters.saturating_sub(1);
    let checkpoint = standing + saved + outgrown + 2 * (adapters + optimizer);
    // Buffers of the training passes are freed before a validation.
    let validation = standing + scoring(config, plan);
    let loading = weights + of("process") + plan.file;
    let needed = step.max(checkpoint).max(validation);
    let cache_per_token = 2 * layers * (config.num_kv_heads * config.head_dim) as u64 * F32;
    Memory {
        components,
        loading,
        step,
        checkpoint,
        validation,
        peak: needed.max(loading),
        needed,
        cache_per_token,
        cache: cache_per_token * PROMPTS_PER_PASS * plan.longest as u64,
    }
}

fn component(name: &'static str, what: &'static str, bytes: u64) -> Component {
    Component { name, what, bytes }
}

/// Supervised rows that go through the head at a time.
fn head_rows(config: &ModelConfig, plan: &Plan) -> u64 {
    plan.supervised
        .min(model::backward::head_rows(config.vocab_size)) as u64
}

/// Bytes of a tensor's two moments: f32, or a byte each with a scale for 256 of them.
fn moments(optimizer: Optimizer, elements: u64) -> u64 {
    match optimizer {
        Optimizer::AdamW8bit if elements >= SMALLEST as u64 => {
            2 * (elements + elements.div_ceil(MOMENTS_PER_SCALE) * F32)
        }
        Optimizer::AdamW | Optimizer::AdamW8bit => 2 * elements * F32,
    }
}

/// Returns the number of elements of every factor of the adapter.
fn tensors<'a>(config: &'a ModelConfig, lora: &'a LoraSettings) -> impl Iterator<Item = u64> + 'a {
    (0..config.num_layers).flat_map(move |_| {
        lora.targets.iter().flat_map(move |projection| {
            let (inputs, outputs) = projection.shape(config);
            [(lora.rank * inputs) as u64, (lora.rank * outputs) as u64]
        })
    })
}

/// Returns the number of trained parameters.
pub fn adapter_parameters(config: &ModelConfig, lora: &LoraSettings) -> u64 {
    tensors(config, lora).sum()
}

/// Returns the number of parameters of the base model, a tied head counted once.
pub fn base_parameters(config: &ModelConfig) -> u64 {
    let count = |shape: &[usize]| shape.iter().map(|n| *n as u64).product::<u64>();
    config.tensors().iter().map(|(_, shape)| count(shape)).sum()
}
