//! Tests of the one path: live equals replay, kills leave no trace, outcomes come when they
//! mature, late is late, a full disk stops the deciding and loses nothing.

use super::*;
use crate::shadow::judge::Judged;
use crate::shadow::record::{ArmSheet, Role};
use crate::shadow::{log, preregistration};
use std::error::Error;
use std::path::Path;
use std::sync::atomic::{AtomicI64, Ordering};

const HOUR: i64 = 3_600_000;
const START: i64 = 1_704_067_200_000;
const FIRST: i64 = 260;

/// Two arms whose answers hang on every letter of the prompt and on how many are asked together.
struct Letters {
    arms: Vec<ArmSheet>,
    asked: usize,
}

fn sheet(name: &str, role: Role) -> ArmSheet {
    ArmSheet {
        name: name.to_owned(),
        role,
        adapter_sha256: None,
        temperature: 1.0,
        bias: [0.0; 3],
    }
}

fn letters() -> Letters {
    Letters {
        arms: vec![sheet("a", Role::Champion), sheet("b", Role::Challenger)],
        asked: 0,
    }
}

impl Judge for Letters {
    fn arms(&self) -> &[ArmSheet] {
        &self.arms
    }

    fn judge(&mut self, prompts: &[String]) -> Result<Judged, Box<dyn Error + Send + Sync>> {
        self.asked += prompts.len();
        let answers = (0..self.arms.len()).map(|arm| {
            let of = |prompt: &String| {
                let sum: usize = prompt.bytes().map(usize::from).sum();
                let high = 0.5 + ((sum * (arm + 3) + prompts.len()) % 97) as f64 / 200.0;
                let rest = (1.0 - high) / 2.0;
                let mut probabilities = [rest; 3];
                probabilities[sum % 3] = high;
                Answer {
                    probabilities,
                    raw: probabilities,
                }
            };
            prompts.iter().map(of).collect()
        });
        Ok(Judged {
            tokens: prompts.iter().map(String::len).collect(),
            answers: answers.collect(),
        })
    }
}

fn bars(name: &str, rows: i64, leave_out: &[i64]) -> Bars {
    let mut bars = Bars::empty(Instrument::new(name).unwrap(), market::Timeframe::HOUR);
    let price = |row: i64| {
        let t = row as f64 + name.len() as f64 * 7.0;
        100.0 * (1.0 + 0.06 * (t / 9.0).sin() + 0.05 * (t / 31.0).sin())
    };
    for row in (0..rows).filter(|row| !leave_out.contains(row)) {
        bars.open_time.push(START + row * HOUR);
        bars.open.push(price(row));
        bars.close.push(price(row + 1));
        bars.high.push(price(row).max(price(row + 1)) * 1.001);
        bars.low.push(price(row).min(price(row + 1)) * 0.999);
        bars.volume.push(1.0);
    }
    bars
}

static CLOCK: AtomicI64 = AtomicI64::new(0);

fn setup(mode: Mode) -> Setup {
    let settings = DatasetSettings::default();
    Setup {
        templates: Templates::load(&settings).unwrap(),
        settings,
        mode,
        late_after: 60_000,
        model_sha256: "ab".repeat(32),
        template_sha256: "cd".repeat(32),
        preregistration: preregistration::sha256(b""),
        clock: || Timestamp(CLOCK.load(Ordering::SeqCst)),
    }
}

fn service(folder: &Path, mode: Mode) -> Service<Letters> {
    let log = ShadowLog::open(folder).unwrap();
    let history = History::read(folder, Timestamp(i64::MAX)).unwrap();
    Service::resume(setup(mode), letters(), log, &history, Arc::default())
}

fn at(hour: i64) -> Timestamp {
    Timestamp(START + hour * HOUR)
}

fn whole(folder: &Path) -> Vec<u8> {
    let files = log::files(folder).unwrap();
    files
        .iter()
        .flat_map(|path| std::fs::read(path).unwrap())
        .collect()
}

/// Runs a replay, ending after `instants`.
fn replay(folder: &Path, bars: &[Bars], until: i64, instants: usize) -> usize {
    let settings = setup(Mode::Replay).settings;
    let ready: Vec<Ready<'_>> = bars
        .iter()
        .map(|bars| Ready::new(bars, None, &settings).unwrap())
        .collect();
    let mut service = service(folder, Mode::Replay);
    service.start(at(FIRST)).unwrap();
    let stop = &mut |_: &mut Letters, done: usize, _: usize| {
        if done >= instants {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    };
    service
        .advance(&ready, (at(FIRST), at(until)), stop)
        .unwrap()
}

#[test]
fn a_replay_decides_every_bar_and_settles_what_matures() {
    let folder = tempfile::tempdir().unwrap();
    let all = [bars("A/B", 300, &[]), bars("CC/D", 300, &[])];
    assert_eq!(replay(folder.path(), &all, 300, usize::MAX), 40);
    let history = History::read(folder.path(), at(1000)).unwrap();
    assert!(history.oddities.is_empty(), "{:?}", history.oddities);
    assert_eq!(history.decisions.len(), 40 * 2 * 2);
    assert_eq!(history.outcomes.len(), (40 - 12) * 2);
    assert_eq!(history.events.len(), 1);
    for outcome in &history.outcomes {
        let bars = all
            .iter()
            .find(|bars| bars.instrument == outcome.instrument)
            .unwrap();
        let row = row_closing_at(bars, outcome.decision_time).unwrap();
        let expect = bars.close[row + 12] / bars.close[row] - 1.0;
        assert_eq!(outcome.outcome_return, Some(expect));
    }
    let times: Vec<Timestamp> = history.decisions.iter().map(|d| d.decision_time).collect();
    assert!(times.is_sorted());
    assert!(
        history
            .decisions
            .iter()
            .all(|d| !d.late && d.latency_ms.is_none())
    );
}

#[test]
fn a_replay_cut_off_anywhere_ends_in_the_same_log() {
    let all = [bars("A/B", 290, &[275, 276]), bars("CC/D", 290, &[])];
    let straight = tempfile::tempdir().unwrap();
    replay(straight.path(), &all, 290, usize::MAX);
    let expect = whole(straight.path());
    assert!(String::from_utf8_lossy(&expect).contains(r#""void":"gap""#));
    let mut state = 17_u64;
    for _ in 0..40 {
        let folder = tempfile::tempdir().unwrap();
        for _ in 0..6 {
            state = state
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            let instants = (state >> 60) as usize + 1;
            replay(folder.path(), &all, 290, instants);
            // The last bytes of the current file are lost, as by a kill within a write.
            let path = folder.path().join(log::FILE);
            let bytes = std::fs::read(&path).unwrap();
            let keep = bytes.len().saturating_sub((state >> 33) as usize % 1500);
            std::fs::write(&path, &bytes[..keep]).unwrap();
        }
        replay(folder.path(), &all, 290, usize::MAX);
        assert!(whole(folder.path()) == expect);
    }
}

#[test]
fn live_asks_what_a_replay_asks() {
    let all = [bars("A/B", 290, &[275]), bars("CC/D", 290, &[])];
    let folder = tempfile::tempdir().unwrap();
    replay(folder.path(), &all, 290, usize::MAX);
    let live = tempfile::tempdir().unwrap();
    let settings = setup(Mode::Live).settings;
    let mut service = service(live.path(), Mode::Live);
    for hour in FIRST + 1..=290 {
        let closed: Vec<Bars> = all
            .iter()
            .map(|bars| {
                let rows = bars.open_time.partition_point(|open| *open < at(hour).0);
                bars.slice(0..rows)
            })
            .collect();
        let ready: Vec<Ready<'_>> = closed
            .iter()
            .map(|bars| Ready::new(bars, None, &settings).unwrap())
            .collect();
        // Two bars come late.
        let delay = if hour % 10 == 0 { 10 * 60_000 } else { 1000 };
        CLOCK.store(at(hour).0 + delay, Ordering::SeqCst);
        let go_on = &mut |_: &mut Letters, _, _| ControlFlow::Continue(());
        service
            .advance(&ready, (at(hour - 1), at(hour)), go_on)
            .unwrap();
    }
    let read = |path| History::read(path, at(1000)).unwrap();
    let (replayed, lived) = (read(folder.path()), read(live.path()));
    assert_eq!(replayed.decisions.len(), lived.decisions.len());
    for (a, b) in replayed.decisions.iter().zip(&lived.decisions) {
        let expect = Decision {
            decided_at: b.decided_at,
            late: b.decision_time.0 / HOUR % 10 == START / HOUR % 10,
            latency_ms: b.latency_ms,
            ..a.clone()
        };
        assert_eq!(*b, expect);
        assert!(b.latency_ms.is_some());
    }
    assert!(lived.decisions.iter().any(|decision| decision.late));
    assert_eq!(replayed.outcomes.len(), lived.outcomes.len());
}

#[test]
fn an_instant_half_written_is_asked_again_as_a_whole() {
    let all = [bars("A/B", 264, &[]), bars("CC/D", 264, &[])];
    let folder = tempfile::tempdir().unwrap();
    replay(folder.path(), &all, 264, usize::MAX);
    let path = folder.path().join(log::FILE);
    let expect = std::fs::read(&path).unwrap();
    let text = String::from_utf8(expect.clone()).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    // The last of four records of the last instant is gone.
    std::fs::write(&path, lines[..lines.len() - 1].join("\n") + "\n").unwrap();
    let settings = setup(Mode::Replay).settings;
    let ready: Vec<Ready<'_>> = all
        .iter()
        .map(|bars| Ready::new(bars, None, &settings).unwrap())
        .collect();
    let mut service = service(folder.path(), Mode::Replay);
    let go_on = &mut |_: &mut Letters, _, _| ControlFlow::Continue(());
    assert_eq!(
        service
            .advance(&ready, (at(FIRST), at(264)), go_on)
            .unwrap(),
        1
    );
    assert_eq!(service.judge().asked, 2);
    assert_eq!(std::fs::read(&path).unwrap(), expect);
}

#[cfg(unix)]
#[test]
fn while_the_log_cannot_be_written_nothing_is_decided_and_nothing_lost() {
    use std::os::unix::fs::PermissionsExt;
    let all = [bars("A/B", 300, &[])];
    let folder = tempfile::tempdir().unwrap();
    let straight = tempfile::tempdir().unwrap();
    replay(straight.path(), &all, 300, usize::MAX);
    let settings = setup(Mode::Replay).settings;
    let ready = [Ready::new(&all[0], None, &settings).unwrap()];
    let mut service = service(folder.path(), Mode::Replay);
    service.start(at(FIRST)).unwrap();
    let go_on = &mut |_: &mut Letters, _, _| ControlFlow::Continue(());
    // A rotation needs to make a file: a directory in its place refuses that, for root too.
    let blocked = folder.path().join("ab_test_log-2024-01-11.jsonl");
    std::fs::create_dir(&blocked).unwrap();
    std::fs::set_permissions(&blocked, std::fs::Permissions::from_mode(0o755)).unwrap();
    let error = service
        .advance(&ready, (at(FIRST), at(300)), go_on)
        .unwrap_err();
    assert!(matches!(error, ServeError::Io { .. }), "{error}");
    let asked = service.judge().asked;
    assert!(
        service
            .advance(&ready, (at(FIRST), at(300)), go_on)
            .is_err()
    );
    assert_eq!(service.judge().asked, asked);
    let (well, state) = service.board.health();
    assert!(!well && state["storage"].is_string(), "{state}");
    std::fs::remove_dir(&blocked).unwrap();
    service
        .advance(&ready, (at(FIRST), at(300)), go_on)
        .unwrap();
    assert!(service.board.health().0);
    assert!(whole(folder.path()) == whole(straight.path()));
}
