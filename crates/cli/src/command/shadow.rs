//! `foretune shadow`: champion and challengers decide on the same bars, live or on history.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::Args;
use market::Timestamp;
use serve::registry::{BASE, Registry};
use serve::shadow::{Metric, Mode, Preregistration};
use toml::Value;

use crate::arguments::Global;
use crate::exit::{Exit, Stop};
use crate::flow::judge::Bench;
use crate::flow::package::Named;
use crate::flow::shadow::{Job, live, replay};
use crate::output::Printed;
use crate::settings::{Settings, Shadow};

/// Let challengers decide beside the champion, on closed bars, and log it all
///
/// Watches a freqtrade data directory (or polls Binance) and asks champion and challengers about
/// every bar that closes, with the same prompt and one base model in memory. Everything is
/// appended to the log before it is shown; outcomes are added when they mature. Only the
/// champion's decision is served over HTTP. With --replay, history runs through the very same
/// path at speed.
#[derive(Args, Debug)]
#[command(after_help = "\
Writes into the log directory:
  preregistration.json    the rule of the comparison, laid down before the first decision
  ab_test_log.jsonl       decisions, outcomes and events, a file a day (docs/shadow-log.md)

Whatever is laid down may stand in the section [shadow] of foretune.toml.

Examples:
  foretune shadow --champion base --challenger runs/first --data user_data/data/binance
  foretune shadow --champion runs/a --challenger runs/b --replay --from 2023-01-01 --to 2024-12-31
  foretune shadow --binance https://api.binance.com --instrument BTC/USDT --challenger runs/b")]
pub(crate) struct Typed {
    /// Adapter of the registry, run directory, or `base` [default: shadow.champion, else the
    /// registry's]
    #[arg(long, value_name = "NAME|RUN")]
    champion: Option<String>,
    /// Who decides in the shadow (repeatable) [default: shadow.challengers, else the registry's]
    #[arg(long, value_name = "NAME|RUN")]
    challenger: Vec<String>,
    /// Adapter registry; a promotion there is taken over without a restart [default:
    /// shadow.registry]
    #[arg(long, value_name = "DIR")]
    registry: Option<PathBuf>,
    /// Directory of the log [default: shadow.log]
    #[arg(long, value_name = "DIR")]
    log: Option<PathBuf>,
    /// freqtrade data directory [default: data.directory, else the bundled candles]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Instrument (repeatable) [default: data.instruments, else all that fit]
    #[arg(long, value_name = "PAIR")]
    instrument: Vec<String>,
    /// Poll klines of this interface instead of watching a directory [default: shadow.binance]
    #[arg(long, value_name = "URL", conflicts_with_all = ["replay", "data"])]
    binance: Option<String>,
    /// Bars asked for before the present, so that indicators are warm [default:
    /// shadow.warm_up_bars]
    #[arg(long, value_name = "N")]
    warm_up_bars: Option<usize>,
    /// Run history through the same path at speed, then end
    #[arg(long)]
    replay: bool,
    /// Replay from here [default: the beginning]
    #[arg(long, value_name = "TIME", requires = "replay")]
    from: Option<Timestamp>,
    /// Replay up to here [default: the end]
    #[arg(long, value_name = "TIME", requires = "replay")]
    to: Option<Timestamp>,
    /// Seconds after a bar's close from which a decision counts as late [default:
    /// shadow.late_after]
    #[arg(long, value_name = "N")]
    late_after: Option<u32>,
    /// Show figures before and after this time, the end of what the base model may have read
    /// [default: shadow.knowledge_cutoff]
    #[arg(long, value_name = "TIME")]
    knowledge_cutoff: Option<Timestamp>,
    #[command(flatten)]
    http: Http,
    #[command(flatten)]
    rule: Rule,
}

/// What is served.
#[derive(Args, Debug)]
#[command(next_help_heading = "HTTP")]
struct Http {
    /// Address to listen on; beyond loopback a token is required
    /// [default: shadow.listen; nothing in a replay]
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// File with the bearer token that clients must send [default: shadow.token_file]
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Requests of one client a second [default: shadow.requests_per_second]
    #[arg(long, value_name = "N")]
    requests_per_second: Option<u32>,
    /// Do not listen
    #[arg(long = "no-http", conflicts_with = "listen")]
    silent: bool,
}

/// What is laid down before the first decision.
#[derive(Args, Debug)]
#[command(next_help_heading = "Pre-registration")]
struct Rule {
    /// What arms are scored by: brier, net-utility [default: shadow.metric]
    #[arg(long, value_name = "NAME", value_parser = metric)]
    metric: Option<Metric>,
    /// Probability of promoting a challenger that is no better [default: shadow.alpha]
    #[arg(long, value_name = "P")]
    alpha: Option<f64>,
    /// Blocks before which nothing is decided [default: shadow.minimum_blocks]
    #[arg(long, value_name = "N")]
    minimum_blocks: Option<usize>,
    /// Score differences are clipped to plus and minus this [default: shadow.clip]
    #[arg(long, value_name = "X")]
    clip: Option<f64>,
    /// Largest drawdown of the challenger that allows a promotion, a fraction [default:
    /// shadow.max_drawdown]
    #[arg(long, value_name = "X")]
    max_drawdown: Option<f64>,
    /// Trading cost per side [default: shadow.cost_per_side, else evaluate.cost_per_side]
    #[arg(long, value_name = "X")]
    cost_per_side: Option<f64>,
}

impl Typed {
    /// Returns the settings that the flags set.
    fn settings(&self) -> Vec<(&'static str, String)> {
        let (http, rule) = (&self.http, &self.rule);
        let quoted = |text: &dyn std::fmt::Display| Value::String(text.to_string()).to_string();
        let path = |path: &Option<PathBuf>| path.as_ref().map(|path| quoted(&path.display()));
        let names: Vec<String> = self.challenger.iter().map(|name| quoted(name)).collect();
        let metric = rule.metric.map(|metric| match metric {
            Metric::Brier => quoted(&"brier"),
            Metric::NetUtility => quoted(&"net_utility"),
        });
        let all = [
            (
                "shadow.champion",
                self.champion.as_ref().map(|name| quoted(name)),
            ),
            (
                "shadow.challengers",
                (!names.is_empty()).then(|| format!("[{}]", names.join(", "))),
            ),
            ("shadow.registry", path(&self.registry)),
            ("shadow.log", path(&self.log)),
            (
                "shadow.binance",
                self.binance.as_ref().map(|url| quoted(url)),
            ),
            (
                "shadow.warm_up_bars",
                self.warm_up_bars.map(|n| n.to_string()),
            ),
            ("shadow.late_after", self.late_after.map(|n| n.to_string())),
            (
                "shadow.knowledge_cutoff",
                self.knowledge_cutoff.map(|time| quoted(&time)),
            ),
            ("shadow.listen", http.listen.map(|address| quoted(&address))),
            ("shadow.token_file", path(&http.token_file)),
            (
                "shadow.requests_per_second",
                http.requests_per_second.map(|n| n.to_string()),
            ),
            ("shadow.metric", metric),
            ("shadow.alpha", rule.alpha.map(float)),
            (
                "shadow.minimum_blocks",
                rule.minimum_blocks.map(|n| n.to_string()),
            ),
            ("shadow.clip", rule.clip.map(float)),
            ("shadow.max_drawdown", rule.max_drawdown.map(float)),
            ("shadow.cost_per_side", rule.cost_per_side.map(float)),
        ];
        let set = all
            .into_iter()
            .filter_map(|(key, value)| Some((key, value?)));
        set.collect()
    }
}

/// Returns a number as TOML has it: with a point even when it is whole.
fn float(value: f64) -> String {
    format!("{value:?}")
}

fn metric(text: &str) -> Result<Metric, String> {
    match text {
        "brier" => Ok(Metric::Brier),
        "net-utility" | "net_utility" => Ok(Metric::NetUtility),
        _ => Err("expected `brier` or `net-utility`".to_owned()),
    }
}

/// Runs the command.
///
/// # Errors
/// When arms, data, log or address cannot be used; in a replay also on Ctrl-C. Ctrl-C ends a live
/// service in order.
pub(crate) fn run(typed: &Typed, global: &Global) -> anyhow::Result<Printed> {
    if let (Some(from), Some(to)) = (typed.from, typed.to)
        && from > to
    {
        let message = format!("`--from {from}` is after `--to {to}`");
        return Err(Stop::new(Exit::Usage, message)
            .hint("there is nothing between them to replay")
            .into());
    }
    let settings = Settings::resolve(global, &typed.settings())?;
    let rule = settings.shadow.clone();
    let registry = Registry::new(&rule.registry);
    let names = arms(&rule, &registry)?;
    let token = rule.token_file.as_deref().map(token).transpose()?;
    let bench = Bench::load(&names, &registry)?;
    bench.require_challenger()?;
    let mut data = settings.data.clone();
    if let Some(directory) = &typed.data {
        data.directory = Some(directory.clone());
    }
    if !typed.instrument.is_empty() {
        data.instruments.clone_from(&typed.instrument);
    }
    let settings = Settings {
        data,
        dataset: bench.settings.clone(),
        ..settings
    };
    let mode = if typed.replay {
        Mode::Replay
    } else {
        Mode::Live
    };
    let job = Job {
        preregistration: Preregistration {
            schema: serve::shadow::preregistration::SCHEMA,
            metric: rule.metric,
            alpha: rule.alpha,
            minimum_blocks: rule.minimum_blocks,
            clip: rule.clip,
            max_drawdown: rule.max_drawdown,
            cost_per_side: rule
                .cost_per_side
                .unwrap_or(settings.evaluate.cost_per_side),
            horizon_hours: bench.settings.horizon_hours,
            dataset: serde_json::to_value(&bench.settings)?,
            model_sha256: bench.base.sha256.clone(),
            template_sha256: bench.template_sha256.clone(),
            arms: serve::shadow::Judge::arms(&bench).to_vec(),
        },
        mode,
        registry,
        log: rule.log.clone(),
        listen: listen(&typed.http, &rule, mode),
        token,
        requests_per_second: rule.requests_per_second,
        late_after: i64::from(rule.late_after) * 1000,
        knowledge_cutoff: rule.knowledge_cutoff,
        settings,
    };
    if typed.replay {
        return replay(&job, bench, (typed.from, typed.to));
    }
    // A directory named here is meant, whatever exchange the settings name.
    let binance = rule.binance.filter(|_| typed.data.is_none());
    live(&job, bench, binance.as_deref(), rule.warm_up_bars)
}

/// Returns the arms' names, the champion first.
fn arms(shadow: &Shadow, registry: &Registry) -> anyhow::Result<Vec<String>> {
    let state = registry.state()?;
    let champion = match (&shadow.champion, &state) {
        (Some(name), _) => name.clone(),
        (None, Some(state)) => state.champion.clone(),
        (None, None) => BASE.to_owned(),
    };
    let mut names = vec![champion];
    let asked = match (&state, shadow.challengers.is_empty()) {
        (Some(state), true) => state.challengers.clone(),
        _ => shadow.challengers.clone(),
    };
    let own = Named::find(&names[0], registry)?.adapter_sha256()?;
    for name in asked {
        let promoted = shadow.champion.is_none()
            && state.is_some()
            && Named::find(&name, registry)?.adapter_sha256()? == own;
        // The challenger has become champion: the one before shadows now.
        let before = state.as_ref().and_then(|state| state.before.last());
        let name = before.filter(|_| promoted).cloned().unwrap_or(name);
        if !names.contains(&name) {
            names.push(name);
        }
    }
    if names.len() < 2 {
        let message = "there is no challenger: nobody to compare the champion with";
        return Err(Stop::new(Exit::Usage, message)
            .hint("name one with --challenger, such as `--challenger runs/first`")
            .into());
    }
    Ok(names)
}

/// A replay listens only where it is told to.
fn listen(http: &Http, shadow: &Shadow, mode: Mode) -> Option<SocketAddr> {
    let listens = !http.silent && (mode == Mode::Live || http.listen.is_some());
    listens.then_some(shadow.listen)
}

fn token(path: &Path) -> anyhow::Result<String> {
    let text =
        std::fs::read_to_string(path).map_err(|error| crate::files::fail("read", path, error))?;
    let token = text.trim();
    // A header cannot carry a second line: nobody could ever send it.
    if token.contains(|c: char| c.is_whitespace() || c.is_control()) {
        let message = format!(
            "`{}` holds more than a token: expected one line without blanks",
            path.display()
        );
        return Err(Stop::new(Exit::Usage, message)
            .hint("write the token alone: `openssl rand -hex 24 > FILE`")
            .into());
    }
    Ok(token.to_owned())
}
