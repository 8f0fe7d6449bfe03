//! Tests of the verdict on logs written line by line.

use std::collections::VecDeque;
use std::io::Write;
use std::path::Path;

use market::{Instrument, Timeframe, Timestamp};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use stats::betting::EProcess;

use super::figures::plan_class;
use super::*;
use crate::class;
use crate::shadow::preregistration;
use crate::shadow::record::{Class, decision_id};
use crate::shadow::{Decision, Entry, Metric, Outcome, Preregistration, Role, log};

const HOUR: i64 = 3_600_000;
const START: i64 = 1_704_067_200_000;
const HORIZON: i64 = 12;
const NOW: Timestamp = Timestamp(START + 100_000 * HOUR);

fn rule() -> Preregistration {
    Preregistration {
        schema: preregistration::SCHEMA,
        metric: Metric::Brier,
        alpha: 0.05,
        minimum_blocks: 20,
        clip: 1.0,
        max_drawdown: 0.9,
        cost_per_side: 0.0005,
        horizon_hours: HORIZON as u32,
        dataset: serde_json::json!({}),
        model_sha256: "ab".repeat(32),
        template_sha256: "cd".repeat(32),
        arms: Vec::new(),
    }
}

/// A decision of the arm on one hour, with this probability for `class`.
fn decision(rule: &str, name: &str, hour: i64, arm: &str, role: Role, class: usize) -> Decision {
    let instrument = Instrument::new(name).unwrap();
    let time = Timestamp(START + hour * HOUR);
    let mut probabilities = [0.2; class::COUNT];
    probabilities[class] = 0.6;
    Decision {
        preregistration: rule.to_owned(),
        id: decision_id(&instrument, Timeframe::HOUR, time),
        instrument,
        timeframe: Timeframe::HOUR,
        decision_time: time,
        decided_at: time,
        late: false,
        arm: arm.to_owned(),
        role,
        decision: class,
        probabilities,
        raw_probabilities: probabilities,
        price: 100.0 + (hour % 7) as f64,
        model_sha256: "ab".repeat(32),
        adapter_sha256: None,
        template_sha256: "cd".repeat(32),
        prompt_sha256: "01".repeat(32),
        prompt_tokens: 180,
        latency_ms: None,
    }
}

fn outcome(name: &str, hour: i64, change: f64) -> Outcome {
    let of = decision("", name, hour, "a", Role::Champion, 0);
    let matured_at = Timestamp(of.decision_time.0 + HORIZON * HOUR);
    Outcome {
        id: of.id,
        instrument: of.instrument,
        timeframe: of.timeframe,
        decision_time: of.decision_time,
        matured_at,
        recorded_at: matured_at,
        label: Some(Class(plan_class(change))),
        outcome_return: Some(change),
        void: None,
    }
}

/// What a log is made of.
struct Story {
    hours: i64,
    instruments: &'static [&'static str],
    /// How often each arm names what will happen; else it names a class by chance.
    insight: [f64; 2],
    /// The hour from which the second arm is champion.
    promotion: i64,
    seed: u64,
}

impl Story {
    fn plain(hours: i64, insight: [f64; 2]) -> Self {
        Self {
            hours,
            instruments: &["BTC/USDT"],
            insight,
            promotion: i64::MAX,
            seed: 1,
        }
    }

    /// The log's lines; see [`Story::each_line`].
    fn lines(&self, rule: &str) -> Vec<Vec<u8>> {
        let mut lines = Vec::new();
        self.each_line(rule, &mut |line| lines.push(line.to_vec()));
        lines
    }

    /// Hands over the log's lines: decisions of `old` and `new` on every hour, outcomes when they
    /// mature.
    fn each_line(&self, rule: &str, each: &mut dyn FnMut(&[u8])) {
        let mut random = ChaCha8Rng::seed_from_u64(self.seed);
        let mut due: VecDeque<(i64, Vec<u8>)> = VecDeque::new();
        for hour in 0..self.hours {
            while due.front().is_some_and(|(matured, _)| *matured == hour) {
                let (_, line) = due.pop_front().unwrap();
                each(&line);
            }
            for name in self.instruments {
                let change = random.random_range(-0.03..0.03);
                let mut decisions = Vec::new();
                for (number, arm) in ["old", "new"].into_iter().enumerate() {
                    let class = if random.random_bool(self.insight[number]) {
                        plan_class(change)
                    } else {
                        random.random_range(0..class::COUNT as u64) as usize
                    };
                    let is_champion = (number == 1) == (hour >= self.promotion);
                    let role = if is_champion {
                        Role::Champion
                    } else {
                        Role::Challenger
                    };
                    decisions.push(decision(rule, name, hour, arm, role, class));
                }
                decisions.sort_by_key(|decision| decision.role);
                for decision in decisions {
                    each(&Entry::Decision(decision).to_line().unwrap());
                }
                let outcome = Entry::Outcome(outcome(name, hour, change));
                due.push_back((hour + HORIZON, outcome.to_line().unwrap()));
            }
        }
    }
}

fn write(folder: &Path, lines: &[Vec<u8>]) {
    std::fs::write(folder.join(log::FILE), lines.concat()).unwrap();
}

fn verdict_of(folder: &Path) -> Verdict {
    let settings = Settings {
        now: NOW,
        knowledge_cutoff: Some(Timestamp(START + 100 * HOUR)),
    };
    judge(folder, &settings).unwrap()
}

/// Lays down a rule, writes the story's log and judges it.
fn judged(rule: &Preregistration, story: &Story) -> Verdict {
    let folder = tempfile::tempdir().unwrap();
    let digest = rule.lay_down(folder.path()).unwrap();
    write(folder.path(), &story.lines(&digest));
    verdict_of(folder.path())
}

#[test]
fn a_better_challenger_is_promoted() {
    let verdict = judged(&rule(), &Story::plain(1_200, [0.0, 0.6]));
    assert_eq!(verdict.verdict, Ruling::Promote, "{:?}", verdict.reasons);
    assert_eq!(verdict.arm.as_deref(), Some("new"));
    assert_eq!(verdict.champion.as_deref(), Some("old"));
    let challenger = &verdict.challengers[0];
    // 1,188 hours have matured: a block each twelve of them.
    assert_eq!(challenger.evidence.blocks, 99);
    assert_eq!(challenger.unpaired.open, 12);
    assert!(challenger.evidence.confidence_sequence.low > 0.0);
    // A right answer scores 0.24, a wrong one 1.04, and it is right 40 points more often.
    let drifting = challenger.evidence.drifting_interval;
    assert!(
        drifting.contains(0.32) && drifting.high - drifting.low < 0.8,
        "{drifting:?}"
    );
    let figures = challenger.figures.as_ref().unwrap();
    assert_eq!(figures.n, 1_188);
    assert!((figures.champion.accuracy - 0.33).abs() < 0.06);
    assert!((figures.challenger.accuracy - 0.73).abs() < 0.06);
    assert!(figures.accuracy_lead.interval.low > 0.2);
    assert_eq!(figures.accuracy_lead, figures.plan_accuracy_lead);
    let plan = challenger.plan.unwrap();
    assert!(plan.says.promotes);
    assert!(plan.false_promotion.at_any_look > 0.0);
    // It says 60 % and is right in 73 %.
    let [_, calibration] = challenger.calibration.as_ref().unwrap();
    assert!(
        (calibration.debiased_ece - 0.13).abs() < 0.04,
        "{calibration:?}"
    );
}

#[test]
fn equal_arms_change_nothing() {
    for seed in 0..12 {
        let story = Story {
            seed,
            ..Story::plain(900, [0.3, 0.3])
        };
        let verdict = judged(&rule(), &story);
        assert_eq!(verdict.verdict, Ruling::Keep, "{seed}");
        assert_eq!(verdict.arm, None);
    }
}

#[test]
fn the_former_champion_comes_back_when_it_is_better() {
    let story = Story {
        promotion: 300,
        ..Story::plain(1_500, [0.7, 0.1])
    };
    let verdict = judged(&rule(), &story);
    assert_eq!(verdict.champion.as_deref(), Some("new"));
    assert_eq!(verdict.champion_since, Some(Timestamp(START + 300 * HOUR)));
    assert_eq!(verdict.verdict, Ruling::RollBack, "{:?}", verdict.reasons);
    assert_eq!(verdict.arm.as_deref(), Some("old"));
    // What the former champion did before the promotion is no evidence against the new one.
    assert_eq!(verdict.challengers[0].unpaired.before_reign, 300);
    assert_eq!(verdict.challengers[0].figures.as_ref().unwrap().n, 1_188);
}

#[test]
fn guardrails_hold_a_promotion_back() {
    let story = Story::plain(1_200, [0.0, 0.6]);
    let late = Preregistration {
        minimum_blocks: 100,
        ..rule()
    };
    let verdict = judged(&late, &story);
    assert_eq!(verdict.verdict, Ruling::Keep);
    assert!(
        verdict.reasons[0].contains("99 blocks, at least 100"),
        "{:?}",
        verdict.reasons
    );
    let strict = Preregistration {
        max_drawdown: 0.0,
        ..rule()
    };
    let verdict = judged(&strict, &story);
    assert_eq!(verdict.verdict, Ruling::Keep);
    let rails = &verdict.challengers[0].guardrails;
    let broken: Vec<&str> = rails.iter().filter(|r| !r.holds).map(|r| r.name).collect();
    assert_eq!(broken, ["drawdown"]);
}

#[test]
fn one_class_only_is_never_promoted() {
    let folder = tempfile::tempdir().unwrap();
    let digest = rule().lay_down(folder.path()).unwrap();
    let mut lines = Vec::new();
    for hour in 0..1_200 {
        let of = |arm, role, class| {
            let entry = decision(&digest, "BTC/USDT", hour, arm, role, class);
            Entry::Decision(entry).to_line().unwrap()
        };
        lines.push(of("old", Role::Champion, class::SELL));
        lines.push(of("new", Role::Challenger, class::BUY));
        lines.push(
            Entry::Outcome(outcome("BTC/USDT", hour, 0.02))
                .to_line()
                .unwrap(),
        );
    }
    write(folder.path(), &lines);
    let verdict = verdict_of(folder.path());
    assert!(verdict.challengers[0].evidence.e_value > 20.0);
    assert_eq!(verdict.verdict, Ruling::Keep);
    assert!(
        verdict.reasons[0].contains("100 % is refused"),
        "{:?}",
        verdict.reasons
    );
    assert!(!verdict.challengers[0].plan.unwrap().says.promotes);
}

#[test]
fn blocks_are_the_decisions_a_horizon_apart_averaged_over_instruments() {
    let story = Story {
        instruments: &["BTC/USDT", "ETH/USDT"],
        ..Story::plain(200, [0.1, 0.4])
    };
    let folder = tempfile::tempdir().unwrap();
    let digest = rule().lay_down(folder.path()).unwrap();
    let lines = story.lines(&digest);
    write(folder.path(), &lines);
    let verdict = verdict_of(folder.path());

    // The same by hand: Brier scores of the hours 0, 12, 24, ...
    let mut process = EProcess::new(1.0);
    for hour in (0..200 - HORIZON).step_by(HORIZON as usize) {
        let mut sum = 0.0;
        for name in story.instruments {
            let id = decision("", name, hour, "old", Role::Champion, 0).id;
            let entries = lines.iter().map(|line| Entry::parse(line).unwrap());
            let (mut brier, mut label) = ([[0.0; 3]; 2], None);
            for entry in entries {
                match entry {
                    Entry::Decision(d) if d.id == id => {
                        brier[usize::from(d.arm == "new")] = d.probabilities;
                    }
                    Entry::Outcome(o) if o.id == id => label = o.label,
                    _ => {}
                }
            }
            let label = label.unwrap().0;
            let [old, new] = brier.map(|p| {
                (0..3)
                    .map(|k| (p[k] - f64::from(u8::from(k == label))).powi(2))
                    .sum::<f64>()
            });
            sum += old - new;
        }
        process.update(sum / 2.0);
    }
    let evidence = &verdict.challengers[0].evidence;
    assert_eq!(evidence.blocks, process.blocks());
    assert!((evidence.log_e - process.log_e()).abs() < 1e-12);
    assert_eq!(evidence.curve.len(), evidence.blocks);
    let by_instrument = &verdict.challengers[0].by_instrument;
    assert_eq!(by_instrument.len(), 2);
    assert_eq!(by_instrument[1].name, "ETH/USDT");
    let by_knowledge: Vec<usize> = verdict.challengers[0]
        .by_knowledge
        .iter()
        .map(|group| group.figures.n)
        .collect();
    assert_eq!(by_knowledge, [2 * 88, 2 * 100]);
    assert_eq!(verdict.challengers[0].by_regime.len(), 4);
}

#[test]
fn net_utility_is_what_a_decision_earns_after_costs() {
    let folder = tempfile::tempdir().unwrap();
    let by_return = Preregistration {
        metric: Metric::NetUtility,
        clip: 0.1,
        ..rule()
    };
    let digest = by_return.lay_down(folder.path()).unwrap();
    let mut lines = Vec::new();
    for hour in 0..30 {
        let of = |arm, role, class| {
            let entry = decision(&digest, "BTC/USDT", hour, arm, role, class);
            Entry::Decision(entry).to_line().unwrap()
        };
        lines.push(of("old", Role::Champion, class::BUY));
        lines.push(of("new", Role::Challenger, class::SELL));
        lines.push(
            Entry::Outcome(outcome("BTC/USDT", hour, -0.02))
                .to_line()
                .unwrap(),
        );
    }
    write(folder.path(), &lines);
    let verdict = verdict_of(folder.path());
    let challenger = &verdict.challengers[0];
    // SELL earns 2 % less 0.1 %, BUY loses 2 % and 0.1 %.
    assert!((challenger.evidence.mean - 0.04).abs() < 1e-12);
    let figures = challenger.figures.as_ref().unwrap();
    assert!((figures.challenger.net_return - 0.019).abs() < 1e-12);
    assert!((figures.champion.net_return + 0.021).abs() < 1e-12);
}

#[test]
fn bad_lines_are_counted_with_their_numbers_and_change_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let digest = rule().lay_down(folder.path()).unwrap();
    let lines = Story::plain(300, [0.0, 0.5]).lines(&digest);
    write(folder.path(), &lines);
    let clean = verdict_of(folder.path());

    let entry = |decision| Entry::Decision(decision).to_line().unwrap();
    let champion = |hour| decision(&digest, "BTC/USDT", hour, "old", Role::Champion, 1);
    let mut foreign_rule = champion(500);
    foreign_rule.preregistration = "00".repeat(32);
    let mut hasty = champion(400);
    hasty.decided_at = Timestamp(hasty.decision_time.0 - HOUR);
    let mut early = outcome("BTC/USDT", 299, 0.02);
    early.recorded_at = early.decision_time;
    let mut short = outcome("BTC/USDT", 299, 0.02);
    short.matured_at = Timestamp(short.decision_time.0 + HOUR);
    short.recorded_at = short.matured_at;
    let bad = [
        b"no record\n".to_vec(),
        b"{\"schema\":1,\"kind\":\"decision\"}\n".to_vec(),
        entry(foreign_rule),
        lines[0].clone(),
        entry(hasty),
        entry(champion(200_000)),
        Entry::Outcome(early).to_line().unwrap(),
        Entry::Outcome(short).to_line().unwrap(),
        Entry::Outcome(outcome("BTC/USDT", 3, 0.0))
            .to_line()
            .unwrap(),
    ];
    let mut file = std::fs::OpenOptions::new()
        .append(true)
        .open(folder.path().join(log::FILE))
        .unwrap();
    file.write_all(&bad.concat()).unwrap();
    file.write_all(b"{\"schema\":2,\"kind\":\"dec").unwrap();
    drop(file);
    let dirty = verdict_of(folder.path());

    let first = lines.len() + 1;
    let found: Vec<(FaultKind, usize)> = dirty
        .faults
        .first
        .iter()
        .map(|fault| (fault.kind, fault.line - first))
        .collect();
    let expected = [
        FaultKind::Malformed,
        FaultKind::ForeignSchema,
        FaultKind::ForeignQuestion,
        FaultKind::Duplicate,
        FaultKind::FutureDated,
        FaultKind::FutureDated,
        FaultKind::FutureDated,
        FaultKind::ForeignQuestion,
        FaultKind::Duplicate,
        FaultKind::Torn,
    ];
    let expected: Vec<(FaultKind, usize)> = expected.into_iter().zip(0..).collect();
    assert_eq!(found, expected);
    assert_eq!(dirty.faults.counts[&FaultKind::FutureDated], 3);
    assert!(clean.faults.counts.is_empty());
    assert_eq!(dirty.challengers, clean.challengers);
    assert_eq!(dirty.reasons, clean.reasons);
}

#[test]
fn decisions_out_of_order_or_late_do_not_count() {
    let folder = tempfile::tempdir().unwrap();
    let digest = rule().lay_down(folder.path()).unwrap();
    let mut lines = Story::plain(100, [0.0, 0.5]).lines(&digest);
    // The challenger's decision of hour 5 is moved to the end.
    let moved = lines.remove(11);
    lines.push(moved);
    // Its decision of hour 7 was late.
    let Ok(Entry::Decision(mut late)) = Entry::parse(&lines[14]) else {
        panic!("no decision")
    };
    assert_eq!(
        (late.arm.as_str(), late.decision_time.0),
        ("new", START + 7 * HOUR)
    );
    late.late = true;
    lines[14] = Entry::Decision(late).to_line().unwrap();
    write(folder.path(), &lines);
    let verdict = verdict_of(folder.path());
    assert_eq!(verdict.faults.counts[&FaultKind::OutOfOrder], 1);
    assert_eq!(verdict.challengers[0].unpaired.late, 1);
    assert_eq!(verdict.challengers[0].figures.as_ref().unwrap().n, 88 - 2);
}

#[test]
fn alpha_is_split_among_the_challengers() {
    let folder = tempfile::tempdir().unwrap();
    let digest = rule().lay_down(folder.path()).unwrap();
    let mut lines = Story::plain(60, [0.2, 0.2]).lines(&digest);
    for hour in 60..62 {
        let third = decision(&digest, "BTC/USDT", hour, "third", Role::Challenger, 0);
        lines.push(Entry::Decision(third).to_line().unwrap());
    }
    write(folder.path(), &lines);
    let verdict = verdict_of(folder.path());
    let names: Vec<&str> = verdict
        .challengers
        .iter()
        .map(|c| c.name.as_str())
        .collect();
    assert_eq!(names, ["new", "third"]);
    assert_eq!(verdict.challengers[0].evidence.threshold, 40.0);
    assert_eq!(verdict.challengers[1].unpaired.without_champion, 2);
    assert!(verdict.challengers[1].figures.is_none());
}

#[test]
fn an_empty_log_is_kept_and_a_missing_rule_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let settings = Settings {
        now: NOW,
        knowledge_cutoff: None,
    };
    let error = judge(folder.path(), &settings).unwrap_err();
    assert!(
        error.to_string().contains("preregistration.json"),
        "{error}"
    );
    rule().lay_down(folder.path()).unwrap();
    let verdict = judge(folder.path(), &settings).unwrap();
    assert_eq!((verdict.verdict, verdict.champion), (Ruling::Keep, None));
    let other = tempfile::tempdir().unwrap();
    let useless = Preregistration {
        alpha: 0.9,
        ..rule()
    };
    useless.lay_down(other.path()).unwrap();
    let error = judge(other.path(), &settings).unwrap_err();
    assert!(error.to_string().contains("alpha"), "{error}");
}

#[test]
fn the_page_tells_the_verdict_by_itself() {
    let story = Story {
        instruments: &["BTC/USDT", "ETH/USDT"],
        ..Story::plain(1_200, [0.0, 0.6])
    };
    let folder = tempfile::tempdir().unwrap();
    let digest = rule().lay_down(folder.path()).unwrap();
    let mut lines = story.lines(&digest);
    lines.push(b"no record <b>\n".to_vec());
    write(folder.path(), &lines);
    let mut verdict = verdict_of(folder.path());
    verdict.challengers[0].by_instrument[0].name = "<script>alert(1)</script>".to_owned();
    let page = crate::report::verdict::html(&verdict);
    for part in [
        "<h1>Promote new</h1>",
        "promotes at 20",
        "ETH/USDT",
        "calm",
        "falling",
        "before 2024-01-05T04:00:00Z",
        "after 2024-01-05T04:00:00Z",
        "useless",
        "Flip rate",
        "Calibration of old",
        "Calibration of new",
        "malformed",
        "&lt;script&gt;",
    ] {
        assert!(page.contains(part), "{part}");
    }
    for foreign in ["<script", "http://", "https://", "url(", "NaN"] {
        assert!(!page.contains(foreign), "{foreign}");
    }
    let count = |text: &str| page.matches(text).count();
    for tag in ["section", "table", "figure", "div", "p", "ul", "svg"] {
        let opened = count(&format!("<{tag}>")) + count(&format!("<{tag} "));
        assert_eq!(opened, count(&format!("</{tag}>")), "{tag}");
    }
    // Every key figure of the page stands in the JSON too.
    let value = serde_json::to_value(&verdict).unwrap();
    for pointer in [
        "/challengers/0/evidence/days_to_decision",
        "/challengers/0/plan/false_promotion/at_any_look",
        "/challengers/0/by_instrument/1/figures/accuracy_lead/interval",
        "/challengers/0/by_regime/3/figures/n",
        "/challengers/0/by_knowledge/1/name",
    ] {
        assert!(
            value.pointer(pointer).is_some_and(|v| !v.is_null()),
            "{pointer}"
        );
    }
    // An empty log has a page as well.
    let empty = tempfile::tempdir().unwrap();
    rule().lay_down(empty.path()).unwrap();
    let page = crate::report::verdict::html(&verdict_of(empty.path()));
    assert!(page.contains("<h1>Keep the champion</h1>"));
}

/// The speed that issue reports ask for; run with `--ignored --nocapture`.
#[test]
#[ignore = "writes 600 MB; measured on demand"]
fn a_million_records() {
    let folder = tempfile::tempdir().unwrap();
    let digest = rule().lay_down(folder.path()).unwrap();
    let story = Story {
        instruments: &["BTC/USDT", "ETH/USDT"],
        ..Story::plain(166_700, [0.3, 0.32])
    };
    let mut file =
        std::io::BufWriter::new(std::fs::File::create(folder.path().join(log::FILE)).unwrap());
    let mut count = 0;
    story.each_line(&digest, &mut |line| {
        count += 1;
        file.write_all(line).unwrap();
    });
    file.into_inner().unwrap().sync_all().unwrap();
    let start = std::time::Instant::now();
    let settings = Settings {
        now: Timestamp(START + 1_000_000 * HOUR),
        knowledge_cutoff: None,
    };
    let verdict = judge(folder.path(), &settings).unwrap();
    let seconds = start.elapsed().as_secs_f64();
    assert!(count >= 1_000_000 && verdict.lines == count);
    assert!(seconds < 10.0, "{count} records took {seconds} s");
}
