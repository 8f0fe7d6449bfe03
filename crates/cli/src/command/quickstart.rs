//! `foretune quickstart`: the whole flow, on real candles with a real model.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Args;
use market::inspect;
use serde_json::json;
use serve::report::Timing;

use super::dataset_build::{self, Input as Candles};
use super::train_sft::{self, Length};
use super::{check, data_inspect, evaluate, export};
use crate::arguments::Global;
use crate::exit::{Exit, Report, Stop};
use crate::flow::corpus::Corpus;
use crate::flow::evaluation::{self, Evaluated, Input};
use crate::flow::examples::{Auditing, WorldName};
use crate::flow::llama::Outcome;
use crate::flow::{audit, base, data, examples, training};
use crate::output::Printed;
use crate::progress::spoken;
use crate::run::{self, Run};
use crate::settings::Settings;
use crate::{files, interrupt, output};
use model::Keeping;

/// The steps, in order.
const STEPS: [&str; 7] = [
    "look at the candles",
    "build the data set",
    "load the base model",
    "train the adapter",
    "export the adapter",
    "check it with llama.cpp",
    "evaluate on the held-out span",
];

/// Training examples of a planted world at least. With the preset's settings its rule is found
/// between the 200th and the 320th example (see LOG.md).
const PLANTED_EXAMPLES: usize = 400;

/// Run the whole flow: candles, examples, training, export, check, evaluation, report
///
/// Candles in, leak-free examples, LoRA training of a small real language
/// model, an adapter that llama.cpp loads, and an honest evaluation on a span
/// the model never saw. Made for two cores and ten minutes: it trains on a
/// stated part of the training examples (`train.max_examples`) and scores one
/// decision per non-overlapping horizon.
///
/// A run that is in the run directory already is kept: without --resume it is
/// moved aside first, to DIR.1, DIR.2, ...
#[derive(Args, Debug)]
#[command(after_help = format!("\
{}

Examples:
  foretune quickstart
  foretune quickstart --data user_data/data/binance --out runs/binance
  foretune quickstart --world planted    can the machine learn?
  foretune quickstart --world null       does it fool itself?
  foretune quickstart --steps 3 --model ./tiny-llama --json", run::LAYOUT))]
pub(crate) struct Typed {
    /// Where the candles come from.
    #[command(flatten)]
    candles: Candles,
    /// Model and length of the training.
    #[command(flatten)]
    length: Length,
    /// Run directory [default: runs/quickstart, or runs/quickstart-WORLD]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Do not compare with llama.cpp; the page says so
    #[arg(long)]
    skip_check: bool,
    /// Go on from the training's checkpoint in the run directory
    #[arg(long)]
    resume: bool,
}

/// Runs the command.
///
/// # Errors
/// When a step fails; what the steps before it wrote stays.
pub(crate) fn run(typed: &Typed, global: &Global) -> anyhow::Result<Printed> {
    let mut flags = typed.candles.flags();
    flags.extend(typed.length.flags());
    let mut settings = Settings::resolve(global, &flags)?;
    typed.length.apply(&mut settings);
    let planted = matches!(
        typed.candles.world,
        Some(WorldName::Planted | WorldName::PlantedDigits)
    );
    // Only the preset's own number gives way, not one that somebody chose.
    let of_preset = settings.of_preset()?.train.max_examples;
    let unstated = typed.length.examples.is_none()
        && typed.length.steps.is_none()
        && settings.train.max_examples == of_preset;
    if planted && unstated && (1..PLANTED_EXAMPLES).contains(&of_preset) {
        settings.train.max_examples = PLANTED_EXAMPLES;
        output::note(&format!(
            "a planted world trains on {PLANTED_EXAMPLES} examples, enough to find its rule"
        ));
    }
    let out = typed.out.clone().unwrap_or_else(|| {
        Path::new("runs").join(match typed.candles.world {
            Some(world) => format!("quickstart-{}", world.as_str()),
            None => "quickstart".to_owned(),
        })
    });
    files::check_directory(&out)?;
    train_sft::refuse_foreign(&out)?;
    refuse_own_input(typed, &settings, &out)?;
    let mut steps = Steps::default();
    let finished = flow(typed, &settings, &out, &mut steps)?;
    let mut data = serde_json::to_value(&finished.evaluated.report)?;
    data["run"] = json!(out);
    data["page"] = json!(finished.evaluated.html);
    Ok(Printed {
        data,
        text: closing(&finished, &steps),
        stop: finished.compared.stop(),
    })
}

/// Refuses inputs in the run directory, which may be moved aside.
fn refuse_own_input(typed: &Typed, settings: &Settings, out: &Path) -> Result<(), Stop> {
    let mut inputs = vec![Path::new(&settings.model.source)];
    inputs.extend(settings.dataset.prompt_template.as_deref());
    inputs.extend(settings.dataset.completion_templates.as_deref());
    if typed.candles.world.is_none() {
        inputs.extend(settings.data.directory.as_deref());
        inputs.extend(settings.data.fear_greed.as_deref());
    }
    run::refuse_own_input(out, typed.resume, &inputs)
}

struct Finished {
    run: Run,
    compared: Compared,
    evaluated: Evaluated,
}

fn flow(
    typed: &Typed,
    settings: &Settings,
    out: &Path,
    steps: &mut Steps,
) -> anyhow::Result<Finished> {
    steps.begin()?;
    if typed.candles.world.is_none() {
        look(settings)?;
    } else {
        output::note("  a made-up world: its candles are made in the next step");
    }
    steps.end();

    steps.begin()?;
    run::make_room(out, typed.resume)?;
    let folder = out.join("dataset");
    let world = typed.candles.world();
    let built = examples::build(settings, world, &folder, Auditing::Made)?;
    indent(&dataset_build::summary(&built.dataset.datasheet));
    indent(&audit::line(built.audit.as_ref()));
    steps.end();

    steps.begin()?;
    let mut base = base::load(
        &settings.model.source,
        &base::fetch(&settings.model.source)?,
        &settings.model,
    )?;
    output::note(&format!(
        "  {}: {:.0} million parameters",
        base.source,
        base.decoder.parameters() as f64 / 1e6
    ));
    steps.end();

    steps.begin()?;
    let corpus = Corpus::Decisions(Box::new(built.dataset.clone()));
    let (run, adapter) = training::train(settings, &corpus, &folder, &base, out, typed.resume)?;
    indent(&train_sft::text(&run));
    steps.end();

    steps.begin()?;
    export::gguf(&run, base.decoder.config(), &run.gguf())?;
    output::note(&format!(
        "  {} (PEFT) and {} (llama.cpp)",
        run.peft().display(),
        run.gguf().display()
    ));
    steps.end();

    steps.begin()?;
    let mut warnings = built.notes.clone();
    // llama.cpp computes in f32.
    base.decoder.precision(model::Precision::F32);
    let compared = compare(typed, settings, &run, &base, &mut warnings)?;
    base.decoder.precision(settings.model.precision.resolve());
    steps.end();

    steps.begin()?;
    let evaluated = evaluation::evaluate(
        settings,
        Input {
            run: &run,
            base: &base,
            adapter: &adapter,
            dataset: &built.dataset,
            world: built.world.as_ref(),
            check: compared.outcome(),
            warnings: &warnings,
            timings: steps.timings.clone(),
        },
    )?;
    steps.end();
    Ok(Finished {
        run,
        compared,
        evaluated,
    })
}

/// Inspects the data directory; a fault in a file that is not used is only told.
fn look(settings: &Settings) -> anyhow::Result<()> {
    let inspection = inspect::inspect(&data::directory(settings)?)?;
    indent(&data_inspect::text(&inspection));
    if inspection.files.iter().all(|file| !file.errors.is_empty()) {
        let message = format!(
            "no file in `{}` can be used",
            inspection.directory.display()
        );
        return Err(Stop::new(Exit::Data, message)
            .hint("`foretune data inspect` tells what is wrong with each file")
            .into());
    }
    Ok(())
}

/// What became of the comparison with llama.cpp.
enum Compared {
    /// It was made.
    Made(Outcome),
    /// It does not apply, or was not wanted.
    LeftOut,
    /// A tool or the network is missing, named here.
    Failed(String),
}

impl Compared {
    fn outcome(&self) -> Option<&Outcome> {
        match self {
            Self::Made(outcome) => Some(outcome),
            Self::LeftOut | Self::Failed(_) => None,
        }
    }

    fn stop(&self) -> Option<Stop> {
        match self {
            Self::Made(outcome) => check::refusal(outcome),
            Self::LeftOut => None,
            Self::Failed(reason) => Some(Stop::new(Exit::Environment, reason)),
        }
    }
}

/// Compares with llama.cpp. What keeps it from being made is told on the page
/// and, where something is missing, by the exit code; the evaluation goes on.
fn compare(
    typed: &Typed,
    settings: &Settings,
    run: &Run,
    base: &base::Base,
    warnings: &mut Vec<String>,
) -> anyhow::Result<Compared> {
    let mut tell = |reason: &str| {
        output::warn(reason);
        warnings.push(reason.to_owned());
    };
    if typed.skip_check {
        tell("the comparison with llama.cpp was skipped on request (--skip-check)");
        return Ok(Compared::LeftOut);
    }
    if settings.model.keep == Keeping::Nf4 {
        tell(
            "no comparison with llama.cpp: this base is rounded to four bits (`foretune check` compares on the file's own values)",
        );
        return Ok(Compared::LeftOut);
    }
    let made = match check::check(run, base, &settings.check) {
        Err(error) => {
            let report = Report::of(&error);
            if report.exit != Exit::Environment {
                return Err(error);
            }
            output::print_error(&report, false);
            let reason = format!("no comparison with llama.cpp: {}", report.message);
            tell(&reason);
            return Ok(Compared::Failed(reason));
        }
        Ok(made) => made,
    };
    let Some(outcome) = made else {
        tell(
            "no comparison with llama.cpp: it needs the base model as GGUF, and this one is a safetensors directory",
        );
        return Ok(Compared::LeftOut);
    };
    indent(&check::text(&outcome));
    if !outcome.passed {
        tell("the comparison with llama.cpp failed: see check.json");
    }
    Ok(Compared::Made(outcome))
}

fn closing(finished: &Finished, steps: &Steps) -> String {
    let mut text = evaluate::text(&finished.evaluated.report);
    if let Some(check) = finished.compared.outcome() {
        text += &check::text(check);
    }
    let total: f64 = steps.timings.iter().map(|timing| timing.seconds).sum();
    let _ = write!(
        text,
        "{} in all; run directory {}\npage: {}",
        spoken(std::time::Duration::from_secs_f64(total)),
        finished.run.folder.display(),
        finished.evaluated.html.display()
    );
    text
}

fn indent(text: &str) {
    for line in text.trim_end().lines() {
        output::note(&format!("  {line}"));
    }
}

/// The numbered steps on standard error, with the time each took.
#[derive(Default)]
struct Steps {
    timings: Vec<Timing>,
    started: Option<Instant>,
}

impl Steps {
    fn begin(&mut self) -> anyhow::Result<()> {
        interrupt::check()?;
        let number = self.timings.len();
        output::note(&format!(
            "[{}/{}] {}",
            number + 1,
            STEPS.len(),
            STEPS[number]
        ));
        self.started = Some(Instant::now());
        Ok(())
    }

    fn end(&mut self) {
        let elapsed = self
            .started
            .take()
            .map(|started| started.elapsed())
            .unwrap_or_default();
        output::note(&format!("  {}", spoken(elapsed)));
        self.timings.push(Timing {
            stage: STEPS[self.timings.len()].to_owned(),
            seconds: elapsed.as_secs_f64(),
        });
    }
}
