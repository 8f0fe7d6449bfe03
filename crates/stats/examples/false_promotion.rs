//! How often each way of judging a challenger promotes a useless one, and how
//! often a better one, when somebody looks every day.
//!
//! ```text
//! cargo run --release -p foretune-stats --example false_promotion -- 1000
//! ```
//!
//! prints one JSON object per line. The argument is the number of simulated
//! worlds per row, 1000 if left out.
#![expect(clippy::print_stdout, reason = "the table is what the example is for")]

use serde::Serialize;
use stats::betting::EProcess;
use stats::comparison::Mixture;
use stats::mcnemar;
use stats::plan_rule::PlanRule;
use stats::world::{Draw, World};

const ALPHA: f64 = 0.05;
const DAY: usize = 24;
/// The first day on which anybody looks.
const FIRST_LOOK: usize = 7;
/// How far the best case of the comparison is planned, in squared surprises.
const PLANNED_VARIANCE: f64 = 60.0;

#[derive(Serialize)]
struct Row {
    method: &'static str,
    /// The challenger's lead in accuracy, in percentage points, as drawn.
    lead_points: f64,
    days: usize,
    looks: &'static str,
    worlds: usize,
    /// The fraction of worlds in which the challenger was promoted.
    promoted: f64,
    standard_error: f64,
}

/// A way of judging: whether it promotes after each day, given all decisions.
type Judge = fn(&Draw, &World) -> Vec<bool>;

const JUDGES: [(&str, Judge); 6] = [
    ("plan's rule, hourly decisions", plan_rule),
    ("McNemar, hourly decisions", mcnemar_hourly),
    ("McNemar, non-overlapping blocks", mcnemar_blocks),
    ("betting e-process, hourly decisions (misuse)", bets_hourly),
    ("betting e-process, non-overlapping blocks", bets_blocks),
    (
        "sequential comparison, non-overlapping blocks",
        comparison_blocks,
    ),
];

fn main() {
    let worlds = std::env::args()
        .nth(1)
        .and_then(|text| text.parse().ok())
        .unwrap_or(1_000);
    for skill in [0.0, 0.25, 0.5, 1.0] {
        for (method, judge) in JUDGES {
            let world = World {
                skill,
                ..World::hourly(180)
            };
            for row in rows(method, judge, &world, worlds) {
                if let Ok(line) = serde_json::to_string(&row) {
                    println!("{line}");
                }
            }
        }
    }
}

/// Judges `worlds` draws, with one look on the last day and with one every day.
fn rows(method: &'static str, judge: Judge, world: &World, worlds: usize) -> Vec<Row> {
    let horizons = [7, 28, 90, 180];
    let mut counts = [[0_usize; 2]; 4];
    let mut lead = 0.0;
    for seed in 0..worlds as u64 {
        let draw = world.draw(seed);
        let leads = draw.leads();
        lead += leads.iter().sum::<f64>() / leads.len() as f64;
        let days = judge(&draw, world);
        for (count, horizon) in counts.iter_mut().zip(horizons) {
            count[0] += usize::from(days[horizon - 1]);
            count[1] += usize::from(days[FIRST_LOOK - 1..horizon].contains(&true));
        }
    }
    let row = |days, looks, count: usize| {
        let promoted = count as f64 / worlds as f64;
        Row {
            method,
            lead_points: (1e4 * lead / worlds as f64).round() / 100.0,
            days,
            looks,
            worlds,
            promoted,
            standard_error: (promoted * (1.0 - promoted) / worlds as f64).sqrt(),
        }
    };
    horizons
        .into_iter()
        .zip(counts)
        .flat_map(|(days, [once, daily])| [row(days, "once", once), row(days, "daily", daily)])
        .collect()
}

fn plan_rule(draw: &Draw, world: &World) -> Vec<bool> {
    let groups = vec![0; world.bars];
    let judge = |day: usize| {
        let bars = day * DAY;
        let arms = (&draw.champion[..bars], &draw.challenger[..bars]);
        let rule = PlanRule::default();
        rule.apply(&groups[..bars], &draw.truth[..bars], arms.0, arms.1)
            .promotes
    };
    (1..=world.bars / DAY).map(judge).collect()
}

/// Whether the challenger leads and McNemar's test says so, after each day.
fn significant(leads: &[f64], per_day: usize) -> Vec<bool> {
    let (mut champion, mut challenger) = (0, 0);
    let mut days = Vec::new();
    for day in leads.chunks(per_day) {
        champion += day.iter().filter(|&&lead| lead < 0.0).count();
        challenger += day.iter().filter(|&&lead| lead > 0.0).count();
        let test = mcnemar::exact(champion, challenger);
        days.push(challenger > champion && test.p_value < ALPHA);
    }
    days
}

/// The lead on the first decision of each block, the only one that counts.
fn blocks(draw: &Draw, world: &World) -> Vec<f64> {
    draw.leads().into_iter().step_by(world.horizon).collect()
}

fn mcnemar_hourly(draw: &Draw, _: &World) -> Vec<bool> {
    significant(&draw.leads(), DAY)
}

fn mcnemar_blocks(draw: &Draw, world: &World) -> Vec<bool> {
    significant(&blocks(draw, world), DAY / world.horizon)
}

fn bets(leads: &[f64], per_day: usize) -> Vec<bool> {
    let mut process = EProcess::new(1.0);
    let day = |leads: &[f64]| {
        for &lead in leads {
            process.update(lead);
        }
        process.decided(ALPHA)
    };
    leads.chunks(per_day).map(day).collect()
}

fn bets_hourly(draw: &Draw, _: &World) -> Vec<bool> {
    bets(&draw.leads(), DAY)
}

fn bets_blocks(draw: &Draw, world: &World) -> Vec<bool> {
    bets(&blocks(draw, world), DAY / world.horizon)
}

fn comparison_blocks(draw: &Draw, world: &World) -> Vec<bool> {
    let mixture = Mixture::new(PLANNED_VARIANCE, 2.0, ALPHA);
    let (mut count, mut sum, mut surprises, mut decided) = (0.0, 0.0, 0.0, false);
    let day = |leads: &[f64]| {
        for lead in leads {
            let expected = if count > 0.0 { sum / count } else { 0.0 };
            surprises += (lead - expected) * (lead - expected);
            sum += lead;
            count += 1.0;
            decided |= mixture.log_e(sum, surprises) >= -f64::ln(ALPHA);
        }
        decided
    };
    blocks(draw, world)
        .chunks(DAY / world.horizon)
        .map(day)
        .collect()
}
