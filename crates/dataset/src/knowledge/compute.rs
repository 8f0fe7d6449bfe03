//! Computations that can be done from the question alone: a formula, some bars,
//! every step with its value. What is evaluated are the numbers as shown.

use std::collections::BTreeMap;

use formula::catalogue::Entry;
use formula::engine::{Evaluator, Plan, Request, SeriesInputs, evaluate_series};
use formula::language::{self, Step};
use formula::panel::{Bar, Panel};
use market::{Instrument, Timeframe};

use super::about::called;
use super::real::World;
use super::text::{conventions, number, shown, time};
use super::{Kind, KnowledgeSettings, Maker};
use crate::seed;

/// No question shows more numbers than this.
const MOST_NUMBERS: usize = 180;
/// Instruments shown for a formula across instruments.
const INSTRUMENTS: usize = 5;
/// Bars shown at least, so that recursive averages have something to work on.
const LEAST_BARS: usize = 6;
/// Returns shown for a formula over a whole series.
const RETURNS: usize = 24;
/// No answer has more steps than this.
const MOST_STEPS: usize = 30;

/// The bars of a question.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Shown {
    pub(crate) instruments: Vec<String>,
    pub(crate) timeframe: Timeframe,
    pub(crate) open_time: Vec<i64>,
    /// Columns by name: row after row, one value an instrument.
    pub(crate) columns: BTreeMap<String, Vec<f64>>,
}

/// Adds the computations of one formula.
pub(crate) fn add(maker: &mut Maker<'_>, world: &World<'_>, settings: &KnowledgeSettings) {
    let entry = maker.entry;
    for number in 0..settings.computations {
        let draw = seed::hash(
            settings.seed,
            "computation",
            &format!("{}#{number}", entry.id),
        );
        if entry.needs.series {
            of_series(maker, entry, world, draw);
        } else {
            of_bars(maker, entry, world, draw);
        }
    }
}

fn of_bars(maker: &mut Maker<'_>, entry: &Entry, world: &World<'_>, draw: u64) {
    let Some(shown) = window(entry, world, draw) else {
        return;
    };
    let steps = language::explain(&entry.expression);
    let Some(values) = evaluate(entry, &steps, &shown) else {
        return;
    };
    if steps.len() > MOST_STEPS || values.last().is_none_or(|value| value.is_nan()) {
        return;
    }
    let instrument = shown.instruments[0].clone();
    let question = format!(
        "Compute {} of {instrument} at the last bar. Formula: `{}`.{}\nBars of {}, oldest first:\n{}",
        called(entry),
        entry.expression,
        conventions(entry),
        shown.timeframe,
        shown.table()
    );
    let at = shown.open_time.last().copied().unwrap_or(0);
    let answer = worked(&steps, &values);
    maker.add_at(Kind::Computation, question, answer, Some((instrument, at)));
}

/// Returns the steps with their values, the value of the formula last.
fn worked(steps: &[Step], values: &[f64]) -> String {
    let mut answer = String::new();
    for (index, (step, value)) in steps.iter().zip(values).enumerate() {
        answer += &format!("{}. {}: {}\n", index + 1, step.sentence, number(*value));
    }
    let last = values.last().copied().unwrap_or(f64::NAN);
    answer + &format!("Answer: {}", number(last))
}

/// Chooses bars for a formula; nothing where they would be too many or are not
/// all there.
fn window(entry: &Entry, world: &World<'_>, draw: u64) -> Option<Shown> {
    let (warm_up, columns) = world.needs(entry)?;
    let panel = world.panel;
    let across = entry.needs.cross_section || entry.needs.groups;
    let lanes = panel.instruments().len();
    let first = (draw % lanes as u64) as usize;
    let count = if across { lanes.min(INSTRUMENTS) } else { 1 };
    let chosen: Vec<usize> = (0..count).map(|step| (first + step) % lanes).collect();
    let rows = (warm_up + 1).max(LEAST_BARS);
    if rows * columns.len() * count > MOST_NUMBERS || rows > panel.rows() {
        return None;
    }
    let places = (panel.rows() - rows) as u64 + 1;
    let start = ((draw >> 16) % places) as usize;
    let width = panel.lanes();
    let mut made = BTreeMap::new();
    for name in columns {
        let column = panel.column(&name)?;
        let values: Vec<f64> = (start..start + rows)
            .flat_map(|row| chosen.iter().map(move |lane| column[row * width + lane]))
            .map(shown)
            .collect();
        if values.iter().any(|value| value.is_nan()) {
            return None;
        }
        made.insert(name, values);
    }
    Some(Shown {
        instruments: chosen
            .iter()
            .map(|&lane| panel.instruments()[lane].clone())
            .collect(),
        timeframe: panel.timeframe(),
        open_time: panel.open_time()[start..start + rows].to_vec(),
        columns: made,
    })
}

impl Shown {
    /// Returns the bars as lines of comma-separated values under a head.
    pub(crate) fn table(&self) -> String {
        let several = self.instruments.len() > 1;
        let names: Vec<&str> = self.columns.keys().map(String::as_str).collect();
        let mut out = String::from("open_time");
        if several {
            out += ",instrument";
        }
        for name in &names {
            out += &format!(",{name}");
        }
        for (row, open_time) in self.open_time.iter().enumerate() {
            for (place, instrument) in self.instruments.iter().enumerate() {
                out += &format!("\n{}", time(*open_time));
                if several {
                    out += &format!(",{instrument}");
                }
                for name in &names {
                    let value = self.columns[*name][row * self.instruments.len() + place];
                    out += &format!(",{}", number(value));
                }
            }
        }
        out
    }

    /// Returns the panel of these bars alone; columns that are not shown hold the
    /// close, or nothing, and are not read.
    pub(crate) fn panel(&self) -> Option<Panel> {
        let names: Vec<Instrument> = self
            .instruments
            .iter()
            .map(|name| Instrument::new(name).ok())
            .collect::<Option<_>>()?;
        let mut panel = Panel::new(&names, self.timeframe, 0).ok()?;
        let width = names.len();
        for (row, open_time) in self.open_time.iter().enumerate() {
            let bars: Vec<Option<Bar>> = (0..width)
                .map(|place| {
                    let of = |name: &str| {
                        let column = self.columns.get(name);
                        column.map_or(f64::NAN, |values| values[row * width + place])
                    };
                    Some(Bar {
                        open: of("open"),
                        high: of("high"),
                        low: of("low"),
                        close: of("close"),
                        volume: of("volume"),
                    })
                })
                .collect();
            panel.push(*open_time, &bars).ok()?;
        }
        for (name, values) in &self.columns {
            if !["open", "high", "low", "close", "volume"].contains(&name.as_str()) {
                panel.insert(name, values).ok()?;
            }
        }
        Some(panel)
    }
}

/// Returns the value of each step for the first instrument at the last bar shown.
pub(crate) fn evaluate(entry: &Entry, steps: &[Step], shown: &Shown) -> Option<Vec<f64>> {
    let panel = shown.panel()?;
    let requests: Vec<Request<'_>> = steps
        .iter()
        .map(|step| Request {
            name: &entry.id,
            expression: &step.expression,
            profile: entry.profile,
        })
        .collect();
    let plan = Plan::new(&requests, &panel).ok()?;
    let mut values = vec![f64::NAN; steps.len()];
    let lanes = panel.lanes();
    Evaluator::new(&plan, &panel).advance(&panel, |step, _, block| {
        values[step] = block[block.len() - lanes];
    });
    Some(values)
}

fn of_series(maker: &mut Maker<'_>, entry: &Entry, world: &World<'_>, draw: u64) {
    let Some((instrument, at, returns, benchmark)) = world.returns(draw, RETURNS) else {
        return;
    };
    let reads_benchmark = entry.needs.fields.contains("benchmark");
    let inputs = SeriesInputs {
        r: &returns,
        benchmark: reads_benchmark.then_some(&benchmark[..]),
    };
    let Ok(value) = evaluate_series(&entry.expression, &entry.profile, &inputs) else {
        return;
    };
    if !value.is_finite() {
        return;
    }
    let list = |values: &[f64]| {
        let texts: Vec<String> = values.iter().map(|value| number(*value)).collect();
        texts.join(", ")
    };
    let mut question = format!(
        "Compute {} of these {} returns. Formula: `{}`.\nr = {}",
        called(entry),
        returns.len(),
        entry.expression,
        list(&returns)
    );
    if reads_benchmark {
        question += &format!("\nbenchmark = {}", list(&benchmark));
    }
    let mut answer = String::new();
    for (index, step) in language::explain(&entry.expression).iter().enumerate() {
        answer += &format!("{}. {}", index + 1, step.sentence);
        // Steps that give a series have no one value to show.
        if let Ok(value) = evaluate_series(&step.expression, &entry.profile, &inputs) {
            answer += &format!(": {}", number(value));
        }
        answer.push('\n');
    }
    answer += &format!("Answer: {}", number(value));
    maker.add_at(Kind::Computation, question, answer, Some((instrument, at)));
}
