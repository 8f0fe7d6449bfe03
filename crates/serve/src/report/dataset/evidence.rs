//! Whether what a bridge's prompts state as a probability came true.

use dataset::Split;
use serde::Serialize;
use stats::bootstrap::time_blocks;
use stats::metrics::{ece, reliability};
use stats::reliability::{bands, brier_parts, debiased_ece};

use super::line::Line;
use crate::chart::ticks::{percent, plain};
use crate::chart::{Label, reliability as diagram};
use crate::report::figures::{SMALL, figure};
use crate::report::prose::count;
use crate::report::table::{Cell, Table};

/// Bins of equal mass.
const BINS: usize = 8;
/// Fewer rows say nothing about eight bins.
const FEWEST: usize = 40;
/// Block bootstrap of the bands.
const REPLICATES: usize = 1_000;
const SEED: u64 = 17;
const LEVEL: f64 = 0.9;
/// The facts of a scenario that state a probability of its signal's success.
const STATED: [(&str, &str); 3] = [
    ("certainty", "Certainty"),
    ("win_rate", "Win rate of past cases"),
    ("signal", "The signal's own confidence"),
];

/// One stated probability against what happened.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Evidence {
    /// The fact.
    pub name: String,
    /// How the page calls it.
    pub title: String,
    /// Scenarios that state it.
    pub rows: usize,
    /// The share of them whose signal paid.
    pub base_rate: f64,
    /// The mean squared difference from what happened, and what the base rate alone would score.
    pub brier: f64,
    /// The score of the base rate.
    pub brier_of_rate: f64,
    /// How far stated is from observed, binned; and the same less what chance adds.
    pub calibration_error: f64,
    /// The error without its bias.
    pub debiased_error: f64,
    /// The bins.
    pub bins: Vec<Bin>,
    /// The same by part.
    pub parts: Vec<OfPart>,
}

/// Scenarios of similar stated probability.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Bin {
    /// Mean stated probability.
    pub stated: f64,
    /// The share that paid.
    pub observed: f64,
    /// The block-bootstrap band of that share; none where it is not known.
    pub band: Option<[f64; 2]>,
    /// Scenarios.
    pub count: usize,
}

/// One part's score.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct OfPart {
    /// The part.
    pub part: Split,
    /// Scenarios.
    pub rows: usize,
    /// The share that paid.
    pub base_rate: f64,
    /// The Brier score.
    pub brier: f64,
}

/// Scenarios while lines are read.
#[derive(Default)]
pub(super) struct Rows {
    rows: Vec<Row>,
}

struct Row {
    part: Split,
    span: (i64, i64),
    paid: bool,
    stated: [Option<f64>; STATED.len()],
}

impl Rows {
    pub(super) fn take(&mut self, part: Split, span: (i64, i64), line: &Line) {
        let paid = match line.label.as_deref() {
            Some("APPROVE") => true,
            Some("VETO") => false,
            _ => return,
        };
        let stated = STATED.map(|(name, _)| {
            let fact = line.facts.get(name)?;
            let share = fact.number()? / 100.0;
            // Stated in percent, or it is something else.
            (fact.text.contains('%') && (0.0..=1.0).contains(&share)).then_some(share)
        });
        self.rows.push(Row {
            part,
            span,
            paid,
            stated,
        });
    }

    pub(super) fn finish(self) -> Vec<Evidence> {
        let stated = STATED.iter().enumerate();
        let found = stated.filter_map(|(place, (name, title))| {
            let mut rows: Vec<&Row> = self
                .rows
                .iter()
                .filter(|row| row.stated[place].is_some())
                .collect();
            if rows.len() < FEWEST {
                return None;
            }
            rows.sort_by_key(|row| row.span);
            let forecast: Vec<f64> = rows.iter().filter_map(|row| row.stated[place]).collect();
            Some(evidence((*name, *title), &rows, &forecast))
        });
        found.collect()
    }
}

fn evidence((name, title): (&str, &str), rows: &[&Row], forecast: &[f64]) -> Evidence {
    let paid: Vec<bool> = rows.iter().map(|row| row.paid).collect();
    let times: Vec<i64> = rows.iter().map(|row| row.span.0).collect();
    let longest = rows
        .iter()
        .map(|row| row.span.1 - row.span.0)
        .max()
        .unwrap_or(0);
    // Outcomes that overlap share a block as a rule.
    let blocks = time_blocks(&times, longest.max(1).saturating_mul(2));
    let bins = reliability(forecast, &paid, BINS);
    let around = bands(forecast, &paid, &bins, &blocks, REPLICATES, SEED, LEVEL);
    let whole = brier_parts(forecast, &paid, BINS);
    let parts = Split::ALL.into_iter().filter_map(|part| {
        let own: Vec<(f64, bool)> = rows
            .iter()
            .zip(forecast)
            .filter(|(row, _)| row.part == part)
            .map(|(row, p)| (*p, row.paid))
            .collect();
        let (forecast, paid): (Vec<f64>, Vec<bool>) = own.into_iter().unzip();
        (!paid.is_empty()).then(|| OfPart {
            part,
            rows: paid.len(),
            base_rate: share(&paid),
            brier: brier_parts(&forecast, &paid, 1).score,
        })
    });
    Evidence {
        name: name.to_owned(),
        title: title.to_owned(),
        rows: rows.len(),
        base_rate: share(&paid),
        brier: whole.score,
        brier_of_rate: whole.uncertainty,
        calibration_error: ece(&bins),
        debiased_error: debiased_ece(&bins),
        parts: parts.collect(),
        bins: bins
            .iter()
            .zip(around)
            .map(|(bin, band)| Bin {
                stated: bin.mean_predicted,
                observed: bin.observed,
                band: band.is_known().then_some([band.low, band.high]),
                count: bin.count,
            })
            .collect(),
    }
}

fn share(paid: &[bool]) -> f64 {
    paid.iter().filter(|paid| **paid).count() as f64 / paid.len() as f64
}

/// The section.
pub(super) fn section(evidence: &[Evidence]) -> String {
    if evidence.is_empty() {
        return String::new();
    }
    let figures: String = evidence.iter().map(one).collect();
    format!(
        "<div class=\"pair\">{figures}</div>{}{}",
        scores(evidence),
        bins(evidence)
    )
}

fn one(evidence: &Evidence) -> String {
    let bins: Vec<diagram::Bin> = evidence
        .bins
        .iter()
        .map(|bin| {
            let [low, high] = bin.band.unwrap_or([bin.observed; 2]);
            diagram::Bin {
                stated: bin.stated,
                observed: bin.observed,
                low,
                high,
                count: bin.count,
            }
        })
        .collect();
    let id = format!("evidence-{}", evidence.name.replace('_', "-"));
    let label = Label {
        id: &id,
        title: &evidence.title,
        description: "What was stated against the share of signals that paid, in bins of equal size with block-bootstrap bands; the dashed diagonal is perfect.",
    };
    let reading = if evidence.brier < evidence.brier_of_rate {
        "Closer to what happened than the share of signals that paid alone."
    } else {
        "No closer to what happened than the share of signals that paid alone: by itself it tells nothing."
    };
    figure(
        &evidence.title,
        reading,
        "",
        &diagram::draw(label, SMALL, &bins),
    )
}

fn scores(evidence: &[Evidence]) -> String {
    let mut table = Table::new(
        "Stated probabilities against outcomes",
        &[
            ("Stated", false),
            ("Scenarios", true),
            ("Paid", true),
            ("Brier score", true),
            ("Of the rate alone", true),
            ("Calibration error", true),
            ("Less its bias", true),
        ],
    );
    for one in evidence {
        let cells = [
            Cell::Number(count(one.rows)),
            Cell::Number(percent(one.base_rate, 3)),
            Cell::Number(plain(one.brier, 4)),
            Cell::Number(plain(one.brier_of_rate, 4)),
            Cell::Number(percent(one.calibration_error, 3)),
            Cell::Number(percent(one.debiased_error, 3)),
        ];
        table.row(one.brier < one.brier_of_rate, &one.title, &cells);
        for part in &one.parts {
            let rate = part.base_rate * (1.0 - part.base_rate);
            let blank = || Cell::Number(String::new());
            let cells = [
                Cell::Number(count(part.rows)),
                Cell::Number(percent(part.base_rate, 3)),
                Cell::Number(plain(part.brier, 4)),
                Cell::Number(plain(rate, 4)),
                blank(),
                blank(),
            ];
            table.row(false, &format!("\u{2003}{}", part.part), &cells);
        }
    }
    table.finish()
}

/// The diagrams as a table.
fn bins(evidence: &[Evidence]) -> String {
    let mut table = Table::new(
        "The diagrams as numbers",
        &[
            ("Stated", false),
            ("On average", true),
            ("Paid", true),
            ("Scenarios", true),
        ],
    );
    for one in evidence {
        for bin in &one.bins {
            let band = bin.band.map_or_else(
                || "interval unknown".to_owned(),
                |[low, high]| format!("[{}, {}]", percent(low, 3), percent(high, 3)),
            );
            let cells = [
                Cell::Number(percent(bin.stated, 3)),
                Cell::Estimate(percent(bin.observed, 3), band),
                Cell::Number(count(bin.count)),
            ];
            table.row(false, &one.title, &cells);
        }
    }
    format!(
        "<details><summary>The same as a table</summary>{}</details>\n",
        table.finish()
    )
}
