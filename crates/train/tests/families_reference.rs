//! Every family and rotary kind against transformers and PEFT: logits, loss and LoRA gradients.
//!
//! The fixtures are made by `python/reference/families.py`: tiny random models with an adapter on
//! every linear.

use model::batch::Batch;
use model::generate::{Options, generate};
use model::{Adapted, Decoder, Lora, Target};
use safetensors::SafeTensors;
use serde_json::Value;
use std::ops::ControlFlow;
use std::path::PathBuf;
use weights::BaseModel;

/// Of the largest logit; both sides compute in f32.
const LOGIT_TOLERANCE: f32 = 1e-4;
/// Of the largest element of a tensor; both sides compute in f32.
const GRADIENT_TOLERANCE: f32 = 1e-3;
/// Absolute, in nats.
const LOSS_TOLERANCE: f64 = 1e-4;

const FAMILIES: [&str; 8] = [
    "mistral",
    "qwen2",
    "qwen3",
    "llama3-rotary",
    "yarn-rotary",
    "linear-rotary",
    "mistral-window",
    "qwen2-window",
];

#[track_caller]
fn near(found: &[f32], wanted: &[f32], tolerance: f32, what: &str) {
    assert_eq!(found.len(), wanted.len(), "{what}");
    let largest = wanted.iter().fold(0.0f32, |m, x| m.max(x.abs()));
    let worst = found
        .iter()
        .zip(wanted)
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, f32::max);
    assert!(
        worst <= tolerance * largest,
        "{what}: off by {worst} where the largest is {largest}"
    );
}

/// Parts of one computation in another order of sums, of the largest logit.
const ORDER_TOLERANCE: f32 = 1e-5;

/// Beyond its window a layer sees nothing, whether keys come from the sequence, a shared beginning
/// or a cache.
#[test]
fn windows_hold_in_shared_beginnings_and_in_the_cache() {
    for family in ["mistral-window", "qwen2-window"] {
        let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
            .join("tests/fixtures/families")
            .join(family);
        let base = BaseModel::open(&directory).unwrap();
        let decoder = Decoder::load(&base, &mut |_, _| ControlFlow::Continue(())).unwrap();
        assert!(decoder.max_positions() > 24, "no limit at the window");
        let tokens: Vec<u32> = (0..24).map(|i| 3 + i * 7 % 77).collect();
        let rows: Vec<usize> = (0..tokens.len()).collect();
        let mut whole = Batch::default();
        whole.push(&tokens, 0, Vec::new(), 0);
        let whole = decoder.logits(None, &whole, &rows).unwrap();
        let mut split = Batch::default();
        split.push(&tokens[..9], 0, Vec::new(), 0);
        split.push(&tokens[9..], 9, vec![0..9], 0);
        let split = decoder.logits(None, &split, &rows).unwrap();
        near(&split, &whole, ORDER_TOLERANCE, family);
        let last = &whole[23 * 80..];
        let options = Options {
            max_new: 1,
            top: 80,
            ..Options::default()
        };
        // A cache filled in two parts: the prompts share 20 tokens and part at the 21st.
        let mut other = tokens.clone();
        other[20] = 3 + (other[20] - 2) % 77;
        let prompts = [tokens, other];
        let found = generate(&decoder, None, &prompts, &options, &mut |_, _| {
            ControlFlow::Continue(())
        })
        .unwrap();
        let mut wanted: Vec<(u32, f32)> = (0..80).zip(last.iter().copied()).collect();
        wanted.sort_by(|a, b| b.1.total_cmp(&a.1));
        let sum = wanted.iter().map(|(_, x)| x.exp()).sum::<f32>().ln();
        let (ids, values): (Vec<u32>, Vec<f32>) = found[0].steps[0].top.iter().copied().unzip();
        assert_eq!(ids, wanted.iter().map(|w| w.0).collect::<Vec<_>>());
        let wanted: Vec<f32> = wanted.iter().map(|w| w.1 - sum).collect();
        near(&values, &wanted, ORDER_TOLERANCE, family);
    }
}

#[test]
fn logits_loss_and_gradients_equal_transformers_and_peft() {
    for family in FAMILIES {
        let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
            .join("tests/fixtures/families")
            .join(family);
        let base = BaseModel::open(&directory).unwrap();
        let decoder = Decoder::load(&base, &mut |_, _| ControlFlow::Continue(())).unwrap();
        let (tensors, _) = weights::peft::read(&directory.join("adapter")).unwrap();
        let lora = Lora::from_tensors(decoder.config(), &tensors).unwrap();
        let text = std::fs::read_to_string(directory.join("reference.json")).unwrap();
        let scalars: Value = serde_json::from_str(&text).unwrap();
        let bytes = std::fs::read(directory.join("reference.safetensors")).unwrap();
        let reference = SafeTensors::deserialize(&bytes).unwrap();
        let tensor = |name: &str| -> Vec<f32> {
            let view = reference.tensor(name).unwrap();
            let four = view.data().chunks_exact(4);
            four.map(|b| f32::from_le_bytes(b.try_into().unwrap()))
                .collect()
        };
        let tokens: Vec<u32> = scalars["tokens"]
            .as_array()
            .unwrap()
            .iter()
            .map(|token| token.as_u64().unwrap() as u32)
            .collect();
        let first = scalars["first"].as_u64().unwrap() as usize;

        let mut batch = Batch::default();
        batch.push(&tokens, 0, Vec::new(), 0);
        let rows: Vec<usize> = (0..tokens.len()).collect();
        let logits = decoder.logits(Some(&lora), &batch, &rows).unwrap();
        near(&logits, &tensor("logits"), LOGIT_TOLERANCE, family);

        let count = tokens.len() - first;
        let targets: Vec<Target> = (first..tokens.len())
            .map(|position| Target {
                row: position - 1,
                token: tokens[position],
                weight: 1.0 / count as f32,
            })
            .collect();
        let mut gradients = lora.zeros_like();
        let adapted = Adapted::plain(&lora);
        let losses = decoder
            .loss_and_gradients(adapted, &batch, &targets, &mut gradients)
            .unwrap();
        let loss = losses.iter().map(|l| f64::from(*l)).sum::<f64>() / count as f64;
        let wanted = scalars["loss"].as_f64().unwrap();
        assert!(
            (loss - wanted).abs() < LOSS_TOLERANCE,
            "{family}: loss {loss}, transformers {wanted}"
        );
        for (module, pair) in gradients.to_tensors(decoder.config()).tensors {
            for (factor, found) in [("lora_A", &pair.a), ("lora_B", &pair.b)] {
                let name = format!("grad.{module}.{factor}");
                let what = format!("{family} {name}");
                near(found, &tensor(&name), GRADIENT_TOLERANCE, &what);
            }
        }
    }
}
