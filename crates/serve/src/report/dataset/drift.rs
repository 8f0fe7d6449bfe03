//! How far what prompts show moved between the training and the test part.

use std::collections::BTreeMap;

use dataset::Split;
use serde::Serialize;
use serde_json::Value;
use stats::drift::{
    Stability, category_stability, kolmogorov_smirnov, population_stability, stability_by_chance,
};
use stats::quantile_sorted;

use super::Record;
use super::line::Line;
use crate::chart::line::Reference;
use crate::chart::ticks::plain;
use crate::chart::{Label, whiskers};
use crate::report::figures::{both_widths, figure};
use crate::report::prose::count;
use crate::report::table::{Cell, Table};

/// The usual marks of the stability index: little below the one, large above the other.
const SOME: f64 = 0.1;
const LARGE: f64 = 0.25;
/// Bins of equal mass.
const BINS: usize = 10;
/// The share of the training lines in which a fact must be a number to be taken for one.
const NUMERIC: f64 = 0.5;
/// A larger index is drawn here: one price level must not squeeze all else into a corner.
const FURTHEST: f64 = 1.0;
/// Features drawn; the table has all.
const DRAWN: usize = 20;
/// Facts of a bridge's scenario that its prompt shows besides the columns named in its datasheet.
const SCENARIO: [(&str, &str); 7] = [
    ("signal", "confidence"),
    ("win_rate", "win rate"),
    ("bound", "win rate, lower bound"),
    ("break_even", "break-even"),
    ("p_value", "p of past cases"),
    ("typical_move", "typical move"),
    ("certainty", "certainty"),
];

/// The drift of all features, the largest first.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Drift {
    /// Training lines compared, and their effective number: the sum of their uniqueness.
    pub train: (usize, f64),
    /// Test lines compared, likewise.
    pub test: (usize, f64),
    /// The features.
    pub features: Vec<Feature>,
}

/// The drift of one feature.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Feature {
    /// The fact's name.
    pub name: String,
    /// How the page calls it.
    pub title: String,
    /// Whether its numbers are compared, or else its words.
    pub is_number: bool,
    /// Lines without it: train, test.
    pub missing: [usize; 2],
    /// Medians of numbers.
    pub medians: Option<[f64; 2]>,
    /// The population stability index; none where a part has nothing to compare.
    pub index: Option<f64>,
    /// What the index stays below by chance, 95 times in 100, for as many effective lines.
    pub by_chance: f64,
    /// The Kolmogorov-Smirnov distance of numbers.
    pub distance: Option<f64>,
    /// `little`, `some`, `large`, `by chance` or `unknown`.
    pub verdict: String,
}

/// The values of facts while lines are read.
pub(super) struct Columns {
    /// The facts taken and their titles; none for all.
    wanted: Option<BTreeMap<String, String>>,
    by_name: BTreeMap<String, Column>,
    /// Records compared: train, test.
    rows: [Vec<usize>; 2],
}

#[derive(Default)]
struct Column {
    numbers: [Vec<f64>; 2],
    words: [Vec<String>; 2],
}

impl Columns {
    pub(super) fn new(is_bridge: bool, shown: &Value) -> Self {
        let wanted = is_bridge.then(|| {
            let named = shown.as_object().into_iter().flatten();
            let named = named.filter_map(|(name, title)| {
                let title = title.as_str()?;
                Some((name.clone(), title.to_owned()))
            });
            let own = SCENARIO
                .iter()
                .map(|(name, title)| ((*name).to_owned(), (*title).to_owned()));
            named.chain(own).collect()
        });
        Self {
            wanted,
            by_name: BTreeMap::new(),
            rows: [Vec::new(), Vec::new()],
        }
    }

    pub(super) fn take(&mut self, record: usize, split: Split, line: &Line) {
        let side = match split {
            Split::Train => 0,
            Split::Test => 1,
            Split::Validation => return,
        };
        self.rows[side].push(record);
        for (name, fact) in &line.facts {
            if self
                .wanted
                .as_ref()
                .is_some_and(|wanted| !wanted.contains_key(name))
            {
                continue;
            }
            let column = self.by_name.entry(name.clone()).or_default();
            column.numbers[side].extend(fact.number());
            column.words[side].push(fact.word().to_owned());
        }
    }

    pub(super) fn finish(self, records: &[Record]) -> Drift {
        let weight = |side: usize| {
            let rows = self.rows[side].iter();
            rows.map(|&row| records[row].uniqueness).sum::<f64>()
        };
        let sizes = [0, 1].map(|side| (self.rows[side].len(), weight(side)));
        let title = |name: &str| {
            let wanted = self.wanted.as_ref().and_then(|wanted| wanted.get(name));
            wanted.cloned().unwrap_or_else(|| name.replace('_', " "))
        };
        let mut features: Vec<Feature> = self
            .by_name
            .iter()
            .map(|(name, column)| feature(name, title(name), column, sizes))
            .collect();
        let key = |feature: &Feature| feature.index.unwrap_or(-1.0);
        features.sort_by(|a, b| key(b).total_cmp(&key(a)).then_with(|| a.name.cmp(&b.name)));
        Drift {
            train: sizes[0],
            test: sizes[1],
            features,
        }
    }
}

fn feature(name: &str, title: String, column: &Column, sizes: [(usize, f64); 2]) -> Feature {
    let Column { numbers, words } = column;
    let is_number = numbers[0].len() as f64 >= NUMERIC * words[0].len().max(1) as f64;
    let there = |side: usize| {
        if is_number {
            numbers[side].len()
        } else {
            words[side].len()
        }
    };
    let found: Stability = if is_number {
        population_stability(&numbers[0], &numbers[1], BINS)
    } else {
        let of = |side: usize| words[side].iter().map(String::as_str).collect::<Vec<_>>();
        category_stability(&of(0), &of(1))
    };
    let median = |side: usize| {
        let mut sorted = numbers[side].clone();
        sorted.sort_by(f64::total_cmp);
        quantile_sorted(&sorted, 0.5)
    };
    let both = is_number && there(0) > 0 && there(1) > 0;
    let by_chance = stability_by_chance(found.bins, sizes[0].1, sizes[1].1);
    Feature {
        name: name.to_owned(),
        title,
        is_number,
        missing: [0, 1].map(|side| sizes[side].0.saturating_sub(there(side))),
        medians: both.then(|| [median(0), median(1)]),
        index: found.index.is_finite().then_some(found.index),
        by_chance,
        distance: both.then(|| kolmogorov_smirnov(&numbers[0], &numbers[1])),
        verdict: verdict(found.index, by_chance).to_owned(),
    }
}

/// Says what an index means.
fn verdict(index: f64, by_chance: f64) -> &'static str {
    if !index.is_finite() {
        "unknown"
    } else if index < SOME {
        "little"
    } else if index <= by_chance {
        "by chance"
    } else if index <= LARGE {
        "some"
    } else {
        "large"
    }
}

/// The section.
pub(super) fn section(drift: &Drift) -> String {
    let known: Vec<&Feature> = drift
        .features
        .iter()
        .filter(|f| f.index.is_some())
        .collect();
    if known.is_empty() {
        return String::new();
    }
    let rows: Vec<whiskers::Row> = known
        .iter()
        .take(DRAWN)
        .map(|feature| whiskers::Row {
            name: feature.title.clone(),
            value: feature.index.unwrap_or(f64::NAN).min(FURTHEST),
            interval: None,
            emphasised: feature.verdict == "large",
        })
        .collect();
    let mark = |value: f64, name: &str| Reference {
        value,
        name: name.to_owned(),
    };
    let marks = [mark(SOME, "some"), mark(LARGE, "large")];
    let title = "Population stability index, training against test part";
    let body = both_widths("drift", |id, width| {
        let label = Label {
            id,
            title,
            description: "A dot for each feature shown in the prompt, the largest index first; lines at 0.1 and 0.25.",
        };
        whiskers::draw(label, width, &rows, &marks, &capped, 2)
    });
    let reading = format!(
        "{} training and {} test lines, of effective numbers {} and {} (what overlaps within an instrument counts once; instruments that move together still count as several). Tenths of the training values are counted again in the test part; below 0.1 little moved, above 0.25 much did.{}",
        count(drift.train.0),
        count(drift.test.0),
        plain(drift.train.1, 0),
        plain(drift.test.1, 0),
        if known.len() > DRAWN {
            format!(" The {DRAWN} largest of {}.", known.len())
        } else {
            String::new()
        }
    );
    figure(title, &reading, "", &body) + &table(drift)
}

/// Writes an index; those at the end of the axis may be larger.
fn capped(value: f64, decimals: usize) -> String {
    if value >= FURTHEST {
        format!("{}+", plain(FURTHEST, 0))
    } else {
        plain(value, decimals)
    }
}

fn table(drift: &Drift) -> String {
    let mut table = Table::new(
        "Every feature shown in the prompt, the largest drift first",
        &[
            ("Feature", false),
            ("Moved", false),
            ("Index", true),
            ("Index by chance, up to", true),
            ("Kolmogorov-Smirnov", true),
            ("Median, train", true),
            ("Median, test", true),
            ("Missing, train and test", true),
        ],
    );
    let dash = || "\u{2013}".to_owned();
    for feature in &drift.features {
        let number = |value: Option<f64>, decimals: usize| {
            Cell::Number(value.map_or_else(dash, |value| plain(value, decimals)))
        };
        let median = |side: usize| {
            Cell::Number(
                feature
                    .medians
                    .map_or_else(dash, |medians| significant(medians[side])),
            )
        };
        let cells = [
            Cell::Date(feature.verdict.clone()),
            number(feature.index, 3),
            number(Some(feature.by_chance), 3),
            number(feature.distance, 3),
            median(0),
            median(1),
            Cell::Number(format!(
                "{}, {}",
                count(feature.missing[0]),
                count(feature.missing[1])
            )),
        ];
        table.row(feature.verdict == "large", &feature.title, &cells);
    }
    table.finish()
}

/// Writes a number with four digits that matter.
fn significant(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return "0".to_owned();
    }
    let decimals = (3.0 - value.abs().log10().floor()).clamp(0.0, 12.0);
    plain(value, decimals as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_index_must_be_beyond_chance() {
        let check = |index, by_chance, expect| assert_eq!(verdict(index, by_chance), expect);
        check(0.05, 0.01, "little");
        check(0.2, 0.1, "some");
        check(0.3, 0.1, "large");
        check(0.3, 0.4, "by chance");
        check(f64::NAN, 0.1, "unknown");
    }

    #[test]
    fn medians_are_short() {
        assert_eq!(significant(0.000_812_54), "0.0008125");
        assert_eq!(significant(12_345.6), "12,346");
    }
}
