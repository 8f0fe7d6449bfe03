//! The pages of a column chunk: headers checked, bodies decompressed, levels and values apart.
//!
//! A page may claim any size. It is believed only as far as its number of values allows, so that
//! what is reserved stays in proportion to the rows that the footer states.

use super::codec::Codec;
use super::thrift::{Malformed, Thrift};

/// Numbers of the kinds of pages.
const DATA: i64 = 0;
const INDEX: i64 = 1;
const DICTIONARY: i64 = 2;
const DATA_V2: i64 = 3;

/// Numbers of encodings.
pub(super) const PLAIN: i64 = 0;
pub(super) const PLAIN_DICTIONARY: i64 = 2;
pub(super) const RLE: i64 = 3;
pub(super) const DELTA_BINARY_PACKED: i64 = 5;
pub(super) const RLE_DICTIONARY: i64 = 8;
pub(super) const BYTE_STREAM_SPLIT: i64 = 9;

/// The most bytes that a value takes in any encoding: sixteen, its level, and its share of heads.
const LARGEST_VALUE: u64 = 26;
/// What a page may hold beside its values.
const ALLOWANCE: u64 = 64 << 10;
/// The length before the levels of a page of version 1.
const LEVELS_HEAD: usize = 4;

/// A page whose header has been read and whose body is plain.
pub(super) enum Page<'a> {
    /// The values that the indices of later pages point to.
    Dictionary { count: usize, values: &'a [u8] },
    /// Rows.
    Data {
        /// How many values, nulls included.
        count: usize,
        /// Where the page starts in the chunk.
        offset: usize,
        /// How the values are written.
        encoding: i64,
        /// Definition levels in the hybrid encoding, where there are any.
        levels: Option<&'a [u8]>,
        /// The encoded values.
        values: &'a [u8],
    },
}

/// Reads the pages of one chunk, one after the other.
pub(super) struct Pages<'a> {
    chunk: &'a [u8],
    at: usize,
    codec: Codec,
    optional: bool,
    rows_left: usize,
    body: Vec<u8>,
}

#[derive(Default)]
struct Header {
    kind: i64,
    size: u64,
    compressed: u64,
    checksum: Option<i64>,
    count: u64,
    encoding: i64,
    levels_encoding: i64,
    definition_length: u64,
    repetition_length: u64,
    stored: bool,
}

impl<'a> Pages<'a> {
    /// Starts at the first page of a chunk of so many rows.
    pub(super) fn new(chunk: &'a [u8], codec: Codec, optional: bool, rows: usize) -> Self {
        Self {
            chunk,
            at: 0,
            codec,
            optional,
            rows_left: rows,
            body: Vec::new(),
        }
    }

    /// Returns the next page, until all rows have been seen.
    pub(super) fn next(&mut self) -> Result<Option<Page<'_>>, Malformed> {
        loop {
            if self.rows_left == 0 {
                return Ok(None);
            }
            let start = self.at;
            let fail = |reason: String| Malformed {
                offset: start,
                reason,
            };
            if self.at >= self.chunk.len() {
                let reason = format!("{} rows are missing at its end", self.rows_left);
                return Err(fail(reason));
            }
            let header = self.header()?;
            let body = self.at;
            let end = usize::try_from(header.compressed).ok();
            let end = end.and_then(|length| body.checked_add(length));
            let input = end.and_then(|end| self.chunk.get(body..end));
            let input = input.ok_or_else(|| {
                fail(format!(
                    "a page of {} bytes is cut short",
                    header.compressed
                ))
            })?;
            self.at += input.len();
            if header.kind == INDEX {
                continue;
            }
            self.check(&header, input).map_err(fail)?;
            return self.page(&header, input, start).map(Some).map_err(fail);
        }
    }

    fn header(&mut self) -> Result<Header, Malformed> {
        let mut header = Header {
            kind: -1,
            ..Header::default()
        };
        let mut thrift = Thrift::new(&self.chunk[self.at..]);
        let outcome = thrift.fields(|thrift, field, kind| {
            match field {
                1 => header.kind = thrift.integer(kind)?,
                2 => header.size = thrift.count(kind)?,
                3 => header.compressed = thrift.count(kind)?,
                4 => header.checksum = Some(thrift.integer(kind)?),
                5 | 7 | 8 => {
                    thrift.structure(kind)?;
                    thrift
                        .fields(|thrift, inner, kind| header.inner(thrift, (field, inner), kind))?;
                }
                _ => return Ok(false),
            }
            Ok(true)
        });
        outcome.map_err(|error| Malformed {
            offset: self.at + error.offset,
            reason: format!("a page's header is damaged: {}", error.reason),
        })?;
        self.at += thrift.position();
        Ok(header)
    }

    /// Compares what a header claims with the rows that are left and with the bytes that are there.
    fn check(&self, header: &Header, input: &[u8]) -> Result<(), String> {
        if header.kind != DICTIONARY && header.count > self.rows_left as u64 {
            return Err(format!(
                "a page claims {} values where {} rows are left",
                header.count, self.rows_left
            ));
        }
        // No dictionary is longer than the rows that point into it.
        let values = header.count.min(self.rows_left as u64);
        if header.count > values || header.size > values * LARGEST_VALUE + ALLOWANCE {
            return Err(format!(
                "a page claims {} values in {} bytes for {} rows",
                header.count, header.size, self.rows_left
            ));
        }
        if let Some(stated) = header.checksum {
            let mut checksum = flate2::Crc::new();
            checksum.update(input);
            if checksum.sum() != stated as u32 {
                return Err("a page's checksum does not match".to_owned());
            }
        }
        Ok(())
    }

    fn page(&mut self, header: &Header, input: &[u8], offset: usize) -> Result<Page<'_>, String> {
        self.body.clear();
        let count = header.count as usize;
        let size = header.size as usize;
        match header.kind {
            DICTIONARY => {
                if !matches!(header.encoding, PLAIN | PLAIN_DICTIONARY) {
                    return Err(unsupported_encoding(header.encoding));
                }
                self.codec.decompress(input, size, &mut self.body)?;
                let values = &self.body;
                Ok(Page::Dictionary { count, values })
            }
            DATA => {
                self.codec.decompress(input, size, &mut self.body)?;
                let (levels, values) = if self.optional {
                    if header.levels_encoding != RLE {
                        return Err(unsupported_encoding(header.levels_encoding));
                    }
                    let (levels, values) = split_levels(&self.body)?;
                    (Some(levels), values)
                } else {
                    (None, self.body.as_slice())
                };
                self.rows_left -= count;
                Ok(Page::Data {
                    count,
                    offset,
                    encoding: header.encoding,
                    levels,
                    values,
                })
            }
            DATA_V2 => {
                // Levels come first and are never compressed.
                let lengths = header
                    .definition_length
                    .checked_add(header.repetition_length);
                let before = lengths
                    .filter(|before| *before <= header.size && *before <= input.len() as u64)
                    .ok_or("a page's levels are longer than the page")?
                    as usize;
                let repetition = header.repetition_length as usize;
                if repetition > 0 {
                    return Err("a flat column has repetition levels".to_owned());
                }
                let (levels, values) = input.split_at(before);
                self.body.extend_from_slice(levels);
                let left = size - before;
                if header.stored {
                    Codec::None.decompress(values, left, &mut self.body)?;
                } else if left > 0 {
                    self.codec.decompress(values, left, &mut self.body)?;
                }
                let (levels, values) = self.body.split_at(before);
                self.rows_left -= count;
                Ok(Page::Data {
                    count,
                    offset,
                    encoding: header.encoding,
                    levels: self.optional.then_some(levels),
                    values,
                })
            }
            other => Err(format!("{other} is not a kind of page")),
        }
    }
}

impl Header {
    /// Reads a field of the header of one kind of page, named by both numbers.
    fn inner(
        &mut self,
        thrift: &mut Thrift<'_>,
        field: (i16, i16),
        kind: u8,
    ) -> Result<bool, Malformed> {
        match field {
            (5 | 7 | 8, 1) => self.count = thrift.count(kind)?,
            (5 | 7, 2) | (8, 4) => self.encoding = thrift.integer(kind)?,
            (5, 3) => self.levels_encoding = thrift.integer(kind)?,
            (8, 5) => self.definition_length = thrift.count(kind)?,
            (8, 6) => self.repetition_length = thrift.count(kind)?,
            (8, 7) => self.stored = !thrift.boolean(kind)?,
            _ => return Ok(false),
        }
        Ok(true)
    }
}

fn split_levels(body: &[u8]) -> Result<(&[u8], &[u8]), String> {
    let head = body.first_chunk::<LEVELS_HEAD>();
    let length = head.map(|head| u32::from_le_bytes(*head) as usize);
    length
        .and_then(|length| body[LEVELS_HEAD..].split_at_checked(length))
        .ok_or_else(|| "a page's levels are longer than the page".to_owned())
}

/// Says which encoding it is that is not read.
pub(super) fn unsupported_encoding(encoding: i64) -> String {
    let name = match encoding {
        4 => "BIT_PACKED",
        6 => "DELTA_LENGTH_BYTE_ARRAY",
        7 => "DELTA_BYTE_ARRAY",
        _ => return format!("encoding {encoding} is not read for this type"),
    };
    format!("encoding {name} is not read for this type")
}
