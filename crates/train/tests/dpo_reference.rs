//! Preference training against TRL: losses, rewards, gradients and three AdamW steps.
//!
//! The fixtures are made by `python/reference/dpo.py` on the tied tiny Llama of the engine's.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use model::{Decoder, Encoded, Lora};
use safetensors::SafeTensors;
use serde_json::Value;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use train::{
    DpoEvent, DpoRecord, DpoSettings, Pair, Reference, RunFiles, Schedule, SftSettings, dpo,
};
use weights::BaseModel;

/// Absolute; TRL's own f32 sums of log-probabilities are good to 1e-5.
const LOSS_TOLERANCE: f64 = 1e-4;
/// Relative to the largest element: Adam divides by the root of the second moment, so that an
/// element with a tiny gradient moves by its sign.
const PARAMETER_TOLERANCE: f32 = 2e-3;

/// Relative; f32 gradients of a dozen tokens.
const NORM_TOLERANCE: f64 = 1e-4;

fn fixtures() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

fn reference() -> Value {
    let text = std::fs::read_to_string(fixtures().join("dpo/reference.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn model() -> (Decoder, Lora) {
    let directory = fixtures().join("engine/tied");
    let base = BaseModel::open(&directory).unwrap();
    let decoder = Decoder::load(&base, &mut |_, _| ControlFlow::Continue(())).unwrap();
    let (tensors, _) = weights::peft::read(&directory.join("adapter_qv")).unwrap();
    let lora = Lora::from_tensors(decoder.config(), &tensors).unwrap();
    (decoder, lora)
}

fn pairs(reference: &Value) -> Vec<Pair> {
    let ids = |value: &Value| -> Vec<u32> {
        let ids = value.as_array().unwrap().iter();
        ids.map(|id| id.as_u64().unwrap() as u32).collect()
    };
    let encoded = |prompt: &[u32], answer: &[u32], id: &str| Encoded {
        id: id.to_owned(),
        tokens: [prompt, answer].concat(),
        supervised: (0..prompt.len() + answer.len())
            .map(|i| i >= prompt.len())
            .collect(),
        prompt_len: prompt.len(),
    };
    let all = reference["pairs"].as_array().unwrap().iter().enumerate();
    all.map(|(index, pair)| {
        let (id, prompt) = (index.to_string(), ids(&pair["prompt"]));
        Pair {
            chosen: encoded(&prompt, &ids(&pair["chosen"]), &id),
            rejected: encoded(&prompt, &ids(&pair["rejected"]), &id),
            id,
        }
    })
    .collect()
}

fn settings(reference: &Value, smoothing: f64) -> (SftSettings, DpoSettings) {
    let number = |key: &str| reference["optimizer"][key].as_f64().unwrap();
    let common = SftSettings {
        warmup_ratio: 0.0,
        schedule: Schedule::Constant,
        batch_size: 3,
        epochs: 3.0,
        dropout: 0.0,
        beta1: number("beta1"),
        beta2: number("beta2"),
        eps: number("epsilon"),
        weight_decay: number("weight_decay"),
        max_gradient_norm: 0.0,
        checkpoint_every: 1,
        ..SftSettings::default()
    };
    let own = DpoSettings {
        beta: reference["beta"].as_f64().unwrap(),
        label_smoothing: smoothing,
        learning_rate: number("learning_rate"),
        reference: Reference::Base,
    };
    (common, own)
}

fn train(files: Option<RunFiles<'_>>, case: &Value, stop_after: usize) -> (Lora, Vec<DpoRecord>) {
    let reference = reference();
    let (decoder, mut lora) = model();
    let (mut common, own) = settings(&reference, case["label_smoothing"].as_f64().unwrap());
    // Two pairs of the three in one pass.
    common.micro_batch_tokens = 20;
    let mut seen = Vec::new();
    let mut events = |event: DpoEvent<'_>| {
        if let DpoEvent::Step(record) = event {
            seen.push(*record);
        }
        if seen.len() == stop_after {
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    };
    let pairs = pairs(&reference);
    let done = dpo(
        &decoder,
        &mut lora,
        &pairs,
        (&common, &own),
        files,
        &mut events,
    );
    assert_eq!(done.is_err(), stop_after < 3);
    (lora, seen)
}

#[test]
fn losses_rewards_and_steps_equal_trl() {
    let reference = reference();
    let bytes = std::fs::read(fixtures().join("dpo/reference.safetensors")).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    for (name, case) in reference["cases"].as_object().unwrap() {
        let (lora, records) = train(None, case, 3);
        for (record, expected) in records.iter().zip(case["steps"].as_array().unwrap()) {
            let equal = |key: &str, found: f64| {
                let wanted = expected[key].as_f64().unwrap();
                assert!(
                    (found - wanted).abs() < LOSS_TOLERANCE,
                    "{name}, step {}, {key}: {found}, TRL {wanted}",
                    record.step
                );
            };
            equal("loss", record.loss);
            equal("reward_chosen", record.reward_chosen);
            equal("reward_rejected", record.reward_rejected);
            equal("reward_margin", record.reward_margin);
            equal("reward_accuracy", record.reward_accuracy);
        }
        let tensor = |key: &str| -> Vec<f32> {
            let view = tensors.tensor(&format!("{name}.{key}")).unwrap();
            let four = view.data().chunks_exact(4);
            four.map(|b| f32::from_le_bytes(b.try_into().unwrap()))
                .collect()
        };
        let (decoder, _) = model();
        let mut squares = 0.0;
        for (module, pair) in lora.to_tensors(decoder.config()).tensors {
            for (factor, found) in [("lora_A", &pair.a), ("lora_B", &pair.b)] {
                let gradient = tensor(&format!("grad.{module}.{factor}"));
                squares += gradient.iter().map(|g| f64::from(*g).powi(2)).sum::<f64>();
                let wanted = tensor(&format!("step3.{module}.{factor}"));
                let largest = wanted.iter().fold(0.0f32, |m, x| m.max(x.abs()));
                for (a, b) in found.iter().zip(&wanted) {
                    let difference = (a - b).abs();
                    assert!(
                        difference <= PARAMETER_TOLERANCE * largest,
                        "{name} {module} {factor}: {a}, TRL {b}"
                    );
                }
            }
        }
        let norm = records[0].gradient_norm;
        assert!(
            (norm / squares.sqrt() - 1.0).abs() < NORM_TOLERANCE,
            "{name}: {norm}"
        );
    }
}

#[test]
fn an_interrupted_run_resumes_to_the_same_weights_and_keeps_the_reference() {
    let reference = reference();
    let case = &reference["cases"]["smoothed"];
    let (whole, _) = train(None, case, 3);
    let folder = tempfile::tempdir().unwrap();
    let files = |resume| RunFiles {
        directory: folder.path(),
        resume,
        base_sha256: "base",
    };
    train(Some(files(false)), case, 1);
    let path: &Path = &folder.path().join(train::REFERENCE_NAME);
    let kept = std::fs::read_to_string(path).unwrap();
    assert_eq!(kept.lines().count(), 4);
    // A torn line is dropped, and what is missing is computed again.
    std::fs::write(path, &kept[..kept.len() - 5]).unwrap();
    let (resumed, steps) = train(Some(files(true)), case, 3 - 1 + 1);
    assert_eq!(steps.first().unwrap().step, 2);
    assert_eq!(std::fs::read_to_string(path).unwrap(), kept);
    assert_eq!(whole, resumed);
}
