//! rsLoRA and LoRA+ against PEFT (`python/reference/peft_variants.py`), on the engine's tied model.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use model::{Decoder, Encoded, Lora};
use safetensors::SafeTensors;
use serde_json::Value;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use train::{Schedule, SftSettings, sft};
use weights::{BaseModel, peft};

/// Absolute, in nats.
const LOSS_TOLERANCE: f64 = 1e-4;
/// Relative to the largest element: Adam divides by the root of the second moment, so that an
/// element with a tiny gradient moves by its sign.
const PARAMETER_TOLERANCE: f32 = 2e-3;

fn fixtures() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

fn json(path: &str) -> Value {
    serde_json::from_str(&std::fs::read_to_string(fixtures().join(path)).unwrap()).unwrap()
}

fn examples() -> Vec<Encoded> {
    let reference = json("engine/tied/reference.json");
    let sequences = reference["sequences"].as_array().unwrap().iter();
    sequences
        .enumerate()
        .map(|(index, sequence)| {
            let values = |key: &str| sequence[key].as_array().unwrap().clone();
            let supervised: Vec<bool> = values("supervised")
                .iter()
                .map(|on| on.as_bool().unwrap())
                .collect();
            Encoded {
                id: index.to_string(),
                tokens: values("tokens")
                    .iter()
                    .map(|token| token.as_u64().unwrap() as u32)
                    .collect(),
                prompt_len: supervised.iter().position(|on| *on).unwrap(),
                supervised,
            }
        })
        .collect()
}

fn decoder() -> Decoder {
    let base = BaseModel::open(&fixtures().join("engine/tied")).unwrap();
    Decoder::load(&base, &mut |_, _| ControlFlow::Continue(())).unwrap()
}

fn adapter(decoder: &Decoder, folder: &Path) -> Lora {
    let (tensors, _) = peft::read(folder).unwrap();
    Lora::from_tensors(decoder.config(), &tensors).unwrap()
}

/// Trains three steps and compares every loss and parameter.
fn check(case: &str, mut lora: Lora, decoder: &Decoder) -> Lora {
    let reference = json("variants/reference.json");
    let number = |key: &str| reference["optimizer"][key].as_f64().unwrap();
    let settings = SftSettings {
        learning_rate: number("learning_rate"),
        beta1: number("beta1"),
        beta2: number("beta2"),
        eps: number("epsilon"),
        weight_decay: number("weight_decay"),
        loraplus_ratio: match case {
            "loraplus" => reference["loraplus_ratio"].as_f64().unwrap(),
            _ => 1.0,
        },
        schedule: Schedule::Constant,
        warmup_ratio: 0.0,
        max_gradient_norm: 0.0,
        dropout: 0.0,
        batch_size: 2,
        epochs: 3.0,
        ..SftSettings::default()
    };
    let summary = sft(
        decoder,
        &mut lora,
        &examples(),
        None,
        &settings,
        None,
        &mut |_| ControlFlow::Continue(()),
    )
    .unwrap();
    for (step, record) in summary.history.iter().enumerate() {
        let expected = reference["losses"][case][step].as_f64().unwrap();
        assert!(
            (record.loss - expected).abs() < LOSS_TOLERANCE,
            "{case}, step {step}: {} {expected}",
            record.loss
        );
    }
    let bytes = std::fs::read(fixtures().join("variants/reference.safetensors")).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    for (module, pair) in lora.to_tensors(decoder.config()).tensors {
        for (factor, ours) in [("lora_A", &pair.a), ("lora_B", &pair.b)] {
            let name = format!("{case}.step3.{module}.{factor}");
            let view = tensors.tensor(&name).unwrap();
            let four = view.data().chunks_exact(4);
            let theirs: Vec<f32> = four
                .map(|b| f32::from_le_bytes(b.try_into().unwrap()))
                .collect();
            assert_eq!(ours.len(), theirs.len());
            let largest = theirs.iter().fold(0.0f32, |most, x| most.max(x.abs()));
            for (a, b) in ours.iter().zip(&theirs) {
                let off = (a - b).abs();
                assert!(off <= PARAMETER_TOLERANCE * largest, "{name}: {a} {b}");
            }
        }
    }
    lora
}

#[test]
fn rslora_equals_peft_and_is_written_as_such() {
    let decoder = decoder();
    let stored = fixtures().join("variants/rslora_adapter");
    let lora = adapter(&decoder, &stored);
    assert!(lora.settings.rslora);
    // alpha 8, rank 4.
    assert_eq!(lora.scale(), 4.0);
    let trained = check("rslora", lora, &decoder);
    let folder = tempfile::tempdir().unwrap();
    let config = peft::PeftConfig {
        base_model_name_or_path: "tied".into(),
    };
    peft::write(
        folder.path(),
        &trained.to_tensors(decoder.config()),
        &config,
    )
    .unwrap();
    let read = |folder: &Path| -> Value {
        let text = std::fs::read_to_string(folder.join("adapter_config.json")).unwrap();
        serde_json::from_str(&text).unwrap()
    };
    let (ours, theirs) = (read(folder.path()), read(&stored));
    for key in [
        "use_rslora",
        "lora_alpha",
        "r",
        "target_modules",
        "peft_type",
        "rank_pattern",
    ] {
        assert_eq!(ours[key], theirs[key], "{key}");
    }
    assert_eq!(adapter(&decoder, folder.path()), trained);
}

#[test]
fn loraplus_equals_peft() {
    let decoder = decoder();
    let lora = adapter(&decoder, &fixtures().join("engine/tied/adapter_qv"));
    check("loraplus", lora, &decoder);
}

#[test]
fn a_fresh_rslora_adapter_says_so() {
    let decoder = decoder();
    let settings = SftSettings {
        rslora: true,
        alpha: 16.0,
        rank: 4,
        ..SftSettings::default()
    };
    let lora = Lora::new(decoder.config(), settings.lora().unwrap(), 1).unwrap();
    assert_eq!(lora.scale(), 8.0);
    let tensors = lora.to_tensors(decoder.config());
    assert!(tensors.rslora && tensors.alpha == 16.0 && tensors.scale() == 8.0);
}
