//! NF4 equals bitsandbytes bit for bit, and stored matrices decode as whole tensors do.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::path::Path;

use safetensors::SafeTensors;
use weights::{NF4, Nf4Matrix};

/// The mean of the scales is torch's f32 mean there, whose last bits depend on the order in which
/// it adds; ours is exact. One unit in the last place of a number near 1 either way.
const MEAN_TOLERANCE: f32 = 2.4e-7;

fn f32s(file: &SafeTensors<'_>, name: &str) -> Vec<f32> {
    let bytes = file.tensor(name).unwrap().data().to_vec();
    let (four, _) = bytes.as_chunks::<4>();
    four.iter().map(|b| f32::from_le_bytes(*b)).collect()
}

#[test]
fn quantises_and_decodes_as_bitsandbytes_does() {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/nf4/reference.safetensors");
    let bytes = std::fs::read(path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(NF4.to_vec(), f32s(&file, "nf4.code"));
    let mut cases = 0;
    for case in ["plain", "wide", "zeros"] {
        let input = file.tensor(&format!("{case}.input")).unwrap();
        let (rows, cols) = (input.shape()[0], input.shape()[1]);
        let values = f32s(&file, &format!("{case}.input"));
        for double in [false, true] {
            let matrix = Nf4Matrix::quantise(rows, cols, double, |row, out| {
                out.copy_from_slice(&values[row * cols..][..cols]);
                Ok::<(), ()>(())
            })
            .unwrap();
            let packed = file.tensor(&format!("{case}.packed")).unwrap();
            assert_eq!(matrix.codes(), packed.data(), "{case}");
            let key = if double {
                ".double.dequantised"
            } else {
                ".dequantised"
            };
            let expected = f32s(&file, &format!("{case}{key}"));
            let mut row = vec![0.0; cols];
            for r in 0..rows {
                matrix.decode(r, 0..cols, &mut row);
                for (ours, theirs) in row.iter().zip(&expected[r * cols..]) {
                    if double {
                        assert!(
                            (ours - theirs).abs() <= MEAN_TOLERANCE,
                            "{case} {ours} {theirs}"
                        );
                    } else {
                        assert_eq!(ours, theirs, "{case}");
                    }
                }
                matrix.decode(r, 5..cols - 3, &mut row[5..cols - 3]);
            }
            cases += 1;
        }
    }
    assert_eq!(cases, 6);
}
