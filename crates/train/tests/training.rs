//! The training loop: it learns, it does not depend on how a batch is cut, and it resumes exactly.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use model::score::DecisionTokens;
use model::{Decoder, Encoded, Lora};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use train::RunFiles;
use train::{Event, SftSettings, TrainError, Validation, sft};
use weights::BaseModel;

fn decoder() -> Decoder {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/engine/tied");
    let base = BaseModel::open(&path).unwrap();
    Decoder::load(&base, &mut |_, _| ControlFlow::Continue(())).unwrap()
}

/// A rule a tiny model can learn: the third token decides the answer's first.
fn examples(n: usize) -> Vec<Encoded> {
    (0..n)
        .map(|i| {
            let signal = [10, 20, 30][i % 3];
            let answer = [40, 50, 60][i % 3];
            Encoded {
                id: format!("example-{i}"),
                tokens: vec![1, 5, signal, (i * 7 % 60) as u32, 6, answer, 3, 2],
                supervised: vec![false, false, false, false, false, true, true, true],
                prompt_len: 5,
            }
        })
        .collect()
}

fn validation(n: usize) -> Validation {
    Validation {
        examples: examples(n),
        labels: (0..n).map(|i| i % 3).collect(),
        tokens: DecisionTokens {
            lead: vec![],
            labels: vec![vec![40], vec![50], vec![60]],
        },
    }
}

fn settings() -> SftSettings {
    SftSettings {
        learning_rate: 2e-2,
        batch_size: 6,
        epochs: 4.0,
        validate_every: 0,
        checkpoint_every: 3,
        rank: 4,
        ..SftSettings::default()
    }
}

fn fresh(decoder: &Decoder, settings: &SftSettings) -> Lora {
    Lora::new(decoder.config(), settings.lora().unwrap(), settings.seed).unwrap()
}

fn go_on(_: Event<'_>) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

#[expect(clippy::unnecessary_wraps, reason = "the form `sft` takes")]
fn files(directory: &Path, resume: bool) -> Option<RunFiles<'_>> {
    Some(RunFiles {
        directory,
        resume,
        base_sha256: "base",
    })
}

#[test]
fn learns_a_rule_and_reports_decision_accuracy() {
    let decoder = decoder();
    let settings = SftSettings {
        validate_every: 10,
        epochs: 12.0,
        ..settings()
    };
    let mut lora = fresh(&decoder, &settings);
    let summary = sft(
        &decoder,
        &mut lora,
        &examples(60),
        Some(&validation(30)),
        &settings,
        None,
        &mut go_on,
    )
    .unwrap();
    let (first, last) = (
        &summary.history[0],
        &summary.history[summary.history.len() - 1],
    );
    assert!(last.loss < 0.3 * first.loss, "{} {}", first.loss, last.loss);
    let end = summary.validations[summary.validations.len() - 1];
    assert!(end.validation_decision_accuracy > 0.9, "{end:?}");
    assert_eq!(summary.steps, 120);
    assert!(summary.rows < summary.tokens);
}

#[test]
fn one_large_pass_equals_four_small_ones() {
    let decoder = decoder();
    let one = SftSettings {
        dropout: 0.0,
        max_examples: 24,
        epochs: 1.0,
        ..settings()
    };
    let small = SftSettings {
        micro_batch_tokens: 8,
        ..one.clone()
    };
    let (mut a, mut b) = (fresh(&decoder, &one), fresh(&decoder, &small));
    let first = sft(
        &decoder,
        &mut a,
        &examples(24),
        None,
        &one,
        None,
        &mut go_on,
    )
    .unwrap();
    let second = sft(
        &decoder,
        &mut b,
        &examples(24),
        None,
        &small,
        None,
        &mut go_on,
    )
    .unwrap();
    for (x, y) in first.history.iter().zip(&second.history) {
        assert!((x.loss - y.loss).abs() < 1e-4, "{} {}", x.loss, y.loss);
        assert!((x.gradient_norm / y.gradient_norm - 1.0).abs() < 1e-3);
    }
}

#[test]
fn does_not_depend_on_the_number_of_threads() {
    let decoder = decoder();
    let settings = SftSettings {
        epochs: 1.0,
        ..settings()
    };
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        let mut lora = fresh(&decoder, &settings);
        pool.install(|| {
            sft(
                &decoder,
                &mut lora,
                &examples(30),
                None,
                &settings,
                None,
                &mut go_on,
            )
        })
        .unwrap();
        lora
    };
    assert_eq!(run(1), run(3));
}

#[test]
fn an_interrupted_run_resumes_to_the_same_weights() {
    let decoder = decoder();
    let settings = settings();
    let (whole_dir, broken_dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut whole = fresh(&decoder, &settings);
    sft(
        &decoder,
        &mut whole,
        &examples(30),
        None,
        &settings,
        files(whole_dir.path(), false),
        &mut go_on,
    )
    .unwrap();
    let mut broken = fresh(&decoder, &settings);
    let mut stop_at_seven = |event: Event<'_>| match event {
        Event::Step(record) if record.step == 7 => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    };
    let error = sft(
        &decoder,
        &mut broken,
        &examples(30),
        None,
        &settings,
        files(broken_dir.path(), false),
        &mut stop_at_seven,
    )
    .unwrap_err();
    assert!(
        matches!(error, TrainError::Interrupted { step: 7 }),
        "{error}"
    );
    // A killed process leaves a torn last line in its log.
    let log = broken_dir.path().join(train::METRICS_NAME);
    let text = std::fs::read_to_string(&log).unwrap();
    std::fs::write(&log, format!("{text}{{\"step\":8,\"lo")).unwrap();
    // The second time there is nothing left to do; the account of the run is complete each time.
    for _ in 0..2 {
        let mut resumed = fresh(&decoder, &settings);
        let summary = sft(
            &decoder,
            &mut resumed,
            &examples(30),
            None,
            &settings,
            files(broken_dir.path(), true),
            &mut go_on,
        )
        .unwrap();
        assert_eq!(whole, resumed);
        let steps: Vec<usize> = summary.history.iter().map(|record| record.step).collect();
        assert_eq!(steps, (1..=summary.steps).collect::<Vec<_>>());
        assert!(summary.tokens_per_second > 0.0 && summary.rows > 0);
        assert!(
            summary
                .history
                .windows(2)
                .all(|w| w[0].seconds < w[1].seconds)
        );
    }
    let losses = |path: &Path| -> Vec<(u64, f64)> {
        std::fs::read_to_string(path.join(train::METRICS_NAME))
            .unwrap()
            .lines()
            .map(|line| {
                let value: serde_json::Value = serde_json::from_str(line).unwrap();
                (
                    value["step"].as_u64().unwrap(),
                    value["loss"].as_f64().unwrap(),
                )
            })
            .collect()
    };
    assert_eq!(losses(whole_dir.path()), losses(broken_dir.path()));
}

#[test]
fn refuses_a_checkpoint_of_another_run_and_a_damaged_one() {
    let decoder = decoder();
    let settings = SftSettings {
        epochs: 1.0,
        ..settings()
    };
    let dir = tempfile::tempdir().unwrap();
    let mut lora = fresh(&decoder, &settings);
    sft(
        &decoder,
        &mut lora,
        &examples(12),
        None,
        &settings,
        files(dir.path(), false),
        &mut go_on,
    )
    .unwrap();
    let other = SftSettings {
        learning_rate: 1e-4,
        ..settings.clone()
    };
    let error = sft(
        &decoder,
        &mut lora,
        &examples(12),
        None,
        &other,
        files(dir.path(), true),
        &mut go_on,
    )
    .unwrap_err();
    assert!(matches!(error, TrainError::OtherRun { .. }), "{error}");
    let path = dir.path().join(train::checkpoint::FILE_NAME);
    let bytes = std::fs::read(&path).unwrap();
    for cut in [0, 4, 8, bytes.len() / 2, bytes.len() - 1] {
        std::fs::write(&path, &bytes[..cut]).unwrap();
        let error = sft(
            &decoder,
            &mut lora,
            &examples(12),
            None,
            &settings,
            files(dir.path(), true),
            &mut go_on,
        )
        .unwrap_err();
        assert!(
            matches!(error, TrainError::Checkpoint { .. }),
            "{cut}: {error}"
        );
    }
}

#[test]
fn refuses_settings_out_of_range_and_an_empty_set() {
    let decoder = decoder();
    let mut lora = fresh(&decoder, &settings());
    let bad = SftSettings {
        learning_rate: f64::NAN,
        ..settings()
    };
    let error = sft(
        &decoder,
        &mut lora,
        &examples(3),
        None,
        &bad,
        None,
        &mut go_on,
    )
    .unwrap_err();
    assert!(matches!(
        error,
        TrainError::Setting {
            name: "train.learning_rate",
            ..
        }
    ));
    let error = sft(
        &decoder,
        &mut lora,
        &[],
        None,
        &settings(),
        None,
        &mut go_on,
    )
    .unwrap_err();
    assert!(matches!(error, TrainError::NoExamples));
    let bad = SftSettings {
        targets: vec!["q".into()],
        ..settings()
    };
    assert!(bad.lora().is_err());
}

#[test]
fn stops_at_a_loss_that_is_not_finite_and_names_the_examples() {
    let decoder = decoder();
    let settings = settings();
    let mut lora = fresh(&decoder, &settings);
    lora.slices_mut()[0][0] = f32::NAN;
    lora.slices_mut()[1][0] = 1.0;
    let error = sft(
        &decoder,
        &mut lora,
        &examples(30),
        None,
        &settings,
        None,
        &mut go_on,
    )
    .unwrap_err();
    match error {
        TrainError::NotFinite {
            ref examples,
            step,
            batch,
            ..
        } => {
            assert_eq!((step, batch, examples.len()), (1, 6, 6));
            assert!(error.to_string().contains("every one of the 6 examples"));
        }
        other => panic!("{other}"),
    }
}
