//! The page of a verdict on a shadow log: what it is, why, and what lies behind it.
//!
//! The same numbers as `foretune evaluate --log --json`, for reading; one self-contained document
//! without a script.

use std::fmt::Write;

use stats::Interval;

use super::figures::{SMALL, both_widths, figure};
use super::page::{Document, Section, document};
use super::prose::{count, percent};
use super::table::{Cell, Table, estimate, fact_table};
use crate::chart::line::{self, Axis, LineChart, Reference, Series};
use crate::chart::svg::escape;
use crate::chart::ticks::{plain, signed};
use crate::chart::{Label, reliability};
use crate::shadow::Metric;
use crate::verdict::{Challenger, Group, Lead, Point, Ruling, Verdict};

/// From this decimal logarithm on an e-value is written as a power of ten.
const LARGE: f64 = 6.0;

/// Returns the page of a verdict.
pub fn html(verdict: &Verdict) -> String {
    let title = headline(verdict);
    document(&Document {
        title: &format!("foretune: {title}"),
        banner: None,
        header: &header(verdict, &title),
        sections: &sections(verdict),
        footer: "Made by foretune. A promotion rests on decisions made before their outcomes were known; what comes after it may be otherwise.",
    })
}

fn headline(verdict: &Verdict) -> String {
    let arm = verdict.arm.as_deref().unwrap_or("nobody");
    match verdict.verdict {
        Ruling::Promote => format!("Promote {arm}"),
        Ruling::Keep => "Keep the champion".to_owned(),
        Ruling::RollBack => format!("Roll back to {arm}"),
    }
}

fn header(verdict: &Verdict, title: &str) -> String {
    let mark = match verdict.verdict {
        Ruling::Promote => " better",
        Ruling::RollBack => " worse",
        Ruling::Keep => "",
    };
    let mut html = format!(
        "<header>\n<p class=\"eyebrow\"><span class=\"verdict-mark{mark}\" aria-hidden=\"true\"></span>Verdict on a shadow log</p>\n<h1>{}</h1>\n",
        escape(title)
    );
    for reason in &verdict.reasons {
        let _ = writeln!(html, "<p class=\"lead\">{}</p>", names(reason));
    }
    if let Some(challenger) = verdict.challengers.first() {
        html.push_str(&key_figures(challenger));
    }
    html.push_str("</header>\n");
    html
}

/// Escapes a text; what stands between backticks is a name.
fn names(text: &str) -> String {
    let mut html = String::new();
    for (place, part) in text.split('`').enumerate() {
        let part = escape(part);
        html += &if place % 2 == 1 {
            format!("<code>{part}</code>")
        } else {
            part
        };
    }
    html
}

fn key_figures(challenger: &Challenger) -> String {
    let evidence = &challenger.evidence;
    let mut html = String::from("<dl class=\"key\">");
    let mut add = |name: &str, value: &str, under: &str| {
        let _ = write!(
            html,
            "<div><dt>{}</dt><dd>{}</dd><dd class=\"under\">{}</dd></div>",
            escape(name),
            escape(value),
            escape(under)
        );
    };
    add(
        &format!("e-value of {}", challenger.name),
        &e_value(evidence.log_e / std::f64::consts::LN_10),
        &format!("{} promotes it", plain(evidence.threshold, 0)),
    );
    add(
        "Blocks",
        &count(evidence.blocks),
        "none of them overlapping",
    );
    add(
        "Mean score",
        &number(evidence.mean, &|x| signed(x, 4)),
        &format!(
            "between {} whenever one looks",
            ends(evidence.confidence_sequence, 4)
        ),
    );
    let (days, under) = match (evidence.days_to_decision, evidence.expected_blocks) {
        (Some(days), Some(blocks)) => (
            plain(days, 0),
            format!(
                "{} blocks in all, at the lead seen so far",
                plain(blocks, 0)
            ),
        ),
        _ => ("\u{2013}".to_owned(), "there is no lead".to_owned()),
    };
    add("Days to a decision", &days, &under);
    html.push_str("</dl>\n");
    html
}

fn sections(verdict: &Verdict) -> Vec<Section> {
    let of_all = |part: &dyn Fn(usize, &Challenger) -> String| -> String {
        let challengers = verdict.challengers.iter().enumerate();
        challengers.map(|(place, own)| part(place, own)).collect()
    };
    let all = [
        ("rule", "What was laid down", rule(verdict)),
        ("evidence", "The evidence", of_all(&evidence)),
        (
            "guardrails",
            "What else must hold",
            of_all(&|_, own| guardrails(own)),
        ),
        (
            "figures",
            "Both arms side by side",
            of_all(&|_, own| figures(verdict, own)),
        ),
        (
            "groups",
            "Where the lead comes from",
            of_all(&|_, own| groups(own)),
        ),
        ("plan", "The plan's own rule", of_all(&|_, own| plan(own))),
        (
            "calibration",
            "Can its confidence be believed?",
            of_all(&|place, own| calibration(verdict, place, own)),
        ),
        ("log", "The log", log(verdict)),
    ];
    let filled = all.into_iter().filter(|(_, _, body)| !body.is_empty());
    let section = |(id, title, body)| Section { id, title, body };
    filled.map(section).collect()
}

fn rule(verdict: &Verdict) -> String {
    let rule = &verdict.registered;
    let metric = match rule.metric {
        Metric::Brier => "Brier score, champion less challenger",
        Metric::NetUtility => "return after costs, challenger less champion",
    };
    let mut rows = vec![
        ("A block is scored by", metric.to_owned()),
        ("Length of a block", format!("{} hours", rule.horizon_hours)),
        ("alpha, over all challengers", plain(rule.alpha, 3)),
        ("Blocks at least", count(rule.minimum_blocks)),
        ("Scores clipped to plus and minus", plain(rule.clip, 2)),
        ("Drawdown at most", percent(rule.max_drawdown)),
        (
            "Cost per side",
            format!("{} %", plain(100.0 * rule.cost_per_side, 3)),
        ),
        ("SHA-256 of the file", rule.sha256.clone()),
    ];
    if let (Some(name), Some(since)) = (&verdict.champion, verdict.champion_since) {
        rows.push(("Champion", format!("{name}, since {since}")));
    }
    fact_table("Before the first decision", &rows)
}

fn evidence(place: usize, challenger: &Challenger) -> String {
    let evidence = &challenger.evidence;
    if evidence.curve.is_empty() {
        return String::new();
    }
    let times: Vec<f64> = evidence.curve.iter().map(|p| p.time.0 as f64).collect();
    let values =
        |of: &dyn Fn(&Point) -> f64| -> Vec<f64> { evidence.curve.iter().map(of).collect() };
    let series = |name: &str, class: &str, y: Vec<f64>| Series {
        name: name.to_owned(),
        class: class.to_owned(),
        x: times.clone(),
        y,
        dots: false,
    };
    let ten = std::f64::consts::LN_10;
    let weight = [series("", "k-3", values(&|p| p.log_e / ten))];
    let title = format!("e-value of {}", challenger.name);
    let reading = "What a stake of 1 against \u{201c}it is no better\u{201d} would have become, on a scale of powers of ten. It may be looked at at any time.";
    let threshold = Reference {
        value: evidence.threshold.log10(),
        name: format!("promotes at {}", plain(evidence.threshold, 0)),
    };
    let format_e = |value: f64, _: usize| e_value(value);
    let first = figure(
        &title,
        reading,
        "",
        &both_widths(&format!("evidence-{place}"), |id, width| {
            line::draw(&LineChart {
                label: Label {
                    id,
                    title: &title,
                    description: reading,
                },
                width,
                height: 260.0,
                series: &weight,
                axis: Axis::Time,
                x_name: "",
                y_name: "e-value",
                format: &format_e,
                references: std::slice::from_ref(&threshold),
                names_at_end: false,
            })
        }),
    );
    let band = [
        series("at most", "k-2", values(&|p| p.interval.high)),
        series("at least", "k-2", values(&|p| p.interval.low)),
    ];
    let title = format!("Mean score of a block, {}", challenger.name);
    let reading = "A confidence sequence: the mean lies between both lines at all times at once, with probability 1 less alpha.";
    let zero = Reference {
        value: 0.0,
        name: "no difference".to_owned(),
    };
    let second = figure(
        &title,
        reading,
        "",
        &both_widths(&format!("sequence-{place}"), |id, width| {
            line::draw(&LineChart {
                label: Label {
                    id,
                    title: &title,
                    description: reading,
                },
                width,
                height: 260.0,
                series: &band,
                axis: Axis::Time,
                x_name: "",
                y_name: "mean score",
                format: &signed,
                references: std::slice::from_ref(&zero),
                names_at_end: true,
            })
        }),
    );
    first + &second
}

fn guardrails(challenger: &Challenger) -> String {
    let mut html = format!(
        "<h3>{}{}</h3><ul class=\"findings\">",
        escape(&challenger.name),
        if challenger.former_champion {
            ", the former champion: only its evidence counts"
        } else {
            ""
        }
    );
    for rail in &challenger.guardrails {
        let (mark, word) = if rail.holds {
            (" better", "holds")
        } else {
            (" worse", "fails")
        };
        let _ = write!(
            html,
            "<li><span class=\"verdict-mark{mark}\" aria-hidden=\"true\"></span><span>{word}: {}</span></li>",
            escape(&rail.text)
        );
    }
    html.push_str("</ul>\n");
    html
}

fn figures(verdict: &Verdict, challenger: &Challenger) -> String {
    let Some(figures) = &challenger.figures else {
        return String::new();
    };
    let champion = verdict.champion.as_deref().unwrap_or("champion");
    let caption = format!(
        "{} decisions of both in {} time blocks; leads with 95 % intervals, for diagnosis only",
        count(figures.n),
        count(figures.blocks)
    );
    let columns = [
        ("", false),
        (champion, true),
        (challenger.name.as_str(), true),
        ("lead", true),
    ];
    let mut table = Table::new(&caption, &columns);
    let (old, new) = (&figures.champion, &figures.challenger);
    let share = |x: f64| number(x, &percent);
    let points = |x: f64| signed(100.0 * x, 2);
    let basis = |x: f64| signed(1e4 * x, 2);
    let decimals = |x: f64| number(x, &|x| plain(x, 4));
    let none = || Cell::Number(String::new());
    let lead = |of: Lead, write: &dyn Fn(f64) -> String, unit: &str| {
        estimate(Some(of.value), Some(of.interval), write, unit)
    };
    let mut row = |name: &str, old: String, new: String, lead: Cell| {
        table.row(false, name, &[Cell::Number(old), Cell::Number(new), lead]);
    };
    row(
        "Accuracy",
        share(old.accuracy),
        share(new.accuracy),
        lead(figures.accuracy_lead, &points, " pp"),
    );
    row(
        "Right at +-1 %, as the plan has it",
        share(old.plan_accuracy),
        share(new.plan_accuracy),
        lead(figures.plan_accuracy_lead, &points, " pp"),
    );
    row(
        "Net return of a decision, basis points",
        number(old.net_return, &basis),
        number(new.net_return, &basis),
        lead(figures.net_return_lead, &basis, ""),
    );
    row(
        "Brier score",
        decimals(old.brier),
        decimals(new.brier),
        lead(figures.brier_lead, &|x| signed(x, 4), ""),
    );
    row(
        "Log loss",
        decimals(old.log_loss),
        decimals(new.log_loss),
        none(),
    );
    row(
        "Flip rate",
        share(old.flip_rate),
        share(new.flip_rate),
        none(),
    );
    for (class, (old, new)) in crate::class::NAMES.iter().zip(
        old.class_mix
            .to_array()
            .into_iter()
            .zip(new.class_mix.to_array()),
    ) {
        row(&format!("Share of {class}"), share(old), share(new), none());
    }
    let agreement = format!(
        "<p>They agree on {} of the decisions.</p>\n",
        share(figures.agreement)
    );
    table.finish() + &agreement
}

fn groups(challenger: &Challenger) -> String {
    let parts: [(&str, &[Group]); 3] = [
        ("By instrument", &challenger.by_instrument),
        (
            "By market: calm or wild, rising or falling",
            &challenger.by_regime,
        ),
        (
            "Before and after the end of the base model's knowledge",
            &challenger.by_knowledge,
        ),
    ];
    let mut html = String::new();
    for (caption, groups) in parts.into_iter().filter(|(_, groups)| !groups.is_empty()) {
        let columns = [
            ("", false),
            ("decisions", true),
            ("champion right", true),
            ("challenger right", true),
            ("lead", true),
            ("flips, champion", true),
            ("flips, challenger", true),
        ];
        let caption = format!("{caption}; {}", challenger.name);
        let mut table = Table::new(&caption, &columns);
        for group in groups {
            let figures = &group.figures;
            let lead = figures.accuracy_lead;
            let share = |x: f64| Cell::Number(number(x, &percent));
            table.row(
                false,
                &group.name,
                &[
                    Cell::Number(count(figures.n)),
                    share(figures.champion.accuracy),
                    share(figures.challenger.accuracy),
                    estimate(
                        Some(lead.value),
                        Some(lead.interval),
                        &|x| signed(100.0 * x, 1),
                        " pp",
                    ),
                    share(figures.champion.flip_rate),
                    share(figures.challenger.flip_rate),
                ],
            );
        }
        html += &table.finish();
    }
    html
}

fn plan(challenger: &Challenger) -> String {
    let Some(plan) = &challenger.plan else {
        return String::new();
    };
    let chance = &plan.false_promotion;
    format!(
        "<p>Accuracy higher by 5 points at +-1 %, flip rate at most a tenth higher, never one class only: by that rule <code>{}</code> would {}be promoted. The rule promotes a <em>useless</em> challenger over as many bars in {} of {} simulated worlds, and in {} if one may stop on any day from the seventh. It decides nothing here.</p>\n",
        escape(&challenger.name),
        if plan.says.promotes { "" } else { "not " },
        percent(chance.at_the_end),
        count(chance.worlds),
        percent(chance.at_any_look)
    )
}

fn calibration(verdict: &Verdict, place: usize, challenger: &Challenger) -> String {
    let Some(both) = &challenger.calibration else {
        return String::new();
    };
    let champion = verdict.champion.as_deref().unwrap_or("champion");
    let mut drawings = String::new();
    for (arm, (name, own)) in [champion, challenger.name.as_str()]
        .into_iter()
        .zip(both)
        .enumerate()
    {
        // The champion's is the same whoever the challenger is, but for decisions both made.
        let bins: Vec<reliability::Bin> = own
            .bins
            .iter()
            .map(|bin| reliability::Bin {
                stated: bin.confidence,
                observed: bin.right,
                low: if bin.band.is_known() {
                    bin.band.low
                } else {
                    bin.right
                },
                high: if bin.band.is_known() {
                    bin.band.high
                } else {
                    bin.right
                },
                count: bin.count,
            })
            .collect();
        let title = format!("Calibration of {name}");
        let reading = format!(
            "On the dashed line, decisions it was 60 % sure of are right 60 % of the time. Error {} after debiasing, {} as binned.",
            number(own.debiased_ece, &percent),
            number(own.ece, &percent)
        );
        let label = Label {
            id: &format!("reliability-{place}-{arm}"),
            title: &title,
            description: &reading,
        };
        drawings += &figure(
            &title,
            &reading,
            "",
            &reliability::draw(label, SMALL, &bins),
        );
    }
    format!("<div class=\"pair\">{drawings}</div>\n")
}

fn log(verdict: &Verdict) -> String {
    let mut rows = vec![("Lines read", count(verdict.lines))];
    for (kind, number) in &verdict.faults.counts {
        rows.push((kind.words(), format!("{} not used", count(*number))));
    }
    let mut html = fact_table("What was read", &rows);
    if !verdict.faults.first.is_empty() {
        let columns = [("file and line", false), ("why", false)];
        let mut table = Table::new("The first lines not used", &columns);
        for fault in &verdict.faults.first {
            let place = format!("{}:{}", fault.path.display(), fault.line);
            table.row(false, &place, &[Cell::Text(fault.reason.clone())]);
        }
        html += &table.finish();
    }
    for challenger in &verdict.challengers {
        let left = &challenger.unpaired;
        let rows = [
            ("Waiting for their outcome", count(left.open)),
            ("Too late to act on", count(left.late)),
            ("Without an outcome for ever", count(left.void)),
            ("Without the champion's", count(left.without_champion)),
            ("Before the champion's reign", count(left.before_reign)),
        ];
        html += &fact_table(&format!("Decisions of {} left out", challenger.name), &rows);
    }
    html
}

/// Writes a number, or a dash for none.
fn number(value: f64, write: &dyn Fn(f64) -> String) -> String {
    if value.is_finite() {
        write(value)
    } else {
        "\u{2013}".to_owned()
    }
}

/// Writes an e-value given by its decimal logarithm.
fn e_value(log_ten: f64) -> String {
    let value = 10_f64.powf(log_ten);
    if log_ten >= LARGE {
        format!("1e{log_ten:.0}")
    } else if value >= 10.0 {
        plain(value, 0)
    } else if log_ten > -3.0 {
        plain(value, 3)
    } else {
        format!("1e{log_ten:.0}")
    }
}

fn ends(interval: Interval, digits: usize) -> String {
    if interval.is_known() {
        format!(
            "{} and {}",
            signed(interval.low, digits),
            signed(interval.high, digits)
        )
    } else {
        "unknown bounds".to_owned()
    }
}
