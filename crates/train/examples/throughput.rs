//! Measures the training step: tokens per second and peak memory on synthetic rows.
//!
//! `cargo run --release -p foretune-train --example throughput -- MODEL [ROWS [SEQUENCES [STEPS [SUPERVISED [KEEP [PASS [RECOMPUTE [RANK]]]]]]]]`
//!
//! KEEP is how the base is kept (f32, stored, nf4), PASS the rows of a forward pass at most (the
//! step's gradients are added up over its passes), RECOMPUTE 1 to compute layers again, RANK the adapter's.
#![expect(clippy::print_stdout, reason = "a command-line example")]

use model::batch::Batch;
use model::{Adapted, Decoder, Keeping, Lora, Target};
use std::ops::ControlFlow;
use std::path::Path;
use std::time::Instant;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |i: usize, default: usize| {
        arguments
            .get(i)
            .and_then(|x| x.parse().ok())
            .unwrap_or(default)
    };
    let path = arguments
        .first()
        .ok_or("name a model: a GGUF file or a directory")?;
    let (rows, sequences, steps) = (number(1, 256), number(2, 4), number(3, 5));
    let supervised = number(4, rows / 6).clamp(1, rows - 1);
    let base = weights::BaseModel::open(Path::new(path))?;
    let began = Instant::now();
    let name = arguments.get(5).map_or("f32", String::as_str);
    let keeping = Keeping::ALL
        .into_iter()
        .find(|keeping| keeping.as_str() == name)
        .ok_or("KEEP is f32, stored or nf4")?;
    let mut decoder = Decoder::load_as(&base, keeping, &mut |_, _| ControlFlow::Continue(()))?;
    decoder.recompute(number(7, 0) == 1);
    let per_pass = (number(6, rows * sequences) / rows).clamp(1, sequences);
    println!(
        "loaded {} parameters in {:.2} s",
        decoder.parameters(),
        began.elapsed().as_secs_f64()
    );
    let mut settings = train::SftSettings::default();
    settings.rank = number(8, settings.rank);
    let lora = Lora::new(decoder.config(), settings.lora()?, 1)?;
    let vocabulary = decoder.config().vocab_size;
    let mut passes = Vec::new();
    for first in (0..sequences).step_by(per_pass) {
        let (mut batch, mut targets) = (Batch::default(), Vec::new());
        for sequence in first..(first + per_pass).min(sequences) {
            let start = batch.len();
            let tokens: Vec<u32> = (0..rows)
                .map(|i| ((i * 7919 + sequence * 104_729) % vocabulary) as u32)
                .collect();
            batch.push(&tokens, 0, Vec::new(), sequence as u64);
            targets.extend((rows - 1 - supervised..rows - 1).map(|i| Target {
                row: start + i,
                token: tokens[i + 1],
                weight: 1e-3,
            }));
        }
        passes.push((batch, targets));
    }
    let adapted = Adapted {
        lora: &lora,
        dropout_seed: Some(3),
    };
    let mut gradients = lora.zeros_like();
    for step in 0..steps {
        let began = Instant::now();
        for (batch, targets) in &passes {
            decoder.loss_and_gradients(adapted, batch, targets, &mut gradients)?;
        }
        let seconds = began.elapsed().as_secs_f64();
        println!(
            "step {step}: {:.0} tokens/s, {seconds:.3} s",
            (rows * sequences) as f64 / seconds
        );
    }
    if let Ok(status) = std::fs::read_to_string("/proc/self/status")
        && let Some(line) = status.lines().find(|line| line.starts_with("VmHWM"))
    {
        println!("{line}");
    }
    Ok(())
}
