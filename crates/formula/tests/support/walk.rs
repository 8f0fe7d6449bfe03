//! The market of `python/reference/formula_oracle.py`: random walks in whole numbers
//! of 1/128, the same bits on both sides.

use formula::Profile;
use formula::engine::{Evaluator, Plan, Request};
use formula::language::Expression;
use formula::panel::{Bar, Panel};
use market::Instrument;

/// SplitMix64 (Steele, Lea and Flood 2014).
struct Generator(u64);

impl Generator {
    fn below(&mut self, limit: u64) -> i64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (((z ^ (z >> 31)) >> 33) % limit) as i64
    }
}

const NAMES: [&str; 10] = [
    "EUR/USD", "GBP/USD", "USD/JPY", "EUR/GBP", "EUR/JPY", "AUD/USD", "USD/CHF", "NZD/USD",
    "USD/CAD", "GBP/JPY",
];

/// The bars of `rows` hours.
pub(crate) fn panel(rows: usize, instruments: usize) -> Panel {
    panel_without(rows, instruments, |_, _| false)
}

/// The same without the bars that `missing` names by row and instrument.
pub(crate) fn panel_without(
    rows: usize,
    instruments: usize,
    missing: impl Fn(usize, usize) -> bool,
) -> Panel {
    const SEED: u64 = 2017;
    let mut generator = Generator(SEED);
    let names: Vec<Instrument> = NAMES[..instruments]
        .iter()
        .map(|name| Instrument::new(name).unwrap())
        .collect();
    let mut panel = Panel::new(&names, "1h".parse().unwrap(), 0).unwrap();
    let mut close: Vec<i64> = (0..instruments as i64).map(|i| 8192 + 16 * i).collect();
    for row in 0..rows {
        let bars: Vec<Option<Bar>> = close
            .iter_mut()
            .enumerate()
            .map(|(lane, close)| {
                let bar = bar(&mut generator, close);
                (!missing(row, lane)).then_some(bar)
            })
            .collect();
        panel.push(row as i64 * 3_600_000, &bars).unwrap();
    }
    panel
}

fn bar(generator: &mut Generator, last: &mut i64) -> Bar {
    let open = *last + generator.below(5) - 2;
    let close = (open + generator.below(161) - 80).max(2000);
    let high = open.max(close) + 1 + generator.below(60);
    let low = open.min(close) - 1 - generator.below(60);
    let mut volume = 100 + generator.below(900);
    if generator.below(20) == 0 {
        volume += 4000;
    }
    *last = close;
    let price = |whole: i64| whole as f64 / 128.0;
    Bar {
        open: price(open),
        high: price(high),
        low: price(low),
        close: price(close),
        volume: volume as f64,
    }
}

/// Evaluates formulas and returns, for each, the sampled rows of all instruments.
pub(crate) fn sampled(
    panel: &Panel,
    formulas: &[(&Expression, Profile)],
    rows: &[usize],
) -> Vec<Vec<Vec<f64>>> {
    let requests: Vec<Request<'_>> = formulas
        .iter()
        .map(|(expression, profile)| Request {
            name: "formula",
            expression,
            profile: *profile,
        })
        .collect();
    let plan = Plan::new(&requests, panel).unwrap();
    let mut values = vec![vec![Vec::new(); rows.len()]; formulas.len()];
    let lanes = panel.lanes();
    let width = panel.instruments().len();
    Evaluator::new(&plan, panel).advance(panel, |formula, first, block| {
        for (at, row) in rows.iter().enumerate() {
            if let Some(here) = row.checked_sub(first)
                && let Some(row) = block.get(here * lanes..(here + 1) * lanes)
            {
                values[formula][at] = row[..width].to_vec();
            }
        }
    });
    values
}
