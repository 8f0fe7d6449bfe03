//! Reads Parquet files column by column: what bars, ticks and wide tables stand on.
//!
//! The files come from pandas, polars or Spark and are untrusted bytes. The `parquet` crate is used
//! for writing only: as of version 60 its footer reader recurses and reserves as the file says, and
//! its page reader lets GZIP and LZ4 pages grow without bound. Here every length is compared with
//! what is there, nothing recurses, and memory stays in proportion to the rows that are read: a row
//! group holds at most 64 million. Read are flat columns of numbers, truth values and times in
//! all encodings that writers choose for them (plain, dictionary, run-length, delta, byte stream
//! split), pages of both versions, and the codecs ZSTD, SNAPPY, GZIP, LZ4 and none.

mod bits;
mod codec;
mod column;
mod file;
mod footer;
mod pages;
mod thrift;
mod values;

pub use column::{Column, ColumnType};

pub(crate) use file::ParquetFile;
pub(crate) use values::Decoded;
