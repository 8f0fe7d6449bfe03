//! `foretune estimate`: what a training takes in memory, time and money, before it starts.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use model::{Decoder, ModelConfig, Projection};
use serde_json::{Value, json};
use train::Optimizer;
use train::estimate::{Memory, Plan, Precision, adapter_parameters, base_parameters};
use weights::BaseModel;

use crate::arguments::Global;
use crate::exit::{Exit, Stop};
use crate::flow::calibration;
use crate::flow::cost::{self, Rented, Work};
use crate::flow::estimate::{self, Choices, Lengths};
use crate::flow::{base, estimate_text, guard};
use crate::output::Printed;
use crate::settings::Settings;
use crate::{interrupt, memory};

/// Estimate memory, time and cost of a training before anything is spent
///
/// Memory is counted from the model's shape and the settings, term by term; measured peaks agree
/// within a few percent (docs/estimate.md). Time is measured: with --calibrate a few rows go
/// forward and backward on this machine. What a rented GPU would take is arithmetic, and says so.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  foretune estimate
  foretune estimate --model ./Llama-3.2-1B-Instruct --tokens 512 --calibrate
  foretune estimate --config 8b.json --precision nf4 --recompute on --memory 8.5GB
  foretune estimate --calibrate --examples 3000 --epochs 2 --price-per-hour 0.40
  foretune estimate --tflops 150 --price-per-hour 1.20 --json")]
pub(crate) struct Typed {
    /// Base model, as for train sft [default: model.source of the settings]
    #[arg(long, value_name = "SOURCE")]
    model: Option<String>,
    /// A config.json: the shape alone, without weights
    #[arg(long, value_name = "FILE", conflicts_with = "model")]
    config: Option<PathBuf>,
    /// Tokens of an example, prompt and answer [default: train.max_tokens]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(2..))]
    tokens: Option<u32>,
    /// Tokens of an example that carry loss [default: a seventh]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    supervised: Option<u32>,
    /// Examples of an optimiser step [default: train.batch_size]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    batch: Option<u32>,
    /// Rank of the adapter [default: train.rank]
    #[arg(long, value_name = "R", value_parser = clap::value_parser!(u32).range(1..))]
    rank: Option<u32>,
    /// Projections with an adapter, separated by commas, or all [default: train.targets]
    #[arg(long, value_name = "NAMES")]
    targets: Option<String>,
    /// Frozen weights in memory: f32, stored, nf4, bf16, q8_0 or q4_k [default: model.keep]
    #[arg(long, visible_alias = "keep", value_name = "NAME", value_parser = estimate::precision)]
    precision: Option<Precision>,
    /// Whether activations are computed again in the backward pass [default: model.recompute]
    #[arg(long, value_name = "ON|OFF")]
    recompute: Option<Switch>,
    /// Optimiser: adamw or adamw_8bit [default: train.optimizer]
    #[arg(long, value_name = "NAME", value_parser = estimate::optimizer)]
    optimizer: Option<Optimizer>,
    /// Training examples [default: train.max_examples, or 1000]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    examples: Option<u32>,
    /// Passes over the examples [default: train.epochs]
    #[arg(long, value_name = "X", value_parser = positive)]
    epochs: Option<f64>,
    /// Measure the time: run a few rows on this machine
    #[arg(long)]
    calibrate: bool,
    /// Price of an hour, in any currency
    #[arg(long, value_name = "PRICE", value_parser = positive)]
    price_per_hour: Option<f64>,
    /// A rented GPU's training speed, if you know it
    #[arg(long, value_name = "N", value_parser = positive, conflicts_with = "tflops")]
    tokens_per_second: Option<f64>,
    /// A rented GPU's dense bf16 peak, of which 30 % are taken to be reached
    #[arg(long, value_name = "N", value_parser = positive)]
    tflops: Option<f64>,
    /// Memory to fit into, such as 8.5GB [default: what the system has available]
    #[arg(long, value_name = "SIZE", value_parser = guard::size)]
    memory: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Switch {
    On,
    Off,
}

/// Runs the command.
///
/// # Errors
/// When model, configuration or settings do not fit, or on Ctrl-C.
pub(crate) fn run(typed: &Typed, global: &Global) -> anyhow::Result<Printed> {
    let settings = Settings::resolve(global, &typed.flags())?;
    let subject = Subject::open(typed, &settings)?;
    let config = subject.config();
    let choices = typed.choices(&settings, &subject)?;
    let longest = typed
        .tokens
        .map_or(settings.train.max_tokens, |n| n as usize);
    let supervised = typed.supervised.map_or(longest.div_ceil(7), |n| n as usize);
    let lengths = Lengths::of(&settings, longest, supervised.min(longest - 1));
    let plan = estimate::plan(&settings, config, choices, lengths, subject.files.as_ref())?;
    // Refuses a rank that no projection has room for.
    check_rank(config, &plan)?;
    let files = subject.files.as_ref();
    let found = estimate::memory_of(config, choices.precision, &plan, files).ok_or_else(|| {
        Stop::new(
            Exit::Usage,
            "--precision stored needs a model, not its configuration alone",
        )
    })?;
    let limit = typed.memory.or_else(memory::available_bytes);
    let work = Work::of(
        &settings,
        typed.examples.map(|n| n as usize),
        config,
        &plan,
        lengths,
    );
    let rate = if typed.calibrate {
        Some(subject.calibrate(&plan, &found, choices, &settings)?)
    } else {
        None
    };
    let rented = match (typed.tokens_per_second, typed.tflops) {
        (Some(speed), _) => Some(Rented::Speed(speed)),
        (None, Some(tflops)) => Some(Rented::Peak(tflops)),
        (None, None) => None,
    };
    let times = cost::times(&work, rate.as_ref(), rented, typed.price_per_hour);
    let notes = notes(choices, &found, &plan, limit, rate.is_some());
    let trained = adapter_parameters(config, &plan.lora);
    let total = base_parameters(config);
    let data = json!({
        "model": subject.name,
        "parameters": {
            "total": total,
            "trained": trained,
            "trained_share": trained as f64 / total as f64,
        },
        "plan": {
            "tokens": lengths.longest,
            "supervised": lengths.supervised,
            "batch": settings.train.batch_size,
            "rows_per_pass": plan.rows,
            "rank": plan.lora.rank,
            "targets": plan.lora.targets.iter().map(|t| t.as_str()).collect::<Vec<_>>(),
            "precision": choices.precision,
            "recompute": choices.recompute,
            "optimizer": choices.optimizer,
        },
        "memory": with_limit(&found, limit)?,
        "work": work,
        "calibration": rate,
        "times": times,
        "notes": notes,
    });
    let text = estimate_text::text(&estimate_text::Parts {
        name: &subject.name,
        total,
        trained,
        plan: &plan,
        choices,
        memory: &found,
        limit,
        work: &work,
        times: &times,
        price: typed.price_per_hour,
        notes: &notes,
    });
    Ok(Printed::new(data, text))
}

fn with_limit(found: &Memory, limit: Option<u64>) -> anyhow::Result<Value> {
    let mut value = serde_json::to_value(found)?;
    value["available"] = json!(limit);
    value["fits"] = json!(limit.map(|limit| found.needed <= limit));
    Ok(value)
}

fn notes(
    choices: Choices,
    found: &Memory,
    plan: &Plan,
    limit: Option<u64>,
    calibrated: bool,
) -> Vec<String> {
    let mut notes = Vec::new();
    if !Precision::SUPPORTED.contains(&choices.precision) {
        notes.push(format!(
            "this version keeps weights as f32, stored or nf4: {} is what it would take",
            choices.precision.as_str()
        ));
    }
    if limit.is_some_and(|limit| found.needed > limit) {
        notes.push(format!(
            "it does not fit; what takes less: {}",
            estimate::knobs(choices, found, plan)
        ));
    }
    if !calibrated {
        notes.push("no time was measured: --calibrate runs a few rows on this machine".to_owned());
    }
    notes
}

/// What the estimate is about.
struct Subject {
    name: String,
    /// The configuration's file, when there are no weights.
    shape: Option<(PathBuf, ModelConfig)>,
    files: Option<BaseModel>,
}

impl Subject {
    fn open(typed: &Typed, settings: &Settings) -> anyhow::Result<Self> {
        if let Some(path) = &typed.config {
            let config = ModelConfig::from_file(path)?;
            return Ok(Self {
                name: path.display().to_string(),
                shape: Some((path.clone(), config)),
                files: None,
            });
        }
        let source = &settings.model.source;
        Ok(Self {
            name: source.clone(),
            shape: None,
            files: Some(BaseModel::open(&base::fetch(source)?)?),
        })
    }

    fn config(&self) -> &ModelConfig {
        match (&self.files, &self.shape) {
            (Some(files), _) => files.config(),
            (None, Some((_, config))) => config,
            (None, None) => unreachable!("one of the two is opened"),
        }
    }

    fn calibrate(
        &self,
        plan: &Plan,
        found: &Memory,
        choices: Choices,
        settings: &Settings,
    ) -> anyhow::Result<calibration::Rate> {
        interrupt::check()?;
        if let Some((path, config)) = &self.shape {
            return calibration::of_shape(path, config, plan, choices, settings);
        }
        let Some(files) = &self.files else {
            unreachable!("one of the two is opened")
        };
        if let Some(available) = memory::available_bytes()
            && found.loading - plan.file > available
        {
            let message = "the model does not fit into the memory available, so its speed cannot be measured here";
            return Err(Stop::new(Exit::Refused, message)
                .hint("name its config.json with --config: one layer of its shape is measured then")
                .into());
        }
        let decoder = Decoder::load_as(files, choices.keeping(), &mut |_, _| interrupt::flow())?;
        calibration::of_model(decoder, plan, settings)
    }
}

impl Typed {
    /// Returns the settings the flags stand for, by dotted key.
    fn flags(&self) -> Vec<(&'static str, String)> {
        let mut flags = Vec::new();
        let text = |value: &str| toml::Value::String(value.to_owned()).to_string();
        if let Some(source) = &self.model {
            flags.push(("model.source", text(source)));
        }
        if let Some(batch) = self.batch {
            flags.push(("train.batch_size", batch.to_string()));
        }
        if let Some(rank) = self.rank {
            flags.push(("train.rank", rank.to_string()));
        }
        if let Some(epochs) = self.epochs {
            flags.push(("train.epochs", format!("{epochs:?}")));
        }
        if let Some(targets) = &self.targets {
            let names: Vec<String> = match targets.as_str() {
                "all" | "all-linear" => Projection::ALL.map(|p| text(p.as_str())).to_vec(),
                names => names.split(',').map(|name| text(name.trim())).collect(),
            };
            flags.push(("train.targets", format!("[{}]", names.join(", "))));
        }
        flags
    }

    fn choices(&self, settings: &Settings, subject: &Subject) -> Result<Choices, Stop> {
        let set = Choices::of(settings);
        let choices = Choices {
            precision: self.precision.unwrap_or(set.precision),
            recompute: self.recompute.map_or(set.recompute, |s| s == Switch::On),
            optimizer: self.optimizer.unwrap_or(set.optimizer),
        };
        if choices.precision == Precision::Stored && subject.files.is_none() {
            let message = "--precision stored needs a model, not its configuration alone";
            return Err(Stop::new(Exit::Usage, message).hint("name the model with --model"));
        }
        Ok(choices)
    }
}

fn check_rank(config: &ModelConfig, plan: &Plan) -> Result<(), Stop> {
    for projection in &plan.lora.targets {
        let (inputs, outputs) = projection.shape(config);
        let most = inputs.min(outputs);
        if plan.lora.rank > most {
            let message = format!(
                "rank {} exceeds {most}, the smaller side of {}",
                plan.lora.rank,
                projection.as_str()
            );
            return Err(Stop::new(Exit::Usage, message));
        }
    }
    Ok(())
}

fn positive(text: &str) -> Result<f64, String> {
    let value: f64 = text.parse().map_err(|_| "expected a number".to_owned())?;
    (value.is_finite() && value > 0.0)
        .then_some(value)
        .ok_or_else(|| "expected a positive number".to_owned())
}
