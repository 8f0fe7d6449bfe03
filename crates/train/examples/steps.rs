//! Measures whole optimiser steps of SFT or DPO on examples from a file; the last line is JSON.
//!
//! `cargo run --release -p foretune-train --example steps -- MODEL EXAMPLES KEEP PASS_ROWS BATCH`
//!
//! EXAMPLES is {"examples": [{"tokens": [..], "prompt_len": n}]} or {"pairs": [{"chosen": {..},
//! "rejected": {..}}]}; every one is seen once, BATCH at a step. A pair counts the tokens of both
//! conversations, and its seconds include the reference's scores.
#![expect(clippy::print_stdout, reason = "a command-line example")]

use model::{Decoder, Encoded, Keeping, Lora};
use serde_json::Value;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::Instant;
use train::dpo::{DpoEvent, DpoSettings, Pair, dpo};
use train::{Event, SftSettings, sft};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [path, examples, keep, rows, batch] = &arguments[..] else {
        return Err("MODEL EXAMPLES KEEP PASS_ROWS BATCH".into());
    };
    let keeping = Keeping::ALL
        .into_iter()
        .find(|keeping| keeping.as_str() == keep)
        .ok_or("KEEP is f32, stored or nf4")?;
    let base = weights::BaseModel::open(Path::new(path))?;
    let decoder = Decoder::load_as(&base, keeping, &mut |_, _| ControlFlow::Continue(()))?;
    let settings = SftSettings {
        batch_size: batch.parse()?,
        micro_batch_tokens: rows.parse()?,
        validate_every: 0,
        max_examples: 0,
        ..SftSettings::default()
    };
    let mut lora = Lora::new(decoder.config(), settings.lora()?, 1)?;
    let file: Value = serde_json::from_str(&std::fs::read_to_string(examples)?)?;
    // Seconds and tokens at the end of each step.
    let mut marks: Vec<(f64, usize)> = Vec::new();
    let began = Instant::now();
    let mut reference = 0.0;
    if let Some(listed) = file["examples"].as_array() {
        let examples: Vec<Encoded> = listed.iter().enumerate().filter_map(encoded).collect();
        sft(
            &decoder,
            &mut lora,
            &examples,
            None,
            &settings,
            None,
            &mut |event| {
                if let Event::Step(step) = event {
                    marks.push((began.elapsed().as_secs_f64(), step.tokens));
                }
                ControlFlow::Continue(())
            },
        )?;
    } else {
        let listed = file["pairs"].as_array().ok_or("no examples and no pairs")?;
        let pairs: Vec<Pair> = listed
            .iter()
            .enumerate()
            .filter_map(|(index, pair)| {
                Some(Pair {
                    id: index.to_string(),
                    chosen: encoded((index, &pair["chosen"]))?,
                    rejected: encoded((index, &pair["rejected"]))?,
                })
            })
            .collect();
        let own = DpoSettings::default();
        dpo(
            &decoder,
            &mut lora,
            &pairs,
            (&settings, &own),
            None,
            &mut |event| {
                match event {
                    DpoEvent::Step(step) => {
                        marks.push((began.elapsed().as_secs_f64(), step.tokens));
                    }
                    DpoEvent::Reference { .. } => reference = began.elapsed().as_secs_f64(),
                }
                ControlFlow::Continue(())
            },
        )?;
    }
    let steps = marks.len();
    let last = marks.last().copied().unwrap_or_default();
    // The first step warms the buffers up; the reference's share is spread over all steps.
    let first = marks.first().copied().unwrap_or_default();
    let tokens = (last.1 - first.1) as f64;
    let seconds = last.0 - first.0 + reference * (steps - 1) as f64 / steps as f64;
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status
        .lines()
        .find(|line| line.starts_with("VmHWM"))
        .and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
    let out = serde_json::json!({
        "steps": steps, "tokens": last.1, "tokens_per_second": tokens / seconds,
        "peak_bytes": peak.map(|kilobytes| kilobytes * 1024),
    });
    println!("{out}");
    Ok(())
}

fn encoded((index, value): (usize, &Value)) -> Option<Encoded> {
    let tokens: Vec<u32> = value["tokens"]
        .as_array()?
        .iter()
        .filter_map(|token| u32::try_from(token.as_u64()?).ok())
        .collect();
    let prompt_len = usize::try_from(value["prompt_len"].as_u64()?).ok()?;
    Some(Encoded {
        id: index.to_string(),
        supervised: (0..tokens.len()).map(|i| i >= prompt_len).collect(),
        tokens,
        prompt_len,
    })
}
