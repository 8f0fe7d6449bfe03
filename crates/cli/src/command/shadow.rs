//! `foretune shadow`: champion and challengers decide on the same bars, live or on history.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::Args;
use market::Timestamp;
use serve::registry::{BASE, Registry};
use serve::shadow::{Metric, Mode, Preregistration};

use crate::arguments::Global;
use crate::exit::{Exit, Stop};
use crate::flow::judge::Bench;
use crate::flow::package::Named;
use crate::flow::shadow::{Job, live, replay};
use crate::output::Printed;
use crate::settings::Settings;

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

Examples:
  foretune shadow --champion base --challenger runs/first --data user_data/data/binance
  foretune shadow --champion runs/a --challenger runs/b --replay --from 2023-01-01 --to 2024-12-31
  foretune shadow --binance https://api.binance.com --instrument BTC/USDT --challenger runs/b")]
pub(crate) struct Typed {
    /// Adapter of the registry, run directory, or `base` [default: the registry's champion]
    #[arg(long, value_name = "NAME|RUN")]
    champion: Option<String>,
    /// Who decides in the shadow (repeatable) [default: the registry's challengers]
    #[arg(long, value_name = "NAME|RUN")]
    challenger: Vec<String>,
    /// Adapter registry; a promotion there is taken over without a restart
    #[arg(long, value_name = "DIR", default_value = "adapters")]
    registry: PathBuf,
    /// Directory of the log
    #[arg(long, value_name = "DIR", default_value = "shadow")]
    log: PathBuf,
    /// freqtrade data directory [default: data.directory, else the bundled candles]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Instrument (repeatable) [default: data.instruments, else all that fit]
    #[arg(long, value_name = "PAIR")]
    instrument: Vec<String>,
    /// Poll klines of this interface instead of watching a directory
    #[arg(long, value_name = "URL", conflicts_with_all = ["replay", "data"])]
    binance: Option<String>,
    /// Bars asked for before the present, so that indicators are warm
    #[arg(long, value_name = "N", default_value_t = 2000)]
    warm_up_bars: usize,
    /// Run history through the same path at speed, then end
    #[arg(long)]
    replay: bool,
    /// Replay from here [default: the beginning]
    #[arg(long, value_name = "TIME", requires = "replay")]
    from: Option<Timestamp>,
    /// Replay up to here [default: the end]
    #[arg(long, value_name = "TIME", requires = "replay")]
    to: Option<Timestamp>,
    /// Seconds after a bar's close from which a decision counts as late
    #[arg(long, value_name = "N", default_value_t = 300)]
    late_after: u32,
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
    /// [default: 127.0.0.1:8787; nothing in a replay]
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// File with the bearer token that clients must send
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Requests of one client a second
    #[arg(long, value_name = "N", default_value_t = 500)]
    requests_per_second: u32,
    /// Do not listen
    #[arg(long = "no-http", conflicts_with = "listen")]
    silent: bool,
}

/// What is laid down before the first decision.
#[derive(Args, Debug)]
#[command(next_help_heading = "Pre-registration")]
struct Rule {
    /// What arms are scored by: brier, net-utility
    #[arg(long, value_name = "NAME", default_value = "brier", value_parser = metric)]
    metric: Metric,
    /// Probability of promoting a challenger that is no better
    #[arg(long, value_name = "P", default_value_t = 0.05)]
    alpha: f64,
    /// Blocks before which nothing is decided
    #[arg(long, value_name = "N", default_value_t = 60)]
    minimum_blocks: usize,
    /// Score differences are clipped to plus and minus this
    #[arg(long, value_name = "X", default_value_t = 1.0)]
    clip: f64,
    /// Largest drawdown of the challenger that allows a promotion, a fraction
    #[arg(long, value_name = "X", default_value_t = 0.25)]
    max_drawdown: f64,
    /// Trading cost per side [default: evaluate.cost_per_side]
    #[arg(long, value_name = "X")]
    cost_per_side: Option<f64>,
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
    typed.rule.check()?;
    let registry = Registry::new(&typed.registry);
    let names = arms(typed, &registry)?;
    let settings = Settings::resolve(global, &[])?;
    let token = typed.http.token_file.as_deref().map(token).transpose()?;
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
    let rule = &typed.rule;
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
        log: typed.log.clone(),
        listen: listen(&typed.http, mode),
        token,
        requests_per_second: typed.http.requests_per_second,
        late_after: i64::from(typed.late_after) * 1000,
        settings,
    };
    if typed.replay {
        replay(&job, bench, (typed.from, typed.to))
    } else {
        live(&job, bench, typed.binance.as_deref(), typed.warm_up_bars)
    }
}

impl Rule {
    fn check(&self) -> Result<(), Stop> {
        let within = |name: &str, value: f64, low: f64, high: f64| {
            if value > low && value <= high {
                return Ok(());
            }
            let message = format!("`--{name} {value}`: expected above {low}, at most {high}");
            Err(Stop::new(Exit::Usage, message))
        };
        within("alpha", self.alpha, 0.0, 0.5)?;
        within("clip", self.clip, 0.0, 2.0)?;
        within("max-drawdown", self.max_drawdown, 0.0, 1.0)?;
        within(
            "cost-per-side",
            self.cost_per_side.unwrap_or(0.01),
            -1e-12,
            0.1,
        )?;
        within("minimum-blocks", self.minimum_blocks as f64, 0.0, 1e6)
    }
}

/// Returns the arms' names, the champion first.
fn arms(typed: &Typed, registry: &Registry) -> anyhow::Result<Vec<String>> {
    let state = registry.state()?;
    let champion = match (&typed.champion, &state) {
        (Some(name), _) => name.clone(),
        (None, Some(state)) => state.champion.clone(),
        (None, None) => BASE.to_owned(),
    };
    let mut names = vec![champion];
    let asked = match (&state, typed.challenger.is_empty()) {
        (Some(state), true) => state.challengers.clone(),
        _ => typed.challenger.clone(),
    };
    let own = Named::find(&names[0], registry)?.adapter_sha256()?;
    for name in asked {
        let promoted = typed.champion.is_none()
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

fn listen(http: &Http, mode: Mode) -> Option<SocketAddr> {
    match (http.silent, http.listen, mode) {
        (true, _, _) | (false, None, Mode::Replay) => None,
        (false, Some(address), _) => Some(address),
        (false, None, Mode::Live) => Some(SocketAddr::from(([127, 0, 0, 1], 8787))),
    }
}

fn token(path: &Path) -> anyhow::Result<String> {
    let text =
        std::fs::read_to_string(path).map_err(|error| crate::files::fail("read", path, error))?;
    Ok(text.trim().to_owned())
}
