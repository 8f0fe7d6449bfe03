//! The page: key figures, then one section for each question.

use std::fmt::Write;

use dataset::Split;

use super::{Page, drift, evidence, lengths, mix, samples, spans};
use crate::chart::svg::escape;
use crate::chart::ticks::plain;
use crate::report::page::{Document, Section, document};
use crate::report::prose::{count, day};
use crate::report::table::{Cell, Table, fact_table};

/// Returns the page of a data set: one self-contained document without a script.
pub fn html(page: &Page) -> String {
    document(&Document {
        title: "foretune: what this data set holds",
        banner: None,
        header: &header(page),
        sections: &sections(page),
        footer: "Made by foretune from the data set's files. That a data set is sound does not say that what it asks can be known.",
    })
}

fn is_bridge(page: &Page) -> bool {
    page.kind != "foretune-dataset"
}

fn header(page: &Page) -> String {
    let large = page
        .drift
        .features
        .iter()
        .filter(|f| f.verdict == "large")
        .count();
    let sound = page.spans.touching == 0;
    let mark = if sound { " better" } else { " worse" };
    let what = if is_bridge(page) {
        "Bridge"
    } else {
        "Data set"
    };
    let lines: usize = page.files.values().sum();
    let instruments = page.spans.rows.len();
    let title = format!(
        "{} examples of {}",
        count(lines),
        plural(instruments, "instrument")
    );
    let mut lead = format!("{}.", page.rule);
    if !sound {
        lead += " Parts of it reach into each other.";
    } else if large > 0 {
        let _ = write!(
            lead,
            " {} shown in the prompt lie elsewhere in the test part than in training.",
            plural(large, "feature")
        );
    }
    let mut html = format!(
        "<header>\n<p class=\"eyebrow\"><span class=\"verdict-mark{mark}\" aria-hidden=\"true\"></span>{what}</p>\n<h1>{}</h1>\n<p class=\"lead\">{}</p>\n<dl class=\"key\">",
        escape(&title),
        escape(&lead)
    );
    for part in &page.parts {
        let _ = write!(
            html,
            "<div><dt>{}</dt><dd>{}</dd><dd class=\"under\">effective number {}</dd><dd class=\"under\">{} to {}</dd></div>",
            escape(name(part.part)),
            escape(&count(part.n)),
            escape(&plain(part.effective_n, 0)),
            escape(day(&part.first.to_string())),
            escape(day(&part.last.to_string()))
        );
    }
    let audit = page.audit.as_deref().unwrap_or("none was made");
    let _ = write!(
        html,
        "<div><dt>Leak audit</dt><dd>{}</dd><dd class=\"under\">{}</dd></div>",
        if page
            .audit
            .as_deref()
            .is_some_and(|audit| audit != "skipped")
        {
            "made"
        } else {
            "\u{2013}"
        },
        escape(audit)
    );
    html.push_str("</dl>\n</header>\n");
    html
}

fn plural(n: usize, what: &str) -> String {
    let s = if n == 1 { "" } else { "s" };
    format!("{} {what}{s}", count(n))
}

fn name(part: Split) -> &'static str {
    match part {
        Split::Train => "Training",
        Split::Validation => "Validation",
        Split::Test => "Test",
    }
}

fn sections(page: &Page) -> Vec<Section> {
    let paragraph = |text: &str| format!("<p>{}</p>\n", escape(text));
    let mut sections = Vec::new();
    let mut add = |id: &'static str, title: &'static str, intro: &str, body: String| {
        if !body.is_empty() {
            let body = if intro.is_empty() {
                body
            } else {
                paragraph(intro) + &body
            };
            sections.push(Section { id, title, body });
        }
    };
    add("holds", "What it holds", "", holds(page));
    add("mix", "Classes over time", "", mix::section(&page.mixes));
    add(
        "spans",
        "Parts, purges and embargoes",
        "",
        spans::section(&page.spans),
    );
    let intro = if is_bridge(page) {
        "Scenarios of the training files against the held-out ones of the test part, as their prompts state them. A model learns from the first and is judged on the others; where a feature moved far, it is asked about a market that it has not seen."
    } else {
        "The training part, with its classes in equal numbers, against the test part in its natural mix, as their prompts state them. Where a feature moved far, the model is asked about a market that it has not seen; a price level always moves."
    };
    add(
        "drift",
        "Drift of what the prompt shows",
        intro,
        drift::section(&page.drift),
    );
    add(
        "evidence",
        "Did the evidence come true?",
        "What a scenario states as a probability that its signal pays, against whether it did, over all scenarios of all parts. Each was stated from what was known at its time.",
        evidence::section(&page.evidence),
    );
    add(
        "lengths",
        "How long the examples are",
        "",
        lengths::section(&page.lengths),
    );
    add(
        "samples",
        "Examples to read",
        "A few of each kind from the training files, chosen by a digest of their names. Open one and judge for yourself whether its answer follows from its prompt.",
        samples::section(&page.samples),
    );
    sections
}

fn holds(page: &Page) -> String {
    let mut html = String::new();
    if !page.warnings.is_empty() {
        html.push_str("<div class=\"warnings\" role=\"note\"><ul>");
        for warning in &page.warnings {
            let _ = write!(html, "<li>{}</li>", escape(warning));
        }
        html.push_str("</ul></div>\n");
    }
    let mut table = Table::new(
        "Parts and their classes",
        &[
            ("Part", false),
            ("Lines", true),
            ("Effective", true),
            ("Classes", false),
        ],
    );
    for part in &page.parts {
        let classes: Vec<String> = part
            .classes
            .iter()
            .map(|(class, n)| format!("{class} {}", count(*n)))
            .collect();
        let cells = [
            Cell::Number(count(part.n)),
            Cell::Number(plain(part.effective_n, 0)),
            Cell::Text(classes.join(", ")),
        ];
        table.row(false, name(part.part), &cells);
    }
    html += &table.finish();
    let files: Vec<(&str, String)> = page
        .files
        .iter()
        .map(|(name, lines)| (name.as_str(), plural(*lines, "line")))
        .chain([("written by foretune", page.version.clone())])
        .collect();
    html + &fact_table("Files", &files)
}
