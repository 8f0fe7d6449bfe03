//! Counts how values agree with their references and prints a table of it.

use std::collections::BTreeMap;

/// Values below this are compared absolutely: they are differences of larger
/// numbers.
const SMALL: f64 = 1e-6;

/// Values of one family by the library they are compared with.
pub(crate) struct Parity {
    title: &'static str,
    sources: BTreeMap<String, Row>,
    wrong: Vec<String>,
}

#[derive(Default)]
struct Row {
    values: usize,
    unknown: usize,
    agreeing: usize,
    largest: f64,
}

impl Parity {
    pub(crate) fn new(title: &'static str) -> Self {
        Self {
            title,
            sources: BTreeMap::new(),
            wrong: Vec::new(),
        }
    }

    /// Takes one value with its reference, nothing if it does not exist.
    pub(crate) fn take(
        &mut self,
        source: &str,
        at: &str,
        found: f64,
        expected: Option<f64>,
        tolerance: f64,
    ) {
        let row = self.sources.entry(source.to_owned()).or_default();
        row.values += 1;
        row.unknown += usize::from(expected.is_none());
        let difference = match expected {
            None if found.is_nan() => 0.0,
            None => f64::INFINITY,
            Some(expected) => (found - expected).abs() / expected.abs().max(SMALL),
        };
        if difference <= tolerance {
            row.agreeing += 1;
            row.largest = row.largest.max(difference);
        } else {
            self.wrong
                .push(format!("{at}: {found} instead of {expected:?}"));
        }
    }

    /// Prints the table; fails if a value differs or more than a twentieth do not
    /// exist.
    pub(crate) fn check(self) {
        println!("\n{}\n", self.title);
        println!("| reference | values | of them unknown | agree | largest relative difference |");
        println!("|---|---:|---:|---:|---:|");
        let (mut values, mut unknown) = (0, 0);
        for (source, row) in &self.sources {
            println!(
                "| {source} | {} | {} | {} | {:.1e} |",
                row.values, row.unknown, row.agreeing, row.largest
            );
            values += row.values;
            unknown += row.unknown;
        }
        println!(
            "| all | {values} | {unknown} | {} | |",
            values - self.wrong.len()
        );
        assert!(self.wrong.is_empty(), "{}", self.wrong.join("\n"));
        assert!(unknown * 20 < values, "{unknown} of {values} unknown");
    }
}
