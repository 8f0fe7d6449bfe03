//! The shadow service put together: log, arms, bars, HTTP, and the loop that joins them.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use market::binance::Client;
use market::freqtrade::{self, CandleKind};
use market::{Bars, Instrument, Surroundings, Timestamp};
use serde_json::json;
use serve::ServeError;
use serve::http::{Bound, Options, Server};
use serve::registry::{ChangeKind, Registry};
use serve::shadow::desk::{Inbox, desk};
use serve::shadow::feed::{Directory, Exchange, Feed, Source};
use serve::shadow::routes::Routes;
use serve::shadow::summary::Verdicts;
use serve::shadow::{
    Board, EventKind, History, Judge, Mode, Preregistration, Ready, Service, Setup, ShadowLog,
};

use super::data;
use super::judge::Bench;
use crate::exit::{Exit, Stop};
use crate::output::{self, Printed};
use crate::progress::{Progress, spoken};
use crate::settings::Settings;
use crate::{clock, interrupt};

/// How often files, registry and clock are looked at.
const LOOK: Duration = Duration::from_millis(250);
/// Bars gone by in which a bar that came late is still decided (and marked late).
const LOOK_BACK: i64 = 3;
/// How long a log that cannot be written is left alone.
const STORAGE_PAUSE: Duration = Duration::from_secs(5);

/// What a service is asked to do.
pub(crate) struct Job {
    pub(crate) preregistration: Preregistration,
    pub(crate) mode: Mode,
    pub(crate) registry: Registry,
    pub(crate) log: PathBuf,
    pub(crate) listen: Option<SocketAddr>,
    pub(crate) token: Option<String>,
    pub(crate) requests_per_second: u32,
    pub(crate) late_after: i64,
    pub(crate) knowledge_cutoff: Option<Timestamp>,
    pub(crate) settings: Settings,
}

/// A service ready to decide.
struct Opened {
    service: Service<Bench>,
    board: Arc<Board>,
    inbox: Inbox,
    server: Option<Server>,
}

/// Takes the address, opens the log, lays down the rule, begins to answer. A service that cannot
/// listen leaves no log behind.
fn open(job: &Job, bench: Bench) -> anyhow::Result<Opened> {
    job.preregistration.check()?;
    let bound = job.listen.map(|listen| {
        Bound::new(Options {
            listen,
            token: job.token.clone(),
            requests_per_second: job.requests_per_second,
        })
    });
    let bound = bound.transpose()?;
    let log = ShadowLog::open(&job.log)?;
    if log.dropped_bytes() > 0 {
        output::warn(&format!(
            "{} bytes of a line that was cut off were dropped; what it held is decided again",
            log.dropped_bytes()
        ));
    }
    let preregistration = lay_down(job)?;
    let now = match job.mode {
        Mode::Live => clock::now(),
        Mode::Replay => Timestamp(i64::MAX),
    };
    let history = History::read(&job.log, now)?;
    if !history.oddities.is_empty() {
        let first = &history.oddities[0];
        output::warn(&format!(
            "{} in the log; the first: `{}` line {}: {}",
            output::counted(history.oddities.len(), "odd line"),
            first.path.display(),
            first.line,
            first.reason
        ));
    }
    let setup = Setup {
        settings: bench.settings.clone(),
        templates: bench.templates.clone(),
        mode: job.mode,
        late_after: job.late_after,
        model_sha256: bench.base.sha256.clone(),
        template_sha256: bench.template_sha256.clone(),
        preregistration,
        clock: clock::now,
    };
    let board = Arc::new(Board::default());
    let (desk, inbox) = desk();
    let service = Service::resume(setup.clone(), bench, log, &history, Arc::clone(&board));
    let server = match bound {
        None => None,
        Some(bound) => {
            let routes = Routes {
                board: Arc::clone(&board),
                desk,
                setup,
                verdicts: Verdicts::new(job.log.clone(), job.knowledge_cutoff),
                registry: job.registry.clone(),
            };
            let server = bound.serve(Arc::new(routes));
            output::note(&format!("listening on http://{}", server.address()));
            Some(server)
        }
    };
    Ok(Opened {
        service,
        board,
        inbox,
        server,
    })
}

/// Lays down the rule, or finds it laid down. Roles are those of the beginning: a promotion on the
/// way does not make it another rule.
fn lay_down(job: &Job) -> anyhow::Result<String> {
    let mut rule = job.preregistration.clone();
    if job.log.join(serve::shadow::preregistration::FILE).exists() {
        let (before, _) = Preregistration::read(&job.log)?;
        let mut arms = rule.arms.clone();
        arms.sort_by_key(|arm| before.arms.iter().position(|known| known.name == arm.name));
        for (arm, known) in arms.iter_mut().zip(&before.arms) {
            arm.role = known.role;
        }
        rule.arms = arms;
    }
    Ok(rule.lay_down(&job.log)?)
}

/// Runs history through the service.
///
/// # Errors
/// When candles or log cannot be used, or on Ctrl-C; the same command goes on from there.
pub(crate) fn replay(
    job: &Job,
    bench: Bench,
    (from, to): (Option<Timestamp>, Option<Timestamp>),
) -> anyhow::Result<Printed> {
    let candles = data::load(&job.settings)?;
    for note in &candles.notes {
        output::warn(note);
    }
    let dataset = bench.settings.clone();
    let ready: Result<Vec<Ready<'_>>, _> = candles
        .bars
        .iter()
        .map(|bars| Ready::new(bars, candles.sentiment.as_ref(), &dataset))
        .collect();
    let ready = ready?;
    let first = candles
        .bars
        .iter()
        .filter_map(|bars| bars.open_time.first())
        .min();
    let last = candles
        .bars
        .iter()
        .filter_map(Bars::period)
        .map(|period| period.1)
        .max();
    let (Some(first), Some(last)) = (first, last) else {
        return Err(Stop::new(Exit::Data, "the candles have no rows").into());
    };
    refuse_outside((from, to), (Timestamp(*first), last))?;
    // A decision at `from` itself is wanted.
    let after = Timestamp(from.map_or(*first, |from| from.0 - 1));
    let until = to.unwrap_or(last);
    let mut opened = open(job, bench)?;
    for bars in &candles.bars {
        opened.board.bars(bars);
    }
    opened.service.start(from.unwrap_or(Timestamp(*first)))?;
    let mut bar = Progress::start("replay", "instants", None);
    let started = Instant::now();
    let inbox = &opened.inbox;
    let listens = opened.server.is_some();
    let done = opened
        .service
        .advance(&ready, (after, until), &mut |judge, done, total| {
            bar.set_total(total as u64);
            bar.set(done as u64);
            if listens {
                inbox.serve(judge, Duration::ZERO);
            }
            interrupt::flow()
        });
    bar.finish();
    let done = done?;
    close(&mut opened);
    interrupt::check()?;
    let seconds = started.elapsed().as_secs_f64();
    let figures = opened.board.figures();
    let data = json!({
        "log": job.log,
        "instants_decided": done,
        "decisions": figures.decisions.len(),
        "outcomes": figures.outcomes.len(),
        "seconds": seconds,
    });
    let mut text = format!(
        "{done} instants decided in {}; the log holds {} decisions of {} arms and {} outcomes",
        spoken(started.elapsed()),
        figures.decisions.len(),
        figures.arms.len(),
        figures.outcomes.len()
    );
    text += &format!("\nlog: {}", job.log.display());
    Ok(Printed::new(data, text))
}

/// Refuses a replay of nothing, before a log is begun.
fn refuse_outside(
    (from, to): (Option<Timestamp>, Option<Timestamp>),
    (first, last): (Timestamp, Timestamp),
) -> Result<(), Stop> {
    let message = match (from, to) {
        (Some(from), Some(to)) if from > to => format!("`--from {from}` is after `--to {to}`"),
        (Some(from), _) if from > last => format!("`--from {from}` is after the candles' end"),
        (_, Some(to)) if to < first => format!("`--to {to}` is before the candles' beginning"),
        _ => return Ok(()),
    };
    Err(Stop::new(Exit::Usage, message).hint(format!("the candles go from {first} to {last}")))
}

/// Decides on bars as they close, until Ctrl-C.
///
/// # Errors
/// When data, log or address cannot be used at the start. Later failures are told and waited out.
pub(crate) fn live(
    job: &Job,
    bench: Bench,
    binance: Option<&str>,
    warm_up: usize,
) -> anyhow::Result<Printed> {
    let mut source = source(job, &bench, binance, warm_up)?;
    let mut watched = Watched::new(&job.registry)?;
    let mut opened = open(job, bench)?;
    let begun = clock::now();
    // What was missed since the last decision is made up for; before the first one, only bars that
    // can still be decided in time.
    let floor = match opened.service.last_decided() {
        Some(last) => Timestamp(last.0 - 1),
        None => Timestamp(begun.0 - job.late_after),
    };
    opened.service.start(begun)?;
    output::note("waiting for bars to close; Ctrl-C ends the service");
    let mut feed = Feed::default();
    let mut state = Loop::default();
    while !interrupt::requested() {
        watched.look(&job.registry, &mut opened);
        if state.step(job, &mut opened, source.as_mut(), &mut feed, floor)? {
            continue;
        }
        opened.inbox.serve(opened.service.judge(), LOOK);
    }
    let stopped = opened.service.tell(EventKind::Stop, clock::now(), None);
    close(&mut opened);
    stopped?;
    let figures = opened.board.figures();
    let data = json!({
        "log": job.log,
        "decisions": figures.decisions.len(),
        "outcomes": figures.outcomes.len(),
    });
    let text = format!(
        "ended in order; the log holds {} decisions and {} outcomes\nlog: {}",
        figures.decisions.len(),
        figures.outcomes.len(),
        job.log.display()
    );
    Ok(Printed::new(data, text))
}

/// What the live loop remembers from one look to the next.
#[derive(Default)]
struct Loop {
    /// Whether something came that is not decided yet.
    due: bool,
    said: Option<String>,
    rest_until: Option<Instant>,
}

impl Loop {
    /// Takes what is new and decides on it; reports whether anything was decided.
    fn step(
        &mut self,
        job: &Job,
        opened: &mut Opened,
        source: &mut dyn Source,
        feed: &mut Feed,
        floor: Timestamp,
    ) -> anyhow::Result<bool> {
        let now = clock::now();
        let fresh = source.poll(now);
        let known = fresh.time.map_or(now, |time| time.min(now));
        for note in &fresh.notes {
            output::warn(note);
        }
        let mut fault = fresh.fault;
        for bars in &fresh.bars {
            match feed.merge(bars, known) {
                Ok(merged) => {
                    self.due |= merged.added > 0;
                    if merged.revised > 0 {
                        let text = format!(
                            "{} of {} revised after the close",
                            output::counted(merged.revised, "bar"),
                            bars.instrument
                        );
                        output::warn(&text);
                        let _ = opened.service.tell(EventKind::Notice, now, Some(text));
                    }
                }
                Err(reason) => fault = Some(reason),
            }
        }
        self.say(fault.clone());
        opened.board.source(fault);
        if !self.due || self.rest_until.is_some_and(|until| Instant::now() < until) {
            return Ok(false);
        }
        for bars in feed.bars() {
            opened.board.bars(bars);
        }
        let around = around(job, feed.bars());
        let dataset = &job.settings.dataset;
        let ready: Result<Vec<Ready<'_>>, _> = feed
            .bars()
            .map(|bars| Ready::new(bars, around.as_ref(), dataset))
            .collect();
        let back = LOOK_BACK * dataset.base_timeframe().milliseconds();
        let after = opened.service.last_decided();
        let after = after.map_or(floor, |last| floor.max(Timestamp(last.0 - back)));
        let inbox = &opened.inbox;
        let decided = opened
            .service
            .advance(&ready?, (after, known), &mut |judge, _, _| {
                inbox.serve(judge, Duration::ZERO);
                interrupt::flow()
            });
        match decided {
            Ok(count) => {
                self.due = false;
                self.rest_until = None;
                if count > 0 {
                    output::note(&format!("{known}: {count} instants decided"));
                }
                Ok(count > 0)
            }
            // Nothing is lost: what could not be written waits, and nothing else is decided.
            Err(error @ ServeError::Io { .. }) => {
                self.say(Some(error.to_string()));
                self.rest_until = Some(Instant::now() + STORAGE_PAUSE);
                Ok(false)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Tells a fault once.
    fn say(&mut self, fault: Option<String>) {
        if let Some(fault) = &fault
            && self.said.as_ref() != Some(fault)
        {
            output::warn(fault);
        }
        if fault.is_some() {
            self.said = fault;
        }
    }
}

/// The registry as it was last seen.
struct Watched {
    revision: u64,
}

impl Watched {
    fn new(registry: &Registry) -> anyhow::Result<Self> {
        let revision = registry.state()?.map_or(0, |state| state.revision);
        Ok(Self { revision })
    }

    /// Takes over another champion, if there is one; what cannot be taken over is told.
    fn look(&mut self, registry: &Registry, opened: &mut Opened) {
        let Opened { service, board, .. } = opened;
        let state = match registry.state() {
            Ok(Some(state)) if state.revision != self.revision => state,
            _ => return,
        };
        self.revision = state.revision;
        let seated: Vec<String> = service
            .judge()
            .arms()
            .iter()
            .map(|arm| arm.name.clone())
            .collect();
        let mut names = vec![state.champion.clone()];
        names.extend(
            seated
                .iter()
                .filter(|name| **name != state.champion)
                .cloned(),
        );
        if names == seated {
            board.registry(None);
            return;
        }
        if let Err(error) = service.judge().change(&names, registry) {
            let text = format!(
                "`{}` is champion in the registry but cannot be seated: {error:#}",
                state.champion
            );
            output::warn(&text);
            board.registry(Some(text.clone()));
            if let Err(error) = service.tell(EventKind::Notice, clock::now(), Some(text)) {
                output::warn(&error.to_string());
            }
            return;
        }
        board.registry(None);
        let last = registry
            .history()
            .ok()
            .and_then(|history| history.last().cloned());
        let kind = match last.as_ref().map(|change| change.change) {
            Some(ChangeKind::Rollback) => EventKind::Rollback,
            _ => EventKind::Promotion,
        };
        let reason = last.and_then(|change| change.reason);
        output::note(&format!("champion is now {}", state.champion));
        if let Err(error) = service.tell(kind, clock::now(), reason) {
            output::warn(&error.to_string());
        }
    }
}

fn source(
    job: &Job,
    bench: &Bench,
    binance: Option<&str>,
    warm_up: usize,
) -> anyhow::Result<Box<dyn Source>> {
    let timeframe = bench.settings.base_timeframe();
    if let Some(url) = binance {
        let names = &job.settings.data.instruments;
        let instruments: Result<Vec<Instrument>, _> =
            names.iter().map(|name| Instrument::new(name)).collect();
        let instruments = instruments?;
        if instruments.is_empty() {
            let message = "no instrument is named for the exchange";
            return Err(Stop::new(Exit::Usage, message)
                .hint("name them, such as `--instrument BTC/USDT`")
                .into());
        }
        let client = Client::new(url);
        return Ok(Box::new(Exchange::new(
            client,
            timeframe,
            instruments,
            warm_up,
        )));
    }
    // The same choice as everywhere else, made once; the files are then watched.
    let chosen = data::load(&job.settings)?;
    for note in &chosen.notes {
        output::warn(note);
    }
    let directory = data::directory(&job.settings)?;
    let mut files = Vec::new();
    for bars in &chosen.bars {
        let found = freqtrade::discover(&directory)?.into_iter().find(|file| {
            file.instrument == bars.instrument
                && file.timeframe == timeframe
                && matches!(file.kind, CandleKind::Spot | CandleKind::Futures)
        });
        files.extend(found.map(|file| file.path));
    }
    Ok(Box::new(Directory::new(files)))
}

/// Reads again what is known besides bars; what cannot be read is left out and said.
fn around<'a>(job: &Job, bars: impl Iterator<Item = &'a Bars>) -> Option<Surroundings> {
    let instruments: Vec<&Instrument> = bars.map(|bars| &bars.instrument).collect();
    let directory = data::directory(&job.settings);
    let read =
        directory.and_then(|directory| data::surroundings(&job.settings, &directory, &instruments));
    match read {
        Ok(found) => found,
        Err(error) => {
            output::warn(&error.to_string());
            None
        }
    }
}

fn close(opened: &mut Opened) {
    opened.board.stop();
    if let Some(server) = &mut opened.server {
        server.stop();
    }
}
