//! Products of few rows with weights in every stored form equal those with the decoded values bit
//! for bit, whose own equality with the PyPI package `gguf` is tested in `weights`.

use kernels::matmul::{Mat, MatMut, Precision, Write, matmul_weight};
use kernels::operand::{Form, Side, Weight};
use std::ops::Range;
use weights::gguf::{TensorType, dequantise};

const FORMS: [(TensorType, Form); 9] = [
    (TensorType::F32, Form::F32),
    (TensorType::F16, Form::F16),
    (TensorType::BF16, Form::Bf16),
    (TensorType::Q4_0, Form::Q4_0),
    (TensorType::Q4_1, Form::Q4_1),
    (TensorType::Q8_0, Form::Q8_0),
    (TensorType::Q4_K, Form::Q4_K),
    (TensorType::Q5_K, Form::Q5_K),
    (TensorType::Q6_K, Form::Q6_K),
];

/// A weight as a file stores it, or its values when `form` is missing.
struct Kept {
    form: Option<Form>,
    bytes: Vec<u8>,
    values: Vec<f32>,
    cols: usize,
}

impl Weight for Kept {
    fn rows(&self) -> usize {
        self.values.len() / self.cols
    }

    fn cols(&self) -> usize {
        self.cols
    }

    fn decode(&self, row: usize, cols: Range<usize>, out: &mut [f32]) {
        out.copy_from_slice(&self.values[row * self.cols..][cols]);
    }

    fn block(&self) -> usize {
        1
    }

    fn dense(&self) -> Option<&[f32]> {
        self.form.is_none().then_some(&self.values)
    }

    fn stored(&self, row: usize) -> Option<(Form, &[u8])> {
        let width = self.bytes.len() / self.rows();
        Some((self.form?, &self.bytes[row * width..][..width]))
    }
}

/// Random bytes of `rows` x `cols` values, all of them finite.
fn finite_bytes(tensor_type: TensorType, rows: usize, cols: usize) -> (Vec<u8>, Vec<f32>) {
    let (per_block, size) = tensor_type.block();
    let mut state = 7u64;
    let mut bytes = Vec::new();
    let mut values = Vec::new();
    while values.len() < rows * cols {
        let block: Vec<u8> = (0..size)
            .map(|_| {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                (state >> 56) as u8
            })
            .collect();
        let mut decoded = vec![0.0; per_block];
        assert!(dequantise(tensor_type, &block, &mut decoded));
        // Sums of products must stay finite too.
        if decoded.iter().all(|x| x.abs() < 1e9) {
            bytes.extend(block);
            values.extend(decoded);
        }
    }
    (bytes, values)
}

fn product(weight: &Kept, a: &[f32]) -> Vec<f32> {
    let m = a.len() / weight.cols;
    let mut c = vec![0.0; m * weight.rows()];
    matmul_weight(
        &mut MatMut::dense(&mut c, m, weight.rows()),
        Write::Set,
        Mat::dense(a, m, weight.cols),
        (weight, Side::Transposed),
        None,
        Precision::F32,
    );
    c
}

#[test]
fn a_stored_form_gives_the_bits_of_its_values() {
    for (tensor_type, form) in FORMS {
        let per_block = tensor_type.block().0;
        // Types without blocks may have any number of columns.
        let widths: &[usize] = match per_block {
            1 => &[1, 31, 100],
            32 => &[32, 96, 320],
            _ => &[256, 768],
        };
        for &cols in widths {
            let rows = 13;
            let (bytes, values) = finite_bytes(tensor_type, rows, cols);
            let [kept, plain] = [Some(form), None].map(|form| Kept {
                form,
                bytes: bytes.clone(),
                values: values.clone(),
                cols,
            });
            for m in [1, 2, 5, 9, 16] {
                let a: Vec<f32> = (0..m * cols)
                    .map(|i| (i * 7919 % 1009) as f32 / 504.5 - 1.0)
                    .collect();
                let (fast, slow) = (product(&kept, &a), product(&plain, &a));
                assert!(slow.iter().all(|x| x.is_finite()) && slow.iter().any(|x| *x != 0.0));
                assert_eq!(fast, slow, "{tensor_type}, {m} rows of {cols}");
            }
        }
    }
}
