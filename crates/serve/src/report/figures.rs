//! The page's figures: numbers of the report handed to the chart functions.

use std::fmt::Write;

use super::prose::{arm, count, percent};
use super::{PageData, PriceSeries, Report};
use crate::chart::bars::{self, Bar, Part};
use crate::chart::line::{self, Axis, LineChart, Reference, Series, centred_mean};
use crate::chart::price::{self, Marker, PriceChart, Ribbon};
use crate::chart::svg::escape;
use crate::chart::ticks::{percent as percent_tick, plain};
use crate::chart::{Label, reliability, whiskers};
use crate::class;
use crate::evaluation::{ADAPTER, ArmEvaluation, BASE, Equity, MAJORITY, Row, display_name};

/// Widths of the two drawings of a wide figure: for a desk and for a phone.
const WIDTHS: [(&str, f64); 2] = [("wide", 952.0), ("narrow", 358.0)];
/// Width of a figure that looks the same on both.
const SMALL: f64 = 440.0;

/// Frames a drawing with its title and a sentence on how to read it.
fn figure(title: &str, reading: &str, tag: &str, body: &str) -> String {
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
fn both_widths(id: &str, draw: impl Fn(&str, f64) -> String) -> String {
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

/// The adapter against every other arm: difference in accuracy around zero.
pub(super) fn edges(report: &Report) -> String {
    let mut compared: Vec<_> = report
        .evaluation
        .comparisons
        .iter()
        .filter(|comparison| comparison.metric == "accuracy")
        .collect();
    compared.sort_by_key(|comparison| comparison.against != MAJORITY);
    let rows: Vec<whiskers::Row> = compared
        .into_iter()
        .map(|comparison| whiskers::Row {
            name: format!("against {}", display_name(&comparison.against)),
            value: comparison.difference * 100.0,
            interval: known(Some(comparison.difference_interval))
                .map(|ends| ends.map(|e| e * 100.0)),
            emphasised: comparison.against == MAJORITY,
        })
        .collect();
    if rows.is_empty() {
        return String::new();
    }
    let zero = [Reference {
        value: 0.0,
        name: "no difference".to_owned(),
    }];
    let body = both_widths("edges", |id, width| {
        let label = Label {
            id,
            title: "Adapter's edge over every opponent",
            description: "One row per opponent: difference in accuracy in percentage points, with its interval. Rows whose interval touches zero show no difference.",
        };
        whiskers::draw(label, width, &rows, &zero, &points, 1)
    });
    let reading = "Accuracy of the adapter minus accuracy of each opponent on the same decisions, in percentage points. Right of the line the adapter is better; a whisker that touches the line proves nothing.";
    figure("The edge, and how sure it is", reading, "", &body)
}

fn points(value: f64, decimals: usize) -> String {
    let sign = if value > 0.0 { "+" } else { "" };
    format!("{sign}{}", plain(value, decimals))
}

/// One drawing per score, one row per arm.
pub(super) fn comparison(report: &Report) -> String {
    type Pick = fn(&ArmEvaluation) -> (Option<f64>, Option<stats::Interval>);
    let scores: [(&str, &str, Pick, bool); 6] = [
        (
            "Accuracy",
            "Share of right decisions. Higher is better.",
            |a| (Some(a.accuracy), Some(a.accuracy_interval)),
            true,
        ),
        (
            "Balanced accuracy",
            "Each class counts the same; one answer for everything scores a third. Higher is better.",
            |a| {
                (
                    Some(a.balanced_accuracy),
                    Some(a.balanced_accuracy_interval),
                )
            },
            true,
        ),
        (
            "Log loss",
            "How good the probabilities were, in nats. Lower is better.",
            |a| (a.log_loss, a.log_loss_interval),
            false,
        ),
        (
            "Brier score",
            "Squared error of the probabilities. Lower is better.",
            |a| (a.brier, a.brier_interval),
            false,
        ),
        (
            "Flip rate",
            "How often the decision changes from one time to the next. Neither good nor bad.",
            |a| (a.flip_rate, a.flip_rate_interval),
            true,
        ),
        (
            "Agreement with the base model",
            "How often the decision equals the untrained model's. Neither good nor bad.",
            |a| (a.agreement, a.agreement_interval),
            true,
        ),
    ];
    let mut html = String::from("<div class=\"pair\">");
    for (index, (title, reading, pick, is_share)) in scores.into_iter().enumerate() {
        let rows: Vec<whiskers::Row> = report
            .evaluation
            .arms
            .iter()
            .filter_map(|arm| {
                let (value, interval) = pick(arm);
                Some(whiskers::Row {
                    name: arm.name.clone(),
                    value: value?,
                    interval: known(interval),
                    emphasised: arm.name == ADAPTER,
                })
            })
            .collect();
        if rows.is_empty() {
            continue;
        }
        let mut references = Vec::new();
        if index < 4 {
            let majority = arm(report, MAJORITY).and_then(|arm| pick(arm).0);
            references.extend(majority.map(|value| Reference {
                value,
                name: "majority".to_owned(),
            }));
        }
        if index == 0 {
            let best = report.world.as_ref().and_then(|world| world.bayes_accuracy);
            references.extend(best.map(|value| Reference {
                value,
                name: "best possible".to_owned(),
            }));
        }
        let id = format!("score-{index}");
        let label = Label {
            id: &id,
            title,
            description: "One row per arm: value and interval.",
        };
        let drawing = if is_share {
            whiskers::draw(label, SMALL, &rows, &references, &percent_tick, 3)
        } else {
            whiskers::draw(label, SMALL, &rows, &references, &plain, 3)
        };
        html.push_str(&figure(title, reading, "", &drawing));
    }
    html.push_str("</div>");
    html
}

fn known(interval: Option<stats::Interval>) -> Option<[f64; 2]> {
    interval
        .filter(stats::Interval::is_known)
        .map(|interval| [interval.low, interval.high])
}

/// Price over the test span with the adapter's decisions, one figure per instrument.
pub(super) fn prices(page: &PageData) -> String {
    const MOST: usize = 4;
    let mut html = if page.prices.is_empty() {
        String::new()
    } else {
        class_legend(true)
    };
    for (index, series) in page.prices.iter().take(MOST).enumerate() {
        html.push_str(&price_figure(index, series, page));
    }
    if page.prices.len() > MOST {
        let left: Vec<String> = page.prices[MOST..]
            .iter()
            .map(|series| escape(series.instrument.as_str()))
            .collect();
        let _ = write!(
            html,
            "<p class=\"small soft\">Not drawn: {}.</p>",
            left.join(", ")
        );
    }
    html
}

fn price_figure(index: usize, series: &PriceSeries, page: &PageData) -> String {
    let mut rows: Vec<(usize, &Row)> = page
        .rows
        .iter()
        .enumerate()
        .filter(|(_, row)| row.instrument == series.instrument)
        .collect();
    rows.sort_by_key(|(_, row)| row.decision_time);
    let ribbon = |name: &str, class_of: &dyn Fn(usize, &Row) -> Option<usize>| Ribbon {
        name: name.to_owned(),
        times: rows
            .iter()
            .map(|(_, row)| row.decision_time.0 as f64)
            .collect(),
        classes: rows
            .iter()
            .map(|&(i, row)| class_of(i, row).unwrap_or(usize::MAX))
            .collect(),
    };
    let decided = |arm: &str, i: usize| page.decisions.get(arm).and_then(|d| d.get(i)).copied();
    let mut ribbons = vec![ribbon("outcome", &|_, row| Some(row.label))];
    for arm in [ADAPTER, BASE] {
        if page.decisions.contains_key(arm) {
            ribbons.push(ribbon(arm, &|i, _| decided(arm, i)));
        }
    }
    let markers: Vec<Marker> = rows
        .iter()
        .filter_map(|&(i, row)| {
            let class = decided(ADAPTER, i)?;
            let judged = if class == row.label { "right" } else { "wrong" };
            Some(Marker {
                time: row.decision_time.0 as f64,
                price: row.price,
                class,
                hint: format!(
                    "{} at {}, {}: {judged}, it was {} ({} %)",
                    class::name(class),
                    row.decision_time,
                    plain(row.price, price_decimals(row.price)),
                    class::name(row.label),
                    plain(row.outcome_return * 100.0, 2)
                ),
            })
        })
        .collect();
    let times: Vec<f64> = series.times.iter().map(|&time| time as f64).collect();
    let name = series.instrument.as_str();
    let drawing_title = format!("{name}: price and decisions");
    let y_name = series
        .instrument
        .quote()
        .map_or_else(|| "price".to_owned(), |quote| format!("price, {quote}"));
    let body = both_widths(&format!("price-{index}"), |id, width| {
        price::draw(&PriceChart {
            label: Label {
                id,
                title: &drawing_title,
                description: "Close price over the test span with markers where the adapter said BUY or SELL; below, bands with the class of every decision: what turned out right, the adapter, the base model.",
            },
            width,
            times: &times,
            prices: &series.close,
            markers: &markers,
            ribbons: &ribbons,
            y_name: &y_name,
        })
    });
    let title = format!("{name}, {} decisions", count(rows.len()));
    figure(&title, "", "", &body)
}

fn price_decimals(price: f64) -> usize {
    if price >= 1000.0 {
        0
    } else if price >= 10.0 {
        2
    } else {
        5
    }
}

/// Loss and validation decision accuracy over the training.
pub(super) fn training(report: &Report) -> String {
    let Some(train) = &report.train else {
        return String::new();
    };
    let pick = |value: &dyn Fn(&super::HistoryPoint) -> Option<f64>| -> (Vec<f64>, Vec<f64>) {
        train
            .history
            .iter()
            .filter_map(|point| Some((point.step as f64, value(point)?)))
            .unzip()
    };
    let (steps, losses) = pick(&|point| point.loss);
    let (validation_steps, validation_losses) = pick(&|point| point.validation_loss);
    let (accuracy_steps, accuracies) = pick(&|point| point.validation_decision_accuracy);
    let mut html = String::new();
    if !losses.is_empty() || !validation_losses.is_empty() {
        let smooth = centred_mean(&losses, losses.len() / 40);
        let series = [
            series("each step", "faint", steps.clone(), losses, false),
            series("training", "k-1", steps, smooth, false),
            series(
                "validation",
                "k-3",
                validation_steps,
                validation_losses,
                true,
            ),
        ];
        let body = both_widths("loss", |id, width| {
            line::draw(&LineChart {
                label: Label {
                    id,
                    title: "Loss during training",
                    description: "Training loss per step with its moving mean, and validation loss.",
                },
                width,
                height: 250.0,
                series: &series,
                axis: Axis::Number,
                x_name: "training step",
                y_name: "loss, nats per token",
                format: &plain,
                references: &[],
                names_at_end: true,
            })
        });
        let reading = "How surprised the model is by the next word of the right answer. It falls quickly while the model learns the form of the sentence; that alone says nothing about the decisions.";
        html.push_str(&figure("Loss", reading, "", &body));
    }
    if !accuracies.is_empty() {
        let counts = report.dataset.counts.validation;
        let references: Vec<Reference> = (counts.total() > 0)
            .then(|| Reference {
                value: counts.shares().to_array().into_iter().fold(0.0, f64::max),
                name: "most frequent class".to_owned(),
            })
            .into_iter()
            .collect();
        let series = [series(
            "validation",
            "k-3",
            accuracy_steps,
            accuracies,
            true,
        )];
        let body = both_widths("decisions-during-training", |id, width| {
            line::draw(&LineChart {
                label: Label {
                    id,
                    title: "Right decisions during training",
                    description: "Share of validation examples decided right after each stage of training.",
                },
                width,
                height: 210.0,
                series: &series,
                axis: Axis::Number,
                x_name: "training step",
                y_name: "right decisions on validation examples",
                format: &percent_tick,
                references: &references,
                names_at_end: true,
            })
        });
        let reading = "The number that counts: decisions on examples it was not trained on. The dashed line is what the most frequent class scores there.";
        html.push_str(&figure("Decisions during training", reading, "", &body));
    }
    html
}

fn series(name: &str, class: &str, x: Vec<f64>, y: Vec<f64>, dots: bool) -> Series {
    let name = if class == "faint" { "" } else { name };
    Series {
        name: name.to_owned(),
        class: class.to_owned(),
        x,
        y,
        dots,
    }
}

/// Class mix of the splits, and of what each arm decided.
pub(super) fn class_mix(report: &Report) -> String {
    let parts = |sizes: [f64; class::COUNT]| {
        (0..class::COUNT)
            .map(|index| Part {
                name: class::name(index).to_owned(),
                class: class_style(index).to_owned(),
                size: sizes[index],
            })
            .collect()
    };
    let splits: Vec<Bar> = report
        .dataset
        .counts
        .named()
        .into_iter()
        .map(|(name, counts)| Bar {
            name: name.to_owned(),
            note: format!("n = {}", count(counts.total())),
            parts: parts(counts.to_array().map(|n| n as f64)),
        })
        .collect();
    let outcome = Bar {
        name: "outcome".to_owned(),
        note: String::new(),
        parts: parts(report.evaluation.evaluation.label_mix.to_array()),
    };
    let arms = report.evaluation.arms.iter().map(|arm| Bar {
        name: arm.name.clone(),
        note: String::new(),
        parts: parts(arm.class_mix.to_array()),
    });
    let decided: Vec<Bar> = std::iter::once(outcome).chain(arms).collect();
    let draw = |id, title, description, bars: &[Bar]| {
        bars::draw(
            Label {
                id,
                title,
                description,
            },
            SMALL,
            bars,
        )
    };
    format!(
        "<div class=\"pair\">{}{}</div>{}",
        figure(
            "Classes in each split",
            "The training split may be balanced on purpose; validation and test keep the mix the market had.",
            "",
            &draw(
                "mix-splits",
                "Class mix by split",
                "One bar per split: shares of BUY, SELL and HOLD.",
                &splits
            )
        ),
        figure(
            "Classes decided on the test span",
            "What the outcomes called for, and what each arm answered.",
            "",
            &draw(
                "mix-arms",
                "Class mix of decisions",
                "One bar per arm: shares of BUY, SELL and HOLD.",
                &decided
            )
        ),
        class_legend(false)
    )
}

/// Reliability of the adapter, and of the base model beside it.
pub(super) fn calibration(report: &Report) -> String {
    let mut html = String::new();
    for name in [ADAPTER, BASE] {
        let Some(bins) = arm(report, name).and_then(|arm| arm.calibration.as_ref()) else {
            continue;
        };
        let bins: Vec<reliability::Bin> = bins
            .iter()
            .map(|bin| {
                let band = bin.observed_interval;
                let sure = band.is_known();
                reliability::Bin {
                    stated: bin.stated,
                    observed: bin.observed,
                    low: if sure { band.low } else { bin.observed },
                    high: if sure { band.high } else { bin.observed },
                    count: bin.n,
                }
            })
            .collect();
        let id = format!("calibration-{name}");
        let title = format!("Calibration of {}", display_name(name));
        let label = Label {
            id: &id,
            title: &title,
            description: "Stated probability of the decision against the share that was right, in bins of equal size with bootstrap bands; the dashed diagonal is perfect.",
        };
        let reading = "On the dashed line, decisions it was 60 % sure of are right 60 % of the time. Below it, the model is too sure of itself.";
        html.push_str(&figure(
            &title,
            reading,
            "",
            &reliability::draw(label, SMALL, &bins),
        ));
    }
    if html.is_empty() {
        html
    } else {
        format!("<div class=\"pair\">{html}</div>")
    }
}

/// Equity curves net of costs, marked as what they are.
pub(super) fn equity(report: &Report) -> String {
    let curve = |equity: &Equity, name: String, class: &str| Series {
        name,
        class: class.to_owned(),
        x: equity
            .points
            .iter()
            .map(|point| point.time.0 as f64)
            .collect(),
        y: equity
            .points
            .iter()
            .map(|point| point.equity - 1.0)
            .collect(),
        dots: false,
    };
    let arms = &report.evaluation.arms;
    let styles = ["k-3", "k-4", "k-5", "k-6"];
    let mut others = 0;
    let mut series = vec![curve(
        &report.evaluation.buy_and_hold,
        "buy and hold".to_owned(),
        "k-2 dashed",
    )];
    for arm in arms.iter().filter(|arm| arm.name != ADAPTER) {
        let style = if arm.name == BASE {
            "k-2"
        } else {
            styles[others % styles.len()]
        };
        others += usize::from(arm.name != BASE);
        series.push(curve(&arm.equity_diagnostic, arm.name.clone(), style));
    }
    if let Some(adapter) = arm(report, ADAPTER) {
        series.push(curve(&adapter.equity_diagnostic, ADAPTER.to_owned(), "k-1"));
    }
    let zero = [Reference {
        value: 0.0,
        name: String::new(),
    }];
    let body = both_widths("equity", |id, width| {
        line::draw(&LineChart {
            label: Label {
                id,
                title: "Return net of costs",
                description: "Return over the test span of following each arm, net of costs, and of buying and holding.",
            },
            width,
            height: if width > 500.0 { 300.0 } else { 260.0 },
            series: &series,
            axis: Axis::Time,
            x_name: "",
            y_name: "return since the start, net of costs",
            format: &percent_tick,
            references: &zero,
            names_at_end: true,
        })
    });
    let reading = format!(
        "BUY is long, SELL is short, HOLD is out, over one horizon, no overlapping positions, {} per side. One path through one span: a few large moves decide it, so it is shown and not counted.",
        percent_of_cost(report.evaluation.evaluation.cost_per_side)
    );
    figure(
        "What following it would have returned",
        &reading,
        "diagnostic, not evidence",
        &body,
    )
}

fn percent_of_cost(cost: f64) -> String {
    let text = percent(cost);
    if text == "0.0 %" || (cost * 1000.0).fract().abs() > 1e-9 {
        format!("{} %", plain(cost * 100.0, 3).trim_end_matches('0'))
    } else {
        text
    }
}
