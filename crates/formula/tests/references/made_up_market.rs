//! A made-up market, the same to the last bit as in
//! `python/reference/formulas/market.py`: only +, -, *, / and comparisons of
//! doubles are used, which every language computes alike.

use formula::panel::{Bar, Panel};
use market::{Instrument, Timeframe};

const ROWS: usize = 720;
const PAIRS: [&str; 7] = [
    "EUR/USD", "USD/JPY", "EUR/JPY", "GBP/USD", "EUR/GBP", "AUD/USD", "GBP/JPY",
];
const CURRENCIES: [&str; 5] = ["USD", "EUR", "GBP", "JPY", "AUD"];
const VALUES: [f64; 5] = [1.0, 1.1, 1.27, 0.0068, 0.66];
const RATES: [f64; 5] = [0.05, 0.03, 0.045, 0.001, 0.04];
const HOUR: i64 = 3_600_000;
/// Wednesday 2024-01-17 00:00 UTC.
const BEGINNING: i64 = 1_705_449_600_000;

/// A number in [0, 1) by the finaliser of SplitMix64.
fn uniform(row: usize, lane: usize, draw: usize) -> f64 {
    let key = (row * 1_000_003 + lane * 10_007 + draw + 1) as u64;
    let x = key.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    ((x ^ (x >> 31)) >> 11) as f64 / 9_007_199_254_740_992.0
}

/// A sum of four uniform numbers, about 0.
fn bell(row: usize, lane: usize, draw: usize) -> f64 {
    let u = [0, 1, 2, 3].map(|k| uniform(row, lane, 4 * draw + k));
    u[0] + u[1] + u[2] + u[3] - 2.0
}

/// Hours without weekends.
fn open_times() -> Vec<i64> {
    let closed = |time: &i64| {
        let (day, hour) = ((time / (24 * HOUR) + 3) % 7, time / HOUR % 24);
        (day == 4 && hour >= 22) || day == 5 || (day == 6 && hour < 22)
    };
    (0..)
        .map(|hour| BEGINNING + hour * HOUR)
        .filter(|time| !closed(time))
        .take(ROWS)
        .collect()
}

fn round_to(tick: f64, price: f64) -> f64 {
    (price / tick + 0.5).floor() * tick
}

/// What is known of one bar besides its prices.
const GIVEN: [&str; 15] = [
    "bid",
    "ask",
    "bid_size",
    "ask_size",
    "microprice",
    "spread",
    "ofi",
    "trades",
    "buy_volume",
    "sell_volume",
    "signed_volume",
    "cap",
    "funding_rate",
    "base_rate",
    "quote_rate",
];

fn given(row: usize, lane: usize, close: f64, tick: f64, legs: [usize; 2]) -> [f64; 15] {
    let half = tick * (1.0 + (4.0 * uniform(row, lane, 31)).floor());
    let middle = close + tick * ((5.0 * uniform(row, lane, 32)).floor() - 2.0);
    let (bid, ask) = (middle - half, middle + half);
    let bid_size = 1.0 + (50.0 * uniform(row, lane, 33)).floor();
    let ask_size = 1.0 + (50.0 * uniform(row, lane, 34)).floor();
    let buy = (300.0 * uniform(row, lane, 35)).floor();
    let sell = (300.0 * uniform(row, lane, 36)).floor() + 1.0;
    let rate = |which: usize| RATES[which] + 0.001 * bell(row / 90, 200 + which, 0);
    [
        bid,
        ask,
        bid_size,
        ask_size,
        (bid * ask_size + ask * bid_size) / (bid_size + ask_size),
        2.0 * half * (0.8 + 0.4 * uniform(row, lane, 37)),
        (200.0 * bell(row, lane, 10)).floor(),
        1.0 + (40.0 * uniform(row, lane, 38)).floor(),
        buy,
        sell,
        buy - sell,
        1_000_000.0 + 1000.0 * lane as f64,
        0.0001 * bell(row / 8, lane, 11),
        rate(legs[0]),
        rate(legs[1]),
    ]
}

/// Returns the panel of all columns.
pub(crate) fn panel() -> Panel {
    let instruments = PAIRS.map(|name| Instrument::new(name).unwrap());
    let mut panel = Panel::new(&instruments, "1h".parse::<Timeframe>().unwrap(), 0).unwrap();
    let mut columns = GIVEN.map(|_| Vec::new());
    let mut values = VALUES;
    let mut last = [0.0; PAIRS.len()];
    for (row, &time) in open_times().iter().enumerate() {
        let before = values;
        for (which, value) in values.iter_mut().enumerate().skip(1) {
            *value *= 1.0 + 0.002 * bell(row, 100 + which, 0);
        }
        let mut bars = Vec::new();
        for (lane, pair) in PAIRS.iter().enumerate() {
            let place = |name: &str| CURRENCIES.iter().position(|c| *c == name).unwrap();
            let (base, quote) = pair.split_once('/').unwrap();
            let legs = [place(base), place(quote)];
            let price = |values: &[f64; 5]| values[legs[0]] / values[legs[1]];
            let (old, new) = (price(&before), price(&values));
            let tick = if quote == "JPY" { 0.001 } else { 0.00001 };
            let mut path = [0, 1, 2, 3, 4, 5].map(|step| {
                let on_the_way = old + (new - old) * (step as f64 / 5.0);
                round_to(tick, on_the_way * (1.0 + 0.0006 * bell(row, lane, step)))
            });
            if row % 97 == 3 * lane + 20 {
                path = [last[lane]; 6];
            }
            last[lane] = path[5];
            let quiet = lane == 4 && row % 211 == 5;
            let volume = (100.0 + 900.0 * uniform(row, lane, 30)).floor();
            let missing = lane == 5 && (10..=12).contains(&(row % 50));
            bars.push((!missing).then_some(Bar {
                open: path[0],
                high: path.into_iter().fold(f64::NEG_INFINITY, f64::max),
                low: path.into_iter().fold(f64::INFINITY, f64::min),
                close: path[5],
                volume: if quiet { 0.0 } else { volume },
            }));
            let given = given(row, lane, path[5], tick, legs);
            for (column, value) in columns.iter_mut().zip(given) {
                column.push(value);
            }
        }
        panel.push(time, &bars).unwrap();
    }
    for (name, column) in GIVEN.iter().zip(&columns) {
        panel.insert(name, column).unwrap();
    }
    panel
}
