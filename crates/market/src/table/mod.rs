//! Wide tables: a time column and hundreds of numbers beside it, in Parquet files.
//!
//! [`WideWriter`] streams such a file row group by row group. Nothing here knows what the columns
//! mean; see `formula` for that.

mod writer;

pub use crate::parquet::{Column, ColumnType};
pub use writer::{WideColumn, WideOptions, WideValues, WideWriter, Written};
