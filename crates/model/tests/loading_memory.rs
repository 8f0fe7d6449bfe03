//! A bf16 model in safetensors shards becomes NF4 while it is read: neither its bf16 form nor a
//! wider copy is ever in memory as a whole.
//!
//! The peak is that of the whole process, the mapped files' pages included, so this file holds one
//! test.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use model::{Decoder, Keeping};
use serde_json::{Map, Value, json};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::ops::ControlFlow;
use std::path::Path;
use weights::{BaseModel, ModelConfig};

const SHARDS: usize = 3;

/// Reads a line of the process's status, in bytes.
fn status(name: &str) -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = text.lines().find(|line| line.starts_with(name)).unwrap();
    let kilobytes: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kilobytes * 1024
}

/// Writes a random bf16 model in shards, value by value; returns the bytes of its tensors.
fn write(directory: &Path) -> u64 {
    let config = json!({
        "model_type": "llama", "architectures": ["LlamaForCausalLM"], "vocab_size": 64,
        "hidden_size": 512, "intermediate_size": 1536, "num_hidden_layers": 10,
        "num_attention_heads": 8, "num_key_value_heads": 8, "rms_norm_eps": 1e-5,
        "max_position_embeddings": 128, "tie_word_embeddings": true, "hidden_act": "silu",
        "rope_theta": 10000.0,
    });
    let path = directory.join("config.json");
    std::fs::write(&path, config.to_string()).unwrap();
    let tensors = ModelConfig::from_file(&path).unwrap().tensors();
    let mut map = Map::new();
    let mut state = 1u64;
    let mut total = 0;
    for shard in 0..SHARDS {
        let name = format!("model-{:05}-of-{SHARDS:05}.safetensors", shard + 1);
        let mut header = Map::new();
        let mut end = 0;
        for (tensor, shape) in tensors.iter().skip(shard).step_by(SHARDS) {
            let bytes = 2 * shape.iter().product::<usize>();
            let offsets = [end, end + bytes];
            header.insert(
                tensor.clone(),
                json!({"dtype": "BF16", "shape": shape, "data_offsets": offsets}),
            );
            map.insert(tensor.clone(), json!(name));
            end += bytes;
        }
        let mut header = Value::from(header).to_string();
        header += &" ".repeat(header.len().next_multiple_of(8) - header.len());
        let mut file = BufWriter::new(File::create(directory.join(name)).unwrap());
        file.write_all(&(header.len() as u64).to_le_bytes())
            .unwrap();
        file.write_all(header.as_bytes()).unwrap();
        for _ in 0..end / 2 {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let value = (state >> 40) as f32 / (1u32 << 24) as f32 * 0.1 - 0.05;
            let bf16 = (value.to_bits() >> 16) as u16;
            file.write_all(&bf16.to_le_bytes()).unwrap();
        }
        file.flush().unwrap();
        total += end as u64;
    }
    let index = json!({"metadata": {"total_size": total}, "weight_map": map});
    std::fs::write(
        directory.join("model.safetensors.index.json"),
        index.to_string(),
    )
    .unwrap();
    total
}

#[test]
fn shards_become_nf4_without_the_model_in_memory() {
    let directory = tempfile::tempdir().unwrap();
    let bf16 = write(directory.path());
    assert!(bf16 > 64 << 20, "{bf16} bytes: too small to tell");
    let base = BaseModel::open(directory.path()).unwrap();
    let before = status("VmRSS");
    let decoder =
        Decoder::load_as(&base, Keeping::Nf4, &mut |_, _| ControlFlow::Continue(())).unwrap();
    let peak = status("VmHWM") - before;
    // Four bits and an eighth a value, a tensor's pages and its share of buffers; half is generous.
    assert!(peak < bf16 / 2, "{peak} bytes at the peak, {bf16} as bf16");
    // The test would see a model that was kept.
    let kept = decoder.parameters() as u64 / 2;
    assert!(status("VmRSS") - before > kept / 2, "nothing was loaded");
}
