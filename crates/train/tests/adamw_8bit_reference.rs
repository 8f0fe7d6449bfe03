//! 8-bit AdamW against bitsandbytes, step by step (`python/reference/bitsandbytes_adamw.py`).

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use safetensors::SafeTensors;
use serde_json::Value;
use train::Optimizer;
use train::adamw::AdamW;
use train::optimizer::Moments;

/// Absolute, for parameters around 0.1: torch takes its square root from a vector library that is
/// off by one unit in the last place now and then. Moments, which know no root, are exact.
const PARAMETER_TOLERANCE: f32 = 1e-7;
const BYTES: &[u8] = include_bytes!("fixtures/adamw_8bit/reference.safetensors");
const SETTINGS: &str = include_str!("fixtures/adamw_8bit/settings.json");

fn bytes(name: &str) -> Vec<u8> {
    let file = SafeTensors::deserialize(BYTES).unwrap();
    let view = file
        .tensor(name)
        .unwrap_or_else(|_| panic!("no `{name}` in the fixture"));
    view.data().to_vec()
}

fn floats(name: &str) -> Vec<f32> {
    bytes(name)
        .chunks_exact(4)
        .map(|four| f32::from_le_bytes(four.try_into().unwrap()))
        .collect()
}

fn rule(settings: &Value, step: usize) -> AdamW {
    let number = |key: &str| settings["optimizer"][key].as_f64().unwrap();
    AdamW {
        learning_rate: settings["learning_rates"][step - 1].as_f64().unwrap(),
        beta1: number("beta1"),
        beta2: number("beta2"),
        eps: number("epsilon"),
        weight_decay: number("weight_decay"),
    }
}

#[test]
fn parameters_codes_and_scales_equal_bitsandbytes() {
    let settings: Value = serde_json::from_str(SETTINGS).unwrap();
    for name in ["large", "small"] {
        let mut p = floats(&format!("{name}.start"));
        let mut moments = Optimizer::AdamW8bit.moments(p.len());
        for step in 1..=3 {
            let g = floats(&format!("{name}.gradient.{step}"));
            let rule = rule(&settings, step);
            Optimizer::AdamW8bit.update(rule, step as u64, &mut p, &g, &mut moments);
            let expected = floats(&format!("{name}.step.{step}"));
            for (index, (ours, theirs)) in p.iter().zip(&expected).enumerate() {
                let off = (ours - theirs).abs();
                assert!(
                    off <= PARAMETER_TOLERANCE,
                    "{name} {index}, step {step}: {ours} {theirs}"
                );
            }
            match &moments {
                Moments::Blocks { first, second } => {
                    for (moment, ours) in [("first", first), ("second", second)] {
                        let key = |part: &str| format!("{name}.{moment}.{part}.{step}");
                        assert_eq!(ours.codes, bytes(&key("codes")), "{moment}, step {step}");
                        assert_eq!(ours.absmax, floats(&key("absmax")), "{moment}, step {step}");
                    }
                }
                Moments::Full { first, second } => {
                    assert_eq!(*first, floats(&format!("{name}.first.{step}")));
                    assert_eq!(*second, floats(&format!("{name}.second.{step}")));
                }
            }
        }
        assert_eq!(matches!(moments, Moments::Blocks { .. }), name == "large");
    }
}

#[test]
fn only_large_tensors_are_quantised_and_only_if_asked() {
    let blocks =
        |optimizer: Optimizer, len| matches!(optimizer.moments(len), Moments::Blocks { .. });
    assert!(blocks(Optimizer::AdamW8bit, 4096) && !blocks(Optimizer::AdamW8bit, 4095));
    assert!(!blocks(Optimizer::AdamW, 1 << 20));
}
