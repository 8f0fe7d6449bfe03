//! What is wrong with one pair of a package: missing tables, other columns, stamps.

use std::collections::BTreeSet;

use super::WideReader;
use super::package::{PackageFault, PackageFaultKind, PackagePair, Split};
use crate::validate::check_times;
use crate::{MarketError, Timestamp};

/// How many names of columns a message lists.
const LISTED: usize = 5;

impl PackagePair {
    fn fault(&self, kind: PackageFaultKind, split: Split, message: String) -> PackageFault {
        let hint = match kind {
            PackageFaultKind::MissingSplit => "write the table again, or leave the pair out",
            PackageFaultKind::Empty => "leave the pair out, or give it more history",
            PackageFaultKind::Columns => "write all tables with the same columns",
            PackageFaultKind::NoTime => {
                "keep the bar's time as a column or index, or declare that rows are in order of time"
            }
            PackageFaultKind::Overlap => {
                "cut the tables at one instant: rows that are learned from must end before those \
                 that are measured on start"
            }
            _ => "write the table again",
        };
        PackageFault {
            kind,
            pair: self.name.clone(),
            split: Some(split),
            row: None,
            message,
            hint: Some(hint.to_owned()),
        }
    }

    pub(super) fn missing(&self, known: &[PackageFault]) -> Vec<PackageFault> {
        let there = |split: Split| {
            let opened = self.table(split).is_some();
            let broken = known
                .iter()
                .any(|fault| fault.pair == self.name && fault.split == Some(split));
            opened || broken
        };
        Split::ALL
            .into_iter()
            .filter(|split| !there(*split))
            .map(|split| {
                let message = format!("`{}` has no `{split}.parquet`", self.name);
                self.fault(PackageFaultKind::MissingSplit, split, message)
            })
            .collect()
    }

    pub(super) fn columns(&self, model: &WideReader) -> Vec<PackageFault> {
        let names = |reader: &WideReader| -> BTreeSet<String> {
            let columns = reader.columns().iter();
            columns.map(|column| column.name.clone()).collect()
        };
        let expected = names(model);
        let mut faults = Vec::new();
        for (split, reader) in &self.tables {
            let found = names(reader);
            let lacks: Vec<_> = expected.difference(&found).collect();
            let more: Vec<_> = found.difference(&expected).collect();
            if lacks.is_empty() && more.is_empty() {
                continue;
            }
            let mut parts = Vec::new();
            for (word, list) in [("lacks", lacks), ("has besides", more)] {
                if !list.is_empty() {
                    let some: Vec<_> = list
                        .iter()
                        .take(LISTED)
                        .map(|name| format!("`{name}`"))
                        .collect();
                    let rest = list.len().saturating_sub(LISTED);
                    let rest = if rest > 0 {
                        format!(" and {rest} more")
                    } else {
                        String::new()
                    };
                    parts.push(format!("{word} {}{rest}", some.join(", ")));
                }
            }
            let message = format!(
                "`{}` differs from `{}`: it {}",
                reader.path().display(),
                model.path().display(),
                parts.join(", and ")
            );
            faults.push(self.fault(PackageFaultKind::Columns, *split, message));
        }
        faults
    }

    pub(super) fn times(&self, index_order: bool) -> Vec<PackageFault> {
        let mut faults = Vec::new();
        let mut before: Option<(Split, i64)> = None;
        for (split, reader) in &self.tables {
            let path = reader.path().display();
            if reader.rows() == 0 {
                let message = format!("`{path}` has no rows");
                faults.push(self.fault(PackageFaultKind::Empty, *split, message));
                continue;
            }
            if reader.time_column().is_none() {
                if !index_order {
                    let message = format!("`{path}` has no time column");
                    faults.push(self.fault(PackageFaultKind::NoTime, *split, message));
                }
                continue;
            }
            let times = match stamps(reader) {
                Ok(times) => times,
                Err(error) => {
                    let kind = PackageFaultKind::Time;
                    faults.push(PackageFault::of(kind, &self.name, Some(*split), &error));
                    continue;
                }
            };
            let (Some(first), Some(last)) = (times.first(), times.last()) else {
                continue;
            };
            if let Some((earlier, end)) = before
                && *first <= end
            {
                let message = format!(
                    "`{path}` starts at {}, before {earlier} ends at {}",
                    Timestamp(*first),
                    Timestamp(end)
                );
                faults.push(self.fault(PackageFaultKind::Overlap, *split, message));
            }
            before = Some((*split, *last));
        }
        faults
    }
}

/// Reads and checks all stamps of a table.
fn stamps(reader: &WideReader) -> Result<Vec<i64>, MarketError> {
    let mut times = Vec::new();
    for group in 0..reader.groups() {
        times.extend(reader.times(group)?);
    }
    check_times(&times, &reader.path().display().to_string())?;
    Ok(times)
}
