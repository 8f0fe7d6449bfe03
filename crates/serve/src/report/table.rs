//! Building blocks of the page's tables.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde_json::Value;

use crate::chart::svg::escape;

/// From this number of columns on, a table is wider than a phone.
const MANY_COLUMNS: usize = 6;
/// Said above such a table; the style sheet shows it on a phone only.
const CUE: &str = "<p class=\"cue\">This table is wider than the screen: move it sideways.</p>";

/// A table under construction. Cells are escaped on entry.
pub(super) struct Table {
    html: String,
}

impl Table {
    pub(super) fn new(caption: &str, columns: &[(&str, bool)]) -> Self {
        let mut html = String::new();
        if columns.len() >= MANY_COLUMNS {
            html.push_str(CUE);
        }
        let _ = write!(
            html,
            "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"{0}\"><table><caption><span>{0}</span></caption><thead><tr>",
            escape(caption)
        );
        for (name, is_number) in columns {
            let class = if *is_number { " class=\"number\"" } else { "" };
            let _ = write!(html, "<th scope=\"col\"{class}>{}</th>", escape(name));
        }
        html.push_str("</tr></thead><tbody>");
        Self { html }
    }

    pub(super) fn row(&mut self, emphasised: bool, name: &str, cells: &[Cell]) {
        let class = if emphasised { " class=\"main\"" } else { "" };
        let _ = write!(
            self.html,
            "<tr{class}><th scope=\"row\">{}</th>",
            escape(name)
        );
        for cell in cells {
            let _ = match cell {
                Cell::Date(text) => {
                    write!(self.html, "<td class=\"date\">{}</td>", escape(text))
                }
                Cell::Text(text) => write!(self.html, "<td class=\"text\">{}</td>", escape(text)),
                Cell::Number(text) => {
                    write!(self.html, "<td class=\"number\">{}</td>", escape(text))
                }
                Cell::Hash(text) => write!(self.html, "<td class=\"hash\">{}</td>", escape(text)),
                Cell::Estimate(value, interval) => write!(
                    self.html,
                    "<td class=\"number\">{}<span class=\"interval\">{}</span></td>",
                    escape(value),
                    escape(interval)
                ),
            };
        }
        self.html.push_str("</tr>");
    }

    pub(super) fn finish(mut self) -> String {
        self.html.push_str("</tbody></table></div>\n");
        self.html
    }
}

/// One cell of a table.
pub(super) enum Cell {
    Text(String),
    Date(String),
    Number(String),
    Hash(String),
    Estimate(String, String),
}

/// Writes a value with its interval, or a dash for none.
pub(super) fn estimate(
    value: Option<f64>,
    interval: Option<stats::Interval>,
    write: &dyn Fn(f64) -> String,
    unit: &str,
) -> Cell {
    let Some(value) = value.filter(|v| v.is_finite()) else {
        return Cell::Number("\u{2013}".to_owned());
    };
    let interval = interval.filter(stats::Interval::is_known).map_or_else(
        || "interval unknown".to_owned(),
        |interval| format!("[{}, {}]", write(interval.low), write(interval.high)),
    );
    Cell::Estimate(format!("{}{unit}", write(value)), interval)
}

/// Settings as a table, their values written for people.
pub(super) fn facts(caption: &str, settings: &BTreeMap<String, Value>) -> String {
    let rows: Vec<(&str, String)> = settings
        .iter()
        .map(|(name, value)| (name.as_str(), readable(value)))
        .collect();
    fact_table(caption, &rows)
}

/// A table of names and texts.
pub(super) fn fact_table(caption: &str, rows: &[(&str, String)]) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let mut html = format!(
        "<div class=\"scroll\"><table class=\"facts\"><caption>{}</caption><tbody>",
        escape(caption)
    );
    for (name, value) in rows {
        let _ = write!(
            html,
            "<tr><th scope=\"row\">{}</th><td class=\"text\">{}</td></tr>",
            escape(name),
            escape(value)
        );
    }
    html.push_str("</tbody></table></div>\n");
    html
}

/// Writes a value of a setting for people: numbers rounded, lists without brackets.
fn readable(value: &Value) -> String {
    match value {
        Value::Null => "not set".to_owned(),
        Value::String(text) => text.clone(),
        Value::Number(number) if !(number.is_u64() || number.is_i64()) => {
            number.as_f64().map_or_else(|| number.to_string(), rounded)
        }
        Value::Array(items) if items.is_empty() => "none".to_owned(),
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(readable).collect();
            items.join(", ")
        }
        Value::Object(entries) => {
            let entries: Vec<String> = entries
                .iter()
                .map(|(name, value)| format!("{name} {}", readable(value)))
                .collect();
            entries.join("; ")
        }
        other => other.to_string(),
    }
}

/// Writes a number with five digits that count, without zeros at its end.
fn rounded(value: f64) -> String {
    const DIGITS: i32 = 5;
    if value == 0.0 || !value.is_finite() {
        return value.to_string();
    }
    let magnitude = value.abs().log10().floor() as i32;
    if !(-6..15).contains(&magnitude) {
        return format!("{value:.4e}");
    }
    let decimals = (DIGITS - 1 - magnitude).max(0) as usize;
    let text = format!("{value:.decimals$}");
    if text.contains('.') {
        let text = text.trim_end_matches('0').trim_end_matches('.');
        text.to_owned()
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn settings_are_written_for_people() {
        let written = |value: Value| readable(&value);
        assert_eq!(written(json!(0.050_000_000_745_058_06)), "0.05");
        assert_eq!(written(json!(-0.123_456_789)), "-0.12346");
        assert_eq!(written(json!(1e-3)), "0.001");
        assert_eq!(written(json!(123_456.7)), "123457");
        assert_eq!(written(json!(100.0)), "100");
        assert_eq!(written(json!(99.999_999_999_8)), "100");
        assert_eq!(written(json!(2.5e-9)), "2.5000e-9");
        assert_eq!(written(json!(3000)), "3000");
        assert_eq!(written(json!(["q_proj", "v_proj"])), "q_proj, v_proj");
        assert_eq!(written(json!([])), "none");
        assert_eq!(written(json!(null)), "not set");
        assert_eq!(written(json!({"a": 1.0, "b": true})), "a 1; b true");
    }

    #[test]
    fn a_broad_table_says_that_it_scrolls() {
        let table = |columns: usize| Table::new("T", &vec![("C", true); columns]).finish();
        assert!(table(MANY_COLUMNS).starts_with(CUE));
        assert!(!table(MANY_COLUMNS - 1).contains(CUE));
    }
}
