//! Several arms in one pass against each arm alone: the same numbers, and nothing of one arm in
//! another.
#![expect(
    clippy::unwrap_used,
    reason = "in a test a failed step is a failed test"
)]

mod tiny;

use model::score::{self, DecisionTokens};
use model::{Arms, Decoder, Lora, LoraSettings, Projection, Tokenizer};
use tiny::SHARING_TOLERANCE;

/// An adapter that changes what the model says; `rank` and targets vary from arm to arm.
fn adapter(decoder: &Decoder, rank: usize, targets: &[Projection], seed: u64) -> Lora {
    let settings = LoraSettings {
        rank,
        alpha: 3.0 * rank as f64,
        rslora: rank > 2,
        dropout: 0.0,
        targets: targets.to_vec(),
    };
    let mut lora = Lora::new(decoder.config(), settings, seed).unwrap();
    let mut state = seed;
    for slice in lora.slices_mut() {
        for value in slice {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1);
            *value += ((state >> 40) as f32 / 8_388_608.0 - 1.0) * 0.2;
        }
    }
    lora
}

fn labels(tokenizer: &Tokenizer) -> DecisionTokens {
    let answers: Vec<Vec<u32>> = ["BUY", "SELL", "HOLD"]
        .map(|word| tokenizer.encode(&format!("DECISION: {word} -")).unwrap())
        .to_vec();
    DecisionTokens::derive(&answers).unwrap()
}

fn furthest(a: &[Vec<f64>], b: &[Vec<f64>]) -> f64 {
    let pairs = a.iter().flatten().zip(b.iter().flatten());
    pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
}

#[test]
fn arms_together_say_what_each_says_alone() {
    let (decoder, tokenizer) = (tiny::decoder(), tiny::tokenizer());
    let (prompts, tokens) = (tiny::prompts(&tokenizer), labels(&tokenizer));
    let loras = [
        None,
        Some(adapter(
            &decoder,
            2,
            &[Projection::Query, Projection::Value],
            7,
        )),
        Some(adapter(&decoder, 4, &Projection::ALL, 11)),
    ];
    let alone: Vec<Vec<Vec<f64>>> = loras
        .iter()
        .map(|lora| {
            let lora = lora.as_ref();
            score::decisions(&decoder, lora, &prompts, &tokens, &mut tiny::quiet).unwrap()
        })
        .collect();
    assert!(furthest(&alone[0], &alone[1]) > 0.01);
    assert!(furthest(&alone[1], &alone[2]) > 0.01);
    // With what nearly all prompts begin with kept, with nothing kept, and with a prefix no
    // prompt has.
    let shared = tokenizer.encode("<|im_start|>user\nYou judge").unwrap();
    let other = tokenizer.encode("Something else").unwrap();
    for prefix in [shared, Vec::new(), other] {
        let mut arms = Arms::new(loras.to_vec(), tokens.clone(), prefix);
        let together = arms.score(&decoder, &prompts).unwrap();
        for (arm, (together, alone)) in together.iter().zip(&alone).enumerate() {
            let distance = furthest(together, alone);
            assert!(distance < SHARING_TOLERANCE, "arm {arm}: {distance}");
        }
        // What was asked before leaves no trace.
        let one = arms.score(&decoder, &prompts[..1]).unwrap();
        arms.score(&decoder, &prompts[5..9]).unwrap();
        assert_eq!(arms.score(&decoder, &prompts[..1]).unwrap(), one);
    }
}

#[test]
fn an_arm_answers_alike_before_and_after_another() {
    let (decoder, tokenizer) = (tiny::decoder(), tiny::tokenizer());
    let (prompts, tokens) = (tiny::prompts(&tokenizer), labels(&tokenizer));
    let a = Some(adapter(&decoder, 2, &[Projection::Query], 3));
    let b = Some(adapter(&decoder, 2, &Projection::ALL, 5));
    let prefix = tokenizer.encode("<|im_start|>user\nYou").unwrap();
    let mut arms = Arms::new(vec![a.clone(), b, a], tokens, prefix);
    let scores = arms.score(&decoder, &prompts[..6]).unwrap();
    let (first, second, third) = (&scores[0], &scores[1], &scores[2]);
    assert!(furthest(first, third) < SHARING_TOLERANCE);
    assert!(furthest(first, second) > 0.01);
}
