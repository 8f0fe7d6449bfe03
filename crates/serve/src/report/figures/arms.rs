//! Figures that set the arms side by side: edges, scores, class mix,
//! calibration, equity.

use super::{SMALL, both_widths, class_legend, class_style, figure};
use crate::chart::bars::{self, Bar, Part};
use crate::chart::line::{self, Axis, LineChart, Reference, Series};
use crate::chart::ticks::{percent as percent_tick, plain, signed};
use crate::chart::{Label, reliability, whiskers};
use crate::class;
use crate::evaluation::{ADAPTER, ArmEvaluation, BASE, Comparison, Equity, MAJORITY, display_name};
use crate::report::Report;
use crate::report::prose::{self, arm, count, percent};

/// The adapter against every other arm: difference in accuracy around zero.
pub(in crate::report) fn edges(report: &Report) -> String {
    let mut compared: Vec<_> = report
        .evaluation
        .comparisons
        .iter()
        .filter(|comparison| comparison.metric == "accuracy")
        .collect();
    compared.sort_by_key(|comparison| comparison.against != MAJORITY);
    if compared.is_empty() {
        return String::new();
    }
    let rows = |width: f64| -> Vec<whiskers::Row> {
        let row = |comparison: &&Comparison| whiskers::Row {
            // A phone has no room for the names as they stand in sentences.
            name: if width < 500.0 {
                comparison.against.clone()
            } else {
                format!("against {}", display_name(&comparison.against))
            },
            value: comparison.difference * 100.0,
            interval: known(Some(comparison.difference_interval))
                .map(|ends| ends.map(|end| end * 100.0)),
            emphasised: comparison.against == MAJORITY,
        };
        compared.iter().map(row).collect()
    };
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
        whiskers::draw(label, width, &rows(width), &zero, &signed, 1)
    });
    let reading = format!(
        "Accuracy of the adapter minus accuracy of each opponent on the same decisions{}, in percentage points. Right of the line the adapter is better; a whisker that touches the line proves nothing.",
        prose::after_reweighting(report)
    );
    figure("The edge, and how sure it is", &reading, "", &body)
}

/// One drawing per score, one row per arm.
pub(in crate::report) fn comparison(report: &Report) -> String {
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

/// Class mix of the splits, and of what each arm decided.
pub(in crate::report) fn class_mix(report: &Report) -> String {
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
    let arms = report.evaluation.arms.iter().flat_map(|arm| {
        let bar = |name: String, mix: class::ByClass<f64>| Bar {
            name,
            note: String::new(),
            parts: parts(mix.to_array()),
        };
        let own = arm
            .is_reweighted()
            .then(|| bar(format!("{} itself", arm.name), arm.class_mix_as_answered));
        std::iter::once(bar(arm.name.clone(), arm.class_mix)).chain(own)
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
            if prose::is_reweighted(report) {
                "What the outcomes called for, and what each arm answered after re-weighting; \u{201c}itself\u{201d} is what it answers without."
            } else {
                "What the outcomes called for, and what each arm answered."
            },
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
pub(in crate::report) fn calibration(report: &Report) -> String {
    let mut html = String::new();
    for name in [ADAPTER, BASE] {
        let Some(arm) = arm(report, name) else {
            continue;
        };
        let Some(bins) = &arm.calibration else {
            continue;
        };
        let reweighted = if arm.is_reweighted() {
            ", after re-weighting"
        } else {
            ""
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
        let title = format!("Calibration of {}{reweighted}", display_name(name));
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
pub(in crate::report) fn equity(report: &Report) -> String {
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
    let mut reading = format!(
        "BUY is long, SELL is short, HOLD is out, over one horizon, no overlapping positions, {} per side. Decisions are those{}. Buy and hold buys at the first decision and sells at the end of the last, in equal parts. One path through one span: a few large moves decide it, so it is shown and not counted.",
        percent_of_cost(report.evaluation.evaluation.cost_per_side),
        if prose::is_reweighted(report) {
            " after re-weighting"
        } else {
            " of the arms"
        }
    );
    if let Some(partial) = prose::coverage(report) {
        reading = format!("{reading} {partial}");
    }
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
