//! Every decodable block type against the PyPI package `gguf`, bit for bit
//! (`python/reference/gguf_fixtures.py`).
#![expect(
    clippy::unwrap_used,
    reason = "in a test a failed step is a failed test"
)]

use serde_json::Value as Json;
use weights::gguf::{TensorType, dequantise};

fn bytes(hexadecimal: &Json) -> Vec<u8> {
    let text = hexadecimal.as_str().unwrap();
    let pairs = text.as_bytes().chunks_exact(2);
    pairs
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

#[test]
fn every_type_equals_the_reference_bit_for_bit() {
    let golden: Json = serde_json::from_str(include_str!("fixtures/dequantise.json")).unwrap();
    let mut seen = Vec::new();
    for case in golden["cases"].as_array().unwrap() {
        let name = case["type"].as_str().unwrap();
        let kind = *TensorType::DECODABLE
            .iter()
            .find(|kind| kind.name() == name)
            .unwrap();
        let stored = bytes(&case["stored"]);
        let expected: Vec<u32> = bytes(&case["decoded"])
            .chunks_exact(4)
            .map(|b| u32::from_le_bytes(b.try_into().unwrap()))
            .collect();
        let mut values = vec![f32::NAN; expected.len()];
        assert!(dequantise(kind, &stored, &mut values));
        let found: Vec<u32> = values.iter().map(|v| v.to_bits()).collect();
        assert_eq!(found, expected, "{name}");
        seen.push(kind);
    }
    assert_eq!(seen, TensorType::DECODABLE);
}

#[test]
fn lengths_that_do_not_belong_together_are_refused() {
    let mut values = [7.0; 32];
    assert!(!dequantise(TensorType::Q8_0, &[0; 33], &mut values));
    assert!(!dequantise(TensorType::Q8_0, &[0; 68], &mut values));
    assert!(!dequantise(TensorType::F32, &[0; 124], &mut values));
    // Known, of the right size, but without a decoder.
    assert!(!dequantise(TensorType::IQ4_NL, &[0; 18], &mut values));
    assert_eq!(values, [7.0; 32]);
}

#[test]
fn sizes_count_whole_blocks_and_never_overflow() {
    assert_eq!(TensorType::Q4_1.bytes_of(&[3, 64]), Some(3 * 2 * 20));
    assert_eq!(TensorType::F32.bytes_of(&[]), Some(4));
    assert_eq!(TensorType::Q6_K.bytes_of(&[2, 255]), None);
    assert_eq!(TensorType::F32.bytes_of(&[usize::MAX, 2, 8]), None);
    assert_eq!(TensorType::from_code(4), None);
    for code in 0..64 {
        let known = TensorType::from_code(code);
        assert!(known.is_none_or(|kind| kind.code() == code));
    }
}
