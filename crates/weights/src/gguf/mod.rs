//! The GGUF container: metadata and tensors of one file, versions 2 and 3, little-endian.
//!
//! Format: `docs/gguf.md` and `gguf.h` of ggml. Reading checks everything a header can lie
//! about before anything is allocated or sliced by it; decoding covers the block types in
//! [`TensorType::DECODABLE`], encoding those in [`TensorType::ENCODABLE`]. Big-endian files are
//! not supported.

mod block;
mod file;
mod full_precision;
mod parse;
mod quantise;
mod stream;
mod value;
mod write;

pub(crate) use block::DECODABLE_NAMES;
pub use block::{TensorType, dequantise};
pub use file::Gguf;
pub use full_precision::write_full_precision;
pub use parse::{Fault, Header, TensorInfo, parse};
pub use quantise::quantise;
pub use stream::{Place, Sink, write_streamed};
pub use value::{Array, Value};
pub use write::{Tensor, write};

/// The default alignment of the tensor data, in bytes.
pub const ALIGNMENT: usize = 32;
/// The first four bytes of every file.
pub const MAGIC: [u8; 4] = *b"GGUF";
