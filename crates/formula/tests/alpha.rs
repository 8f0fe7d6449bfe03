//! Alpha101, Alpha158 and Alpha360 against other libraries, see
//! `python/reference/alpha_fixtures.py`.

mod support;

use std::fmt::Write as _;

use formula::Profile;
use formula::catalogue::Catalogue;
use formula::engine::{Evaluator, Plan, Request};
use formula::language::{self, Expression, Notation};
use formula::panel::Panel;
use serde_json::Value;
use support::{base64, market};

fn evaluate(panel: &Panel, formulas: &[(&str, Expression, Profile)]) -> Vec<Vec<f64>> {
    let requests: Vec<Request<'_>> = formulas
        .iter()
        .map(|(name, expression, profile)| Request {
            name,
            expression,
            profile: *profile,
        })
        .collect();
    let plan = Plan::new(&requests, panel).unwrap();
    let mut results = vec![vec![f64::NAN; panel.rows() * market::INSTRUMENTS]; formulas.len()];
    let lanes = panel.lanes();
    Evaluator::new(&plan, panel).advance(panel, |formula, first, values| {
        for (row, values) in values.chunks(lanes).enumerate() {
            let at = (first + row) * market::INSTRUMENTS;
            results[formula][at..at + market::INSTRUMENTS]
                .copy_from_slice(&values[..market::INSTRUMENTS]);
        }
    });
    results
}

/// Shares of cells that agree.
fn agreement(index: usize, ours: &[f64], theirs: &str, rows: &Value) -> (f64, Vec<String>) {
    let first = rows[0].as_u64().unwrap() as usize * market::INSTRUMENTS;
    let last = rows[1].as_u64().unwrap() as usize * market::INSTRUMENTS;
    let bytes = base64(theirs);
    let cells = &ours[first..last];
    let mut equal = 0;
    let mut wrong = Vec::new();
    for (k, bytes) in bytes.chunks_exact(4).enumerate() {
        let at = (17 * index + 131 * k) % cells.len();
        let expected = f64::from(f32::from_le_bytes(bytes.try_into().unwrap()));
        let value = cells[at];
        if expected.is_nan() && value.is_nan()
            || (expected - value).abs() <= 1e-6 * expected.abs() + 1e-12
        {
            equal += 1;
        } else {
            wrong.push(format!("{value}/{expected}"));
        }
    }
    wrong.truncate(3);
    (equal as f64 / (bytes.len() / 4) as f64, wrong)
}

#[test]
fn explore() {
    let text = include_str!("fixtures/alpha.json");
    let fixture: Value = serde_json::from_str(text).unwrap();
    let catalogue = Catalogue::builtin().unwrap();
    let mut report = String::new();
    for peer in fixture["peers"].as_array().unwrap() {
        let name = peer["peer"].as_str().unwrap();
        let (profile, holes) = match name {
            "kunquant" => (Profile::KUNQUANT, false),
            "alpha101v" => (Profile::BRAIN, true),
            "py-alpha-lib" => (Profile::KUNQUANT, false),
            _ => (Profile::QLIB, true),
        };
        let panel = market::panel(holes);
        let entries = peer["formulas"].as_array().unwrap();
        let mut formulas = Vec::new();
        for entry in entries {
            let id = entry["id"].as_str().unwrap();
            let formula = catalogue.get(id).unwrap();
            formulas.push((id, formula.expression.clone(), profile));
        }
        let ours = evaluate(&panel, &formulas);
        for (index, entry) in entries.iter().enumerate() {
            let (paper, wrong) = agreement(
                index,
                &ours[index],
                entry["values"].as_str().unwrap(),
                &peer["rows"],
            );
            let mut line = format!("{name} {} paper {paper:.3}", entry["id"].as_str().unwrap());
            let mut shown = wrong;
            let mut good = paper > 0.99;
            if let Some(reading) = entry["reading"].as_str() {
                let notation = Notation::named(entry["notation"].as_str().unwrap()).unwrap();
                match language::parse(reading, notation) {
                    Ok(expression) => {
                        let values = evaluate(&panel, &[("reading", expression, profile)]);
                        let (share, wrong) = agreement(
                            index,
                            &values[0],
                            entry["values"].as_str().unwrap(),
                            &peer["rows"],
                        );
                        shown = wrong;
                        good |= share > 0.99;
                        write!(line, " reading {share:.3}").unwrap();
                    }
                    Err(error) => write!(line, " {error}").unwrap(),
                }
            }
            if !good {
                writeln!(report, "{line} {shown:?}").unwrap();
            } else if paper < 0.99 {
                writeln!(report, "{line}").unwrap();
            }
        }
    }
    println!("{report}");
}
