//! The page's tables and the answers to read.

use std::collections::BTreeMap;
use std::fmt::Write;

use stats::calibration::{MAX_TEMPERATURE, Scaling};

use super::prose::{self, arm, bytes, count, day, duration, percent};
use super::table::{Cell, Table, estimate, fact_table, facts};
use super::{PageData, Report};
use crate::chart::svg::escape;
use crate::chart::ticks::{plain, signed};
use crate::class;
use crate::evaluation::{ADAPTER, display_name};

/// Every score of every arm.
pub(super) fn scores(report: &Report) -> String {
    let caption = format!(
        "All scores on the test span{}, with {} % intervals",
        prose::after_reweighting(report),
        level(report)
    );
    let columns = [
        ("Arm", false),
        ("Accuracy", true),
        ("Edge over majority", true),
        ("Balanced accuracy", true),
        ("Log loss", true),
        ("Brier score", true),
        ("Flip rate", true),
        ("Agrees with base", true),
    ];
    let mut table = Table::new(&caption, &columns);
    let score = |value: Option<f64>, interval: Option<stats::Interval>| {
        estimate(value, interval, &|v| plain(v, 3), "")
    };
    for arm in &report.evaluation.arms {
        let cells = [
            share(Some(arm.accuracy), Some(arm.accuracy_interval)),
            edge(arm.edge_over_majority, arm.edge_over_majority_interval),
            share(
                Some(arm.balanced_accuracy),
                Some(arm.balanced_accuracy_interval),
            ),
            score(arm.log_loss, arm.log_loss_interval),
            score(arm.brier, arm.brier_interval),
            share(arm.flip_rate, arm.flip_rate_interval),
            share(arm.agreement, arm.agreement_interval),
        ];
        table.row(arm.name == ADAPTER, &arm.name, &cells);
    }
    table.finish()
}

/// The arms that were re-weighted, as they answer by themselves.
pub(super) fn as_answered(report: &Report) -> String {
    let arms = report.evaluation.arms.iter();
    let reweighted: Vec<_> = arms.filter(|arm| arm.is_reweighted()).collect();
    if reweighted.is_empty() {
        return String::new();
    }
    let caption = format!(
        "As they answer by themselves, before re-weighting, with {} % intervals",
        level(report)
    );
    let columns = [
        ("Arm", false),
        ("Accuracy", true),
        ("Edge over majority", true),
        ("Balanced accuracy", true),
        ("Said BUY", true),
        ("Said SELL", true),
        ("Said HOLD", true),
    ];
    let mut table = Table::new(&caption, &columns);
    for arm in reweighted {
        let mut cells = vec![
            share(
                Some(arm.accuracy_as_answered),
                Some(arm.accuracy_as_answered_interval),
            ),
            edge(
                arm.edge_over_majority_as_answered,
                arm.edge_over_majority_as_answered_interval,
            ),
            share(
                Some(arm.balanced_accuracy_as_answered),
                Some(arm.balanced_accuracy_as_answered_interval),
            ),
        ];
        let mix = arm.class_mix_as_answered.to_array();
        cells.extend(mix.map(|share| Cell::Number(percent(share))));
        table.row(arm.name == ADAPTER, &arm.name, &cells);
    }
    table.finish()
}

fn level(report: &Report) -> String {
    plain(report.evaluation.evaluation.level * 100.0, 0)
}

fn share(value: Option<f64>, interval: Option<stats::Interval>) -> Cell {
    estimate(value, interval, &|v| plain(v * 100.0, 1), " %")
}

fn edge(value: Option<f64>, interval: Option<stats::Interval>) -> Cell {
    estimate(value, interval, &|v| signed(v * 100.0, 1), " pp")
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

/// What happened when the adapter said what: after re-weighting, and by itself.
pub(super) fn confusion(report: &Report) -> String {
    let Some(adapter) = arm(report, ADAPTER) else {
        return String::new();
    };
    if !adapter.is_reweighted() {
        let caption = "When the adapter said \u{2026}, what did the outcome call for?";
        return said(caption, &adapter.confusion);
    }
    said(
        "When the adapter said \u{2026} (after re-weighting), what did the outcome call for?",
        &adapter.confusion,
    ) + &said(
        "When the adapter said \u{2026} (by itself, as it is served), what did the outcome call for?",
        &adapter.confusion_as_answered,
    )
}

fn said(caption: &str, confusion: &[[usize; class::COUNT]; class::COUNT]) -> String {
    let columns = [
        ("It said", false),
        ("Times", true),
        ("BUY was right", true),
        ("SELL was right", true),
        ("HOLD was right", true),
    ];
    let mut table = Table::new(caption, &columns);
    for decided in 0..class::COUNT {
        let times: usize = confusion.iter().map(|truth| truth[decided]).sum();
        let mut cells = vec![Cell::Number(count(times))];
        for truth in confusion {
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
    let mut settings = report.dataset.settings.clone();
    let fitted = reweighting(report);
    if fitted.is_some() {
        settings.remove(REWEIGHTING);
    }
    html.push_str(&facts("How the examples were made", &settings));
    html.push_str(&fitted.unwrap_or_default());
    html
}

/// Where `dataset.settings` has the re-weighting fitted for each arm.
const REWEIGHTING: &str = "calibration";

/// The re-weighting of each arm; none if the report has it in another form.
fn reweighting(report: &Report) -> Option<String> {
    let fitted = report.dataset.settings.get(REWEIGHTING)?.clone();
    let fitted: BTreeMap<String, Scaling> = serde_json::from_value(fitted).ok()?;
    let fits = |scaling: &Scaling| scaling.bias.len() == class::COUNT;
    if fitted.is_empty() || !fitted.values().all(fits) {
        return None;
    }
    let columns = [
        ("Arm", false),
        ("Temperature", true),
        ("BUY weighs", true),
        ("SELL weighs", true),
        ("HOLD weighs", true),
    ];
    let mut table = Table::new("How each arm\u{2019}s answers were re-weighted", &columns);
    for (name, scaling) in &fitted {
        let mut cells = vec![Cell::Number(plain(scaling.temperature, 2))];
        cells.extend(scaling.bias.iter().map(|bias| {
            let weight = bias.exp();
            Cell::Number(format!("\u{d7} {}", plain(weight, 2)))
        }));
        table.row(name == ADAPTER, name, &cells);
    }
    let mut html = table.finish();
    html.push_str("<p>The temperature divides what the arm says for and against each answer: above 1 it was too sure of itself, below 1 not sure enough. Each answer\u{2019}s probability is then multiplied by its weight, and the three are scaled to sum to one.");
    let capped: Vec<&str> = fitted
        .iter()
        .filter(|(_, scaling)| scaling.temperature >= MAX_TEMPERATURE * (1.0 - 1e-9))
        .map(|(name, _)| display_name(name))
        .collect();
    if !capped.is_empty() {
        let _ = write!(
            html,
            " Temperature {} is the highest allowed. {} reached it: what was said told nothing about the right answers of the validation decisions, or pointed the wrong way, so it is as good as ignored and little but the class mix is left.",
            plain(MAX_TEMPERATURE, 0),
            escape(&capitalised(&prose::join(&capped, "and")))
        );
    }
    html.push_str("</p>\n");
    Some(html)
}

fn capitalised(text: &str) -> String {
    let mut characters = text.chars();
    characters.next().map_or_else(String::new, |first| {
        first.to_uppercase().chain(characters).collect()
    })
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
