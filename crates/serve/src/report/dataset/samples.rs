//! A few examples of each class to read: text is shown as it is and never as markup.

use std::collections::BTreeMap;
use std::fmt::Write;

use dataset::Split;
use serde::Serialize;

use super::line::Line;
use crate::chart::svg::escape;
use crate::chart::ticks::signed;

/// Examples shown of each group: of a data set, of a bridge, which has more groups.
const EACH: [usize; 2] = [3, 2];

/// An example to read.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Sample {
    /// Its class, or what it is.
    pub group: String,
    /// Its file.
    pub file: String,
    /// Its id, if it has one.
    pub id: String,
    /// The relative change that made its label.
    pub outcome_return: Option<f64>,
    /// The turns: role and what is said.
    pub turns: Vec<(String, String)>,
}

/// The examples chosen while lines are read: those of the lowest digest in each group, so that the
/// choice depends on nothing else in the files.
pub(super) struct Chosen {
    is_bridge: bool,
    groups: BTreeMap<String, BTreeMap<(u64, String), Sample>>,
}

impl Chosen {
    pub(super) fn new(is_bridge: bool) -> Self {
        Self {
            is_bridge,
            groups: BTreeMap::new(),
        }
    }

    pub(super) fn take(&mut self, file: &str, line: &Line) {
        if line.split.is_some_and(|split| split != Split::Train) {
            return;
        }
        let turns = line.conversation();
        let id = match &line.id {
            Some(id) => id.clone(),
            None => turns
                .first()
                .map(|turn| turn.content.clone())
                .unwrap_or_default(),
        };
        let group = self.group(file, line);
        let key = (digest(&id), id.clone());
        let chosen = self.groups.entry(group.clone()).or_default();
        let most = EACH[usize::from(self.is_bridge)];
        let last = chosen.last_key_value().map(|(key, _)| key);
        if chosen.len() >= most && last.is_some_and(|last| *last <= key) {
            return;
        }
        let sample = Sample {
            group,
            file: file.to_owned(),
            id: line.id.clone().unwrap_or_default(),
            outcome_return: line.outcome_return,
            turns: turns
                .into_iter()
                .map(|turn| (turn.role, turn.content))
                .collect(),
        };
        chosen.insert(key, sample);
        if chosen.len() > most {
            chosen.pop_last();
        }
    }

    fn group(&self, file: &str, line: &Line) -> String {
        let label = line.label.as_deref();
        match (self.is_bridge, line.split, line.kind.as_deref(), label) {
            (false, _, _, Some(label)) => label.to_owned(),
            (true, Some(_), Some(kind), Some(label)) => format!("{kind}: {label}"),
            (true, Some(_), Some(kind), None) => kind.to_owned(),
            _ => file.trim_end_matches(".jsonl").replace('_', " "),
        }
    }

    pub(super) fn finish(self) -> Vec<Sample> {
        self.groups
            .into_values()
            .flat_map(BTreeMap::into_values)
            .collect()
    }
}

/// FNV-1a (Fowler, Noll and Vo), 64 bits: any even spread does.
fn digest(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// The section.
pub(super) fn section(samples: &[Sample]) -> String {
    let mut html = String::new();
    let mut group = "";
    for sample in samples {
        if sample.group != group {
            group = &sample.group;
            let _ = writeln!(html, "<h3>{}</h3>", escape(group));
        }
        let mut about = sample.file.clone();
        if let Some(change) = sample.outcome_return {
            let _ = write!(about, ", the price moved {} %", signed(change * 100.0, 2));
        }
        let title = match sample.id.as_str() {
            "" => "Example",
            id => id,
        };
        let _ = write!(
            html,
            "<details><summary>{} <span class=\"soft\">{}</span></summary><dl class=\"answers\">",
            escape(title),
            escape(&about)
        );
        for (role, text) in &sample.turns {
            let _ = write!(
                html,
                "<dt>{}</dt><dd><pre>{}</pre></dd>",
                escape(role),
                escape(text)
            );
        }
        html.push_str("</dl></details>\n");
    }
    html
}
