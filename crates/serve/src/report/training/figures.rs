//! The figures of the training page.

use super::{Report, Step, Validation, log, smooth};
use crate::chart::Label;
use crate::chart::line::{self, Axis, LineChart, Reference, Series};
use crate::chart::ticks::{percent as percent_tick, plain};
use crate::report::figures::{SMALL, both_widths, figure};
use crate::report::prose::percent;

const STEP: &str = "training step";

/// What tells one figure from another.
struct Drawing<'a> {
    id: &'a str,
    title: &'a str,
    reading: &'a str,
    y_name: &'a str,
    height: f64,
    format: &'a dyn Fn(f64, usize) -> String,
    references: Vec<Reference>,
    names_at_end: bool,
}

impl Drawing<'_> {
    fn chart(&self, id: &str, width: f64, series: &[Series]) -> String {
        line::draw(&LineChart {
            label: Label {
                id,
                title: self.title,
                description: self.reading,
            },
            width,
            height: self.height,
            series,
            axis: Axis::Number,
            x_name: STEP,
            y_name: self.y_name,
            format: self.format,
            references: &self.references,
            names_at_end: self.names_at_end,
        })
    }

    /// Draws over the whole width of the page.
    fn wide(&self, series: &[Series]) -> String {
        let body = both_widths(self.id, |id, width| self.chart(id, width, series));
        figure(self.title, self.reading, "", &body)
    }

    /// Draws half as wide, to stand beside another.
    fn half(&self, series: &[Series]) -> String {
        let body = self.chart(self.id, SMALL, series);
        figure(self.title, self.reading, "", &body)
    }
}

/// Loss of training and validation.
pub(super) fn loss(report: &Report) -> String {
    let (steps, losses) = points(&report.steps, |step| step.loss);
    let (at, validation) = validations(report, |v| v.validation_loss);
    if losses.is_empty() && validation.is_empty() {
        return String::new();
    }
    let series = [
        series("", "faint", steps.clone(), losses.clone(), false),
        series("training", "k-1", steps, smooth(&losses), false),
        series("validation", "k-3", at, validation, true),
    ];
    let is_preference = report.kind == "dpo";
    let drawing = Drawing {
        id: "loss",
        title: "Loss",
        reading: if is_preference {
            "How far the model is from preferring the better answer of each pair; 0.693 is a coin. Faint: each step; bold: their moving mean."
        } else {
            "How surprised the model is by the next token of the right answer. Faint: each step; bold: their moving mean. A falling loss alone may mean that the sentence was learned and not the decision."
        },
        y_name: if is_preference {
            "loss, nats"
        } else {
            "loss, nats per token"
        },
        height: 280.0,
        format: &plain,
        references: is_preference
            .then(|| reference(std::f64::consts::LN_2, "a coin"))
            .into_iter()
            .collect(),
        names_at_end: true,
    };
    drawing.wide(&series)
}

/// Right decisions on the validation examples.
pub(super) fn decisions(report: &Report) -> String {
    let (steps, accuracy) = validations(report, |v| v.validation_decision_accuracy);
    let (balanced_steps, balanced) = validations(report, |v| v.validation_balanced_accuracy);
    if accuracy.is_empty() {
        return String::new();
    }
    let majority = report.facts.majority.as_ref();
    let references = majority
        .map(|m| reference(m.share, &format!("always {}", m.class)))
        .into_iter()
        .collect();
    let series = [
        series("every class alike", "k-4", balanced_steps, balanced, true),
        series("right", "k-1", steps, accuracy, true),
    ];
    let chance = majority.map_or_else(String::new, |m| {
        format!(
            " With every class counted alike, one and the same answer scores {}.",
            percent(1.0 / m.classes as f64)
        )
    });
    let examples = report.course.last.and_then(|v| v.validation_examples);
    let basis = examples.map_or_else(String::new, |n| format!(" on {n} examples"));
    let reading = format!(
        "Share of decisions right{basis} that were not trained on.{chance} With so few examples a difference of a few points is noise."
    );
    let drawing = Drawing {
        id: "decisions",
        title: "Decisions on validation examples",
        reading: &reading,
        y_name: "right decisions",
        height: 240.0,
        format: &percent_tick,
        references,
        names_at_end: true,
    };
    drawing.wide(&series)
}

/// Rewards, margin and accuracy of preference training.
pub(super) fn rewards(report: &Report) -> String {
    let smoothed = |name: &str, class: &str, value: fn(&Step) -> Option<f64>| {
        let (x, y) = points(&report.steps, value);
        series(name, class, x, smooth(&y), false)
    };
    let lines = [
        smoothed("rejected", "k-4", |s| s.reward_rejected),
        smoothed("chosen", "k-3", |s| s.reward_chosen),
        smoothed("margin", "k-1", |s| s.reward_margin),
    ];
    if lines.iter().all(|line| line.y.is_empty()) {
        return String::new();
    }
    let rewards = Drawing {
        id: "rewards",
        title: "Rewards",
        reading: "How much more likely than at the start the model finds the chosen and the rejected answers, times beta, and the difference. Moving means.",
        y_name: "reward, nats times beta",
        height: 260.0,
        format: &plain,
        references: vec![reference(0.0, "")],
        names_at_end: true,
    };
    let (steps, accuracy) = points(&report.steps, |s| s.reward_accuracy);
    let right = [
        series("", "faint", steps.clone(), accuracy.clone(), false),
        series("", "k-1", steps, smooth(&accuracy), false),
    ];
    let accuracy = Drawing {
        id: "reward-accuracy",
        title: "Pairs the right way round",
        reading: "Share of each batch whose chosen answer has the higher reward. Bold: moving mean.",
        y_name: "right way round",
        height: 220.0,
        format: &percent_tick,
        references: vec![reference(0.5, "a coin")],
        names_at_end: false,
    };
    rewards.wide(&lines) + &accuracy.wide(&right)
}

/// Learning rate, gradient norm and speed.
pub(super) fn machinery(report: &Report) -> String {
    let (rate_steps, rates) = points(&report.steps, |step| step.learning_rate);
    let (norm_steps, norms) = points(&report.steps, |step| step.gradient_norm);
    let limit = report.facts.settings.get("max_gradient_norm");
    let limit = limit
        .and_then(serde_json::Value::as_f64)
        .filter(|limit| *limit > 0.0 && norms.iter().any(|norm| norm > limit));
    let (speed_steps, speeds): (Vec<f64>, Vec<f64>) =
        log::speeds(&report.steps).into_iter().unzip();
    let small = |id, title, reading, y_name, references| Drawing {
        id,
        title,
        reading,
        y_name,
        height: 210.0,
        format: &plain,
        references,
        names_at_end: false,
    };
    let (mut figures, mut speed) = (Vec::new(), String::new());
    if !rates.is_empty() {
        let drawing = small(
            "rate",
            "Learning rate",
            "The step size: warm-up first, then the schedule.",
            "learning rate",
            Vec::new(),
        );
        figures.push(drawing.half(&[series("", "k-3", rate_steps, rates, false)]));
    }
    if !norms.is_empty() {
        let references = limit.map(|limit| reference(limit, ""));
        let drawing = small(
            "norm",
            "Gradient norm",
            if limit.is_some() {
                "Before clipping; above the dashed line it is scaled down. Spikes point at odd examples."
            } else {
                "Before clipping. Spikes point at odd examples."
            },
            "gradient norm",
            references.into_iter().collect(),
        );
        let mean = smooth(&norms);
        figures.push(drawing.half(&[
            series("", "faint", norm_steps.clone(), norms, false),
            series("", "k-1", norm_steps, mean, false),
        ]));
    }
    if !speeds.is_empty() {
        let drawing = small(
            "speed",
            "Speed",
            "Tokens of the examples, prompts included, per second of each step; bold: moving mean.",
            "tokens per second",
            Vec::new(),
        );
        let mean = smooth(&speeds);
        speed = drawing.wide(&[
            series("", "faint", speed_steps.clone(), speeds, false),
            series("", "k-6", speed_steps, mean, false),
        ]);
    }
    if figures.is_empty() {
        return speed;
    }
    format!("<div class=\"pair\">{}</div>\n{speed}", figures.concat())
}

fn points(steps: &[Step], value: fn(&Step) -> Option<f64>) -> (Vec<f64>, Vec<f64>) {
    let point = |step: &Step| Some((step.step as f64, value(step)?));
    steps.iter().filter_map(point).unzip()
}

fn validations(report: &Report, value: fn(&Validation) -> Option<f64>) -> (Vec<f64>, Vec<f64>) {
    let point = |found: &Validation| Some((found.step as f64, value(found)?));
    report.validations.iter().filter_map(point).unzip()
}

fn series(name: &str, class: &str, x: Vec<f64>, y: Vec<f64>, dots: bool) -> Series {
    Series {
        name: name.to_owned(),
        class: class.to_owned(),
        x,
        y,
        dots,
    }
}

fn reference(value: f64, name: &str) -> Reference {
    Reference {
        value,
        name: name.to_owned(),
    }
}
