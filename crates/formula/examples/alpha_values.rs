//! Scratch: evaluates formulas of a file and writes their values.
#![allow(clippy::unwrap_used, clippy::print_stdout, unreachable_pub, dead_code)]

#[path = "../tests/support/market.rs"]
mod market_;

use formula::Profile;
use formula::engine::{Evaluator, Plan, Request};
use formula::language::{self, Notation};

fn main() {
    let mut arguments = std::env::args().skip(1);
    let text = std::fs::read_to_string(arguments.next().unwrap()).unwrap();
    let target = arguments.next().unwrap();
    let mut bytes = Vec::new();
    let panels = [market_::panel(false), market_::panel(true)];
    for line in text.lines() {
        let parts: Vec<&str> = line.split('\t').collect();
        let profile = Profile::named(parts[0]).unwrap();
        let panel = &panels[parts[1].parse::<usize>().unwrap()];
        let mut values = vec![f64::NAN; panel.rows() * market_::INSTRUMENTS];
        match language::parse(parts[3], Notation::named(parts[2]).unwrap()) {
            Ok(expression) => {
                let request = Request {
                    name: "x",
                    expression: &expression,
                    profile,
                };
                let plan = Plan::new(&[request], panel).unwrap();
                let lanes = panel.lanes();
                Evaluator::new(&plan, panel).advance(panel, |_, first, block| {
                    for (row, block) in block.chunks(lanes).enumerate() {
                        let at = (first + row) * market_::INSTRUMENTS;
                        values[at..at + market_::INSTRUMENTS]
                            .copy_from_slice(&block[..market_::INSTRUMENTS]);
                    }
                });
            }
            Err(error) => println!("{}: {error}", parts[3]),
        }
        bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    }
    std::fs::write(target, bytes).unwrap();
}
