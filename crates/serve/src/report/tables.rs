//! The page's tables and the answers to read.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde_json::Value;

use super::prose::{arm, bytes, count, day, duration, percent};
use super::{PageData, Report};
use crate::chart::svg::escape;
use crate::chart::ticks::{plain, signed};
use crate::class;
use crate::evaluation::ADAPTER;

/// A table under construction. Cells are escaped on entry.
struct Table {
    html: String,
}

impl Table {
    fn new(caption: &str, columns: &[(&str, bool)]) -> Self {
        let mut html = format!(
            "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"{0}\"><table><caption>{0}</caption><thead><tr>",
            escape(caption)
        );
        for (name, is_number) in columns {
            let class = if *is_number { " class=\"number\"" } else { "" };
            let _ = write!(html, "<th scope=\"col\"{class}>{}</th>", escape(name));
        }
        html.push_str("</tr></thead><tbody>");
        Self { html }
    }

    fn row(&mut self, emphasised: bool, name: &str, cells: &[Cell]) {
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

    fn finish(mut self) -> String {
        self.html.push_str("</tbody></table></div>\n");
        self.html
    }
}

enum Cell {
    Text(String),
    Date(String),
    Number(String),
    Hash(String),
    Estimate(String, String),
}

/// Every score of every arm.
pub(super) fn scores(report: &Report) -> String {
    let level = plain(report.evaluation.evaluation.level * 100.0, 0);
    let caption = format!("All scores on the test span, with {level} % intervals");
    let is_calibrated = report
        .evaluation
        .arms
        .iter()
        .any(|arm| arm.raw_accuracy.is_some());
    let mut columns = vec![
        ("Arm", false),
        ("Accuracy", true),
        ("Edge over majority", true),
        ("Balanced accuracy", true),
        ("Log loss", true),
        ("Brier score", true),
        ("Flip rate", true),
        ("Agrees with base", true),
    ];
    if is_calibrated {
        columns.push(("Accuracy before calibration", true));
    }
    let mut table = Table::new(&caption, &columns);
    let share = |value: Option<f64>, interval: Option<stats::Interval>| {
        estimate(value, interval, &|v| plain(v * 100.0, 1), " %")
    };
    let score = |value: Option<f64>, interval: Option<stats::Interval>| {
        estimate(value, interval, &|v| plain(v, 3), "")
    };
    for arm in &report.evaluation.arms {
        let edge = estimate(
            arm.edge_over_majority,
            arm.edge_over_majority_interval,
            &|v| signed(v * 100.0, 1),
            " pp",
        );
        let mut cells = vec![
            share(Some(arm.accuracy), Some(arm.accuracy_interval)),
            edge,
            share(
                Some(arm.balanced_accuracy),
                Some(arm.balanced_accuracy_interval),
            ),
            score(arm.log_loss, arm.log_loss_interval),
            score(arm.brier, arm.brier_interval),
            share(arm.flip_rate, arm.flip_rate_interval),
            share(arm.agreement, arm.agreement_interval),
        ];
        if is_calibrated {
            cells.push(share(arm.raw_accuracy, arm.raw_accuracy_interval));
        }
        table.row(arm.name == ADAPTER, &arm.name, &cells);
    }
    table.finish()
}

fn estimate(
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

/// What following each arm would have returned; a diagnostic.
pub(super) fn equity(report: &Report) -> String {
    let columns = [
        ("Arm", false),
        ("Return net of costs", true),
        ("Largest fall", true),
        ("Position changes", true),
    ];
    let mut table = Table::new(
        "Return over the test span: diagnostic, not evidence",
        &columns,
    );
    let arms = report.evaluation.arms.iter();
    let curves = arms.map(|arm| (arm.name.as_str(), &arm.equity_diagnostic));
    let holding = ("buy and hold", &report.evaluation.buy_and_hold);
    for (name, equity) in curves.chain([holding]) {
        let cells = [
            Cell::Number(percent(equity.final_return)),
            Cell::Number(percent(equity.max_drawdown)),
            Cell::Number(count(equity.position_changes)),
        ];
        table.row(name == ADAPTER, name, &cells);
    }
    table.finish()
}

/// What happened when the adapter said what.
pub(super) fn confusion(report: &Report) -> String {
    let Some(adapter) = arm(report, ADAPTER) else {
        return String::new();
    };
    let mut table = Table::new(
        "When the adapter said \u{2026}, what did the outcome call for?",
        &[
            ("It said", false),
            ("Times", true),
            ("BUY was right", true),
            ("SELL was right", true),
            ("HOLD was right", true),
        ],
    );
    for decided in 0..class::COUNT {
        let times: usize = adapter.confusion.iter().map(|truth| truth[decided]).sum();
        let mut cells = vec![Cell::Number(count(times))];
        for truth in &adapter.confusion {
            cells.push(Cell::Number(if times == 0 {
                "\u{2013}".to_owned()
            } else {
                percent(truth[decided] as f64 / times as f64)
            }));
        }
        table.row(false, class::name(decided), &cells);
    }
    table.finish()
}

/// Held-out prompts with the answers.
pub(super) fn samples(page: &PageData) -> String {
    let mut html = String::new();
    for (index, sample) in page.samples.iter().enumerate() {
        let open = if index == 0 { " open=\"open\"" } else { "" };
        let _ = write!(
            html,
            "<details{open}><summary>{} <span class=\"soft\">{}, the outcome called for {}</span></summary><pre>{}</pre><dl class=\"answers\">",
            escape(sample.instrument.as_str()),
            escape(&sample.decision_time.to_string()),
            class::name(sample.label),
            escape(&sample.prompt)
        );
        for (name, answer) in [("Adapter", &sample.adapter), ("Base model", &sample.base)] {
            let answer = answer.as_deref().unwrap_or("(not asked)");
            let _ = write!(
                html,
                "<dt>{name}</dt><dd><pre>{}</pre></dd>",
                escape(answer)
            );
        }
        html.push_str("</dl></details>\n");
    }
    html
}

/// Counts, effective counts and spans of the splits, and the data they come from.
pub(super) fn dataset(report: &Report) -> String {
    let mut table = Table::new(
        "Examples by split",
        &[
            ("Split", false),
            ("From", false),
            ("To", false),
            ("BUY", true),
            ("SELL", true),
            ("HOLD", true),
            ("All", true),
            ("Effective number", true),
        ],
    );
    let spans = report.dataset.spans.named();
    let effective = report.dataset.effective_n.named();
    for (index, (name, counts)) in report.dataset.counts.named().into_iter().enumerate() {
        let [from, to] = match spans[index].1 {
            Some(ends) => ends.map(|time| day(&time.to_string()).to_owned()),
            None => [String::from("\u{2013}"), String::from("\u{2013}")],
        };
        let mut cells = vec![Cell::Date(from), Cell::Date(to)];
        cells.extend(counts.to_array().map(|n| Cell::Number(count(n))));
        cells.push(Cell::Number(count(counts.total())));
        cells.push(Cell::Number(plain(*effective[index].1, 0)));
        table.row(false, name, &cells);
    }
    let mut html = table.finish();
    if !report.dataset.label_rule.is_empty() {
        let _ = writeln!(
            html,
            "<p>The label: {}</p>",
            escape(&report.dataset.label_rule)
        );
    }
    html.push_str(&data(report));
    html.push_str(&facts(
        "How the examples were made",
        &report.dataset.settings,
    ));
    html
}

fn data(report: &Report) -> String {
    if report.data.instruments.is_empty() {
        return String::new();
    }
    let mut table = Table::new(
        "Candles read",
        &[
            ("Instrument", false),
            ("Timeframe", false),
            ("From", false),
            ("To", false),
            ("Candles", true),
            ("Missing", true),
            ("Source", false),
        ],
    );
    for span in &report.data.instruments {
        let cells = [
            Cell::Text(span.timeframe.to_string()),
            Cell::Date(day(&span.from.to_string()).to_owned()),
            Cell::Date(day(&span.to.to_string()).to_owned()),
            Cell::Number(count(span.bars)),
            Cell::Number(count(span.missing_bars)),
            Cell::Text(span.source.clone().unwrap_or_default()),
        ];
        table.row(false, span.instrument.as_str(), &cells);
    }
    table.finish()
}

/// What llama.cpp made of the same prompts.
pub(super) fn check(report: &Report) -> String {
    let Some(check) = &report.check else {
        return String::new();
    };
    let rows = [
        ("Client", check.client.clone()),
        ("Prompts", count(check.prompts)),
        ("Answers equal word for word", count(check.exact)),
        ("Answers that part at a numerical tie", count(check.tie)),
        ("Answers that differ otherwise", count(check.mismatch)),
        ("Answers in the required form", percent(check.form_rate)),
        ("The rule", check.rule.clone()),
    ];
    fact_table("Base model and adapter, loaded by llama.cpp", &rows)
}

/// Files, hashes, versions, settings and times.
pub(super) fn reproduction(report: &Report) -> String {
    let basis = &report.evaluation.evaluation;
    let mut run = vec![("Command", report.command.clone())];
    if let Some(created) = report.created {
        run.push(("Made at", created.to_string()));
    }
    if let Some(train) = &report.train {
        run.push(("Training time", duration(train.wall_seconds)));
        run.push((
            "Training speed",
            format!("{} tokens per second", plain(train.tokens_per_second, 0)),
        ));
        run.push(("Peak memory", bytes(train.peak_memory_bytes)));
    }
    run.push((
        "Bootstrap",
        format!(
            "{} replicates of {} blocks of {}, seed {}",
            count(basis.replicates),
            count(basis.effective_n),
            duration(basis.block_ms as f64 / 1000.0),
            basis.seed
        ),
    ));
    let mut html = fact_table("The run", &run);
    html.insert_str(0, "<div class=\"facts-grid\">");
    let versions: Vec<(&str, String)> = report
        .versions
        .iter()
        .map(|(name, version)| (name.as_str(), version.clone()))
        .collect();
    html.push_str(&fact_table("Versions", &versions));
    if let Some(train) = &report.train {
        html.push_str(&facts("Training settings", &train.settings));
    }
    let timings: Vec<(&str, String)> = report
        .timings
        .iter()
        .map(|timing| (timing.stage.as_str(), duration(timing.seconds)))
        .collect();
    html.push_str(&fact_table("Where the time went", &timings));
    html.push_str("</div>\n");
    html.push_str(&files(report));
    html
}

fn files(report: &Report) -> String {
    let hashed: Vec<(&str, &str)> = report
        .data
        .instruments
        .iter()
        .filter_map(|span| Some((span.instrument.as_str(), span.sha256.as_deref()?)))
        .collect();
    let mut html = String::new();
    if !report.files.is_empty() {
        let columns = [
            ("File", false),
            ("What it is", false),
            ("Size", true),
            ("sha256", false),
        ];
        let mut table = Table::new("Files written", &columns);
        for file in &report.files {
            let cells = [
                Cell::Text(file.what.clone()),
                Cell::Number(bytes(file.bytes)),
                Cell::Hash(file.sha256.clone().unwrap_or_default()),
            ];
            table.row(false, &file.path, &cells);
        }
        html.push_str(&table.finish());
    }
    if !hashed.is_empty() {
        let mut table = Table::new("Data read", &[("Instrument", false), ("sha256", false)]);
        for (name, hash) in hashed {
            table.row(false, name, &[Cell::Hash(hash.to_owned())]);
        }
        html.push_str(&table.finish());
    }
    html
}

fn facts(caption: &str, settings: &BTreeMap<String, Value>) -> String {
    let rows: Vec<(&str, String)> = settings
        .iter()
        .map(|(name, value)| {
            let text = match value {
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            (name.as_str(), text)
        })
        .collect();
    fact_table(caption, &rows)
}

fn fact_table(caption: &str, rows: &[(&str, String)]) -> String {
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
