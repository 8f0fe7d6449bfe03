#![forbid(unsafe_code)]
//! Tokenizer, chat template and the decoder: forward and backward passes written out by hand,
//! low-rank adapters, generation and decision scoring.
//!
//! It deliberately holds no training loop, no optimiser and no files of its own.

pub mod arms;
pub mod backward;
pub mod batch;
pub mod chat;
pub mod decoder;
pub mod encode;
mod error;
pub mod form;
pub mod forward;
mod frozen;
pub mod generate;
mod guard;
mod linear;
pub mod lora;
mod prefix;
pub mod sampling;
pub mod score;
mod shield;
pub mod text_error;
pub mod tokenizer;

pub use arms::Arms;
pub use backward::Target;
pub use batch::Batch;
pub use chat::{ChatMessage, ChatTemplate, TrainingText};
pub use decoder::Decoder;
pub use encode::{Encoded, encode_conversation, encode_prompt};
pub use error::ModelError;
pub use form::Form;
pub use forward::Adapted;
pub use frozen::Keeping;
pub use kernels::bf16::Unit;
pub use kernels::cross_entropy::log_sum_exp;
pub use kernels::matmul::Precision;
pub use kernels::memory::share_one_heap;
pub use lora::{Lora, LoraSettings, Projection};
pub use sampling::Sampling;
pub use text_error::TextError;
pub use tokenizer::Tokenizer;
pub use weights::ModelConfig;
pub use weights::dynamic_map;
