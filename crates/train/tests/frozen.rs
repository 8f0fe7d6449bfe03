//! How the base is kept and whether layers are computed again changes no bit of a gradient.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use model::batch::Batch;
use model::{Adapted, Decoder, Keeping, Lora, LoraSettings, Projection, Target};
use safetensors::tensor::{Dtype, TensorView};
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use weights::{BaseModel, Nf4Matrix};

fn fixtures() -> Vec<PathBuf> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let mut found = Vec::new();
    for group in ["engine", "families"] {
        for entry in std::fs::read_dir(root.join(group)).unwrap() {
            let path = entry.unwrap().path();
            if path.join("config.json").exists() {
                found.push(path);
            }
        }
    }
    assert!(found.len() >= 8, "{found:?}");
    found.sort();
    found
}

fn load(directory: &Path, keeping: Keeping) -> Decoder {
    let base = BaseModel::open(directory).unwrap();
    Decoder::load_as(&base, keeping, &mut |_, _| ControlFlow::Continue(())).unwrap()
}

/// Losses and the gradients of an adapter on all projections, with dropout.
fn step(decoder: &Decoder) -> (Vec<f32>, Vec<f32>) {
    let settings = LoraSettings {
        rank: 2,
        rslora: false,
        alpha: 4.0,
        dropout: 0.1,
        targets: Projection::ALL.to_vec(),
    };
    let mut lora = Lora::new(decoder.config(), settings, 3).unwrap();
    for (i, slice) in lora.slices_mut().into_iter().enumerate() {
        for (j, x) in slice.iter_mut().enumerate() {
            *x += ((i * 31 + j * 17) % 13) as f32 * 0.003 - 0.018;
        }
    }
    let vocabulary = decoder.config().vocab_size as u32;
    let tokens: Vec<u32> = (0..23).map(|i| (i * 7 + 3) % vocabulary).collect();
    let mut batch = Batch::default();
    batch.push(&tokens[..9], 0, Vec::new(), 1);
    batch.push(&tokens[9..], 9, vec![0..9], 2);
    let targets: Vec<Target> = (4..22)
        .map(|row| Target {
            row,
            token: tokens[row + 1],
            weight: 0.05,
        })
        .collect();
    let mut gradients = lora.zeros_like();
    let adapted = Adapted {
        lora: &lora,
        dropout_seed: Some(5),
    };
    let losses = decoder
        .loss_and_gradients(adapted, &batch, &targets, &mut gradients)
        .unwrap();
    (losses, gradients.slices().concat())
}

#[test]
fn recomputed_layers_give_the_same_bits() {
    for directory in fixtures() {
        let mut decoder = load(&directory, Keeping::F32);
        let (losses, gradients) = step(&decoder);
        assert!(gradients.iter().any(|g| *g != 0.0));
        decoder.recompute(true);
        let (again, twice) = (step(&decoder), step(&decoder));
        assert_eq!((&losses, &gradients), (&again.0, &again.1), "{directory:?}");
        assert_eq!(again, twice, "{directory:?}");
    }
}

#[test]
fn a_model_kept_as_stored_gives_the_same_bits() {
    for directory in fixtures() {
        let dense = step(&load(&directory, Keeping::F32));
        let stored = step(&load(&directory, Keeping::Stored));
        assert_eq!(dense, stored, "{directory:?}");
    }
}

/// Writes a copy of a model whose layers hold what NF4 makes of them, as f32.
fn rounded_copy(directory: &Path, to: &Path) {
    let base = BaseModel::open(directory).unwrap();
    let mut tensors = BTreeMap::new();
    for name in base.tensor_names() {
        let shape = base.shape(name).unwrap().to_vec();
        let mut values = base.tensor_f32(name).unwrap();
        if name.ends_with("_proj.weight") {
            let (rows, cols) = (shape[0], shape[1]);
            let matrix = Nf4Matrix::quantise(rows, cols, true, |row, out| {
                out.copy_from_slice(&values[row * cols..][..cols]);
                Ok::<(), ()>(())
            })
            .unwrap();
            for (row, out) in values.chunks_exact_mut(cols).enumerate() {
                matrix.decode(row, 0..cols, out);
            }
        }
        let bytes: Vec<u8> = values.iter().flat_map(|x| x.to_le_bytes()).collect();
        tensors.insert(name.to_owned(), (shape, bytes));
    }
    let views = tensors.iter().map(|(name, (shape, bytes))| {
        let view = TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap();
        (name.as_str(), view)
    });
    let file = safetensors::serialize(views, None).unwrap();
    std::fs::write(to.join("model.safetensors"), file).unwrap();
    std::fs::copy(directory.join("config.json"), to.join("config.json")).unwrap();
}

#[test]
fn a_model_kept_in_four_bits_computes_with_the_rounded_weights() {
    for directory in fixtures() {
        let scratch = tempfile::tempdir().unwrap();
        rounded_copy(&directory, scratch.path());
        let rounded = step(&load(scratch.path(), Keeping::F32));
        let kept = step(&load(&directory, Keeping::Nf4));
        assert_eq!(rounded, kept, "{directory:?}");
        assert_ne!(kept, step(&load(&directory, Keeping::F32)));
    }
}
