//! How fast each operator is: millions of values a second of one thread, on a
//! panel of 51 instruments.
//!
//!     cargo run --release -p foretune-formula --example operators [ROWS] [WINDOW]

#![allow(clippy::print_stdout, clippy::unwrap_used)]

use formula::Profile;
use formula::engine::{Evaluator, Plan, Request};
use formula::language::Expression;
use formula::operators::{self, Axis, Computation, Kind};
use formula::panel::{Bar, Panel};
use market::Instrument;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let rows: usize = arguments
        .next()
        .map_or(11_036, |text| text.parse().unwrap());
    let window: f64 = arguments.next().map_or(20.0, |text| text.parse().unwrap());
    let panel = panel(51, rows);
    for operator in operators::all() {
        if matches!(operator.computation, Computation::Reduce(_)) || operator.axis == Axis::Series {
            continue;
        }
        let mut series = ["close", "volume", "open"].iter();
        let arguments = operator
            .parameters
            .iter()
            .map(|parameter| match parameter.kind {
                Kind::Window => Expression::Number(window),
                Kind::Constant => Expression::Number(parameter.default.unwrap_or(2.0)),
                Kind::Group => Expression::field("sector"),
                _ => Expression::field(series.next().unwrap()),
            })
            .collect();
        let expression = Expression::Call(operator, arguments);
        let request = Request {
            name: operator.name,
            expression: &expression,
            profile: Profile::PAPER,
        };
        let Ok(plan) = Plan::new(&[request], &panel) else {
            continue;
        };
        let mut seconds = 0.0;
        let mut times = 0;
        let mut sum = 0.0;
        while seconds < 0.1 {
            let mut evaluator = Evaluator::new(&plan, &panel);
            let start = processor_seconds();
            evaluator.advance(&panel, |_, _, values| sum += values[0]);
            seconds += processor_seconds() - start;
            times += 1;
        }
        let speed = (51 * rows * times) as f64 / seconds / 1e6;
        println!(
            "{:20} {speed:8.0} M/s {}",
            operator.name,
            if sum == 0.5 { " " } else { "" }
        );
    }
}

/// Seconds that this thread has run, on Linux.
fn processor_seconds() -> f64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    let nanoseconds: f64 = text.split(' ').next().unwrap().parse().unwrap();
    nanoseconds / 1e9
}

/// Random walks, a pure function of the size.
fn panel(instruments: usize, rows: usize) -> Panel {
    let names: Vec<Instrument> = (0..instruments)
        .map(|index| Instrument::new(&format!("A{index}/USD")).unwrap())
        .collect();
    let mut panel = Panel::new(&names, "15m".parse().unwrap(), 4).unwrap();
    let mut state = 1_u64;
    let mut uniform = move || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 11) as f64 / (1_u64 << 53) as f64
    };
    let mut prices = vec![1.0; instruments];
    for row in 0..rows {
        let bars: Vec<Option<Bar>> = prices
            .iter_mut()
            .map(|price| {
                let open = *price;
                let close = open * (1.0 + 0.002 * (uniform() - 0.5));
                *price = close;
                Some(Bar {
                    open,
                    high: open.max(close) * (1.0 + 0.0005 * uniform()),
                    low: open.min(close) * (1.0 - 0.0005 * uniform()),
                    close,
                    volume: (1000.0 * uniform()).round(),
                })
            })
            .collect();
        panel.push(row as i64 * 900_000, &bars).unwrap();
    }
    panel
}
