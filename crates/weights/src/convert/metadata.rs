//! The metadata of a file: copied from a GGUF base, or made from a directory's configuration.
//!
//! Keys as llama.cpp's `convert_hf_to_gguf.py` writes and `src/llama-model.cpp` reads them.

use super::{Job, Metadata, tokenizer};
use crate::gguf::Value;
use crate::rope::yarn_attention_factor;
use crate::{ModelConfig, Rope, RopeScaling, WeightsError};

/// `general.quantization_version`: the layout of blocks this crate reads and writes
/// (`GGML_QNT_VERSION`).
const QUANTISATION_VERSION: u32 = 2;

/// Returns the metadata of the file to come.
pub(super) fn of(job: Job<'_>, notes: &mut Vec<String>) -> Result<Metadata, WeightsError> {
    let mut metadata = match job.base.metadata() {
        Some(metadata) => copied(metadata),
        None => made(job, notes)?,
    };
    let mut set = |key: &str, value: u32| metadata.insert(key.to_owned(), Value::U32(value));
    set("general.file_type", job.file_type.code());
    set("general.quantization_version", QUANTISATION_VERSION);
    Ok(metadata)
}

/// Returns a copy without what describes the old file alone.
fn copied(metadata: &Metadata) -> Metadata {
    let stale = |key: &str| {
        key == "general.alignment" || key.starts_with("split.") || key.starts_with("quantize.")
    };
    let kept = metadata.iter().filter(|(key, _)| !stale(key));
    kept.map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

/// Makes the metadata of a directory.
fn made(job: Job<'_>, notes: &mut Vec<String>) -> Result<Metadata, WeightsError> {
    let config = job.base.config();
    let architecture = config.architecture.gguf_name();
    let mut metadata = tokenizer::metadata(job.base, notes)?;
    let mut general = |key: &str, text: &str| {
        metadata.insert(format!("general.{key}"), Value::from(text));
    };
    general("architecture", architecture);
    general("type", "model");
    general("name", job.name);
    let mut set = |key: &str, value: Value| {
        metadata.insert(format!("{architecture}.{key}"), value);
    };
    let head_dim = config.head_dim;
    for (key, size) in [
        ("vocab_size", config.vocab_size),
        ("context_length", context(config, notes)),
        ("embedding_length", config.hidden_size),
        ("block_count", config.num_layers),
        ("feed_forward_length", config.intermediate_size),
        ("attention.head_count", config.num_heads),
        ("attention.head_count_kv", config.num_kv_heads),
        ("attention.key_length", head_dim),
        ("attention.value_length", head_dim),
        ("rope.dimension_count", head_dim),
    ] {
        set(key, number(size));
    }
    let epsilon = Value::F32(config.rms_norm_eps);
    set("attention.layer_norm_rms_epsilon", epsilon);
    set("rope.freq_base", Value::F32(config.rope.theta as f32));
    for (key, value) in scaling(&config.rope) {
        set(key, value);
    }
    Ok(metadata)
}

/// Sizes are below 2^30 by the check of every configuration.
fn number(size: usize) -> Value {
    Value::U32(u32::try_from(size).unwrap_or(u32::MAX))
}

/// Returns the longest sequence on which every layer sees everything.
fn context(config: &ModelConfig, notes: &mut Vec<String>) -> usize {
    let narrowest = config.windows.iter().flatten().min();
    match narrowest {
        Some(&window) if window < config.max_position => {
            notes.push(format!(
                "the context is {window} tokens instead of {}: a file of this architecture cannot say \
                 which layers slide, and up to there none does",
                config.max_position
            ));
            window
        }
        _ => config.max_position,
    }
}

/// Returns the keys of a stretched rotary embedding; Llama 3's is a tensor instead.
fn scaling(rope: &Rope) -> Vec<(&'static str, Value)> {
    let float = |value: f64| Value::F32(value as f32);
    match &rope.scaling {
        RopeScaling::None | RopeScaling::Llama3 { .. } | RopeScaling::Divisors(_) => Vec::new(),
        RopeScaling::Linear { factor } => vec![
            ("rope.scaling.type", Value::from("linear")),
            ("rope.scaling.factor", float(*factor)),
        ],
        RopeScaling::Yarn {
            factor,
            original_max_position,
            attention_factor,
            beta_fast,
            beta_slow,
            ..
        } => vec![
            ("rope.scaling.type", Value::from("yarn")),
            ("rope.scaling.factor", float(*factor)),
            (
                "rope.scaling.original_context_length",
                number(*original_max_position),
            ),
            // llama.cpp multiplies its own default by this.
            (
                "rope.scaling.attn_factor",
                float(attention_factor / yarn_attention_factor(*factor, 1.0)),
            ),
            ("rope.scaling.yarn_beta_fast", float(*beta_fast)),
            ("rope.scaling.yarn_beta_slow", float(*beta_slow)),
        ],
    }
}

/// Returns the divisors of the rotary frequencies, where a tensor holds them.
pub(super) fn divisors(config: &ModelConfig) -> Option<Vec<f32>> {
    match &config.rope.scaling {
        RopeScaling::Divisors(divisors) => Some(divisors.clone()),
        RopeScaling::Llama3 { .. } => {
            let plain = Rope {
                theta: config.rope.theta,
                scaling: RopeScaling::None,
            };
            let plain = plain.inverse_frequencies(config.head_dim);
            let scaled = config.rope.inverse_frequencies(config.head_dim);
            let ratio = |(plain, scaled): (f32, f32)| plain / scaled;
            Some(plain.into_iter().zip(scaled).map(ratio).collect())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn divisors_of_llama_3_undo_the_scaling() {
        let scaling = RopeScaling::Llama3 {
            factor: 8.0,
            low_freq_factor: 1.0,
            high_freq_factor: 4.0,
            original_max_position: 8192,
        };
        let path =
            std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tiny-llama");
        let mut config = crate::BaseModel::open(&path).unwrap().config().clone();
        config.rope = Rope {
            theta: 500_000.0,
            scaling,
        };
        config.head_dim = 128;
        let divisors = divisors(&config).unwrap();
        // High frequencies are kept, low ones divided by the factor, some lie between.
        assert_eq!(divisors[0], 1.0);
        assert!((divisors[63] - 8.0).abs() < 1e-5);
        assert!(divisors.iter().any(|d| *d > 1.5 && *d < 7.5));
        let again = Rope {
            theta: 500_000.0,
            scaling: RopeScaling::Divisors(divisors),
        };
        let (ours, back) = (
            config.rope.inverse_frequencies(128),
            again.inverse_frequencies(128),
        );
        for (a, b) in ours.iter().zip(&back) {
            assert!((a - b).abs() <= a * 2e-7, "{a} {b}");
        }
        config.rope.scaling = RopeScaling::None;
        assert_eq!(super::divisors(&config), None);
    }
}
