//! What the service answers over HTTP. The champion's word alone is served as a signal.
//!
//! `openapi.json` describes it; a test holds that both name the same paths.

use std::sync::Arc;
use std::time::{Duration, Instant};

use dataset::render_prompt;
use serde_json::{Value, json};
use stats::argmax;

use super::board::{Board, LATENCY_BOUNDS};
use super::dashboard;
use super::desk::{Desk, Unanswered};
use super::preregistration::sha256;
use super::record::Decision;
use super::service::Setup;
use super::summary::{self, Verdicts};
use crate::class;
use crate::http::{Body, Handler, Request, Response};
use crate::registry::Registry;
use crate::request;

const OPENAPI: &str = include_str!("openapi.json");
/// How often a silent event stream says that it lives.
const HEARTBEAT: Duration = Duration::from_secs(10);
const SIGNAL: &str = "/v1/signal/";

/// Everything answers are made of.
pub struct Routes {
    /// What is shown.
    pub board: Arc<Board>,
    /// Where questions are put.
    pub desk: Desk,
    /// What prompts are made by.
    pub setup: Setup,
    /// The verdict on the log.
    pub verdicts: Verdicts,
    /// The promotions.
    pub registry: Registry,
}

impl Handler for Routes {
    fn answer(&self, request: &Request) -> Response {
        let method = if request.method == "HEAD" {
            "GET"
        } else {
            request.method.as_str()
        };
        let path = request.path.as_str();
        let allowed = match path {
            "/v1/decide" => "POST",
            _ => "GET",
        };
        if method != allowed {
            let text = format!(
                "`{}` is not answered here, expected {allowed}",
                request.method
            );
            return Response::error(405, &text).header("Allow", allowed);
        }
        if let Some(name) = path.strip_prefix(SIGNAL) {
            return self.signal(name);
        }
        match path {
            "/healthz" => {
                let (well, value) = self.board.health();
                Response::json(if well { 200 } else { 503 }, &value)
            }
            "/metrics" => Response::new(200, "text/plain; version=0.0.4", self.metrics()),
            "/openapi.json" => Response::new(200, "application/json", OPENAPI),
            "/v1/decide" => self.decide(&request.body),
            "/v1/events" => self.events(request),
            "/v1/summary" => {
                let history = self.registry.history().unwrap_or_default();
                let name = request.value("instrument");
                let parts = summary::Parts {
                    board: &self.board,
                    verdicts: &self.verdicts,
                    promotions: &history,
                    mode: self.setup.mode,
                    now: (self.setup.clock)(),
                };
                Response::json(200, &summary::of(&parts, name))
            }
            _ => dashboard::file(path).unwrap_or_else(|| {
                Response::error(
                    404,
                    "there is nothing here; GET /openapi.json lists what there is",
                )
            }),
        }
    }

    fn answered(&self, status: u16) {
        self.board.answered(status);
    }

    fn is_stopping(&self) -> bool {
        self.board.is_stopping()
    }
}

impl Routes {
    fn signal(&self, name: &str) -> Response {
        match self.board.signal(name) {
            Ok(decision) => Response::json(200, &self.signal_json(&decision)),
            Err(known) => {
                let text = if known.is_empty() {
                    "nothing is decided yet".to_owned()
                } else {
                    format!("no such instrument; decided are {}", known.join(", "))
                };
                Response::error(404, &text)
            }
        }
    }

    fn signal_json(&self, decision: &Decision) -> Value {
        let bar = decision.timeframe.milliseconds();
        let stride = i64::from(self.setup.settings.decision_stride_bars);
        let until = decision.decision_time.0 + bar * stride + self.setup.late_after;
        let now = (self.setup.clock)();
        json!({
            "instrument": decision.instrument,
            "timeframe": decision.timeframe,
            "decision": class::name(decision.decision),
            "probabilities": by_class(decision.probabilities),
            "decision_time": decision.decision_time,
            "decided_at": decision.decided_at,
            "late": decision.late,
            "valid_until": market::Timestamp(until),
            "stale": now.0 > until,
            "price": decision.price,
            "arm": decision.arm,
            "adapter_sha256": decision.adapter_sha256,
            "prompt_sha256": decision.prompt_sha256,
            "id": decision.id,
        })
    }

    fn decide(&self, body: &[u8]) -> Response {
        let request = match request::Request::parse(body) {
            Ok(request) => request,
            Err(error) => return Response::error(400, &error.to_string()),
        };
        if request.lora_override.is_some() {
            let text = "`_lora_override`: the service answers for its champion alone; `foretune predict` takes others";
            return Response::error(422, text);
        }
        let now = (self.setup.clock)();
        let settings = &self.setup.settings;
        let view = match request.view(settings, now) {
            Ok(view) => view,
            Err(error) => return Response::error(422, &error.to_string()),
        };
        let prompt = match render_prompt(&view, &self.setup.templates, settings) {
            Ok(prompt) => prompt,
            Err(error) => return Response::error(422, &error.to_string()),
        };
        let prompt_sha256 = sha256(prompt.as_bytes());
        let started = Instant::now();
        match self.desk.ask(prompt) {
            Ok(told) => Response::json(
                200,
                &json!({
                    "asset": view.instrument,
                    "decision_time": view.decision_time,
                    "decision": class::name(argmax(&told.answer.probabilities)),
                    "probabilities": by_class(told.answer.probabilities),
                    "raw_probabilities": by_class(told.answer.raw),
                    "arm": told.arm.name,
                    "model_sha256": self.setup.model_sha256,
                    "adapter_sha256": told.arm.adapter_sha256,
                    "template_sha256": self.setup.template_sha256,
                    "prompt_sha256": prompt_sha256,
                    "prompt_tokens": told.prompt_tokens,
                    "latency_ms": started.elapsed().as_secs_f64() * 1e3,
                }),
            ),
            Err(Unanswered::Busy) => {
                Response::error(503, "the model is busy; ask again").header("Retry-After", "5")
            }
            Err(Unanswered::Failed(reason)) => Response::error(422, &reason),
        }
    }

    /// Server-sent events: every record of the log as it is written.
    fn events(&self, request: &Request) -> Response {
        let asked = request.last_event_id.as_deref().or(request.value("after"));
        let mut after = match asked.map(str::parse) {
            Some(Ok(after)) => after,
            Some(Err(_)) => return Response::error(400, "`after` is no number"),
            None => self.board.sequence(),
        };
        let board = Arc::clone(&self.board);
        let pump = move || {
            let shown = board.since(after, HEARTBEAT);
            if shown.is_empty() {
                return b": alive\n\n".to_vec();
            }
            let mut out = String::new();
            for shown in shown {
                after = shown.sequence;
                out += &format!(
                    "id: {}\nevent: {}\ndata: {}\n\n",
                    shown.sequence, shown.kind, shown.line
                );
            }
            out.into_bytes()
        };
        Response {
            status: 200,
            headers: vec![("Content-Type", "text/event-stream".to_owned())],
            body: Body::Stream(Box::new(pump)),
        }
    }

    fn metrics(&self) -> String {
        let counts = self.board.counts();
        let figures = self.board.figures();
        let (well, _) = self.board.health();
        let mut out = String::new();
        let mut describe = |name: &str, kind: &str, help: &str, lines: &[String]| {
            out += &format!("# HELP foretune_{name} {help}\n# TYPE foretune_{name} {kind}\n");
            for line in lines {
                out += &format!("foretune_{name}{line}\n");
            }
        };
        describe(
            "up",
            "gauge",
            "1 while decisions can be made and written.",
            &[format!(" {}", u8::from(well))],
        );
        describe(
            "bars_decided_total",
            "counter",
            "Bars decided since the start.",
            &[format!(" {}", counts.bars)],
        );
        let mut by_arm = vec![[0_u64; class::COUNT]; figures.arms.len()];
        for row in &figures.decisions {
            if let Some(count) = by_arm[row.arm as usize].get_mut(row.class as usize) {
                *count += 1;
            }
        }
        let lines: Vec<String> = figures
            .arms
            .iter()
            .zip(&by_arm)
            .flat_map(|(arm, counts)| {
                let line = move |(class, count): (usize, &u64)| {
                    format!(
                        "{{arm=\"{}\",decision=\"{}\"}} {count}",
                        escaped(arm),
                        class::name(class)
                    )
                };
                counts.iter().enumerate().map(line).collect::<Vec<_>>()
            })
            .collect();
        describe(
            "decisions",
            "gauge",
            "Decisions in the log by arm and class.",
            &lines,
        );
        describe(
            "outcomes",
            "gauge",
            "Outcomes in the log.",
            &[format!(" {}", figures.outcomes.len())],
        );
        let mut lines: Vec<String> = LATENCY_BOUNDS
            .iter()
            .zip(counts.latency)
            .map(|(bound, count)| format!("_bucket{{le=\"{bound}\"}} {count}"))
            .collect();
        lines.push(format!("_bucket{{le=\"+Inf\"}} {}", counts.passes));
        lines.push(format!("_sum {}", counts.latency_sum));
        lines.push(format!("_count {}", counts.passes));
        describe(
            "decision_seconds",
            "histogram",
            "Time of all arms on the bars of an instant.",
            &lines,
        );
        let lines: Vec<String> = counts
            .requests
            .iter()
            .map(|(status, count)| format!("{{status=\"{status}\"}} {count}"))
            .collect();
        describe("requests_total", "counter", "Requests answered.", &lines);
        out
    }
}

fn by_class([buy, sell, hold]: [f64; class::COUNT]) -> Value {
    json!({"BUY": buy, "SELL": sell, "HOLD": hold})
}

/// Returns a label value as Prometheus reads it.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}
