//! Figures over time: price with decisions, and the course of the training.

use std::fmt::Write;

use super::{both_widths, class_legend, figure};
use crate::chart::Label;
use crate::chart::line::{self, Axis, LineChart, Reference, Series, centred_mean};
use crate::chart::price::{self, Marker, PriceChart, Ribbon};
use crate::chart::svg::escape;
use crate::chart::ticks::{percent as percent_tick, plain};
use crate::class;
use crate::evaluation::{ADAPTER, BASE, Row};
use crate::report::prose::count;
use crate::report::{HistoryPoint, PageData, PriceSeries, Report};

/// Price over the test span with the adapter's decisions, one figure per instrument.
pub(in crate::report) fn prices(page: &PageData) -> String {
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
pub(in crate::report) fn training(report: &Report) -> String {
    let Some(train) = &report.train else {
        return String::new();
    };
    let pick = |value: &dyn Fn(&HistoryPoint) -> Option<f64>| -> (Vec<f64>, Vec<f64>) {
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
        let reading = "The number that counts: decisions on examples it was not trained on, as the model answers by itself. The dashed line is what the most frequent class scores there.";
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
