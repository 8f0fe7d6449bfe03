//! The page's figures: numbers of the report handed to the chart functions.

pub(super) mod arms;
pub(super) mod course;

use std::fmt::Write;

use crate::chart::svg::escape;
use crate::class;

/// Widths of the two drawings of a wide figure: for a desk and for a phone.
const WIDTHS: [(&str, f64); 2] = [("wide", 952.0), ("narrow", 358.0)];
/// Width of a figure that looks the same on both.
pub(super) const SMALL: f64 = 440.0;

/// Frames a drawing with its title and a sentence on how to read it.
pub(super) fn figure(title: &str, reading: &str, tag: &str, body: &str) -> String {
    let tag = if tag.is_empty() {
        String::new()
    } else {
        format!("<span class=\"tag\">{}</span>", escape(tag))
    };
    let reading = if reading.is_empty() {
        String::new()
    } else {
        format!("<p>{}</p>", escape(reading))
    };
    format!(
        "<figure><figcaption><h3>{}{tag}</h3>{reading}</figcaption>{body}</figure>\n",
        escape(title)
    )
}

/// Draws a figure once for a desk and once for a phone; the style sheet shows one.
pub(super) fn both_widths(id: &str, draw: impl Fn(&str, f64) -> String) -> String {
    let mut html = String::new();
    for (name, width) in WIDTHS {
        let drawing = draw(&format!("{id}-{name}"), width);
        let _ = write!(html, "<div class=\"{name}\">{drawing}</div>");
    }
    html
}

fn class_style(class: usize) -> &'static str {
    ["c-buy", "c-sell", "c-hold"]
        .get(class)
        .copied()
        .unwrap_or("")
}

fn class_legend(with_markers: bool) -> String {
    let mut legend = String::from("<ul class=\"legend\">");
    for (index, name) in class::NAMES.iter().enumerate() {
        let shape = match (with_markers, index) {
            (true, class::BUY) => "M7 1L13 12L1 12Z",
            (true, class::SELL) => "M7 13L13 2L1 2Z",
            _ => "M1 2H13V12H1Z",
        };
        let style = class_style(index);
        let _ = write!(
            legend,
            "<li><svg viewBox=\"0 0 14 14\" aria-hidden=\"true\"><path class=\"{style}\" d=\"{shape}\"/></svg>{name}</li>"
        );
    }
    legend.push_str("</ul>");
    legend
}
