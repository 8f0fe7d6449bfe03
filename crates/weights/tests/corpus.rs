//! The seeds of the fuzz targets for models and adapters (`fuzz/corpus`), whole and damaged, on stable Rust:
//! none may panic.
#![expect(
    clippy::unwrap_used,
    reason = "in a test a failed step is a failed test"
)]

#[path = "../../../fuzz/entry/weights.rs"]
mod entry;

#[path = "../../../fuzz/entry/replay.rs"]
mod seeds;

use seeds::replay;

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
