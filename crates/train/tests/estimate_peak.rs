//! The estimate against the peak of this very process, which runs nothing else: a model made here
//! is trained for a few steps.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use model::{Decoder, Encoded, Lora};
use safetensors::tensor::{Dtype, TensorView};
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;
use train::estimate::{Frozen, Optimizer, Plan, Precision, memory};
use train::{SftSettings, sft};
use weights::BaseModel;

/// Share by which estimate and measurement may differ. The model is small, so that the process
/// itself, known only roughly, weighs more than in real use.
const TOLERANCE: f64 = 0.10;

const CONFIG: &str = r#"{
  "architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 4096,
  "hidden_size": 256, "intermediate_size": 768, "num_hidden_layers": 8,
  "num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 32,
  "max_position_embeddings": 2048, "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
  "tie_word_embeddings": false, "bos_token_id": 1, "eos_token_id": 2
}"#;

/// Writes a model of small deterministic values and returns its bytes.
fn write(folder: &Path) -> u64 {
    std::fs::write(folder.join("config.json"), CONFIG).unwrap();
    let config = weights::ModelConfig::from_file(&folder.join("config.json")).unwrap();
    let mut tensors = BTreeMap::new();
    for (name, shape) in config.tensors() {
        let n: usize = shape.iter().product();
        let values = (0..n).map(|i| ((i * 7919 % 2003) as f32 / 1001.5 - 1.0) * 0.03);
        let bytes: Vec<u8> = values.flat_map(f32::to_le_bytes).collect();
        tensors.insert(name, (shape, bytes));
    }
    let views = tensors.iter().map(|(name, (shape, bytes))| {
        let view = TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap();
        (name.clone(), view)
    });
    let path = folder.join("model.safetensors");
    std::fs::write(&path, safetensors::serialize(views, None).unwrap()).unwrap();
    std::fs::metadata(path).unwrap().len()
}

fn status(key: &str) -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = text.lines().find(|line| line.starts_with(key)).unwrap();
    let kilobytes: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kilobytes * 1024
}

#[test]
fn agrees_with_the_peak_of_this_process() {
    let folder = tempfile::tempdir().unwrap();
    let file = write(folder.path());
    // What writing the model took is over; the peak starts again from here (proc(5)).
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
    let base = BaseModel::open(folder.path()).unwrap();
    let decoder = Decoder::load(&base, &mut |_, _| ControlFlow::Continue(())).unwrap();
    let config = decoder.config().clone();
    let (examples, tokens) = (4usize, 513usize);
    let examples: Vec<Encoded> = (0..examples)
        .map(|i| Encoded {
            id: format!("example-{i}"),
            tokens: (0..tokens)
                .map(|j| ((i * 131 + j * 17) % 4000) as u32)
                .collect(),
            supervised: (0..tokens).map(|j| j + 100 >= tokens).collect(),
            prompt_len: tokens - 100,
        })
        .collect();
    let settings = SftSettings {
        micro_batch_tokens: 2048,
        epochs: 3.0,
        validate_every: 0,
        checkpoint_every: 0,
        ..SftSettings::default()
    };
    let lora = settings.lora().unwrap();
    let mut adapter = Lora::new(&config, lora.clone(), 1).unwrap();
    let mut go_on = |_: train::Event<'_>| ControlFlow::Continue(());
    sft(
        &decoder,
        &mut adapter,
        &examples,
        None,
        &settings,
        None,
        &mut go_on,
    )
    .unwrap();
    let measured = status("VmHWM") as f64;
    let plan = Plan {
        lora,
        rows: 2048,
        longest: 512,
        supervised: 400,
        uneven: false,
        recompute: false,
        optimizer: Optimizer::AdamW,
        threads: rayon::current_num_threads(),
        validation: (0, 0),
        file,
        beside: 0,
    };
    let frozen = Frozen::new(&config, Precision::F32, &|_| None).unwrap();
    let found = memory(&config, frozen, &plan);
    // The file is still open here, so its pages count.
    let estimated = (found.step + file) as f64;
    let off = estimated / measured - 1.0;
    assert!(
        off.abs() < TOLERANCE,
        "estimated {estimated}, measured {measured}: {found:#?}"
    );
}
