//! The engine against transformers and PEFT: logits, loss, gradients and AdamW steps.
//!
//! The fixtures are made by `python/reference/engine.py`: two tiny random Llamas (tied and untied
//! output head, grouped-query attention), computed in float64 and rounded once.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use model::batch::Batch;
use model::{Adapted, Decoder, Lora, Projection, Target};
use safetensors::SafeTensors;
use serde_json::Value;
use std::ops::ControlFlow;
use std::path::PathBuf;
use train::adamw::{AdamW, adamw_update, sum_of_squares};
use weights::BaseModel;

/// f32 transformers itself differs from the float64 reference by 4e-6 of the largest logit.
const LOGIT_TOLERANCE: f32 = 1e-4;
/// Relative to the largest element of a tensor; f32 PEFT itself differs by 1.1e-5.
const GRADIENT_TOLERANCE: f32 = 1e-3;
/// Relative to the largest element; f32 PEFT itself differs by 2e-5 after three steps.
const PARAMETER_TOLERANCE: f32 = 1e-3;
/// Absolute, in nats.
const LOSS_TOLERANCE: f64 = 1e-4;

struct Fixture {
    name: &'static str,
    decoder: Decoder,
    scalars: Value,
    bytes: Vec<u8>,
    sequences: Vec<(Vec<u32>, Vec<bool>)>,
}

fn directory(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/engine")
        .join(name)
}

fn open(name: &'static str) -> Fixture {
    let directory = directory(name);
    let base = BaseModel::open(&directory).unwrap();
    let decoder = Decoder::load(&base, &mut |_, _| ControlFlow::Continue(())).unwrap();
    let text = std::fs::read_to_string(directory.join("reference.json")).unwrap();
    let scalars: Value = serde_json::from_str(&text).unwrap();
    let bytes = std::fs::read(directory.join("reference.safetensors")).unwrap();
    let sequences = scalars["sequences"]
        .as_array()
        .unwrap()
        .iter()
        .map(|s| {
            let ids = |key: &str| s[key].as_array().unwrap().clone();
            (
                ids("tokens")
                    .iter()
                    .map(|t| t.as_u64().unwrap() as u32)
                    .collect(),
                ids("supervised")
                    .iter()
                    .map(|t| t.as_bool().unwrap_or(t.as_u64() == Some(1)))
                    .collect(),
            )
        })
        .collect();
    Fixture {
        name,
        decoder,
        scalars,
        bytes,
        sequences,
    }
}

impl Fixture {
    fn tensor(&self, name: &str) -> Vec<f32> {
        let tensors = SafeTensors::deserialize(&self.bytes).unwrap();
        let view = tensors
            .tensor(name)
            .unwrap_or_else(|_| panic!("no `{name}` in the fixture"));
        view.data()
            .chunks_exact(4)
            .map(|b| f32::from_le_bytes(b.try_into().unwrap()))
            .collect()
    }

    fn adapter(&self, which: &str) -> Lora {
        let (tensors, _) =
            weights::peft::read(&directory(self.name).join(format!("adapter_{which}"))).unwrap();
        Lora::from_tensors(self.decoder.config(), &tensors).unwrap()
    }

    /// Both sequences in one batch, with the mean over all supervised tokens as the loss.
    fn batch(&self) -> (Batch, Vec<Target>) {
        let mut batch = Batch::default();
        let mut targets = Vec::new();
        let count: usize = self
            .sequences
            .iter()
            .map(|(_, on)| on.iter().filter(|x| **x).count())
            .sum();
        for (tokens, supervised) in &self.sequences {
            let start = batch.len();
            batch.push(tokens, 0, Vec::new(), 0);
            for i in 1..tokens.len() {
                if supervised[i] {
                    targets.push(Target {
                        row: start + i - 1,
                        token: tokens[i],
                        weight: 1.0 / count as f32,
                    });
                }
            }
        }
        (batch, targets)
    }

    fn loss_and_gradients(&self, lora: &Lora) -> (f64, Lora) {
        let (batch, targets) = self.batch();
        let mut gradients = lora.zeros_like();
        let losses = self
            .decoder
            .loss_and_gradients(Adapted::plain(lora), &batch, &targets, &mut gradients)
            .unwrap();
        let mean = losses.iter().map(|l| f64::from(*l)).sum::<f64>() / losses.len() as f64;
        (mean, gradients)
    }
}

fn assert_close(what: &str, ours: &[f32], reference: &[f32], tolerance: f32) {
    assert_eq!(ours.len(), reference.len(), "{what}");
    let largest = reference.iter().fold(0.0f32, |m, x| m.max(x.abs()));
    let worst = ours
        .iter()
        .zip(reference)
        .fold(0.0f32, |m, (a, b)| m.max((a - b).abs()));
    assert!(
        worst <= tolerance * largest,
        "{what}: off by {worst}, largest {largest}"
    );
}

fn assert_pairs(fixture: &Fixture, prefix: &str, lora: &Lora, tolerance: f32) {
    let mut compared = 0;
    for layer in 0..fixture.decoder.config().num_layers {
        for projection in Projection::ALL {
            if let Some(pair) = lora.pair(layer, projection) {
                for (factor, values) in [("lora_A", &pair.a), ("lora_B", &pair.b)] {
                    let name = format!("{prefix}.{}.{factor}", projection.module(layer));
                    assert_close(&name, values, &fixture.tensor(&name), tolerance);
                    compared += 1;
                }
            }
        }
    }
    assert!(compared >= 8);
}

#[test]
fn logits_equal_transformers() {
    for name in ["tied", "untied"] {
        let fixture = open(name);
        let v = fixture.decoder.config().vocab_size;
        let (batch, _) = fixture.batch();
        let rows: Vec<usize> = (0..batch.len()).collect();
        for which in ["base", "qv", "all"] {
            let lora = (which != "base").then(|| fixture.adapter(which));
            let logits = fixture
                .decoder
                .logits(lora.as_ref(), &batch, &rows)
                .unwrap();
            let mut first = 0;
            for (index, (tokens, _)) in fixture.sequences.iter().enumerate() {
                let ours = &logits[first * v..(first + tokens.len()) * v];
                let key = format!("{which}.logits.{index}");
                let worst = ours
                    .iter()
                    .zip(fixture.tensor(&key))
                    .fold(0.0f32, |m, (a, b)| m.max((a - b).abs()));
                assert!(worst <= LOGIT_TOLERANCE, "{name} {key}: off by {worst}");
                first += tokens.len();
            }
        }
    }
}

#[test]
fn gradients_and_adamw_steps_equal_peft() {
    for name in ["tied", "untied"] {
        let fixture = open(name);
        for which in ["qv", "all"] {
            for clipped in [false, true] {
                let start = fixture.adapter(which);
                let optimizer = &fixture.scalars["optimizer"];
                let number = |key: &str| optimizer[key].as_f64().unwrap();
                let rule = AdamW {
                    learning_rate: number("learning_rate"),
                    beta1: number("beta1"),
                    beta2: number("beta2"),
                    eps: number("epsilon"),
                    weight_decay: number("weight_decay"),
                };
                let key = if clipped { "clipped" } else { "plain" };
                let expected = &fixture.scalars["adapters"][which][key];
                let mut lora = start.clone();
                let (mut m, mut v) = (lora.zeros_like(), lora.zeros_like());
                for step in 0..3 {
                    let (loss, mut gradients) = fixture.loss_and_gradients(&lora);
                    let reference = expected["losses"][step].as_f64().unwrap();
                    assert!(
                        (loss - reference).abs() < LOSS_TOLERANCE,
                        "{loss} {reference}"
                    );
                    let norm = gradients
                        .slices()
                        .iter()
                        .map(|g| sum_of_squares(g))
                        .sum::<f64>()
                        .sqrt();
                    let reference = expected["gradient_norms"][step].as_f64().unwrap();
                    assert!((norm / reference - 1.0).abs() < 1e-3, "{norm} {reference}");
                    if step == 0 && !clipped {
                        assert_pairs(
                            &fixture,
                            &format!("{which}.grad"),
                            &gradients,
                            GRADIENT_TOLERANCE,
                        );
                    }
                    if clipped {
                        let limit = fixture.scalars["max_norm"].as_f64().unwrap();
                        let scale = (limit / (norm + 1e-6)).min(1.0) as f32;
                        for slice in gradients.slices_mut() {
                            for x in slice {
                                *x *= scale;
                            }
                        }
                    }
                    let moments = m.slices_mut().into_iter().zip(v.slices_mut());
                    for ((p, g), (m, v)) in lora
                        .slices_mut()
                        .into_iter()
                        .zip(gradients.slices())
                        .zip(moments)
                    {
                        adamw_update(rule, step as u64 + 1, p, g, m, v);
                    }
                }
                let prefix = if clipped {
                    format!("{which}.clipped.step3")
                } else {
                    format!("{which}.step3")
                };
                assert_pairs(&fixture, &prefix, &lora, PARAMETER_TOLERANCE);
            }
        }
    }
}

#[test]
fn a_shared_prefix_changes_nothing() {
    let fixture = open("tied");
    let lora = fixture.adapter("all");
    let stem: Vec<u32> = vec![3, 17, 9, 40, 5, 22];
    let sequences: Vec<Vec<u32>> = vec![
        [&stem[..], &[8, 1, 30]].concat(),
        [&stem[..], &[8, 2]].concat(),
        [&stem[..], &[11, 6, 7, 50]].concat(),
    ];
    let views: Vec<&[u32]> = sequences.iter().map(Vec::as_slice).collect();
    let run = |limits: &[usize]| {
        let (batch, places) = Batch::with_shared_prefix(&views, limits, &[0; 3]);
        let targets: Vec<Target> = sequences
            .iter()
            .zip(&places)
            .flat_map(|(s, place)| {
                (6..s.len()).map(|i| Target {
                    row: place.row(i - 1),
                    token: s[i],
                    weight: 0.1,
                })
            })
            .collect();
        let mut gradients = lora.zeros_like();
        let losses = fixture
            .decoder
            .loss_and_gradients(Adapted::plain(&lora), &batch, &targets, &mut gradients)
            .unwrap();
        (batch.len(), losses, gradients)
    };
    let (rows_shared, losses_shared, shared) = run(&[5, 5, 5]);
    let (rows_apart, losses_apart, apart) = run(&[0, 0, 0]);
    assert!(rows_shared < rows_apart);
    assert_close("losses", &losses_shared, &losses_apart, 1e-5);
    for (a, b) in shared.slices().iter().zip(apart.slices()) {
        assert_close("gradients", a, b, 1e-4);
    }
}

#[test]
fn greedy_generation_equals_full_recomputation() {
    let fixture = open("untied");
    let lora = fixture.adapter("qv");
    let prompts = vec![vec![3, 9, 4, 1], vec![3, 9, 7], vec![60, 2, 2, 2, 8]];
    let answers = model::generate::greedy(
        &fixture.decoder,
        Some(&lora),
        &prompts,
        6,
        &[],
        3,
        &mut |_, _| ControlFlow::Continue(()),
    )
    .unwrap();
    for (prompt, answer) in prompts.iter().zip(&answers) {
        let mut tokens = prompt.clone();
        for step in &answer.steps {
            let mut batch = Batch::default();
            batch.push(&tokens, 0, Vec::new(), 0);
            let logits = fixture
                .decoder
                .logits(Some(&lora), &batch, &[tokens.len() - 1])
                .unwrap();
            let best = stats::argmax(&logits.iter().map(|x| f64::from(*x)).collect::<Vec<_>>());
            assert_eq!(step.token as usize, best);
            tokens.push(step.token);
        }
        assert_eq!(answer.steps.len(), 6);
    }
}

#[test]
fn decision_scores_equal_full_recomputation() {
    let fixture = open("tied");
    let tokens = model::score::DecisionTokens {
        lead: vec![7],
        labels: vec![vec![1], vec![2, 9], vec![2, 4, 4]],
    };
    let prompts = vec![vec![3, 9, 4, 1], vec![3, 9, 7]];
    let scores = model::score::decisions(&fixture.decoder, None, &prompts, &tokens, &mut |_, _| {
        ControlFlow::Continue(())
    })
    .unwrap();
    for (prompt, scores) in prompts.iter().zip(&scores) {
        for (label, score) in tokens.labels.iter().zip(scores) {
            let whole = [&prompt[..], &tokens.lead[..], &label[..]].concat();
            let mut batch = Batch::default();
            batch.push(&whole[..whole.len() - 1], 0, Vec::new(), 0);
            let targets: Vec<Target> = (whole.len() - label.len()..whole.len())
                .map(|i| Target {
                    row: i - 1,
                    token: whole[i],
                    weight: 1.0,
                })
                .collect();
            let exact: f32 = fixture
                .decoder
                .losses(None, &batch, &targets)
                .unwrap()
                .iter()
                .sum();
            assert!((score + f64::from(exact)).abs() < 1e-4);
        }
    }
}
