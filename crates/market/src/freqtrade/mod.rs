//! freqtrade's feather files: naming, finding, reading and writing.
//!
//! A feather file is an Arrow IPC file. freqtrade writes one record batch with the columns
//! `date, open, high, low, close, volume`, compressed with LZ4 frames. `date` is the candle's
//! **open** time, in milliseconds or nanoseconds depending on the version that wrote it. The
//! layout is the one of freqtrade's `data/history/datahandlers`.
//!
//! Trade files and freqtrade's other formats (JSON, HDF5, parquet) are not read here.

mod check;
mod funding;
mod name;
mod read;
mod write;

pub use funding::{Funding, read_funding};
pub use name::{CandleKind, DataFile, discover, file_name, parse_file_name, path_in};
pub use read::{read, read_with_warnings};
pub use write::write;

pub(crate) use funding::read_funding_unchecked;
pub(crate) use name::{feather_files, no_candle_files};
pub(crate) use read::read_unchecked;

/// The largest file that is read, 2 GiB: one-minute candles of eighty years.
const LARGEST_FILE: u64 = 2 << 30;
