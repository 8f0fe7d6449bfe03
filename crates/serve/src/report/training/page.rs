//! The training page, in the style of the evaluation's page.

use std::fmt::Write;

use super::{Report, figures};
use crate::chart::svg::escape;
use crate::chart::ticks::{plain, signed};
use crate::report::page::{Document, Section, document};
use crate::report::prose::{bytes, count, duration, percent};
use crate::report::table::{fact_table, facts};

/// Returns the page of a training: one self-contained document without a script.
pub fn html(report: &Report) -> String {
    let title = headline(report);
    document(&Document {
        title: &format!("foretune: {}", report.facts.run),
        banner: None,
        header: &header(report, &title),
        sections: &sections(report),
        footer: "Made by foretune. What a training loss says about decisions, only a test on a span of time that was kept out can tell.",
    })
}

fn sections(report: &Report) -> Vec<Section> {
    let all = [
        ("loss", "How the loss went", figures::loss(report)),
        ("decisions", "What it decides", figures::decisions(report)),
        ("rewards", "What it prefers", figures::rewards(report)),
        (
            "machinery",
            "Step size, gradients, speed",
            figures::machinery(report),
        ),
        ("facts", "The run", tables(report)),
        ("words", "Words used here", words(report)),
    ];
    let sections = all.into_iter().filter(|(_, _, body)| !body.is_empty());
    sections
        .map(|(id, title, body)| Section {
            id: if id == "loss" { "course" } else { id },
            title,
            body,
        })
        .collect()
}

fn headline(report: &Report) -> String {
    let course = &report.course;
    let steps = plain(course.steps as f64, 0);
    if course.steps == 0 {
        return "A training without a step yet".to_owned();
    }
    if !report.facts.finished && course.steps < course.total_steps {
        let total = plain(course.total_steps as f64, 0);
        return format!("{steps} of {total} steps done");
    }
    match (course.first_loss, course.last_loss) {
        (Some(first), Some(last)) => format!(
            "Loss from {} to {} in {steps} steps",
            plain(first, 2),
            plain(last, 2)
        ),
        _ => format!("{steps} steps done"),
    }
}

fn header(report: &Report, title: &str) -> String {
    let kind = if report.kind == "dpo" {
        "Training by preference"
    } else {
        "Supervised training"
    };
    let mark = if report.warnings.is_empty() {
        " better"
    } else {
        ""
    };
    let mut html = format!(
        "<header>\n<p class=\"eyebrow\"><span class=\"verdict-mark{mark}\" aria-hidden=\"true\"></span>{kind}: {}</p>\n<h1>{}</h1>\n<p class=\"lead\">{}</p>\n",
        escape(&report.facts.run),
        escape(title),
        escape(&lead(report))
    );
    html.push_str(&warnings(report));
    html.push_str(&key_figures(report));
    html.push_str("</header>\n");
    html
}

fn lead(report: &Report) -> String {
    let course = &report.course;
    let things = if report.kind == "dpo" {
        "pairs"
    } else {
        "examples"
    };
    let seen = course
        .examples
        .map(|n| format!("{} {things}", plain(n as f64, 0)));
    let tokens = course
        .tokens
        .map(|n| format!("{} tokens", plain(n as f64, 0)));
    let seconds = report.facts.wall_seconds.or(course.step_seconds);
    let time = seconds.map(|seconds| format!("in {}", duration(seconds)));
    let mut text = match (seen, tokens) {
        (Some(seen), Some(tokens)) => format!("The model saw {seen}, {tokens}"),
        (Some(one), None) | (None, Some(one)) => format!("The model saw {one}"),
        (None, None) => "Nothing is logged yet".to_owned(),
    };
    if let Some(time) = time {
        text += &format!(", {time}");
    }
    text.push('.');
    if let Some(best) = course.best.filter(|best| best.validation_loss.is_some()) {
        text += &format!(
            " The validation loss was lowest at step {} ({}).",
            best.step,
            plain(best.loss(), 3)
        );
    }
    if report.warnings.is_empty() {
        text += " Nothing in the log asks for a second look.";
    }
    text
}

fn warnings(report: &Report) -> String {
    if report.warnings.is_empty() {
        return String::new();
    }
    let mut html = String::from("<div class=\"warnings\" role=\"note\"><ul>");
    for warning in &report.warnings {
        let _ = write!(html, "<li>{}</li>", escape(warning));
    }
    html.push_str("</ul></div>\n");
    html
}

fn key_figures(report: &Report) -> String {
    let course = &report.course;
    let mut html = String::from("<dl class=\"key\">");
    let mut add = |name: &str, value: Option<String>, under: Option<String>| {
        let Some(value) = value else { return };
        let (name, value) = (escape(name), escape(&value));
        let _ = write!(html, "<div><dt>{name}</dt><dd>{value}</dd>");
        if let Some(under) = under {
            let _ = write!(html, "<dd class=\"under\">{}</dd>", escape(&under));
        }
        html.push_str("</div>");
    };
    let ends = course.first_loss.map(|first| {
        format!(
            "{} over the first {} steps",
            plain(first, 3),
            course.mean_of_steps
        )
    });
    add("Training loss", course.last_loss.map(|x| plain(x, 3)), ends);
    if report.kind == "dpo" {
        add(
            "Reward margin",
            course.reward_margin.map(|x| signed(x, 3)),
            None,
        );
        add(
            "The right way round",
            course.reward_accuracy.map(percent),
            Some("of the pairs, last steps".to_owned()),
        );
    }
    if let Some(last) = course.last {
        let balanced = last
            .validation_balanced_accuracy
            .map(|x| format!("{} with every class alike", percent(x)));
        add(
            "Validation loss",
            last.validation_loss.map(|x| plain(x, 3)),
            Some(format!("at step {}", last.step)),
        );
        add(
            "Decisions right",
            last.validation_decision_accuracy.map(percent),
            balanced,
        );
    }
    add(
        "Speed",
        course.tokens_per_second.map(|x| plain(x, 0)),
        Some("tokens a second".to_owned()),
    );
    html.push_str("</dl>\n");
    if course.steps == 0 {
        String::new()
    } else {
        html
    }
}

fn tables(report: &Report) -> String {
    let (facts_of, course) = (&report.facts, &report.course);
    let number = |n: u64| plain(n as f64, 0);
    let mut rows: Vec<(&str, String)> = Vec::new();
    let mut add = |name, value: Option<String>| rows.extend(value.map(|value| (name, value)));
    add("Run", Some(facts_of.run.clone()));
    add("Base model", facts_of.model.clone());
    add("Trained parameters", facts_of.parameters.map(number));
    add(
        "Steps",
        Some(if course.steps == course.total_steps {
            number(course.steps)
        } else {
            format!("{} of {}", number(course.steps), number(course.total_steps))
        }),
    );
    let things = if report.kind == "dpo" {
        "Pairs seen"
    } else {
        "Examples seen"
    };
    let of = facts_of.examples_available.map_or_else(String::new, |n| {
        format!(", of {} different ones", number(n))
    });
    add(things, course.examples.map(|n| number(n) + &of));
    add("Tokens", course.tokens.map(number));
    add("Tokens with loss", facts_of.supervised_tokens.map(number));
    add("Time in steps", course.step_seconds.map(duration));
    add("Time in all", facts_of.wall_seconds.map(duration));
    add("Peak memory", facts_of.peak_memory_bytes.map(bytes));
    let best = course.best.filter(|best| best.validation_loss.is_some());
    add(
        "Best validation",
        best.map(|best| format!("step {}, loss {}", best.step, plain(best.loss(), 3))),
    );
    add(
        "Adapter kept",
        facts_of
            .kept_step
            .filter(|kept| *kept != course.steps)
            .map(|kept| format!("of step {}", number(kept))),
    );
    add(
        "Stopped early",
        facts_of
            .stopped_early
            .then(|| "the validation loss no longer fell".to_owned()),
    );
    add("Validations", Some(count(report.validations.len())));
    format!(
        "<div class=\"facts-grid\">{}{}</div>\n",
        fact_table("What was done", &rows),
        if facts_of.settings.is_empty() {
            String::new()
        } else {
            facts("Settings of the training", &facts_of.settings)
        }
    )
}

fn words(report: &Report) -> String {
    let mut terms = vec![
        (
            "Loss",
            "How far the model is from what the examples say; the training makes it small.",
        ),
        (
            "Validation",
            "Examples that are not trained on, asked now and then to see whether what was learned holds elsewhere.",
        ),
        (
            "Overfitting",
            "The training loss falls while the validation loss rises: the examples are learned by heart.",
        ),
        (
            "Gradient norm",
            "How strongly a batch pulls at the adapter. Above the limit it is scaled down (clipped).",
        ),
    ];
    if report.kind == "dpo" {
        terms.push((
            "Reward",
            "Log-probability of an answer less what the model gave it before the training, times beta.",
        ));
    }
    let mut html = String::from("<dl class=\"terms\">");
    for (term, meaning) in terms {
        let (term, meaning) = (escape(term), escape(meaning));
        let _ = write!(html, "<div><dt>{term}</dt><dd>{meaning}</dd></div>");
    }
    html.push_str("</dl>\n");
    html
}
