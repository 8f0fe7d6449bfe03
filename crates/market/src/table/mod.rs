//! Wide tables: a time column and hundreds of numbers beside it, in Parquet files.
//!
//! [`WideWriter`] streams such a file row group by row group, [`WideReader`] reads any file of that
//! kind that a user has, column by column, and [`Package`] is a directory of them, pair by pair.
//! Nothing here knows what the columns mean; see `formula` for that.

mod glob;
mod layout;
mod package;
mod package_check;
mod reader;
mod writer;

pub use crate::parquet::{Column, ColumnType};
pub use glob::matches;
pub use layout::{WideColumn, WideOptions};
pub use package::{Package, PackageFault, PackageFaultKind, PackagePair, Split};
pub use reader::{Selection, WideReader};
pub use writer::{WideValues, WideWriter, Written};
