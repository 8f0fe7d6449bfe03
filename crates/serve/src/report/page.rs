//! The page: one self-contained document, verdict first.
//!
//! It refers to nothing outside itself and runs no script; a content security
//! policy says so to the browser as well. Its markup is also well-formed XML.

use std::fmt::Write;

use super::figures::{arms, course};
use super::prose::{self, arm, count, percent};
use super::{PageData, Report, tables};
use crate::chart::svg::escape;
use crate::chart::ticks::{plain, signed};
use crate::evaluation::{ADAPTER, MAJORITY, PERSISTENCE, Verdict};

const STYLE: &str = include_str!("style.css");

/// Returns the page of a report.
pub fn html(report: &Report, page: &PageData) -> String {
    let headline = prose::headline(report);
    document(&Document {
        title: &format!("foretune: {}", headline.title),
        banner: page.banner.as_deref(),
        header: &header(report, &headline),
        sections: &sections(report, page),
        footer: "Made by foretune. A test on past data is no promise about the future, and nothing here is advice to trade.",
    })
}

/// What a page is made of. Only `header` and the sections' bodies are markup.
pub(super) struct Document<'a> {
    pub(super) title: &'a str,
    pub(super) banner: Option<&'a str>,
    pub(super) header: &'a str,
    pub(super) sections: &'a [Section],
    pub(super) footer: &'a str,
}

/// Puts a page together: style, banner, header, links to the sections, the sections.
pub(super) fn document(page: &Document<'_>) -> String {
    let mut html = String::with_capacity(256 * 1024);
    let _ = write!(
        html,
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; img-src data:\"/>\n\
         <link rel=\"icon\" href=\"data:,\"/>\n<title>{}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n",
        escape(page.title)
    );
    if let Some(banner) = page.banner {
        let _ = writeln!(
            html,
            "<div class=\"banner\" role=\"note\">{}</div>",
            escape(banner)
        );
    }
    html.push_str(page.header);
    html.push_str("<main>\n<nav aria-label=\"Sections\"><ul>");
    for section in page.sections {
        let _ = write!(
            html,
            "<li><a href=\"#{}\">{}</a></li>",
            section.id,
            escape(section.title)
        );
    }
    html.push_str("</ul></nav>\n");
    for section in page.sections {
        let _ = writeln!(
            html,
            "<section id=\"{0}\" aria-labelledby=\"{0}-title\"><h2 id=\"{0}-title\">{1}</h2>\n{2}</section>",
            section.id,
            escape(section.title),
            section.body
        );
    }
    let _ = write!(
        html,
        "</main>\n<footer><p>{}</p></footer>\n</body>\n</html>\n",
        escape(page.footer)
    );
    html
}

/// A part of a page with its link; the body is markup.
pub(super) struct Section {
    pub(super) id: &'static str,
    pub(super) title: &'static str,
    pub(super) body: String,
}

/// Returns the sections that have something to show.
fn sections(report: &Report, page: &PageData) -> Vec<Section> {
    let mut sections = Vec::new();
    let mut add = |id, title, intro: &str, body: String| {
        if !body.is_empty() {
            let intro = if intro.is_empty() {
                String::new()
            } else {
                format!("<p>{}</p>\n", escape(intro))
            };
            let body = intro + &body;
            sections.push(Section { id, title, body });
        }
    };
    add("verdict", "What was found", "", verdict(report));
    add("done", "What was done", "", flow(report));
    let reweighted = |yes: &'static str| {
        if prose::is_reweighted(report) {
            yes
        } else {
            ""
        }
    };
    let intro = [
        "The adapter beside opponents that cost nothing. Dots are what was measured on the test span, whiskers are the intervals.",
        reweighted(
            " The two models and the logistic regression are shown after re-weighting; the second table has them as they answer by themselves.",
        ),
        if arm(report, PERSISTENCE).is_some() {
            " Persistence decides for the last known answer again; its log loss and Brier score are those of answer-to-answer frequencies in the validation part, which may favour another answer."
        } else {
            ""
        },
    ];
    add(
        "arms",
        "How it compares",
        &intro.concat(),
        arms::comparison(report)
            + &tables::scores(report)
            + &tables::as_answered(report)
            + &tables::confusion(report),
    );
    let intro = [
        "Triangles mark the adapter's BUY and SELL decisions, where there is room. The bands below show all decisions: what the outcome turned out to call for, and what each model said.",
        reweighted(" What they said is shown after re-weighting."),
    ];
    add(
        "decisions",
        "Decisions over time",
        &intro.concat(),
        course::prices(page),
    );
    add(
        "training",
        "How the training went",
        "",
        course::training(report),
    );
    add(
        "classes",
        "How often each answer comes",
        "",
        arms::class_mix(report),
    );
    add(
        "calibration",
        "Can its confidence be believed?",
        "",
        arms::calibration(report),
    );
    add(
        "equity",
        "Following the decisions",
        "",
        arms::equity(report) + &tables::equity(report),
    );
    add(
        "answers",
        "Answers to read",
        "Questions from the test span with what the models wrote by themselves. Open one and judge for yourself.",
        tables::samples(page),
    );
    add("data", "The data", "", tables::dataset(report));
    add(
        "llama",
        "The same model in llama.cpp",
        "",
        tables::check(report),
    );
    add(
        "again",
        "Doing it again",
        "What it takes to get the same numbers.",
        tables::reproduction(report),
    );
    add("words", "Words used here", "", terms());
    sections
}

fn header(report: &Report, headline: &prose::Headline) -> String {
    let mark = match headline.verdict {
        Verdict::Better => " better",
        Verdict::Worse => " worse",
        Verdict::NoEvidence | Verdict::Note => "",
    };
    let mut html = format!(
        "<header>\n<p class=\"eyebrow\"><span class=\"verdict-mark{mark}\" aria-hidden=\"true\"></span>Verdict on the test span</p>\n<h1>{}</h1>\n<p class=\"lead\">{}</p>\n",
        escape(&headline.title),
        escape(&headline.lead)
    );
    if let Some(text) = prose::world(report) {
        let _ = writeln!(
            html,
            "<div class=\"warnings\"><p>{}</p></div>",
            escape(&text)
        );
    }
    html.push_str(&key_figures(report));
    html.push_str("</header>\n");
    html
}

fn key_figures(report: &Report) -> String {
    let basis = &report.evaluation.evaluation;
    let level = plain(basis.level * 100.0, 0);
    let mut html = String::from("<dl class=\"key\">");
    let mut add = |name: &str, value: &str, under: &[String]| {
        let _ = write!(
            html,
            "<div><dt>{}</dt><dd>{}</dd>",
            escape(name),
            escape(value)
        );
        for line in under {
            let _ = write!(html, "<dd class=\"under\">{}</dd>", escape(line));
        }
        html.push_str("</div>");
    };
    let range = |interval: stats::Interval, write: &dyn Fn(f64) -> String, unit: &str| {
        if interval.is_known() {
            let (low, high) = (write(interval.low * 100.0), write(interval.high * 100.0));
            format!("{level} % interval {low} to {high} {unit}")
        } else {
            "interval unknown".to_owned()
        }
    };
    let share = |interval| range(interval, &|value| plain(value, 1), "%");
    let points = |interval| range(interval, &|value| signed(value, 1), "pp");
    let edge_text = |edge: f64| format!("{} pp", signed(edge * 100.0, 1));
    let adapter = arm(report, ADAPTER);
    let reweighted = adapter.filter(|arm| arm.is_reweighted());
    if let Some(adapter) = adapter {
        let mut under = vec![share(adapter.accuracy_interval)];
        under.extend(reweighted.map(|arm| {
            format!(
                "As it answers: {}, {}",
                percent(arm.accuracy_as_answered),
                share(arm.accuracy_as_answered_interval)
            )
        }));
        let name = if reweighted.is_some() {
            "Adapter right, re-weighted"
        } else {
            "Adapter right"
        };
        add(name, &percent(adapter.accuracy), &under);
    }
    if let Some(majority) = arm(report, MAJORITY) {
        add(
            "Majority class right",
            &percent(majority.accuracy),
            &[share(majority.accuracy_interval)],
        );
    }
    if let (Some(edge), Some(interval)) = (
        report.evaluation.edge_over_majority,
        report.evaluation.edge_over_majority_interval,
    ) {
        let mut under = vec![points(interval)];
        under.extend(reweighted.and_then(|arm| {
            let edge = arm.edge_over_majority_as_answered?;
            let interval = arm.edge_over_majority_as_answered_interval?;
            Some(format!(
                "As it answers: {}, {}",
                edge_text(edge),
                points(interval)
            ))
        }));
        let name = if reweighted.is_some() {
            "Edge, re-weighted"
        } else {
            "Edge"
        };
        add(name, &edge_text(edge), &under);
    }
    let under = format!("worth {} independent blocks", count(basis.effective_n));
    add("Decisions", &count(basis.n), &[under]);
    html.push_str("</dl>\n");
    html
}

fn verdict(report: &Report) -> String {
    let mut html = String::from("<ul class=\"findings\">");
    for finding in &report.evaluation.findings {
        let mark = match finding.verdict {
            Verdict::Better => " better",
            Verdict::Worse => " worse",
            Verdict::NoEvidence | Verdict::Note => "",
        };
        let _ = write!(
            html,
            "<li><span class=\"verdict-mark{mark}\" aria-hidden=\"true\"></span><span>{}</span></li>",
            escape(&finding.text)
        );
    }
    if let Some(standing) = &report.trials {
        let _ = write!(
            html,
            "<li><span class=\"verdict-mark\" aria-hidden=\"true\"></span><span>{}</span></li>",
            escape(&prose::trials(standing))
        );
    }
    html.push_str("</ul>\n");
    html.push_str(&arms::edges(report));
    if !report.warnings.is_empty() {
        html.push_str("<div class=\"warnings\" role=\"note\"><ul>");
        for warning in &report.warnings {
            let _ = write!(html, "<li>{}</li>", escape(warning));
        }
        html.push_str("</ul></div>\n");
    }
    html
}

fn flow(report: &Report) -> String {
    let mut html = String::from("<ol class=\"flow\">");
    for (name, text) in prose::flow(report) {
        let _ = write!(html, "<li><b>{}</b>{}</li>", escape(name), escape(&text));
    }
    html.push_str("</ol>\n");
    html
}

fn terms() -> String {
    let mut html = String::from("<dl class=\"terms\">");
    for (term, meaning) in prose::TERMS {
        let _ = write!(
            html,
            "<div><dt>{}</dt><dd>{}</dd></div>",
            escape(term),
            escape(meaning)
        );
    }
    html.push_str("</dl>\n");
    html
}
