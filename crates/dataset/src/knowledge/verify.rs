//! Computes again what the examples state, from their text: the bars that a
//! question shows are read back, the formula is looked up and evaluated, and every
//! number of the answer is compared.

use std::collections::BTreeMap;
use std::io::BufRead;

use formula::catalogue::{Catalogue, Entry};
use formula::engine::{SeriesInputs, evaluate_series};
use formula::language;
use market::{Timeframe, Timestamp};
use serde::Serialize;

use super::compute::{Shown, evaluate};
use super::text::number;
use super::{Kind, KnowledgeExample};

/// What was found in a file of examples.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Verification {
    /// Examples read.
    pub examples: usize,
    /// Computations whose every number was computed again and agrees.
    pub computations: usize,
    /// Examples by kind.
    pub by_kind: BTreeMap<Kind, usize>,
    /// What is wrong, with its line, from 1; at most a hundred.
    pub faults: Vec<String>,
}

/// Checks every line of a file of examples: its layout, that ids are unique and
/// formulas known, and every computation.
///
/// # Errors
/// What reading gives.
pub fn verify(lines: impl BufRead, catalogue: &Catalogue) -> std::io::Result<Verification> {
    let mut found = Verification::default();
    let mut ids = std::collections::HashSet::new();
    for (index, line) in lines.lines().enumerate() {
        let line = line?;
        found.examples += 1;
        let fault = match serde_json::from_str::<KnowledgeExample>(&line) {
            Err(error) => Some(error.to_string()),
            Ok(example) => {
                *found.by_kind.entry(example.kind).or_default() += 1;
                let checked = check(&example, catalogue);
                found.computations +=
                    usize::from(example.kind == Kind::Computation && checked.is_ok());
                let twice = !ids.insert(example.id.clone());
                checked
                    .err()
                    .or(twice.then(|| format!("`{}` is there twice", example.id)))
            }
        };
        if let Some(fault) = fault
            && found.faults.len() < 100
        {
            found.faults.push(format!("line {}: {fault}", index + 1));
        }
    }
    Ok(found)
}

fn check(example: &KnowledgeExample, catalogue: &Catalogue) -> Result<(), String> {
    let entry = catalogue
        .get(&example.formula)
        .ok_or_else(|| format!("there is no formula `{}`", example.formula))?;
    let [question, answer] = example.messages.as_slice() else {
        return Err("expected a question and an answer".to_owned());
    };
    if question.role != "user" || answer.role != "assistant" {
        return Err("expected the roles `user` and `assistant`".to_owned());
    }
    if question.content.trim().is_empty() || answer.content.trim().is_empty() {
        return Err("a message is empty".to_owned());
    }
    if example.kind != Kind::Computation {
        return Ok(());
    }
    let expected = if entry.needs.series {
        series_numbers(entry, &question.content)?
    } else {
        bar_numbers(entry, &question.content)?
    };
    let stated: Vec<&str> = answer
        .content
        .lines()
        .map(|line| line.rsplit_once(": ").map_or("", |(_, value)| value))
        .collect();
    if stated != expected {
        return Err(format!(
            "`{}` computes to {}, the answer says {}",
            example.id,
            expected.join(" | "),
            stated.join(" | ")
        ));
    }
    Ok(())
}

/// Returns what each line of the answer has to state.
fn bar_numbers(entry: &Entry, question: &str) -> Result<Vec<String>, String> {
    let shown = shown(question)?;
    let steps = language::explain(&entry.expression);
    let values = evaluate(entry, &steps, &shown).ok_or("the bars cannot be evaluated")?;
    let mut numbers: Vec<String> = values.iter().map(|value| number(*value)).collect();
    numbers.extend(numbers.last().cloned());
    Ok(numbers)
}

fn series_numbers(entry: &Entry, question: &str) -> Result<Vec<String>, String> {
    let list = |name: &str| -> Result<Option<Vec<f64>>, String> {
        let mut lines = question.lines();
        let Some(text) = lines.find_map(|line| line.strip_prefix(name)) else {
            return Ok(None);
        };
        let values = text.split(", ").map(str::parse);
        let values: Result<Vec<f64>, _> = values.collect();
        values
            .map(Some)
            .map_err(|_| format!("`{name}` is no list of numbers"))
    };
    let returns = list("r = ")?.ok_or("no returns are shown")?;
    let benchmark = list("benchmark = ")?;
    let inputs = SeriesInputs {
        r: &returns,
        benchmark: benchmark.as_deref(),
    };
    let mut numbers = Vec::new();
    for step in language::explain(&entry.expression) {
        let value = evaluate_series(&step.expression, &entry.profile, &inputs);
        // A step that gives a series ends without a number.
        numbers.push(value.map_or(String::new(), number));
    }
    let value = evaluate_series(&entry.expression, &entry.profile, &inputs)
        .map_err(|error| error.to_string())?;
    numbers.push(number(value));
    Ok(numbers)
}

/// Reads the bars that a question shows.
fn shown(question: &str) -> Result<Shown, String> {
    let mut lines = question
        .lines()
        .skip_while(|line| !line.starts_with("open_time"));
    let head: Vec<&str> = lines
        .next()
        .ok_or("no bars are shown")?
        .split(',')
        .collect();
    let several = head.get(1) == Some(&"instrument");
    let names = &head[1 + usize::from(several)..];
    let spoken = question
        .lines()
        .find_map(|line| line.strip_prefix("Bars of ")?.split_once(','))
        .ok_or("the bars' timeframe is not told")?;
    let timeframe: Timeframe = spoken.0.parse().map_err(|_| "the timeframe is none")?;
    let one = question
        .lines()
        .find_map(|line| {
            line.split_once(" at the last bar")
                .map(|(before, _)| before)
        })
        .and_then(|before| before.rsplit(' ').next())
        .unwrap_or("");
    let mut shown = Shown {
        instruments: if several {
            Vec::new()
        } else {
            vec![one.to_owned()]
        },
        timeframe,
        open_time: Vec::new(),
        columns: names
            .iter()
            .map(|name| ((*name).to_owned(), Vec::new()))
            .collect(),
    };
    for line in lines {
        let cells: Vec<&str> = line.split(',').collect();
        if cells.len() != head.len() {
            return Err(format!(
                "`{line}` has {} cells, expected {}",
                cells.len(),
                head.len()
            ));
        }
        let time: Timestamp = cells[0]
            .parse()
            .map_err(|_| format!("`{}` is no time", cells[0]))?;
        if shown.open_time.last() != Some(&time.0) {
            shown.open_time.push(time.0);
        }
        if several && !shown.instruments.iter().any(|name| name == cells[1]) {
            shown.instruments.push(cells[1].to_owned());
        }
        for (name, cell) in names.iter().zip(&cells[1 + usize::from(several)..]) {
            let value: f64 = cell.parse().map_err(|_| format!("`{cell}` is no number"))?;
            if let Some(column) = shown.columns.get_mut(*name) {
                column.push(value);
            }
        }
    }
    Ok(shown)
}
