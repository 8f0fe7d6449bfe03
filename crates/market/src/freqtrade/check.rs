//! Checks an Arrow IPC file's envelope before arrow's reader is let near it.
//!
//! arrow verifies the flatbuffers, but it slices and allocates by the lengths that they state and
//! panics or runs out of memory where those lie. Here every stated offset, length, row count and
//! uncompressed size is compared with the bytes that are there. What passes can be decoded without
//! a panic and within [`LARGEST_DECODED`] bytes.
//!
//! Layout: `ARROW1`, padding, messages, footer (flatbuffer), its length (i32), `ARROW1`; see
//! "IPC File Format" in the Arrow columnar specification. Only flat columns are accepted.

use std::path::Path;

use arrow_ipc::{Endianness, MessageHeader, RecordBatch, root_as_footer, root_as_message};
use arrow_schema::{DataType, Schema};

use crate::MarketError;

const MAGIC: &[u8; 6] = b"ARROW1";
/// The footer's length and the closing magic.
const TRAILER: usize = 4 + MAGIC.len();
/// The marker before a message's length since Arrow 0.15.
const CONTINUATION: [u8; 4] = [0xff; 4];
/// An LZ4 block can expand at most 255-fold: each byte of a match's length adds at most 255.
const LARGEST_RATIO: u64 = 255;
/// The most that a file may decode to, 4 GiB: 67 million candles. Counted over all batches, because
/// a hostile footer may list the same few bytes a million times.
const LARGEST_DECODED: u64 = 4 << 30;
/// An uncompressed size of -1 says that the bytes behind it are stored as they are.
const STORED: i64 = -1;

/// Checks a whole file and returns its schema.
///
/// # Errors
/// [`MarketError::NotFeather`] without the magic, [`MarketError::Damaged`] with the byte at which
/// the file contradicts itself, [`MarketError::Unsupported`] for what candle files never use.
pub(super) fn check(path: &Path, bytes: &[u8]) -> Result<Schema, MarketError> {
    let file = File { path, bytes };
    let footer_start = file.footer_start()?;
    let footer_bytes = &bytes[footer_start..bytes.len() - TRAILER];
    let footer = root_as_footer(footer_bytes)
        .map_err(|error| file.damaged(footer_start, format!("its footer is invalid: {error}")))?;
    let schema = footer
        .schema()
        .ok_or_else(|| file.damaged(footer_start, "its footer has no schema"))?;
    if schema.endianness() != Endianness::Little {
        return Err(file.unsupported("its numbers are big-endian"));
    }
    if footer
        .dictionaries()
        .is_some_and(|blocks| !blocks.is_empty())
    {
        return Err(file.unsupported("it has dictionary-encoded columns"));
    }
    let schema = arrow_ipc::convert::try_fb_to_schema(schema)
        .map_err(|error| file.damaged(footer_start, format!("its schema is invalid: {error}")))?;
    for field in schema.fields() {
        file.buffer_count(field.data_type(), field.name())?;
    }
    let blocks = footer
        .recordBatches()
        .ok_or_else(|| file.damaged(footer_start, "its footer lists no record batches"))?;
    let mut decoded = 0_u64;
    for block in blocks {
        let metadata = u64::try_from(block.metaDataLength()).ok();
        let place = Place {
            offset: u64::try_from(block.offset()).ok(),
            metadata,
            body: u64::try_from(block.bodyLength()).ok(),
        };
        decoded = file
            .check_block(&place, footer_start, &schema)?
            .saturating_add(decoded);
        if decoded > LARGEST_DECODED {
            return Err(file.unsupported("it decodes to more than 4 GiB"));
        }
    }
    Ok(schema)
}

struct File<'a> {
    path: &'a Path,
    bytes: &'a [u8],
}

/// Where a message is, as the footer states it; `None` for a negative number.
struct Place {
    offset: Option<u64>,
    metadata: Option<u64>,
    body: Option<u64>,
}

impl File<'_> {
    fn damaged(&self, offset: usize, reason: impl Into<String>) -> MarketError {
        MarketError::Damaged {
            path: self.path.to_owned(),
            offset: Some(offset as u64),
            reason: one_line(&reason.into()),
        }
    }

    fn unsupported(&self, reason: impl Into<String>) -> MarketError {
        MarketError::Unsupported {
            path: self.path.to_owned(),
            reason: reason.into(),
        }
    }

    fn not_feather(&self, reason: impl Into<String>) -> MarketError {
        MarketError::NotFeather {
            path: self.path.to_owned(),
            reason: reason.into(),
        }
    }

    /// Finds the footer from the file's two ends.
    fn footer_start(&self) -> Result<usize, MarketError> {
        let bytes = self.bytes;
        if bytes.is_empty() {
            return Err(self.not_feather("it is empty"));
        }
        if bytes.starts_with(b"FEA1") {
            return Err(self.not_feather("it is of feather version 1, expected version 2"));
        }
        if !bytes.starts_with(MAGIC) {
            return Err(self.not_feather("it does not start with `ARROW1`"));
        }
        // `ARROW1` padded to eight bytes, and the trailer.
        let end = bytes.len();
        if end < 8 + TRAILER || !bytes.ends_with(MAGIC) {
            return Err(self.damaged(end, "it does not end with `ARROW1`: it is cut short"));
        }
        let trailer = end - TRAILER;
        let length = i32_at(bytes, trailer).and_then(|length| usize::try_from(length).ok());
        match length.and_then(|length| trailer.checked_sub(length)) {
            Some(start) if start >= 8 => Ok(start),
            _ => Err(self.damaged(trailer, "its footer's length does not fit into the file")),
        }
    }

    /// Checks one record batch, its message and the extent of every buffer, and returns the bytes
    /// that it decodes to.
    fn check_block(&self, place: &Place, end: usize, schema: &Schema) -> Result<u64, MarketError> {
        let outside = || self.damaged(end, "its footer points outside the file");
        let (Some(offset), Some(metadata), Some(body)) = (place.offset, place.metadata, place.body)
        else {
            return Err(outside());
        };
        let body_start = offset.checked_add(metadata).ok_or_else(outside)?;
        let body_end = body_start.checked_add(body).ok_or_else(outside)?;
        if body_end > end as u64 {
            return Err(outside());
        }
        let (offset, body_start) = (offset as usize, body_start as usize);
        let body = &self.bytes[body_start..body_end as usize];

        let metadata = &self.bytes[offset..body_start];
        let prefix = if metadata.starts_with(&CONTINUATION) {
            8
        } else {
            4
        };
        let message = metadata
            .get(prefix..)
            .ok_or_else(|| self.damaged(offset, "a message is too short for its length"))?;
        let message = root_as_message(message)
            .map_err(|error| self.damaged(offset, format!("a message is invalid: {error}")))?;
        if message.header_type() != MessageHeader::RecordBatch {
            return Err(self.damaged(offset, "a message listed as record batch is none"));
        }
        let batch = message
            .header_as_record_batch()
            .ok_or_else(|| self.damaged(offset, "a record batch has no header"))?;
        self.check_batch(&batch, schema, body, body_start)
    }

    fn check_batch(
        &self,
        batch: &RecordBatch<'_>,
        schema: &Schema,
        body: &[u8],
        start: usize,
    ) -> Result<u64, MarketError> {
        let compressed = match batch.compression() {
            None => false,
            Some(compression) if compression.codec() == arrow_ipc::CompressionType::LZ4_FRAME => {
                true
            }
            Some(compression) => {
                let codec = compression
                    .codec()
                    .variant_name()
                    .unwrap_or("an unknown codec");
                let reason = format!("it is compressed with {codec}, expected LZ4_FRAME or none");
                return Err(self.unsupported(reason));
            }
        };
        let rows = u64::try_from(batch.length())
            .map_err(|_| self.damaged(start, "a record batch has a negative number of rows"))?;
        let nodes = batch
            .nodes()
            .map(|nodes| nodes.iter().collect::<Vec<_>>())
            .unwrap_or_default();
        let buffers = batch
            .buffers()
            .map(|buffers| buffers.iter().collect::<Vec<_>>());
        let mut buffers = buffers.unwrap_or_default().into_iter();
        if nodes.len() != schema.fields().len() {
            return Err(self.damaged(start, "a record batch has another number of columns"));
        }
        // A column of nulls has no bytes, and still a value per row once it is read.
        let mut decoded = rows.saturating_mul(size_of::<Option<f64>>() as u64);
        for (field, node) in schema.fields().iter().zip(nodes) {
            let nulls = u64::try_from(node.null_count()).ok();
            if u64::try_from(node.length()) != Ok(rows) || nulls.is_none_or(|nulls| nulls > rows) {
                let reason = format!("column `{}` has a wrong number of rows", field.name());
                return Err(self.damaged(start, reason));
            }
            let mut sizes = Vec::new();
            for _ in 0..self.buffer_count(field.data_type(), field.name())? {
                let buffer = buffers
                    .next()
                    .ok_or_else(|| self.damaged(start, "a record batch lacks a buffer"))?;
                let place = (buffer.offset(), buffer.length());
                let size = self.check_buffer(place, body, start, compressed)?;
                decoded = decoded.saturating_add(size);
                sizes.push(size);
            }
            // Only fixed-width columns are decoded; their buffers are validity and values.
            let Some(width) = field.data_type().primitive_width() else {
                continue;
            };
            let validity = if nulls == Some(0) {
                0
            } else {
                rows.div_ceil(8)
            };
            let values = rows.checked_mul(width as u64);
            if sizes[0] < validity || values.is_none_or(|values| sizes[1] < values) {
                let reason = format!("column `{}` is too short for {rows} rows", field.name());
                return Err(self.damaged(start, reason));
            }
        }
        Ok(decoded)
    }

    /// Returns how many buffers a column has in a record batch.
    fn buffer_count(&self, data_type: &DataType, name: &str) -> Result<usize, MarketError> {
        match data_type {
            DataType::Null => Ok(0),
            DataType::Boolean | DataType::FixedSizeBinary(_) => Ok(2),
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Binary | DataType::LargeBinary => {
                Ok(3)
            }
            primitive if primitive.is_primitive() => Ok(2),
            other => {
                Err(self.unsupported(format!("column `{name}` has the nested type `{other}`")))
            }
        }
    }

    /// Checks that a buffer lies in the body and returns its uncompressed size in bytes.
    fn check_buffer(
        &self,
        (offset, length): (i64, i64),
        body: &[u8],
        start: usize,
        compressed: bool,
    ) -> Result<u64, MarketError> {
        let slice = usize::try_from(offset)
            .ok()
            .zip(usize::try_from(length).ok());
        let slice =
            slice.and_then(|(offset, length)| body.get(offset..offset.checked_add(length)?));
        let slice =
            slice.ok_or_else(|| self.damaged(start, "a buffer reaches outside the file"))?;
        let stored = slice.len() as u64;
        if !compressed || slice.is_empty() {
            return Ok(stored);
        }
        let at = start + offset as usize;
        let Some((prefix, rest)) = slice.split_first_chunk::<8>() else {
            return Err(self.damaged(at, "a compressed buffer is too short for its size"));
        };
        let rest = rest.len() as u64;
        match (
            i64::from_le_bytes(*prefix),
            u64::try_from(i64::from_le_bytes(*prefix)),
        ) {
            (STORED, _) => Ok(rest),
            (_, Ok(size)) if size <= rest.saturating_mul(LARGEST_RATIO) => Ok(size),
            (size, _) => {
                let reason = format!("{rest} compressed bytes cannot hold the {size} they claim");
                Err(self.damaged(at, reason))
            }
        }
    }
}

/// Joins the lines of a library's message, which may be a trace of many.
pub(super) fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn i32_at(bytes: &[u8], offset: usize) -> Option<i32> {
    let chunk = bytes.get(offset..)?.first_chunk::<4>()?;
    Some(i32::from_le_bytes(*chunk))
}
