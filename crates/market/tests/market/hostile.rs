//! Bytes that are not what they say never panic and never allocate what they claim.

use std::path::PathBuf;
use std::sync::Arc;

use crate::common::{columns, feather, hourly};
use arrow_array::{ArrayRef, NullArray};
use arrow_ipc::CompressionType;
use market::freqtrade::{self, read};
use market::{MarketError, Timestamp};
use proptest::prelude::*;

/// A directory and the path in it under which bytes are offered to the reader.
struct Offer {
    _directory: tempfile::TempDir,
    path: PathBuf,
}

impl Offer {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("BTC_USDT-1h.feather");
        Self {
            _directory: directory,
            path,
        }
    }

    fn read(&self, bytes: &[u8]) -> Result<market::Bars, MarketError> {
        std::fs::write(&self.path, bytes).unwrap();
        read(&self.path)
    }
}

fn sound(compression: Option<CompressionType>) -> Vec<u8> {
    let offer = Offer::new();
    feather(&offer.path, &[columns(40)], compression);
    std::fs::read(&offer.path).unwrap()
}

const COMPRESSIONS: [Option<CompressionType>; 2] = [None, Some(CompressionType::LZ4_FRAME)];

#[test]
fn a_file_cut_anywhere_is_an_error() {
    for compression in COMPRESSIONS {
        let (offer, bytes) = (Offer::new(), sound(compression));
        assert_eq!(offer.read(&bytes).unwrap(), hourly(40));
        for end in (0..bytes.len())
            .step_by(3)
            .chain(bytes.len() - 20..bytes.len())
        {
            let error = offer.read(&bytes[..end]).unwrap_err();
            let located = matches!(
                error,
                MarketError::NotFeather { .. } | MarketError::Damaged { .. }
            );
            assert!(located, "cut at {end}: {error}");
            assert!(error.hint().is_some());
        }
    }
}

#[test]
fn what_is_not_feather_is_said_to_be_none() {
    let offer = Offer::new();
    for bytes in [
        &b""[..],
        b"date,open\n",
        b"PAR1 and so on",
        b"FEA1 was version one",
        b"ARROW",
    ] {
        let error = offer.read(bytes).unwrap_err();
        assert!(matches!(error, MarketError::NotFeather { .. }), "{error}");
        assert!(error.to_string().contains("BTC_USDT-1h.feather"), "{error}");
    }
}

fn check_damage(bytes: &[u8], expect: &str) {
    let error = Offer::new().read(bytes).unwrap_err();
    assert!(matches!(error, MarketError::Damaged { .. }), "{error}");
    assert!(error.to_string().contains(expect), "{error}");
}

#[test]
fn a_lying_footer_length_is_found() {
    for length in [i32::MIN, -1, 0, 1, i32::MAX] {
        let mut bytes = sound(None);
        let at = bytes.len() - 10;
        bytes[at..at + 4].copy_from_slice(&length.to_le_bytes());
        check_damage(&bytes, "footer");
    }
}

/// The footer's block (offset i64, metadata length i32, padding, body length i64) of the batch.
fn block(bytes: &[u8]) -> usize {
    let trailer = bytes.len() - 10;
    let length = i32::from_le_bytes(bytes[trailer..trailer + 4].try_into().unwrap()) as usize;
    let footer = &bytes[trailer - length..trailer];
    let footer = arrow_ipc::root_as_footer(footer).unwrap();
    let block = footer.recordBatches().unwrap().get(0);
    let pattern = [
        &block.offset().to_le_bytes()[..],
        &block.metaDataLength().to_le_bytes(),
        &[0; 4],
        &block.bodyLength().to_le_bytes(),
    ]
    .concat();
    let start = trailer - length;
    start
        + bytes[start..]
            .windows(pattern.len())
            .position(|window| window == pattern)
            .unwrap()
}

#[test]
fn a_block_outside_the_file_is_found() {
    for value in [-1, i64::MIN, i64::MAX, 1 << 40] {
        for field in [0, 16] {
            let mut bytes = sound(None);
            let at = block(&bytes) + field;
            bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
            check_damage(&bytes, "points outside the file");
        }
    }
    for value in [-1, i32::MIN, i32::MAX] {
        let mut bytes = sound(None);
        let at = block(&bytes) + 8;
        bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
        check_damage(&bytes, "points outside the file");
    }
}

/// Finds the record batch's message and body.
fn batch_place(bytes: &[u8]) -> (usize, usize) {
    let at = block(bytes);
    let offset = i64::from_le_bytes(bytes[at..at + 8].try_into().unwrap()) as usize;
    let metadata = i32::from_le_bytes(bytes[at + 8..at + 12].try_into().unwrap()) as usize;
    (offset, offset + metadata)
}

#[test]
fn a_lying_uncompressed_size_allocates_nothing() {
    // A page of equal volumes compresses; the prefix of its buffer then claims eight exabytes.
    let offer = Offer::new();
    freqtrade::write(&offer.path, &hourly(4_000)).unwrap();
    let bytes = std::fs::read(&offer.path).unwrap();
    let (_, body) = batch_place(&bytes);
    let size = (4_000_u64 * 8).to_le_bytes();
    let prefixes: Vec<usize> = (body..bytes.len() - 8)
        .filter(|at| bytes[*at..*at + 8] == size)
        .collect();
    assert!(prefixes.len() >= 2, "the fixture no longer compresses");
    for at in prefixes {
        for claim in [i64::MAX, 1 << 40, -2, 0, 8] {
            let mut hostile = bytes.clone();
            hostile[at..at + 8].copy_from_slice(&claim.to_le_bytes());
            let error = offer.read(&hostile).unwrap_err();
            assert!(
                matches!(error, MarketError::Damaged { .. }),
                "{claim}: {error}"
            );
        }
    }
}

#[test]
fn damage_inside_a_buffer_names_the_column_and_no_byte() {
    let offer = Offer::new();
    freqtrade::write(&offer.path, &hourly(4_000)).unwrap();
    let mut bytes = std::fs::read(&offer.path).unwrap();
    let (_, body) = batch_place(&bytes);
    let size = (4_000_u64 * 8).to_le_bytes();
    let at = (body..bytes.len() - 8)
        .rfind(|at| bytes[*at..*at + 8] == size)
        .unwrap();
    // The magic number of the LZ4 frame of the last column.
    bytes[at + 8] ^= 0xff;
    let text = offer.read(&bytes).unwrap_err().to_string();
    assert!(
        text.contains("is damaged: column `volume` cannot be decoded: "),
        "{text}"
    );
    assert!(!text.contains("at byte"), "{text}");
}

#[test]
fn a_message_is_one_line_whatever_is_damaged() {
    let bytes = sound(None);
    let trailer = bytes.len() - 10;
    for at in (trailer - 300..trailer).step_by(4) {
        let mut hostile = bytes.clone();
        hostile[at..at + 4].copy_from_slice(&[0xee; 4]);
        if let Err(error) = Offer::new().read(&hostile) {
            assert_eq!(error.to_string().lines().count(), 1, "{error}");
        }
    }
}

#[test]
fn a_buffer_outside_the_body_is_found() {
    let bytes = sound(None);
    let (message, body) = batch_place(&bytes);
    // Every 8-byte slot of the message, among them row count, node lengths, offsets and lengths.
    for at in (message + 8..body - 8).step_by(8) {
        for value in [-1, i64::MAX, 1 << 33, 7] {
            let mut hostile = bytes.clone();
            hostile[at..at + 8].copy_from_slice(&value.to_le_bytes());
            if let Ok(bars) = Offer::new().read(&hostile) {
                bars.validate().unwrap();
            }
        }
    }
}

#[test]
fn rows_without_bytes_are_bounded() {
    // Columns of Arrow's null type have no buffers, so their length costs the file nothing.
    let offer = Offer::new();
    let nothing: ArrayRef = Arc::new(NullArray::new(1 << 40));
    let names = ["date", "open", "high", "low", "close", "volume"];
    let table = names.map(|name| (name, Arc::clone(&nothing))).to_vec();
    feather(&offer.path, &[table], None);
    let error = read(&offer.path).unwrap_err();
    assert!(matches!(error, MarketError::Unsupported { .. }), "{error}");
    assert!(error.to_string().contains("more than 4 GiB"), "{error}");
}

/// Whatever is still read from damaged bytes has passed every check.
fn check_result(result: Result<market::Bars, MarketError>) {
    match result {
        Ok(bars) => {
            bars.validate().unwrap();
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn flipped_bytes_never_panic(
        compressed in any::<bool>(),
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut bytes = sound(COMPRESSIONS[usize::from(compressed)]);
        for (index, value) in flips {
            let at = index.index(bytes.len());
            bytes[at] = value;
        }
        check_result(Offer::new().read(&bytes));
    }

    #[test]
    fn flipped_metadata_never_panics(
        compressed in any::<bool>(),
        footer in any::<bool>(),
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut bytes = sound(COMPRESSIONS[usize::from(compressed)]);
        let (message, body) = batch_place(&bytes);
        let trailer = bytes.len() - 10;
        let range = if footer { block(&bytes) - 200..trailer } else { message..body };
        for (index, value) in flips {
            let at = range.start + index.index(range.len());
            bytes[at] = value;
        }
        check_result(Offer::new().read(&bytes));
    }

    #[test]
    fn arbitrary_bytes_between_the_magics_never_panic(
        middle in prop::collection::vec(any::<u8>(), 0..300),
        length in any::<u16>(),
    ) {
        let mut bytes = b"ARROW1\0\0".to_vec();
        bytes.extend(middle);
        bytes.extend(i32::from(length % 400).to_le_bytes());
        bytes.extend(b"ARROW1");
        check_result(Offer::new().read(&bytes));
    }
}

proptest! {
    // Each case waits for the disk.
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn what_is_written_is_read_back(
        rows in 1_usize..200,
        scale in 1e-8_f64..1e8,
        gap in 0_i64..50,
        start in 1_300_000_000_i64..3_000_000_000,
    ) {
        let mut bars = hourly(rows);
        for column in [&mut bars.open, &mut bars.high, &mut bars.low, &mut bars.close] {
            for price in column.iter_mut() {
                *price *= scale;
            }
        }
        for (row, time) in bars.open_time.iter_mut().enumerate() {
            // A hole after the third row, which leaves one hour the most common spacing.
            let hole = if row > 2 && rows > 6 { gap } else { 0 };
            *time = Timestamp((start + 3_600 * (row as i64 + hole)) * 1_000).0;
        }
        let offer = Offer::new();
        freqtrade::write(&offer.path, &bars).unwrap();
        prop_assert_eq!(read(&offer.path).unwrap(), bars);
    }
}
