//! The page of a judge of signals: does it know which of them pay?

use std::fmt::Write;

use serde::{Deserialize, Serialize};

use super::figures::{both_widths, figure};
use super::page::{Document, Section, document};
use super::prose::count;
use super::table::{Cell, Table, estimate};
use crate::chart::line::Reference;
use crate::chart::svg::escape;
use crate::chart::ticks::{plain, signed};
use crate::chart::{Label, reliability, whiskers};
use crate::evaluation::signals::{Arm, JUDGE, Score, SignalEvaluation};

/// A fraction of the position in basis points.
const POINTS: f64 = 1e4;
/// Standard errors of the bands around the dots of the reliability diagram.
const BAND: f64 = 1.96;

/// What the page shows; also `report.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SignalReport {
    /// `foretune-signals`.
    pub kind: String,
    /// The version of the layout.
    pub schema: u32,
    /// The run.
    pub run: String,
    /// The base model.
    pub model: String,
    /// How a score is to be read.
    pub evaluation: SignalEvaluation,
    /// How the judge's own answers read.
    pub answers: Answers,
    /// Some of them.
    pub samples: Vec<Sample>,
}

/// How a judge's own answers read.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Answers {
    /// Answers read.
    pub read: usize,
    /// Share of the form `DECISION: APPROVE|VETO - reason`.
    pub form_rate: f64,
    /// Share without a number that their prompt does not show.
    pub grounded: f64,
    /// Earlier signals that its probabilities were calibrated on.
    pub calibrated_on: usize,
}

/// A held-out signal with the judge's answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// The example.
    pub id: String,
    /// The prompt.
    pub prompt: String,
    /// The answer.
    pub answer: String,
    /// What the signal gained after costs, a fraction of the position.
    pub net_return: f64,
}

/// Returns the finding in a sentence, and whether it is better (1), worse (-1) or neither.
pub fn finding(evaluation: &SignalEvaluation) -> (i8, String) {
    let Some(judge) = evaluation.arm(JUDGE) else {
        return (0, "There is no judge".to_owned());
    };
    let gain = judge.brier_gain.interval;
    if !gain.is_known() {
        return (0, "Too few signals to tell anything".to_owned());
    }
    let net = judge.net_gain.interval;
    if gain.low > 0.0 && net.low > 0.0 {
        let text = "It knows which signals pay, and vetoing by it gains";
        return (1, text.to_owned());
    }
    if gain.low > 0.0 {
        let text = "Its probabilities say more than the rate alone; a gain by vetoing is not shown";
        return (1, text.to_owned());
    }
    if gain.high < 0.0 {
        let text = "Its probabilities say less than the rate alone";
        return (-1, text.to_owned());
    }
    let text = "It is not shown to know which signals pay";
    (0, text.to_owned())
}

/// Returns the page: one self-contained document without a script.
pub fn html(report: &SignalReport) -> String {
    let sections = [
        ("edge", "Against the rate alone", edges(&report.evaluation)),
        ("scores", "All scores", scores(&report.evaluation)),
        (
            "calibration",
            "Stated and come true",
            calibration(&report.evaluation),
        ),
        ("answers", "Answers to read", samples(report)),
    ];
    let sections: Vec<Section> = sections
        .into_iter()
        .filter(|(_, _, body)| !body.is_empty())
        .map(|(id, title, body)| Section { id, title, body })
        .collect();
    document(&Document {
        title: &format!("foretune: judge of signals {}", report.run),
        banner: None,
        header: &header(report),
        sections: &sections,
        footer: "Made by foretune. Signals of the test part, which neither the judge nor the models behind the signals had seen.",
    })
}

fn header(report: &SignalReport) -> String {
    let evaluation = &report.evaluation;
    let (sign, title) = finding(evaluation);
    let mark = match sign {
        1 => " better",
        -1 => " worse",
        _ => "",
    };
    let mut html = format!(
        "<header>\n<p class=\"eyebrow\"><span class=\"verdict-mark{mark}\" aria-hidden=\"true\"></span>Judge of signals: {}</p>\n<h1>{}</h1>\n<p class=\"lead\">{}</p>\n<dl class=\"key\">",
        escape(&report.run),
        escape(&title),
        escape(&format!(
            "{} signals of the test part, {} to {}, in {} blocks of time. {} of them paid after costs; trading all of them gave {} basis points each.",
            count(evaluation.signals),
            day(evaluation.span.0),
            day(evaluation.span.1),
            count(evaluation.blocks),
            percent(evaluation.paid),
            signed(evaluation.net_of_all * POINTS, 1)
        ))
    );
    let answers = &report.answers;
    let mut facts = vec![
        (
            "Answers in form",
            percent(answers.form_rate),
            format!("of {}", count(answers.read)),
        ),
        (
            "No invented number",
            percent(answers.grounded),
            "every number stands in the prompt".to_owned(),
        ),
    ];
    if let Some(judge) = evaluation.arm(JUDGE) {
        facts.insert(
            0,
            (
                "Right verdicts",
                percent(judge.accuracy.value),
                format!("{} approved", count(judge.approved)),
            ),
        );
    }
    for (name, value, under) in facts {
        let _ = write!(
            html,
            "<div><dt>{}</dt><dd>{}</dd><dd class=\"under\">{}</dd></div>",
            escape(name),
            escape(&value),
            escape(&under)
        );
    }
    html.push_str("</dl>\n</header>\n");
    html
}

fn day(time: market::Timestamp) -> String {
    time.to_string().chars().take(10).collect()
}

fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

/// Brier gains over the rate as dots with whiskers.
fn edges(evaluation: &SignalEvaluation) -> String {
    let rows: Vec<whiskers::Row> = evaluation
        .arms
        .iter()
        .map(|arm| whiskers::Row {
            name: arm.name.clone(),
            value: arm.brier_gain.value * 1e3,
            interval: Some([
                arm.brier_gain.interval.low * 1e3,
                arm.brier_gain.interval.high * 1e3,
            ]),
            emphasised: arm.name == JUDGE,
        })
        .collect();
    let zero = [Reference {
        value: 0.0,
        name: "the rate alone".to_owned(),
    }];
    let body = both_widths("brier", |id, width| {
        let label = Label {
            id,
            title: "Gain in Brier score over the rate alone",
            description: "One row per arm: gain in thousandths, with its interval.",
        };
        whiskers::draw(label, width, &rows, &zero, &signed, 2)
    });
    figure(
        "Gain in Brier score, thousandths",
        "To the right of the line an arm's probabilities say more than that this share of signals pays. What is shown is the whole whisker beyond the line.",
        "",
        &body,
    )
}

fn scores(evaluation: &SignalEvaluation) -> String {
    let caption = format!(
        "All arms on the same signals, with {:.0} % intervals",
        evaluation.level * 100.0
    );
    let columns = [
        ("Arm", false),
        ("Approved", true),
        ("Right verdicts", true),
        ("Over the more frequent", true),
        ("Brier score", true),
        ("Log loss", true),
        ("Net per signal, bp", true),
        ("Over trading all, bp", true),
    ];
    let mut table = Table::new(&caption, &columns);
    for arm in &evaluation.arms {
        table.row(arm.name == JUDGE, &arm.name, &cells(arm));
    }
    table.finish()
}

fn cells(arm: &Arm) -> [Cell; 7] {
    let cell = |score: Score, scale: f64, write: &dyn Fn(f64) -> String| {
        let interval = stats::Interval {
            low: score.interval.low * scale,
            high: score.interval.high * scale,
        };
        estimate(Some(score.value * scale), Some(interval), write, "")
    };
    let share = |value: f64| plain(value, 1);
    let points = |value: f64| signed(value, 1);
    let fine = |value: f64| plain(value, 4);
    [
        Cell::Number(count(arm.approved)),
        cell(arm.accuracy, 100.0, &share),
        cell(arm.accuracy_edge, 100.0, &points),
        cell(arm.brier, 1.0, &fine),
        cell(arm.log_loss, 1.0, &fine),
        cell(arm.net, POINTS, &points),
        cell(arm.net_gain, POINTS, &points),
    ]
}

fn calibration(evaluation: &SignalEvaluation) -> String {
    let Some(judge) = evaluation.arm(JUDGE) else {
        return String::new();
    };
    let bins: Vec<reliability::Bin> = judge
        .reliability
        .iter()
        .map(|group| {
            let error = (group.paid * (1.0 - group.paid) / group.count as f64).sqrt();
            reliability::Bin {
                stated: group.stated,
                observed: group.paid,
                low: (group.paid - BAND * error).max(0.0),
                high: (group.paid + BAND * error).min(1.0),
                count: group.count,
            }
        })
        .collect();
    let body = both_widths("reliability", |id, width| {
        let label = Label {
            id,
            title: "Stated probability against the share that paid",
            description: "Signals in groups of like probability; the diagonal is perfect honesty.",
        };
        reliability::draw(label, width.min(520.0), &bins)
    });
    figure(
        "The judge's probability of APPROVE and how often the signal paid",
        "On the diagonal a stated probability comes true as often as it says.",
        "",
        &body,
    )
}

fn samples(report: &SignalReport) -> String {
    let mut html = String::new();
    for sample in &report.samples {
        let paid = if sample.net_return > 0.0 {
            "paid"
        } else {
            "did not pay"
        };
        let _ = writeln!(
            html,
            "<h3>{}</h3>\n<details><summary>Prompt</summary><pre>{}</pre></details>\n<pre>{}</pre>\n<p class=\"small soft\">The signal {paid}: {} basis points after costs.</p>",
            escape(&sample.id),
            escape(&sample.prompt),
            escape(&sample.answer),
            signed(sample.net_return * POINTS, 1)
        );
    }
    html
}

#[cfg(test)]
mod tests {
    use market::Timestamp;

    use super::*;
    use crate::evaluation::signals::{Forecasts, How, Signal, evaluate};

    fn report(knows: bool) -> SignalReport {
        let signals: Vec<Signal> = (0..120)
            .map(|at| Signal {
                instrument: "EUR/USD".parse().unwrap(),
                decision_time: Timestamp(at * 43_200_000),
                net_return: if at % 2 == 0 { 0.001 } else { -0.001 },
            })
            .collect();
        let probabilities = (0..120)
            .map(|at| match (knows, at % 2 == 0) {
                (true, true) => 0.8,
                (true, false) => 0.2,
                // Right and wrong alike, and off the rate: neither better nor sure to be worse.
                (false, _) => 0.5 + 0.1 * f64::from(at % 5 - 2),
            })
            .collect();
        let judge = Forecasts {
            name: JUDGE.to_owned(),
            probabilities,
        };
        let how = How {
            block: 86_400_000,
            replicates: 200,
            level: 0.95,
            seed: 3,
        };
        SignalReport {
            kind: "foretune-signals".to_owned(),
            schema: 1,
            run: "runs/<b>".to_owned(),
            model: "m".to_owned(),
            evaluation: evaluate(&signals, &[judge], 0.5, &how).unwrap(),
            answers: Answers {
                read: 120,
                form_rate: 0.99,
                grounded: 1.0,
                calibrated_on: 60,
            },
            samples: vec![Sample {
                id: "x".to_owned(),
                prompt: "p".to_owned(),
                answer: "<think>\nr\n</think>\nDECISION: VETO - no.".to_owned(),
                net_return: -0.001,
            }],
        }
    }

    #[test]
    fn the_page_says_what_was_found() {
        let page = html(&report(true));
        for part in [
            "It knows which signals pay, and vetoing by it gains",
            "120 signals",
            "&lt;think&gt;",
            "runs/&lt;b&gt;",
            "100.0 %",
            "<svg",
        ] {
            assert!(page.contains(part), "{part}");
        }
        assert!(!page.contains("<script") && !page.contains("<think>"));
        assert!(!page.contains("NaN"));
    }

    #[test]
    fn nothing_is_claimed_for_one_who_guesses() {
        let (sign, text) = finding(&report(false).evaluation);
        assert!(
            sign <= 0 && !text.contains("knows which signals pay, and"),
            "{text}"
        );
    }
}
