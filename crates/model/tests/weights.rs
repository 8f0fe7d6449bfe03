//! Weights that are no numbers, and weights that do not fit, are named before anything is computed.
#![expect(
    clippy::unwrap_used,
    reason = "in a test a failed step is a failed test"
)]

use std::ops::ControlFlow;
use std::path::Path;

use model::{Decoder, ModelError};
use safetensors::SafeTensors;
use weights::BaseModel;

/// Loads a copy of the tiny directory with one value of a tensor replaced.
fn load_with(tensor: &str, index: usize, value: f32) -> Result<Decoder, ModelError> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../weights/tests/fixtures/tiny-llama");
    let folder = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(source).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), folder.path().join(entry.file_name())).unwrap();
    }
    let path = folder.path().join("model.safetensors");
    let mut bytes = std::fs::read(&path).unwrap();
    let (header, list) = SafeTensors::read_metadata(&bytes).unwrap();
    let at = 8 + header + list.info(tensor).unwrap().data_offsets.0 + 4 * index;
    bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
    std::fs::write(&path, bytes).unwrap();
    let base = BaseModel::open(folder.path()).unwrap();
    Decoder::load(&base, &mut |_, _| ControlFlow::Continue(()))
}

#[test]
fn weights_that_are_not_finite_are_named() {
    for tensor in [
        "model.embed_tokens.weight",
        "model.norm.weight",
        "model.layers.1.mlp.down_proj.weight",
        "model.layers.0.self_attn.q_proj.weight",
        "model.layers.0.input_layernorm.weight",
    ] {
        for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let error = load_with(tensor, 7, value).err().unwrap();
            let text = error.to_string();
            assert!(text.contains(&format!("`{tensor}`")), "{text}");
            assert!(text.contains("not finite"), "{text}");
            assert!(error.hint().is_some());
        }
        load_with(tensor, 7, 0.5).unwrap();
    }
}
