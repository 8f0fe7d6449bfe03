//! The estimate as a table and a bar that a terminal of any kind can show.

use std::fmt::Write as _;
use std::time::Duration;

use train::Optimizer;
use train::estimate::{Memory, Plan};

use super::cost::{Time, Work};
use super::estimate::{Choices, amount};
use crate::progress::spoken;

/// Characters of the stacked bar.
const BAR: usize = 64;
/// One letter for each component, in the order of the table.
const LETTERS: &[u8] = b"WERAGOSUBLP";

/// What the text is made of.
pub(crate) struct Parts<'a> {
    /// The model.
    pub(crate) name: &'a str,
    /// Its parameters.
    pub(crate) total: u64,
    /// Those of the adapter.
    pub(crate) trained: u64,
    /// The plan.
    pub(crate) plan: &'a Plan,
    /// Precision, recompute, optimiser.
    pub(crate) choices: Choices,
    /// Its memory.
    pub(crate) memory: &'a Memory,
    /// Memory to fit into.
    pub(crate) limit: Option<u64>,
    /// What there is to do.
    pub(crate) work: &'a Work,
    /// How long it takes.
    pub(crate) times: &'a [Time],
    /// The price of an hour.
    pub(crate) price: Option<f64>,
    /// What else to know.
    pub(crate) notes: &'a [String],
}

/// Returns the text.
pub(crate) fn text(parts: &Parts<'_>) -> String {
    let mut out = head(parts);
    out += &table(parts.memory);
    out += &moments(parts);
    out += &times(parts);
    for note in parts.notes {
        let _ = writeln!(out, "note: {note}");
    }
    out
}

fn head(parts: &Parts<'_>) -> String {
    let plan = parts.plan;
    let targets: Vec<&str> = plan.lora.targets.iter().map(|t| t.as_str()).collect();
    let optimizer = match parts.choices.optimizer {
        Optimizer::AdamW => "adamw",
        Optimizer::AdamW8bit => "adamw_8bit",
    };
    let again = if parts.choices.recompute {
        ", activations computed again"
    } else {
        ""
    };
    format!(
        "{}\n{} parameters, {} trained ({:.2} %): rank {} on {}\n{} weights, {optimizer}{again}, examples of {} tokens, passes of {} rows\n\n",
        parts.name,
        grouped(parts.total),
        grouped(parts.trained),
        100.0 * parts.trained as f64 / parts.total as f64,
        plan.lora.rank,
        targets.join(", "),
        parts.choices.precision.as_str(),
        plan.longest,
        plan.rows
    )
}

fn table(memory: &Memory) -> String {
    let mut out = String::from("memory of a training step\n");
    for (component, letter) in memory.components.iter().zip(LETTERS) {
        if component.bytes == 0 {
            continue;
        }
        let share = 100.0 * component.bytes as f64 / memory.step.max(1) as f64;
        let _ = writeln!(
            out,
            "  {} {:<36} {:>10} {share:>5.1} %",
            *letter as char,
            component.what,
            amount(component.bytes)
        );
    }
    let _ = writeln!(
        out,
        "    {:<36} {:>10}\n\n  [{}]\n",
        "in all",
        amount(memory.step),
        bar(memory)
    );
    out
}

/// Returns the stacked bar: each component's letter as often as its share asks for.
fn bar(memory: &Memory) -> String {
    let total: u64 = memory.components.iter().map(|c| c.bytes).sum();
    let mut bar = String::with_capacity(BAR);
    let mut so_far = 0u64;
    for (component, letter) in memory.components.iter().zip(LETTERS) {
        so_far += component.bytes;
        let end = (so_far as f64 / total.max(1) as f64 * BAR as f64).round() as usize;
        while bar.len() < end {
            bar.push(*letter as char);
        }
    }
    bar
}

fn moments(parts: &Parts<'_>) -> String {
    let memory = parts.memory;
    let mut out = format!(
        "other moments: reading the model {}, checkpoint {}",
        amount(memory.loading),
        amount(memory.checkpoint)
    );
    if parts.plan.validation.0 > 0 {
        out += &format!(", validation {}", amount(memory.validation));
    }
    let _ = writeln!(
        out,
        "\nafter the training, to score or to write answers: keys and values {} for 16 prompts of {} tokens",
        amount(memory.cache),
        parts.plan.longest
    );
    let verdict = match parts.limit {
        Some(limit) if memory.needed <= limit => {
            format!("; fits into {}", amount(limit))
        }
        Some(limit) => format!("; does NOT fit into {}", amount(limit)),
        None => String::new(),
    };
    let _ = writeln!(out, "peak: {}{verdict}", amount(memory.peak));
    out
}

fn times(parts: &Parts<'_>) -> String {
    let work = parts.work;
    let mut out = format!(
        "\nwork: {} examples, {} tokens, {} steps, {} TFLOP\n",
        grouped(work.examples as u64),
        grouped(work.tokens as u64),
        grouped(work.steps as u64),
        grouped((work.operations / 1e12).ceil() as u64)
    );
    for time in parts.times {
        let [low, middle, high] = time.seconds.map(|s| spoken(Duration::from_secs_f64(s)));
        let range = if low == high {
            String::new()
        } else {
            format!(" ({low} to {high})")
        };
        let _ = writeln!(
            out,
            "time {}: {middle}{range}, {:.0} tokens/s; {}",
            time.place, time.tokens_per_second, time.basis
        );
        if let (Some([low, middle, high]), Some(price)) = (time.cost, parts.price) {
            let _ = writeln!(
                out,
                "cost {}: {middle:.2} ({low:.2} to {high:.2}) at {price:.2} an hour",
                time.place
            );
        }
    }
    out
}

/// Writes a number with its thousands apart.
fn grouped(value: u64) -> String {
    let digits = value.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use train::estimate::Component;

    fn memory(bytes: &[u64]) -> Memory {
        let component = |bytes: &u64| Component {
            name: "x",
            what: "something",
            bytes: *bytes,
        };
        Memory {
            components: bytes.iter().map(component).collect(),
            loading: 0,
            step: bytes.iter().sum(),
            checkpoint: 0,
            validation: 0,
            peak: 0,
            needed: 0,
            cache_per_token: 0,
            cache: 0,
        }
    }

    #[test]
    fn the_bar_is_as_wide_as_it_should_be_and_shows_the_shares() {
        let found = bar(&memory(&[500, 0, 250, 250]));
        assert_eq!(found.len(), BAR);
        assert_eq!(found.matches('W').count(), BAR / 2);
        assert_eq!(found.matches('E').count(), 0);
        assert_eq!(found.matches('A').count(), BAR / 4);
        assert_eq!(bar(&memory(&[0, 0])), "");
    }

    #[test]
    fn numbers_are_grouped() {
        assert_eq!(grouped(134_515_008), "134,515,008");
        assert_eq!(grouped(7), "7");
    }
}
