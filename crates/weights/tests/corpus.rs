//! The seeds of the fuzz targets for models and adapters (`fuzz/corpus`), whole and damaged, on stable Rust:
//! none may panic.
#![expect(
    clippy::unwrap_used,
    reason = "in a test a failed step is a failed test"
)]

use std::path::Path;

#[path = "../../../fuzz/entry/weights.rs"]
mod entry;

/// Places in a seed that are spoilt.
const PLACES: usize = 24;

fn replay(target: &str, offer: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus");
    let mut seeds = 0;
    for seed in std::fs::read_dir(folder.join(target)).unwrap() {
        let bytes = std::fs::read(seed.unwrap().path()).unwrap();
        offer(&bytes);
        for place in 0..PLACES {
            let at = place * bytes.len() / PLACES;
            offer(&bytes[..at]);
            let mut spoilt = bytes.clone();
            if let Some(byte) = spoilt.get_mut(at) {
                *byte ^= 1 << (place % 8);
            }
            offer(&spoilt);
        }
        seeds += 1;
    }
    assert!(seeds > 0);
}

#[test]
fn gguf() {
    replay("gguf", entry::gguf);
}

#[test]
fn safetensors() {
    replay("safetensors", entry::safetensors);
}

#[test]
fn safetensors_index() {
    replay("safetensors_index", entry::safetensors_index);
}

#[test]
fn config() {
    replay("config", entry::config);
}

#[test]
fn peft_directory() {
    replay("peft_directory", entry::peft_directory);
}

#[test]
fn lora_gguf() {
    replay("lora_gguf", entry::lora);
}
