//! Parquet bytes that are not what they say never panic and never allocate what they claim.

use std::path::{Path, PathBuf};

use crate::common::parquet_fixtures;
use market::table::WideReader;
use market::{MarketError, ohlcv, ticks};
use proptest::prelude::*;

/// The fixtures that are damaged, one for every codec, page version and kind of encoding.
const SEEDS: [&str; 6] = [
    "values/none-v2-runs.parquet",
    "values/zstd-split-deltas.parquet",
    "values/gzip-pages.parquet",
    "values/lz4-checksums.parquet",
    "values/snappy-dictionary.parquet",
    "ticks/sides.parquet",
];

fn seed(name: &str) -> Vec<u8> {
    std::fs::read(parquet_fixtures().join(name)).unwrap()
}

/// A directory and the path in it under which bytes are offered to the readers.
struct Offer {
    _directory: tempfile::TempDir,
    path: PathBuf,
}

impl Offer {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("EURUSD_M15.parquet");
        Self {
            _directory: directory,
            path,
        }
    }

    fn bars(&self, bytes: &[u8]) -> Result<market::Bars, MarketError> {
        std::fs::write(&self.path, bytes).unwrap();
        ohlcv::read(&self.path)
    }

    /// Reads everything there is by every reader, and returns the first error of the wide one.
    fn all(&self, bytes: &[u8]) -> Option<MarketError> {
        std::fs::write(&self.path, bytes).unwrap();
        let _ = (ohlcv::read(&self.path), ticks::read(&self.path));
        everything(&self.path).err()
    }
}

fn everything(path: &Path) -> Result<(), MarketError> {
    let reader = WideReader::open(path)?;
    let _ = reader.period();
    let mut first = Ok(());
    for group in 0..reader.groups() {
        if reader.time_column().is_some() {
            first = first.and(reader.times(group).map(|_| ()));
        }
        for (place, column) in reader.columns().iter().enumerate() {
            if column.column_type.is_number() {
                first = first.and(reader.floats(group, place).map(|_| ()));
                first = first.and(reader.numbers(group, place).map(|_| ()));
            }
        }
    }
    first
}

#[test]
fn a_file_cut_anywhere_is_an_error() {
    let offer = Offer::new();
    let bytes = seed("bars/EURUSD_M15.parquet");
    assert!(offer.bars(&bytes).is_ok());
    for end in (0..bytes.len())
        .step_by(7)
        .chain(bytes.len() - 20..bytes.len())
    {
        let error = offer.bars(&bytes[..end]).unwrap_err();
        let located = matches!(
            error,
            MarketError::NotParquet { .. } | MarketError::Damaged { .. }
        );
        assert!(located, "cut at {end}: {error}");
        assert!(error.hint().is_some());
    }
}

#[test]
fn any_byte_may_be_wrong() {
    let offer = Offer::new();
    for name in SEEDS {
        let bytes = seed(name);
        let mut refused = 0;
        for at in (0..bytes.len()).step_by(37) {
            let mut spoilt = bytes.clone();
            spoilt[at] = spoilt[at].wrapping_add(1 + (at % 254) as u8);
            refused += usize::from(offer.all(&spoilt).is_some());
        }
        assert!(refused > bytes.len() / 370, "{name}: {refused}");
    }
}

#[test]
fn one_damaged_chunk_spoils_one_column() {
    // Every page of this file has a checksum, and only what is asked for is read.
    let bytes = seed("values/lz4-checksums.parquet");
    let offer = Offer::new();
    let mut spoilt = 0;
    for at in (4..bytes.len() - 3_000).step_by(101) {
        let mut file = bytes.clone();
        file[at] ^= 0x55;
        std::fs::write(&offer.path, &file).unwrap();
        let reader = WideReader::open(&offer.path).unwrap();
        let places = 0..reader.columns().len();
        let numbers = places.filter(|place| reader.columns()[*place].column_type.is_number());
        let failed = numbers
            .filter(|place| reader.floats(0, *place).is_err())
            .count();
        assert!(failed <= 1, "{failed} columns after byte {at}");
        spoilt += failed;
    }
    assert!(spoilt > 10, "{spoilt}");
}

#[test]
fn what_is_not_parquet_is_said_to_be_none() {
    let offer = Offer::new();
    let message = |bytes: &[u8]| offer.bars(bytes).unwrap_err().to_string();
    assert!(message(b"").contains("it is empty"));
    assert!(message(b"PK").contains("does not start with `PAR1`"));
    assert!(message(b"ARROW1 and the rest").contains("does not start with `PAR1`"));
    assert!(message(b"PAR1").contains("cut short"));
    assert!(message(b"PARE, an encrypted footer").contains("it is encrypted"));
    assert!(message(b"PAR1\xff\xff\xff\xffPAR1").contains("does not fit"));
    assert!(message(b"PAR1\0\0\0\0PAR1").contains("its footer is invalid"));
}

/// Puts a footer behind some bytes of data.
fn with_footer(data: &[u8], footer: &[u8]) -> Vec<u8> {
    let length = (footer.len() as u32).to_le_bytes();
    [b"PAR1", data, footer, &length, b"PAR1"].concat()
}

/// A number as Thrift writes it.
fn zigzag(value: i64) -> Vec<u8> {
    let mut left = (value << 1 ^ value >> 63) as u64;
    let mut bytes = Vec::new();
    while left >= 0x80 {
        bytes.push(left as u8 | 0x80);
        left >>= 7;
    }
    bytes.push(left as u8);
    bytes
}

/// A footer of one column `a` of doubles, of one row group with these numbers.
fn footer(rows: i64, values: i64, start: i64, length: i64) -> Vec<u8> {
    let number = |head: u8, value: i64| [&[head][..], &zigzag(value)].concat();
    let root = [&[0x48, 1, b'r'][..], &number(0x15, 1), &[0]].concat();
    let column = [&[0x15, 10, 0x25, 0, 0x18, 1, b'a'][..], &[0]].concat();
    let metadata = [
        number(0x45, 0),
        number(0x16, values),
        number(0x26, length),
        number(0x26, start),
        vec![0],
    ]
    .concat();
    let chunk = [&[0x3c][..], &metadata, &[0]].concat();
    let group = [&[0x19, 0x1c][..], &chunk, &number(0x26, rows), &[0]].concat();
    [
        &[0x15, 2, 0x19, 0x2c][..],
        &root,
        &column,
        &number(0x16, rows),
        &[0x19, 0x1c],
        &group,
        &[0],
    ]
    .concat()
}

/// A page of plain doubles.
fn page(count: i64, size: i64, compressed: i64) -> Vec<u8> {
    let number = |head: u8, value: i64| [&[head][..], &zigzag(value)].concat();
    [
        number(0x15, 0),
        number(0x15, size),
        number(0x15, compressed),
        vec![0x2c],
        number(0x15, count),
        number(0x15, 0),
        number(0x15, 3),
        number(0x15, 3),
        vec![0, 0],
    ]
    .concat()
}

#[test]
fn numbers_of_rows_are_not_believed() {
    let offer = Offer::new();
    let check = |bytes: &[u8], words: &str| {
        let error = offer.all(bytes).map(|error| error.to_string());
        assert!(
            error.as_ref().is_some_and(|error| error.contains(words)),
            "{words}: {error:?}"
        );
    };
    let values: Vec<u8> = [1.5_f64, 2.5]
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect();
    let file = |rows: i64, page: &[u8]| {
        let data = [page, &values].concat();
        with_footer(&data, &footer(rows, rows, 4, data.len() as i64))
    };
    // The file is sound as it stands, so that what follows fails for its one fault.
    assert!(offer.all(&file(2, &page(2, 16, 16))).is_none());
    let reader = WideReader::open(&offer.path).unwrap();
    assert_eq!(reader.numbers(0, 0).unwrap(), [1.5, 2.5]);

    check(
        &file(1 << 40, &page(2, 16, 16)),
        "more than the 67108864 that are read",
    );
    check(
        &file(1 << 26, &page(2, 16, 16)),
        "rows are missing at its end",
    );
    check(&file(3, &page(2, 16, 16)), "1 rows are missing at its end");
    check(&file(1, &page(2, 16, 16)), "2 values where 1 rows are left");
    check(
        &file(1 << 26, &page(1 << 26, 16, 16)),
        "too short for its 67108864 values",
    );
    check(
        &file(2, &page(2, 1 << 30, 16)),
        "2 values in 1073741824 bytes",
    );
    check(
        &file(2, &page(2, 24, 16)),
        "16 compressed bytes cannot hold the 24 they claim",
    );
    check(&file(2, &page(2, 16, 1 << 30)), "is cut short");
    check(
        &file(2, &page(2, -16, 16)),
        "expected zero or more, found -16",
    );
    check(
        &file(2, &page(-2, 16, 16)),
        "expected zero or more, found -2",
    );
    let data = [page(2, 16, 16), values.clone()].concat();
    let footers = [
        (footer(2, 2, 1 << 40, 16), "outside the file's data"),
        (footer(2, 2, 4, 1 << 40), "outside the file's data"),
        (footer(2, 2, i64::MAX, i64::MAX), "outside the file's data"),
        (footer(2, 2, 0, 16), "outside the file's data"),
        (
            footer(2, 1, 4, 16),
            "fewer values than its row group has rows",
        ),
        (footer(2, 3, 4, 16), "it has 3 values for 2 rows"),
        (footer(-2, 2, 4, 16), "expected zero or more, found -2"),
    ];
    for (footer, words) in footers {
        check(&with_footer(&data, &footer), words);
    }
}

#[test]
fn a_footer_may_nest_and_claim_without_end() {
    let offer = Offer::new();
    let refuse = |footer: &[u8]| {
        let error = offer.all(&with_footer(b"", footer)).unwrap();
        assert!(matches!(error, MarketError::Damaged { .. }), "{error}");
        error.to_string()
    };
    // A million structs within each other, of which the field is unknown.
    refuse(&vec![0xcc; 1 << 20]);
    // A schema of 100,000 groups within each other, and no leaf.
    let mut nested = vec![0x29, 0xfc];
    nested.extend([0xa0, 0x8d, 0x06]);
    for _ in 0..100_000 {
        nested.extend([0x48, 1, b'g', 0x15, 2, 0]);
    }
    nested.push(0);
    assert!(refuse(&nested).contains("fewer columns than it states"));
    // Lists that claim two thousand million elements.
    for field in [0x29, 0x49, 0x59] {
        assert!(refuse(&[field, 0xfc, 0xff, 0xff, 0xff, 0xff, 0x07]).contains("a list claims"));
    }
    // A root with two thousand million children.
    let root = [
        &[0x29, 0x1c, 0x48, 1, b'r', 0x15][..],
        &zigzag(i64::from(i32::MAX)),
        &[0, 0],
    ];
    assert!(refuse(&root.concat()).contains("fewer columns than it states"));
}

#[test]
fn a_page_that_grows_without_bound_is_cut_off() {
    // 64 MiB of zeros in some 64 KiB of GZIP, where the header says sixteen bytes.
    use std::io::Write;
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    let zeros = vec![0; 1 << 20];
    for _ in 0..64 {
        gzip.write_all(&zeros).unwrap();
    }
    let body = gzip.finish().unwrap();
    let data = [page(2, 16, body.len() as i64), body].concat();
    let mut footer = footer(2, 2, 4, data.len() as i64);
    // The codec, which the footer states as none, is field 4 of the chunk's metadata.
    let at = footer
        .windows(2)
        .position(|pair| pair == [0x3c, 0x45])
        .unwrap();
    footer[at + 2] = 4;
    let offer = Offer::new();
    let error = offer.all(&with_footer(&data, &footer)).unwrap();
    assert!(
        error
            .to_string()
            .contains("decompresses to 17 bytes, expected 16"),
        "{error}"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn noise_is_refused(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let offer = Offer::new();
        prop_assert!(offer.all(&bytes).is_some());
        prop_assert!(offer.all(&with_footer(&bytes, &bytes)).is_some());
    }

    #[test]
    fn noise_in_pages_does_not_panic(
        bytes in proptest::collection::vec(any::<u8>(), 1..200),
        which in 0..SEEDS.len(),
        at in 0.0..1.0_f64,
    ) {
        let mut file = seed(SEEDS[which]);
        let at = (at * file.len() as f64) as usize;
        let end = (at + bytes.len()).min(file.len());
        file[at..end].copy_from_slice(&bytes[..end - at]);
        let offer = Offer::new();
        offer.all(&file);
    }

    #[test]
    fn a_few_wrong_bytes_do_not_panic(
        places in proptest::collection::vec((0.0..1.0_f64, any::<u8>()), 1..5),
        which in 0..SEEDS.len(),
    ) {
        let mut file = seed(SEEDS[which]);
        for (at, byte) in places {
            let at = (at * file.len() as f64) as usize;
            file[at] = byte;
        }
        Offer::new().all(&file);
    }

    #[test]
    fn csv_noise_does_not_panic(text in "[0-9a-z,;.:\\n\" -]{0,300}") {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("EURUSD_M15.csv");
        for head in ["", "time,open,high,low,close\n", "date;time;open;high;low;close;vol\n"] {
            std::fs::write(&path, format!("{head}{text}")).unwrap();
            let _ = ohlcv::read(&path);
        }
    }
}
