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

#[test]
fn threads_change_neither_codes_nor_errors() {
    // Rows that are no whole number of blocks, and a last task of few rows.
    let (rows, cols) = (333, 101);
    let run = |threads: usize, bad: &[usize]| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        pool.install(|| {
            Nf4Matrix::quantise(rows, cols, true, |row, out| {
                for (col, x) in out.iter_mut().enumerate() {
                    *x = ((row * cols + col) * 7919 % 1009) as f32 / 504.5 - 1.0;
                }
                if bad.contains(&row) { Err(row) } else { Ok(()) }
            })
        })
    };
    let all = |matrix: &Nf4Matrix| -> Vec<f32> {
        let mut values = vec![0.0; rows * cols];
        for (row, out) in values.chunks_exact_mut(cols).enumerate() {
            matrix.decode(row, 0..cols, out);
        }
        values
    };
    let one = run(1, &[]).unwrap();
    for threads in 2..=4 {
        let many = run(threads, &[]).unwrap();
        assert_eq!(one.codes(), many.codes());
        assert_eq!(all(&one), all(&many));
        assert_eq!(run(threads, &[300, 70, 299]).unwrap_err(), 70);
    }
    // The decoded values are near what was given: half the widest gap of the codes, 0.152.
    for (index, value) in all(&one).into_iter().enumerate() {
        let given = (index * 7919 % 1009) as f32 / 504.5 - 1.0;
        assert!((value - given).abs() < 0.16, "{index}: {value} for {given}");
    }
}
