//! The estimate against measured peaks: each case trains a model made here in a process of its
//! own, which reports its peak.
//!
//! The process is this very test program, started again with the case's name in the environment.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use model::score::DecisionTokens;
use model::{Decoder, Encoded, Keeping, Lora};
use safetensors::tensor::{Dtype, TensorView};
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;
use std::process::Command;
use train::Optimizer;
use train::estimate::{Frozen, Memory, Plan, Precision, memory};
use train::validation::TOKENS_PER_PASS;
use train::{SftSettings, Validation, sft};
use weights::{BaseModel, ModelConfig};

/// Share of the measured peak by which the estimate may be off.
const TOLERANCE: f64 = 0.10;

/// What the process itself, known only roughly, may be off by in bytes: nothing beside a real model,
/// a tenth of these small ones.
const PROCESS: f64 = 8e6;

/// Names the case in the environment of the process that runs it.
const VARIABLE: &str = "FORETUNE_PEAK_OF";

/// The file it writes its peak to, in kB.
const PEAK: &str = "peak";

/// One training: what of model and settings differs from case to case.
struct Case {
    name: &'static str,
    /// The family, which decides about norms over heads and biases.
    class: &'static str,
    tied: bool,
    targets: &'static [&'static str],
    rank: usize,
    dropout: f64,
    /// Examples of 512 rows each in a step, all in one pass.
    examples: usize,
    /// Validation examples.
    validated: usize,
    keeping: Keeping,
    recompute: bool,
    steps: u8,
}

const CASES: [Case; 4] = [
    Case {
        name: "llama",
        class: "LlamaForCausalLM",
        tied: false,
        targets: &["q_proj", "v_proj"],
        rank: 8,
        dropout: 0.05,
        examples: 4,
        validated: 0,
        keeping: Keeping::F32,
        recompute: false,
        steps: 2,
    },
    Case {
        name: "qwen3_all_targets",
        class: "Qwen3ForCausalLM",
        tied: true,
        targets: &[
            "q_proj",
            "k_proj",
            "v_proj",
            "o_proj",
            "gate_proj",
            "up_proj",
            "down_proj",
        ],
        rank: 32,
        dropout: 0.0,
        examples: 2,
        validated: 0,
        keeping: Keeping::F32,
        recompute: false,
        steps: 2,
    },
    Case {
        name: "large_validation",
        class: "Qwen2ForCausalLM",
        tied: true,
        targets: &["q_proj", "v_proj"],
        rank: 8,
        dropout: 0.05,
        examples: 1,
        validated: 8,
        keeping: Keeping::F32,
        recompute: true,
        steps: 2,
    },
    Case {
        name: "nf4_computed_again",
        class: "LlamaForCausalLM",
        tied: true,
        targets: &["q_proj", "v_proj"],
        rank: 8,
        dropout: 0.05,
        examples: 8,
        validated: 0,
        keeping: Keeping::Nf4,
        recompute: true,
        steps: 2,
    },
];

/// Tokens of every example, the last of which has no row, and those of its answer.
const TOKENS: usize = 513;
const ANSWER: usize = 200;

impl Case {
    fn config(&self) -> String {
        format!(
            r#"{{"architectures": ["{}"], "vocab_size": 4096, "hidden_size": 256,
            "intermediate_size": 768, "num_hidden_layers": 4, "num_attention_heads": 8,
            "num_key_value_heads": 4, "head_dim": 32, "max_position_embeddings": 2048,
            "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "tie_word_embeddings": {},
            "bos_token_id": 1, "eos_token_id": 2}}"#,
            self.class, self.tied
        )
    }

    fn settings(&self) -> SftSettings {
        SftSettings {
            rank: self.rank,
            dropout: self.dropout,
            targets: self.targets.iter().map(|t| (*t).to_owned()).collect(),
            batch_size: self.examples,
            micro_batch_tokens: 512 * self.examples,
            epochs: f64::from(self.steps),
            validate_every: usize::from(self.validated > 0),
            validation_examples: self.validated,
            checkpoint_every: 0,
            ..SftSettings::default()
        }
    }

    /// Examples that share no beginning, so that every token but the last is a row.
    fn examples(n: usize) -> Vec<Encoded> {
        (0..n)
            .map(|i| Encoded {
                id: format!("example-{i}"),
                tokens: (0..TOKENS)
                    .map(|j| ((i + 1) * 131 + j * 17) as u32 % 4_000)
                    .collect(),
                supervised: (0..TOKENS).map(|j| j + ANSWER >= TOKENS).collect(),
                prompt_len: TOKENS - ANSWER,
            })
            .collect()
    }

    /// Trains in this process and writes its peak down, the model still open.
    fn run(&self, folder: &Path) {
        // As the command line does; the process has one test thread, the main one, for its sake.
        model::share_one_heap();
        let base = BaseModel::open(folder).unwrap();
        let mut go_on = |_, _| ControlFlow::Continue(());
        let mut decoder = Decoder::load_as(&base, self.keeping, &mut go_on).unwrap();
        decoder.recompute(self.recompute);
        let settings = self.settings();
        let lora = settings.lora().unwrap();
        let mut adapter = Lora::new(decoder.config(), lora, 1).unwrap();
        let validation = Validation {
            examples: Self::examples(self.validated),
            labels: vec![0; self.validated],
            tokens: DecisionTokens {
                lead: Vec::new(),
                labels: vec![vec![40], vec![50]],
            },
        };
        let validation = (self.validated > 0).then_some(&validation);
        let examples = Self::examples(self.examples);
        let mut go_on = |_: train::Event<'_>| ControlFlow::Continue(());
        sft(
            &decoder,
            &mut adapter,
            &examples,
            validation,
            &settings,
            None,
            &mut go_on,
        )
        .unwrap();
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find(|l| l.starts_with("VmHWM")).unwrap();
        let kilobytes = line.split_whitespace().nth(1).unwrap();
        std::fs::write(folder.join(PEAK), kilobytes).unwrap();
    }

    fn estimate(&self, config: &ModelConfig) -> Memory {
        let at_once = self.validated.min(TOKENS_PER_PASS / (TOKENS - 1));
        let plan = Plan {
            lora: self.settings().lora().unwrap(),
            rows: self.examples * (TOKENS - 1),
            longest: TOKENS - 1,
            supervised: self.examples * ANSWER,
            uneven: false,
            recompute: self.recompute,
            bf16: false,
            adapters: 2,
            optimizer: Optimizer::AdamW,
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            validation: (at_once * (TOKENS - 1), at_once * ANSWER),
            // The file is still open, but what was read is given back at once.
            file: 0,
            beside: 0,
        };
        let precision = match self.keeping {
            Keeping::Nf4 => Precision::Nf4,
            Keeping::F32 | Keeping::Stored => Precision::F32,
        };
        // The embedding stays as the file has it, in f32.
        let embedding = (config.vocab_size * config.hidden_size) as u64 * 4;
        let frozen = Frozen::new(config, precision, &|_| Some(embedding)).unwrap();
        memory(config, frozen, &plan)
    }
}

/// Writes a model of small deterministic values and returns its shape.
fn write(case: &Case, folder: &Path) -> ModelConfig {
    std::fs::write(folder.join("config.json"), case.config()).unwrap();
    let config = ModelConfig::from_file(&folder.join("config.json")).unwrap();
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
    config
}

/// Does nothing but for the processes that the other test starts.
#[test]
fn trains_one_case() {
    let Ok(typed) = std::env::var(VARIABLE) else {
        return;
    };
    let (name, folder) = typed.split_once('=').unwrap();
    let case = CASES.iter().find(|case| case.name == name).unwrap();
    case.run(Path::new(folder));
}

#[test]
fn agrees_with_measured_peaks() {
    let program = std::env::current_exe().unwrap();
    for case in &CASES {
        let folder = tempfile::tempdir().unwrap();
        let config = write(case, folder.path());
        let done = Command::new(&program)
            .args(["--exact", "trains_one_case", "--test-threads=1"])
            .env(
                VARIABLE,
                format!("{}={}", case.name, folder.path().display()),
            )
            .output()
            .unwrap();
        assert!(done.status.success(), "{}: {done:?}", case.name);
        let peak = std::fs::read_to_string(folder.path().join(PEAK)).unwrap();
        let measured = peak.parse::<f64>().unwrap() * 1024.0;
        let found = case.estimate(&config);
        let estimated = found.needed as f64;
        // Between steps and validations buffers are freed; what of them the allocator gives back
        // hangs on where the last live block lies, and differs from run to run.
        let part = |name: &str| {
            let found = found.components.iter().find(|c| c.name == name);
            found.map_or(0.0, |c| c.bytes as f64)
        };
        let held_back = if case.validated > 0 {
            part("activations") + part("working")
        } else {
            0.0
        };
        let slack = TOLERANCE * measured + PROCESS;
        assert!(
            measured > estimated - slack && measured < estimated + held_back + slack,
            "{}: estimated {estimated}, measured {measured}: {found:#?}",
            case.name
        );
        let by_validation = found.validation > found.step;
        assert_eq!(
            by_validation,
            case.validated > 0,
            "{}: {found:#?}",
            case.name
        );
    }
}
