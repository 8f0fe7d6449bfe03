//! Every encoder against ggml itself, byte for byte (`python/reference/quantise_fixtures.py`),
//! and against the decoders by the largest error a level allows.
#![expect(
    clippy::unwrap_used,
    reason = "in a test a failed step is a failed test"
)]

use serde_json::Value as Json;
use sha2::{Digest, Sha256};
use weights::gguf::{TensorType, dequantise, quantise};

fn golden() -> Json {
    serde_json::from_str(include_str!("fixtures/quantise.json")).unwrap()
}

fn bytes(hexadecimal: &Json) -> Vec<u8> {
    let pairs = hexadecimal.as_str().unwrap().as_bytes().chunks_exact(2);
    pairs
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

fn floats(hexadecimal: &Json) -> Vec<f32> {
    let bytes = bytes(hexadecimal);
    let chunks = bytes.chunks_exact(4);
    chunks
        .map(|b| f32::from_le_bytes(b.try_into().unwrap()))
        .collect()
}

/// The value the generator gives for an index.
fn value(index: u64) -> f32 {
    let mut z = (index + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^= z >> 31;
    let quarters: u64 = (0..4).map(|part| z >> (16 * part) & 0xFFFF).sum();
    let centred = quarters.cast_signed() - 2 * 0xFFFF;
    let shift = index / 32 % 7;
    (centred as f64 * 2f64.powi(-20 - shift as i32)) as f32
}

fn encoded(kind: TensorType, values: &[f32]) -> Vec<u8> {
    let mut out = vec![0; kind.bytes_of(&[values.len()]).unwrap()];
    assert!(quantise(kind, values, &mut out));
    out
}

#[test]
fn every_type_equals_ggml_byte_for_byte() {
    let golden = golden();
    let edges = floats(&golden["edges"]);
    let count = golden["count"].as_u64().unwrap();
    let bulk: Vec<f32> = (0..count).map(value).collect();
    let mut seen = Vec::new();
    for case in golden["cases"].as_array().unwrap() {
        let name = case["type"].as_str().unwrap();
        let kind = *TensorType::ENCODABLE
            .iter()
            .find(|kind| kind.name() == name)
            .unwrap();
        let (expected, found) = (bytes(&case["blocks"]), encoded(kind, &edges));
        let size = kind.bytes_of(&[256]).unwrap();
        for (at, (expected, found)) in expected.chunks(size).zip(found.chunks(size)).enumerate() {
            assert_eq!(found, expected, "{name}, block {at} of the edges");
        }
        let digest = Sha256::digest(encoded(kind, &bulk));
        assert_eq!(digest.to_vec(), bytes(&case["bulk_sha256"]), "{name}");
        seen.push(kind);
    }
    assert_eq!(seen, TensorType::ENCODABLE);
}

/// Root of the mean squared error of bell-shaped values, as a share of their own root mean
/// square, at most: measured 0.0045 for Q8_0 to 0.077 for Q4_0, with a tenth to spare.
#[test]
fn what_is_decoded_again_is_near() {
    for (kind, most) in [
        (TensorType::F32, 0.0),
        (TensorType::F16, 3e-4),
        (TensorType::BF16, 2e-3),
        (TensorType::Q8_0, 0.006),
        (TensorType::Q6_K, 0.02),
        (TensorType::Q5_K, 0.04),
        (TensorType::Q5_1, 0.045),
        (TensorType::Q5_0, 0.05),
        (TensorType::Q4_K, 0.08),
        (TensorType::Q4_1, 0.09),
        (TensorType::Q4_0, 0.1),
    ] {
        let values: Vec<f32> = (0..1 << 16).map(value).collect();
        let mut decoded = vec![0.0; values.len()];
        assert!(dequantise(kind, &encoded(kind, &values), &mut decoded));
        let square = |pairs: &mut dyn Iterator<Item = f32>| -> f64 {
            pairs.map(|x| f64::from(x) * f64::from(x)).sum::<f64>()
        };
        let error = square(&mut values.iter().zip(&decoded).map(|(a, b)| a - b));
        let share = (error / square(&mut values.iter().copied())).sqrt();
        assert!(share <= most, "{kind}: {share}");
        assert!(share > most / 3.0 || most == 0.0, "{kind}: {share}");
    }
}

#[test]
fn lengths_that_do_not_belong_together_are_refused() {
    let mut out = [7; 34];
    assert!(!quantise(TensorType::Q8_0, &[0.0; 31], &mut out));
    assert!(!quantise(TensorType::Q8_0, &[0.0; 64], &mut out));
    // Known, of the right size, but without an encoder.
    assert!(!quantise(TensorType::IQ4_NL, &[0.0; 32], &mut out[..18]));
    assert_eq!(out, [7; 34]);
}

#[test]
fn values_without_meaning_do_not_panic() {
    let awkward = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1e-42, f32::MAX];
    for kind in TensorType::ENCODABLE {
        for bad in awkward {
            let mut values = vec![0.5; 256];
            values[3] = bad;
            let mut out = vec![0; kind.bytes_of(&[256]).unwrap()];
            assert!(quantise(*kind, &values, &mut out));
        }
    }
}
