//! Decompresses pages into no more bytes than their headers say.

use std::io::Read;

/// Parquet's numbers of codecs.
const UNCOMPRESSED: i64 = 0;
const SNAPPY: i64 = 1;
const GZIP: i64 = 2;
const LZ4: i64 = 5;
const ZSTD: i64 = 6;
const LZ4_RAW: i64 = 7;
/// Names of all, for messages.
const NAMES: [&str; 8] = [
    "none", "SNAPPY", "GZIP", "LZO", "BROTLI", "LZ4", "ZSTD", "LZ4_RAW",
];

/// A codec and the state it keeps between pages.
pub(super) enum Codec {
    None,
    Snappy(snap::raw::Decoder),
    Gzip,
    Lz4,
    Lz4Raw,
    Zstd(Box<zstd::bulk::Decompressor<'static>>),
}

impl Codec {
    /// Returns the codec of a number, or why it is not read.
    pub(super) fn new(number: i64) -> Result<Self, String> {
        match number {
            UNCOMPRESSED => Ok(Self::None),
            SNAPPY => Ok(Self::Snappy(snap::raw::Decoder::new())),
            GZIP => Ok(Self::Gzip),
            LZ4 => Ok(Self::Lz4),
            LZ4_RAW => Ok(Self::Lz4Raw),
            ZSTD => zstd::bulk::Decompressor::new()
                .map(|decoder| Self::Zstd(Box::new(decoder)))
                .map_err(|error| error.to_string()),
            _ => {
                let name = usize::try_from(number).ok();
                let name = name.and_then(|number| NAMES.get(number));
                Err(format!(
                    "it is compressed with {}, expected ZSTD, SNAPPY, GZIP, LZ4 or none",
                    name.unwrap_or(&"an unknown codec")
                ))
            }
        }
    }

    /// Returns how many bytes one compressed byte can become at most: a copy of 64 bytes in three,
    /// a match's length in bytes of 255, 258 bytes in two bits, a block of 128 KiB in four bytes.
    fn largest_ratio(&self) -> usize {
        match self {
            Self::None => 1,
            Self::Snappy(_) => 22,
            Self::Lz4 | Self::Lz4Raw => 255,
            Self::Gzip => 1032,
            Self::Zstd(_) => 32 << 10,
        }
    }

    /// Appends what `input` decompresses to, which must be `size` bytes. Nothing is reserved for a
    /// size that the input cannot have.
    pub(super) fn decompress(
        &mut self,
        input: &[u8],
        size: usize,
        output: &mut Vec<u8>,
    ) -> Result<(), String> {
        if size > input.len().saturating_mul(self.largest_ratio()) {
            let bytes = input.len();
            return Err(format!(
                "{bytes} compressed bytes cannot hold the {size} they claim"
            ));
        }
        let start = output.len();
        let found = match self {
            Self::None => {
                output.extend_from_slice(input.get(..size).unwrap_or(input));
                input.len()
            }
            Self::Snappy(decoder) => {
                let stated = snap::raw::decompress_len(input).map_err(plain)?;
                if stated == size {
                    output.resize(start + size, 0);
                    decoder
                        .decompress(input, &mut output[start..])
                        .map_err(plain)?
                } else {
                    stated
                }
            }
            Self::Gzip => flate2::read::MultiGzDecoder::new(input)
                .take(size as u64 + 1)
                .read_to_end(output)
                .map_err(plain)?,
            Self::Zstd(decoder) => {
                let mut page = Vec::with_capacity(size);
                let found = decoder
                    .decompress_to_buffer(input, &mut page)
                    .map_err(plain)?;
                output.append(&mut page);
                found
            }
            Self::Lz4Raw => {
                output.resize(start + size, 0);
                lz4_flex::block::decompress_into(input, &mut output[start..]).map_err(plain)?
            }
            Self::Lz4 => {
                output.resize(start + size, 0);
                hadoop(input, &mut output[start..])
                    .or_else(|_| lz4_flex::block::decompress_into(input, &mut output[start..]))
                    .map_err(plain)?
            }
        };
        if found == size {
            return Ok(());
        }
        output.truncate(start);
        Err(format!("it decompresses to {found} bytes, expected {size}"))
    }
}

/// The older LZ4: blocks behind their sizes, big-endian, as Hadoop frames them.
fn hadoop(mut input: &[u8], output: &mut [u8]) -> Result<usize, lz4_flex::block::DecompressError> {
    let short = lz4_flex::block::DecompressError::ExpectedAnotherByte;
    let mut filled = 0;
    while let Some((sizes, rest)) = input.split_first_chunk::<8>() {
        let [a, b, c, d, e, f, g, h] = *sizes;
        let size = u32::from_be_bytes([a, b, c, d]) as usize;
        let length = u32::from_be_bytes([e, f, g, h]) as usize;
        let (Some(block), Some(place)) =
            (rest.get(..length), output.get_mut(filled..filled + size))
        else {
            return Err(short);
        };
        if lz4_flex::block::decompress_into(block, place)? != size {
            return Err(short);
        }
        filled += size;
        input = &rest[length..];
    }
    if input.is_empty() {
        Ok(filled)
    } else {
        Err(short)
    }
}

fn plain(error: impl std::fmt::Display) -> String {
    format!("it cannot be decompressed: {error}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    const TEXT: &[u8] = b"a page, a page, a page, a page of some values";

    fn check(number: i64, input: &[u8]) {
        let mut codec = Codec::new(number).unwrap();
        let mut output = b"before".to_vec();
        codec.decompress(input, TEXT.len(), &mut output).unwrap();
        assert_eq!(&output[6..], TEXT);
        // A size that is not the true one is refused, and no more than it is kept.
        for size in [0, TEXT.len() - 1, TEXT.len() + 1] {
            let mut output = Vec::new();
            assert!(
                codec.decompress(input, size, &mut output).is_err(),
                "{number} to {size}"
            );
            assert!(
                output.len() <= size + 1,
                "{number} to {size}: {}",
                output.len()
            );
        }
        for end in 0..input.len() {
            let mut output = Vec::new();
            let cut = codec.decompress(&input[..end], TEXT.len(), &mut output);
            assert!(cut.is_err(), "{number} cut at {end}");
        }
    }

    #[test]
    fn every_codec_fills_exactly_the_stated_size() {
        let block = lz4_flex::block::compress(TEXT);
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        gzip.write_all(TEXT).unwrap();
        let mut framed = (TEXT.len() as u32).to_be_bytes().to_vec();
        framed.extend((block.len() as u32).to_be_bytes());
        framed.extend(&block);
        check(UNCOMPRESSED, TEXT);
        check(
            SNAPPY,
            &snap::raw::Encoder::new().compress_vec(TEXT).unwrap(),
        );
        check(GZIP, &gzip.finish().unwrap());
        check(LZ4, &framed);
        check(LZ4_RAW, &block);
        check(ZSTD, &zstd::bulk::compress(TEXT, 3).unwrap());
    }

    #[test]
    fn other_codecs_are_named() {
        let error = Codec::new(4).err().unwrap();
        assert!(error.contains("with BROTLI"), "{error}");
        assert!(Codec::new(-1).is_err() && Codec::new(99).is_err());
    }
}
