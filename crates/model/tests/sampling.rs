//! Sampling follows transformers (`python/reference/sampling_fixtures.py`), and answers keep their
//! form.
#![expect(
    clippy::unwrap_used,
    reason = "in a test a failed step is a failed test"
)]

mod tiny;

use std::collections::BTreeMap;
use std::path::Path;

use model::generate::{Generated, Options, generate, greedy};
use model::{Form, ModelError, Sampling};
use serde::Deserialize;
use tiny::{SHARING_TOLERANCE, decoder, prompts, quiet, tokenizer};

/// transformers filters in f32; the probabilities here are f64.
const PROBABILITY_TOLERANCE: f64 = 2e-6;

#[derive(Deserialize)]
struct Reference {
    rows: Vec<Vec<f32>>,
    cases: Vec<Filtered>,
}

#[derive(Deserialize)]
struct Filtered {
    row: usize,
    settings: BTreeMap<String, f64>,
    tokens: Vec<u32>,
    probabilities: Vec<f64>,
}

#[test]
fn filtered_distributions_are_those_of_transformers() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/sampling.json");
    let reference: Reference = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    for case in &reference.cases {
        let get = |name: &str, default: f64| *case.settings.get(name).unwrap_or(&default);
        let sampling = Sampling {
            temperature: get("temperature", 1.0) as f32,
            top_k: get("top_k", 0.0) as usize,
            top_p: get("top_p", 1.0) as f32,
            min_p: get("min_p", 0.0) as f32,
            seed: 0,
        };
        sampling.check().unwrap();
        let ours: BTreeMap<u32, f64> = sampling
            .distribution(&reference.rows[case.row])
            .into_iter()
            .collect();
        let tokens: Vec<u32> = ours.keys().copied().collect();
        assert_eq!(tokens, case.tokens, "{sampling:?} of row {}", case.row);
        for (ours, theirs) in ours.values().zip(&case.probabilities) {
            assert!(
                (ours - theirs).abs() < PROBABILITY_TOLERANCE,
                "{sampling:?}"
            );
        }
        assert!((ours.values().sum::<f64>() - 1.0).abs() < 1e-12);
    }
}

fn sampled(prompts: &[Vec<u32>], sampling: Sampling, form: Option<&Form>) -> Vec<Generated> {
    let options = Options {
        max_new: 24,
        stop: &[],
        top: 3,
        sampling: Some(sampling),
        form,
    };
    generate(&decoder(), None, prompts, &options, &mut quiet).unwrap()
}

#[test]
fn draws_depend_on_the_seed_alone_and_follow_the_distribution() {
    let tokenizer = tokenizer();
    let prompts = prompts(&tokenizer);
    let sampling = Sampling {
        seed: 7,
        ..Sampling::default()
    };
    let first = sampled(&prompts[..20], sampling, None);
    assert_eq!(first, sampled(&prompts[..20], sampling, None));
    let fewer = sampled(&prompts[..3], sampling, None);
    for (index, answer) in fewer.iter().enumerate() {
        assert_eq!(answer.tokens(), first[index].tokens());
    }
    let other = Sampling {
        seed: 8,
        ..sampling
    };
    assert_ne!(first, sampled(&prompts[..20], other, None));
    // Equal prompts draw different answers; a sharp distribution is greedy.
    let twice = sampled(&[prompts[0].clone(), prompts[0].clone()], sampling, None);
    assert_ne!(twice[0].tokens(), twice[1].tokens());
    let sharp = Sampling {
        temperature: 1e-4,
        ..sampling
    };
    for answer in sampled(&prompts[..4], sharp, None) {
        assert!(answer.steps.iter().all(|step| step.token == step.top[0].0));
    }
    // The first token of many equal prompts: frequencies against probabilities.
    let draws = 3000;
    let same = vec![prompts[93].clone(); draws];
    let narrow = Sampling {
        top_k: 3,
        temperature: 0.05,
        ..sampling
    };
    let options = Options {
        max_new: 1,
        top: 3,
        sampling: Some(narrow),
        ..Options::default()
    };
    let answers = generate(&decoder(), None, &same, &options, &mut quiet).unwrap();
    let logits: Vec<f32> = answers[0].steps[0].top.iter().map(|t| t.1).collect();
    for (rank, probability) in narrow.distribution(&logits) {
        let token = answers[0].steps[0].top[rank as usize].0;
        let seen = answers.iter().filter(|a| a.steps[0].token == token).count();
        let error = (probability * (1.0 - probability) / draws as f64).sqrt();
        let share = seen as f64 / draws as f64;
        assert!(
            (share - probability).abs() < 5.0 * error,
            "{share} {probability}"
        );
    }
}

#[test]
fn sampling_settings_out_of_range_are_named() {
    let good = Sampling::default();
    for (name, wrong) in [
        (
            "temperature",
            Sampling {
                temperature: 0.0,
                ..good
            },
        ),
        (
            "temperature",
            Sampling {
                temperature: f32::NAN,
                ..good
            },
        ),
        ("top_p", Sampling { top_p: 0.0, ..good }),
        ("top_p", Sampling { top_p: 1.5, ..good }),
        (
            "min_p",
            Sampling {
                min_p: -0.1,
                ..good
            },
        ),
    ] {
        let error = wrong.check().unwrap_err().to_string();
        assert!(error.contains(&format!("`{name}`")), "{error}");
    }
}

const FORMS: [&str; 3] = ["DECISION: BUY - ", "DECISION: SELL - ", "DECISION: HOLD - "];

#[test]
fn answers_always_have_the_form() {
    let tokenizer = tokenizer();
    let prompts = prompts(&tokenizer);
    let form = Form::new(&tokenizer, &FORMS).unwrap();
    let mut starts = std::collections::BTreeSet::new();
    let mut cuts = std::collections::BTreeSet::new();
    for seed in 0..4 {
        // A flat distribution: anything that is not masked will be drawn sooner or later.
        let wild = Sampling {
            temperature: 50.0,
            seed,
            ..Sampling::default()
        };
        for answer in sampled(&prompts, wild, Some(&form)) {
            let tokens = answer.tokens();
            let text = tokenizer.decode(&tokens).unwrap();
            assert!(form.fits(&text), "{text:?}");
            starts.insert(text[..14].to_owned());
            cuts.insert(tokens[..3].to_vec());
            // Only the form's own first tokens are possible, and they share all probability.
            let top = &answer.steps[0].top;
            assert!(top.iter().all(|(_, log)| log.is_finite()));
        }
    }
    assert_eq!(starts.len(), 3, "{starts:?}");
    // The same text, cut into tokens in many ways.
    assert!(cuts.len() > 3, "{cuts:?}");
    let greedy = Options {
        max_new: 24,
        top: 1000,
        form: Some(&form),
        ..Options::default()
    };
    for answer in generate(&decoder(), None, &prompts[..5], &greedy, &mut quiet).unwrap() {
        assert!(form.fits(&tokenizer.decode(&answer.tokens()).unwrap()));
        for step in &answer.steps {
            let sum: f64 = step.top.iter().map(|(_, log)| f64::from(*log).exp()).sum();
            assert!((sum - 1.0).abs() < 1e-5, "{sum}");
        }
        assert!(answer.steps[0].top.len() < 10);
    }
}

#[test]
fn what_follows_the_form_is_free() {
    let (tokenizer, decoder) = (tokenizer(), decoder());
    let prompt = prompts(&tokenizer)[0].clone();
    let form = Form::new(&tokenizer, &FORMS).unwrap();
    let options = Options {
        max_new: 30,
        top: 5,
        form: Some(&form),
        ..Options::default()
    };
    let held = &generate(
        &decoder,
        None,
        std::slice::from_ref(&prompt),
        &options,
        &mut quiet,
    )
    .unwrap()[0];
    let tokens = held.tokens();
    let fixed = (1..=tokens.len())
        .find(|n| form.fits(&tokenizer.decode(&tokens[..*n]).unwrap()))
        .unwrap();
    let continued = [&prompt[..], &tokens[..fixed]].concat();
    let free = &greedy(&decoder, None, &[continued], 30 - fixed, &[], 5, &mut quiet).unwrap()[0];
    for (held, free) in held.steps[fixed..].iter().zip(&free.steps) {
        assert_eq!(held.token, free.token);
        for ((a, x), (b, y)) in held.top.iter().zip(&free.top) {
            assert!(a == b && f64::from(x - y).abs() < SHARING_TOLERANCE);
        }
    }
}

#[test]
fn forms_that_cannot_be_kept_are_refused() {
    let tokenizer = tokenizer();
    for texts in [&[][..], &["a", ""]] {
        let error = Form::new(&tokenizer, texts).unwrap_err();
        assert!(matches!(error, ModelError::Form { .. }), "{error}");
    }
    // Only byte tokens could write this character, and half a character is never chosen.
    let error = Form::new(&tokenizer, &["go 🦀 "]).unwrap_err().to_string();
    assert!(error.contains("\"go \""), "{error}");
    let form = Form::new(&tokenizer, &FORMS).unwrap();
    let options = Options {
        max_new: 5,
        form: Some(&form),
        ..Options::default()
    };
    let error = generate(&decoder(), None, &[vec![1]], &options, &mut quiet).unwrap_err();
    assert!(error.to_string().contains("only 5"), "{error}");
}
