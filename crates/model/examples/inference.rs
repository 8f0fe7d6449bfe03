//! Measures prefill, decoding token by token, and decision scoring; the last line is JSON.
//!
//! `cargo run --release -p foretune-model --example inference -- MODEL KEEP PREFILL DECODE [PROMPTS]`
//!
//! KEEP is how the base is kept (f32, stored, nf4), PREFILL the tokens of a prompt, DECODE the
//! tokens generated after it; PROMPTS is a JSON file {"prompts": [[ids]], "labels": [[ids]]} whose
//! prompts are scored together.
#![expect(clippy::print_stdout, reason = "a command-line example")]

use model::batch::Batch;
use model::forward::KeyValueCache;
use model::generate::greedy;
use model::score::{DecisionTokens, decisions};
use model::{Decoder, Keeping};
use std::ops::ControlFlow;
use std::path::Path;
use std::time::Instant;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [path, keep, prefill, decode, rest @ ..] = &arguments[..] else {
        return Err("MODEL KEEP PREFILL DECODE [PROMPTS]".into());
    };
    let (prefill, decode): (usize, usize) = (prefill.parse()?, decode.parse()?);
    let keeping = Keeping::ALL
        .into_iter()
        .find(|keeping| keeping.as_str() == keep)
        .ok_or("KEEP is f32, stored or nf4")?;
    let base = weights::BaseModel::open(Path::new(path))?;
    let decoder = Decoder::load_as(&base, keeping, &mut |_, _| ControlFlow::Continue(()))?;
    let vocabulary = decoder.config().vocab_size;
    let prompt: Vec<u32> = (0..prefill)
        .map(|i| ((i * 7919 + 13) % vocabulary) as u32)
        .collect();
    let mut batch = Batch::default();
    batch.push(&prompt, 0, Vec::new(), 0);
    let mut rates = Vec::new();
    for _ in 0..4 {
        let mut cache = KeyValueCache::new(&decoder, prefill);
        let began = Instant::now();
        decoder.logits_cached(None, &batch, &mut cache, &[prefill - 1])?;
        rates.push(prefill as f64 / began.elapsed().as_secs_f64());
    }
    let prefilled = median(&mut rates);
    let mut go_on = |_, _| ControlFlow::Continue(());
    let short = vec![prompt[..prefill.min(16)].to_vec()];
    let mut rates = Vec::new();
    for _ in 0..3 {
        let began = Instant::now();
        greedy(&decoder, None, &short, 1, &[], 1, &mut go_on)?;
        let first = began.elapsed().as_secs_f64();
        let began = Instant::now();
        greedy(&decoder, None, &short, 1 + decode, &[], 1, &mut go_on)?;
        rates.push(decode as f64 / (began.elapsed().as_secs_f64() - first));
    }
    let decoded = median(&mut rates);
    let mut scoring = None;
    if let Some(file) = rest.first() {
        let parsed: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(file)?)?;
        let ids = |key: &str| -> Result<Vec<Vec<u32>>, serde_json::Error> {
            serde_json::from_value(parsed[key].clone())
        };
        let (prompts, labels) = (ids("prompts")?, ids("labels")?);
        let lead = Vec::new();
        let tokens = DecisionTokens { lead, labels };
        let began = Instant::now();
        let scores = decisions(&decoder, None, &prompts, &tokens, &mut go_on)?;
        let seconds = began.elapsed().as_secs_f64();
        let chosen: Vec<usize> = scores
            .iter()
            .map(|of| (0..of.len()).fold(0, |best, i| if of[i] > of[best] { i } else { best }))
            .collect();
        scoring = Some(serde_json::json!({"seconds": seconds, "chosen": chosen}));
    }
    let peak = std::fs::read_to_string("/proc/self/status")
        .ok()
        .and_then(|status| {
            let line = status.lines().find(|line| line.starts_with("VmHWM"))?;
            line.split_whitespace().nth(1)?.parse::<u64>().ok()
        });
    let out = serde_json::json!({
        "prefill": prefilled, "decode": decoded, "scoring": scoring,
        "peak_bytes": peak.map(|kilobytes| kilobytes * 1024),
    });
    println!("{out}");
    Ok(())
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
