//! What a training can be told beyond the plain case: 8-bit moments, early stopping, the best
//! adapter, packing; and whom it blames when a number is no longer finite.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use model::score::DecisionTokens;
use model::{Decoder, Encoded, Lora, Projection};
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use train::optimizer::Moments;
use train::{
    DpoSettings, Event, Keep, Optimizer, Pair, Reference, RunFiles, SftSettings, Summary,
    TrainError, Validation, dpo, sft,
};
use weights::BaseModel;

/// Relative; sums of f32 gradients over the same rows in another order.
const SAME_SUM: f64 = 1e-5;

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/engine")
        .join(name)
}

fn load(path: &Path) -> Decoder {
    let base = BaseModel::open(path).unwrap();
    Decoder::load(&base, &mut |_, _| ControlFlow::Continue(())).unwrap()
}

fn example(id: usize, middle: &[u32], answer: u32) -> Encoded {
    let tokens = [&[1, 5], middle, &[6, answer, 3, 2]].concat();
    let prompt_len = tokens.len() - 3;
    Encoded {
        id: format!("example-{id}"),
        supervised: (0..tokens.len()).map(|i| i >= prompt_len).collect(),
        tokens,
        prompt_len,
    }
}

/// A rule a tiny model can learn: the third token decides the answer's first.
fn examples(n: usize) -> Vec<Encoded> {
    (0..n)
        .map(|i| {
            let signal = [10, 20, 30][i % 3];
            // Of different lengths, so that there is something to pack.
            let middle: Vec<u32> = (0..=i % 5).map(|k| (i * 7 + k) as u32 % 60).collect();
            example(i, &[&[signal], &middle[..]].concat(), [40, 50, 60][i % 3])
        })
        .collect()
}

/// Held-out examples under the same rule, or under none: `wrong` turns the labels round.
fn validation(n: usize, wrong: bool) -> Validation {
    let shift = usize::from(wrong);
    let answers = [40, 50, 60];
    Validation {
        examples: (0..n)
            .map(|i| example(i, &[[10, 20, 30][i % 3], 7], answers[(i + shift) % 3]))
            .collect(),
        labels: (0..n).map(|i| (i + shift) % 3).collect(),
        tokens: DecisionTokens {
            lead: vec![],
            labels: answers.iter().map(|answer| vec![*answer]).collect(),
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

struct Task<'a> {
    decoder: &'a Decoder,
    settings: &'a SftSettings,
    validation: Option<&'a Validation>,
    directory: Option<&'a Path>,
}

impl Task<'_> {
    /// Trains from the beginning or from the checkpoint, up to `stop` steps.
    fn run(&self, resume: bool, stop: usize) -> (Lora, Result<Summary, TrainError>) {
        let mut lora = fresh(self.decoder, self.settings);
        let files = self.directory.map(|directory| RunFiles {
            directory,
            resume,
            base_sha256: "base",
        });
        let mut events = |event: Event<'_>| match event {
            Event::Step(record) if record.step == stop => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        };
        let done = sft(
            self.decoder,
            &mut lora,
            &examples(30),
            self.validation,
            self.settings,
            files,
            &mut events,
        );
        (lora, done)
    }
}

#[test]
fn eight_bit_moments_learn_and_resume_to_the_same_weights() {
    let folder = tempfile::tempdir().unwrap();
    with_broad_layers(folder.path());
    let decoder = load(folder.path());
    let settings = SftSettings {
        optimizer: Optimizer::AdamW8bit,
        // 48 x 96 elements a factor: large enough to be quantised.
        rank: 48,
        targets: vec!["gate_proj".into(), "down_proj".into()],
        ..settings()
    };
    let quantised = |lora: &Lora| {
        let mut slices = lora.slices().into_iter();
        slices.any(|s| matches!(settings.optimizer.moments(s.len()), Moments::Blocks { .. }))
    };
    assert!(quantised(&fresh(&decoder, &settings)));
    let task = Task {
        decoder: &decoder,
        settings: &settings,
        validation: None,
        directory: None,
    };
    let (whole, summary) = task.run(false, usize::MAX);
    let history = summary.unwrap().history;
    assert!(history[19].loss < 0.5 * history[0].loss, "{history:?}");
    let kept = Task {
        directory: Some(folder.path()),
        ..task
    };
    assert!(kept.run(false, 7).1.is_err());
    let (resumed, done) = kept.run(true, usize::MAX);
    assert_eq!(done.unwrap().steps, 20);
    assert!(whole == resumed);
}

/// Writes the untied model with 96 instead of 64 channels between a layer's linears.
fn with_broad_layers(folder: &Path) {
    let from = fixture("untied");
    let config = std::fs::read_to_string(from.join("config.json")).unwrap();
    let mut config: serde_json::Value = serde_json::from_str(&config).unwrap();
    config["intermediate_size"] = 96.into();
    std::fs::write(folder.join("config.json"), config.to_string()).unwrap();
    let bytes = std::fs::read(from.join("model.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let broad: Vec<(String, Dtype, Vec<usize>, Vec<u8>)> = file
        .tensors()
        .into_iter()
        .map(|(name, view)| {
            let (mut shape, mut data) = (view.shape().to_vec(), view.data().to_vec());
            if name.contains("mlp") {
                // Half as much again of the same.
                let axis = usize::from(name.contains("down_proj"));
                let rows = if axis == 0 { 1 } else { shape[0] };
                let row = data.len() / rows;
                data = data
                    .chunks(row)
                    .flat_map(|row| [row, &row[..row.len() / 2]].concat())
                    .collect();
                shape[axis] = 96;
            }
            (name, view.dtype(), shape, data)
        })
        .collect();
    let views = broad.iter().map(|(name, kind, shape, data)| {
        let view = TensorView::new(*kind, shape.clone(), data).unwrap();
        (name.as_str(), view)
    });
    let whole = safetensors::serialize(views, None).unwrap();
    std::fs::write(folder.join("model.safetensors"), whole).unwrap();
}

#[test]
fn a_checkpoint_gives_back_every_kind_of_moments() {
    use train::checkpoint::{self, State};
    let decoder = load(&fixture("untied"));
    let lora = fresh(&decoder, &settings());
    let lengths: Vec<usize> = lora.slices().iter().map(|s| s.len()).collect();
    let state = |optimizer: Optimizer, factor: usize| State {
        step: 3,
        lora: lora.clone(),
        moments: lengths
            .iter()
            .map(|len| optimizer.moments(len * factor))
            .collect(),
        best: None,
        stale: 2,
    };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c.safetensors");
    for optimizer in [Optimizer::AdamW, Optimizer::AdamW8bit] {
        let written = state(optimizer, 100);
        checkpoint::write(&path, "print", &written).unwrap();
        let read = checkpoint::read(&path, "print", &state(optimizer, 100)).unwrap();
        assert!(read.unwrap() == written);
        let other = checkpoint::read(&path, "print", &state(optimizer, 99));
        assert!(matches!(other, Err(TrainError::Checkpoint { .. })));
    }
}

#[test]
fn stops_when_the_validation_loss_no_longer_falls_and_keeps_the_best() {
    let decoder = load(&fixture("tied"));
    let settings = SftSettings {
        epochs: 40.0,
        validate_every: 2,
        early_stopping: 3,
        keep: Keep::Best,
        ..settings()
    };
    // What is learned is wrong there, so that the loss soon rises.
    let held_out = validation(12, true);
    let folder = tempfile::tempdir().unwrap();
    let task = Task {
        decoder: &decoder,
        settings: &settings,
        validation: Some(&held_out),
        directory: Some(folder.path()),
    };
    let (kept, summary) = task.run(false, usize::MAX);
    let summary = summary.unwrap();
    assert!(summary.stopped_early && summary.steps < 200);
    assert_eq!(summary.steps, summary.kept_step + 3 * 2);
    assert_eq!(summary.steps, summary.history.len());
    assert_eq!(summary.examples, summary.steps * 6);
    let best = summary
        .validations
        .iter()
        .min_by(|a, b| a.validation_loss.total_cmp(&b.validation_loss))
        .unwrap();
    assert_eq!(best.step, summary.kept_step);
    let last = summary.validations.last().unwrap();
    assert_eq!(last.best_step, Some(best.step));
    // The adapter is the one that was judged best.
    let again = held_out.run(&decoder, &kept, 0).unwrap();
    assert_eq!(again.validation_loss, best.validation_loss);
    assert!(again.validation_loss < last.validation_loss);
    // Nothing is left to do, and the account stays the same.
    let (resumed, done) = task.run(true, usize::MAX);
    assert!(resumed == kept);
    let done = done.unwrap();
    assert_eq!(
        (done.steps, done.kept_step, done.stopped_early),
        (summary.steps, summary.kept_step, true)
    );
}

#[test]
fn the_best_adapter_survives_an_interruption() {
    let decoder = load(&fixture("tied"));
    let settings = SftSettings {
        epochs: 8.0,
        validate_every: 2,
        checkpoint_every: 0,
        keep: Keep::Best,
        ..settings()
    };
    let held_out = validation(12, true);
    let whole = Task {
        decoder: &decoder,
        settings: &settings,
        validation: Some(&held_out),
        directory: None,
    };
    let (expected, summary) = whole.run(false, usize::MAX);
    let summary = summary.unwrap();
    assert!(
        summary.kept_step < summary.steps && !summary.stopped_early,
        "{:?}",
        summary.validations
    );
    // Interrupted at every step, before and after the best.
    for stop in 1..summary.steps {
        let folder = tempfile::tempdir().unwrap();
        let task = Task {
            directory: Some(folder.path()),
            ..whole
        };
        assert!(task.run(false, stop).1.is_err());
        let (resumed, done) = task.run(true, usize::MAX);
        assert_eq!(done.unwrap().kept_step, summary.kept_step);
        assert!(resumed == expected, "stopped at {stop}");
    }
}

#[test]
fn what_needs_a_validation_says_so() {
    let decoder = load(&fixture("tied"));
    for (settings, needle) in [
        (
            SftSettings {
                early_stopping: 2,
                ..settings()
            },
            "`train.early_stopping` is 2",
        ),
        (
            SftSettings {
                keep: Keep::Best,
                validate_every: 5,
                ..settings()
            },
            "`train.keep` is `best`",
        ),
    ] {
        let task = Task {
            decoder: &decoder,
            settings: &settings,
            validation: None,
            directory: None,
        };
        let error = task.run(false, 1).1.unwrap_err();
        assert!(error.to_string().contains(needle), "{error}");
        assert!(error.hint().unwrap().contains("train.validate_every"));
    }
}

#[test]
fn packed_passes_equal_one_example_at_a_time() {
    let decoder = load(&fixture("tied"));
    let run = |budget: usize, batch_size: usize| {
        let settings = SftSettings {
            dropout: 0.0,
            batch_size,
            micro_batch_tokens: budget,
            epochs: 1.0,
            ..settings()
        };
        let task = Task {
            decoder: &decoder,
            settings: &settings,
            validation: None,
            directory: None,
        };
        task.run(false, usize::MAX).1.unwrap()
    };
    // One at a time is plain gradient accumulation.
    let (apart, together) = (run(1, 10), run(48, 10));
    assert!(together.rows < apart.rows);
    for (a, b) in apart.history.iter().zip(&together.history) {
        assert!((a.loss / b.loss - 1.0).abs() < SAME_SUM, "{a:?} {b:?}");
        let ratio = a.gradient_norm / b.gradient_norm;
        assert!((ratio - 1.0).abs() < 10.0 * SAME_SUM, "{a:?} {b:?}");
    }
}

#[test]
fn the_second_factors_may_learn_faster() {
    let decoder = load(&fixture("tied"));
    let run = |ratio: f64| {
        let settings = SftSettings {
            loraplus_ratio: ratio,
            max_examples: 6,
            warmup_ratio: 0.0,
            ..settings()
        };
        let task = Task {
            decoder: &decoder,
            settings: &settings,
            validation: None,
            directory: None,
        };
        task.run(false, usize::MAX).0
    };
    let (plain, faster) = (run(1.0), run(8.0));
    let pair = |lora: &Lora| lora.pair(0, Projection::Query).unwrap().clone();
    assert_eq!(pair(&plain).a, pair(&faster).a);
    // B starts at zero; the first step of Adam moves each element by the learning rate.
    for (slow, fast) in pair(&plain).b.iter().zip(pair(&faster).b) {
        assert!((fast - 8.0 * slow).abs() <= 1e-6 * fast.abs());
    }
}

/// Writes the untied model with an embedding whose first channel only `token` uses.
fn with_a_channel_of_its_own(token: usize, folder: &Path) {
    let from = fixture("untied");
    std::fs::copy(from.join("config.json"), folder.join("config.json")).unwrap();
    let bytes = std::fs::read(from.join("model.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let name = "model.embed_tokens.weight";
    let embedding = file.tensor(name).unwrap();
    let width = embedding.shape()[1];
    let mut data = embedding.data().to_vec();
    for row in (0..embedding.shape()[0]).filter(|row| *row != token) {
        data[row * width * 4..][..4].fill(0);
    }
    let changed = TensorView::new(embedding.dtype(), embedding.shape().to_vec(), &data).unwrap();
    let views = file.tensors().into_iter().map(|(key, view)| {
        if key == name {
            (key, changed.clone())
        } else {
            (key, view)
        }
    });
    let whole = safetensors::serialize(views, None).unwrap();
    std::fs::write(folder.join("model.safetensors"), whole).unwrap();
}

/// A model and an adapter under which examples with the token [`RARE`], and only these, overflow: the
/// first layer's factor A reads that token's own channel with weights near the end of f32.
fn with_a_trap(folder: &Path, settings: &SftSettings) -> (Decoder, Lora) {
    with_a_channel_of_its_own(RARE as usize, folder);
    let decoder = load(folder);
    let mut lora = fresh(&decoder, settings);
    let inputs = decoder.config().hidden_size;
    let pair = lora.pair_mut(0, Projection::Query).unwrap();
    for row in pair.a.chunks_mut(inputs) {
        row[0] = 3e38;
    }
    pair.b.fill(1.0);
    (decoder, lora)
}

const RARE: u32 = 77;

#[track_caller]
fn blames_the_fourth(error: &TrainError) {
    let named = matches!(error, TrainError::NotFinite { examples, batch: 6, .. } if *examples == ["example-4"]);
    assert!(named, "{error}");
    let text = error.to_string();
    assert!(
        text.ends_with("at step 1, in example `example-4`"),
        "{text}"
    );
    assert!(error.hint().unwrap().contains("look at that example"));
}

#[test]
fn the_example_that_is_not_finite_is_named_alone() {
    let folder = tempfile::tempdir().unwrap();
    let settings = SftSettings {
        dropout: 0.0,
        ..settings()
    };
    let (decoder, lora) = with_a_trap(folder.path(), &settings);
    let mut examples = examples(6);
    examples[4].tokens[3] = RARE;
    for budget in [1, 1000] {
        let settings = SftSettings {
            micro_batch_tokens: budget,
            ..settings.clone()
        };
        let mut lora = lora.clone();
        let error = sft(
            &decoder,
            &mut lora,
            &examples,
            None,
            &settings,
            None,
            &mut |_| ControlFlow::Continue(()),
        )
        .unwrap_err();
        blames_the_fourth(&error);
    }
}

#[test]
fn the_pair_that_is_not_finite_is_named_alone() {
    let folder = tempfile::tempdir().unwrap();
    let settings = settings();
    let (decoder, mut lora) = with_a_trap(folder.path(), &settings);
    let mut pairs: Vec<Pair> = examples(6)
        .into_iter()
        .map(|chosen| {
            let mut rejected = chosen.clone();
            rejected.tokens[chosen.prompt_len] = 33;
            Pair {
                id: chosen.id.clone(),
                chosen,
                rejected,
            }
        })
        .collect();
    pairs[4].chosen.tokens[3] = RARE;
    pairs[4].rejected.tokens[3] = RARE;
    let own = DpoSettings {
        reference: Reference::Base,
        ..DpoSettings::default()
    };
    let error = dpo(
        &decoder,
        &mut lora,
        &pairs,
        (&settings, &own),
        None,
        &mut |_| ControlFlow::Continue(()),
    )
    .unwrap_err();
    blames_the_fourth(&error);
}

#[test]
fn all_targets_have_a_word() {
    for word in ["all", "all-linear"] {
        let settings = SftSettings {
            targets: vec![word.into()],
            ..settings()
        };
        assert_eq!(settings.lora().unwrap().targets, Projection::ALL);
    }
    let mixed = SftSettings {
        targets: vec!["all".into(), "q_proj".into()],
        ..settings()
    };
    let error = mixed.lora().unwrap_err().to_string();
    assert!(error.contains("`all` alone"), "{error}");
}
