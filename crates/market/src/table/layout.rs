//! What a wide table's file looks like: its schema, encodings and settings.

use std::path::Path;
use std::sync::Arc;

use parquet::basic::{Compression, Encoding, LogicalType, Repetition, TimeUnit, Type, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterVersion};
use parquet::schema::types::{ColumnPath, Type as Node, TypePtr};

use crate::MarketError;

/// The bytes of values in a page.
const PAGE: usize = 1 << 20;
/// How many values are handed to the encoder at once.
const BATCH: usize = 1 << 15;
/// What the values of a column are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WideColumn {
    /// 32-bit floats; missing is NaN.
    F32,
    /// 64-bit floats; missing is NaN.
    F64,
    /// Small whole numbers, such as a direction of -1, 0 or 1; none may be missing.
    I8,
    /// Whole numbers; none may be missing.
    I64,
}

/// How a table is written.
#[derive(Debug, Clone)]
pub struct WideOptions {
    /// The zstd level, 1 (fast) to 22 (small).
    pub level: i32,
    /// Whether the bytes of floats are stored as one stream per byte, which makes files of market
    /// features about a tenth smaller; pyarrow, pandas, polars and DuckDB read it.
    pub byte_stream_split: bool,
    /// Whether each row group states the smallest and largest value of each column.
    pub statistics: bool,
    /// Texts stored in the file's footer, such as where the table comes from.
    pub notes: Vec<(String, String)>,
}

impl Default for WideOptions {
    fn default() -> Self {
        Self {
            level: 1,
            byte_stream_split: true,
            statistics: true,
            notes: Vec::new(),
        }
    }
}

pub(super) fn check_names(
    path: &Path,
    time: &str,
    columns: &[(String, WideColumn)],
) -> Result<(), MarketError> {
    let mut seen = std::collections::BTreeSet::new();
    for name in std::iter::once(time).chain(columns.iter().map(|(name, _)| name.as_str())) {
        if name.is_empty() {
            return Err(refuse(path, "a column has no name".to_owned()));
        }
        if !seen.insert(name) {
            return Err(refuse(path, format!("two columns are named `{name}`")));
        }
    }
    Ok(())
}

pub(super) fn schema(
    time: &str,
    columns: &[(String, WideColumn)],
) -> Result<TypePtr, ParquetError> {
    let field = |name: &str, physical: Type, logical: Option<LogicalType>| {
        Node::primitive_type_builder(name, physical)
            .with_repetition(Repetition::REQUIRED)
            .with_logical_type(logical)
            .build()
            .map(Arc::new)
    };
    let stamp = LogicalType::timestamp(true, TimeUnit::MILLIS);
    let mut fields = vec![field(time, Type::INT64, Some(stamp))?];
    for (name, kind) in columns {
        fields.push(match kind {
            WideColumn::F32 => field(name, Type::FLOAT, None)?,
            WideColumn::F64 => field(name, Type::DOUBLE, None)?,
            WideColumn::I64 => field(name, Type::INT64, None)?,
            WideColumn::I8 => field(name, Type::INT32, Some(LogicalType::integer(8, true)))?,
        });
    }
    Node::group_type_builder("schema")
        .with_fields(fields)
        .build()
        .map(Arc::new)
}

pub(super) fn properties(
    time: &str,
    columns: &[(String, WideColumn)],
    options: &WideOptions,
) -> Result<WriterProperties, String> {
    let level = ZstdLevel::try_new(options.level)
        .map_err(|_| format!("{} is not a level of zstd", options.level))?;
    let statistics = if options.statistics {
        EnabledStatistics::Chunk
    } else {
        EnabledStatistics::None
    };
    let notes = options
        .notes
        .iter()
        .map(|(key, value)| KeyValue::new(key.clone(), value.clone()))
        .collect();
    let mut builder = WriterProperties::builder()
        .set_writer_version(WriterVersion::PARQUET_1_0)
        .set_created_by(format!("foretune version {}", env!("CARGO_PKG_VERSION")))
        .set_compression(Compression::ZSTD(level))
        .set_dictionary_enabled(false)
        .set_statistics_enabled(statistics)
        .set_offset_index_disabled(true)
        .set_data_page_size_limit(PAGE)
        .set_data_page_row_count_limit(usize::MAX)
        .set_write_batch_size(BATCH)
        .set_key_value_metadata(Some(notes))
        .set_encoding(Encoding::PLAIN)
        .set_column_encoding(
            ColumnPath::new(vec![time.to_owned()]),
            Encoding::DELTA_BINARY_PACKED,
        );
    for (name, kind) in columns {
        let path = ColumnPath::new(vec![name.clone()]);
        match kind {
            WideColumn::F32 | WideColumn::F64 if options.byte_stream_split => {
                builder = builder.set_column_encoding(path, Encoding::BYTE_STREAM_SPLIT);
            }
            WideColumn::I64 => {
                builder = builder.set_column_encoding(path, Encoding::DELTA_BINARY_PACKED);
            }
            // A handful of distinct values: a bit or two each.
            WideColumn::I8 => builder = builder.set_column_dictionary_enabled(path, true),
            _ => {}
        }
    }
    Ok(builder.build())
}

/// The error of what a table cannot hold.
pub(super) fn refuse(path: &Path, reason: String) -> MarketError {
    MarketError::Table {
        path: path.to_owned(),
        reason,
    }
}
