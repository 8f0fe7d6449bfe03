//! The page of a leak audit: what each check asked, tried and found.
//!
//! The page is made from the report's JSON, so [`Report`] here has the keys of
//! the report that the audit writes; keys of later versions are left alone.

use std::fmt::Write;

use serde::Deserialize;

use super::figures::{both_widths, figure};
use super::page::{Document, Section, document};
use super::prose::{count, duration};
use super::table::{Cell, Table};
use crate::chart::line::Reference;
use crate::chart::svg::escape;
use crate::chart::ticks::signed;
use crate::chart::{Label, whiskers};

/// An audit.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
pub struct Report {
    /// What was audited.
    pub subject: String,
    /// Records looked at.
    pub records: usize,
    /// The seed of every random choice.
    pub seed: u64,
    /// Decisions that were rendered again.
    pub samples: usize,
    /// Whether no check is red.
    pub passed: bool,
    /// The checks, by number.
    pub checks: Vec<Check>,
}

/// One check of an audit.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default)]
pub struct Check {
    /// Its number.
    pub number: u8,
    /// Its name.
    pub name: String,
    /// What it asks.
    pub question: String,
    /// `green`, `red` or `not_possible`.
    pub status: String,
    /// Why it was not possible, or what its colour rests on.
    pub reason: Option<String>,
    /// What was tried.
    pub tried: Vec<String>,
    /// What probes scored.
    pub scores: Vec<Score>,
    /// What was found, the first of it.
    pub found: Vec<Finding>,
    /// How much was found.
    pub found_total: usize,
    /// How long it took.
    pub seconds: Option<f64>,
}

/// The score of a probe, 0 to 1, with its interval.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
pub struct Score {
    /// What was asked of what.
    pub what: String,
    /// The score.
    pub value: f64,
    /// The lower end.
    pub low: f64,
    /// The upper end.
    pub high: f64,
    /// What one answer for everything scores.
    pub chance: f64,
    /// From where on, by the lower end, it is taken for a leak.
    pub limit: f64,
}

/// One fault.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct Finding {
    /// The file.
    pub file: Option<String>,
    /// The line, from 1.
    pub line: Option<usize>,
    /// The record.
    pub id: Option<String>,
    /// What is wrong.
    pub message: String,
}

impl Check {
    fn is(&self, status: &str) -> bool {
        self.status == status
    }
}

/// Returns the page of an audit: one self-contained document without a script.
pub fn html(report: &Report) -> String {
    let title = headline(report);
    document(&Document {
        title: &format!("foretune audit: {}", report.subject),
        banner: None,
        header: &header(report, &title),
        sections: &sections(report),
        footer: "Made by foretune. An audit shows that what it looks for is not there; it cannot show that a market can be predicted.",
    })
}

fn headline(report: &Report) -> String {
    match (red(report).count(), report.passed) {
        (0, true) if report.checks.iter().any(|check| check.is("green")) => {
            "Nothing from the future was found".to_owned()
        }
        (0, _) => "Nothing could be checked".to_owned(),
        (1, _) => "One check found a fault".to_owned(),
        (n, _) => format!("{n} checks found a fault"),
    }
}

fn red(report: &Report) -> impl Iterator<Item = &Check> {
    report.checks.iter().filter(|check| check.is("red"))
}

fn header(report: &Report, title: &str) -> String {
    let of = |status: &str| {
        report
            .checks
            .iter()
            .filter(|check| check.is(status))
            .count()
    };
    let mark = if report.passed { " better" } else { " worse" };
    let lead = if report.passed {
        "Each check below says what it asked, what it tried and what it rests on. A check that was not possible is not a pass."
    } else {
        "Something that is not known at a decision reaches what a model reads, or an answer states what nobody computed. Train on this and the result is worth nothing."
    };
    let mut html = format!(
        "<header>\n<p class=\"eyebrow\"><span class=\"verdict-mark{mark}\" aria-hidden=\"true\"></span>Leak audit: {}</p>\n<h1>{}</h1>\n<p class=\"lead\">{}</p>\n<dl class=\"key\">",
        escape(&report.subject),
        escape(title),
        escape(lead)
    );
    let seconds: f64 = report.checks.iter().filter_map(|check| check.seconds).sum();
    let took = if seconds > 0.0 {
        format!("in {}", duration(seconds))
    } else {
        format!("seed {}", report.seed)
    };
    let facts = [
        ("Records", count(report.records), took),
        ("Green", of("green").to_string(), "found nothing".to_owned()),
        ("Red", of("red").to_string(), "found a fault".to_owned()),
        (
            "Not possible",
            of("not_possible").to_string(),
            "and no pass".to_owned(),
        ),
    ];
    for (name, value, under) in facts {
        let _ = write!(
            html,
            "<div><dt>{}</dt><dd>{}</dd><dd class=\"under\">{}</dd></div>",
            escape(name),
            escape(&value),
            escape(&under)
        );
    }
    html.push_str("</dl>\n</header>\n");
    html
}

fn sections(report: &Report) -> Vec<Section> {
    let found: String = red(report).map(findings).collect();
    let all = [
        ("found", "What was found", found),
        ("checks", "The checks", overview(report)),
        ("scores", "What a probe can read", scores(report)),
        ("tried", "What was tried", details(report)),
    ];
    let sections = all.into_iter().filter(|(_, _, body)| !body.is_empty());
    sections
        .map(|(id, title, body)| Section { id, title, body })
        .collect()
}

/// The findings of a red check as a table.
fn findings(check: &Check) -> String {
    let mut table = Table::new(
        &format!(
            "Check {}, {}: {} in all{}",
            check.number,
            words(&check.name),
            count(check.found_total),
            if check.found_total > check.found.len() {
                format!(", the first {}", check.found.len())
            } else {
                String::new()
            }
        ),
        &[("Where", false), ("What", false)],
    );
    for finding in &check.found {
        table.row(
            false,
            &place(finding),
            &[Cell::Text(finding.message.clone())],
        );
    }
    table.finish()
}

fn place(finding: &Finding) -> String {
    match (&finding.file, finding.line, &finding.id) {
        (Some(file), Some(line), _) => format!("{file} line {line}"),
        (Some(file), None, _) => file.clone(),
        (None, _, Some(id)) => id.clone(),
        (None, _, None) => "everywhere".to_owned(),
    }
}

fn words(name: &str) -> String {
    name.replace('_', " ")
}

/// One row a check.
fn overview(report: &Report) -> String {
    let mut table = Table::new(
        "Every check and what became of it",
        &[("Check", false), ("Result", false), ("It asks", false)],
    );
    for check in &report.checks {
        table.row(
            check.is("red"),
            &format!("{} {}", check.number, words(&check.name)),
            &[
                Cell::Date(result(check).to_owned()),
                Cell::Text(check.question.clone()),
            ],
        );
    }
    table.finish()
}

/// The result with a mark that does not rest on colour.
fn result(check: &Check) -> &'static str {
    match check.status.as_str() {
        "green" => "\u{2713} green",
        "red" => "\u{2717} red",
        _ => "\u{2013} not possible",
    }
}

/// All scores over one axis, in points above chance.
fn scores(report: &Report) -> String {
    let scores: Vec<(&Check, &Score)> = report
        .checks
        .iter()
        .flat_map(|check| check.scores.iter().map(move |score| (check, score)))
        .collect();
    if scores.is_empty() {
        return String::new();
    }
    let points = |value: f64, score: &Score| (value - score.chance) * 100.0;
    let rows: Vec<whiskers::Row> = scores
        .iter()
        .map(|(check, score)| whiskers::Row {
            name: format!("{}: {}", check.number, score.what),
            value: points(score.value, score),
            interval: Some([points(score.low, score), points(score.high, score)]),
            emphasised: score.low > score.limit,
        })
        .collect();
    let chance = [Reference {
        value: 0.0,
        name: "chance".to_owned(),
    }];
    let body = both_widths("scores", |id, width| {
        let label = Label {
            id,
            title: "What probes score above chance",
            description: "One row per probe: percentage points above chance, with its interval.",
        };
        whiskers::draw(label, width, &rows, &chance, &signed, 1)
    });
    let mut limits: Vec<String> = scores
        .iter()
        .map(|(check, score)| {
            let limit = signed(points(score.limit, score), 0);
            format!("{limit} points in check {}", check.number)
        })
        .collect();
    limits.dedup();
    let reading = format!(
        "A logistic regression learns from the earlier prompts and answers the later ones; each class counts alike. In worlds made so that nothing can be known, anything beyond chance is a leak; real prompts may hold an edge. A leak is suspected where a whole whisker lies beyond {}.",
        limits.join(", ")
    );
    figure("Points above chance", &reading, "", &body)
}

/// What each check tried, one after the other.
fn details(report: &Report) -> String {
    let mut html = String::new();
    for check in &report.checks {
        let _ = writeln!(
            html,
            "<h3>{} {}: {}</h3>",
            check.number,
            escape(&words(&check.name)),
            escape(result(check))
        );
        if let Some(reason) = &check.reason {
            let _ = writeln!(html, "<p>{}</p>", escape(&capital(reason)));
        }
        html.push_str("<ul class=\"small\">");
        for tried in &check.tried {
            let _ = write!(html, "<li>{}</li>", escape(tried));
        }
        if let Some(seconds) = check.seconds {
            let _ = write!(html, "<li class=\"soft\">took {seconds:.1} s</li>");
        }
        html.push_str("</ul>\n");
    }
    html
}

/// A fragment as a sentence.
fn capital(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(|c| c.to_uppercase().to_string());
    format!("{}{}.", first.unwrap_or_default(), letters.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPORT: &str = r#"{"kind":"foretune-audit","schema":1,"subject":"a<b","records":1200,
        "seed":1,"samples":3,"passed":false,"checks":[
        {"number":1,"name":"truncation","question":"Same?","status":"green","tried":["9 decisions"],"found":[],"found_total":0},
        {"number":5,"name":"upstream_predictions","question":"Before?","status":"not_possible","reason":"none is there","tried":[],"found":[],"found_total":0},
        {"number":6,"name":"null_worlds","question":"Chance?","status":"green","tried":[],"scores":[{"what":"random walk","value":0.51,"low":0.4,"high":0.6,"chance":0.5,"limit":0.52,"rows":9,"blocks":9}],"found":[],"found_total":0},
        {"number":9,"name":"claims","question":"Sourced?","status":"red","tried":[],"found":[{"file":"x.jsonl","line":7,"id":"i","message":"states `63%`"}],"found_total":30}]}"#;

    fn report() -> Report {
        serde_json::from_str(REPORT).unwrap()
    }

    #[test]
    fn the_page_says_what_was_found_where() {
        let page = html(&report());
        for part in [
            "One check found a fault",
            "x.jsonl line 7",
            "states `63%`",
            "30 in all, the first 1",
            "None is there.",
            "a&lt;b",
            "<svg",
            "1,200",
        ] {
            assert!(page.contains(part), "{part}");
        }
        assert!(!page.contains("<script") && !page.contains("a<b"));
    }

    #[test]
    fn a_clean_report_says_so_and_an_empty_one_does_not() {
        let mut clean = report();
        clean.checks.retain(|check| !check.is("red"));
        clean.passed = true;
        assert!(html(&clean).contains("Nothing from the future was found"));
        clean.checks.retain(|check| check.is("not_possible"));
        assert!(html(&clean).contains("Nothing could be checked"));
    }
}
