//! Questions about values on real bars: what one says, what another window
//! changes, how two formulas go together.

use std::collections::HashMap;

use formula::catalogue::{Catalogue, Entry};
use formula::engine::{Evaluator, Plan, Request, SeriesInputs, evaluate_series};
use formula::language::Expression;
use formula::operators;
use formula::panel::Panel;

use super::about::called;
use super::text::{number, shown, time};
use super::{Kind, KnowledgeSettings, Maker};
use crate::{DatasetError, seed};

/// Rows at the end of the panel whose values are kept.
const KEPT: usize = 700;
/// Values before a bar that it is compared with.
const PAST: usize = 250;
/// Fewer known values than this say nothing about what is usual.
const LEAST_PAST: usize = 100;
/// Returns of a series that a statistic is taken of.
const SERIES: usize = 250;

/// The bars, and the values of every formula on the last of them.
pub(crate) struct World<'a> {
    pub(crate) panel: &'a Panel,
    /// Warm-up and columns read, by formula, for those that can be evaluated.
    needs: HashMap<&'a str, (usize, Vec<String>)>,
    /// Values of the kept rows, instrument by instrument.
    values: HashMap<&'a str, Vec<Vec<f64>>>,
    entries: Vec<&'a Entry>,
    first: usize,
}

impl<'a> World<'a> {
    pub(crate) fn new(catalogue: &'a Catalogue, panel: &'a Panel) -> Result<Self, DatasetError> {
        let mut world = Self {
            panel,
            needs: HashMap::new(),
            values: HashMap::new(),
            entries: Vec::new(),
            first: panel.rows().saturating_sub(KEPT),
        };
        for entry in catalogue.entries() {
            // Formulas over a series or over columns that are not here stay out.
            let Ok(plan) = Plan::new(&[request(entry, &entry.expression)], panel) else {
                continue;
            };
            let columns = plan.columns(0).into_iter().map(str::to_owned).collect();
            world.needs.insert(&entry.id, (plan.warm_up(0), columns));
            world.entries.push(entry);
        }
        let requests: Vec<Request<'_>> = world
            .entries
            .iter()
            .map(|entry| request(entry, &entry.expression))
            .collect();
        let plan = Plan::new(&requests, panel)?;
        let values = kept(&plan, panel, world.first);
        for (entry, values) in world.entries.iter().zip(values) {
            world.values.insert(&entry.id, values);
        }
        Ok(world)
    }

    /// Returns a formula's warm-up and the columns it reads, if it can be evaluated.
    pub(crate) fn needs(&self, entry: &Entry) -> Option<(usize, Vec<String>)> {
        self.needs.get(entry.id.as_str()).cloned()
    }

    /// Returns `count` returns in a row of an instrument and those of another, as
    /// shown, with the instrument and the open time of the last bar.
    pub(crate) fn returns(
        &self,
        draw: u64,
        count: usize,
    ) -> Option<(String, i64, Vec<f64>, Vec<f64>)> {
        let instruments = self.panel.instruments();
        let lane = (draw % instruments.len() as u64) as usize;
        let other = (lane + 1) % instruments.len();
        let places = self.panel.rows().checked_sub(count + 1)? as u64;
        let start = ((draw >> 16) % places.max(1)) as usize;
        let returns = self.returns_of(lane, start, count)?;
        let benchmark = self.returns_of(other, start, count)?;
        let at = self.panel.open_time()[start + count];
        Some((instruments[lane].clone(), at, returns, benchmark))
    }

    fn returns_of(&self, lane: usize, start: usize, count: usize) -> Option<Vec<f64>> {
        let close = self.panel.column("close")?;
        let lanes = self.panel.lanes();
        let at = |row: usize| close[row * lanes + lane];
        let returns: Vec<f64> = (start + 1..=start + count)
            .map(|row| shown(at(row) / at(row - 1) - 1.0))
            .collect();
        returns
            .iter()
            .all(|value| value.is_finite())
            .then_some(returns)
    }
}

fn request<'a>(entry: &'a Entry, expression: &'a Expression) -> Request<'a> {
    Request {
        name: &entry.id,
        expression,
        profile: entry.profile,
    }
}

/// Returns the values of each formula from row `first` on, instrument by instrument.
fn kept(plan: &Plan, panel: &Panel, first: usize) -> Vec<Vec<Vec<f64>>> {
    let (lanes, instruments) = (panel.lanes(), panel.instruments().len());
    let mut values = vec![vec![Vec::new(); instruments]; plan.formulas()];
    Evaluator::new(plan, panel).advance(panel, |formula, start, block| {
        for (row, block) in block.chunks_exact(lanes).enumerate() {
            if start + row >= first {
                for (column, value) in values[formula].iter_mut().zip(block) {
                    column.push(*value);
                }
            }
        }
    });
    values
}

/// Adds the questions of one formula.
pub(crate) fn add(maker: &mut Maker<'_>, world: &World<'_>, settings: &KnowledgeSettings) {
    let entry = maker.entry;
    let draw = |purpose: &str, number: usize| {
        seed::hash(settings.seed, purpose, &format!("{}#{number}", entry.id))
    };
    if entry.needs.series {
        for number in 0..settings.interpretations {
            of_series(maker, entry, world, draw("interpretation", number));
        }
        return;
    }
    if !world.values.contains_key(entry.id.as_str()) {
        return;
    }
    for number in 0..settings.interpretations {
        interpretation(maker, entry, world, draw("interpretation", number));
    }
    for number in 0..settings.sensitivities {
        sensitivity(maker, entry, world, draw("sensitivity", number), number);
    }
    for number in 0..settings.comparisons {
        comparison(maker, entry, world, draw("comparison", number), number);
    }
}

fn interpretation(maker: &mut Maker<'_>, entry: &Entry, world: &World<'_>, draw: u64) {
    let values = &world.values[entry.id.as_str()];
    let lane = (draw % values.len() as u64) as usize;
    let column = &values[lane];
    if column.len() <= PAST {
        return;
    }
    let row = PAST + ((draw >> 16) % (column.len() - PAST) as u64) as usize;
    let value = column[row];
    let mut past: Vec<f64> = column[row - PAST..row]
        .iter()
        .copied()
        .filter(|value| !value.is_nan())
        .collect();
    if value.is_nan() || past.len() < LEAST_PAST {
        return;
    }
    past.sort_by(f64::total_cmp);
    let at = |share: f64| past[((past.len() - 1) as f64 * share).round() as usize];
    let (low, median, high) = (shown(at(0.1)), shown(at(0.5)), shown(at(0.9)));
    let value = shown(value);
    let instrument = &world.panel.instruments()[lane];
    let open_time = world.panel.open_time()[world.first + row];
    let question = format!(
        "{instrument}, {} bar of {}: {} is {}. Over the {} known values before it the 10th \
         percentile was {}, the median {} and the 90th percentile {}. What does this say?",
        world.panel.timeframe(),
        time(open_time),
        called(entry),
        number(value),
        past.len(),
        number(low),
        number(median),
        number(high)
    );
    let place = if low == high {
        "The formula hardly moves here, so its value says nothing".to_owned()
    } else if value > high {
        "This is unusually high for the instrument, above nine tenths of its recent past".to_owned()
    } else if value < low {
        "This is unusually low for the instrument, below nine tenths of its recent past".to_owned()
    } else if value > median {
        "This is above the median but within the usual range".to_owned()
    } else if value < median {
        "This is below the median but within the usual range".to_owned()
    } else {
        "This is the median: neither high nor low".to_owned()
    };
    let answer = format!(
        "{place}. {} Keep in mind: {}",
        entry.interpretation, entry.pitfalls
    );
    maker.add_at(
        Kind::Interpretation,
        question,
        answer,
        Some((instrument.clone(), open_time)),
    );
}

fn sensitivity(
    maker: &mut Maker<'_>,
    entry: &Entry,
    world: &World<'_>,
    draw: u64,
    number_of: usize,
) {
    let windows = windows(&entry.expression);
    if windows.is_empty() {
        return;
    }
    let window = windows[(draw % windows.len() as u64) as usize];
    // Once longer, once shorter.
    let other = match number_of % 2 {
        0 => window * 2.0,
        _ => (window / 2.0).floor(),
    };
    if other < 2.0 || other > PAST as f64 {
        return;
    }
    let changed = with_window(&entry.expression, window, other);
    let requests = [request(entry, &entry.expression), request(entry, &changed)];
    let Ok(plan) = Plan::new(&requests, world.panel) else {
        return;
    };
    // Both versions from the same bar on, warm before the rows that are compared.
    let warm_up = plan.warm_up(0).max(plan.warm_up(1));
    let tail = world.panel.tail(KEPT + 2 * warm_up);
    let values = kept(&plan, &tail, tail.rows().saturating_sub(KEPT));
    let lane = ((draw >> 16) % values[0].len() as u64) as usize;
    let both: Vec<(f64, f64)> = values[0][lane]
        .iter()
        .zip(&values[1][lane])
        .filter(|(a, b)| !a.is_nan() && !b.is_nan())
        .map(|(a, b)| (*a, *b))
        .collect();
    if both.len() < LEAST_PAST {
        return;
    }
    let first: Vec<f64> = both.iter().map(|pair| pair.0).collect();
    let second: Vec<f64> = both.iter().map(|pair| pair.1).collect();
    let instrument = &world.panel.instruments()[lane];
    let end = world.panel.rows() - 1;
    let open_time = world.panel.open_time()[end];
    let question = format!(
        "What changes in {} if {} bars become {} bars?\nNow: `{}`\nThen: `{changed}`",
        called(entry),
        number(window),
        number(other),
        entry.expression
    );
    let answer = format!(
        "Warm-up: {} bars become {}. On the last {} bars of {instrument} ({}, up to {}) the \
         standard deviation of the values goes from {} to {}, the mean absolute change from bar \
         to bar from {} to {}; the two versions correlate at {}. {}",
        plan.warm_up(0),
        plan.warm_up(1),
        both.len(),
        world.panel.timeframe(),
        time(open_time),
        number(deviation(&first)),
        number(deviation(&second)),
        number(step(&first)),
        number(step(&second)),
        number(correlation(&first, &second)),
        steadier(step(&first), step(&second))
    );
    maker.add_at(
        Kind::Sensitivity,
        question,
        answer,
        Some((instrument.clone(), open_time)),
    );
}

fn steadier(before: f64, after: f64) -> &'static str {
    if after < 0.98 * before {
        "So it moves less from bar to bar."
    } else if after > 1.02 * before {
        "So it moves more from bar to bar."
    } else {
        "So it moves about as much from bar to bar as before."
    }
}

fn comparison(
    maker: &mut Maker<'_>,
    entry: &Entry,
    world: &World<'_>,
    draw: u64,
    number_of: usize,
) {
    let entries = &world.entries;
    let Some(place) = entries.iter().position(|other| other.id == entry.id) else {
        return;
    };
    // A neighbour in its family first, then one from anywhere.
    let other = match number_of {
        0 => entries[(place + 1) % entries.len()],
        _ => entries[(draw % entries.len() as u64) as usize],
    };
    if other.id == entry.id {
        return;
    }
    let values = &world.values[entry.id.as_str()];
    let lane = ((draw >> 16) % values.len() as u64) as usize;
    let (first, second): (Vec<f64>, Vec<f64>) = values[lane]
        .iter()
        .zip(&world.values[other.id.as_str()][lane])
        .filter(|(a, b)| !a.is_nan() && !b.is_nan())
        .map(|(a, b)| (*a, *b))
        .unzip();
    let together = correlation(&first, &second);
    if first.len() < LEAST_PAST || together.is_nan() {
        return;
    }
    let instrument = &world.panel.instruments()[lane];
    let open_time = world.panel.open_time()[world.panel.rows() - 1];
    let warm_up = |entry: &Entry| world.needs[entry.id.as_str()].0;
    let reads = |entry: &Entry| {
        let columns: Vec<&str> = entry.needs.fields.iter().map(String::as_str).collect();
        columns.join(", ")
    };
    let question = format!(
        "How does {} differ from {}?\nFirst: `{}`\nSecond: `{}`",
        called(entry),
        called(other),
        entry.expression,
        other.expression
    );
    let likeness = match together.abs() {
        strong if strong > 0.8 => "largely the same information",
        some if some > 0.4 => "related, not the same",
        _ => "little in common",
    };
    let answer = format!(
        "{} {} The first reads {} and needs {} bars of warm-up, the second reads {} and needs {}. \
         On {} bars of {instrument} ({}, up to {}) they correlate at {}: {likeness}.",
        entry.explanation,
        other.explanation,
        reads(entry),
        warm_up(entry),
        reads(other),
        warm_up(other),
        first.len(),
        world.panel.timeframe(),
        time(open_time),
        number(together)
    );
    maker.add_at(
        Kind::Comparison,
        question,
        answer,
        Some((instrument.clone(), open_time)),
    );
}

fn of_series(maker: &mut Maker<'_>, entry: &Entry, world: &World<'_>, draw: u64) {
    let Some((instrument, at, returns, benchmark)) = world.returns(draw, 2 * SERIES) else {
        return;
    };
    let value = |from: usize, to: usize| {
        let reads_benchmark = entry.needs.fields.contains("benchmark");
        let inputs = SeriesInputs {
            r: &returns[from..to],
            benchmark: reads_benchmark.then(|| &benchmark[from..to]),
        };
        evaluate_series(&entry.expression, &entry.profile, &inputs).map_or(f64::NAN, shown)
    };
    let (before, now) = (value(0, SERIES), value(SERIES, 2 * SERIES));
    if !before.is_finite() || !now.is_finite() {
        return;
    }
    let question = format!(
        "{instrument}, {} bars up to {}: {} of the last {SERIES} bar returns is {}, of the {SERIES} \
         before {}. What does this say?",
        world.panel.timeframe(),
        time(at),
        called(entry),
        number(now),
        number(before)
    );
    let moved = if now > before {
        "It rose from one stretch to the next"
    } else if now < before {
        "It fell from one stretch to the next"
    } else {
        "It did not change"
    };
    let answer = format!(
        "{moved}. {} Keep in mind: {}",
        entry.interpretation, entry.pitfalls
    );
    maker.add_at(
        Kind::Interpretation,
        question,
        answer,
        Some((instrument, at)),
    );
}

/// Returns the windows of a formula, ascending, each once.
fn windows(expression: &Expression) -> Vec<f64> {
    let mut windows = Vec::new();
    for node in expression.nodes() {
        let Expression::Call(operator, arguments) = node else {
            continue;
        };
        for (parameter, argument) in operator.parameters.iter().zip(arguments) {
            if let (operators::Kind::Window, Expression::Number(value)) = (parameter.kind, argument)
            {
                windows.push(*value);
            }
        }
    }
    windows.sort_by(f64::total_cmp);
    windows.dedup();
    windows
}

/// Returns the formula with one window changed wherever it stands.
fn with_window(expression: &Expression, from: f64, to: f64) -> Expression {
    let Expression::Call(operator, arguments) = expression else {
        return expression.clone();
    };
    let arguments = operator
        .parameters
        .iter()
        .zip(arguments)
        .map(|(parameter, argument)| match (parameter.kind, argument) {
            (operators::Kind::Window, Expression::Number(value)) if *value == from => {
                Expression::Number(to)
            }
            _ => with_window(argument, from, to),
        })
        .collect();
    Expression::Call(operator, arguments)
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

fn deviation(values: &[f64]) -> f64 {
    let mean = mean(values);
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (squares / (values.len() as f64 - 1.0)).sqrt()
}

/// Returns the mean absolute change from one value to the next.
fn step(values: &[f64]) -> f64 {
    let steps: Vec<f64> = values
        .windows(2)
        .map(|pair| (pair[1] - pair[0]).abs())
        .collect();
    mean(&steps)
}

fn correlation(a: &[f64], b: &[f64]) -> f64 {
    let (mean_a, mean_b) = (mean(a), mean(b));
    let products = a.iter().zip(b).map(|(a, b)| (a - mean_a) * (b - mean_b));
    let both: f64 = products.sum::<f64>() / (a.len() as f64 - 1.0);
    both / (deviation(a) * deviation(b))
}
