//! `recipe/settings.json`: the numbers that the scripts read.

use model::Keeping;
use serde_json::{Value, json};
use weights::ModelConfig;

use super::Inputs;
use super::rows::Order;
use crate::settings::Precision;

const GIB: f64 = (1_u64 << 30) as f64;
/// Bytes of a weight in four bits with its scales: 0.5 for the code, 1/64 of a byte-wide scale and
/// 1/16384 of a wide one.
const NF4_BYTES: f64 = 0.516;
/// What a CUDA context, its libraries and fragments of the allocator take, bytes.
const CONTEXT: f64 = 1.5 * GIB;
/// Layers this wide are computed again on the way back instead of kept.
const WIDE: usize = 2048;
/// Room for the trainer's packages, bytes.
const PACKAGES: f64 = 10.0 * GIB;

/// What the machine should have, in bytes; rules of thumb, and said to be.
pub(super) struct Needs {
    gpu: f64,
    ram: f64,
    disk: f64,
}

/// Returns the settings for the scripts.
///
/// # Errors
/// When the targets of the adapter are not projections.
pub(super) fn settings(inputs: &Inputs<'_>, order: &Order) -> anyhow::Result<Value> {
    let settings = inputs.settings;
    let lora = settings.train.lora()?;
    let targets: Vec<&str> = lora.targets.iter().map(|target| target.as_str()).collect();
    let mut sft = serde_json::to_value(&settings.train)?;
    let seen: usize = order.sft.iter().map(Vec::len).sum();
    sft["steps"] = order.sft.len().into();
    sft["examples"] = seen.into();
    if !inputs.decides() {
        // A native run weighs all words of these answers alike, and watches no decisions.
        sft["decision_weight"] = 1.0.into();
    }
    let mut dpo = Value::Null;
    if !order.dpo.is_empty() {
        dpo = serde_json::to_value(&settings.dpo)?;
        dpo["steps"] = order.dpo.len().into();
    }
    let config = inputs.base.map(|(files, _)| files.config());
    let texts: Vec<String> = match inputs.base {
        _ if !inputs.decides() => Vec::new(),
        Some((_, text)) => text.decision_texts().to_vec(),
        None => dataset::Decision::ALL
            .iter()
            .map(|decision| format!("DECISION: {decision} -"))
            .collect(),
    };
    let needs = config.map(|config| needs(inputs, config));
    let gib = |of: fn(&Needs) -> f64| {
        let rounded = |bytes: f64| (bytes / GIB * 10.0).ceil() / 10.0;
        needs.as_ref().map(|needs| rounded(of(needs)))
    };
    Ok(json!({
        "recipe": inputs.recipe.as_str(),
        "base": {
            "name": inputs.base_name,
            "revision": inputs.base_revision,
            "source": settings.model.source,
            "sha256": inputs.base.map(|(files, _)| files.sha256()).transpose()?,
        },
        "dataset_sha256": inputs.dataset_sha256,
        "row_files": inputs.row_files(),
        "quantisation": if is_nf4(inputs) { "nf4" } else { "none" },
        "arithmetic": if settings.model.precision == Precision::F32 { "f32" } else { "bf16" },
        "recompute": settings.model.recompute || config.is_none_or(|c| c.hidden_size >= WIDE),
        "enable_thinking": settings.model.thinking.flag(),
        "decision_texts": texts,
        "lora": {
            "rank": lora.rank, "alpha": lora.alpha, "rslora": lora.rslora,
            "dropout": lora.dropout, "targets": targets,
        },
        "sft": sft,
        "dpo": dpo,
        "validation_rows": order.validation,
        "gpu_gib": gib(|needs| needs.gpu),
        "ram_gib": gib(|needs| needs.ram),
        "disk_gib": gib(|needs| needs.disk),
    }))
}

/// Reports whether the frozen base is kept in four bits.
pub(super) fn is_nf4(inputs: &Inputs<'_>) -> bool {
    inputs.settings.model.keep == Keeping::Nf4
}

/// Estimates memory and disk of one device that trains one row at a time.
fn needs(inputs: &Inputs<'_>, config: &ModelConfig) -> Needs {
    let (c, f, v) = (
        config.hidden_size as f64,
        config.intermediate_size as f64,
        config.vocab_size as f64,
    );
    let heads = ((config.num_heads + config.num_kv_heads) * config.head_dim) as f64;
    let layers = config.num_layers as f64;
    let linear = layers * (2.0 * c * heads + 3.0 * c * f);
    // The head is counted beside the embedding even where it is tied.
    let tables = 2.0 * c * v;
    let held = if is_nf4(inputs) {
        NF4_BYTES * linear + 2.0 * tables
    } else {
        2.0 * (linear + tables)
    };
    let tokens = inputs.settings.train.max_tokens as f64;
    // Kept per layer is its input; of the layer in work, all its activations; logits twice, in f32.
    let activations = tokens * (2.0 * layers * c + 4.0 * (4.0 * c + 4.0 * f + 2.0 * v));
    let on_disk = 2.0 * (linear + tables);
    Needs {
        gpu: held + activations + CONTEXT,
        // A shard at a time passes through the processor's memory.
        ram: (on_disk / 2.0).min(8.0 * GIB) + 2.0 * GIB,
        disk: on_disk + PACKAGES,
    }
}
