//! The GGUF container: a file of the PyPI package `gguf`, hostile headers byte by byte, and
//! round trips.
#![expect(
    clippy::unwrap_used,
    reason = "in a test a failed step is a failed test"
)]

use std::collections::BTreeMap;

use proptest::prelude::*;
use weights::WeightsError;
use weights::gguf::{Array, Gguf, Tensor, TensorType, Value, parse, write};

const VALUES: &[u8] = include_bytes!("fixtures/values.gguf");

#[test]
fn a_file_of_the_reference_package_reads_back() {
    let header = parse(VALUES).unwrap();
    assert_eq!((header.version, header.alignment), (3, 32));
    let get = |key: &str| header.metadata[key].clone();
    for (key, expected) in [
        ("general.architecture", Value::from("llama")),
        ("t.uint8", Value::U8(200)),
        ("t.int8", Value::I8(-100)),
        ("t.uint16", Value::U16(60000)),
        ("t.int16", Value::I16(-30000)),
        ("t.uint32", Value::U32(4000000000)),
        ("t.int32", Value::I32(-2000000000)),
        ("t.float32", Value::F32(0.1)),
        ("t.bool", Value::Bool(true)),
        ("t.string", Value::from("größer")),
        ("t.array.int32", Value::Array(Array::I32(vec![1, -2, 3]))),
        (
            "t.array.string",
            Value::Array(Array::String(vec![
                "a".into(),
                String::new(),
                "日本".into(),
            ])),
        ),
        (
            "t.array.float32",
            Value::Array(Array::F32(vec![0.5, -0.25])),
        ),
        ("t.array.bool", Value::Array(Array::Bool(vec![true, false]))),
        ("t.uint64", Value::U64(1 << 63)),
        ("t.int64", Value::I64(-(1 << 62))),
        ("t.float64", Value::F64(0.1)),
    ] {
        assert_eq!(get(key), expected, "{key}");
    }
    let matrix = &header.tensors[1];
    assert_eq!(
        (matrix.name.as_str(), &matrix.shape[..]),
        ("matrix", &[2, 3][..])
    );
    assert_eq!(matrix.tensor_type, TensorType::F16);
    assert_eq!(matrix.range.len(), 12);
}

#[test]
fn a_file_cut_short_anywhere_is_an_error() {
    let end = parse(VALUES).unwrap().tensors[1].range.end;
    for length in 0..end {
        let fault = parse(&VALUES[..length]).unwrap_err();
        assert!(fault.offset <= length as u64, "{length}: {fault:?}");
    }
    // Only the padding after the last tensor may be missing.
    assert!(end < VALUES.len());
    parse(&VALUES[..end]).unwrap();
}

/// A header built byte by byte.
#[derive(Default)]
struct Bytes(Vec<u8>);

impl Bytes {
    fn start(tensors: u64, values: u64) -> Self {
        Self(b"GGUF".to_vec()).u32(3).u64(tensors).u64(values)
    }
    fn u32(mut self, value: u32) -> Self {
        self.0.extend(value.to_le_bytes());
        self
    }
    fn u64(mut self, value: u64) -> Self {
        self.0.extend(value.to_le_bytes());
        self
    }
    fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend(bytes);
        self
    }
    fn text(self, text: &str) -> Self {
        self.u64(text.len() as u64).raw(text.as_bytes())
    }
    fn tensor(self, name: &str, dimensions: &[u64], kind: u32, offset: u64) -> Self {
        let named = self.text(name).u32(dimensions.len() as u32);
        let shaped = dimensions.iter().fold(named, |bytes, n| bytes.u64(*n));
        shaped.u32(kind).u64(offset)
    }
    /// Pads to the data section and adds `count` bytes of it.
    fn data(mut self, count: usize) -> Self {
        let start = self.0.len().next_multiple_of(32);
        self.0.resize(start + count, 0);
        self
    }
}

fn check(bytes: &Bytes, offset: u64, expected: &str) {
    let fault = parse(&bytes.0).unwrap_err();
    assert!(fault.message.contains(expected), "{fault:?}");
    assert_eq!(fault.offset, offset, "{fault:?}");
}

#[test]
fn lying_beginnings() {
    check(&Bytes::default().raw(b"GGML").u32(3), 0, "expected `GGUF`");
    check(&Bytes::default().raw(b"GGUF").u32(1), 4, "the version is 1");
    check(&Bytes::default().raw(b"GGUF").u32(4), 4, "the version is 4");
    let big_endian = 3u32.swap_bytes();
    check(
        &Bytes::default().raw(b"GGUF").u32(big_endian),
        4,
        "big-endian",
    );
    check(
        &Bytes::start(u64::MAX, 0),
        8,
        "declares 18446744073709551615 tensors",
    );
    check(&Bytes::start(1, 0), 8, "hold at most 0");
    check(&Bytes::start(0, 1 << 40).data(64), 16, "metadata entries");
}

#[test]
fn lying_metadata() {
    let key = |kind: u32| Bytes::start(0, 1).text("k").u32(kind);
    check(&key(13).u64(0), 33, "value type 13");
    check(&key(7).raw(&[2]), 37, "truth value 2");
    check(&key(8).u64(u64::MAX), 37, "bytes of text");
    check(&key(8).u64(3).raw(b"ab"), 37, "bytes of text");
    check(&key(8).u64(2).raw(&[0xff, 0xfe]), 45, "not UTF-8");
    check(&key(9).u32(4).u64(1 << 62).u64(0), 41, "array elements");
    check(
        &key(9).u32(8).u64(1 << 32).u64(0).u64(0),
        41,
        "hold at most 2",
    );
    check(&key(9).u32(99).u64(0), 37, "value type 99");
    let nested = (0..4).fold(key(9), |bytes, _| bytes.u32(9).u64(1));
    check(&nested.u32(0).u64(0), 73, "nests arrays");
    let twice = Bytes::start(0, 2)
        .text("k")
        .u32(4)
        .u32(1)
        .text("k")
        .u32(4)
        .u32(2);
    check(&twice, 41, "`k` appears twice");
    let wide = Bytes::start(0, 1).u64(1 << 50).raw(b"k");
    check(&wide.data(64), 24, "bytes of text");
}

#[test]
fn lying_alignment() {
    let aligned = |value: u32| {
        Bytes::start(0, 1)
            .text("general.alignment")
            .u32(4)
            .u32(value)
    };
    for value in [0, 3, 48, 1 << 31] {
        check(&aligned(value), 57, "expected a power of two");
    }
    assert_eq!(parse(&aligned(64).0).unwrap().alignment, 64);
    let text = Bytes::start(0, 1)
        .text("general.alignment")
        .u32(8)
        .text("32");
    check(&text, 63, "expected a power of two");
}

#[test]
fn lying_tensors() {
    let one = |dimensions: &[u64], kind: u32, offset: u64| {
        Bytes::start(1, 0)
            .tensor("t", dimensions, kind, offset)
            .data(128)
    };
    check(&one(&[1; 5], 0, 0), 24, "5 dimensions");
    check(&one(&[0], 0, 0), 24, "dimension of 0");
    check(&one(&[8], 4, 0), 24, "unknown type 4");
    check(&one(&[33], 8, 0), 24, "impossible shape");
    check(&one(&[1 << 62, 1 << 62], 0, 0), 24, "impossible shape");
    check(&one(&[1 << 61], 0, 0), 24, "past the end");
    check(&one(&[33], 0, 0), 24, "past the end");
    check(&one(&[1], 0, 128), 24, "past the end");
    check(&one(&[1], 0, u64::MAX - 31), 24, "past the end");
    check(&one(&[1], 0, 16), 24, "multiple of 32");
    parse(&one(&[32], 0, 0).0).unwrap();
    let two = |first: &str, second: &str, at: u64| {
        let bytes = Bytes::start(2, 0).tensor(first, &[16], 0, 0);
        bytes.tensor(second, &[1], 0, at).data(128)
    };
    check(&two("a", "a", 64), 57, "`a` appears twice");
    check(&two("a", "b", 32), 57, "`a` and `b` overlap");
    parse(&two("a", "b", 64).0).unwrap();
}

#[test]
fn an_opened_file_reports_its_path_and_the_offset() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("bad.gguf");
    std::fs::write(&path, &VALUES[..100]).unwrap();
    let error = Gguf::open(&path).err().unwrap();
    let text = error.to_string();
    assert!(
        text.contains("bad.gguf` is not a valid GGUF file"),
        "{text}"
    );
    assert!(text.contains("(at byte "), "{text}");
    assert!(error.hint().unwrap().contains("cut short"));
    std::fs::write(&path, b"").unwrap();
    assert!(matches!(
        Gguf::open(&path),
        Err(WeightsError::Malformed { .. })
    ));
    assert!(matches!(
        Gguf::open(directory.path()),
        Err(WeightsError::NotAModel { .. })
    ));
    let missing = directory.path().join("none");
    assert!(matches!(Gguf::open(&missing), Err(WeightsError::Io { .. })));
}

#[test]
fn an_opened_file_decodes_its_tensors() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.gguf");
    std::fs::write(&path, VALUES).unwrap();
    let file = Gguf::open(&path).unwrap();
    assert_eq!(
        file.tensor_f32("vector").unwrap(),
        [0.0, 1.0, 2.0, 3.0, 4.0]
    );
    assert_eq!(
        file.tensor_f32("matrix").unwrap(),
        [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]
    );
    let error = file.tensor_f32("none").unwrap_err();
    assert!(error.to_string().contains("`none` is missing"), "{error}");
    let tensor = Tensor {
        name: "q".into(),
        shape: vec![32],
        tensor_type: TensorType::IQ4_NL,
        bytes: vec![0; 18].into(),
    };
    write(&path, &BTreeMap::new(), &[tensor]).unwrap();
    let error = Gguf::open(&path).unwrap().tensor_f32("q").unwrap_err();
    assert!(
        error.to_string().contains("`IQ4_NL of q` is not supported"),
        "{error}"
    );
}

#[test]
fn a_tensor_whose_bytes_do_not_fit_is_not_written() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.gguf");
    let tensor = Tensor {
        name: "t".into(),
        shape: vec![2, 3],
        tensor_type: TensorType::F32,
        bytes: vec![0; 20].into(),
    };
    let error = write(&path, &BTreeMap::new(), &[tensor]).unwrap_err();
    assert!(error.to_string().contains("has 20 bytes"), "{error}");
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
}

fn any_array() -> impl Strategy<Value = Array> {
    let leaf = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..4).prop_map(Array::U8),
        prop::collection::vec(any::<i8>(), 0..4).prop_map(Array::I8),
        prop::collection::vec(any::<u16>(), 0..4).prop_map(Array::U16),
        prop::collection::vec(any::<i16>(), 0..4).prop_map(Array::I16),
        prop::collection::vec(any::<u32>(), 0..4).prop_map(Array::U32),
        prop::collection::vec(any::<i32>(), 0..4).prop_map(Array::I32),
        prop::collection::vec(-1e9f32..1e9, 0..4).prop_map(Array::F32),
        prop::collection::vec(any::<bool>(), 0..4).prop_map(Array::Bool),
        prop::collection::vec(".{0,8}", 0..4).prop_map(Array::String),
        prop::collection::vec(any::<u64>(), 0..4).prop_map(Array::U64),
        prop::collection::vec(any::<i64>(), 0..4).prop_map(Array::I64),
        prop::collection::vec(-1e9f64..1e9, 0..4).prop_map(Array::F64),
    ];
    leaf.prop_recursive(2, 8, 3, |inner| {
        prop::collection::vec(inner, 0..3).prop_map(Array::Array)
    })
}

fn any_value() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<u8>().prop_map(Value::U8),
        any::<i8>().prop_map(Value::I8),
        any::<u16>().prop_map(Value::U16),
        any::<i16>().prop_map(Value::I16),
        any::<u32>().prop_map(Value::U32),
        any::<i32>().prop_map(Value::I32),
        (-1e9f32..1e9).prop_map(Value::F32),
        any::<bool>().prop_map(Value::Bool),
        ".{0,12}".prop_map(Value::String),
        any_array().prop_map(Value::Array),
        any::<u64>().prop_map(Value::U64),
        any::<i64>().prop_map(Value::I64),
        (-1e9f64..1e9).prop_map(Value::F64),
    ]
}

proptest! {
    #[test]
    fn what_is_written_reads_back(
        metadata in prop::collection::btree_map("[a-z.]{1,12}", any_value(), 0..8),
        sizes in prop::collection::vec((1usize..5, 1usize..40), 0..5),
    ) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.gguf");
        let tensors: Vec<Tensor<'_>> = sizes
            .iter()
            .enumerate()
            .map(|(index, &(rows, columns))| Tensor {
                name: format!("t{index}"),
                shape: vec![rows, columns],
                tensor_type: TensorType::F32,
                bytes: vec![index as u8 + 1; rows * columns * 4].into(),
            })
            .collect();
        write(&path, &metadata, &tensors).unwrap();
        let file = Gguf::open(&path).unwrap();
        prop_assert_eq!(&file.header().metadata, &metadata);
        for tensor in &tensors {
            let found = file.tensor(&tensor.name).unwrap();
            prop_assert_eq!(&found.shape, &tensor.shape);
            prop_assert_eq!(file.bytes(found), &tensor.bytes[..]);
            prop_assert_eq!(found.range.start % 32, 0);
        }
    }

    #[test]
    fn a_damaged_file_never_panics_and_never_points_outside(
        damage in prop::collection::vec((0..VALUES.len(), any::<u8>()), 1..12),
    ) {
        let mut bytes = VALUES.to_vec();
        for (at, value) in damage {
            bytes[at] = value;
        }
        if let Ok(header) = parse(&bytes) {
            for tensor in header.tensors {
                prop_assert!(tensor.range.end <= bytes.len());
            }
        }
    }

    #[test]
    fn arbitrary_bytes_after_the_magic_never_panic(tail in prop::collection::vec(any::<u8>(), 0..256)) {
        let mut bytes = b"GGUF\x03\0\0\0".to_vec();
        bytes.extend(tail);
        let _ = parse(&bytes);
    }
}
