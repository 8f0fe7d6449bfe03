//! How the parts lie in time, instrument by instrument, and what was left out between them.

use std::collections::BTreeMap;
use std::fmt::Write;

use dataset::Split;
use market::Timestamp;
use serde::Serialize;
use serde_json::Value;

use super::{Record, legend, part_style};
use crate::chart::Label;
use crate::chart::spans::{self, Stretch};
use crate::chart::svg::escape;
use crate::report::figures::{both_widths, figure};
use crate::report::prose::count;
use crate::report::table::{Cell, Table};

const HOUR: i64 = 3_600_000;
/// How far beyond what was left out a close view reaches, in longest spans.
const AROUND: i64 = 3;

/// The parts in time.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Spans {
    /// The instruments.
    pub rows: Vec<Row>,
    /// Between each part and the next one.
    pub boundaries: Vec<Boundary>,
    /// The longest span of an outcome, milliseconds.
    pub longest: i64,
    /// Spans that end at or after the first decision of a later part; none in a sound data set.
    pub touching: usize,
}

/// One instrument.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// Its name.
    pub instrument: String,
    /// Lines, first decision and last end of an outcome by part.
    pub parts: BTreeMap<Split, (usize, Timestamp, Timestamp)>,
    /// Labelled rows left out because their span crosses a boundary; none where the builder does
    /// not say.
    pub purged: Option<u64>,
    /// Labelled rows left out because they begin too soon after one.
    pub embargoed: Option<u64>,
}

/// What lies between two parts, over all instruments.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Boundary {
    /// The part before and the part after.
    pub between: (Split, Split),
    /// Where the earlier part was cut; none where the builder does not say.
    pub cut: Option<Timestamp>,
    /// The end of the last outcome before.
    pub last_outcome: Timestamp,
    /// The first decision after.
    pub first_decision: Timestamp,
}

/// Finds spans, boundaries and spans that touch.
pub(super) fn spans(records: &[Record], sheet: &Value) -> Spans {
    let mut rows: BTreeMap<&str, BTreeMap<Split, (usize, i64, i64)>> = BTreeMap::new();
    let mut whole: BTreeMap<Split, (i64, i64)> = BTreeMap::new();
    for record in records {
        let (from, to) = record.span;
        let parts = rows.entry(&record.instrument).or_default();
        let part = parts.entry(record.part).or_insert((0, from, to));
        *part = (part.0 + 1, part.1.min(from), part.2.max(to));
        let all = whole.entry(record.part).or_insert((from, to));
        *all = (all.0.min(from), all.1.max(to));
    }
    let later_start = |part: Split| whole.range(part..).skip(1).map(|(_, span)| span.0).min();
    let touching = records
        .iter()
        .filter(|record| later_start(record.part).is_some_and(|start| record.span.1 >= start));
    let touching = touching.count();
    let cuts = &sheet["boundaries"];
    let boundaries = whole
        .iter()
        .zip(whole.iter().skip(1))
        .map(|((a, before), (b, after))| {
            let key = match a {
                Split::Train => "train_end",
                _ => "validation_end",
            };
            Boundary {
                between: (*a, *b),
                cut: cuts[key].as_str().and_then(|text| text.parse().ok()),
                last_outcome: Timestamp(before.1),
                first_decision: Timestamp(after.0),
            }
        });
    Spans {
        boundaries: boundaries.collect(),
        longest: records
            .iter()
            .map(|r| r.span.1 - r.span.0)
            .max()
            .unwrap_or(0),
        touching,
        rows: rows
            .into_iter()
            .map(|(instrument, parts)| {
                let own = &sheet["instruments"][instrument];
                Row {
                    instrument: instrument.to_owned(),
                    parts: parts
                        .into_iter()
                        .map(|(part, (n, from, to))| (part, (n, Timestamp(from), Timestamp(to))))
                        .collect(),
                    purged: own["purged"].as_u64(),
                    embargoed: own["embargoed"].as_u64(),
                }
            })
            .collect(),
    }
}

/// The section.
pub(super) fn section(spans: &Spans) -> String {
    let rows = chart_rows(spans);
    let ends = spans.rows.iter().flat_map(|row| row.parts.values());
    let from = ends.clone().map(|part| part.1.0).min();
    let to = ends.map(|part| part.2.0).max();
    let (Some(from), Some(to)) = (from, to) else {
        return String::new();
    };
    let bands: Vec<Stretch> = spans
        .boundaries
        .iter()
        .flat_map(|b| bands(b, spans))
        .collect();
    let draw = |id: &str, title: &str, range: (i64, i64)| {
        both_widths(id, |id, width| {
            let label = Label {
                id,
                title,
                description: "A row for each instrument: from the first decision to the last outcome of each part. What was left out between parts is shaded.",
            };
            spans::draw(label, width, &rows, &bands, range)
        })
    };
    let mut html = sound(spans);
    let title = "Parts in time";
    let body = draw("spans", title, (from, to)) + &legend(&names());
    let reading = "From the first decision of a part to the end of its last outcome.";
    html += &figure(title, reading, "", &body);
    for (place, boundary) in spans.boundaries.iter().enumerate() {
        let title = format!("Between {} and {}", boundary.between.0, boundary.between.1);
        let around = AROUND * spans.longest.max(HOUR);
        let left = boundary.last_outcome.0.min(boundary.first_decision.0) - around;
        let right = boundary.first_decision.0.max(boundary.last_outcome.0) + around;
        let body = draw(&format!("boundary-{place}"), &title, (left, right));
        html += &figure(&title, &words(boundary, spans), "close view", &body);
    }
    html + &table(spans)
}

fn names() -> Vec<(&'static str, &'static str)> {
    let mut names: Vec<(&str, &str)> = Split::ALL
        .into_iter()
        .map(|part| (part.as_str(), part_style(part)))
        .collect();
    names.push(("left out", "p-gap"));
    names
}

/// Says whether the parts are apart, with a mark that does not rest on colour.
fn sound(spans: &Spans) -> String {
    let (mark, text) = if spans.touching == 0 {
        (
            " better",
            "\u{2713} No outcome of an earlier part reaches the first decision of a later one."
                .to_owned(),
        )
    } else {
        (
            " worse",
            format!(
                "\u{2717} {} outcomes of an earlier part reach into a later one: what is tested was seen.",
                count(spans.touching)
            ),
        )
    };
    format!(
        "<ul class=\"findings\"><li><span class=\"verdict-mark{mark}\" aria-hidden=\"true\"></span><span>{}</span></li></ul>\n",
        escape(&text)
    )
}

fn chart_rows(spans: &Spans) -> Vec<spans::Row> {
    let row = |row: &Row| spans::Row {
        name: row.instrument.clone(),
        stretches: row
            .parts
            .iter()
            .map(|(part, (n, from, to))| Stretch {
                from: from.0,
                to: to.0,
                class: part_style(*part).to_owned(),
                hint: format!(
                    "{}, {part}: {} lines, {from} to {to}",
                    row.instrument,
                    count(*n)
                ),
            })
            .collect(),
    };
    spans.rows.iter().map(row).collect()
}

/// What was left out: before the cut what was purged, after it what the embargo keeps out.
fn bands(boundary: &Boundary, spans: &Spans) -> Vec<Stretch> {
    let band = |from: i64, to: i64, hint: &str| Stretch {
        from,
        to,
        class: "p-gap".to_owned(),
        hint: hint.to_owned(),
    };
    let (end, start) = (boundary.last_outcome.0, boundary.first_decision.0);
    match boundary.cut {
        Some(cut) => vec![
            band(
                cut.0 - spans.longest,
                cut.0,
                "purged: outcomes that cross the cut",
            ),
            band(cut.0, start, "embargo: decisions too soon after the cut"),
        ],
        None => vec![band(end, start, "left out between the parts")],
    }
}

fn words(boundary: &Boundary, spans: &Spans) -> String {
    let (before, after) = boundary.between;
    let hours = (boundary.first_decision.0 - boundary.last_outcome.0) as f64 / HOUR as f64;
    let mut text = format!(
        "The last outcome of {before} ends at {}, the first decision of {after} is at {}: {hours:.1} hours lie between.",
        boundary.last_outcome, boundary.first_decision
    );
    if let Some(cut) = boundary.cut {
        let longest = spans.longest as f64 / HOUR as f64;
        let _ = write!(
            text,
            " Cut at {cut}: decisions of up to {longest:.1} hours before were purged if their outcome crosses it, later ones wait for the embargo."
        );
    }
    text
}

fn table(spans: &Spans) -> String {
    let mut table = Table::new(
        "Parts by instrument",
        &[
            ("Instrument", false),
            ("Part", false),
            ("Lines", true),
            ("First decision", false),
            ("Last outcome", false),
            ("Purged", true),
            ("Embargoed", true),
        ],
    );
    let number = |n: Option<u64>| {
        Cell::Number(n.map_or_else(
            || "\u{2013}".to_owned(),
            |n| count(usize::try_from(n).unwrap_or(0)),
        ))
    };
    for row in &spans.rows {
        for (place, (part, (n, from, to))) in row.parts.iter().enumerate() {
            let once = |n: Option<u64>| {
                if place == 0 {
                    number(n)
                } else {
                    Cell::Number(String::new())
                }
            };
            let cells = [
                Cell::Date(part.to_string()),
                Cell::Number(count(*n)),
                Cell::Date(from.to_string()),
                Cell::Date(to.to_string()),
                once(row.purged),
                once(row.embargoed),
            ];
            table.row(false, &row.instrument, &cells);
        }
    }
    format!(
        "<details><summary>The same as a table</summary>{}</details>\n",
        table.finish()
    )
}
