//! A made-up market from whole numbers, the same bits here and in
//! `python/reference/alpha_fixtures.py`.

use formula::panel::{Bar, Panel};
use market::Instrument;

pub(crate) const INSTRUMENTS: usize = 24;
pub(crate) const ROWS: usize = 300;
/// Instrument and row of the bars that are missing where holes are asked for.
const HOLES: [(usize, usize); 7] = [
    (3, 285),
    (7, 270),
    (7, 271),
    (11, 100),
    (5, 12),
    (5, 13),
    (9, 40),
];

/// `SplitMix64` (Steele, Lea and Flood 2014).
struct Generator(u64);

impl Generator {
    fn below(&mut self, limit: i64) -> i64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 33) as i64 % limit
    }
}

/// One instrument's bars, average prices and capitalisation.
fn lane(lane: usize) -> Vec<(Bar, f64, f64)> {
    let mut random = Generator(lane as u64 + 1);
    let mut close = 640 * (lane as i64 + 1);
    let span = (close / 64).max(4);
    let units = 1 + random.below(50);
    let shares = 1000 + random.below(9000);
    let price = |ticks: i64| ticks as f64 / 128.0;
    (0..ROWS)
        .map(|_| {
            let open = (8 * span).max(close + random.below(span / 2 + 1) - span / 4);
            close = (8 * span).max(open + random.below(2 * span + 1) - span);
            let high = open.max(close) + random.below(span);
            let low = open.min(close) - random.below(span);
            let vwap = low + random.below(high - low + 1);
            let volume = units * (200 + random.below(1800));
            let bar = Bar {
                open: price(open),
                high: price(high),
                low: price(low),
                close: price(close),
                volume: volume as f64,
            };
            (bar, price(vwap), (shares * close) as f64)
        })
        .collect()
}

/// Returns the panel, with or without its holes.
pub(crate) fn panel(holes: bool) -> Panel {
    let names: Vec<Instrument> = (0..INSTRUMENTS)
        .map(|lane| Instrument::new(&format!("I{lane:02}/USD")).unwrap())
        .collect();
    let lanes: Vec<_> = (0..INSTRUMENTS).map(lane).collect();
    let missing = |lane: usize, row: usize| holes && HOLES.contains(&(lane, row));
    let mut panel = Panel::new(&names, "1d".parse().unwrap(), 0).unwrap();
    let (mut vwap, mut cap) = (Vec::new(), Vec::new());
    for row in 0..ROWS {
        let mut bars = Vec::new();
        for (lane, values) in lanes.iter().enumerate() {
            let (bar, average, worth) = values[row];
            let there = !missing(lane, row);
            bars.push(there.then_some(bar));
            vwap.push(if there { average } else { f64::NAN });
            cap.push(if there { worth } else { f64::NAN });
        }
        panel.push(row as i64 * 86_400_000, &bars).unwrap();
    }
    panel.insert("vwap", &vwap).unwrap();
    panel.insert("cap", &cap).unwrap();
    for (name, size) in [("subindustry", 2), ("industry", 4), ("sector", 8)] {
        let codes: Vec<String> = (0..INSTRUMENTS)
            .map(|lane| (lane / size).to_string())
            .collect();
        let codes: Vec<&str> = codes.iter().map(String::as_str).collect();
        panel.group(name, &codes).unwrap();
    }
    panel
}
