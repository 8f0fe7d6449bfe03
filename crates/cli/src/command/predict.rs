//! `foretune predict`: one market in, one decision out.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Args;
use dataset::{Decision, render_prompt};
use serde_json::{Value, json};
use serve::registry::Registry;
use serve::request::{Request, RequestError};
use serve::shadow::{Answer, Judge};
use stats::argmax;

use crate::arguments::Global;
use crate::exit::{Exit, Stop};
use crate::flow::judge::Bench;
use crate::flow::registry::registry;
use crate::output::{self, Printed};
use crate::{clock, interrupt, run};

/// Requests answered in one go.
const CHUNK: usize = 64;
/// The largest input that is read, in bytes.
const LARGEST: u64 = 1 << 30;

/// Decide about one market, given as one JSON object
///
/// Reads an object, or with --batch one a line, and writes one for each: the decision, the
/// calibrated probabilities of BUY, SELL and HOLD, the reason, and the digests of everything the
/// answer hangs on. The prompt is rendered by the same template as the training examples. A
/// number that the prompt shows must be given; Fear & Greed, headlines and timeframes may be
/// missing and are then shown as unknown.
#[derive(Args, Debug)]
#[command(after_help = "\
Input: asset, price, change (24 h, as a fraction), indicators (rsi, macd_histogram, ema_9,
ema_21, ema_50, ema_200, percent_b, volatility), fear_greed, headlines, timeframes,
_lora_override (another adapter, or \"base\"). docs/shadow.md has an example.

Examples:
  foretune predict market.json --adapter runs/first
  foretune predict market.json                      the registry's champion
  foretune predict --batch markets.jsonl --adapter runs/first --no-reason")]
pub(crate) struct Typed {
    /// File with the request; `-` for standard input
    #[arg(value_name = "FILE", default_value = "-")]
    input: PathBuf,
    /// Adapter of the registry or run directory [default: the registry's champion]
    #[arg(long, value_name = "NAME|RUN")]
    adapter: Option<String>,
    /// Adapter registry [default: shadow.registry]
    #[arg(long, value_name = "DIR")]
    registry: Option<PathBuf>,
    /// The input has one request a line
    #[arg(long)]
    batch: bool,
    /// Leave out the reason, which takes longer than the decision
    #[arg(long)]
    no_reason: bool,
    /// Tokens of a reason at most
    #[arg(long, value_name = "N", default_value_t = 56)]
    max_new_tokens: usize,
    /// Show the rendered prompt as well
    #[arg(long)]
    show_prompt: bool,
}

/// A request with its place in the input.
struct Asked {
    line: usize,
    request: Request,
}

/// Runs the command.
///
/// # Errors
/// When the input, the adapter or its base model cannot be used, or on Ctrl-C.
pub(crate) fn run(typed: &Typed, global: &Global) -> anyhow::Result<Printed> {
    let registry = registry(typed.registry.as_deref(), global)?;
    let text = read(&typed.input)?;
    let chosen = match &typed.adapter {
        Some(name) => name.clone(),
        None => champion(&registry)?,
    };
    if !typed.batch {
        let request = Request::parse(&text).map_err(|error| refuse(&typed.input, None, &error))?;
        let mut oracle = Oracle::load(chosen, registry, typed)?;
        let asked = Asked { line: 1, request };
        let mut answers = oracle.answer(&[asked])?;
        return match answers.pop() {
            Some(Ok(answer)) => Ok(Printed::new(answer.clone(), answer.to_string())),
            Some(Err(error)) => Err(refuse(&typed.input, None, &error).into()),
            None => Err(Stop::new(Exit::Failure, "no answer").into()),
        };
    }
    batch(typed, &text, &chosen, &registry)
}

fn batch(typed: &Typed, text: &[u8], chosen: &str, registry: &Registry) -> anyhow::Result<Printed> {
    let mut oracle: Option<Oracle> = None;
    let (mut done, mut failed) = (0, 0);
    let lines: Vec<(usize, &[u8])> = text
        .split(|byte| *byte == b'\n')
        .enumerate()
        .map(|(index, line)| (index + 1, line))
        .filter(|(_, line)| !line.trim_ascii().is_empty())
        .collect();
    for chunk in lines.chunks(CHUNK) {
        interrupt::check()?;
        let mut out: BTreeMap<usize, Value> = BTreeMap::new();
        let mut asked = Vec::with_capacity(chunk.len());
        for (line, text) in chunk {
            match Request::parse(text) {
                Ok(request) => asked.push(Asked {
                    line: *line,
                    request,
                }),
                Err(error) => {
                    out.insert(*line, json!({"line": line, "error": error.to_string()}));
                }
            }
        }
        if oracle.is_none() && !asked.is_empty() {
            oracle = Some(Oracle::load(chosen.to_owned(), registry.clone(), typed)?);
        }
        if let Some(oracle) = &mut oracle {
            for (asked, answer) in asked.iter().zip(oracle.answer(&asked)?) {
                let answer = answer.unwrap_or_else(
                    |error| json!({"line": asked.line, "error": error.to_string()}),
                );
                out.insert(asked.line, answer);
            }
        }
        done += out.len();
        failed += out
            .values()
            .filter(|answer| answer["error"].is_string())
            .count();
        let lines: Vec<String> = out.values().map(Value::to_string).collect();
        output::print(&Printed::new(Value::Null, lines.join("\n")), false)?;
    }
    let mut printed = Printed::new(Value::Null, "");
    if failed > 0 {
        output::warn(&format!(
            "{failed} of {done} requests could not be answered"
        ));
        printed.stop = Some(Stop::new(
            Exit::Data,
            format!("{failed} requests were refused"),
        ));
    }
    Ok(printed)
}

/// Answers requests, changing the adapter where one asks for another.
struct Oracle<'a> {
    bench: Bench,
    registry: Registry,
    chosen: String,
    seated: String,
    typed: &'a Typed,
}

impl<'a> Oracle<'a> {
    fn load(chosen: String, registry: Registry, typed: &'a Typed) -> anyhow::Result<Self> {
        Ok(Self {
            bench: Bench::load(std::slice::from_ref(&chosen), &registry)?,
            registry,
            seated: chosen.clone(),
            chosen,
            typed,
        })
    }

    /// Answers requests in their order; requests of one adapter share a pass.
    fn answer(&mut self, asked: &[Asked]) -> anyhow::Result<Vec<Result<Value, RequestError>>> {
        let mut groups: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for (index, asked) in asked.iter().enumerate() {
            let arm = asked.request.lora_override.as_ref().unwrap_or(&self.chosen);
            groups.entry(arm.clone()).or_default().push(index);
        }
        let mut answers: Vec<Option<Result<Value, RequestError>>> =
            asked.iter().map(|_| None).collect();
        for (arm, members) in groups {
            if arm != self.seated {
                if let Err(error) = self
                    .bench
                    .change(std::slice::from_ref(&arm), &self.registry)
                {
                    for index in members {
                        answers[index] = Some(Err(RequestError::Value {
                            field: "_lora_override".to_owned(),
                            reason: format!("{error:#}"),
                        }));
                    }
                    continue;
                }
                self.seated = arm;
            }
            self.answer_group(asked, &members, &mut answers)?;
        }
        Ok(answers.into_iter().flatten().collect())
    }

    fn answer_group(
        &mut self,
        asked: &[Asked],
        members: &[usize],
        answers: &mut [Option<Result<Value, RequestError>>],
    ) -> anyhow::Result<()> {
        let now = clock::now();
        let mut prompts = Vec::with_capacity(members.len());
        let mut fit = Vec::with_capacity(members.len());
        for &index in members {
            match asked[index].request.view(&self.bench.settings, now) {
                Ok(view) => {
                    let bench = &self.bench;
                    prompts.push(render_prompt(&view, &bench.templates, &bench.settings)?);
                    fit.push((index, view));
                }
                Err(error) => answers[index] = Some(Err(error)),
            }
        }
        if fit.is_empty() {
            return Ok(());
        }
        let started = Instant::now();
        let judged = self
            .bench
            .judge(&prompts)
            .map_err(|error| anyhow::anyhow!(error))?;
        let mut reasons = vec![None; prompts.len()];
        if !self.typed.no_reason {
            let decided: Vec<usize> = judged.answers[0]
                .iter()
                .map(|answer| argmax(&answer.probabilities))
                .collect();
            let written = self
                .bench
                .reasons(&prompts, &decided, self.typed.max_new_tokens)?;
            reasons = written.into_iter().map(Some).collect();
        }
        let latency = started.elapsed().as_secs_f64() * 1e3;
        let sheet = &self.bench.arms()[0];
        for (row, (index, view)) in fit.into_iter().enumerate() {
            let Answer { probabilities, raw } = judged.answers[0][row];
            let mut answer = json!({
                "asset": view.instrument.as_str(),
                "decision_time": view.decision_time,
                "decision": Decision::ALL[argmax(&probabilities)],
                "probabilities": by_class(probabilities),
                "raw_probabilities": by_class(raw),
                "reason": reasons[row],
                "arm": sheet.name,
                "model_sha256": self.bench.base.sha256,
                "adapter_sha256": sheet.adapter_sha256,
                "template_sha256": self.bench.template_sha256,
                "prompt_sha256": run::sha256(prompts[row].as_bytes()),
                "prompt_tokens": judged.tokens[row],
                "latency_ms": latency,
            });
            if self.typed.show_prompt {
                answer["prompt"] = prompts[row].clone().into();
            }
            answers[index] = Some(Ok(answer));
        }
        Ok(())
    }
}

fn by_class([buy, sell, hold]: [f64; 3]) -> Value {
    json!({"BUY": buy, "SELL": sell, "HOLD": hold})
}

fn champion(registry: &Registry) -> anyhow::Result<String> {
    match registry.state()? {
        Some(state) => Ok(state.champion),
        None => Err(Stop::new(
            Exit::Usage,
            format!(
                "the registry `{}` has no champion",
                registry.folder().display()
            ),
        )
        .hint("name a run with --adapter, or make one champion with `foretune promote RUN`")
        .into()),
    }
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    let mut text = Vec::new();
    let fail = |error| crate::files::fail("read", path, error);
    if path == Path::new("-") {
        std::io::stdin()
            .lock()
            .take(LARGEST)
            .read_to_end(&mut text)?;
    } else {
        let file = std::fs::File::open(path).map_err(fail)?;
        file.take(LARGEST).read_to_end(&mut text).map_err(fail)?;
    }
    Ok(text)
}

fn refuse(path: &Path, line: Option<usize>, error: &RequestError) -> Stop {
    let place = match line {
        Some(line) => format!("`{}` line {line}", path.display()),
        None => format!("`{}`", path.display()),
    };
    Stop::new(Exit::Data, format!("{place}: {error}"))
        .hint("`foretune predict --help` lists the fields")
}
