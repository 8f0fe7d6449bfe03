//! What a Parquet column is, in the words of this crate.

use std::fmt;

use crate::time::EpochUnit;

/// A column of a Parquet file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// What its values are.
    pub column_type: ColumnType,
    /// Whether values may be null.
    pub optional: bool,
}

/// The type of a column, as far as this crate reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ColumnType {
    /// True or false; read as 1 and 0.
    Boolean,
    /// Signed, of up to 32 bits.
    Int32,
    /// Signed, of 64 bits.
    Int64,
    /// Unsigned, of up to 32 bits.
    Unsigned32,
    /// Unsigned, of 64 bits.
    Unsigned64,
    /// Four bytes.
    Float,
    /// Eight bytes.
    Double,
    /// A whole number over ten to this power, and its bits, 32 or 64.
    Decimal(i32, u8),
    /// The same in that many bytes, big-endian, at most 16.
    FixedDecimal(i32, usize),
    /// An instant, and whether the file says that it is UTC.
    Timestamp(EpochUnit, bool),
    /// An instant in the twelve bytes of older Spark and Impala.
    Timestamp96,
    /// A calendar date.
    Date,
    /// Text.
    Text,
    /// A list, map or struct, or a part of one.
    Nested,
    /// Anything else, as the file calls it.
    Other(String),
}

impl ColumnType {
    /// Reports whether the values are numbers or truth values.
    pub fn is_number(&self) -> bool {
        matches!(
            self,
            Self::Boolean
                | Self::Int32
                | Self::Int64
                | Self::Unsigned32
                | Self::Unsigned64
                | Self::Float
                | Self::Double
                | Self::Decimal(..)
                | Self::FixedDecimal(..)
        )
    }

    /// Reports whether the type says that the values are instants or dates.
    pub fn is_time(&self) -> bool {
        matches!(self, Self::Timestamp(..) | Self::Timestamp96 | Self::Date)
    }
}

impl fmt::Display for ColumnType {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Boolean => formatter.write_str("bool"),
            Self::Int32 => formatter.write_str("int32"),
            Self::Int64 => formatter.write_str("int64"),
            Self::Unsigned32 => formatter.write_str("uint32"),
            Self::Unsigned64 => formatter.write_str("uint64"),
            Self::Float => formatter.write_str("float32"),
            Self::Double => formatter.write_str("float64"),
            Self::Decimal(scale, _) | Self::FixedDecimal(scale, _) => {
                write!(formatter, "decimal with {scale} places")
            }
            Self::Timestamp(unit, utc) => {
                let zone = if *utc { ", UTC" } else { "" };
                write!(formatter, "timestamp[{unit}{zone}]")
            }
            Self::Timestamp96 => formatter.write_str("timestamp[int96]"),
            Self::Date => formatter.write_str("date"),
            Self::Text => formatter.write_str("string"),
            Self::Nested => formatter.write_str("list or struct"),
            Self::Other(name) => formatter.write_str(name),
        }
    }
}
