//! Times the products of SmolLM2-135M's layer, forward and backward, over as many weights as a
//! model has layers, so that they come from memory as in a training step.
//!
//! `cargo run --release -p foretune-kernels --example matmul -- [ROWS]`
#![expect(clippy::print_stdout, reason = "a command-line example")]

use kernels::matmul::{Mat, MatMut, Write, matmul_parallel};
use std::time::Instant;

/// Weights of one shape.
const LAYERS: usize = 30;

fn main() {
    let rows: usize = std::env::args()
        .nth(1)
        .and_then(|x| x.parse().ok())
        .unwrap_or(768);
    println!("{rows} rows; outputs x inputs: GFLOP/s forward, backward to the input");
    for (outputs, inputs) in [
        (576, 576),
        (192, 576),
        (1536, 576),
        (576, 1536),
        (8, 576),
        (576, 8),
    ] {
        let weights: Vec<f32> = vec![0.01; LAYERS * outputs * inputs];
        let x = vec![0.5f32; rows * inputs];
        let dy = vec![0.5f32; rows * outputs];
        let (mut y, mut dx) = (vec![0.0; rows * outputs], vec![0.0; rows * inputs]);
        let weights: Vec<Mat<'_>> = weights
            .chunks_exact(outputs * inputs)
            .map(|weight| Mat::dense(weight, outputs, inputs))
            .collect();
        let forward = rate(rows * outputs * inputs, &weights, |weight| {
            let mut y = MatMut::dense(&mut y, rows, outputs);
            let x = Mat::dense(&x, rows, inputs);
            matmul_parallel(&mut y, Write::Set, 1.0, x, weight.t());
        });
        let backward = rate(rows * outputs * inputs, &weights, |weight| {
            let mut dx = MatMut::dense(&mut dx, rows, inputs);
            let dy = Mat::dense(&dy, rows, outputs);
            matmul_parallel(&mut dx, Write::Set, 1.0, dy, weight);
        });
        println!("{outputs} x {inputs}: {forward:.0}, {backward:.0}");
    }
}

fn rate(pairs: usize, weights: &[Mat<'_>], mut product: impl FnMut(Mat<'_>)) -> f64 {
    let began = Instant::now();
    for weight in weights {
        product(*weight);
    }
    2e-9 * (pairs * weights.len()) as f64 / began.elapsed().as_secs_f64()
}
