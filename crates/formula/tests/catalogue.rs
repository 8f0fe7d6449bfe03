//! Every formula of the catalogue, evaluated: the past alone decides, one bar at a
//! time equals all at once, and nothing is text only.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test prints its table and fails on what is missing"
)]

use std::collections::BTreeMap;

use formula::catalogue::{Catalogue, Entry};
use formula::engine::{Evaluator, Plan, Request};
use formula::fields::{self, Source};
use formula::panel::{Bar, Panel};
use market::Instrument;

/// Long enough for the longest warm-up of the catalogue that a panel of bars is asked for.
const ROWS: usize = 700;

/// Bars that must be left after the warm-up for a formula to be asked for a value.
const MARGIN: usize = 60;

/// Formulas without a value on these bars, and why.
const UNKNOWN_HERE: [(&str, &str); 3] = [
    (
        "alpha101.096",
        "correlations of ranks of nine instruments have no spread too often",
    ),
    (
        "gtja191.064",
        "correlations of ranks of nine instruments have no spread too often",
    ),
    (
        "fx.parity_age",
        "no triangle closes when prices are independent",
    ),
];

const PAIRS: [&str; 9] = [
    "EUR/USD", "GBP/USD", "USD/JPY", "EUR/GBP", "EUR/JPY", "AUD/USD", "USD/CHF", "NZD/USD",
    "USD/CAD",
];

/// A generator of numbers in `[0, 1)`, the same on every machine.
fn uniforms(seed: u64) -> impl FnMut() -> f64 {
    let mut state = seed;
    move || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// Rows of bars: random walks with a missing bar now and then.
fn rows() -> Vec<Vec<Option<Bar>>> {
    let mut uniform = uniforms(3);
    let mut prices: Vec<f64> = (0..PAIRS.len())
        .map(|pair| 0.7 + pair as f64 * 0.3)
        .collect();
    (0..ROWS)
        .map(|row| {
            prices
                .iter_mut()
                .enumerate()
                .map(|(pair, price)| {
                    let open = *price * (1.0 + 0.0005 * (uniform() - 0.5));
                    let close = open * (1.0 + 0.01 * (uniform() - 0.5));
                    *price = close;
                    let bar = Bar {
                        open,
                        high: open.max(close) * (1.0 + 0.003 * uniform()),
                        low: open.min(close) * (1.0 - 0.003 * uniform()),
                        close,
                        volume: (1000.0 * uniform()).round() + 1.0,
                    };
                    // The last pair has short holes (carried) and one long one.
                    let hole = pair == 8 && (row % 97 == 40 || (150..170).contains(&row));
                    (!hole).then_some(bar)
                })
                .collect()
        })
        .collect()
}

fn empty() -> Panel {
    let names: Vec<Instrument> = PAIRS
        .iter()
        .map(|name| Instrument::new(name).unwrap())
        .collect();
    Panel::new(&names, "4h".parse().unwrap(), 3).unwrap()
}

/// Adds what is not in bars: quotes, trades and rates, a function of the row.
fn with_further_columns(mut panel: Panel) -> Panel {
    for (index, field) in fields::FIELDS.iter().enumerate() {
        if !matches!(field.source, Source::Ticks | Source::Given) {
            continue;
        }
        let mut uniform = uniforms(100 + index as u64);
        let close = panel.column("close").unwrap().to_vec();
        let lanes = panel.lanes();
        let values: Vec<f64> = (0..panel.rows())
            .flat_map(|row| (0..PAIRS.len()).map(move |pair| (row, pair)))
            .map(|(row, pair)| {
                let price = close[row * lanes + pair];
                let uniform = uniform();
                match field.name {
                    "bid" => price * (1.0 - 0.0002 * uniform),
                    "ask" => price * (1.0 + 0.0002 * uniform),
                    "microprice" => price * (1.0 + 0.0001 * (uniform - 0.5)),
                    "spread" => price * 0.0002 * (0.5 + uniform),
                    "ofi" | "signed_volume" => 200.0 * (uniform - 0.5),
                    "base_rate" | "quote_rate" => 0.02 + 0.01 * uniform,
                    "funding_rate" => 0.0001 * (uniform - 0.3),
                    _ => 1.0 + 500.0 * uniform,
                }
            })
            .collect();
        panel.insert(field.name, &values).unwrap();
    }
    panel
}

fn panel(rows: &[Vec<Option<Bar>>]) -> Panel {
    let mut panel = empty();
    for (row, bars) in rows.iter().enumerate() {
        panel.push(row as i64 * 4 * 3_600_000, bars).unwrap();
    }
    with_further_columns(panel)
}

fn entries() -> Vec<&'static Entry> {
    let catalogue = Catalogue::builtin().unwrap_or_else(|faults| panic!("{faults}"));
    let entries = catalogue.entries().iter();
    let entries: Vec<&Entry> = entries.filter(|entry| !entry.needs.series).collect();
    assert!(entries.len() > 400, "{} formulas", entries.len());
    entries
}

fn plan(entries: &[&Entry], panel: &Panel) -> Plan {
    let requests: Vec<Request<'_>> = entries
        .iter()
        .map(|entry| Request {
            name: &entry.id,
            expression: &entry.expression,
            profile: entry.profile,
        })
        .collect();
    Plan::new(&requests, panel).unwrap()
}

/// All values of each formula, `rows * lanes`, fed up to each of `ends` in turn.
fn evaluated(plan: &Plan, panel: &Panel, ends: impl Iterator<Item = usize>) -> Vec<Vec<f64>> {
    let mut values = vec![Vec::new(); plan.formulas()];
    let mut evaluator = Evaluator::new(plan, panel);
    for end in ends {
        evaluator.advance_to(panel, end, |formula, _, block| {
            values[formula].extend_from_slice(block);
        });
    }
    values
}

#[track_caller]
fn check_same_bits(entries: &[&Entry], one: &[Vec<f64>], other: &[Vec<f64>], rows: usize) {
    let mut different: BTreeMap<&str, String> = BTreeMap::new();
    for ((entry, one), other) in entries.iter().zip(one).zip(other) {
        let lanes = one.len() / rows.max(1);
        let pairs = one.iter().zip(other).enumerate();
        for (at, (a, b)) in pairs {
            if a.to_bits() != b.to_bits() && !(a.is_nan() && b.is_nan()) {
                let place = format!("row {} lane {}: {a} and {b}", at / lanes, at % lanes);
                different.entry(&entry.id).or_insert(place);
            }
        }
    }
    assert!(different.is_empty(), "{different:#?}");
}

#[test]
fn one_bar_at_a_time_equals_all_at_once() {
    let entries = entries();
    let panel = panel(&rows());
    let plan = plan(&entries, &panel);
    let whole = evaluated(&plan, &panel, std::iter::once(ROWS));
    let single = evaluated(&plan, &panel, 1..=ROWS);
    check_same_bits(&entries, &whole, &single, ROWS);
    let uneven = evaluated(&plan, &panel, (0..=ROWS).step_by(53).chain([ROWS]));
    check_same_bits(&entries, &whole, &uneven, ROWS);
}

#[test]
fn the_future_changes_nothing() {
    let entries = entries();
    let mut rows = rows();
    let whole = panel(&rows);
    let plan = plan(&entries, &whole);
    let before = evaluated(&plan, &whole, std::iter::once(ROWS));
    // Another future: prices thrice as high.
    let cut = 480;
    for bar in rows[cut..].iter_mut().flatten().flatten() {
        bar.open *= 3.0;
        bar.high *= 3.0;
        bar.low *= 3.0;
        bar.close *= 3.0;
        bar.volume += 9.0;
    }
    let other = panel(&rows);
    let after = evaluated(&plan, &other, std::iter::once(ROWS));
    let keep = cut * whole.lanes();
    let head = |values: &[Vec<f64>]| -> Vec<Vec<f64>> {
        values
            .iter()
            .map(|values| values[..keep].to_vec())
            .collect()
    };
    check_same_bits(&entries, &head(&before), &head(&after), cut);
    let moved = before
        .iter()
        .zip(&after)
        .filter(|(a, b)| a[keep..] != b[keep..]);
    assert!(
        moved.count() > entries.len() / 2,
        "the other future is no other"
    );
}

#[test]
fn every_formula_has_values_and_none_is_infinite() {
    let entries = entries();
    let panel = panel(&rows());
    let plan = plan(&entries, &panel);
    let values = evaluated(&plan, &panel, std::iter::once(ROWS));
    let mut wrong: BTreeMap<&str, String> = BTreeMap::new();
    for (index, (entry, values)) in entries.iter().zip(&values).enumerate() {
        let warm_up = plan.warm_up(index);
        let excused = warm_up + MARGIN > ROWS || UNKNOWN_HERE.iter().any(|(id, _)| *id == entry.id);
        if values.iter().all(|value| value.is_nan()) && !excused {
            wrong.insert(&entry.id, format!("never known, warm-up {warm_up}"));
        }
        if values.iter().any(|value| value.is_infinite()) {
            wrong.insert(&entry.id, "infinite".to_owned());
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn shares_of_the_formulas_give_the_same() {
    let entries = entries();
    let panel = panel(&rows());
    let plan = plan(&entries, &panel);
    let whole = evaluated(&plan, &panel, std::iter::once(ROWS));
    let shares = plan.shares(3);
    assert_eq!(shares.first().map(|share| share.start), Some(0));
    assert_eq!(shares.last().map(|share| share.end), Some(entries.len()));
    let mut parts = vec![Vec::new(); plan.formulas()];
    for share in shares {
        let mut evaluator = Evaluator::of_formulas(&plan, &panel, share);
        evaluator.advance(&panel, |formula, _, block| {
            parts[formula].extend_from_slice(block);
        });
    }
    check_same_bits(&entries, &whole, &parts, ROWS);
}
